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

    /// The statement with `/*rows*/` as VALUES of `count` rows that follow `offset` other binds.
    pub(crate) fn sqlite_text(&self, sql: &str, offset: usize, count: usize) -> String {
        let mut rows = String::with_capacity(8 + count * self.columns.len() * 6);
        rows.push_str("VALUES ");
        let mut number = offset;
        for row in 0..count {
            rows.push_str(if row == 0 { "(" } else { "),(" });
            for column in 0..self.columns.len() {
                number += 1;
                let comma = if column == 0 { "" } else { "," };
                let _ = write!(rows, "{comma}${number}");
            }
        }
        rows.push(')');
        sql.replace("/*rows*/", &rows)
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
