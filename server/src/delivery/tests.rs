//! The dispatcher on a real store with a scripted transport. The clock is driven by hand.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::Dispatcher;
use crate::clock::ManualClock;
use crate::domain::delivery::State;
use crate::domain::endpoint::parse_event_types;
use crate::domain::event::{NewEvent, Published};
use crate::domain::registered::RegisteredTypes;
use crate::domain::retry::RetryPolicy;
use crate::domain::secret::KeyRing;
use crate::domain::signature::SigningSecret;
use crate::domain::{DeliveryKey, Time};
use crate::outbound::{Error, Failure, Request, Response, Timing, Transport};
use crate::store::endpoints::{EndpointChange, NewEndpoint, PausedReason, Wanted};
use crate::store::publish::{self, Publisher, Verdict};
use crate::store::record;
use crate::store::requests::Effect;
use crate::store::schema::{Mode, Schema};
use crate::store::tenants::NewTenant;
use crate::store::{Options, Store};
use crate::tasks::{OnEnd, Supervisor};

/// What the receiver at a host does with its next requests; after the script it answers 200.
#[derive(Debug, Clone)]
enum Step {
    Status(u16),
    RetryAfter(u16, &'static str),
    Refuse,
    Hang,
    Panic,
}

#[derive(Default)]
struct Script {
    steps: Mutex<std::collections::HashMap<String, VecDeque<Step>>>,
    sent: Mutex<Vec<(String, String, String)>>,
    hanging: AtomicUsize,
}

impl Transport for Script {
    fn send(&self, request: Request<'_>) -> impl Future<Output = Result<Response, Failure>> + Send {
        let host = request.url.host_str().unwrap().to_owned();
        let header = |name: &str| request.headers.get(name).unwrap().to_str().unwrap().to_owned();
        self.sent.lock().unwrap().push((host.clone(), header("webhook-id"), header("gatepost-attempt")));
        let step = self.steps.lock().unwrap().entry(host).or_default().pop_front().unwrap_or(Step::Status(200));
        async move {
            let answer = |status: u16, retry_after: Option<&str>| {
                let mut headers = http::HeaderMap::new();
                if let Some(value) = retry_after {
                    headers.insert(http::header::RETRY_AFTER, value.parse().unwrap());
                }
                Ok(Response {
                    status,
                    headers,
                    body: Bytes::from_static(b"answer"),
                    is_cut: false,
                    timing: Timing::default(),
                    remote_addr: None,
                })
            };
            match step {
                Step::Status(status) => answer(status, None),
                Step::RetryAfter(status, value) => answer(status, Some(value)),
                Step::Refuse => {
                    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                    Err(Failure { error: Error::Connect(Arc::new(refused)), timing: Timing::default() })
                }
                Step::Hang => {
                    self.hanging.fetch_add(1, Ordering::Relaxed);
                    std::future::pending().await
                }
                Step::Panic => panic!("scripted"),
            }
        }
    }
}

struct Rig {
    clock: ManualClock,
    store: Store,
    script: Arc<Script>,
    dispatcher: Dispatcher<Script>,
    publisher: Publisher,
    supervisor: Supervisor,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(Time::from_millis(1_795_597_200_000));
        let url = format!("sqlite://{}", folder.path().join("gatepost.db").display());
        let schema = Schema::open(&url, clock.clock()).await.unwrap();
        schema.ensure(Mode::Apply).await.unwrap();
        schema.close().await;
        drop(schema);
        let keys = KeyRing::parse("k1:Z2F0ZXBvc3QtdGVzdHMtb25seS1tYXN0ZXIta2V5LTE=").unwrap();
        let options = Options {
            url,
            max_connections: 4,
            keys,
            clock: clock.clock(),
            metrics: Arc::default(),
            site: crate::store::testing::site(),
        };
        let store = Store::open(options).await.unwrap();
        store.join("test").await.unwrap();
        store.create_tenant(NewTenant { id: "acme".to_owned(), display_name: String::new() }, None).await.unwrap();
        let supervisor = Supervisor::new();
        let script = Arc::new(Script::default());
        let (recorder, record_loop) = record::channel(store.clone());
        let dispatcher = Dispatcher::new(
            store.clone(),
            Arc::clone(&script),
            recorder,
            supervisor.group(),
            super::Limits { max_sockets: 100, queue: 20_000 },
        );
        let (publisher, committer) = publish::channel(store.clone(), Some(Arc::new(dispatcher.clone())), 1_000);
        let stop = supervisor.stop_token();
        supervisor.spawn("committer", OnEnd::Ignore, committer.run(stop.clone()));
        supervisor.spawn("recorder", OnEnd::Ignore, record_loop.run(stop.clone(), CancellationToken::new()));
        supervisor.spawn("claimer", OnEnd::Ignore, dispatcher.clone().run_claimer(stop.clone()));
        supervisor.spawn("sweeper", OnEnd::Ignore, dispatcher.clone().run_sweeper(stop));
        Self { clock, store, script, dispatcher, publisher, supervisor, _folder: folder }
    }

