//! What the server and the database's processes used: CPU time and memory, from `/proc`.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use gatepost_tests::{Database, Server, memory_mib};
use sqlx::{ConnectOptions, Connection};

/// The processes that are measured.
pub(crate) struct Processes {
    server: i32,
    /// Of PostgreSQL: those that serve this database, and those that serve all.
    postgres: Vec<i32>,
}

/// CPU time of each process, in ms.
pub(crate) struct Used(HashMap<i32, f64>);

impl Processes {
    /// Found once the server has its connections.
    pub(crate) async fn of(server: &Server, database: &Database) -> Self {
        let server = server.pid().as_raw_nonzero().get();
        if !database.is_postgres() {
            return Self { server, postgres: Vec::new() };
        }
        let options: sqlx::postgres::PgConnectOptions = database.url().parse().expect("a URL");
        let mut connection = options.disable_statement_logging().connect().await.expect("a connection");
        let pids = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (datname = current_database() \
                    OR backend_type IN ('walwriter', 'checkpointer', 'background writer'))";
        let postgres = sqlx::query_scalar(pids).fetch_all(&mut connection).await.expect("the processes");
        connection.close().await.expect("it is closed");
        Self { server, postgres }
    }

    pub(crate) fn used(&self) -> Used {
        let pids = self.postgres.iter().chain([&self.server]);
        Used(pids.filter_map(|pid| Some((*pid, cpu_ms(*pid)?))).collect())
    }

    /// CPU ms since then: of the server, and of the database.
    pub(crate) fn since(&self, before: &Used) -> (f64, f64) {
        let now = self.used();
        let spent = |pid: &i32| now.0.get(pid).zip(before.0.get(pid)).map_or(0.0, |(now, before)| now - before);
        (spent(&self.server), self.postgres.iter().fold(0.0, |sum, pid| sum + spent(pid)))
    }

    /// Follows the server's memory until it is asked for the largest.
    pub(crate) fn watch_memory(&self) -> Memory {
        let (largest, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (pid, shared, stop) = (rustix::process::Pid::from_raw(self.server), Arc::clone(&largest), Arc::clone(&over));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                shared.fetch_max(pid.and_then(memory_mib).unwrap_or(0.0) as u64, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Memory { largest, over }
    }
}

/// The largest memory of a process while this lives.
pub(crate) struct Memory {
    largest: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Memory {
    /// In MiB.
    pub(crate) fn largest_mib(self) -> f64 {
        self.largest.load(Ordering::Relaxed) as f64
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Of the updates of deliveries, the share that touched no index (HOT), as PostgreSQL counts them.
pub(crate) async fn hot_share(database: &Database) -> Option<f64> {
    if !database.is_postgres() {
        return None;
    }
    let options: sqlx::postgres::PgConnectOptions = database.url().parse().expect("a URL");
    let mut connection = options.disable_statement_logging().connect().await.expect("a connection");
    let share = "SELECT sum(n_tup_hot_upd)::float8 / nullif(sum(n_tup_upd), 0)::float8 FROM pg_stat_user_tables \
                 WHERE relname LIKE 'deliveries%'";
    let share = sqlx::query_scalar(share).fetch_one(&mut connection).await.expect("the statistics");
    connection.close().await.expect("it is closed");
    share
}

fn cpu_ms(pid: i32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything. After it, utime and stime are the 12th and 13th field.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks * 1000.0 / rustix::param::clock_ticks_per_second() as f64)
}
