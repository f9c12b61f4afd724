//! Why a request got no answer, in the classes that delivery and hooks act on.
//!
//! Built by the connector and by [`super::Egress`] from the errors of the libraries below. Nobody reads an error's text: whoever needs
//! to act asks for the variant or its class.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use super::Timing;
use super::address::Refusal;
use crate::domain::delivery::AttemptClass;

/// The cause below an [`Error`].
pub type Source = Arc<dyn StdError + Send + Sync>;

/// A request that got no whole answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no answer after {} ms", timing.total.as_millis())]
pub struct Failure {
    /// Why.
    #[source]
    pub error: Error,
    /// How long each step took, as far as it came.
    pub timing: Timing,
}

impl Failure {
    /// The class of the attempt.
    pub fn class(&self) -> AttemptClass {
        self.error.class()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The name has no address, or nobody could say.
    #[error("cannot resolve the host")]
    Dns(#[source] Source),
    /// No connection, or it broke before the answer was whole.
    #[error("no connection, or it broke")]
    Connect(#[source] Source),
    /// The TLS handshake failed, or the certificate is not trusted.
    #[error("cannot agree on TLS")]
    Tls(#[source] Source),
    /// The deadline passed before the last byte.
    #[error("the deadline has passed")]
    Timeout,
    /// Nothing was dialled. The refusal is for the operator, not for the tenant.
    #[error("the address policy refuses the host")]
    AddressRefused(#[source] Refusal),
    /// The answer is not HTTP, or its headers are over the limit.
    #[error("the answer is not valid HTTP")]
    Protocol(#[source] Source),
}

impl Error {
    /// The class of an attempt that ended so.
    pub const fn class(&self) -> AttemptClass {
        match self {
            Self::Dns(_) => AttemptClass::Dns,
            Self::Connect(_) => AttemptClass::Connect,
            Self::Tls(_) => AttemptClass::Tls,
            Self::Timeout => AttemptClass::Timeout,
            Self::AddressRefused(_) => AttemptClass::AddressRefused,
            Self::Protocol(_) => AttemptClass::Protocol,
        }
    }

    /// Sorts an error that came up while a request was on the wire.
    pub(super) fn on_the_wire(error: impl StdError + Send + Sync + 'static) -> Self {
        let of = class_of(&error);
        let source: Source = Arc::new(error);
        match of {
            Fault::Broken => Self::Connect(source),
            Fault::Tls => Self::Tls(source),
            Fault::Protocol => Self::Protocol(source),
        }
    }
}

enum Fault {
    Broken,
    Tls,
    Protocol,
}

/// The libraries wrap one another's errors; the first that says something decides.
fn class_of(error: &(dyn StdError + 'static)) -> Fault {
    for cause in chain(error) {
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            if hyper.is_parse() {
                return Fault::Protocol;
            }
            if hyper.is_incomplete_message() || hyper.is_closed() || hyper.is_canceled() || hyper.is_timeout() {
                return Fault::Broken;
            }
        } else if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            // What this side found wrong is a breach of the protocol; all else is the peer or the network going away.
            return if h2.is_library() { Fault::Protocol } else { Fault::Broken };
        } else if let Some(io) = cause.downcast_ref::<io::Error>() {
            // A TLS alert after the handshake comes as an I/O error, such as one for a missing client certificate.
            return if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) { Fault::Tls } else { Fault::Broken };
        }
    }
    Fault::Protocol
}

/// An error and what caused it, outermost first.
pub(super) fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}
