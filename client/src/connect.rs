//! How a client is set up: where the server is, the key, TLS, deadlines, repeats.
//!
//! [`Builder`] checks everything it can before it dials. The key lives in a `SecretString` until it becomes a header marked
//! sensitive; it is never part of an error or of `Debug`.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::call::{Calls, RetryPolicy};
use crate::client::Client;
use crate::errors::Error;

/// The channel of the generated clients: it adds the API key to every call.
pub type Authorized = InterceptedService<Channel, Auth>;

/// Settings of a [`Client`], from [`Client::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    uri: String,
    key: Option<SecretString>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    timeout: Duration,
    connect_timeout: Duration,
    retry: RetryPolicy,
    user_agent: String,
}

impl Builder {
    pub(crate) fn new(uri: String) -> Self {
        Self {
            uri,
            key: None,
            #[cfg(feature = "tls")]
            tls: None,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            retry: RetryPolicy::default(),
            user_agent: concat!("gatepost-client/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The API key, `gp_{id}_{secret}`, sent with every call.
    #[must_use]
    pub fn key(mut self, key: impl Into<SecretString>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How to trust the server and who this client is. An `https` URI without it trusts the system's roots.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Deadline of one call with all its repeats, sent to the server as `grpc-timeout`. Default 30 s. Watches and publish streams
    /// have none; a publish stream uses it as the longest time without any answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Longest time for one connection attempt, TLS included. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How often a failed call is repeated, 0 for never. Default 6.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.retry.max_retries = retries;
        self
    }

    /// How failed calls are repeated, in full.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Your program's name and version; it goes before this crate's in `user-agent`.
    #[must_use]
    pub fn user_agent(mut self, name: impl AsRef<str>) -> Self {
        self.user_agent = format!("{} gatepost-client/{}", name.as_ref(), env!("CARGO_PKG_VERSION"));
        self
    }

    /// Connects now.
    ///
    /// # Errors
    /// [`Error::Setup`]: a setting is wrong. [`Error::Transport`]: the server does not answer.
    pub async fn connect(self) -> Result<Client, Error> {
        let channel = self.endpoint()?.connect().await?;
        self.client(channel)
    }

    /// Connects with the first call, and again whenever the connection is lost.
    ///
    /// # Errors
    /// [`Error::Setup`]: a setting is wrong.
    pub fn connect_lazy(self) -> Result<Client, Error> {
        let channel = self.endpoint()?.connect_lazy();
        self.client(channel)
    }

    fn client(self, channel: Channel) -> Result<Client, Error> {
        let auth = Auth::new(self.key.as_ref())?;
        let channel = InterceptedService::new(channel, auth);
        Ok(Client::new(Arc::new(Calls { channel, timeout: self.timeout, retry: self.retry })))
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        let uri: Uri = self.uri.parse().map_err(|error| Error::setup_because("the server's URI is not valid", error))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(Error::setup("the server's URI must begin with http:// or https://"));
        }
        let secure = uri.scheme_str() == Some("https");
        let endpoint = Endpoint::from(uri)
            .connect_timeout(self.connect_timeout)
            .http2_keep_alive_interval(Duration::from_secs(15))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .user_agent(&self.user_agent)
            .map_err(|error| Error::setup_because("the user agent is not valid in a header", error))?;
        self.secure(endpoint, secure)
    }

    #[cfg(feature = "tls")]
    fn secure(&self, endpoint: Endpoint, secure: bool) -> Result<Endpoint, Error> {
        match (&self.tls, secure) {
            (Some(_), false) => Err(Error::setup("TLS settings need an https:// URI")),
            (None, false) => Ok(endpoint),
            (tls, true) => endpoint
                .tls_config(tls.clone().unwrap_or_default().config())
                .map_err(|error| Error::setup_because("the TLS settings are not valid", error)),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn secure(&self, endpoint: Endpoint, secure: bool) -> Result<Endpoint, Error> {
        if secure { Err(Error::setup("an https:// URI needs the crate's feature `tls`")) } else { Ok(endpoint) }
    }
}

/// How a client trusts the server, and the certificate it shows itself.
///
/// tonic takes rustls' process-wide provider, else *ring*: nothing needs to be installed.
#[cfg(feature = "tls")]
#[derive(Clone, Default)]
pub struct Tls {
    ca_pem: Option<Vec<u8>>,
    identity: Option<tonic::transport::Identity>,
    domain: Option<String>,
}

#[cfg(feature = "tls")]
impl Tls {
    /// Trusts the system's roots.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts only the certificates in this PEM instead of the system's roots.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Shows this certificate chain to the server. Both are PEM.
    #[must_use]
    pub fn identity_pem(mut self, certificates: impl AsRef<[u8]>, private_key: impl AsRef<[u8]>) -> Self {
        self.identity = Some(tonic::transport::Identity::from_pem(certificates, private_key));
        self
    }

    /// Expects this name in the server's certificate instead of the URI's host.
    #[must_use]
    pub fn domain_name(mut self, name: impl Into<String>) -> Self {
        self.domain = Some(name.into());
        self
    }

    fn config(self) -> tonic::transport::ClientTlsConfig {
        let mut config = tonic::transport::ClientTlsConfig::new();
        config = match self.ca_pem {
            Some(pem) => config.ca_certificate(tonic::transport::Certificate::from_pem(pem)),
            None => config.with_native_roots(),
        };
        if let Some(identity) = self.identity {
            config = config.identity(identity);
        }
        if let Some(domain) = self.domain {
            config = config.domain_name(domain);
        }
        config
    }
}

#[cfg(feature = "tls")]
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("own_ca", &self.ca_pem.is_some())
            .field("identity", &self.identity.is_some())
            .field("domain", &self.domain)
            .finish()
    }
}

/// Adds `authorization: Bearer {key}` to a call.
#[derive(Debug, Clone)]
pub struct Auth {
    header: Option<MetadataValue<Ascii>>,
}

impl Auth {
    fn new(key: Option<&SecretString>) -> Result<Self, Error> {
        let Some(key) = key else { return Ok(Self { header: None }) };
        // The parse error is dropped: it has nothing to say that the key would not show.
        let mut header: MetadataValue<Ascii> = format!("Bearer {}", key.expose_secret().trim())
            .parse()
            .map_err(|_| Error::setup("the key holds characters that no key has"))?;
        header.set_sensitive(true);
        Ok(Self { header: Some(header) })
    }
}

impl tonic::service::Interceptor for Auth {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(header) = &self.header {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(builder: Builder) -> String {
        builder.connect_lazy().expect_err("it must be refused").to_string()
    }

    #[tokio::test]
    async fn a_wrong_setting_is_found_before_anything_is_dialled() {
        assert!(refusal(Client::builder("not a uri")).contains("URI"));
        assert!(refusal(Client::builder("ftp://127.0.0.1")).contains("http://"));
        assert!(refusal(Client::builder("127.0.0.1:7070")).contains("http://"));
        assert!(refusal(Client::builder("http://127.0.0.1").key("a\nb")).contains("key"));
    }

    #[cfg(feature = "tls")]
    #[tokio::test]
    async fn tls_settings_are_never_silently_ignored() {
        assert!(refusal(Client::builder("http://127.0.0.1").tls(Tls::new())).contains("https://"));
        let broken = Tls::new().ca_pem("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        assert!(refusal(Client::builder("https://127.0.0.1").tls(broken)).contains("TLS"));
    }

    #[tokio::test]
    async fn the_key_is_never_shown() {
        let builder = Client::builder("http://127.0.0.1:1").key("gp_k_verysecret");
        assert!(!format!("{builder:?}").contains("verysecret"));
        let client = builder.connect_lazy().unwrap();
        assert!(!format!("{client:?}").contains("verysecret"));
        let refused = Client::builder("http://127.0.0.1:1").key("gp_k_verysecret\u{7f}").connect_lazy().unwrap_err();
        assert!(!format!("{refused:?} {refused}").contains("verysecret"));
        assert!(!format!("{:?}", Auth::new(Some(&"gp_k_verysecret".into())).unwrap()).contains("verysecret"));
    }
}
