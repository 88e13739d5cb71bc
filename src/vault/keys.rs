//! [`FleetSecrets`]: the keys that all vaults of a fleet share.

use std::collections::BTreeMap;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::grant::DigestKeys;
use crate::engine::sha512::HmacKey;
use crate::engine::{SHALLOW, traceless};
use crate::error::Fault;
use crate::limits::KEYS_MAX;
use crate::opaque::fake::FakeKeys;
use crate::opaque::{ServerKeys, random_static_secret};
use crate::secret::{Secret, fill_random};
#[cfg(feature = "channel")]
use crate::session::ChannelKeys;
use crate::wrap::{EnrolmentTicket, EpochKeys, LoginTicket, TicketKeys};

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
    /// State time up to which it is used, in seconds: [`IN_USE`] for the newest.
    pub(super) until_s: u64,
    pub(super) key: [u8; N],
}

/// What a vault that takes the accounts of another holds until all have come.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Arriving {
    /// Seed of the key that they are sealed to.
    pub(super) seed: [u8; 32],
    /// What authenticates them, once the other vault has said hello.
    pub(super) transfer_key: Option<[u8; 32]>,
    /// Numbers of the other vault's server keys, and what they are here.
    pub(super) numbers: Vec<(u16, u16)>,
}

/// Until when the newest key of a kind is used.
pub(super) const IN_USE: u64 = u64::MAX;

/// Every key of a fleet but its root. Wiped on drop; leaves this process only sealed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct FleetSecrets {
    /// One more with every change: an older copy is told by it.
    pub(super) serial: u32,
    pub(super) fleet: [u8; 32],
    /// In order of number.
    pub(super) servers: Vec<Server>,
    /// Number of those that make new records.
    pub(super) enrols: u16,
    pub(super) fake_seed: [u8; 64],
    pub(super) fake_masking: [u8; 64],
    pub(super) nonce: [u8; 64],
    /// Keys of L9, newest last, at most two.
    pub(super) digests: Vec<Numbered<64>>,
    /// Keys of login tickets, newest last.
    pub(super) login_tickets: Vec<Numbered<32>>,
    /// Keys of enrolment tickets, newest last.
    pub(super) enrolment_tickets: Vec<Numbered<32>>,
    /// Seeds of the keys that requests are sealed to, newest last.
    pub(super) channel: Vec<Numbered<32>>,
    /// Key of the journal's chain and of its checkpoints.
    pub(super) journal: [u8; 32],
    /// There while accounts come from another vault.
    pub(super) arriving: Option<Arriving>,
}

impl FleetSecrets {
    /// Draws every key of a new fleet.
    pub(super) fn generate() -> Result<Box<Self>, Fault> {
        let mut secrets = Box::new(FleetSecrets {
            serial: 0,
            fleet: [0; 32],
            servers: Vec::new(),
            enrols: 1,
            fake_seed: [0; 64],
            fake_masking: [0; 64],
            nonce: [0; 64],
            digests: Vec::new(),
            login_tickets: Vec::new(),
            enrolment_tickets: Vec::new(),
            channel: Vec::new(),
            journal: [0; 32],
            arriving: None,
        });
        secrets.servers = with_server(&[], 1)?;
        secrets.digests = with_one_more(&[], IN_USE)?;
        secrets.login_tickets = with_one_more(&[], IN_USE)?;
        secrets.enrolment_tickets = with_one_more(&[], IN_USE)?;
        secrets.channel = with_one_more(&[], IN_USE)?;
        fill_random(&mut secrets.fleet)?;
        fill_random(&mut secrets.journal)?;
        fill_random(&mut secrets.fake_seed)?;
        fill_random(&mut secrets.fake_masking)?;
        fill_random(&mut secrets.nonce)?;
        Ok(secrets)
    }

