//! Reading events for people: one with its payload, or a page of them without.

use std::collections::BTreeMap;

use super::db::{Arg, Row, sql};
use super::page::{Listed, Page, position};
use super::{Error, Store, time};
use crate::domain::Time;
use crate::domain::event::Event;
use crate::domain::secret::{Place, Row as PlaceRow};

/// An event as its users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// Its place in the order of acceptance.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// Its type.
    pub event_type: String,
    /// Who or what it is about.
    pub subject: String,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// When it happened.
    pub occurred_time: Time,
    /// When it was accepted.
    pub create_time: Time,
    /// One value for all events with one cause.
    pub txn: String,
    /// Deliveries made of it at publication.
    pub delivery_count: i32,
    /// Version of the schema that the payload satisfies.
    pub schema_version: i32,
    /// The payload; empty in lists.
    pub data: Vec<u8>,
}

impl EventRecord {
    /// As deliveries carry it.
    pub fn into_event(self, tenant: &str) -> Event {
        Event {
            seq: self.seq,
            tenant: tenant.into(),
            id: self.id.into(),
            event_type: self.event_type.into(),
            subject: self.subject,
            occurred_time: self.occurred_time,
            create_time: self.create_time,
            txn: self.txn,
            schema_version: self.schema_version,
            data: self.data.into(),
            standard: std::sync::OnceLock::new(),
        }
    }
}

/// Which events a list holds.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Not before this time.
    pub from: Option<Time>,
    /// Before this time.
    pub until: Option<Time>,
}

/// Rows that one page looks at: a page may be short, even empty, while more follow.
const SCAN: i64 = 2_000;

impl Store {
    /// An event with its payload.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn get_event(&self, tenant: &str, id: &str) -> Result<EventRecord, Error> {
        let rows = self.inner.db.fetch(sql!("get_event"), &[Arg::Text(tenant), Arg::Text(id)]).await?;
        let row = rows.first().ok_or(Error::NotFound)?;
        let mut record = read(row)?;
        let place = Place { tenant, table: "events", row: PlaceRow::Text(id), column: "payload" };
        record.data = self.open_sealed(&place, &row.bytes(10)?).await?;
        Ok(record)
    }

    /// A tenant's events, newest first, without payloads, of those that `keep` wants. Looks at a bounded number of rows.
    ///
    /// # Errors
    /// [`Error::BadPosition`]; [`Error::Unavailable`].
    pub async fn list_events(
        &self,
        tenant: &str,
        page: &Page,
        query: &EventQuery,
        keep: impl Fn(&EventRecord) -> bool,
    ) -> Result<Listed<EventRecord>, Error> {
        let before = page.numbers::<1>()?.map_or(i64::MAX, |[seq]| seq);
        let rows = self.inner.db.fetch(sql!("list_events"), &[Arg::Text(tenant), Arg::Int(before), Arg::Int(SCAN)]).await?;
        let mut items = Vec::new();
        let mut last = None;
        for row in &rows {
            let record = read(row)?;
            if query.from.is_some_and(|from| record.create_time < from) {
                // Numbers follow acceptance, so nothing older is young enough.
                return Ok(Listed { items, next: None });
            }
            last = Some(record.seq);
            if query.until.is_none_or(|until| record.create_time < until) && keep(&record) {
                items.push(record);
                if items.len() >= page.rows() {
                    return Ok(Listed { items, next: last.map(|seq| position(&[seq])) });
                }
            }
        }
        let more = rows.len() as i64 >= SCAN;
        Ok(Listed { items, next: last.filter(|_| more).map(|seq| position(&[seq])) })
    }
}

fn read(row: &Row) -> Result<EventRecord, Error> {
    let id = row.text(1)?;
    let tags = serde_json::from_str(&row.text(4)?).map_err(|error| Error::BadRow {
        table: "events",
        row: id.clone(),
        problem: error.to_string(),
    })?;
    Ok(EventRecord {
        seq: row.int(0)?,
        event_type: row.text(2)?,
        subject: row.text(3)?,
        tags,
        occurred_time: time(row.int(5)?),
        create_time: time(row.int(6)?),
        txn: row.text(7)?,
        delivery_count: row.num(8)?,
        schema_version: row.num(9)?,
        data: Vec::new(),
        id,
    })
}
