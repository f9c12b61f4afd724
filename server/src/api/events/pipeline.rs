//! One `PublishEventStream`: requests in, one answer each in the same order, many in flight at once.
//!
//! It is no task: the stream of answers polls it. So a client that stops reading answers stops the reading of its requests too, and what
//! it holds is bounded by [`MAX_EVENTS`] and [`MAX_BYTES`]. What has arrived together is submitted together, in the order of its arrival.
//! A wrong event is answered with its error; only what is wrong with the stream itself ends it, after the answers that are still due.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::{FutureExt as _, Stream, StreamExt as _};
use gatepost_client::v1;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use super::accept::{self, Checker};
use super::batch;
use crate::api::access::Call;
use crate::api::{Error, names};
use crate::domain::event::NewEvent;
use crate::domain::registered::RegisteredTypes;
use crate::store;
use crate::store::publish::{Publisher, Verdict};

/// Events that wait for their answer.
const MAX_EVENTS: usize = 512;
/// Bytes of their payloads. A larger event goes alone.
const MAX_BYTES: usize = 4 << 20;
/// Events of one submission: enough to share its costs, few enough that several are under way.
const GROUP_EVENTS: usize = 64;
/// Bytes of one submission, so that its checks keep no other task waiting. A larger event goes alone.
const GROUP_BYTES: usize = 256 << 10;

type Answer = oneshot::Receiver<Result<Vec<Verdict>, Arc<store::Error>>>;

/// Where events go: the publisher, or a script in tests.
pub(super) trait Submit: Send {
    /// As [`Publisher::submit`].
    fn submit(&self, events: Vec<NewEvent>) -> impl Future<Output = Result<Answer, Arc<store::Error>>> + Send;

    /// As [`Publisher::types`].
    fn types(
        &self,
        tenant: &Arc<str>,
        event_type: &str,
        version: i32,
    ) -> impl Future<Output = Result<Arc<RegisteredTypes>, store::Error>> + Send;
}

impl Submit for Publisher {
    fn submit(&self, events: Vec<NewEvent>) -> impl Future<Output = Result<Answer, Arc<store::Error>>> + Send {
        Publisher::submit(self, events)
    }

    fn types(
        &self,
        tenant: &Arc<str>,
        event_type: &str,
        version: i32,
    ) -> impl Future<Output = Result<Arc<RegisteredTypes>, store::Error>> + Send {
        Publisher::types(self, tenant, event_type, version)
    }
}

/// A stream of requests on its way to a stream of answers.
pub(super) struct Pipeline<R, S> {
    requests: R,
    publisher: S,
    call: Call,
    checker: Checker,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The tenant of the last event, as most streams have only one.
    tenant: Option<Arc<str>>,
    waiting: VecDeque<Group>,
    waiting_events: usize,
    waiting_bytes: usize,
    answers: VecDeque<v1::PublishResult>,
    /// No more is read; the status that the stream then ends with.
    end: Option<Result<(), Status>>,
}

/// Requests that were submitted together, and those among them that were not, being wrong.
#[derive(Default)]
struct Group {
    tenant: Arc<str>,
    /// In the order of the requests: the id of [`accept::repeat_id`], or why it was not submitted.
    requests: Vec<Result<String, Error>>,
    bytes: usize,
    answer: Option<Answer>,
}

