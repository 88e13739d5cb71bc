//! What a front-end can do to the bytes between: nothing comes of it but a failure, each with its name.

use super::*;
use crate::error::Refusal;
use crate::protocol::{KE2_LEN, R2_LEN, REPLY_LEN, Reply};

/// Offsets in an encoded [`Reply`]: version, status and kind come first.
const BODY: usize = 3;

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

#[test]
fn every_altered_bit_of_ke2_is_noticed() {
    let (mut oracle, terms) = (Oracle::new(20), Terms::development());
    enrol(&mut oracle, &terms, "4711");
    let recovery = Recovery::start(&terms, ACCOUNT, code("4711")).expect("started");
    let reply = oracle.answer(recovery.request());
    assert!(recovery.finish(&reply).is_ok(), "as it came");
    let (mut wrong, mut unreadable) = (0, 0);
    // Each bit of each byte, but one bit a byte in turn: 320 logins are enough to wait for.
    for (index, bit) in (BODY * 8..(BODY + KE2_LEN) * 8).step_by(8).enumerate() {
        match failure_of(recovery.finish(&flipped(&reply, bit + index % 8))) {
            Failure::WrongCode { remaining: 9 } => wrong += 1,
            Failure::UnexpectedReply => unreadable += 1,
            other => panic!("bit {}: {other}", bit + index % 8),
        }
    }
    assert_eq!(wrong + unreadable, KE2_LEN);
    assert!(wrong > 200 && unreadable > 10, "elements may fail to decode, the rest fails the proof");
    assert!(recovery.finish(&reply).is_ok(), "and the true answer is still good");
}

#[test]
fn a_reflected_element_is_refused() {
    let (mut oracle, terms) = (Oracle::new(21), Terms::development());
    enrol(&mut oracle, &terms, "4711");
    let recovery = Recovery::start(&terms, ACCOUNT, code("4711")).expect("started");
    let mut reply = oracle.answer(recovery.request());
    reply[BODY..BODY + 32].copy_from_slice(&recovery.request()[34..66]);
    assert_eq!(failure_of(recovery.finish(&reply)), Failure::UnexpectedReply);

    let enrolment = Enrolment::start(&terms, ACCOUNT, code("4711")).expect("started");
    let mut reply = oracle.answer(enrolment.request());
    reply[BODY..BODY + 32].copy_from_slice(&enrolment.request()[34..66]);
    assert_eq!(failure_of(enrolment.finish(&reply, &backup_key())), Failure::UnexpectedReply);
}

#[test]
fn an_altered_enrolment_answer_makes_a_record_that_the_vault_refuses() {
    let terms = Terms::development();
    for bit in (BODY * 8..(BODY + R2_LEN + 4 + 16) * 8).step_by(23) {
        let mut oracle = Oracle::new(22);
        let enrolment = Enrolment::start(&terms, ACCOUNT, code("4711")).expect("started");
        let reply = flipped(&oracle.answer(enrolment.request()), bit);
        let in_ticket = bit / 8 >= BODY + R2_LEN + 4;
        match enrolment.finish(&reply, &backup_key()) {
            Err(failure) => assert_eq!(failure, Failure::UnexpectedReply, "bit {bit}"),
            Ok(_) if in_ticket => {} // opaque to the client: the vault's to refuse
            Ok(pending) => {
                let reply = oracle.answer(pending.request());
                assert_eq!(pending.done(&reply), Err(Failure::Refused(Refusal::WrongTranscript)), "bit {bit}");
            }
        }
        assert!(oracle.stored.is_none());
    }
}

#[test]
fn the_preset_is_not_for_the_other_side_to_choose() {
    let mut terms = Terms::default();
    (terms.preset, terms.minimum, terms.maximum) = (Preset::Medium, Preset::Medium, Preset::Medium);
    let mut oracle = Oracle::new(23);
    enrol(&mut oracle, &terms, "4711");
    let recovery = Recovery::start(&terms, ACCOUNT, code("4711")).expect("started");
    let reply = oracle.answer(recovery.request());
    let with = |preset| {
        let mut reply = reply.clone();
        reply[BODY + KE2_LEN] = preset;
        failure_of(recovery.finish(&reply))
    };
    let (minimum, maximum) = (Preset::Medium, Preset::Medium);
    assert_eq!(with(0), Failure::DevelopmentRefused);
    assert_eq!(with(1), Failure::PresetTooWeak { offered: Preset::Light, minimum });
    assert_eq!(with(3), Failure::PresetTooHeavy { offered: Preset::Heavy, maximum });
    for unknown in [4, 5, 99, 255] {
        assert_eq!(with(unknown), Failure::UnknownPreset(unknown));
    }
    assert!(recovery.finish(&reply).is_ok());

    // Within the bounds, an altered preset makes the code look wrong, and no more.
    terms.minimum = Preset::Light;
    let recovery = Recovery::start(&terms, ACCOUNT, code("4711")).expect("started");
    let mut reply = oracle.answer(recovery.request());
    reply[BODY + KE2_LEN] = Preset::Light.byte();
    assert_eq!(failure_of(recovery.finish(&reply)), Failure::WrongCode { remaining: 8 });
}

