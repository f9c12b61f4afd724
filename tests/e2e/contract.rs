//! The contract as a running server tells it through reflection, and calls of any of its RPCs by name.
//!
//! Used by tests that try every RPC, and by the hostile ones. Requests are filled in by the names of their fields; an RPC that names something unheard of
//! fails here, with what to add.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut};
use futures::{TryStreamExt, stream};
use gatepost_client::{Code, Error, v1};
use gatepost_tests::world::PERSON;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor, Value};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

/// What a server says of itself, and a way to call it.
pub(crate) struct Contract {
    channel: Channel,
    services: Vec<String>,
    pool: DescriptorPool,
}

/// One RPC.
#[derive(Clone)]
pub(crate) struct Rpc(MethodDescriptor);

/// What requests name.
pub(crate) struct Names {
    pub(crate) tenant: String,
    pub(crate) endpoint: String,
    pub(crate) event: String,
    pub(crate) event_type: String,
    /// Full name.
    pub(crate) delivery: String,
    /// Full name.
    pub(crate) api_key: String,
}

/// A refusal, as far as a caller can see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Names {
    /// Well-formed names in a tenant, of which only the tenant may exist.
    pub(crate) fn missing_in(tenant: &str) -> Self {
        Self {
            tenant: tenant.into(),
            endpoint: "nothing".into(),
            event: "nothing".into(),
            event_type: "nothing.here".into(),
            delivery: format!("tenants/{tenant}/deliveries/dlv_00000000000020000000000004000"),
            api_key: format!("apiKeys/key_{}", "0".repeat(26)),
        }
    }

    /// The resource that a request of this RPC is about.
    pub(crate) fn asked(&self, rpc: &Rpc) -> String {
        let tenant = format!("tenants/{}", self.tenant);
        match rpc.method() {
            "ListAttempts" => self.delivery.clone(),
            method if method.contains("ApiKey") => self.api_key.clone(),
            // A child that is listed, created or published names its parent.
            method if method.starts_with("List") || method.starts_with("Publish") || method.starts_with("Watch") => tenant,
            "CreateEndpoint" | "CreateEventType" | "RotateSigningKey" => tenant,
            method if method.ends_with("Tenant") => tenant,
            method if method.ends_with("EventType") => format!("{tenant}/eventTypes/{}", self.event_type),
            method if method.contains("Endpoint") || method == "PreviewDelivery" => format!("{tenant}/endpoints/{}", self.endpoint),
            method if method.ends_with("Delivery") => self.delivery.clone(),
            "GetEvent" | "ExplainEvent" => format!("{tenant}/events/{}", self.event),
            "GetServerInfo" => String::new(),
            method => panic!("say here what {method} is about"),
        }
    }
}

impl Rpc {
    pub(crate) fn method(&self) -> &str {
        self.0.name()
    }

    pub(crate) fn path(&self) -> String {
        format!("/{}/{}", self.0.parent_service().full_name(), self.0.name())
    }

    pub(crate) fn descriptor(&self) -> &MethodDescriptor {
        &self.0
    }

    fn request(&self, names: &Names) -> Vec<u8> {
        self.message(self.descriptor().input(), names).encode_to_vec()
    }

    fn message(&self, descriptor: MessageDescriptor, names: &Names) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            let text = |text: &str| Value::String(text.to_owned());
            let value = match (field.name(), field.kind()) {
                ("name" | "parent", Kind::String) => text(&names.asked(self)),
                ("tenant_id", _) => text(&names.tenant),
                ("event", Kind::String) => text(&format!("tenants/{}/events/{}", names.tenant, names.event)),
                ("event_type_id", _) => text(&names.event_type),
                ("schema", Kind::String) => text(r#"{"type": "object"}"#),
                ("url", _) => text("https://receiver.example.com/webhooks"),
                ("type", Kind::String) => text("user.created"),
                ("data", _) => Value::Bytes(PERSON.into()),
                ("scopes", _) => Value::List(vec![text("publish"), text(&format!("tenants:{}", names.tenant))]),
                ("tenant" | "endpoint" | "event_type" | "api_key" | "request", Kind::Message(inner)) => {
                    Value::Message(self.message(inner, names))
                }
                ("requests", Kind::Message(inner)) => Value::List(vec![Value::Message(self.message(inner, names))]),
                // The parent of an event of several may be left out.
                _ => continue,
            };
            message.set_field(&field, value);
        }
        message
    }
}

