//! A TCP proxy that a test breaks: the network between a server and its database, or the balancer in front of several servers.
//!
//! It hands each new connection to the next of its targets that answers. A test freezes it, shuts it, cuts what is open, lets open
//! connections fall silent for ever, or takes a COMMIT's answer away. It never changes a byte that it does pass on.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// A proxy on a port of its own. Its connections end with this value.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

/// What happens to a COMMIT that a test is after, and to its connection, which ends in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never reaches the database.
    Unsent,
    /// It reaches the database, and nobody waits for what becomes of it.
    Sent,
    /// The database has answered; the answer is taken away.
    Unanswered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    /// Nothing moves, in neither direction; connections are taken and stay.
    Frozen,
    /// Every connection ends at once.
    Shut,
}

struct State {
    targets: Mutex<Vec<SocketAddr>>,
    turn: AtomicUsize,
    mode: watch::Sender<Mode>,
    next_link: AtomicU64,
    /// Links below it are cut.
    cut: watch::Sender<u64>,
    /// Links below it have fallen silent.
    silent: watch::Sender<u64>,
    /// One link to cut.
    victim: watch::Sender<u64>,
    fates: Mutex<Vec<Fate>>,
    links: AtomicUsize,
}

/// A simple query `COMMIT` of PostgreSQL. Source: PostgreSQL 15, "Message Formats", Query.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

impl Proxy {
    /// A proxy in front of these addresses.
    pub async fn to(targets: impl IntoIterator<Item = SocketAddr>) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port on 127.0.0.1");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(State {
            targets: Mutex::new(targets.into_iter().collect()),
            turn: AtomicUsize::new(0),
            mode: watch::Sender::new(Mode::Open),
            next_link: AtomicU64::new(1),
            cut: watch::Sender::new(0),
            silent: watch::Sender::new(0),
            victim: watch::Sender::new(0),
            fates: Mutex::default(),
            links: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, accepting }
    }

    /// A proxy in front of a database, and the URL of that database through it.
    ///
    /// # Panics
    /// When `url` names no IP address and port.
    pub async fn before_database(url: &str) -> (Self, String) {
        let authority = url.parse::<http::Uri>().expect("a URL").authority().expect("a host").clone();
        let target = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(5432));
        let proxy = Self::to([target.parse().expect("an IP address and a port")]).await;
        let through = url.replacen(authority.as_str().rsplit('@').next().expect("a host"), &proxy.address.to_string(), 1);
        (proxy, through)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a client of a server takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.links.load(Ordering::Relaxed)
    }

    /// Holds everything back until [`open`](Self::open).
    pub fn freeze(&self) {
        self.state.mode.send_replace(Mode::Frozen);
    }

    /// Cuts all connections, and each new one at once, until [`open`](Self::open).
    pub fn shut(&self) {
        self.state.mode.send_replace(Mode::Shut);
    }

    /// Passes on again what comes.
    pub fn open(&self) {
        self.state.mode.send_replace(Mode::Open);
    }

    /// Cuts every connection that is open now.
    pub fn cut_all(&self) {
        self.state.cut.send_replace(self.state.next_link.load(Ordering::Relaxed));
    }

    /// Cuts one of the connections made so far, chosen by `number`; none where that one has ended already.
    pub fn cut_one(&self, number: usize) {
        let last = self.state.next_link.load(Ordering::Relaxed);
        self.state.victim.send_replace(last.saturating_sub(1 + number as u64 % 16));
    }

    /// From now on nothing moves on the connections that are open now, and no end of them is told: their host is gone. New ones work.
    pub fn silence_open(&self) {
        self.state.silent.send_replace(self.state.next_link.load(Ordering::Relaxed));
    }

    /// The next COMMITs that pass, one each, meet these fates.
    pub fn doom_commits(&self, fates: impl IntoIterator<Item = Fate>) {
        self.state.fates().extend(fates);
    }

    /// COMMITs that are still to meet their fate.
    #[must_use]
    pub fn doomed(&self) -> usize {
        self.state.fates().len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn fates(&self) -> std::sync::MutexGuard<'_, Vec<Fate>> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next target that takes a connection; one that does not is passed over.
    async fn dial(&self) -> Option<TcpStream> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for step in 0..targets.len() {
            if let Ok(stream) = TcpStream::connect(targets[(first + step) % targets.len()]).await {
                return Some(stream);
            }
        }
        None
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // The links live in this set: aborting this task ends them.
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let number = state.next_link.fetch_add(1, Ordering::Relaxed);
                let state = Arc::clone(&state);
                links.spawn(async move {
                    state.links.fetch_add(1, Ordering::Relaxed);
                    link(stream, number, &state).await;
                    state.links.fetch_sub(1, Ordering::Relaxed);
                });
            }
            Some(_) = links.join_next() => {}
        }
    }
}

/// One connection, until an end of it closes or a test cuts it.
async fn link(client: TcpStream, number: u64, state: &State) {
    let mut cut = state.cut.subscribe();
    let mut victim = state.victim.subscribe();
    let mut shut = state.mode.subscribe();
    tokio::select! {
        biased;
        _ = shut.wait_for(|mode| *mode == Mode::Shut) => {}
        _ = cut.wait_for(|cut| number < *cut) => {}
        _ = victim.wait_for(|victim| *victim == number) => {}
        () = carry(client, number, state) => {}
    }
}

async fn carry(mut client: TcpStream, number: u64, state: &State) {
    flows(number, state).await;
    let Some(mut server) = state.dial().await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                flows(number, state).await;
                let commits = up[..length].windows(COMMIT.len()).any(|part| part == COMMIT);
                let fate = if commits { state.fates().pop() } else { None };
                if fate == Some(Fate::Unsent) || server.write_all(&up[..length]).await.is_err() || fate == Some(Fate::Sent) {
                    return;
                }
                if fate == Some(Fate::Unanswered) {
                    let _ = server.read(&mut down).await;
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                flows(number, state).await;
                if client.write_all(&down[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Returns when bytes of this link may move.
async fn flows(number: u64, state: &State) {
    if number < *state.silent.borrow() {
        std::future::pending::<()>().await;
    }
    let mut mode = state.mode.subscribe();
    let _ = mode.wait_for(|mode| *mode != Mode::Frozen).await;
    // It may have fallen silent while nothing moved.
    if number < *state.silent.borrow() {
        std::future::pending::<()>().await;
    }
}
