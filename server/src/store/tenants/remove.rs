//! What is left of a deleted tenant goes in bounded steps, which any node may continue.
//!
//! Called by upkeep. What is removed is unreadable already, as the tenant's key went with its deletion.

use std::time::Duration;

use crate::store::bulk::{Bulk, Column};
use crate::store::db::{Arg, Tx, sql};
use crate::store::{Error, Store, at};

/// Rows that one statement of a step removes at most.
const STEP: i64 = 1_000;
/// A publish that read the tenant as active may commit this long after the tenant's deletion.
const STRAGGLERS: Duration = Duration::from_secs(120);

impl Store {
    /// One bounded step of removing what deleted tenants left. True: there may be more to do now.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nothing moved; repeat.
    pub async fn remove_deleted_step(&self) -> Result<bool, Error> {
        let mut tx = self.inner.db.begin().await?;
        let Some(row) = tx.fetch_optional(sql!("lock_deleting_tenant" by dialect), &[]).await? else { return Ok(false) };
        let (tenant, deleted) = (row.text(0)?, row.int(1)?);
        let mut more = remove_events(&mut tx, &tenant).await?;
        for statement in [
            sql!("remove_event_keys"),
            sql!("remove_journal"),
            sql!("remove_requests"),
            sql!("remove_event_types"),
            sql!("remove_event_type_versions"),
            sql!("remove_signing_keys"),
        ] {
            more |= tx.execute(statement, &[Arg::Text(&tenant), Arg::Int(STEP)]).await? > 0;
        }
        more |= remove_endpoints(&mut tx, &tenant).await?;
        if !more && deleted > self.now().minus(STRAGGLERS).millis() {
            // Nothing is left, but something may still come.
            return Ok(false);
        }
        if !more {
            tx.execute(sql!("bury_tenant"), &[Arg::Text(&tenant), at(self.now())]).await?;
            tracing::info!(tenant, "removed");
        }
        tx.commit().await?;
        Ok(true)
    }
}

/// The oldest events with everything that hangs on them, as many as have about [`STEP`] deliveries. True: there were some.
async fn remove_events(tx: &mut Tx, tenant: &str) -> Result<bool, Error> {
    let (mut seqs, mut deliveries) = (Vec::new(), 0);
    for row in tx.fetch(sql!("list_tenant_events"), &[Arg::Text(tenant), Arg::Int(STEP)]).await? {
        deliveries += row.int(1)?;
        if deliveries > STEP && !seqs.is_empty() {
            break;
        }
        seqs.push(row.int(0)?);
    }
    let found = !seqs.is_empty();
    let rows = Bulk::new(vec![Column::Int(seqs)]);
    for statement in [sql!("remove_attempts"), sql!("remove_backlog"), sql!("remove_deliveries"), sql!("remove_events")] {
        tx.bulk(statement, &[], &rows).await?;
    }
    Ok(found)
}

/// The first endpoint with everything that hangs on it. True: there was one.
async fn remove_endpoints(tx: &mut Tx, tenant: &str) -> Result<bool, Error> {
    let Some(row) = tx.fetch_optional(sql!("first_tenant_endpoint"), &[Arg::Text(tenant)]).await? else { return Ok(false) };
    let key = Arg::Int(row.int(0)?);
    // A day of minutes is 1,440 rows at most, so one endpoint is about one step.
    for statement in [sql!("remove_minutes"), sql!("remove_health"), sql!("remove_endpoint_secrets"), sql!("remove_endpoint")] {
        tx.execute(statement, &[key]).await?;
    }
    Ok(true)
}
