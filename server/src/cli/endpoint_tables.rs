//! How endpoints, their secrets, tests and counts look to people.

use gatepost_client::v1;

use super::output::{Show, count, duration, id, short, time, yes};

impl Show for v1::Endpoint {
    const COLUMNS: &'static [(&'static str, usize)] = &[("ID", 24), ("STATE", 9), ("URL", 40), ("EVENT TYPES", 20)];

    fn row(&self) -> Vec<String> {
        vec![id(&self.name), short(self.state().as_str_name(), "STATE_"), self.url.clone(), self.event_types.join(" ")]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let health = self.health.unwrap_or_default();
        let secrets: Vec<String> = self.signing_secrets.iter().map(fingerprint).collect();
        let headers: Vec<String> = self.headers.keys().cloned().collect();
        let families: Vec<String> =
            self.set_families().map(|family| short(family.as_str_name(), "SET_FAMILY_").to_lowercase()).collect();
        vec![
            ("name", self.name.clone()),
            ("display name", self.display_name.clone()),
            ("description", self.description.clone()),
            ("url", self.url.clone()),
            ("state", short(self.state().as_str_name(), "STATE_")),
            ("paused because", short(self.paused_reason().as_str_name(), "PAUSED_REASON_")),
            ("disabled because", short(self.disabled_reason().as_str_name(), "DISABLED_REASON_")),
            ("event types", self.event_types.join("\n")),
            ("hooks only", yes(self.hooks_only)),
            ("filter", self.filter.clone()),
            ("format", short(self.format().as_str_name(), "FORMAT_")),
            ("field policy", self.field_policy.as_ref().map(policy).unwrap_or_default()),
            ("transform", self.transform.trim_end().to_owned()),
            ("encrypted with", self.encryption.as_ref().map(encryption).unwrap_or_default()),
            ("tokens for", self.set_audience.join("\n")),
            ("token families", families.join(" ")),
            ("tokens name users", short(self.set_subject().as_str_name(), "SET_SUBJECT_").to_lowercase()),
            ("own types as tokens", yes(self.set_own_types)),
            ("headers", headers.join("\n")),
            ("attempt timeout", duration(self.attempt_timeout.as_ref())),
            ("max in flight", count(self.max_in_flight.into())),
            ("permanent", self.permanent_statuses.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")),
            ("signing secret", self.signing_secret.clone()),
            ("fingerprints", secrets.join("\n")),
            ("last success", time(health.last_success_time.as_ref())),
            ("last failure", time(health.last_failure_time.as_ref())),
            ("failures in a row", count(health.consecutive_failures.into())),
            ("held until", time(health.hold_until_time.as_ref())),
            ("created", time(self.create_time.as_ref())),
            ("updated", time(self.update_time.as_ref())),
            ("etag", self.etag.clone()),
        ]
    }
}

impl Show for v1::reveal_endpoint_secret_response::RevealedSecret {
    const COLUMNS: &'static [(&'static str, usize)] = &[("SECRET", 40), ("FINGERPRINT", 16), ("CREATED", 20), ("EXPIRES", 20)];

    fn row(&self) -> Vec<String> {
        let info = self.signing_secret_info.clone().unwrap_or_default();
        vec![self.signing_secret.clone(), info.fingerprint, time(info.create_time.as_ref()), time(info.expire_time.as_ref())]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().map(|(name, _)| *name).zip(self.row()).collect()
    }
}

impl Show for v1::TestEndpointResponse {
    const COLUMNS: &'static [(&'static str, usize)] = v1::Attempt::COLUMNS;

    fn row(&self) -> Vec<String> {
        self.attempt.clone().unwrap_or_default().row()
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        self.attempt.clone().unwrap_or_default().details()
    }
}

impl Show for v1::EndpointStats {
    const COLUMNS: &'static [(&'static str, usize)] = &[("ENDPOINT", 24), ("PENDING", 8), ("RETRYING", 8), ("DEAD", 8)];

    fn row(&self) -> Vec<String> {
        let counts = [self.pending_count, self.retrying_count, self.dead_count].map(|number| number.to_string());
        std::iter::once(id(&self.endpoint)).chain(counts).collect()
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![
            ("endpoint", self.endpoint.clone()),
            ("pending", self.pending_count.to_string()),
            ("retrying", self.retrying_count.to_string()),
            ("dead", self.dead_count.to_string()),
            ("oldest pending", time(self.oldest_pending_time.as_ref())),
            ("in flight", self.in_flight_count.to_string()),
            ("attempts succeeded", self.succeeded_attempt_count.to_string()),
            ("attempts failed", self.failed_attempt_count.to_string()),
            ("mean time", duration(self.mean_duration.as_ref())),
            ("longest", duration(self.max_duration.as_ref())),
        ]
    }
}

fn fingerprint(secret: &v1::endpoint::SigningSecret) -> String {
    match secret.expire_time.as_ref() {
        Some(until) => format!("{} until {}", secret.fingerprint, time(Some(until))),
        None => secret.fingerprint.clone(),
    }
}

fn policy(policy: &v1::FieldPolicy) -> String {
    let action = |action: v1::field_policy::Action| short(action.as_str_name(), "ACTION_").to_lowercase();
    let rules = policy.rules.iter().map(|rule| format!("{} {}\n", action(rule.action()), rule.pointer));
    let others = match policy.default_action() {
        v1::field_policy::Action::Omit => "omit all others",
        _ => "keep all others",
    };
    rules.chain([others.to_owned()]).collect()
}

fn encryption(encryption: &v1::Encryption) -> String {
    let key = |key: &v1::encryption::Key| format!("{} since {}", key.key_id, time(key.create_time.as_ref()));
    encryption.keys.iter().map(key).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_and_secrets_are_left_out_of_tables() {
        let endpoint = v1::Endpoint { headers: [("x-key".to_owned(), "s3cret".to_owned())].into(), ..v1::Endpoint::default() };
        assert!(!format!("{:?}", endpoint.details()).contains("s3cret"));
    }

    #[test]
    fn a_policy_is_its_rules_and_what_becomes_of_the_rest() {
        use v1::field_policy::{Action, Rule};
        let rules = vec![
            Rule { pointer: "/user/email".into(), action: Action::Hash.into() },
            Rule { pointer: "/x".into(), action: Action::Keep.into() },
        ];
        let endpoint = v1::Endpoint {
            field_policy: Some(v1::FieldPolicy { default_action: Action::Omit.into(), rules }),
            set_families: vec![v1::endpoint::SetFamily::Scim.into()],
            ..v1::Endpoint::default()
        };
        let details = endpoint.details();
        assert!(details.contains(&("field policy", "hash /user/email\nkeep /x\nomit all others".to_owned())), "{details:?}");
        assert!(details.contains(&("token families", "scim".to_owned())) && details.contains(&("format", String::new())));
    }
}
