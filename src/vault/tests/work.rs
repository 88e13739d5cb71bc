//! Known, unknown, removed and concealed accounts: the same work, the same sizes.

use std::sync::{Arc, Mutex};

use super::person::Person;
use super::vault_with;
use crate::account::AccountId;
use crate::engine::tally;
use crate::error::Fault;
use crate::journal::{Committed, Journal, Memory};
use crate::ledger::{Command, Policy, State};
use crate::protocol::{REPLY_LEN, Reply, Request};
use crate::vault::{Admitted, Vault};
use crate::wire::Writer;
use crate::wrap::Sealed;

/// A journal that keeps the size of every command on its way to another.
struct Weighing {
    journal: Box<dyn Journal>,
    sizes: Arc<Mutex<Vec<Vec<usize>>>>,
}

impl Journal for Weighing {
    fn commit(&self, time_s: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        let size = |command: &Command| {
            let mut writer = Writer::default();
            command.write(&mut writer);
            writer.finish().len()
        };
        self.sizes.lock().unwrap().push(commands.iter().map(size).collect());
        self.journal.commit(time_s, commands)
    }

    fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.journal.read(look)
    }

    fn sealed(&self, account: &AccountId, generation: u32) -> Result<Option<Sealed>, Fault> {
        self.journal.sealed(account, generation)
    }

    fn policy(&self) -> &Policy {
        self.journal.policy()
    }
}

/// The work of answering one KE1, and the reply's bytes.
fn work(vault: &Vault, person: Person) -> (tally::Tally, Vec<u8>) {
    let request = Request::RecoverStart { ke1: &person.ke1("code").1 }.encode(&person.0).unwrap();
    let mut reply = Vec::new();
    let done = tally::of(|| {
        reply = vault.process_bytes(&[Admitted { account: person.0, request: &request }]).remove(0);
    });
    (done, reply)
}

#[test]
fn v4_known_unknown_removed_and_destroyed_take_the_same_work() {
    let (mut vault, clock) = vault_with(Policy { conceal_exhausted: true, ..Policy::development() });
    let [known, exhausted, destroyed, removed, unknown] =
        ["known", "exhausted", "destroyed", "removed", "unknown"].map(Person::new);
    for person in [known, destroyed, removed] {
        person.enrol(&vault, "code", b"wrapped");
    }
    let proof = removed.prove(removed.start(&vault, "code").unwrap(), "code").unwrap();
    let removal = Request::Remove { ticket: &proof.ticket, ke3: &proof.ke3 };
    assert_eq!(removed.ask(&vault, &removal), Ok(Reply::Removed));
    for _ in 0..10 {
        destroyed.start(&vault, "wrong").unwrap();
    }
    clock.forward(vault.policy().destroy_after_s);
    assert_eq!(vault.sweep().unwrap().destroyed, 1);
    exhausted.enrol(&vault, "code", b"wrapped");
    for _ in 0..10 {
        exhausted.start(&vault, "wrong").unwrap();
    }

    let sizes = Arc::new(Mutex::new(Vec::new()));
    let instead = Box::new(Memory::create(vault.policy().clone()).unwrap());
    let journal = std::mem::replace(&mut vault.journal, instead);
    vault.journal = Box::new(Weighing { journal, sizes: Arc::clone(&sizes) });
    let (expected, reply) = work(&vault, known);
    assert!(expected.multiplied >= 4 && expected.blocks > 0, "the tally sees the work: {expected:?}");
    for person in [exhausted, destroyed, removed, unknown] {
        let (done, other) = work(&vault, person);
        assert_eq!(done, expected);
        assert_eq!((other.len(), reply.len()), (REPLY_LEN, REPLY_LEN));
        assert_eq!(other[..3], reply[..3], "the same kind of reply");
    }
    let written = std::mem::take(&mut *sizes.lock().unwrap());
    assert_eq!(written.len(), 5);
    assert!(written.iter().all(|row| row.len() == 1 && row == &written[0]), "rows of one size: {written:?}");

    // The controls: an enrolment is not written like a charge, and two logins are not the work of one.
    Person::new("other").enrol(&vault, "code", b"wrapped");
    assert_ne!(sizes.lock().unwrap().last(), written.last());
    let (first, second) = (work(&vault, known).0, work(&vault, known).0);
    assert_eq!(first, second);
    let request = Request::RecoverStart { ke1: &known.ke1("code").1 }.encode(&known.0).unwrap();
    let other = Request::RecoverStart { ke1: &known.ke1("code").1 }.encode(&known.0).unwrap();
    let batch = [&request, &other].map(|request| Admitted { account: known.0, request });
    assert_ne!(tally::of(|| drop(vault.process_bytes(&batch))), first);
}
