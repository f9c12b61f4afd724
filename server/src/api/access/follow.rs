//! An open stream on its way out: how it ended is noted, and it is ended when the server stops, its key does, or its handler panics.
//!
//! Every end that is decided here is told with a status; nothing of a panic but its request id leaves.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use futures::{FutureExt as _, StreamExt as _};
use http::HeaderMap;
use http_body_util::{BodyStream, StreamBody};
use hyper::body::Frame;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::explain::explain_end;
use super::line::Line;
use super::status_of;
use crate::api::Error;
use crate::store::Store;
use crate::tasks::Supervisor;

/// How often the key of an open stream is looked at; what is looked at may be a second old.
const LOOK: Duration = Duration::from_secs(2);

/// Resolves when a key opens nothing any more: revoked, expired, or gone.
pub(super) async fn key_ends(store: Store, key_id: String) {
    loop {
        store.clock().sleep(LOOK).await;
        match store.find_key(&key_id).await {
            Ok(Some(key)) if key.is_valid(store.now()) => {}
            Ok(_) => return,
            // Nobody knows: a stream does not end for that.
            Err(error) => {
                tracing::debug!(key = key_id, error = &error as &dyn std::error::Error, "the key of a stream cannot be looked up");
            }
        }
    }
}

/// What ends a stream from outside, and the status that says so.
pub(super) async fn ended(stop: CancellationToken, key: Option<(Store, String)>) -> Error {
    let key = async {
        match key {
            Some((store, key_id)) => key_ends(store, key_id).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop.cancelled() => Error::ShuttingDown,
        () = key => Error::Unauthenticated,
    }
}

/// Passes a stream on, explains and notes how it ended, and ends it with the error that `end` gives. Panics are told to `tasks`.
///
/// `message_bytes`: the largest message, for a stream that ended at one that was larger.
pub(super) fn follow<B>(
    body: B,
    mut line: Line,
    end: impl Future<Output = Error> + Send + 'static,
    tasks: Supervisor,
    message_bytes: usize,
) -> Body
where
    B: HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let why = Arc::new(OnceLock::new());
    let ended = {
        let why = Arc::clone(&why);
        end.map(move |error| {
            let _ = why.set(error);
        })
    };
    let request_id = line.request_id().to_owned();
    let panicked = move |panic: Box<dyn Any + Send>| {
        tasks.note_panic("rpc stream", &*panic);
        farewell(Error::Internal { request_id: request_id.clone() }).map(Ok)
    };
    let frames = AssertUnwindSafe(BodyStream::new(body)).catch_unwind().filter_map(move |frame| {
        let frame = match frame {
            Ok(frame) => Some(frame.map_err(Into::<Box<dyn std::error::Error + Send + Sync>>::into)),
            Err(panic) => panicked(panic),
        };
        std::future::ready(frame)
    });
    let frames = Box::pin(frames).take_until(Box::pin(ended));
    let last = async move { why.get().cloned().and_then(farewell).map(Ok) };
    let all = frames.chain(Box::pin(futures::stream::once(last).filter_map(std::future::ready))).map(move |mut frame| {
        if let Ok(frame) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            explain_end(trailers, message_bytes);
            line.end(status_of(trailers).unwrap_or(Code::Unknown));
        }
        frame
    });
    Body::new(StreamBody::new(all))
}

fn farewell(error: Error) -> Option<Frame<bytes::Bytes>> {
    let mut trailers = HeaderMap::new();
    Status::from(error).add_header(&mut trailers).is_ok().then(|| Frame::trailers(trailers))
}
