//! Which URLs an endpoint may have. What is stored is what was parsed, so a request goes where the check looked.
//!
//! Called when an endpoint is written. It resolves no name and knows no address policy: literals and resolved addresses are judged by
//! `outbound`, here at creation and again at each connection. The texts of the violations are for the caller who wrote the URL.
//!
//! Source: the WHATWG URL standard; its fetch standard, "bad port".

use url::{Host, Url};

/// The longest URL, in bytes.
const LONGEST: usize = 2_048;

/// What the server's configuration allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UrlRules {
    /// `http` beside `https`, and port 80 with it.
    pub allow_http: bool,
    /// Ports beside 443 and those above 1023. Ports that browsers block stay refused.
    pub allow_ports: Vec<u16>,
    /// `localhost`, single-label names and names under private suffixes.
    pub allow_private: bool,
}

/// Something wrong with a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlViolation {
    /// Too long.
    #[error("must be at most {LONGEST} bytes long")]
    TooLong,
    /// Control characters or spaces, which the parser would drop in silence.
    #[error("must not hold spaces or control characters")]
    Blank,
    /// Not an absolute URL.
    #[error("is not a URL: {0}")]
    Syntax(#[from] url::ParseError),
    /// Neither `https` nor an allowed `http`.
    #[error("must start with `https://`")]
    Scheme,
    /// A name or password before the host.
    #[error("must not hold user info")]
    UserInfo,
    /// A fragment is never sent.
    #[error("must not hold a fragment")]
    Fragment,
    /// Port outside the rules.
    #[error("must not use port {0}")]
    Port(u16),
    /// An IP address not in its normal form.
    #[error("must spell its IP address as {0}")]
    OddAddress(String),
    /// A name that the URL standard takes and no host has: with letters such as `{`, an empty part between dots, or too long for DNS.
    #[error("must name a host of letters, digits, hyphens and underscores, 1 to 63 between dots and 253 in all")]
    HostName,
    /// A name without a dot.
    #[error("must name a host with its domain")]
    SingleLabel,
    /// A name that only a private network knows.
    #[error("must not name a host under `{0}`")]
    PrivateSuffix(&'static str),
}

/// Suffixes that never lead to a public host: special-use names (RFC 6761, 6762, 7686, 8375, 9476), ICANN's `.internal`, and those that
/// private networks are known to use. None of them is a top-level domain in use.
const PRIVATE_SUFFIXES: [&str; 14] = [
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "onion",
    "alt",
    "lan",
    "corp",
    "home",
    "mail",
    "localdomain",
    "domain",
    "intranet",
    "private",
];

/// Ports of protocols that an HTTP request could be mistaken for. Source: WHATWG fetch, "port blocking".
const BAD_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113,
    115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556,
    563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667,
    6668, 6669, 6679, 6697, 10080,
];

/// Reads the URL of an endpoint.
///
/// # Errors
/// Every violation at once.
pub fn parse_url(text: &str, rules: &UrlRules) -> Result<Url, Vec<UrlViolation>> {
    let mut violations = Vec::new();
    if text.len() > LONGEST {
        violations.push(UrlViolation::TooLong);
    }
    if text.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        violations.push(UrlViolation::Blank);
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            violations.push(UrlViolation::Syntax(error));
            return Err(violations);
        }
    };
    // Percent-encoding may make it longer than what was written; what is stored must fit.
    if url.as_str().len() > LONGEST && text.len() <= LONGEST {
        violations.push(UrlViolation::TooLong);
    }
    check(&url, text, rules, &mut violations);
    if violations.is_empty() { Ok(url) } else { Err(violations) }
}

fn check(url: &Url, text: &str, rules: &UrlRules, violations: &mut Vec<UrlViolation>) {
    if !(url.scheme() == "https" || url.scheme() == "http" && rules.allow_http) {
        violations.push(UrlViolation::Scheme);
    }
    // The parser drops an empty one in silence: `https://:@host/`.
    if !url.username().is_empty() || url.password().is_some() || authority(url, text).is_some_and(|text| text.contains('@')) {
        violations.push(UrlViolation::UserInfo);
    }
    if url.fragment().is_some() {
        violations.push(UrlViolation::Fragment);
    }
    if let Some(port) = url.port_or_known_default()
        && !may_use(port, url.scheme(), rules)
    {
        violations.push(UrlViolation::Port(port));
    }
    match url.host() {
        Some(Host::Domain(name)) => {
            if !is_host_name(name) {
                violations.push(UrlViolation::HostName);
            }
            if !rules.allow_private {
                violations.extend(private_name(name));
            }
        }
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => violations.extend(odd_address(url, text)),
        // Schemes with a host always have one here; the others have failed above.
        None => {}
    }
}

