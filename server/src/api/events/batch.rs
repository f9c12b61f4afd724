//! One `PublishEvents`: what is right is submitted together, what is wrong is told in its place.
//!
//! [`results`] puts both in the order of the requests again, for streams too. An error of the call means that nothing is known of any of
//! its events; a wrong event alone must never cause one.

use std::sync::Arc;

use gatepost_client::v1;

use super::accept;
use crate::api::access::Call;
use crate::api::{Api, Error, Violation, Violations, names};
use crate::domain::registered::{RegisteredTypes, TypeProblem};
use crate::store::publish::Verdict;

/// # Errors
/// [`Error::InvalidFields`]: of the call itself; a wrong event is a result. [`Error::NotFound`]: no such tenant. Else nothing is known of
/// any event: repeat with the same ids.
pub(super) async fn publish(api: &Api, call: &Call, request: v1::PublishEventsRequest) -> Result<Vec<v1::PublishResult>, Error> {
    let most = api.parts.limits.events_per_batch;
    let mut bad = Violations::new();
    let tenant = bad.keep(names::tenant("parent", &request.parent));
    bad.check("requests", (1..=most).contains(&request.requests.len()), format_args!("must be 1 to {most} events"));
    bad.into_result()?;
    let tenant = tenant.unwrap_or_default();
    call.sees(&tenant, &request.parent)?;

    let mut events = Vec::with_capacity(request.requests.len());
    let mut ids: Vec<Result<String, Error>> = Vec::with_capacity(request.requests.len());
    let (checker, mut seen) = (api.event_checker(), None::<Arc<RegisteredTypes>>);
    for event in request.requests {
        let parent = of_batch(&tenant, &request.parent, &event.parent);
        // One look at the database for types that are not known here is enough for all of them.
        let types = match &seen {
            Some(types) if parent.is_ok() => Arc::clone(types),
            _ => accept::types(&api.parts.publisher, call, &parent, &event).await?,
        };
        if parent.is_ok() && matches!(types.find(&event.r#type, None), Err(TypeProblem::Unknown)) {
            seen = Some(Arc::clone(&types));
        }
        ids.push(checker.check_all(parent, event, &types).map(|event| {
            let id = accept::repeat_id(&event);
            events.push(event);
            id
        }));
    }
    let verdicts = if events.is_empty() {
        Vec::new()
    } else {
        api.parts.publisher.publish(events).await.map_err(|error| call.failed(error, &request.parent))?
    };
    if !verdicts.is_empty() && verdicts.iter().all(|verdict| *verdict == Verdict::NoTenant) {
        return Err(Error::NotFound { resource: request.parent });
    }
    Ok(results(call, &tenant, ids, verdicts))
}

/// The parent of an event of a batch: empty or that of the batch.
fn of_batch(tenant: &Arc<str>, batch_parent: &str, parent: &str) -> Result<Arc<str>, Violation> {
    if parent.is_empty() || parent == batch_parent {
        Ok(Arc::clone(tenant))
    } else {
        Err(Violation::new("parent", "must be empty or that of the batch"))
    }
}

/// In the order of the requests. `ids`: of what was submitted, or why it was not; `verdicts`: one for each that was submitted.
pub(super) fn results(
    call: &Call,
    tenant: &str,
    ids: Vec<Result<String, Error>>,
    verdicts: Vec<Verdict>,
) -> Vec<v1::PublishResult> {
    let mut verdicts = verdicts.into_iter();
    let answer = |id: Result<String, Error>| {
        accept::result(id.and_then(|id| accept::answer(call, tenant, id, verdicts.next().unwrap_or(Verdict::Refused))))
    };
    ids.into_iter().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::Caller;

    #[test]
    fn results_keep_the_order_of_the_requests_around_wrong_ones() {
        let call = Call::of(Caller::new("key_1", []));
        let wrong = |field: &str| Err(Error::from(Violation::new(field, "is wrong")));
        let ids = vec![wrong("type"), Ok("a".to_owned()), wrong("data"), Ok("b".to_owned())];
        let results = results(&call, "acme", ids, vec![Verdict::Mismatch, Verdict::NoTenant]);
        let reasons: Vec<_> = results
            .into_iter()
            .map(|result| match result.result {
                Some(v1::publish_result::Result::Error(error)) => error.reason,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(reasons, ["INVALID_FIELDS", "IDEMPOTENCY_MISMATCH", "INVALID_FIELDS", "RESOURCE_NOT_FOUND"]);
    }

    #[test]
    fn an_event_of_a_batch_has_no_other_parent() {
        let tenant = Arc::from("acme");
        assert!(of_batch(&tenant, "tenants/acme", "").is_ok() && of_batch(&tenant, "tenants/acme", "tenants/acme").is_ok());
        assert_eq!(of_batch(&tenant, "tenants/acme", "tenants/other").unwrap_err().field, "parent");
    }
}
