//! What lies in the database's files: nothing that is secret or about a person is readable there.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::fixture::*;
use super::on_both;
use crate::domain::caller::ApiKey;
use crate::domain::delivery::Next;
use crate::domain::event::Published;
use crate::store::Error;
use crate::store::requests::Effect;

on_both!(no_payload_and_no_secret_is_stored_in_clear, a_ciphertext_moved_to_another_row_does_not_open);

async fn no_payload_and_no_secret_is_stored_in_clear(db: Fixture) {
    let (epoch, _) = db.siem().await;
    // A canary that would compress or split badly is none: each is one short run of letters.
    let fresh = publish_fresh(&db.store, sent("acme", Published { event_id: "evt_1".to_owned(), ..published("u1") })).await;
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Dead)]).await.unwrap();
    let once = crate::store::requests::Once {
        encode: Box::new(|_| b"canary-response".to_vec()),
        ..once("acme", "CreateEndpoint", "r1", 1).unwrap()
    };
    db.store.create_endpoint(new_endpoint("acme", "x"), 10, Effect::Apply, Some(once)).await.unwrap();
    db.store.rotate_secret("acme", "siem", &secret(77), Duration::from_secs(60), None).await.unwrap();
    let api_key = ApiKey::generate(uuid::Uuid::from_u128(7), &[9; 32]);
    db.store.ensure_root_key(&api_key).await.unwrap();
    let stored = everything(&db).await;
    let holds = |needle: &[u8]| stored.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b"evt_1") && holds(b"receiver.test"), "what is not secret is found, so the search works");
    let texts = [secret(1).to_text(), secret(77).to_text(), api_key.secret.clone(), api_key.text()];
    let secrets = texts.iter().map(|text| text.expose_secret().trim_start_matches("whsec_").as_bytes());
    let canaries = [&b"canary-payload"[..], b"canary-header", b"canary-answer", b"canary-response", &[77; 32], &[7; 32]];
    for needle in secrets.chain(canaries) {
        assert!(!holds(needle), "{} is in clear", String::from_utf8_lossy(needle));
    }
}

/// Every byte of the SQLite files; on PostgreSQL every row of every table as its columns print, bytes as Latin-1.
async fn everything(db: &Fixture) -> Vec<u8> {
    if let Some(path) = crate::store::schema::sqlite_path(db.database.url()) {
        let folder = std::path::Path::new(path).parent().unwrap();
        let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        return files.flatten().collect();
    }
    let mut bytes = Vec::new();
    for sql in [
        "SELECT encode(payload, 'escape') || id || subject || tags FROM events",
        "SELECT encode(response, 'escape') || address FROM attempts",
        "SELECT encode(response, 'escape') FROM requests",
        "SELECT encode(headers, 'escape') || url || retry_policy || event_types FROM endpoints",
        "SELECT encode(sealed, 'escape') || fingerprint FROM endpoint_secrets",
        "SELECT hash || scopes FROM api_keys",
        "SELECT encode(changes, 'escape') FROM journal",
        "SELECT encode(wrapped, 'escape') FROM data_keys",
    ] {
        for row in db.store.inner.db.fetch(crate::store::db::Sql { postgres: sql, sqlite: sql }, &[]).await.unwrap() {
            bytes.extend(row.text(0).unwrap().into_bytes());
        }
    }
    bytes
}

async fn a_ciphertext_moved_to_another_row_does_not_open(db: Fixture) {
    db.siem().await;
    let mut other = new_endpoint("acme", "lake");
    other.secret = secret(2);
    create_endpoint(&db.store, other).await.unwrap();
    publish(&db.store, vec![event("acme", "evt_1"), event("acme", "evt_2")]).await;
    for swap in [
        "UPDATE endpoint_secrets SET sealed = (SELECT MIN(sealed) FROM endpoint_secrets)",
        "UPDATE events SET payload = (SELECT e.payload FROM events e WHERE e.id = 'evt_1')",
    ] {
        let swap = if db.is_postgres() && swap.contains("MIN") {
            "UPDATE endpoint_secrets SET sealed = (SELECT s.sealed FROM endpoint_secrets s ORDER BY s.endpoint_key LIMIT 1)"
        } else {
            swap
        };
        execute(&db.store, swap, &[]).await;
    }
    assert!(
        matches!(db.store.reveal_secrets("acme", "lake").await, Err(Error::Sealed(_)))
            || matches!(db.store.reveal_secrets("acme", "siem").await, Err(Error::Sealed(_)))
    );
    assert!(matches!(db.store.get_event("acme", "evt_2").await, Err(Error::Sealed(_))));
    assert!(db.store.get_event("acme", "evt_1").await.is_ok());
}
