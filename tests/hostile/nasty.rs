//! Values that break servers: texts, numbers, times, payloads, filters, masks.
//!
//! Every list is one that the generator picks from; nothing here depends on an RPC. No URL leads off this machine.

/// Texts for any field.
pub(crate) const TEXTS: [&str; 40] = [
    "",
    " ",
    "\0",
    "a\0b",
    "\r\n",
    "a\r\nx-injected: 1",
    "\u{202e}gnp.exe",
    "\u{2066}a\u{2069}",
    "\u{feff}",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    "\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10ffff}",
    "𝕬𝖈𝖒𝖊",
    "tenants/",
    "tenants//endpoints/",
    "tenants/acme/",
    "tenants/ACME",
    "tenants/acme/endpoints/",
    "tenants/acme/endpoints/siem/deliveries/x",
    "tenants/../acme",
    "tenants/acme%00",
    "tenants/acme\0",
    "tenants/-",
    "tenants/*",
    "tenants/-/endpoints/-",
    "tenants/acme/endpoints/*",
    "tenants/acme/deliveries/dlv_",
    "tenants/acme/deliveries/dlv_zzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
    "tenants/acme/deliveries/dlv_fzzzzzzzzzzzyfzzzzzzzzzzzyfzw",
    "tenants/acme/deliveries/dlv_00000000000020000000000004000",
    "apiKeys/",
    "apiKeys/key_00000000000000000000000000",
    "apiKeys/key_\u{130}",
    "'; DROP TABLE events; --",
    "{{webhook_id}}",
    "${jndi:ldap://127.0.0.1/a}",
    "../../../../etc/passwd",
    "%s%s%s%n",
    "null",
    "-1",
    "9223372036854775808",
];

/// Texts that may be a number of a revision.
pub(crate) const ETAGS: [&str; 8] = ["1", "2", "3", "0", "-1", "9223372036854775807", "99999999999999999999", "01"];

pub(crate) const REQUEST_IDS: [&str; 10] = [
    "0190163d-8694-739b-aea5-966c26f8ad91",
    "0190163D-8694-739B-AEA5-966C26F8AD91",
    "0190163d8694739baea5966c26f8ad91",
    "{0190163d-8694-739b-aea5-966c26f8ad91}",
    "urn:uuid:0190163d-8694-739b-aea5-966c26f8ad91",
    "0190163d-8694-739b-aea5-966c26f8ad9",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "0190163d-8694-739b-aea5-966c26f8ad9\0",
    "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz",
];

pub(crate) const URLS: [&str; 14] = [
    "http://127.0.0.1:1/",
    "http://127.0.0.1/",
    "https://127.0.0.1:4443/",
    "http://[::ffff:127.0.0.1]/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://ann:pw@127.0.0.1/",
    "http://127.0.0.1/#x",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/_x",
    "http://127.0.0.1:25/",
    "http://127.0.0.1/\r\nx: y",
    "//127.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
];

/// The first [`GOOD_TYPES`] can be published.
pub(crate) const TYPES: [&str; 20] = [
    "user.created",
    "user.updated",
    "user.deleted",
    "session.revoked",
    "user.*",
    "*",
    "*.*",
    "user",
    ".",
    "user..created",
    "User.Created",
    "a.b.c.d.e.f",
    "a.b.c.d.e.f.g",
    "webhook.verification",
    "hook.updated",
    "access.granted",
    "hook.invoked",
    "webhook.*",
    "user.created\0",
    "ｕser.created",
];

pub(crate) const FILTERS: [&str; 28] = [
    "state == \"DEAD\"",
    "state == \"ACTIVE\"",
    "state in [\"PENDING\", \"SUCCEEDED\"]",
    "state != \"NOTHING\"",
    "event == \"e1\"",
    "event == \"\\u0000\"",
    "event == \"\\x00\"",
    "event == \"\\000\" && endpoint == \"\\u0000\"",
    "event == '\0'",
    "endpoint == \"a\\u0000b\"",
    "event in [\"\\u0000\"]",
    "type == \"\\u0000\" && subject != \"\\U0010ffff\"",
    "endpoint == \"tenants/globex/endpoints/siem\"",
    "event_type == \"user.created\"",
    "create_time >= \"2026-11-25T09:00:00Z\"",
    "create_time >= \"9999-12-31T23:59:59.999999999Z\" && create_time < \"0001-01-01T00:00:00Z\"",
    "create_time == \"-009999-01-01T00:00:00Z\"",
    "create_time > \"2026-11-25T09:00:00+25:99\"",
    "create_time <= \"2016-12-31T23:59:60Z\"",
    "((((((((((((((((((((state == \"DEAD\"))))))))))))))))))))",
    "state == state",
    "!(state == \"DEAD\") || true",
    "size(event) > 3",
    "event.matches(\"(a+)+$\")",
    "[1,2,3].all(x, x > 0)",
    "state == \"DEAD\" && && state",
    "state == \"",
    "\\",
];