fn may_use(port: u16, scheme: &str, rules: &UrlRules) -> bool {
    // A refused scheme is named alone, not with its port.
    let usual = port == 443 || port > 1023 || port == 80 && scheme == "http";
    (usual || rules.allow_ports.contains(&port)) && !BAD_PORTS.contains(&port)
}

/// Source: RFC 1035, section 2.3.4, for the lengths.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn private_name(name: &str) -> Option<UrlViolation> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if let Some(suffix) = PRIVATE_SUFFIXES.into_iter().find(|suffix| is_under(name, suffix)) {
        return Some(UrlViolation::PrivateSuffix(suffix));
    }
    (!name.contains('.')).then_some(UrlViolation::SingleLabel)
}

fn is_under(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The parser reads `0x7f.1`, `2130706433` and `[::ffff:127.0.0.1]` as addresses; whoever means an address writes it plainly.
fn odd_address(url: &Url, text: &str) -> Option<UrlViolation> {
    let host = url.host_str()?;
    let authority = authority(url, text).unwrap_or_default();
    let written = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let plain = written.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    (!plain).then(|| UrlViolation::OddAddress(host.to_owned()))
}

/// What was written between `://` and the path.
fn authority<'a>(url: &Url, text: &'a str) -> Option<&'a str> {
    text.get(url.scheme().len()..)?.strip_prefix("://")?.split(['/', '\\', '?', '#']).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn closed() -> UrlRules {
        UrlRules::default()
    }

    fn open() -> UrlRules {
        UrlRules { allow_http: true, allow_ports: Vec::new(), allow_private: true }
    }

    #[test]
    fn what_is_stored_is_what_was_parsed() {
        for (text, stored) in [
            ("https://hooks.acme.com", "https://hooks.acme.com/"),
            ("https://hooks.acme.com:443/a?b=c", "https://hooks.acme.com/a?b=c"),
            ("https://hooks.acme.com:8443/", "https://hooks.acme.com:8443/"),
            ("HTTPS://Hooks.ACME.com/A/../b", "https://hooks.acme.com/b"),
            ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
            ("https://hooks.acme.com./", "https://hooks.acme.com./"),
            ("https://93.184.216.34/@x", "https://93.184.216.34/@x"),
            ("https://[2606:4700::1111]:4443/x", "https://[2606:4700::1111]:4443/x"),
        ] {
            assert_eq!(parse_url(text, &closed()).unwrap().as_str(), stored, "{text}");
        }
    }

    #[test]
    fn each_rule_refuses() {
        use UrlViolation as V;
        let odd = |host: &str| V::OddAddress(host.to_owned());
        for (text, expected) in [
            ("http://hooks.acme.com/", vec![V::Scheme]),
            ("ftp://hooks.acme.com:8021/", vec![V::Scheme]),
            ("data:text/plain,x", vec![V::Scheme]),
            ("https:///", vec![V::Syntax(url::ParseError::EmptyHost)]),
            ("hooks.acme.com", vec![V::Syntax(url::ParseError::RelativeUrlWithoutBase)]),
            ("https://1.2.3.4.5/", vec![V::Syntax(url::ParseError::InvalidIpv4Address)]),
            ("https://ann@hooks.acme.com/", vec![V::UserInfo]),
            ("https://:pw@hooks.acme.com/", vec![V::UserInfo]),
            ("https://:@hooks.acme.com/", vec![V::UserInfo]),
            ("https://@hooks.acme.com/", vec![V::UserInfo]),
            ("https://hooks.acme.com/#x", vec![V::Fragment]),
            ("https://hooks.acme.com:80/", vec![V::Port(80)]),
            ("https://hooks.acme.com:22/", vec![V::Port(22)]),
            ("https://hooks.acme.com:1023/", vec![V::Port(1023)]),
            ("https://hooks.acme.com:6000/", vec![V::Port(6000)]),
            ("https://hooks.acme.com:0/", vec![V::Port(0)]),
            (" https://hooks.acme.com/", vec![V::Blank]),
            ("https://hooks.ac\tme.com/", vec![V::Blank]),
            ("https://hooks.acme.com/\r\nx", vec![V::Blank]),
            ("https://hooks.acme.com/\u{a0}", vec![V::Blank]),
            ("https://localhost/", vec![V::PrivateSuffix("localhost")]),
            ("https://LOCALHOST./", vec![V::PrivateSuffix("localhost")]),
            ("https://a.localhost/", vec![V::PrivateSuffix("localhost")]),
            ("https://db.internal/", vec![V::PrivateSuffix("internal")]),
            ("https://metadata.google.internal./", vec![V::PrivateSuffix("internal")]),
            ("https://printer.local/", vec![V::PrivateSuffix("local")]),
            ("https://router.home.arpa/", vec![V::PrivateSuffix("home.arpa")]),
            ("https://nas.lan/", vec![V::PrivateSuffix("lan")]),
            ("https://wiki.corp/", vec![V::PrivateSuffix("corp")]),
            ("https://abc.onion/", vec![V::PrivateSuffix("onion")]),
            ("https://intranet/", vec![V::PrivateSuffix("intranet")]),
            ("https://db/", vec![V::SingleLabel]),
            ("https://db./", vec![V::SingleLabel]),
            ("https://a{b}.acme.com/", vec![V::HostName]),
            ("https://*.acme.com/", vec![V::HostName]),
            ("https://a..acme.com/", vec![V::HostName]),
            ("https://.acme.com/", vec![V::HostName]),
            ("https://hooks.acme.com../", vec![V::HostName]),
            ("https://2130706433/", vec![odd("127.0.0.1")]),
            ("https://0x7f.1/", vec![odd("127.0.0.1")]),
            ("https://0177.0.0.1/", vec![odd("127.0.0.1")]),
            ("https://127.1/", vec![odd("127.0.0.1")]),
            ("https://127.0.0.1./", vec![odd("127.0.0.1")]),
            ("https://１27.0.0.1/", vec![odd("127.0.0.1")]),
            ("https://127%2e0.0.1/", vec![odd("127.0.0.1")]),
            ("https:/127.0.0.1/", vec![odd("127.0.0.1")]),
            ("https:\\\\127.0.0.1/", vec![odd("127.0.0.1")]),
            ("https://[::ffff:127.0.0.1]/", vec![odd("[::ffff:7f00:1]")]),
            ("https://[0:0:0:0:0:0:0:1]/", vec![odd("[::1]")]),
            ("https://[2606:4700:0::1111]/", vec![odd("[2606:4700::1111]")]),
            ("https://0x7f.1/@127.0.0.1/", vec![odd("127.0.0.1")]),
            ("https://1.1.1.1@2130706433/", vec![V::UserInfo, odd("127.0.0.1")]),
            ("http://ann@db:25/#x", vec![V::Scheme, V::UserInfo, V::Fragment, V::Port(25), V::SingleLabel]),
        ] {
            assert_eq!(parse_url(text, &closed()).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn a_host_name_fits_into_dns() {
        let host = |label: usize, times: usize| format!("https://{}com/", format!("{}.", "a".repeat(label)).repeat(times));
        assert!(parse_url(&host(63, 3), &closed()).is_ok() && parse_url(&host(1, 125), &closed()).is_ok());
        for long in [host(64, 1), host(1, 126), host(63, 4)] {
            assert_eq!(parse_url(&long, &closed()).unwrap_err(), [UrlViolation::HostName], "{long}");
        }
    }

    #[test]
    fn a_url_is_at_most_2048_bytes_as_written_and_as_stored() {
        let fits = format!("https://hooks.acme.com/{}", "a".repeat(LONGEST - 23));
        assert!(parse_url(&fits, &closed()).is_ok());
        assert_eq!(parse_url(&format!("{fits}a"), &closed()).unwrap_err(), [UrlViolation::TooLong]);
        let grows = format!("https://hooks.acme.com/{}", "ü".repeat(400));
        assert_eq!(parse_url(&grows, &closed()).unwrap_err(), [UrlViolation::TooLong]);
    }

    #[test]
    fn the_configuration_opens_what_it_says_and_no_more() {
        for text in
            ["http://localhost:4000/", "http://receiver/", "http://127.0.0.1/", "https://db.internal/", "http://[::1]:9000/"]
        {
            assert!(parse_url(text, &open()).is_ok(), "{text}");
        }
        for text in ["http://localhost:22/", "http://0x7f.1/", "https://localhost:80/", "http://ann@localhost/"] {
            assert!(parse_url(text, &open()).is_err(), "{text}");
        }
        let ports = UrlRules { allow_ports: vec![444, 25], ..UrlRules::default() };
        assert!(parse_url("https://hooks.acme.com:444/", &ports).is_ok());
        assert!(parse_url("https://hooks.acme.com:25/", &ports).is_err(), "a blocked port stays blocked");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic_and_what_is_taken_is_stable(text in "(https?://)?[a-z0-9.:@\\[\\]/#%\\\\ ]{0,40}|https://a\\.bc/.*|.*") {
            for rules in [closed(), open()] {
                if let Ok(url) = parse_url(&text, &rules) {
                    prop_assert!(http::Uri::try_from(url.as_str()).is_ok_and(|uri| uri.host().is_some()));
                    prop_assert_eq!(parse_url(url.as_str(), &rules).unwrap(), url);
                }
            }
        }
    }
}
