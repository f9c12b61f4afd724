//! What every test starts from: a database with its schema, a store on it, a clock that the test moves, and short ways to say things.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::clock::ManualClock;
use crate::domain::delivery::{AttemptClass, Next};
use crate::domain::endpoint::{Endpoint, parse_header_changes};
use crate::domain::event::{NewEvent, Published};
use crate::domain::registered::RegisteredTypes;
use crate::domain::signature::SigningSecret;
use crate::domain::{DeliveryKey, Time};
use crate::store::claims::Claimed;
use crate::store::db::{Arg, Sql};
use crate::store::endpoints::{EndpointChange, EndpointRecord, NewEndpoint};
use crate::store::publish::{self, Accepted, Fresh, Intake, Verdict};
use crate::store::record::{Answer as Response, Hold, Outcome, Timing};
use crate::store::requests::{Answer, Effect, Once, Request};
use crate::store::tenants::NewTenant;
use crate::store::testing::Database;
use crate::store::{Dialect, Epoch, Error, Store};

/// A database of one test, and the first node on it.
pub(super) struct Fixture {
    pub(super) store: Store,
    pub(super) clock: ManualClock,
    pub(super) database: Database,
}

impl Fixture {
    pub(super) async fn sqlite() -> Self {
        Self::on(Database::sqlite()).await
    }

    pub(super) async fn postgres(test: &str) -> Option<Self> {
        Some(Self::on(Database::postgres(test).await?).await)
    }

    async fn on(database: Database) -> Self {
        let clock = ManualClock::new(Time::from_millis(1_795_597_200_000));
        let store = database.open(clock.clock()).await;
        Self { store, clock, database }
    }

    /// Another node on the same database; on SQLite there is never one.
    pub(super) async fn another(&self) -> Store {
        self.database.open(self.clock.clock()).await
    }

    pub(super) fn is_postgres(&self) -> bool {
        self.store.dialect() == Dialect::Postgres
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(super) async fn join(&self) -> Arc<Epoch> {
        self.store.join("one").await.unwrap()
    }

    /// A tenant of this id.
    pub(super) async fn tenant(&self, id: &str) {
        let new = NewTenant { id: id.to_owned(), display_name: id.to_uppercase() };
        self.store.create_tenant(new, None).await.unwrap();
    }

    /// An endpoint that gets everything that is sent unasked.
    pub(super) async fn endpoint(&self, tenant: &str, id: &str) -> EndpointRecord {
        create_endpoint(&self.store, new_endpoint(tenant, id)).await.unwrap()
    }

    /// A joined node with tenant `acme` and its endpoint `siem`.
    pub(super) async fn siem(&self) -> (Arc<Epoch>, EndpointRecord) {
        let epoch = self.join().await;
        self.tenant("acme").await;
        (epoch, self.endpoint("acme", "siem").await)
    }

    /// Opens every connection of the callers' pool, so that calls made together run together. SQLite has one that writes.
    pub(super) async fn open_connections(&self) {
        if self.is_postgres() {
            futures::future::join_all((0..4).map(|_| self.store.begin_orm())).await;
        }
    }

    /// The one number that a statement finds.
    pub(super) async fn number(&self, sql: &'static str) -> i64 {
        number(&self.store, sql).await
    }
}

pub(super) async fn number(store: &Store, sql: &'static str) -> i64 {
    let rows = store.inner.db.fetch(Sql { postgres: sql, sqlite: sql }, &[]).await.unwrap();
    rows.first().unwrap().int(0).unwrap()
}

/// Writes a statement that only a test needs.
pub(super) async fn execute(store: &Store, sql: &'static str, args: &[Arg<'_>]) -> u64 {
    let mut tx = store.inner.db.begin().await.unwrap();
    let count = tx.execute(Sql { postgres: sql, sqlite: sql }, args).await.unwrap();
    tx.commit().await.unwrap();
    count
}

pub(super) fn new_endpoint(tenant: &str, id: &str) -> NewEndpoint {
    NewEndpoint {
        tenant: tenant.to_owned(),
        id: id.to_owned(),
        secret: secret(1),
        fields: EndpointChange {
            url: Some(url::Url::parse("https://receiver.test/hook").unwrap()),
            display_name: Some("Receiver".to_owned()),
            headers: Some(parse_header_changes([("x-token", "canary-header")]).unwrap()),
            permanent_statuses: Some(vec![404, 422]),
            ..EndpointChange::default()
        },
    }
}

pub(super) fn secret(byte: u8) -> SigningSecret {
    SigningSecret::generate([byte; 32])
}

pub(super) async fn create_endpoint(store: &Store, new: NewEndpoint) -> Result<EndpointRecord, Error> {
    store.create_endpoint(new, 100, Effect::Apply, None).await.map(done)
}

/// What a change made now.
pub(super) fn done<R>(answer: Answer<R>) -> R {
    match answer {
        Answer::Done(record) => record,
        Answer::Replayed(_) => panic!("the change was replayed"),
    }
}

/// Takes steps until there are no more, and says how many there were.
pub(super) async fn steps(mut step: impl AsyncFnMut() -> Result<bool, Error>) -> usize {
    for taken in 0..1_000 {
        if !step().await.unwrap() {
            return taken;
        }
    }
    panic!("the steps do not end")
}

/// A request id, and an answer that tells what was made.
pub(super) fn once<'a, R: std::fmt::Debug>(tenant: &str, method: &'static str, id: &str, hash: u8) -> Option<Once<'a, R>> {
    let request = Request { tenant: tenant.to_owned(), method, request_id: id.to_owned(), hash: [hash; 32] };
    Some(Once { request, encode: Box::new(|record| format!("{record:?}").into_bytes()) })
}

