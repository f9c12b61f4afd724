//! When a failed delivery is tried again: the schedule of an endpoint, its jitter, and what `Retry-After` asks for.
//!
//! Called by [`super::delivery::conclude`] and by the API when it reads an endpoint. Jitter is an argument, never drawn here, and only
//! adds: a wait is a floor. Times come in as values.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Time;

/// The schedule of an endpoint that names none: 11 attempts over about two days.
const DEFAULT_WAITS_SECS: [u64; 10] = [5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400];

/// The most that a receiver may put an endpoint off with one `Retry-After`.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Jitter adds up to this share of a wait.
const JITTER: f64 = 0.2;

/// When and how often a failed delivery is tried again. Stored as JSON in the endpoint's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryPolicy {
    /// The waits one by one: at most 50, each from 1 s to 7 days. Empty: one attempt, no retry.
    Explicit {
        /// The wait before each further attempt.
        #[serde(rename = "waits_ms", with = "millis_list")]
        waits: Vec<Duration>,
    },
    /// Waits that grow by a factor: 5 s, 2, 60 s gives 5, 10, 20, 40, 60, 60 s and so on.
    Exponential {
        /// The first wait, 1 s to 1 day.
        #[serde(rename = "initial_ms", with = "millis")]
        initial: Duration,
        /// From 1 to 10.
        factor: f64,
        /// The longest wait, `initial` to 7 days.
        #[serde(rename = "max_ms", with = "millis")]
        max: Duration,
        /// Attempts in all, 1 to 50.
        max_attempts: u32,
    },
}

/// A bound that a policy breaks; `Display` is for the caller who chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyViolation {
    /// More than 50 waits.
    #[error("must hold at most 50 waits")]
    TooManyWaits,
    /// `waits[index]` is out of bounds.
    #[error("wait {index} must be 1 s to 7 days")]
    Wait {
        /// Which one, from 0.
        index: usize,
    },
    /// The first wait is out of bounds.
    #[error("initial must be 1 s to 1 day")]
    Initial,
    /// The factor is out of bounds or no number.
    #[error("factor must be 1 to 10")]
    Factor,
    /// The longest wait is out of bounds.
    #[error("max must be between initial and 7 days")]
    Max,
    /// Too few or too many attempts.
    #[error("max_attempts must be 1 to 50")]
    MaxAttempts,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::Explicit { waits: DEFAULT_WAITS_SECS.map(Duration::from_secs).to_vec() }
    }
}

impl RetryPolicy {
    /// The wait between an attempt that failed and the next one; `None` when the schedule is used up.
    ///
    /// `attempts_made`: attempts since the schedule began, the failed one included; before the first there is no wait. `jitter`: a
    /// uniform number from 0 up to 1, which adds 0 to 20 % and never shortens.
    pub fn wait_before(&self, attempts_made: u32, jitter: f64) -> Option<Duration> {
        let Some(step) = attempts_made.checked_sub(1) else {
            return Some(Duration::ZERO);
        };
        let wait = match self {
            Self::Explicit { waits } => *waits.get(usize::try_from(step).ok()?)?,
            Self::Exponential { initial, factor, max, max_attempts } => {
                if attempts_made >= *max_attempts {
                    return None;
                }
                let grown = initial.as_secs_f64() * factor.powi(i32::try_from(step).unwrap_or(i32::MAX));
                // Not a number and infinite are above every cap. The comparison is of numbers, as `Duration` cannot hold them all.
                if grown < max.as_secs_f64() { Duration::from_secs_f64(grown.max(0.0)) } else { *max }
            }
        };
        // Jitter stands above the cap too, or endpoints would be met by herds once their waits have reached it.
        Some(wait.saturating_add(wait.mul_f64(JITTER * jitter.clamp(0.0, 1.0))))
    }

    /// Attempts in all while every one fails.
    pub fn max_attempts(&self) -> u32 {
        match self {
            Self::Explicit { waits } => u32::try_from(waits.len()).unwrap_or(u32::MAX).saturating_add(1),
            Self::Exponential { max_attempts, .. } => *max_attempts,
        }
    }

