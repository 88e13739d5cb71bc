//! Keys that turn while people come and go: V7 to V9.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::person::Person;
use super::{NOW_S, vault};
use crate::error::{Fault, Refusal};
use crate::journal::{Committed, Journal, Memory};
use crate::ledger::{Command, Policy, Record, State};
use crate::limits::KEYS_MAX;
use crate::protocol::{Reply, Request};
use crate::vault::{Custody, KeyStore, ManualClock, MemoryKeyStore, Pace, Turn, Vault};
use crate::wrap::{MemoryRoot, RootSource, Sealed, blob_epoch};

const CHANNEL: Turn = Turn::Channel { not_after_s: NOW_S + 86_400 };

/// A vault that can be left and opened again, and everything outside of it.
struct Place {
    root: Arc<MemoryRoot>,
    store: Arc<MemoryKeyStore>,
    journal: Arc<Memory>,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> (Self, Vault) {
        let (root, store) = (Arc::new(MemoryRoot::new()), Arc::new(MemoryKeyStore::new()));
        let custody = Custody::create(Box::new(root.clone()), Box::new(store.clone())).unwrap();
        let policy = Policy { anchor: crate::ledger::AnchorKind::Memory, ..Policy::development() };
        let journal = Arc::new(Memory::create(policy).unwrap());
        let place = Place { root, store, journal, clock: Arc::new(ManualClock::new(NOW_S)) };
        let vault = Vault::over(Box::new(place.journal.clone()), place.clock.clone(), custody).unwrap();
        (place, vault)
    }

    fn open(&self) -> Result<Vault, Fault> {
        let custody = Custody::open(Box::new(self.root.clone()), Box::new(self.store.clone()))?;
        Vault::over(Box::new(self.journal.clone()), self.clock.clone(), custody)
    }
}

fn record_of(vault: &Vault, person: Person) -> Record {
    let mut record = Record::None;
    vault.read(&mut |state| record = *state.account(&person.0).unwrap().record()).unwrap();
    record
}

#[test]
fn l12_root_keys_are_where_the_policy_wants_them_whatever_the_journal() {
    let over = |root: crate::ledger::RootKind| {
        let custody = Custody::create(Box::new(MemoryRoot::new()), Box::new(MemoryKeyStore::new())).unwrap();
        let policy = Policy { anchor: crate::ledger::AnchorKind::Memory, root, ..Policy::development() };
        let journal = Memory::create(policy).unwrap();
        Vault::over(Box::new(journal), Arc::new(ManualClock::new(NOW_S)), custody).err()
    };
    assert!(matches!(over(crate::ledger::RootKind::Pkcs11), Some(Fault::Policy(_))), "it wants a token");
    assert_eq!(over(crate::ledger::RootKind::File), None);
}

