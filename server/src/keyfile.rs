//! The key file of an SQLite database: its key ring, in a file beside it that only its owner reads.
//!
//! The composition root calls it before the store opens, when no `master_keys` are set. It never makes a key for a database that exists
//! already: whatever that one holds was sealed under another, and a new key would only hide the loss.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::config::{Backend, Config};
use crate::domain::secret::{KeyRing, RingError};

/// Id of the key in a new key file.
const FIRST_ID: &str = "k1";

/// Why there is no key ring.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// PostgreSQL serves several nodes, so that its keys cannot lie beside one.
    #[error(
        "no master key is set: make one with `echo \"k1:$(openssl rand -base64 32)\"`, keep it safe, and give it to every node as \
         GATEPOST_MASTER_KEYS or, in a file, GATEPOST_MASTER_KEYS_FILE"
    )]
    NotSet,
    /// The database is there and its key file is not.
    #[error("{} exists and its key file {} does not: put the file back, or set GATEPOST_MASTER_KEYS", .database.display(), .key_file.display())]
    Lost {
        /// The database.
        database: PathBuf,
        /// Where its key file should be.
        key_file: PathBuf,
    },
    /// Others than its owner may read or write the file.
    #[error("others may read the key file {}: `chmod 600` it, and consider its key known", .0.display())]
    Open(PathBuf),
    /// The file is no key ring.
    #[error("the key file {} is no key ring", .path.display())]
    Ring {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: RingError,
    },
    /// It cannot be read or made.
    #[error("cannot use the key file {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The key ring of the configuration: `master_keys`; else the key file of an SQLite database, made with the database; else, for a
/// database in memory, one that ends with the process. `random`: 32 random bytes for a new key.
///
/// # Errors
/// [`Error`], which says what to do.
pub fn key_ring(config: &Config, random: &[u8; 32]) -> Result<KeyRing, Error> {
    match (&config.master_keys, config.key_file(), config.database.url.sqlite_path()) {
        (Some(ring), ..) => Ok(ring.clone()),
        (None, Some(key_file), Some(database)) => open_or_make(&key_file, database, random),
        (None, ..) if config.database.url.backend() == Backend::Sqlite => parse(Path::new("in memory"), &new_ring(random)),
        (None, ..) => Err(Error::NotSet),
    }
}

fn open_or_make(key_file: &Path, database: &Path, random: &[u8; 32]) -> Result<KeyRing, Error> {
    if let Some(ring) = open(key_file)? {
        return Ok(ring);
    }
    if fs::metadata(database).is_ok_and(|found| found.len() > 0) {
        return Err(Error::Lost { database: database.to_owned(), key_file: key_file.to_owned() });
    }
    make(key_file, &new_ring(random)).map_err(|source| Error::Io { path: key_file.to_owned(), source })?;
    // Another process may have been first: what lies there now is the ring of both.
    open(key_file)?.ok_or_else(|| Error::Io { path: key_file.to_owned(), source: io::ErrorKind::NotFound.into() })
}

fn open(path: &Path) -> Result<Option<KeyRing>, Error> {
    let io_error = |source| Error::Io { path: path.to_owned(), source };
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    if !is_private(&file.metadata().map_err(io_error)?) {
        return Err(Error::Open(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    io::Read::read_to_string(&mut file, &mut text).map_err(io_error)?;
    parse(path, &text).map(Some)
}

fn parse(path: &Path, text: &str) -> Result<KeyRing, Error> {
    KeyRing::parse(text).map_err(|source| Error::Ring { path: path.to_owned(), source })
}

fn new_ring(random: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n", KeyRing::entry(FIRST_ID, random).expose_secret()))
}

/// Makes the file whole or not at all: written and synced under another name, then linked, which fails where a file is already.
fn make(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft_name = path.as_os_str().to_owned();
    draft_name.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft_name);
    let _ = fs::remove_file(&draft); // A crash may have left one; usually there is none.
    let written = write_private(&draft, text).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = fs::remove_file(&draft);
    written.and(removed)?;
    // Without this a power cut may keep the database and lose the name of its key.
    fs::File::open(directory)?.sync_all()
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(unix)]
fn is_private(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 == 0
}

#[cfg(not(unix))]
fn is_private(_: &fs::Metadata) -> bool {
    true
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use std::os::unix::fs::PermissionsExt;

    fn config(url: &str) -> Config {
        Config::load(Sources::new().flag("database.url", url)).unwrap()
    }

    fn in_directory() -> (tempfile::TempDir, Config, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let config = config(&format!("sqlite://{}", directory.path().join("g.db").display()));
        let key_file = directory.path().join("g.db.key");
        (directory, config, key_file)
    }

    /// Whether two rings hold the same first key.
    fn same(one: &KeyRing, other: &KeyRing) -> bool {
        one.hash_api_key("key_1", "secret") == other.hash_api_key("key_1", "secret")
    }

    #[test]
    fn a_key_file_is_made_once_and_is_its_owners_alone() {
        let (directory, config, key_file) = in_directory();
        let first = key_ring(&config, &[1; 32]).unwrap();
        assert_eq!(fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(directory.path().join("g.db"), "in use").unwrap();
        assert!(same(&first, &key_ring(&config, &[2; 32]).unwrap()));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "no draft is left");
    }

    #[test]
    fn no_key_is_made_for_a_database_that_lost_its_own() {
        let (directory, config, key_file) = in_directory();
        fs::write(directory.path().join("g.db"), "in use").unwrap();
        assert!(matches!(key_ring(&config, &[1; 32]), Err(Error::Lost { .. })));
        assert!(!key_file.exists());
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let (_directory, config, key_file) = in_directory();
        key_ring(&config, &[1; 32]).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(key_ring(&config, &[1; 32]), Err(Error::Open(_))));
    }

    #[test]
    fn processes_that_start_together_agree() {
        let (_directory, config, key_file) = in_directory();
        make(&key_file, &new_ring(&[5; 32])).unwrap();
        make(&key_file, &new_ring(&[6; 32])).unwrap();
        let ring = key_ring(&config, &[7; 32]).unwrap();
        assert!(same(&ring, &KeyRing::parse(&new_ring(&[5; 32])).unwrap()));
    }

    #[test]
    fn set_keys_win_and_postgres_needs_them() {
        let (_directory, mut config, key_file) = in_directory();
        config.master_keys = Some(KeyRing::parse(&new_ring(&[5; 32])).unwrap());
        assert!(same(&key_ring(&config, &[1; 32]).unwrap(), &KeyRing::parse(&new_ring(&[5; 32])).unwrap()));
        assert!(!key_file.exists());
        let refused = key_ring(&self::config("postgres://localhost/x"), &[1; 32]).unwrap_err().to_string();
        assert!(refused.contains("openssl rand -base64 32"), "{refused}");
        assert!(key_ring(&self::config("sqlite::memory:"), &[1; 32]).is_ok());
    }
}
