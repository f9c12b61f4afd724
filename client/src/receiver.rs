//! Verifies webhooks that Gatepost sends: for receivers.
//!
//! [`Verifier`] checks the signature, the age and, when it is there, the digest of a request, over the exact bytes that arrived. It
//! must see the body before anything parses it. Source: Standard Webhooks 1.0.0, "Verifying webhook authenticity"; RFC 9530.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Most signatures of one request that are looked at: a sender has at most 5 active secrets.
const MAX_SIGNATURES: usize = 20;

/// Checks requests against the signing secrets of an endpoint.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use gatepost_client::receiver::Verifier;
///
/// let verifier = Verifier::new(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])?;
/// # let (headers, body) = (http::HeaderMap::new(), b"{}");
/// match verifier.verify(&headers, body) {
///     Ok(request) => println!("{} is genuine", request.id),
///     Err(error) => println!("refused: {error}"), // Answer 401, or 200 when it is `Replayed`.
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Verifier {
    secrets: Vec<SecretSlice<u8>>,
    tolerance: Duration,
    replay: Option<Arc<dyn ReplayGuard>>,
}

impl Verifier {
    /// Accepts requests signed with any of these secrets, `whsec_` and base64. Give the old and the new one during a rotation.
    ///
    /// # Errors
    /// [`InvalidSecret`]: none is given, or one is not base64 of 24 to 64 bytes.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, InvalidSecret> {
        let secrets = secrets.into_iter().map(|secret| read_secret(secret.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() {
            return Err(InvalidSecret);
        }
        Ok(Self { secrets, tolerance: Duration::from_secs(300), replay: None })
    }

    /// How far a request's timestamp may be from now, either way. Default 300 s.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Refuses a request that was seen before. Gatepost's own repeats pass: they carry a new timestamp.
    #[must_use]
    pub fn replay_guard(mut self, guard: impl ReplayGuard + 'static) -> Self {
        self.replay = Some(Arc::new(guard));
        self
    }

    /// Checks a request that arrived now. `body`: the bytes as they arrived.
    ///
    /// # Errors
    /// Why the request is not genuine; nothing in it may be trusted then.
    #[allow(clippy::disallowed_methods, reason = "a receiver has no clock of Gatepost; `verify_at` takes any time")]
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<Verified, VerifyError> {
        self.verify_at(SystemTime::now(), headers, body)
    }

    /// Checks a request that arrived at `now`.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub fn verify_at(&self, now: SystemTime, headers: &HeaderMap, body: &[u8]) -> Result<Verified, VerifyError> {
        let id = header(headers, "webhook-id")?;
        let timestamp_text = header(headers, "webhook-timestamp")?;
        let signatures = header(headers, "webhook-signature")?;
        let timestamp = read_timestamp(timestamp_text).ok_or(VerifyError::MalformedHeader("webhook-timestamp"))?;
        if now.duration_since(timestamp).is_ok_and(|age| age > self.tolerance) {
            return Err(VerifyError::TooOld);
        }
        if timestamp.duration_since(now).is_ok_and(|lead| lead > self.tolerance) {
            return Err(VerifyError::TooNew);
        }
        if !self.is_signed(id, timestamp_text, signatures, body) {
            return Err(VerifyError::NoMatchingSignature);
        }
        check_digest(headers, body)?;
        if let Some(guard) = &self.replay
            && !guard.is_first(id, timestamp, now)
        {
            return Err(VerifyError::Replayed);
        }
        Ok(Verified { id: id.to_owned(), timestamp })
    }

    /// Whether one of the `v1` signatures is one of our secrets'. Takes the same time whichever it is.
    fn is_signed(&self, id: &str, timestamp: &str, signatures: &str, body: &[u8]) -> bool {
        let given: Vec<Vec<u8>> = signatures
            .split(' ')
            .filter_map(|signature| signature.strip_prefix("v1,"))
            .take(MAX_SIGNATURES)
            .filter_map(|signature| BASE64.decode(signature).ok())
            .collect();
        let mut found = subtle::Choice::from(0);
        for secret in &self.secrets {
            // HMAC takes keys of any length.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret()) else { continue };
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            let expected = mac.finalize().into_bytes();
            for signature in &given {
                found |= expected.as_slice().ct_eq(signature);
            }
        }
        found.into()
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("secrets", &self.secrets.len()).field("tolerance", &self.tolerance).finish_non_exhaustive()
    }
}

/// A request that is genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The `webhook-id`: the same on every attempt, so the key to tell a repeat from something new.
    pub id: String,
    /// When this attempt was made, in whole seconds.
    pub timestamp: SystemTime,
}

/// Why a request is not genuine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A header is missing.
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    /// A header cannot be read.
    #[error("the header {0} cannot be read")]
    MalformedHeader(&'static str),
    /// The timestamp is further back than the tolerance.
    #[error("the timestamp is too old")]
    TooOld,
    /// The timestamp is further ahead than the tolerance.
    #[error("the timestamp is in the future")]
    TooNew,
    /// No signature is one of our secrets': the wrong secret, or other bytes than were signed.
    #[error("no signature matches")]
    NoMatchingSignature,
    /// The body is not the one that `content-digest` names.
    #[error("the body does not match content-digest")]
    DigestMismatch,
    /// This very request was seen before.
    #[error("the request was seen before")]
    Replayed,
}

