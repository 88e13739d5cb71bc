//! Random sequences of requests at the door: no KE1 is answered without a charge of its own (L1, V1).
//!
//! A model beside the vault knows one thing: which KE1s were answered since the record's window last opened. From that
//! alone it tells what each request must cost.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::person::{Answered, Finish, Person, Proof};
use super::vault_with;
use crate::error::Refusal;
use crate::ledger::Policy;
use crate::protocol::Reply;
use crate::vault::Vault;

const ATTEMPTS: usize = 3;
const LIFETIME: u32 = 12;
const CODES: [&str; 2] = ["code", "other"];

#[derive(Clone, Debug)]
enum Step {
    /// Send a fresh KE1, with the right code or a wrong one.
    Fresh { right: bool },
    /// Send again the n-th KE1 that was ever sent.
    Again(prop::sample::Index),
    /// Send the n-th proof that was ever made.
    Finish(prop::sample::Index),
    /// Begin an enrolment under a code and keep its finish.
    Begin { code: bool },
    /// Send the n-th kept finish of an enrolment.
    Enrol(prop::sample::Index),
    /// Let some time pass; never so much in a sequence that a ticket expires.
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|right| Step::Fresh { right }),
        3 => any::<prop::sample::Index>().prop_map(Step::Again),
        3 => any::<prop::sample::Index>().prop_map(Step::Finish),
        1 => any::<bool>().prop_map(|code| Step::Begin { code }),
        1 => any::<prop::sample::Index>().prop_map(Step::Enrol),
        1 => Just(Step::Wait),
    ]
}

/// What a proof proves: an attempt of a generation, by its place among that generation's charges.
struct Proven {
    proof: Proof,
    generation: u32,
    charge: usize,
}

#[derive(Default)]
struct Model {
    generation: u32,
    /// KE1s charged in the present generation, in order; the open window is what lies above `cleared`.
    charged: Vec<usize>,
    cleared: usize,
    /// All charges there ever were.
    spent: usize,
    code: &'static str,
}

impl Model {
    fn open(&self) -> &[usize] {
        &self.charged[self.cleared..]
    }
}

fn counters(vault: &Vault, person: Person) -> (u32, u32) {
    let mut found = (0, 0);
    let look = &mut |state: &crate::ledger::State| {
        found = state.account(&person.0).map_or((0, 0), |it| (it.spent(), it.generation()));
    };
    vault.read(look).unwrap();
    found
}

/// Plays the steps; says where the vault and the model part. `price` is what a charge costs in the model: 1.
fn play(steps: &[Step], price: usize) -> Result<(), String> {
    let policy = Policy { attempts_max: ATTEMPTS as u32, lifetime_max: LIFETIME, ..Policy::development() };
    let (vault, clock) = vault_with(policy);
    let ada = Person::new("ada");
    let mut model = Model { code: CODES[0], ..Model::default() };
    let mut sent: Vec<(opaque_ke::ClientLogin<super::person::Suite>, [u8; 96], &'static str)> = Vec::new();
    let mut proofs: Vec<Proven> = Vec::new();
    let mut finishes: Vec<(Finish, &'static str, u32)> = Vec::new();
    let mut done: BTreeSet<usize> = BTreeSet::new();
    for (at, step) in steps.iter().enumerate() {
        let wrong = |what: &str| Err(format!("step {at}, {step:?}: {what}"));
        match step {
            Step::Fresh { .. } | Step::Again(_) => {
                let which = match step {
                    Step::Again(index) if !sent.is_empty() => index.index(sent.len()),
                    Step::Again(_) => continue,
                    _ => {
                        let code = if matches!(step, Step::Fresh { right: true }) { model.code } else { "guess" };
                        let (state, ke1) = ada.ke1(code);
                        sent.push((state, ke1, code));
                        sent.len() - 1
                    }
                };
                let (state, ke1, code) = sent[which].clone();
                let again = model.open().contains(&which);
                let answer = ada.send_ke1(&vault, state, &ke1);
                if !again && model.open().len() == ATTEMPTS {
                    if answer.err() != Some(Refusal::Exhausted) {
                        return wrong("answered beyond the window");
                    }
                    continue;
                }
                if !again {
                    model.charged.push(which);
                    model.spent += price;
                }
                let Ok(answered) = answer else { return wrong("refused within the window") };
                let Answered { remaining, .. } = answered;
                if remaining as usize != ATTEMPTS - model.open().len() {
                    return wrong("another number of attempts is told to be left");
                }
                let charge = model.charged.iter().rposition(|it| *it == which).unwrap();
                let proof = ada.prove(answered, code);
                if proof.is_some() != (model.generation > 0 && code == model.code) {
                    return wrong("a proof where none is due, or none where one is");
                }
                proofs.extend(proof.map(|proof| Proven { proof, generation: model.generation, charge }));
            }
            Step::Finish(_) if proofs.is_empty() => {}
            Step::Finish(index) => {
                let Proven { proof, generation, charge } = &proofs[index.index(proofs.len())];
                let current = *generation == model.generation;
                if ada.finish(&vault, proof).is_ok() != current {
                    return wrong("a proof of another generation is taken, or one of this is not");
                }
                if current {
                    model.cleared = model.cleared.max(charge + 1);
                }
            }
            Step::Begin { code } => {
                let code = CODES[usize::from(*code)];
                if let Ok(finish) = ada.start_enrolment(&vault, code, b"wrapped") {
                    finishes.push((finish, code, model.generation));
                }
            }
            Step::Enrol(_) if finishes.is_empty() => {}
            Step::Enrol(index) => {
                let index = index.index(finishes.len());
                let (finish, code, generation) = &finishes[index];
                let answer = ada.ask(&vault, &finish.request()).unwrap();
                let enrolled = matches!(answer, Reply::Enrolled { .. });
                let repeated = done.contains(&index) && model.generation == generation + 1;
                match answer {
                    Reply::Refused(Refusal::LifetimeUsed) => {}
                    _ if enrolled != (repeated || *generation == model.generation) => {
                        return wrong("an old ticket enrols, or a good one does not");
                    }
                    _ if enrolled && !repeated => {
                        done.insert(index);
                        model = Model { generation: generation + 1, spent: model.spent, code, ..Model::default() };
                    }
                    _ => {}
                }
            }
            Step::Wait => clock.forward(10),
        }
        if counters(&vault, ada) != (model.spent as u32, model.generation) {
            return wrong("a charge is missing, or one is too many");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 24 } else { 400 }, ..ProptestConfig::default() })]

    #[test]
    fn l1_every_ke1_answered_has_a_charge_of_its_own(steps in prop::collection::vec(step(), 1..40)) {
        prop_assert_eq!(play(&steps, 1), Ok(()));
    }
}

/// The control: a model that is told that charges are free, or cost double, parts from the vault at once.
#[test]
fn l1_a_model_that_counts_wrong_is_seen() {
    for price in [0, 2] {
        let said = play(&[Step::Begin { code: false }, Step::Fresh { right: true }], price).unwrap_err();
        assert!(said.starts_with("step 1") && said.ends_with("one is too many"), "{said}");
    }
}
