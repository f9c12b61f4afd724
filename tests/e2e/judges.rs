//! Other people's parsers as judges of what receivers got: CloudEvents, security event tokens, encrypted bodies and signatures,
//! each in Python and in Node. Where a judge is missing the test is named as skipped; see [`oracle`].

use std::collections::BTreeMap;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use gatepost_client::{
    Receipt,
    v1::{self, PreviewDeliveryRequest, PreviewDeliveryResponse, endpoint::Format},
};
use gatepost_tests::{Answer, PUBLIC_BASE_URL, Received, Receiver, World, oracle};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::metrics::get;

/// Who tokens are for.
pub(crate) const AUDIENCE: &str = "https://rp.acme.test";

/// Who signs the tokens of tenant `acme`.
pub(crate) fn issuer() -> String {
    format!("{PUBLIC_BASE_URL}/tenants/acme")
}

/// The settings of an endpoint that gets security event tokens.
pub(crate) fn tokens(endpoint: &mut v1::Endpoint) {
    endpoint.format = Format::Set.into();
    endpoint.set_audience = vec![AUDIENCE.to_owned()];
}

/// A receiver of tokens that takes all of them.
pub(crate) async fn token_receiver() -> Receiver {
    Receiver::answering(|_, _| Answer::status(202)).await
}

/// The keys of a tenant's tokens, as a receiver fetches them.
pub(crate) async fn key_set(world: &World, tenant: &str) -> Value {
    let answer = get(&format!("{}/tenants/{tenant}/jwks.json", world.server.url())).await;
    assert_eq!(answer.status(), http::StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/jwk-set+json");
    serde_json::from_slice(answer.body()).expect("JSON")
}

/// The header and the claims of a token, which is not verified here.
pub(crate) fn token(body: &[u8]) -> (Value, Value) {
    let text = std::str::from_utf8(body).expect("text");
    let part = |number: usize| -> Value {
        let part = text.split('.').nth(number).unwrap_or_else(|| panic!("no token: {text}"));
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
    };
    (part(0), part(1))
}

/// The URI of a token's one event.
pub(crate) fn uri(claims: &Value) -> &str {
    claims["events"].as_object().and_then(|events| events.keys().next()).expect("an event")
}

/// The last part of a delivery's, endpoint's or event's name.
pub(crate) fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

/// What an event would be as a request to an endpoint.
pub(crate) async fn preview(world: &World, endpoint: &str, receipt: &Receipt) -> PreviewDeliveryResponse {
    let name = format!("tenants/acme/endpoints/{endpoint}");
    let request = PreviewDeliveryRequest { name, event: receipt.event().to_owned(), ..Default::default() };
    world.client.endpoint_service().preview_delivery(request).await.expect("a preview").into_inner()
}

/// A request for [`read`], as it arrived. `expect`: what must be read, by attribute, claim or member.
pub(crate) fn arrived(format: Format, request: &Received, expect: Value) -> Value {
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("visible ASCII")));
    written(format, request.header("gatepost-event-type"), headers, &request.body, expect)
}

/// A request for [`read`].
pub(crate) fn written<'a>(
    format: Format,
    event_type: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    body: &[u8],
    expect: Value,
) -> Value {
    let headers: BTreeMap<&str, &str> = headers.into_iter().collect();
    let format = format.as_str_name().trim_start_matches("FORMAT_");
    json!({"format": format, "type": event_type, "headers": headers, "body_base64": BASE64_STANDARD.encode(body), "expect": expect})
}

/// With its own keys to verify it, whatever the others have.
pub(crate) fn under(mut request: Value, jwks: &Value) -> Value {
    request["jwks"] = jwks.clone();
    request
}

/// Has both judges read requests, and returns what each of them read, request by request. `jwks`: what verifies tokens that are not
/// [`under`] keys of their own.
///
/// # Panics
/// When a judge reads something else than what is expected, or refuses a request.
pub(crate) async fn read(test: &str, requests: &[Value], jwks: &Value) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    for (judge, results) in results(test, requests, jwks).await {
        let wrong: Vec<&Value> = results.iter().filter(|result| result.get("error").is_some()).collect();
        assert!(
            wrong.is_empty(),
            "{judge}: {} of {} are wrong, such as {:#?}",
            wrong.len(),
            requests.len(),
            &wrong[..wrong.len().min(5)]
        );
        all.push(results.into_iter().map(|mut result| result["read"].take()).collect());
    }
    all
}

/// The same, where each judge must refuse every request.
pub(crate) async fn refused(test: &str, requests: &[Value]) {
    for (judge, results) in results(test, requests, &Value::Null).await {
        assert!(results.iter().all(|result| result.get("error").is_some()), "{judge} takes {results:?}");
    }
}