#[test]
fn no_stretching_is_for_development_alone() {
    let mut oracle = Oracle::new(24);
    enrol(&mut oracle, &Terms::development(), "4711");
    // A minimum of nothing is not enough: the client must be told.
    let mut terms = Terms { minimum: Preset::Development, ..Terms::default() };
    assert_eq!(failure_of(recover(&mut oracle, &terms, "4711")), Failure::DevelopmentRefused);
    terms.preset = Preset::Development;
    assert_eq!(failure_of(Enrolment::start(&terms, ACCOUNT, code("4711"))), Failure::DevelopmentRefused);
    terms.development = true;
    assert!(recover(&mut oracle, &terms, "4711").is_ok());
    terms.minimum = Preset::Light; // told, but holding to a minimum all the same
    let refused = Failure::PresetTooWeak { offered: Preset::Development, minimum: Preset::Light };
    assert_eq!(failure_of(recover(&mut oracle, &terms, "4711")), refused);
}

#[test]
fn terms_that_no_vault_meets_are_told_at_once() {
    let mut terms = Terms { context: vec![0; crate::limits::CONTEXT_MAX], ..Terms::development() };
    assert!(Recovery::start(&terms, ACCOUNT, code("4711")).is_ok());
    terms.context.push(0);
    assert!(matches!(failure_of(Recovery::start(&terms, ACCOUNT, code("4711"))), Failure::Terms(_)));
    let mut terms = Terms::default();
    (terms.minimum, terms.maximum) = (Preset::Medium, Preset::Light);
    assert!(matches!(failure_of(Enrolment::start(&terms, ACCOUNT, code("4711"))), Failure::Terms(_)));
    (terms.minimum, terms.maximum) = (Preset::Medium, Preset::Heavy);
    let refused = Failure::PresetTooWeak { offered: Preset::Light, minimum: Preset::Medium };
    assert_eq!(failure_of(Enrolment::start(&terms, ACCOUNT, code("4711"))), refused);
}

#[test]
fn another_fleet_is_not_trusted() {
    let (mut oracle, mut terms) = (Oracle::new(25), Terms::development());
    terms.expected_server_keys = vec![Oracle::new(27).server_key(), oracle.server_key()];
    enrol(&mut oracle, &terms, "4711");
    assert!(recover(&mut oracle, &terms, "4711").is_ok());

    terms.expected_server_keys = vec![Oracle::new(26).server_key()];
    assert_eq!(failure_of(recover(&mut oracle, &terms, "4711")), Failure::FleetNotTrusted);
    assert_eq!(failure_of(recover(&mut oracle, &terms, "4712")), Failure::WrongCode { remaining: 7 });
    let enrolment = Enrolment::start(&terms, ACCOUNT, code("4711")).expect("started");
    let reply = oracle.answer(enrolment.request());
    assert_eq!(failure_of(enrolment.finish(&reply, &backup_key())), Failure::FleetNotTrusted);

    // A fleet that swaps its key after the enrolment cannot finish a login of the old record.
    let mut other = Oracle::new(26);
    other.stored = oracle.stored.take();
    terms.expected_server_keys = Vec::new();
    assert_eq!(failure_of(recover(&mut other, &terms, "4711")), Failure::WrongCode { remaining: 9 });
}

#[test]
fn an_answer_for_another_account_is_a_wrong_code() {
    let (mut oracle, terms) = (Oracle::new(27), Terms::development());
    enrol(&mut oracle, &terms, "4711");
    let recovery = Recovery::start(&terms, AccountId([8; 32]), code("4711")).expect("started");
    // The front-end puts the account that is enrolled into a request for one that is not.
    let mut request = recovery.request().to_vec();
    request[2..34].copy_from_slice(&ACCOUNT.0);
    let reply = oracle.answer(&request);
    assert_eq!(failure_of(recovery.finish(&reply)), Failure::WrongCode { remaining: 9 });
}

