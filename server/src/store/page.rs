//! Pages of lists: where one starts, how long it is, where the next begins.
//!
//! A position is bytes that only the list that gave it can read. Whoever hands it out of the process binds it to its query.

use super::Error;

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Goes on after this position; `None`: from the start.
    pub after: Option<Vec<u8>>,
    /// Rows at most; at least 1.
    pub size: u32,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// Its rows. There may be fewer than asked for, even none, while more follow.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<Vec<u8>>,
}

impl Page {
    /// The first page.
    pub fn first(size: u32) -> Self {
        Self { after: None, size }
    }

    /// Rows to read: one more than the page holds, which tells whether more follow.
    pub(crate) fn limit(&self) -> u64 {
        u64::from(self.size.max(1)) + 1
    }

    pub(crate) fn rows(&self) -> usize {
        usize::try_from(self.size.max(1)).unwrap_or(usize::MAX)
    }

    /// The position as a text.
    ///
    /// # Errors
    /// [`Error::BadPosition`].
    pub(crate) fn text(&self) -> Result<Option<&str>, Error> {
        self.after.as_deref().map(|bytes| std::str::from_utf8(bytes).map_err(|_| Error::BadPosition)).transpose()
    }

    /// The position as numbers.
    ///
    /// # Errors
    /// [`Error::BadPosition`].
    pub(crate) fn numbers<const N: usize>(&self) -> Result<Option<[i64; N]>, Error> {
        let Some(bytes) = &self.after else { return Ok(None) };
        let (numbers, rest) = bytes.as_chunks::<8>();
        let numbers: [[u8; 8]; N] = numbers.try_into().map_err(|_| Error::BadPosition)?;
        if rest.is_empty() { Ok(Some(numbers.map(i64::from_be_bytes))) } else { Err(Error::BadPosition) }
    }
}

/// A position of numbers.
pub(crate) fn position(numbers: &[i64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

impl<T> Listed<T> {
    /// A page of rows read with [`Page::limit`].
    pub(crate) fn cut(mut items: Vec<T>, page: &Page, position: impl FnOnce(&T) -> Vec<u8>) -> Self {
        let more = items.len() > page.rows();
        items.truncate(page.rows());
        let next = if more { items.last().map(position) } else { None };
        Self { items, next }
    }
}
