//! The flags that every command of a client has, and the client they make.
//!
//! Commands flatten [`Remote`] into their own arguments. A key on the command line wins over the environment, a key over a file; it
//! is a `SecretString` from the first moment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gatepost_client::{Client, Error, Tenant, Tls};
use secrecy::SecretString;

use super::failure::Failure;
use super::output::{Format, Output};

/// Where the server is and who asks.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Server and output")]
pub(crate) struct Remote {
    /// The server's address.
    #[arg(long, env = "GATEPOST_URL", default_value = "http://127.0.0.1:7070", global = true, value_name = "URL")]
    pub(crate) url: String,

    /// API key; other users of this machine can see it here. [env: GATEPOST_KEY, GATEPOST_KEY_FILE]
    #[arg(long, global = true, value_name = "KEY", value_parser = secret, conflicts_with = "key_file")]
    pub(crate) key: Option<SecretString>,

    /// File that holds the API key.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,

    /// Tenant.
    #[arg(long, env = "GATEPOST_TENANT", default_value = "demo", global = true, value_name = "ID")]
    pub(crate) tenant: String,

    /// File with the certificates to trust instead of the system's, PEM.
    #[arg(long, env = "GATEPOST_CA_FILE", global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Longest time for one call with its repeats.
    #[arg(long, default_value = "30s", global = true, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,

    /// How to write data: JSON is the protobuf JSON mapping.
    #[arg(short, long, value_enum, default_value_t = Format::Table, global = true)]
    pub(crate) output: Format,
}

impl Remote {
    /// Connects now, so that a server that is not there is told at once.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let mut builder =
            Client::builder(&self.url).timeout(self.timeout).user_agent(concat!("gatepost/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = self.find_key(|name| std::env::var(name).ok())? {
            builder = builder.key(key);
        }
        if let Some(file) = &self.ca_file {
            builder = builder.tls(Tls::new().ca_pem(read(file)?));
        }
        builder.connect().await.map_err(|error| match error {
            Error::Transport { .. } => Failure::Unreachable { url: self.url.clone(), source: error },
            error => Failure::Call(error),
        })
    }

    /// Connects and looks at the chosen tenant.
    pub(crate) async fn tenant(&self) -> Result<Tenant, Failure> {
        Ok(self.client().await?.tenant(&self.tenant))
    }

    /// Where data goes.
    pub(crate) fn out(&self) -> Output<std::io::Stdout> {
        Output::stdout(self.output)
    }

    fn find_key(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Option<SecretString>, Failure> {
        if let Some(key) = &self.key {
            return Ok(Some(key.clone()));
        }
        let from_environment = |name| environment(name).filter(|value| !value.is_empty());
        let file = match &self.key_file {
            Some(file) => Some(file.clone()),
            None => match from_environment("GATEPOST_KEY") {
                Some(key) => return Ok(Some(key.into())),
                None => from_environment("GATEPOST_KEY_FILE").map(PathBuf::from),
            },
        };
        let Some(file) = file else { return Ok(None) };
        let text = String::from_utf8(read(&file)?)
            .map_err(|_| Failure::Configuration(vec![format!("{} does not hold a key", file.display())]))?;
        Ok(Some(text.trim().into()))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::Configuration(vec![format!("cannot read {}: {error}", file.display())]))
}

/// A value that is never shown.
pub(crate) fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(text.into())
}

/// Asks before something is destroyed. On anything but a terminal only `--yes` is an answer.
pub(crate) fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    use std::io::{BufRead, IsTerminal, Write};
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{what} needs --yes when nobody can be asked")));
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "{what}? [y/N] ").and_then(|()| stderr.flush()).map_err(|error| Failure::io("cannot ask", error))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::io("cannot read the answer", error))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Usage("nothing was changed".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use secrecy::ExposeSecret;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        remote: Remote,
    }

    fn remote(arguments: &[&str]) -> Remote {
        Line::try_parse_from(std::iter::once("gatepost").chain(arguments.iter().copied())).unwrap().remote
    }

    fn key(remote: &Remote, environment: &[(&str, &str)]) -> Option<String> {
        let find = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        remote.find_key(find).unwrap().map(|key| key.expose_secret().to_owned())
    }

    #[test]
    fn flags_set_what_they_say() {
        let remote =
            remote(&["--url", "https://gp.test", "--tenant", "acme", "-o", "jsonl", "--timeout", "5s", "--ca-file", "ca.pem"]);
        assert_eq!((remote.url.as_str(), remote.tenant.as_str()), ("https://gp.test", "acme"));
        assert_eq!((remote.output, remote.timeout), (Format::Jsonl, Duration::from_secs(5)));
        assert_eq!(remote.ca_file.as_deref(), Some(Path::new("ca.pem")));
    }

    #[test]
    fn a_key_is_taken_from_the_nearest_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "gp_from_file\n").unwrap();
        let file = file.to_str().unwrap();
        let both = [("GATEPOST_KEY", "gp_from_env"), ("GATEPOST_KEY_FILE", file)];
        assert_eq!(key(&remote(&["--key", "gp_flag"]), &both).as_deref(), Some("gp_flag"));
        assert_eq!(key(&remote(&["--key-file", file]), &both).as_deref(), Some("gp_from_file"));
        assert_eq!(key(&remote(&[]), &both).as_deref(), Some("gp_from_env"));
        assert_eq!(key(&remote(&[]), &both[1..]).as_deref(), Some("gp_from_file"));
        assert_eq!(key(&remote(&[]), &[]), None);
    }

    #[test]
    fn a_key_file_that_is_not_there_is_bad_configuration() {
        let failure = remote(&["--key-file", "/nowhere/key"]).find_key(|_| None).unwrap_err();
        assert_eq!(failure.exit_code(), 64);
    }

    #[test]
    fn the_key_is_never_shown() {
        assert!(!format!("{:?}", remote(&["--key", "gp_k_verysecret"])).contains("verysecret"));
    }
}
