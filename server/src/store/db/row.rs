//! What a statement returned, in one form for both databases. A value that does not fit is an error that names the column, never a panic.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};

use super::super::Error;

/// A row that was read, by column number from 0. Integers of every width read as `i64`.
pub(crate) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Row {
    pub(crate) fn maybe_int(&self, column: usize) -> Result<Option<i64>, Error> {
        Ok(match self {
            Self::Postgres(row) => {
                let raw = row.try_get_raw(column)?;
                if raw.is_null() {
                    return Ok(None);
                }
                match raw.type_info().name() {
                    "INT2" => row.try_get::<i16, _>(column)?.into(),
                    "INT4" => row.try_get::<i32, _>(column)?.into(),
                    _ => row.try_get::<i64, _>(column)?,
                }
                .into()
            }
            Self::Sqlite(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn int(&self, column: usize) -> Result<i64, Error> {
        self.maybe_int(column)?.ok_or_else(|| {
            Error::Defect(sqlx::Error::ColumnDecode { index: column.to_string(), source: "NULL where a number is due".into() })
        })
    }

    /// A number of a narrower type; one that does not fit is an error, as only damage can make it.
    pub(crate) fn num<T: TryFrom<i64>>(&self, column: usize) -> Result<T, Error> {
        T::try_from(self.int(column)?).map_err(|_| {
            Error::Defect(sqlx::Error::ColumnDecode { index: column.to_string(), source: "a number out of its range".into() })
        })
    }

    pub(crate) fn text(&self, column: usize) -> Result<String, Error> {
        Ok(match self {
            Self::Postgres(row) => row.try_get(column)?,
            Self::Sqlite(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn bytes(&self, column: usize) -> Result<Vec<u8>, Error> {
        Ok(match self {
            Self::Postgres(row) => row.try_get(column)?,
            Self::Sqlite(row) => row.try_get(column)?,
        })
    }
}
