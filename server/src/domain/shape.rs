//! How events become an endpoint's requests: withheld members, format, template, encryption, in that order.
//!
//! Called at publication, which asks what deliveries an event makes ([`Shape::parts`]), and before every attempt ([`Shape::render`]). What
//! is rendered is a function of the event and the endpoint's settings alone, so every attempt sends the same bytes, on every node and after
//! a crash; an encrypted body is encrypted anew. Nothing here may put a payload or a part of one into an error.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::catalogue::SetFamily;
use super::event::Event;
use super::field_policy::{self, FieldPolicy, HashKey};
use super::format::set::{self, UserSubject};
use super::format::{self, Envelope, Format, cloudevents, siem};
use super::jose::jwe;
use super::jose::jwk::PublicKey;
use super::jose::jws::{self, SigningKey};
use super::site::Site;
use super::transform::{self, Transform};
use super::{Time, Violation, signature};

/// The most keys of an endpoint's `encryption`.
pub const MOST_ENCRYPTION_KEYS: usize = 5;
/// The most audiences of an endpoint.
pub const MOST_AUDIENCES: usize = 10;
/// Characters of an audience.
pub const LONGEST_AUDIENCE: usize = 256;

/// An endpoint's settings for its payloads.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How events are rendered.
    pub format: Format,
    /// What only format `SET` needs.
    pub set: SetSettings,
    /// Which members of `data` are withheld.
    pub field_policy: FieldPolicy,
    /// Under which members are hashed: the endpoint's own.
    pub hash_key: HashKey,
    /// What makes another body of the rendered one.
    pub transform: Option<Arc<Transform>>,
    /// The receiver's keys; the newest encrypts.
    pub encryption: Vec<EncryptionKey>,
    /// Where this installation is found.
    pub site: Arc<Site>,
    /// Id of the endpoint's tenant.
    pub tenant: Arc<str>,
}

/// What only format `SET` needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetSettings {
    /// Who the tokens are for.
    pub audience: Vec<String>,
    /// Families of standard events; empty: [`DEFAULT_FAMILIES`].
    pub families: Vec<SetFamily>,
    /// How users are named.
    pub subject: UserSubject,
    /// Also types without a standard event.
    pub own_types: bool,
}

/// A receiver's public key.
#[derive(Debug, Clone)]
pub struct EncryptionKey {
    /// The key.
    pub key: Arc<PublicKey>,
    /// When the endpoint got it.
    pub create_time: Time,
}

/// The parts of an event's deliveries to one endpoint, ascending: one, or with format `SET` one for each security event.
pub type Parts = Cow<'static, [i16]>;

/// What goes into a body beside the event and the settings.
#[derive(Clone, Copy)]
pub struct Occasion<'a, 'b> {
    /// The delivery's part.
    pub part: i16,
    /// Id of the delivery; formats that do not name it leave it alone.
    pub delivery_id: &'a str,
    /// Id of the endpoint.
    pub endpoint_id: &'b str,
    /// What signs security event tokens; needed with format `SET`.
    pub signer: Option<&'b SigningKey>,
    /// Randomness of the encryption.
    pub random: &'b dyn ring::rand::SecureRandom,
}

/// A body with what belongs to it.
#[derive(Debug, Clone)]
pub struct Rendered<'a> {
    /// What the request is known by: the event's id, or with format `SET` the delivery's.
    pub webhook_id: Cow<'a, str>,
    /// Media type of the body.
    pub content_type: &'static str,
    /// Headers of the format.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent.
    pub body: Bytes,
    /// RFC 9530 digest of the body.
    pub digest: Cow<'a, str>,
    /// What was encrypted; `None`: nothing was.
    pub clear: Option<Bytes>,
}

