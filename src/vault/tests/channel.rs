//! The channel: requests and replies that nobody between client and vault can read, whatever comes of them.

use std::sync::Arc;

use super::person::Person;
use super::{vault, vault_with};
use crate::account::AccountId;
use crate::error::Refusal;
use crate::ledger::Policy;
use crate::protocol::{Reply, Request};
use crate::session::{ChannelKey, ChannelProblem, SEALED_REPLY_LEN, SEALED_REQUEST_LEN, SealedRequest};
use crate::vault::{Admitted, Gathering, Queue, Turn, Vault};

fn seal(key: &ChannelKey, account: &AccountId, request: &Request<'_>) -> SealedRequest {
    key.seal(request.encode(account).unwrap().as_slice().try_into().unwrap()).unwrap()
}

/// One sealed request and its reply, both of the one size.
fn ask(vault: &Vault, key: &ChannelKey, account: AccountId, request: &Request<'_>) -> Result<Reply, ChannelProblem> {
    let sealed = seal(key, &account, request);
    assert_eq!(sealed.bytes().len(), SEALED_REQUEST_LEN);
    let reply = vault.process_sealed(&[Admitted { account, request: sealed.bytes() }]).remove(0)?;
    assert_eq!(reply.len(), SEALED_REPLY_LEN, "an observer of sizes learns nothing");
    Ok(Reply::decode(sealed.open(&reply).unwrap().expose()).unwrap())
}

/// A login's first half, and what sends its second.
fn start(vault: &Vault, key: &ChannelKey, person: Person, code: &str) -> super::person::Answered {
    let (state, ke1) = person.ke1(code);
    match ask(vault, key, person.0, &Request::RecoverStart { ke1: &ke1 }) {
        Ok(Reply::RecoverStarted { ke2, preset, remaining, ticket }) => {
            super::person::Answered { state, ke2, preset, remaining, ticket }
        }
        other => panic!("not what was asked: {other:?}"),
    }
}

#[test]
fn every_outcome_has_one_size() {
    let (vault, _) = vault();
    let key = vault.channel_key().unwrap();
    let [ada, nobody] = ["ada", "nobody"].map(Person::new);
    ada.enrol(&vault, "one", b"secret");
    let finish = ada.start_enrolment(&vault, "two", b"another").unwrap();
    assert!(matches!(ask(&vault, &key, ada.0, &finish.request()), Ok(Reply::Enrolled { generation: 2 })));
    let r1: [u8; 32] = ada.ke1("any").1[..32].try_into().unwrap();
    assert!(matches!(ask(&vault, &key, ada.0, &Request::EnrolStart { r1: &r1 }), Ok(Reply::EnrolStarted { .. })));
    let proof = ada.prove(start(&vault, &key, ada, "two"), "two").unwrap();
    let finish = Request::RecoverFinish { ticket: &proof.ticket, ke3: &proof.ke3 };
    assert!(matches!(ask(&vault, &key, ada.0, &finish), Ok(Reply::Recovered { .. })));
    let wrong = Request::RecoverFinish { ticket: &proof.ticket, ke3: &[0; 64] };
    assert_eq!(ask(&vault, &key, ada.0, &wrong), Ok(Reply::Refused(Refusal::WrongProof)));
    for person in [ada, nobody] {
        for _ in 0..10 {
            start(&vault, &key, person, "wrong");
        }
        let ke1 = person.ke1("wrong").1;
        let eleventh = Request::RecoverStart { ke1: &ke1 };
        assert_eq!(ask(&vault, &key, person.0, &eleventh), Ok(Reply::Refused(Refusal::Exhausted)));
        assert_eq!(ask(&vault, &key, person.0, &Request::Remaining), Ok(Reply::Remaining { attempts: 0 }));
    }
    assert_eq!(
        ask(&vault, &key, ada.0, &Request::RemoveUnproven { generation: 2 }),
        Ok(Reply::Refused(Refusal::Forbidden))
    );
}

