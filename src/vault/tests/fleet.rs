//! Three vaults over one fleet: a person may turn to any of them at every step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::runtime::Runtime;

use super::person::Person;
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::fleet::tests::{Fleet, addresses, founding, recipient, signers};
use crate::journal::{Committed, Journal, Seal, SystemClock};
use crate::ledger::{Command, Policy, Signers, State};
use crate::protocol::{Reply, Request};
use crate::session::Recipient;
use crate::vault::{Custody, KeyStore, MemberRoot, MemoryKeyStore, Receiver, Turn, Vault};
use crate::wrap::{MemoryRoot, RootSource, Sealed};

struct Sites {
    runtime: Runtime,
    fleet: Fleet,
    vaults: Vec<Arc<Vault>>,
    kept: Vec<Kept>,
    /// Where the keys were drawn.
    drawn: Custody,
}

impl Sites {
    fn journal(&self, number: u64) -> crate::fleet::Fleet {
        crate::fleet::Fleet::new(self.fleet.replica(number), Arc::new(self.runtime.handle().clone()))
    }

    /// A vault over this replica, which holds keys for the others.
    fn vault(&self, number: u64, custody: Custody) -> Result<Arc<Vault>, Fault> {
        let journal = self.journal(number);
        let vault = Vault::over(Box::new(journal.clone()), Arc::new(SystemClock::new(300).unwrap()), custody)?;
        let vault = Arc::new(vault);
        vault.hold_keys(&journal, &Arc::new(recipient(number)));
        Ok(vault)
    }

    /// The same with what this member keeps, whose commits are not settled until it is told.
    fn unreached(&self, number: u64) -> (Arc<Vault>, Arc<AtomicBool>) {
        let (journal, reached) = (self.journal(number), Arc::default());
        let clock = Arc::new(SystemClock::new(300).unwrap());
        let unreached = Unreached { fleet: journal.clone(), reached: Arc::clone(&reached), asks: true };
        let custody = self.kept[number as usize - 1].open().unwrap();
        let vault = Vault::over(Box::new(unreached), clock, custody).map(Arc::new).unwrap();
        vault.hold_keys(&journal, &Arc::new(recipient(number)));
        (vault, reached)
    }
}

/// Vaults 1 to 3, each with the keys that it was handed.
fn sites() -> Sites {
    let runtime = Runtime::new().unwrap();
    let source = Kept::default();
    let drawn = Custody::create(Box::new(Arc::clone(&source.own)), Box::new(Arc::clone(&source.store))).unwrap();
    let id = *drawn.fleet();
    let fleet = runtime.block_on(Fleet::by(3, Arc::new(SystemClock::new(300).unwrap()), id));
    runtime.block_on(fleet.leader(None));
    let note = founding(id, 3);
    let mut sites = Sites { runtime, fleet, vaults: Vec::new(), kept: Vec::new(), drawn };
    for number in 1..=3 {
        let kept = Kept::default();
        let sealed = sites.drawn.hand_over(&note, Some(&both()), number, recipient(number).public_key()).unwrap();
        let to = Receiver { fleet: id, member: number };
        let custody = kept.receive(&sealed, &to, &recipient(number)).unwrap();
        let vault = sites.vault(number, custody).unwrap();
        sites.vaults.push(vault);
        sites.kept.push(kept);
    }
    sites
}

/// The public keys of those whose statements are obeyed.
fn both() -> Signers {
    let [auditor, operator] = signers().map(|it| *it.verifying_key().as_bytes());
    Signers { auditor, operator }
}

