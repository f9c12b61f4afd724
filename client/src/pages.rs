//! Lists as streams: pages are fetched one by one, only as far as the reader goes.
//!
//! Every `list` method of this crate returns [`Pages`]. A page that is empty while more follow is not the end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::BoxStream;

use crate::errors::Error;

/// A list, item by item. It asks for the next page when the one before is used up, and ends after an error.
#[must_use = "a list fetches nothing until it is read"]
pub struct Pages<T>(BoxStream<'static, Result<T, Error>>);

impl<T: Send + 'static> Pages<T> {
    /// `fetch` gets a page token, empty for the first page, and returns the items and the next token, empty on the last.
    pub(crate) fn new<F, Fut>(mut fetch: F) -> Self
    where
        F: FnMut(String) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(Vec<T>, String), Error>> + Send,
    {
        Self(Box::pin(async_stream::try_stream! {
            let mut token = String::new();
            loop {
                let (items, next) = fetch(token).await?;
                for item in items {
                    yield item;
                }
                if next.is_empty() {
                    break;
                }
                token = next;
            }
        }))
    }
}

impl<T> Stream for Pages<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl<T> std::fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, TryStreamExt};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn numbers(fetched: Arc<AtomicUsize>) -> Pages<u32> {
        Pages::new(move |token| {
            fetched.fetch_add(1, Ordering::SeqCst);
            async move {
                Ok(match token.as_str() {
                    "" => (vec![1, 2], "second".to_owned()),
                    "second" => (vec![], "third".to_owned()),
                    "third" => (vec![3], String::new()),
                    _ => return Err(Error::setup("unknown token")),
                })
            }
        })
    }

    #[tokio::test]
    async fn an_empty_page_is_not_the_end() {
        let all: Vec<u32> = numbers(Arc::default()).try_collect().await.unwrap();
        assert_eq!(all, [1, 2, 3]);
    }

    #[tokio::test]
    async fn no_page_is_fetched_before_it_is_needed() {
        let fetched = Arc::new(AtomicUsize::new(0));
        let mut pages = numbers(fetched.clone());
        assert_eq!(fetched.load(Ordering::SeqCst), 0);
        pages.next().await;
        pages.next().await;
        assert_eq!(fetched.load(Ordering::SeqCst), 1);
    }
}
