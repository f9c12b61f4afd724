//! One unary call with its deadline and its repeats.
//!
//! Every typed method goes through [`Calls::call`]. A request is repeated only when that is safe: reads and requests with an id
//! always are, others only when the server certainly did nothing. Nothing here waits past the deadline of the whole call.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::connect::Authorized;
use crate::errors::Error;

/// How failed calls are repeated: waits that grow by a factor of 2 up to a limit, each drawn between zero and that value.
///
/// The server's own `RetryInfo` is a floor below which no wait goes. Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Repeats after the first try; 0 means none.
    pub max_retries: u32,
    /// Upper bound of the first wait.
    pub initial_wait: Duration,
    /// Upper bound of every wait.
    pub max_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_retries: 6, initial_wait: Duration::from_millis(200), max_wait: Duration::from_secs(5) }
    }
}

impl RetryPolicy {
    /// The wait before repeat number `attempt` (from 0). `random` is from 0 to 1.
    pub(crate) fn backoff(&self, attempt: u32, floor: Option<Duration>, random: f64) -> Duration {
        let bound = self.initial_wait.saturating_mul(1u32 << attempt.min(20)).min(self.max_wait);
        floor.unwrap_or_default().saturating_add(bound.mul_f64(random.clamp(0.0, 1.0)))
    }

    /// The wait before the call is repeated; `None` when it is not.
    fn wait(&self, error: &Error, repeat: Repeat, attempt: u32, random: f64) -> Option<Duration> {
        let safe = error.is_transient() && (repeat == Repeat::Always || error.is_certainly_undone());
        (safe && attempt < self.max_retries).then(|| self.backoff(attempt, error.retry_after(), random))
    }
}

/// Whether a call may be repeated when its outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It reads, carries an id, or does the same when done twice.
    Always,
    /// A second one would do or answer something else.
    IfUndone,
}

/// What all calls of one client share.
pub(crate) struct Calls {
    pub(crate) channel: Authorized,
    pub(crate) timeout: Duration,
    pub(crate) retry: RetryPolicy,
}