impl Contract {
    /// Asks the server at this URL.
    pub(crate) async fn of(url: &str) -> Self {
        let channel = Channel::from_shared(url.to_owned()).expect("a URL").connect().await.expect("a connection");
        let services = match ask(&channel, MessageRequest::ListServices(String::new())).await {
            MessageResponse::ListServicesResponse(list) => list.service.into_iter().map(|service| service.name),
            other => panic!("{other:?}"),
        };
        let mut services: Vec<String> = services.collect();
        services.sort_unstable();
        let mut files = BTreeMap::new();
        for service in &services {
            collect(&channel, MessageRequest::FileContainingSymbol(service.clone()), &mut files).await;
        }
        loop {
            let named: BTreeSet<String> =
                files.values().flat_map(|file: &prost_types::FileDescriptorProto| file.dependency.clone()).collect();
            let Some(missing) = named.into_iter().find(|name| !files.contains_key(name)) else { break };
            collect(&channel, MessageRequest::FileByFilename(missing), &mut files).await;
        }
        let set = prost_types::FileDescriptorSet { file: files.into_values().collect() };
        let pool = DescriptorPool::from_file_descriptor_set(set).expect("files that fit together");
        Self { channel, services, pool }
    }

    /// Every service that is told, in order.
    pub(crate) fn services(&self) -> &[String] {
        &self.services
    }

    /// Every RPC of the contract.
    pub(crate) fn rpcs(&self) -> Vec<Rpc> {
        self.all_rpcs().into_iter().filter(|rpc| rpc.0.parent_service().package_name() == "gatepost.v1").collect()
    }

    /// Those of health and reflection too.
    pub(crate) fn all_rpcs(&self) -> Vec<Rpc> {
        self.pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).map(Rpc).collect()
    }

    /// Calls an RPC with a request about these names and returns its first answer. `key`: `None` sends no header at all.
    pub(crate) async fn call(&self, rpc: &Rpc, key: Option<&str>, names: &Names) -> Result<Vec<u8>, Refused> {
        let mut request = Request::new(stream::iter([rpc.request(names)]));
        if let Some(key) = key {
            request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().expect("a header"));
        }
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.expect("a connection");
        let path = http::uri::PathAndQuery::try_from(rpc.path()).expect("a path");
        let mut answers = grpc.streaming(request, path, Raw).await.map_err(Refused::from)?.into_inner();
        let answer = answers.try_next().await.map_err(Refused::from)?.unwrap_or_default();
        if rpc.method() == "PublishEventStream" {
            let result =
                v1::PublishEventStreamResponse::decode(&*answer).expect("an answer").result.and_then(|result| result.result);
            if let Some(v1::publish_result::Result::Error(error)) = result {
                let (code, message) = (Code::from(error.code), error.message);
                return Err(Refused { code, reason: error.reason, message, metadata: BTreeMap::new() });
            }
        }
        Ok(answer)
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let error = Error::from(status);
        let answer = error.answer().unwrap_or_else(|| panic!("{error:?}")).clone();
        let (code, message, metadata) = (answer.code, answer.message, answer.metadata);
        Self { code, reason: answer.reason.unwrap_or_default(), message, metadata }
    }
}

async fn ask(channel: &Channel, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut answers = ServerReflectionClient::new(channel.clone())
        .server_reflection_info(stream::iter([request]))
        .await
        .expect("reflection is open")
        .into_inner();
    answers.try_next().await.expect("no error").and_then(|answer| answer.message_response).expect("an answer")
}

async fn collect(channel: &Channel, question: MessageRequest, files: &mut BTreeMap<String, prost_types::FileDescriptorProto>) {
    let MessageResponse::FileDescriptorResponse(answer) = ask(channel, question.clone()).await else { panic!("{question:?}") };
    for file in answer.file_descriptor_proto {
        let file = prost_types::FileDescriptorProto::decode(&*file).expect("a file");
        files.insert(file.name().to_owned(), file);
    }
}

/// Messages as their bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}
