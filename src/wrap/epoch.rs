//! [`EpochKeys`]: records and blobs sealed under the keys of epochs (DESIGN section 5).

use std::collections::BTreeMap;

use super::cipher::{Committing, ManyBlocks, Nonce, OVERHEAD};
use super::record::Record;
use super::root::{EpochKey, RootSource};
use super::sealed::{HEADER_LEN, Header, Sealed, VERSION};
use crate::account::AccountId;
use crate::engine::sha512::{DIGEST_LEN, HmacKey};
use crate::engine::{Backend, DEEP, SHALLOW, backend, in_chunks, traceless};
use crate::error::Fault;
use crate::secret::{Secret, random_array, with_nonces};
use crate::wire::Invalid;

/// By how many bytes a sealed blob is longer than what it holds: version, epoch, nonce, commitment, tag.
pub const BLOB_OVERHEAD: usize = BLOB_HEADER_LEN + OVERHEAD;

const BLOB_HEADER_LEN: usize = 1 + 4;
const RECORD: &[u8; 6] = b"record";
const BLOB: &[u8; 4] = b"blob";

/// A record to be sealed, and what it is sealed to.
#[derive(Clone, Copy)]
pub struct SealItem<'a> {
    /// Whose it is.
    pub account: &'a AccountId,
    /// Which of that account's generations.
    pub generation: u32,
    /// Number of the OPRF seed and static key that made it.
    pub key_number: u16,
    /// What is sealed.
    pub record: &'a Record,
}

/// A sealed record, and what it must have been sealed to.
#[derive(Clone, Copy)]
pub struct OpenItem<'a> {
    /// Whose it is.
    pub account: &'a AccountId,
    /// Which of that account's generations.
    pub generation: u32,
    /// The sealed bytes.
    pub sealed: &'a Sealed,
}

/// What a record's key is derived from and what is authenticated with the record.
struct Place<'a> {
    header: Header,
    account: &'a AccountId,
    generation: [u8; 4],
}

impl<'a> SealItem<'a> {
    fn place(&self, epoch: u32) -> Place<'a> {
        let header = Header { epoch, key_number: self.key_number };
        Place { header, account: self.account, generation: self.generation.to_be_bytes() }
    }
}

impl<'a> OpenItem<'a> {
    fn place(&self) -> Place<'a> {
        Place { header: self.sealed.header(), account: self.account, generation: self.generation.to_be_bytes() }
    }
}

impl Place<'_> {
    /// What a sealed record binds beside its key: format version, epoch and key number (the header), account,
    /// generation, purpose.
    fn associated(&self) -> [u8; HEADER_LEN + 32 + 4 + RECORD.len()] {
        let mut bytes = [0; HEADER_LEN + 32 + 4 + RECORD.len()];
        bytes[..HEADER_LEN].copy_from_slice(&self.header.encode());
        bytes[HEADER_LEN..HEADER_LEN + 32].copy_from_slice(self.account.as_bytes());
        bytes[HEADER_LEN + 32..HEADER_LEN + 36].copy_from_slice(&self.generation);
        bytes[HEADER_LEN + 36..].copy_from_slice(RECORD);
        bytes
    }
}

/// The keys of one or several epochs. New bytes are sealed under the newest; old ones open while their epoch is held.
///
/// Calls take slices and give one result an item, in order; a bad item never harms its neighbours. Every record takes
/// the same path, so opening a decoy (a record that the vault sealed for nobody) cannot be told from opening a real one.
///
/// ```
/// use strongroom::account::AccountId;
/// use strongroom::wrap::{EpochKeys, MemoryRoot, OpenItem, Record, RootSource, SealItem};
/// let source = MemoryRoot::new();
/// source.create(1)?;
/// let keys = EpochKeys::load(&source, 1)?;
///
/// let account = &AccountId::derive("example.org/backup", "+15550100");
/// let record = &Record::new(&[1; 32], 1, &[2; 192], b"a wrapped secret").expect("1 to 512 bytes");
/// let sealed = keys.seal(&[SealItem { account, generation: 1, key_number: 1, record }]).remove(0)?;
/// let opened = keys.open(&[OpenItem { account, generation: 1, sealed: &sealed }]).remove(0)?;
/// assert_eq!(opened.secret(), b"a wrapped secret");
/// assert!(keys.open(&[OpenItem { account, generation: 2, sealed: &sealed }]).remove(0).is_err());
/// # Ok::<(), strongroom::error::Fault>(())
/// ```
pub struct EpochKeys {
    newest: u32,
    // Boxed, since a map moves its values about and a move leaves a copy behind.
    held: BTreeMap<u32, Box<HmacKey>>,
}

