//! The life of a delivery, how an attempt ended, and what follows from it.
//!
//! [`conclude`] is the one place that turns an attempt's outcome into a next step; the dispatcher calls it and carries out what it
//! says. It reads no clock and draws no numbers. The numbers of [`State`] and [`AttemptClass`] are those of the contract's enums and of
//! the database rows: they never change meaning.

use std::time::Duration;

use super::Time;
use super::format::Format;
use super::format::set::answer;
use super::retry::{LONGEST_RETRY_AFTER, RetryPolicy};

/// Where a delivery stands. Held is not a state: it is how a waiting delivery of a paused or disabled endpoint is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum State {
    /// Waits for its first attempt.
    Pending = 1,
    /// At least one attempt failed, another is due.
    Retrying = 2,
    /// The receiver took it.
    Succeeded = 4,
    /// Attempts used up, or an answer that no repeat changes: a dead letter.
    Dead = 5,
    /// Withdrawn, or its endpoint was deleted.
    Cancelled = 6,
}

impl State {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Retrying, Self::Succeeded, Self::Dead, Self::Cancelled];

    /// Its number in rows and in the contract.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Reads a number that [`State::code`] wrote.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Whether nothing more is due: succeeded, dead or cancelled.
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Dead | Self::Cancelled)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum AttemptClass {
    /// A 2xx answer.
    Success = 1,
    /// A 3xx answer; redirects are never followed.
    Redirect = 2,
    /// A 4xx answer other than 408, 410 and 429.
    ClientError = 3,
    /// A 408 or 5xx answer.
    ServerError = 4,
    /// A 429 answer: the receiver wants less.
    Throttled = 5,
    /// A 410 answer: the receiver wants nothing more.
    Gone = 6,
    /// The host's name could not be resolved.
    Dns = 7,
    /// No connection, or it broke.
    Connect = 8,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls = 9,
    /// The whole answer was not there in time.
    Timeout = 10,
    /// The address policy refused to dial the host.
    AddressRefused = 11,
    /// The answer was not valid HTTP, or its headers were over the limit.
    Protocol = 12,
    /// Nothing was sent: there is no body to send before the endpoint's settings change.
    Unrenderable = 13,
}

impl AttemptClass {
    /// Every class, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Success,
        Self::Redirect,
        Self::ClientError,
        Self::ServerError,
        Self::Throttled,
        Self::Gone,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::AddressRefused,
        Self::Protocol,
        Self::Unrenderable,
    ];

    /// Its number in rows and in the contract; 0 there means that there was no attempt.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Reads a number that [`AttemptClass::code`] wrote.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.code() == code)
    }

    /// Its place in [`AttemptClass::ALL`].
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Redirect => "redirect",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Throttled => "throttled",
            Self::Gone => "gone",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::AddressRefused => "address_refused",
            Self::Protocol => "protocol",
            Self::Unrenderable => "unrenderable",
        }
    }
}

/// The class of an answer with this status.
pub const fn classify(status: u16) -> AttemptClass {
    match status {
        200..=299 => AttemptClass::Success,
        300..=399 => AttemptClass::Redirect,
        410 => AttemptClass::Gone,
        429 => AttemptClass::Throttled,
        408 | 500..=599 => AttemptClass::ServerError,
        400..=499 => AttemptClass::ClientError,
        // An answer outside the classes of HTTP, or a 101 that nobody asked for.
        _ => AttemptClass::Protocol,
    }
}

/// How one attempt ended, as far as the rules need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub class: AttemptClass,
    /// Status of the answer; `None` when there was none.
    pub status: Option<u16>,
    /// What the answer's `Retry-After` asks for, see [`super::retry::parse_retry_after`]. Heard on 429 and 503 only.
    pub retry_after: Option<Duration>,
    /// What the answer to a security event token says beyond its status; `None` with other formats.
    pub set_answer: Option<answer::Answer>,
}

impl Outcome {
    /// The outcome of an answer.
    pub const fn answered(status: u16, retry_after: Option<Duration>) -> Self {
        Self { class: classify(status), status: Some(status), retry_after, set_answer: None }
    }

