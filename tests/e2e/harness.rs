//! The receiver that all other tests trust does what it says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gatepost_tests::{Answer, Database, Receiver, on_both_databases};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

on_both_databases!(a_test_has_a_database_of_its_own);

async fn a_test_has_a_database_of_its_own(database: Database) {
    assert_eq!(database.is_postgres(), database.url().starts_with("postgres://"));
    assert_ne!(database.url(), Database::sqlite().url());
}

#[tokio::test]
async fn a_receiver_answers_by_its_script_and_remembers_what_came() {
    let receiver = Receiver::answering(|number, _| match number {
        0 => Answer::status(503).header("retry-after", "7").body("later"),
        _ => Answer::status(204),
    })
    .await;
    let first = post(&receiver, "one").await.expect("an answer");
    assert_eq!(
        (first.status(), &first.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &http::HeaderValue::from_static("7"))
    );
    assert_eq!(first.into_body().collect().await.expect("a body").to_bytes(), "later");
    assert_eq!(post(&receiver, "two").await.expect("an answer").status(), StatusCode::NO_CONTENT);
    let received = receiver.wait_for(2).await;
    assert_eq!(received.iter().map(|request| request.body.as_ref()).collect::<Vec<_>>(), [b"one", b"two"]);
    assert!(received[0].arrived <= received[1].arrived);
}

#[tokio::test]
async fn a_receiver_hangs_drips_delays_and_hangs_up_on_demand() {
    let receiver = Receiver::answering(|_, request| match request.body.as_ref() {
        b"hang" => Answer::hang(),
        b"drip" => Answer::drip(Duration::from_millis(5)),
        b"late" => Answer::status(200).after(Duration::from_millis(50)),
        _ => Answer::drop_connection(),
    })
    .await;
    assert!(tokio::time::timeout(Duration::from_millis(200), post(&receiver, "hang")).await.is_err());
    assert!(post(&receiver, "drop").await.is_err());
    let start = Instant::now();
    assert_eq!(post(&receiver, "late").await.expect("an answer").status(), StatusCode::OK);
    assert!(start.elapsed() >= Duration::from_millis(50));
    let mut dripping = post(&receiver, "drip").await.expect("an answer").into_body();
    for _ in 0..3 {
        let frame = dripping.frame().await.expect("a frame").expect("no error").into_data().expect("data");
        assert_eq!(frame, ".");
    }
    assert_eq!(receiver.count(), 4);
}

async fn post(
    receiver: &Receiver,
    body: &'static str,
) -> Result<http::Response<hyper::body::Incoming>, hyper_util::client::legacy::Error> {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
    client.request(Request::post(receiver.url()).body(Full::from(body)).expect("a request")).await
}
