use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;

use super::*;
use crate::clock::Clock;
use crate::domain::caller::{Caller, Scope};
use crate::store::publish::Accepted;

type Submitted = (Vec<NewEvent>, oneshot::Sender<Result<Vec<Verdict>, Arc<store::Error>>>);

/// Keeps what was submitted until the test answers it.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<VecDeque<Submitted>>>);

impl Submit for Script {
    async fn submit(&self, events: Vec<NewEvent>) -> Result<Answer, Arc<store::Error>> {
        let (reply, answer) = oneshot::channel();
        self.0.lock().unwrap().push_back((events, reply));
        Ok(answer)
    }

    async fn types(&self, _: &Arc<str>, _: &str, _: i32) -> Result<Arc<RegisteredTypes>, store::Error> {
        Ok(Arc::default())
    }
}

impl Script {
    /// Ids of the events of each submission that waits.
    fn submitted(&self) -> Vec<Vec<String>> {
        self.0.lock().unwrap().iter().map(|(events, _)| events.iter().map(|event| event.id.clone()).collect()).collect()
    }

    fn accept_at(&self, index: usize) {
        let (events, reply) = self.0.lock().unwrap().remove(index).unwrap();
        let verdict = |event: NewEvent| {
            Verdict::Accepted(Accepted { event_id: event.id, seq: 1, delivery_count: 0, skipped_count: 0, duplicate: false })
        };
        reply.send(Ok(events.into_iter().map(verdict).collect())).unwrap();
    }

    fn fail(&self, error: store::Error) {
        let (_, reply) = self.0.lock().unwrap().pop_front().unwrap();
        reply.send(Err(Arc::new(error))).unwrap();
    }
}

type Requests = mpsc::UnboundedSender<Result<v1::PublishEventStreamRequest, Status>>;
type Tested = Pipeline<UnboundedReceiverStream<Result<v1::PublishEventStreamRequest, Status>>, Script>;

fn pipeline() -> (Requests, Script, CancellationToken, Tested) {
    let (requests, received) = mpsc::unbounded_channel();
    let (script, stop) = (Script::default(), CancellationToken::new());
    let call = Call::of(Caller::new("key_1", ["acme", "other"].map(|tenant| Scope::Tenant(tenant.to_owned()))));
    let tested = Pipeline::new(
        UnboundedReceiverStream::new(received),
        script.clone(),
        call,
        Checker { clock: Clock::system(), max_data_bytes: 64 << 10 },
        stop.clone(),
    );
    (requests, script, stop, tested)
}

