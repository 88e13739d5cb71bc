//! Enrolling, recovering and counting, from the door.

use super::person::{PRESET, Person};
use super::{NOW_S, vault, vault_with};
use crate::engine::sha512::HmacKey;
use crate::error::Refusal;
use crate::ledger::Policy;
use crate::opaque::Ke1;
use crate::protocol::{Reply, Request};
use crate::vault::{Admitted, DigestKeys, Granted};

/// The generator of ristretto255 (RFC 9496 appendix A.1): an element as good as any.
const GENERATOR: [u8; 32] = [
    0xe2, 0xf2, 0xae, 0x0a, 0x6a, 0xbc, 0x4e, 0x71, 0xa8, 0x84, 0xa9, 0x61, 0xc5, 0x00, 0x51, 0x5f, 0x58, 0xe3, 0x0b,
    0x6a, 0xa5, 0x82, 0xdd, 0x8d, 0xb6, 0xa6, 0x59, 0x45, 0xe0, 0x8d, 0x2d, 0x76,
];

#[test]
fn a_person_enrols_and_recovers() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    assert_eq!(ada.enrol(&vault, "code", b"wrapped"), 1);
    let answered = ada.start(&vault, "code").unwrap();
    assert_eq!((answered.preset, answered.remaining), (PRESET, 9));
    let proof = ada.prove(answered, "code").unwrap();
    assert_eq!(ada.finish(&vault, &proof).unwrap(), b"wrapped");
    assert_eq!(ada.remaining(&vault), 10);
}

#[test]
fn ten_wrong_codes_are_evaluated_and_no_more() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    ada.enrol(&vault, "code", b"wrapped");
    for left in (0..10).rev() {
        let answered = ada.start(&vault, "wrong").unwrap();
        assert_eq!(answered.remaining, left);
        assert!(ada.prove(answered, "wrong").is_none());
    }
    assert_eq!(ada.start(&vault, "code").err(), Some(Refusal::Exhausted));
    assert_eq!(ada.remaining(&vault), 0);
}

#[test]
fn l9_a_repeated_ke1_costs_nothing_even_in_a_full_window() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    ada.enrol(&vault, "code", b"wrapped");
    let (state, ke1) = ada.ke1("code");
    let first = ada.send_ke1(&vault, state.clone(), &ke1).unwrap();
    let second = ada.send_ke1(&vault, state.clone(), &ke1).unwrap();
    assert_eq!((first.remaining, second.remaining), (9, 9));
    assert_ne!(first.ke2, second.ke2, "fresh randomness each time");
    for _ in 0..9 {
        ada.start(&vault, "wrong").unwrap();
    }
    assert_eq!(ada.start(&vault, "code").err(), Some(Refusal::Exhausted));
    let retried = ada.send_ke1(&vault, state, &ke1).unwrap();
    assert_eq!(retried.remaining, 0);
    for answered in [first, second, retried] {
        let proof = ada.prove(answered, "code").unwrap();
        assert_eq!(ada.finish(&vault, &proof).unwrap(), b"wrapped", "each of the three answers is good");
    }
    assert_eq!(ada.remaining(&vault), 1, "it was the first of ten, and clears no later one");
}

#[test]
fn l9_a_ke1_twice_in_one_batch_is_charged_once() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    ada.enrol(&vault, "code", b"wrapped");
    let (_, ke1) = ada.ke1("code");
    let request = Request::RecoverStart { ke1: &ke1 }.encode(&ada.0).unwrap();
    let answers = vault.process(&[Admitted { account: ada.0, request: &request }; 5]);
    for answer in answers {
        assert!(matches!(answer, Ok(Reply::RecoverStarted { remaining: 9, .. })));
    }
    assert_eq!(ada.remaining(&vault), 9);
}