/// An event with a chosen id; the payload follows from the id.
pub(super) fn event(tenant: &str, id: &str) -> NewEvent {
    sent(tenant, Published { event_id: id.to_owned(), ..published(id) })
}

pub(super) fn published(payload: &str) -> Published {
    let data = Bytes::from(format!(r#"{{"user":{{"id":"{payload}"}},"note":"canary-payload"}}"#));
    Published { event_type: "user.created".to_owned(), data, ..Published::default() }
}

pub(super) fn sent(tenant: &str, published: Published) -> NewEvent {
    let fresh = format!("evt_{}", uuid::Uuid::new_v4().simple());
    NewEvent::check(&Arc::from(tenant), published, fresh, 1 << 20, &RegisteredTypes::default()).unwrap()
}

/// Publishes in one call, without a dispatcher: every delivery goes to the backlog.
pub(super) async fn publish(store: &Store, events: Vec<NewEvent>) -> Vec<Verdict> {
    publish_to(store, None, events).await.unwrap()
}

pub(super) async fn publish_to(
    store: &Store,
    hands: Option<&Arc<Hands>>,
    events: Vec<NewEvent>,
) -> Result<Vec<Verdict>, Arc<Error>> {
    let intake = hands.map(|hands| Arc::clone(hands) as Arc<dyn Intake>);
    let (publisher, committer) = publish::channel(store.clone(), intake, 16);
    let publishing = async {
        let answer = publisher.publish(events).await;
        drop(publisher);
        answer
    };
    tokio::join!(publishing, Box::pin(committer.run(CancellationToken::new()))).0
}

pub(super) fn accepted(verdict: &Verdict) -> &Accepted {
    match verdict {
        Verdict::Accepted(accepted) => accepted,
        other => panic!("not accepted: {other:?}"),
    }
}

/// Publishes one event and takes its only delivery as fresh.
pub(super) async fn publish_fresh(store: &Store, event: NewEvent) -> Fresh {
    let hands = Hands::with_room(1);
    publish_to(store, Some(&hands), vec![event]).await.unwrap();
    hands.take().pop().unwrap()
}

/// A dispatcher that only holds what it is given.
pub(super) struct Hands {
    room: AtomicUsize,
    held: Mutex<Vec<Fresh>>,
}

impl Hands {
    pub(super) fn with_room(room: usize) -> Arc<Self> {
        Arc::new(Self { room: AtomicUsize::new(room), held: Mutex::default() })
    }

    pub(super) fn take(&self) -> Vec<Fresh> {
        std::mem::take(&mut self.held.lock().unwrap())
    }

    pub(super) fn room(&self) -> usize {
        self.room.load(Ordering::SeqCst)
    }
}

impl Intake for Hands {
    fn reserve(&self, _: &Arc<Endpoint>, _: usize) -> bool {
        self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| room.checked_sub(1)).is_ok()
    }

    fn release(&self, _: i64, _: usize) {
        self.room.fetch_add(1, Ordering::SeqCst);
    }

    fn deliver(&self, fresh: Vec<Fresh>) {
        self.held.lock().unwrap().extend(fresh);
    }
}

/// The outcome of the first attempt of a fresh delivery.
pub(super) fn of_fresh(fresh: &Fresh, next: Next) -> Outcome {
    Outcome {
        key: fresh.key,
        event: Arc::clone(&fresh.event),
        endpoint_id: Arc::clone(&fresh.endpoint.id),
        epoch: Arc::clone(&fresh.epoch),
        hold: Hold::Fresh(Arc::clone(&fresh.ticket)),
        number: 1,
        schedule_attempts: 1,
        priority: 1,
        class: class(next),
        status: status(next),
        end_time: Time::from_millis(1_795_597_201_000),
        next,
        timing: Timing { total_ms: 42, dns_ms: Some(1), connect_ms: Some(2), first_byte_ms: None },
        address: "192.0.2.1:443".to_owned(),
        answer: Some(Response { headers: [("server".to_owned(), "x".to_owned())].into(), body: b"canary-answer".to_vec() }),
        detail: String::new(),
    }
}

/// The outcome of an attempt of a claimed delivery.
pub(super) fn of_claimed(claimed: &Claimed, epoch: &Arc<Epoch>, next: Next) -> Outcome {
    Outcome {
        key: claimed.key,
        event: Arc::clone(&claimed.event),
        endpoint_id: "siem".into(),
        epoch: Arc::clone(epoch),
        hold: Hold::Leased { token: claimed.token },
        number: claimed.attempt_count + 1,
        schedule_attempts: claimed.schedule_attempts + 1,
        priority: claimed.priority,
        class: class(next),
        status: status(next),
        end_time: Time::from_millis(1_795_597_202_000),
        next,
        timing: Timing { total_ms: 7, ..Timing::default() },
        address: String::new(),
        answer: None,
        detail: String::new(),
    }
}

fn class(next: Next) -> AttemptClass {
    if next == Next::Succeeded { AttemptClass::Success } else { AttemptClass::ServerError }
}

fn status(next: Next) -> u16 {
    if next == Next::Succeeded { 200 } else { 503 }
}

pub(super) fn key(seq: i64, endpoint: &EndpointRecord) -> DeliveryKey {
    DeliveryKey { event_seq: seq, endpoint_key: endpoint.endpoint.key, part: 0 }
}
