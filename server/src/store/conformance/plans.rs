//! The plans of the hot statements: each finds its rows through an index, on tables that have many.

use super::fixture::*;
use super::on_both;
use crate::store::bulk::{Bulk, Column};
use crate::store::db::{Arg, Sql, sql};

on_both!(no_hot_statement_reads_a_whole_table);

/// Rows of each table, enough that reading all of them would be the worse plan.
const FILL: [(&str, &str); 8] = [
    (
        "INSERT INTO deliveries SELECT n, 1 + n % 20, 0, 1, 1, 0, 0, 0, 0, 0, 7 FROM generate_series(1, 20000) AS n",
        "INSERT INTO deliveries SELECT value, 1 + value % 20, 0, 1, 1, 0, 0, 0, 0, 0, 7 FROM numbers",
    ),
    (
        "INSERT INTO backlog SELECT n, 1 + n % 20, 0, 1 + n % 2, 1, n, CASE n % 100 WHEN 0 THEN 7 END, 0, 0, 0, 0, '' FROM generate_series(1, 20000) AS n",
        "INSERT INTO backlog SELECT value, 1 + value % 20, 0, 1 + value % 2, 1, value, CASE value % 100 WHEN 0 THEN 7 END, 0, 0, 0, 0, '' FROM numbers",
    ),
    (
        "INSERT INTO journal SELECT 1 + n % 10, n % 6, n, 'tenant-' || n % 50, n, '' FROM generate_series(1, 20000) AS n",
        "INSERT INTO journal SELECT 1 + value % 10, value % 6, value, 'tenant-' || value % 50, value, '' FROM numbers",
    ),
    (
        "INSERT INTO events SELECT n, 'tenant-' || n % 50, 'evt_' || n, 'a.b', '', '', '{}', '', n, n, '', 1, 1, '', '' FROM generate_series(1, 20000) AS n",
        "INSERT INTO events SELECT value, 'tenant-' || value % 50, 'evt_' || value, 'a.b', '', '', '{}', '', value, value, '', 1, 1, '', '' FROM numbers",
    ),
    (
        "INSERT INTO attempts SELECT n, 1 + n % 20, 0, 1, 1, 200, n, 1, NULL, NULL, NULL, '', '', '' FROM generate_series(1, 20000) AS n",
        "INSERT INTO attempts SELECT value, 1 + value % 20, 0, 1, 1, 200, value, 1, NULL, NULL, NULL, '', '', '' FROM numbers",
    ),
    (
        "INSERT INTO endpoint_health SELECT n, n, n, 0, NULL FROM generate_series(1, 20000) AS n",
        "INSERT INTO endpoint_health SELECT value, value, value, 0, NULL FROM numbers",
    ),
    (
        "INSERT INTO event_keys SELECT 'tenant-' || n % 50, 1, 'evt_' || n, n, 'evt_' || n, '', 1, 0, n FROM generate_series(1, 20000) AS n",
        "INSERT INTO event_keys SELECT 'tenant-' || value % 50, 1, 'evt_' || value, value, 'evt_' || value, '', 1, 0, value FROM numbers",
    ),
    (
        "INSERT INTO endpoints SELECT n, 'tenant-' || n % 50, 'ep-' || n, '', '', '', '[]', '', '', 1, 1, '[]', 1, 0, 1, 0, 0, CASE n % 100 WHEN 0 THEN n END, FALSE, '', 1, '', '', '', '', 0 FROM generate_series(1, 20000) AS n",
        "INSERT INTO endpoints SELECT value, 'tenant-' || value % 50, 'ep-' || value, '', '', '', '[]', '', '', 1, 1, '[]', 1, 0, 1, 0, 0, CASE value % 100 WHEN 0 THEN value END, FALSE, '', 1, '', '', '', '', 0 FROM numbers",
    ),
];

const NUMBERS: &str = "CREATE TABLE numbers AS WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 20000) SELECT value FROM n";

fn ints(columns: usize) -> Bulk {
    Bulk::new((0..columns).map(|column| Column::Int(vec![column as i64, 1, 2])).collect())
}

