//! Which events an endpoint gets and what they look like, as flags: for `endpoints create`, `update` and `preview`.
//!
//! A flag that is not given changes nothing; each setting has a way to be taken back. The rules are the server's: what is checked here
//! is only what must not leave this machine.

use clap::ValueEnum;
use gatepost_client::v1::encryption::Key;
use gatepost_client::v1::field_policy::{Action, Rule};
use gatepost_client::v1::{Encryption, Endpoint, FieldPolicy, endpoint};

use super::failure::Failure;
use super::input;
use super::output::from_json;

/// What an endpoint gets, and how.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Events and payloads")]
pub(crate) struct Payload {
    /// Event type it gets, exact or a family such as `user.*`; may be repeated. None: every type.
    #[arg(long = "event-type", value_name = "TYPE")]
    event_types: Option<Vec<String>>,

    /// Only events for which this CEL expression is true, such as `data.user.department == "Sales"`; `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "CEL", conflicts_with = "no_filter")]
    filter: Option<String>,

    /// No filter.
    #[arg(long)]
    no_filter: bool,

    /// A receiver of hooks: it gets no event.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    hooks_only: Option<bool>,

    /// How events are rendered.
    #[arg(long, value_enum)]
    format: Option<Rendering>,

    /// Template that makes the body, MiniJinja; `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "no_transform")]
    transform: Option<String>,

    /// No template.
    #[arg(long)]
    no_transform: bool,

    /// Which members of `data` it gets, as JSON of a `FieldPolicy`; `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["omit", "hash", "keep", "omit_others"])]
    field_policy: Option<String>,

    /// Leave this member of `data` out, such as `/user/email`; may be repeated. All rules together replace the stored ones.
    #[arg(long, value_name = "POINTER")]
    omit: Vec<String>,

    /// Send a keyed hash in the place of this member of `data`; may be repeated.
    #[arg(long, value_name = "POINTER")]
    hash: Vec<String>,

    /// Send this member of `data` where a rule above it says otherwise; may be repeated.
    #[arg(long, value_name = "POINTER")]
    keep: Vec<String>,

    /// Leave out what no rule names.
    #[arg(long)]
    omit_others: bool,

    /// All of `data`.
    #[arg(long, conflicts_with_all = ["field_policy", "omit", "hash", "keep", "omit_others"])]
    no_field_policy: bool,

    /// Public key of the receiver that bodies are encrypted with, a JSON Web Key; `@FILE`. May be repeated, the newest last, which encrypts.
    #[arg(long = "encryption-key", value_name = "JWK", conflicts_with = "no_encryption")]
    encryption_keys: Vec<String>,

    /// Bodies as they are.
    #[arg(long)]
    no_encryption: bool,

    /// Who security event tokens are for, the `aud` claim; may be repeated. `--set-audience ""` for none.
    #[arg(long = "set-audience", value_name = "TEXT")]
    set_audience: Option<Vec<String>>,

    /// Family of security events to send; may be repeated. Where none is set: caep and risc.
    #[arg(long = "set-family", value_enum, value_name = "FAMILY")]
    set_families: Option<Vec<Family>>,

    /// How security event tokens name users.
    #[arg(long, value_enum, value_name = "HOW")]
    set_subject: Option<Subject>,

