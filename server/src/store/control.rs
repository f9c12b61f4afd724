//! Moves of single deliveries outside their attempts: by a person, and by the dispatcher when it gives work back.
//!
//! Locks are taken in the order backlog, delivery, as the recorder does. What a watcher must see goes through a control lane; giving
//! work back changes no state and is told to nobody.

use std::sync::Arc;

use super::bulk::{Bulk, Column};
use super::db::{Arg, Row, Tx, sql};
use super::deliveries::{self, DeliveryRecord};
use super::journal::Written;
use super::nodes::fence;
use super::requests::{Answer, Once};
use super::{Epoch, Error, Store, Ticket, at, time};
use crate::domain::change::{Changes, DeliveryChange};
use crate::domain::delivery::State;
use crate::domain::{DeliveryKey, Time};

/// A delivery as a move found it, locked.
struct Found {
    state: State,
    revision: i32,
    attempt_count: i32,
    last_class: i16,
    last_status: i16,
    event_id: String,
    event_type: String,
    create_time: Time,
    endpoint_id: String,
    endpoint_deleted: bool,
}

/// What a move did: the state it left, and when the delivery is due; `None`: nothing moved.
type Moved = Option<(State, Option<Time>)>;

/// What a person wants of a delivery.
#[derive(Debug, Clone, Copy)]
enum Order {
    Retry,
    Cancel,
}

impl Store {
    /// Sends a finished delivery again with a fresh schedule, or makes a waiting one due now.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongState`]: its endpoint was deleted; [`Error::IdempotencyMismatch`]; [`Error::EpochLost`],
    /// [`Error::Unavailable`].
    pub async fn retry_delivery(
        &self,
        tenant: &str,
        key: DeliveryKey,
        once: Option<Once<'_, DeliveryRecord>>,
    ) -> Result<Answer<DeliveryRecord>, Error> {
        let answer = self.order(tenant, key, Order::Retry, once).await?;
        self.inner.bells.backlog.notify_one();
        Ok(answer)
    }

    /// Withdraws an unfinished or dead delivery. It wins over an attempt on the wire, whose outcome is dropped.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongState`]: it has succeeded; [`Error::EpochLost`], [`Error::Unavailable`].
    pub async fn cancel_delivery(&self, tenant: &str, key: DeliveryKey) -> Result<DeliveryRecord, Error> {
        match self.order(tenant, key, Order::Cancel, None).await? {
            Answer::Done(record) => Ok(record),
            // Only a request id is answered so.
            Answer::Replayed(_) => Err(Error::NotFound),
        }
    }

    /// One move, in one commit with the answer that a repeat gets.
    async fn order(
        &self,
        tenant: &str,
        key: DeliveryKey,
        order: Order,
        once: Option<Once<'_, DeliveryRecord>>,
    ) -> Result<Answer<DeliveryRecord>, Error> {
        let data_key = self.data_key(tenant).await?;
        let mut control = self.control().await?;
        loop {
            let (mut tx, now) = control.begin().await?;
            if let Some(once) = &once
                && let Some(first) = self.claim_request(&mut tx, &once.request, &data_key).await?
            {
                return Ok(Answer::Replayed(first));
            }
            let written = move_delivery(&mut tx, tenant, key, order, now).await;
            if let (Some(once), Ok((record, _))) = (&once, &written) {
                self.remember_answer(&mut tx, &once.request, &data_key, &(once.encode)(record)).await?;
            }
            if let Some(record) = control.finish(tx, written).await? {
                return Ok(Answer::Done(record));
            }
        }
    }

    /// Gives fresh deliveries back that were not begun: from now on they are backlog, due now.
    ///
    /// # Errors
    /// [`Error::EpochLost`]: drop them, they are adopted. [`Error::Unavailable`]: repeat.
    pub async fn spill(&self, epoch: &Epoch, fresh: &[(DeliveryKey, Arc<Ticket>)]) -> Result<(), Error> {
        let rows = keys(fresh.iter().map(|(key, _)| *key));
        let mut tx = self.inner.db.begin().await?;
        fence(&mut tx, epoch).await?;
        tx.bulk(sql!("spill_backlog"), &[at(self.now()), Arg::Int(epoch.id)], &rows).await?;
        tx.bulk(sql!("spill_deliveries"), &[Arg::Int(epoch.id)], &rows).await?;
        tx.commit().await?;
        for (_, ticket) in fresh {
            ticket.settle(1);
        }
        Ok(())
    }

    /// Gives claimed deliveries back that were not begun; due again at `due`.
    ///
    /// # Errors
    /// [`Error::EpochLost`]; [`Error::Unavailable`]: they come up again when their lease ends.
    pub async fn release(&self, epoch: &Epoch, claimed: &[(DeliveryKey, i64)], due: Time) -> Result<(), Error> {
        let rows = Bulk::new(vec![
            Column::Int(claimed.iter().map(|(key, _)| key.event_seq).collect()),
            Column::Int(claimed.iter().map(|(key, _)| key.endpoint_key).collect()),
            Column::Int(claimed.iter().map(|(key, _)| key.part.into()).collect()),
            Column::Int(claimed.iter().map(|(_, token)| *token).collect()),
        ]);
        let mut tx = self.inner.db.begin().await?;
        fence(&mut tx, epoch).await?;
        tx.bulk(sql!("release_leases"), &[at(due), Arg::Int(epoch.id)], &rows).await?;
        tx.commit().await
    }
}