#[test]
fn fleet_answers_a_person_wherever_they_turn() {
    let sites = sites();
    let [one, two, three] = &sites.vaults[..] else { panic!("three vaults") };
    let person = Person::new("fleet");
    let finish = person.start_enrolment(one, "right", b"secret").unwrap();
    assert_eq!(person.ask(two, &finish.request()), Ok(Reply::Enrolled { generation: 1 }));
    assert_eq!(person.ask(three, &finish.request()), Ok(Reply::Enrolled { generation: 1 }), "said again elsewhere");

    // A code is tried at one, its proof brought to another, and repeated at the third.
    let answered = person.start(three, "right").unwrap();
    assert_eq!(answered.remaining, 9);
    let proof = person.prove(answered, "right").unwrap();
    assert_eq!(person.finish(one, &proof).unwrap(), b"secret");
    assert_eq!(person.finish(two, &proof).unwrap(), b"secret");
    assert_eq!(person.remaining(three), 10, "a success clears, and everybody knows at once");

    // Wrong codes count wherever they are tried; a repeated KE1 costs nothing, wherever it is repeated.
    for attempt in 1..=10 {
        let vault = &sites.vaults[attempt % 3];
        let (state, ke1) = person.ke1("wrong");
        let answered = person.send_ke1(vault, state.clone(), &ke1).unwrap();
        assert_eq!(answered.remaining as usize, 10 - attempt);
        assert!(person.prove(answered, "wrong").is_none());
        let again = person.send_ke1(&sites.vaults[(attempt + 1) % 3], state, &ke1).unwrap();
        assert_eq!(again.remaining as usize, 10 - attempt);
    }
    for vault in &sites.vaults {
        assert_eq!(person.remaining(vault), 0);
        assert_eq!(person.start(vault, "right").err(), Some(Refusal::Exhausted));
    }
}

#[test]
fn fleet_without_its_leader_answers_and_without_a_majority_says_busy() {
    let sites = sites();
    let person = Person::new("fleet");
    let leader = sites.runtime.block_on(sites.fleet.leader(None));
    let others: Vec<_> = (1..=3).filter(|it| *it != leader).collect();
    let vault = |number: u64| &sites.vaults[number as usize - 1];
    person.enrol(vault(leader), "right", b"secret");
    sites.fleet.cut_off(leader);
    assert_eq!(person.recover(vault(others[0]), "right").unwrap(), b"secret");
    let remaining = Request::Remaining.encode(&person.0).unwrap();
    let lonely = vault(leader).process(&[crate::vault::Admitted { account: person.0, request: &remaining }]);
    assert!(matches!(lonely[..], [Err(Fault::Unsettled(_))]), "who is cut off tells nobody what remains: {lonely:?}");
    sites.fleet.heal();
    assert_eq!(person.recover(vault(leader), "right").unwrap(), b"secret");
}

/// Where a member keeps what it was handed.
#[derive(Default)]
struct Kept {
    own: Arc<MemoryRoot>,
    epochs: Arc<MemoryKeyStore>,
    store: Arc<MemoryKeyStore>,
    aside: Arc<MemoryKeyStore>,
}

impl Kept {
    fn root(&self) -> MemberRoot {
        MemberRoot::new(Box::new(Arc::clone(&self.own)), Box::new(Arc::clone(&self.epochs)))
    }

    fn receive(&self, sealed: &[u8], to: &Receiver, recipient: &Recipient) -> Result<Custody, Fault> {
        let custody = Custody::receive(sealed, to, recipient, self.root(), Box::new(Arc::clone(&self.store)))?;
        Ok(custody.keeping_aside(Box::new(Arc::clone(&self.aside))))
    }

    fn open(&self) -> Result<Custody, Fault> {
        let custody = Custody::open(Box::new(self.root()), Box::new(Arc::clone(&self.store)))?;
        Ok(custody.keeping_aside(Box::new(Arc::clone(&self.aside))))
    }
}