#[test]
fn whatever_turns_and_whenever_it_is_opened_again_everybody_recovers() {
    let (place, mut vault) = Place::new();
    let [ada, bea] = ["ada", "bea"].map(Person::new);
    ada.enrol(&vault, "one", b"secret of ada");
    for (serial, turn) in
        [Turn::Epoch, Turn::Tickets, Turn::Digests, Turn::Server, CHANNEL, Turn::Epoch].into_iter().enumerate()
    {
        let begun = ada.start(&vault, "one").unwrap();
        let enrolling = bea.start_enrolment(&vault, "two", b"secret of bea").unwrap();
        vault.rotate(turn).unwrap();
        // What was begun before is finished after, here and by a vault that was opened in between.
        let proof = ada.prove(begun, "one").unwrap();
        assert_eq!(ada.finish(&vault, &proof).unwrap(), b"secret of ada", "{turn:?}");
        vault = place.open().unwrap();
        assert_eq!(ada.finish(&vault, &proof).unwrap(), b"secret of ada", "{turn:?}");
        assert!(matches!(bea.ask(&vault, &enrolling.request()), Ok(Reply::Enrolled { .. })), "{turn:?}");
        assert_eq!(bea.recover(&vault, "two").unwrap(), b"secret of bea", "{turn:?}");
        let status = vault.keys().unwrap();
        assert_eq!(status.serial as usize, serial + 1);
        assert_eq!(blob_epoch(&place.store.read().unwrap().unwrap()), Ok(status.epochs.last().unwrap().epoch));
    }
    let status = vault.keys().unwrap();
    assert_eq!(status.root, "memory");
    assert_eq!(status.epochs.iter().map(|it| (it.epoch, it.records)).collect::<Vec<_>>(), [(1, 1), (2, 0), (3, 1)]);
    assert_eq!(
        status.servers.iter().map(|it| (it.number, it.enrols, it.records)).collect::<Vec<_>>(),
        [(1, true, 2), (2, false, 0)]
    );
    assert_ne!(status.servers[0].public_key, status.servers[1].public_key);
    assert_eq!(status.digests, [1, 2]);
    assert_eq!(status.login_tickets.iter().map(|it| it.until_s.is_some()).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_record_moves_to_new_server_keys_at_its_next_enrolment() {
    let (place, vault) = Place::new();
    let ada = Person::new("ada");
    ada.enrol(&vault, "one", b"first");
    let first = vault.server_public_key();
    assert_eq!(vault.rotate(Turn::Server), Ok(2));
    assert_eq!(vault.server_public_key(), first, "clients have not heard of it yet");
    assert!(matches!(vault.enrol_under(3), Err(Fault::Key(_))), "nobody has those");
    let late = ada.start_enrolment(&vault, "late", b"late").unwrap();
    vault.enrol_under(2).unwrap();
    assert_ne!(vault.server_public_key(), first);
    assert!(matches!(vault.retire_server_keys(2), Err(Fault::Key(_))), "new records are made by it");
    vault.retire_server_keys(1).unwrap();
    assert!(matches!(vault.enrol_under(1), Err(Fault::Key(_))), "retired");
    assert_eq!(ada.ask(&vault, &late.request()), Ok(Reply::Refused(Refusal::Stale)), "made by retired keys");
    let vault = place.open().unwrap();
    vault.sweep().unwrap();
    let status = vault.keys().unwrap();
    assert_eq!(status.servers.iter().map(|it| (it.retired, it.records)).collect::<Vec<_>>(), [(true, 1), (false, 0)]);
    assert_eq!(ada.recover(&vault, "one").unwrap(), b"first", "kept while a record names it");

    ada.enrol(&vault, "two", b"second");
    assert!(matches!(record_of(&vault, ada), Record::Live { header, .. } if header.key_number == 2));
    let expected = vault.keys().unwrap().servers;
    assert_eq!(expected.iter().map(|it| it.records).collect::<Vec<_>>(), [0, 1]);
    vault.sweep().unwrap();
    assert_eq!(vault.keys().unwrap().servers.len(), 1, "and gone with the last");
    assert_eq!(ada.recover(&place.open().unwrap(), "two").unwrap(), b"second");
}

#[test]
fn a_ticket_lives_as_long_as_without_a_turn_and_its_key_no_longer() {
    let (place, vault) = Place::new();
    let ada = Person::new("ada");
    ada.enrol(&vault, "one", b"secret");
    let policy = vault.policy().clone();
    let proof = ada.prove(ada.start(&vault, "one").unwrap(), "one").unwrap();
    assert_eq!(vault.rotate(Turn::Tickets), Ok(2));
    place.clock.forward(policy.login_ttl_s);
    vault.sweep().unwrap();
    assert_eq!(ada.finish(&vault, &proof).unwrap(), b"secret", "to its last second");
    place.clock.forward(policy.enrolment_ttl_s.max(policy.login_ttl_s) + policy.skew_max_s + 1);
    assert_eq!(vault.keys().unwrap().login_tickets.len(), 2);
    vault.sweep().unwrap();
    assert_eq!(vault.keys().unwrap().login_tickets.len(), 1);
    assert_eq!(vault.keys().unwrap().enrolment_tickets.len(), 1);
    assert_eq!(ada.finish(&vault, &proof), Err(Refusal::TicketExpired));
    assert_eq!(ada.recover(&place.open().unwrap(), "one").unwrap(), b"secret");
}

#[test]
fn a_repeated_ke1_is_known_across_one_turn_of_its_key_and_not_across_two() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    ada.enrol(&vault, "one", b"secret");
    let (_, ke1) = ada.ke1("one");
    let ask = |vault: &Vault| match ada.ask(vault, &Request::RecoverStart { ke1: &ke1 }) {
        Ok(Reply::RecoverStarted { remaining, .. }) => remaining,
        other => panic!("not what was asked: {other:?}"),
    };
    assert_eq!(ask(&vault), 9);
    vault.rotate(Turn::Digests).unwrap();
    assert_eq!(ask(&vault), 9, "a repetition");
    vault.rotate(Turn::Digests).unwrap();
    assert_eq!(ask(&vault), 8, "forgotten, and charged again: never free without being known");
    assert_eq!(vault.keys().unwrap().digests, [2, 3]);
}

#[test]
fn after_a_rewrap_the_old_epoch_is_nowhere() {
    let (place, vault) = Place::new();
    let people: Vec<_> = (0..150).map(|number| Person::new(&number.to_string())).collect();
    for person in &people {
        person.enrol(&vault, "one", b"secret");
    }
    assert!(matches!(vault.retire_epochs(), Ok(1)), "there is nothing before it");
    assert_eq!(vault.rotate(Turn::Epoch), Ok(2));
    let Err(Fault::Key(said)) = vault.retire_epochs() else { panic!("150 records are under epoch 1") };
    assert!(said.contains("150 records"), "{said}");

    // Stopped half way, begun again by another process, and somebody enrols between.
    let mut rewrap = vault.rewrap(Pace { records_per_s: u32::MAX, step: 40 });
    let progress = rewrap.step().unwrap();
    assert_eq!((progress.epoch, progress.done, progress.left), (2, 40, 110));
    drop(rewrap);
    let vault = {
        drop(vault);
        place.open().unwrap()
    };
    people[149].enrol(&vault, "two", b"other");
    let mut steps = Vec::new();
    let done =
        vault.rewrap(Pace { records_per_s: u32::MAX, step: 40 }).run(|progress| steps.push(progress.left)).unwrap();
    assert_eq!(done.left, 0);
    assert!(steps.is_sorted_by(|one, next| one >= next) && steps.len() >= 3, "{steps:?}");
    assert_eq!(vault.retire_epochs(), Ok(2));
    assert_eq!(place.root.epochs().unwrap(), [2], "the root of epoch 1 is destroyed");
    assert_eq!(vault.keys().unwrap().epochs.len(), 1);
    vault.read(&mut |state| assert_eq!(state.records_by_epoch().keys().collect::<Vec<_>>(), [&2])).unwrap();
    for person in people.iter().take(149).step_by(20) {
        assert_eq!(person.recover(&vault, "one").unwrap(), b"secret");
    }
    assert_eq!(people[149].recover(&place.open().unwrap(), "two").unwrap(), b"other");
}

#[test]
fn a_record_that_does_not_open_is_told_and_the_others_move() {
    /// A journal that spoils one account's sealed bytes.
    struct Spoiling(Arc<Memory>, Person);
    impl Journal for Spoiling {
        fn commit(&self, time_s: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
            self.0.commit(time_s, commands)
        }
        fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
            self.0.read(look)
        }
        fn sealed(&self, account: &crate::account::AccountId, generation: u32) -> Result<Option<Sealed>, Fault> {
            let spoil = |sealed: Sealed| {
                let mut bytes = *sealed.as_bytes();
                bytes[100] ^= u8::from(*account == self.1.0);
                Sealed::from_bytes(&bytes)
            };
            self.0.sealed(account, generation)?.map(spoil).transpose()
        }
        fn policy(&self) -> &Policy {
            self.0.policy()
        }
    }
    let (place, vault) = Place::new();
    let people = ["ada", "bea", "cid"].map(Person::new);
    for person in people {
        person.enrol(&vault, "one", b"secret");
    }
    vault.rotate(Turn::Epoch).unwrap();
    drop(vault);
    let custody = Custody::open(Box::new(place.root.clone()), Box::new(place.store.clone())).unwrap();
    let spoiling = Box::new(Spoiling(place.journal.clone(), people[1]));
    let vault = Vault::over(spoiling, place.clock.clone(), custody).unwrap();
    let Err(Fault::Damaged(said)) = vault.rewrap(Pace::unbounded()).run(|_| {}) else { panic!("one is damaged") };
    assert!(said.contains("1 records"), "{said}");
    vault.read(&mut |state| assert_eq!(state.records_by_epoch().values().collect::<Vec<_>>(), [&1, &2])).unwrap();
    assert!(matches!(vault.retire_epochs(), Err(Fault::Key(_))), "its epoch stays");
    assert_eq!(people[0].recover(&vault, "one").unwrap(), b"secret");
}