    /// An endpoint at `https://{id}.test/` that waits 10 s before its second and third attempt.
    async fn endpoint(&self, id: &str) -> i64 {
        let new = NewEndpoint {
            tenant: "acme".to_owned(),
            id: id.to_owned(),
            secret: SigningSecret::generate([7; 32]),
            fields: EndpointChange {
                url: Some(format!("https://{id}.test/").parse().unwrap()),
                event_types: Some(parse_event_types(&["user.*"]).unwrap()),
                retry: Some(RetryPolicy::Explicit { waits: vec![Duration::from_secs(10); 2] }),
                max_in_flight: Some(2),
                permanent_statuses: Some(vec![422]),
                ..EndpointChange::default()
            },
        };
        self.store.create_endpoint(new, 100, Effect::Apply, None).await.unwrap();
        self.store.get_endpoint("acme", id).await.unwrap().endpoint.key
    }

    fn script(&self, id: &str, steps: impl IntoIterator<Item = Step>) {
        self.script.steps.lock().unwrap().insert(format!("{id}.test"), steps.into_iter().collect());
    }

    /// Publishes `user.created` and returns its number.
    async fn publish(&self, id: &str) -> i64 {
        let sent = Published {
            event_id: id.to_owned(),
            event_type: "user.created".to_owned(),
            data: Bytes::from_static(br#"{"user":{"id":"u1"}}"#),
            ..Published::default()
        };
        let event = NewEvent::check(&Arc::from("acme"), sent, String::new(), 1_000, &RegisteredTypes::default()).unwrap();
        match self.publisher.publish(vec![event]).await.unwrap().remove(0) {
            Verdict::Accepted(accepted) => accepted.seq,
            other => panic!("{other:?}"),
        }
    }

    async fn state(&self, event_seq: i64, endpoint_key: i64) -> (State, i32) {
        let found = self.store.get_delivery("acme", DeliveryKey { event_seq, endpoint_key, part: 0 }).await.unwrap();
        (found.state, found.attempt_count)
    }

    async fn until(&self, event_seq: i64, endpoint_key: i64, wanted: (State, i32)) {
        let mut last = None;
        for _ in 0..1_000 {
            let state = self.state(event_seq, endpoint_key).await;
            if state == wanted {
                return;
            }
            last = Some(state);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("wanted {wanted:?}, found {last:?}; sent {:?}", self.script.sent.lock().unwrap());
    }

    /// Advances the clock until the delivery is as wanted: whichever loop waits for its time gets it.
    async fn advance_until(&self, event_seq: i64, endpoint_key: i64, wanted: (State, i32)) {
        for _ in 0..200 {
            if self.state(event_seq, endpoint_key).await == wanted {
                return;
            }
            self.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("wanted {wanted:?}, found {:?}", self.state(event_seq, endpoint_key).await);
    }

    fn sent_to(&self, id: &str) -> Vec<(String, String)> {
        let host = format!("{id}.test");
        let sent = self.script.sent.lock().unwrap();
        sent.iter().filter(|(to, ..)| *to == host).map(|(_, id, attempt)| (id.clone(), attempt.clone())).collect()
    }

    async fn sent_count(&self, id: &str, count: usize) {
        for _ in 0..1_000 {
            if self.sent_to(id).len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{count} requests to {id} wanted, sent {:?}", self.sent_to(id));
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.supervisor.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_delivery_is_sent_and_recorded() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    let seq = rig.publish("e1").await;
    rig.until(seq, siem, (State::Succeeded, 1)).await;
    assert_eq!(rig.sent_to("siem"), [("e1".to_owned(), "1".to_owned())]);
    assert_eq!(rig.store.backlog_heads().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_waits_for_its_time_and_is_sent_again() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    rig.script("siem", [Step::Status(503), Step::Refuse]);
    let seq = rig.publish("e1").await;
    rig.until(seq, siem, (State::Retrying, 1)).await;
    assert_eq!(rig.sent_to("siem").len(), 1);
    rig.advance_until(seq, siem, (State::Succeeded, 3)).await;
    let attempts: Vec<_> = rig.sent_to("siem").into_iter().map(|(_, attempt)| attempt).collect();
    assert_eq!(attempts, ["1", "2", "3"]);
}

/// The claimer takes the first when it is due, and must learn from nobody but the database when the second is.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_behind_a_claim_does_not_wait_for_the_poll() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    rig.script("siem", [Step::Status(503), Step::Status(503)]);
    let first = rig.publish("e1").await;
    rig.until(first, siem, (State::Retrying, 1)).await;
    rig.clock.advance(Duration::from_secs(5));
    let second = rig.publish("e2").await;
    rig.until(second, siem, (State::Retrying, 1)).await;
    let begun = rig.store.now();
    rig.advance_until(second, siem, (State::Succeeded, 2)).await;
    assert!(rig.store.now().since(begun) < Duration::from_secs(20), "it was due 10 to 12 s after it failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn used_up_and_permanent_failures_are_dead_letters() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    rig.script("siem", [Step::Status(422)]);
    let seq = rig.publish("e1").await;
    rig.until(seq, siem, (State::Dead, 1)).await;
    rig.script("siem", [Step::Status(500), Step::Status(500), Step::Status(500)]);
    let seq = rig.publish("e2").await;
    rig.advance_until(seq, siem, (State::Dead, 3)).await;
    rig.store.retry_delivery("acme", DeliveryKey { event_seq: seq, endpoint_key: siem, part: 0 }, None).await.unwrap();
    rig.until(seq, siem, (State::Succeeded, 4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_endpoint_keeps_nobody_else_waiting() {
    let rig = Rig::new().await;
    let (hung, well) = (rig.endpoint("hung").await, rig.endpoint("well").await);
    rig.script("hung", std::iter::repeat_n(Step::Hang, 50));
    let mut last = 0;
    for number in 0..20 {
        last = rig.publish(&format!("e{number}")).await;
    }
    rig.until(last, well, (State::Succeeded, 1)).await;
    assert_eq!(rig.state(last, hung).await, (State::Pending, 0));
    assert_eq!(rig.script.hanging.load(Ordering::Relaxed), 2, "no more than max_in_flight");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_what_is_queued_and_a_resume_sends_it() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    rig.script("siem", [Step::Hang, Step::Hang]);
    for number in 0..5 {
        rig.publish(&format!("e{number}")).await;
    }
    rig.sent_count("siem", 2).await;
    rig.store.set_endpoint_state("acme", "siem", Wanted::Pause(PausedReason::Manual)).await.unwrap();
    let seq = rig.publish("e5").await;
    assert_eq!(rig.state(seq, siem).await, (State::Pending, 0));
    assert_eq!(rig.sent_to("siem").len(), 2);
    // The two that hang keep their slots for ever; a new epoch gets them back.
    rig.store.epoch().unwrap().over.cancel();
    rig.store.join("test").await.unwrap();
    while rig.store.adopt_step().await.unwrap() {}
    rig.store.set_endpoint_state("acme", "siem", Wanted::Resume).await.unwrap();
    rig.until(seq, siem, (State::Succeeded, 1)).await;
    rig.sent_count("siem", 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttling_receiver_holds_its_whole_endpoint() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    rig.script("siem", [Step::RetryAfter(429, "60")]);
    let first = rig.publish("e1").await;
    rig.until(first, siem, (State::Retrying, 1)).await;
    let second = rig.publish("e2").await;
    rig.clock.advance(Duration::from_secs(30));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.sent_to("siem").len(), 1, "nothing before the receiver's time");
    rig.advance_until(second, siem, (State::Succeeded, 1)).await;
    rig.advance_until(first, siem, (State::Succeeded, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_disables_the_endpoint_and_keeps_the_delivery() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    rig.script("siem", [Step::Status(410)]);
    let seq = rig.publish("e1").await;
    rig.until(seq, siem, (State::Retrying, 1)).await;
    assert!(rig.store.get_endpoint("acme", "siem").await.unwrap().disabled_reason.is_some());
    rig.store.set_endpoint_state("acme", "siem", Wanted::Enable).await.unwrap();
    rig.until(seq, siem, (State::Succeeded, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_panics_is_made_again() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    rig.script("siem", [Step::Panic]);
    let seq = rig.publish("e1").await;
    rig.until(seq, siem, (State::Succeeded, 1)).await;
    assert_eq!(rig.sent_to("siem").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_wins_over_an_attempt_on_the_wire() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    rig.script("siem", [Step::Hang]);
    let seq = rig.publish("e1").await;
    rig.sent_count("siem", 1).await;
    rig.store.cancel_delivery("acme", DeliveryKey { event_seq: seq, endpoint_key: siem, part: 0 }).await.unwrap();
    assert_eq!(rig.state(seq, siem).await, (State::Cancelled, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_gives_back_what_was_not_begun() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    rig.script("siem", std::iter::repeat_n(Step::Hang, 2));
    for number in 0..5 {
        rig.publish(&format!("e{number}")).await;
    }
    rig.sent_count("siem", 2).await;
    rig.dispatcher.drain();
    // The sweeper was rung; the three that were not begun are backlog of the endpoint soon.
    for _ in 0..1_000 {
        if rig.store.endpoint_stats(siem, Duration::from_secs(60)).await.unwrap().pending_count == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let heads = rig.store.backlog_heads().await.unwrap();
    assert_eq!(heads.iter().map(|head| head.endpoint_key).collect::<Vec<_>>(), [siem]);
    assert_eq!(rig.dispatcher.in_flight(siem), 2);
}

#[tokio::test]
async fn an_epoch_that_ends_with_a_full_queue_leaves_all_of_it_to_the_next() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    rig.script("siem", [Step::Hang, Step::Hang]);
    let mut seqs = Vec::new();
    for number in 0..5 {
        seqs.push(rig.publish(&format!("evt_{number}")).await);
    }
    rig.sent_count("siem", 2).await;
    rig.store.join("test").await.unwrap();
    while rig.store.adopt_step().await.unwrap() {}
    for seq in seqs {
        rig.until(seq, siem, (State::Succeeded, 1)).await;
    }
}

#[tokio::test]
async fn nothing_is_sent_once_the_last_beat_is_too_old() {
    let rig = Rig::new().await;
    let siem = rig.endpoint("siem").await;
    let epoch = rig.store.epoch().unwrap();
    epoch.trust_until(rig.clock.clock().instant() + Duration::from_secs(10));
    rig.clock.advance(Duration::from_secs(11));
    let seq = rig.publish("evt_1").await;
    tokio::time::timeout(Duration::from_secs(20), epoch.over.cancelled()).await.expect("the attempt ends the epoch");
    assert!(rig.sent_to("siem").is_empty(), "another node may have it");
    rig.store.join("test").await.unwrap();
    while rig.store.adopt_step().await.unwrap() {}
    rig.until(seq, siem, (State::Succeeded, 1)).await;
    assert_eq!(rig.sent_to("siem"), [("evt_1".to_owned(), "1".to_owned())]);
}