#[test]
fn v13_fleet_hands_its_keys_to_a_member_that_both_have_named() {
    let mut sites = sites();
    let person = Person::new("fleet");
    person.enrol(&sites.vaults[0], "right", b"secret");
    let id = *sites.vaults[0].fleet();
    let (joins, kept) = (recipient(4), Kept::default());
    assert!(matches!(sites.vaults[0].hand_over(4, joins.public_key()), Err(Fault::Key(_))), "nobody has named it");
    let note = sites.fleet.next_statement(1, &addresses(1..=4), &signers());
    sites.vaults[1].obey(&note).unwrap();
    assert!(matches!(sites.vaults[0].hand_over(5, joins.public_key()), Err(Fault::Key(_))), "nobody has named 5");
    assert!(matches!(sites.vaults[0].hand_over(4, recipient(5).public_key()), Err(Fault::Key(_))), "another key");
    let sealed = sites.vaults[0].hand_over(4, joins.public_key()).unwrap();

    let to = Receiver { fleet: id, member: 4 };
    for (what, wrong) in [("member", Receiver { member: 3, ..to }), ("fleet", Receiver { fleet: [1; 32], ..to })] {
        assert!(matches!(kept.receive(&sealed, &wrong, &joins), Err(Fault::Key(_))), "another {what}");
    }
    assert!(matches!(kept.receive(&sealed, &to, &recipient(5)), Err(Fault::Key(_))), "another's key");
    for at in [1, 40, sealed.len() / 2, sealed.len() - 1] {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert!(matches!(kept.receive(&altered, &to, &joins), Err(Fault::Key(_))), "byte {at}");
    }
    let custody = kept.receive(&sealed, &to, &joins).unwrap();
    assert!(matches!(kept.receive(&sealed, &to, &joins), Err(Fault::Storage(_))), "keys are not replaced");
    assert!(bool::from(custody.journal_key().ct_eq(sites.drawn.journal_key().expose())), "the fleet's own");
    drop(custody);

    // It opens them again by itself, joins, and answers.
    let Sites { runtime, fleet, .. } = &mut sites;
    runtime.block_on(async {
        fleet.join(4, &note).await.unwrap();
        fleet.settled_on(&[1, 2, 3, 4]).await;
    });
    let four = sites.vault(4, kept.open().unwrap()).unwrap();
    assert_eq!(person.recover(&four, "right").unwrap(), b"secret");
    assert_eq!(person.start(&four, "wrong").unwrap().remaining, 9);
    assert_eq!(person.remaining(&sites.vaults[2]), 9);
}

#[test]
fn v13_fleet_founders_have_their_keys_from_where_they_were_drawn() {
    let source = Kept::default();
    let drawn = Custody::create(Box::new(Arc::clone(&source.own)), Box::new(Arc::clone(&source.store))).unwrap();
    let id = *drawn.fleet();
    let note = founding(id, 3);
    let both = both();
    let hand =
        |signers: Option<&Signers>, member, key| drawn.hand_over(&note, signers, member, recipient(key).public_key());
    assert!(matches!(hand(Some(&both), 4, 4), Err(Fault::Key(_))), "it does not name 4");
    assert!(matches!(hand(Some(&both), 3, 4), Err(Fault::Key(_))), "another key");
    let swapped = Signers { auditor: [9; 32], ..both };
    assert!(matches!(hand(Some(&swapped), 3, 3), Err(Fault::Key(_))), "another auditor");
    let sealed = hand(Some(&both), 3, 3).unwrap();
    let founder = Kept::default();
    let custody = founder.receive(&sealed, &Receiver { fleet: id, member: 3 }, &recipient(3)).unwrap();
    assert!(bool::from(custody.journal_key().ct_eq(drawn.journal_key().expose())));
    drop(custody);
    assert_eq!(founder.open().unwrap().fleet(), &id);
}

