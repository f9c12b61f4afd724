//! The ten metadata keys of Lumos's activity log.
//!
//! They are always there, null when `data` does not say. Each comes from the members that the catalogue defines; where these say
//! nothing, from an extra member of `data` under the name that Lumos's log or the question of an inline hook gives it, so that a
//! publisher can fill every key.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::format::data::{self, Object};

/// The keys, in the order of their names.
#[derive(Serialize)]
pub(super) struct Metadata {
    access_length: Option<u64>,
    appstore_request_metadata: Option<Request>,
    business_justification: Option<String>,
    deprovisioned_through_direct_integration: Option<bool>,
    error_message: Option<String>,
    itsm_ticket_link: Option<String>,
    operation_trigger: Option<String>,
    permissions: Option<Vec<String>>,
    reason_for_preapproval: Option<String>,
    success_message: Option<String>,
}

/// Which access request it belongs to.
#[derive(Serialize)]
struct Request {
    id: Option<String>,
    task_url: Option<String>,
}

impl Metadata {
    pub(super) fn read(event_type: &str, data: &Object<'_>) -> Self {
        let request = data.object("access_request").unwrap_or_default();
        let grant = data.object("grant");
        Self {
            access_length: access_length(data, &request, grant.as_ref()),
            appstore_request_metadata: request_metadata(data, &request, grant.as_ref()),
            business_justification: request.text("comment").or_else(|| data.text("request_comment")),
            deprovisioned_through_direct_integration: through_integration(event_type, data),
            error_message: error_message(event_type, data),
            itsm_ticket_link: data.text("itsm_ticket_link"),
            // A reason beside no grant is another one, such as why somebody left.
            operation_trigger: grant.and_then(|grant| data.text("reason").or_else(|| grant.text("reason"))),
            permissions: permissions(data, &request),
            reason_for_preapproval: data.text("justification"),
            success_message: data.text("success_message"),
        }
    }
}

/// Minutes, rounded up as in the question of a hook. The first length that is given counts, and null means without end.
fn access_length(data: &Object<'_>, request: &Object<'_>, grant: Option<&Object<'_>>) -> Option<u64> {
    let given = grant
        .and_then(|grant| grant.raw("duration_seconds"))
        .or_else(|| data.raw("granted_length_seconds"))
        .or_else(|| request.raw("access_length_seconds"))
        .or_else(|| data.raw("access_length_seconds"))?;
    data::integer(given).map(|seconds| seconds.div_ceil(60))
}

fn request_metadata(data: &Object<'_>, request: &Object<'_>, grant: Option<&Object<'_>>) -> Option<Request> {
    let id = request
        .text("id")
        .or_else(|| grant.and_then(|grant| grant.text("access_request_id")))
        .or_else(|| data.text("access_request_id"));
    let task_url = request.text("task_url").or_else(|| data.text("request_task_url"));
    (id.is_some() || task_url.is_some()).then_some(Request { id, task_url })
}

/// Whether a receiver removed the access, rather than a person or somebody else.
fn through_integration(event_type: &str, data: &Object<'_>) -> Option<bool> {
    if !matches!(event_type, "access.revoked" | "account.deprovisioned") {
        return None;
    }
    data.one_of("confirmed_by", &["webhook", "callback", "manual", "external"]).map(|by| matches!(by, "webhook" | "callback"))
}

/// What went wrong, in the words nearest to a person that `data` has; of what went well, only what is called so.
fn error_message(event_type: &str, data: &Object<'_>) -> Option<String> {
    let named = data.text("error_message");
    if super::outcome(event_type) == "SUCCEEDED" {
        return named;
    }
    named
        .or_else(|| data.raw("user_message").and_then(in_one_language))
        .or_else(|| data.text("code"))
        .or_else(|| data.text("failure_class"))
        .or_else(|| data.text("last_failure_class"))
}

/// A text, of a text in several languages the English one, else the first.
fn in_one_language(text: &RawValue) -> Option<String> {
    data::text(text).or_else(|| {
        let mut texts = data::texts(text)?;
        texts.remove("en").or_else(|| texts.into_values().next())
    })
}

/// Labels, the id of a permission without one: a list that left it out would tell of less access than there was.
fn permissions(data: &Object<'_>, request: &Object<'_>) -> Option<Vec<String>> {
    let listed = data
        .array("permissions")
        .or_else(|| data.raw("permission").map(|one| vec![one]))
        .or_else(|| request.array("permissions"))?;
    let label = |permission| {
        let permission = data::object(permission)?;
        permission.text("label").or_else(|| permission.text("id"))
    };
    Some(listed.into_iter().filter_map(label).collect())
}