impl Calls {
    /// Sends the request, again where that is safe, within the client's deadline.
    pub(crate) async fn call<Req, Res, F, Fut>(&self, repeat: Repeat, request: Req, send: F) -> Result<Res, Error>
    where
        Req: Clone,
        F: Fn(tonic::Request<Req>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<Res>, tonic::Status>>,
    {
        self.call_within(self.timeout, repeat, request, send).await
    }

    /// The same with a deadline of its own.
    pub(crate) async fn call_within<Req, Res, F, Fut>(
        &self,
        timeout: Duration,
        repeat: Repeat,
        request: Req,
        send: F,
    ) -> Result<Res, Error>
    where
        Req: Clone,
        F: Fn(tonic::Request<Req>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<Res>, tonic::Status>>,
    {
        let deadline = Instant::now() + timeout;
        let mut attempt = 0;
        loop {
            let mut one = tonic::Request::new(request.clone());
            one.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let error = match tokio::time::timeout_at(deadline, Box::pin(send(one))).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => late_or(Error::from(status), deadline),
                Err(_) => return Err(Error::DeadlineExceeded { answer: None }),
            };
            match self.retry.wait(&error, repeat, attempt, rand::random()) {
                Some(wait) if Instant::now() + wait < deadline => {
                    tracing::debug!(%error, attempt, wait_ms = wait.as_millis(), "repeating a call");
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(error),
            }
            attempt += 1;
        }
    }
}

/// A server whose own timer fires first answers CANCELLED; for the caller that is the deadline.
fn late_or(error: Error, deadline: Instant) -> Error {
    let late = Instant::now() + Duration::from_millis(50) >= deadline;
    if late && error.code() == tonic::Code::Cancelled { Error::DeadlineExceeded { answer: None } } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, event, status};
    use std::sync::Arc;

    fn broken(sent: bool) -> Error {
        Error::Transport { sent, source: Arc::new(std::io::Error::other("broken")) }
    }

    fn answer(code: tonic::Code) -> Box<crate::errors::Answer> {
        Box::new(crate::errors::Answer { code, reason: None, message: String::new(), metadata: Default::default() })
    }

    #[test]
    fn a_call_without_an_id_is_repeated_only_when_nothing_was_done() {
        let policy = RetryPolicy::default();
        let unavailable = Error::Unavailable { retry_after: None, answer: answer(tonic::Code::Unavailable) };
        for (error, always, if_undone) in [
            (broken(false), true, true),
            (broken(true), true, false),
            (unavailable, true, false),
            (
                Error::ResourceExhausted {
                    retry_after: Some(Duration::from_secs(1)),
                    answer: answer(tonic::Code::ResourceExhausted),
                },
                true,
                true,
            ),
            (Error::ResourceExhausted { retry_after: None, answer: answer(tonic::Code::ResourceExhausted) }, false, false),
            (Error::DeadlineExceeded { answer: None }, false, false),
            (Error::Internal { answer: answer(tonic::Code::Internal) }, false, false),
        ] {
            assert_eq!(policy.wait(&error, Repeat::Always, 0, 0.5).is_some(), always, "{error:?}");
            assert_eq!(policy.wait(&error, Repeat::IfUndone, 0, 0.5).is_some(), if_undone, "{error:?}");
        }
    }

    #[test]
    fn waits_grow_to_their_limit_and_never_undercut_the_server() {
        let policy = RetryPolicy { max_retries: 9, initial_wait: Duration::from_millis(100), max_wait: Duration::from_secs(1) };
        let longest: Vec<u128> = (0..6).map(|attempt| policy.backoff(attempt, None, 1.0).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(policy.backoff(40, None, 0.0), Duration::ZERO);
        assert_eq!(policy.backoff(0, Some(Duration::from_secs(3)), 0.0), Duration::from_secs(3));
    }

    #[test]
    fn repeats_end() {
        let policy = RetryPolicy { max_retries: 2, ..RetryPolicy::default() };
        assert!(policy.wait(&broken(false), Repeat::Always, 1, 0.0).is_some());
        assert!(policy.wait(&broken(false), Repeat::Always, 2, 0.0).is_none());
    }

    #[tokio::test]
    async fn a_publish_is_repeated_under_the_same_id_until_it_is_answered() {
        let fake = Fake::start();
        fake.script
            .failures
            .lock()
            .unwrap()
            .extend([status(tonic::Code::Unavailable, "STORE_UNAVAILABLE"), status(tonic::Code::Unavailable, "SHUTTING_DOWN")]);
        let receipt = fake.tenant().publish(event()).await.unwrap();
        assert_eq!(fake.script.methods().len(), 3);
        assert_eq!(*fake.script.events.lock().unwrap(), [receipt.event_id()]);
        assert!(receipt.duplicate(), "the first try had stored it");
    }

    #[tokio::test]
    async fn a_test_of_an_endpoint_is_never_sent_twice() {
        let fake = Fake::start();
        fake.script.failures.lock().unwrap().push_back(status(tonic::Code::Unavailable, "SHUTTING_DOWN"));
        let error = fake.tenant().test_endpoint("siem").await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        assert_eq!(fake.script.methods(), ["TestEndpoint"]);
    }

    #[tokio::test]
    async fn a_wrong_call_is_not_repeated() {
        let fake = Fake::start();
        fake.script.failures.lock().unwrap().push_back(status(tonic::Code::PermissionDenied, "SCOPE_MISSING"));
        let error = fake.tenant().publish(event()).await.unwrap_err();
        assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
        assert_eq!(fake.script.methods().len(), 1);
    }

    #[tokio::test]
    async fn every_call_carries_the_key_and_the_deadline() {
        let fake = Fake::start();
        fake.tenant().publish(event()).await.unwrap();
        let calls = fake.script.calls.lock().unwrap().clone();
        assert_eq!(calls[0].1, "Bearer gp_test_secret");
        assert!(!calls[0].2.is_empty(), "grpc-timeout is missing");
    }

    #[tokio::test]
    async fn nothing_waits_past_the_deadline() {
        let fake = Fake::start();
        *fake.script.delay.lock().unwrap() = Duration::from_secs(60);
        let client = fake.builder().timeout(Duration::from_millis(150)).connect_lazy().unwrap();
        let begun = std::time::Instant::now();
        let error = client.tenant("acme").publish(event()).await.unwrap_err();
        assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn an_absent_server_is_a_transport_error_with_nothing_sent() {
        let fake = Fake::start();
        let client = fake.builder().max_retries(1).connect_lazy().unwrap();
        fake.kill();
        let error = client.server_info().await.unwrap_err();
        assert!(matches!(error, Error::Transport { sent: false, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_call_survives_a_restart_of_the_server() {
        let fake = Fake::start();
        let client = fake.builder().max_retries(30).connect_lazy().unwrap();
        let tenant = client.tenant("acme");
        tenant.publish(event().id("a")).await.unwrap();
        let (address, script) = fake.kill();
        let late = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Fake::start_at(address, script)
        };
        let (result, fake) = tokio::join!(tenant.publish(event().id("b")), late);
        assert!(!result.unwrap().duplicate());
        assert_eq!(*fake.script.events.lock().unwrap(), ["a", "b"]);
    }
}
