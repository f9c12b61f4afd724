//! The product's client commands against a world, as people and scripts use them.

use std::process::Output;

use gatepost_tests::{DEADLINE, Settings, World};
use serde_json::Value;
use tokio::process::Command;

/// Runs commands for the tenant `acme` with the root key.
pub(crate) struct Shell(pub(crate) Settings);

impl Shell {
    pub(crate) fn of(world: &World) -> Self {
        Self(
            Settings::none()
                .set("GATEPOST_URL", &world.server.url())
                .set("GATEPOST_TENANT", "acme")
                .set("GATEPOST_KEY", world.server.key()),
        )
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        finished(self.0.command(arguments)).await
    }

    /// What it printed, when it went well.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["-o", "json"]].concat()).await).expect("one JSON document")
    }

    /// What it said on stderr when it failed with this exit code.
    pub(crate) async fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

pub(crate) async fn finished(mut command: Command) -> Output {
    tokio::time::timeout(DEADLINE, command.output()).await.expect("it ends").expect("it starts")
}

pub(crate) fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    format!("{}\n{out}\n{err}", output.status)
}
