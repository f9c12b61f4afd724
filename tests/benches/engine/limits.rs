//! What this machine can do without Gatepost: signed requests over loopback, commits and rows of the database.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gatepost_tests::Database;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use sqlx::{ConnectOptions, Connection, Executor};

use crate::receiver::Receiver;

/// Connections of the loops that measure limits.
const CONNECTIONS: usize = 64;
/// Rows of one statement where rows are counted.
const ROWS: u64 = 500;

/// What a database does alone.
pub(crate) struct Limits {
    /// Transactions of one row each, one after the other.
    pub(crate) commits: f64,
    /// The same from 16 connections at once; absent on SQLite, which has one writer.
    pub(crate) commits_at_once: Option<f64>,
    /// Rows, 500 a transaction.
    pub(crate) rows: f64,
}

/// Requests a second: signed by Standard Webhooks' own library, sent with hyper, 64 connections.
pub(crate) async fn signed_posts(time: Duration) -> f64 {
    let receiver = Receiver::start(0).await;
    let body = Bytes::from(format!("{{\"id\":\"evt_1\",\"type\":\"user.updated\",\"data\":{}}}", crate::load::DATA));
    let address = receiver.address();
    let end = Instant::now() + time;
    let callers = (0..CONNECTIONS).map(|_| {
        let body = body.clone();
        tokio::spawn(async move {
            let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
            let _ = stream.set_nodelay(true);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
            tokio::spawn(connection);
            let webhook = standardwebhooks::Webhook::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
            while Instant::now() < end {
                let signature = webhook.sign("evt_1", 1_795_597_200, &body).expect("a signature");
                let request = http::Request::post("/webhooks")
                    .header("host", "127.0.0.1")
                    .header("content-type", "application/json")
                    .header("webhook-id", "evt_1")
                    .header("webhook-timestamp", "1795597200")
                    .header("webhook-signature", signature)
                    .body(Full::new(body.clone()))
                    .expect("a request");
                let answer = sender.send_request(request).await.expect("an answer");
                answer.into_body().collect().await.expect("its end");
            }
        })
    });
    let begun = Instant::now();
    futures::future::join_all(callers).await;
    receiver.count() as f64 / begun.elapsed().as_secs_f64()
}

/// Commits and rows a second of the database that Gatepost is measured on, in a table of its own beside it.
pub(crate) async fn database(database: &Database, time: Duration) -> Limits {
    if database.is_postgres() { postgres(database.url(), time).await } else { sqlite(time).await }
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS bench_limits (id BIGINT PRIMARY KEY, a BIGINT NOT NULL, b TEXT NOT NULL)";

async fn postgres(url: &str, time: Duration) -> Limits {
    let connect = async || {
        let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
        options.disable_statement_logging().connect().await.expect("a connection")
    };
    let mut connection = connect().await;
    connection.execute(TABLE).await.expect("a table");
    let inserting = async |connection: &mut sqlx::PgConnection, first: i64, step: usize| {
        let (begun, mut count) = (Instant::now(), 0u32);
        for id in (first..).step_by(step) {
            if begun.elapsed() >= time {
                break;
            }
            let insert = sqlx::query("INSERT INTO bench_limits VALUES ($1, $1, 'one row')").bind(id);
            insert.execute(&mut *connection).await.expect("a row");
            count += 1;
        }
        f64::from(count) / begun.elapsed().as_secs_f64()
    };
    let commits = inserting(&mut connection, 0, 1).await;
    connection.execute("TRUNCATE bench_limits").await.expect("an empty table");
    let mut connections = Vec::new();
    for _ in 0..16 {
        connections.push(connect().await);
    }
    let at_once = connections.iter_mut().enumerate().map(|(first, connection)| inserting(connection, first as i64, 16));
    let commits_at_once = futures::future::join_all(at_once).await.into_iter().sum();
    connection.execute("TRUNCATE bench_limits").await.expect("an empty table");
    let (begun, mut batches) = (Instant::now(), 0u64);
    while begun.elapsed() < time {
        let first = i64::try_from(batches * ROWS).expect("not that many");
        let ids: Vec<i64> = (first..).take(ROWS as usize).collect();
        let insert = sqlx::query("INSERT INTO bench_limits SELECT id, id, 'one of many' FROM UNNEST($1::bigint[]) id").bind(ids);
        insert.execute(&mut connection).await.expect("rows");
        batches += 1;
    }
    let rows = (batches * ROWS) as f64 / begun.elapsed().as_secs_f64();
    connection.execute("DROP TABLE bench_limits").await.expect("no table");
    Limits { commits, commits_at_once: Some(commits_at_once), rows }
}

async fn sqlite(time: Duration) -> Limits {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
    let folder = tempfile::tempdir().expect("a folder");
    let options = SqliteConnectOptions::new().filename(folder.path().join("limits.db")).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full).disable_statement_logging();
    let mut connection = options.connect().await.expect("a connection");
    connection.execute(TABLE).await.expect("a table");
    let (begun, mut count) = (Instant::now(), 0i64);
    while begun.elapsed() < time {
        let insert = sqlx::query("INSERT INTO bench_limits VALUES ($1, $1, 'one row')").bind(count);
        insert.execute(&mut connection).await.expect("a row");
        count += 1;
    }
    let commits = count as f64 / begun.elapsed().as_secs_f64();
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 499)";
    let statement = format!("{numbers} INSERT INTO bench_limits SELECT $1 + i, i, 'one of many' FROM n");
    let (begun, mut batches) = (Instant::now(), 0u64);
    while begun.elapsed() < time {
        let first = i64::try_from(1_000_000_000 + batches * ROWS).expect("not that many");
        sqlx::query(sqlx::AssertSqlSafe(statement.clone())).bind(first).execute(&mut connection).await.expect("rows");
        batches += 1;
    }
    let rows = (batches * ROWS) as f64 / begun.elapsed().as_secs_f64();
    connection.close().await.expect("it is closed");
    Limits { commits, commits_at_once: None, rows }
}
