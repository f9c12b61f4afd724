//! Logs and metrics: one subscriber for the process, set first thing by every command that runs a server, and one [`Metrics`] a server.
//!
//! Lines go to stderr, as stdout belongs to data. Rooms log through `tracing` with stable field names; payloads and secrets never. The
//! chain of an error's sources is written once, where it is handled, with [`chain`].

pub mod metrics;

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

pub use metrics::Metrics;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directives of the filter are wrong; a loaded configuration has none such.
    #[error("the log filter is wrong")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has a subscriber already.
    #[error("logging is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the process's logs to stderr, in the configured form.
///
/// # Errors
/// [`Error`]: nothing was changed.
pub fn init(log: &Log) -> Result<(), Error> {
    let stderr_is_terminal = io::stderr().is_terminal();
    let dispatch = dispatch(log, stderr_is_terminal, io::stderr)?;
    Ok(dispatch.try_init()?)
}

fn dispatch<W>(log: &Log, terminal: bool, writer: W) -> Result<tracing::Dispatch, Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&log.filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let pretty = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    Ok(if pretty {
        // Colours follow the terminal and NO_COLOR even where `pretty` is asked for.
        builder.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())).compact().into()
    } else {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).into()
    })
}

/// An error with all its sources, `first: second: third`, for the one line that logs it.
pub fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl fmt::Display + 'a {
    struct Chain<'a>(&'a (dyn StdError + 'static));
    impl fmt::Display for Chain<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", self.0)?;
            let mut source = self.0.source();
            while let Some(error) = source {
                write!(f, ": {error}")?;
                source = error.source();
            }
            Ok(())
        }
    }
    Chain(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, terminal: bool) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = Log { format, filter: "info".to_owned() };
        let dispatch = dispatch(&log, terminal, move || writer.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::info!(rpc = "GetTenant", "answered");
            tracing::debug!("not asked for");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_json_unless_a_person_looks() {
        for (format, terminal, json) in [
            (LogFormat::Auto, false, true),
            (LogFormat::Auto, true, false),
            (LogFormat::Pretty, false, false),
            (LogFormat::Json, true, true),
        ] {
            let text = logged(format, terminal);
            assert_eq!(text.lines().count(), 1, "{text}");
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(line) => assert!(json && line["rpc"] == "GetTenant" && line["message"] == "answered", "{line}"),
                Err(_) => assert!(!json && text.contains("answered"), "{text}"),
            }
        }
        assert!(!logged(LogFormat::Pretty, false).contains('\u{1b}'), "no colours where no terminal is");
    }

    #[test]
    fn a_chain_names_every_source() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open")]
        struct Outer(#[source] io::Error);
        assert_eq!(chain(&Outer(io::Error::other("no space"))).to_string(), "cannot open: no space");
    }
}
