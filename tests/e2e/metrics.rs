//! What `/metrics` shows is what happened, judged by another implementation's parser, and nobody sees it who should not.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use gatepost_client::v1::{self, delivery::State};
use gatepost_tests::{
    Answer, Database, Receiver, Settings, World, on_both_databases, oracle, until,
    world::{client, event, waits},
};
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;

on_both_databases!(
    metrics_count_what_was_published_and_delivered,
    metrics_and_probes_move_to_a_port_of_their_own,
    metrics_name_no_tenant_no_endpoint_and_no_secret,
);

/// The answer to `GET`, whole.
pub(crate) async fn get(url: &str) -> Response<Bytes> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.request(Request::get(url).body(Empty::new()).expect("a request")).await.expect("an answer");
    let (head, body) = answer.into_parts();
    Response::from_parts(head, body.collect().await.expect("a body").to_bytes())
}

/// What a scrape shows, as another implementation reads it.
struct Scraped {
    families: BTreeMap<String, String>,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Scraped {
    /// `None` where the other implementation is missing.
    async fn of(test: &str, url: &str) -> Option<Self> {
        let answer = get(&format!("{url}/metrics")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let content_type = answer.headers()[CONTENT_TYPE].to_str().expect("text");
        assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let text = String::from_utf8(answer.into_body().to_vec()).expect("text");
        let read = oracle::python(test, "metrics.py", &[], &text).await?;
        assert!(read.status.success(), "{}\n{text}", String::from_utf8_lossy(&read.stderr));
        let read: Value = serde_json::from_slice(&read.stdout).expect("JSON");
        Some(Self {
            families: serde_json::from_value(read["families"].clone()).expect("families"),
            samples: serde_json::from_value(read["samples"].clone()).expect("samples"),
        })
    }

    /// The sum of all samples of this name with these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits =
            |found: &BTreeMap<String, String>| labels.iter().all(|(key, value)| found.get(*key).is_some_and(|own| own == value));
        self.samples.iter().filter(|(found, with, _)| found == name && fits(with)).map(|(.., value)| value).sum()
    }
}

async fn metrics_count_what_was_published_and_delivered(database: Database) {
    let test = "metrics_count_what_was_published_and_delivered";
    let world = World::on(&database).await;
    let url = world.server.url();
    let well = Receiver::ok().await;
    let ill = Receiver::answering(|_, _| Answer::status(503)).await;
    let refusing = Receiver::answering(|_, _| Answer::status(422)).await;
    world.endpoint("well", &well.url(), |_| {}).await;
    world.endpoint("ill", &ill.url(), |endpoint| endpoint.retry_policy = waits(&[3600])).await;
    world.endpoint("refusing", &refusing.url(), |endpoint| endpoint.permanent_statuses = vec![422]).await;
    let receipts = world.publish_many("user.updated", 20).await;
    // A repeat is no event.
    let again = event("user.updated").id("twice");
    world.tenant.publish(again.clone()).await.expect("a receipt");
    assert!(world.tenant.publish(again).await.expect("a receipt").duplicate());
    let watch = world.tenant.watch().start().await.expect("a watch");
    for (state, count) in [(State::Succeeded, 21), (State::Dead, 21), (State::Retrying, 21)] {
        until("all outcomes", async || {
            let found = world.deliveries(&format!("state == \"{}\"", state.as_str_name().trim_start_matches("STATE_"))).await.len();
            if found == count { Ok(()) } else { Err((state, found)) }
        })
        .await;
    }
    let held = world.tenant.cancel_delivery(&world.deliveries(r#"state == "RETRYING""#).await[0].name).await.expect("a delivery");
    assert_eq!(held.state(), State::Cancelled);
    client(&world.server, "gp_key_0000000000000000000000000_x").server_info().await.expect_err("no key");

    // The backlog is measured every few seconds.
    let scraped = until("the figures", async || {
        let Some(scraped) = Scraped::of(test, &url).await else { return Ok(None) };
        let depth = scraped.sum("gatepost_queue_depth", &[("state", "retrying")]);
        if depth == 20.0 { Ok(Some(scraped)) } else { Err(depth) }
    })
    .await;
    let Some(scraped) = scraped else { return };
    let kinds: Vec<(&str, &str)> = vec![
        ("gatepost_build", "info"),
        ("gatepost_events_published", "counter"),
        ("gatepost_deliveries", "counter"),
        ("gatepost_attempts", "counter"),
        ("gatepost_delivery_latency_seconds", "histogram"),
        ("gatepost_queue_depth", "gauge"),
        ("gatepost_queue_oldest_age_seconds", "gauge"),
        ("gatepost_leases_lost", "counter"),
        ("gatepost_watchers", "gauge"),
        ("gatepost_task_panics", "counter"),
        ("gatepost_authentication_failures", "counter"),
        ("rpc_server_call_duration_seconds", "histogram"),
        ("http_client_request_duration_seconds", "histogram"),
    ];
    for (name, kind) in kinds {
        assert_eq!(scraped.families.get(name).map(String::as_str), Some(kind), "{name} in {:?}", scraped.families);
    }
    let publish = "gatepost.v1.EventService/PublishEvent";
    let info = "gatepost.v1.AdminService/GetServerInfo";
    for (name, labels, expected) in [
        ("gatepost_events_published_total", vec![], 21.0),
        ("gatepost_deliveries_total", vec![("outcome", "succeeded")], 21.0),
        ("gatepost_deliveries_total", vec![("outcome", "dead")], 21.0),
        ("gatepost_deliveries_total", vec![("outcome", "cancelled")], 1.0),
        ("gatepost_attempts_total", vec![("outcome", "succeeded"), ("class", "success")], 21.0),
        ("gatepost_attempts_total", vec![("outcome", "retrying"), ("class", "server_error")], 21.0),
        ("gatepost_attempts_total", vec![("outcome", "dead"), ("class", "client_error")], 21.0),
        ("gatepost_attempts_total", vec![], 63.0),
        ("gatepost_delivery_latency_seconds_count", vec![("until", "success")], 21.0),
        ("gatepost_delivery_latency_seconds_count", vec![("until", "first_byte")], 63.0),
        ("http_client_request_duration_seconds_count", vec![("http_response_status_code", "200")], 21.0),
        ("http_client_request_duration_seconds_count", vec![("http_response_status_code", "503")], 21.0),
        ("http_client_request_duration_seconds_count", vec![("http_response_status_code", "422")], 21.0),
        ("gatepost_queue_depth", vec![("state", "dead")], 21.0),
        ("gatepost_queue_depth", vec![("state", "pending")], 0.0),
        ("gatepost_watchers", vec![], 1.0),
        ("gatepost_task_panics_total", vec![], 0.0),
        ("gatepost_leases_lost_total", vec![], 0.0),
        ("gatepost_authentication_failures_total", vec![("reason", "invalid")], 1.0),
        ("rpc_server_call_duration_seconds_count", vec![("rpc_method", publish), ("rpc_response_status_code", "OK")], 2.0),
        (
            "rpc_server_call_duration_seconds_count",
            vec![("rpc_method", info), ("rpc_response_status_code", "UNAUTHENTICATED")],
            1.0,
        ),
    ] {
        assert_eq!(scraped.sum(name, &labels), expected, "{name} {labels:?}");
    }
    assert_eq!(receipts.len(), 20);
    let age = scraped.sum("gatepost_queue_oldest_age_seconds", &[]);
    assert!(age > 0.0 && age < 120.0, "{age}");
    // What a pause holds back is nobody's delay.
    world.tenant.pause_endpoint("ill").await.expect("the endpoint");
    until("the age to fall", async || {
        let age = Scraped::of(test, &url).await.expect("as before").sum("gatepost_queue_oldest_age_seconds", &[]);
        if age == 0.0 { Ok(()) } else { Err(age) }
    })
    .await;
    drop(watch);
}

async fn metrics_and_probes_move_to_a_port_of_their_own(database: Database) {
    let receiver = Receiver::answering(|_, _| Answer::status(200).after(Duration::from_secs(2))).await;
    let mut world = World::with(Settings::on(&database).set("GATEPOST_ADMIN_LISTEN", "127.0.0.1:0")).await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let line = world.server.log_line("metrics and probes on ").await;
    let admin = line.split("http://").nth(1).expect("an address");
    let admin =
        format!("http://{}", &admin[..admin.find(|end: char| !end.is_ascii_digit() && !".:".contains(end)).unwrap_or(admin.len())]);
    for path in ["livez", "readyz", "metrics"] {
        assert_eq!(get(&format!("{admin}/{path}")).await.status(), StatusCode::OK, "{path}");
        let main = get(&format!("{}/{path}", world.server.url())).await;
        assert!(main.status().is_client_error(), "{path}: {main:?}");
    }
    // No way in for calls.
    assert!(client_of(&admin, world.server.key()).server_info().await.is_err());
    // While it drains it says so, until the end.
    world.publish("user.created").await;
    receiver.wait_for(1).await;
    let stopping = world.server.stop();
    let watching = until("readiness to end", async || {
        let answer = get(&format!("{admin}/readyz")).await;
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE { Ok(answer.into_body()) } else { Err(answer.status()) }
    });
    let (status, said) = tokio::join!(stopping, watching);
    assert!(status.success() && said == "draining\n", "{status:?} {said:?}");
}

fn client_of(url: &str, key: &str) -> gatepost_client::Client {
    gatepost_client::Client::builder(url).key(key).max_retries(0).connect_lazy().expect("a client")
}

async fn metrics_name_no_tenant_no_endpoint_and_no_secret(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|number, _| Answer::status(if number == 0 { 500 } else { 200 })).await;
    let id = "canary-endpoint";
    let endpoint = world.endpoint(id, &receiver.url(), |endpoint| endpoint.retry_policy = waits(&[1])).await;
    let said = event("user.suspended").subject("canary/1").tag("canary", "canary");
    let receipt = world.tenant.publish(said).await.expect("a receipt");
    world.until(&receipt, State::Succeeded).await;
    let _: Result<v1::Endpoint, _> = world.tenant.get_endpoint("canary-missing").await;
    let text = String::from_utf8(get(&format!("{}/metrics", world.server.url())).await.into_body().to_vec()).expect("text");
    let port = receiver.address().port().to_string();
    let secret = endpoint.signing_secret.as_str();
    for canary in ["acme", "canary", "user.suspended", secret, world.server.key(), receipt.event_id(), &port, "127.0.0.1"] {
        assert!(!text.contains(canary), "{canary} in\n{text}");
    }
}

#[tokio::test]
async fn off_loopback_the_main_port_shows_no_metrics() {
    let database = Database::sqlite();
    let settings = Settings::on(&database).set("GATEPOST_LISTEN", "0.0.0.0:0").set("GATEPOST_INSECURE_PLAINTEXT", "true");
    let server = gatepost_tests::Server::start_with(settings).await;
    let url = server.url().replace("0.0.0.0", "127.0.0.1");
    assert_eq!(get(&format!("{url}/readyz")).await.status(), StatusCode::OK);
    assert!(get(&format!("{url}/metrics")).await.status().is_client_error());
}