impl<R, S> Pipeline<R, S>
where
    R: Stream<Item = Result<v1::PublishEventStreamRequest, Status>> + Unpin,
    S: Submit,
{
    /// `stop`: when the server drains.
    pub(super) fn new(requests: R, publisher: S, call: Call, checker: Checker, stop: CancellationToken) -> Self {
        Self {
            requests,
            publisher,
            call,
            checker,
            stopped: Box::pin(stop.cancelled_owned()),
            tenant: None,
            waiting: VecDeque::new(),
            waiting_events: 0,
            waiting_bytes: 0,
            answers: VecDeque::new(),
            end: None,
        }
    }

    /// The next answer, or the status that ends the stream, or `None` after its end.
    pub(super) async fn next(&mut self) -> Option<Result<v1::PublishEventStreamResponse, Status>> {
        loop {
            if let Some(result) = self.answers.pop_front() {
                return Some(Ok(v1::PublishEventStreamResponse { result: Some(result) }));
            }
            let open = self.end.is_none();
            let reads = open && self.waiting_events < MAX_EVENTS && self.waiting_bytes < MAX_BYTES;
            tokio::select! {
                biased;
                verdicts = first_verdicts(&mut self.waiting), if !self.waiting.is_empty() => self.settle(verdicts),
                () = &mut self.stopped, if open => self.end = Some(Err(Error::ShuttingDown.into())),
                request = self.requests.next(), if reads => self.read(request).await,
                else => {
                    // Nothing waits and nothing is read any more.
                    return self.end.replace(Ok(())).and_then(Result::err).map(Err);
                }
            }
        }
    }

    /// Takes a request and those that are there already, and submits them.
    async fn read(&mut self, first: Option<Result<v1::PublishEventStreamRequest, Status>>) {
        let mut group = Group::default();
        let mut events = Vec::new();
        let mut next = Some(first);
        while let Some(read) = next {
            let request = match read {
                Some(Ok(request)) => request.request.unwrap_or_default(),
                ended => {
                    self.end = Some(ended.map_or(Ok(()), |request| request.map(drop)));
                    break;
                }
            };
            let bytes = request.data.len();
            match self.check(request).await {
                Ok(event) => {
                    // A submission is refused as a whole when its tenant is unknown.
                    if event.tenant != group.tenant && !events.is_empty() {
                        self.submit(std::mem::take(&mut group), std::mem::take(&mut events)).await;
                    }
                    group.tenant = Arc::clone(&event.tenant);
                    group.bytes += bytes;
                    group.requests.push(Ok(accept::repeat_id(&event)));
                    events.push(event);
                }
                Err(error) => group.requests.push(Err(error)),
            }
            let full =
                group.requests.len() >= GROUP_EVENTS || group.bytes >= GROUP_BYTES || self.waiting_bytes + group.bytes >= MAX_BYTES;
            next = if full { None } else { self.requests.next().now_or_never() };
        }
        self.submit(group, events).await;
    }

    async fn check(&mut self, mut request: v1::PublishEventRequest) -> Result<NewEvent, Error> {
        let known = self.tenant.take().filter(|tenant| request.parent.strip_prefix("tenants/") == Some(&**tenant));
        let parent = known.map_or_else(|| names::tenant("parent", &request.parent), Ok);
        let parent_name = std::mem::take(&mut request.parent);
        let types = accept::types(&self.publisher, &self.call, &parent, &request).await?;
        let event = self.checker.check_all(parent, request, &types)?;
        self.call.sees(&event.tenant, &parent_name)?;
        self.tenant = Some(Arc::clone(&event.tenant));
        Ok(event)
    }

    /// Waits for room with the committer: this is what slows a stream down to the speed of the database.
    async fn submit(&mut self, mut group: Group, events: Vec<NewEvent>) {
        if group.requests.is_empty() {
            return;
        }
        if !events.is_empty() {
            match self.publisher.submit(events).await {
                Ok(answer) => group.answer = Some(answer),
                Err(error) => group.refuse(&self.call, error),
            }
        }
        self.waiting_events += group.requests.len();
        self.waiting_bytes += group.bytes;
        self.waiting.push_back(group);
    }

    /// The first group's verdicts are there: its answers are due.
    fn settle(&mut self, verdicts: Result<Vec<Verdict>, Arc<store::Error>>) {
        let Some(mut group) = self.waiting.pop_front() else { return };
        self.waiting_events -= group.requests.len();
        self.waiting_bytes -= group.bytes;
        let verdicts = verdicts.unwrap_or_else(|error| {
            group.refuse(&self.call, error);
            Vec::new()
        });
        self.answers.extend(batch::results(&self.call, &group.tenant, group.requests, verdicts));
    }
}

impl Group {
    /// None of its events was stored, or nobody knows.
    fn refuse(&mut self, call: &Call, error: Arc<store::Error>) {
        let error = call.failed(error, &format!("tenants/{}", self.tenant));
        for request in &mut self.requests {
            if request.is_ok() {
                *request = Err(error.clone());
            }
        }
    }
}

/// Safe to drop: the verdicts stay in the channel.
async fn first_verdicts(waiting: &mut VecDeque<Group>) -> Result<Vec<Verdict>, Arc<store::Error>> {
    match waiting.front_mut().and_then(|group| group.answer.as_mut()) {
        None => Ok(Vec::new()),
        // The committer answers every submission; one that it drops while it stops was not written.
        Some(answer) => answer.await.unwrap_or_else(|_| Err(Arc::new(store::Error::EpochLost))),
    }
}

#[cfg(test)]
mod tests;
