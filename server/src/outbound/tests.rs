//! The wall against real sockets: what arrives, what is cut, what is refused before anything is dialled.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::domain::delivery::AttemptClass;

/// A listener that runs a script on every connection; what a script returns comes out of `seen`.
struct Receiver<T> {
    url: Url,
    connections: Arc<AtomicUsize>,
    seen: mpsc::UnboundedReceiver<T>,
    accepting: tokio::task::JoinHandle<()>,
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[allow(clippy::disallowed_methods, reason = "a receiver of a test has no supervisor")]
async fn receiver<T, F>(script: impl Fn(TcpStream) -> F + Send + 'static) -> Receiver<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/hook?a=b", listener.local_addr().unwrap())).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (sender, seen) = mpsc::unbounded_channel();
    let counter = Arc::clone(&connections);
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let (run, sender) = (script(stream), sender.clone());
            tokio::spawn(async move { sender.send(run.await) });
        }
    });
    Receiver { url, connections, seen, accepting }
}

/// A receiver that answers every request on a connection with these bytes and returns the requests.
async fn answering(answer: impl Into<Vec<u8>>) -> Receiver<Vec<String>> {
    let answer = answer.into();
    receiver(move |mut stream| {
        let answer = answer.clone();
        async move {
            let mut requests = Vec::new();
            while let Some(request) = read_request(&mut stream).await {
                requests.push(request);
                if stream.write_all(&answer).await.is_err() {
                    break;
                }
            }
            requests
        }
    })
    .await
}

/// Reads one request, head and body; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |value| value.parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn config() -> EgressConfig {
    EgressConfig { url_rules: UrlRules { allow_http: true, ..UrlRules::default() }, ..EgressConfig::default() }
}

/// May dial loopback, as in `dev`.
fn open_config() -> EgressConfig {
    let allow = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).to_vec();
    EgressConfig { policy: AddressPolicy { allow, deny: Vec::new() }, ..config() }
}

fn open() -> Egress {
    Egress::new(open_config()).unwrap()
}

fn closed() -> Egress {
    Egress::new(config()).unwrap()
}

fn post(url: &Url) -> Request<'_> {
    let headers = HeaderMap::from_iter([(http::HeaderName::from_static("webhook-id"), HeaderValue::from_static("evt_1"))]);
    Request {
        url,
        headers,
        body: Bytes::from_static(b"{\"x\":1}"),
        timeout: Duration::from_secs(20),
        body_limit: BodyLimit::DELIVERY,
    }
}

fn post_within(url: &Url, millis: u64) -> Request<'_> {
    Request { timeout: Duration::from_millis(millis), ..post(url) }
}

async fn class(egress: &Egress, request: Request<'_>) -> AttemptClass {
    egress.send(request).await.unwrap_err().class()
}

#[tokio::test]
async fn a_request_arrives_whole_and_its_answer_comes_back() {
    let mut receiver = answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: b\r\n\r\nhello").await;
    let egress = open();
    let response = egress.send(post(&receiver.url)).await.unwrap();
    assert_eq!((response.status, &*response.body, response.is_cut), (200, &b"hello"[..], false));
    assert_eq!(response.headers["x-a"], "b");
    assert_eq!(response.remote_addr.map(|addr| addr.port()), receiver.url.port());
    let Timing { dns, connect, first_byte, total } = response.timing;
    assert!(dns <= connect && connect <= first_byte && first_byte <= Some(total) && dns.is_some(), "{:?}", response.timing);

    let again = egress.send(post(&receiver.url)).await.unwrap();
    assert_eq!((again.timing.dns, again.timing.connect), (None, None), "the second request reuses the connection");
    assert_eq!(receiver.connections.load(Ordering::SeqCst), 1);

    drop(egress);
    let requests = receiver.seen.recv().await.unwrap();
    let expected = format!(
        "POST /hook?a=b HTTP/1.1\r\nwebhook-id: evt_1\r\nuser-agent: gatepost/{}\r\nhost: {}\r\ncontent-length: 7\r\n\r\n{{\"x\":1}}",
        env!("CARGO_PKG_VERSION"),
        receiver.url.socket_addrs(|| None).unwrap()[0]
    );
    assert_eq!(requests, [expected.clone(), expected], "nothing but what was asked for: no cookies, no encodings, no referer");
}

