//! [`FleetSecrets`]: the keys that all vaults of a fleet share.

use std::collections::BTreeMap;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::grant::DigestKeys;
use crate::engine::sha512::HmacKey;
use crate::error::Fault;
use crate::opaque::fake::FakeKeys;
use crate::opaque::{ServerKeys, random_static_secret};
use crate::secret::{Secret, fill_random};
use crate::wrap::TicketKeys;

/// What makes one generation of records: the seed of their OPRF keys and the server's static secret. It cannot change
/// without re-enrolment, so several live side by side, by number.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Server {
    pub(super) number: u16,
    pub(super) oprf_seed: [u8; 64],
    pub(super) static_secret: [u8; 32],
}

/// A key that rotates, with its number.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Numbered<const N: usize> {
    pub(super) number: u16,
    pub(super) key: [u8; N],
}

/// Every key of a fleet but its root. Wiped on drop; leaves this process only sealed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct FleetSecrets {
    pub(super) fleet: [u8; 32],
    /// Newest last; new enrolments use the last.
    pub(super) servers: Vec<Server>,
    pub(super) fake_seed: [u8; 64],
    pub(super) fake_masking: [u8; 64],
    pub(super) nonce: [u8; 64],
    /// Keys of L9, newest last, at most two.
    pub(super) digests: Vec<Numbered<64>>,
    /// Keys of login tickets, newest last.
    pub(super) login_tickets: Vec<Numbered<32>>,
    /// Keys of enrolment tickets, newest last.
    pub(super) enrolment_tickets: Vec<Numbered<32>>,
    /// Key of the journal's chain and of its checkpoints.
    pub(super) journal: [u8; 32],
}

impl FleetSecrets {
    /// Draws every key of a new fleet.
    ///
    /// # Errors
    /// [`Fault::Randomness`].
    pub fn generate() -> Result<Self, Fault> {
        let mut secrets = FleetSecrets {
            fleet: [0; 32],
            servers: vec![Server { number: 1, oprf_seed: [0; 64], static_secret: [0; 32] }],
            fake_seed: [0; 64],
            fake_masking: [0; 64],
            nonce: [0; 64],
            digests: vec![Numbered { number: 1, key: [0; 64] }],
            login_tickets: vec![Numbered { number: 1, key: [0; 32] }],
            enrolment_tickets: vec![Numbered { number: 1, key: [0; 32] }],
            journal: [0; 32],
        };
        for server in &mut secrets.servers {
            fill_random(&mut server.oprf_seed)?;
            server.static_secret.copy_from_slice(random_static_secret()?.expose());
        }
        for Numbered { key, .. } in &mut secrets.digests {
            fill_random(key)?;
        }
        for Numbered { key, .. } in secrets.login_tickets.iter_mut().chain(&mut secrets.enrolment_tickets) {
            fill_random(key)?;
        }
        fill_random(&mut secrets.fleet)?;
        fill_random(&mut secrets.journal)?;
        for key in [&mut secrets.fake_seed, &mut secrets.fake_masking, &mut secrets.nonce] {
            fill_random(key)?;
        }
        Ok(secrets)
    }

    /// The fleet's id: 32 random bytes that bind tickets and statements to it.
    pub fn fleet(&self) -> &[u8; 32] {
        &self.fleet
    }

    /// The keys of each generation of records by number, and the newest number.
    pub(super) fn server_keys(&self) -> Result<(BTreeMap<u16, ServerKeys>, u16), Fault> {
        let mut servers = BTreeMap::new();
        let mut newest = 0;
        for Server { number, oprf_seed, static_secret } in &self.servers {
            servers.insert(*number, ServerKeys::new(&Secret::new(*oprf_seed), &Secret::new(*static_secret))?);
            newest = *number;
        }
        Ok((servers, newest))
    }

    /// What fakes are made from.
    pub(super) fn fake_keys(&self) -> Result<FakeKeys, Fault> {
        FakeKeys::new(&Secret::new(self.fake_seed), &Secret::new(self.fake_masking))
    }

    /// The keys by which a repeated KE1 is known.
    pub(super) fn digest_keys(&self) -> Result<DigestKeys, Fault> {
        let prepare = |it: &Numbered<64>| (it.number, HmacKey::new(&it.key));
        match self.digests.as_slice() {
            [current] => Ok(DigestKeys::new(prepare(current), None)),
            [.., previous, current] => Ok(DigestKeys::new(prepare(current), Some(prepare(previous)))),
            [] => Err(Fault::Damaged("the fleet has no key for digests".to_owned())),
        }
    }

    /// The keys of tickets.
    pub(super) fn ticket_keys(&self) -> Result<TicketKeys, Fault> {
        match (self.login_tickets.last(), self.enrolment_tickets.last()) {
            (Some(login), Some(enrolment)) => Ok(TicketKeys::new(
                self.fleet,
                (login.number, &Secret::new(login.key)),
                (enrolment.number, &Secret::new(enrolment.key)),
            )),
            _ => Err(Fault::Damaged("the fleet has no key for tickets".to_owned())),
        }
    }

    /// The key under which enrolment nonces are drawn (L7).
    pub(super) fn nonce_key(&self) -> HmacKey {
        HmacKey::new(&self.nonce)
    }

    /// The key of the journal's chain and checkpoints.
    pub fn journal_key(&self) -> Secret<[u8; 32]> {
        Secret::new(self.journal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_left_at_zero() {
        let secrets = FleetSecrets::generate().expect("randomness");
        let long = [&secrets.fake_seed, &secrets.fake_masking, &secrets.nonce, &secrets.digests[0].key];
        let long = long.into_iter().chain([&secrets.servers[0].oprf_seed]).map(|key| &key[..]);
        let short = [&secrets.fleet, &secrets.journal, &secrets.servers[0].static_secret];
        let short = short.into_iter().chain([&secrets.login_tickets[0].key, &secrets.enrolment_tickets[0].key]);
        let all: Vec<_> = long.chain(short.map(|key| &key[..])).collect();
        for (index, key) in all.iter().enumerate() {
            assert!(key.chunks(16).all(|part| part != [0; 16]), "key {index}");
            assert!(all[..index].iter().all(|other| other[..16] != key[..16]), "key {index} is not another's");
        }
    }
}