#[test]
fn v14_fleet_takes_keys_that_have_turned_elsewhere_and_none_that_are_older() {
    let mut sites = sites();
    let note = sites.fleet.next_statement(1, &addresses(1..=4), &signers());
    sites.vaults[0].obey(&note).unwrap();
    let (joins, kept) = (recipient(4), Kept::default());
    let to = Receiver { fleet: *sites.vaults[0].fleet(), member: 4 };
    let first = sites.vaults[0].hand_over(4, joins.public_key()).unwrap();
    drop(kept.receive(&first, &to, &joins).unwrap());
    let Sites { runtime, fleet, .. } = &mut sites;
    runtime.block_on(async {
        fleet.join(4, &note).await.unwrap();
        fleet.settled_on(&[1, 2, 3, 4]).await;
    });
    let (one, four) = (&sites.vaults[0], sites.vault(4, kept.open().unwrap()).unwrap());
    assert!(matches!(four.take_keys(&first, 4, &joins), Err(Fault::Key(_))), "it has these");
    one.rotate(Turn::Tickets).unwrap();
    one.rotate(Turn::Epoch).unwrap();
    let person = Person::new("fleet");
    person.enrol(one, "right", b"secret");
    let turned = one.hand_over(4, joins.public_key()).unwrap();
    assert!(matches!(four.take_keys(&turned, 3, &joins), Err(Fault::Key(_))), "another member's");
    let elsewhere = kept.root().derive(1).unwrap();
    assert!(matches!(MemoryRoot::new().take(1, &elsewhere, 0), Err(Fault::Key(_))), "roots come from nowhere");
    four.take_keys(&turned, 4, &joins).unwrap();
    assert!(matches!(four.take_keys(&turned, 4, &joins), Err(Fault::Key(_))), "once");
    // Who turns keys without having heard that another has is refused, and what it had begun was never in use.
    one.rotate(Turn::Epoch).unwrap();
    assert!(matches!(four.rotate(Turn::Epoch), Err(Fault::Key(_))));
    assert_eq!(kept.open().unwrap().serial(), 2, "it keeps what it had");
    let begun = kept.root().derive(3).unwrap();
    person.enrol(one, "right", b"secret");
    four.take_keys(&one.hand_over(4, joins.public_key()).unwrap(), 4, &joins).unwrap();
    assert!(!bool::from(kept.root().derive(3).unwrap().ct_eq(begun.expose())));
    // A login that was begun there is finished here.
    let answered = person.start(one, "right").unwrap();
    let proof = person.prove(answered, "right").unwrap();
    assert_eq!(person.finish(&four, &proof).unwrap(), b"secret");
    // What it has taken is durable, and what was there before is not opened any more.
    let before = kept.epochs.read().unwrap();
    drop(four);
    let four = sites.vault(4, kept.open().unwrap()).unwrap();
    assert_eq!(person.recover(&four, "right").unwrap(), b"secret");
    let late = Kept::default();
    drop(late.receive(&first, &to, &joins).unwrap());
    assert!(matches!(sites.vault(4, late.open().unwrap()), Err(Fault::Key(_))), "an older copy than the journal knows");
    kept.root().destroy(1).unwrap();
    kept.epochs.write(&before.unwrap()).unwrap();
    assert!(kept.root().derive(1).is_err(), "an older copy of the store does not bring an epoch back");
}

