//! `gatepost keys bootstrap`: the first API key of a server, made at its database and shown once.

use secrecy::ExposeSecret as _;

use super::failure::Failure;
use super::output::note;
use super::settings::{self, Settings};
use crate::clock::Clock;
use crate::domain::caller::{ApiKey, Scope, Verb};
use crate::server::open_store;
use crate::store::keys::NewKey;
use crate::store::{self, Store};

/// Arguments of `gatepost keys bootstrap`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name for people.
    #[arg(long, default_value = "bootstrap")]
    display_name: String,

    #[command(flatten)]
    settings: Settings,
}

/// Runs `gatepost keys bootstrap`. The key opens everything; make lesser ones with it, then revoke it.
///
/// # Errors
/// The configuration is wrong (exit code 64), or the database is in use or does not answer.
pub async fn run(args: Args) -> Result<(), Failure> {
    let config = settings::load(args.settings.sources())?;
    let keys = settings::key_ring(&config)?;
    let store = Box::pin(open_store(&config, keys, Clock::system())).await.map_err(|error| match error {
        store::Error::Locked(_) => Failure::other("stop the server first, or make a key with `gatepost keys create`", error),
        error => failed(error),
    })?;
    let made = make(&store, args.display_name).await;
    store.close().await;
    let key = made.map_err(failed)?;
    print(&key).map_err(Failure::output)?;
    note("the key opens everything and is shown this once: keep it now");
    Ok(())
}

async fn make(store: &Store, display_name: String) -> Result<ApiKey, store::Error> {
    let key = ApiKey::generate(uuid::Uuid::now_v7(), &rand::random());
    let hash = store.key_ring().hash_api_key(&key.key_id, key.secret.expose_secret());
    let scopes = vec![Scope::Verb(Verb::Admin), Scope::AllTenants];
    store.create_key(NewKey { id: key.key_id.clone(), display_name, hash, scopes, expire_time: None }, None).await?;
    Ok(key)
}

fn print(key: &ApiKey) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{}", key.text().expose_secret())
}

fn failed(error: store::Error) -> Failure {
    Failure::other("the database cannot be used", error)
}
