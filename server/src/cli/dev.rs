//! `gatepost dev`: everything to try Gatepost with one command. A server on an SQLite file, a demo tenant, an endpoint that points at a
//! receiver in this process, and a first event that travels all the way.
//!
//! What it makes it makes through the public client, as a user would; only the root key and the configuration are its own. The key
//! lies in a file beside the database, so that a restart shows the same one. What it says goes to stdout, the server's log to stderr.

mod demo;
mod root_key;
mod say;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::demo::Demo;
use super::failure::Failure;
use super::listen::{Options, Received, Receiver};
use super::serve::stop_signal;
use super::settings;
use crate::clock::Clock;
use crate::config::{BaseUrl, Config, Sources};
use crate::server::Server;
use crate::tasks::{OnEnd, Supervisor};

/// Where it listens unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);
/// How long the first event may take before the commands are shown without it.
const LATE: Duration = Duration::from_secs(5);
/// Requests that wait to be shown.
const SHOWN: usize = 1024;

/// Arguments of `gatepost dev`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to listen on. Default 127.0.0.1:7070, or a free port when that is taken.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,

    /// SQLite file; its keys lie beside it.
    #[arg(long, value_name = "FILE", default_value = "gatepost-dev.db")]
    database: PathBuf,
}

/// Runs `gatepost dev` until Ctrl-C.
///
/// # Errors
/// The configuration is wrong (exit code 64), or the server could not start or go on.
pub async fn run(args: Args) -> Result<(), Failure> {
    let (config, wanted) = args.config()?;
    settings::init_logs(&config)?;
    let (config, root_key) = root_key::open(config, rand::random())?;
    let keys = settings::key_ring(&config)?;
    let interrupted = stop_signal()?;

    let receiver = Receiver::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Options::default())
        .await
        .map_err(|error| Failure::io("cannot start the receiver", error))?;
    let built = Box::pin(Server::build(config, keys, Clock::system())).await;
    let server = built.map_err(|error| Failure::other("the server cannot start", error))?;
    let address = server.local_addr().map_err(|error| Failure::io("the socket is gone", error))?;
    if address != wanted && wanted.port() != 0 {
        say::note(&format!("{wanted} is taken: listening on {address} instead"))?;
    }
    let demo = Demo { url: format!("http://{address}"), database: args.database, root_key };
    let stop = CancellationToken::new();
    let mut serving = Box::pin(server.serve(stop.clone().cancelled_owned()));
    let mut showing = Box::pin(show(demo, receiver));
    let shown = tokio::select! {
        ended = &mut serving => return ended.map(drop).map_err(|error| Failure::other("the server stopped", error)),
        shown = &mut showing => shown,
        () = interrupted => Ok(()),
    };
    stop.cancel();
    // The receiver goes on answering while the server drains.
    let _ended = serving.await.map_err(|error| Failure::other("the server stopped", error))?;
    shown.and_then(|()| say::note("stopped"))
}

/// Makes what a newcomer needs, says what to try, and shows what the receiver gets for as long as it is awaited.
async fn show(demo: Demo, receiver: Receiver) -> Result<(), Failure> {
    let client = demo.client().await?;
    let tenant = demo.tenant(&client).await?;
    let verifier = demo.endpoint(&tenant, &receiver.url()).await?;
    receiver.trust(verifier);
    say::welcome(&demo, &receiver.url())?;
    let (sender, received) = mpsc::channel(SHOWN);
    let tasks = Supervisor::new();
    tasks.spawn("receiver", OnEnd::Ignore, async move {
        // Its end ends the channel.
        let _ = receiver.serve(sender, std::future::pending()).await;
    });
    let receipt = demo.publish(&tenant).await?;
    follow(&demo, receipt.event_id(), received).await
}

/// Shows what arrives; after the first event, or when it is late, what to try next.
async fn follow(demo: &Demo, first: &str, mut received: mpsc::Receiver<Received>) -> Result<(), Failure> {
    let arrived = tokio::time::timeout(LATE, async {
        while let Some(request) = received.recv().await {
            say::received(&request)?;
            if request.id == first {
                break;
            }
        }
        Ok::<(), Failure>(())
    });
    match arrived.await {
        Ok(shown) => shown?,
        Err(_) => say::note("the first event has not arrived: somebody may have paused or disabled the endpoint")?,
    }
    say::next(demo)?;
    while let Some(request) = received.recv().await {
        say::received(&request)?;
    }
    Ok(())
}

impl Args {
    /// The configuration, and the address that was asked for.
    fn config(&self) -> Result<(Config, SocketAddr), Failure> {
        let mut sources = Sources::new()
            .preset("outbound.allow_http", true)
            .preset("outbound.allow_cidrs", vec!["127.0.0.0/8", "::1/128"])
            .preset("log.filter", "warn")
            .preset("shutdown_grace", "5s")
            .environment(std::env::vars())
            .flag("database.url", format!("sqlite://{}", self.database.display()));
        if let Some(listen) = &self.listen {
            sources = sources.flag("listen", listen.as_str());
        }
        let mut config = settings::load(sources)?;
        let wanted = config.listen;
        // Only the default gives way. Somebody may take the port between here and the server: then that says so.
        if self.listen.is_none() && wanted == LISTEN && is_taken(wanted) {
            config.listen.set_port(0);
        }
        // Payloads name this server, so its port is known before it binds.
        if config.listen.port() == 0 {
            config.listen = free(config.listen).map_err(|error| Failure::io("there is no free port", error))?;
        }
        let own = BaseUrl::plain(config.listen);
        config.public_base_url.get_or_insert_with(|| own.clone());
        config.schema_base_url.get_or_insert(own);
        Ok((config, wanted))
    }
}

fn free(address: SocketAddr) -> std::io::Result<SocketAddr> {
    TcpListener::bind(address)?.local_addr()
}

fn is_taken(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::parse;

    #[test]
    fn it_allows_loopback_and_gives_way_only_on_its_own_port() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let (config, wanted) = parse::<Args>(&["--listen", &address.to_string(), "--database", "x.db"]).config().unwrap();
        assert_eq!((config.listen, wanted), (address, address), "an address that was asked for is never changed");
        assert!(config.outbound.allow_http && !config.outbound.allow_cidrs.is_empty() && is_taken(address));
        assert_eq!(config.database.url.to_string(), "sqlite://x.db");
        assert_eq!(config.public_base_url.unwrap().as_str(), format!("http://{address}"));
    }

    #[test]
    fn payloads_name_the_port_that_it_will_have() {
        let (config, wanted) = parse::<Args>(&["--listen", "127.0.0.1:0", "--database", "x.db"]).config().unwrap();
        assert!(wanted.port() == 0 && config.listen.port() != 0);
        let site = config.site();
        assert_eq!(site.public_base_url, Some(format!("http://{}", config.listen)));
        assert_eq!(site.schema_base_url, site.public_base_url);
    }
}