/// Locks the delivery, moves it and reads it back.
async fn move_delivery(
    tx: &mut Tx,
    tenant: &str,
    key: DeliveryKey,
    order: Order,
    now: Time,
) -> Result<(DeliveryRecord, Written), Error> {
    let args = key_args(key);
    tx.fetch(sql!("lock_backlog" by dialect), &args).await?;
    let here = [args[0], args[1], args[2], Arg::Text(tenant)];
    let row = tx.fetch_optional(sql!("lock_delivery" by dialect), &here).await?;
    let found = read_found(&row.ok_or(Error::NotFound)?, key)?;
    let moved = match order {
        Order::Retry => retry(tx, key, &found, now).await?,
        Order::Cancel => cancel(tx, key, &found, now).await?,
    };
    let row = tx.fetch_optional(sql!("get_delivery"), &here).await?;
    let record = deliveries::read(&row.ok_or(Error::NotFound)?)?;
    let Some((state, due)) = moved else { return Ok((record, Vec::new())) };
    let mut changes = Changes::default();
    let change = DeliveryChange {
        endpoint_key: key.endpoint_key,
        endpoint_id: found.endpoint_id,
        part: key.part.into(),
        state: state.code().into(),
        revision: found.revision + 1,
        attempt_count: found.attempt_count,
        last_status: found.last_status.into(),
        last_class: found.last_class.into(),
        due: due.map(Time::millis),
        time: now.millis(),
    };
    changes.push(key.event_seq, &found.event_id, &found.event_type, found.create_time.millis(), change);
    Ok((record, vec![(Arc::from(tenant), Arc::new(changes))]))
}

async fn retry(tx: &mut Tx, key: DeliveryKey, found: &Found, now: Time) -> Result<Moved, Error> {
    let args = key_args(key);
    if found.endpoint_deleted {
        return Err(Error::WrongState(found.state.code()));
    }
    if !found.state.is_finished() {
        tx.execute(sql!("hasten_backlog"), &[args[0], args[1], args[2], at(now)]).await?;
        return Ok(None);
    }
    if found.state == State::Succeeded {
        // A first attempt that succeeded lived in this row; it gets its own before the row moves on.
        tx.execute(sql!("keep_first_attempt" by dialect), &args).await?;
    }
    tx.execute(sql!("reopen_delivery"), &[args[0], args[1], args[2], at(now)]).await?;
    tx.execute(sql!("reopen_backlog"), &[args[0], args[1], args[2], at(now), Arg::Int(found.attempt_count.into())]).await?;
    Ok(Some((State::Pending, Some(now))))
}

async fn cancel(tx: &mut Tx, key: DeliveryKey, found: &Found, now: Time) -> Result<Moved, Error> {
    match found.state {
        State::Cancelled => Ok(None),
        State::Succeeded => Err(Error::WrongState(found.state.code())),
        State::Pending | State::Retrying | State::Dead => {
            let args = key_args(key);
            tx.execute(sql!("withdraw_backlog"), &args).await?;
            tx.execute(sql!("cancel_delivery"), &[args[0], args[1], args[2], at(now)]).await?;
            Ok(Some((State::Cancelled, None)))
        }
    }
}

fn keys(keys: impl Iterator<Item = DeliveryKey> + Clone) -> Bulk {
    Bulk::new(vec![
        Column::Int(keys.clone().map(|key| key.event_seq).collect()),
        Column::Int(keys.clone().map(|key| key.endpoint_key).collect()),
        Column::Int(keys.map(|key| key.part.into()).collect()),
    ])
}

fn key_args(key: DeliveryKey) -> [Arg<'static>; 3] {
    [Arg::Int(key.event_seq), Arg::Int(key.endpoint_key), Arg::Int(key.part.into())]
}

fn read_found(row: &Row, key: DeliveryKey) -> Result<Found, Error> {
    let code: i16 = row.num(0)?;
    let state = State::from_code(code).ok_or_else(|| Error::BadRow {
        table: "deliveries",
        row: key.to_string(),
        problem: format!("state {code}"),
    })?;
    Ok(Found {
        state,
        revision: row.num(1)?,
        attempt_count: row.num(2)?,
        last_class: row.num(3)?,
        last_status: row.num(4)?,
        event_id: row.text(5)?,
        event_type: row.text(6)?,
        create_time: time(row.int(7)?),
        endpoint_id: row.text(8)?,
        endpoint_deleted: row.maybe_int(9)?.is_some(),
    })
}
