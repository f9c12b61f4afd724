//! Publishing: one event, several at once, or a stream of them.
//!
//! Every event has its id before it is sent, so each of these repeats freely: an event that was stored before a connection broke is
//! answered as a duplicate. Results come in the order of the events, one each.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryFutureExt};
use prost::Message;
use tokio::time::Instant;

use crate::call::Repeat;
use crate::client::rpc;
use crate::errors::Error;
use crate::event::NewEvent;
use crate::receipt::Receipt;
use crate::tenant::Tenant;
use crate::v1::publish_result::Result as Outcome;
use crate::v1::{PublishEventRequest, PublishEventStreamRequest, PublishEventStreamResponse, PublishEventsRequest, PublishResult};

/// Most events of one `PublishEvents`.
const BATCH_EVENTS: usize = 1000;

/// Most bytes of one `PublishEvents`: below the server's 4 MiB a message.
const BATCH_BYTES: usize = 4 * 1024 * 1024 - 64 * 1024;

/// Most events of a stream without an answer, and their bytes: what a reconnect sends again.
const WINDOW_EVENTS: usize = 2048;
const WINDOW_BYTES: usize = 8 * 1024 * 1024;

impl Tenant {
    /// Publishes one event; the answer follows the commit that stored it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]: with every bad field. [`Error::IdempotencyMismatch`]: its id was used with other fields.
    pub async fn publish(&self, event: impl Into<NewEvent>) -> Result<Receipt, Error> {
        self.publish_request(event.into().into_request(self.name())).await
    }

    /// Publishes any number of events, up to 1000 in one transaction, and returns one result an event in the same order.
    ///
    /// A wrong event does not stop the others. When a whole call fails, each of its events has that error.
    pub async fn publish_batch(&self, events: impl IntoIterator<Item = NewEvent>) -> Vec<Result<Receipt, Error>> {
        let requests = events.into_iter().map(|event| event.into_request(self.name()));
        let mut results = Vec::new();
        for batch in batches(requests) {
            let call = PublishEventsRequest { parent: self.name().to_owned(), requests: batch.clone() };
            match rpc!(self.client, event_service.publish_events, Repeat::Always, call) {
                Ok(response) if response.results.len() == batch.len() => {
                    for (request, result) in batch.into_iter().zip(response.results) {
                        results.push(self.settle(request, Some(result)).await);
                    }
                }
                Ok(_) => results.extend(batch.iter().map(|_| Err(Error::protocol("not one result an event")))),
                Err(error) => results.extend(batch.iter().map(|_| Err(error.clone()))),
            }
        }
        results
    }

    /// Publishes a stream of events over one call and yields one result an event, in the same order: the fastest way from one
    /// connection.
    ///
    /// Events are taken only as fast as they are stored. A broken connection is made again and what had no answer is sent again. An
    /// error that no repeat changes, or no answer for twice the client's timeout, is the result of every unanswered event and ends
    /// the stream; where none waits while more may come, it is told once.
    pub fn publish_stream(&self, events: impl Stream<Item = NewEvent> + Send + 'static) -> PublishStream {
        PublishStream(Box::pin(stream(self.clone(), events.boxed().fuse())))
    }

    async fn publish_request(&self, request: PublishEventRequest) -> Result<Receipt, Error> {
        let response = rpc!(self.client, event_service.publish_event, Repeat::Always, request)?;
        Ok(Receipt::new(self.clone(), response))
    }

    /// What became of one event of several; an error that waiting cures is cured here.
    async fn settle(&self, request: PublishEventRequest, result: Option<PublishResult>) -> Result<Receipt, Error> {
        match result.and_then(|result| result.result) {
            Some(Outcome::Response(response)) => Ok(Receipt::new(self.clone(), response)),
            Some(Outcome::Error(error)) => match Error::from(error) {
                error if error.is_transient() => self.publish_request(request).await,
                error => Err(error),
            },
            None => Err(Error::protocol("an empty result")),
        }
    }
}

/// Cuts events into calls that the server takes.
fn batches(requests: impl Iterator<Item = PublishEventRequest>) -> Vec<Vec<PublishEventRequest>> {
    let mut batches: Vec<Vec<PublishEventRequest>> = Vec::new();
    let mut bytes = 0;
    for request in requests {
        // A tag and a length of up to 4 bytes go with each.
        let size = request.encoded_len() + 5;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_EVENTS && bytes + size <= BATCH_BYTES => {
                batch.push(request);
                bytes += size;
            }
            _ => {
                batches.push(vec![request]);
                bytes = size;
            }
        }
    }
    batches
}

/// The results of [`Tenant::publish_stream`], one an event in order.
#[must_use = "a stream publishes nothing until it is read"]
pub struct PublishStream(BoxStream<'static, Result<Receipt, Error>>);

impl Stream for PublishStream {
    type Item = Result<Receipt, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for PublishStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublishStream")
    }
}

