//! Who is calling and what it may do: scopes, API keys and their text.
//!
//! A scope is a verb or a tenant bound. Nothing is granted by default: a key without verbs opens only what needs none, and a key that is
//! bound to no tenant sees none. Unknown scopes are refused when a key is made, never ignored.

use std::collections::BTreeSet;
use std::fmt;

use secrecy::SecretString;

use super::id;

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// `admin`: tenants and API keys. Includes every other verb.
    Admin,
    /// `publish`.
    Publish,
    /// `deliveries.read`: events too.
    DeliveriesRead,
    /// `deliveries.write`: retry and cancel.
    DeliveriesWrite,
    /// `endpoints.read`.
    EndpointsRead,
    /// `endpoints.write`.
    EndpointsWrite,
    /// `secrets.reveal`.
    SecretsReveal,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 7] = [
        Self::Admin,
        Self::Publish,
        Self::DeliveriesRead,
        Self::DeliveriesWrite,
        Self::EndpointsRead,
        Self::EndpointsWrite,
        Self::SecretsReveal,
    ];

    /// As scopes spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Publish => "publish",
            Self::DeliveriesRead => "deliveries.read",
            Self::DeliveriesWrite => "deliveries.write",
            Self::EndpointsRead => "endpoints.read",
            Self::EndpointsWrite => "endpoints.write",
            Self::SecretsReveal => "secrets.reveal",
        }
    }
}

/// One scope of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// What it may do.
    Verb(Verb),
    /// `tenants:{id}`: where.
    Tenant(String),
    /// `tenants:*`: everywhere.
    AllTenants,
}

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no scope is written `{0}`; they are admin, publish, deliveries.read, deliveries.write, endpoints.read, endpoints.write, secrets.reveal, tenants:{{id}} and tenants:*"
)]
pub struct UnknownScope(pub String);

impl Scope {
    /// Reads one scope.
    ///
    /// # Errors
    /// [`UnknownScope`]: it is none of them.
    pub fn parse(text: &str) -> Result<Self, UnknownScope> {
        if let Some(verb) = Verb::ALL.into_iter().find(|verb| verb.as_str() == text) {
            return Ok(Self::Verb(verb));
        }
        match text.strip_prefix("tenants:") {
            Some("*") => Ok(Self::AllTenants),
            Some(tenant) if id::is_resource_id(tenant) => Ok(Self::Tenant(tenant.to_owned())),
            _ => Err(UnknownScope(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verb(verb) => f.write_str(verb.as_str()),
            Self::Tenant(tenant) => write!(f, "tenants:{tenant}"),
            Self::AllTenants => f.write_str("tenants:*"),
        }
    }
}

/// Who is calling: an API key that was found, neither revoked nor expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    key_id: String,
    verbs: BTreeSet<Verb>,
    tenants: Tenants,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tenants {
    All,
    Some(BTreeSet<String>),
}

impl Caller {
    /// The caller that a key with these scopes is.
    pub fn new(key_id: impl Into<String>, scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut caller = Self { key_id: key_id.into(), verbs: BTreeSet::new(), tenants: Tenants::Some(BTreeSet::new()) };
        for scope in scopes {
            match (scope, &mut caller.tenants) {
                (Scope::Verb(verb), _) => drop(caller.verbs.insert(verb)),
                (Scope::AllTenants, tenants) => *tenants = Tenants::All,
                (Scope::Tenant(tenant), Tenants::Some(tenants)) => drop(tenants.insert(tenant)),
                (Scope::Tenant(_), Tenants::All) => {}
            }
        }
        caller
    }

    /// Id of its API key, `key_…`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Whether it may do this; where is [`Caller::sees`].
    pub fn may(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb) || self.verbs.contains(&Verb::Admin)
    }

    /// Whether it may know of this tenant.
    pub fn sees(&self, tenant: &str) -> bool {
        match &self.tenants {
            Tenants::All => true,
            Tenants::Some(tenants) => tenants.contains(tenant),
        }
    }

    /// The tenants it is bound to, in order; `None`: all.
    pub fn tenants(&self) -> Option<impl Iterator<Item = &str>> {
        match &self.tenants {
            Tenants::All => None,
            Tenants::Some(tenants) => Some(tenants.iter().map(String::as_str)),
        }
    }

    /// Whether these scopes allow no more than its own: what a key may give to a key it makes, and which keys it may see.
    pub fn covers<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope>) -> bool {
        scopes.into_iter().all(|scope| match scope {
            Scope::Verb(verb) => self.may(*verb),
            Scope::Tenant(tenant) => self.sees(tenant),
            Scope::AllTenants => self.tenants == Tenants::All,
        })
    }
}