/// A journal that gives batches up, and has taken them all the same or not.
struct GivesUp {
    journal: Arc<Memory>,
    gives_up: Arc<AtomicBool>,
    takes: bool,
}

impl Journal for GivesUp {
    fn commit(&self, time_s: u64, commands: Vec<Command>) -> Result<Vec<Committed>, Fault> {
        if !self.gives_up.load(Ordering::Relaxed) {
            return self.journal.commit(time_s, commands);
        }
        if self.takes {
            self.journal.commit(time_s, commands)?;
        }
        Err(Fault::Unsettled("the test's doing".to_owned()))
    }
    fn read(&self, look: &mut dyn FnMut(&State)) -> Result<u64, Fault> {
        self.journal.read(look)
    }
    fn sealed(&self, account: &crate::account::AccountId, generation: u32) -> Result<Option<Sealed>, Fault> {
        self.journal.sealed(account, generation)
    }
    fn policy(&self) -> &Policy {
        self.journal.policy()
    }
}

#[test]
fn v7_a_turn_that_was_given_up_is_finished_by_the_next_whether_the_journal_took_it_or_not() {
    for takes in [true, false] {
        let (place, vault) = Place::new();
        drop(vault);
        let gives_up = Arc::new(AtomicBool::new(true));
        let journal = GivesUp { journal: place.journal.clone(), gives_up: gives_up.clone(), takes };
        let custody = Custody::open(Box::new(place.root.clone()), Box::new(place.store.clone())).unwrap();
        let vault = Vault::over(Box::new(journal), place.clock.clone(), custody).unwrap();
        let person = Person::new("ada");
        assert!(matches!(vault.rotate(Turn::Tickets), Err(Fault::Unsettled(_))));
        assert_eq!(
            vault.keys().unwrap().login_tickets.len(),
            1,
            "what is not known to be in the journal is not in use"
        );
        gives_up.store(false, Ordering::Relaxed);
        person.enrol(&vault, "one", b"secret");
        assert_eq!(vault.rotate(Turn::Epoch), Ok(2));
        let keys = vault.keys().unwrap();
        assert_eq!((keys.serial, keys.login_tickets.len(), keys.epochs.len()), (2, 2, 2), "both turns, taken: {takes}");
        let mut named = 0;
        vault.read(&mut |state| named = state.keys_serial()).unwrap();
        assert_eq!(named, 2);
        drop(vault);
        assert_eq!(person.recover(&place.open().unwrap(), "one").unwrap(), b"secret");
    }
}

