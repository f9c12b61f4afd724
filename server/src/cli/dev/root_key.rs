//! The root key of `dev`: in a file beside the database that only its owner reads, so that every start shows the same one.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;

use crate::cli::Failure;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::caller::ApiKey;

/// The key and where it lies.
pub(super) struct RootKey {
    /// The key.
    pub(super) key: ApiKey,
    /// Its file.
    pub(super) file: PathBuf,
}

/// Reads the key of a database, or makes it; the server then makes sure that it opens everything. `random`: for a new key.
///
/// # Errors
/// The file cannot be used, or holds something else.
pub(super) fn open(mut config: Config, random: [u8; 32]) -> Result<(Config, RootKey), Failure> {
    let database = config.database.url.sqlite_path().unwrap_or(Path::new("gatepost-dev.db"));
    let mut file = database.as_os_str().to_owned();
    file.push(".root-key");
    let file = PathBuf::from(file);
    let unusable = |error| Failure::io(format!("cannot use {}", file.display()), error);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = ApiKey::generate(Clock::system().uuid(), &random).text().expose_secret().to_owned();
            write_private(&file, &text).map_err(unusable)?;
            text
        }
        Err(error) => return Err(unusable(error)),
    };
    let Some(key) = ApiKey::parse(text.trim()) else {
        return Err(Failure::Configuration(vec![format!("{} holds no API key: remove it for a new one", file.display())]));
    };
    config.root_key = Some(key.clone());
    Ok((config, RootKey { key, file }))
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    writeln!(options.open(path)?, "{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn every_start_on_a_database_has_the_same_key_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("d.db").display());
        let config = || Config::load(Sources::new().flag("database.url", url.as_str())).unwrap();
        let (first, root) = open(config(), [1; 32]).unwrap();
        assert_eq!(first.root_key.unwrap().key_id, root.key.key_id);
        let (_, again) = open(config(), [2; 32]).unwrap();
        assert_eq!(root.key.text().expose_secret(), again.key.text().expose_secret());
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&root.file).unwrap().permissions()) & 0o777, 0o600);
        fs::write(&root.file, "nonsense").unwrap();
        assert!(matches!(open(config(), [3; 32]), Err(Failure::Configuration(_))));
    }
}
