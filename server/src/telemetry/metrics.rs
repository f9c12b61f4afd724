//! Metrics: everything that the process counts and measures, in one typed struct that is handed down.
//!
//! Rooms add to a field; `http` shows them all as OpenMetrics. A field is a handle to atomics that was resolved before: the hot path
//! looks up no name and makes no label. No label names a tenant, an endpoint or a key: those figures come from the API, and the number
//! of series must not grow with what callers make.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabelKey, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::delivery::{AttemptClass, State};

/// What OpenMetrics is served as.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted and measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Events accepted by this node, repeats not counted.
    pub events_published: Counter,
    /// Filters of endpoints that failed, each for one event.
    pub filters_failed: Counter,
    /// Deliveries that ended here.
    deliveries: Slots<Labels<1>, Counter, 3>,
    /// Attempts whose outcome was recorded here.
    attempts: Slots<Labels<2>, Counter, { 3 * CLASSES }>,
    latency: Slots<Labels<1>, Histogram, 2>,
    /// Outcomes that were dropped, as somebody else had the delivery by then.
    pub leases_lost: Counter,
    failed_authentications: Slots<Labels<1>, Counter, 2>,
    rpcs: Family<Labels<2>, Histogram, Buckets>,
    requests: Slots<Labels<3>, Histogram, { STATUSES + CLASSES }>,
}

/// What is not counted as it happens, but found out when somebody looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Panics that were caught.
    pub task_panics: u64,
    /// Open watches.
    pub watchers: usize,
    /// The backlog; `None`: the database did not tell.
    pub queue: Option<Queue>,
}

/// What waits in the database, for all nodes together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Queue {
    /// Deliveries that wait for their first attempt.
    pub pending: i64,
    /// Those that wait for a further one.
    pub retrying: i64,
    /// Dead letters.
    pub dead: i64,
    /// Age of the oldest event with an unfinished delivery of an active endpoint; zero: there is none.
    pub oldest_age: Duration,
}

/// Why a caller was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// No valid key.
    Invalid,
    /// No valid key, and too many such calls of its peer before.
    Limited,
}

/// How calls of one RPC end and how long they take.
#[derive(Debug)]
pub struct Rpc(Slots<Labels<2>, Histogram, { CODES.len() }>);

