//! TLS: a certificate and its key, from PEM.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate and its key. TLS 1.2 and 1.3 are spoken.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

impl Tls {
    /// Reads the certificate, with those between it and its root behind it, and its private key
    /// (PKCS #8, PKCS #1 or SEC 1), both as PEM.
    ///
    /// # Errors
    /// [`TlsError`] for what cannot be read, and for a key of another certificate.
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Tls, TlsError> {
        let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| TlsError {
            what: format!("the certificate is no PEM: {error}"),
        })?;
        if chain.is_empty() {
            return Err(TlsError {
                what: "the certificate's file holds none (BEGIN CERTIFICATE)".into(),
            });
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError {
            what: format!("the key is no private key in PEM: {error}"),
        })?;
        let wrong = |error: tokio_rustls::rustls::Error| TlsError {
            what: error.to_string(),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(wrong)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls(Arc::new(config)))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.clone())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// A certificate or key that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}; give the certificate chain and its private key as PEM files")]
pub struct TlsError {
    what: String,
}
