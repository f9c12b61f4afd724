//! The door: every RPC passes here before its body is read, and leaves here with a status that says why.
//!
//! [`admit`] is one layer around all services. It refuses while the server drains, finds the caller's key, looks up what the RPC needs
//! ([`rules`]), keeps the deadline, catches panics and writes one log line a call. Handlers take what it found with [`enter`] and ask
//! [`Call::sees`] about the tenant. Never here: a word about which of missing, unknown, revoked and expired a key was; a payload.

mod deadline;
mod explain;
mod follow;
mod guesses;
mod line;
mod rules;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use self::explain::explain;
pub(super) use self::guesses::Guesses;
pub(super) use self::line::Calls;
use self::line::Line;
use self::rules::{Kind, Need, Rule};
use super::{Api, Error};
use crate::domain::caller::{ApiKey, Caller};
use crate::domain::id;
use crate::domain::peer::Peer;
use crate::store::keys::KeyRecord;
use crate::tasks::OnEnd;
use crate::telemetry::metrics::Failed;

/// When to come back after the database could not be asked.
const RETRY: Duration = Duration::from_secs(1);
/// A key's last use is noted at most this often.
const USE_STEP: Duration = Duration::from_secs(60);

/// A call that was let in.
#[derive(Debug, Clone)]
pub(super) struct Call {
    caller: Arc<Caller>,
    request_id: Arc<str>,
}

impl Call {
    /// Who calls.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// `req_…`, which the log names this call by.
    pub(super) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Whether the caller may know of a tenant. `resource`: the name it asked for.
    ///
    /// # Errors
    /// [`Error::NotFound`] of the resource, as if it did not exist.
    pub(super) fn sees(&self, tenant: &str, resource: &str) -> Result<(), Error> {
        if self.caller.sees(tenant) { Ok(()) } else { Err(Error::NotFound { resource: resource.to_owned() }) }
    }

    #[cfg(test)]
    pub(super) fn of(caller: Caller) -> Self {
        Self { caller: Arc::new(caller), request_id: "req_test".into() }
    }
}

/// The call that the layer let in, and its message.
///
/// # Errors
/// [`Error::Unauthenticated`]: it did not come through the layer.
pub(super) fn enter<T>(mut request: tonic::Request<T>) -> Result<(Call, T), Error> {
    let call = request.extensions_mut().remove::<Call>().ok_or(Error::Unauthenticated)?;
    Ok((call, request.into_inner()))
}

/// Lets a call in or answers it.
pub(super) async fn admit(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    if !is_grpc(request.headers()) {
        // Source: gRPC over HTTP/2, "Requests".
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let request_id: Arc<str> = id::make(id::Kind::Request, api.parts.store.clock().uuid()).into();
    let rule = rules::find(request.uri().path());
    let mut line =
        Line::begin(api.parts.store.clock().clone(), &api.calls, rule.map_or(line::UNKNOWN, |rule| rule.path), &request_id);
    let kind = rule.map_or(Kind::Unary, |rule| rule.kind);
    let mut key_id = None;
    let response = match authorise(&api, rule, request.headers()).await {
        Err(Error::Unauthenticated) => refuse(unauthenticated(&api, &request)),
        Err(error) => refuse(error),
        Ok(caller) => {
            if let Some(caller) = caller {
                line.caller(caller.key_id());
                key_id = Some(caller.key_id().to_owned());
                request.extensions_mut().insert(Call { caller: Arc::new(caller), request_id: Arc::clone(&request_id) });
            }
            let timeout = deadline::of(request.headers());
            let answer = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind();
            let answer = match kind {
                Kind::Unary => tokio::time::timeout(timeout, answer).await,
                // Until it begins; then it has no deadline.
                Kind::Stream => tokio::time::timeout(deadline::BEGIN, answer).await,
            };
            match answer {
                Ok(Ok(response)) => explain(response, api.parts.limits.message_bytes),
                Ok(Err(panic)) => {
                    api.parts.supervisor.note_panic("rpc", &*panic);
                    tracing::error!(request_id = &*request_id, rpc = line.rpc(), "a handler panicked");
                    refuse(Error::Internal { request_id: request_id.to_string() })
                }
                Err(_) => refuse(Error::DeadlinePassed),
            }
        }
    };
    finish(response, kind, key_id, line, &api)
}

/// What a caller without a valid key is told: after too many of them from one peer, when to come back.
fn unauthenticated(api: &Api, request: &Request) -> Error {
    let metrics = api.parts.store.metrics();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| Peer::of(peer.ip()));
    match peer.map_or(Ok(()), |peer| api.guesses.note(peer, api.parts.store.clock().instant())) {
        Ok(()) => {
            metrics.authentication_failed(Failed::Invalid);
            Error::Unauthenticated
        }
        Err(retry) => {
            metrics.authentication_failed(Failed::Limited);
            Error::RateLimited { retry }
        }
    }
}

