//! An honest caller beside an attack: what it asks for still comes, in time, and the server's memory stays.
//!
//! Each attack on connections runs in here, against a server of its own. The attack goes on until the honest caller has seen enough.

use std::{
    cell::Cell,
    future::Future,
    net::SocketAddr,
    time::{Duration, Instant},
};

use gatepost_client::v1;
use gatepost_tests::{DEADLINE, Database, Receiver, Server, World, world::event};

use super::process;

/// How long an attack lasts at least.
const SPAN: Duration = Duration::from_secs(3);
/// What an attack may add to memory while it lasts: a thousand open streams, at some 60 KiB each in a debug build, and a little.
const ROOM_MIB: f64 = 80.0;

/// A server with an honest tenant, and one that the attacker has a key of.
pub(crate) struct Siege {
    pub(crate) world: World,
    pub(crate) address: SocketAddr,
    /// Opens everything of `tenants/globex`.
    pub(crate) key: String,
    receiver: Receiver,
    /// Lives as long as its server.
    _database: Database,
}

impl Siege {
    pub(crate) async fn on(database: Database) -> Self {
        let world = World::on(&database).await;
        let receiver = Receiver::ok().await;
        world.endpoint("siem", &receiver.url(), |_| {}).await;
        let request = v1::CreateTenantRequest { tenant_id: "globex".into(), ..Default::default() };
        world.client.create_tenant(request).await.expect("a tenant");
        let key = world.key(&["admin", "tenants:globex"]).await.key;
        let address = world.server.address();
        let siege = Self { world, address, key, receiver, _database: database };
        // Caches and pools fill before memory is looked at.
        siege.publish(Duration::from_millis(500)).await;
        siege
    }

    /// Runs the attack beside the honest caller, and judges how that one was served.
    pub(crate) async fn withstands(&self, attack: impl Future<Output = ()>) {
        let before = process::settled_mib(self.server()).await;
        let peak = Cell::new(before);
        let watched = async {
            // Nothing is gained by filling the machine: past that it ends.
            while peak.get() < before + 4.0 * ROOM_MIB {
                peak.set(peak.get().max(self.server().memory_mib()));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let besieged = async {
            attack.await;
            std::future::pending::<()>().await;
        };
        let times = tokio::select! {
            times = self.publish(SPAN) => times,
            () = besieged => Vec::new(),
            () = watched => Vec::new(),
        };
        let peak = peak.into_inner();
        assert!(!times.is_empty() && peak < before + ROOM_MIB, "memory grew from {before:.1} MiB to {peak:.1} MiB");
        let p99 = times[times.len() * 99 / 100];
        println!(
            "{} honest publishes, p99 {p99:.1?}, worst {:.1?}; {before:.1} MiB, at most {peak:.1} MiB",
            times.len(),
            times[times.len() - 1]
        );
        let receipt = self.world.tenant.publish(event("user.created")).await.expect("a receipt");
        self.world.delivered(&receipt).await;
        self.receiver.wait_for_ids(DEADLINE, [receipt.event_id()]).await;
        let defects = process::defects(self.server());
        assert!(defects.is_empty(), "{}", defects.join("\n"));
    }

    pub(crate) fn server(&self) -> &Server {
        &self.world.server
    }

    /// How long each honest publish took, shortest first.
    async fn publish(&self, span: Duration) -> Vec<Duration> {
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < span || times.len() < 20 {
            let begun = Instant::now();
            let published = tokio::time::timeout(DEADLINE, self.world.tenant.publish(event("user.created"))).await;
            published.expect("an answer in time").expect("a receipt");
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        times
    }
}
