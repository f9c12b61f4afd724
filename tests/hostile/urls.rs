//! URLs that lead inside, in every spelling, and headers that would write others: refused when they are written, by name.
//!
//! The addresses are those of the unit table of the address policy, so that a block added there is tried here over the wire. The server
//! allows nothing private; nothing that it takes is ever called, as every request only validates.

use std::net::{IpAddr, Ipv4Addr};

use futures::{StreamExt, stream};
use gatepost_client::{Error, v1};
use gatepost_tests::{Database, Settings, World};

use super::fields::bad_fields;

const TABLE: &str = include_str!("../../server/src/outbound/address_tests.rs");

/// The database lives as long as its server.
async fn closed() -> (Database, World) {
    let database = Database::sqlite();
    let settings = Settings::on(&database);
    let settings = settings.set("GATEPOST_OUTBOUND__ALLOW_HTTP", "false").set("GATEPOST_OUTBOUND__ALLOW_CIDRS", "[]");
    let world = World::with(settings).await;
    (database, world)
}

async fn validate(world: &World, change: impl FnOnce(&mut v1::Endpoint)) -> Result<v1::Endpoint, Error> {
    let mut endpoint = v1::Endpoint { url: "https://93.184.216.34/".into(), ..Default::default() };
    change(&mut endpoint);
    let request = v1::CreateEndpointRequest { endpoint: Some(endpoint), validate_only: true, ..Default::default() };
    world.tenant.create_endpoint(request).await
}

/// Addresses of the table, and whether they may be called.
fn addresses() -> Vec<(IpAddr, bool)> {
    let (_, table) = TABLE.split_once("const VERDICTS").expect("the table");
    let (table, _) = table.split_once("\n];").expect("its end");
    let rows = table.lines().filter_map(|line| {
        let (address, verdict) = line.trim().strip_prefix("(\"")?.split_once("\", ")?;
        Some((address.parse().ok()?, verdict.starts_with("PUBLIC")))
    });
    rows.collect()
}

/// Ways to write one address as the host of a URL.
fn spellings(address: IpAddr) -> Vec<String> {
    match address {
        IpAddr::V6(address) => {
            let segments = address.segments().map(|segment| format!("{segment:04x}"));
            let plain = segments.join(":");
            vec![format!("[{address}]"), format!("[{plain}]"), format!("[{}]", plain.to_uppercase())]
        }
        IpAddr::V4(address) => of_v4(address),
    }
}

