//! Watching deliveries: a stream of changes that goes on after broken connections and restarts of the server.
//!
//! A watch keeps the last token it gave out and continues from there, so a change is never lost and may come twice. Only an error
//! that no repeat changes ends it. Nothing here stores the token: whoever must survive its own restart keeps [`Watch::token`].

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::Stream;
use futures::stream::BoxStream;
use tokio::time::Instant;

use crate::errors::Error;
use crate::tenant::Tenant;
use crate::v1::{Change, WatchDeliveriesRequest, WatchDeliveriesResponse};

/// A stream without any message for this long is taken for dead: the server sends a heartbeat every 15 s.
const SILENCE: Duration = Duration::from_secs(40);

/// Settings of a [`Watch`], from [`Tenant::watch`].
#[derive(Debug, Clone)]
#[must_use = "a watch begins with `start`"]
pub struct WatchBuilder {
    tenant: Tenant,
    request: WatchDeliveriesRequest,
    give_up_after: Option<Duration>,
    silence: Duration,
}

impl WatchBuilder {
    pub(crate) fn new(tenant: Tenant) -> Self {
        let request = WatchDeliveriesRequest { parent: tenant.name().to_owned(), ..WatchDeliveriesRequest::default() };
        Self { tenant, request, give_up_after: None, silence: SILENCE }
    }

