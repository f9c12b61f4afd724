//! Other people's implementations, run as programs: Python's and Node's libraries check what Gatepost sends and serves.
//!
//! Tests call [`python`] and [`node`]; a tool that is missing makes the test skip with its name, or fail where
//! `GATEPOST_REQUIRE_ORACLES` is set. `.ci/run` installs the packages and names their homes in `GATEPOST_ORACLE_PYTHON` (an
//! interpreter) and `GATEPOST_ORACLE_NODE` (a folder with `node_modules`).

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tokio::{io::AsyncWriteExt, process::Command, sync::OnceCell};

/// Whether a tool is there, which does not change while tests run.
type Probed = OnceCell<bool>;

/// What a Python program of `tests/oracles` makes of its arguments and `input`; `None` where its packages are missing.
pub async fn python(test: &str, program: &str, arguments: &[&str], input: &str) -> Option<Output> {
    static PROBED: Probed = Probed::const_new();
    let interpreter = std::env::var_os("GATEPOST_ORACLE_PYTHON").unwrap_or_else(|| "python3".into());
    let mut probe = Command::new(&interpreter);
    probe.args(["-c", "import cloudevents, grpc_reflection, joserfc, jsonschema, jwcrypto, pagerduty, prometheus_client, slack_sdk, standardwebhooks"]);
    present(test, "Python packages", &PROBED, probe).await?;
    let mut command = Command::new(&interpreter);
    command.arg(folder().join(program)).args(arguments);
    Some(run(command, input).await)
}

/// What a Node program of `tests/oracles` makes of its arguments and `input`; `None` where its packages are missing.
pub async fn node(test: &str, program: &str, arguments: &[&str], input: &str) -> Option<Output> {
    static PROBED: Probed = Probed::const_new();
    let mut probe = Command::new("node");
    probe
        .args(["-e", "['@atlaskit/adf-schema/package.json', 'cloudevents', 'jose', 'standardwebhooks'].forEach(require.resolve)"])
        .current_dir(modules());
    present(test, "Node packages", &PROBED, probe).await?;
    let mut command = Command::new("node");
    command.arg(folder().join(program)).args(arguments).current_dir(modules());
    Some(run(command, input).await)
}

/// A command of `buf`; `None` where it is missing.
pub async fn buf(test: &str, arguments: &[&str]) -> Option<Command> {
    static PROBED: Probed = Probed::const_new();
    let path = modules().join("node_modules/.bin/buf");
    let mut probe = Command::new(&path);
    probe.arg("--version");
    present(test, "buf", &PROBED, probe).await?;
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    Some(command)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oracles")
}

/// The folder that `node_modules` is in.
pub fn modules() -> PathBuf {
    std::env::var_os("GATEPOST_ORACLE_NODE").map_or_else(folder, PathBuf::from)
}

async fn present(test: &str, tool: &str, probed: &Probed, mut probe: Command) -> Option<()> {
    probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if *probed.get_or_init(async || probe.status().await.is_ok_and(|status| status.success())).await {
        return Some(());
    }
    assert!(std::env::var_os("GATEPOST_REQUIRE_ORACLES").is_none(), "{tool} are required and missing: see tests/oracles");
    // Straight to the stream: what `eprintln!` says in a test that passes is swallowed.
    let _ = writeln!(std::io::stderr(), "SKIPPED oracle: {test} ({tool} missing)");
    None
}

async fn run(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the oracle starts");
    let mut stdin = child.stdin.take().expect("a piped input");
    let writing = async move {
        // An oracle that ends early shows why in its output.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let ((), output) = tokio::join!(writing, child.wait_with_output());
    output.expect("the oracle's output")
}
