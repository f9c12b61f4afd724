//! What the lists of a tenant's things share: whose they are, what they are filtered by, and how much of a page one message holds.
//!
//! Called by the services that list events, deliveries and attempts. No message may be larger than what gRPC clients take by default.

use std::sync::Arc;

use prost::Message;

use super::access::Call;
use super::{Api, Error, Violation};
use crate::domain::Time;
use crate::domain::filter::{FieldSpec, Filter, Op, Term, Value};
use crate::store;
use crate::store::page::{Listed, Page};

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

/// Reads a page and encodes it; a page that one message cannot hold is read again, shorter.
///
/// # Errors
/// Those of `list`.
pub(super) async fn fitting<T, M: Message>(
    mut page: Page,
    list: impl AsyncFn(&Page) -> Result<Listed<T>, store::Error>,
    encode: impl Fn(&T) -> M,
) -> Result<(Vec<M>, Option<Vec<u8>>), store::Error> {
    loop {
        let listed = list(&page).await?;
        let items: Vec<M> = listed.items.iter().map(&encode).collect();
        let fit = fit(&items);
        if fit == items.len() || page.size <= 1 {
            return Ok((items, listed.next));
        }
        page.size = u32::try_from(fit).unwrap_or(u32::MAX).max(1);
    }
}

/// How many of the first ones fit.
fn fit<M: Message>(items: &[M]) -> usize {
    let mut bytes = 0;
    // Each has its tag and length before it.
    items.iter().take_while(|item| {
        bytes += item.encoded_len() + 8;
        bytes <= PAGE_BYTES
    }).count()
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

    #[tokio::test]
    async fn a_page_is_cut_to_what_a_message_holds() {
        let sizes = std::cell::RefCell::new(Vec::new());
        let list = async |page: &Page| {
            sizes.borrow_mut().push(page.size);
            let items = vec![1 << 20; usize::try_from(page.size).unwrap()];
            Ok(Listed { next: Some(vec![u8::try_from(items.len()).unwrap()]), items })
        };
        let encode = |bytes: &usize| v1::Event { data: vec![0; *bytes].into(), ..Default::default() };
        let (items, next) = fitting(Page::first(10), list, encode).await.unwrap();
        assert_eq!((items.len(), next, sizes.into_inner()), (3, Some(vec![3]), vec![10, 3]));
        let alone = async |_: &Page| Ok(Listed { items: vec![5 << 20], next: None });
        assert_eq!(fitting(Page::first(1), alone, encode).await.unwrap().0.len(), 1, "one goes whatever its size");
    }
}