    /// The same keys under the next serial number, to be changed.
    pub(super) fn next(&self) -> Result<Box<Self>, Fault> {
        let serial =
            self.serial.checked_add(1).ok_or_else(|| Fault::Limit("keys have no serial number left".into()))?;
        let mut next = self.same();
        next.serial = serial;
        Ok(next)
    }

    /// The same keys once more.
    pub(super) fn same(&self) -> Box<Self> {
        traceless::<SHALLOW, _>(|| Box::new(self.clone()))
    }

    /// The keys of each generation of records, by number.
    pub(super) fn server_keys(&self) -> Result<BTreeMap<u16, ServerKeys>, Fault> {
        let ready = |it: &Server| {
            let keys = ServerKeys::new(&Secret::new(it.oprf_seed), &Secret::new(it.static_secret))?;
            Ok((it.number, keys))
        };
        self.servers.iter().map(ready).collect()
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
            [] => Err(lacks("digests")),
        }
    }

    /// The keys of tickets.
    pub(super) fn ticket_keys(&self) -> Result<TicketKeys, Fault> {
        let ([login_retired @ .., login], [enrolment_retired @ .., enrolment]) =
            (&self.login_tickets[..], &self.enrolment_tickets[..])
        else {
            return Err(lacks("tickets"));
        };
        let mut keys = TicketKeys::new(
            self.fleet,
            (login.number, &Secret::new(login.key)),
            (enrolment.number, &Secret::new(enrolment.key)),
        );
        for it in login_retired {
            keys.retire::<LoginTicket>((it.number, &Secret::new(it.key)), it.until_s)?;
        }
        for it in enrolment_retired {
            keys.retire::<EnrolmentTicket>((it.number, &Secret::new(it.key)), it.until_s)?;
        }
        Ok(keys)
    }

    /// The keys of the channel, served under these bundles.
    #[cfg(feature = "channel")]
    pub(super) fn channel_keys(&self, bundles: &[(u32, [u8; 32])]) -> Result<ChannelKeys, Fault> {
        let [retired @ .., current] = &self.channel[..] else { return Err(lacks("the channel")) };
        let mut keys = ChannelKeys::new((current.number, &Secret::new(current.key)), bundles)?;
        for it in retired {
            keys.retire((it.number, &Secret::new(it.key)), it.until_s)?;
        }
        Ok(keys)
    }

    /// What tells these keys, with the newest epoch's, from any others, and nobody what they are.
    pub(super) fn mark(&self, epochs: &EpochKeys) -> Result<[u8; 32], Fault> {
        let encoded = Zeroizing::new(self.encode());
        let mac = self.nonce_key().mac(&[b"strongroom keys mark v1", &epochs.mark()?, &encoded]);
        let mut mark = [0; 32];
        mark.copy_from_slice(&mac[..32]);
        Ok(mark)
    }

    /// The key under which enrolment nonces are drawn (L7).
    pub(super) fn nonce_key(&self) -> HmacKey {
        HmacKey::new(&self.nonce)
    }

    /// The key of the journal's chain and checkpoints.
    pub(super) fn journal_key(&self) -> Secret<[u8; 32]> {
        Secret::new(self.journal)
    }
}

fn lacks(what: &str) -> Fault {
    Fault::Damaged(format!("the fleet has no key for {what}"))
}

/// These keys and a new one behind them; the newest of these is used until `until_s`. Copied to a vector that is large
/// enough, since one that grows leaves its keys behind.
pub(super) fn with_one_more<const N: usize>(keys: &[Numbered<N>], until_s: u64) -> Result<Vec<Numbered<N>>, Fault> {
    has_room(keys.len(), 1)?;
    let mut more = Vec::with_capacity(keys.len() + 1);
    more.extend_from_slice(keys);
    let number = more.last_mut().map_or(Some(1), |newest| {
        newest.until_s = until_s;
        newest.number.checked_add(1)
    });
    more.push(Numbered { number: number.ok_or_else(no_number)?, until_s: IN_USE, key: [0; N] });
    more.last_mut().map_or(Ok(()), |newest| fill_random(&mut newest.key))?;
    Ok(more)
}