impl EpochKeys {
    /// Holds one epoch, the newest.
    pub fn new(epoch: u32, key: &EpochKey) -> Self {
        EpochKeys { newest: epoch, held: BTreeMap::from([(epoch, ready(key))]) }
    }

    /// Holds every epoch up to `newest` that a source has a root of; a later one was begun, and is not in use.
    ///
    /// # Errors
    /// [`Fault::Key`] if `newest` is not among them, else as [`RootSource::derive`].
    pub fn load(source: &dyn RootSource, newest: u32) -> Result<Self, Fault> {
        // A source hands its keys on by value, and each move leaves a copy. They are gone before a key is made ready: what
        // a processor guesses ahead of it must not be made of what lay there.
        let derived = |epoch| traceless::<DEEP, _>(|| source.derive(epoch).map(Box::new));
        let mut keys = EpochKeys::new(newest, &*derived(newest)?);
        for epoch in source.epochs()? {
            if epoch < newest {
                keys.insert(epoch, &*derived(epoch)?)?;
            }
        }
        Ok(keys)
    }

    /// Holds one more epoch; which is the newest stays as it is.
    ///
    /// # Errors
    /// [`Fault::Key`] if the epoch is held already.
    pub fn insert(&mut self, epoch: u32, key: &EpochKey) -> Result<(), Fault> {
        if self.holds(epoch) {
            return Err(Fault::Key(format!("a key of epoch {epoch} is held already")));
        }
        self.held.insert(epoch, ready(key));
        Ok(())
    }

    /// Seals under this epoch from now on.
    ///
    /// # Errors
    /// [`Fault::Key`] if it is not held, or is older than the newest.
    pub fn name_newest(&mut self, epoch: u32) -> Result<(), Fault> {
        self.key(epoch)?;
        if epoch < self.newest {
            return Err(Fault::Key(format!("epoch {epoch} is older than the newest, {}", self.newest)));
        }
        self.newest = epoch;
        Ok(())
    }

    /// Drops the keys of all epochs before this one.
    ///
    /// # Errors
    /// [`Fault::Key`] if the newest would be among them; nothing is dropped.
    pub fn forget_below(&mut self, epoch_min: u32) -> Result<(), Fault> {
        if self.newest < epoch_min {
            return Err(Fault::Key(format!("epoch {} is the newest; name a newer one first", self.newest)));
        }
        self.held = self.held.split_off(&epoch_min);
        Ok(())
    }

    /// The epoch that new bytes are sealed under.
    pub fn newest(&self) -> u32 {
        self.newest
    }

    /// What tells the newest epoch's key from any other, and nobody what it is.
    ///
    /// # Errors
    /// [`Fault::Key`] if it is not held, which cannot be.
    pub(crate) fn mark(&self) -> Result<[u8; DIGEST_LEN], Fault> {
        Ok(self.key(self.newest)?.mac(&[b"strongroom epoch mark v1", &self.newest.to_be_bytes()]))
    }

    /// Whether the key of an epoch is held.
    pub fn holds(&self, epoch: u32) -> bool {
        self.held.contains_key(&epoch)
    }

