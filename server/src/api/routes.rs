//! All services on one router: the contract's six, health, and reflection in both of its versions.
//!
//! gRPC-web is translated outside the door, so that a browser gets the same statuses as everybody else.

use std::sync::Arc;

use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_reflection::server::Builder;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_reflection::server::v1alpha;
use tonic_web::GrpcWebLayer;

use super::generated::admin_service_server::AdminServiceServer;
use super::generated::delivery_service_server::DeliveryServiceServer;
use super::generated::endpoint_service_server::EndpointServiceServer;
use super::generated::event_service_server::EventServiceServer;
use super::generated::event_type_service_server::EventTypeServiceServer;
use super::generated::tenant_service_server::TenantServiceServer;
use super::{Api, access, admin, deliveries, endpoints, event_types, events, tenants};

/// The contract as reflection tells it.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gatepost.binpb"));

/// Every RPC, behind the door.
pub fn routes(api: &Arc<Api>) -> axum::Router {
    let most = api.parts.limits.message_bytes;
    let shared = || Arc::clone(api);
    let mut routes = Routes::new(TenantServiceServer::new(tenants::Tenants(shared())).max_decoding_message_size(most))
        .add_service(EndpointServiceServer::new(endpoints::Endpoints(shared())).max_decoding_message_size(most))
        .add_service(EventTypeServiceServer::new(event_types::EventTypes(shared())).max_decoding_message_size(most))
        .add_service(EventServiceServer::new(events::Events(shared())).max_decoding_message_size(most))
        .add_service(DeliveryServiceServer::new(deliveries::Deliveries(shared())).max_decoding_message_size(most))
        .add_service(AdminServiceServer::new(admin::Admin(shared())).max_decoding_message_size(most))
        .add_service(HealthServer::new(HealthService::from_health_reporter(api.health.clone())));
    match reflection() {
        Ok((current, old)) => routes = routes.add_service(current).add_service(old),
        // Unlikely enough, as the descriptors are built in; all else works without.
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "reflection is not served"),
    }
    let door = axum::middleware::from_fn_with_state(shared(), access::admit);
    routes.into_axum_router().layer(door).layer(GrpcWebLayer::new())
}

/// Tells health how every service does, and the server as a whole.
pub(super) async fn report(health: &HealthReporter, status: ServingStatus) {
    for service in [
        "",
        TenantServiceServer::<tenants::Tenants>::NAME,
        EndpointServiceServer::<endpoints::Endpoints>::NAME,
        EventTypeServiceServer::<event_types::EventTypes>::NAME,
        EventServiceServer::<events::Events>::NAME,
        DeliveryServiceServer::<deliveries::Deliveries>::NAME,
        AdminServiceServer::<admin::Admin>::NAME,
    ] {
        health.set_service_status(service, status).await;
    }
}

fn reflection() -> Result<
    (ServerReflectionServer<impl ServerReflection>, v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>),
    tonic_reflection::server::Error,
> {
    let builder = || {
        Builder::configure()
            .include_reflection_service(false)
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
    };
    Ok((builder().build_v1()?, builder().build_v1alpha()?))
}