    /// Send also types that no standard security event exists for.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    set_own_types: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rendering {
    /// The envelope of Gatepost.
    Standard,
    /// CloudEvents 1.0: one JSON document.
    CloudeventsStructured,
    /// CloudEvents 1.0: attributes as headers.
    CloudeventsBinary,
    /// Signed security event tokens; needs --set-audience.
    Set,
    /// The activity log of Lumos, for SIEMs that read it.
    LumosSiem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Family {
    /// Continuous Access Evaluation Profile.
    Caep,
    /// Risk Incident Sharing and Coordination.
    Risc,
    /// SCIM events.
    Scim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// By issuer and id.
    IssSub,
    /// By e-mail address, where the event holds one.
    Email,
}

impl Payload {
    /// Sets what was given, and adds the names of those fields.
    ///
    /// # Errors
    /// A file cannot be read, a policy is no JSON of one, a key is private.
    pub(crate) fn apply(self, endpoint: &mut Endpoint, fields: &mut Vec<String>) -> Result<(), Failure> {
        let policy = self.policy()?;
        let mut given = |field: &str| fields.push(field.to_owned());
        if let Some(value) = self.event_types {
            endpoint.event_types = present(value);
            given("event_types");
        }
        if self.no_filter || self.filter.is_some() {
            endpoint.filter = self.filter.as_deref().map(input::text).transpose()?.unwrap_or_default();
            given("filter");
        }
        if let Some(value) = self.hooks_only {
            endpoint.hooks_only = value;
            given("hooks_only");
        }
        if let Some(value) = self.format {
            endpoint.format = value.code().into();
            given("format");
        }
        if self.no_transform || self.transform.is_some() {
            endpoint.transform = self.transform.as_deref().map(input::text).transpose()?.unwrap_or_default();
            given("transform");
        }
        if self.no_field_policy || policy.is_some() {
            endpoint.field_policy = policy;
            given("field_policy");
        }
        if self.no_encryption || !self.encryption_keys.is_empty() {
            let keys = self.encryption_keys.iter().map(|given| public_key(given)).collect::<Result<Vec<_>, _>>()?;
            endpoint.encryption = (!keys.is_empty()).then_some(Encryption { keys });
            given("encryption");
        }
        if let Some(value) = self.set_audience {
            endpoint.set_audience = present(value);
            given("set_audience");
        }
        if let Some(value) = self.set_families {
            endpoint.set_families = value.into_iter().map(|family| family.code().into()).collect();
            given("set_families");
        }
        if let Some(value) = self.set_subject {
            endpoint.set_subject = value.code().into();
            given("set_subject");
        }
        if let Some(value) = self.set_own_types {
            endpoint.set_own_types = value;
            given("set_own_types");
        }
        Ok(())
    }

    fn policy(&self) -> Result<Option<FieldPolicy>, Failure> {
        if let Some(given) = &self.field_policy {
            let wrong = |error| Failure::other("--field-policy is no JSON of a FieldPolicy", error);
            return from_json(&input::text(given)?).map(Some).map_err(wrong);
        }
        let rules = [(&self.omit, Action::Omit), (&self.hash, Action::Hash), (&self.keep, Action::Keep)];
        let rule = |pointer: &String, action: Action| Rule { pointer: pointer.clone(), action: action.into() };
        let rules: Vec<Rule> =
            rules.into_iter().flat_map(|(pointers, action)| pointers.iter().map(move |pointer| rule(pointer, action))).collect();
        let default_action = if self.omit_others { Action::Omit } else { Action::Keep }.into();
        Ok((self.omit_others || !rules.is_empty()).then_some(FieldPolicy { default_action, rules }))
    }
}

/// An empty text is how an update says: none.
fn present(texts: Vec<String>) -> Vec<String> {
    texts.into_iter().filter(|text| !text.is_empty()).collect()
}

/// A key to send. A private one stays here.
fn public_key(given: &str) -> Result<Key, Failure> {
    // Source: RFC 7518, section 6: what is private in keys of any kind.
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    let jwk = input::text(given)?;
    let members = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&jwk).unwrap_or_default();
    if PRIVATE.iter().any(|member| members.contains_key(*member)) {
        return Err(Failure::Usage("--encryption-key holds a private key: give its public half".to_owned()));
    }
    Ok(Key { jwk, ..Key::default() })
}

impl Rendering {
    fn code(self) -> endpoint::Format {
        match self {
            Self::Standard => endpoint::Format::Standard,
            Self::CloudeventsStructured => endpoint::Format::CloudeventsStructured,
            Self::CloudeventsBinary => endpoint::Format::CloudeventsBinary,
            Self::Set => endpoint::Format::Set,
            Self::LumosSiem => endpoint::Format::LumosSiem,
        }
    }
}

impl Family {
    fn code(self) -> endpoint::SetFamily {
        match self {
            Self::Caep => endpoint::SetFamily::Caep,
            Self::Risc => endpoint::SetFamily::Risc,
            Self::Scim => endpoint::SetFamily::Scim,
        }
    }
}

impl Subject {
    fn code(self) -> endpoint::SetSubject {
        match self {
            Self::IssSub => endpoint::SetSubject::IssSub,
            Self::Email => endpoint::SetSubject::Email,
        }
    }
}

#[cfg(test)]
mod tests;