    /// Every bound that this policy breaks; none means that it may be stored.
    pub fn violations(&self) -> Vec<PolicyViolation> {
        const SECOND: Duration = Duration::from_secs(1);
        const DAY: Duration = Duration::from_secs(86_400);
        let week = DAY * 7;
        let mut found = Vec::new();
        match self {
            Self::Explicit { waits } => {
                if waits.len() > 50 {
                    found.push(PolicyViolation::TooManyWaits);
                }
                let odd = waits.iter().take(50).enumerate().filter(|(_, wait)| !(SECOND..=week).contains(*wait));
                found.extend(odd.map(|(index, _)| PolicyViolation::Wait { index }));
            }
            Self::Exponential { initial, factor, max, max_attempts } => {
                let checks = [
                    ((SECOND..=DAY).contains(initial), PolicyViolation::Initial),
                    ((1.0..=10.0).contains(factor), PolicyViolation::Factor),
                    (max >= initial && *max <= week, PolicyViolation::Max),
                    ((1..=50).contains(max_attempts), PolicyViolation::MaxAttempts),
                ];
                found.extend(checks.into_iter().filter(|(holds, _)| !holds).map(|(_, violation)| violation));
            }
        }
        found
    }
}

/// How long a receiver asks to wait, at most 24 h; `None` for what is neither seconds nor an HTTP date.
///
/// A date that has passed is no wait. Source: RFC 9110, sections 10.2.3 and 5.6.7 (all three date forms).
pub fn parse_retry_after(value: &str, now: Time) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long wait, not garbage.
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    let millis = match then.duration_since(std::time::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(_) => 0,
    };
    Some(Time::from_millis(millis).since(now).min(LONGEST_RETRY_AFTER))
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