fn of_v4(address: Ipv4Addr) -> Vec<String> {
    let ([a, b, c, d], number) = (address.octets(), u32::from(address));
    let (high, low) = (number >> 16, number & 0xffff);
    let text = address.to_string();
    let wide = text.chars().map(|letter| match letter.to_digit(10) {
        Some(digit) => char::from_u32(0xff10 + digit).unwrap_or(letter),
        None => '。',
    });
    vec![
        address.to_string(),
        format!("{address}."),
        number.to_string(),
        format!("{number:#x}"),
        format!("0{number:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("{a}.{}", number & 0x00ff_ffff),
        format!("{a}.{b}.{low}"),
        format!("{a}.0x{b:x}.0{c:o}.{d}"),
        format!("[::ffff:{address}]"),
        format!("[::ffff:{high:x}:{low:x}]"),
        format!("[0:0:0:0:0:FFFF:{high:X}:{low:X}]"),
        format!("[64:ff9b::{high:x}:{low:x}]"),
        format!("[64:ff9b:1::{high:x}:{low:x}]"),
        format!("[2002:{high:x}:{low:x}::1]"),
        format!("[2001:0:{high:x}:{low:x}::1]"),
        format!("[::{address}]"),
        address.to_string().replace('.', "%2e"),
        wide.collect(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_not_public_is_refused_in_every_spelling() {
    let (_database, world) = closed().await;
    let addresses = addresses();
    assert!(addresses.len() > 150, "{}", addresses.len());
    let hidden = addresses.iter().filter(|(_, public)| !public).flat_map(|(address, _)| spellings(*address));
    let urls: Vec<String> = hidden.flat_map(|host| [format!("https://{host}/"), format!("https://{host}:8443/a?b")]).collect();
    assert!(urls.len() > 1500, "{}", urls.len());
    let world = &world;
    let judged =
        stream::iter(&urls).map(|url| async move { (url, validate(world, |endpoint| endpoint.url.clone_from(url)).await) });
    let judged = judged.buffered(16).collect::<Vec<_>>().await;
    let taken: Vec<&String> = judged.iter().filter(|(_, answer)| answer.is_ok()).map(|(url, _)| *url).collect();
    assert!(taken.is_empty(), "{taken:?}");
    for (url, error) in judged.into_iter().filter_map(|(url, answer)| Some((url, answer.err()?))) {
        assert!(bad_fields(&error).iter().all(|field| field == "endpoint.url"), "{url}: {error:?}");
        let told = error.to_string();
        assert!(!told.contains("Private") && !told.contains("cidr"), "which network refuses it is not told: {url}: {told}");
    }
    for (address, _) in addresses.iter().filter(|(_, public)| *public) {
        let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
        let taken = validate(world, |endpoint| endpoint.url = format!("https://{host}/")).await;
        assert!(taken.is_ok(), "{host}: {taken:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_urls_are_refused_by_name() {
    let (_database, world) = closed().await;
    let long = format!("https://a.example.com/{}", "a".repeat(2048));
    let grows = format!("https://a.example.com/{}", "ü".repeat(700));
    let deep = format!("https://{}com/", "a.".repeat(1000));
    let odd = [
        "",
        " ",
        "\0",
        "https",
        "https:",
        "https://",
        "https:///",
        "//a.example.com/",
        "a.example.com",
        "/hook",
        "http://a.example.com/",
        "ftp://a.example.com/",
        "file:///etc/passwd",
        "data:text/plain,x",
        "javascript:alert(1)",
        "gopher://a.example.com/_x",
        "unix:/run/x.sock",
        "HTTP://a.example.com/",
        "https://ann@a.example.com/",
        "https://ann:pw@a.example.com/",
        "https://:@a.example.com/x@y:z@b",
        "https://a.example.com@127.0.0.1/",
        "https://127.0.0.1#@a.example.com/",
        "https://127.0.0.1\\@a.example.com/",
        "https://a.example.com/#x",
        "https://a.example.com/#",
        "https://a.example.com:0/",
        "https://a.example.com:22/",
        "https://a.example.com:80/",
        "https://a.example.com:6000/",
        "https://a.example.com:65536/",
        "https://a.example.com:-1/",
        "https://a.example.com:+443/",
        "https://a.example.com:x/",
        "https://a.example.com/\r\nx: y",
        "https://a.example.com/\n",
        "https://a.exa\tmple.com/",
        " https://a.example.com/",
        "https://a.example.com/ ",
        "https://a.example.com/\u{a0}",
        "https://a.example.com/\u{2028}",
        "https://a.example.com\0.b.c/",
        "https://a%00.example.com/",
        "https://a%0d%0a.example.com/",
        "https://a b.example.com/",
        "https://a{b}.example.com/",
        "https://*.example.com/",
        "https://a..example.com/",
        "https://.example.com/",
        "https://-/",
        "https://[::1]/",
        "https://[::1%25eth0]/",
        "https://[fe80::1%lo]/",
        "https://[::1/",
        "https://::1/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://a.localhost/",
        "https://ⓛocalhost/",
        "https://loc\u{ad}alhost/",
        "https://local%68ost/",
        "https://db/",
        "https://db./",
        "https://db.internal/",
        "https://metadata.google.internal/",
        "https://ｍetadata.google.internal/",
        "https://printer.local/",
        "https://a.home.arpa/",
        "https://a.lan/",
        "https://a.corp/",
        "https://a.onion/",
        "https://a.intranet/",
        "https://a.private/",
        "https://a.localdomain/",
        "https://127.0.0.1.5/",
        "https://1.2.3.256/",
        "https://0/",
        "https://0x/",
        "https://00000000177.0.0.1/",
        "https://127.0.0.1:443:80/",
        "https:127.0.0.1",
        "https:/127.0.0.1/",
        "https:\\\\127.0.0.1\\",
        &long,
        &grows,
        &deep,
    ];
    let mut taken = Vec::new();
    for url in odd {
        match validate(&world, |endpoint| url.clone_into(&mut endpoint.url)).await {
            Ok(endpoint) => taken.push((url, endpoint.url)),
            Err(error) => assert!(bad_fields(&error).iter().all(|field| field == "endpoint.url"), "{url:?}: {error:?}"),
        }
    }
    assert!(taken.is_empty(), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_would_write_others_are_refused_by_name() {
    let (_database, world) = closed().await;
    let long = "x".repeat(8 << 10);
    let bad = [
        ("", "a"),
        (" ", "a"),
        ("a b", "a"),
        ("a:b", "a"),
        (":authority", "a"),
        ("x\r\ny", "a"),
        ("x\0", "a"),
        ("é", "a"),
        ("x-\u{7f}", "a"),
        ("x-a", "a\r\nb: c"),
        ("x-a", "a\nb"),
        ("x-a", "a\rb"),
        ("x-a", "a\0"),
        ("x-a", "\u{7f}"),
        ("x-a", "é"),
        ("x-a", "\u{2028}"),
        ("x-a", &long),
        (&*long, "a"),
        ("host", "a"),
        ("HOST", "a"),
        ("Content-Length", "1"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("upgrade", "h2c"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("expect", "100-continue"),
        ("keep-alive", "x"),
        ("http2-settings", "x"),
        ("content-type", "x"),
        ("content-encoding", "gzip"),
        ("content-digest", "x"),
        ("signature", "x"),
        ("signature-input", "x"),
        ("cookie", "a=b"),
        ("user-agent", "x"),
        ("traceparent", "x"),
        ("proxy-authorization", "x"),
        ("Proxy-Connection", "x"),
        ("webhook-id", "x"),
        ("Webhook-Signature", "x"),
        ("webhook-timestamp", "1"),
        ("gatepost-attempt", "1"),
        ("ce-id", "x"),
        ("accept", "x"),
        ("accept-encoding", "gzip"),
        ("range", "bytes=0-1"),
        ("forwarded", "x"),
        ("content-location", "x"),
    ];
    let allowed = ["accept-encoding", "range", "forwarded", "content-location"];
    for (name, value) in bad {
        let answer = validate(&world, |endpoint| endpoint.headers = [(name.to_owned(), value.to_owned())].into()).await;
        if allowed.contains(&name) {
            println!("{name}: {}", if answer.is_ok() { "taken" } else { "refused" });
            continue;
        }
        let error = answer.expect_err(&format!("{name:?}: {value:?}"));
        assert_eq!(bad_fields(&error), ["endpoint.headers"], "{name:?}: {error:?}");
        assert!(value.len() < 3 || !error.to_string().contains(value), "a value is not repeated");
    }
    let many = (0..51).map(|number| (format!("x-{number}"), "a".to_owned())).collect();
    assert_eq!(
        bad_fields(&validate(&world, |endpoint| endpoint.headers = many).await.expect_err("too many")),
        ["endpoint.headers"]
    );
}
