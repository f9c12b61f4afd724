//! What an event is about: its `subject`, and the key by which events about the same thing stay in order.
//!
//! Called when an event is published, so of `data` only the members that can name a subject are parsed.

use super::data::Object;

/// The subject of an event whose publisher names none.
///
/// `{kind}/{id}` of the first of `user`, `account`, `access_request`, `device`, `application`, `group` in `data` that has an id
/// which makes a subject (an application's is `app_id`); an access request without one gives `user/{target_user.id}`; else
/// `tenant/{tenant}`.
pub fn derive_subject(data: &[u8], tenant: &str) -> String {
    let data = Object::read(data);
    let of = |kind: &str, id: Option<String>| {
        let subject = format!("{kind}/{}", id?);
        // A payload may hold what no subject may, such as an escaped NUL, which not every database stores.
        is_subject(&subject).then_some(subject)
    };
    let id_of = |name: &str| data.object(name)?.text("id");
    let target_user = || data.object("access_request")?.object("target_user")?.text("id");
    None.or_else(|| of("user", id_of("user")))
        .or_else(|| of("account", id_of("account")))
        .or_else(|| of("access_request", id_of("access_request")))
        .or_else(|| of("user", target_user()))
        .or_else(|| of("device", id_of("device")))
        .or_else(|| of("application", data.object("application").and_then(|application| application.text("app_id"))))
        .or_else(|| of("group", id_of("group")))
        .unwrap_or_else(|| format!("tenant/{tenant}"))
}

/// Characters of a subject.
const MAX_SUBJECT_CHARS: usize = 256;

/// Whether a text may be a subject, whoever wrote it.
pub fn is_subject(text: &str) -> bool {
    text.chars().count() <= MAX_SUBJECT_CHARS && !text.chars().any(char::is_control)
}

/// What an event is kept in order by: the publisher's key, else the id part of its subject.
///
/// Never empty, as CloudEvents says of its `partitionkey`: a subject without an id part is its own key.
pub fn partition_key<'a>(ordering_key: Option<&'a str>, subject: &'a str) -> &'a str {
    let id = || subject.split_once('/').map(|(_, id)| id);
    ordering_key.filter(|key| !key.is_empty()).or_else(id).filter(|key| !key.is_empty()).unwrap_or(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_is_the_first_that_has_an_id() {
        for (data, subject) in [
            (r#"{"user":{"id":"usr_1","email":"a@b"},"account":{"id":"acc"}}"#, "user/usr_1"),
            (r#"{"account":{"id":"acc"},"user":{"id":"usr_1"}}"#, "user/usr_1"),
            (r#"{"account":{"id":"acc","application":{"app_id":"a"}},"group":{"id":"g"}}"#, "account/acc"),
            (r#"{"access_request":{"id":"ar","target_user":{"id":"usr_1"}}}"#, "access_request/ar"),
            (r#"{"access_request":{"target_user":{"id":"usr_1"}},"device":{"id":"d"}}"#, "user/usr_1"),
            (r#"{"access_request":{},"device":{"id":"d"}}"#, "device/d"),
            (r#"{"application":{"app_id":"github"},"group":{"id":"g"}}"#, "application/github"),
            (r#"{"group":{"id":"g"},"user":null}"#, "group/g"),
            (r#"{"user":{"email":"a@b"},"group":{"id":"g"}}"#, "group/g"),
            (r#"{"user":"jane","device":{"id":7},"group":{"id":"g"}}"#, "group/g"),
            (r#"{"user":{"id":"a\u002fb\"c"}}"#, "user/a/b\"c"),
            (r#"{"review":{"id":"r"}}"#, "tenant/acme"),
            (r#"{"user":{"id":"a\u0000"},"group":{"id":"g"}}"#, "group/g"),
            (r#"{"user":{"id":"a\nb"}}"#, "tenant/acme"),
            (r#"{"user":{"id":""},"account":{"id":"acc"}}"#, "account/acc"),
            (r#"{"user":["usr_1"],"account":[["acc"]]}"#, "tenant/acme"),
            (r#"{"user":{"id":"usr_1"},"user":{"id":"usr_2"}}"#, "user/usr_2"),
            ("{}", "tenant/acme"),
            ("[]", "tenant/acme"),
            ("no json", "tenant/acme"),
        ] {
            assert_eq!(derive_subject(data.as_bytes(), "acme"), subject, "{data}");
        }
    }

    #[test]
    fn the_partition_key_is_the_ordering_key_or_the_id_of_the_subject() {
        for (ordering_key, subject, key) in [
            (None, "user/usr_1", "usr_1"),
            (Some("team"), "user/usr_1", "team"),
            (Some(""), "user/usr_1", "usr_1"),
            (None, "user/a/b", "a/b"),
            (None, "jane", "jane"),
            (None, "user/", "user/"),
            (None, "/x", "x"),
            (None, "tenant/acme", "acme"),
        ] {
            assert_eq!(partition_key(ordering_key, subject), key, "{ordering_key:?} {subject}");
        }
    }
}
