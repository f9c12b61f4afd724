//! The command line as people and scripts use it: its output, its exit codes, and a file of 10,000 events from one end to the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use gatepost_tests::{
    Answer, DEADLINE, Database, Program, Receiver, Settings, World,
    histories::{COUNT, SEED, histories},
    on_both_databases, until, until_within,
    world::{PERSON, waits},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::shell::{Shell, finished, said};

on_both_databases!(
    ten_thousand_events_go_through_the_command_line_and_every_one_is_accounted_for,
    an_event_is_published_from_an_argument_a_file_and_a_pipe,
    exit_codes_say_what_happened,
    data_is_json_for_programs_and_a_table_for_people,
);

fn texts<'a>(lines: impl IntoIterator<Item = &'a String>, field: &str) -> BTreeSet<String> {
    let values = lines.into_iter().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    values.map(|value| value[field].as_str().expect("a text").to_owned()).collect()
}

async fn ten_thousand_events_go_through_the_command_line_and_every_one_is_accounted_for(database: Database) {
    const PATIENCE: Duration = Duration::from_secs(240);
    let world = World::on(&database).await;
    let shell = Shell::of(&world);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("histories.jsonl");
    let lines = histories(SEED, COUNT);
    std::fs::write(&file, lines.join("\n") + "\n").expect("the file is written");
    let ids = texts(&lines, "event_id");
    assert_eq!(ids.len(), 10_000);

    let created = ["endpoints", "create", "http://127.0.0.1:65000/", "--id", "siem", "--max-in-flight", "50"];
    shell.ok(&created).await;
    let mut listen = Program::start(shell.0.command(&["listen", "--endpoint", "siem", "-o", "jsonl"]));
    let listening = listen.errors.with("listening on ").await;
    let url = listening.split_whitespace().last().expect("a URL").to_owned();
    shell.ok(&["endpoints", "update", "siem", "--endpoint-url", &url]).await;
    let mut watch = Program::start(shell.0.command(&["watch", "--endpoint", "siem", "--since", "1h", "-o", "jsonl"]));

    let published =
        tokio::time::timeout(PATIENCE, shell.0.command(&["publish", "--jsonl", file.to_str().expect("UTF-8")]).output());
    let published = published.await.expect("it ends").expect("it starts");
    assert!(published.status.success(), "{}", said(&published));
    let summary = String::from_utf8_lossy(&published.stderr).into_owned();
    assert!(summary.contains("published 10000 events") && summary.contains("0 lines failed"), "{summary}");
    println!("{}", summary.trim());

    until_within(PATIENCE, "every event in the output of listen and of watch", async || {
        let (arrived, changes) = (listen.output.all(), watch.output.all());
        let succeeded = changes.iter().filter(|line| line.contains("STATE_SUCCEEDED")).count();
        if arrived.len() >= COUNT && succeeded >= COUNT { Ok(()) } else { Err((arrived.len(), succeeded)) }
    })
    .await;
    assert!(listen.stop().await.success() && watch.stop().await.success());
    let arrived = listen.output.all();
    assert_eq!(arrived.len(), COUNT, "each arrives once");
    assert_eq!(texts(&arrived, "webhookId"), ids);
    assert!(arrived.iter().all(|line| line.contains("\"verified\":true")), "every signature is good");
    assert!(listen.errors.with("received ").await.contains("10000 requests of 10000 events: 10000 verified, 0 refused"));

    let mut last = BTreeMap::<String, (i64, String)>::new();
    for line in watch.output.all() {
        let change: Value = serde_json::from_str(&line).expect("a line is JSON");
        let event = change["event"].as_str().and_then(|name| name.rsplit('/').next()).expect("a name").to_owned();
        let revision = (change["revision"].as_i64().expect("a number"), change["state"].as_str().expect("a state").to_owned());
        let known = last.entry(event).or_default();
        *known = known.clone().max(revision);
    }
    assert_eq!(last.keys().cloned().collect::<BTreeSet<_>>(), ids);
    assert!(
        last.values().all(|(_, state)| state == "STATE_SUCCEEDED"),
        "{:?}",
        last.values().find(|last| last.1 != "STATE_SUCCEEDED")
    );
    // Published again, every line is known.
    let again = finished(shell.0.command(&["publish", "--jsonl", file.to_str().expect("UTF-8")])).await;
    assert!(
        again.status.success() && String::from_utf8_lossy(&again.stderr).contains("10000 of them known before"),
        "{}",
        said(&again)
    );
}

