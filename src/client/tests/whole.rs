//! Whole exchanges that nobody disturbs.

use super::oracle::Counted;
use super::*;
use crate::error::Refusal;
use crate::protocol::{REQUEST_LEN, Request};

#[test]
fn what_is_enrolled_is_recovered() {
    let (mut oracle, terms) = (Oracle::new(1), Terms::development());
    enrol(&mut oracle, &terms, "4711");
    assert_eq!(recover(&mut oracle, &terms, " 4711\n").expect("recovered").expose(), backup_key().expose());
    let stored = oracle.stored.as_ref().expect("stored");
    assert_eq!(stored.secret.len(), WRAPPED_LEN);
    assert!(!stored.secret.windows(8).any(|window| window == [0x42; 8]), "the vault never sees the backup key");
}

#[test]
fn presets_travel_with_the_record() {
    for preset in [Preset::Light, Preset::Medium] {
        let mut terms = Terms::default();
        (terms.preset, terms.minimum) = (preset, preset);
        let mut oracle = Oracle::new(2);
        enrol(&mut oracle, &terms, "4711");
        assert_eq!(oracle.stored.as_ref().expect("stored").preset, preset.byte());
        // The one who recovers would enrol with another preset: the record's is what counts.
        assert!(recover(&mut oracle, &Terms::default(), "4711").is_ok());
        assert_eq!(failure_of(recover(&mut oracle, &terms, "4712")), Failure::WrongCode { remaining: 8 });
    }
}

#[test]
fn context_and_identity_are_those_of_the_terms() {
    let mut terms = Terms::development();
    terms.context = b"another house".to_vec();
    terms.client_identity = false;
    let mut oracle = Oracle::new(3);
    (oracle.context, oracle.identity) = (terms.context.clone(), false);
    enrol(&mut oracle, &terms, "4711");
    assert!(recover(&mut oracle, &terms, "4711").is_ok());

    let mut other = terms.clone();
    other.context = b"strongroom-1".to_vec();
    assert_eq!(failure_of(recover(&mut oracle, &other, "4711")), Failure::WrongCode { remaining: 8 });
    let mut other = terms.clone();
    other.client_identity = true;
    assert_eq!(failure_of(recover(&mut oracle, &other, "4711")), Failure::WrongCode { remaining: 7 });
}

#[test]
fn wrong_codes_are_told_with_what_remains() {
    let (mut oracle, terms) = (Oracle::new(4), Terms::development());
    enrol(&mut oracle, &terms, "4711");
    for remaining in (0..10).rev() {
        assert_eq!(failure_of(recover(&mut oracle, &terms, "4712")), Failure::WrongCode { remaining });
    }
    assert_eq!(failure_of(recover(&mut oracle, &terms, "4711")), Failure::Refused(Refusal::Exhausted));
    let reply = oracle.answer(&remaining_request(&ACCOUNT).expect("a request"));
    assert_eq!(remaining(&reply), Ok(0));
}

#[test]
fn no_record_looks_like_a_wrong_code() {
    let (mut oracle, terms) = (Oracle::new(5), Terms::development());
    assert_eq!(failure_of(recover(&mut oracle, &terms, "4711")), Failure::WrongCode { remaining: 9 });
}

