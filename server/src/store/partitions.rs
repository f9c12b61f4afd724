//! Partitions of the tables that grow with events, on PostgreSQL: made ahead of time, so that retention can drop whole ones.

use super::db::sql;
use super::{Dialect, Error, Store};

impl Store {
    /// Makes the next partitions of the tables that grow with events, before their numbers are drawn. Nothing to do on SQLite.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: inserts go on into the last or the default partition.
    pub async fn ensure_partitions(&self) -> Result<(), Error> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let rows = self.inner.db.fetch_engine(sql!("partition_state" by dialect), &[]).await?;
        let Some((drawn, last)) = rows.first().map(|row| Ok::<_, Error>((row.int(0)?, row.int(1)?))).transpose()? else {
            return Ok(());
        };
        if drawn < last * PARTITION - PARTITION / 2 {
            return Ok(());
        }
        let mut tx = self.inner.db.begin().await?;
        tx.make_partitions(last, PARTITION).await?;
        tx.commit().await?;
        tracing::info!(partition = last, "made the next partitions");
        Ok(())
    }
}

/// Events of one partition.
const PARTITION: i64 = 10_000_000;