fn event(tenant: &str, id: &str) -> Result<v1::PublishEventStreamRequest, Status> {
    event_with(tenant, id, Bytes::from_static(br#"{"user":{"id":"u1"}}"#))
}

fn event_with(tenant: &str, id: &str, data: Bytes) -> Result<v1::PublishEventStreamRequest, Status> {
    let request = v1::PublishEventRequest {
        parent: format!("tenants/{tenant}"),
        event_id: id.to_owned(),
        r#type: "user.created".to_owned(),
        data,
        ..Default::default()
    };
    Ok(v1::PublishEventStreamRequest { request: Some(request) })
}

/// The name of the event that the next answer is about, or the reason of its error; a status ends it with its code.
fn next(tested: &mut Tested) -> Option<Result<String, Code>> {
    match tested.next().now_or_never()?? {
        Err(status) => Some(Err(status.code())),
        Ok(response) => match response.result.unwrap().result.unwrap() {
            v1::publish_result::Result::Response(response) => Some(Ok(response.event)),
            v1::publish_result::Result::Error(error) => Some(Ok(error.reason)),
        },
    }
}

fn named(tenant: &str, id: &str) -> Option<Result<String, Code>> {
    Some(Ok(format!("tenants/{tenant}/events/{id}")))
}

#[test]
fn what_arrives_together_is_submitted_together_and_answered_in_order_around_a_wrong_event() {
    let (requests, script, _stop, mut tested) = pipeline();
    for id in ["a", "not.allowed", "b"] {
        requests.send(event("acme", id)).unwrap();
    }
    assert_eq!(next(&mut tested), None, "nothing is answered before its commit");
    assert_eq!(script.submitted(), [["a", "b"]]);
    script.accept_at(0);
    assert_eq!(next(&mut tested), named("acme", "a"));
    assert_eq!(next(&mut tested), Some(Ok("INVALID_FIELDS".to_owned())));
    assert_eq!(next(&mut tested), named("acme", "b"));
}

#[test]
fn a_later_commit_that_is_known_first_waits_for_its_turn() {
    let (requests, script, _stop, mut tested) = pipeline();
    requests.send(event("acme", "a")).unwrap();
    assert_eq!(next(&mut tested), None);
    requests.send(event("acme", "b")).unwrap();
    assert_eq!(next(&mut tested), None);
    script.accept_at(1);
    assert_eq!(next(&mut tested), None);
    script.accept_at(0);
    assert_eq!([next(&mut tested), next(&mut tested)], [named("acme", "a"), named("acme", "b")]);
}

#[test]
fn tenants_are_submitted_apart_and_one_out_of_sight_is_not_found() {
    let (requests, script, _stop, mut tested) = pipeline();
    for (tenant, id) in [("acme", "a"), ("other", "b"), ("hidden", "c"), ("acme", "d")] {
        requests.send(event(tenant, id)).unwrap();
    }
    assert_eq!(next(&mut tested), None);
    assert_eq!(script.submitted(), [["a"], ["b"], ["d"]]);
    script.fail(store::Error::NotFound);
    script.accept_at(0);
    script.accept_at(0);
    let not_found = Some(Ok("RESOURCE_NOT_FOUND".to_owned()));
    let answers = [(); 4].map(|()| next(&mut tested));
    assert_eq!(answers, [not_found.clone(), named("other", "b"), not_found, named("acme", "d")]);
}

#[test]
fn no_more_is_read_than_may_wait_and_reading_goes_on_with_the_answers() {
    let (requests, script, _stop, mut tested) = pipeline();
    for number in 0..MAX_EVENTS + 100 {
        requests.send(event("acme", &number.to_string())).unwrap();
    }
    assert_eq!(next(&mut tested), None);
    let waiting = |script: &Script| script.submitted().iter().map(Vec::len).sum::<usize>();
    assert_eq!(waiting(&script), MAX_EVENTS);
    script.accept_at(0);
    for number in 0..GROUP_EVENTS {
        assert_eq!(next(&mut tested), named("acme", &number.to_string()));
    }
    assert_eq!(next(&mut tested), None);
    assert_eq!(waiting(&script), MAX_EVENTS);
}

#[test]
fn payloads_that_wait_are_bounded_in_bytes() {
    let (requests, script, _stop, mut tested) = pipeline();
    let mut data = br#"{"user":{"id":"u1"},"a":""#.to_vec();
    data.resize((64 << 10) - 2, b'x');
    data.extend_from_slice(br#""}"#);
    let data = Bytes::from(data);
    for number in 0..100 {
        requests.send(event_with("acme", &number.to_string(), data.clone())).unwrap();
    }
    assert_eq!(next(&mut tested), None);
    assert_eq!(script.submitted().iter().map(Vec::len).sum::<usize>(), 64, "4 MiB of 64 KiB each");
}

#[test]
fn a_drain_ends_the_stream_after_the_answers_that_are_due() {
    let (requests, script, stop, mut tested) = pipeline();
    requests.send(event("acme", "a")).unwrap();
    assert_eq!(next(&mut tested), None);
    stop.cancel();
    requests.send(event("acme", "late")).unwrap();
    assert_eq!(next(&mut tested), None);
    script.accept_at(0);
    assert_eq!(next(&mut tested), named("acme", "a"));
    assert_eq!(next(&mut tested), Some(Err(Code::Unavailable)));
    assert!(tested.next().now_or_never().unwrap().is_none(), "the stream has ended");
    assert!(script.submitted().is_empty(), "what came after the stop was not taken");
}

#[test]
fn the_end_of_the_requests_ends_the_answers_and_a_broken_request_its_status() {
    for (last, code) in [(None, None), (Some(Status::from(Error::DeadlinePassed)), Some(Err(Code::DeadlineExceeded)))] {
        let (requests, script, _stop, mut tested) = pipeline();
        requests.send(event("acme", "a")).unwrap();
        if let Some(status) = last {
            requests.send(Err(status)).unwrap();
        }
        drop(requests);
        assert_eq!(next(&mut tested), None);
        script.accept_at(0);
        assert_eq!(next(&mut tested), named("acme", "a"));
        assert_eq!(next(&mut tested), code);
        assert!(tested.next().now_or_never().unwrap().is_none());
    }
}

#[test]
fn a_commit_that_fails_is_told_to_each_of_its_events() {
    let (requests, script, _stop, mut tested) = pipeline();
    for id in ["a", "b"] {
        requests.send(event("acme", id)).unwrap();
    }
    assert_eq!(next(&mut tested), None);
    script.fail(store::Error::EpochLost);
    let unavailable = Some(Ok("STORE_UNAVAILABLE".to_owned()));
    assert_eq!([next(&mut tested), next(&mut tested)], [unavailable.clone(), unavailable]);
}