const CLASSES: usize = AttemptClass::ALL.len();
/// Statuses from 100 on.
const STATUSES: usize = 500;
/// Canonical codes in the order of their numbers.
const UNKNOWN: usize = 2;
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Source: OpenTelemetry semantic conventions, `rpc.server.call.duration` and `http.client.request.duration`.
const CALL: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// From a delivery that goes out at once to one that is sent again for a day.
const LATENCY: &[f64] = &[
    0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0,
];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let build = Info::new(Labels([("version", env!("CARGO_PKG_VERSION").into())]));
        registry.register("gatepost_build", "The running program", build);
        let rpcs = Family::new_with_constructor(Buckets(CALL));
        registry.register_with_unit("rpc_server_call_duration", "Calls by RPC and how they ended", Unit::Seconds, rpcs.clone());
        let requests = Family::new_with_constructor(Buckets(CALL));
        let help = "Requests to receivers by how they ended, from the name lookup to the last byte";
        registry.register_with_unit("http_client_request_duration", help, Unit::Seconds, requests.clone());
        let events_published = Counter::default();
        let filters_failed = Counter::default();
        let help = "Events accepted by this node, repeats not counted";
        registry.register("gatepost_events_published", help, events_published.clone());
        let help = "Endpoints' filters that failed, each for one event, which was then skipped";
        registry.register("gatepost_filters_failed", help, filters_failed.clone());
        let deliveries = Family::default();
        registry.register("gatepost_deliveries", "Deliveries that ended, recorded by this node", deliveries.clone());
        let attempts = Family::default();
        let help = "Attempts recorded by this node: what followed, and how the attempt itself ended";
        registry.register("gatepost_attempts", help, attempts.clone());
        let latency = Family::new_with_constructor(Buckets(LATENCY));
        let help = "From an event's commit until the first byte of its first attempt is sent, and until its success is recorded";
        registry.register_with_unit("gatepost_delivery_latency", help, Unit::Seconds, latency.clone());
        let leases_lost = Counter::default();
        let help = "Outcomes dropped because another node, or a person, had taken the delivery";
        registry.register("gatepost_leases_lost", help, leases_lost.clone());
        let failed = Family::default();
        registry.register("gatepost_authentication_failures", "Calls refused for want of a valid key", failed.clone());
        let metrics = Self {
            registry,
            events_published,
            filters_failed,
            deliveries: Slots::new(deliveries, |at| Labels([("outcome", ["succeeded", "dead", "cancelled"][at].into())])),
            attempts: Slots::new(attempts, |at| {
                let class = AttemptClass::ALL[at % CLASSES].name();
                Labels([("outcome", ["succeeded", "retrying", "dead"][at / CLASSES].into()), ("class", class.into())])
            }),
            latency: Slots::new(latency, |at| Labels([("until", ["first_byte", "success"][at].into())])),
            leases_lost,
            failed_authentications: Slots::new(failed, |at| Labels([("reason", ["invalid", "limited"][at].into())])),
            rpcs,
            requests: Slots::new(requests, request_labels),
        };
        // A series that begins at its first event hides that one from a rate.
        metrics.deliveries.show_all();
        metrics.failed_authentications.show_all();
        metrics
    }

    /// A delivery has ended.
    pub fn delivery_ended(&self, state: State) {
        let slot = match state {
            State::Succeeded => 0,
            State::Dead => 1,
            State::Cancelled => 2,
            State::Pending | State::Retrying => return,
        };
        self.deliveries.inc(slot);
    }

    /// An attempt's outcome was recorded: its class, and the state in which it left the delivery.
    pub fn attempt_recorded(&self, class: AttemptClass, left: State) {
        let row = match left {
            State::Succeeded => 0,
            State::Pending | State::Retrying => 1,
            State::Dead | State::Cancelled => 2,
        };
        self.attempts.inc(row * CLASSES + class.index());
    }

    /// The first byte of an event's first attempt went out this long after the event's commit.
    pub fn first_byte_sent(&self, after: Duration) {
        self.latency.observe(0, after);
    }

    /// A delivery's success was recorded this long after the event's commit.
    pub fn succeeded(&self, after: Duration) {
        self.latency.observe(1, after);
    }

    /// A caller was not let in.
    pub fn authentication_failed(&self, how: Failed) {
        self.failed_authentications.inc(how as usize);
    }

    /// A request to a receiver has ended: with a status, or for want of one with a class.
    pub fn request_ended(&self, ended: Result<u16, AttemptClass>, took: Duration) {
        let slot = match ended {
            // A status outside HTTP's three digits never gets here.
            Ok(status) => usize::from(status).saturating_sub(100).min(STATUSES - 1),
            Err(class) => STATUSES + class.index(),
        };
        self.requests.observe(slot, took);
    }

    /// The figures of one RPC, to be kept. `path`: `/{service}/{method}`; one of few.
    pub fn rpc(&self, path: &'static str) -> Rpc {
        let method = path.strip_prefix('/').unwrap_or(path);
        let labels = move |at: usize| Labels([("rpc_method", method.into()), ("rpc_response_status_code", CODES[at].into())]);
        Rpc(Slots::new(self.rpcs.clone(), labels))
    }

    /// Everything as OpenMetrics text.
    pub fn encode(&self, sample: &Sample) -> String {
        let mut text = String::with_capacity(32 << 10);
        let mut sampled = Registry::default();
        let panics = Counter::<u64>::default();
        panics.inc_by(sample.task_panics);
        sampled.register("gatepost_task_panics", "Panics that were caught at a task's edge", panics);
        let watchers = ConstGauge::new(i64::try_from(sample.watchers).unwrap_or(i64::MAX));
        sampled.register("gatepost_watchers", "Open watches on this node", watchers);
        if let Some(queue) = sample.queue {
            let depth = Family::<Labels<1>, Gauge>::default();
            for (state, count) in [("pending", queue.pending), ("retrying", queue.retrying), ("dead", queue.dead)] {
                depth.get_or_create_owned(&Labels([("state", state.into())])).set(count);
            }
            let help = "Deliveries in the database's backlog, of all nodes, each state counted to 100000";
            sampled.register("gatepost_queue_depth", help, depth);
            let help = "Age of the oldest event in the backlog that an active endpoint has yet to get; 0: none";
            let age = ConstGauge::new(queue.oldest_age.as_secs_f64());
            sampled.register_with_unit("gatepost_queue_oldest_age", help, Unit::Seconds, age);
        }
        // Writing to a text never fails.
        let _ = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &sampled))
            .and_then(|()| encode_eof(&mut text));
        text
    }
}

impl Rpc {
    /// A call has ended with this canonical code.
    pub fn ended(&self, code: i32, took: Duration) {
        self.0.observe(usize::try_from(code).unwrap_or(UNKNOWN), took);
    }
}

/// A receiver may answer any number: only those with a name get a series of their own.
fn request_labels(at: usize) -> Labels<3> {
    let (status, error) = if at < STATUSES {
        let status = u16::try_from(at + 100).ok().and_then(|status| http::StatusCode::from_u16(status).ok());
        let named = status.filter(|status| status.canonical_reason().is_some());
        (named.map_or_else(|| "other".into(), |status| status.as_str().to_owned().into()), "".into())
    } else {
        ("".into(), AttemptClass::ALL[at - STATUSES].name().into())
    };
    Labels([("http_request_method", "POST".into()), ("http_response_status_code", status), ("error_type", error)])
}

trait LabelSet: Clone + std::hash::Hash + Eq + Send + Sync + 'static {}
impl<const N: usize> LabelSet for Labels<N> {}

