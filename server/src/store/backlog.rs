//! How much waits in the database, over all endpoints: for metrics.
//!
//! Asked whenever somebody scrapes, so it must stay cheap with a million rows: counting ends at [`COUNTED`], and everything is found
//! by one look into an index an endpoint.

use std::time::Duration;

use super::db::{Arg, sql};
use super::health::COUNTED;
use super::{Error, Store, time};
use crate::domain::delivery::State;
use crate::telemetry::metrics::Queue;

impl Store {
    /// The backlog of all endpoints, each state counted to [`COUNTED`].
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn measure_backlog(&self) -> Result<Queue, Error> {
        let mut queue = Queue::default();
        for (state, count) in
            [(State::Pending, &mut queue.pending), (State::Retrying, &mut queue.retrying), (State::Dead, &mut queue.dead)]
        {
            let args = [Arg::Int(state.code().into()), Arg::Int(COUNTED)];
            let rows = self.inner.db.fetch(sql!("count_whole_backlog" by dialect), &args).await?;
            *count = rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0);
        }
        let oldest = self.inner.db.fetch(sql!("oldest_of_backlog"), &[]).await?;
        let oldest = oldest.first().map(|row| row.maybe_int(0)).transpose()?.flatten();
        queue.oldest_age = oldest.map_or(Duration::ZERO, |millis| self.now().since(time(millis)));
        Ok(queue)
    }
}