    /// What an answer to a security event token says and its status does not.
    pub fn detail(&self) -> &'static str {
        match self.set_answer {
            Some(answer::Answer::AcceptedNonstandard) => "nonstandard_success",
            Some(answer::Answer::Permanent(refusal) | answer::Answer::Retry(Some(refusal)) | answer::Answer::Pause(refusal)) => {
                refusal.name()
            }
            Some(answer::Answer::Accepted | answer::Answer::Retry(None)) | None => "",
        }
    }

    /// With what an answer to a security event token says. A status that no standard knows as success is none.
    pub const fn heard(mut self, set_answer: Option<answer::Answer>) -> Self {
        if let (Some(answer::Answer::Retry(_)), AttemptClass::Success) = (&set_answer, self.class) {
            self.class = AttemptClass::Protocol;
        }
        self.set_answer = set_answer;
        self
    }

    /// The outcome of an attempt without an answer.
    pub const fn failed(class: AttemptClass) -> Self {
        Self { class, status: None, retry_after: None, set_answer: None }
    }
}

/// What an endpoint's settings say about failures.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// When to try again.
    pub retry: &'a RetryPolicy,
    /// Statuses from 400 to 499 that no repeat changes.
    pub permanent_statuses: &'a [u16],
    /// The format that was sent, which may give answers a meaning of its own.
    pub format: Format,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conclusion {
    /// What becomes of the delivery.
    pub next: Next,
    /// Nothing is sent to the endpoint before this time.
    pub hold_endpoint_until: Option<Time>,
    /// The receiver wants nothing more: the endpoint is disabled, its deliveries are kept and shown as held.
    pub disable_endpoint: bool,
    /// The receiver refuses this sender: the endpoint is paused, its deliveries are kept and shown as held.
    pub pause_endpoint: bool,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It has arrived.
    Succeeded,
    /// It is tried again.
    Retry {
        /// Not before this time.
        due: Time,
    },
    /// It is a dead letter.
    Dead,
}

impl Next {
    /// The state that the delivery moves to.
    pub const fn state(self) -> State {
        match self {
            Self::Succeeded => State::Succeeded,
            Self::Retry { .. } => State::Retrying,
            Self::Dead => State::Dead,
        }
    }
}

/// Decides what follows from an attempt.
///
/// `schedule_attempts`: attempts of this schedule, this one included; a retry by a person starts it anew. `jitter`: a uniform number
/// from 0 up to 1.
pub fn conclude(outcome: &Outcome, policy: &Policy<'_>, schedule_attempts: u32, now: Time, jitter: f64) -> Conclusion {
    let asked = match (outcome.class, outcome.status) {
        (AttemptClass::Throttled, _) | (AttemptClass::ServerError, Some(503)) => outcome.retry_after,
        _ => None,
    };
    let asked = asked.map(|wait| now.plus(wait.min(LONGEST_RETRY_AFTER)));
    let refused = matches!(outcome.set_answer, Some(answer::Answer::Pause(_)));
    let next = match outcome.class {
        AttemptClass::Success => Next::Succeeded,
        // Due at once, as only the disabled or paused endpoint holds it; its attempts may even be used up. Whoever enables or resumes the
        // endpoint finds its deliveries where they were.
        AttemptClass::Gone => Next::Retry { due: now },
        _ if refused => Next::Retry { due: now },
        AttemptClass::Unrenderable => Next::Dead,
        AttemptClass::ClientError if outcome.status.is_some_and(|status| is_permanent(status, policy)) => Next::Dead,
        _ if matches!(outcome.set_answer, Some(answer::Answer::Permanent(_))) => Next::Dead,
        _ => match policy.retry.wait_before(schedule_attempts, jitter) {
            // `Retry-After` is a floor that the receiver asked for, and so is the schedule.
            Some(wait) => Next::Retry { due: asked.unwrap_or(now).max(now.plus(wait)) },
            None => Next::Dead,
        },
    };
    Conclusion {
        next,
        hold_endpoint_until: asked.filter(|_| outcome.class == AttemptClass::Throttled),
        disable_endpoint: outcome.class == AttemptClass::Gone,
        pause_endpoint: refused,
    }
}