async fn results(test: &str, requests: &[Value], jwks: &Value) -> Vec<(&'static str, Vec<Value>)> {
    let line = |request: &Value| {
        let tokens = request["format"] == "SET" && request.get("jwks").is_none();
        let request = if tokens { under(request.clone(), jwks) } else { request.clone() };
        request.to_string() + "\n"
    };
    let input: String = requests.iter().map(line).collect();
    let mut all = Vec::new();
    let (python, node) =
        tokio::join!(oracle::python(test, "formats.py", &[], &input), oracle::node(test, "formats.mjs", &[], &input));
    for (judge, output) in [("Python", python), ("Node", node)] {
        let Some(output) = output else { continue };
        let results = json_lines(&output.stdout);
        assert_eq!(results.len(), requests.len(), "{judge}: {}", String::from_utf8_lossy(&output.stderr));
        all.push((judge, results));
    }
    all
}

/// Has both judges verify the signatures of what arrived, over exactly the bytes that did.
///
/// # Panics
/// When one is not good, or is good for a changed request.
pub(crate) async fn verify<'a>(test: &str, requests: impl IntoIterator<Item = (&'a Received, &'a str)>) {
    let line = |(request, secret): (&Received, &str)| {
        let (timestamp, signature) = (request.header("webhook-timestamp"), request.header("webhook-signature"));
        let body = BASE64_STANDARD.encode(&request.body);
        json!({"id": request.id(), "timestamp": timestamp, "signature": signature, "secret": secret, "body_base64": body})
            .to_string()
    };
    let lines: Vec<String> = requests.into_iter().map(line).collect();
    let expected = json!({"verified": lines.len(), "refused_when_changed": lines.len()});
    let input = lines.join("\n");
    let (python, node) =
        tokio::join!(oracle::python(test, "verify.py", &[], &input), oracle::node(test, "verify.mjs", &[], &input));
    for output in [python, node].into_iter().flatten() {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).expect("JSON"), expected);
    }
}

/// A pair of keys that somebody else's library made.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// Such as `jose-x25519`: its library and its kind.
    pub(crate) name: String,
    /// As JWK.
    pub(crate) private: Value,
    /// As JWK.
    pub(crate) public: Value,
}

/// The kinds of keys that bodies are encrypted for.
const KINDS: [&str; 3] = ["P-256", "X25519", "RSA-2048"];

/// A pair of each kind from `joserfc`, `jwcrypto` and `jose`, made once for all tests. None where a judge is missing.
pub(crate) async fn pairs(test: &str) -> Option<&'static [Pair]> {
    static PAIRS: OnceCell<Vec<Pair>> = OnceCell::const_new();
    PAIRS.get_or_try_init(async || generate(test).await.ok_or(())).await.ok().map(Vec::as_slice)
}

/// The one of this library and kind.
pub(crate) fn named<'a>(pairs: &'a [Pair], name: &str) -> &'a Pair {
    pairs.iter().find(|pair| pair.name == name).expect("it is made")
}

async fn generate(test: &str) -> Option<Vec<Pair>> {
    let arguments = [&["generate"][..], &KINDS].concat();
    let (python, node) =
        tokio::join!(oracle::python(test, "jwe.py", &arguments, ""), oracle::node(test, "jwe.mjs", &arguments, ""));
    let (python, node) = (python?, node?);
    assert!(python.status.success() && node.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let lines = [json_lines(&python.stdout), json_lines(&node.stdout)].concat();
    assert_eq!(lines.len(), 3 * KINDS.len());
    let pair = |mut line: Value| Pair {
        name: format!("{}-{}", line["library"], line["kind"]).replace('"', "").to_lowercase(),
        private: line["private_jwk"].take(),
        public: line["public_jwk"].take(),
    };
    Some(lines.into_iter().map(pair).collect())
}

/// Has `joserfc`, `jwcrypto` and `jose` decrypt messages: each must give exactly these bytes.
pub(crate) async fn decrypt(test: &str, messages: &[(&[u8], &Value, &[u8])]) {
    let line = |(message, private, expected): &(&[u8], &Value, &[u8])| {
        let message = std::str::from_utf8(message).expect("text");
        json!({"jwe": message, "private_jwk": private, "expect_base64": BASE64_STANDARD.encode(expected)}).to_string() + "\n"
    };
    let input: String = messages.iter().map(line).collect();
    let (python, node) = tokio::join!(oracle::python(test, "jwe.py", &[], &input), oracle::node(test, "jwe.mjs", &[], &input));
    for output in [python, node].into_iter().flatten() {
        let said = String::from_utf8_lossy(&output.stdout);
        let wrong: Vec<&str> =
            said.lines().filter(|line| line.matches("\"ok\"").count() == 0 || line.contains(" decrypted")).collect();
        assert!(output.status.success(), "{wrong:#?} {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(said.lines().count(), messages.len());
    }
}

pub(crate) fn json_lines(output: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
