//! The server's long-lived keys of RFC 9807, and what one account is evaluated under.

use super::message::{RECORD_LEN, record};
use crate::engine::sha512::HmacKey;
use crate::engine::{Backend, DEEP, ELEMENT_LEN, Scalar, backend, traceless};
use crate::error::Fault;
use crate::oprf;
use crate::secret::Secret;

/// The seed that record keys are derived from, and the server's static key pair: one key number of a fleet.
///
/// ```compile_fail
/// # use strongroom::{opaque::ServerKeys, secret::Secret};
/// let keys = ServerKeys::new(&Secret::new([1; 64]), &Secret::new([1; 32])).unwrap();
/// println!("{keys:?}");
/// ```
pub struct ServerKeys {
    /// The seed, made ready as a key of HMAC. Both are boxed: where this moves to, it leaves pointers behind.
    pub(super) oprf_seed: Box<HmacKey>,
    pub(super) static_secret: Box<Scalar>,
    public_key: [u8; ELEMENT_LEN],
}

impl ServerKeys {
    /// Takes the OPRF seed and the static secret key, a reduced scalar (as [`random_static_secret`] makes one).
    ///
    /// # Errors
    /// [`Fault::Key`] if the static secret is zero or not reduced, [`Fault::Miscalculated`].
    pub fn new(oprf_seed: &Secret<[u8; 64]>, static_secret: &Secret<[u8; 32]>) -> Result<Self, Fault> {
        traceless::<DEEP, _>(|| Self::made_ready(oprf_seed, static_secret))
    }

    fn made_ready(oprf_seed: &Secret<[u8; 64]>, static_secret: &Secret<[u8; 32]>) -> Result<Self, Fault> {
        let static_secret = Scalar::from_bytes(static_secret.expose())
            .ok_or_else(|| Fault::Key("the static secret key is zero or not reduced".into()))?;
        let [public_key] = backend().multiply_base(&[&static_secret])?[..] else {
            return Err(Fault::Key("the static secret key has no public key".into()));
        };
        let (oprf_seed, static_secret) = (Box::new(HmacKey::new(oprf_seed.expose())), Box::new(static_secret));
        Ok(ServerKeys { oprf_seed, static_secret, public_key })
    }

    /// The static public key, which clients compare with the one that their bundle names.
    pub fn public_key(&self) -> &[u8; ELEMENT_LEN] {
        &self.public_key
    }

    /// What an account is evaluated under: a stored record and the credential identifier it was made under.
    ///
    /// For an account that may be unknown, see [`fake::choose`](super::fake::choose).
    pub fn credential<'a>(&'a self, identifier: &'a [u8], record: &'a [u8; RECORD_LEN]) -> Credential<'a> {
        Credential { oprf_seed: &self.oprf_seed, identifier, record }
    }
}

/// A record and what its OPRF key is derived from. Real or fake: whoever holds one cannot tell.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    pub(super) oprf_seed: &'a HmacKey,
    pub(super) identifier: &'a [u8],
    pub(super) record: &'a [u8; RECORD_LEN],
}

impl Credential<'_> {
    pub(super) fn client_public_key(&self) -> &[u8] {
        &self.record[record::CLIENT_PUBLIC_KEY]
    }
}

/// A new static secret key: DeriveDiffieHellmanKeyPair (RFC 9807 section 2.1) of a fresh seed.
///
/// # Errors
/// [`Fault::Randomness`] if the operating system gives none, [`Fault::Key`] if the seed derives no key, which nobody will see.
pub fn random_static_secret() -> Result<Secret<[u8; 32]>, Fault> {
    random_static_secret_with(&Secret::random()?)
}

/// [`random_static_secret`] from a seed that the caller brings.
///
/// # Errors
/// [`Fault::Key`] if the seed derives no key, which nobody will see.
pub fn random_static_secret_with(seed: &Secret<[u8; 32]>) -> Result<Secret<[u8; 32]>, Fault> {
    traceless::<DEEP, _>(|| {
        let secrets = diffie_hellman_keys(backend(), &[seed.expose()])?;
        secrets.first().map(Scalar::to_bytes).ok_or_else(|| Fault::Key("a seed derives no key".into()))
    })
}

/// The secret half of DeriveDiffieHellmanKeyPair, RFC 9807 section 6.4.1 over ristretto255, for each seed.
pub(super) fn diffie_hellman_keys(backend: Backend, seeds: &[&[u8; 32]]) -> Result<Vec<Scalar>, Fault> {
    oprf::derive_keys_on(backend, seeds, b"OPAQUE-DeriveDiffieHellmanKeyPair")
}

/// The OPRF key of each credential identifier under its seed: RFC 9807 sections 5.2.2 and 6.3.2.2.
pub(super) fn oprf_keys(backend: Backend, credentials: &[(&HmacKey, &[u8])]) -> Result<Vec<Scalar>, Fault> {
    let expand: Vec<_> = credentials
        .iter()
        // HKDF-Expand to 32 bytes is the head of its first block.
        .map(|(seed, identifier)| (*seed, [*identifier, &b"OprfKey"[..], &[1]]))
        .collect();
    let blocks = backend.macs(&expand);
    let seeds: Vec<&[u8; 32]> = blocks.expose().iter().filter_map(|block| block.first_chunk()).collect();
    oprf::derive_keys_on(backend, &seeds, b"OPAQUE-DeriveKeyPair")
}