#[test]
fn v15_fleet_keys_that_turn_at_one_are_at_the_others_and_at_who_was_away() {
    let mut sites = sites();
    let note = sites.fleet.next_statement(1, &addresses(1..=4), &signers());
    drop(sites.vaults.remove(0));
    let clock = || Arc::new(SystemClock::new(300).unwrap());
    let one = Vault::over(Box::new(sites.journal(1)), clock(), sites.kept[0].open().unwrap()).map(Arc::new).unwrap();
    one.obey(&note).unwrap();
    let (joins, kept, away) = (recipient(4), Kept::default(), Kept::default());
    let to = Receiver { fleet: *one.fleet(), member: 4 };
    let sealed = one.hand_over(4, joins.public_key()).unwrap();
    for place in [&kept, &away] {
        drop(place.receive(&sealed, &to, &joins).unwrap());
    }
    let Sites { runtime, fleet, .. } = &mut sites;
    runtime.block_on(async {
        fleet.join(4, &note).await.unwrap();
        fleet.settled_on(&[1, 2, 3, 4]).await;
    });
    let journal = |number| sites.journal(number);
    let keeps_nothing = Custody::open(Box::new(kept.root()), Box::new(Arc::clone(&kept.store))).unwrap();
    let four = sites.vault(4, keeps_nothing).unwrap();
    assert_eq!(four.follow_keys(&journal(4), &joins), Ok(false), "there are none that are newer");

    one.rotate(Turn::Tickets).unwrap();
    one.rotate(Turn::Epoch).unwrap();
    // A ticket under keys that it is yet to take is no bad ticket.
    let person = Person::new("straddles");
    let finish = person.start_enrolment(&one, "right", b"secret").unwrap();
    assert!(matches!(person.ask(&four, &finish.request()), Err(Fault::Unsettled(_))), "come again");
    // What the vault knows of the turn is what its own replica has applied.
    journal(4).read(&mut |_| ()).unwrap();
    assert!(matches!(four.follow_keys(&journal(4), &joins), Err(Fault::Unsettled(_))), "nobody hands keys over yet");
    one.hold_keys(&journal(1), &Arc::new(recipient(1)));
    assert!(matches!(four.follow_keys(&journal(4), &recipient(5)), Err(Fault::Unsettled(_))), "to another key");
    assert_eq!(four.follow_keys(&journal(4), &joins), Ok(true));
    assert_eq!(four.follow_keys(&journal(4), &joins), Ok(false));
    assert_eq!(person.ask(&four, &finish.request()), Ok(Reply::Enrolled { generation: 1 }));
    let person = Person::new("fleet");
    person.enrol(&one, "right", b"secret");
    assert_eq!(person.recover(&four, "right").unwrap(), b"secret", "sealed under the new epoch");

    // Who was away takes them before it opens.
    drop(four);
    let mut custody = away.open().unwrap();
    assert!(matches!(sites.vault(4, away.open().unwrap()), Err(Fault::Key(_))), "older than the journal knows");
    assert_eq!(custody.follow_keys(&journal(4), &joins), Ok(true));
    assert_eq!(person.recover(&sites.vault(4, custody).unwrap(), "right").unwrap(), b"secret");

    // A vault that is gone hands nothing over.
    let late = Kept::default();
    let mut custody = late.receive(&sealed, &to, &joins).unwrap();
    drop(one);
    assert!(matches!(custody.follow_keys(&journal(4), &joins), Err(Fault::Unsettled(_))));
}

#[test]
fn v17_fleet_keys_that_turned_outlive_the_vault_that_turned_them() {
    let mut sites = sites();
    let (one, person) = (sites.vaults.remove(0), Person::new("fleet"));
    one.rotate(Turn::Tickets).unwrap();
    one.rotate(Turn::Epoch).unwrap();
    person.enrol(&one, "right", b"secret");
    // It and its disk are gone before any other has asked it for anything.
    drop(one);
    sites.runtime.block_on(async {
        sites.fleet.stop(1).await;
        sites.fleet.leader(Some(1)).await;
    });
    let two = sites.vaults.remove(0);
    assert_eq!(two.follow_keys(&sites.journal(2), &recipient(2)), Ok(true));
    assert_eq!(person.recover(&two, "right").unwrap(), b"secret", "sealed under the epoch that is new");
    assert_eq!(two.follow_keys(&sites.journal(2), &recipient(2)), Ok(false));
    assert_eq!(two.keys().unwrap().login_tickets.len(), 2);
    // One that was killed meanwhile opens with them, by what is on its own disk: of the others it trusts nobody here.
    drop(sites.vaults.remove(0));
    assert!(
        matches!(sites.vault(3, sites.kept[2].open().unwrap()), Err(Fault::Key(_))),
        "older than the journal knows"
    );
    let mut custody = sites.kept[2].open().unwrap();
    assert_eq!(custody.take_kept(2, &[0; 32]), Ok(false), "the journal names others");
    assert_eq!(custody.follow_keys(&sites.journal(3), &recipient(5)), Ok(true));
    let three = sites.vault(3, custody).unwrap();
    assert_eq!(person.recover(&three, "right").unwrap(), b"secret");
    // What is over is not kept, and what is in use is.
    for kept in &sites.kept[1..] {
        let custody = kept.open().unwrap();
        assert_eq!(custody.serial(), 2);
        let empty = custody.epochs.open_blob("keys aside", &kept.aside.read().unwrap().unwrap()).unwrap();
        assert_eq!(empty.expose().len(), 1, "nothing but its version");
    }
}

