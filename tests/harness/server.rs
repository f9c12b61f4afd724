//! The product as its users run it: a child process with its configuration in the environment.
//!
//! Tests start it on a [`Database`], stop it politely or with SIGKILL, and start it again on the same database and port. The binary
//! is `gatepost-under-test`, built from the server's own `main.rs`; `GATEPOST_TEST_BINARY` names another, such as a release build. A
//! process never outlives its value, and what it logged is printed when its test fails.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::process::{Child, Command};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{Database, lines::Lines, wait};

/// What the line in the log that names the bound address holds before it.
const LISTENING: &str = "listening on ";

/// What an API key begins with on the standard output of `keys bootstrap`.
const KEY: &str = "gp_";

/// How long a server may take to drain after SIGTERM: its default grace of 25 s and a little.
const DRAIN: Duration = Duration::from_secs(35);

/// A key ring with one key: any 32 bytes, in base64.
const MASTER_KEY: &str = "k1:Z2F0ZXBvc3QtdGVzdHMtb25seS1tYXN0ZXIta2V5LTE=";

/// Where receivers of security event tokens find a server with [`Settings::named`], as it says; what its tokens' issuers begin with.
pub const PUBLIC_BASE_URL: &str = "https://gatepost.acme.test";

/// What the `$id`s of its schemas begin with.
pub const SCHEMA_BASE_URL: &str = "https://schemas.acme.test";

/// The environment of a server: the defaults of tests, and what a test sets.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    variables: BTreeMap<String, String>,
    /// The authority that signed the server's certificate, as PEM.
    authority: Option<String>,
}

/// A running server, and all it takes to start it again.
pub struct Server {
    settings: Settings,
    key: String,
    address: String,
    child: Child,
    log: Lines,
}

impl Settings {
    /// A server on a port of its own that may deliver to receivers on this machine.
    #[must_use]
    pub fn on(database: &Database) -> Self {
        Self::default()
            .set("GATEPOST_LISTEN", "127.0.0.1:0")
            .set("GATEPOST_DATABASE__URL", database.url())
            .set("GATEPOST_MASTER_KEYS", MASTER_KEY)
            .set("GATEPOST_MIGRATE", "auto")
            .set("GATEPOST_OUTBOUND__ALLOW_HTTP", "true")
            .set("GATEPOST_OUTBOUND__ALLOW_CIDRS", r#"["127.0.0.0/8"]"#)
    }

    /// No settings at all: what a newcomer has.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets one variable, such as `GATEPOST_LIMITS__EVENT_DATA_BYTES`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.variables.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With addresses that payloads name: [`PUBLIC_BASE_URL`] and [`SCHEMA_BASE_URL`].
    #[must_use]
    pub fn named(self) -> Self {
        self.set("GATEPOST_PUBLIC_BASE_URL", PUBLIC_BASE_URL).set("GATEPOST_SCHEMA_BASE_URL", SCHEMA_BASE_URL)
    }

    /// Serves over TLS with these PEM files, signed by this authority.
    #[must_use]
    pub fn tls(mut self, certificate: &Path, key: &Path, authority: &str) -> Self {
        self.authority = Some(authority.to_owned());
        self.set("GATEPOST_TLS__CERT_FILE", &certificate.display().to_string())
            .set("GATEPOST_TLS__KEY_FILE", &key.display().to_string())
    }

    /// A command of the product in this environment, without anything that the tests' own environment sets.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        let inherited = ["PATH", "HOME", "TMPDIR"].into_iter().filter_map(|key| Some((key, std::env::var_os(key)?)));
        command.args(arguments).env_clear().envs(inherited).envs(&self.variables).stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

impl Server {
    /// Starts a server on a new database, makes its root key, and waits until it serves.
    pub async fn start(database: &Database) -> Self {
        Self::start_with(Settings::on(database)).await
    }

    /// Starts a server with `settings` on a new database.
    pub async fn start_with(settings: Settings) -> Self {
        let key = bootstrap(&settings).await;
        Self::launch(settings, key).await
    }

    /// Starts a further node on the same database, with its own port.
    pub async fn join(&self) -> Self {
        self.join_with(|settings| settings).await
    }

    /// The same with settings of its own, such as another way to the database.
    pub async fn join_with(&self, change: impl FnOnce(Settings) -> Settings) -> Self {
        Self::launch(change(self.settings.clone().set("GATEPOST_LISTEN", "127.0.0.1:0")), self.key.clone()).await
    }

    async fn launch(settings: Settings, key: String) -> Self {
        let (child, log) = spawn(&settings);
        let mut server = Self { settings, key, address: String::new(), child, log };
        server.serving().await;
        server
    }

    /// Waits until the process has bound its port and says that it serves.
    async fn serving(&mut self) {
        let line = tokio::select! {
            line = self.log.until(|lines| lines.iter().find(|line| line.contains(LISTENING)).cloned()) => line,
            status = self.child.wait() => panic!("the server ended before it listened: {status:?}"),
            () = tokio::time::sleep(wait::DEADLINE) => panic!("the server did not listen within {:?}", wait::DEADLINE),
        };
        self.address = address_in(&line).unwrap_or_else(|| panic!("no address in {line:?}"));
        let mut endpoint = tonic::transport::Endpoint::from_shared(self.url()).expect("a URL");
        if let Some(authority) = &self.settings.authority {
            let authority = tonic::transport::Certificate::from_pem(authority);
            let trusting = tonic::transport::ClientTlsConfig::new().ca_certificate(authority);
            endpoint = endpoint.tls_config(trusting).expect("an authority");
        }
        wait::until("the server to serve", async || {
            let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
            let answer =
                HealthClient::new(channel).check(HealthCheckRequest::default()).await.map_err(|status| status.to_string())?;
            let status = answer.into_inner().status();
            if status == ServingStatus::Serving { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    }

    /// Where it serves: `http://127.0.0.1:PORT`, or `https` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.settings.authority.is_some() { "https" } else { "http" }, self.address)
    }

    /// The authority that signed its certificate, as PEM.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.settings.authority.as_deref()
    }

    /// A key with scope `admin` on all tenants.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its environment, for commands of the product beside it.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The process, for signals and measurements.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn pid(&self) -> rustix::process::Pid {
        let pid = self.child.id().expect("the server is running");
        rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process id is not 0")
    }

    /// Its memory now (`VmRSS`), in MiB.
    ///
    /// # Panics
    /// When the process has ended.
    #[must_use]
    pub fn memory_mib(&self) -> f64 {
        memory_mib(self.pid()).expect("a running process says what it uses")
    }

    /// Everything it logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// The first line of its log that holds `part`, waited for.
    pub async fn log_line(&self, part: &str) -> String {
        self.log.with(part).await
    }

    /// Ends it at once, as a crash does: SIGKILL.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Stops it where it is, SIGSTOP, as a machine that hangs: its connections stay and it knows of nothing.
    pub fn freeze(&self) {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::STOP).expect("a child can be signalled");
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    pub fn wake(&self) {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::CONT).expect("a child can be signalled");
    }

    /// Where it listens.
    ///
    /// # Panics
    /// Never: it has said so.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.address.parse().expect("the address that it bound")
    }

