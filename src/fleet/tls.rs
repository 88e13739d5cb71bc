//! [`Tls`]: links over TLS 1.3, both ends known by keys that both signers have named.
//!
//! No certificate is involved: each end shows a raw public key (RFC 7250), which must be the one that the membership has for
//! it, and signs the handshake with it. The exchange is X25519MLKEM768 alone. Nothing is resumed and nothing is sent early,
//! so what was said once is of no use again; and the protocol's name has the fleet's id in it, so that a key that is a member
//! of two fleets does not carry words from one to the other. A client's signature is none of a server: what is reflected
//! proves nothing.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ed25519_dalek::Signer as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureAlgorithm, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::link::Address;
use super::replica::Replica;
use super::stream::{Dialled, Dials, serve};
use crate::error::Fault;
use crate::secret::Secret;

/// For a stream and its handshake.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// Handshakes that go on at once with who may be anybody.
const HANDSHAKES_MAX: usize = 64;
/// Of them from one address, so that a stranger does not keep members from theirs.
const HANDSHAKES_OF_ADDRESS: usize = 16;
/// What an end says first that takes the other for a member.
const WELCOME: u8 = 1;
/// After no stream could be taken: the process may have none left for a while.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// What an Ed25519 key is preceded by as a SubjectPublicKeyInfo (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What a member proves itself by on links. Wiped on drop.
#[derive(Clone)]
pub struct LinkKey(Arc<ed25519_dalek::SigningKey>);

impl LinkKey {
    /// The key of a seed of 32 random bytes.
    pub fn new(seed: &Secret<[u8; 32]>) -> Self {
        LinkKey(Arc::new(ed25519_dalek::SigningKey::from_bytes(seed.expose())))
    }

    /// What a statement names the member by: [`crate::transparency::Member::link_key`].
    pub fn public_key(&self) -> [u8; 32] {
        *self.0.verifying_key().as_bytes()
    }
}

/// One member's way to speak TLS with the others of its fleet.
#[derive(Clone)]
pub struct Tls {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
    own: [u8; 32],
    protocol: Vec<u8>,
}

impl Tls {
    /// For the member of this key.
    pub fn new(fleet: &[u8; 32], key: LinkKey) -> Self {
        let provider = CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384],
            kx_groups: vec![kx_group::X25519MLKEM768],
            ..default_provider()
        };
        let own = key.public_key();
        let certified = CertifiedKey::new(vec![CertificateDer::from(spki(&own))], Arc::new(Own(key.0)));
        let mut protocol = b"strongroom fleet 1 ".to_vec();
        protocol.extend_from_slice(fleet);
        Tls { provider: Arc::new(provider), key: Arc::new(certified), own, protocol }
    }

    /// Begins to speak over a stream to the member of this address, once that has taken this one for a member.
    ///
    /// # Errors
    /// Of the stream, or because who is at its other end is not that member; [`io::ErrorKind::PermissionDenied`] if the
    /// member does not take this one for another.
    pub async fn connect<S>(&self, stream: S, address: &Address) -> io::Result<client::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if address.link_key == self.own {
            return Err(io::Error::other("a member does not speak with itself"));
        }
        let expected = address.link_key;
        let verifier = Others(Box::new(move |key| *key == expected));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&self.key))));
        config.alpn_protocols = vec![self.protocol.clone()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        // Who it is says the key; the name is not sent.
        let name = ServerName::try_from("member").map_err(io::Error::other)?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        // In TLS 1.3 a client is done before it hears whether it is taken.
        match stream.read_u8().await {
            Ok(WELCOME) => Ok(stream),
            Ok(_) => Err(io::ErrorKind::InvalidData.into()),
            Err(error) => Err(explained(error)),
        }
    }

    /// Takes streams of other members, and the number of each.
    ///
    /// # Errors
    /// [`Fault::Limit`] if the library refuses the settings.
    pub fn acceptor(&self, replica: &Replica) -> Result<Acceptor, Fault> {
        let refused = |error: Error| Fault::Limit(format!("TLS: {error}"));
        let known = replica.clone();
        let verifier = Others(Box::new(move |key| known.member_of(key).is_some()));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(refused)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&self.key))));
        config.alpn_protocols = vec![self.protocol.clone()];
        config.send_tls13_tickets = 0;
        Ok(Acceptor { tls: TlsAcceptor::from(Arc::new(config)), replica: replica.clone() })
    }
}

/// The side of a replica that is spoken to.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    replica: Replica,
}

impl Acceptor {
    /// Begins to speak over a stream that somebody has opened, and tells which member that is.
    ///
    /// # Errors
    /// Of the stream, or because it is nobody of the fleet.
    pub async fn accept<S>(&self, stream: S) -> io::Result<(u64, server::TlsStream<S>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = self.tls.accept(stream).await?;
        let connection = stream.get_ref().1;
        // Without one in common the library goes on without.
        if connection.alpn_protocol().is_none() {
            return Err(io::Error::other("the other end speaks another protocol"));
        }
        let key = connection.peer_certificates().and_then(|it| key_of(it.first()?));
        // It may have been removed since the handshake began.
        let member = key.and_then(|key| self.replica.member_of(&key));
        let member = member.ok_or_else(|| io::Error::other("the other end is not a member"))?;
        stream.write_u8(WELCOME).await?;
        stream.flush().await?;
        Ok((member, stream))
    }

