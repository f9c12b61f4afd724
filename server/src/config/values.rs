//! Values that need more than their type: the database's URL, lists that may be one text, durations and secrets.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::value::{SeqAccessDeserializer, SeqDeserializer};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::domain::caller::ApiKey;
use crate::domain::secret::KeyRing;

/// Which database a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Embedded, one node.
    Sqlite,
    /// Shared by several nodes.
    Postgres,
}

impl Backend {
    /// `sqlite` or `postgres`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// An address that paths are added to: `http` or `https`, a host, no query, no fragment, no user info, no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// The address, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of a server that answers here without TLS.
    pub fn plain(address: SocketAddr) -> Self {
        Self(format!("http://{address}"))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let url = url::Url::parse(text).map_err(|_| "is not a URL such as `https://gatepost.example.com`")?;
        let plain = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.fragment().is_none();
        if !plain || !url.username().is_empty() || url.password().is_some() {
            return Err("must be an `https` or `http` URL without user info, query or fragment");
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(Error::custom)
    }
}

/// The URL of a database. `Debug` and `Display` leave out everything that may hold a password.
#[derive(Clone)]
pub struct DatabaseUrl {
    url: SecretString,
    backend: Backend,
}

impl DatabaseUrl {
    /// Reads `sqlite://{path}`, `sqlite::memory:`, `postgres://…` or `postgresql://…`. The error does not repeat the text.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let backend = if text.starts_with("sqlite:") {
            Backend::Sqlite
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            url::Url::parse(text).map_err(|_| "is not a valid URL")?;
            Backend::Postgres
        } else {
            return Err("is neither `sqlite://{path}` nor `postgres://{user}@{host}/{database}`");
        };
        Ok(Self { url: text.into(), backend })
    }

    /// Which database it names.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The URL itself, for the store alone.
    pub fn expose(&self) -> &str {
        self.url.expose_secret()
    }

    /// The file of an SQLite database; `None` for one in memory and for PostgreSQL.
    pub fn sqlite_path(&self) -> Option<&Path> {
        let rest = self.expose().strip_prefix("sqlite:")?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let in_memory = path.is_empty() || path == ":memory:" || parameters.contains("mode=memory");
        (!in_memory).then(|| Path::new(path))
    }
}

impl Default for DatabaseUrl {
    fn default() -> Self {
        Self { url: "sqlite://gatepost.db".into(), backend: Backend::Sqlite }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.backend {
            Backend::Sqlite => f.write_str(self.expose().split('?').next().unwrap_or("sqlite:")),
            // Only what can hold no password: it may stand in the query, too.
            Backend::Postgres => match url::Url::parse(self.expose()) {
                Ok(url) => write!(f, "postgres://{}{}", url.host_str().unwrap_or_default(), url.path()),
                Err(_) => f.write_str("postgres://…"),
            },
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The key ring; its errors hold no part of a key.
pub(super) fn key_ring<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KeyRing>, D::Error> {
    KeyRing::parse(&secret(deserializer)?).map(Some).map_err(D::Error::custom)
}

/// An API key's text.
pub(super) fn api_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ApiKey>, D::Error> {
    let key = ApiKey::parse(secret(deserializer)?.trim());
    key.map(Some).ok_or_else(|| D::Error::custom("is not an API key, `gp_{id}_{secret}`"))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<zeroize::Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Into::into)
}

/// Text such as `25s` or `1m 30s`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text with units, such as `25s`")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text).map_err(|_| E::custom("is not a duration such as `25s` or `1m 30s`"))
        }
    }
    deserializer.deserialize_str(Text)
}

/// A list, or one text with commas, as an environment variable or a flag holds it.
pub(super) fn list<'de, D, L>(deserializer: D) -> Result<L, D::Error>
where
    D: Deserializer<'de>,
    L: Deserialize<'de>,
{
    struct Items<L>(PhantomData<L>);
    impl<'de, L: Deserialize<'de>> Visitor<'de> for Items<L> {
        type Value = L;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<L, A::Error> {
            L::deserialize(SeqAccessDeserializer::new(items))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<L, E> {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Item);
            L::deserialize(SeqDeserializer::new(items))
        }

        fn visit_u64<E: Error>(self, item: u64) -> Result<L, E> {
            L::deserialize(SeqDeserializer::new(std::iter::once(item)))
        }
    }
    deserializer.deserialize_any(Items(PhantomData))
}

/// One item of a text: a number where it reads as one, else a text.
struct Item<'a>(&'a str);

impl<'de, 'a, E: Error> serde::de::IntoDeserializer<'de, E> for Item<'a> {
    type Deserializer = ItemDeserializer<'a, E>;

    fn into_deserializer(self) -> Self::Deserializer {
        ItemDeserializer(self.0, PhantomData)
    }
}

struct ItemDeserializer<'a, E>(&'a str, PhantomData<E>);

impl<'de, E: Error> Deserializer<'de> for ItemDeserializer<'_, E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match self.0.parse() {
            Ok(number) => visitor.visit_u64(number),
            Err(_) => visitor.visit_str(self.0),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, E> {
        visitor.visit_enum(serde::de::value::StrDeserializer::new(self.0))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}
