//! A vault obeys what both its signers say to its fleet, once, and nobody else.

use super::person::Person;
use super::{vault, vault_with};
use crate::error::{Fault, Refusal};
use crate::ledger::{Policy, Signers};
use crate::protocol::Reply;
use crate::secret::Secret;
use crate::transparency::{Bundle, Note, Order, SigningKey, Statement};
use crate::vault::Vault;

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::new(name, &Secret::new([seed; 32])).unwrap()
}

fn signers(auditor: &SigningKey, operator: &SigningKey) -> Signers {
    Signers { auditor: *auditor.verifying_key().as_bytes(), operator: *operator.verifying_key().as_bytes() }
}

fn statement<const N: usize>(vault: &Vault, order: Order, keys: [&SigningKey; N]) -> Note {
    let mut note = Statement { fleet: *vault.fleet(), order }.note().unwrap();
    keys.iter().for_each(|key| note.sign(key));
    note
}

fn obeyed<const N: usize>(vault: &Vault, order: Order, keys: [&SigningKey; N]) -> Result<(), Fault> {
    vault.obey(&statement(vault, order, keys)).map(|_| ())
}

#[test]
fn t10_a_pardon_by_both_lets_a_person_enrol_again_and_by_one_does_not() {
    let (auditor, operator) = (key("auditor", 1), key("operator", 2));
    let signers = Some(signers(&auditor, &operator));
    let policy = Policy { attempts_max: 2, lifetime_max: 2, signers, ..Policy::development() };
    let (vault, clock) = vault_with(policy);
    let ada = Person::new("ada");
    ada.enrol(&vault, "one", b"secret");
    for _ in 0..2 {
        ada.start(&vault, "wrong").unwrap();
    }
    let enrols = || ada.start_enrolment(&vault, "two", b"secret").map(|it| ada.ask(&vault, &it.request()).unwrap());
    let used = |told: Result<Reply, Refusal>| {
        matches!(told, Err(Refusal::LifetimeUsed) | Ok(Reply::Refused(Refusal::LifetimeUsed)))
    };
    assert!(used(enrols()));
    let stranger = key("operator", 9);
    let pardon = |pardoned| Order::Pardon { account: ada.0, pardoned };
    let refused = obeyed(&vault, pardon(2), [&auditor, &stranger]).unwrap_err();
    assert!(matches!(refused, Fault::Key(_)), "{refused}");
    assert!(matches!(obeyed(&vault, pardon(2), [&auditor, &auditor]), Err(Fault::Key(_))));
    let note = statement(&vault, pardon(2), [&auditor, &operator]);
    let text = String::from_utf8(note.write()).unwrap();
    let more = Note::read(text.replacen(" 2\n", " 3\n", 1).as_bytes()).unwrap();
    assert!(matches!(vault.obey(&more), Err(Fault::Key(_))), "altered");
    assert!(
        matches!(obeyed(&vault, pardon(2), [&auditor, &operator]), Err(Fault::Statement(_))),
        "nothing is owed yet"
    );
    clock.forward(vault.policy().destroy_after_s + 1);
    assert_eq!(vault.sweep().unwrap().destroyed, 1);
    assert!(used(enrols()), "destroyed, and owed");
    obeyed(&vault, pardon(2), [&auditor, &operator]).unwrap();
    obeyed(&vault, pardon(2), [&auditor, &operator]).unwrap();
    assert!(matches!(enrols(), Ok(Reply::Enrolled { .. })), "once more, however often it is said");
    for _ in 0..2 {
        ada.start(&vault, "wrong").unwrap();
    }
    assert!(used(enrols()), "a pardon names a value, and gives no more when it is replayed");
    let other = super::vault_with(vault.policy().clone()).0;
    assert!(
        matches!(vault.obey(&statement(&other, pardon(2), [&auditor, &operator])), Err(Fault::Key(_))),
        "another fleet's"
    );
}

#[test]
fn t10_a_restore_is_obeyed_once_and_nobody_is_where_there_are_no_signers() {
    let (auditor, operator) = (key("auditor", 1), key("operator", 2));
    let policy = Policy { signers: Some(signers(&auditor, &operator)), ..Policy::development() };
    let (vault, _) = vault_with(policy);
    let ada = Person::new("ada");
    ada.enrol(&vault, "one", b"secret");
    let both = [&auditor, &operator];
    obeyed(&vault, Order::Restore { number: 1 }, both).unwrap();
    assert!(matches!(obeyed(&vault, Order::Restore { number: 1 }, both), Err(Fault::Statement(_))), "replayed");
    assert_eq!(ada.start(&vault, "wrong").map(|it| it.remaining), Ok(0), "one attempt was left");
    let members = Order::Members { predecessor: [0; 32], members: Vec::new() };
    obeyed(&vault, members.clone(), [&auditor, &operator, &key("stranger", 3)]).unwrap();
    let text = Statement { fleet: *vault.fleet(), order: members.clone() }.note().unwrap();
    let mut next = [0; 32];
    vault.journal.look(&mut |state| next = *state.members().0).unwrap();
    assert_eq!(next, text.hash(), "whoever else signs it");
    assert!(matches!(obeyed(&vault, members, both), Err(Fault::Statement(_))), "it does not follow itself");
    let (nobody, _) = self::vault();
    assert!(matches!(obeyed(&nobody, Order::Restore { number: 1 }, both), Err(Fault::Policy(_))));
}