#[test]
fn l9_a_sealed_request_that_is_repeated_costs_nothing_and_each_reply_opens() {
    let (vault, _) = vault();
    let key = vault.channel_key().unwrap();
    let ada = Person::new("ada");
    ada.enrol(&vault, "one", b"secret");
    let ke1 = ada.ke1("one").1;
    let sealed = seal(&key, &ada.0, &Request::RecoverStart { ke1: &ke1 });
    let admitted = Admitted { account: ada.0, request: sealed.bytes() };
    let replies: Vec<_> = vault.process_sealed(&[admitted, admitted]).into_iter().map(Result::unwrap).collect();
    assert_ne!(replies[0], replies[1]);
    for reply in &replies {
        let reply = Reply::decode(sealed.open(reply).unwrap().expose()).unwrap();
        assert!(matches!(reply, Reply::RecoverStarted { remaining: 9, .. }), "{reply:?}");
    }
    assert_eq!(ada.remaining(&vault), 9);
}

#[test]
fn a_front_end_that_swaps_drops_or_forges_gains_nothing() {
    let (vault, _) = vault();
    let key = vault.channel_key().unwrap();
    let [ada, bea] = ["ada", "bea"].map(Person::new);
    ada.enrol(&vault, "one", b"secret");
    let ke1 = ada.ke1("one").1;
    let sealed = seal(&key, &ada.0, &Request::RecoverStart { ke1: &ke1 });
    // Admitted as somebody else: the account is inside.
    let swapped = vault.process_sealed(&[Admitted { account: bea.0, request: sealed.bytes() }]).remove(0).unwrap();
    assert_eq!(Reply::decode(sealed.open(&swapped).unwrap().expose()), Ok(Reply::Refused(Refusal::Forbidden)));
    let mut altered = sealed.bytes().to_vec();
    altered[1500] ^= 1;
    let batch = [&altered[..], b"short", sealed.bytes()].map(|request| Admitted { account: ada.0, request });
    let replies = vault.process_sealed(&batch);
    assert_eq!(replies[0], Err(ChannelProblem::Malformed));
    assert_eq!(replies[1], Err(ChannelProblem::Malformed));
    let other = seal(&key, &ada.0, &Request::Remaining);
    assert_eq!(other.open(replies[2].as_ref().unwrap()).err(), Some(ChannelProblem::Malformed), "another's reply");
    assert_eq!((ada.remaining(&vault), bea.remaining(&vault)), (9, 10), "one attempt, and only what was asked");
}

#[test]
fn a_login_that_straddles_a_turn_of_the_channel_key_finishes() {
    let (vault, clock) = vault();
    let old = vault.channel_key().unwrap();
    let ada = Person::new("ada");
    ada.enrol(&vault, "one", b"secret");
    let not_after_s = super::NOW_S + 1000;
    let begun = start(&vault, &old, ada, "one");
    assert_eq!(vault.rotate(Turn::Channel { not_after_s }), Ok(2));
    assert_eq!(vault.rotate(Turn::Tickets), Ok(2));
    let new = vault.channel_key().unwrap();
    assert_eq!((old.number, new.number), (1, 2));
    assert_ne!(old.public_key, new.public_key);
    let proof = ada.prove(begun, "one").unwrap();
    let finish = Request::RecoverFinish { ticket: &proof.ticket, ke3: &proof.ke3 };
    assert!(matches!(ask(&vault, &old, ada.0, &finish), Ok(Reply::Recovered { .. })), "under the key it began with");
    assert!(matches!(ask(&vault, &new, ada.0, &finish), Ok(Reply::Recovered { .. })), "and under the new one");

    // Two live side by side until the bundle of the old one is over, and what was begun under it.
    let policy = vault.policy().clone();
    let over_s = 1000 + policy.enrolment_ttl_s.max(policy.login_ttl_s) + policy.skew_max_s;
    clock.forward(over_s);
    vault.sweep().unwrap();
    assert!(ask(&vault, &old, ada.0, &Request::Remaining).is_ok(), "to its last second");
    assert_eq!(vault.keys().unwrap().channel.len(), 2);
    clock.forward(1);
    vault.sweep().unwrap();
    assert_eq!(ask(&vault, &old, ada.0, &Request::Remaining), Err(ChannelProblem::UnknownKey));
    assert_eq!(vault.keys().unwrap().channel.len(), 1);
    assert!(ask(&vault, &new, ada.0, &Request::Remaining).is_ok());
}

