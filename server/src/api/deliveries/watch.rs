//! One `WatchDeliveries`: from the feed to the caller's stream.
//!
//! A task asks the feed for batches and hands one at a time to the stream. It is what notices a caller that has stopped reading: then
//! nobody polls the stream any more. It holds two batches at most, and ends the watch of a reader that takes nothing for [`STALLED`].
//! A last token that the caller was not sent is no loss: it goes on from the one before.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use gatepost_client::v1;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::encode;
use super::watchers::Seat;
use crate::api::access::Call;
use crate::api::{Api, Error, Violation, Violations, convert, lists, names};
use crate::clock::Clock;
use crate::domain::change_filter;
use crate::feed::{self, Batch, Start, WatchRequest, Watcher};
use crate::tasks::OnEnd;

/// A reader that takes no message for this long is ended. A heartbeat is due every 15 s, so a message is always there to take.
const STALLED: Duration = Duration::from_secs(60);
/// What a slow reader gets to take its last messages when the server stops.
const FAREWELL: Duration = Duration::from_secs(1);
/// When one that was ended may come back.
const RETRY: Duration = Duration::from_secs(1);

/// The messages of a watch.
pub(super) type Messages = Pin<Box<dyn Stream<Item = Result<v1::WatchDeliveriesResponse, Status>> + Send>>;

type Item = Result<Batch, feed::Error>;

/// Begins a watch.
///
/// # Errors
/// [`Error::InvalidFields`]: also when the token is none of this tenant and filter; [`Error::NotFound`]; [`Error::LimitReached`];
/// [`Error::ResumeTokenExpired`]; [`Error::ShuttingDown`].
pub(super) async fn open(api: &Arc<Api>, call: Call, request: v1::WatchDeliveriesRequest) -> Result<Messages, Error> {
    let mut bad = Violations::new();
    let tenant = bad.keep(names::tenant("parent", &request.parent)).unwrap_or_default();
    let filter = bad.keep(lists::filter(&request.filter, change_filter::FIELDS)).unwrap_or_default();
    let start = bad.keep(start(request.resume_token, request.since_time)).unwrap_or(Start::Now);
    bad.into_result()?;
    api.see_tenant(&call, &tenant, &request.parent).await?;
    let parts = &api.parts;
    let seat = api.watchers.seat(call.caller().key_id(), parts.limits.watchers_per_key)?;
    let watched = parts.feed.watch(WatchRequest { tenant: Arc::clone(&tenant), filter, start }).await;
    let watcher = watched.map_err(|error| failed(&call, error, &request.parent))?;
    let (sender, receiver) = mpsc::channel(1);
    let pump = pump(watcher, sender, seat, parts.store.clock().clone(), api.stopping());
    parts.supervisor.spawn("watch", OnEnd::Ignore, pump);
    Ok(messages(receiver, call, tenant, request.parent))
}

fn start(resume_token: String, since_time: Option<prost_types::Timestamp>) -> Result<Start, Violation> {
    match (resume_token.is_empty(), since_time) {
        (true, None) => Ok(Start::Now),
        (true, Some(since)) => convert::time("since_time", &since).map(Start::Since),
        (false, None) => Ok(Start::Token(resume_token)),
        (false, Some(_)) => Err(Violation::new("since_time", "goes without a resume_token, which says from where on")),
    }
}

/// What the pump asks for batches: the feed's watcher, or a script in tests.
trait Batches: Send {
    /// As [`Watcher::next`]. A call that is dropped loses nothing.
    fn next(&mut self) -> impl Future<Output = Item> + Send;
}

impl Batches for Watcher {
    fn next(&mut self) -> impl Future<Output = Item> + Send {
        Self::next(self)
    }
}

/// Ends with the first error, with the stream, or with a reader that reads no more. The seat is free again then.
async fn pump(mut watcher: impl Batches, sender: mpsc::Sender<Item>, seat: Seat, clock: Clock, stop: CancellationToken) {
    let _seat = seat;
    loop {
        let item = tokio::select! {
            biased;
            () = sender.closed() => return,
            item = watcher.next() => item,
        };
        let farewell = async {
            stop.cancelled().await;
            clock.pause(FAREWELL).await;
        };
        let room = tokio::select! {
            biased;
            room = sender.reserve() => room,
            () = clock.sleep(STALLED) => return,
            () = farewell => return,
        };
        let Ok(room) = room else { return };
        let ends = item.is_err();
        room.send(item);
        if ends {
            return;
        }
    }
}

fn messages(mut batches: mpsc::Receiver<Item>, call: Call, tenant: Arc<str>, parent: String) -> Messages {
    Box::pin(async_stream::stream! {
        while let Some(item) = batches.recv().await {
            match item {
                Ok(batch) => yield Ok(message(&tenant, batch)),
                Err(error) => {
                    yield Err(failed(&call, error, &parent).into());
                    return;
                }
            }
        }
        // The pump says why it ends, but for a reader that was not there to hear it.
        yield Err(Error::Overloaded { retry: RETRY }.into());
    })
}

fn message(tenant: &str, batch: Batch) -> v1::WatchDeliveriesResponse {
    v1::WatchDeliveriesResponse {
        changes: batch.changes.iter().map(|change| encode::change(tenant, change)).collect(),
        resume_token: batch.token,
        checkpoint: batch.checkpoint,
    }
}

fn failed(call: &Call, error: feed::Error, parent: &str) -> Error {
    match error {
        feed::Error::TokenExpired => Error::ResumeTokenExpired,
        feed::Error::InvalidToken(invalid) => Violation::new("resume_token", invalid).into(),
        feed::Error::ShuttingDown => Error::ShuttingDown,
        feed::Error::TooManyWatchers { limit } => Error::LimitReached { limit: "watchers", value: limit as u64 },
        feed::Error::Store(error) => call.failed(error, parent),
    }
}

#[cfg(test)]
mod tests;
