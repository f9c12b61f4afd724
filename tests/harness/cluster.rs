//! A PostgreSQL server of a test's own, which it stops, kills and freezes: nobody else is disturbed.
//!
//! Trials of the database's end use it. It lives in a temporary folder, on a port of its own on 127.0.0.1, as the user `postgres` where
//! the test runs as root, and ends with its value. Where PostgreSQL's programs are missing the test is named as skipped, and fails where
//! `GATEPOST_REQUIRE_POSTGRES` is set.

use std::{io::Write, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::{Database, Lines, until_within};

/// How long a start may take, recovery included.
const START: Duration = Duration::from_secs(60);

/// A running PostgreSQL server.
pub struct Cluster {
    folder: tempfile::TempDir,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    postmaster: Child,
    log: Lines,
}

impl Cluster {
    /// A new server, or `None` where there are no programs for one. `test`: who asks, for the line that names it as skipped.
    ///
    /// # Panics
    /// Where there are none and `GATEPOST_REQUIRE_POSTGRES` is set, and when the server does not start.
    pub async fn start(test: &str) -> Option<Self> {
        let Some(programs) = programs().await else {
            assert!(std::env::var_os("GATEPOST_REQUIRE_POSTGRES").is_none(), "PostgreSQL is required and has no initdb here");
            let _ = writeln!(std::io::stderr(), "SKIPPED postgres: {test} (no initdb)");
            return None;
        };
        let user = owner().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).expect("root may give a folder away");
        }
        let data = folder.path().join("data");
        let mut initdb = as_user(user, programs.join("initdb"));
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]);
        let made = initdb.current_dir(folder.path()).output().await.expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port on 127.0.0.1");
        let port = free.local_addr().expect("a bound listener has an address").port();
        drop(free);
        let (postmaster, log) = spawn(&programs, user, &folder, port);
        let cluster = Self { folder, programs, user, port, postmaster, log };
        cluster.answers().await;
        Some(cluster)
    }

    /// A database on it, for a server of the product.
    #[must_use]
    pub fn database(&self) -> Database {
        Database::served_at(self.url())
    }

    /// Stops it as a crash does, in `immediate` mode: every connection breaks, nothing is written down.
    pub async fn crash(&mut self) {
        self.signal(Signal::QUIT);
        self.postmaster.wait().await.expect("a child can be waited for");
    }

    /// Starts it again after [`crash`](Self::crash), and waits until it has recovered.
    pub async fn restart(&mut self) {
        (self.postmaster, self.log) = spawn(&self.programs, self.user, &self.folder, self.port);
        self.answers().await;
    }

    /// Stops all its processes where they are: connections stay, nothing answers.
    pub fn freeze(&self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::STOP);
        }
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn signal(&self, signal: Signal) {
        let pid = self.postmaster.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("the postmaster is running");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// The postmaster first, so that it starts no more, and its children.
    fn processes(&self) -> Vec<Pid> {
        let postmaster = self.postmaster.id().expect("the postmaster is running").cast_signed();
        let children = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(postmaster).chain(children).filter_map(Pid::from_raw).collect()
    }

    async fn answers(&self) {
        let options: sqlx::postgres::PgConnectOptions = self.url().parse().expect("a URL");
        until_within(START, "PostgreSQL to answer", async || {
            use sqlx::ConnectOptions as _;
            options.connect().await.map(drop).map_err(|error| (error.to_string(), self.log.all()))
        })
        .await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.postmaster.id().is_some() {
            self.thaw();
            // Its children end with it; the folder goes when nobody writes there any more.
            self.signal(Signal::QUIT);
            for _ in 0..200 {
                if !matches!(self.postmaster.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn spawn(programs: &std::path::Path, user: Option<(u32, u32)>, folder: &tempfile::TempDir, port: u16) -> (Child, Lines) {
    let mut command = as_user(user, programs.join("postgres"));
    command.arg("-D").arg(folder.path().join("data")).args(["-p", &port.to_string()]);
    for setting in ["listen_addresses=127.0.0.1", "max_connections=200", "unix_socket_directories="] {
        command.args(["-c", setting]);
    }
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("postgres starts");
    let log = Lines::default();
    log.follow(child.stdout.take().expect("a piped output"));
    log.follow(child.stderr.take().expect("a piped output"));
    (child, log)
}

fn as_user(user: Option<(u32, u32)>, program: PathBuf) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Where `initdb` and `postgres` are: `pg_config` tells, or Debian's folders, the newest first.
async fn programs() -> Option<PathBuf> {
    let told = Command::new("pg_config").arg("--bindir").output().await.ok();
    let told = told.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim().to_owned()));
    let mut debian: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
    debian.sort();
    told.into_iter().chain(debian.into_iter().rev()).find(|folder| folder.join("initdb").exists())
}

/// Whom PostgreSQL runs as when the test is root, whom it refuses.
async fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let id = async |flag: &str| {
        let output = Command::new("id").args([flag, "postgres"]).output().await.expect("id starts");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("root needs a user `postgres` to run PostgreSQL as")
    };
    Some((id("-u").await, id("-g").await))
}
