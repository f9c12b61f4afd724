//! Event type names and the patterns by which an endpoint chooses among them.
//!
//! Called when an event is published (the name), when an endpoint is written (its patterns) and for each event when its endpoints are
//! matched, so matching allocates nothing.

use std::fmt;

/// The longest event type name, in bytes.
pub const LONGEST_TYPE: usize = 128;

/// First segments that an endpoint must name to get: they are about Gatepost itself.
const ABOUT_GATEPOST: [&str; 3] = ["hook", "binding", "webhook"];

/// Whether this is an event type name: 2 to 6 segments of `[a-z0-9_]` joined by `.`, at most 128 characters.
pub fn is_event_type(name: &str) -> bool {
    name.len() <= LONGEST_TYPE && (2..=6).contains(&name.split('.').count()) && name.split('.').all(is_segment)
}

/// Whether an endpoint that chooses nothing gets this type: every one except `hook.*`, `binding.*` and `webhook.*`.
pub fn is_sent_unasked(event_type: &str) -> bool {
    !ABOUT_GATEPOST.iter().any(|first| event_type.strip_prefix(first).is_some_and(|rest| rest.starts_with('.')))
}

fn is_segment(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// One event type, or a whole family of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TypePattern {
    /// `user.terminated`: that type alone.
    Exact(Box<str>),
    /// `user.*`: every type below. Holds the prefix with its dot, `user.`.
    Family(Box<str>),
}

/// A text is neither an event type name nor a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an event type such as `user.terminated` or a family such as `user.*`")]
pub struct PatternError;

impl TypePattern {
    /// Reads `user.terminated` or `user.*`; a family's prefix has 1 to 5 segments.
    ///
    /// # Errors
    /// [`PatternError`]: it is neither.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if is_event_type(text) {
            return Ok(Self::Exact(text.into()));
        }
        let prefix = text.strip_suffix('*').ok_or(PatternError)?;
        let family = prefix.strip_suffix('.').ok_or(PatternError)?;
        let holds = text.len() <= LONGEST_TYPE && family.split('.').count() <= 5 && family.split('.').all(is_segment);
        if holds { Ok(Self::Family(prefix.into())) } else { Err(PatternError) }
    }

    /// Whether it means this type.
    pub fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *event_type,
            Self::Family(prefix) => event_type.starts_with(&**prefix),
        }
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Family(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_have_two_to_six_plain_segments() {
        for name in ["user.created", "a.b", "access.manual_task_created", "x1.2.3.4.5.6", &format!("a.{}", "b".repeat(126))] {
            assert!(is_event_type(name), "{name}");
        }
        for name in
            ["", "user", "user.", ".user", "a..b", "User.created", "user.Created", "user-x.created", "a.b.c.d.e.f.g", "user.*"]
        {
            assert!(!is_event_type(name), "{name}");
        }
        assert!(
            !is_event_type(&format!("a.{}", "b".repeat(127))) && !is_event_type("usér.created") && !is_event_type("user.created ")
        );
    }

    #[test]
    fn a_pattern_means_one_type_or_a_family() {
        for (pattern, event_type, matches) in [
            ("user.terminated", "user.terminated", true),
            ("user.terminated", "user.terminated.again", false),
            ("user.*", "user.terminated", true),
            ("user.*", "user.profile.changed", true),
            ("user.*", "users.created", false),
            ("user.*", "user", false),
            ("user.profile.*", "user.profile.changed", true),
            ("user.profile.*", "user.created", false),
        ] {
            assert_eq!(TypePattern::parse(pattern).unwrap().matches(event_type), matches, "{pattern} {event_type}");
        }
    }

    #[test]
    fn a_text_that_is_no_pattern_is_refused() {
        for text in ["", "*", ".*", "user", "user*", "*.created", "user.*.x", "User.*", "a.b.c.d.e.f.*", "user.**", "a..*"] {
            assert_eq!(TypePattern::parse(text), Err(PatternError), "{text}");
        }
    }

    #[test]
    fn what_is_about_gatepost_must_be_named() {
        assert!(is_sent_unasked("user.created") && is_sent_unasked("hooks.created") && is_sent_unasked("webhooks.x"));
        assert!(
            !is_sent_unasked("hook.updated") && !is_sent_unasked("binding.updated") && !is_sent_unasked("webhook.verification")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic_and_written_back(text in "[a-z._*]{0,20}|.*") {
            if let Ok(pattern) = TypePattern::parse(&text) {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
