//! How an operator is dialled: TLS 1.3 with the files of the moment, so that renewed ones are used at the next dial.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use snapshot::{Hash, OPERATOR_NAME};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why no connection can be made with the files.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// A file cannot be read.
    #[error("peer file {name} cannot be read")]
    Unreadable {
        /// The file.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("peer file {name} is not valid PEM")]
    Malformed {
        /// The file.
        name: &'static str,
    },
    /// Certificate, key and authority do not work together.
    #[error("peer certificate cannot be used")]
    Unusable(#[from] rustls::Error),
}

/// The certificate of this server and what it trusts.
#[derive(Clone, Debug)]
pub(super) struct PeerFiles {
    config: Arc<ClientConfig>,
    /// SHA-256 of the authorities that are trusted.
    pub(super) bundle: Hash,
}

impl PeerFiles {
    pub(super) fn read(folder: &Path) -> Result<Self, PeerError> {
        let malformed = |name| PeerError::Malformed { name };
        let authorities = read(folder, "ca.crt")?;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&authorities) {
            roots.add(authority.map_err(|_| malformed("ca.crt"))?)?;
        }
        let chain = read(folder, "tls.crt")?;
        let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(&read(folder, "tls.key")?);
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(
                chain.map_err(|_| malformed("tls.crt"))?,
                key.map_err(|_| malformed("tls.key"))?,
            )?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            bundle: Hash::of(&authorities),
        })
    }

    /// Connects to `address`, where an operator must answer.
    pub(super) async fn connect(&self, address: SocketAddr) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(OPERATOR_NAME).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        Ok(TokioIo::new(connector.connect(name, socket).await?))
    }
}

/// SHA-256 of the authorities in `folder` as they are now.
pub(super) fn bundle_hash(folder: &Path) -> Option<Hash> {
    read(folder, "ca.crt").ok().map(|bytes| Hash::of(&bytes))
}

fn read(folder: &Path, name: &'static str) -> Result<Vec<u8>, PeerError> {
    fs::read(folder.join(name)).map_err(|source| PeerError::Unreadable { name, source })
}
