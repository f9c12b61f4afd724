//! What Lumos's activity log calls an event.

use crate::domain::format::data::{self, Object};

/// The `event_type`: Lumos's own name where it has one, else the type in upper case with `_` for `.`.
pub(super) fn event_name(event_type: &str, data: &Object<'_>) -> String {
    let is = |member: &str, value: &str| data.text(member).is_some_and(|text| text == value);
    let name = match event_type {
        "access.granted" if is("confirmed_by", "manual") => "APP_STORE_MANUAL_CONFIRM_PROVISIONING_FOR_ACCESS_REQUEST",
        "access.granted" => "APP_STORE_INLINE_WEBHOOK_PROVISIONING_FOR_ACCESS_REQUEST",
        "access.revoked" if is("confirmed_by", "manual") => "APP_STORE_MANUAL_CONFIRM_DEPROVISIONING_FOR_ACCESS_REQUEST",
        "access.cancelled" if is("previous_state", "manual_provisioning") => {
            "APP_STORE_MANUAL_DENY_PROVISIONING_FOR_ACCESS_REQUEST"
        }
        "access_request.validation_failed" => "APP_STORE_INLINE_WEBHOOK_REQUEST_VALIDATION_FOR_ACCESS_REQUEST",
        "access_request.created" => "APP_STORE_CREATE_ACCESS_REQUEST",
        "access_request.modified" if only_length_changed(data) => "APP_STORE_EDIT_ACCESS_LENGTH_ON_REQUEST",
        "access_request.modified" => "APP_STORE_EDIT_PERMISSIONS_ON_REQUEST",
        other => return other.to_ascii_uppercase().replace('.', "_"),
    };
    name.to_owned()
}

/// Whether there are changes and each is of the access length, under its name in a payload or in a hook's question.
fn only_length_changed(data: &Object<'_>) -> bool {
    let changes = data.array("changes").unwrap_or_default();
    let is_length = |field: String| matches!(&*field, "access_length_seconds" | "access_length");
    let of_length = |change| data::object(change).and_then(|change| change.text("field")).is_some_and(is_length);
    !changes.is_empty() && changes.into_iter().all(of_length)
}
