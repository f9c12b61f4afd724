//! The settings of an endpoint as flags, for `endpoints create` and `endpoints update`. Those about payloads are in `endpoint_payload`.
//!
//! A flag that is not given changes nothing; [`Settings::into_endpoint`] also says which fields were given.

use std::time::Duration;

use gatepost_client::v1::retry_policy::{Explicit, Schedule};
use gatepost_client::v1::{Endpoint, RetryPolicy};

use super::endpoint_payload::Payload;
use super::failure::Failure;

/// What an endpoint can be set to.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Settings {
    /// Name for people.
    #[arg(long)]
    display_name: Option<String>,

    /// Free text.
    #[arg(long)]
    description: Option<String>,

    /// Header sent with every request; may be repeated. Values are stored encrypted and never shown; `NAME=<hidden>` keeps the stored one.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Option<Vec<(String, String)>>,

    /// Wait before each further attempt; may be repeated.
    #[arg(long = "retry-wait", value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "no_retry")]
    retry_waits: Option<Vec<Duration>>,

    /// One attempt, no further ones.
    #[arg(long)]
    no_retry: bool,

    /// Longest time for one attempt.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    attempt_timeout: Option<Duration>,

    /// Requests on the wire at once, on each node.
    #[arg(long, value_name = "COUNT")]
    max_in_flight: Option<i32>,

    /// Status from 400 to 499 that ends a delivery at once; may be repeated.
    #[arg(long = "permanent-status", value_name = "STATUS")]
    permanent_statuses: Option<Vec<i32>>,

    #[command(flatten)]
    payload: Payload,
}

impl Settings {
    /// The endpoint with what was given, and the fields that were.
    pub(crate) fn into_endpoint(self) -> Result<(Endpoint, Vec<String>), Failure> {
        let mut endpoint = Endpoint::default();
        let mut fields = Vec::new();
        let mut given = |field: &str| fields.push(field.to_owned());
        if let Some(value) = self.display_name {
            endpoint.display_name = value;
            given("display_name");
        }
        if let Some(value) = self.description {
            endpoint.description = value;
            given("description");
        }
        if let Some(value) = self.headers {
            endpoint.headers = value.into_iter().collect();
            given("headers");
        }
        if self.no_retry || self.retry_waits.is_some() {
            let waits = self.retry_waits.unwrap_or_default().into_iter().map(proto_duration).collect::<Result<_, _>>()?;
            endpoint.retry_policy = Some(RetryPolicy { schedule: Some(Schedule::Explicit(Explicit { waits })) });
            given("retry_policy");
        }
        if let Some(value) = self.attempt_timeout {
            endpoint.attempt_timeout = Some(proto_duration(value)?);
            given("attempt_timeout");
        }
        if let Some(value) = self.max_in_flight {
            endpoint.max_in_flight = value;
            given("max_in_flight");
        }
        if let Some(value) = self.permanent_statuses {
            endpoint.permanent_statuses = value;
            given("permanent_statuses");
        }
        self.payload.apply(&mut endpoint, &mut fields)?;
        Ok((endpoint, fields))
    }
}

/// `name=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it must be NAME=VALUE".to_owned()),
    }
}

fn proto_duration(duration: Duration) -> Result<prost_types::Duration, Failure> {
    duration.try_into().map_err(|_| Failure::Usage("a time is too long".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::parse;

    #[test]
    fn only_what_was_given_is_changed() {
        let (endpoint, fields) = parse::<Settings>(&["--max-in-flight", "3"]).into_endpoint().unwrap();
        assert_eq!((endpoint.max_in_flight, fields), (3, vec!["max_in_flight".to_owned()]));
        let (endpoint, fields) = parse::<Settings>(&[]).into_endpoint().unwrap();
        assert_eq!((endpoint, fields), (Endpoint::default(), vec![]));
    }

    #[test]
    fn every_flag_is_read() {
        let arguments = [
            "--display-name",
            "SIEM",
            "--description",
            "d",
            "--event-type",
            "user.*",
            "--event-type",
            "access.granted",
            "--header",
            "x-a=b=c",
            "--retry-wait",
            "1s",
            "--retry-wait",
            "2m",
            "--attempt-timeout",
            "5s",
            "--permanent-status",
            "422",
        ];
        let (endpoint, fields) = parse::<Settings>(&arguments).into_endpoint().unwrap();
        assert_eq!(fields.len(), 7);
        assert_eq!(endpoint.event_types, ["user.*", "access.granted"]);
        assert_eq!(endpoint.headers["x-a"], "b=c");
        let Some(Schedule::Explicit(explicit)) = endpoint.retry_policy.unwrap().schedule else { panic!("not explicit") };
        assert_eq!(explicit.waits.iter().map(|wait| wait.seconds).collect::<Vec<_>>(), [1, 120]);
        assert_eq!((endpoint.attempt_timeout.unwrap().seconds, endpoint.permanent_statuses), (5, vec![422]));
    }

    #[test]
    fn no_retry_and_every_type_can_be_said() {
        let (endpoint, _) = parse::<Settings>(&["--no-retry", "--event-type", ""]).into_endpoint().unwrap();
        assert_eq!(endpoint.retry_policy.unwrap().schedule, Some(Schedule::Explicit(Explicit { waits: vec![] })));
        assert!(endpoint.event_types.is_empty());
    }
}