/// Numbers for any field that holds one.
pub(crate) const NUMBERS: [i64; 20] = [
    0,
    1,
    2,
    -1,
    10,
    50,
    404,
    410,
    1000,
    1001,
    i16::MAX as i64 + 1,
    i32::MAX as i64,
    i32::MIN as i64,
    i32::MAX as i64 + 1,
    253_402_300_799,
    253_402_300_800,
    -62_135_596_801,
    i64::MAX / 1000 + 1,
    i64::MAX,
    i64::MIN,
];

pub(crate) const NANOS: [i32; 7] = [0, 1, 999_999_999, 1_000_000_000, -1, i32::MAX, i32::MIN];

pub(crate) const FLOATS: [f64; 10] =
    [0.0, -0.0, 1.0, 2.5, 10.000_001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE];

pub(crate) const PATHS: [&str; 14] = [
    "*",
    "url",
    "display_name",
    "description",
    "headers",
    "retry_policy",
    "event_types",
    "max_in_flight",
    "state",
    "name",
    "",
    "retry_policy.exponential.factor",
    "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p",
    "url\0",
];

pub(crate) const SCOPES: [&str; 10] = [
    "publish",
    "endpoints.read",
    "deliveries.read",
    "tenants:globex",
    "tenants:acme",
    "tenants:v1",
    "tenants:",
    "tenants:\0",
    "root",
    "admin",
];

pub(crate) const SECRETS: [&str; 6] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_",
    "whsec_AA==",
    "whsec_!!!!",
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\r\n",
];

/// How many of [`TYPES`] are good.
pub(crate) const GOOD_TYPES: usize = 4;

/// A payload with these members that every good type takes, if there is a user among them.
macro_rules! good {
    ($members:literal) => {
        concat!("{", $members, r#","changes":[{"field":"email"}]}"#).as_bytes()
    };
}

/// How many of [`DATA`] are good.
pub(crate) const GOOD_DATA: usize = 10;

/// Payloads, of which the first [`GOOD_DATA`] are good for any good type.
pub(crate) const DATA: [&[u8]; 30] = [
    good!(r#""user":{"id":"u1","email":"jane@acme.test"}"#),
    good!(r#""user":{"id":"\u0000"}"#),
    good!(r#""user":{"id":"a\r\nb"}"#),
    good!(r#""user":{"id":"\u202e\u2066"}"#),
    good!(r#""user":{"id":"\ud83d\ude00"}"#),
    good!(r#""user":{"id":""}"#),
    good!(r#""user":{"id":""},"account":{"id":null},"group":{"id":"g"}"#),
    good!(r#""user":{"id":"a","id":"b"},"user":{"id":"c"}"#),
    good!(r#""user":{"id":"u3"},"n":1e99,"m":-0.0,"k":123456789012345678901234567890"#),
    good!(r#""user":{"id":"u4"},"a":"\u0000""#),
    // JSON, but not what most of them ask for.
    b"{}",
    br#"{"user":null}"#,
    br#"{"user":[{"id":"u1"}]}"#,
    br#"{"user":{"id":7},"account":{"id":null},"group":{"id":"g"}}"#,
    br#"{"user":{"id":"u1","status":"gone"}}"#,
    br#"{"user":{"id":"u1"},"changes":[]}"#,
    br#"{"user":{"id":"u1"},"changes":{"0":{"field":"email"}}}"#,
    br#"{"access_request":{"target_user":{"id":"\u0000x"}}}"#,
    br#"{"application":{"app_id":"\u0001"}}"#,
    br#"{"n":1e999999,"m":-0.0,"k":123456789012345678901234567890}"#,
    br#"{"user":{"id":"\ud800"}}"#,
    b"{\"a\":\"\0\"}",
    b"\xef\xbb\xbf{}",
    b"{\"a\":\"\xff\xfe\"}",
    b"[]",
    b"null",
    b"{",
    b"{} {}",
    b"{'a':1}",
    b"",
];

/// For any header of a call.
pub(crate) const TIMEOUTS: [&str; 12] =
    ["1m", "1u", "0n", "0S", "99999999H", "123456789S", "-1S", "S", "1", "1s", "18446744073709551616n", "\u{ff}"];

pub(crate) const CONTENT_TYPES: [&str; 10] = [
    "application/json",
    "application/grpc+json",
    "application/grpc;",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/x-protobuf",
    "text/html",
    "",
    "application/grpcx",
];
