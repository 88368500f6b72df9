//! Accepting servers: TLS 1.3 with client certificates, judged per fleet, with certificates that change at run time.
//!
//! Handshakes run in tasks of their own under a time limit, so that a slow peer stalls nobody. Sessions are never
//! resumed: every connection proves itself against the authorities of that moment.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use snapshot::Fleet;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Shared;
use crate::pki::Leaf;

/// A certificate or authority that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or not what it should be.
    #[error("certificate or key cannot be read")]
    Unreadable,
    /// Key and certificate do not work together, or the authority is unusable.
    #[error("certificate or key cannot be used")]
    Unusable(#[source] Error),
    /// A fleet without any authority would be open to nobody.
    #[error("no usable authority for this fleet")]
    NoAuthority,
}

/// The certificate that is shown to servers; none at first.
#[derive(Debug, Default)]
pub(super) struct Identity {
    current: ArcSwapOption<CertifiedKey>,
}

impl Identity {
    pub(super) fn set(&self, leaf: &Leaf) -> Result<(), TlsError> {
        self.current.store(Some(Arc::new(certified(leaf)?)));
        Ok(())
    }
}

fn certified(leaf: &Leaf) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_slice_iter(leaf.certificate_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| TlsError::Unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.expose().as_bytes()).map_err(|_| TlsError::Unreadable)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Unusable)
}

/// Lets a handshake ask for the certificate of the moment.
#[derive(Debug)]
struct Resolver(Arc<Shared>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.identity.current.load_full()
    }
}

/// Which authorities sign which fleet's servers.
#[derive(Default)]
pub(super) struct FleetTrust {
    verifiers: ArcSwap<HashMap<Fleet, Arc<dyn ClientCertVerifier>>>,
}

impl fmt::Debug for FleetTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.verifiers.load().keys()).finish()
    }
}

impl FleetTrust {
    pub(super) fn set(&self, fleet: &Fleet, authorities: &[CertificateDer<'static>]) -> Result<(), TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone()).map_err(TlsError::Unusable)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.map_err(|_| TlsError::NoAuthority)?;
        self.change(|verifiers| {
            verifiers.insert(fleet.clone(), Arc::clone(&verifier));
        });
        Ok(())
    }

    pub(super) fn remove(&self, fleet: &Fleet) {
        self.change(|verifiers| {
            verifiers.remove(fleet);
        });
    }

    fn change(&self, change: impl Fn(&mut HashMap<Fleet, Arc<dyn ClientCertVerifier>>)) {
        self.verifiers.rcu(|verifiers| {
            let mut verifiers = HashMap::clone(verifiers);
            change(&mut verifiers);
            verifiers
        });
    }
}

/// Judges a client certificate by the authorities of exactly the fleet that it names.
struct Verifier {
    shared: Arc<Shared>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A list would tell strangers which fleets there are.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let fleet = fleet_of(end_entity).ok_or_else(unknown)?;
        let verifier = self
            .shared
            .trust
            .verifiers
            .load()
            .get(&fleet)
            .cloned()
            .ok_or_else(unknown)?;
        verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(
            rustls::PeerIncompatible::Tls12NotOfferedOrEnabled,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The fleet that a certificate names: its only URI name. Two names would be two claims.
fn fleet_of(certificate: &CertificateDer<'_>) -> Option<Fleet> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Fleet::from_uri(uri).ok(),
        _ => None,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn server_config(shared: &Arc<Shared>) -> Result<ServerConfig, Error> {
    let provider = provider();
    let verifier = Verifier {
        shared: Arc::clone(shared),
        provider: Arc::clone(&provider),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(Resolver(Arc::clone(shared))));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The connections that passed their handshake, until `stopped`.
pub(super) fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    stopped: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (accepted, connections) = mpsc::channel(16);
    tokio::spawn(async move {
        let config = match server_config(&shared) {
            Ok(config) => Arc::new(config),
            Err(error) => {
                let _ = accepted.send(Err(io::Error::other(error))).await;
                return;
            }
        };
        let acceptor = TlsAcceptor::from(config);
        let room = Arc::new(Semaphore::new(shared.limits.connections));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let socket = tokio::select! {
                () = shared.drain.cancelled() => return,
                socket = listener.accept() => socket,
            };
            match socket {
                Ok((socket, _)) => {
                    let handshake = handshake(Arc::clone(&shared), acceptor.clone(), socket, permit, stopped.clone());
                    let accepted = accepted.clone();
                    tokio::spawn(async move {
                        if let Some(connection) = handshake.await {
                            let _ = accepted.send(Ok(connection)).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "connection cannot be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    });
    ReceiverStream::new(connections)
}

async fn handshake(
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    socket: TcpStream,
    permit: OwnedSemaphorePermit,
    stopped: CancellationToken,
) -> Option<Connection> {
    let address = socket.peer_addr().ok();
    let _ = socket.set_nodelay(true);
    let stream = match tokio::time::timeout(shared.limits.handshake, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            Shared::count(&shared.counters.refused_connections, 1);
            tracing::info!(?address, %error, "connection refused");
            return None;
        }
        Err(_) => {
            Shared::count(&shared.counters.refused_connections, 1);
            tracing::info!(?address, "connection refused: handshake took too long");
            return None;
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let fleet = certificate.and_then(fleet_of)?;
    let cut = stopped.child_token();
    let used = Arc::new(AtomicBool::new(false));
    tokio::spawn(cut_unused(shared.limits.handshake, cut.clone(), Arc::clone(&used)));
    Some(Connection {
        stream,
        peer: Peer {
            fleet,
            cut: cut.clone(),
            used,
        },
        cut: Box::pin(cut.cancelled_owned()),
        _permit: permit,
    })
}

/// Whom a connection belongs to, as its certificate says.
#[derive(Clone, Debug)]
pub struct Peer {
    pub(super) fleet: Fleet,
    /// Ends the connection at once, even when the peer reads nothing.
    pub(super) cut: CancellationToken,
    /// Whether a stream was opened on it.
    pub(super) used: Arc<AtomicBool>,
}

/// Ends a connection that nobody opens a stream on.
async fn cut_unused(patience: std::time::Duration, cut: CancellationToken, used: Arc<AtomicBool>) {
    tokio::time::sleep(patience).await;
    if !used.load(Ordering::Relaxed) {
        cut.cancel();
    }
}

/// A connection that can be cut.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
