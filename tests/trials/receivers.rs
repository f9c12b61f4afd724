//! The endpoints of a trial: a fast one, one that fails first, a slow one; and a tally of what each was sent.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gatepost_client::{Tenant, v1};
use gatepost_tests::{Answer, Receiver, Span, world::waits};
use tokio::sync::watch;

use crate::load::EVENT_TYPE;

/// Id and requests at once of each endpoint.
pub(crate) const ENDPOINTS: [(&str, i32); 3] = [("fast", 4), ("failing", 4), ("slow", 8)];

/// Requests on the wire of one node at once.
pub(crate) const IN_FLIGHT: usize = 16;

/// Outcomes that one node may have and not have recorded, at most: a commit of them, and those that wait for the next.
const UNRECORDED: usize = 512;

/// Requests that a node which ends at once may have sent without a record: what another sends again.
pub(crate) const AT_RISK: usize = IN_FLIGHT + UNRECORDED;

/// How long the slow one takes.
const SLOW: Duration = Duration::from_millis(25);

/// All three, and their tally.
pub(crate) struct Receivers {
    receivers: Vec<Receiver>,
    tally: Arc<Tally>,
}

/// What arrived.
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    total: watch::Sender<usize>,
}

#[derive(Default)]
pub(crate) struct Counts {
    /// Requests by endpoint, `webhook-id` and number of the attempt.
    pub(crate) requests: HashMap<(usize, String, u32), usize>,
    /// By endpoint and `webhook-id`: the attempt that was answered with 200.
    pub(crate) delivered: HashMap<(usize, String), u32>,
    /// Requests.
    pub(crate) total: usize,
    /// Those among them that repeat an attempt.
    pub(crate) repeated: usize,
}

impl Receivers {
    /// Three receivers, and an endpoint of the tenant for each.
    pub(crate) async fn of(tenant: &Tenant) -> Self {
        let tally = Arc::new(Tally { counts: Mutex::default(), total: watch::Sender::new(0) });
        let mut receivers = Vec::new();
        for (place, (id, max_in_flight)) in ENDPOINTS.into_iter().enumerate() {
            let tally = Arc::clone(&tally);
            let receiver = Receiver::answering(move |_, request| {
                let fails = place == 1 && request.attempt() == 1 && request.id().bytes().map(u32::from).sum::<u32>() % 4 == 0;
                tally.note(place, request.id(), request.attempt(), !fails);
                let answer = Answer::status(if fails { 503 } else { 200 });
                if place == 2 { answer.after(SLOW) } else { answer }
            })
            .await;
            let endpoint = v1::Endpoint {
                url: receiver.url(),
                max_in_flight,
                retry_policy: waits(&[1; 30]),
                event_types: vec![EVENT_TYPE.to_owned()],
                ..Default::default()
            };
            let request = v1::CreateEndpointRequest { endpoint_id: id.to_owned(), endpoint: Some(endpoint), ..Default::default() };
            tenant.create_endpoint(request).await.expect("an endpoint");
            receivers.push(receiver);
        }
        Self { receivers, tally }
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// From when to when each endpoint had each request.
    pub(crate) fn spans(&self) -> Vec<Vec<Span>> {
        self.receivers.iter().map(Receiver::spans).collect()
    }
}

impl Tally {
    fn note(&self, endpoint: usize, id: &str, attempt: u32, success: bool) {
        let mut counts = self.counts();
        counts.total += 1;
        let count = counts.requests.entry((endpoint, id.to_owned(), attempt)).or_default();
        *count += 1;
        let repeats = *count > 1;
        counts.repeated += usize::from(repeats);
        if success {
            counts.delivered.entry((endpoint, id.to_owned())).or_insert(attempt);
        }
        self.total.send_replace(counts.total);
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests so far.
    pub(crate) fn total(&self) -> usize {
        *self.total.borrow()
    }

    /// Waits until so many requests have arrived, and says when.
    pub(crate) async fn until(&self, total: usize, deadline: Duration) -> Instant {
        let mut count = self.total.subscribe();
        let waiting = count.wait_for(|count| *count >= total);
        let arrived = tokio::time::timeout(deadline, waiting).await.is_ok();
        assert!(arrived, "{} of {total} requests arrived within {deadline:?}", self.total());
        Instant::now()
    }

    /// Waits until all of these events were taken by every endpoint. Returns what is missing when `deadline` is over.
    pub(crate) async fn until_delivered(
        &self,
        ids: impl Iterator<Item = &str> + Clone,
        deadline: Duration,
    ) -> Vec<(usize, String)> {
        let mut missing: Vec<(usize, String)> =
            (0..ENDPOINTS.len()).flat_map(|endpoint| ids.clone().map(move |id| (endpoint, id.to_owned()))).collect();
        let mut count = self.total.subscribe();
        let waiting = async {
            loop {
                count.borrow_and_update();
                {
                    let counts = self.counts();
                    missing.retain(|key| !counts.delivered.contains_key(key));
                }
                if missing.is_empty() {
                    return;
                }
                count.changed().await.expect("the sender lives as long as the tally");
            }
        };
        let _ = tokio::time::timeout(deadline, waiting).await;
        missing
    }
}

/// Whether an endpoint is one of these: a trial may have others for its own ends.
pub(crate) fn place(endpoint: &str) -> Option<usize> {
    let id = endpoint.rsplit('/').next();
    ENDPOINTS.iter().position(|(known, _)| id == Some(known))
}

/// Requests for one delivery that were under way at once: the later one and the one that it overlaps.
pub(crate) fn overlaps(spans: &[Span]) -> Vec<(Span, Span)> {
    let mut by_id: HashMap<&str, Vec<&Span>> = HashMap::new();
    for span in spans {
        by_id.entry(&span.id).or_default().push(span);
    }
    let mut found = Vec::new();
    for spans in by_id.values_mut() {
        spans.sort_unstable_by_key(|span| span.begun);
        for pair in spans.windows(2) {
            if pair[0].ended.is_none_or(|ended| ended > pair[1].begun) {
                found.push((pair[1].clone(), pair[0].clone()));
            }
        }
    }
    found
}

/// An attempt that arrived twice in this time, in which every delivery had one owner, so that only one could send it.
pub(crate) fn repeated_between(spans: &[Span], from: Instant, until: Option<Instant>) -> Option<Span> {
    let mut seen = HashSet::new();
    let within = |span: &&Span| span.begun > from && until.is_none_or(|until| span.begun < until);
    spans.iter().filter(within).find(|span| !seen.insert((&span.id, span.attempt))).cloned()
}
