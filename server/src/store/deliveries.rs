//! Reading deliveries and attempts for people.
//!
//! Lists walk a tenant's events backwards and look their deliveries up by key; those of unfinished or dead deliveries of one endpoint
//! walk its backlog instead, which is short where the table is long. A page looks at a bounded number of rows.

mod trouble;

use super::db::{Arg, Row, sql};
use super::page::{Listed, Page, position};
use super::record::Answer;
use super::{Error, Store, time};
use crate::domain::delivery::{AttemptClass, State};
use crate::domain::endpoint;
use crate::domain::{DeliveryKey, Time};

/// A delivery as its users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Its key.
    pub key: DeliveryKey,
    /// Id of its event.
    pub event_id: String,
    /// Type of its event.
    pub event_type: String,
    /// Id of its endpoint.
    pub endpoint_id: String,
    /// State of its endpoint, which may hold it; `None`: the endpoint was deleted.
    pub endpoint_state: Option<endpoint::State>,
    /// Where it stands.
    pub state: State,
    /// Rises with every move.
    pub revision: i32,
    /// Attempts with a recorded outcome.
    pub attempt_count: i32,
    /// Status of the last answer; 0: none.
    pub last_status: i32,
    /// How the last attempt ended.
    pub last_class: Option<AttemptClass>,
    /// When the next attempt is due.
    pub due: Option<Time>,
    /// When the event was accepted.
    pub create_time: Time,
    /// When it last moved.
    pub update_time: Time,
}

impl DeliveryRecord {
    /// Unfinished, and its endpoint gets nothing at present.
    pub fn is_held(&self) -> bool {
        !self.state.is_finished() && self.endpoint_state != Some(endpoint::State::Active)
    }
}

/// One attempt as its users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// From 1.
    pub number: i32,
    /// How it ended.
    pub class: AttemptClass,
    /// Status of the answer; 0: none.
    pub status: i32,
    /// When it ended.
    pub end_time: Time,
    /// All of it, ms.
    pub total_ms: i32,
    /// Name lookup.
    pub dns_ms: Option<i32>,
    /// Lookup, connection and TLS.
    pub connect_ms: Option<i32>,
    /// To the first byte.
    pub first_byte_ms: Option<i32>,
    /// What the receiver answered, where it is kept.
    pub answer: Option<Answer>,
    /// What class and status do not say; empty: nothing.
    pub detail: String,
}

/// Which deliveries a list holds, as far as the database can tell cheaply.
#[derive(Debug, Clone, Default)]
pub struct DeliveryQuery {
    /// Only of this event.
    pub event_id: Option<String>,
    /// Only of this endpoint.
    pub endpoint_id: Option<String>,
    /// Only in these states; empty: in any.
    pub states: Vec<State>,
    /// Events not accepted before this time.
    pub from: Option<Time>,
    /// Events accepted before this time.
    pub until: Option<Time>,
}

/// Rows that one page looks at.
const SCAN: i64 = 2_000;

impl Store {
    /// A delivery.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is none, or it is another tenant's.
    pub async fn get_delivery(&self, tenant: &str, key: DeliveryKey) -> Result<DeliveryRecord, Error> {
        let args = [Arg::Int(key.event_seq), Arg::Int(key.endpoint_key), Arg::Int(key.part.into()), Arg::Text(tenant)];
        let rows = self.inner.db.fetch(sql!("get_delivery"), &args).await?;
        read(rows.first().ok_or(Error::NotFound)?)
    }

    /// A tenant's deliveries, newest event first, of those that `keep` wants.
    ///
    /// # Errors
    /// [`Error::BadPosition`]; [`Error::Unavailable`].
    pub async fn list_deliveries(
        &self,
        tenant: &str,
        page: &Page,
        query: &DeliveryQuery,
        keep: impl Fn(&DeliveryRecord) -> bool,
    ) -> Result<Listed<DeliveryRecord>, Error> {
        let after = page.numbers::<3>()?.unwrap_or([i64::MAX, i64::MAX, i64::from(i16::MAX)]);
        let [seq, endpoint_key, part] = after.map(Arg::Int);
        let trouble = !query.states.is_empty() && query.states.iter().all(|state| matches!(state, State::Retrying | State::Dead));
        let (rows, more) = match &query.event_id {
            Some(event_id) => {
                let args = [seq, endpoint_key, part, Arg::Text(tenant), Arg::Text(event_id), Arg::Int(SCAN)];
                full(self.inner.db.fetch(sql!("list_event_deliveries"), &args).await?)
            }
            // Fresh deliveries are not in the backlog; those that wait for their first attempt are found by their events.
            None if trouble => {
                let endpoint_id = query.endpoint_id.as_deref().unwrap_or_default();
                self.list_trouble(tenant, endpoint_id, &query.states, after, SCAN as usize).await?
            }
            None => {
                let args = [seq, endpoint_key, part, Arg::Text(tenant), Arg::Int(SCAN)];
                full(self.inner.db.fetch(sql!("list_deliveries"), &args).await?)
            }
        };
        let mut items = Vec::new();
        let mut last = None;
        for row in &rows {
            // An event without deliveries has a row too, or the walk would not know how far it got.
            last = Some(position(&[row.int(0)?, row.maybe_int(1)?.unwrap_or(0), row.maybe_int(2)?.unwrap_or(0)]));
            if query.from.is_some_and(|from| row.int(11).is_ok_and(|accepted| time(accepted) < from)) {
                // Numbers follow acceptance, so nothing older is young enough.
                return Ok(Listed { items, next: None });
            }
            if row.maybe_int(1)?.is_none() {
                continue;
            }
            let record = read(row)?;
            let wanted = (query.states.is_empty() || query.states.contains(&record.state))
                && query.endpoint_id.as_ref().is_none_or(|id| *id == record.endpoint_id)
                && query.until.is_none_or(|until| record.create_time < until);
            if wanted && keep(&record) {
                items.push(record);
                if items.len() >= page.rows() {
                    return Ok(Listed { items, next: last });
                }
            }
        }
        Ok(Listed { items, next: last.filter(|_| more) })
    }