#[test]
fn a_vault_that_is_not_for_development_serves_no_key_without_a_bundle() {
    // Such a vault is not made yet, so its ring is made by hand.
    let (vault, _) = vault_with(Policy::development());
    let policy = Policy { development: false, ..Policy::development() };
    let ring = |bundles| {
        let (secrets, epochs) = (vault.ring().secrets.same(), vault.ring().epochs.clone());
        crate::vault::ring::Ring::new(&policy, secrets, epochs, bundles).unwrap()
    };
    assert!(ring(Arc::new([])).channel.is_none());
    let served = ring(Arc::new([(7, [8; 32])])).channel.unwrap().key();
    assert_eq!((served.epoch, served.bundle), (7, [8; 32]));
}

#[test]
fn q3_sealed_and_plain_requests_wait_in_one_line() {
    let (vault, _) = vault();
    let vault = Arc::new(vault);
    let key = vault.channel_key().unwrap();
    let [ada, bea] = ["ada", "bea"].map(Person::new);
    ada.enrol(&vault, "one", b"secret");
    let gathering = Gathering { account_max: 4, ..Gathering::default() };
    let queue = Queue::open(vault.clone(), gathering).unwrap();
    let ke1s = [ada.ke1("wrong").1, ada.ke1("wrong").1, ada.ke1("wrong").1];
    let [first, third] = [0, 2].map(|at| seal(&key, &ada.0, &Request::RecoverStart { ke1: &ke1s[at] }));
    let second = Request::RecoverStart { ke1: &ke1s[1] }.encode(&ada.0).unwrap();
    // One that does not open between them, and one for another account: neither harms its neighbours.
    let mut altered = first.bytes().to_vec();
    altered[2000] ^= 1;
    let answers = (
        queue.submit_sealed(ada.0, first.bytes().to_vec()),
        queue.submit(ada.0, second),
        queue.submit_sealed(bea.0, altered),
        queue.submit_sealed(ada.0, third.bytes().to_vec()),
        queue.submit_sealed(bea.0, first.bytes().to_vec()),
    );
    let remaining = |reply: &Reply| match reply {
        Reply::RecoverStarted { remaining, .. } => *remaining,
        other => panic!("not what was asked: {other:?}"),
    };
    let opened = |sealed: &SealedRequest, reply: Vec<u8>| {
        assert_eq!(reply.len(), SEALED_REPLY_LEN);
        Reply::decode(sealed.open(&reply).unwrap().expose()).unwrap()
    };
    let seen = [
        remaining(&opened(&first, answers.0.wait().unwrap())),
        remaining(&answers.1.wait().unwrap()),
        remaining(&opened(&third, answers.3.wait().unwrap())),
    ];
    assert_eq!(answers.2.wait(), Err(ChannelProblem::Malformed));
    assert_eq!(opened(&first, answers.4.wait().unwrap()), Reply::Refused(Refusal::Forbidden));
    // What a reply tells is left at the moment of the reply.
    assert!(seen.iter().all(|left| (7..=9).contains(left)), "{seen:?}");
    assert_eq!((ada.remaining(&vault), bea.remaining(&vault)), (7, 10), "three attempts");

    assert_eq!(queue.submit_sealed(ada.0, vec![1; 10]).wait(), Err(ChannelProblem::Malformed));
    queue.close();
    assert_eq!(queue.submit_sealed(ada.0, first.bytes().to_vec()).wait(), Err(ChannelProblem::Busy));
}
