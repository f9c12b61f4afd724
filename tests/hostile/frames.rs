//! HTTP/2 by hand: frames that no library would send, on a socket of their own.
//!
//! Used by the attacks on connections. Nothing here keeps a rule of the protocol unless it is told to; headers are HPACK literals.
//!
//! Source: RFC 9113, sections 4 and 6; RFC 7541, section 6.2.2.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Of a SETTINGS.
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// `SETTINGS_INITIAL_WINDOW_SIZE`.
pub(crate) const WINDOW: u16 = 4;

/// One end of a connection, in two halves.
pub(crate) struct Peer {
    pub(crate) read: Reading,
    pub(crate) write: OwnedWriteHalf,
}

/// What the server sends.
pub(crate) struct Reading(OwnedReadHalf);

/// One frame that came.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Peer {
    /// Connected, and silent.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server accepts");
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        Self { read: Reading(read), write }
    }

    /// Connected and greeted with these settings.
    pub(crate) async fn greeted(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut peer = Self::connect(address).await;
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat();
        peer.write.write_all(&greeting).await.expect("the greeting is taken");
        peer
    }
}

impl Reading {
    /// The next frame; `None` when the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Came> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Came { kind: head[3], stream: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]), payload })
    }

    /// Reads and forgets until the connection ends; true: with a GOAWAY before.
    pub(crate) async fn until_the_end(mut self) -> bool {
        let mut told = false;
        while let Some(came) = self.next().await {
            told |= came.kind == GOAWAY;
        }
        told
    }

    /// All bytes until the end, whatever they are; at most a MiB.
    pub(crate) async fn bytes(self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.take(1 << 20).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }
}

/// A frame. Its length is that of its payload.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload of a test").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call, with further ones.
pub(crate) fn call(path: &str, key: &str, further: &[(&str, &str)]) -> Vec<u8> {
    let authorization = format!("Bearer {key}");
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "127.0.0.1"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &authorization),
    ];
    let mut block = Vec::new();
    for (name, value) in usual.iter().chain(further) {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// A message in a DATA frame, with its gRPC head.
pub(crate) fn message(stream: u32, flags: u8, message: &impl prost::Message) -> Vec<u8> {
    frame(DATA, flags, stream, &super::wire::framed(&message.encode_to_vec()))
}

fn text(block: &mut Vec<u8>, text: &str) {
    let mut rest = text.len();
    if rest < 127 {
        block.push(u8::try_from(rest).expect("small"));
    } else {
        block.push(127);
        rest -= 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128 + 128).expect("small"));
            rest /= 128;
        }
        block.push(u8::try_from(rest).expect("small"));
    }
    block.extend_from_slice(text.as_bytes());
}
