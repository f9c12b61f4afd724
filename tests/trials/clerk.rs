//! Somebody who moves single deliveries by hand all the time: what each move did is known exactly, so that one that was lost or made
//! twice shows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;
use gatepost_client::{Error, Tenant, v1::delivery::State};
use gatepost_tests::{World, world::event};
use tokio::task::JoinHandle;

const EVENT_TYPE: &str = "user.moved";

/// Cancelled, sent again, cancelled: three moves after the first revision.
const LAST_REVISION: i32 = 4;

/// A clerk at work, on an endpoint that is paused.
pub(crate) struct Clerk {
    stop: Arc<AtomicBool>,
    work: JoinHandle<usize>,
}

impl Clerk {
    /// `tenant`: through a client that repeats what may be repeated.
    pub(crate) async fn start(world: &World, tenant: Tenant) -> Self {
        // Nothing ever listens there, and nothing is sent.
        world.endpoint("moved", "http://127.0.0.1:65009/", |endpoint| endpoint.event_types = vec![EVENT_TYPE.to_owned()]).await;
        world.tenant.pause_endpoint("moved").await.expect("the endpoint");
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let work = tokio::spawn(async move {
            let mut moved = 0;
            while !stopped.load(Ordering::Relaxed) {
                move_one(&tenant, moved).await.expect("a move succeeds in the end");
                moved += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            moved
        });
        Self { stop, work }
    }

    /// Ends the clerk's work, and checks all of it.
    pub(crate) async fn stop(self, tenant: &Tenant) {
        self.stop.store(true, Ordering::Relaxed);
        let moved = self.work.await.expect("the clerk does not panic");
        let deliveries: Vec<_> = tenant.deliveries(r#"endpoint == "moved""#).try_collect().await.expect("a list");
        assert_eq!(deliveries.len(), moved);
        for delivery in &deliveries {
            assert_eq!((delivery.state(), delivery.revision), (State::Cancelled, LAST_REVISION), "{delivery:?}");
        }
        println!("  {moved} deliveries moved by hand, three times each");
    }
}

async fn move_one(tenant: &Tenant, number: usize) -> Result<(), Error> {
    let receipt = tenant.publish(event(EVENT_TYPE).id(format!("moved-{number}"))).await?;
    let filter = format!("event == \"{}\"", receipt.event_id());
    let deliveries: Vec<_> = tenant.deliveries(filter).try_collect().await?;
    let name = &deliveries.first().expect("the delivery of an event that was accepted").name;
    tenant.cancel_delivery(name).await?;
    tenant.retry_delivery(name).await?;
    tenant.cancel_delivery(name).await?;
    Ok(())
}