/// Serial number of the keys that the journal names.
fn named(vault: &Vault) -> u32 {
    let mut serial = None;
    vault.read(&mut |state| serial = Some(state.keys_serial())).unwrap();
    serial.unwrap()
}

#[test]
fn v17_fleet_turns_no_keys_that_fewer_than_a_majority_keep() {
    let mut sites = sites();
    let one = sites.vaults.remove(0);
    let rest = std::mem::take(&mut sites.vaults);
    drop(rest);
    assert!(matches!(one.rotate(Turn::Tickets), Err(Fault::Unsettled(_))), "the others have no vault that keeps them");
    assert_eq!((named(&one), one.keys().unwrap().serial, sites.kept[0].open().unwrap().serial()), (0, 0, 0));
    // A vault that has no place for them does not count either.
    let bare = Custody::open(Box::new(sites.kept[1].root()), Box::new(Arc::clone(&sites.kept[1].store))).unwrap();
    let two = sites.vault(2, bare).unwrap();
    assert!(matches!(one.rotate(Turn::Tickets), Err(Fault::Unsettled(_))));
    drop(two);
    let _two = sites.vault(2, sites.kept[1].open().unwrap()).unwrap();
    one.rotate(Turn::Tickets).unwrap();
    assert_eq!((named(&one), one.keys().unwrap().serial), (1, 1));
}

#[test]
fn v17_fleet_of_two_turns_at_once_one_is_refused_and_all_have_the_other() {
    let sites = sites();
    let [one, two, three] = &sites.vaults[..] else { panic!("three vaults") };
    one.rotate(Turn::Epoch).unwrap();
    assert!(matches!(two.rotate(Turn::Epoch), Err(Fault::Key(_))), "it has not heard of the other");
    let person = Person::new("fleet");
    person.enrol(one, "right", b"secret");
    for (number, vault) in [(2, two), (3, three)] {
        assert_eq!(vault.follow_keys(&sites.journal(number), &recipient(number)), Ok(true));
        assert_eq!(person.recover(vault, "right").unwrap(), b"secret");
    }
    assert_eq!(two.rotate(Turn::Tickets), Ok(2), "and now it may");
}

/// The fleet's journal, which this member does not reach for a while; or it has nobody to ask.
struct Unreached {
    fleet: crate::fleet::Fleet,
    reached: Arc<AtomicBool>,
    asks: bool,
}

fn unsettled() -> Fault {
    Fault::Unsettled("the test's doing".to_owned())
}

impl Journal for Unreached {
    fn commit(&self, time_s: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        if self.reached.load(Ordering::Relaxed) { self.fleet.commit(time_s, commands) } else { Err(unsettled()) }
    }
    fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.fleet.read(look)
    }
    fn sealed(&self, account: &AccountId, generation: u32) -> Result<Option<Sealed>, Fault> {
        self.fleet.sealed(account, generation)
    }
    fn keep_elsewhere(&self, seal: &mut Seal<'_>) -> Result<(), Fault> {
        if self.asks { self.fleet.keep_elsewhere(seal) } else { Err(unsettled()) }
    }
    fn policy(&self) -> &Policy {
        self.fleet.policy()
    }
}

/// A place of keys that takes so many more writes.
struct Brittle(Arc<MemoryKeyStore>, Arc<AtomicUsize>);

impl KeyStore for Brittle {
    fn read(&self) -> Result<Option<Vec<u8>>, Fault> {
        self.0.read()
    }

    fn write(&self, sealed: &[u8]) -> Result<(), Fault> {
        let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map_err(|_| Fault::Storage("the test's doing".to_owned()))?;
        self.0.write(sealed)
    }
}

