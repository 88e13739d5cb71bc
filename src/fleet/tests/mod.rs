//! Replicas in one process, on stopped time and wires that can be cut. What needs crashes and seeds is in `tests/fleet/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod log;
mod members;
mod messages;
mod refound;
mod refusals;
mod replicas;
mod seeds;
mod tls;
#[cfg(feature = "planted")]
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use sha2::{Digest, Sha256};

use super::link::{Address, Call, Links};
use super::replica::{Member, Replica, Settings, found_on, join_on};
use super::tls::LinkKey;
use super::version::{Head, NEWEST};
use crate::error::Fault;
use crate::journal::{Anchor, Clock, ManualClock, MemoryAnchor};
use crate::ledger::{Command, Policy, Signers, Verdict};
use crate::limits::CHECKPOINT_BYTES;
use crate::secret::Secret;
use crate::session::Recipient;
use crate::transparency::{self, Note, Order, SigningKey, Statement};

/// Bytes that outlive who writes them.
#[derive(Clone, Debug)]
struct Kept(Arc<InMemoryBackend>);

impl Default for Kept {
    fn default() -> Self {
        Kept(Arc::new(InMemoryBackend::new()))
    }
}

impl StorageBackend for Kept {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// What one replica leaves when it stops.
#[derive(Default)]
struct Place {
    log: Kept,
    checkpoint: Kept,
    anchor: Arc<MemoryAnchor>,
}

#[derive(Default)]
struct Net {
    replicas: Mutex<BTreeMap<u64, Replica>>,
    /// Who does not reach whom.
    cut: Mutex<BTreeSet<(u64, u64)>>,
}

struct Wire {
    net: Arc<Net>,
    from: u64,
}

impl Links for Wire {
    fn call<'a>(&'a self, member: u64, _: &'a Address, request: Vec<u8>) -> Call<'a> {
        Box::pin(async move {
            let cut = |one, other| self.net.cut.lock().unwrap().contains(&(one, other));
            tokio::time::sleep(Duration::from_millis(1)).await;
            if cut(self.from, member) {
                std::future::pending::<()>().await;
            }
            let replica = self.net.replicas.lock().unwrap().get(&member).cloned();
            let replica = replica.ok_or(io::ErrorKind::ConnectionRefused)?;
            let reply = replica.handle(self.from, &request).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            if cut(member, self.from) {
                std::future::pending::<()>().await;
            }
            Ok(reply)
        })
    }
}

pub(crate) struct Fleet {
    net: Arc<Net>,
    clock: Arc<dyn Clock>,
    id: [u8; 32],
    /// What members read that are started from here on.
    newest: u8,
    /// At which size of the log they write a checkpoint.
    checkpoint_bytes: u64,
    places: BTreeMap<u64, Place>,
}

/// The fleet's id.
pub(crate) const FLEET: [u8; 32] = [9; 32];

/// What stands before a message of a member whose clock shows this.
fn head(time_s: u64) -> Head {
    Head { version: NEWEST, reads: NEWEST, time_s }
}

fn signer(name: &str, seed: u8) -> SigningKey {
    SigningKey::new(name, &Secret::new([seed; 32])).unwrap()
}

pub(crate) fn signers() -> [SigningKey; 2] {
    [signer("auditor.example", 1), signer("operator.example", 2)]
}

fn policy() -> Policy {
    let [auditor, operator] = signers().map(|it| *it.verifying_key().as_bytes());
    Policy { signers: Some(Signers { auditor, operator }), ..Policy::development() }
}

fn address(number: u64) -> Address {
    Address { name: format!("replica-{number}"), link_key: link_key(number).public_key() }
}

/// What the keys of the fleet are sealed to for this member.
pub(crate) fn recipient(number: u64) -> Recipient {
    Recipient::new(&Secret::new([100 + number as u8; 32]))
}

fn link_key(number: u64) -> LinkKey {
    LinkKey::new(&Secret::new([number as u8; 32]))
}

/// What names these as the members, unsigned.
fn statement(fleet: [u8; 32], predecessor: [u8; 32], addresses: &BTreeMap<u64, Address>) -> Note {
    let order = Order::Members { predecessor, members: named(addresses) };
    Statement { fleet, order }.note().unwrap()
}

/// What a statement says of them.
fn named(addresses: &BTreeMap<u64, Address>) -> Vec<transparency::Member> {
    let member = |(number, at): (&u64, &Address)| transparency::Member {
        number: *number,
        name: at.name.clone(),
        link_key: at.link_key,
        channel_key: Sha256::digest(recipient(*number).public_key()).into(),
        code: "code".to_owned(),
    };
    addresses.iter().map(member).collect()
}

/// What founds a fleet of so many.
pub(crate) fn founding(fleet: [u8; 32], count: u64) -> Note {
    signed(statement(fleet, [0; 32], &addresses(1..=count)), &signers())
}

fn signed(mut note: Note, keys: &[SigningKey]) -> Note {
    keys.iter().for_each(|key| note.sign(key));
    note
}

pub(crate) fn addresses(numbers: impl IntoIterator<Item = u64>) -> BTreeMap<u64, Address> {
    numbers.into_iter().map(|it| (it, address(it))).collect()
}

fn key() -> Secret<[u8; 32]> {
    Secret::new([7; 32])
}

impl Fleet {
    /// A fleet of members 1 to `count`, all running.
    async fn of(count: u64) -> Self {
        super::seed_timers(1);
        Self::by(count, Arc::new(ManualClock::new(1_000)), FLEET).await
    }

