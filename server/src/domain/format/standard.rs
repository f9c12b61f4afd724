//! `STANDARD`: Gatepost's own envelope, the default and the fastest.

use bytes::Bytes;

use super::{Envelope, write_member};

/// The body: the nine members in their order, without insignificant space outside `data`.
pub fn standard(envelope: &Envelope<'_>) -> Bytes {
    use std::io::Write as _;

    let mut body = Vec::with_capacity(192 + envelope.len());
    write_member(&mut body, "{\"id\":", envelope.id);
    write_member(&mut body, ",\"type\":", envelope.event_type);
    write_member(&mut body, ",\"timestamp\":", &envelope.timestamp.rfc3339());
    write_member(&mut body, ",\"tenant\":", envelope.tenant);
    write_member(&mut body, ",\"subject\":", envelope.subject);
    write_member(&mut body, ",\"sequence\":", &envelope.sequence_text());
    write_member(&mut body, ",\"txn\":", envelope.txn);
    let _ = write!(body, ",\"schema_version\":{},\"data\":", envelope.schema_version);
    body.extend_from_slice(envelope.data);
    body.push(b'}');
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Time;

    const DATA: &[u8] = br#"{ "user": {"id": "usr_1", "n": 1.10},  "x":"\u00e9" }"#;

    fn envelope<'a>() -> Envelope<'a> {
        Envelope {
            id: "evt_01",
            event_type: "user.terminated",
            timestamp: Time::from_millis(1_795_597_200_000),
            tenant: "acme",
            subject: "user/usr_1",
            partition_key: "usr_1",
            sequence: 42,
            txn: "evt_01",
            schema_version: 1,
            data: DATA,
        }
    }

    #[test]
    fn the_standard_body_has_nine_members_in_order_and_data_as_published() {
        let expected = concat!(
            r#"{"id":"evt_01","type":"user.terminated","timestamp":"2026-11-25T09:00:00.000Z","tenant":"acme","#,
            r#""subject":"user/usr_1","sequence":"00000000000000000042","txn":"evt_01","schema_version":1,"#,
            r#""data":{ "user": {"id": "usr_1", "n": 1.10},  "x":"\u00e9" }}"#
        );
        assert_eq!(std::str::from_utf8(&standard(&envelope())).unwrap(), expected);
    }

    #[test]
    fn texts_are_escaped_and_every_body_is_json() {
        let odd = Envelope { subject: "user/\"\\\n\u{1}é💡", sequence: i64::MAX, ..envelope() };
        let body = standard(&odd);
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["subject"], "user/\"\\\n\u{1}é💡");
        assert_eq!(read["sequence"], "09223372036854775807");
        assert_eq!(read.as_object().unwrap().len(), 9);
    }
}