/// A signing secret that is no `whsec_` and base64 of 24 to 64 bytes; or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is `whsec_` and the base64 of 24 to 64 bytes")]
pub struct InvalidSecret;

/// Remembers which requests were seen.
///
/// [`MemoryReplayGuard`] serves one process; several share one through a store of your own.
pub trait ReplayGuard: Send + Sync {
    /// Whether this id and timestamp come for the first time; remembers them. Called only for genuine requests.
    fn is_first(&self, id: &str, timestamp: SystemTime, now: SystemTime) -> bool;
}

/// Remembers the last requests in memory, and forgets the oldest beyond its capacity.
///
/// Make the capacity the number of requests within twice the tolerance: what is older is refused for its age.
#[derive(Debug)]
pub struct MemoryReplayGuard {
    capacity: usize,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    keys: HashSet<(String, SystemTime)>,
    order: VecDeque<(String, SystemTime)>,
}

impl MemoryReplayGuard {
    /// Remembers this many requests, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), seen: Mutex::default() }
    }
}

impl Default for MemoryReplayGuard {
    /// Remembers 100,000 requests.
    fn default() -> Self {
        Self::new(100_000)
    }
}

impl ReplayGuard for MemoryReplayGuard {
    fn is_first(&self, id: &str, timestamp: SystemTime, _now: SystemTime) -> bool {
        let key = (id.to_owned(), timestamp);
        // A set is whole between any two of these statements, so a poisoned lock holds nothing broken.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.keys.insert(key.clone()) {
            return false;
        }
        seen.order.push_back(key);
        if seen.order.len() > self.capacity
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.keys.remove(&oldest);
        }
        true
    }
}

fn read_secret(text: &str) -> Result<SecretSlice<u8>, InvalidSecret> {
    let bytes = BASE64.decode(text.strip_prefix("whsec_").unwrap_or(text)).map_err(|_| InvalidSecret)?;
    if (24..=64).contains(&bytes.len()) { Ok(bytes.into()) } else { Err(InvalidSecret) }
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, VerifyError> {
    let value = headers.get(name).ok_or(VerifyError::MissingHeader(name))?;
    match value.to_str() {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => Err(VerifyError::MalformedHeader(name)),
    }
}

/// Whole seconds since 1970, digits only: the text is part of what is signed, so it has one spelling.
fn read_timestamp(text: &str) -> Option<SystemTime> {
    if text.len() > 18 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(text.parse().ok()?))
}