/// Events without an answer, oldest first.
#[derive(Default)]
struct Window {
    unanswered: VecDeque<PublishEventRequest>,
    bytes: usize,
}

impl Window {
    fn has_room(&self) -> bool {
        self.unanswered.len() < WINDOW_EVENTS && self.bytes < WINDOW_BYTES
    }

    fn push(&mut self, request: PublishEventRequest) {
        self.bytes += request.data.len();
        self.unanswered.push_back(request);
    }

    fn pop(&mut self) -> Option<PublishEventRequest> {
        let request = self.unanswered.pop_front()?;
        self.bytes -= request.data.len();
        Some(request)
    }
}

/// What one wait of the stream brought.
enum Step {
    Event(Option<NewEvent>),
    Answer(Option<Result<PublishEventStreamResponse, tonic::Status>>),
    Silence,
}

fn stream(
    tenant: Tenant,
    mut events: futures::stream::Fuse<BoxStream<'static, NewEvent>>,
) -> impl Stream<Item = Result<Receipt, Error>> + Send {
    async_stream::stream! {
        let timeout = tenant.client.calls.timeout;
        let mut window = Window::default();
        let mut more = true;
        let mut failures = 0;
        let mut progress = Instant::now();
        loop {
            // A connection is made only when there is something to send on it.
            if window.unanswered.is_empty() {
                let Some(event) = events.next().await else { return };
                window.push(event.into_request(tenant.name()));
                progress = Instant::now();
            }
            let (sender, outgoing) = mpsc::unbounded();
            for request in &window.unanswered {
                send(&sender, request.clone());
            }
            // Dropped when the events end, so that the server ends its side after the last answer.
            let mut sender = more.then_some(sender);
            let mut answers = answers(&tenant, outgoing);
            let opened = Instant::now();
            let error = loop {
                if window.unanswered.is_empty() && !more {
                    return;
                }
                let silent = progress.max(opened) + timeout;
                let step = tokio::select! {
                    answer = answers.next() => Step::Answer(answer),
                    event = events.next(), if more && window.has_room() => Step::Event(event),
                    () = tokio::time::sleep_until(silent), if !window.unanswered.is_empty() => Step::Silence,
                };
                match step {
                    Step::Event(Some(event)) => {
                        let request = event.into_request(tenant.name());
                        if window.unanswered.is_empty() {
                            progress = Instant::now();
                        }
                        if let Some(sender) = &sender {
                            send(sender, request.clone());
                        }
                        window.push(request);
                    }
                    Step::Event(None) => {
                        more = false;
                        sender = None;
                    }
                    Step::Answer(Some(Ok(answer))) => {
                        let Some(request) = window.pop() else { break Error::protocol("more answers than events") };
                        yield tenant.settle(request, answer.result).await;
                        failures = 0;
                        progress = Instant::now();
                    }
                    Step::Answer(Some(Err(status))) => break Error::from(status),
                    Step::Answer(None) => break Error::ended(),
                    Step::Silence => break Error::ended(),
                }
            };
            drop(sender);
            let wait = tenant.client.calls.retry.backoff(failures, error.retry_after(), rand::random());
            if !error.is_transient() || Instant::now() + wait > progress + 2 * timeout {
                // Where nothing waits for an answer the end has to be told all the same: more events may be to come.
                let waiting = window.unanswered.len().max(usize::from(more));
                for _ in 0..waiting {
                    yield Err(error.clone());
                }
                return;
            }
            failures += 1;
            tracing::debug!(%error, unanswered = window.unanswered.len(), "publish stream broke, connecting again");
            tokio::time::sleep(wait).await;
        }
    }
}

fn send(sender: &mpsc::UnboundedSender<PublishEventStreamRequest>, request: PublishEventRequest) {
    // It fails when the call has ended; the answers then say why, and the event is still in the window.
    let _ = sender.unbounded_send(PublishEventStreamRequest { request: Some(request) });
}

