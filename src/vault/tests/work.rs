//! Known, unknown, removed and concealed accounts: the same work, the same sizes.

use super::person::Person;
use super::vault_with;
use crate::engine::tally;
use crate::ledger::Policy;
use crate::protocol::{REPLY_LEN, Reply, Request};
use crate::vault::{Admitted, Vault};

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
    let (vault, clock) = vault_with(Policy { conceal_exhausted: true, ..Policy::development() });
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

    let (expected, reply) = work(&vault, known);
    assert!(expected.multiplied >= 4 && expected.blocks > 0, "the tally sees the work: {expected:?}");
    for person in [exhausted, destroyed, removed, unknown] {
        let (done, other) = work(&vault, person);
        assert_eq!(done, expected);
        assert_eq!((other.len(), reply.len()), (REPLY_LEN, REPLY_LEN));
        assert_eq!(other[..3], reply[..3], "the same kind of reply");
    }
    // The control: two logins are not the work of one.
    let (first, second) = (work(&vault, known).0, work(&vault, known).0);
    assert_eq!(first, second);
    let request = Request::RecoverStart { ke1: &known.ke1("code").1 }.encode(&known.0).unwrap();
    let other = Request::RecoverStart { ke1: &known.ke1("code").1 }.encode(&known.0).unwrap();
    let batch = [&request, &other].map(|request| Admitted { account: known.0, request });
    assert_ne!(tally::of(|| drop(vault.process_bytes(&batch))), first);
}
