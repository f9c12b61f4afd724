//! The one table of what each RPC needs. An RPC that is not in it is open to nobody.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::domain::caller::Verb;

/// What a caller must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Not even a key.
    Nothing,
    /// Any valid key.
    Key,
    /// A key with this verb.
    Verb(Verb),
}

/// How messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One request, one answer: deadlines are kept.
    Unary,
    /// A stream in either direction: once it has begun it has no deadline here.
    Stream,
}

/// An RPC and what it needs.
#[derive(Debug)]
pub(super) struct Rule {
    /// `/{service}/{method}`.
    pub(super) path: &'static str,
    pub(super) need: Need,
    pub(super) kind: Kind,
}

const fn unary(path: &'static str, verb: Verb) -> Rule {
    Rule { path, need: Need::Verb(verb), kind: Kind::Unary }
}

const fn stream(path: &'static str, verb: Verb) -> Rule {
    Rule { path, need: Need::Verb(verb), kind: Kind::Stream }
}

const fn any_key(path: &'static str) -> Rule {
    Rule { path, need: Need::Key, kind: Kind::Unary }
}

const fn open(path: &'static str, kind: Kind) -> Rule {
    Rule { path, need: Need::Nothing, kind }
}

const RULES: &[Rule] = &[
    unary("/gatepost.v1.TenantService/CreateTenant", Verb::Admin),
    any_key("/gatepost.v1.TenantService/GetTenant"),
    any_key("/gatepost.v1.TenantService/ListTenants"),
    unary("/gatepost.v1.TenantService/UpdateTenant", Verb::Admin),
    unary("/gatepost.v1.TenantService/DeleteTenant", Verb::Admin),
    unary("/gatepost.v1.TenantService/ListSigningKeys", Verb::EndpointsRead),
    unary("/gatepost.v1.TenantService/RotateSigningKey", Verb::EndpointsWrite),
    unary("/gatepost.v1.EndpointService/CreateEndpoint", Verb::EndpointsWrite),
    unary("/gatepost.v1.EndpointService/GetEndpoint", Verb::EndpointsRead),
    unary("/gatepost.v1.EndpointService/ListEndpoints", Verb::EndpointsRead),
    unary("/gatepost.v1.EndpointService/UpdateEndpoint", Verb::EndpointsWrite),
    unary("/gatepost.v1.EndpointService/DeleteEndpoint", Verb::EndpointsWrite),
    unary("/gatepost.v1.EndpointService/PauseEndpoint", Verb::EndpointsWrite),
    unary("/gatepost.v1.EndpointService/ResumeEndpoint", Verb::EndpointsWrite),
    unary("/gatepost.v1.EndpointService/DisableEndpoint", Verb::EndpointsWrite),
    unary("/gatepost.v1.EndpointService/EnableEndpoint", Verb::EndpointsWrite),
    unary("/gatepost.v1.EndpointService/RotateEndpointSecret", Verb::EndpointsWrite),
    unary("/gatepost.v1.EndpointService/RevealEndpointSecret", Verb::SecretsReveal),
    unary("/gatepost.v1.EndpointService/TestEndpoint", Verb::EndpointsWrite),
    unary("/gatepost.v1.EndpointService/PreviewDelivery", Verb::EndpointsWrite),
    unary("/gatepost.v1.EndpointService/GetEndpointStats", Verb::EndpointsRead),
    unary("/gatepost.v1.EventTypeService/CreateEventType", Verb::EndpointsWrite),
    unary("/gatepost.v1.EventTypeService/GetEventType", Verb::EndpointsRead),
    unary("/gatepost.v1.EventTypeService/ListEventTypes", Verb::EndpointsRead),
    unary("/gatepost.v1.EventTypeService/UpdateEventType", Verb::EndpointsWrite),
    unary("/gatepost.v1.EventTypeService/DeleteEventType", Verb::EndpointsWrite),
    unary("/gatepost.v1.EventService/PublishEvent", Verb::Publish),
    unary("/gatepost.v1.EventService/PublishEvents", Verb::Publish),
    stream("/gatepost.v1.EventService/PublishEventStream", Verb::Publish),
    unary("/gatepost.v1.EventService/GetEvent", Verb::DeliveriesRead),
    unary("/gatepost.v1.EventService/ListEvents", Verb::DeliveriesRead),
    unary("/gatepost.v1.EventService/ExplainEvent", Verb::DeliveriesRead),
    unary("/gatepost.v1.DeliveryService/GetDelivery", Verb::DeliveriesRead),
    unary("/gatepost.v1.DeliveryService/ListDeliveries", Verb::DeliveriesRead),
    unary("/gatepost.v1.DeliveryService/ListAttempts", Verb::DeliveriesRead),
    stream("/gatepost.v1.DeliveryService/WatchDeliveries", Verb::DeliveriesRead),
    unary("/gatepost.v1.DeliveryService/RetryDelivery", Verb::DeliveriesWrite),
    unary("/gatepost.v1.DeliveryService/CancelDelivery", Verb::DeliveriesWrite),
    unary("/gatepost.v1.AdminService/CreateApiKey", Verb::Admin),
    unary("/gatepost.v1.AdminService/ListApiKeys", Verb::Admin),
    unary("/gatepost.v1.AdminService/RevokeApiKey", Verb::Admin),
    any_key("/gatepost.v1.AdminService/GetServerInfo"),
    open("/grpc.health.v1.Health/Check", Kind::Unary),
    open("/grpc.health.v1.Health/Watch", Kind::Stream),
    open("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Kind::Stream),
    open("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Kind::Stream),
];

static BY_PATH: LazyLock<HashMap<&'static str, &'static Rule>> =
    LazyLock::new(|| RULES.iter().map(|rule| (rule.path, rule)).collect());

/// What the RPC of this path needs; `None`: nobody may call it.
pub(super) fn find(path: &str) -> Option<&'static Rule> {
    BY_PATH.get(path).copied()
}

/// The paths of all RPCs.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    /// Path, comment and kind of every RPC in a descriptor set.
    fn rpcs(descriptors: &[u8]) -> Vec<(String, String, Kind)> {
        let set = FileDescriptorSet::decode(descriptors).unwrap();
        let mut found = Vec::new();
        for file in &set.file {
            for (service_index, service) in file.service.iter().enumerate() {
                for (index, method) in service.method.iter().enumerate() {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let place = [6, i32::try_from(service_index).unwrap(), 2, i32::try_from(index).unwrap()];
                    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
                    let comment = locations.into_iter().find(|location| location.path == place);
                    let comment = comment.map(|location| location.leading_comments().to_owned()).unwrap_or_default();
                    let streams = method.client_streaming() || method.server_streaming();
                    found.push((path, comment, if streams { Kind::Stream } else { Kind::Unary }));
                }
            }
        }
        found
    }

    fn contract() -> Vec<(String, String, Kind)> {
        rpcs(include_bytes!(concat!(env!("OUT_DIR"), "/gatepost.binpb")))
    }

    #[test]
    fn every_rpc_has_a_rule_and_every_rule_an_rpc() {
        let mut all = contract();
        for descriptors in [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            all.extend(rpcs(descriptors));
        }
        // grpc.health.v1 has a List since 2024, which the crate does not serve.
        for (path, _, kind) in &all {
            let Some(rule) = find(path) else { panic!("{path} has no rule") };
            assert_eq!(rule.kind, *kind, "{path}");
        }
        assert_eq!(all.len(), RULES.len(), "a rule for an RPC that does not exist, or two for one");
    }

    #[test]
    fn rules_are_those_of_the_contract() {
        for (path, comment, _) in contract() {
            let expected = match find(&path).unwrap().need {
                Need::Nothing => panic!("{path} is open"),
                Need::Key => "Scope: any".to_owned(),
                Need::Verb(verb) => format!("Scope: `{}`", verb.as_str()),
            };
            assert!(comment.contains(&expected), "{path} does not say {expected}: {comment}");
        }
    }

    #[test]
    fn nothing_but_health_and_reflection_is_open() {
        for rule in RULES.iter().filter(|rule| rule.need == Need::Nothing) {
            assert!(rule.path.starts_with("/grpc.health.") || rule.path.starts_with("/grpc.reflection."), "{}", rule.path);
        }
        assert!(find("/gatepost.v1.AdminService/Backdoor").is_none() && find("").is_none());
    }
}
