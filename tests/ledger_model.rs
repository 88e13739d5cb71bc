//! Random lives of four accounts, by the ledger and by a model that reads their histories.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "model/ledger.rs"]
mod model;

use std::cell::RefCell;

use model::{Apply, Kept, Seen, drive, real};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use strongroom::ledger::{Arrival, Command, Digests, State, Verdict};

#[test]
fn the_ledger_and_the_histories_agree() {
    // Sequences enough for the claim where code is compiled for speed, and a quick look where it is not.
    let cases = if cfg!(debug_assertions) { 500 } else { 12_000 };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let seen = RefCell::new(Seen::default());
    let outcome = TestRunner::new(config).run(&prop::collection::vec(any::<u8>(), 0..500), |bytes| {
        drive(&real, &bytes, Some(&mut seen.borrow_mut())).map_err(TestCaseError::fail)
    });
    if let Err(wrong) = outcome {
        panic!("{wrong}");
    }
    let seen = seen.into_inner().0;
    println!("{cases} sequences, {} commands", seen.values().sum::<u64>());
    for (what, times) in &seen {
        println!("{times:>8} {what}");
    }
    // Every answer of every command was among them, so that agreement means something.
    for what in [
        "Charge Charged { generation: , ordinal: , live: false, remaining: , again: false }",
        "Charge Charged { generation: , ordinal: , live: true, remaining: , again: false }",
        "Charge Charged { generation: , ordinal: , live: true, remaining: , again: true }",
        "Charge Refused(Exhausted)",
        "Clear Cleared { again: false }",
        "Clear Cleared { again: true }",
        "Clear Refused(Stale)",
        "Clear Refused(TicketExpired)",
        "Enrol Enrolled { generation: , again: false }",
        "Enrol Enrolled { generation: , again: true }",
        "Enrol Refused(Stale)",
        "Enrol Refused(TicketExpired)",
        "Enrol Refused(LifetimeUsed)",
        "Enrol Refused(Busy)",
        "Enrol Refused(Moved)",
        "Remove Done",
        "Remove Refused(NoRecord)",
        "Remove Refused(Stale)",
        "Remove Refused(Forbidden)",
        "Sweep Done",
        "Sweep Refused(Stale)",
        "Forget Done",
        "Rewrap Done",
        "Rewrap Refused(Stale)",
        "Rewrap Refused(Busy)",
        "RaiseEpochMin Done",
        "RaiseEpochMin Refused(Forbidden)",
        "Pardon Done",
        "Pardon Refused(Forbidden)",
        "Restore Done",
        "Restore Refused(Stale)",
        "Restore Refused(Forbidden)",
        "RaiseKeyMin Done",
        "TurnKeys Done",
        "TurnKeys Refused(Stale)",
        "Leave Done",
        "Leave Refused(Stale)",
        "Expect Done",
        "Expect Refused(Forbidden)",
        "Depart Done",
        "Depart Refused(Stale)",
        "Arrive Done",
        "Arrive Refused(Stale)",
        "Arrive Refused(Malformed)",
        "Arrive Refused(Busy)",
        "Charge Refused(Busy)",
        "Charge Refused(Moved)",
        "Members Done",
        "Members Refused(Stale)",
        "Signers Done",
        "Signers Refused(Stale)",
        "Signers Refused(Malformed)",
    ] {
        assert!(seen.contains_key(what), "never seen: {what}");
    }
}

/// A command rewritten before the rules see it.
fn rewritten(rewrite: fn(&State, &mut Command)) -> impl Fn(&mut State, &mut Kept, &Command) -> Verdict {
    move |state, kept, command| {
        let mut command = command.clone();
        rewrite(state, &mut command);
        real(state, kept, &command)
    }
}

fn generation_of(state: &State, command: &Command) -> u32 {
    command.account().and_then(|id| state.account(id)).map_or(0, |it| it.generation())
}

