//! What users write as text, compiled once: filters, templates and schemas, by their text.
//!
//! A tenant's settings are read whole whenever one of its endpoints changes, so compiling must not be part of that. Only texts that were
//! checked when they were stored come here; one that compiles no more is the caller's to report.

use std::sync::Arc;

use moka::sync::Cache;

use crate::domain::event_filter::{self, EventFilter};
use crate::domain::schema::{Schema, SchemaProblem};
use crate::domain::transform::{self, Transform};

/// Bytes that the compiled texts of each kind may take, about.
const BYTES: u64 = 32 << 20;

/// Compiled texts. What is not asked for any more makes room.
#[derive(Debug)]
pub(crate) struct Compiled {
    filters: Texts<EventFilter>,
    transforms: Texts<Transform>,
    schemas: Texts<Schema>,
}

type Texts<T> = Cache<Arc<str>, Arc<T>>;

impl Default for Compiled {
    fn default() -> Self {
        // A template takes a few times its text.
        Self {
            filters: texts(|_, filter: &EventFilter| filter.bytes()),
            transforms: texts(|text, _| text.len() * 8),
            schemas: texts(|_, schema: &Schema| schema.bytes()),
        }
    }
}

impl Compiled {
    pub(crate) fn filter(&self, text: &str) -> Result<Arc<EventFilter>, event_filter::CompileError> {
        find(&self.filters, text, EventFilter::compile)
    }

    pub(crate) fn transform(&self, text: &str) -> Result<Arc<Transform>, transform::CompileError> {
        find(&self.transforms, text, Transform::compile)
    }

    pub(crate) fn schema(&self, text: &str) -> Result<Arc<Schema>, Vec<SchemaProblem>> {
        find(&self.schemas, text, Schema::compile)
    }
}

/// `bytes`: what one takes.
fn texts<T: Send + Sync + 'static>(bytes: fn(&str, &T) -> usize) -> Texts<T> {
    let weigh = move |text: &Arc<str>, compiled: &Arc<T>| u32::try_from(bytes(text, compiled) + 256).unwrap_or(u32::MAX);
    Cache::builder().max_capacity(BYTES).weigher(weigh).build()
}

fn find<T: Send + Sync + 'static, E>(texts: &Texts<T>, text: &str, compile: fn(&str) -> Result<T, E>) -> Result<Arc<T>, E> {
    if let Some(known) = texts.get(text) {
        return Ok(known);
    }
    let compiled = Arc::new(compile(text)?);
    texts.insert(text.into(), Arc::clone(&compiled));
    Ok(compiled)
}