/// A metric by a fixed list of label sets, each found by its place in an array once it was used.
struct Slots<S, M, const N: usize> {
    slots: [OnceLock<M>; N],
    make: Box<dyn Fn(usize) -> M + Send + Sync>,
    _labels: std::marker::PhantomData<fn() -> S>,
}

impl<S, M, const N: usize> Slots<S, M, N>
where
    S: LabelSet,
    M: Clone + Send + Sync + 'static,
{
    fn new<C>(family: Family<S, M, C>, labels: impl Fn(usize) -> S + Send + Sync + 'static) -> Self
    where
        C: MetricConstructor<M> + Clone + Send + Sync + 'static,
    {
        let make = Box::new(move |at| family.get_or_create_owned(&labels(at)));
        Self { slots: [const { OnceLock::new() }; N], make, _labels: std::marker::PhantomData }
    }

    fn get(&self, at: usize) -> Option<&M> {
        self.slots.get(at).map(|slot| slot.get_or_init(|| (self.make)(at)))
    }

    fn show_all(&self) {
        (0..N).for_each(|at| drop(self.get(at).cloned()));
    }
}

impl<S: LabelSet, const N: usize> Slots<S, Counter, N> {
    fn inc(&self, at: usize) {
        if let Some(count) = self.get(at) {
            count.inc();
        }
    }
}

impl<S: LabelSet, const N: usize> Slots<S, Histogram, N> {
    fn observe(&self, at: usize, time: Duration) {
        if let Some(times) = self.get(at) {
            times.observe(time.as_secs_f64());
        }
    }
}

impl<S, M, const N: usize> std::fmt::Debug for Slots<S, M, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots").finish_non_exhaustive()
    }
}

/// Bounds of a histogram.
#[derive(Debug, Clone, Copy)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// Names and values; an empty value is one that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Labels<const N: usize>([(&'static str, std::borrow::Cow<'static, str>); N]);

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, value) in self.0.iter().filter(|(_, value)| !value.is_empty()) {
            let mut label = encoder.encode_label();
            let mut key = label.encode_label_key()?;
            EncodeLabelKey::encode(name, &mut key)?;
            let mut text = key.encode_label_value()?;
            EncodeLabelValue::encode(&value.as_ref(), &mut text)?;
            text.finish()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown_under_the_names_of_the_manual() {
        let metrics = Metrics::new();
        metrics.events_published.inc_by(3);
        metrics.delivery_ended(State::Succeeded);
        metrics.delivery_ended(State::Retrying);
        metrics.attempt_recorded(AttemptClass::Timeout, State::Retrying);
        metrics.first_byte_sent(Duration::from_millis(7));
        metrics.authentication_failed(Failed::Limited);
        metrics.request_ended(Ok(204), Duration::from_millis(80));
        metrics.request_ended(Err(AttemptClass::Dns), Duration::from_millis(80));
        let rpc = metrics.rpc("/gatepost.v1.EventService/PublishEvent");
        rpc.ended(5, Duration::from_millis(1));
        let queue = Queue { pending: 4, retrying: 0, dead: 9, oldest_age: Duration::from_millis(1_500) };
        let text = metrics.encode(&Sample { task_panics: 2, watchers: 5, queue: Some(queue) });
        for line in [
            concat!("gatepost_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "gatepost_events_published_total 3",
            "gatepost_deliveries_total{outcome=\"succeeded\"} 1",
            "gatepost_deliveries_total{outcome=\"dead\"} 0",
            "gatepost_attempts_total{outcome=\"retrying\",class=\"timeout\"} 1",
            "gatepost_delivery_latency_seconds_bucket{le=\"0.01\",until=\"first_byte\"} 1",
            "gatepost_authentication_failures_total{reason=\"limited\"} 1",
            "http_client_request_duration_seconds_count{http_request_method=\"POST\",http_response_status_code=\"204\"} 1",
            "http_client_request_duration_seconds_count{http_request_method=\"POST\",error_type=\"dns\"} 1",
            "rpc_server_call_duration_seconds_count{rpc_method=\"gatepost.v1.EventService/PublishEvent\",rpc_response_status_code=\"NOT_FOUND\"} 1",
            "gatepost_authentication_failures_total{reason=\"invalid\"} 0",
            "gatepost_task_panics_total 2",
            "gatepost_watchers 5",
            "gatepost_queue_depth{state=\"dead\"} 9",
            "gatepost_queue_oldest_age_seconds 1.5",
            "gatepost_leases_lost_total 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(!metrics.encode(&Sample::default()).contains("gatepost_queue"), "a figure that nobody knows is absent");
    }

    #[test]
    fn answers_of_receivers_make_few_series() {
        let metrics = Metrics::new();
        (0..=u16::MAX).for_each(|status| metrics.request_ended(Ok(status), Duration::ZERO));
        let text = metrics.encode(&Sample::default());
        let series = text.lines().filter(|line| line.starts_with("http_client_request_duration_seconds_count")).count();
        assert!((40..80).contains(&series), "{series}");
    }
}
