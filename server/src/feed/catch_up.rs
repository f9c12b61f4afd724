//! How a watcher comes from its cursor to a place in the ring: through the journal, lane by lane, the oldest commits first.
//!
//! It reads up to where the ring ended when the plan was made; what came later is in the ring behind that place. Should the ring have
//! overrun the place meanwhile, the watcher plans again. Nothing is kept between two steps but numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cursor::Cursor;
use super::ring::End;
use super::{BATCH, Shared};
use crate::domain::Time;
use crate::domain::change::Changes;
use crate::store::journal::{LANES, LaneId};
use crate::store::{self, Store};

/// Rows read at a time, at most: a row may hold thousands of changes.
const MAX_PAGE: usize = 64;
const FIRST_PAGE: usize = 16;

#[derive(Debug)]
pub(super) struct CatchUp {
    /// Lanes to read, by the time up to which they have been, with their last commit to read.
    pending: BTreeMap<(Time, LaneId), i64>,
    page: usize,
    then: End,
}

impl CatchUp {
    pub(super) async fn plan(shared: &Shared, from: &Cursor) -> Result<Self, store::Error> {
        // Invariant: the ring's end is read before the journal, so that what is committed in between is in one of them.
        let then = shared.ring.end();
        let epochs = shared.store.journal_epochs().await?;
        // Epochs below the ring's floor are over, and the ring knows nothing of them: they are read to their end.
        let over = epochs.iter().map(|state| state.epoch).filter(|epoch| (from.mark.floor..then.mark.floor).contains(epoch));
        let over = over.flat_map(|epoch| (0..LANES).map(move |number| (LaneId { epoch, number }, i64::MAX)));
        let live = then.heads.iter().map(|(lane, head)| (*lane, *head));
        let live = live.filter(|(lane, head)| lane.epoch >= from.mark.floor && *head > from.seq(*lane));
        let pending = over.chain(live).map(|(lane, last)| ((from.mark.as_of, lane), last)).collect();
        Ok(Self { pending, page: FIRST_PAGE, then })
    }

    /// Reads on in the lane that is farthest behind: whole commits, together about a batch or one. Moves the cursor behind them.
    pub(super) async fn step(
        &mut self,
        store: &Store,
        tenant: &Arc<str>,
        cursor: &mut Cursor,
    ) -> Result<Vec<Arc<Changes>>, store::Error> {
        let Some((&(reached, lane), &last)) = self.pending.first_key_value() else { return Ok(Vec::new()) };
        let since = cursor.since.unwrap_or(Time::from_millis(i64::MIN));
        let limit = i64::try_from(self.page).unwrap_or(1);
        let rows = store.read_journal(tenant, lane, cursor.seq(lane), since, limit).await?;
        let mut more = rows.len() == self.page;
        let (mut commits, mut count, mut until) = (Vec::new(), 0, reached);
        for row in rows {
            if row.seq > last {
                // It comes from the ring.
                more = false;
                break;
            }
            count += row.changes.len();
            if count > BATCH && !commits.is_empty() {
                more = true;
                break;
            }
            cursor.cover(lane, row.seq);
            until = until.max(row.time);
            commits.push(row.changes);
        }
        // The next page is about as many rows as filled this batch.
        self.page = (commits.len().max(1) * BATCH / count.max(1)).clamp(1, MAX_PAGE);
        self.pending.pop_first();
        if more {
            self.pending.insert((until, lane), last);
        }
        if let Some(((until, _), _)) = self.pending.first_key_value() {
            cursor.mark.as_of = *until;
        }
        Ok(commits)
    }

    /// The place in the ring to go on from when everything is read; the cursor is what a watcher there has.
    pub(super) fn done(&self, cursor: &mut Cursor) -> Option<u64> {
        self.pending.is_empty().then(|| {
            *cursor = self.then.cursor();
            self.then.place
        })
    }
}
