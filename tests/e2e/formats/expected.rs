//! What the event catalogue says that an event becomes in each format, written down a second time: from the published JSON alone,
//! without a line of the server's code. It holds for payloads of the right types, which examples are.

use gatepost_client::v1::endpoint::Format;
use gatepost_tests::SCHEMA_BASE_URL;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};

use crate::judges::{AUDIENCE, issuer};

/// An event as its publisher knows it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) event_type: String,
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) sequence: i64,
    pub(crate) txn: String,
    /// RFC 3339 with milliseconds.
    pub(crate) timestamp: String,
    /// The same in whole seconds since 1970.
    pub(crate) occurred: i64,
    /// When it was accepted, likewise.
    pub(crate) accepted: i64,
    /// As published.
    pub(crate) text: String,
}

impl Sent {
    pub(crate) fn data(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    fn sequence(&self) -> String {
        format!("{:020}", self.sequence)
    }

    /// The body in format `STANDARD`, byte for byte.
    pub(crate) fn standard(&self) -> String {
        format!(
            "{{\"id\":{},\"type\":{},\"timestamp\":{},\"tenant\":\"acme\",\"subject\":{},\"sequence\":{},\"txn\":{},\
             \"schema_version\":1,\"data\":{}}}",
            json!(self.id),
            json!(self.event_type),
            json!(self.timestamp),
            json!(self.subject),
            json!(self.sequence()),
            json!(self.txn),
            self.text
        )
    }

    /// What judges must read of it in a format other than `SET`.
    pub(crate) fn read_as(&self, format: Format) -> Value {
        match format {
            Format::Standard => serde_json::from_str(&self.standard()).expect("JSON"),
            Format::CloudeventsStructured | Format::CloudeventsBinary => self.attributes(),
            Format::LumosSiem => self.siem(),
            other => panic!("{other:?} is not expected here"),
        }
    }

    /// Section 6.1, and `data`.
    fn attributes(&self) -> Value {
        json!({
            "specversion": "1.0", "id": self.id, "source": "/tenants/acme", "type": self.event_type, "subject": self.subject,
            "time": self.timestamp, "datacontenttype": "application/json", "tenant": "acme", "sequence": self.sequence(),
            "dataschema": format!("{SCHEMA_BASE_URL}/events/{}/1.json", self.event_type),
            "txn": self.txn, "partitionkey": self.subject.split_once('/').map(|(_, id)| id), "data": self.data(),
        })
    }

    /// Section 8, the members that follow from the event alone.
    fn siem(&self) -> Value {
        let data = self.data();
        let is = |member: &str, value: &str| data[member] == value;
        let upper = self.event_type.to_uppercase().replace('.', "_");
        let name = match self.event_type.as_str() {
            "access.granted" if is("confirmed_by", "manual") => "APP_STORE_MANUAL_CONFIRM_PROVISIONING_FOR_ACCESS_REQUEST",
            "access.granted" => "APP_STORE_INLINE_WEBHOOK_PROVISIONING_FOR_ACCESS_REQUEST",
            "access.revoked" if is("confirmed_by", "manual") => "APP_STORE_MANUAL_CONFIRM_DEPROVISIONING_FOR_ACCESS_REQUEST",
            "access.cancelled" if is("previous_state", "manual_provisioning") => {
                "APP_STORE_MANUAL_DENY_PROVISIONING_FOR_ACCESS_REQUEST"
            }
            "access_request.validation_failed" => "APP_STORE_INLINE_WEBHOOK_REQUEST_VALIDATION_FOR_ACCESS_REQUEST",
            "access_request.created" => "APP_STORE_CREATE_ACCESS_REQUEST",
            "access_request.modified" if data["changes"][0]["field"] == "access_length_seconds" => {
                "APP_STORE_EDIT_ACCESS_LENGTH_ON_REQUEST"
            }
            _ => &upper,
        };
        let failed = ["_failed", "_overdue", "_dead_lettered"].iter().any(|end| self.event_type.ends_with(end));
        let kinds = ["user", "application", "permission", "access_request", "grant"];
        let targets =
            kinds.iter().filter_map(|kind| Some(json!({"target_type": kind.to_uppercase(), "target_data": data.get(kind)?})));
        let actor = &data["actor"];
        let text = |member: &str| actor[member].as_str().unwrap_or_default();
        json!({
            "event_type": name,
            "event_began_at": self.timestamp,
            "event_hash": hex(&Sha512::digest(self.standard())),
            "outcome": if failed { "FAILED" } else { "SUCCEEDED" },
            "targets": targets.collect::<Vec<_>>(),
            "actor": {
                "actor_type": actor["type"].as_str().unwrap_or("system").to_uppercase(),
                "actor_data": {"email": text("email"), "given_name": text("given_name"), "family_name": text("family_name")},
            },
        })
    }

    /// Section 7.3: the claims of the token with this event, to the endpoint of this id. Names of attributes stand in the order of
    /// [`sorted`].
    pub(crate) fn claims(&self, uri: &str, delivery: &str, endpoint: &str) -> Value {
        json!({
            "iss": issuer(), "aud": AUDIENCE, "jti": delivery, "iat": self.accepted, "toe": self.occurred, "txn": self.txn,
            "sub_id": self.sub_id(uri, endpoint), "events": {uri: self.event_object(uri)},
        })
    }

    /// Section 7.5.
    fn sub_id(&self, uri: &str, endpoint: &str) -> Value {
        let data = self.data();
        let text = |pointer: &str| data.pointer(pointer).and_then(Value::as_str);
        let opaque = |id: &str| json!({"format": "opaque", "id": id});
        let named = |id: &str| json!({"format": "iss_sub", "iss": issuer(), "sub": id});
        let user = || text("/user/id").map(named);
        let of = |pointer: &str| text(pointer).map(opaque);
        let application = |within: &str| {
            let app = text(&format!("{within}/application/app_id"))?;
            Some(match text(&format!("{within}/application/instance_id")) {
                Some(instance) => opaque(&format!("{app}/{instance}")),
                None => opaque(app),
            })
        };
        let complex = |members: &[(&str, Option<Value>)]| {
            let known = members.iter().filter_map(|(name, member)| Some(((*name).to_owned(), member.clone()?)));
            Value::Object([("format".to_owned(), json!("complex"))].into_iter().chain(known).collect())
        };
        let family = self.event_type.split('.').next().unwrap_or_default();
        match (family, self.event_type.as_str()) {
            _ if uri.ends_with("/verification") => opaque(endpoint),
            _ if uri.ends_with("/identifier-changed") => {
                let kind = text("/identifier_type").expect("a kind");
                json!({"format": kind, kind: text("/old_value")})
            }
            _ if uri.starts_with(SCIM) => {
                let (folder, kind) = if family == "group" { ("Groups", "group") } else { ("Users", "user") };
                let id = text(&format!("/{kind}/id")).expect("an id");
                let mut found = json!({"format": "scim", "uri": format!("/{folder}/{id}")});
                if let Some(external) = text(&format!("/{kind}/external_id")) {
                    found["externalId"] = json!(external);
                }
                found
            }
            ("session", _) => complex(&[("user", user()), ("session", of("/session/id")), ("application", application(""))]),
            (_, "compliance.device_changed") => complex(&[("user", user()), ("device", of("/device/id"))]),
            (_, "access.revoked") => complex(&[("user", user()), ("application", application(""))]),
            ("account", _) => complex(&[("user", of("/account/id")), ("application", application("/account"))]),
            ("risk", _) => match text("/principal").expect("a principal") {
                "user" => text("/principal_id").map(named).expect("an id"),
                principal => complex(&[(principal, of("/principal_id"))]),
            },
            _ => user().unwrap_or_else(|| opaque(&self.subject)),
        }
    }

    /// Sections 7.4 and 7.6 to 7.8.
    fn event_object(&self, uri: &str) -> Value {
        let data = self.data();
        let carried = |names: &[&str]| -> Map<String, Value> {
            names.iter().filter_map(|name| Some(((*name).to_owned(), data.get(*name)?.clone()))).collect()
        };
        let upper = |object: &mut Map<String, Value>, names: &[&str]| {
            for name in names {
                if let Some(Value::String(text)) = object.get_mut(*name) {
                    *text = text.to_uppercase();
                }
            }
        };
        let short = |prefix: &str| uri.strip_prefix(prefix);
        if let Some(name) = short("https://schemas.openid.net/secevent/caep/event-type/") {
            let mut object = carried(match name {
                "credential-change" => &["credential_type", "change_type", "friendly_name"],
                "device-compliance-change" => &["previous_status", "current_status"],
                "risk-level-change" => &["principal", "current_level", "previous_level", "risk_reason"],
                "assurance-level-change" => &["namespace", "current_level", "previous_level", "change_direction"],
                "session-established" => &["acr", "amr"],
                _ => &[],
            });
            match name {
                "risk-level-change" => upper(&mut object, &["principal", "current_level", "previous_level"]),
                "device-compliance-change" => {
                    object.values_mut().for_each(|status| *status = json!(status.as_str().map(|text| text.replace('_', "-"))));
                }
                "session-revoked" | "credential-change" => {
                    object.insert("reason_admin".to_owned(), json!({"en": self.event_type}));
                }
                _ => {}
            }
            object.extend(carried(&["initiating_entity", "reason_admin", "reason_user"]));
            object.insert("event_timestamp".to_owned(), json!(self.occurred));
            Value::Object(object)
        } else if let Some(name) = short("https://schemas.openid.net/secevent/risc/event-type/") {
            match name {
                "credential-compromise" => json!({"credential_type": data["credential_type"], "event_timestamp": self.occurred}),
                "identifier-changed" => data.get("new_value").map_or_else(|| json!({}), |new| json!({"new-value": new})),
                "account-disabled" if ["hijacking", "bulk-account"].iter().any(|reason| data["reason"] == *reason) => {
                    json!({"reason": data["reason"]})
                }
                _ => json!({}),
            }
        } else if let Some(name) = short(SCIM) {
            if name.ends_with(":notice") { json!({"attributes": self.attributes_named(name)}) } else { json!({}) }
        } else if short("https://schemas.openid.net/secevent/ssf/event-type/").is_some() {
            json!({"state": data["state"]})
        } else {
            data
        }
    }

    /// Section 7.8.
    fn attributes_named(&self, name: &str) -> Vec<String> {
        const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let data = self.data();
        let keys = |object: &Value| object.as_object().into_iter().flat_map(|object| object.keys().cloned()).collect::<Vec<_>>();
        let fields = match self.event_type.as_str() {
            "user.department_changed" => vec!["department".to_owned()],
            "user.manager_changed" => vec!["manager".to_owned()],
            "user.role_changed" => vec!["role".to_owned()],
            "group.member_added" | "group.member_removed" => vec!["members".to_owned()],
            _ if name == "create:notice" => {
                let own = keys(&data["user"]).into_iter().filter(|name| name != "attributes");
                own.chain(keys(&data["user"]["attributes"])).collect()
            }
            _ => data["changes"]
                .as_array()
                .expect("changes")
                .iter()
                .filter_map(|change| Some(change["field"].as_str()?.to_owned()))
                .collect(),
        };
        let renamed = |field: String| match field.as_str() {
            "given_name" => "name.givenName".to_owned(),
            "family_name" => "name.familyName".to_owned(),
            "email" => "emails".to_owned(),
            "phone_number" => "phoneNumbers".to_owned(),
            "external_id" => "externalId".to_owned(),
            "role" => "title".to_owned(),
            "department" | "manager" => format!("{ENTERPRISE}:{field}"),
            _ => field,
        };
        let mut names: Vec<String> = fields.into_iter().map(renamed).collect();
        names.sort();
        names
    }
}

const SCIM: &str = "urn:ietf:params:scim:event:prov:";

/// Claims with the names of SCIM attributes in one order, as none has a meaning.
pub(crate) fn sorted(mut claims: Value) -> Value {
    for event in claims["events"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        // An own event may hold what it likes under that name.
        if let Some(names) = event.get_mut("attributes").and_then(Value::as_array_mut) {
            names.sort_by_key(ToString::to_string);
        }
    }
    claims
}

/// Section 1.2: the subject of an event whose publisher names none.
pub(crate) fn subject(text: &str) -> String {
    let data: Value = serde_json::from_str(text).expect("JSON");
    let id = |pointer: &str| data.pointer(pointer).and_then(Value::as_str);
    for (kind, pointer) in [
        ("user", "/user/id"),
        ("account", "/account/id"),
        ("access_request", "/access_request/id"),
        ("user", "/access_request/target_user/id"),
        ("device", "/device/id"),
        ("application", "/application/app_id"),
        ("group", "/group/id"),
    ] {
        if let Some(id) = id(pointer) {
            return format!("{kind}/{id}");
        }
    }
    "tenant/acme".to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