#[test]
fn l9_an_old_ke1_is_charged_again_after_an_enrolment() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    ada.enrol(&vault, "code", b"first");
    let (state, ke1) = ada.ke1("code");
    ada.send_ke1(&vault, state.clone(), &ke1).unwrap();
    ada.enrol(&vault, "code", b"second");
    assert_eq!(ada.remaining(&vault), 10);
    assert_eq!(ada.send_ke1(&vault, state, &ke1).unwrap().remaining, 9);
}

#[test]
fn l4_a_finish_is_answered_again_and_clears_once() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    ada.enrol(&vault, "code", b"wrapped");
    let proof = ada.prove(ada.start(&vault, "code").unwrap(), "code").unwrap();
    assert_eq!(ada.finish(&vault, &proof).unwrap(), b"wrapped");
    ada.start(&vault, "wrong").unwrap();
    assert_eq!(ada.finish(&vault, &proof).unwrap(), b"wrapped", "a lost reply is answered again");
    assert_eq!(ada.remaining(&vault), 9, "and clears nothing that came later");
}

#[test]
fn l6_a_repeated_finish_is_done_again_and_outlives_its_ticket() {
    let (vault, clock) = vault();
    let ada = Person::new("ada");
    let finish = ada.start_enrolment(&vault, "code", b"wrapped").unwrap();
    for _ in 0..2 {
        assert_eq!(ada.ask(&vault, &finish.request()), Ok(Reply::Enrolled { generation: 1 }));
    }
    ada.start(&vault, "wrong").unwrap();
    clock.forward(10 * vault.policy().enrolment_ttl_s);
    vault.sweep().unwrap();
    assert_eq!(ada.ask(&vault, &finish.request()), Ok(Reply::Enrolled { generation: 1 }));
    assert_eq!(ada.remaining(&vault), 9, "repetition changes nothing");
    ada.enrol(&vault, "other", b"other");
    assert!(matches!(ada.ask(&vault, &finish.request()), Ok(Reply::Refused(_))), "its record is replaced");
}

#[test]
fn l6_a_ticket_enrols_once_and_a_held_back_finish_fails_after_a_removal() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    let held = ada.start_enrolment(&vault, "theirs", b"theirs").unwrap();
    ada.enrol(&vault, "code", b"wrapped");
    assert_eq!(ada.ask(&vault, &held.request()), Ok(Reply::Refused(Refusal::Stale)));
    let held = ada.start_enrolment(&vault, "theirs", b"theirs").unwrap();
    let proof = ada.prove(ada.start(&vault, "code").unwrap(), "code").unwrap();
    let removal = Request::Remove { ticket: &proof.ticket, ke3: &proof.ke3 };
    assert_eq!(ada.ask(&vault, &removal), Ok(Reply::Removed));
    assert_eq!(ada.ask(&vault, &held.request()), Ok(Reply::Refused(Refusal::Stale)));
    assert_eq!(ada.ask(&vault, &removal), Ok(Reply::Refused(Refusal::NoRecord)));
    assert_eq!(ada.recover(&vault, "code"), Err(Refusal::WrongProof), "a removed account is a fake");
}

#[test]
fn l7_the_same_r1_meets_another_key_each_time() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    let mut seen = Vec::new();
    for round in 0..6 {
        // Before the first record, with one, and after the next: never a key that was there before.
        for _ in 0..2 {
            let Ok(Reply::EnrolStarted { r2, .. }) = ada.ask(&vault, &Request::EnrolStart { r1: &GENERATOR }) else {
                panic!("an enrolment begins")
            };
            seen.push(r2[..32].to_vec());
        }
        if round % 2 == 1 {
            ada.enrol(&vault, "code", b"wrapped");
        }
    }
    // The live record's key, twice over: the same element under it gives the same answer.
    let evaluated = || {
        let mut ke1 = ada.ke1("code").1;
        ke1[..32].copy_from_slice(&GENERATOR);
        let Ok(Reply::RecoverStarted { ke2, .. }) = ada.ask(&vault, &Request::RecoverStart { ke1: &ke1 }) else {
            panic!("a recovery begins")
        };
        ke2[..32].to_vec()
    };
    assert_eq!(evaluated(), evaluated(), "the control: one key is seen to be one");
    seen.push(evaluated());
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "two answers to one element are under one key");
}