    /// The same, by a clock, under this id.
    pub(crate) async fn by(count: u64, clock: Arc<dyn Clock>, id: [u8; 32]) -> Self {
        let statement = founding(id, count);
        let (newest, checkpoint_bytes) = (NEWEST, CHECKPOINT_BYTES);
        let mut fleet = Fleet { net: Arc::default(), clock, id, newest, checkpoint_bytes, places: BTreeMap::new() };
        for number in 1..=count {
            let place = Place::default();
            found_on(place.log.clone(), &policy(), &key(), &id, &statement).unwrap();
            fleet.places.insert(number, place);
            fleet.start(number).await.unwrap();
        }
        fleet
    }

    /// What names these in the place of those whom `replica` knows of, signed by these keys.
    pub(crate) fn next_statement(&self, replica: u64, members: &BTreeMap<u64, Address>, keys: &[SigningKey]) -> Note {
        let mut predecessor = [0; 32];
        self.replica(replica).look(&mut |state| predecessor = *state.members().0).unwrap();
        signed(statement(self.id, predecessor, members), keys)
    }

    /// Has a replica take a statement to the log.
    async fn obey(&self, replica: u64, note: &Note) -> Result<Verdict, Fault> {
        let Ok(Statement { order: Order::Members { predecessor, .. }, .. }) = Statement::read(note) else {
            panic!("a statement of members");
        };
        let command = Command::Members { predecessor, statement: note.write() };
        self.replica(replica).commit(vec![command]).await.map(|receipts| *receipts[0].verdict())
    }

    /// Makes the place of one who joins by a statement, and starts it.
    pub(crate) async fn join(&mut self, number: u64, statement: &Note) -> Result<(), Fault> {
        let place = Place::default();
        join_on(place.log.clone(), &policy(), &key(), &self.id, number, statement, policy().signers.as_ref())?;
        self.places.insert(number, place);
        self.start(number).await
    }

    /// Waits until these alone have votes, as all of them know, and nobody else is a member.
    pub(crate) async fn settled_on(&self, numbers: &[u64]) {
        let numbers: BTreeSet<_> = numbers.iter().copied().collect();
        for _ in 0..10_000 {
            let settled = numbers.iter().all(|number| {
                let status = self.net.replicas.lock().unwrap().get(number).map(Replica::status);
                status.is_some_and(|it| {
                    it.voters == numbers && it.members.keys().eq(&numbers) && it.applied_index == it.last_index
                })
            });
            if settled {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the members are not {numbers:?} in a hundred seconds");
    }

    async fn start(&self, number: u64) -> Result<(), Fault> {
        self.start_with(number, key()).await
    }

    async fn start_with(&self, number: u64, journal_key: Secret<[u8; 32]>) -> Result<(), Fault> {
        let place = &self.places[&number];
        let member = Member {
            number,
            fleet: self.id,
            policy: policy(),
            journal_key,
            anchor: Arc::clone(&place.anchor) as Arc<dyn Anchor>,
            clock: Arc::clone(&self.clock),
            links: Arc::new(Wire { net: Arc::clone(&self.net), from: number }),
            settings: Settings { newest: self.newest, checkpoint_bytes: self.checkpoint_bytes, ..Settings::default() },
        };
        let replica = Replica::open_on(place.log.clone(), place.checkpoint.clone(), member).await?;
        self.net.replicas.lock().unwrap().insert(number, replica);
        Ok(())
    }

    pub(crate) async fn stop(&self, number: u64) {
        let replica = self.net.replicas.lock().unwrap().remove(&number);
        let replica = replica.unwrap();
        replica.stop().await;
        // Whoever is still on the phone with it.
        while replica.handles() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn replica(&self, number: u64) -> Replica {
        self.net.replicas.lock().unwrap()[&number].clone()
    }

    /// Waits for a leader that all running replicas know, other than `not`.
    pub(crate) async fn leader(&self, not: Option<u64>) -> u64 {
        for _ in 0..10_000 {
            let leaders: BTreeSet<_> = self.net.replicas.lock().unwrap().values().map(Replica::leader).collect();
            if let [Some(leader)] = leaders.iter().copied().collect::<Vec<_>>()[..]
                && Some(leader) != not
            {
                return leader;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no leader in a hundred seconds");
    }

    /// Cuts one replica off from all others, both ways.
    pub(crate) fn cut_off(&self, number: u64) {
        let mut cut = self.net.cut.lock().unwrap();
        for other in self.places.keys().filter(|it| **it != number) {
            cut.extend([(number, *other), (*other, number)]);
        }
    }

    pub(crate) fn heal(&self) {
        self.net.cut.lock().unwrap().clear();
    }
}