#[test]
fn v16_no_ticket_of_before_a_restore_is_good_after_it() {
    let (auditor, operator) = (key("auditor", 1), key("operator", 2));
    let policy = Policy { signers: Some(signers(&auditor, &operator)), ..Policy::development() };
    let (vault, _) = vault_with(policy);
    let (ada, eve) = (Person::new("ada"), Person::new("eve"));
    ada.enrol(&vault, "one", b"secret");
    let begun = || {
        let proof = ada.prove(ada.start(&vault, "one").unwrap(), "one").unwrap();
        (proof, eve.start_enrolment(&vault, "two", b"other").unwrap())
    };
    let (proof, finish) = begun();
    obeyed(&vault, Order::Restore { number: 1 }, [&auditor, &operator]).unwrap();
    assert_eq!(ada.finish(&vault, &proof).err(), Some(Refusal::TicketInvalid));
    let told = eve.ask(&vault, &finish.request());
    assert_eq!(told, Ok(Reply::Refused(Refusal::TicketInvalid)));
    let (proof, finish) = begun();
    assert_eq!(ada.finish(&vault, &proof).unwrap(), b"secret");
    assert_eq!(eve.ask(&vault, &finish.request()), Ok(Reply::Enrolled { generation: 1 }));
}

/// A bundle of a vault's fleet that names no other signers.
fn bundle(vault: &Vault, epoch: u32) -> Bundle {
    Bundle {
        namespace: "example.org/backup".to_owned(),
        fleet: *vault.fleet(),
        epoch,
        not_before_s: 0,
        not_after_s: 1,
        previous: [0; 32],
        artifact: [0; 32],
        evidence: [0; 32],
        next_auditor: None,
        next_operator: None,
    }
}

#[test]
fn t10_signers_turn_by_their_bundle() {
    let (auditor, operator, next) = (key("auditor", 1), key("operator", 2), key("auditor", 3));
    let policy = Policy { signers: Some(signers(&auditor, &operator)), ..Policy::development() };
    let (vault, _) = vault_with(policy);
    let bundle = Bundle { next_auditor: Some(next.verifying_key()), ..bundle(&vault, 2) };
    let mut note = bundle.signed(&auditor, &operator).unwrap();
    assert!(matches!(vault.follow_signers(&note), Err(Fault::Key(_))), "the new key has not signed");
    note.sign(&next);
    vault.follow_signers(&note).unwrap();
    assert_eq!(vault.signers(), Ok(signers(&next, &operator)));
    assert!(
        matches!(obeyed(&vault, Order::Restore { number: 1 }, [&auditor, &operator]), Err(Fault::Key(_))),
        "the old key"
    );
    obeyed(&vault, Order::Restore { number: 1 }, [&next, &operator]).unwrap();
    vault.follow_signers(&note).unwrap();
    assert_eq!(vault.signers(), Ok(signers(&next, &operator)), "said again it changes nothing");
    let older = bundle.signed(&auditor, &operator).unwrap();
    assert!(matches!(vault.follow_signers(&older), Err(Fault::Key(_))), "by those before alone");
}

#[test]
fn t3_a_vault_goes_back_to_no_key_by_an_older_bundle() {
    let auditor = key("auditor", 1);
    let [one, two, three, four] = [2, 3, 4, 5].map(|seed| key("operator", seed));
    let policy = Policy { signers: Some(signers(&auditor, &one)), ..Policy::development() };
    let (vault, _) = vault_with(policy);
    let turn = |epoch, from: &SigningKey, to: &SigningKey| {
        let named = Bundle { next_operator: Some(to.verifying_key()), ..bundle(&vault, epoch) };
        let mut note = named.signed(&auditor, from).unwrap();
        note.sign(to);
        note
    };
    let (first, second) = (turn(2, &one, &two), turn(4, &two, &three));
    vault.follow_signers(&first).unwrap();
    vault.follow_signers(&second).unwrap();
    let state = || {
        let mut state = Vec::new();
        vault.journal.look(&mut |it| state = it.encode()).unwrap();
        state
    };
    // Whoever has the operator's present key, and nothing of the auditor's, signs what both have signed before.
    let (before, mut again) = (state(), first.clone());
    again.sign(&three);
    let refused = vault.follow_signers(&again).unwrap_err();
    assert!(matches!(&refused, Fault::Key(why) if why.contains("epoch 2 is rolled back")), "{refused}");
    // Nor is what names none, or the last once more, anything to follow.
    for same in [&second, &bundle(&vault, 5).signed(&auditor, &three).unwrap()] {
        vault.follow_signers(same).unwrap();
    }
    assert_eq!(state(), before, "nothing has changed");
    obeyed(&vault, Order::Restore { number: 1 }, [&auditor, &three]).unwrap();
    assert!(matches!(obeyed(&vault, Order::Restore { number: 2 }, [&auditor, &two]), Err(Fault::Key(_))));
    // The next one of both is followed.
    vault.follow_signers(&turn(5, &three, &four)).unwrap();
    assert_eq!(vault.signers(), Ok(signers(&auditor, &four)));
}