#[test]
fn l9_a_ke1_is_recognised_by_macs_over_its_account_and_itself() {
    use crate::account::AccountId;
    use crate::ledger::{Command, Digests, KeyedDigest};
    use hmac::{Hmac, KeyInit, Mac};

    let mac = |key: u8, account: &AccountId, ke1: &[u8; 96]| {
        let mac = Hmac::<sha2::Sha512>::new_from_slice(&[key; 64]).unwrap().chain_update(account.0).chain_update(ke1);
        mac.finalize().into_bytes()[..16].try_into().unwrap()
    };
    let keyed = |number: u8| (u16::from(number), HmacKey::new(&[number; 64]));
    // More than lanes hold, so that some are done in a full vector and some are left over.
    let asked: Vec<_> = (0..11).map(|number| (AccountId([number; 32]), [number ^ 0x55; 96])).collect();
    let asked: Vec<_> = asked.iter().map(|(account, ke1)| (*account, ke1)).collect();
    for (keys, rotates) in [(DigestKeys::new(keyed(2), None), false), (DigestKeys::new(keyed(2), Some(keyed(1))), true)]
    {
        let recognised = keys.recognise(&asked);
        assert_eq!(recognised.len(), asked.len());
        for (recognised, (account, ke1)) in recognised.iter().zip(&asked) {
            let under = |number: u8| KeyedDigest { key_number: number.into(), digest: mac(number, account, ke1) };
            let digests = Digests { current: under(2), previous: rotates.then(|| under(1)) };
            assert_eq!(recognised.charge(), Command::Charge { account: *account, digests });
        }
    }
}

#[test]
fn l10_a_receipt_is_spent_on_its_own_ke1_only() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    ada.enrol(&vault, "code", b"wrapped");
    let (_, charged) = ada.ke1("code");
    let (_, other) = ada.ke1("guess");
    let recognised = |ke1: &[u8; 96]| vault.ring().digests.recognise(&[(ada.0, ke1)]).remove(0);
    let commit = |ke1: &[u8; 96]| vault.journal.commit(NOW_S, vec![recognised(ke1).charge()]).unwrap().remove(0);
    let refused = Granted::charged(commit(&charged), &recognised(&other), false).err();
    assert_eq!(refused, Some(Refusal::Stale), "a charge is no receipt for another KE1");
    let spend = |ke1: &[u8; 96]| {
        let receipt = Granted::charged(commit(&charged), &recognised(&charged), false).unwrap();
        let ke1 = Ke1::parse(&[&ke1[..]]).remove(0).ok().unwrap();
        vault.ring().evaluator.recover(&*vault.journal, vec![(receipt, ke1)]).remove(0)
    };
    assert_eq!(spend(&other), Ok(Reply::Refused(Refusal::Stale)));
    assert!(matches!(spend(&charged), Ok(Reply::RecoverStarted { remaining: 9, .. })), "the control");
}

#[test]
fn l8_only_a_sweep_destroys_and_only_in_time() {
    let (vault, clock) = vault();
    let ada = Person::new("ada");
    ada.enrol(&vault, "code", b"wrapped");
    let mut answered: Vec<_> = (0..10).map(|_| ada.start(&vault, "code").unwrap()).collect();
    let proof = ada.prove(answered.remove(9), "code").unwrap();
    clock.forward(vault.policy().destroy_after_s - 1);
    assert_eq!(vault.sweep().unwrap().destroyed, 0);
    clock.forward(1);
    assert_eq!(vault.sweep().unwrap().destroyed, 1);
    assert_eq!(vault.sweep().unwrap().destroyed, 0);
    assert_eq!(ada.finish(&vault, &proof), Err(Refusal::Stale), "a clear that comes after the sweep");
    assert_eq!(ada.start(&vault, "code").err(), Some(Refusal::Exhausted));
    assert_eq!(ada.enrol(&vault, "new", b"new"), 2, "enrolling is still possible");
    assert_eq!(ada.recover(&vault, "new").unwrap(), b"new");
}