#[test]
fn server_keys_that_a_turn_that_was_given_up_goes_back_to_are_not_retired() {
    let (place, vault) = Place::new();
    vault.rotate(Turn::Server).unwrap();
    vault.enrol_under(2).unwrap();
    drop(vault);
    let gives_up = Arc::new(AtomicBool::new(true));
    let journal = GivesUp { journal: place.journal.clone(), gives_up: gives_up.clone(), takes: false };
    let custody = Custody::open(Box::new(place.root.clone()), Box::new(place.store.clone())).unwrap();
    let vault = Vault::over(Box::new(journal), place.clock.clone(), custody).unwrap();
    assert!(matches!(vault.enrol_under(1), Err(Fault::Unsettled(_))));
    gives_up.store(false, Ordering::Relaxed);
    assert!(matches!(vault.retire_server_keys(1), Err(Fault::Key(_))), "new records are made by it");
    Person::new("ada").enrol(&vault, "one", b"secret");
}

#[test]
fn epochs_turn_until_no_more_can_be_held_and_again_when_those_before_are_over() {
    let (place, vault) = Place::new();
    let most = KEYS_MAX as u32;
    (2..=most).for_each(|epoch| assert_eq!(vault.rotate(Turn::Epoch), Ok(epoch)));
    assert!(matches!(vault.rotate(Turn::Epoch), Err(Fault::Limit(_))));
    assert_eq!(place.root.epochs().unwrap().len(), KEYS_MAX, "nothing is made");
    assert_eq!(vault.retire_epochs(), Ok(most));
    assert_eq!(vault.rotate(Turn::Epoch), Ok(most + 1));
}