/// Those of these keys that are to stay, in a vector that does not grow either.
pub(super) fn staying<K: Clone>(keys: &[K], stays: impl Fn(&K) -> bool) -> Vec<K> {
    let mut staying = Vec::with_capacity(keys.len());
    staying.extend(keys.iter().filter(|key| stays(key)).cloned());
    staying
}

/// These keys and a new seed and static secret of this number.
pub(super) fn with_server(servers: &[Server], number: u16) -> Result<Vec<Server>, Fault> {
    has_room(servers.len(), 1)?;
    let mut more = Vec::with_capacity(servers.len() + 1);
    more.extend_from_slice(servers);
    more.push(Server { number, oprf_seed: [0; 64], static_secret: [0; 32] });
    if let Some(newest) = more.last_mut() {
        fill_random(&mut newest.oprf_seed)?;
        newest.static_secret.copy_from_slice(random_static_secret()?.expose());
    }
    Ok(more)
}

/// Whether so many more keys of a kind can be held.
pub(super) fn has_room(held: usize, more: usize) -> Result<(), Fault> {
    if held + more <= KEYS_MAX {
        return Ok(());
    }
    Err(Fault::Limit(format!(
        "{held} keys of this kind are held, and {KEYS_MAX} can be; the next sweep drops what is over"
    )))
}

/// Whether so many epochs can be held.
pub(super) fn can_hold_epochs(count: usize) -> Result<(), Fault> {
    if count <= KEYS_MAX {
        return Ok(());
    }
    Err(Fault::Limit(format!(
        "no more than {KEYS_MAX} epochs can be held; rewrap the records, and retire the epochs before the newest"
    )))
}

/// What is said where a kind of key has turned sixty-five thousand times.
pub(super) fn no_number() -> Fault {
    Fault::Limit("keys of this kind have no number left".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_keys_than_are_read_back_are_not_made() {
        let mut secrets = FleetSecrets::generate().expect("randomness");
        while let Ok(more) = with_one_more(&secrets.login_tickets, 9) {
            secrets.login_tickets = more;
        }
        assert_eq!(secrets.login_tickets.len(), KEYS_MAX);
        while let Ok(more) = with_server(&secrets.servers, secrets.servers.len() as u16 + 1) {
            secrets.servers = more;
        }
        assert_eq!(secrets.servers.len(), KEYS_MAX);
    }

    #[test]
    fn no_key_is_left_at_zero() {
        let mut secrets = FleetSecrets::generate().expect("randomness");
        secrets.servers = with_server(&secrets.servers, 2).expect("randomness");
        secrets.digests = with_one_more(&secrets.digests, 7).expect("randomness");
        assert_eq!(secrets.digests.iter().map(|it| (it.number, it.until_s)).collect::<Vec<_>>(), [(1, 7), (2, IN_USE)]);
        let long = [&secrets.fake_seed, &secrets.fake_masking, &secrets.nonce];
        let long = long.into_iter().chain(secrets.digests.iter().map(|it| &it.key)).map(|key| &key[..]);
        let seeds = secrets.servers.iter().map(|it| &it.oprf_seed[..]);
        let rotating =
            [&secrets.login_tickets[0], &secrets.enrolment_tickets[0], &secrets.channel[0]].map(|it| &it.key);
        let short = [&secrets.fleet, &secrets.journal].into_iter().chain(rotating);
        let short = short.chain(secrets.servers.iter().map(|it| &it.static_secret)).map(|key| &key[..]);
        let all: Vec<_> = long.chain(seeds).chain(short).collect();
        assert_eq!(all.len(), 14);
        for (index, key) in all.iter().enumerate() {
            assert!(key.chunks(16).all(|part| part != [0; 16]), "key {index}");
            assert!(all[..index].iter().all(|other| other[..16] != key[..16]), "key {index} is not another's");
        }
    }
}