mod millis_list {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(durations: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(durations.iter().map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        Ok(Vec::<u64>::deserialize(deserializer)?.into_iter().map(Duration::from_millis).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Time = Time::from_millis(1_795_597_200_000); // Wed, 25 Nov 2026 09:00:00 GMT

    fn exponential(initial: u64, factor: f64, max: u64, max_attempts: u32) -> RetryPolicy {
        let (initial, max) = (Duration::from_secs(initial), Duration::from_secs(max));
        RetryPolicy::Exponential { initial, factor, max, max_attempts }
    }

    fn waits(policy: &RetryPolicy) -> Vec<u64> {
        (1..).map_while(|made| policy.wait_before(made, 0.0)).map(|wait| wait.as_secs()).collect()
    }

    #[test]
    fn the_default_schedule_makes_eleven_attempts() {
        assert_eq!(waits(&RetryPolicy::default()), DEFAULT_WAITS_SECS);
        assert_eq!(RetryPolicy::default().max_attempts(), 11);
    }

    #[test]
    fn exponential_waits_grow_to_their_cap() {
        assert_eq!(waits(&exponential(5, 2.0, 60, 8)), [5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(waits(&exponential(5, 1.0, 60, 3)), [5, 5]);
        assert_eq!(waits(&exponential(5, 2.0, 60, 1)), [0u64; 0]);
    }

    #[test]
    fn a_policy_without_waits_makes_one_attempt() {
        let once = RetryPolicy::Explicit { waits: Vec::new() };
        assert_eq!(once.wait_before(0, 0.9), Some(Duration::ZERO));
        assert_eq!(once.wait_before(1, 0.0), None);
    }

    #[test]
    fn a_policy_names_every_bound_it_breaks() {
        use PolicyViolation::*;
        assert_eq!(RetryPolicy::default().violations(), []);
        assert_eq!(exponential(0, 0.5, 60, 0).violations(), [Initial, Factor, MaxAttempts]);
        assert_eq!(exponential(10, f64::NAN, 5, 51).violations(), [Factor, Max, MaxAttempts]);
        assert_eq!(exponential(86_400, 10.0, 7 * 86_400, 50).violations(), []);
        let mut long = vec![Duration::from_secs(1); 51];
        long[3] = Duration::from_millis(999);
        assert_eq!(RetryPolicy::Explicit { waits: long }.violations(), [TooManyWaits, Wait { index: 3 }]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_garbage_is_ignored() {
        let day = LONGEST_RETRY_AFTER.as_secs();
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7\t", Some(7)),
            ("86401", Some(day)),
            ("99999999999999999999999999", Some(day)),
            ("Wed, 25 Nov 2026 09:01:30 GMT", Some(90)),
            ("Wednesday, 25-Nov-26 09:01:30 GMT", Some(90)),
            ("Wed Nov 25 09:01:30 2026", Some(90)),
            ("Wed, 25 Nov 2026 08:00:00 GMT", Some(0)),
            ("Fri, 25 Dec 2026 09:00:00 GMT", Some(day)),
            ("", None),
            (" ", None),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("1e3", None),
            ("soon", None),
            ("2026-11-25T09:01:30Z", None),
            ("٣", None),
        ] {
            assert_eq!(parse_retry_after(value, NOW), seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn a_policy_is_stored_as_json_and_read_back() {
        let policy = exponential(5, 1.5, 60, 4);
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(json, r#"{"exponential":{"initial_ms":5000,"factor":1.5,"max_ms":60000,"max_attempts":4}}"#);
        assert_eq!(serde_json::from_str::<RetryPolicy>(&json).unwrap(), policy);
        let policy = RetryPolicy::Explicit { waits: vec![Duration::from_millis(1_500)] };
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(json, r#"{"explicit":{"waits_ms":[1500]}}"#);
        assert_eq!(serde_json::from_str::<RetryPolicy>(&json).unwrap(), policy);
    }

    fn any_policy() -> impl Strategy<Value = RetryPolicy> {
        prop_oneof![
            proptest::collection::vec(1u64..=604_800, 0..=50)
                .prop_map(|waits| RetryPolicy::Explicit { waits: waits.into_iter().map(Duration::from_secs).collect() }),
            (1u64..=86_400, 1.0f64..=10.0, 0u64..=518_400, 1u32..=50).prop_map(|(initial, factor, above, attempts)| exponential(
                initial,
                factor,
                initial + above,
                attempts
            )),
        ]
    }

    proptest! {
        #[test]
        fn jitter_adds_at_most_a_fifth_and_never_shortens(policy in any_policy(), made in 1u32..60, jitter in 0.0f64..1.0) {
            prop_assert_eq!(policy.violations(), []);
            match (policy.wait_before(made, 0.0), policy.wait_before(made, jitter)) {
                (Some(bare), Some(wait)) => {
                    prop_assert!(wait >= bare && wait <= bare.mul_f64(1.2) + Duration::from_nanos(1));
                    prop_assert!(bare <= Duration::from_secs(604_800) && made < policy.max_attempts());
                }
                (None, None) => prop_assert!(made >= policy.max_attempts()),
                (bare, wait) => prop_assert!(false, "jitter decided about {bare:?} and {wait:?}"),
            }
        }

        #[test]
        fn exponential_waits_never_shrink(initial in 1u64..=86_400, factor in 1.0f64..=10.0, above in 0u64..=518_400) {
            let policy = exponential(initial, factor, initial + above, 50);
            let waits = waits(&policy);
            prop_assert!(waits.len() == 49 && waits.is_sorted());
        }

        #[test]
        fn any_stored_policy_gives_a_wait_without_a_panic(initial in any::<u64>(), factor in any::<f64>(), max in any::<u64>(),
            attempts in any::<u32>(), made in any::<u32>(), jitter in any::<f64>()) {
            let _ = exponential(initial / 2, factor, max / 2, attempts).wait_before(made, jitter);
        }

        #[test]
        fn any_retry_after_is_at_most_a_day(value in ".*", now in any::<i64>()) {
            prop_assert!(parse_retry_after(&value, Time::from_millis(now)).is_none_or(|wait| wait <= LONGEST_RETRY_AFTER));
        }
    }
}
