//! The server's certificate: read at start, read again when its files change, so that a renewal needs no restart.
//!
//! [`Tls::follow`] looks every few seconds and on SIGHUP. Files that cannot be used change nothing but the log: the old certificate
//! serves on. A connection keeps the certificate that it began with.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(3);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is no PEM of its kind.
    #[error("cannot read {path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The key does not belong to the certificate, or is of an unknown kind.
    #[error("the certificate cannot be used")]
    Rustls(#[from] rustls::Error),
}

/// The certificate in force. Clones share it.
#[derive(Clone)]
pub(super) struct Tls {
    files: config::Tls,
    current: Arc<RwLock<TlsAcceptor>>,
    /// Of the files as they were read last.
    digest: [u8; 32],
}

/// Both files as they are.
struct Files {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Tls {
    /// Reads the certificate chain and its key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(super) fn load(files: &config::Tls) -> Result<Self, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| unusable(path, &error));
        let read = Files { chain: read(&files.cert_file)?, key: Zeroizing::new(read(&files.key_file)?) };
        let current = Arc::new(RwLock::new(acceptor(files, &read)?));
        Ok(Self { files: files.clone(), current, digest: read.digest() })
    }

    /// What the next connection is accepted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes up new files until `stop`.
    pub(super) async fn follow(mut self, clock: Clock, stop: CancellationToken) {
        // Where signals cannot be had, looking is enough.
        let mut hangup = signal(SignalKind::hangup()).ok();
        loop {
            let asked = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = asked => {}
                () = clock.sleep(LOOK) => {}
            }
            self.look().await;
        }
    }

    /// Takes up the files if they changed since they were read last, and can be used.
    async fn look(&mut self) {
        let read = async |path: &Path| tokio::fs::read(path).await.map_err(|error| unusable(path, &error));
        let chain = read(&self.files.cert_file).await;
        let key = read(&self.files.key_file).await.map(Zeroizing::new);
        let (found, digest) = match chain.and_then(|chain| Ok(Files { chain, key: key? })) {
            Ok(found) => {
                let digest = found.digest();
                (Ok(found), digest)
            }
            Err(error) => (Err(error), [0; 32]),
        };
        if digest == std::mem::replace(&mut self.digest, digest) {
            return;
        }
        match found.and_then(|found| acceptor(&self.files, &found)) {
            Ok(acceptor) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
                tracing::info!(file = %self.files.cert_file.display(), "a new certificate is in force");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the new certificate cannot be used; the old one stays");
            }
        }
    }
}

impl Files {
    /// What two readings are compared by: no copy of the key is kept for it.
    fn digest(&self) -> [u8; 32] {
        let length = u64::try_from(self.chain.len()).unwrap_or(u64::MAX).to_be_bytes();
        Sha256::new().chain_update(length).chain_update(&self.chain).chain_update(&*self.key).finalize().into()
    }
}

fn acceptor(files: &config::Tls, read: &Files) -> Result<TlsAcceptor, TlsError> {
    let chain = CertificateDer::pem_slice_iter(&read.chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(&files.cert_file, &error))?;
    if chain.is_empty() {
        return Err(unusable(&files.cert_file, &"holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&read.key).map_err(|error| unusable(&files.key_file, &error))?;
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn unusable(path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.display().to_string(), problem: problem.to_string() }
}
