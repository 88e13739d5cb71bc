//! What one member of a fleet says to another, whatever that is: a replica that hears it goes on or stops, and knows nobody as a
//! member whom the last statement does not name.
//!
//! An input is messages, one after the other, each as who says it (a byte), its length (four bytes) and itself; the seeds in
//! `corpus/member` are made by `src/fleet/tests/corpus.rs`. Members 2 and 3 may say anything, as whoever holds their keys may;
//! from a stranger nothing is heard.
#![no_main]

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::{Corpus, fuzz_target};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use strongroom::fleet::{self, Address, Call, LinkKey, Links, Member, Replica, Settings};
use strongroom::journal::{ManualClock, MemoryAnchor};
use strongroom::ledger::Policy;
use strongroom::secret::Secret;
use strongroom::transparency::{self, Note, Order, Statement};
use strongroom::wire::{Invalid, Reader};
use tokio::runtime::{Builder, Runtime};

const FLEET: [u8; 32] = [9; 32];
const KEY: [u8; 32] = [7; 32];
const NOW_S: u64 = 1_000;
/// Messages of one input.
const MESSAGES_MAX: usize = 32;

/// Its time passes as soon as nothing else is to be done.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime"));

static STATEMENT: LazyLock<Note> = LazyLock::new(|| {
    let member = |number: u64| transparency::Member {
        number,
        name: format!("replica-{number}"),
        link_key: LinkKey::new(&Secret::new([number as u8; 32])).public_key(),
        channel_key: [0; 32],
        code: "code".to_owned(),
    };
    let order = Order::Members { predecessor: [0; 32], members: (1..=3).map(member).collect() };
    Statement { fleet: FLEET, order }.note().expect("a statement")
});

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

/// The way to others, of whom none is there.
struct Nobody;

impl Links for Nobody {
    fn call<'a>(&'a self, _: u64, _: &'a Address, _: Vec<u8>) -> Call<'a> {
        Box::pin(async { Err(ErrorKind::ConnectionRefused.into()) })
    }
}

fuzz_target!(|data: &[u8]| -> Corpus {
    match messages(data) {
        Ok(messages) if messages.len() <= MESSAGES_MAX => RUNTIME.block_on(hear(&messages)),
        _ => return Corpus::Reject,
    }
    Corpus::Keep
});

fn messages(data: &[u8]) -> Result<Vec<(u64, &[u8])>, Invalid> {
    let (mut reader, mut messages) = (Reader::new(data), Vec::new());
    while !reader.is_empty() {
        messages.push((reader.u8()?.into(), reader.counted(data.len())?));
    }
    Ok(messages)
}

async fn hear(messages: &[(u64, &[u8])]) {
    let (policy, key) = (Policy::development(), || Secret::new(KEY));
    let log = Kept::default();
    fleet::found_on(log.clone(), &policy, &key(), &FLEET, &STATEMENT).expect("an empty store");
    let member = Member {
        number: 1,
        fleet: FLEET,
        policy,
        journal_key: key(),
        anchor: Arc::new(MemoryAnchor::new()),
        clock: Arc::new(ManualClock::new(NOW_S)),
        links: Arc::new(Nobody),
        settings: Settings::default(),
    };
    let replica = Replica::open_on(log, InMemoryBackend::new(), member).await.expect("as it was made");
    // Before that it knows nobody.
    while replica.status().members.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let named: BTreeMap<_, _> = (1..=3).map(|number| (number, format!("replica-{number}"))).collect();
    for (from, message) in messages {
        let before = (*from > 3).then(|| state(&replica));
        let reply = replica.handle(*from, message).await;
        assert_eq!(reply.first(), Some(&1), "a reply in the version that the fleet speaks");
        assert!(before.is_none_or(|before| before == state(&replica)), "a stranger was heard");
        let status = replica.status();
        assert!(status.members.iter().all(|(number, name)| named.get(number) == Some(name)), "{:?}", status.members);
        assert!(status.voters.iter().all(|number| named.contains_key(number)), "{:?}", status.voters);
    }
    replica.stop().await;
}

fn state(replica: &Replica) -> Vec<u8> {
    let mut bytes = Vec::new();
    replica.look(&mut |state| bytes = state.encode()).ok();
    bytes
}
