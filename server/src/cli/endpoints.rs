//! `gatepost endpoints`: the receivers' URLs with their settings, their secrets and how they do.

use std::time::Duration;

use clap::Subcommand;
use gatepost_client::v1;
use secrecy::SecretString;

use super::connect::{Remote, confirm, secret};
use super::endpoint_payload::Payload;
use super::endpoint_settings::Settings;
use super::failure::Failure;
use super::output::note;
use super::preview;

/// Arguments of `gatepost endpoints`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the tenant's endpoints.
    List {
        /// Such as `state == "PAUSED"`.
        #[arg(long, default_value = "")]
        filter: String,
        /// Most to show; 0 shows all.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show an endpoint.
    Get {
        /// Its id.
        id: String,
    },
    /// Create an endpoint; its signing secret is shown.
    Create {
        /// Where deliveries are posted.
        // Not `url`, which is the server's in every command.
        #[arg(value_name = "URL")]
        endpoint_url: String,
        /// Its id; one is made when it is absent.
        #[arg(long)]
        id: Option<String>,
        /// Your own signing secret, `whsec_...`; one is made when it is absent.
        #[arg(long, env = "GATEPOST_SIGNING_SECRET", hide_env_values = true, value_name = "SECRET", value_parser = secret)]
        signing_secret: Option<SecretString>,
        /// Check everything, change nothing.
        #[arg(long)]
        validate_only: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change an endpoint: only what is given.
    Update {
        /// Its id.
        id: String,
        /// Where deliveries are posted.
        #[arg(long, value_name = "URL")]
        endpoint_url: Option<String>,
        /// Refuse when this is not the endpoint's current etag.
        #[arg(long, default_value = "")]
        etag: String,
        /// Check everything, change nothing.
        #[arg(long)]
        validate_only: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Remove an endpoint; its unfinished deliveries are cancelled.
    Delete {
        /// Its id.
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Hold an endpoint's deliveries.
    Pause {
        /// Its id.
        id: String,
    },
    /// Send again what a pause held back.
    Resume {
        /// Its id.
        id: String,
    },
    /// Take an endpoint out of service.
    Disable {
        /// Its id.
        id: String,
    },
    /// Put a disabled endpoint back into service.
    Enable {
        /// Its id.
        id: String,
    },
    /// Send one signed test request now and show what came back.
    Test {
        /// Its id.
        id: String,
    },
    /// Show an event as the request that this endpoint would get, or why it would get none. Nothing is sent.
    ///
    /// The flags below try settings that are not saved.
    Preview {
        /// The endpoint's id.
        id: String,
        /// The event's id.
        event: String,
        /// Only the body, byte for byte.
        #[arg(long)]
        body: bool,
        #[command(flatten)]
        payload: Payload,
    },
    /// Count its deliveries and attempts.
    Stats {
        /// Its id.
        id: String,
        /// How far back attempts are counted.
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
        window: Duration,
    },
    /// Signing secrets.
    #[command(subcommand)]
    Secret(SecretAction),
}

#[derive(Debug, Subcommand)]
enum SecretAction {
    /// Show the active signing secrets, newest first.
    Show {
        /// The endpoint's id.
        id: String,
    },
    /// Make a new signing secret the first one, and show it.
    Rotate {
        /// The endpoint's id.
        id: String,
        /// How long the secrets before it stay valid.
        #[arg(long, default_value = "24h", value_parser = humantime::parse_duration)]
        overlap: Duration,
        /// Your own new secret, `whsec_...`; one is made when it is absent.
        #[arg(long, env = "GATEPOST_SIGNING_SECRET", hide_env_values = true, value_name = "SECRET", value_parser = secret)]
        signing_secret: Option<SecretString>,
    },
}

/// Runs `gatepost endpoints`.
///
/// # Errors
/// What the server refused; exit code 6 when a test request failed.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    use secrecy::ExposeSecret;
    let (tenant, mut out) = (args.remote.tenant().await?, args.remote.out());
    match args.action {
        Action::List { filter, limit } => out.list(tenant.endpoints(filter), limit).await,
        Action::Get { id } => out.item(&tenant.get_endpoint(id).await?),
        Action::Create { endpoint_url: url, id, signing_secret, validate_only, settings } => {
            let (endpoint, _) = settings.into_endpoint()?;
            let signing_secret = signing_secret.map(|secret| secret.expose_secret().to_owned()).unwrap_or_default();
            let request = v1::CreateEndpointRequest {
                endpoint_id: id.unwrap_or_default(),
                endpoint: Some(v1::Endpoint { url, signing_secret, ..endpoint }),
                validate_only,
                ..v1::CreateEndpointRequest::default()
            };
            out.item(&tenant.create_endpoint(request).await?)
        }
        Action::Update { id, endpoint_url: url, etag, validate_only, settings } => {
            let (endpoint, mut paths) = settings.into_endpoint()?;
            if url.is_some() {
                paths.push("url".to_owned());
            }
            if paths.is_empty() {
                return Err(Failure::Usage("say what to change; see --help".to_owned()));
            }
            let endpoint = Some(v1::Endpoint { name: id, url: url.unwrap_or_default(), etag, ..endpoint });
            let update_mask = Some(prost_types::FieldMask { paths });
            out.item(&tenant.update_endpoint(v1::UpdateEndpointRequest { endpoint, update_mask, validate_only }).await?)
        }
        Action::Delete { id, yes } => {
            confirm(&format!("delete the endpoint {id} and cancel what waits for it"), yes)?;
            tenant.delete_endpoint(&id).await?;
            note(&format!("{id} is deleted"));
            Ok(())
        }
        Action::Pause { id } => out.item(&tenant.pause_endpoint(id).await?),
        Action::Resume { id } => out.item(&tenant.resume_endpoint(id).await?),
        Action::Disable { id } => out.item(&tenant.disable_endpoint(id).await?),
        Action::Enable { id } => out.item(&tenant.enable_endpoint(id).await?),
        Action::Test { id } => {
            let answer = tenant.test_endpoint(id).await?;
            out.item(&answer)?;
            if answer.success { Ok(()) } else { Err(Failure::Partly { failed: 1, of: 1 }) }
        }
        Action::Preview { id: name, event, body, payload } => {
            let (mut endpoint, mut paths) = (v1::Endpoint::default(), Vec::new());
            payload.apply(&mut endpoint, &mut paths)?;
            let tried = (!paths.is_empty()).then_some((endpoint, prost_types::FieldMask { paths }));
            let (endpoint, update_mask) = tried.unzip();
            let request = v1::PreviewDeliveryRequest { name, event, endpoint, update_mask };
            preview::show(&mut out, &tenant.preview_delivery_with(request).await?, body)
        }
        Action::Stats { id, window } => out.item(&tenant.endpoint_stats(id, Some(window)).await?),
        Action::Secret(SecretAction::Show { id }) => {
            let secrets = tenant.reveal_endpoint_secrets(id).await?;
            out.list(futures::stream::iter(secrets.into_iter().map(Ok)), 0).await
        }
        Action::Secret(SecretAction::Rotate { id, overlap, signing_secret }) => {
            out.item(&tenant.rotate_endpoint_secret(id, signing_secret, Some(overlap)).await?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::parse;

    #[test]
    fn every_action_is_read() {
        let Action::Create { endpoint_url: url, id, signing_secret, validate_only, .. } = parse::<Args>(&[
            "create",
            "https://r.test/hook",
            "--id",
            "siem",
            "--signing-secret",
            "whsec_secret",
            "--validate-only",
        ])
        .action
        else {
            panic!("not create")
        };
        assert_eq!((url.as_str(), id.as_deref(), validate_only), ("https://r.test/hook", Some("siem"), true));
        assert!(!format!("{signing_secret:?}").contains("whsec_secret"));
        for (verb, expected) in
            [("pause", "Pause"), ("resume", "Resume"), ("disable", "Disable"), ("enable", "Enable"), ("test", "Test")]
        {
            assert!(format!("{:?}", parse::<Args>(&[verb, "siem"]).action).starts_with(expected));
        }
        let Action::Secret(SecretAction::Rotate { overlap, .. }) =
            parse::<Args>(&["secret", "rotate", "siem", "--overlap", "2h"]).action
        else {
            panic!("not rotate")
        };
        assert_eq!(overlap, Duration::from_secs(7200));
        assert!(matches!(parse::<Args>(&["secret", "show", "siem"]).action, Action::Secret(SecretAction::Show { .. })));
        let preview = ["preview", "siem", "evt_1", "--format", "set", "--body", "-o", "json"];
        assert!(matches!(parse::<Args>(&preview).action, Action::Preview { event, body: true, .. } if event == "evt_1"));
        assert!(matches!(parse::<Args>(&["stats", "siem", "--window", "5m"]).action,
            Action::Stats { window, .. } if window == Duration::from_secs(300)));
    }
}