    /// Only changes that match, such as `endpoint == "siem" && state == "DEAD"`.
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.request.filter = filter.into();
        self
    }

    /// From this time on, within the journal's retention, instead of from now. A token wins over it.
    pub fn since(mut self, time: SystemTime) -> Self {
        self.request.since_time = Some(time.into());
        self
    }

    /// Goes on after the item that carried this token. It belongs to its tenant and filter.
    pub fn resume(mut self, token: impl Into<String>) -> Self {
        self.request.resume_token = token.into();
        self
    }

    /// Ends the watch with the last error when it could not be continued for this long. Default: never.
    pub fn give_up_after(mut self, time: Duration) -> Self {
        self.give_up_after = Some(time);
        self
    }

    #[cfg(test)]
    fn silence(mut self, time: Duration) -> Self {
        self.silence = time;
        self
    }

    /// Opens the watch. When it returns, every later commit will be seen.
    ///
    /// # Errors
    /// What the server refuses, and [`Error::Transport`] or [`Error::Unavailable`] when it cannot be reached within the client's
    /// timeout and retries.
    pub async fn start(self) -> Result<Watch, Error> {
        let calls = &self.tenant.client.calls;
        let patience = Patience { until: Some(Instant::now() + calls.timeout), retries: calls.retry.max_retries };
        let opened = self.open(&self.request, 0, patience).await?;
        let token = opened.first.resume_token.clone();
        Ok(Watch { items: Box::pin(self.items(opened)), token })
    }

    /// Opens the stream and reads its first message, again after errors that waiting cures. `attempt` 0 waits for nothing first.
    async fn open(&self, request: &WatchDeliveriesRequest, mut attempt: u32, patience: Patience) -> Result<Opened, Error> {
        let retry = &self.tenant.client.calls.retry;
        let mut last: Option<Error> = None;
        loop {
            if attempt > 0 {
                let floor = last.as_ref().and_then(Error::retry_after);
                let wait = retry.backoff(attempt, floor, rand::random());
                if let Some(error) = last.take_if(|_| patience.is_over(attempt, wait)) {
                    return Err(error);
                }
                tokio::time::sleep(wait).await;
            }
            attempt = attempt.saturating_add(1);
            let try_once = tokio::time::timeout(patience.bound(self.silence), Box::pin(self.open_once(request.clone())));
            match try_once.await.unwrap_or_else(|_| Err(Error::ended())) {
                Ok(opened) => return Ok(opened),
                Err(error) if is_worth_repeating(&error) => {
                    tracing::debug!(%error, attempt, "cannot open the watch yet");
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn open_once(&self, request: WatchDeliveriesRequest) -> Result<Opened, Error> {
        let mut service = self.tenant.client.delivery_service();
        let mut messages = service.watch_deliveries(request).await?.into_inner();
        match messages.message().await? {
            Some(first) => Ok(Opened { first, messages }),
            None => Err(Error::ended()),
        }
    }

    fn items(self, opened: Opened) -> impl Stream<Item = Result<WatchItem, Error>> + Send {
        async_stream::try_stream! {
            let mut request = self.request.clone();
            let mut opened = opened;
            loop {
                let mut next = Some(opened.first);
                let mut count = 0u32;
                let error = loop {
                    let message = match next.take() {
                        Some(first) => first,
                        None => match tokio::time::timeout(self.silence, opened.messages.message()).await {
                            Ok(Ok(Some(message))) => message,
                            Ok(Ok(None)) | Err(_) => break Error::ended(),
                            Ok(Err(status)) => break Error::from(status),
                        },
                    };
                    request.resume_token.clone_from(&message.resume_token);
                    count = count.saturating_add(1);
                    yield WatchItem::from(message);
                };
                if !is_worth_repeating(&error) {
                    Err(error)?;
                } else {
                    tracing::debug!(%error, "the watch broke, continuing");
                }
                let patience =
                    Patience { until: self.give_up_after.map(|time| Instant::now() + time), retries: u32::MAX };
                // A stream that ends right after its first message again and again must not become a busy loop.
                let attempt = if count > 1 { 1 } else { 4 };
                opened = self.open(&request, attempt, patience).await?;
            }
        }
    }
}

struct Opened {
    first: WatchDeliveriesResponse,
    messages: tonic::Streaming<WatchDeliveriesResponse>,
}

/// How long opening is tried.
#[derive(Clone, Copy)]
struct Patience {
    until: Option<Instant>,
    retries: u32,
}

impl Patience {
    fn is_over(self, attempt: u32, wait: Duration) -> bool {
        attempt > self.retries || self.until.is_some_and(|until| Instant::now() + wait >= until)
    }

    fn bound(self, time: Duration) -> Duration {
        self.until.map_or(time, |until| time.min(until.saturating_duration_since(Instant::now())))
    }
}

/// A deadline that passed is one of a proxy: a watch has none.
fn is_worth_repeating(error: &Error) -> bool {
    error.is_transient() || matches!(error, Error::DeadlineExceeded { .. })
}

/// Changes of a tenant's deliveries as they are committed. A stream of [`WatchItem`]s that ends only after an error.
#[must_use = "a watch shows nothing until it is read"]
pub struct Watch {
    items: BoxStream<'static, Result<WatchItem, Error>>,
    token: String,
}

impl Watch {
    /// Covers every item that was read so far: [`WatchBuilder::resume`] goes on after them.
    pub fn token(&self) -> &str {
        &self.token
    }
}

impl Stream for Watch {
    type Item = Result<WatchItem, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = std::task::ready!(self.items.as_mut().poll_next(cx));
        if let Some(Ok(item)) = &item {
            self.token.clone_from(&item.resume_token);
        }
        Poll::Ready(item)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("token", &self.token).finish_non_exhaustive()
    }
}

/// One message of a watch.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WatchItem {
    /// What changed, at least once each; of two changes of one delivery the one with the larger `revision` is the newer.
    pub changes: Vec<Change>,
    /// A heartbeat: nothing changed, the token moved.
    pub checkpoint: bool,
    /// Covers everything up to and with this item.
    pub resume_token: String,
}

impl From<WatchDeliveriesResponse> for WatchItem {
    fn from(message: WatchDeliveriesResponse) -> Self {
        Self { changes: message.changes, checkpoint: message.checkpoint, resume_token: message.resume_token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use crate::testing::{Fake, status};
    use futures::{StreamExt, TryStreamExt};

    fn message(token: &str) -> Result<WatchDeliveriesResponse, tonic::Status> {
        Ok(WatchDeliveriesResponse { resume_token: token.into(), checkpoint: true, ..WatchDeliveriesResponse::default() })
    }

    fn script(fake: &Fake, messages: Vec<Result<WatchDeliveriesResponse, tonic::Status>>, then_silent: bool) {
        let messages = futures::stream::iter(messages);
        let messages = if then_silent { messages.chain(futures::stream::pending()).boxed() } else { messages.boxed() };
        fake.script.watches.lock().unwrap().push_back(messages);
    }

    fn tokens_sent(fake: &Fake) -> Vec<String> {
        fake.script.watched.lock().unwrap().iter().map(|request| request.resume_token.clone()).collect()
    }

    async fn read(watch: &mut Watch, count: usize) -> Vec<String> {
        watch.take(count).map_ok(|item| item.resume_token).try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn a_watch_goes_on_from_its_last_token_after_errors_and_ends() {
        let fake = Fake::start();
        script(&fake, vec![message("1"), message("2"), Err(status(Code::Unavailable, "SHUTTING_DOWN"))], false);
        script(&fake, vec![message("3"), message("4")], false);
        script(&fake, vec![Err(status(Code::Unavailable, "STORE_UNAVAILABLE"))], false);
        script(&fake, vec![message("5")], true);
        let mut watch = fake.tenant().watch().filter("state == \"DEAD\"").start().await.unwrap();
        assert_eq!(read(&mut watch, 5).await, ["1", "2", "3", "4", "5"]);
        assert_eq!(watch.token(), "5");
        assert_eq!(tokens_sent(&fake), ["", "2", "4", "4"]);
        assert!(fake.script.watched.lock().unwrap().iter().all(|request| request.filter == "state == \"DEAD\""));
    }

    #[tokio::test]
    async fn a_watch_survives_a_crash_of_the_server() {
        let fake = Fake::start();
        script(&fake, vec![message("1")], true);
        let mut watch = fake.tenant().watch().start().await.unwrap();
        read(&mut watch, 1).await;
        let (address, its_script) = fake.kill();
        let late = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let fake = Fake::start_at(address, its_script);
            script(&fake, vec![message("2")], true);
            fake
        };
        let (tokens, fake) = tokio::join!(read(&mut watch, 1), late);
        assert_eq!(tokens, ["2"]);
        assert_eq!(tokens_sent(&fake), ["", "1"]);
    }

    #[tokio::test]
    async fn a_silent_stream_is_taken_for_dead() {
        let fake = Fake::start();
        script(&fake, vec![message("1")], true);
        script(&fake, vec![message("2")], true);
        let mut watch = fake.tenant().watch().silence(Duration::from_millis(100)).start().await.unwrap();
        assert_eq!(read(&mut watch, 2).await, ["1", "2"]);
    }

    #[tokio::test]
    async fn an_error_that_no_repeat_changes_ends_the_watch() {
        let fake = Fake::start();
        script(&fake, vec![message("1"), Err(status(Code::OutOfRange, "RESUME_TOKEN_EXPIRED"))], false);
        let mut watch = fake.tenant().watch().resume("0").start().await.unwrap();
        read(&mut watch, 1).await;
        assert!(matches!(watch.next().await, Some(Err(Error::ResumeTokenExpired { .. }))));
        assert!(watch.next().await.is_none());
        assert_eq!(tokens_sent(&fake), ["0"]);
    }

    #[tokio::test]
    async fn a_refused_watch_is_refused_at_the_start() {
        let fake = Fake::start();
        fake.script.failures.lock().unwrap().push_back(status(Code::InvalidArgument, "INVALID_FIELDS"));
        assert!(matches!(fake.tenant().watch().filter("nonsense").start().await, Err(Error::InvalidArgument { .. })));
    }

    #[tokio::test]
    async fn a_watch_gives_up_when_it_was_told_to() {
        let fake = Fake::start();
        script(&fake, vec![message("1")], true);
        let mut watch = fake.tenant().watch().give_up_after(Duration::from_millis(200)).start().await.unwrap();
        read(&mut watch, 1).await;
        fake.kill();
        assert!(matches!(watch.next().await, Some(Err(Error::Transport { .. }))));
        assert!(watch.next().await.is_none());
    }
}
