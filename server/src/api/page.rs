//! Pages of lists: how long one is, and the opaque token of the next.
//!
//! A token holds the position that the store goes on from, and a keyed hash over the position and the query it belongs to. A token of
//! another query, another tenant or of somebody's own making is a bad `page_token`. It is signed, not encrypted: a position must hold
//! nothing that the page before did not show.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Violation;
use crate::domain::secret::{KeyRing, Purpose};

/// Rows of a page when the caller names no number.
pub const DEFAULT_SIZE: u32 = 50;
/// Most rows of a page.
pub const MAX_SIZE: u32 = 1000;

const FORMAT: u8 = 1;
const TAG_BYTES: usize = 16;
const MAX_TOKEN_BYTES: usize = 2048;

/// Rows of the page that `page_size` asks for: 0 means 50, more than 1000 means 1000.
///
/// # Errors
/// It is negative.
pub fn size(page_size: i32) -> Result<u32, Violation> {
    match u32::try_from(page_size) {
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) => Ok(size.min(MAX_SIZE)),
        Err(_) => Err(Violation::new("page_size", "is negative")),
    }
}

/// What a token is bound to: everything of a list request but its size and token.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The RPC, such as `ListDeliveries`.
    pub method: &'a str,
    /// `parent` of the request; empty where there is none.
    pub parent: &'a str,
    /// Canonical text of the filter; empty where there is none.
    pub filter: &'a str,
    /// `order_by`; empty where there is none.
    pub order: &'a str,
}

/// Makes and reads page tokens. Clones share the key.
#[derive(Debug, Clone)]
pub struct PageTokens(KeyRing);

impl PageTokens {
    /// Tokens signed with the ring's key for page tokens: every node of a database reads them.
    pub fn new(ring: KeyRing) -> Self {
        Self(ring)
    }

    /// The token of the page that starts after this position.
    pub fn encode(&self, query: &Query<'_>, position: &[u8]) -> String {
        let tag = self.0.tag(Purpose::PageToken, &query.parts(position));
        URL_SAFE_NO_PAD.encode([&[FORMAT], tag.as_slice(), position].concat())
    }

    /// The position in a request's `page_token`; `None` when it is empty: the first page.
    ///
    /// # Errors
    /// The token is not one of this query.
    pub fn decode(&self, query: &Query<'_>, token: &str) -> Result<Option<Vec<u8>>, Violation> {
        if token.is_empty() {
            return Ok(None);
        }
        let wrong = || Violation::new("page_token", "is not a token of this list: send the same parent and filter, or start anew");
        if token.len() > MAX_TOKEN_BYTES {
            return Err(wrong());
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
        let [FORMAT, rest @ ..] = bytes.as_slice() else { return Err(wrong()) };
        let (tag, position) = rest.split_first_chunk::<TAG_BYTES>().ok_or_else(wrong)?;
        let genuine = self.0.verifies(Purpose::PageToken, &query.parts(position), tag);
        if genuine { Ok(Some(position.to_vec())) } else { Err(wrong()) }
    }
}

impl<'a> Query<'a> {
    fn parts(&self, position: &'a [u8]) -> [&'a [u8]; 5] {
        [self.method.as_bytes(), self.parent.as_bytes(), self.filter.as_bytes(), self.order.as_bytes(), position]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    const QUERY: Query<'static> =
        Query { method: "ListDeliveries", parent: "tenants/acme", filter: "state == \"DEAD\"", order: "" };

    fn tokens() -> PageTokens {
        PageTokens::new(KeyRing::parse(KeyRing::entry("a", &[1; 32]).expose_secret()).unwrap())
    }

    #[test]
    fn sizes_follow_the_rule() {
        assert_eq!([0, 1, 50, 1000, 1001, i32::MAX].map(|asked| size(asked).unwrap()), [50, 1, 50, 1000, 1000, 1000]);
        assert_eq!(size(-1).unwrap_err().field, "page_size");
    }

    #[test]
    fn a_token_leads_on_in_its_own_query_and_in_no_other() {
        let tokens = tokens();
        let token = tokens.encode(&QUERY, b"position");
        assert_eq!(tokens.decode(&QUERY, &token), Ok(Some(b"position".to_vec())));
        assert_eq!(tokens.decode(&QUERY, ""), Ok(None));
        for other in [
            Query { method: "ListEvents", ..QUERY },
            Query { parent: "tenants/other", ..QUERY },
            Query { filter: "", ..QUERY },
            Query { order: "name", ..QUERY },
        ] {
            assert_eq!(tokens.decode(&other, &token).unwrap_err().field, "page_token");
        }
    }

    proptest! {
        #[test]
        fn a_made_up_or_changed_token_is_refused(text in "[A-Za-z0-9_-]{1,80}|.{1,20}", at in any::<prop::sample::Index>()) {
            let tokens = tokens();
            prop_assert!(tokens.decode(&QUERY, &text).is_err());
            let mut changed = tokens.encode(&QUERY, b"position").into_bytes();
            let at = at.index(changed.len());
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            prop_assert!(tokens.decode(&QUERY, std::str::from_utf8(&changed).unwrap()).is_err());
        }
    }
}