/// Checks every `sha-256` member; other algorithms are left to who knows them.
fn check_digest(headers: &HeaderMap, body: &[u8]) -> Result<(), VerifyError> {
    const NAME: &str = "content-digest";
    for line in headers.get_all(NAME) {
        let line = line.to_str().map_err(|_| VerifyError::MalformedHeader(NAME))?;
        for member in line.split(',').map(str::trim) {
            let Some(value) = member.strip_prefix("sha-256=") else { continue };
            let given = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
            let given = given.and_then(|value| BASE64.decode(value).ok()).ok_or(VerifyError::MalformedHeader(NAME))?;
            if !bool::from(Sha256::digest(body).as_slice().ct_eq(&given)) {
                return Err(VerifyError::DigestMismatch);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use standardwebhooks::Webhook;

    const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const BODY: &[u8] = br#"{"id":"evt_1","type":"user.terminated"}"#;
    const SENT: u64 = 1_795_597_200;

    fn at(offset: i64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(SENT.checked_add_signed(offset).unwrap())
    }

    /// Headers as the reference implementation signs them.
    fn signed(secrets: &[&str]) -> HeaderMap {
        let signatures: Vec<String> =
            secrets.iter().map(|secret| Webhook::new(secret).unwrap().sign("evt_1", SENT as i64, BODY).unwrap()).collect();
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.insert("webhook-timestamp", SENT.to_string().parse().unwrap());
        headers.insert("webhook-signature", signatures.join(" ").parse().unwrap());
        headers
    }

    #[test]
    fn what_the_reference_implementation_signs_is_genuine() {
        let verified = Verifier::new([OLD]).unwrap().verify_at(at(3), &signed(&[OLD]), BODY).unwrap();
        assert_eq!(verified, Verified { id: "evt_1".into(), timestamp: at(0) });
    }

    #[test]
    fn any_signature_by_any_secret_is_enough_during_a_rotation() {
        for (ours, theirs) in [(&[OLD, NEW][..], &[NEW][..]), (&[NEW], &[OLD, NEW]), (&[OLD], &[OLD, NEW])] {
            Verifier::new(ours).unwrap().verify_at(at(0), &signed(theirs), BODY).unwrap();
        }
        let stranger = Verifier::new([OLD]).unwrap().verify_at(at(0), &signed(&[NEW]), BODY);
        assert_eq!(stranger, Err(VerifyError::NoMatchingSignature));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let verifier = Verifier::new([OLD]).unwrap();
        for index in 0..BODY.len() {
            let mut body = BODY.to_vec();
            body[index] ^= 1;
            assert_eq!(verifier.verify_at(at(0), &signed(&[OLD]), &body), Err(VerifyError::NoMatchingSignature));
        }
        let mut headers = signed(&[OLD]);
        headers.insert("webhook-id", "evt_2".parse().unwrap());
        assert_eq!(verifier.verify_at(at(0), &headers, BODY), Err(VerifyError::NoMatchingSignature));
        let mut headers = signed(&[OLD]);
        headers.insert("webhook-timestamp", (SENT + 1).to_string().parse().unwrap());
        assert_eq!(verifier.verify_at(at(0), &headers, BODY), Err(VerifyError::NoMatchingSignature));
    }

    #[test]
    fn an_old_or_future_request_is_refused() {
        let verifier = Verifier::new([OLD]).unwrap();
        for (offset, expected) in [(300, None), (301, Some(VerifyError::TooOld)), (-300, None), (-301, Some(VerifyError::TooNew))] {
            assert_eq!(verifier.verify_at(at(offset), &signed(&[OLD]), BODY).err(), expected, "{offset}");
        }
        let strict = verifier.tolerance(Duration::from_secs(10));
        assert_eq!(strict.verify_at(at(11), &signed(&[OLD]), BODY), Err(VerifyError::TooOld));
    }

    #[test]
    fn the_digest_is_enforced_when_it_is_there() {
        let verifier = Verifier::new([OLD]).unwrap();
        let check = |digest: &str| {
            let mut headers = signed(&[OLD]);
            headers.insert("content-digest", digest.parse().unwrap());
            verifier.verify_at(at(0), &headers, BODY).err()
        };
        let right = format!("sha-256=:{}:", BASE64.encode(Sha256::digest(BODY)));
        let wrong = format!("sha-256=:{}:", BASE64.encode(Sha256::digest(b"other")));
        assert_eq!(check(&right), None);
        assert_eq!(check(&format!("sha-512=:AAAA:, {right}")), None);
        assert_eq!(check(&wrong), Some(VerifyError::DigestMismatch));
        assert_eq!(check("sha-256=:!:"), Some(VerifyError::MalformedHeader("content-digest")));
    }

    #[test]
    fn headers_that_are_missing_or_unreadable_are_named() {
        let verifier = Verifier::new([OLD]).unwrap();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = signed(&[OLD]);
            headers.remove(name);
            assert_eq!(verifier.verify_at(at(0), &headers, BODY), Err(VerifyError::MissingHeader(name)));
        }
        for text in ["+1", "-1", " 1", "1.0", "99999999999999999999", "soon"] {
            let mut headers = signed(&[OLD]);
            headers.insert("webhook-timestamp", text.parse().unwrap());
            assert_eq!(verifier.verify_at(at(0), &headers, BODY), Err(VerifyError::MalformedHeader("webhook-timestamp")));
        }
        let mut headers = signed(&[OLD]);
        for junk in ["v1,", "v1", "v2,AAAA", "v1a,AAAA v1,!!!", ","] {
            headers.insert("webhook-signature", junk.parse().unwrap());
            assert_eq!(verifier.verify_at(at(0), &headers, BODY), Err(VerifyError::NoMatchingSignature), "{junk}");
        }
    }

    #[test]
    fn a_replay_is_refused() {
        let verifier = Verifier::new([OLD]).unwrap().replay_guard(MemoryReplayGuard::new(2));
        let forged = verifier.verify_at(at(0), &signed(&[NEW]), BODY);
        assert_eq!(forged, Err(VerifyError::NoMatchingSignature), "and it must not use up the genuine one's place");
        assert!(verifier.verify_at(at(0), &signed(&[OLD]), BODY).is_ok());
        assert_eq!(verifier.verify_at(at(0), &signed(&[OLD]), BODY), Err(VerifyError::Replayed));
    }

    #[test]
    fn the_memory_guard_tells_attempts_apart_and_forgets_the_oldest() {
        let guard = MemoryReplayGuard::new(2);
        assert!(guard.is_first("a", at(0), at(0)) && guard.is_first("a", at(30), at(30)));
        assert!(guard.is_first("b", at(0), at(0)) && guard.is_first("a", at(0), at(0)));
        assert!(!guard.is_first("b", at(0), at(0)));
    }

    #[test]
    fn secrets_are_checked_and_never_shown() {
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64!", &format!("whsec_{}", BASE64.encode([0; 65]))] {
            assert_eq!(Verifier::new([bad]).err(), Some(InvalidSecret), "{bad}");
        }
        assert_eq!(Verifier::new::<&str>([]).err(), Some(InvalidSecret));
        assert!(!format!("{:?}", Verifier::new([OLD]).unwrap()).contains("MfKQ"));
    }
}
