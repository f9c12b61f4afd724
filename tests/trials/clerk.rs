//! People who move single deliveries by hand all the time: what each move did is known exactly, so that one that was lost or made twice
//! shows.

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

const EVENT_TYPE: &str = "user.activated";

/// Cancelled, sent again, cancelled: three moves after the first revision.
const LAST_REVISION: i32 = 4;

/// So many at once, as there are several control lanes.
const CLERKS: usize = 6;

/// Clerks at work, on an endpoint that is paused.
pub(crate) struct Clerks {
    stop: Arc<AtomicBool>,
    work: Vec<JoinHandle<usize>>,
}

impl Clerks {
    /// `tenant`: through a client that repeats what may be repeated.
    pub(crate) async fn start(world: &World, tenant: &Tenant) -> Self {
        // Nothing ever listens there, and nothing is sent.
        world.endpoint("moved", "http://127.0.0.1:65009/", |endpoint| endpoint.event_types = vec![EVENT_TYPE.to_owned()]).await;
        world.tenant.pause_endpoint("moved").await.expect("the endpoint");
        let stop = Arc::<AtomicBool>::default();
        let clerk = |clerk: usize| {
            let (tenant, stop) = (tenant.clone(), Arc::clone(&stop));
            async move {
                let mut moved = 0;
                while !stop.load(Ordering::Relaxed) {
                    move_one(&tenant, &format!("moved-{clerk}-{moved}")).await.expect("a move succeeds in the end");
                    moved += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                moved
            }
        };
        let work = (0..CLERKS).map(|number| tokio::spawn(clerk(number))).collect();
        Self { stop, work }
    }

    /// Ends the clerks' work, and checks all of it.
    pub(crate) async fn stop(self, tenant: &Tenant) {
        self.stop.store(true, Ordering::Relaxed);
        let mut moved = 0;
        for work in self.work {
            moved += work.await.expect("no clerk panics");
        }
        let deliveries: Vec<_> = tenant.deliveries(r#"endpoint == "moved""#).try_collect().await.expect("a list");
        assert_eq!(deliveries.len(), moved);
        for delivery in &deliveries {
            assert_eq!((delivery.state(), delivery.revision), (State::Cancelled, LAST_REVISION), "{delivery:?}");
        }
        println!("  {moved} deliveries moved by hand, three times each");
    }
}

async fn move_one(tenant: &Tenant, id: &str) -> Result<(), Error> {
    let receipt = tenant.publish(event(EVENT_TYPE).id(id)).await?;
    let filter = format!("event == \"{}\"", receipt.event_id());
    let deliveries: Vec<_> = tenant.deliveries(filter).try_collect().await?;
    let name = &deliveries.first().expect("the delivery of an event that was accepted").name;
    tenant.cancel_delivery(name).await?;
    tenant.retry_delivery(name).await?;
    tenant.cancel_delivery(name).await?;
    Ok(())
}
