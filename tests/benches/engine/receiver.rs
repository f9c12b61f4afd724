//! The far end of every measurement: a receiver of HTTP/1.1 that costs as little as it can, so that the rest is what is measured.
//!
//! It reads heads and lengths, answers 200 and counts. Where a `webhook-id` ends in `lat-{number}` it notes when that number came.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A running receiver.
pub(crate) struct Receiver {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Seen {
    count: AtomicU64,
    connections: AtomicU64,
    begin: Instant,
    /// Microseconds after `begin`, by number; 0: not yet.
    arrivals: Vec<AtomicU64>,
}

impl Receiver {
    /// One that notes the times of so many numbers.
    pub(crate) async fn start(numbers: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on 127.0.0.1");
        let address = listener.local_addr().expect("its address");
        let arrivals = (0..numbers).map(|_| AtomicU64::new(0)).collect();
        let seen = Arc::new(Seen { count: AtomicU64::new(0), connections: AtomicU64::new(0), begin: Instant::now(), arrivals });
        let shared = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, seen, accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/webhooks", self.address)
    }

    /// Requests so far.
    pub(crate) fn count(&self) -> u64 {
        self.seen.count.load(Ordering::Relaxed)
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// When a number arrived.
    pub(crate) fn arrival(&self, number: usize) -> Option<Instant> {
        match self.seen.arrivals[number].load(Ordering::Relaxed) {
            0 => None,
            micros => Some(self.seen.begin + Duration::from_micros(micros)),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        let mut answers = 0;
        while let Some(length) = request(&buffer) {
            seen.note(&buffer[..length]);
            buffer.drain(..length);
            answers += 1;
        }
        for _ in 0..answers {
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// The length of the whole request at the beginning of the buffer, once it is there.
fn request(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let length = value(&buffer[..head], b"content-length: ").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    let whole = head + length.unwrap_or(0);
    (buffer.len() >= whole).then_some(whole)
}

fn value<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = head.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))? + name.len();
    let end = head[start..].iter().position(|byte| *byte == b'\r')?;
    Some(&head[start..start + end])
}

impl Seen {
    fn note(&self, request: &[u8]) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.arrivals.is_empty() {
            return;
        }
        let number = value(request, b"webhook-id: ").and_then(|id| {
            let number = std::str::from_utf8(id).ok()?.rsplit_once("lat-")?.1;
            number.parse::<usize>().ok()
        });
        if let Some(arrival) = number.and_then(|number| self.arrivals.get(number)) {
            let micros = u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
            let _ = arrival.compare_exchange(0, micros, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
