//! `gatepost keys`: API keys. The first one of a server comes from `keys bootstrap`, which speaks to the database.

use std::time::{Duration, SystemTime};

use clap::Subcommand;
use gatepost_client::v1;

use super::connect::{Remote, confirm};
use super::failure::Failure;
use super::output::{Show, id, note, time};
use super::{bootstrap, watch};

/// Arguments of `gatepost keys`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the first key of a server, at its database.
    Bootstrap(bootstrap::Args),
    /// List the keys that may do no more than yours.
    List {
        /// Most to show; 0 shows all.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        remote: Remote,
    },
    /// Make a key; it is shown once.
    Create {
        /// Name for people.
        #[arg(long, default_value = "")]
        display_name: String,
        /// What it may do and where, such as `publish` or `tenants:acme`; may be repeated.
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<String>,
        /// When it ends: after this time. Absent: never.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
        #[command(flatten)]
        remote: Remote,
    },
    /// End a key.
    Revoke {
        /// Its id.
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        remote: Remote,
    },
}

/// Runs `gatepost keys`.
///
/// # Errors
/// What the server refused.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Bootstrap(args) => bootstrap::run(args).await,
        Action::List { remote, limit } => remote.out().list(remote.client().await?.api_keys(), limit).await,
        Action::Create { remote, display_name, scopes, expires } => {
            let expire_time = expires.and_then(|time| watch::now().checked_add(time)).map(SystemTime::into);
            let api_key = Some(v1::ApiKey { display_name, scopes, expire_time, ..v1::ApiKey::default() });
            let request = v1::CreateApiKeyRequest { api_key, request_id: String::new() };
            remote.out().item(&remote.client().await?.create_api_key(request).await?)?;
            note("the key is shown this once: keep it now");
            Ok(())
        }
        Action::Revoke { remote, id, yes } => {
            confirm(&format!("revoke the key {id}"), yes)?;
            remote.out().item(&remote.client().await?.revoke_api_key(id).await?)
        }
    }
}

impl Show for v1::ApiKey {
    const COLUMNS: &'static [(&'static str, usize)] =
        &[("ID", 30), ("DISPLAY NAME", 20), ("SCOPES", 30), ("LAST USED", 20), ("EXPIRES", 20), ("REVOKED", 20)];

    fn row(&self) -> Vec<String> {
        vec![
            id(&self.name),
            self.display_name.clone(),
            self.scopes.join(" "),
            time(self.last_use_time.as_ref()),
            time(self.expire_time.as_ref()),
            time(self.revoke_time.as_ref()),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("display name", self.display_name.clone()),
            ("scopes", self.scopes.join("\n")),
            ("created", time(self.create_time.as_ref())),
            ("expires", time(self.expire_time.as_ref())),
            ("revoked", time(self.revoke_time.as_ref())),
            ("key", self.key.clone()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{parse, refuse};

    #[test]
    fn every_action_is_read() {
        let Action::Create { scopes, expires, .. } =
            parse::<Args>(&["create", "--scope", "publish", "--scope", "tenants:acme", "--expires", "90d"]).action
        else {
            panic!("not create")
        };
        assert_eq!(
            (scopes, expires),
            (vec!["publish".to_owned(), "tenants:acme".to_owned()], Some(Duration::from_secs(90 * 86_400)))
        );
        assert!(matches!(parse::<Args>(&["revoke", "key_1", "--yes"]).action, Action::Revoke { yes: true, .. }));
        assert!(matches!(parse::<Args>(&["list", "-o", "json"]).action, Action::List { limit: 100, .. }));
        assert_eq!(refuse::<Args>(&["create"]), 2);
    }
}
