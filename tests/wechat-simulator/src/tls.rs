//! The merchant's door: TLS that asks for a client certificate, and the refusal
//! of who shows none where WeChat demands one.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::pay::Refusal;
use crate::sign::Fields;
use crate::state::Simulator;
use crate::v2;

/// Why the TLS port does not open.
#[derive(Debug, thiserror::Error)]
pub enum CannotListen {
    /// A file is missing or no PEM.
    #[error("ca.pem, server.pem or server.key cannot be read: {0}")]
    File(#[from] pem::Error),
    /// The CA cannot vouch for clients.
    #[error("ca.pem: {0}")]
    Authority(#[from] VerifierBuilderError),
    /// The server's certificate and key do not serve.
    #[error("server.pem, server.key: {0}")]
    Server(#[from] rustls::Error),
    /// The port is taken.
    #[error("the TLS port cannot be taken: {0}")]
    Port(#[from] io::Error),
}

/// A port that speaks TLS. A client may show a certificate of the CA; it must
/// show no other.
pub struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    /// Handshakes under way: a client that says nothing must not hold up the
    /// next one.
    greeted: JoinSet<io::Result<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    /// Opens the port on 127.0.0.1 with `ca.pem`, `server.pem` and `server.key`
    /// of that folder.
    ///
    /// # Errors
    /// When one of them is missing or unfit, or the port is taken.
    pub async fn bind(port: u16, folder: &Path) -> Result<Self, CannotListen> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(folder.join("ca.pem"))? {
            roots.add(root?)?;
        }
        let clients = WebPkiClientVerifier::builder(Arc::new(roots))
            .allow_unauthenticated()
            .build()?;
        let chain = CertificateDer::pem_file_iter(folder.join("server.pem"))?
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(folder.join("server.key"))?;
        let config = ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)?;
        Ok(Self {
            tcp: TcpListener::bind(("127.0.0.1", port)).await?,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            greeted: JoinSet::new(),
        })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                // axum's own way with accept errors: wait, and go on.
                (stream, peer) = Listener::accept(&mut self.tcp) => {
                    let greeting = self.acceptor.accept(stream);
                    self.greeted.spawn(async move { Ok((greeting.await?, peer)) });
                }
                Some(greeted) = self.greeted.join_next() => match greeted {
                    Ok(Ok(connection)) => return connection,
                    Ok(Err(refused)) => eprintln!("wechat-simulator: no TLS: {refused}"),
                    Err(_) => {}
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// Whether a connection has shown a certificate of the CA.
#[derive(Clone, Copy, Debug)]
pub struct Shown(bool);

impl Connected<IncomingStream<'_, TlsListener>> for Shown {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(stream.io().get_ref().1.peer_certificates().is_some())
    }
}

/// Lets only those through who have shown a certificate, if there is a port to
/// show it at.
pub(crate) async fn demand(
    State(simulator): State<Simulator>,
    request: Request,
    next: Next,
) -> Response {
    let shown = request
        .extensions()
        .get::<ConnectInfo<Shown>>()
        .is_some_and(|ConnectInfo(Shown(shown))| *shown);
    if shown || simulator.config().tls_port.is_none() {
        return next.run(request).await;
    }
    let refusal = Refusal::transport(
        "CERTIFICATE",
        "证书校验错误，请登录微信支付商户平台下载证书",
    );
    v2::refuse(&simulator, request.uri().path(), &Fields::new(), refusal)
}
