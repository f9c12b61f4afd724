//! Nothing half written: what the API shows fits together, and the tables hold no row that belongs to nothing.
//!
//! Called after an attack. The API is asked for everything that it shows; SQL only for what it cannot.

use futures::TryStreamExt;
use gatepost_client::v1;
use gatepost_tests::{Database, World, until_within};

/// Counts that must be zero, once the steps that clear away have come to an end. What a deleted tenant left goes for two minutes more.
const NOTHING: [(&str, &str); 10] = [
    (
        "events with another number of deliveries than was answered",
        "SELECT COUNT(*) FROM events e JOIN tenants t ON t.id = e.tenant AND t.state = 1
         WHERE e.delivery_count <> (SELECT COUNT(*) FROM deliveries d WHERE d.event_seq = e.seq)",
    ),
    ("deliveries without an event", "SELECT COUNT(*) FROM deliveries d WHERE d.event_seq NOT IN (SELECT seq FROM events)"),
    (
        "events without their key",
        "SELECT COUNT(*) FROM events e WHERE NOT EXISTS
         (SELECT 1 FROM event_keys k WHERE k.tenant = e.tenant AND k.event_seq = e.seq)",
    ),
    (
        "keys without an event",
        "SELECT COUNT(*) FROM event_keys k JOIN tenants t ON t.id = k.tenant AND t.state = 1
         WHERE k.event_seq NOT IN (SELECT seq FROM events)",
    ),
    (
        "backlog without a delivery, or of one that is finished",
        "SELECT COUNT(*) FROM backlog b WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = b.event_seq
         AND d.endpoint_key = b.endpoint_key AND d.part = b.part AND d.state IN (1, 2, 5))",
    ),
    (
        "unfinished deliveries that nobody owns",
        "SELECT COUNT(*) FROM deliveries d WHERE d.state IN (1, 2) AND d.owner_epoch IS NULL AND NOT EXISTS
         (SELECT 1 FROM backlog b WHERE b.event_seq = d.event_seq AND b.endpoint_key = d.endpoint_key AND b.part = d.part)",
    ),
    (
        "attempts without a delivery",
        "SELECT COUNT(*) FROM attempts a WHERE NOT EXISTS (SELECT 1 FROM deliveries d
         WHERE d.event_seq = a.event_seq AND d.endpoint_key = a.endpoint_key AND d.part = a.part)",
    ),
    (
        "endpoints without a tenant",
        "SELECT COUNT(*) FROM endpoints p WHERE p.delete_time IS NULL AND p.tenant NOT IN (SELECT id FROM tenants WHERE state <> 3)",
    ),
    (
        "endpoints without a secret",
        "SELECT COUNT(*) FROM endpoints p WHERE p.delete_time IS NULL AND p.key NOT IN (SELECT endpoint_key FROM endpoint_secrets)",
    ),
    (
        "tenants without a data key, or keys without a tenant",
        "SELECT (SELECT COUNT(*) FROM tenants t WHERE t.state = 1 AND t.id NOT IN (SELECT tenant FROM data_keys))
         + (SELECT COUNT(*) FROM data_keys k WHERE k.tenant <> '' AND k.tenant NOT IN (SELECT id FROM tenants WHERE state = 1))",
    ),
];

/// How long what was deleted may take to go.
const CLEARING: std::time::Duration = std::time::Duration::from_secs(60);

/// # Panics
/// When something does not fit.
pub(crate) async fn check(database: &Database, world: &World) {
    let mut tenants: Vec<v1::Tenant> = world.client.tenants().try_collect().await.expect("a list");
    tenants.retain(|tenant| tenant.state() == v1::tenant::State::Active);
    assert!(tenants.len() >= 3, "{tenants:?}");
    let (mut events, mut endpoints) = (0, 0);
    for tenant in &tenants {
        let id = tenant.name.trim_start_matches("tenants/");
        events += every_event_has_its_deliveries(world, id).await;
        endpoints += every_endpoint_works(world, id).await;
    }
    println!("{} tenants, {events} events and {endpoints} endpoints fit together", tenants.len());
    until_within(CLEARING, "no row that belongs to nothing", async || {
        let mut wrong = Vec::new();
        for (what, statement) in NOTHING {
            let found = database.count(statement).await;
            if found > 0 {
                wrong.push(format!("{found} {what}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    })
    .await;
}

async fn every_event_has_its_deliveries(world: &World, tenant: &str) -> usize {
    let tenant = world.client.tenant(tenant);
    let events: Vec<v1::Event> = tenant.events("").try_collect().await.expect("a list of events");
    // All are counted by SQL; the API is asked for some.
    for event in events.iter().step_by(1 + events.len() / 20) {
        let id = event.name.rsplit('/').next().expect("an id");
        let whole = tenant.get_event(id).await.expect("an event that is listed can be read");
        assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&whole.data).is_ok(), "{whole:?}");
        let filter = format!("event == \"{id}\"");
        let deliveries: Vec<v1::Delivery> = tenant.deliveries(&filter).try_collect().await.expect("a list of deliveries");
        assert_eq!(deliveries.len(), usize::try_from(event.delivery_count).expect("a count"), "{}", event.name);
    }
    events.len()
}

/// Each that is listed can be read, changed and removed.
async fn every_endpoint_works(world: &World, tenant: &str) -> usize {
    if tenant == "honest" {
        return 0;
    }
    let tenant = world.client.tenant(tenant);
    let endpoints: Vec<v1::Endpoint> = tenant.endpoints("").try_collect().await.expect("a list of endpoints");
    for endpoint in &endpoints {
        let id = endpoint.name.rsplit('/').next().expect("an id");
        let read = tenant.get_endpoint(id).await.expect("an endpoint that is listed can be read");
        assert_eq!((&read.url, &read.headers, &read.retry_policy), (&endpoint.url, &endpoint.headers, &endpoint.retry_policy));
        let changed = v1::Endpoint { name: endpoint.name.clone(), display_name: "After".into(), ..Default::default() };
        let request = v1::UpdateEndpointRequest { endpoint: Some(changed), ..Default::default() };
        assert_eq!(tenant.update_endpoint(request).await.expect("it can be changed").display_name, "After");
        tenant.delete_endpoint(id).await.expect("it can be deleted");
    }
    endpoints.len()
}
