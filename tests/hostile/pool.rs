//! What generated requests name: resources that exist, that once did and that never will, and tokens that the server gave out.
//!
//! Filled from the answers between rounds, in the order of the requests. The tenant that the honest caller uses is never in it.

use prost_reflect::{DynamicMessage, Value};

use super::{nasty, random::Random};

/// Kept of each kind.
const MOST: usize = 200;

#[derive(Default)]
pub(crate) struct Pool {
    tenants: Vec<String>,
    endpoints: Vec<String>,
    events: Vec<String>,
    deliveries: Vec<String>,
    keys: Vec<String>,
    tokens: Vec<String>,
    seen: usize,
}

impl Pool {
    pub(crate) fn of(tenants: &[&str]) -> Self {
        let tenants: Vec<String> = tenants.iter().map(|id| format!("tenants/{id}")).collect();
        let of = |collection: &str, ids: &[&str]| {
            tenants.iter().flat_map(|tenant| ids.iter().map(move |id| format!("{tenant}/{collection}/{id}"))).collect()
        };
        let (endpoints, events) = (of("endpoints", &["siem", "p1", "p2", "p3"]), of("events", &["e1", "e2", "e3"]));
        Self { endpoints, events, tenants, ..Self::default() }
    }

    /// One that exists, mostly, or one of those that come and go.
    pub(crate) fn tenant(&self, random: &mut Random) -> String {
        if random.below(100) < 80 { random.pick(&self.tenants).clone() } else { victim(random) }
    }

    pub(crate) fn delivery(&self, random: &mut Random) -> String {
        of(&self.deliveries, random)
    }

    /// A name of what a method is about.
    pub(crate) fn name(&self, method: &str, random: &mut Random) -> String {
        match method {
            // The tenants of the scene stay.
            "DeleteTenant" => victim(random),
            _ if method.contains("Tenant") => self.tenant(random),
            _ if method.contains("ApiKey") => of(&self.keys, random),
            _ if method.contains("Endpoint") => of(&self.endpoints, random),
            _ if method.contains("Event") => of(&self.events, random),
            _ => self.delivery(random),
        }
    }

    pub(crate) fn token(&self, random: &mut Random) -> String {
        of(&self.tokens, random)
    }

    /// Remembers what an answer names. `method`: keys are only taken from the answers of CreateApiKey, as another may be the caller's own.
    pub(crate) fn learn(&mut self, method: &str, answer: &DynamicMessage) {
        for (field, value) in answer.fields() {
            match value {
                Value::Message(inner) => self.learn(method, inner),
                Value::List(items) => items.iter().take(20).for_each(|item| {
                    if let Value::Message(inner) = item {
                        self.learn(method, inner);
                    }
                }),
                Value::String(text) if field.name().ends_with("_token") => self.keep(text, |pool| &mut pool.tokens),
                Value::String(text) if text.starts_with("tenants/") => match text.split('/').nth(2) {
                    Some("endpoints") => self.keep(text, |pool| &mut pool.endpoints),
                    Some("events") => self.keep(text, |pool| &mut pool.events),
                    Some("deliveries") => self.keep(text, |pool| &mut pool.deliveries),
                    _ => {}
                },
                Value::String(text) if method == "CreateApiKey" && text.starts_with("apiKeys/") => {
                    self.keep(text, |pool| &mut pool.keys);
                }
                _ => {}
            }
        }
    }

    fn keep(&mut self, text: &str, list: impl Fn(&mut Self) -> &mut Vec<String>) {
        self.seen += 1;
        let seen = self.seen;
        let list = list(self);
        if !text.is_empty() && !text.starts_with("tenants/honest") && !list.iter().any(|known| known == text) {
            if list.len() < MOST { list.push(text.to_owned()) } else { text.clone_into(&mut list[seen % MOST]) }
        }
    }
}

fn victim(random: &mut Random) -> String {
    format!("tenants/v{}", random.below(12))
}

fn of(list: &[String], random: &mut Random) -> String {
    if list.is_empty() { (*random.pick(&nasty::TEXTS)).to_owned() } else { random.pick(list).clone() }
}