    /// Answers members on a listener, until this future is dropped: one stream of each, the last that it has opened.
    pub async fn listen(self, listener: TcpListener) {
        let (places, callers) = (Arc::new(Semaphore::new(HANDSHAKES_MAX)), Callers::default());
        let open = Arc::new(Mutex::new(BTreeMap::new()));
        let mut streams = JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            };
            let Some(caller) = callers.admit(from.ip()) else {
                tracing::debug!(%from, "one stream too many of this address is turned away");
                continue;
            };
            let (acceptor, open) = (self.clone(), Arc::clone(&open));
            streams.spawn(async move {
                stream.set_nodelay(true).ok();
                let accepted = tokio::time::timeout(HANDSHAKE_WAIT, acceptor.accept(stream)).await;
                drop((place, caller));
                match accepted.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                    Ok((member, stream)) => {
                        let (keep, replaced) = oneshot::channel::<()>();
                        open.lock().unwrap_or_else(PoisonError::into_inner).insert(member, keep);
                        tokio::select! {
                            _ = replaced => {}
                            _ = serve(stream, member, acceptor.replica) => {}
                        }
                    }
                    Err(error) => tracing::debug!(%from, %error, "a stream is turned away"),
                }
            });
            while streams.try_join_next().is_some() {}
        }
    }
}

/// How many handshakes go on with each address.
#[derive(Clone, Default)]
struct Callers(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One of them, as long as it lasts.
struct Caller {
    of: Callers,
    address: IpAddr,
}

impl Callers {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        // Whole numbers only are put into it, so a panic elsewhere leaves it sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, address: IpAddr) -> Option<Caller> {
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= HANDSHAKES_OF_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Caller { of: self.clone(), address })
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Opens streams to members over TCP and TLS.
pub struct TcpDials {
    tls: Tls,
    elsewhere: BTreeMap<u64, String>,
}

impl TcpDials {
    /// From the member whose TLS this is.
    pub fn new(tls: Tls) -> Self {
        TcpDials { tls, elsewhere: BTreeMap::new() }
    }

    /// From the member whose TLS this is, where some members are not reached at the names that statements give them, but at
    /// these. Who answers there is known by its key all the same.
    pub fn elsewhere(tls: Tls, elsewhere: BTreeMap<u64, String>) -> Self {
        TcpDials { tls, elsewhere }
    }
}

impl Dials for TcpDials {
    type Stream = client::TlsStream<TcpStream>;

    fn dial<'a>(&'a self, member: u64, address: &'a Address) -> Dialled<'a, Self::Stream> {
        Box::pin(async move {
            let dialled = async {
                let name = self.elsewhere.get(&member).unwrap_or(&address.name);
                let stream = TcpStream::connect(name).await?;
                stream.set_nodelay(true)?;
                self.tls.connect(stream, address).await
            };
            tokio::time::timeout(HANDSHAKE_WAIT, dialled).await?
        })
    }
}

/// An alert of an end that has proved itself says that this one is no member.
fn explained(error: io::Error) -> io::Error {
    let alert = error.get_ref().and_then(|it| it.downcast_ref());
    match alert {
        Some(Error::AlertReceived(_)) => io::Error::new(io::ErrorKind::PermissionDenied, error),
        _ => error,
    }
}

fn spki(key: &[u8; 32]) -> Vec<u8> {
    [&SPKI[..], key].concat()
}

/// The key of a SubjectPublicKeyInfo, if it is one of Ed25519.
fn key_of(shown: &[u8]) -> Option<[u8; 32]> {
    shown.strip_prefix(&SPKI)?.try_into().ok()
}

/// Signs handshakes.
struct Own(Arc<ed25519_dalek::SigningKey>);

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a link key")
    }
}

impl SigningKey for Own {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(Own(Arc::clone(&self.0))) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(spki(self.0.verifying_key().as_bytes())))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Own {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Whether whoever has this key may be at the other end.
type Known = dyn Fn(&[u8; 32]) -> bool + Send + Sync;

/// Decides who may be at the other end.
struct Others(Box<Known>);

impl std::fmt::Debug for Others {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the fleet's members")
    }
}

impl Others {
    fn check(&self, shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        match key_of(shown) {
            Some(key) if more.is_empty() && (self.0)(&key) => Ok(()),
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn check_signature(
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verify = || {
            let key = ed25519_dalek::VerifyingKey::from_bytes(&key_of(shown)?).ok().filter(|it| !it.is_weak())?;
            let signature = ed25519_dalek::Signature::from_slice(signed.signature()).ok()?;
            key.verify_strict(message, &signature).ok().filter(|()| signed.scheme == SignatureScheme::ED25519)
        };
        match verify() {
            Some(()) => Ok(HandshakeSignatureValid::assertion()),
            None => Err(CertificateError::BadSignature.into()),
        }
    }
}

impl ServerCertVerifier for Others {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(shown, more).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Others::check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Others {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(shown, more).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Others::check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