/// A place of keys that fails, or loses what it was told to keep.
#[derive(Default)]
struct Failing {
    store: MemoryKeyStore,
    fails: AtomicBool,
    kept: Mutex<Vec<Vec<u8>>>,
}

impl KeyStore for Failing {
    fn read(&self) -> Result<Option<Vec<u8>>, Fault> {
        self.store.read()
    }

    fn write(&self, sealed: &[u8]) -> Result<(), Fault> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(Fault::Storage("the test's doing".to_owned()));
        }
        self.kept.lock().unwrap().push(sealed.to_vec());
        self.store.write(sealed)
    }
}

#[test]
fn v7_keys_are_kept_before_they_are_used_and_older_ones_are_refused() {
    let (root, store) = (Arc::new(MemoryRoot::new()), Arc::new(Failing::default()));
    let custody = Custody::create(Box::new(root.clone()), Box::new(store.clone())).unwrap();
    let policy = Policy { anchor: crate::ledger::AnchorKind::Memory, ..Policy::development() };
    let journal = Arc::new(Memory::create(policy).unwrap());
    let clock = Arc::new(ManualClock::new(NOW_S));
    let vault = Vault::over(Box::new(journal.clone()), clock.clone(), custody).unwrap();
    let open = || {
        let custody = Custody::open(Box::new(root.clone()), Box::new(store.clone()))?;
        Vault::over(Box::new(journal.clone()), clock.clone(), custody)
    };
    let ada = Person::new("ada");
    ada.enrol(&vault, "one", b"secret");

    store.fails.store(true, Ordering::Relaxed);
    for turn in [Turn::Epoch, Turn::Tickets, Turn::Digests, CHANNEL, Turn::Server] {
        assert!(matches!(vault.rotate(turn), Err(Fault::Storage(_))), "{turn:?}");
    }
    assert_eq!(vault.keys().unwrap().serial, 0, "what is not kept is not used");
    assert_eq!(ada.recover(&vault, "one").unwrap(), b"secret");
    store.fails.store(false, Ordering::Relaxed);
    // The epoch's root was made, and nothing sealed under it; opened now, the vault turns to it when it is told again.
    drop(vault);
    let vault = open().unwrap();
    assert_eq!(vault.keys().unwrap().epochs.len(), 1);
    assert_eq!(root.epochs(), Ok(vec![1, 2]));
    assert_eq!(vault.rotate(Turn::Epoch), Ok(2));
    assert_eq!(blob_epoch(&store.read().unwrap().unwrap()), Ok(2));
    assert_eq!(vault.rotate(Turn::Tickets), Ok(2));
    assert_eq!(vault.rotate(Turn::Tickets), Ok(3));

    let kept = store.kept.lock().unwrap().clone();
    store.write(&kept[kept.len() - 2]).unwrap();
    let Err(Fault::Key(said)) = open() else { panic!("an older copy of the keys") };
    assert!(said.contains("older copy"), "{said}");
    assert!(matches!(vault.rotate(Turn::Digests), Ok(2)), "the one that runs has the newest");
    drop(vault);
    assert!(open().is_ok());
}

