//! The oracles that other tests trust tell a good signature from a bad one.

use base64::{Engine, prelude::BASE64_STANDARD};
use gatepost_tests::oracle;
use standardwebhooks::Webhook;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::test]
async fn python_takes_good_signatures_and_refuses_bad_ones() {
    let test = "python_takes_good_signatures_and_refuses_bad_ones";
    let Some(good) = oracle::python(test, "verify.py", &[], &requests(SECRET)).await else { return };
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    assert_eq!(good.stdout, b"{\"verified\": 20, \"refused_when_changed\": 20}\n");
    let bad =
        oracle::python(test, "verify.py", &[], &requests("whsec_c29tZSBvdGhlciBzZWNyZXQgdGhhbiB0aGF0")).await.expect("as before");
    assert_eq!(bad.status.code(), Some(1));
}

#[tokio::test]
async fn node_takes_good_signatures_and_refuses_bad_ones() {
    let test = "node_takes_good_signatures_and_refuses_bad_ones";
    let Some(good) = oracle::node(test, "verify.mjs", &[], &requests(SECRET)).await else { return };
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    assert_eq!(good.stdout, b"{\"verified\":20,\"refused_when_changed\":20}\n");
    let bad =
        oracle::node(test, "verify.mjs", &[], &requests("whsec_c29tZSBvdGhlciBzZWNyZXQgdGhhbiB0aGF0")).await.expect("as before");
    assert_eq!(bad.status.code(), Some(1));
}

/// Twenty requests that claim to be signed with `SECRET` and are signed with `secret`.
fn requests(secret: &str) -> String {
    let signer = Webhook::new(secret).expect("a secret");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
    let line = |number: usize| {
        let (id, body) = (format!("evt_{number}"), format!("{{\"number\":{number},\"name\":\"Zoë\"}}"));
        let signature = signer.sign(&id, now, body.as_bytes()).expect("a signature");
        let body = BASE64_STANDARD.encode(body);
        serde_json::json!({"id": id, "timestamp": now.to_string(), "signature": signature, "secret": SECRET, "body_base64": body})
    };
    (0..20).map(|number| line(number).to_string() + "\n").collect()
}