    /// The epochs held, in order.
    pub fn epochs(&self) -> impl Iterator<Item = u32> + '_ {
        self.held.keys().copied()
    }

    /// Seals records under the newest epoch, each with a nonce of its own.
    ///
    /// # Errors
    /// An item's result is [`Fault::Randomness`] if the operating system gives no nonces.
    pub fn seal(&self, items: &[SealItem<'_>]) -> Vec<Result<Sealed, Fault>> {
        with_nonces(items, |items| self.seal_with(items))
    }

    /// [`EpochKeys::seal`] with the nonces given.
    ///
    /// # Errors
    /// None is known; the type leaves room for a key that is not at hand.
    pub fn seal_with(&self, items: &[(SealItem<'_>, Nonce)]) -> Vec<Result<Sealed, Fault>> {
        in_chunks::<SHALLOW, _, _>(items, |chunk| self.seal_chunk(backend(), chunk))
    }

    /// Opens records, each under the epoch that its header names.
    ///
    /// # Errors
    /// An item's result is [`Fault::Key`] if its epoch is not held, [`Fault::Damaged`], without saying where, if the
    /// bytes were not sealed to that account, generation and header.
    pub fn open(&self, items: &[OpenItem<'_>]) -> Vec<Result<Record, Fault>> {
        self.open_on(backend(), items)
    }

    /// [`EpochKeys::open`] on a backend of the caller's choice.
    ///
    /// # Errors
    /// As [`EpochKeys::open`].
    pub fn open_on(&self, backend: Backend, items: &[OpenItem<'_>]) -> Vec<Result<Record, Fault>> {
        in_chunks::<SHALLOW, _, _>(items, |chunk| self.open_chunk(backend, chunk))
    }

    /// Opens records and seals them under the newest epoch, to the same account, generation and key number.
    ///
    /// # Errors
    /// An item's result is what [`EpochKeys::open`] or [`EpochKeys::seal`] would say of it.
    pub fn rewrap(&self, items: &[OpenItem<'_>]) -> Vec<Result<Sealed, Fault>> {
        with_nonces(items, |items| self.rewrap_with(items))
    }

    /// [`EpochKeys::rewrap`] with the nonces given.
    ///
    /// # Errors
    /// As [`EpochKeys::open`].
    pub fn rewrap_with(&self, items: &[(OpenItem<'_>, Nonce)]) -> Vec<Result<Sealed, Fault>> {
        in_chunks::<SHALLOW, _, _>(items, |chunk| self.rewrap_chunk(backend(), chunk))
    }

    /// Seals bytes of any length under the newest epoch. `purpose` names what they are: a blob opens only for the
    /// purpose it was sealed for. Its length shows.
    ///
    /// # Errors
    /// [`Fault::Randomness`] if the operating system gives no nonce.
    pub fn seal_blob(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, Fault> {
        self.seal_blob_with(purpose, plain, &random_array()?)
    }

    /// [`EpochKeys::seal_blob`] with the nonce given.
    ///
    /// # Errors
    /// [`Fault::Limit`] above the 2^36 bytes of RFC 8452 section 6.
    pub fn seal_blob_with(&self, purpose: &str, plain: &[u8], nonce: &Nonce) -> Result<Vec<u8>, Fault> {
        let mut sealed = vec![VERSION; BLOB_OVERHEAD + plain.len()];
        let (header, body) = sealed.split_at_mut(BLOB_HEADER_LEN);
        header[1..].copy_from_slice(&self.newest.to_be_bytes());
        let associated = [&*header, BLOB, purpose.as_bytes()].concat();
        let too_long = |Invalid| Fault::Limit("a blob is longer than AES-GCM-SIV seals".to_owned());
        traceless::<SHALLOW, _>(|| {
            self.blob_key(self.newest, purpose)?.seal(nonce, &associated, plain, body).map_err(too_long)
        })?;
        Ok(sealed)
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// [`Fault::Format`] on another version, [`Fault::Key`] if its epoch is not held, [`Fault::Damaged`], without saying
    /// where, if the bytes were not sealed for that purpose.
    pub fn open_blob(&self, purpose: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, Fault> {
        let epoch = blob_epoch(sealed)?;
        let (header, body) = sealed.split_at(BLOB_HEADER_LEN);
        let associated = [header, BLOB, purpose.as_bytes()].concat();
        let mut plain = Secret::new(vec![0; sealed.len() - BLOB_OVERHEAD]);
        let damaged = |Invalid| Fault::Damaged(format!("the sealed {purpose} does not open"));
        traceless::<SHALLOW, _>(|| {
            self.blob_key(epoch, purpose)?.open(body, &associated, plain.expose_mut()).map_err(damaged)
        })?;
        Ok(plain)
    }

    fn key(&self, epoch: u32) -> Result<&HmacKey, Fault> {
        self.held.get(&epoch).map(Box::as_ref).ok_or_else(|| {
            Fault::Key(format!("epoch {epoch} is needed and its key is not held; its root key is gone or not loaded"))
        })
    }

    fn blob_key(&self, epoch: u32, purpose: &str) -> Result<Committing, Fault> {
        let secret = Secret::new(self.key(epoch)?.expand_array::<DIGEST_LEN>(&[BLOB, purpose.as_bytes()]));
        Ok(Committing::new(&HmacKey::new(secret.expose())))
    }

    fn seal_chunk(&self, backend: Backend, items: &[(SealItem<'_>, Nonce)]) -> Vec<Result<Sealed, Fault>> {
        let places: Vec<_> = items.iter().map(|(item, _)| item.place(self.newest)).collect();
        self.with_keys(backend, &places, |index, key| {
            let ((item, nonce), place) = (&items[index], &places[index]);
            // The lengths are constants; no record can fail here.
            Sealed::build(place.header, |body| key.seal(nonce, &place.associated(), item.record.encode(), body))
        })
    }

    fn open_chunk(&self, backend: Backend, items: &[OpenItem<'_>]) -> Vec<Result<Record, Fault>> {
        let places: Vec<_> = items.iter().map(OpenItem::place).collect();
        self.with_keys(backend, &places, |index, key| {
            let (body, associated) = (items[index].sealed.body(), places[index].associated());
            Record::filled(|plain| key.open(body, &associated, plain))
        })
    }

    fn rewrap_chunk(&self, backend: Backend, items: &[(OpenItem<'_>, Nonce)]) -> Vec<Result<Sealed, Fault>> {
        let opened = self.open_chunk(backend, &items.iter().map(|(item, _)| *item).collect::<Vec<_>>());
        let seal = items.iter().zip(&opened).filter_map(|((item, nonce), record)| {
            let OpenItem { account, generation, sealed } = *item;
            let (key_number, record) = (sealed.header().key_number, record.as_ref().ok()?);
            Some((SealItem { account, generation, key_number, record }, *nonce))
        });
        let mut sealed = self.seal_chunk(backend, &seal.collect::<Vec<_>>()).into_iter();
        let answer = |opened: Result<Record, Fault>| opened.and_then(|_| sealed.next().unwrap_or_else(|| Err(lost())));
        opened.into_iter().map(answer).collect()
    }

    /// Lets `work` have the key of each record, by the record's place among `places`; its answers in order.
    ///
    /// The keys are derived together, a step of the backend for each layer of HKDF-Expand (RFC 5869 section 2.3): from
    /// the epoch's key to the record's, from the record's to the pair that commits and seals.
    fn with_keys<R>(
        &self,
        backend: Backend,
        places: &[Place<'_>],
        mut work: impl FnMut(usize, &Committing) -> Result<R, Invalid>,
    ) -> Vec<Result<R, Fault>> {
        let epochs: Vec<_> = places.iter().map(|place| self.key(place.header.epoch)).collect();
        let expand = places.iter().zip(&epochs).filter_map(|(place, epoch)| {
            Some((*epoch.as_ref().ok()?, [&RECORD[..], place.account.as_bytes(), &place.generation, &[1]]))
        });
        let records = backend.macs(&expand.collect::<Vec<_>>());
        let blocks = ManyBlocks::derive(backend, &backend.mac_keys(records.expose()));
        let mut blocks = blocks.each().iter();
        let mut answer = |index, epoch: Result<_, Fault>| {
            epoch?;
            work(index, &Committing::from_blocks(blocks.next().ok_or_else(lost)?)).map_err(damaged)
        };
        epochs.into_iter().enumerate().map(|(index, epoch)| answer(index, epoch)).collect()
    }
}

/// An epoch's key, made ready.
fn ready(key: &EpochKey) -> Box<HmacKey> {
    traceless::<SHALLOW, _>(|| Box::new(HmacKey::new(key.expose())))
}

/// The epoch that a sealed blob names.
///
/// # Errors
/// [`Fault::Damaged`] if it is too short to be one, [`Fault::Format`] on another version.
pub fn blob_epoch(sealed: &[u8]) -> Result<u32, Fault> {
    match sealed {
        [VERSION, e0, e1, e2, e3, ..] if sealed.len() >= BLOB_OVERHEAD => Ok(u32::from_be_bytes([*e0, *e1, *e2, *e3])),
        [found, ..] if *found != VERSION => Err(Fault::Format { what: "a sealed blob", found: *found, reads: VERSION }),
        _ => Err(Fault::Damaged(format!("a sealed blob has {} bytes", sealed.len()))),
    }
}

fn lost() -> Fault {
    Fault::Limit("a batch gave fewer results than it had items".to_owned())
}

fn damaged(_: Invalid) -> Fault {
    Fault::Damaged("a sealed record does not open".to_owned())
}