#[test]
fn l8_a_ticket_of_a_full_window_ends_with_the_record() {
    let policy = Policy { login_ttl_s: 500, destroy_after_s: 500, ..Policy::development() };
    let (vault, clock) = vault_with(policy);
    let ada = Person::new("ada");
    ada.enrol(&vault, "code", b"wrapped");
    let (state, ke1) = ada.ke1("code");
    ada.send_ke1(&vault, state.clone(), &ke1).unwrap();
    for _ in 0..9 {
        ada.start(&vault, "wrong").unwrap();
    }
    clock.forward(400);
    vault.sweep().unwrap();
    // Retried late: its ticket would be good for 500 s more, but the record will be destroyed in 100 s.
    let proof = ada.prove(ada.send_ke1(&vault, state, &ke1).unwrap(), "code").unwrap();
    clock.forward(101);
    assert_eq!(vault.sweep().unwrap().destroyed, 1);
    assert_eq!(ada.finish(&vault, &proof), Err(Refusal::Stale));
}

#[test]
fn a_charge_and_an_enrolment_in_one_batch_evaluate_no_replaced_record() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    ada.enrol(&vault, "code", b"first");
    let finish = ada.start_enrolment(&vault, "other", b"second").unwrap();
    let (_, ke1) = ada.ke1("code");
    let requests =
        [Request::RecoverStart { ke1: &ke1 }.encode(&ada.0).unwrap(), finish.request().encode(&ada.0).unwrap()];
    let batch: Vec<_> = requests.iter().map(|request| Admitted { account: ada.0, request }).collect();
    let answers = vault.process(&batch);
    assert_eq!(answers[0], Ok(Reply::Refused(Refusal::Busy)), "charged to a record that is gone (L10)");
    assert_eq!(answers[1], Ok(Reply::Enrolled { generation: 2 }));
    let mut owed = 0;
    vault.read(&mut |state| owed = state.account(&ada.0).unwrap().owed()).unwrap();
    assert_eq!(owed, 1, "the charge counts against the lifetime");
}

#[test]
fn a_budget_is_not_laundered_by_enrolling_and_succeeding() {
    let (vault, _) = vault();
    let ada = Person::new("ada");
    let mut guesses = 0;
    let refusal = loop {
        // The front-end puts the person's record in place (they enrol the same code again), then guesses ten times,
        // then enrols a record of its own and succeeds with it.
        match ada.start_enrolment(&vault, "code", b"wrapped") {
            Ok(finish) => assert!(matches!(ada.ask(&vault, &finish.request()), Ok(Reply::Enrolled { .. }))),
            Err(refusal) => break refusal,
        }
        while ada.start(&vault, "guess").is_ok() {
            guesses += 1;
        }
        if let Ok(finish) = ada.start_enrolment(&vault, "own", b"own") {
            assert!(matches!(ada.ask(&vault, &finish.request()), Ok(Reply::Enrolled { .. })));
            assert_eq!(ada.recover(&vault, "own").unwrap(), b"own");
        }
    };
    assert_eq!(refusal, Refusal::LifetimeUsed);
    assert_eq!(guesses, vault.policy().lifetime_max, "never more than a lifetime's");
}

#[test]
fn l11_an_unknown_account_is_asked_counted_and_exhausted_like_any_other() {
    let (vault, clock) = vault();
    let nobody = Person::new("nobody");
    assert_eq!(nobody.remaining(&vault), 10);
    for left in (0..10).rev() {
        let answered = nobody.start(&vault, "code").unwrap();
        assert_eq!(answered.remaining, left);
        assert_eq!(answered.preset, vault.policy().default_preset);
        assert!(nobody.prove(answered, "code").is_none());
    }
    assert_eq!(nobody.start(&vault, "code").err(), Some(Refusal::Exhausted));
    clock.forward(crate::limits::UNKNOWN_KEEP_S);
    assert_eq!(vault.sweep().unwrap().forgotten, 1);
    assert_eq!(nobody.remaining(&vault), 10);
}

