//! Accounts that are unknown or whose record is destroyed: RFC 9807 section 10.9, with the same work as known ones (O2).
//!
//! A fake has a seed of its own that no registration uses: under a record's own seed and identifier the fake would
//! answer as an oracle for the real OPRF key. Its credential identifier is the account id, then zeros, so the same
//! account gives the same element again, as a known one does.

use subtle::{Choice, ConditionallySelectable};

use super::keys::{Credential, ServerKeys};
use super::message::{RECORD_LEN, record};
use crate::engine::sha512::HmacKey;
use crate::engine::{Backend, DEEP, ELEMENT_LEN, SHALLOW, backend, in_chunks, traceless};
use crate::error::Fault;
use crate::secret::Secret;

/// Bytes of an account id, and of the nonce that follows it in a credential identifier.
const HALF: usize = 32;
/// Bytes of a vault's credential identifier: account id, then nonce.
pub const IDENTIFIER_LEN: usize = 2 * HALF;

/// What fakes are made from: one set a fleet, so that every replica answers alike.
///
/// ```compile_fail
/// # use strongroom::{opaque::fake::FakeKeys, secret::Secret};
/// let keys = FakeKeys::new(&Secret::new([1; 64]), &Secret::new([2; 64])).unwrap();
/// println!("{keys:?}");
/// ```
pub struct FakeKeys {
    /// Both are boxed: where this moves to, it leaves pointers behind.
    oprf_seed: Box<HmacKey>,
    masking: Box<HmacKey>,
    client_public_key: [u8; ELEMENT_LEN],
}

impl FakeKeys {
    /// Takes an OPRF seed that no registration uses, and a key for masking keys.
    ///
    /// The one public key of all fake clients is hashed to the group from the second, so nobody has its secret.
    ///
    /// # Errors
    /// [`Fault::Key`] if that gives the identity, which nobody will see.
    pub fn new(oprf_seed: &Secret<[u8; 64]>, masking: &Secret<[u8; 64]>) -> Result<Self, Fault> {
        traceless::<DEEP, _>(|| Self::made_ready(oprf_seed, masking))
    }

    fn made_ready(oprf_seed: &Secret<[u8; 64]>, masking: &Secret<[u8; 64]>) -> Result<Self, Fault> {
        let masking = Box::new(HmacKey::new(masking.expose()));
        let uniform = Secret::new([masking.expand_array::<64>(&[b"strongroom fake client public key"])]);
        let encodings = backend().map(uniform.expose());
        match (&encodings[..], &backend().decode(&encodings)[..]) {
            ([client_public_key], [Some(_)]) => Ok(FakeKeys {
                oprf_seed: Box::new(HmacKey::new(oprf_seed.expose())),
                masking,
                client_public_key: *client_public_key,
            }),
            _ => Err(Fault::Key("the fake client's public key is the identity".into())),
        }
    }
}

/// One account as the ledger and the store know it.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// Whether it has a live record. Only its mask is used, never its value.
    pub known: Choice,
    /// The keys under whose number its record stands; for a fake, those of the newest number.
    pub keys: &'a ServerKeys,
    /// Its id.
    pub account: &'a [u8; HALF],
    /// The nonce of its record; any bytes if not known.
    pub nonce: &'a [u8; HALF],
    /// Its record; any bytes if not known.
    pub record: &'a [u8; RECORD_LEN],
}

/// A real credential or a fake one. Wiped on drop; where this moves to, it leaves a pointer behind.
pub struct Chosen(Box<Held>);

struct Held {
    oprf_seed: HmacKey,
    identifier: Secret<[u8; IDENTIFIER_LEN]>,
    record: Secret<[u8; RECORD_LEN]>,
}

impl Chosen {
    /// It, as a login takes it.
    pub fn credential(&self) -> Credential<'_> {
        let Held { oprf_seed, identifier, record } = &*self.0;
        Credential { oprf_seed, identifier: identifier.expose(), record: record.expose() }
    }
}

/// For each account its own credential if it is known, else its fake; the fake is derived in any case, and which one is
/// taken shows in no branch and no address.
pub fn choose(items: &[Lookup<'_>], fakes: &FakeKeys) -> Vec<Chosen> {
    choose_on(backend(), items, fakes)
}

/// [`choose`] on a backend of the caller's choice.
pub fn choose_on(backend: Backend, items: &[Lookup<'_>], fakes: &FakeKeys) -> Vec<Chosen> {
    in_chunks::<SHALLOW, _, _>(items, |chunk| {
        let expand: Vec<_> = chunk
            .iter()
            .map(|item| (&*fakes.masking, [&b"strongroom fake masking key"[..], item.account, &[1]]))
            .collect();
        let masking_keys = backend.macs(&expand);
        chunk
            .iter()
            .zip(masking_keys.expose())
            .map(|(item, masking_key)| choose_one(item, fakes, masking_key))
            .collect()
    })
}

fn choose_one(item: &Lookup<'_>, fakes: &FakeKeys, masking_key: &[u8; 64]) -> Chosen {
    let mut chosen = Box::new(Held {
        oprf_seed: HmacKey::clone(&fakes.oprf_seed),
        identifier: Secret::new([0; IDENTIFIER_LEN]),
        // The envelope of a fake stays zero, as RFC 9807 section 6.3.2.2 has it.
        record: Secret::new([0; RECORD_LEN]),
    });
    let record = chosen.record.expose_mut();
    record[record::CLIENT_PUBLIC_KEY].copy_from_slice(&fakes.client_public_key);
    record[record::MASKING_KEY].copy_from_slice(masking_key);
    record.conditional_assign(item.record, item.known);
    let (account, nonce) = chosen.identifier.expose_mut().split_at_mut(HALF);
    account.copy_from_slice(item.account);
    for (byte, real) in nonce.iter_mut().zip(item.nonce) {
        byte.conditional_assign(real, item.known);
    }
    chosen.oprf_seed.conditional_assign(&item.keys.oprf_seed, item.known);
    Chosen(chosen)
}