#[test]
fn a_turn_between_keys_and_journal_is_finished_at_the_next_opening() {
    let (place, vault) = Place::new();
    // What a crash between the two leaves: the keys of serial 1, and a journal that knows of none.
    let secrets = vault.ring().secrets.next().unwrap();
    place.store.write(&secrets.seal(&vault.ring().epochs).unwrap()).unwrap();
    drop(vault);
    let vault = place.open().unwrap();
    vault.read(&mut |state| assert_eq!(state.keys_serial(), 1)).unwrap();
    assert_eq!(vault.keys().unwrap().serial, 1);
}

#[test]
fn roots_that_a_crash_left_are_destroyed_by_the_next_sweep() {
    let (place, vault) = Place::new();
    vault.rotate(Turn::Epoch).unwrap();
    place.journal.commit(NOW_S, vec![Command::RaiseEpochMin { epoch: 2 }]).unwrap();
    drop(vault);
    let vault = place.open().unwrap();
    assert_eq!(place.root.epochs().unwrap(), [1, 2]);
    vault.sweep().unwrap();
    assert_eq!(place.root.epochs().unwrap(), [2]);
}

#[test]
fn v8_a_vault_that_is_behind_keeps_the_epoch_that_its_own_keys_are_sealed_under() {
    let (place, vault) = Place::new();
    // The fleet has turned, and ended the epoch before; this vault has not the new keys yet.
    place.journal.commit(NOW_S, vec![Command::RaiseEpochMin { epoch: 2 }]).unwrap();
    vault.sweep().unwrap();
    assert_eq!(place.root.epochs().unwrap(), [1]);
    drop(vault);
    place.open().unwrap();
}

/// Keys kept aside, of turns of others that are still to come.
#[cfg(feature = "fleet")]
mod aside {
    use super::*;
    use crate::secret::Secret;
    use crate::session::Recipient;
    use crate::vault::handover::{Handed, Receiver};
    use crate::vault::turn::Named;
    use crate::wrap::EpochKeys;

    /// A member of a fleet, the only one that its journal knows.
    struct Member {
        place: Place,
        aside: Arc<MemoryKeyStore>,
        recipient: Recipient,
    }

    impl Member {
        fn new() -> (Self, Vault) {
            let (aside, recipient) = (Arc::new(MemoryKeyStore::new()), Recipient::new(&Secret::new([7; 32])));
            let member = Member { place: Place::new().0, aside, recipient };
            let vault = member.open();
            (member, vault)
        }

        fn custody(&self) -> Custody {
            let place = &self.place;
            let custody = Custody::open(Box::new(place.root.clone()), Box::new(place.store.clone())).unwrap();
            custody.keeping_aside(Box::new(self.aside.clone()))
        }

        fn open(&self) -> Vault {
            Vault::over(Box::new(self.place.journal.clone()), self.place.clock.clone(), self.custody()).unwrap()
        }

        /// Has it keep keys of another member, by which the journal would name them.
        fn keep(&self, vault: &Vault, serial: u32, epochs: &[u32]) -> Result<Named, Fault> {
            let root = MemoryRoot::new();
            epochs.iter().for_each(|epoch| root.create(*epoch).unwrap());
            let keys = EpochKeys::load(&root, *epochs.last().unwrap())?;
            let mut secrets = vault.ring().secrets.next()?;
            secrets.serial = serial;
            let to = Receiver { fleet: *vault.fleet(), member: 1 };
            let sealed = Handed::of(&secrets, &root, &keys)?.seal(&to, self.recipient.public_key())?;
            vault.keep_aside(2, &sealed, 1, &self.recipient)?;
            Named::of(&secrets, &keys)
        }

        fn kept(&self) -> Vec<u8> {
            self.aside.read().unwrap().unwrap()
        }

        fn spoil(&self) {
            let mut bytes = self.kept();
            *bytes.last_mut().unwrap() ^= 1;
            self.aside.write(&bytes).unwrap();
        }
    }

