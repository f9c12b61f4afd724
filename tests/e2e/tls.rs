//! TLS on the listener: who trusts the authority is served, a renewed certificate needs no restart, and nobody is held by those who do
//! not shake hands.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use gatepost_client::{Client, Error, Tls, v1::delivery::State};
use gatepost_tests::{DEADLINE, Database, Receiver, Settings, World, until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream};

/// An authority of its own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for 127.0.0.1 and its key, as PEM.
    fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// The files that a server reads.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new((certificate, key): (String, String)) -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder") };
        files.write(&certificate, &key);
        files
    }

    fn write(&self, certificate: &str, key: &str) {
        for (path, text) in [(self.certificate(), certificate), (self.key(), key)] {
            // As whoever renews them does: nobody reads half a file.
            let new = path.with_extension("new");
            std::fs::write(&new, text).expect("a file");
            std::fs::rename(new, path).expect("a file");
        }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

struct Scene {
    authority: Authority,
    files: Files,
    world: World,
    _database: Database,
}

impl Scene {
    async fn new() -> Self {
        let (authority, database) = (Authority::new(), Database::sqlite());
        let files = Files::new(authority.sign());
        let settings = Settings::on(&database).tls(&files.certificate(), &files.key(), &authority.pem());
        Self { authority, files, world: World::with(settings).await, _database: database }
    }

    /// One call on a connection of its own.
    async fn call(&self, tls: Tls) -> Result<(), Error> {
        let builder = Client::builder(self.world.server.url()).key(self.world.server.key()).tls(tls).max_retries(0);
        builder.connect().await?.server_info().await.map(drop)
    }

    async fn trusting(&self, authority: &Authority) -> Result<(), Error> {
        self.call(Tls::new().ca_pem(authority.pem())).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_trusts_the_authority_is_served_and_nobody_else_connects() {
    let scene = Scene::new().await;
    let receiver = Receiver::ok().await;
    scene.world.endpoint("siem", &receiver.url(), |_| {}).await;
    let receipt = scene.world.publish("user.created").await;
    scene.world.until(&receipt, State::Succeeded).await;
    for tls in [Tls::new(), Tls::new().ca_pem(Authority::new().pem())] {
        let refused = scene.call(tls).await;
        assert!(matches!(refused, Err(Error::Transport { .. })), "{refused:?}");
    }
    let another = scene.call(Tls::new().ca_pem(scene.authority.pem()).domain_name("gatepost.example")).await;
    assert!(matches!(another, Err(Error::Transport { .. })), "a certificate of another name: {another:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plaintext_client_of_a_tls_port_is_refused_at_once() {
    let scene = Scene::new().await;
    let begun = Instant::now();
    let url = scene.world.server.url().replace("https", "http");
    let client = Client::builder(url).key(scene.world.server.key()).max_retries(0).connect_lazy().expect("a client");
    let refused = client.server_info().await;
    assert!(matches!(refused, Err(Error::Transport { .. })), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    scene.trusting(&scene.authority).await.expect("others are served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_taken_up_without_a_restart() {
    let scene = Scene::new().await;
    let mut watch = scene.world.tenant.watch().start().await.expect("a watch");
    watch.try_next().await.expect("no error").expect("a checkpoint");
    let receiver = Receiver::ok().await;
    scene.world.endpoint("siem", &receiver.url(), |_| {}).await;
    let renewed = Authority::new();
    assert!(scene.trusting(&renewed).await.is_err());
    let (certificate, key) = renewed.sign();
    scene.files.write(&certificate, &key);
    until("the new certificate to be shown", async || scene.trusting(&renewed).await).await;
    assert!(scene.trusting(&scene.authority).await.is_err(), "new connections get the new one alone");
    // The connection of before knows of nothing.
    let receipt = scene.world.publish("user.created").await;
    let seen = async {
        while let Some(item) = watch.try_next().await.expect("no error") {
            if item.changes.into_iter().filter_map(|change| change.delivery).any(|delivery| delivery.event == receipt.event()) {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.expect("the watch goes on");
    // A signal saves the wait.
    let (certificate, key) = scene.authority.sign();
    scene.files.write(&certificate, &key);
    rustix::process::kill_process(scene.world.server.pid(), rustix::process::Signal::HUP).expect("a child can be signalled");
    until("the certificate of a signal", async || scene.trusting(&scene.authority).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_used_change_nothing() {
    const SAID: &str = "the new certificate cannot be used";
    let scene = Scene::new().await;
    let (certificate, key) = scene.authority.sign();
    let said = || scene.world.server.log().iter().filter(|line| line.contains(SAID)).count();
    for (number, (bad_certificate, bad_key)) in
        [("nonsense", key.as_str()), (&certificate, "nonsense"), (&certificate, &scene.authority.sign().1), ("", "")]
            .into_iter()
            .enumerate()
    {
        scene.files.write(bad_certificate, bad_key);
        until("the log to say so", async || if said() > number { Ok(()) } else { Err(scene.world.server.log()) }).await;
        scene.trusting(&scene.authority).await.expect("the old certificate serves on");
    }
    std::fs::remove_file(scene.files.key()).expect("a file");
    until("the log to say so", async || if said() > 4 { Ok(()) } else { Err(scene.world.server.log()) }).await;
    assert!(!scene.world.server.log().join("\n").contains(key.lines().nth(1).expect("a line")), "no key is logged");
    let renewed = Authority::new();
    let (certificate, key) = renewed.sign();
    scene.files.write(&certificate, &key);
    until("the good files", async || scene.trusting(&renewed).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_come_is_ended_and_holds_nobody() {
    let scene = Scene::new().await;
    let mut slow = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(scene.world.server.address()).await.expect("a connection");
        if number % 2 == 0 {
            // The start of a ClientHello of 512 bytes.
            stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await.expect("it is read");
        }
        slow.push(stream);
    }
    let begun = Instant::now();
    scene.trusting(&scene.authority).await.expect("others are served");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for mut stream in slow {
        // The server may say why before it closes.
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "still open after {:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn off_loopback_plaintext_needs_a_word() {
    let database = Database::sqlite();
    let open = Settings::on(&database).set("GATEPOST_LISTEN", "0.0.0.0:0").set("GATEPOST_LIMITS__CONNECTION_IDLE", "0s");
    let output = tokio::time::timeout(DEADLINE, open.command(&["serve"]).output()).await.expect("it ends").expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("listen: ") && said.contains("insecure_plaintext"), "it says what to do: {said}");
    assert!(said.contains("limits.connection_idle: "), "and all else that is wrong: {said}");
    let open = open.set("GATEPOST_LIMITS__CONNECTION_IDLE", "5m");
    let mut serving = gatepost_tests::Program::start(open.command(&["serve", "--insecure-plaintext"]));
    serving.errors.with("listening on http://0.0.0.0:").await;
    assert!(serving.stop().await.success());
    // With a certificate nothing more is asked.
    let authority = Authority::new();
    let files = Files::new(authority.sign());
    let settings =
        Settings::on(&database).set("GATEPOST_LISTEN", "0.0.0.0:0").tls(&files.certificate(), &files.key(), &authority.pem());
    let mut serving = gatepost_tests::Program::start(settings.command(&["serve"]));
    serving.errors.with("listening on https://0.0.0.0:").await;
    assert!(serving.stop().await.success());
}
