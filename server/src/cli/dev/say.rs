//! What `dev` says on stdout. The root key is shown here, on purpose, and no other secret.

use std::io::Write as _;
use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::demo::{Demo, ENDPOINT, TENANT};
use crate::cli::Failure;
use crate::cli::listen::{Received, Verdict};

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

fn say(text: &str) -> Result<(), Failure> {
    // anstream leaves colours out where nobody sees them, and where NO_COLOR is set.
    writeln!(anstream::stdout(), "{text}").map_err(Failure::output)
}

pub(super) fn note(text: &str) -> Result<(), Failure> {
    say(&format!("{FAINT}{text}{FAINT:#}"))
}

/// Where everything is.
pub(super) fn welcome(demo: &Demo, receiver: &str) -> Result<(), Failure> {
    let (key_file, database) = (demo.root_key.file.display(), demo.database.display());
    say(&format!(
        "{STRONG}Gatepost {version}{STRONG:#} listening on {url}\n\
         \n\
         \x20 database   {database}\n\
         \x20 tenant     {TENANT}\n\
         \x20 endpoint   {ENDPOINT} → {receiver} (in this process; http and loopback are allowed here, as this is dev)\n\
         \x20 root key   {key}\n\
         \x20            {FAINT}kept in {key_file}{FAINT:#}\n",
        version = env!("CARGO_PKG_VERSION"),
        url = demo.url,
        key = demo.key_text(),
    ))
}

/// One request that arrived.
pub(super) fn received(request: &Received) -> Result<(), Failure> {
    let (colour, verdict) = match &request.verdict {
        Verdict::Verified => (GOOD, "✓ signature verified".to_owned()),
        Verdict::Unchecked => (FAINT, "signature not checked".to_owned()),
        Verdict::Refused(error) => (BAD, format!("✗ refused: {error}")),
    };
    let Received { event_type, id, attempt, status, .. } = request;
    let status = status.as_u16();
    say(&format!("{colour}{verdict}{colour:#}  {STRONG}{event_type}{STRONG:#}  {id}  attempt {attempt}  answered {status}"))
}

/// Three commands, each of which works as it stands in another terminal, from any folder.
pub(super) fn next(demo: &Demo) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::io("this program has no path", error))?;
    let key_file = std::path::absolute(&demo.root_key.file).map_err(|error| Failure::io("the key file has no path", error))?;
    say(&format!("\nTry next, in another terminal:\n\n{}\nCtrl-C stops.\n", commands(&program, &key_file, &demo.url)))
}

fn commands(program: &Path, key_file: &Path, url: &str) -> String {
    let program = quoted(&program.display().to_string());
    let who = format!("--url {url} --key-file {}", quoted(&key_file.display().to_string()));
    [format!("trigger user.created --wait {who}"), format!("deliveries list {who}"), format!("watch --since 10m {who}")]
        .map(|command| format!("  {program} {command}\n"))
        .concat()
}

/// For POSIX shells, and left alone where nothing needs quotes.
fn quoted(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-:".contains(&byte));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_one_that_this_program_has() {
        use clap::Parser as _;
        let text = commands(Path::new("/opt/gatepost"), Path::new("/tmp/d.db.root-key"), "http://127.0.0.1:7070");
        assert_eq!(text.lines().count(), 3);
        for line in text.lines() {
            // None of their arguments is quoted.
            crate::cli::Cli::try_parse_from(line.split_whitespace()).unwrap();
        }
    }

    #[test]
    fn paths_with_spaces_are_quoted() {
        assert_eq!(quoted("/a/b-c.d"), "/a/b-c.d");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