    /// The attempts of a delivery, first to last. A first one that succeeded is read from the delivery itself.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::BadPosition`].
    pub async fn list_attempts(&self, tenant: &str, key: DeliveryKey, page: &Page) -> Result<Listed<AttemptRecord>, Error> {
        let delivery = self.get_delivery(tenant, key).await?;
        let after = page.numbers::<1>()?.map_or(0, |[number]| number);
        let limit = i64::try_from(page.limit()).unwrap_or(i64::MAX);
        let args =
            [Arg::Int(key.event_seq), Arg::Int(key.endpoint_key), Arg::Int(key.part.into()), Arg::Int(after), Arg::Int(limit)];
        let rows = self.inner.db.fetch(sql!("list_attempts"), &args).await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut record = read_attempt(row, key)?;
            record.answer = self.open_answer(tenant, key, record.number, &row.bytes(8)?).await?;
            items.push(record);
        }
        if items.is_empty() && after == 0 && delivery.attempt_count == 1 {
            items.push(AttemptRecord {
                number: 1,
                class: delivery.last_class.unwrap_or(AttemptClass::Success),
                status: delivery.last_status,
                end_time: delivery.update_time,
                total_ms: self.last_ms(key).await?,
                dns_ms: None,
                connect_ms: None,
                first_byte_ms: None,
                answer: None,
                detail: String::new(),
            });
        }
        Ok(Listed::cut(items, page, |attempt: &AttemptRecord| position(&[attempt.number.into()])))
    }

    async fn last_ms(&self, key: DeliveryKey) -> Result<i32, Error> {
        let args = [Arg::Int(key.event_seq), Arg::Int(key.endpoint_key), Arg::Int(key.part.into())];
        let rows = self.inner.db.fetch(sql!("get_last_ms"), &args).await?;
        rows.first().ok_or(Error::NotFound)?.num(0)
    }
}

/// Rows of a walk, and whether more may follow.
fn full(rows: Vec<Row>) -> (Vec<Row>, bool) {
    let more = rows.len() as i64 >= SCAN;
    (rows, more)
}

/// Reads a row of `get_delivery` and its like.
pub(super) fn read(row: &Row) -> Result<DeliveryRecord, Error> {
    let key = DeliveryKey { event_seq: row.int(0)?, endpoint_key: row.int(1)?, part: row.num(2)? };
    let bad = |problem: String| Error::BadRow { table: "deliveries", row: key.to_string(), problem };
    let code: i16 = row.num(3)?;
    let state = State::from_code(code).ok_or_else(|| bad(format!("state {code}")))?;
    let deleted = row.maybe_int(14)?.is_some();
    Ok(DeliveryRecord {
        key,
        state,
        revision: row.num(4)?,
        attempt_count: row.num(5)?,
        last_class: AttemptClass::from_code(row.num(6)?),
        last_status: row.num(7)?,
        update_time: time(row.int(8)?),
        event_id: row.text(9)?,
        event_type: row.text(10)?,
        create_time: time(row.int(11)?),
        endpoint_id: row.text(12)?,
        endpoint_state: endpoint::State::from_code(row.num(13)?).filter(|_| !deleted),
        // A fresh delivery has no backlog row: it is due since it was accepted.
        due: match row.maybe_int(15)? {
            Some(due) => Some(time(due)),
            None if state == State::Pending => Some(time(row.int(11)?)),
            None => None,
        },
    })
}

fn read_attempt(row: &Row, key: DeliveryKey) -> Result<AttemptRecord, Error> {
    let (number, class): (i32, i16) = (row.num(0)?, row.num(1)?);
    let maybe = |column| Ok::<_, Error>(row.maybe_int(column)?.and_then(|ms| i32::try_from(ms).ok()));
    Ok(AttemptRecord {
        number,
        class: AttemptClass::from_code(class).ok_or_else(|| Error::BadRow {
            table: "attempts",
            row: format!("{key}/{number}"),
            problem: format!("class {class}"),
        })?,
        status: row.num(2)?,
        end_time: time(row.int(3)?),
        total_ms: row.num(4)?,
        dns_ms: maybe(5)?,
        connect_ms: maybe(6)?,
        first_byte_ms: maybe(7)?,
        answer: None,
        detail: row.text(9)?,
    })
}
