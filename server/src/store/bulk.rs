//! Many rows in one statement: arrays through UNNEST on PostgreSQL, chunks of VALUES on SQLite, the same statement text around them.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Postgres, Sqlite};
use std::fmt::Write as _;
use std::ops::Range;

/// Columns of equal length.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    columns: Vec<Column>,
}

/// One column's values.
#[derive(Debug)]
pub(crate) enum Column {
    Int(Vec<i64>),
    MaybeInt(Vec<Option<i64>>),
    Text(Vec<String>),
    Bytes(Vec<Vec<u8>>),
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Int(values) => values.len(),
            Self::MaybeInt(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }
}

/// SQLite chunk sizes. Few, so that each statement has few texts to prepare and keep.
const CHUNKS: [usize; 4] = [256, 32, 4, 1];

impl Bulk {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        debug_assert!(columns.windows(2).all(|pair| pair[0].len() == pair[1].len()), "columns of a bulk are equally long");
        Self { columns }
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ranges that cover all rows, the largest chunks first.
    pub(crate) fn chunks(&self) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let mut at = 0;
        for size in CHUNKS {
            while self.len() - at >= size {
                ranges.push(at..at + size);
                at += size;
            }
        }
        ranges
    }

    /// The statement with `/*rows*/` as a SELECT over arrays that follow `offset` other binds.
    pub(crate) fn postgres_text(&self, sql: &str, offset: usize) -> String {
        let mut rows = String::from("SELECT * FROM UNNEST(");
        for (number, column) in self.columns.iter().enumerate() {
            let kind = match column {
                Column::Int(_) | Column::MaybeInt(_) => "bigint",
                Column::Text(_) => "text",
                Column::Bytes(_) => "bytea",
            };
            let comma = if number == 0 { "" } else { ", " };
            let _ = write!(rows, "{comma}${}::{kind}[]", offset + number + 1);
        }
        rows.push(')');
        sql.replace("/*rows*/", &rows)
    }

    /// The statement with `/*rows*/` as VALUES of `count` rows, whose binds come first: `$1` of the statement follows them.
    ///
    /// The values of rows have no names. To bind one that has, its name is looked for in a list of all of them, and rows have
    /// thousands: that took half of the server's time.
    pub(crate) fn sqlite_text(&self, sql: &str, count: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(","));
        let rows = format!("VALUES {}", vec![row.as_str(); count].join(","));
        renumbered(sql, count * self.columns.len()).replace("/*rows*/", &rows)
    }

    pub(crate) fn bind_postgres<'q>(&self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
        self.columns.iter().fold(query, |query, column| match column {
            Column::Int(values) => query.bind(values),
            Column::MaybeInt(values) => query.bind(values),
            Column::Text(values) => query.bind(values),
            Column::Bytes(values) => query.bind(values),
        })
    }

    pub(crate) fn bind_sqlite<'q>(
        &self,
        query: Query<'q, Sqlite, SqliteArguments>,
        range: Range<usize>,
    ) -> Query<'q, Sqlite, SqliteArguments> {
        range.fold(query, |query, row| {
            self.columns.iter().fold(query, |query, column| match column {
                Column::Int(values) => query.bind(values[row]),
                Column::MaybeInt(values) => query.bind(values[row]),
                Column::Text(values) => query.bind(values[row].as_str()),
                Column::Bytes(values) => query.bind(values[row].as_slice()),
            })
        })
    }
}

/// The statement with `$1` as `$(by + 1)`, and so on.
fn renumbered(sql: &str, by: usize) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let (number, rest) = part.split_at(digits);
        let _ = match number.parse::<usize>() {
            Ok(number) => write!(text, "${}{rest}", number + by),
            Err(_) => write!(text, "${part}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_rows_have_no_names_on_sqlite_and_the_others_follow_them() {
        let bulk = Bulk::new(vec![Column::Int(vec![1, 2]), Column::Text(vec![String::new(), String::new()])]);
        let text = bulk.sqlite_text("WITH r (a, b) AS (/*rows*/) SELECT $1, $12, $1 FROM r", 2);
        assert_eq!(text, "WITH r (a, b) AS (VALUES (?,?),(?,?)) SELECT $5, $16, $5 FROM r");
        assert_eq!(bulk.postgres_text("/*rows*/ WHERE a > $1", 1), "SELECT * FROM UNNEST($2::bigint[], $3::text[]) WHERE a > $1");
    }
}