#[tokio::test]
async fn any_status_is_an_answer_and_a_redirect_is_not_followed() {
    let trap = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let egress = open();
    for status in [201, 204, 301, 302, 307, 308, 400, 410, 429, 500, 503, 599] {
        let receiver = answering(format!("HTTP/1.1 {status} X\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", trap.url)).await;
        assert_eq!(egress.send(post(&receiver.url)).await.unwrap().status, status);
    }
    assert_eq!(trap.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn compressed_bodies_are_kept_as_they_came() {
    let receiver = answering("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x08\x08\x00").await;
    assert_eq!(&*open().send(post(&receiver.url)).await.unwrap().body, b"\x1f\x08\x08\x00");
}

/// Writes the bytes one at a time, then goes on with the last one for ever.
async fn drip(mut stream: TcpStream, bytes: &'static [u8]) {
    let _ = read_request(&mut stream).await;
    let last = bytes.last().copied().unwrap();
    for byte in bytes.iter().copied().chain(std::iter::repeat(last)) {
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_deadline_holds_for_a_drip_and_frees_the_connection() {
    let egress = open();
    for bytes in
        [&b"HTTP/1.1 200 OK\r\nx-a: "[..], b"HTTP/1.1 200 OK\r\n\r\na", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0"]
    {
        let mut receiver = receiver(move |stream| drip(stream, bytes)).await;
        let failure = egress.send(post_within(&receiver.url, 800)).await.unwrap_err();
        assert!(matches!(failure.error, Error::Timeout), "{failure:?}");
        assert!(failure.timing.total >= Duration::from_millis(800) && failure.timing.total < Duration::from_secs(5));
        // The script ends when its writes fail: nothing of the attempt is left.
        receiver.seen.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_times_out() {
    let mut receiver = receiver(|mut stream| async move { while read_request(&mut stream).await.is_some() {} }).await;
    assert_eq!(class(&open(), post_within(&receiver.url, 200)).await, AttemptClass::Timeout);
    receiver.seen.recv().await.unwrap();
}

/// Answers with a head and then the same bytes for ever; returns how many were taken.
async fn flood(mut stream: TcpStream, head: &'static str, chunk: &'static [u8]) -> usize {
    let _ = read_request(&mut stream).await;
    let mut taken = 0;
    if stream.write_all(head.as_bytes()).await.is_ok() {
        while let Ok(bytes) = stream.write(chunk).await {
            taken += bytes;
        }
    }
    taken
}

#[tokio::test]
async fn an_endless_body_is_cut_at_its_limit_and_the_connection_closed() {
    for (head, chunk) in [
        ("HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 8_192][..]),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", &[b'x'; 8_192]),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"4\r\nxxxx\r\n"),
    ] {
        let mut receiver = receiver(move |stream| flood(stream, head, chunk)).await;
        let response = open().send(post(&receiver.url)).await.unwrap();
        assert_eq!((response.status, response.body.len(), response.is_cut), (200, 16 * 1_024, true));
        assert!(response.body.iter().all(|byte| *byte == b'x'));
        // What was taken beyond the limit lies in the buffers of the sockets.
        assert!(receiver.seen.recv().await.unwrap() < 32 * 1_024 * 1_024);
    }
}

#[tokio::test]
async fn a_body_between_its_limits_is_read_to_the_end_and_kept_in_part() {
    let body = "y".repeat(60_000);
    let receiver = answering(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    let egress = open();
    for _ in 0..2 {
        let response = egress.send(post(&receiver.url)).await.unwrap();
        assert_eq!((response.body.len(), response.is_cut), (16 * 1_024, true));
    }
    assert_eq!(receiver.connections.load(Ordering::SeqCst), 1, "a body that was read leaves the connection in use");
    let whole = egress.send(Request { body_limit: BodyLimit::HOOK, ..post(&receiver.url) }).await.unwrap();
    assert_eq!((whole.body.len(), whole.is_cut), (60_000, false));
}

#[tokio::test]
async fn an_answer_over_its_limits_or_not_http_is_a_protocol_error() {
    let egress = open();
    for (head, chunk) in
        [("HTTP/1.1 200 OK\r\nx-a: ", &[b'x'; 8_192][..]), ("HTTP/1.1 200 OK\r\n", b"x-a: b\r\n"), ("", &[b'H'; 8_192])]
    {
        let mut receiver = receiver(move |stream| flood(stream, head, chunk)).await;
        assert_eq!(class(&egress, post(&receiver.url)).await, AttemptClass::Protocol, "{head:?}");
        receiver.seen.recv().await.unwrap();
    }
    let many = "x-a: b\r\n".repeat(101);
    let large = format!("x-a: {}\r\n", "v".repeat(17 * 1_024));
    for answer in [
        format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{large}content-length: 0\r\n\r\n"),
        "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
        "HTTP/1.1 99999 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n".to_owned(),
    ] {
        let receiver = answering(answer.clone()).await;
        assert_eq!(class(&egress, post(&receiver.url)).await, AttemptClass::Protocol, "{:.40}", answer);
    }
}

#[tokio::test]
async fn ten_thousand_informational_answers_do_no_harm() {
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(10_000);
    let receiver = answering(format!("{early}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
    assert_eq!(open().send(post(&receiver.url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_connection_that_is_refused_or_breaks_is_a_connect_error() {
    let egress = open();
    let closed = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    assert_eq!(class(&egress, post(&Url::parse(&format!("http://{closed}/")).unwrap())).await, AttemptClass::Connect);
    for answer in ["", "HTTP/1.1 200 OK\r\nx-a", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"] {
        let receiver = receiver(move |mut stream| async move {
            let _ = read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await
        })
        .await;
        assert_eq!(class(&egress, post(&receiver.url)).await, AttemptClass::Connect, "{answer:?}");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_a_dns_error() {
    // A label of 64 letters is refused by every resolver without asking a server.
    let url = Url::parse(&format!("http://{}.acme.test/", "a".repeat(64))).unwrap();
    let failure = open().send(post(&url)).await.unwrap_err();
    assert_eq!((failure.class(), failure.timing.connect), (AttemptClass::Dns, None));
}

#[tokio::test]
async fn refused_addresses_are_never_dialled_in_any_spelling() {
    let trap = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let port = trap.url.port().unwrap();
    let egress = closed();
    for host in [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "１２７.0.0.1",
        "127%2e0.0.1",
        "[::1]",
        "[::]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ] {
        let url = Url::parse(&format!("http://{host}:{port}/")).unwrap();
        assert_eq!(class(&egress, post(&url)).await, AttemptClass::AddressRefused, "{host}");
    }
    assert_eq!(trap.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_is_dialled_only_where_all_of_its_addresses_are_allowed() {
    let trap = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let port = trap.url.port().unwrap();
    // Good first and bad first, and an address that is public in the first answer and inside in the next.
    let rebinding = AtomicUsize::new(0);
    let resolver = Resolver::new(move |host| {
        let addresses: &[&str] = match host {
            "good-first.acme.test" => &["127.0.0.1", "10.0.0.1"],
            "bad-first.acme.test" => &["10.0.0.1", "127.0.0.1"],
            "rebinding.acme.test" if rebinding.fetch_add(1, Ordering::SeqCst) > 0 => &["10.0.0.1"],
            "empty.acme.test" => &[],
            _ => &["127.0.0.1"],
        };
        Ok(addresses.iter().map(|address| address.parse().unwrap()).collect())
    });
    let mut egress = Egress::with_resolver(open_config(), resolver).unwrap();
    egress.max_age = MAX_IDLE; // A connection for each request.
    let url = |host: &str| Url::parse(&format!("http://{host}:{port}/")).unwrap();
    for (host, expected) in [
        ("good-first.acme.test", AttemptClass::AddressRefused),
        ("bad-first.acme.test", AttemptClass::AddressRefused),
        ("empty.acme.test", AttemptClass::Dns),
    ] {
        assert_eq!(class(&egress, post(&url(host))).await, expected, "{host}");
    }
    assert_eq!(trap.connections.load(Ordering::SeqCst), 0);

    let rebinding = url("rebinding.acme.test");
    let response = egress.send(post(&rebinding)).await.unwrap();
    assert_eq!(
        response.remote_addr.map(|addr| addr.to_string()),
        Some(format!("127.0.0.1:{port}")),
        "the checked address is dialled"
    );
    assert_eq!(class(&egress, post(&rebinding)).await, AttemptClass::AddressRefused);
    assert_eq!(trap.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_connector_refuses_by_itself_what_the_url_check_would_miss() {
    let trap = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let port = trap.url.port().unwrap();
    for host in ["127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"] {
        let request = http::Request::post(format!("http://{host}:{port}/")).body(Full::new(Bytes::new())).unwrap();
        let error = closed().client.request(request).await.unwrap_err();
        let class = request_error(error, &mut Timing::default()).class();
        // A system whose resolver does not know a spelling answers that there is no such name.
        assert!(matches!(class, AttemptClass::AddressRefused | AttemptClass::Dns), "{host}: {class:?}");
    }
    assert_eq!(trap.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn plain_http_is_refused_unless_it_is_allowed() {
    let trap = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let egress = Egress::new(EgressConfig { url_rules: UrlRules::default(), ..open_config() }).unwrap();
    assert_eq!(egress.check_url(&trap.url), Err(Refusal::Scheme));
    assert_eq!(class(&egress, post(&trap.url)).await, AttemptClass::AddressRefused);
    assert_eq!(trap.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_connection_at_the_end_of_its_age_gets_no_more_requests() {
    let receiver = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut egress = open();
    egress.max_age = MAX_IDLE;
    for _ in 0..3 {
        let timing = egress.send(post(&receiver.url)).await.unwrap().timing;
        assert!(timing.connect.is_some());
    }
    assert_eq!(receiver.connections.load(Ordering::SeqCst), 3);
}

/// A TLS receiver for this host that offers these protocols and answers with this many headers of this many bytes, and the PEM of the authority that vouches for it.
async fn tls_receiver(host: &str, alpn: &[&str], headers: usize, bytes: usize) -> (Receiver<io::Result<()>>, Vec<u8>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let mut receiver = receiver(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let io = hyper_util::rt::TokioIo::new(acceptor.accept(stream).await?);
            let service = hyper::service::service_fn(move |request: http::Request<Incoming>| async move {
                let answer = (0..headers).fold(http::Response::builder(), |answer, _| answer.header("x-a", "v".repeat(bytes)));
                answer.body(Full::new(Bytes::from(format!("{:?} {}", request.version(), request.uri().path()))))
            });
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            server.serve_connection(io, service).await.map_err(io::Error::other)
        }
    })
    .await;
    receiver.url.set_scheme("https").unwrap();
    receiver.url.set_host(Some(host)).unwrap();
    (receiver, authority.pem().into_bytes())
}

#[tokio::test]
async fn a_receiver_is_trusted_through_its_authority_and_not_without() {
    for (host, other) in [("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")] {
        for (alpn, version) in
            [(&["h2", "http/1.1"][..], "HTTP/2.0 /hook"), (&["http/1.1"], "HTTP/1.1 /hook"), (&[], "HTTP/1.1 /hook")]
        {
            let (mut receiver, pem) = tls_receiver(host, alpn, 1, 1).await;
            let trusting = Egress::new(EgressConfig { extra_roots_pem: pem, ..open_config() }).unwrap();
            assert_eq!(&*trusting.send(post(&receiver.url)).await.unwrap().body, version.as_bytes(), "{host}");
            assert_eq!(class(&open(), post(&receiver.url)).await, AttemptClass::Tls, "an unknown authority");
            receiver.url.set_host(Some(other)).unwrap();
            assert_eq!(class(&trusting, post(&receiver.url)).await, AttemptClass::Tls, "a certificate for another host");
        }
    }
}

#[tokio::test]
async fn http_2_has_the_same_limits() {
    for (headers, bytes) in [(1, 17 * 1_024), (101, 1)] {
        let (receiver, pem) = tls_receiver("localhost", &["h2"], headers, bytes).await;
        let egress = Egress::new(EgressConfig { extra_roots_pem: pem, ..open_config() }).unwrap();
        assert_eq!(class(&egress, post(&receiver.url)).await, AttemptClass::Protocol, "{headers} of {bytes}");
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_speak_tls_is_a_tls_error() {
    let greeting = receiver(|mut stream| async move { stream.write_all(b"220 mail.acme.test ESMTP\r\n").await }).await;
    let url = Url::parse(&greeting.url.as_str().replace("http:", "https:")).unwrap();
    assert_eq!(class(&open(), post(&url)).await, AttemptClass::Tls);
}

#[test]
fn a_text_that_is_no_certificate_stops_the_start() {
    let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    assert!(matches!(Egress::new(EgressConfig { extra_roots_pem: pem, ..config() }), Err(BuildError::Certificate(_))));
    assert!(matches!(Egress::new(EgressConfig { user_agent: "a\nb".to_owned(), ..config() }), Err(BuildError::UserAgent)));
}