#[test]
fn v17_fleet_member_killed_in_a_turn_that_another_was_before_comes_back_with_the_others() {
    let mut sites = sites();
    drop(sites.vaults.remove(1));
    let kept = &sites.kept[1];
    let (two, _) = sites.unreached(2);
    assert!(matches!(two.rotate(Turn::Epoch), Err(Fault::Unsettled(_))));
    assert_eq!(kept.open().unwrap().serial(), 1, "on its disk, and not yet in the journal");
    sites.vaults[0].rotate(Turn::Epoch).unwrap();
    let person = Person::new("fleet");
    person.enrol(&sites.vaults[0], "right", b"secret");
    drop(two);
    assert!(matches!(sites.vault(2, kept.open().unwrap()), Err(Fault::Key(_))), "they are not those of the journal");
    // Killed again in the middle of it, it leaves what can be opened: before the store is made to open without what was begun,
    // before the epochs are there, and before the rest is.
    let open = |writes: usize| {
        let left = Arc::new(AtomicUsize::new(writes));
        let brittle = |store: &Arc<MemoryKeyStore>| Box::new(Brittle(Arc::clone(store), Arc::clone(&left)));
        let root = MemberRoot::new(Box::new(Arc::clone(&kept.own)), brittle(&kept.epochs));
        let custody = Custody::open(Box::new(root), brittle(&kept.store)).unwrap();
        custody.keeping_aside(Box::new(Arc::clone(&kept.aside)))
    };
    let follow = |custody: &mut Custody| custody.follow_keys(&sites.journal(2), &recipient(2));
    let newest = || (kept.root().epochs().unwrap(), kept.open().unwrap().epochs.newest());
    for (writes, left) in [(0, (vec![1, 2], 2)), (1, (vec![1, 2], 1)), (1, (vec![1, 2], 1))] {
        assert!(follow(&mut open(writes)).is_err());
        assert_eq!(newest(), left);
    }
    let mut custody = open(2);
    assert_eq!(follow(&mut custody), Ok(true));
    let two = sites.vault(2, custody).unwrap();
    assert_eq!(person.recover(&two, "right").unwrap(), b"secret");
    assert_eq!(person.recover(&sites.vault(2, kept.open().unwrap()).unwrap(), "right").unwrap(), b"secret");
}

#[test]
fn v17_fleet_member_killed_in_a_turn_comes_back_though_the_others_have_turned_twice() {
    // With what it has kept aside, and with what another hands over.
    for has_kept in [true, false] {
        let mut sites = sites();
        drop(sites.vaults.remove(1));
        let kept = &sites.kept[1];
        let (two, _) = sites.unreached(2);
        assert!(matches!(two.rotate(Turn::Epoch), Err(Fault::Unsettled(_))));
        let two = Some(two).filter(|_| has_kept);
        sites.vaults[0].rotate(Turn::Epoch).unwrap();
        sites.vaults[0].rotate(Turn::Tickets).unwrap();
        drop(two);
        let person = Person::new("fleet");
        person.enrol(&sites.vaults[0], "right", b"secret");
        let mut custody = kept.open().unwrap();
        assert_eq!((custody.serial(), custody.epochs.newest()), (1, 2), "what it had begun");
        assert_eq!(custody.follow_keys(&sites.journal(2), &recipient(2)), Ok(true));
        let two = sites.vault(2, custody).unwrap();
        assert_eq!(person.recover(&two, "right").unwrap(), b"secret");
        drop(two);
        assert_eq!(person.recover(&sites.vault(2, kept.open().unwrap()).unwrap(), "right").unwrap(), b"secret");
    }
}

