//! Where this installation is found from outside: what tokens name as their issuer and payloads as their schema.
//!
//! From the configuration; every endpoint holds it, so that a body depends on the event and the endpoint alone.

/// The addresses that go into payloads, without a slash at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// `public_base_url`: where receivers find keys. Without it there are no security event tokens.
    pub public_base_url: Option<String>,
    /// `schema_base_url`: what the `$id`s of schemas begin with. Without it payloads name no schema.
    pub schema_base_url: Option<String>,
}

impl Site {
    /// The issuer of a tenant's security event tokens.
    pub fn issuer(&self, tenant: &str) -> Option<String> {
        self.public_base_url.as_ref().map(|base| format!("{base}/tenants/{tenant}"))
    }
}
