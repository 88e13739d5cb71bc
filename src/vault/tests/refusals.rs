//! The list of everything that is turned down, and how.

use super::person::{Answered, Finish, Person, Proof};
use super::{NOW_S, vault, vault_with};
use crate::error::{Fault, Refusal};
use crate::ledger::{Command, Policy, Record};
use crate::protocol::{REQUEST_LEN, Reply, Request, VERSION};
use crate::vault::{Admitted, ManualClock, Vault};
use crate::wrap::Sealed;

/// Ada, enrolled, with a login and an enrolment under way; Bob beside her.
struct Scene {
    vault: Vault,
    clock: std::sync::Arc<ManualClock>,
    ada: Person,
    bob: Person,
    proof: Proof,
    server_mac: [u8; 64],
    finish: Finish,
}

impl Scene {
    fn new(policy: Policy) -> Self {
        let (vault, clock) = vault_with(policy);
        let (ada, bob) = (Person::new("ada"), Person::new("bob"));
        ada.enrol(&vault, "code", b"wrapped");
        bob.enrol(&vault, "code", b"wrapped");
        let answered = ada.start(&vault, "code").unwrap();
        let server_mac = *answered.ke2.last_chunk().unwrap();
        let proof = ada.prove(answered, "code").unwrap();
        let finish = ada.start_enrolment(&vault, "new", b"new").unwrap();
        Scene { vault, clock, ada, bob, proof, server_mac, finish }
    }

    fn raw(&self, bytes: &[u8]) -> Result<Reply, Fault> {
        self.vault.process(&[Admitted { account: self.ada.0, request: bytes }]).remove(0)
    }

    fn recover_finish(&self, person: Person, ticket: &[u8], ke3: &[u8; 64]) -> Result<Reply, Fault> {
        person.ask(&self.vault, &Request::RecoverFinish { ticket, ke3 })
    }

    fn enrol_finish(&self, change: impl Fn(&mut Finish)) -> Result<Reply, Fault> {
        let mut finish = self.finish.clone();
        change(&mut finish);
        self.ada.ask(&self.vault, &finish.request())
    }

    /// A finish whose transcript is right for what it says, whatever that is.
    fn consistent(&self, change: impl Fn(&mut Finish)) -> Result<Reply, Fault> {
        use rand_core_06::OsRng;
        let start = opaque_ke::ClientRegistration::<super::person::Suite>::start(&mut OsRng, b"new").unwrap();
        let r1: [u8; 32] = start.message.serialize().as_slice().try_into().unwrap();
        let Ok(Reply::EnrolStarted { r2, ticket }) = self.ada.ask(&self.vault, &Request::EnrolStart { r1: &r1 }) else {
            panic!("an enrolment begins")
        };
        let mut finish = Finish { ticket, ..self.finish.clone() };
        change(&mut finish);
        finish.transcript = crate::protocol::transcript(
            &self.ada.0,
            &crate::protocol::enrolment_digest(&r1, &r2),
            &finish.ticket,
            &finish.r3,
            super::person::PRESET,
            &finish.secret,
        );
        self.ada.ask(&self.vault, &finish.request())
    }

    fn ke1(&self, blinded: [u8; 32], keyshare: [u8; 32]) -> Result<Reply, Fault> {
        let mut ke1 = self.ada.ke1("code").1;
        if blinded != GOOD {
            ke1[..32].copy_from_slice(&blinded);
        }
        if keyshare != GOOD {
            ke1[64..].copy_from_slice(&keyshare);
        }
        self.ada.ask(&self.vault, &Request::RecoverStart { ke1: &ke1 })
    }
}

/// Stands for an element that is left as it is.
const GOOD: [u8; 32] = [1; 32];
/// The identity, which RFC 9497 section 2.1 refuses.
const IDENTITY: [u8; 32] = [0; 32];
/// Not below the field's prime (RFC 9496 appendix A.3).
const NON_CANONICAL: [u8; 32] = [0xff; 32];

