use super::*;
use secrecy::ExposeSecret;

fn load(sources: Sources) -> Config {
    Config::load(sources).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(sources: Sources) -> Vec<(String, String)> {
    let problems = Config::load(sources).err().unwrap_or_else(|| panic!("nothing is wrong"));
    problems.iter().map(|problem| (problem.key.clone(), problem.problem.clone())).collect()
}

fn environment(pairs: &[(&str, &str)]) -> Sources {
    Sources::new().environment(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gatepost.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn ring() -> String {
    KeyRing::entry("k1", &[7; 32]).expose_secret().to_owned()
}

#[test]
fn without_settings_the_defaults_hold() {
    let config = load(Sources::new());
    assert_eq!((config.listen.to_string().as_str(), config.migrate()), ("127.0.0.1:7070", Migrate::Auto));
    assert_eq!(config.key_file(), Some(PathBuf::from("gatepost.db.key")));
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn flags_win_over_environment_over_file_over_presets() {
    let (_directory, path) =
        file("listen = '127.0.0.1:3'\n[limits]\nmax_sockets = 3\n[retention]\nevents_days = 3\n[log]\nfilter = 'warn'");
    let config = load(
        environment(&[("GATEPOST_LISTEN", "127.0.0.1:2"), ("GATEPOST_LIMITS__MAX_SOCKETS", "2"), ("PATH", "/bin")])
            .flag("listen", "127.0.0.1:1")
            .file(path)
            .preset("log.filter", "debug")
            .preset("outbound.allow_http", true),
    );
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.limits.max_sockets, 2);
    assert_eq!(config.retention.events_days, 3);
    assert_eq!((config.log.filter.as_str(), config.outbound.allow_http), ("warn", true));
    assert_eq!(config.limits.publish_queue, 8192, "what nobody sets keeps its default");
}

#[test]
fn an_environment_variable_holds_lists_durations_and_numbers() {
    let config = load(environment(&[
        ("GATEPOST_ROLES", "worker"),
        ("GATEPOST_OUTBOUND__ALLOW_PORTS", "80, 81"),
        ("GATEPOST_OUTBOUND__ALLOW_CIDRS", "10.0.0.0/8,fd00::/8"),
        ("GATEPOST_OUTBOUND__DENY_CIDRS", "[10.1.0.0/16]"),
        ("GATEPOST_SHUTDOWN_GRACE", "1m 30s"),
        ("GATEPOST_MIGRATE", "check"),
        ("GATEPOST_LOG__FORMAT", "json"),
        ("GATEPOST_DATABASE__URL", "postgres://gatepost:hunter2@db/gatepost"),
    ]));
    assert_eq!(config.roles, [Role::Worker].into());
    assert_eq!(config.outbound.allow_ports, [80, 81]);
    assert_eq!((config.outbound.allow_cidrs.len(), config.outbound.deny_cidrs.len()), (2, 1));
    assert_eq!((config.shutdown_grace, config.migrate()), (Duration::from_secs(90), Migrate::Check));
    assert_eq!((config.log.format, config.database.url.backend()), (LogFormat::Json, Backend::Postgres));
    let one = load(environment(&[("GATEPOST_OUTBOUND__ALLOW_PORTS", "80"), ("GATEPOST_ROLES", "api,worker")]));
    assert_eq!((one.outbound.allow_ports.as_slice(), one.roles.len()), ([80].as_slice(), 2));
}

#[test]
fn every_problem_is_told_at_once() {
    let (_directory, path) =
        file("listen = 7\nlisten_on = 'x'\n[limits]\nmax_sockets = 'many'\nfast = true\n[tls]\ncert_file = 'a.pem'");
    let found = problems(
        environment(&[
            ("GATEPOST_DATABASE__URL", "mysql://root:hunter2@db"),
            ("GATEPOST_RETENTION__EVENTS_DAYS", "0"),
            ("GATEPOST_ROLES", "api,chef"),
            ("GATEPOST_SHUTDOWN_GRACE", "25"),
            ("GATEPOST_LOG__FILTER", "a=b=c"),
            ("GATEPOST_OOPS__X", "1"),
            ("GATEPOST_ADMIN_LISTEN", "here"),
            ("GATEPOST_LIMITS__FAILED_AUTHENTICATIONS", "0"),
            ("GATEPOST_LIMITS__CONNECTIONS_PER_PEER", "0"),
            ("GATEPOST_LIMITS__CONNECTION_IDLE", "2 days"),
            ("GATEPOST_LIMITS__CONNECTION_AGE", "8 days"),
            ("GATEPOST_LIMITS__STALLED_STREAM", "10ms"),
            ("GATEPOST_MASTER_KEYS", "k1:aGVsbG8="),
        ])
        .file(path),
    );
    let mut keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    let expected = [
        "admin_listen",
        "database.url",
        "limits.connection_age",
        "limits.connection_idle",
        "limits.connections_per_peer",
        "limits.failed_authentications",
        "limits.fast",
        "limits.max_sockets",
        "limits.stalled_stream",
        "listen",
        "listen_on",
        "log.filter",
        "master_keys",
        "oops",
        "retention.events_days",
        "roles",
        "shutdown_grace",
        "tls.key_file",
    ];
    assert_eq!(keys, expected, "{found:#?}");
    let all = format!("{found:?}");
    assert!(all.contains("gatepost.toml") && all.contains("(environment)"), "a problem says where it was set: {all}");
    assert!(!all.contains("hunter2") && !all.contains("aGVsbG8"), "{all}");
}

#[test]
fn off_loopback_the_server_needs_tls_or_an_explicit_word() {
    let open = || Sources::new().flag("listen", "0.0.0.0:7070");
    assert_eq!(problems(open())[0].0, "listen");
    load(open().flag("insecure_plaintext", true));
    let with_tls = open().flag("tls.cert_file", "/nonexistent/cert.pem").flag("tls.key_file", "/nonexistent/key.pem");
    let keys: Vec<_> = problems(with_tls).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["tls.cert_file", "tls.key_file"]);
}

#[test]
fn a_certificate_and_its_key_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = |cert: &Path, key: &Path| {
        let sources = Sources::new().flag("listen", "0.0.0.0:1");
        sources.flag("tls.cert_file", cert.display().to_string()).flag("tls.key_file", key.display().to_string())
    };
    assert!(load(tls(&cert, &key)).tls.is_some());
    assert_eq!(problems(tls(&key, &cert)).len(), 2, "taken for each other");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    let found = problems(tls(&cert, &key));
    assert_eq!((found.len(), found[0].0.as_str()), (1, "tls.key_file"), "the key of another certificate: {found:?}");
}

#[test]
fn secrets_come_from_files_too() {
    let directory = tempfile::tempdir().unwrap();
    let (keys, url) = (directory.path().join("keys"), directory.path().join("url"));
    std::fs::write(&keys, format!("{}\n", ring())).unwrap();
    std::fs::write(&url, "postgres://u:hunter2@db/x\n").unwrap();
    let (keys, url) = (keys.display().to_string(), url.display().to_string());
    let (_directory, toml) = file(&format!("master_keys_file = '{keys}'\n[database]\nurl = 'sqlite://other.db'"));
    let config = load(environment(&[("GATEPOST_DATABASE__URL_FILE", &url)]).file(toml));
    assert_eq!(config.master_keys.unwrap().ids().collect::<Vec<_>>(), ["k1"]);
    assert_eq!(config.database.url.expose(), "postgres://u:hunter2@db/x", "the environment wins over the file");

    let both = problems(environment(&[("GATEPOST_MASTER_KEYS_FILE", &keys), ("GATEPOST_MASTER_KEYS", &ring())]));
    assert_eq!(both[0].0, "master_keys_file");
    let missing = problems(environment(&[("GATEPOST_ROOT_KEY_FILE", "/nonexistent/key")]));
    assert!(missing[0].0 == "root_key_file" && missing[0].1.contains("/nonexistent/key"), "{missing:?}");
}

#[test]
fn nothing_secret_is_printed() {
    let key = ApiKey::generate(uuid::Uuid::from_u128(7), &[9; 32]);
    let config = load(environment(&[
        ("GATEPOST_MASTER_KEYS", &ring()),
        ("GATEPOST_ROOT_KEY", key.text().expose_secret()),
        ("GATEPOST_DATABASE__URL", "postgres://hunter1:hunter2@db/gatepost?password=hunter3"),
    ]));
    let printed = format!("{config:?}");
    assert!(printed.contains("postgres://db/gatepost") && printed.contains("k1"), "{printed}");
    for secret in ["hunter", ring().split_once(':').unwrap().1, key.secret.expose_secret()] {
        assert!(!printed.contains(secret), "{printed}");
    }
    let wrong = format!("{:?}", problems(Sources::new().flag("master_keys", 4711).flag("root_key", "gp_hunter")));
    assert!(!wrong.contains("4711") && !wrong.contains("hunter"), "{wrong}");
}

#[test]
fn variables_of_clients_tests_and_kubernetes_are_no_settings() {
    load(environment(&[
        ("GATEPOST_URL", "http://x"),
        ("GATEPOST_KEY", "gp_x"),
        ("GATEPOST_TEST_POSTGRES_URL", "postgres://x"),
        ("GATEPOST_PORT", "tcp://10.0.0.1:7070"),
        ("GATEPOST_SERVICE_HOST", "10.0.0.1"),
        ("GATEPOST_MASTER_KEYS", ""),
    ]));
    assert_eq!(problems(environment(&[("GATEPOST_LISTN", "x")]))[0].0, "listn");
}

#[test]
fn the_file_of_an_sqlite_database_is_found() {
    let path = |url: &str| DatabaseUrl::parse(url).unwrap().sqlite_path().map(|path| path.display().to_string());
    assert_eq!(path("sqlite://data/g.db?mode=rwc").as_deref(), Some("data/g.db"));
    assert_eq!(path("sqlite:///var/g.db").as_deref(), Some("/var/g.db"));
    assert_eq!(path("sqlite:g.db").as_deref(), Some("g.db"));
    for none in ["sqlite::memory:", "sqlite://:memory:", "sqlite://x?mode=memory", "postgres://db/x"] {
        assert_eq!(path(none), None, "{none}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_told() {
    assert!(problems(Sources::new().file("/nonexistent/g.toml"))[0].1.contains("cannot be read"));
    let (_directory, path) = file("log.filter = 'info'\nmaster_keys = 'k1:hunter2\n");
    let found = problems(Sources::new().file(path));
    assert!(found[0].1.contains("line 2") && !format!("{found:?}").contains("hunter2"), "{found:?}");
}