/// Source of 415: CloudEvents 1.0.2, "HTTP 1.1 Web Hooks for Event Delivery", section 2.2.
fn is_permanent(status: u16, policy: &Policy<'_>) -> bool {
    let cloudevents = matches!(policy.format, Format::CloudEventsStructured | Format::CloudEventsBinary);
    policy.permanent_statuses.contains(&status) || (cloudevents && status == 415)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_millis(1_000_000);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(seconds: u64) -> Time {
        NOW.plus(secs(seconds))
    }

    fn retry(seconds: u64) -> Next {
        Next::Retry { due: at(seconds) }
    }

    #[test]
    fn each_rule_has_its_conclusion() {
        use AttemptClass as C;
        let policy = RetryPolicy::Explicit { waits: vec![secs(10), secs(100)] };
        let rules = Policy { retry: &policy, permanent_statuses: &[404, 422], format: Format::Standard };
        let answered = |status: u16| Outcome::answered(status, None);
        let asked = |status: u16, after: u64| Outcome::answered(status, Some(secs(after)));
        // Rule, outcome, attempts, what follows, hold until, endpoint disabled.
        type Row = (&'static str, Outcome, u32, Next, Option<Time>, bool);
        let table: &[Row] = &[
            ("2xx succeeds", answered(200), 1, Next::Succeeded, None, false),
            ("… 202 too", answered(202), 1, Next::Succeeded, None, false),
            ("… 299 too, on the last attempt", answered(299), 3, Next::Succeeded, None, false),
            ("… Retry-After means nothing on it", asked(200, 50), 1, Next::Succeeded, None, false),
            ("3xx fails and is retried", answered(302), 1, retry(10), None, false),
            ("the second wait is the second one", answered(302), 2, retry(100), None, false),
            ("3xx used up is dead", answered(307), 3, Next::Dead, None, false),
            ("5xx is retried", answered(500), 1, retry(10), None, false),
            ("5xx used up is dead", answered(500), 3, Next::Dead, None, false),
            ("… also past the schedule", answered(500), 9, Next::Dead, None, false),
            ("408 is retried", answered(408), 1, retry(10), None, false),
            ("425 is retried", answered(425), 1, retry(10), None, false),
            ("other 4xx are retried", answered(400), 1, retry(10), None, false),
            ("401 is retried", answered(401), 2, retry(100), None, false),
            ("a permanent status is dead at once", answered(404), 1, Next::Dead, None, false),
            ("… each of them", answered(422), 1, Next::Dead, None, false),
            ("410 disables and is held, not dead", answered(410), 1, retry(0), None, true),
            ("… when used up too", answered(410), 3, retry(0), None, true),
            ("… Retry-After means nothing on it", asked(410, 50), 1, retry(0), None, true),
            ("429 without Retry-After is retried", answered(429), 1, retry(10), None, false),
            ("429 waits as long as asked and holds all", asked(429, 50), 1, retry(50), Some(at(50)), false),
            ("… but not less than the schedule", asked(429, 5), 1, retry(10), Some(at(5)), false),
            ("… at most a day", asked(429, 200_000), 1, retry(86_400), Some(at(86_400)), false),
            ("… and used up it is dead, still held", asked(429, 50), 3, Next::Dead, Some(at(50)), false),
            ("503 without Retry-After is retried", answered(503), 1, retry(10), None, false),
            ("503 waits as long as asked, alone", asked(503, 50), 1, retry(50), None, false),
            ("… but not less than the schedule", asked(503, 50), 2, retry(100), None, false),
            ("Retry-After on 500 is not heard", asked(500, 50), 1, retry(10), None, false),
            ("Retry-After on other 4xx is not heard", asked(403, 50), 1, retry(10), None, false),
            ("an answer outside HTTP is retried", answered(101), 1, retry(10), None, false),
            ("dns is retried", Outcome::failed(C::Dns), 1, retry(10), None, false),
            ("connect is retried", Outcome::failed(C::Connect), 1, retry(10), None, false),
            ("tls is retried", Outcome::failed(C::Tls), 1, retry(10), None, false),
            ("timeout is retried", Outcome::failed(C::Timeout), 2, retry(100), None, false),
            ("a refused address is retried", Outcome::failed(C::AddressRefused), 1, retry(10), None, false),
            ("a protocol error is retried", Outcome::failed(C::Protocol), 1, retry(10), None, false),
            ("a transport error used up is dead", Outcome::failed(C::Connect), 3, Next::Dead, None, false),
            ("what cannot be rendered is dead at once", Outcome::failed(C::Unrenderable), 1, Next::Dead, None, false),
        ];
        for (rule, outcome, attempts, next, hold_endpoint_until, disable_endpoint) in table.iter().copied() {
            let expected = Conclusion { next, hold_endpoint_until, disable_endpoint, pause_endpoint: false };
            assert_eq!(conclude(&outcome, &rules, attempts, NOW, 0.0), expected, "{rule}");
        }
    }

    #[test]
    fn formats_give_answers_a_meaning_of_their_own() {
        use answer::{Answer, Refusal as E};
        let retries = RetryPolicy::Explicit { waits: vec![secs(10)] };
        let rules = |format| Policy { retry: &retries, permanent_statuses: &[], format };
        for format in [Format::CloudEventsStructured, Format::CloudEventsBinary] {
            assert_eq!(conclude(&Outcome::answered(415, None), &rules(format), 1, NOW, 0.0).next, Next::Dead);
        }
        assert_eq!(conclude(&Outcome::answered(415, None), &rules(Format::Standard), 1, NOW, 0.0).next, retry(10));
        let answered = |answer| Outcome { set_answer: Some(answer), ..Outcome::answered(400, None) };
        for (answer, next, pause) in [
            (Answer::Permanent(E::InvalidRequest), Next::Dead, false),
            (Answer::Retry(Some(E::InvalidKey)), retry(10), false),
            (Answer::Retry(None), retry(10), false),
            (Answer::Pause(E::AccessDenied), retry(0), true),
        ] {
            let conclusion = conclude(&answered(answer), &rules(Format::Set), 1, NOW, 0.0);
            assert_eq!((conclusion.next, conclusion.pause_endpoint), (next, pause), "{answer:?}");
        }
        let used_up = conclude(&answered(Answer::Pause(E::AuthenticationFailed)), &rules(Format::Set), 2, NOW, 0.0);
        assert_eq!((used_up.next, used_up.pause_endpoint), (retry(0), true), "kept although its attempts are used up");
    }

    #[test]
    fn jitter_moves_the_schedule_and_not_what_the_receiver_asked() {
        let policy = RetryPolicy::Explicit { waits: vec![secs(10)] };
        let rules = Policy { retry: &policy, permanent_statuses: &[], format: Format::Standard };
        assert_eq!(conclude(&Outcome::answered(500, None), &rules, 1, NOW, 0.5).next, retry(11));
        assert_eq!(conclude(&Outcome::answered(503, Some(secs(60))), &rules, 1, NOW, 0.9).next, retry(60));
    }

    #[test]
    fn codes_read_back_and_are_those_of_the_contract() {
        use gatepost_client::v1;
        for state in State::ALL {
            assert_eq!(State::from_code(state.code()), Some(state));
            let name = v1::delivery::State::try_from(i32::from(state.code())).unwrap().as_str_name();
            assert_eq!(name, format!("STATE_{state:?}").to_uppercase());
        }
        for class in AttemptClass::ALL {
            assert_eq!(AttemptClass::from_code(class.code()), Some(class));
            let name = v1::AttemptClass::try_from(i32::from(class.code())).unwrap().as_str_name();
            assert_eq!(name.replace("ATTEMPT_CLASS_", "").replace('_', ""), format!("{class:?}").to_uppercase());
        }
        assert_eq!((State::from_code(3), State::from_code(0), AttemptClass::from_code(0)), (None, None, None));
    }
}
