//! A panic inside an RPC: its caller gets INTERNAL with a request id, it is counted, and the next call is answered.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::api::{Api, Parts};
use crate::clock::Clock;
use crate::config::Limits;
use crate::feed::{Feed, Options};
use crate::outbound::{Egress, EgressConfig};
use crate::store::publish;
use crate::store::testing::Database;
use crate::tasks::Supervisor;

async fn api(database: &Database) -> (Arc<Api>, Supervisor) {
    let store = database.open(Clock::system()).await;
    let (publisher, _committer) = publish::channel(store.clone(), None, 1);
    let (feed, _tailer) = Feed::open(store.clone(), Options::default()).await.unwrap();
    let supervisor = Supervisor::new();
    let api = Api::new(Parts {
        start_time: store.now(),
        store,
        publisher,
        feed: Arc::new(feed),
        egress: Arc::new(Egress::new(EgressConfig::default()).unwrap()),
        dispatcher: None,
        supervisor: supervisor.clone(),
        limits: Limits::default(),
        site: Arc::default(),
    });
    api.start().await;
    (Arc::new(api), supervisor)
}

fn request(path: &str) -> Request {
    http::Request::post(path).header("content-type", "application/grpc").body(Body::empty()).unwrap()
}

fn check(status: &Status) {
    let info = status.get_details_error_info().expect("an ErrorInfo");
    assert_eq!((status.code(), info.reason.as_str()), (Code::Internal, "INTERNAL"));
    assert!(info.metadata["request_id"].starts_with("req_"), "{info:?}");
    assert!(!format!("{status:?}").contains("secret"), "{status:?}");
}

#[tokio::test]
async fn a_handler_that_panics_answers_internal_with_a_request_id() {
    let database = Database::sqlite();
    let (api, supervisor) = api(&database).await;
    let door = axum::middleware::from_fn_with_state(api, admit);
    let handler = async |request: Request| -> Response {
        assert!(!request.headers().contains_key("x-panic"), "a secret");
        plain(StatusCode::OK)
    };
    let router = axum::Router::new().fallback(handler).layer(door);
    let mut bad = request("/grpc.health.v1.Health/Check");
    bad.headers_mut().insert("x-panic", "1".parse().unwrap());
    let answer = router.clone().oneshot(bad).await.unwrap();
    check(&Status::from_header_map(answer.headers()).unwrap());
    assert_eq!(supervisor.panics(), 1);
    assert_eq!(router.oneshot(request("/grpc.health.v1.Health/Check")).await.unwrap().status(), StatusCode::OK);
    assert_eq!(supervisor.panics(), 1);
}

#[tokio::test]
async fn a_stream_that_panics_ends_with_internal_and_a_request_id() {
    let database = Database::sqlite();
    let (api, supervisor) = api(&database).await;
    let door = axum::middleware::from_fn_with_state(api, admit);
    let handler = async || {
        Response::new(Body::from_stream(futures::stream::iter(0..3).map(|number| {
            assert!(number < 1, "a secret");
            Ok::<_, std::convert::Infallible>(bytes::Bytes::from_static(b"message"))
        })))
    };
    let router = axum::Router::new().fallback(handler).layer(door);
    let mut body = router.oneshot(request("/grpc.health.v1.Health/Watch")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "message");
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    check(&Status::from_header_map(&trailers).unwrap());
    assert!(body.frame().await.is_none());
    assert_eq!(supervisor.panics(), 1);
}

#[tokio::test]
async fn an_open_stream_ends_with_a_reason_when_the_server_stops() {
    let database = Database::sqlite();
    let (api, _supervisor) = api(&database).await;
    let door = axum::middleware::from_fn_with_state(Arc::clone(&api), admit);
    let handler =
        async || Response::new(Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::convert::Infallible>>()));
    let router = axum::Router::new().fallback(handler).layer(door);
    let mut body = router.oneshot(request("/grpc.health.v1.Health/Watch")).await.unwrap().into_body();
    api.stop().await;
    let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.expect("it ends");
    let trailers = frame.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(status_of(&trailers), Some(Code::Unavailable));
    assert!(body.frame().await.is_none());
}