/// Opens the call. Opening is part of the stream, because a server may answer nothing before it has the first event.
fn answers(
    tenant: &Tenant,
    outgoing: mpsc::UnboundedReceiver<PublishEventStreamRequest>,
) -> BoxStream<'static, Result<PublishEventStreamResponse, tonic::Status>> {
    let mut service = tenant.client.event_service();
    let open = async move { service.publish_event_stream(outgoing).await.map(tonic::Response::into_inner) };
    open.try_flatten_stream().boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use crate::testing::{Fake, event, status};
    use crate::v1::PublishError;
    use std::time::Duration;

    fn request(bytes: usize) -> PublishEventRequest {
        NewEvent::new("user.updated", vec![b'x'; bytes]).into_request("tenants/acme")
    }

    #[test]
    fn batches_respect_both_limits_and_keep_the_order() {
        let many: Vec<_> = (0..2500).map(|_| request(10)).collect();
        let cut = batches(many.clone().into_iter());
        assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1000, 500]);
        assert_eq!(cut.concat(), many);
        let large = batches((0..40).map(|_| request(256 * 1024)));
        for batch in &large {
            let call = PublishEventsRequest { parent: "tenants/acme".into(), requests: batch.clone() };
            assert!(call.encoded_len() < 4 * 1024 * 1024, "{}", call.encoded_len());
        }
        assert_eq!(large.iter().map(Vec::len).sum::<usize>(), 40);
        assert!(batches(std::iter::empty()).is_empty());
    }

    fn events(count: usize) -> Vec<NewEvent> {
        (0..count).map(|number| event().id(format!("e{number}"))).collect()
    }

    fn ids(results: &[Result<Receipt, Error>]) -> Vec<&str> {
        results.iter().map(|result| result.as_ref().unwrap().event_id()).collect()
    }

    #[tokio::test]
    async fn a_broken_stream_sends_again_what_had_no_answer_and_loses_nothing() {
        let fake = Fake::start();
        fake.script.breaks.lock().unwrap().extend([
            (0, status(Code::Unavailable, "SHUTTING_DOWN")),
            (7, status(Code::Unavailable, "SHUTTING_DOWN")),
            (0, status(Code::Unavailable, "STORE_UNAVAILABLE")),
        ]);
        let events = events(100);
        let results: Vec<_> = fake.tenant().publish_stream(futures::stream::iter(events.clone())).collect().await;
        assert_eq!(ids(&results), events.iter().map(NewEvent::event_id).collect::<Vec<_>>());
        assert_eq!(fake.script.events.lock().unwrap().len(), 100, "each is stored once");
        assert_eq!(fake.script.methods().len(), 4);
    }

    #[tokio::test]
    async fn a_killed_server_breaks_a_stream_only_until_it_is_back() {
        let fake = Fake::start();
        let client = fake.builder().connect_lazy().unwrap();
        let (sender, receiver) = mpsc::unbounded();
        let mut results = client.tenant("acme").publish_stream(receiver);
        let all = events(40);
        for event in &all[..20] {
            sender.unbounded_send(event.clone()).unwrap();
        }
        for _ in 0..20 {
            results.next().await.unwrap().unwrap();
        }
        let (address, script) = fake.kill();
        for event in &all[20..] {
            sender.unbounded_send(event.clone()).unwrap();
        }
        drop(sender);
        let late = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Fake::start_at(address, script)
        };
        let (rest, fake) = tokio::join!(results.collect::<Vec<_>>(), late);
        assert_eq!(ids(&rest), all[20..].iter().map(NewEvent::event_id).collect::<Vec<_>>());
        assert_eq!(fake.script.events.lock().unwrap().len(), 40);
    }

    #[tokio::test]
    async fn an_error_that_no_repeat_changes_ends_the_stream_for_every_unanswered_event() {
        let fake = Fake::start();
        fake.script.breaks.lock().unwrap().push_back((2, status(Code::Unauthenticated, "API_KEY_INVALID")));
        let results: Vec<_> = fake.tenant().publish_stream(futures::stream::iter(events(5))).collect().await;
        assert!(results[0].is_ok() && results[1].is_ok());
        assert!(results.len() > 2);
        assert!(results[2..].iter().all(|result| matches!(result, Err(Error::Unauthenticated { .. }))));
    }

    #[tokio::test]
    async fn a_wrong_event_gets_its_error_and_an_overloaded_one_is_sent_again() {
        let error = |code: Code, reason: &str| PublishError { code: code.into(), reason: reason.into(), ..PublishError::default() };
        for stream in [false, true] {
            let fake = Fake::start();
            fake.script
                .event_failures
                .lock()
                .unwrap()
                .extend([error(Code::InvalidArgument, "INVALID_FIELDS"), error(Code::ResourceExhausted, "OVERLOADED")]);
            let tenant = fake.tenant();
            let results: Vec<_> = if stream {
                tenant.publish_stream(futures::stream::iter(events(3))).collect().await
            } else {
                tenant.publish_batch(events(3)).await
            };
            assert!(matches!(results[0], Err(Error::InvalidArgument { .. })), "{results:?}");
            assert_eq!(ids(&results[1..]), ["e1", "e2"]);
        }
    }

    #[tokio::test]
    async fn a_stream_without_events_makes_no_call() {
        let fake = Fake::start();
        assert!(fake.tenant().publish_stream(futures::stream::empty()).next().await.is_none());
        assert!(fake.script.methods().is_empty());
    }
}