/// Why there is no body. `Display` is for the endpoint's owners and holds nothing of the payload.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The policy cannot read the payload.
    #[error("field_policy: {0}")]
    FieldPolicy(#[from] field_policy::Error),
    /// The payload was published when JSON was taken that not every parser reads, such as `1e999`.
    #[error("transform: the payload holds a number out of range, or half of a surrogate pair")]
    Payload,
    /// The template failed.
    #[error("transform: {0}")]
    Transform(#[from] transform::RenderError),
    /// The event has no security event of this part any more, as the endpoint's families changed.
    #[error("format SET: the event has no security event for this delivery under the endpoint's settings of now")]
    NoSecurityEvent,
    /// Format `SET` on a server without an address of its own.
    #[error("format SET: the server has no `public_base_url`")]
    NoIssuer,
    /// Format `SET`, and the tenant has no key that signs.
    #[error("format SET: the tenant has no signing key yet; one is made when an endpoint of this format is saved")]
    NoKey,
    /// The token cannot be signed.
    #[error("format SET: {0}")]
    Sign(#[from] jws::Error),
    /// The body cannot be encrypted.
    #[error("encryption: {0}")]
    Encrypt(#[from] jwe::Error),
    /// A defect.
    #[error("transform: the template cannot be worked on")]
    Panicked,
}

const JOSE: &str = "application/jose";
/// The most security events that the catalogue has for one type.
const MOST_SET_PARTS: usize = 3;
/// Families of standard security events that are sent unless others are chosen.
const DEFAULT_FAMILIES: [SetFamily; 2] = [SetFamily::Caep, SetFamily::Risc];

impl SetSettings {
    /// Families of standard events that are sent.
    fn families(&self) -> &[SetFamily] {
        if self.families.is_empty() { &DEFAULT_FAMILIES } else { &self.families }
    }
}

impl Rendered<'_> {
    /// The same, lent from nothing.
    pub fn into_owned(self) -> Rendered<'static> {
        Rendered {
            webhook_id: Cow::Owned(self.webhook_id.into_owned()),
            content_type: self.content_type,
            headers: self.headers,
            body: self.body,
            digest: Cow::Owned(self.digest.into_owned()),
            clear: self.clear,
        }
    }
}

impl Shape {
    /// Whether its bodies are those that all such endpoints share: rendered once an event.
    pub fn is_plain(&self) -> bool {
        self.format == Format::Standard
            && self.transform.is_none()
            && self.encryption.is_empty()
            && self.field_policy.keeps_everything()
    }

    /// The parts of the deliveries that an event of this type makes. None: it has nothing for this endpoint.
    pub fn parts(&self, event_type: &str) -> Parts {
        match self.format {
            Format::Set => Cow::Owned(set::part_numbers(event_type, self.set.families(), self.set.own_types)),
            _ => Cow::Borrowed(&[0]),
        }
    }

    /// Settings that do not go together, as the contract names them.
    pub fn conflicts(&self) -> Vec<Violation> {
        let mut bad = Vec::new();
        let mut check = |holds: bool, field: &str, description: &str| {
            if !holds {
                bad.push(Violation::new(format!("endpoint.{field}"), description));
            }
        };
        if self.format == Format::Set {
            check(!self.set.audience.is_empty(), "set_audience", "is missing: FORMAT_SET needs it");
            check(self.transform.is_none(), "transform", "cannot be used with FORMAT_SET");
            check(
                self.site.public_base_url.is_some(),
                "format",
                "FORMAT_SET needs `public_base_url` in the server's configuration",
            );
            let schemas = !self.set.own_types || self.site.schema_base_url.is_some();
            check(schemas, "set_own_types", "needs `schema_base_url` in the server's configuration");
        }
        bad
    }

    /// The body of one delivery, with its headers.
    ///
    /// # Errors
    /// [`RenderError`]: nothing can be sent before the endpoint's settings change.
    pub fn render<'a>(&self, event: &'a Event, occasion: &Occasion<'a, '_>) -> Result<Rendered<'a>, RenderError> {
        if self.is_plain() {
            return Ok(Rendered {
                webhook_id: Cow::Borrowed(&event.id),
                content_type: Format::Standard.content_type(),
                headers: Vec::new(),
                body: Bytes::clone(event.standard_body()),
                digest: Cow::Borrowed(event.standard_digest()),
                clear: None,
            });
        }
        let data = self.field_policy.apply(&event.data, &self.hash_key)?;
        let subject = self.subject(event, &data);
        let envelope =
            Envelope { data: &data, subject: &subject, partition_key: format::partition_key(None, &subject), ..event.envelope() };
        let mut rendered = self.formatted(&envelope, event, occasion)?;
        if let Some(transform) = &self.transform {
            let payload: Value = serde_json::from_slice(&rendered.body).map_err(|_| RenderError::Payload)?;
            rendered.body = transform.render(&payload)?;
        }
        if let Some(newest) = self.newest_key() {
            let random = occasion.random;
            let sealed = jwe::encrypt(newest, rendered.content_type, &rendered.body, random)?;
            rendered.clear = Some(std::mem::replace(&mut rendered.body, sealed.into()));
            rendered.content_type = JOSE;
        }
        rendered.digest = Cow::Owned(signature::content_digest(&rendered.body));
        Ok(rendered)
    }

    /// The key that encrypts; `None`: nothing does.
    fn newest_key(&self) -> Option<&PublicKey> {
        self.encryption.iter().max_by_key(|key| key.create_time).map(|key| &*key.key)
    }

    /// The subject, which must not tell what the policy withholds: one that was taken from `data` is taken from what is left of it.
    fn subject<'a>(&self, event: &'a Event, data: &[u8]) -> Cow<'a, str> {
        let withheld = !self.field_policy.keeps_everything();
        if withheld && format::derive_subject(&event.data, &event.tenant) == event.subject {
            Cow::Owned(format::derive_subject(data, &event.tenant))
        } else {
            Cow::Borrowed(&event.subject)
        }
    }

    fn formatted<'a>(
        &self,
        envelope: &Envelope<'_>,
        event: &'a Event,
        occasion: &Occasion<'a, '_>,
    ) -> Result<Rendered<'a>, RenderError> {
        let schemas = self.site.schema_base_url.as_deref();
        let mut rendered = Rendered {
            webhook_id: Cow::Borrowed(&*event.id),
            content_type: self.format.content_type(),
            headers: Vec::new(),
            body: Bytes::new(),
            digest: Cow::Borrowed(""),
            clear: None,
        };
        rendered.body = match self.format {
            Format::Standard => format::standard(envelope),
            Format::CloudEventsStructured => cloudevents::structured(envelope, schemas),
            Format::CloudEventsBinary => {
                rendered.headers = cloudevents::binary_headers(envelope, schemas);
                Bytes::copy_from_slice(envelope.data)
            }
            Format::LumosSiem => siem::render(envelope),
            Format::Set => {
                let options = self.set_options().ok_or(RenderError::NoIssuer)?;
                let signer = occasion.signer.ok_or(RenderError::NoKey)?;
                let part = set::part(envelope.event_type, occasion.part, &options).ok_or(RenderError::NoSecurityEvent)?;
                let delivery =
                    set::Delivery { id: occasion.delivery_id, endpoint_id: occasion.endpoint_id, accepted: event.create_time };
                rendered.webhook_id = Cow::Borrowed(occasion.delivery_id);
                rendered.headers = vec![("accept", set::ACCEPT.to_owned())];
                signer.sign(&set::claims(envelope, &part, &delivery, &options), set::TOKEN_TYPE)?.into()
            }
        };
        Ok(rendered)
    }

    /// The most deliveries that one event makes.
    pub fn most_parts(&self) -> usize {
        if self.format == Format::Set { MOST_SET_PARTS } else { 1 }
    }

    /// Whether this node can make what it sends: a security event token names its issuer.
    pub fn can_issue(&self) -> bool {
        self.format != Format::Set || self.site.public_base_url.is_some()
    }

    /// `None`: the server has no address that a token could name.
    fn set_options(&self) -> Option<set::Options> {
        Some(set::Options {
            issuer: self.site.issuer(&self.tenant)?,
            audience: self.set.audience.clone(),
            families: self.set.families().to_vec(),
            subject: self.set.subject,
            own_types: self.set.own_types,
            schema_base_url: self.site.schema_base_url.clone(),
        })
    }
}

#[cfg(test)]
impl Shape {
    /// What an endpoint has that says nothing about its payloads, on an installation that is found somewhere.
    pub(crate) fn plain(tenant: &str) -> Self {
        Self {
            format: Format::Standard,
            set: SetSettings::default(),
            field_policy: FieldPolicy::default(),
            hash_key: HashKey::new([7; 32]),
            transform: None,
            encryption: Vec::new(),
            site: Arc::new(Site {
                public_base_url: Some("https://gatepost.acme.test".to_owned()),
                schema_base_url: Some("https://schemas.acme.test".to_owned()),
            }),
            tenant: tenant.into(),
        }
    }
}

#[cfg(test)]
mod tests;