    fn epochs_of(handed: Option<Handed>) -> Vec<u32> {
        handed.expect("it is kept").into_parts().0.iter().map(|(epoch, _)| *epoch).collect()
    }

    #[test]
    fn v17_what_is_kept_aside_outlives_the_epoch_that_it_was_sealed_under() {
        let (member, vault) = Member::new();
        let named = member.keep(&vault, 3, &[1, 3]).unwrap();
        assert_eq!((blob_epoch(&member.kept()), epochs_of(vault.kept_aside(&named))), (Ok(1), vec![1, 3]));
        // This vault turns to what was before those, and the epoch that they are sealed under ends.
        vault.rotate(Turn::Epoch).unwrap();
        assert_eq!(vault.retire_epochs(), Ok(2));
        assert_eq!((blob_epoch(&member.kept()), epochs_of(vault.kept_aside(&named))), (Ok(2), vec![3]), "V8");
        // Nor is a key of it kept that comes later, of who has not destroyed it yet.
        let named = member.keep(&vault, 4, &[1, 3]).unwrap();
        assert_eq!(epochs_of(vault.kept_aside(&named)), [3]);
        assert!(matches!(member.keep(&vault, 5, &[1]), Err(Fault::Key(why)) if why.contains("an epoch that is over")));
        drop(vault);
        assert_eq!(epochs_of(member.open().kept_aside(&named)), [3]);
    }

    #[test]
    fn what_is_kept_aside_and_does_not_open_stops_nothing() {
        let (member, vault) = Member::new();
        member.keep(&vault, 2, &[2]).unwrap();
        member.spoil();
        assert_eq!(member.custody().take_kept(2, &[0; 32]), Ok(false), "then another member is asked");
        let named = member.keep(&vault, 2, &[2]).unwrap();
        assert!(vault.kept_aside(&named).is_some(), "in its place");
        member.spoil();
        drop(vault);
        let vault = member.open();
        let opened = vault.ring().epochs.open_blob("keys aside", &member.kept()).unwrap();
        assert_eq!(opened.expose().len(), 1, "nothing but its version: all turns that the journal knows are done");
        vault.rotate(Turn::Epoch).unwrap();
        member.keep(&vault, 3, &[3]).unwrap();
        member.spoil();
        assert_eq!(vault.retire_epochs(), Ok(2));
        // What a later program has written is left to that.
        let mut later = member.kept();
        later[0] = 2;
        member.aside.write(&later).unwrap();
        assert!(matches!(member.keep(&vault, 3, &[3]), Err(Fault::Format { found: 2, .. })));
        assert_eq!(member.custody().take_kept(9, &[0; 32]), Ok(false));
        assert_eq!(member.kept(), later);
    }
}

#[test]
fn v9_nobody_is_refused_while_keys_turn() {
    let (place, vault) = Place::new();
    let people: Vec<_> = (0..4).map(|number| Person::new(&format!("person {number}"))).collect();
    for person in &people {
        person.enrol(&vault, "one", b"secret");
    }
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for person in &people {
            let (vault, over, done) = (&vault, &over, &done);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) || done.load(Ordering::Relaxed) < 20 {
                    assert_eq!(person.recover(vault, "one").unwrap(), b"secret");
                    if done.fetch_add(1, Ordering::Relaxed) % 5 == 0 {
                        person.enrol(vault, "one", b"secret");
                    }
                }
            });
        }
        for turn in [Turn::Epoch, Turn::Tickets, Turn::Server, Turn::Digests, Turn::Epoch, Turn::Tickets] {
            let number = vault.rotate(turn).unwrap();
            if turn == Turn::Server {
                vault.enrol_under(number as u16).unwrap();
            }
            vault.rewrap(Pace { records_per_s: u32::MAX, step: 1 }).run(|_| {}).unwrap();
            vault.retire_epochs().unwrap();
            vault.sweep().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(place.root.epochs().unwrap(), [3]);
    assert_eq!(Arc::strong_count(&vault.ring()), 2, "the ring in use, and this look at it: no batch holds another");
}