#[test]
fn l11_a_flood_of_strangers_does_not_outgrow_its_bound() {
    let (vault, clock) = vault_with(Policy { unknown_max: 20, ..Policy::development() });
    let (_, ke1) = Person::new("anyone").ke1("code");
    let mut most = 0;
    for wave in 0..8 {
        clock.forward(1);
        let people: Vec<_> = (0..40).map(|number| Person::new(&format!("{wave}.{number}"))).collect();
        let request = Request::RecoverStart { ke1: &ke1 };
        let requests: Vec<_> = people.iter().map(|person| request.encode(&person.0).unwrap()).collect();
        let batch = people.iter().zip(&requests).map(|(person, request)| Admitted { account: person.0, request });
        let answers = vault.process(&batch.collect::<Vec<_>>());
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Reply::RecoverStarted { .. }))));
        vault.read(&mut |state| most = most.max(state.unknown_len())).unwrap();
    }
    assert!(most > 20 && most <= 60, "{most} are remembered, where 20 may be and 40 come at once");
}

#[test]
fn concealed_exhaustion_answers_like_an_unknown_account() {
    let (vault, _) = vault_with(Policy { conceal_exhausted: true, ..Policy::development() });
    let ada = Person::new("ada");
    ada.enrol(&vault, "code", b"wrapped");
    for _ in 0..10 {
        ada.start(&vault, "wrong").unwrap();
    }
    let answered = ada.start(&vault, "code").unwrap();
    assert_eq!(answered.remaining, 10, "a fixed number, whatever is left");
    assert_eq!(answered.preset, vault.policy().default_preset);
    let (ticket, ke3) = (answered.ticket.clone(), [1; 64]);
    assert!(ada.prove(answered, "code").is_none(), "the right code opens nothing");
    assert_eq!(
        ada.ask(&vault, &Request::RecoverFinish { ticket: &ticket, ke3: &ke3 }),
        Ok(Reply::Refused(Refusal::WrongProof))
    );
    assert_eq!(ada.remaining(&vault), 10);
    assert_eq!(Person::new("nobody").start(&vault, "code").unwrap().remaining, 10);
}

#[test]
fn v6_neighbours_do_not_harm_each_other() {
    let (vault, _) = vault();
    let people: Vec<_> = (0..17).map(|number| Person::new(&format!("person {number}"))).collect();
    for person in &people {
        person.enrol(&vault, "code", person.0.as_bytes());
    }
    for bad in 0..people.len() {
        let logins: Vec<_> = people.iter().map(|person| person.ke1("code")).collect();
        let mut requests: Vec<_> = people
            .iter()
            .zip(&logins)
            .map(|(person, (_, ke1))| Request::RecoverStart { ke1 }.encode(&person.0).unwrap())
            .collect();
        requests[bad][34..66].fill(0xff);
        let batch: Vec<_> =
            people.iter().zip(&requests).map(|(person, request)| Admitted { account: person.0, request }).collect();
        let answers = vault.process(&batch);
        for (index, ((person, (state, _)), answer)) in people.iter().zip(logins).zip(answers).enumerate() {
            match answer.unwrap() {
                Reply::RecoverStarted { ke2, preset, remaining, ticket } => {
                    assert_ne!(index, bad);
                    let answered = super::person::Answered { state, ke2, preset, remaining, ticket };
                    let proof = person.prove(answered, "code").unwrap();
                    assert_eq!(person.finish(&vault, &proof).unwrap(), person.0.as_bytes());
                }
                Reply::Refused(refusal) => assert_eq!((index, refusal), (bad, Refusal::Malformed)),
                other => panic!("not what was asked: {other:?}"),
            }
        }
        assert_eq!(people[bad].remaining(&vault), 10, "malformed costs nothing (V3)");
    }
}
