//! Messages made of their descriptors: right in shape, wrong in value, and then damaged on their way.
//!
//! Called for every generated request. A field is filled by its name where the name says what belongs there, so that many requests get
//! past the first check; what belongs there is then right, odd or nonsense by chance.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::{nasty, pool::Pool, random::Random};

/// How deep messages nest, which none of the contract's does.
const DEPTH: usize = 6;

/// Makes messages for one RPC.
pub(crate) struct Maker<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) pool: &'a Pool,
    pub(crate) method: &'a str,
    /// Where an endpoint of a good request leads.
    pub(crate) receiver: &'a str,
}

impl Maker<'_> {
    pub(crate) fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        match descriptor.full_name() {
            "google.protobuf.Timestamp" | "google.protobuf.Duration" => {
                let sound = self.chance(60);
                let seconds = if sound { self.random.within(0..120) } else { *self.random.pick(&nasty::NUMBERS) };
                let nanos = if sound { 0 } else { *self.random.pick(&nasty::NANOS) };
                message.set_field_by_name("seconds", Value::I64(seconds));
                message.set_field_by_name("nanos", Value::I32(nanos));
                return message;
            }
            "google.protobuf.FieldMask" => {
                let count = self.random.below(5);
                let paths = (0..count).map(|_| Value::String((*self.random.pick(&nasty::PATHS)).to_owned())).collect();
                message.set_field_by_name("paths", Value::List(paths));
                return message;
            }
            _ => {}
        }
        for field in descriptor.fields() {
            let needed = matches!(field.name(), "parent" | "name" | "data" | "type" | "url" | "request" | "requests" | "endpoint");
            if depth < DEPTH && (self.chance(20) || needed && self.chance(92)) {
                let value = self.field(&field, depth);
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { return Value::Map(HashMap::new()) };
            let count = self.count();
            let pairs = (0..count).filter_map(|_| {
                let value = self.single(&entry.get_field(2)?, depth);
                let key = match self.chance(50) {
                    true => format!("x-label-{}", self.random.below(30)),
                    false => self.text(),
                };
                Some((MapKey::String(key), value))
            });
            return Value::Map(pairs.collect());
        }
        if field.is_list() {
            let count = self.count();
            return Value::List((0..count).map(|_| self.single(field, depth)).collect());
        }
        self.single(field, depth)
    }

    /// How many there are of what may be many.
    fn count(&mut self) -> usize {
        match self.random.below(100) {
            0 => 1001,
            1..=3 => 120,
            _ => self.random.below(4),
        }
    }

    fn single(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        let number = *self.random.pick(&nasty::NUMBERS);
        match field.kind() {
            Kind::Message(inner) => Value::Message(self.message(&inner, depth + 1)),
            Kind::String => Value::String(self.string(field.name())),
            Kind::Bytes => Value::Bytes(self.data()),
            Kind::Bool => Value::Bool(self.chance(30)),
            Kind::Enum(_) => Value::EnumNumber(i32::try_from(number).unwrap_or(77)),
            Kind::Double => Value::F64(*self.random.pick(&nasty::FLOATS)),
            Kind::Float => Value::F32(f32::NAN),
            Kind::Int32 if field.name() == "schema_version" && self.chance(80) => Value::I32(1),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(i32::try_from(number).unwrap_or(i32::MIN)),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(u32::try_from(number).unwrap_or(u32::MAX)),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(number.cast_unsigned()),
        }
    }

    /// A text for a field of this name, mostly one that suits it.
    fn string(&mut self, name: &str) -> String {
        if self.chance(12) {
            return self.text();
        }
        let pick = |random: &mut Random, texts: &[&str]| (*random.pick(texts)).to_owned();
        match name {
            "parent" if self.method == "ListAttempts" => self.pool.delivery(self.random),
            "parent" => self.pool.tenant(self.random),
            "name" => self.pool.name(self.method, self.random),
            "tenant_id" => format!("v{}", self.random.below(12)),
            "endpoint_id" => format!("p{}", self.random.below(40)),
            "event_id" => format!("e{}", self.random.below(400)),
            "url" if self.chance(70) => self.receiver.to_owned(),
            "url" => pick(self.random, &nasty::URLS),
            "type" | "event_types" if self.chance(60) => pick(self.random, &nasty::TYPES[..nasty::GOOD_TYPES]),
            "type" | "event_types" => pick(self.random, &nasty::TYPES),
            "content_type" => "application/json".to_owned(),
            "request_id" => pick(self.random, &nasty::REQUEST_IDS),
            "filter" if self.chance(40) => String::new(),
            "filter" => pick(self.random, &nasty::FILTERS),
            "page_token" | "resume_token" if self.chance(40) => String::new(),
            "page_token" | "resume_token" => self.token(),
            "etag" if self.chance(60) => String::new(),
            "etag" => pick(self.random, &nasty::ETAGS),
            "scopes" => pick(self.random, &nasty::SCOPES),
            "signing_secret" if self.chance(60) => String::new(),
            "signing_secret" => pick(self.random, &nasty::SECRETS),
            "subject" => format!("user/u{}", self.random.below(20)),
            "display_name" | "description" => "A name".to_owned(),
            _ => self.text(),
        }
    }

    /// A token of this or another list, whole, cut or changed.
    fn token(&mut self) -> String {
        let mut token = self.pool.token(self.random);
        if !token.is_ascii() {
            return token;
        }
        match self.random.below(4) {
            0 if !token.is_empty() => token.truncate(self.random.below(token.len())),
            1 if !token.is_empty() => {
                let at = self.random.below(token.len());
                token.replace_range(at..=at, "A");
            }
            _ => {}
        }
        token
    }

    fn text(&mut self) -> String {
        match self.random.below(30) {
            0 => "a".repeat(10_000),
            1 => "é\u{202e}".repeat(700),
            2 => format!("tenants/{}", "a".repeat(10_000)),
            _ => (*self.random.pick(&nasty::TEXTS)).to_owned(),
        }
    }

    fn data(&mut self) -> Bytes {
        match self.random.below(60) {
            0 => of_user(&format!("{{\"id\":\"u\",\"a\":{}{}}}", "[".repeat(62), "]".repeat(62))),
            1 => of_user(&format!("{{\"id\":\"u\",\"a\":{}{}}}", "[".repeat(63), "]".repeat(63))),
            2 => "{\"a\":".repeat(100_000).into(),
            3 => of_user(&format!("{{\"id\":\"{}\"}}", "x".repeat(256 << 10))),
            4 => of_user(&format!("{{\"id\":\"{}\"}}", "x".repeat(100_000))),
            5..40 => Bytes::from_static(nasty::DATA[self.random.below(nasty::GOOD_DATA)]),
            _ => Bytes::from_static(nasty::DATA[self.random.below(nasty::DATA.len())]),
        }
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.random.below(100) < percent
    }
}

