//! `gatepost tenants signing-keys`: the keys that sign a tenant's security event tokens.

use std::time::Duration;

use clap::Subcommand;
use gatepost_client::v1;

use super::connect::Remote;
use super::failure::Failure;
use super::output::{Show, id, note, time};

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// List the keys that are published, newest first.
    List,
    /// Make a new key. It is published now and signs later, so that receivers know it by then.
    Rotate {
        /// How long it is published before it signs.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
        activate_after: Duration,
    },
}

/// Runs `gatepost tenants signing-keys`, on the tenant of `--tenant`.
///
/// # Errors
/// What the server refused.
pub(crate) async fn run(remote: &Remote, action: Action) -> Result<(), Failure> {
    let (tenant, mut out) = (remote.tenant().await?, remote.out());
    match action {
        Action::List => {
            let keys = tenant.signing_keys().await?;
            if keys.is_empty() {
                note("there is none yet: the first is made with the first endpoint of format `set`");
            }
            out.list(futures::stream::iter(keys.into_iter().map(Ok)), 0).await
        }
        Action::Rotate { activate_after } => out.item(&tenant.rotate_signing_key(Some(activate_after)).await?),
    }
}

impl Show for v1::SigningKey {
    const COLUMNS: &'static [(&'static str, usize)] =
        &[("NO", 3), ("KEY ID", 43), ("CREATED", 20), ("SIGNS FROM", 20), ("PUBLISHED UNTIL", 20)];

    fn row(&self) -> Vec<String> {
        vec![
            id(&self.name),
            self.key_id.clone(),
            time(self.create_time.as_ref()),
            time(self.activate_time.as_ref()),
            time(self.expire_time.as_ref()),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("key id", self.key_id.clone()),
            ("public key", self.public_jwk.clone()),
            ("created", time(self.create_time.as_ref())),
            ("signs from", time(self.activate_time.as_ref())),
            ("published until", time(self.expire_time.as_ref())),
        ]
    }
}