    /// Asks it to drain and end, SIGTERM, and waits until it has.
    ///
    /// # Panics
    /// When it has not ended a little after its drain deadline.
    pub async fn stop(&mut self) -> ExitStatus {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).expect("a child can be signalled");
        match tokio::time::timeout(DRAIN, self.child.wait()).await {
            Ok(status) => status.expect("a child can be waited for"),
            Err(_) => panic!("the server did not end within {DRAIN:?} of SIGTERM"),
        }
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), on the same database and port.
    pub async fn restart(&mut self) {
        assert!(self.child.id().is_none(), "the server is still running");
        self.settings = self.settings.clone().set("GATEPOST_LISTEN", &self.address);
        let (child, log) = spawn(&self.settings);
        (self.child, self.log) = (child, log);
        self.serving().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        if std::thread::panicking() {
            eprintln!("---- log of the server at {}\n{}\n----", self.address, self.log().join("\n"));
        }
    }
}

/// Memory of a process (`VmRSS`), in MiB; `None`: it has ended.
#[must_use]
pub fn memory_mib(pid: rustix::process::Pid) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?;
    Some(kib.parse::<f64>().ok()? / 1024.0)
}

fn spawn(settings: &Settings) -> (Child, Lines) {
    let mut command = settings.command(&["serve"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the server's binary starts");
    let log = Lines::default();
    log.follow(child.stdout.take().expect("a piped output"));
    log.follow(child.stderr.take().expect("a piped output"));
    (child, log)
}

/// Makes the first key of a new database, as its operator does.
async fn bootstrap(settings: &Settings) -> String {
    let output = settings.command(&["keys", "bootstrap"]).output().await.expect("the server's binary starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let key = printed.split_whitespace().find(|word| word.starts_with(KEY));
    key.map(ToOwned::to_owned).unwrap_or_else(|| {
        panic!("keys bootstrap printed no key: {}\n{printed}\n{}", output.status, String::from_utf8_lossy(&output.stderr))
    })
}

/// The `host:port` after the words that announce it, whatever a log format puts around them.
fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(LISTENING)?;
    let rest = rest.trim_start_matches("https://").trim_start_matches("http://");
    let end = rest.find(|character: char| !character.is_ascii_hexdigit() && !".:[]".contains(character));
    Some(rest[..end.unwrap_or(rest.len())].to_owned())
}

/// The binary under test lies two folders above the running test: `target/{profile}/deps/{test}`.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("GATEPOST_TEST_BINARY") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the running test has a path");
    let folder = test.parent().and_then(|deps| if deps.ends_with("deps") { deps.parent() } else { Some(deps) });
    let path = folder.expect("a test lies in a folder").join("gatepost-under-test");
    assert!(path.exists(), "{} is not there: Cargo builds it for every test of this package", path.display());
    path
}
