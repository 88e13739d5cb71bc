//! Replicas in one process, on stopped time and wires that can be cut. What needs crashes and seeds is in `tests/fleet/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod messages;
mod refusals;
mod replicas;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::link::{Call, Links};
use super::replica::{Member, Replica, Settings, found};
use crate::journal::{Anchor, Clock, ManualClock, MemoryAnchor};
use crate::ledger::Policy;
use crate::secret::Secret;

/// Bytes that outlive who writes them.
#[derive(Clone, Debug)]
struct Kept(Arc<InMemoryBackend>);

impl Kept {
    fn new() -> Self {
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
    fn call<'a>(&'a self, member: u64, _: &'a str, request: Vec<u8>) -> Call<'a> {
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
    places: BTreeMap<u64, Place>,
}

fn policy() -> Policy {
    Policy::development()
}

fn key() -> Secret<[u8; 32]> {
    Secret::new([7; 32])
}

impl Fleet {
    /// A fleet of members 1 to `count`, all running.
    async fn of(count: u64) -> Self {
        super::seed_timers(1);
        Self::by(count, Arc::new(ManualClock::new(1_000))).await
    }

    /// The same, by a clock.
    pub(crate) async fn by(count: u64, clock: Arc<dyn Clock>) -> Self {
        let members: BTreeMap<_, _> = (1..=count).map(|it| (it, format!("replica-{it}"))).collect();
        let mut fleet = Fleet { net: Arc::default(), clock, places: BTreeMap::new() };
        for number in members.keys() {
            let place = Place { log: Kept::new(), checkpoint: Kept::new(), anchor: Arc::default() };
            found(place.log.clone(), &policy(), &key(), &members).unwrap();
            fleet.places.insert(*number, place);
            fleet.start(*number).await.unwrap();
        }
        fleet
    }

    async fn start(&self, number: u64) -> Result<(), crate::error::Fault> {
        let place = &self.places[&number];
        let member = Member {
            number,
            policy: policy(),
            journal_key: key(),
            anchor: Arc::clone(&place.anchor) as Arc<dyn Anchor>,
            clock: Arc::clone(&self.clock),
            links: Arc::new(Wire { net: Arc::clone(&self.net), from: number }),
            settings: Settings::default(),
        };
        let replica = Replica::open_on(place.log.clone(), place.checkpoint.clone(), member).await?;
        self.net.replicas.lock().unwrap().insert(number, replica);
        Ok(())
    }

    async fn stop(&self, number: u64) {
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
