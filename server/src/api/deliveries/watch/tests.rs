use std::collections::VecDeque;

use futures::{FutureExt as _, StreamExt as _};
use tonic::Code;

use super::*;
use crate::api::deliveries::Watchers;
use crate::clock::ManualClock;
use crate::domain::Time;
use crate::domain::caller::Caller;

/// Hands out these, then nothing.
struct Script(VecDeque<Item>);

impl Batches for Script {
    async fn next(&mut self) -> Item {
        match self.0.pop_front() {
            Some(item) => item,
            None => std::future::pending().await,
        }
    }
}

struct Watch {
    clock: ManualClock,
    watchers: Watchers,
    stop: CancellationToken,
    pump: tokio::task::JoinHandle<()>,
    messages: Messages,
}

impl Watch {
    #[allow(clippy::disallowed_methods, reason = "a test has no supervisor")]
    fn open(script: impl IntoIterator<Item = Item>) -> Self {
        let (clock, watchers, stop) = (ManualClock::new(Time::from_millis(0)), Watchers::default(), CancellationToken::new());
        let (sender, receiver) = mpsc::channel(1);
        let seat = watchers.seat("key_1", 1).unwrap();
        let script = Script(script.into_iter().collect());
        let pump = tokio::spawn(pump(script, sender, seat, clock.clock(), stop.clone()));
        let call = Call::of(Caller::new("key_1", []));
        let messages = messages(receiver, call, Arc::from("acme"), "tenants/acme".to_owned());
        Self { clock, watchers, stop, pump, messages }
    }

    async fn next(&mut self) -> Result<String, Code> {
        let next = self.messages.next().await.expect("the stream goes on");
        next.map(|message| message.resume_token).map_err(|status| status.code())
    }
}

fn batch(token: &str) -> Item {
    Ok(Batch { changes: Vec::new(), token: token.to_owned(), checkpoint: true })
}

#[tokio::test]
async fn batches_pass_in_order_and_the_feeds_end_ends_the_stream_with_its_reason() {
    for (error, code) in [(feed::Error::ShuttingDown, Code::Unavailable), (feed::Error::TokenExpired, Code::OutOfRange)] {
        let mut watch = Watch::open([batch("1"), batch("2"), Err(error)]);
        assert_eq!(
            [watch.next().await, watch.next().await, watch.next().await],
            [Ok("1".to_owned()), Ok("2".to_owned()), Err(code)]
        );
        assert!(watch.messages.next().await.is_none());
        watch.pump.await.unwrap();
        assert!(watch.watchers.seat("key_1", 1).is_ok(), "its seat is free");
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_frees_its_seat() {
    let mut watch = Watch::open([batch("1")]);
    assert_eq!(watch.next().await, Ok("1".to_owned()));
    assert!(watch.watchers.seat("key_1", 1).is_err());
    drop(watch.messages);
    watch.pump.await.unwrap();
    assert!(watch.watchers.seat("key_1", 1).is_ok());
}

#[tokio::test]
async fn a_reader_that_takes_nothing_for_a_minute_is_ended_and_may_come_back() {
    let mut watch = Watch::open((0..10).map(|number| batch(&number.to_string())));
    // The first batch waits to be taken, the second for its place.
    watch.clock.until_asleep(1).await;
    watch.clock.advance(STALLED - Duration::from_millis(1));
    tokio::task::yield_now().await;
    assert!(!watch.pump.is_finished());
    watch.clock.advance(Duration::from_millis(1));
    watch.pump.await.unwrap();
    assert!(watch.watchers.seat("key_1", 1).is_ok());
    let taken = watch.messages.next().now_or_never().flatten().unwrap().unwrap();
    assert_eq!(taken.resume_token, "0");
    let status = watch.messages.next().now_or_never().flatten().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_reader_that_goes_on_is_not_ended() {
    let mut watch = Watch::open((0..4).map(|number| batch(&number.to_string())));
    for number in 0..3 {
        watch.clock.until_asleep(1).await;
        watch.clock.advance(STALLED - Duration::from_secs(1));
        assert_eq!(watch.next().await, Ok(number.to_string()));
    }
    assert_eq!(watch.next().await, Ok("3".to_owned()));
    assert!(!watch.pump.is_finished());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_slow_reader() {
    let watch = Watch::open([batch("1"), batch("2"), Err(feed::Error::ShuttingDown)]);
    watch.clock.until_asleep(1).await;
    watch.stop.cancel();
    tokio::time::timeout(FAREWELL * 10, watch.pump).await.expect("it ends").unwrap();
}

#[test]
fn a_watch_starts_at_one_place() {
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    assert!(matches!(start(String::new(), None), Ok(Start::Now)));
    assert!(matches!(start("token".to_owned(), None), Ok(Start::Token(token)) if token == "token"));
    assert!(matches!(start(String::new(), time(5)), Ok(Start::Since(since)) if since == Time::from_millis(5_000)));
    for (token, since) in [("token", time(5)), ("", time(-1))] {
        assert_eq!(start(token.to_owned(), since).unwrap_err().field, "since_time");
    }
}

#[test]
fn a_foreign_token_is_a_bad_field() {
    let call = Call::of(Caller::new("key_1", []));
    let error = failed(&call, feed::Error::InvalidToken(crate::domain::watch_token::Invalid), "tenants/acme");
    let Error::InvalidFields(fields) = error else { panic!("{error:?}") };
    assert_eq!(fields[0].field, "resume_token");
}
