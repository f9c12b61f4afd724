//! CloudEvents 1.0, structured and binary.
//!
//! Both modes say the same: one list of attributes, written as members of a JSON object or as headers. `data` is not parsed.
//!
//! Source: CloudEvents 1.0.2 with its JSON format, HTTP protocol binding and the extensions `partitioning` and `sequence`.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Envelope, percent, write_member};

/// Content type of structured mode.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// What a header of an attribute begins with; the attribute's name follows.
const PREFIX: &str = "ce-";
/// Has a header of its own in binary mode: `content-type`.
const DATA_CONTENT_TYPE: &str = "ce-datacontenttype";

/// The body in structured mode.
///
/// `schema_base_url`: without it there is no `dataschema`. `data` is always a JSON value, as it always is a JSON object.
pub fn structured(envelope: &Envelope<'_>, schema_base_url: Option<&str>) -> Bytes {
    let mut body = Vec::with_capacity(384 + envelope.len());
    for (place, (header, value)) in attributes(envelope, schema_base_url).into_iter().enumerate() {
        let name = header.strip_prefix(PREFIX).unwrap_or(header);
        let before = if place == 0 { '{' } else { ',' };
        write_member(&mut body, &format!("{before}\"{name}\":"), &value);
    }
    body.extend_from_slice(b",\"data\":");
    body.extend_from_slice(envelope.data);
    body.push(b'}');
    body.into()
}

/// The `ce-` headers in binary mode, whose body is `data` alone, with `content-type: application/json`.
///
/// Values are percent-encoded and so hold only visible ASCII. Source: HTTP protocol binding, section 3.1.3.2.
pub fn binary_headers(envelope: &Envelope<'_>, schema_base_url: Option<&str>) -> Vec<(&'static str, String)> {
    let attributes = attributes(envelope, schema_base_url).into_iter();
    attributes.filter(|(header, _)| *header != DATA_CONTENT_TYPE).map(|(header, value)| (header, header_value(&value))).collect()
}

fn header_value(value: &str) -> String {
    percent::encode(value, |byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'%')
}

/// Every attribute and its value, under the name of its header.
fn attributes<'a>(envelope: &Envelope<'a>, schema_base_url: Option<&str>) -> Vec<(&'static str, Cow<'a, str>)> {
    let mut attributes = vec![
        ("ce-specversion", "1.0".into()),
        ("ce-id", envelope.id.into()),
        ("ce-source", format!("/tenants/{}", envelope.tenant).into()),
        ("ce-type", envelope.event_type.into()),
        ("ce-subject", envelope.subject.into()),
        ("ce-time", envelope.timestamp.rfc3339().into()),
        (DATA_CONTENT_TYPE, "application/json".into()),
        ("ce-tenant", envelope.tenant.into()),
        ("ce-sequence", envelope.sequence_text().into()),
    ];
    if let Some(base) = schema_base_url {
        let schema = format!("{base}/events/{}/{}.json", envelope.event_type, envelope.schema_version);
        attributes.push(("ce-dataschema", schema.into()));
    }
    attributes.push(("ce-txn", envelope.txn.into()));
    attributes.push(("ce-partitionkey", envelope.partition_key.into()));
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_encoded_as_the_binding_says() {
        // The example of section 3.1.3.2:
        // https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
        assert_eq!(header_value("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        for (value, encoded) in [
            ("usr_1", "usr_1"),
            ("a b", "a%20b"),
            ("\"", "%22"),
            ("100%", "100%25"),
            ("%41", "%2541"),
            ("é", "%C3%A9"),
            ("\t\r\n\u{0}\u{7f}", "%09%0D%0A%00%7F"),
            ("\u{85}", "%C2%85"),
            ("!~'()*+,;=:@/?#[]{}|\\^`<>", "!~'()*+,;=:@/?#[]{}|\\^`<>"),
            ("", ""),
        ] {
            assert_eq!(header_value(value), encoded, "{value:?}");
        }
    }

    #[test]
    fn every_ascii_character_is_kept_or_encoded() {
        for byte in 0..=0x7f_u8 {
            let kept = (0x21..=0x7e).contains(&byte) && byte != b'"' && byte != b'%';
            let value = char::from(byte).to_string();
            assert_eq!(header_value(&value), if kept { value.clone() } else { format!("%{byte:02X}") });
        }
    }
}