async fn an_event_is_published_from_an_argument_a_file_and_a_pipe(database: Database) {
    let world = World::on(&database).await;
    let shell = Shell::of(&world);
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let data = r#"{ "user": {"id": "usr_1"},  "n": 1.0 }"#;
    let answer = shell
        .json(&[
            "publish",
            "user.created",
            "-d",
            data,
            "--event-id",
            "hr-1",
            "--subject",
            "user/9",
            "--tag",
            "a=b",
            "--tag",
            "c=d=e",
        ])
        .await;
    assert_eq!(
        (answer["event"].as_str(), answer["deliveryCount"].as_i64()),
        (Some("tenants/acme/events/hr-1"), Some(1)),
        "{answer}"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("data.json");
    std::fs::write(&file, data).expect("the file is written");
    shell.ok(&["publish", "user.created", "-d", &format!("@{}", file.display()), "--event-id", "hr-2"]).await;
    let mut command = shell.0.command(&["publish", "user.created", "-d", "-", "--event-id", "hr-3"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(data.as_bytes()).await.expect("it reads");
    assert!(child.wait().await.expect("it ends").success());
    for id in ["hr-1", "hr-2", "hr-3"] {
        assert_eq!(world.tenant.get_event(id).await.expect("the event").data, data);
    }
    let event = shell.json(&["events", "get", "hr-1"]).await;
    assert_eq!((event["subject"].as_str(), event["tags"]["c"].as_str()), (Some("user/9"), Some("d=e")), "{event}");
    let delivered = shell.json(&["publish", "user.activated", "-d", data, "--wait"]).await;
    assert_eq!(delivered[0]["state"], "STATE_SUCCEEDED", "{delivered}");
    receiver.wait_for(4).await;
}

async fn exit_codes_say_what_happened(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, request| match request.id() {
        "dead" => Answer::status(404),
        "late" => Answer::hang(),
        _ => Answer::status(200),
    })
    .await;
    world
        .endpoint("siem", &receiver.url(), |endpoint| {
            endpoint.permanent_statuses = vec![404];
            endpoint.retry_policy = waits(&[600]);
        })
        .await;
    let limited = world.key(&["publish", "tenants:acme"]).await.key;
    let folder = tempfile::tempdir().expect("a folder");
    let lines = folder.path().join("lines.jsonl");
    std::fs::write(
        &lines,
        format!("{{\"type\":\"user.created\",\"data\":{PERSON}}}\nnonsense\n{{\"type\":\"bad\",\"data\":{PERSON}}}\n"),
    )
    .expect("the file is written");
    let lines = lines.to_str().expect("UTF-8");
    let shell = Shell::of(&world);
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let nobody = format!("http://{nobody}");
    for (arguments, code, words) in [
        (&["publish", "user.created", "-d", PERSON][..], 0, &[][..]),
        (&["publish", "user.created", "-d", PERSON, "--wait"], 0, &[]),
        (&["--help"], 0, &[]),
        (&["--version"], 0, &[]),
        (&["publish", "nonsense", "-d", "[]"], 1, &["INVALID_ARGUMENT", "INVALID_FIELDS", "type:", "data:"]),
        (&["endpoints", "create", "ftp://x", "--id", "X"], 1, &["endpoint.url:", "endpoint_id:"]),
        (&["publish", "user.created", "-d", "@/nowhere/data.json"], 1, &["/nowhere/data.json"]),
        (&["nonsense"], 2, &["Usage"]),
        (&["publish"], 2, &["Usage"]),
        (&["endpoints", "delete", "siem"], 2, &["--yes"]),
        (&["endpoints", "get", "nothing"], 3, &["NOT_FOUND", "tenants/acme/endpoints/nothing"]),
        (&["events", "get", "nothing", "--tenant", "nowhere"], 3, &["NOT_FOUND"]),
        (&["endpoints", "list", "--key", &limited], 4, &["PERMISSION_DENIED", "SCOPE_MISSING", "endpoints.read"]),
        (&["endpoints", "list", "--key", "nonsense"], 4, &["UNAUTHENTICATED", "hint"]),
        (&["info", "--url", &nobody], 5, &[&nobody, "hint"]),
        (&["publish", "user.created", "-d", PERSON, "--event-id", "late", "--wait=1s"], 5, &["PENDING"]),
        (&["publish", "user.created", "-d", PERSON, "--event-id", "dead", "--wait"], 6, &["DEAD"]),
        (&["publish", "--jsonl", lines], 6, &["line 2:", "line 3:", "published 1 events"]),
        (&["info", "--key-file", "/nowhere/key"], 64, &["/nowhere/key"]),
        (&["info", "--url", "not a url"], 64, &["URI"]),
    ] {
        let output = shell.run(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        let errors = String::from_utf8_lossy(&output.stderr);
        for word in words {
            assert!(errors.contains(word), "{word:?} is missing: {arguments:?}: {}", said(&output));
        }
        assert!(code == 0 || output.stdout.is_empty(), "data is for stdout, errors are not: {arguments:?}: {}", said(&output));
    }
    // Every problem of a configuration at once.
    let bad = Settings::on(&database)
        .set("GATEPOST_LISTEN", "nonsense")
        .set("GATEPOST_LOG__FORMAT", "loud")
        .set("GATEPOST_NONSENSE", "1");
    let output = finished(bad.command(&["serve"])).await;
    assert_eq!(output.status.code(), Some(64), "{}", said(&output));
    for word in ["listen", "log.format", "nonsense"] {
        assert!(String::from_utf8_lossy(&output.stderr).contains(word), "{word}: {}", said(&output));
    }
}

async fn data_is_json_for_programs_and_a_table_for_people(database: Database) {
    let world = World::on(&database).await;
    let shell = Shell::of(&world);
    let receiver = Receiver::ok().await;
    let created = shell
        .json(&[
            "endpoints",
            "create",
            &receiver.url(),
            "--id",
            "siem",
            "--event-type",
            "user.*",
            "--header",
            "x-key=1",
            "--retry-wait",
            "1m",
        ])
        .await;
    assert_eq!(created["name"], "tenants/acme/endpoints/siem");
    assert_eq!((created["state"].as_str(), created["attemptTimeout"].as_str()), (Some("STATE_ACTIVE"), Some("15s")), "{created}");
    assert_eq!(created["retryPolicy"]["explicit"]["waits"][0], "60s", "{created}");
    assert!(created["signingSecret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")));
    for receipt in world.publish_many("user.updated", 500).await {
        world.until(&receipt, gatepost_client::v1::delivery::State::Succeeded).await;
    }
    let table = shell.ok(&["deliveries", "list", "--limit", "3"]).await;
    assert!(table.lines().count() == 4 && table.starts_with("ID") && table.contains("SUCCEEDED"), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours where no terminal is");
    let lines = shell.ok(&["deliveries", "list", "--limit", "0", "-o", "jsonl"]).await;
    assert_eq!(texts(&lines.lines().map(str::to_owned).collect::<Vec<_>>(), "name").len(), 500);
    let document = shell.json(&["deliveries", "list", "--limit", "0"]).await;
    assert_eq!(document.as_array().map(Vec::len), Some(500));
    let delivery = document[0]["name"].as_str().expect("a name").to_owned();
    let attempts = shell.json(&["deliveries", "attempts", &delivery]).await;
    assert_eq!(
        (attempts[0]["number"].as_i64(), attempts[0]["class"].as_str()),
        (Some(1), Some("ATTEMPT_CLASS_SUCCESS")),
        "{attempts}"
    );
    for (arguments, field, value) in [
        (&["info"][..], "database", if database.is_postgres() { "postgres" } else { "sqlite" }),
        (&["tenants", "get", "acme"], "name", "tenants/acme"),
        (&["endpoints", "get", "siem"], "url", &receiver.url()),
        (&["endpoints", "pause", "siem"], "state", "STATE_PAUSED"),
        (&["endpoints", "resume", "siem"], "state", "STATE_ACTIVE"),
        (&["endpoints", "stats", "siem"], "succeededAttemptCount", "500"),
        (&["deliveries", "get", &delivery], "state", "STATE_SUCCEEDED"),
        (&["keys", "create", "--scope", "publish", "--scope", "tenants:acme"], "displayName", ""),
    ] {
        let document = shell.json(arguments).await;
        assert_eq!(document[field].as_str().unwrap_or_default(), value, "{arguments:?}: {document}");
    }
    assert!(shell.json(&["endpoints", "test", "siem"]).await["success"].as_bool().unwrap_or_default());
    assert!(shell.ok(&["tenants", "list"]).await.contains("acme") && shell.ok(&["keys", "list"]).await.contains("publish"));

    // A reader that has seen enough is no failure.
    let mut command = shell.0.command(&["deliveries", "list", "--limit", "0", "-o", "jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.expect("it ends").expect("its output");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));

    // Colours are for terminals, and NO_COLOR turns them off.
    let coloured = on_a_terminal(shell.0.command(&["deliveries", "list", "--limit", "3"])).await;
    assert!(coloured.contains("SUCCEEDED") && coloured.contains('\u{1b}'), "{coloured:?}");
    let plain = on_a_terminal(shell.0.clone().set("NO_COLOR", "1").command(&["deliveries", "list", "--limit", "3"])).await;
    assert!(plain.contains("SUCCEEDED") && !plain.contains("\u{1b}["), "{plain:?}");
}

/// What a command writes to a terminal.
async fn on_a_terminal(mut command: Command) -> String {
    use rustix::{
        fs::OFlags,
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    };
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("a terminal that can be used");
    let size = rustix::termios::Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&terminal, size).expect("a size");
    let path = ptsname(&terminal, Vec::new()).expect("its path");
    let own = |_: ()| rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY, rustix::fs::Mode::empty()).expect("its other side");
    command.stdout(Stdio::from(own(()))).stderr(Stdio::from(own(())));
    let mut child = command.env("TERM", "xterm-256color").spawn().expect("it starts");
    // The command holds the other side too, and would keep it open.
    drop(command);
    let reading = tokio::task::spawn_blocking(move || {
        let (mut file, mut text) = (std::fs::File::from(terminal), Vec::new());
        // A terminal whose other side is closed is an error here, not an end.
        let _ = file.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let status = tokio::time::timeout(DEADLINE, child.wait()).await.expect("it ends").expect("its status");
    let text = reading.await.expect("no panic");
    assert!(status.success(), "{text}");
    text
}

/// A newcomer's first minute: an empty folder, one command, and the three that it prints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_shows_a_verified_delivery_and_three_commands_that_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let elsewhere = tempfile::tempdir().expect("another folder");
    let start = || {
        let mut command = Settings::none().command(&["dev"]);
        command.current_dir(folder.path());
        Program::start(command)
    };
    let begun = Instant::now();
    let mut dev = start();
    dev.output.with("listening on ").await;
    let first = dev.output.with("user.terminated").await;
    assert!(begun.elapsed() < Duration::from_secs(10), "ready after {:?}", begun.elapsed());
    println!("dev was ready and had delivered after {:?}", begun.elapsed());
    assert!(first.contains("verified"), "{first}");
    let commands = dev
        .output
        .until(|lines| {
            let next = lines.iter().position(|line| line.contains("Try next"))?;
            lines.iter().position(|line| line.contains("Ctrl-C"))?;
            let commands = lines[next..].iter().filter(|line| line.starts_with("  ")).map(|line| line.trim().to_owned());
            Some(commands.collect::<Vec<_>>())
        })
        .await;
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command in &commands {
        let mut pasted = Program::start(shell_line(command, elsewhere.path()));
        // What it shows is about this server's deliveries; one of the three goes on until it is stopped.
        let line = pasted.output.until(|lines| lines.iter().find(|line| line.contains("SUCCEEDED")).cloned());
        let shown = tokio::time::timeout(DEADLINE, line).await;
        assert!(shown.is_ok(), "{command}: {:?} {:?}", pasted.output.all(), pasted.errors.all());
        let status = if command.contains(" watch ") { pasted.stop().await } else { pasted.ended().await };
        assert!(status.success(), "{command}: {status:?} {:?}", pasted.errors.all());
    }
    dev.output.with("user.created").await;
    assert!(dev.stop().await.success(), "{:?}", dev.errors.all());

    // It is there again the next time, with the same key.
    let key = |lines: &[String]| lines.iter().find(|line| line.contains("root key")).cloned();
    let before = dev.output.until(key).await;
    let mut again = start();
    again.output.with("user.terminated").await;
    assert_eq!(again.output.until(key).await, before);
    assert!(again.stop().await.success());
    let files: BTreeSet<String> = std::fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(files.iter().all(|file| file.starts_with("gatepost-dev.db")), "{files:?}");
}

fn shell_line(line: &str, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    // `exec`, so that a signal reaches the program and not a shell around it.
    command
        .arg("-c")
        .arg(format!("exec {line}"))
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listen_fails_on_purpose_and_what_failed_comes_again() {
    let database = Database::sqlite();
    let world = World::on(&database).await;
    let shell = Shell::of(&world);
    let listen =
        ["listen", "--fail", "503", "--fail-every", "2", "--secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "-o", "jsonl"];
    let mut listen = Program::start(shell.0.command(&listen));
    let url = listen.errors.with("listening on ").await;
    let url = url.split_whitespace().last().expect("a URL").to_owned();
    world
        .endpoint("siem", &url, |endpoint| {
            endpoint.retry_policy = waits(&[1; 10]);
            endpoint.signing_secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into();
        })
        .await;
    let receipts = world.publish_many("user.updated", 6).await;
    until("all to arrive in the end", async || {
        let waiting = world.deliveries(r#"state != "SUCCEEDED""#).await;
        if waiting.is_empty() { Ok(()) } else { Err(waiting) }
    })
    .await;
    assert!(listen.stop().await.success());
    let lines = listen.output.all();
    let answered = |status: &str| lines.iter().filter(|line| line.contains(status)).count();
    assert_eq!(answered("\"answer\":204"), receipts.len(), "{lines:?}");
    assert!(answered("\"answer\":503") >= 3, "{lines:?}");
}
