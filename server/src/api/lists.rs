//! What the lists of a tenant's things share: whose they are, what they are filtered by, and how much of a page one message holds.
//!
//! Called by the services that list events, deliveries and attempts. No message may be larger than what gRPC clients take by default.

use std::sync::Arc;

use prost::Message;

use super::access::Call;
use super::{Api, Error, Violation};
use crate::domain::Time;
use crate::domain::filter::{FieldSpec, Filter, Op, Term, Value};
use crate::store::page::Page;

/// Bytes of a page: below the 4 MiB that clients of gRPC take by default.
const PAGE_BYTES: usize = (4 << 20) - (64 << 10);

impl Api {
    /// The tenant exists and the caller may know of it. `parent`: the name it was asked for by.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::StoreUnavailable`].
    pub(super) async fn see_tenant(&self, call: &Call, tenant: &Arc<str>, parent: &str) -> Result<(), Error> {
        call.sees(tenant, parent)?;
        self.parts.store.get_tenant(tenant).await.map_err(|error| call.failed(error, parent))?;
        Ok(())
    }
}

/// The filter of a list or watch.
///
/// # Errors
/// It is none over these fields.
pub(super) fn filter(text: &str, fields: &[FieldSpec]) -> Result<Filter, Violation> {
    Filter::parse(text, fields).map_err(|error| Violation::new("filter", error))
}

/// Whether one message holds what was read; else the page is made shorter, to be read again.
pub(super) fn fits<M: Message>(page: &mut Page, items: &[M]) -> bool {
    let mut bytes = 0;
    let holds = |item: &&M| {
        // Each has its tag and length before it.
        bytes += item.encoded_len() + 8;
        bytes <= PAGE_BYTES
    };
    let held = items.iter().take_while(holds).count();
    if held == items.len() || page.size <= 1 {
        return true;
    }
    page.size = u32::try_from(held).unwrap_or(u32::MAX).max(1);
    false
}

/// The first and the last moment but one that comparisons of a time leave: `(from, until)`, until itself is out.
pub(super) fn span(filter: &Filter, field: &str) -> (Option<Time>, Option<Time>) {
    let (mut from, mut until) = (None::<Time>, None::<Time>);
    for Term { op, values, .. } in filter.terms().iter().filter(|term| term.field == field) {
        let [Value::Time(time)] = values.as_slice() else { continue };
        let next = time.plus(std::time::Duration::from_millis(1));
        let (low, high) = match op {
            Op::Equal => (Some(*time), Some(next)),
            Op::Greater => (Some(next), None),
            Op::GreaterOrEqual => (Some(*time), None),
            Op::Less => (None, Some(*time)),
            Op::LessOrEqual => (None, Some(next)),
            Op::NotEqual | Op::In => (None, None),
        };
        from = from.max(low);
        until = match (until, high) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    (from, until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::filter::Kind;
    use gatepost_client::v1;

    #[test]
    fn comparisons_of_a_time_leave_a_span() {
        let fields = [FieldSpec { name: "create_time", kind: Kind::Time }];
        let at = |millis| Some(Time::from_millis(millis));
        for (text, expected) in [
            ("", (None, None)),
            (r#"create_time >= "1970-01-01T00:00:01Z""#, (at(1000), None)),
            (r#"create_time > "1970-01-01T00:00:01Z""#, (at(1001), None)),
            (r#"create_time < "1970-01-01T00:00:01Z" && create_time <= "1970-01-01T00:00:02Z""#, (None, at(1000))),
            (r#"create_time <= "1970-01-01T00:00:01Z" && create_time > "1970-01-01T00:00:00Z""#, (at(1), at(1001))),
            (r#"create_time == "1970-01-01T00:00:01Z""#, (at(1000), at(1001))),
            (r#"create_time != "1970-01-01T00:00:01Z""#, (None, None)),
        ] {
            assert_eq!(span(&filter(text, &fields).unwrap(), "create_time"), expected, "{text}");
        }
        assert_eq!(filter("type == 'a.b'", &fields).unwrap_err().field, "filter");
    }

    #[test]
    fn a_page_is_cut_to_what_a_message_holds() {
        let items = |count: u32, bytes: usize| {
            vec![v1::Event { data: vec![0; bytes].into(), ..Default::default() }; usize::try_from(count).unwrap()]
        };
        let mut page = Page::first(10);
        assert!(!fits(&mut page, &items(10, 1 << 20)));
        assert_eq!(page.size, 3);
        assert!(fits(&mut page, &items(3, 1 << 20)));
        assert!(fits(&mut Page::first(1), &items(1, 5 << 20)), "one goes whatever its size");
        assert!(!fits(&mut page, &items(3, 5 << 20)));
        assert_eq!(page.size, 1);
    }
}