#[test]
fn repeating_costs_nothing_and_ends_the_same() {
    let (mut oracle, terms) = (Oracle::new(6), Terms::development());
    let enrolment = Enrolment::start(&terms, ACCOUNT, code("4711")).expect("started");
    let _lost = oracle.answer(enrolment.request());
    let reply = oracle.answer(enrolment.request());
    let pending = enrolment.finish(&reply, &backup_key()).expect("finished");
    let sent = pending.request().to_vec();
    let _lost = oracle.answer(pending.request());
    assert_eq!(pending.done(&oracle.answer(pending.request())), Ok(1));
    assert_eq!(pending.request(), sent);

    let resumed = PendingEnrolment::resume(&sent).expect("the kept bytes"); // the app was killed in between
    assert_eq!(resumed.request(), sent);
    assert_eq!(resumed.done(&oracle.answer(resumed.request())), Ok(1));

    let recovery = Recovery::start(&terms, ACCOUNT, code("4711")).expect("started");
    let sent = recovery.request().to_vec();
    let first = oracle.answer(recovery.request());
    let second = oracle.answer(recovery.request());
    assert_ne!(first, second, "the vault answers anew");
    assert_eq!((oracle.remaining, recovery.request()), (9, &sent[..]));
    assert!(recovery.finish(&first).is_ok(), "each answer is good by itself");
    let pending = recovery.finish(&second).expect("the second login is the live one");
    let sent = pending.request().to_vec();
    let _lost = oracle.answer(pending.request());
    let opened = pending.open(&oracle.answer(pending.request())).expect("opened");
    assert_eq!(opened.expose(), backup_key().expose());
    assert_eq!((pending.request(), oracle.remaining), (&sent[..], 9));
}

#[test]
fn a_removal_is_proven_by_the_code() {
    let (mut oracle, terms) = (Oracle::new(7), Terms::development());
    enrol(&mut oracle, &terms, "4711");
    let recovery = Recovery::start(&terms, ACCOUNT, code("4712")).expect("started");
    let reply = oracle.answer(recovery.request());
    assert_eq!(failure_of(recovery.remove(&reply)), Failure::WrongCode { remaining: 9 });
    let recovery = Recovery::start(&terms, ACCOUNT, code("4711")).expect("started");
    let pending = recovery.remove(&oracle.answer(recovery.request())).expect("proven");
    assert!(matches!(Request::decode(pending.request()), Ok((ACCOUNT, Request::Remove { .. }))));
    assert_eq!(pending.done(&oracle.answer(pending.request())), Ok(()));
    assert!(oracle.stored.is_none());
    // Whoever lost that answer and repeats the request is told this, and reads from it that the first was done.
    let repeated = oracle.answer(pending.request());
    assert_eq!(pending.done(&repeated), Err(Failure::Refused(Refusal::NoRecord)));
    assert_eq!(failure_of(recover(&mut oracle, &terms, "4711")), Failure::WrongCode { remaining: 7 });
}

#[test]
fn a_removal_without_proof_names_its_generation() {
    let (mut oracle, terms) = (Oracle::new(8), Terms::development());
    enrol(&mut oracle, &terms, "4711");
    let mut ask = |generation| {
        let request = unproven_removal_request(&ACCOUNT, generation).expect("a request");
        removed(&oracle.answer(&request))
    };
    assert_eq!(ask(2), Err(Failure::Refused(Refusal::Stale)));
    assert_eq!(ask(1), Ok(()));
    assert_eq!(ask(1), Err(Failure::Refused(Refusal::NoRecord)));
}

#[test]
fn the_same_randomness_makes_the_same_bytes() {
    let run = |seed: u64| {
        let (mut oracle, terms, mut random) = (Oracle::new(9), Terms::development(), Counted(seed));
        let enrolment = Enrolment::start_with(&terms, ACCOUNT, code("4711"), &mut random).expect("started");
        let first = enrolment.request().to_vec();
        let reply = oracle.answer(&first);
        let pending = enrolment.finish_with(&reply, &backup_key(), &mut random).expect("finished");
        let recovery = Recovery::start_with(&terms, ACCOUNT, code("4711"), &mut random).expect("started");
        [first, pending.request().to_vec(), recovery.request().to_vec()]
    };
    assert_eq!(run(1), run(1));
    for (one, other) in run(1).iter().zip(run(2)) {
        assert_eq!(one.len(), REQUEST_LEN);
        assert_ne!(*one, other);
    }
    let fresh = || Recovery::start(&Terms::development(), ACCOUNT, code("4711")).expect("started").request().to_vec();
    assert_ne!(fresh(), fresh(), "a fresh login is another KE1");
}