/// A negative field element (RFC 9496 appendix A.3): odd, so its encoding is refused.
fn negative() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
}

type Attempt = fn(&Scene) -> Result<Reply, Fault>;

const LIST: &[(&str, Refusal, Attempt)] = &[
    ("no bytes", Refusal::Malformed, |it| it.raw(&[])),
    ("a byte short", Refusal::Malformed, |it| it.raw(&whole(it)[1..])),
    ("a byte long", Refusal::Malformed, |it| it.raw(&[whole(it), vec![0]].concat())),
    ("another version", Refusal::Malformed, |it| it.raw(&changed(it, 0, VERSION + 1))),
    ("an unknown kind", Refusal::Malformed, |it| it.raw(&changed(it, 1, 99))),
    ("filling that is not zero", Refusal::Malformed, |it| it.raw(&changed(it, REQUEST_LEN - 1, 1))),
    ("a ticket said to be longer than any", Refusal::Malformed, |it| {
        let request = Request::RecoverFinish { ticket: &it.proof.ticket, ke3: &it.proof.ke3 };
        let mut bytes = request.encode(&it.ada.0).unwrap();
        bytes[34..38].fill(0xff);
        it.raw(&bytes)
    }),
    ("an empty secret", Refusal::Malformed, |it| {
        let mut bytes = it.finish.request().encode(&it.ada.0).unwrap();
        let length = 34 + 4 + it.finish.ticket.len() + 192 + 1;
        bytes[length..length + 4].fill(0);
        it.raw(&bytes)
    }),
    ("an account that was not admitted", Refusal::Forbidden, |it| {
        let request = Request::Remaining.encode(&it.bob.0).unwrap();
        it.raw(&request)
    }),
    ("R1 the identity", Refusal::Malformed, |it| it.ada.ask(&it.vault, &Request::EnrolStart { r1: &IDENTITY })),
    ("R1 not canonical", Refusal::Malformed, |it| it.ada.ask(&it.vault, &Request::EnrolStart { r1: &NON_CANONICAL })),
    ("R1 negative", Refusal::Malformed, |it| it.ada.ask(&it.vault, &Request::EnrolStart { r1: &negative() })),
    ("KE1 blinding the identity", Refusal::Malformed, |it| it.ke1(IDENTITY, GOOD)),
    ("KE1 blinding what is not canonical", Refusal::Malformed, |it| it.ke1(NON_CANONICAL, GOOD)),
    ("KE1 blinding what is negative", Refusal::Malformed, |it| it.ke1(negative(), GOOD)),
    ("KE1 with the identity as keyshare", Refusal::Malformed, |it| it.ke1(GOOD, IDENTITY)),
    ("KE1 with a keyshare that is not canonical", Refusal::Malformed, |it| it.ke1(GOOD, NON_CANONICAL)),
    ("R3 with the identity as key", Refusal::Malformed, |it| it.consistent(|finish| finish.r3[..32].fill(0))),
    ("R3 with a key that is not canonical", Refusal::Malformed, |it| {
        it.consistent(|finish| finish.r3[..32].fill(0xff))
    }),
    ("no enrolment ticket", Refusal::TicketInvalid, |it| it.enrol_finish(|finish| finish.ticket.clear())),
    ("a forged enrolment ticket", Refusal::TicketInvalid, |it| it.enrol_finish(|finish| finish.ticket[40] ^= 1)),
    ("a cut enrolment ticket", Refusal::TicketInvalid, |it| {
        it.enrol_finish(|finish| finish.ticket.truncate(finish.ticket.len() - 1))
    }),
    ("a login ticket to enrol", Refusal::TicketInvalid, |it| {
        it.enrol_finish(|finish| finish.ticket.clone_from(&it.proof.ticket))
    }),
    ("another's enrolment ticket", Refusal::TicketInvalid, |it| {
        let theirs = it.bob.start_enrolment(&it.vault, "new", b"new").unwrap().ticket;
        it.enrol_finish(|finish| finish.ticket.clone_from(&theirs))
    }),
    ("another fleet's enrolment ticket", Refusal::TicketInvalid, |it| {
        let theirs = it.ada.start_enrolment(&vault().0, "new", b"new").unwrap().ticket;
        it.enrol_finish(|finish| finish.ticket.clone_from(&theirs))
    }),
    ("an expired enrolment ticket", Refusal::TicketExpired, |it| {
        it.clock.set(NOW_S + it.vault.policy().enrolment_ttl_s + 1);
        it.enrol_finish(|_| {})
    }),
    ("another R3 than in the transcript", Refusal::WrongTranscript, |it| it.enrol_finish(|finish| finish.r3[100] ^= 1)),
    ("another secret than in the transcript", Refusal::WrongTranscript, |it| {
        it.enrol_finish(|finish| finish.secret[0] ^= 1)
    }),
    ("another transcript", Refusal::WrongTranscript, |it| it.enrol_finish(|finish| finish.transcript[0] ^= 1)),
    ("a transcript of another enrolment", Refusal::WrongTranscript, |it| {
        let other = it.ada.start_enrolment(&it.vault, "new", b"new").unwrap();
        it.enrol_finish(|finish| finish.ticket.clone_from(&other.ticket))
    }),
    ("an enrolment overtaken by another", Refusal::Stale, |it| {
        it.ada.enrol(&it.vault, "other", b"other");
        it.enrol_finish(|_| {})
    }),
    ("a lifetime used up", Refusal::LifetimeUsed, |it| {
        for _ in 0..4 {
            while it.ada.start(&it.vault, "guess").is_ok() {}
            it.ada.enrol(&it.vault, "code", b"wrapped");
        }
        while it.ada.start(&it.vault, "guess").is_ok() {}
        let refusal = it.ada.start_enrolment(&it.vault, "code", b"wrapped").err();
        Ok(Reply::Refused(refusal.unwrap()))
    }),
    ("no login ticket", Refusal::TicketInvalid, |it| it.recover_finish(it.ada, &[], &it.proof.ke3)),
    ("a forged login ticket", Refusal::TicketInvalid, |it| {
        let mut ticket = it.proof.ticket.clone();
        ticket[40] ^= 1;
        it.recover_finish(it.ada, &ticket, &it.proof.ke3)
    }),
    ("an enrolment ticket to recover", Refusal::TicketInvalid, |it| {
        it.recover_finish(it.ada, &it.finish.ticket, &it.proof.ke3)
    }),
    ("another's login ticket", Refusal::TicketInvalid, |it| it.recover_finish(it.bob, &it.proof.ticket, &it.proof.ke3)),
    ("another fleet's login ticket", Refusal::TicketInvalid, |it| {
        let theirs = it.ada.start(&vault().0, "code").unwrap().ticket;
        it.recover_finish(it.ada, &theirs, &it.proof.ke3)
    }),
    ("an expired login ticket", Refusal::TicketExpired, |it| {
        it.clock.set(NOW_S + it.vault.policy().login_ttl_s + 1);
        it.recover_finish(it.ada, &it.proof.ticket, &it.proof.ke3)
    }),
    ("a wrong KE3", Refusal::WrongProof, |it| it.recover_finish(it.ada, &it.proof.ticket, &[1; 64])),
    ("the server's own MAC as KE3", Refusal::WrongProof, |it| {
        it.recover_finish(it.ada, &it.proof.ticket, &it.server_mac)
    }),
    ("the KE3 of another login", Refusal::WrongProof, |it| {
        let Answered { ticket, .. } = it.ada.start(&it.vault, "code").unwrap();
        it.recover_finish(it.ada, &ticket, &it.proof.ke3)
    }),
    ("a login overtaken by an enrolment", Refusal::Stale, |it| {
        it.ada.enrol(&it.vault, "other", b"other");
        it.recover_finish(it.ada, &it.proof.ticket, &it.proof.ke3)
    }),
    ("an exhausted record", Refusal::Exhausted, |it| {
        while it.ada.start(&it.vault, "guess").is_ok() {}
        it.ke1(GOOD, GOOD)
    }),
    ("a removal with a wrong KE3", Refusal::WrongProof, |it| {
        it.ada.ask(&it.vault, &Request::Remove { ticket: &it.proof.ticket, ke3: &[1; 64] })
    }),
    ("a removal with an expired ticket", Refusal::TicketExpired, |it| {
        it.clock.set(NOW_S + it.vault.policy().login_ttl_s + 1);
        it.ada.ask(&it.vault, &Request::Remove { ticket: &it.proof.ticket, ke3: &it.proof.ke3 })
    }),
    ("a removal without proof", Refusal::Forbidden, |it| {
        it.ada.ask(&it.vault, &Request::RemoveUnproven { generation: 1 })
    }),
    ("a removal of nothing, without proof", Refusal::Forbidden, |it| {
        Person::new("nobody").ask(&it.vault, &Request::RemoveUnproven { generation: 0 })
    }),
    ("a removal of what is removed", Refusal::NoRecord, |it| {
        let removal = Request::Remove { ticket: &it.proof.ticket, ke3: &it.proof.ke3 };
        assert_eq!(it.ada.ask(&it.vault, &removal), Ok(Reply::Removed));
        it.ada.ask(&it.vault, &removal)
    }),
];

