//! `gatepost keys bootstrap`: the first API key of a server, written to its database and printed once.

use secrecy::ExposeSecret as _;

use super::failure::Failure;
use super::output::{line, note};
use super::settings::{self, Settings};
use crate::domain::caller::ApiKey;
use crate::store::keys::NewKey;

/// Arguments of `gatepost keys bootstrap`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name for people.
    #[arg(long, default_value = "root")]
    display_name: String,
    #[command(flatten)]
    settings: Settings,
}

/// Makes a key that may do everything for all tenants, and prints it.
///
/// # Errors
/// A bad configuration; a database that cannot be used, or that another process has open.
pub async fn run(args: Args) -> Result<(), Failure> {
    let config = args.settings.load()?;
    let store = settings::open_store(&config).await?;
    let key = ApiKey::generate(store.clock().uuid(), &rand::random());
    let new = NewKey::root(&key, store.key_ring(), args.display_name);
    store.create_key(new, None).await.map_err(|error| Failure::other("cannot make the key", error))?;
    store.close().await;
    note("this key may do everything; it is shown this once");
    line(key.text().expose_secret())
}
