//! `gatepost tenants`: the customer organisations.

use clap::Subcommand;
use gatepost_client::v1;

use super::connect::{Remote, confirm};
use super::failure::Failure;
use super::output::{Show, id, time};
use super::signing_keys;

/// Arguments of `gatepost tenants`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the tenants that the key may see.
    List {
        /// Most to show; 0 shows all.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show a tenant.
    Get {
        /// Its id.
        id: String,
    },
    /// Create a tenant.
    Create {
        /// Its id; one is made when it is absent.
        id: Option<String>,
        /// Name for people.
        #[arg(long, default_value = "")]
        display_name: String,
    },
    /// Change a tenant.
    Update {
        /// Its id.
        id: String,
        /// Name for people.
        #[arg(long)]
        display_name: String,
        /// Refuse when this is not the tenant's current etag.
        #[arg(long, default_value = "")]
        etag: String,
    },
    /// Delete a tenant with everything in it. Its id is never given again.
    Delete {
        /// Its id.
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Keys that sign the security event tokens of a tenant (--tenant).
    #[command(subcommand)]
    SigningKeys(signing_keys::Action),
}

/// Runs `gatepost tenants`.
///
/// # Errors
/// What the server refused.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let (remote, mut out) = (args.remote.clone(), args.remote.out());
    match args.action {
        Action::List { limit } => out.list(remote.client().await?.tenants(), limit).await,
        Action::Get { id } => out.item(&remote.client().await?.tenant(id).get().await?),
        Action::Create { id, display_name } => {
            let tenant = v1::Tenant { display_name, ..v1::Tenant::default() };
            let request =
                v1::CreateTenantRequest { tenant_id: id.unwrap_or_default(), tenant: Some(tenant), request_id: String::new() };
            out.item(&remote.client().await?.create_tenant(request).await?)
        }
        Action::Update { id, display_name, etag } => {
            let client = remote.client().await?;
            let name = client.tenant(id).name().to_owned();
            let update_mask = Some(prost_types::FieldMask { paths: vec!["display_name".to_owned()] });
            let tenant = Some(v1::Tenant { name, display_name, etag, ..v1::Tenant::default() });
            out.item(&client.update_tenant(v1::UpdateTenantRequest { tenant, update_mask }).await?)
        }
        Action::Delete { id, yes } => {
            confirm(&format!("delete the tenant {id} with everything in it"), yes)?;
            out.item(&remote.client().await?.delete_tenant(id).await?)
        }
        Action::SigningKeys(action) => signing_keys::run(&remote, action).await,
    }
}

impl Show for v1::Tenant {
    const COLUMNS: &'static [(&'static str, usize)] = &[("ID", 20), ("STATE", 9), ("DISPLAY NAME", 20), ("CREATED", 20)];

    fn row(&self) -> Vec<String> {
        vec![id(&self.name), state(self), self.display_name.clone(), time(self.create_time.as_ref())]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("display name", self.display_name.clone()),
            ("state", state(self)),
            ("created", time(self.create_time.as_ref())),
            ("updated", time(self.update_time.as_ref())),
            ("etag", self.etag.clone()),
        ]
    }
}

fn state(tenant: &v1::Tenant) -> String {
    tenant.state().as_str_name().trim_start_matches("STATE_").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::parse;

    #[test]
    fn every_action_is_read() {
        assert!(matches!(parse::<Args>(&["list", "--limit", "0"]).action, Action::List { limit: 0 }));
        assert!(matches!(parse::<Args>(&["get", "acme"]).action, Action::Get { id } if id == "acme"));
        let Action::Create { id, display_name } = parse::<Args>(&["create", "acme", "--display-name", "Acme Corp"]).action else {
            panic!("not create");
        };
        assert_eq!((id.as_deref(), display_name.as_str()), (Some("acme"), "Acme Corp"));
        assert!(matches!(parse::<Args>(&["create"]).action, Action::Create { id: None, .. }));
        assert!(matches!(parse::<Args>(&["delete", "acme", "--yes"]).action, Action::Delete { yes: true, .. }));
        let rotate = parse::<Args>(&["signing-keys", "rotate", "--activate-after", "2h"]).action;
        assert!(matches!(rotate, Action::SigningKeys(signing_keys::Action::Rotate { activate_after })
            if activate_after == std::time::Duration::from_secs(7200)));
        let update = parse::<Args>(&["update", "acme", "--display-name", "A", "--etag", "e", "-o", "json"]);
        assert!(matches!(update.action, Action::Update { etag, .. } if etag == "e"));
    }
}