/// A whole request, as it should be.
fn whole(scene: &Scene) -> Vec<u8> {
    Request::Remaining.encode(&scene.ada.0).unwrap()
}

fn changed(scene: &Scene, index: usize, to: u8) -> Vec<u8> {
    let mut bytes = whole(scene);
    bytes[index] = to;
    bytes
}

#[test]
fn everything_on_the_list_gets_its_refusal() {
    for (name, refusal, attempt) in LIST {
        let scene = Scene::new(Policy::development());
        assert_eq!(attempt(&scene), Ok(Reply::Refused(*refusal)), "{name}");
    }
}

/// The control: the same scene, nothing wrong with it.
#[test]
fn the_same_without_the_fault_is_answered() {
    let scene = Scene::new(Policy::development());
    assert!(matches!(scene.raw(&whole(&scene)), Ok(Reply::Remaining { .. })));
    assert!(matches!(scene.ke1(GOOD, GOOD), Ok(Reply::RecoverStarted { .. })));
    let finish = scene.recover_finish(scene.ada, &scene.proof.ticket, &scene.proof.ke3);
    assert!(matches!(finish, Ok(Reply::Recovered { .. })));
    assert!(matches!(scene.enrol_finish(|_| {}), Ok(Reply::Enrolled { generation: 2 })));
    assert!(matches!(scene.consistent(|_| {}), Ok(Reply::Enrolled { generation: 3 })));
}