/// A payload that every good type takes, if this is a user.
fn of_user(user: &str) -> Bytes {
    format!("{{\"user\":{user},\"changes\":[{{\"field\":\"email\"}}]}}").into()
}

/// Damages the bytes of a message, in one of the ways in which a parser fails.
pub(crate) fn damage(random: &mut Random, message: &DynamicMessage) -> Vec<u8> {
    let mut bytes = message.encode_to_vec();
    let field = u32::try_from(random.below(20)).unwrap_or(0);
    match random.below(12) {
        0 | 1 => bytes.truncate(random.below(bytes.len() + 1)),
        2..=4 => {
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
        // The wrong wire type for a field that there is.
        5 => tag(&mut bytes, field, u8::try_from(random.below(8)).unwrap_or(0)),
        // Fields that nobody knows.
        6 => (0..200).for_each(|number| {
            tag(&mut bytes, 1000 + number, 0);
            bytes.push(1);
        }),
        // A number of ten bytes, and one of eleven.
        7 => {
            tag(&mut bytes, field, 0);
            bytes.extend_from_slice(&[0xff; 11][..10 + random.below(2)]);
        }
        // Messages in messages, as deep as 30,000 and lying about their lengths, or groups that never end.
        8 => {
            tag(&mut bytes, field, 2);
            bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x07]);
        }
        9 => (0..30_000).for_each(|_| tag(&mut bytes, field.max(1), 3)),
        10 => {
            let mut nested = Vec::new();
            for _ in 0..200 {
                let mut outer = Vec::new();
                tag(&mut outer, field.max(1), 2);
                prost::encoding::encode_varint(nested.len() as u64, &mut outer);
                outer.extend_from_slice(&nested);
                nested = outer;
            }
            bytes.extend_from_slice(&nested);
        }
        // Texts that are no UTF-8.
        _ => bytes.iter_mut().filter(|byte| **byte == b'e').for_each(|byte| *byte = 0xff),
    }
    bytes
}

fn tag(bytes: &mut Vec<u8>, field: u32, wire_type: u8) {
    prost::encoding::encode_varint(u64::from(field << 3 | u32::from(wire_type)), bytes);
}