#[test]
fn v17_fleet_turn_that_is_finished_later_is_kept_by_a_majority_then() {
    let mut sites = sites();
    drop(sites.vaults.remove(1));
    let (two, reached) = sites.unreached(2);
    assert!(matches!(two.rotate(Turn::Tickets), Err(Fault::Unsettled(_))));
    // The others are gone, and with them what they have kept.
    sites.vaults.clear();
    sites.kept[0].aside = Arc::default();
    sites.kept[2].aside = Arc::default();
    reached.store(true, Ordering::Relaxed);
    assert!(matches!(two.rotate(Turn::Digests), Err(Fault::Unsettled(_))));
    assert_eq!(named(&two), 0, "by the next turn");
    drop(two);
    let open = |number: u64| sites.vault(number, sites.kept[number as usize - 1].open().unwrap());
    assert!(matches!(open(2), Err(Fault::Unsettled(_))));
    let one = open(1).unwrap();
    assert_eq!(named(&one), 0, "by the next opening");
    let two = open(2).unwrap();
    assert_eq!((named(&two), two.keys().unwrap().serial), (1, 1));
    drop(two);
    assert_eq!(named(&one), 1);
    assert_eq!(one.follow_keys(&sites.journal(1), &recipient(1)), Ok(true), "by what it keeps");
}

#[test]
fn v17_fleet_vaults_that_were_all_killed_in_a_turn_do_not_wait_for_each_other() {
    let mut sites = sites();
    let (two, _) = sites.unreached(2);
    assert!(matches!(two.rotate(Turn::Tickets), Err(Fault::Unsettled(_))));
    drop(two);
    sites.vaults.clear();
    let journal = Unreached { fleet: sites.journal(2), reached: Arc::new(AtomicBool::new(true)), asks: false };
    let clock = Arc::new(SystemClock::new(300).unwrap());
    let two = Vault::over(Box::new(journal), clock, sites.kept[1].open().unwrap()).unwrap();
    assert_eq!(named(&two), 1);
}

#[test]
fn v14_fleet_vault_finishes_what_it_has_begun_before_it_takes_keys() {
    let mut sites = sites();
    drop(sites.vaults.remove(1));
    let (two, reached) = sites.unreached(2);
    assert!(matches!(two.rotate(Turn::Epoch), Err(Fault::Unsettled(_))));
    let begun = sites.kept[1].root().derive(2).unwrap();
    sites.vaults[0].rotate(Turn::Epoch).unwrap();
    let sealed = sites.vaults[0].hand_over(2, recipient(2).public_key()).unwrap();
    assert!(matches!(two.take_keys(&sealed, 2, &recipient(2)), Err(Fault::Unsettled(_))));
    let held = sites.kept[1].root().derive(2).unwrap();
    assert!(bool::from(held.ct_eq(begun.expose())), "the store is sealed under it");
    reached.store(true, Ordering::Relaxed);
    two.take_keys(&sealed, 2, &recipient(2)).unwrap();
    drop(two);
    assert_eq!(sites.vault(2, sites.kept[1].open().unwrap()).unwrap().keys().unwrap().serial, 1);
}

#[test]
fn v8_fleet_keys_kept_aside_do_not_bring_back_an_epoch_that_is_over() {
    let mut sites = sites();
    let three = sites.vaults.pop().unwrap();
    let (one, kept) = (sites.vaults.remove(0), &sites.kept[2]);
    let has = |epoch: u32| {
        let copy = kept.aside.read().unwrap().unwrap();
        let opened = kept.open().unwrap().epochs.open_blob("keys aside", &copy).unwrap();
        let key = kept.root().derive(epoch).unwrap();
        opened.expose().windows(64).any(|bytes| bytes == key.expose())
    };
    let follow = || {
        named(&three);
        three.follow_keys(&sites.journal(3), &recipient(3))
    };
    one.rotate(Turn::Epoch).unwrap();
    assert!(!has(1));
    assert_eq!(follow(), Ok(true));
    one.rotate(Turn::Tickets).unwrap();
    assert!(!has(1) && has(2), "none but the newest");
    drop(one);
    assert_eq!(follow(), Ok(true), "by what it keeps");
    assert_eq!(three.keys().unwrap().epochs.len(), 2);
}
