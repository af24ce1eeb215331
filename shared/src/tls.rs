//! The one TLS stack, for every client that the hub has: ring, and Mozilla's
//! authorities as they are compiled in. Reading the system's takes a function
//! longer than the rest of its start.

use std::sync::{Arc, LazyLock};

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

/// Read once: it stays as it is for as long as the process lives.
static AUTHORITIES: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut authorities = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    #[expect(
        clippy::disallowed_methods,
        reason = "no setting of the hub's: every TLS client knows this variable"
    )]
    let own = std::env::var_os("SSL_CERT_FILE");
    if let Some(path) = own {
        match CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>)
        {
            Ok(certificates) => drop(authorities.add_parsable_certificates(certificates)),
            Err(error) => {
                tracing::warn!(%error, "SSL_CERT_FILE cannot be read: its authorities are not trusted");
            }
        }
    }
    Arc::new(authorities)
});

/// Makes ring the process's TLS provider; repeating it is harmless.
pub fn use_ring() {
    let _already_set = rustls::crypto::ring::default_provider().install_default();
}

/// The settings of a client. `SSL_CERT_FILE` names authorities beside the
/// compiled ones: of a proxy, or of a machine where tests run.
#[must_use]
pub fn client() -> ClientConfig {
    builder().with_no_client_auth()
}

/// The same for a client that shows a certificate: its private key and chain, PEM.
///
/// # Errors
/// When it is no such text, or key and certificate do not belong together.
pub fn client_with_certificate(pem: &str) -> Result<ClientConfig, rustls::Error> {
    let unreadable = |error: pem::Error| rustls::Error::General(format!("no PEM: {error}"));
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(unreadable)?;
    builder().with_client_auth_cert(chain.map_err(unreadable)?, key)
}

fn builder() -> ConfigBuilder<ClientConfig, WantsClientCert> {
    use_ring();
    ClientConfig::builder().with_root_certificates(Arc::clone(&AUTHORITIES))
}