/// Who calls, when the RPC needs to know.
async fn authorise(api: &Api, rule: Option<&Rule>, headers: &HeaderMap) -> Result<Option<Caller>, Error> {
    if let Some(Rule { need: Need::Nothing, .. }) = rule {
        return Ok(None);
    }
    if !api.is_serving() {
        return Err(Error::ShuttingDown);
    }
    let caller = authenticate(api, headers).await?;
    match rule.map(|rule| rule.need) {
        Some(Need::Key | Need::Nothing) => Ok(Some(caller)),
        Some(Need::Verb(verb)) if caller.may(verb) => Ok(Some(caller)),
        Some(Need::Verb(verb)) => Err(Error::ScopeMissing { scope: verb.as_str().to_owned() }),
        // Default deny: what has no rule is open to nobody.
        None => Err(Error::ScopeMissing { scope: "unknown".to_owned() }),
    }
}

async fn authenticate(api: &Api, headers: &HeaderMap) -> Result<Caller, Error> {
    let store = &api.parts.store;
    let shown = bearer(headers).and_then(ApiKey::parse).ok_or(Error::Unauthenticated)?;
    let found = store.find_key(&shown.key_id).await.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "a key cannot be looked up");
        Error::StoreUnavailable { retry: RETRY }
    })?;
    let secret = secrecy::ExposeSecret::expose_secret(&shown.secret);
    let ring = store.key_ring();
    let Some(record) = found else {
        // As much work as for a key that exists.
        std::hint::black_box(ring.hash_api_key(&shown.key_id, secret));
        return Err(Error::Unauthenticated);
    };
    let genuine = ring.check_api_key(&record.id, secret, &record.hash).unwrap_or_else(|error| {
        tracing::warn!(key = record.id, error = &error as &dyn std::error::Error, "the hash of a key cannot be checked");
        false
    });
    let now = store.now();
    if !genuine || !record.is_valid(now) {
        return Err(Error::Unauthenticated);
    }
    if record.last_use_time.is_none_or(|last| now.since(last) >= USE_STEP) {
        note_use(api, Arc::clone(&record), shown);
    }
    Ok(Caller::new(record.id.clone(), record.scopes.iter().cloned()))
}

/// Beside the call, which does not wait for it.
fn note_use(api: &Api, record: Arc<KeyRecord>, shown: ApiKey) {
    let store = api.parts.store.clone();
    api.parts.supervisor.spawn("key use", OnEnd::Ignore, async move {
        let noted = store.touch_key(&record).await;
        let ring = store.key_ring();
        let renewed = if ring.is_current(&record.hash) {
            Ok(())
        } else {
            let hash = ring.hash_api_key(&record.id, secrecy::ExposeSecret::expose_secret(&shown.secret));
            store.rehash_key(&record.id, &record.hash, &hash).await
        };
        if let Err(error) = noted.and(renewed) {
            tracing::debug!(key = record.id, error = &error as &dyn std::error::Error, "the use of a key could not be noted");
        }
    });
}

/// The text after `Bearer`, whose case does not matter. Source: RFC 6750, section 2.1.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn refuse(error: Error) -> Response {
    Status::from(error).into_http()
}

fn status_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

/// Writes the line: now, or when the stream ends.
fn finish(response: Response, kind: Kind, key_id: Option<String>, mut line: Line, api: &Api) -> Response {
    let status = status_of(response.headers());
    if kind == Kind::Unary || status.is_some() {
        line.end(status.unwrap_or(Code::Ok));
        return response;
    }
    // Health and reflection know nothing of a drain; the other streams end by themselves, with their last token.
    let stop = if key_id.is_none() { api.stopping() } else { CancellationToken::new() };
    let end = follow::ended(stop, key_id.map(|key_id| (api.parts.store.clone(), key_id)));
    let (tasks, message_bytes) = (api.parts.supervisor.clone(), api.parts.limits.message_bytes);
    response.map(|body| follow::follow(body, line, end, tasks, message_bytes))
}

#[cfg(test)]
mod panics;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
    }

    #[test]
    fn a_bearer_key_is_found_whatever_the_case_of_its_scheme() {
        for value in ["Bearer gp_x", "bearer gp_x", "BEARER  gp_x "] {
            assert_eq!(bearer(&headers(&[("authorization", value)])), Some("gp_x"), "{value}");
        }
        for value in ["gp_x", "Basic gp_x", "Bearer"] {
            assert_eq!(bearer(&headers(&[("authorization", value)])), None, "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn a_tenant_out_of_sight_is_not_found_under_the_name_that_was_asked_for() {
        let call = Call::of(Caller::new("key_1", [crate::domain::caller::Scope::Tenant("acme".to_owned())]));
        assert_eq!(call.sees("acme", "tenants/acme"), Ok(()));
        let resource = "tenants/other/endpoints/a".to_owned();
        assert_eq!(call.sees("other", &resource), Err(Error::NotFound { resource }));
    }
}