#[test]
fn the_model_tells_the_rules_from_others() {
    let others: [(&str, Box<Apply<'_>>); 13] = [
        (
            "a late success counts",
            Box::new(rewritten(|_, command| {
                if let Command::Clear { proof, .. } = command {
                    proof.expiry_s = u64::MAX;
                }
            })),
        ),
        (
            "a success of another generation counts",
            Box::new(rewritten(|state, command| {
                let now = generation_of(state, command);
                if let Command::Clear { generation, .. } = command {
                    *generation = now;
                }
            })),
        ),
        (
            "a success clears later attempts",
            Box::new(rewritten(|state, command| {
                let spent = command.account().and_then(|id| state.account(id)).map_or(0, |it| it.spent());
                if let Command::Clear { proof, .. } = command {
                    proof.ordinal = proof.ordinal.max(spent);
                }
            })),
        ),
        (
            "an enrolment ticket works twice",
            Box::new(rewritten(|state, command| {
                let now = generation_of(state, command);
                if let Command::Enrol { generation, .. } = command {
                    *generation = now;
                }
            })),
        ),
        (
            "a late enrolment counts",
            Box::new(rewritten(|_, command| {
                if let Command::Enrol { expiry_s, .. } = command {
                    *expiry_s = u64::MAX;
                }
            })),
        ),
        (
            "finishes are all alike",
            Box::new(rewritten(|_, command| {
                if let Command::Enrol { finish, .. } = command {
                    *finish = [0; 32];
                }
            })),
        ),
        (
            "a pardon adds",
            Box::new(rewritten(|state, command| {
                let before = command.account().and_then(|id| state.account(id)).map_or(0, |it| it.pardoned());
                if let Command::Pardon { pardoned, .. } = command {
                    *pardoned += before;
                }
            })),
        ),
        (
            "one more is forgotten",
            Box::new(rewritten(|_, command| {
                if let Command::Forget { most } = command {
                    *most += 1;
                }
            })),
        ),
        (
            "the previous key is not looked at",
            Box::new(rewritten(|_, command| {
                if let Command::Charge { digests, .. } = command {
                    *digests = Digests { previous: None, ..*digests };
                }
            })),
        ),
        (
            "a removal's proof is not looked at",
            Box::new(rewritten(|_, command| {
                if let Command::Remove { proof, .. } = command {
                    *proof = None;
                }
            })),
        ),
        (
            "retired keys make records",
            Box::new(rewritten(|_, command| {
                if let Command::RaiseKeyMin { key_number } = command {
                    *key_number = 0;
                }
            })),
        ),
        (
            "an account that has come has all its attempts",
            Box::new(rewritten(|state, command| {
                if let Command::Arrive { arrivals, .. } = command {
                    let fresh = State::new(state.policy().clone());
                    *arrivals = arrivals
                        .iter()
                        .map(|it| match &it.sealed {
                            Some(_) => it.clone(),
                            None => {
                                Arrival { account: fresh.account(&it.id).cloned().unwrap_or_default(), ..it.clone() }
                            }
                        })
                        .collect();
                }
            })),
        ),
        (
            "a verdict is not the state's",
            Box::new(|state: &mut State, kept: &mut Kept, command: &Command| match real(state, kept, command) {
                Verdict::Charged { generation, ordinal, remaining, again, .. } => {
                    Verdict::Charged { generation, ordinal, live: true, remaining, again }
                }
                verdict => verdict,
            }),
        ),
    ];
    for (name, other) in &others {
        let mut runner = TestRunner::deterministic();
        let bytes = prop::collection::vec(any::<u8>(), 400);
        let told = (0..20_000).find_map(|_| {
            let bytes = bytes.new_tree(&mut runner).unwrap().current();
            drive(&**other, &bytes, None).err()
        });
        println!("{name}: {told:?}");
        assert!(told.is_some(), "not told from the rules: {name}");
    }
}