/// The text of an API key, `gp_{key id}_{secret}`, taken apart.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// `key_…`, which names its row.
    pub key_id: String,
    /// What its row holds a keyed hash of.
    pub secret: SecretString,
}

impl ApiKey {
    /// A new key from a UUIDv7 and 32 random bytes.
    pub fn generate(uuid: uuid::Uuid, random: &[u8; 32]) -> Self {
        let mut secret = String::with_capacity(SECRET_LETTERS);
        id::encode(random, &mut secret);
        Self { key_id: id::make(id::Kind::ApiKey, uuid), secret: secret.into() }
    }

    /// Reads a key's text; `None` when it is none. What it opens is in its row.
    pub fn parse(text: &str) -> Option<Self> {
        let (key_id, secret) = text.strip_prefix("gp_")?.rsplit_once('_')?;
        let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let id = key_id.strip_prefix("key_")?;
        (is_word(id) && (1..=32).contains(&id.len()) && is_word(secret) && secret.len() == SECRET_LETTERS)
            .then(|| Self { key_id: key_id.to_owned(), secret: secret.into() })
    }

    /// The text to hand out, once.
    pub fn text(&self) -> SecretString {
        use secrecy::ExposeSecret;
        format!("gp_{}_{}", self.key_id, self.secret.expose_secret()).into()
    }
}

/// 256 bits in base32.
const SECRET_LETTERS: usize = 52;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    fn scopes(texts: &[&str]) -> Vec<Scope> {
        texts.iter().map(|text| Scope::parse(text).unwrap()).collect()
    }

    fn caller(texts: &[&str]) -> Caller {
        Caller::new("key_1", scopes(texts))
    }

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for text in Verb::ALL.map(Verb::as_str).into_iter().chain(["tenants:acme", "tenants:*"]) {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "Admin", "admin ", "tenants:", "tenants:-a", "tenants:a/b", "hooks.read", "tenants:**"] {
            assert_eq!(Scope::parse(text), Err(UnknownScope(text.to_owned())));
        }
    }

    #[test]
    fn a_missing_scope_denies() {
        let none = caller(&[]);
        assert!(Verb::ALL.iter().all(|verb| !none.may(*verb)) && !none.sees("acme"));
        let publisher = caller(&["publish", "tenants:acme"]);
        assert!(publisher.may(Verb::Publish) && !publisher.may(Verb::DeliveriesRead) && !publisher.may(Verb::Admin));
        assert!(publisher.sees("acme") && !publisher.sees("other"));
    }

    #[test]
    fn admin_includes_every_verb_and_no_tenant() {
        let admin = caller(&["admin"]);
        assert!(Verb::ALL.iter().all(|verb| admin.may(*verb)) && !admin.sees("acme"));
        let all = caller(&["tenants:acme", "tenants:*"]);
        assert!(all.sees("acme") && all.sees("other") && all.tenants().is_none());
    }

    #[test]
    fn a_key_covers_only_what_it_may_do_itself() {
        let bound = caller(&["admin", "tenants:acme", "tenants:beta"]);
        assert!(bound.covers(&scopes(&["publish", "admin", "tenants:beta"])));
        assert!(!bound.covers(&scopes(&["publish", "tenants:*"])));
        assert!(!bound.covers(&scopes(&["tenants:other"])));
        assert!(!caller(&["publish", "tenants:*"]).covers(&scopes(&["endpoints.read"])));
        assert_eq!(bound.tenants().unwrap().collect::<Vec<_>>(), ["acme", "beta"]);
    }

    #[test]
    fn a_generated_key_is_read_back_and_not_printed() {
        let key = ApiKey::generate(uuid::Uuid::from_u128(77), &[200; 32]);
        let text = key.text();
        let read = ApiKey::parse(text.expose_secret()).unwrap();
        assert_eq!((&read.key_id, read.secret.expose_secret()), (&key.key_id, key.secret.expose_secret()));
        assert!(!format!("{read:?}").contains(key.secret.expose_secret()));
        for wrong in ["", "gp_", "gp_key_", "gp_key_1_short", &text.expose_secret().to_uppercase(), &text.expose_secret()[3..]] {
            assert!(ApiKey::parse(wrong).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(gp_)?(key_)?.*") {
            let _ = (ApiKey::parse(&text), Scope::parse(&text));
        }
    }
}