#[test]
fn an_altered_delivery_does_not_open() {
    let (mut oracle, terms) = (Oracle::new(28), Terms::development());
    enrol(&mut oracle, &terms, "4711");
    let recovery = Recovery::start(&terms, ACCOUNT, code("4711")).expect("started");
    let pending = recovery.finish(&oracle.answer(recovery.request())).expect("proven");
    let reply = oracle.answer(pending.request());
    for bit in (BODY * 8..(BODY + crate::protocol::DELIVERY_LEN) * 8).step_by(7) {
        assert_eq!(failure_of(pending.open(&flipped(&reply, bit))), Failure::DeliveryDamaged, "bit {bit}");
    }
    assert!(pending.open(&reply).is_ok(), "and the true one is still good");

    let again = recover_pending(&mut oracle, &terms);
    assert_eq!(failure_of(again.open(&reply)), Failure::DeliveryDamaged, "an older delivery is under another key");
}

fn recover_pending(oracle: &mut Oracle, terms: &Terms) -> PendingRecovery {
    let recovery = Recovery::start(terms, ACCOUNT, code("4711")).expect("started");
    recovery.finish(&oracle.answer(recovery.request())).expect("proven")
}

#[test]
fn a_damaged_secret_in_a_good_delivery_is_named() {
    let (mut oracle, terms) = (Oracle::new(29), Terms::development());
    enrol(&mut oracle, &terms, "4711");
    oracle.stored.as_mut().expect("stored").secret[40] ^= 1;
    assert_eq!(failure_of(recover(&mut oracle, &terms, "4711")), Failure::SecretDamaged);
    oracle.stored.as_mut().expect("stored").secret[0] = 2;
    assert_eq!(failure_of(recover(&mut oracle, &terms, "4711")), Failure::SecretFormat(2));
}

#[test]
fn replies_of_another_kind_and_refusals_are_told_apart() {
    let (mut oracle, terms) = (Oracle::new(30), Terms::development());
    enrol(&mut oracle, &terms, "4711");
    let started = || Enrolment::start(&terms, ACCOUNT, code("4711")).expect("started");
    let enrolment = started();
    let reply = oracle.answer(enrolment.request());
    let enrolling = enrolment.finish(&reply, &backup_key()).expect("finished");
    let recovery = Recovery::start(&terms, ACCOUNT, code("4711")).expect("started");
    let reply = oracle.answer(recovery.request());
    let recovering = recovery.finish(&reply).expect("proven");
    let removing = recovery.remove(&reply).expect("proven");

    let expects = |reply: &[u8]| {
        [
            started().finish(reply, &backup_key()).err(),
            enrolling.done(reply).err(),
            recovery.finish(reply).err(),
            recovery.remove(reply).err(),
            recovering.open(reply).err(),
            removing.done(reply).err(),
            remaining(reply).err(),
        ]
    };
    for refusal in Refusal::all() {
        let told = expects(&Reply::Refused(refusal).encode());
        assert!(told.iter().all(|failure| *failure == Some(Failure::Refused(refusal))), "{refusal}");
    }
    let unexpected = Some(Failure::UnexpectedReply);
    for bytes in [&[][..], &[0; REPLY_LEN], &[0xff; REPLY_LEN], &reply[1..], &[&reply[..], &[0]].concat()] {
        assert!(expects(bytes).iter().all(|failure| *failure == unexpected));
    }
    let kinds = [
        (oracle.answer(started().request()), vec![0]),
        (Reply::Enrolled { generation: 1 }.encode(), vec![1]),
        (reply.clone(), vec![2, 3]),
        (oracle.answer(recovering.request()), vec![4]),
        (Reply::Removed.encode(), vec![5]),
        (Reply::Remaining { attempts: 3 }.encode(), vec![6]),
    ];
    for (kind, (bytes, takers)) in kinds.iter().enumerate() {
        for (step, failure) in expects(bytes).iter().enumerate() {
            match takers.contains(&step) {
                // An answer to another enrolment parses; whether it is the right one is the vault's to see.
                true => assert_eq!(*failure, None, "kind {kind} at step {step}"),
                false => assert_eq!(*failure, unexpected, "kind {kind} at step {step}"),
            }
        }
    }
}

#[test]
fn only_the_bytes_of_a_finish_are_resumed() {
    let (mut oracle, terms) = (Oracle::new(31), Terms::development());
    let finish = enrol(&mut oracle, &terms, "4711");
    assert!(PendingEnrolment::resume(&finish).is_ok());
    let recovery = Recovery::start(&terms, ACCOUNT, code("4711")).expect("started");
    for bytes in [&[][..], &finish[1..], recovery.request()] {
        assert_eq!(failure_of(PendingEnrolment::resume(bytes)), Failure::NotAnEnrolment);
    }
}
