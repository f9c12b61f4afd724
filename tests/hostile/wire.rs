//! Requests as an attacker sends them: any bytes on any path with any headers, over HTTP/2 without a gRPC library in between.
//!
//! [`Wire`] keeps one connection and opens it again when the server has closed it. It must never mend what it is given; what came back
//! is an [`Answer`], which [`super::verdict`] judges.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Mutex};

/// How long the server may take over one answer.
const PATIENCE: Duration = Duration::from_secs(30);

type Body = BoxBody<Bytes, std::convert::Infallible>;

/// One connection, opened when it is needed.
pub(crate) struct Wire {
    address: SocketAddr,
    sender: Mutex<Option<http2::SendRequest<Body>>>,
}

/// A request, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// Sent as one DATA frame each.
    pub(crate) body: Vec<Bytes>,
    /// Hang up after the first message: the answer is a stream that does not end by itself.
    pub(crate) first_only: bool,
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A gRPC status, wherever it stood, and the bytes before it.
    Grpc { headers: HeaderMap, trailers: HeaderMap, body: Bytes },
    /// Another protocol's answer.
    Http(StatusCode),
    /// A stream that was left after its first message.
    Left,
    /// The stream or the connection was reset.
    Reset(String),
    /// Nothing, for too long.
    Silence,
}

impl Wire {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, sender: Mutex::default() }
    }

    /// Sends it and reads the answer to its end.
    pub(crate) async fn send(&self, sent: &Sent) -> Answer {
        match tokio::time::timeout(PATIENCE, self.exchange(sent)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Reset(chain(&error)),
            Err(_) => Answer::Silence,
        }
    }

    async fn exchange(&self, sent: &Sent) -> Result<Answer, hyper::Error> {
        let frames = sent.body.iter().cloned().map(|bytes| Ok(Frame::data(bytes)));
        let body = BodyExt::boxed(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())));
        let uri = format!("http://{}{}", self.address, sent.path);
        let mut request = Request::builder().method(sent.method.clone()).uri(uri).body(body).expect("a path is one");
        *request.headers_mut() = sent.headers.clone();
        let answered = self.sender().await?.send_request(request).await?;
        let (head, mut body) = answered.into_parts();
        if head.headers.contains_key("grpc-status") {
            return Ok(Answer::Grpc { headers: head.headers, trailers: HeaderMap::new(), body: Bytes::new() });
        }
        if head.status != StatusCode::OK {
            return Ok(Answer::Http(head.status));
        }
        let (mut bytes, mut trailers) = (Vec::new(), HeaderMap::new());
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(_) if sent.first_only => return Ok(Answer::Left),
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        Ok(Answer::Grpc { headers: head.headers, trailers, body: bytes.into() })
    }

    async fn sender(&self) -> Result<http2::SendRequest<Body>, hyper::Error> {
        let mut kept = self.sender.lock().await;
        if let Some(sender) = kept.as_mut()
            && sender.ready().await.is_ok()
        {
            return Ok(sender.clone());
        }
        let stream = TcpStream::connect(self.address).await.expect("the server listens");
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(kept.insert(sender).clone())
    }
}

/// A message in its gRPC frame.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    frame_of(0, u32::try_from(message.len()).expect("a message of a test"), message)
}

/// A frame that may lie about its message.
pub(crate) fn frame_of(flag: u8, length: u32, message: &[u8]) -> Bytes {
    [&[flag], length.to_be_bytes().as_slice(), message].concat().into()
}

/// The messages of an answer, as far as they are whole.
pub(crate) fn messages(mut body: Bytes) -> Vec<Bytes> {
    let mut found = Vec::new();
    while body.len() >= 5 {
        let length = u32::from_be_bytes([body[1], body[2], body[3], body[4]]) as usize;
        if body.len() < 5 + length {
            break;
        }
        let rest = body.split_off(5 + length);
        found.push(body.split_off(5));
        body = rest;
    }
    found
}

fn chain(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
