//! Every RPC of the contract is closed to whoever may not call it, and none tells such a caller what exists.
//!
//! The RPCs are those that the server's own reflection lists, so a new one is tried here without being named here.

use std::collections::BTreeMap;

use gatepost_client::{
    Code, Error,
    v1::{self, CreateTenantRequest},
};
use gatepost_tests::{
    Database, Receiver, Settings, World, on_both_databases, until,
    world::{VERBS, client, event},
};

use crate::contract::{Contract, Names, Refused, Rpc};

on_both_databases!(
    no_rpc_opens_without_a_valid_key,
    a_key_without_the_scope_is_refused_whatever_it_names,
    a_key_of_another_tenant_cannot_tell_what_exists,
    a_key_makes_and_sees_only_keys_that_may_do_no_more,
);

/// What RPCs of the contract may be called without a key: they say nothing about anybody.
const OPEN: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// A tenant with one of everything.
struct Scene {
    world: World,
    contract: Contract,
    existing: Names,
    _receiver: Receiver,
}

impl Scene {
    async fn on(database: &Database) -> Self {
        // As many wrong keys as it takes.
        let world = World::with(Settings::on(database).set("GATEPOST_LIMITS__FAILED_AUTHENTICATIONS", "1000000")).await;
        let request = CreateTenantRequest { tenant_id: "globex".into(), ..Default::default() };
        world.client.create_tenant(request).await.expect("a tenant");
        let receiver = Receiver::ok().await;
        world.endpoint("siem", &receiver.url(), |_| {}).await;
        let receipt = world.tenant.publish(event("user.created").id("evt-1")).await.expect("a receipt");
        let delivery = world.delivered(&receipt).await.remove(0).name;
        let event_type = v1::EventType { schema: r#"{"type": "object"}"#.into(), ..Default::default() };
        let event_type_id = "order.placed".to_owned();
        let request = v1::CreateEventTypeRequest { event_type_id, event_type: Some(event_type), ..Default::default() };
        world.tenant.create_event_type(request).await.expect("a type");
        let api_key = world.key(&["publish", "tenants:acme"]).await.name;
        let existing = Names {
            tenant: "acme".into(),
            endpoint: "siem".into(),
            event: "evt-1".into(),
            event_type: "order.placed".into(),
            delivery,
            api_key,
        };
        let contract = Contract::of(&world.server.url()).await;
        Self { world, contract, existing, _receiver: receiver }
    }

    async fn refused(&self, rpc: &Rpc, key: Option<&str>, names: &Names) -> Refused {
        match self.contract.call(rpc, key, names).await {
            Err(refused) => refused,
            Ok(_) => panic!("{} is open", rpc.path()),
        }
    }
}

async fn no_rpc_opens_without_a_valid_key(database: Database) {
    let scene = Scene::on(&database).await;
    let root = scene.world.server.key();
    let expiring = {
        let soon = scene.world.client.server_info().await.expect("facts").now_time.expect("a time");
        let expire_time = Some(prost_types::Timestamp { seconds: soon.seconds + 2, ..soon });
        let api_key = v1::ApiKey { scopes: vec!["admin".into(), "tenants:*".into()], expire_time, ..Default::default() };
        let request = v1::CreateApiKeyRequest { api_key: Some(api_key), ..Default::default() };
        scene.world.client.create_api_key(request).await.expect("a key")
    };
    let revoked = scene.world.key(&["admin", "tenants:*"]).await;
    client(&scene.world.server, &revoked.key).server_info().await.expect("it opens until it is revoked");
    scene.world.client.revoke_api_key(&revoked.name).await.expect("it is revoked");
    until("a key to expire", async || match client(&scene.world.server, &expiring.key).server_info().await {
        Err(Error::Unauthenticated { .. }) => Ok(()),
        other => Err(other),
    })
    .await;
    let (id, secret) = root.rsplit_once('_').expect("a key");
    let wrong_secret = format!("{id}_{}", secret.chars().rev().collect::<String>());
    let unknown = format!("gp_key_{}_{secret}", "0".repeat(26));
    let keys = [None, Some(""), Some("nonsense"), Some(&*wrong_secret), Some(&*unknown), Some(&*revoked.key), Some(&*expiring.key)];

    let services = scene.contract.services();
    let others: Vec<&str> = services.iter().map(String::as_str).filter(|service| !service.starts_with("gatepost.v1.")).collect();
    assert_eq!(others, OPEN);
    let rpcs = scene.contract.rpcs();
    assert!(rpcs.len() >= 42, "{}", rpcs.len());
    for rpc in rpcs {
        for key in keys {
            let refused = scene.refused(&rpc, key, &scene.existing).await;
            assert_eq!((refused.code, refused.reason.as_str()), (Code::Unauthenticated, "API_KEY_INVALID"), "{}", rpc.path());
            let first = scene.refused(&rpc, None, &scene.existing).await;
            assert_eq!(refused, first, "which of the kinds it is, is not told: {}", rpc.path());
        }
    }
}

async fn a_key_without_the_scope_is_refused_whatever_it_names(database: Database) {
    let scene = Scene::on(&database).await;
    let bare = scene.world.key(&["tenants:acme"]).await.key;
    let mut scopes = BTreeMap::new();
    for rpc in scene.contract.rpcs() {
        let mut answers = Vec::new();
        for names in [&scene.existing, &Names::missing_in("acme"), &Names::missing_in("nowhere")] {
            answers.push(scene.contract.call(&rpc, Some(&bare), names).await.err());
        }
        match answers.swap_remove(0) {
            Some(refused) if refused.code == Code::PermissionDenied => {
                assert_eq!(refused.reason, "SCOPE_MISSING", "{}", rpc.path());
                assert!(answers.iter().all(|other| other.as_ref() == Some(&refused)), "{}: {refused:?} {answers:?}", rpc.path());
                scopes.insert(rpc.path(), refused.metadata["scope"].clone());
            }
            // What any key may call, about its own tenant.
            other => assert!(other.is_none() && ANY_KEY.contains(&rpc.method()), "{}: {other:?}", rpc.path()),
        }
    }
    // With every verb but the one that is needed it is refused all the same; with that one alone it is let in.
    for rpc in scene.contract.rpcs() {
        let Some(needed) = scopes.get(&rpc.path()) else { continue };
        let mut all_others: Vec<&str> = VERBS.into_iter().filter(|verb| verb != needed).collect();
        all_others.push("tenants:*");
        let refused = scene.refused(&rpc, Some(&scene.world.key(&all_others).await.key), &scene.existing).await;
        assert_eq!((refused.code, refused.metadata.get("scope")), (Code::PermissionDenied, Some(needed)), "{}", rpc.path());
        let mut enough = vec![needed.as_str(), "tenants:*"];
        // It shows a payload too, so it needs a second one.
        enough.extend((rpc.method() == "PreviewDelivery").then_some("deliveries.read"));
        let alone = scene.world.key(&enough).await.key;
        let answer = scene.contract.call(&rpc, Some(&alone), &Names::missing_in("nowhere")).await;
        let code = answer.err().map(|refused| refused.code);
        assert!(!matches!(code, Some(Code::PermissionDenied | Code::Unauthenticated)), "{} with {needed}: {code:?}", rpc.path());
    }
}

/// RPCs that need no verb.
const ANY_KEY: [&str; 3] = ["GetTenant", "ListTenants", "GetServerInfo"];

async fn a_key_of_another_tenant_cannot_tell_what_exists(database: Database) {
    let scene = Scene::on(&database).await;
    let stranger = scene.world.key(&["admin", "tenants:globex"]).await.key;
    for rpc in scene.contract.rpcs() {
        let answer = scene.contract.call(&rpc, Some(&stranger), &scene.existing).await;
        let refused = match (rpc.method(), answer) {
            ("GetServerInfo", Ok(_)) => continue,
            ("ListTenants", Ok(answer)) => {
                let page: v1::ListTenantsResponse = prost::Message::decode(&*answer).expect("a page");
                assert_eq!(page.tenants.iter().map(|tenant| tenant.name.as_str()).collect::<Vec<_>>(), ["tenants/globex"]);
                continue;
            }
            ("ListApiKeys", Ok(answer)) => {
                let page: v1::ListApiKeysResponse = prost::Message::decode(&*answer).expect("a page");
                assert!(page.api_keys.iter().all(|key| key.name != scene.existing.api_key), "{page:?}");
                continue;
            }
            // A key for another tenant would be more than its own.
            ("CreateApiKey", Err(refused)) => {
                assert_eq!(refused.code, Code::PermissionDenied, "{refused:?}");
                continue;
            }
            (_, Err(refused)) => refused,
            (_, Ok(_)) => panic!("{} is open to another tenant", rpc.path()),
        };
        assert_eq!((refused.code, refused.reason.as_str()), (Code::NotFound, "RESOURCE_NOT_FOUND"), "{}: {refused:?}", rpc.path());
        for missing in [Names::missing_in("acme"), Names::missing_in("nowhere")] {
            let other = scene.refused(&rpc, Some(&stranger), &missing).await;
            // Apart from the name that was asked for, which the caller knows, both answers are the same.
            let told = |refused: &Refused, names: &Names| {
                let asked = names.asked(&rpc);
                assert!(refused.metadata.values().all(|value| *value == asked), "{}: {refused:?}", rpc.path());
                (refused.code, refused.reason.clone(), refused.message.replace(&asked, ""), refused.metadata.len())
            };
            assert_eq!(told(&refused, &scene.existing), told(&other, &missing), "{}", rpc.path());
        }
    }
    assert_eq!(scene.world.tenant.get_endpoint("siem").await.expect("the endpoint").state(), v1::endpoint::State::Active);
}

async fn a_key_makes_and_sees_only_keys_that_may_do_no_more(database: Database) {
    use futures::TryStreamExt;

    let world = World::on(&database).await;
    let admin = client(&world.server, &world.key(&["admin", "tenants:acme"]).await.key);
    let make = async |scopes: &[&str]| {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let api_key = Some(v1::ApiKey { scopes, ..Default::default() });
        admin.create_api_key(v1::CreateApiKeyRequest { api_key, ..Default::default() }).await
    };
    let made = make(&["publish", "secrets.reveal", "tenants:acme"]).await.expect("a key");
    assert!(made.key.starts_with("gp_key_"), "{made:?}");
    for scopes in [&["publish", "tenants:*"][..], &["publish", "tenants:globex"], &["publish", "tenants:acme", "tenants:globex"]] {
        let refused = make(scopes).await.expect_err("more than its own");
        assert!(matches!(refused, Error::PermissionDenied { .. }), "{scopes:?}: {refused:?}");
    }
    for scopes in [&[][..], &["root"], &["publish", "tenants:"], &["tenants:Not A Name"]] {
        let refused = make(scopes).await.expect_err("no scope");
        assert!(matches!(refused, Error::InvalidArgument { .. }), "{scopes:?}: {refused:?}");
    }
    let seen: Vec<v1::ApiKey> = admin.api_keys().try_collect().await.expect("a list");
    assert!(seen.iter().all(|key| key.key.is_empty()), "a key is shown once");
    assert!(seen.iter().any(|key| key.name == made.name));
    assert!(seen.iter().all(|key| !key.scopes.contains(&"tenants:*".to_owned())), "{seen:?}");
    let all: Vec<v1::ApiKey> = world.client.api_keys().try_collect().await.expect("a list");
    let root = all.iter().find(|key| key.scopes.contains(&"tenants:*".to_owned())).expect("the root key");
    assert!(matches!(admin.revoke_api_key(&root.name).await, Err(Error::NotFound { .. })));
    let revoked = admin.revoke_api_key(&made.name).await.expect("it is revoked");
    assert!(revoked.revoke_time.is_some());
    let refused = client(&world.server, &made.key).server_info().await;
    assert!(matches!(refused, Err(Error::Unauthenticated { .. })), "it opens nothing after the reply: {refused:?}");
}