async fn no_hot_statement_reads_a_whole_table(db: Fixture) {
    db.join().await;
    if !db.is_postgres() {
        execute(&db.store, NUMBERS, &[]).await;
    }
    for (postgres, sqlite) in FILL {
        execute(&db.store, if db.is_postgres() { postgres } else { sqlite }, &[]).await;
    }
    execute(&db.store, "ANALYZE", &[]).await;
    let one = Arg::Int(1);
    let tenant = Arg::Text("tenant-7");
    // Statement, binds, rows; `None`: it takes none.
    let hot: Vec<(&str, Sql, Vec<Arg<'_>>, Option<Bulk>)> = vec![
        ("list_backlog_heads", sql!("list_backlog_heads"), vec![], None),
        ("record_deliveries", sql!("record_deliveries"), vec![one, one], Some(ints(9))),
        ("fence_leases", sql!("fence_leases" by dialect), vec![one], Some(ints(4))),
        ("delete_backlog", sql!("delete_backlog"), vec![], Some(ints(3))),
        ("spill_deliveries", sql!("spill_deliveries"), vec![one], Some(ints(3))),
        ("release_leases", sql!("release_leases"), vec![one, one], Some(ints(4))),
        ("list_lost_fresh", sql!("list_lost_fresh"), vec![one, Arg::Int(19_000), Arg::Int(100)], None),
        ("adopt_leases", sql!("adopt_leases"), vec![one, one, Arg::Int(100)], None),
        ("read_journal", sql!("read_journal"), vec![tenant, one, one, one, one, Arg::Int(100)], None),
        ("tail_journal", sql!("tail_journal"), vec![one, one, one, Arg::Int(100)], None),
        ("journal_heads", sql!("journal_heads"), vec![one], None),
        ("list_events_by_seq", sql!("list_events_by_seq"), vec![], Some(ints(1))),
        ("get_event", sql!("get_event"), vec![tenant, Arg::Text("evt_7")], None),
        ("list_events", sql!("list_events"), vec![tenant, Arg::Int(15_000), Arg::Int(100)], None),
        ("get_delivery", sql!("get_delivery"), vec![one, one, one, tenant], None),
        ("list_attempts", sql!("list_attempts"), vec![one, one, one, one, one], None),
        ("list_trouble", sql!("list_trouble"), vec![one, Arg::Int(2), Arg::Int(15_000), one, Arg::Int(100)], None),
        ("list_troubled_endpoints", sql!("list_troubled_endpoints"), vec![tenant, Arg::Text("")], None),
        ("count_backlog", sql!("count_backlog"), vec![one, one, Arg::Int(100)], None),
        ("oldest_backlog", sql!("oldest_backlog"), vec![one], None),
        ("count_whole_backlog", sql!("count_whole_backlog" by dialect), vec![one, Arg::Int(100)], None),
        ("oldest_of_backlog", sql!("oldest_of_backlog"), vec![], None),
        ("first_deleted_endpoint", sql!("first_deleted_endpoint"), vec![], None),
        ("lock_unfinished", sql!("lock_unfinished" by dialect), vec![one, Arg::Int(100)], None),
    ];
    let mut breaches = Vec::new();
    for (name, sql, args, rows) in hot {
        breaches.extend(whole_tables(&db, &sql, &args, rows.as_ref()).await.into_iter().map(|line| format!("{name}: {line}")));
    }
    let claim = sql!("claim_backlog" by dialect);
    let plan = if db.is_postgres() {
        whole_tables(&db, &claim, &[one, one, one], Some(&ints(3))).await
    } else {
        whole_tables(&db, &claim, &[one, one, one, one, one, one], None).await
    };
    breaches.extend(plan.into_iter().map(|line| format!("claim_backlog: {line}")));
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
    // The check itself sees a bad plan.
    let bad =
        Sql { postgres: "SELECT 1 FROM backlog WHERE loss_count = $1", sqlite: "SELECT 1 FROM backlog WHERE loss_count = $1" };
    assert_eq!(whole_tables(&db, &bad, &[one], None).await.len(), 1);
}

/// The lines of a statement's plan that read all rows of a table.
async fn whole_tables(db: &Fixture, sql: &Sql, args: &[Arg<'_>], rows: Option<&Bulk>) -> Vec<String> {
    let explain = |word: &str, text: &str| -> &'static str { Box::leak(format!("{word} {text}").into_boxed_str()) };
    let explained = Sql { postgres: explain("EXPLAIN", sql.postgres), sqlite: explain("EXPLAIN QUERY PLAN", sql.sqlite) };
    let mut tx = db.store.inner.db.begin().await.unwrap();
    let plan = match rows {
        Some(rows) => tx.bulk(explained, args, rows).await.unwrap(),
        None => tx.fetch(explained, args).await.unwrap(),
    };
    let column = if db.is_postgres() { 0 } else { 3 };
    let lines: Vec<String> = plan.iter().map(|row| row.text(column).unwrap()).collect();
    let bad = |line: &String| {
        let line = line.trim_start_matches([' ', '-', '>']);
        if db.is_postgres() {
            // The default partitions are empty.
            return line.contains("Seq Scan on") && !line.contains("_rest ");
        }
        // What is read from its start without being a table: binds, and the statements' own parts.
        let parts = ["input", "heads", "firsts", "priorities", "counted", "newest", "CONSTANT", "(subquery", "3-ROW"];
        let scanned = line.strip_prefix("SCAN ").and_then(|rest| rest.split_whitespace().next());
        scanned.is_some_and(|name| !parts.contains(&name))
    };
    lines.into_iter().filter(bad).collect()
}
