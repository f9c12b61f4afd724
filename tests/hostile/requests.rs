//! Generated requests: which RPC, whose key, which message, and what is wrong with the way in which it is sent.
//!
//! A request is a function of the seed, its number and what the answers before its round have told. So a run is repeated by its seed.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::{
    contract::Rpc,
    message::{Maker, damage},
    nasty,
    pool::Pool,
    random::Random,
    verdict::Framing,
    wire::{Sent, frame_of, framed},
};

/// Who sends them and where they go.
pub(crate) struct Sources {
    pub(crate) rpcs: Vec<Rpc>,
    /// Opens everything.
    pub(crate) root: String,
    /// Opens everything of one tenant.
    pub(crate) bound: String,
    /// Where good endpoints lead.
    pub(crate) receiver: String,
}

/// A request that was generated.
pub(crate) struct Shot {
    pub(crate) path: String,
    pub(crate) method: String,
    pub(crate) answer: MessageDescriptor,
    pub(crate) framing: Framing,
    pub(crate) has_key: bool,
    pub(crate) sent: Sent,
}

impl Sources {
    pub(crate) fn shot(&self, seed: u64, number: u64, pool: &Pool) -> Shot {
        let mut random = Random::new(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rpc = random.pick(&self.rpcs).clone();
        let descriptor = rpc.descriptor();
        let mut maker = Maker { random: &mut random, pool, method: rpc.method(), receiver: &self.receiver };
        let message = maker.message(&descriptor.input(), 0);
        let mut shot = Shot {
            path: rpc.path(),
            method: rpc.method().to_owned(),
            answer: descriptor.output(),
            framing: Framing::Sound,
            has_key: true,
            sent: Sent {
                method: Method::POST,
                path: rpc.path(),
                headers: headers(),
                body: Vec::new(),
                first_only: descriptor.is_server_streaming() && !descriptor.is_client_streaming(),
            },
        };
        self.authenticate(&mut shot, &mut random);
        self.write(&mut shot, &mut random, pool, &rpc, &message);
        spoil(&mut shot, &mut random, &message);
        shot
    }

    fn authenticate(&self, shot: &mut Shot, random: &mut Random) {
        let text = match random.below(100) {
            0..75 => format!("Bearer {}", self.root),
            75..90 => format!("Bearer {}", self.bound),
            odd => {
                shot.has_key = false;
                match odd {
                    90..93 => return,
                    93 => format!("Bearer {}x", self.root),
                    94 => format!("Bearer gp_key_{}_{}", "0".repeat(26), "a".repeat(43)),
                    95 => "Bearer ".to_owned(),
                    96 => "Bearer gp__".to_owned(),
                    97 => format!("Bearer {}", "gp_".repeat(1000)),
                    98 => format!("Basic {}", self.root),
                    _ => "Bearer gp_\u{e9}_x".to_owned(),
                }
            }
        };
        let value = HeaderValue::from_bytes(text.as_bytes()).expect("no control characters");
        shot.sent.headers.insert(header::AUTHORIZATION, value);
    }

    /// The body: one message, or several on a stream.
    fn write(&self, shot: &mut Shot, random: &mut Random, pool: &Pool, rpc: &Rpc, first: &DynamicMessage) {
        let count = if rpc.descriptor().is_client_streaming() { random.below(6) } else { 0 };
        let mut messages = vec![first.clone()];
        for _ in 0..count {
            let mut maker = Maker { random, pool, method: rpc.method(), receiver: &self.receiver };
            messages.push(maker.message(&rpc.descriptor().input(), 0));
        }
        let damaged = random.below(100) < 28;
        shot.sent.body = messages
            .iter()
            .map(|message| match damaged {
                true => framed(&damage(random, message)),
                false => framed(&message.encode_to_vec()),
            })
            .collect();
    }
}

fn headers() -> HeaderMap {
    let pairs = [(header::CONTENT_TYPE, "application/grpc"), (header::TE, "trailers")];
    pairs.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

/// Sends one request in eight in a way that gRPC does not know.
fn spoil(shot: &mut Shot, random: &mut Random, message: &DynamicMessage) {
    let text = |text: &str| HeaderValue::from_bytes(text.as_bytes()).expect("no control characters");
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    let headers = &mut shot.sent.headers;
    let body = &mut shot.sent.body;
    match random.below(200) {
        // Frames that lie.
        0 => *body = vec![frame_of(0, length + 1, &bytes)],
        1 => *body = vec![frame_of(0, u32::MAX, &bytes)],
        2 => *body = vec![frame_of(0, length.saturating_sub(1), &bytes)],
        3 => *body = vec![frame_of(1, length, &bytes)],
        4 => *body = vec![frame_of(255, length, &bytes)],
        5 => *body = vec![Bytes::from_static(&[0, 0, 0])],
        6 => body.clear(),
        7 => body.push(framed(&bytes)),
        // Byte by byte.
        8 => *body = framed(&bytes[..bytes.len().min(50)]).chunks(1).map(Bytes::copy_from_slice).collect(),
        // Compression that was not agreed, or was not done.
        9 => {
            headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
            *body = vec![frame_of(1, length, &bytes)];
        }
        10 => {
            headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
            *body = vec![frame_of(1, BOMB.len().try_into().unwrap_or(0), &BOMB)];
        }
        11 => drop(headers.insert("grpc-encoding", HeaderValue::from_static("identity"))),
        12 => drop(headers.insert("grpc-encoding", text("\u{e9}"))),
        13 => drop(headers.insert("grpc-accept-encoding", HeaderValue::from_static("br;q=9, ,,*"))),
        // Deadlines.
        14..=17 => drop(headers.insert("grpc-timeout", text(nasty::TIMEOUTS[random.below(nasty::TIMEOUTS.len())]))),
        // Metadata.
        18 => drop(headers.insert("x-bin", text("not base64 \u{e9}"))),
        19 => drop(headers.insert("grpc-status", HeaderValue::from_static("0"))),
        20 => {
            shot.framing = Framing::Broken;
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
        }
        21 => {
            shot.framing = Framing::Broken;
            headers.insert("x-large", text(&"x".repeat(20_000)));
        }
        22 => (0..120).for_each(|number| {
            let name = HeaderName::try_from(format!("x-{number}")).expect("a name");
            headers.insert(name, HeaderValue::from_static("1"));
        }),
        23 => drop(headers.remove(header::TE)),
        // No gRPC.
        24 => {
            shot.framing = Framing::Broken;
            let value = *random.pick(&nasty::CONTENT_TYPES);
            headers.insert(header::CONTENT_TYPE, text(value));
            if value.starts_with("application/grpc-web") {
                shot.framing = Framing::Web;
            }
        }
        25 => {
            shot.framing = Framing::Broken;
            shot.sent.method = random.pick(&[Method::GET, Method::PUT, Method::OPTIONS, Method::DELETE, Method::HEAD]).clone();
        }
        26 => shot.sent.path = format!("{}x", shot.path),
        27 => {
            shot.framing = Framing::Broken;
            shot.sent.path =
                random.pick(&["/", "/livez", "/readyz", "//", "/a/../b", "/%00", "/gatepost.v1.EventService/"]).to_string();
        }
        28 => shot.sent.path = format!("/{}/{}", "a".repeat(3000), "%ff".repeat(500)),
        // Five MiB, once in four hundred.
        29 if random.below(4) == 0 => *body = vec![framed(&vec![0x0a; 5 << 20])],
        _ => {}
    }
    // What nobody knows may also be told so before its key is looked at.
    if shot.sent.path != shot.path {
        shot.sent.first_only = false;
    }
}

/// 80 MB of zeros in half a megabyte of gzip.
///
/// Source: RFC 1951, 3.2.6: a literal, then copies of 258 bytes from one byte before, 13 bits each.
static BOMB: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
    let copy = "1100010100000";
    let codes = ["1", "10", "00110000"].into_iter().chain(std::iter::repeat_n(copy, 320_000)).chain(["0000000"]);
    let bits: Vec<u8> = codes.flat_map(str::bytes).map(|bit| bit - b'0').collect();
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    bytes.extend(bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit)));
    bytes.extend_from_slice(&[0; 8]);
    bytes
});