#[test]
fn every_bit_of_a_ticket_counts() {
    let scene = Scene::new(Policy::development());
    for bit in 0..scene.proof.ticket.len() * 8 {
        let mut ticket = scene.proof.ticket.clone();
        ticket[bit / 8] ^= 1 << (bit % 8);
        let answer = scene.recover_finish(scene.ada, &ticket, &scene.proof.ke3);
        // Key number 0 is below the one in use: a key that is over, for all the vault knows.
        let refusal = if ticket[1..3] == [0, 0] { Refusal::TicketExpired } else { Refusal::TicketInvalid };
        assert_eq!(answer, Ok(Reply::Refused(refusal)), "bit {bit}");
    }
}

#[test]
fn a_removal_without_proof_is_for_policies_that_allow_it() {
    let scene = Scene::new(Policy { unproven_removal: true, ..Policy::development() });
    let remove = |generation| scene.ada.ask(&scene.vault, &Request::RemoveUnproven { generation });
    assert_eq!(remove(2), Ok(Reply::Refused(Refusal::Stale)));
    assert_eq!(remove(1), Ok(Reply::Removed));
    assert_eq!(remove(2), Ok(Reply::Refused(Refusal::NoRecord)));
    let nobody = Person::new("nobody").ask(&scene.vault, &Request::RemoveUnproven { generation: 0 });
    assert_eq!(nobody, Ok(Reply::Refused(Refusal::NoRecord)));
}

