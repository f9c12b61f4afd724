//! Whom outgoing connections trust, and how they encrypt: the system's roots and those of the configuration, TLS 1.2 and newer.
//!
//! Called once, when the client is made. Verification cannot be switched off.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The text of extra roots is not PEM.
    #[error("the extra root certificates are not PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// One of the extra roots is not a certificate.
    #[error("an extra root certificate cannot be read")]
    Certificate(#[source] rustls::Error),
    /// The crypto provider offers no protocol version that is safe.
    #[error("TLS is not available")]
    Tls(#[source] rustls::Error),
    /// The user agent is no header value.
    #[error("the user agent is not a header value")]
    UserAgent,
}

pub(super) fn client_config(extra_roots_pem: &[u8]) -> Result<Arc<ClientConfig>, BuildError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "cannot read some of the system's root certificates");
    }
    // Systems carry roots that rustls does not take; one of them must not cost the others.
    roots.add_parsable_certificates(system.certs);
    for certificate in CertificateDer::pem_slice_iter(extra_roots_pem) {
        roots.add(certificate.map_err(BuildError::Pem)?).map_err(BuildError::Certificate)?;
    }
    if roots.is_empty() {
        tracing::warn!("no root certificate is trusted: every https endpoint will fail");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(BuildError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