#[test]
fn v4_where_it_is_not_allowed_a_removal_without_proof_tells_nothing_of_the_account() {
    let Scene { vault, clock, ada, bob, proof, .. } = Scene::new(Policy::development());
    let [guessed, strange, unheard] = ["guessed", "strange", "unheard"].map(Person::new);
    assert_eq!(ada.ask(&vault, &Request::Remove { ticket: &proof.ticket, ke3: &proof.ke3 }), Ok(Reply::Removed));
    guessed.enrol(&vault, "code", b"wrapped");
    while guessed.start(&vault, "guess").is_ok() {}
    strange.start(&vault, "guess").unwrap();
    clock.forward(vault.policy().destroy_after_s);
    assert_eq!(vault.sweep().unwrap().destroyed, 1);
    let record = |person: Person| {
        let mut record = None;
        let index = vault.read(&mut |state| record = state.account(&person.0).map(|it| *it.record())).unwrap();
        (record, index)
    };
    assert_eq!(record(ada).0, Some(Record::None), "removed");
    assert!(matches!(record(bob).0, Some(Record::Live { .. })), "known");
    assert_eq!(record(guessed).0, Some(Record::Destroyed));
    assert_eq!((record(strange).0, record(unheard).0), (Some(Record::None), None), "never enrolled");

    let before = record(ada).1;
    for generation in 0..4 {
        let people = [ada, bob, guessed, strange, unheard];
        let requests = people.map(|person| Request::RemoveUnproven { generation }.encode(&person.0).unwrap());
        let asked: Vec<_> =
            people.iter().zip(&requests).map(|(person, request)| Admitted { account: person.0, request }).collect();
        let forbidden = Reply::Refused(Refusal::Forbidden).encode();
        assert!(vault.process_bytes(&asked).iter().all(|reply| *reply == forbidden), "generation {generation}");
    }
    assert_eq!(record(ada).1, before, "and it writes no row");
}

#[test]
fn v5_a_damaged_record_is_a_fault_and_never_a_fake() {
    let scene = Scene::new(Policy::development());
    let sealed_of = |person: Person| scene.vault.journal.sealed(&person.0, 1).unwrap().unwrap();
    let (hers, his) = (sealed_of(scene.ada), sealed_of(scene.bob));
    let mut flipped = *hers.as_bytes();
    flipped[200] ^= 1;
    for (rewraps, bytes) in [flipped, *his.as_bytes()].into_iter().enumerate() {
        // The ledger never looks inside, so a journal will take such bytes; the evaluator does not.
        let sealed = Sealed::from_bytes(&bytes).unwrap();
        let command = Command::Rewrap { account: scene.ada.0, generation: 1, rewraps: rewraps as u32, sealed };
        scene.vault.journal.commit(NOW_S, vec![command]).unwrap();
        assert!(matches!(scene.ke1(GOOD, GOOD), Err(Fault::Damaged(_))));
        assert!(matches!(
            scene.recover_finish(scene.ada, &scene.proof.ticket, &scene.proof.ke3),
            Err(Fault::Damaged(_))
        ));
        assert_eq!(scene.bob.recover(&scene.vault, "code").unwrap(), b"wrapped", "its neighbour is well");
        assert!(scene.ada.ask(&scene.vault, &Request::Remaining).is_ok());
    }
    let busy = scene.vault.process_bytes(&[Admitted {
        account: scene.ada.0,
        request: &Request::RecoverStart { ke1: &scene.ada.ke1("code").1 }.encode(&scene.ada.0).unwrap(),
    }]);
    assert_eq!(Reply::decode(&busy[0]), Ok(Reply::Refused(Refusal::Busy)), "the peer hears no more than that");
    let mut live = false;
    scene
        .vault
        .read(&mut |state| live = matches!(state.account(&scene.ada.0).unwrap().record(), Record::Live { .. }))
        .unwrap();
    assert!(live, "nothing is lost by it");
}
