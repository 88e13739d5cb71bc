//! L5, L11, L12: replay, ids never enrolled, the policy; and what the statements of both signers and rewraps may do.

use std::cell::Cell;

use super::*;
use crate::error::Fault;
use crate::ledger::{Obeyed, Signers};
use crate::limits::UNKNOWN_KEEP_S;
use crate::wire::{Reader, Writer};

/// What a vault might see in a week, dated.
fn week() -> Vec<(u64, Command)> {
    let world = World::new(&real, policy(3, 9));
    let charge = |account, number| Command::Charge { account, digests: ke1(number) };
    let enrol = |account, generation, name| Command::Enrol {
        account,
        generation,
        expiry_s: world.now() + 30 * DAY_S,
        finish: [name; 32],
        sealed: sealed(u32::from(name), name),
    };
    let proof = |ordinal| Proof { ordinal, expiry_s: world.now() + 9 * DAY_S };
    let commands = vec![
        charge(OTHER, 1),
        enrol(PERSON, 0, 1),
        charge(PERSON, 2),
        charge(PERSON, 2),
        charge(PERSON, 3),
        Command::Clear { account: PERSON, generation: 1, proof: proof(2) },
        charge(PERSON, 4),
        Command::Rewrap { account: PERSON, generation: 1, rewraps: 0, sealed: sealed(2, 9) },
        enrol(PERSON, 1, 2),
        enrol(PERSON, 1, 3),
        Command::Restore { number: 1 },
        charge(PERSON, 5),
        charge(PERSON, 6),
        Command::Sweep { account: PERSON },
        Command::Pardon { account: PERSON, pardoned: 1 },
        Command::Members { predecessor: [0; 32], statement: b"members".to_vec() },
        enrol(PERSON, 2, 4),
        charge(PERSON, 7),
        Command::Remove { account: PERSON, generation: 3, proof: Some(proof(8)) },
        Command::RaiseEpochMin { epoch: 4 },
        Command::RaiseKeyMin { key_number: 1 },
        Command::TurnKeys { serial: 3, mark: [1; 32] },
        Command::Leave { offer: [3; 32] },
        Command::Forget { most: 1 },
    ];
    commands.into_iter().enumerate().map(|(hour, command)| (1_000_000 + 8 * 3600 * hour as u64, command)).collect()
}

fn l5(apply: &Apply<'_>) -> Held {
    let commands = week();
    let mut live = World::new(apply, policy(3, 9));
    let mut replayed = World::new(apply, policy(3, 9));
    let mut row = Writer::default();
    for (time_s, command) in &commands {
        row.u64(*time_s);
        command.write(&mut row);
    }
    let row = row.finish();
    let mut reader = Reader::new(&row);
    for (time_s, command) in &commands {
        live.state.advance(*time_s);
        let verdict = live.apply(command);
        hold!(reader.u64() == Ok(*time_s), "L5: the time of {command:?}");
        let read = Command::read(&mut reader).map_err(|_| format!("L5: {command:?} does not parse"))?;
        hold!(read == *command, "L5: {command:?} reads as {read:?}");
        replayed.state.advance(*time_s);
        hold!(replayed.apply(&read) == verdict, "L5: another verdict of {command:?} in replay");
        hold!(replayed.bytes() == live.bytes(), "L5: another state after {command:?} in replay");
        // And so does one that was stopped and read back after each command.
        let again = State::decode(&live.state.encode()).map_err(|_| "L5: an encoding does not parse".to_owned())?;
        hold!(again == live.state, "L5: what was read back after {command:?} differs");
        live.state = again;
    }
    hold!(reader.finish().is_ok(), "L5: bytes are left over");
    Ok(())
}

#[test]
fn l5_replay_is_the_live_state() {
    let calls = Cell::new(0u64);
    let count = || calls.replace(calls.get() + 1);
    prove(
        l5,
        &[
            ("a charge is dated by the clock on the wall", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Verdict::Charged { again: false, .. } = verdict {
                    let clock_s = 1_000_000 + count();
                    edit(state, command, |it| it.last_charge_s = clock_s);
                }
                verdict
            }),
            ("a finish is marked with something random", &|state, kept, command| {
                let verdict = real(state, kept, command);
                let random = count();
                edit(state, command, |it| {
                    if let Record::Live { finish, .. } = &mut it.record {
                        finish[31] = random as u8;
                    }
                });
                verdict
            }),
        ],
    );
}

#[test]
fn l5_a_state_has_one_encoding_and_no_other_bytes_read() {
    let mut world = World::new(&real, policy(3, 9));
    for (number, (time_s, command)) in week().into_iter().enumerate() {
        world.state.advance(time_s);
        world.apply(&command);
        // Two accounts, one open window among them; and everything that has happened since.
        if number != 7 && number != 17 {
            continue;
        }
        let bytes = world.state.encode();
        for cut in 0..bytes.len() {
            if let Ok(state) = State::decode(&bytes[..cut]) {
                assert_eq!(state.encode(), bytes[..cut], "cut to whole accounts");
            }
        }
        // Whatever bit is flipped: refused, or another state with that very encoding.
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(state) = State::decode(&flipped) {
                assert_eq!(state.encode(), flipped, "bit {bit}");
            }
        }
    }
}

#[test]
fn stored_accounts_that_contradict_themselves_are_refused() {
    let mut world = World::new(&real, policy(3, 9));
    world.enrol(1);
    world.guess(1, 2);
    let good = world.account();
    let damages: [(&str, fn(&mut Account)); 10] = [
        ("cleared above spent", |it| it.cleared = it.spent + 1),
        ("began above spent", |it| it.began = it.spent + 1),
        ("pardoned above owed", |it| it.pardoned = it.owed + 1),
        ("a record without a generation", |it| it.generation = 0),
        ("something owed before the first record", |it| {
            *it = Account { spent: 1, owed: 1, ..Account::default() };
        }),
        ("a success without a record", |it| (it.record, it.window, it.cleared) = (Record::None, Box::default(), 1)),
        ("digests of a destroyed record", |it| it.record = Record::Destroyed),
        ("an ordinal cleared before", |it| it.cleared = 1),
        ("an ordinal never charged", |it| it.spent = 1),
        ("ordinals out of order", |it| it.window.reverse()),
    ];
    let reads = |account: &Account| {
        let mut writer = Writer::default();
        account.write(&mut writer);
        Account::read(&mut Reader::new(&writer.finish())).is_ok()
    };
    assert!(reads(&good));
    for (damage, make) in damages {
        let mut account = good.clone();
        make(&mut account);
        assert!(!reads(&account), "{damage}");
    }
}

fn l11(apply: &Apply<'_>) -> Held {
    let mut policy = policy(3, 9);
    policy.unknown_max = 2;
    let mut world = World::new(apply, policy);
    let id = |name| AccountId([name; 32]);
    let charge = |name, number| Command::Charge { account: id(name), digests: ke1(number) };
    let forget = Command::Forget { most: 1 };

    // Charged, counted, asked and exhausted like any other.
    for number in 1..=3 {
        let want =
            Verdict::Charged { generation: 0, ordinal: number, live: false, remaining: 3 - number, again: false };
        hold!(world.apply(&charge(10, number)) == want, "L11: an unknown id's charge {number}");
        let remaining = world.state.account(&id(10)).map(|it| it.remaining(world.state.policy()));
        hold!(remaining == Some(3 - number), "L11: asked after {number}");
    }
    hold!(world.refuses(&charge(10, 4), Refusal::Exhausted), "L11: an unknown id has no end of attempts");
    hold!(world.state.due(9).is_empty() && world.state.unknown_len() == 1, "L11: the indexes");
    // It owes nothing when it enrols: nothing of it was ever evaluated.
    world.apply(&charge(1, 1));
    world.enrol(1);
    hold!(world.account().owed == 0 && world.account().open() == 0, "L11: what was charged before the first record");

    // Forgotten after 30 days, not a second before.
    world.wait(UNKNOWN_KEEP_S - 1);
    hold!(!world.state.has_forgettable(), "L11: forgettable too early");
    world.apply(&forget);
    hold!(world.state.account(&id(10)).is_some(), "L11: forgotten too early");
    world.wait(1);
    hold!(world.state.has_forgettable(), "L11: not forgettable");
    world.apply(&forget);
    hold!(world.state.account(&id(10)).is_none() && world.state.unknown_len() == 0, "L11: not forgotten");
    hold!(world.state.len() == 1, "L11: somebody who enrolled was forgotten");

    // Above unknown_max, oldest charge first, whatever the age; a later charge makes an id younger.
    for (name, number) in [(20, 1), (30, 1), (40, 1), (20, 2)] {
        world.wait(10);
        world.apply(&charge(name, number));
    }
    hold!(world.state.has_forgettable(), "L11: too many, and none is forgettable");
    for _ in 0..5 {
        world.apply(&forget);
    }
    hold!(world.state.account(&id(30)).is_none(), "L11: the oldest was not forgotten");
    hold!(world.state.unknown_len() == 2 && world.state.len() == 3, "L11: forgotten although not too many");

    // Somebody removed is not somebody never enrolled.
    world.charge(90);
    world.clear(world.account().spent);
    let proof = Proof { ordinal: world.account().spent, expiry_s: world.now() };
    hold!(world.remove(Some(proof)) == Verdict::Done, "L11: a proven removal");
    world.wait(10 * UNKNOWN_KEEP_S);
    world.apply(&Command::Forget { most: 9 });
    hold!(world.state.len() == 1 && world.account().generation == 2, "L11: a removed account was forgotten");
    Ok(())
}

#[test]
fn l11_an_unknown_id_is_an_account() {
    prove(
        l11,
        &[
            ("an unknown id is not counted", &|state, kept, command| {
                let fresh = command.account().is_some_and(|id| state.account(id).is_none());
                let verdict = real(state, kept, command);
                if let (true, Verdict::Charged { .. }, Some(id)) = (fresh, verdict, command.account()) {
                    state.accounts.remove(id);
                }
                verdict
            }),
            ("an unknown id is never exhausted", &|state, kept, command| {
                if look(state, command).generation == 0 && matches!(command, Command::Charge { .. }) {
                    return under(|policy| policy.attempts_max += 1, state, kept, command);
                }
                real(state, kept, command)
            }),
            ("an unknown id owes when it enrols", &|state, kept, command| {
                let before = look(state, command);
                let verdict = real(state, kept, command);
                if let Verdict::Enrolled { generation: 1, .. } = verdict {
                    edit(state, command, |it| it.owed += before.spent);
                }
                verdict
            }),
            ("forgotten a second early", &|state, kept, command| match command {
                Command::Forget { .. } => {
                    let time_s = state.globals.time_s;
                    state.globals.time_s += 1;
                    let verdict = real(state, kept, command);
                    state.globals.time_s = time_s;
                    verdict
                }
                _ => real(state, kept, command),
            }),
            ("the newest is forgotten first", &|state, kept, command| match command {
                Command::Forget { .. } if state.has_forgettable() => {
                    if let Some((_, id)) = state.indexes.unknown.pop_last() {
                        state.accounts.remove(&id);
                    }
                    Verdict::Done
                }
                _ => real(state, kept, command),
            }),
            ("everybody is forgotten", &|state, kept, command| match command {
                Command::Forget { .. } => {
                    *state = State::decode_globals(&state.encode_globals()).unwrap();
                    Verdict::Done
                }
                _ => real(state, kept, command),
            }),
            ("nobody is forgotten", &|state, kept, command| match command {
                Command::Forget { .. } => Verdict::Done,
                _ => real(state, kept, command),
            }),
        ],
    );
}

/// Policies that differ from the default in one field each.
fn neighbours() -> Vec<Policy> {
    use crate::ledger::{AnchorKind, RootKind};
    let changes: [fn(&mut Policy); 17] = [
        |policy| policy.attempts_max += 1,
        |policy| policy.lifetime_max += 1,
        |policy| policy.conceal_exhausted = true,
        |policy| policy.destroy_after_s += 1,
        |policy| policy.login_ttl_s += 1,
        |policy| policy.enrolment_ttl_s += 1,
        |policy| policy.skew_max_s += 1,
        |policy| policy.restore_attempts += 1,
        |policy| policy.unknown_max += 1,
        |policy| policy.unproven_removal = true,
        |policy| policy.root = RootKind::Pkcs11,
        |policy| policy.anchor = AnchorKind::Hardware,
        |policy| policy.context.push(b'!'),
        |policy| policy.client_identity = false,
        |policy| policy.default_preset += 1,
        |policy| policy.pinned.push([7; 32]),
        |policy| policy.development = false,
    ];
    let mut policies = vec![Policy::development()];
    for change in changes {
        let mut policy = Policy::development();
        change(&mut policy);
        policies.push(policy);
    }
    policies
}

/// L12 over an encoding: every field is in it, so a store made under one policy is told from every other.
fn l12(encode: &dyn Fn(&Policy) -> Vec<u8>) -> Held {
    let policies = neighbours();
    for (first, policy) in policies.iter().enumerate() {
        let bytes = encode(policy);
        hold!(Policy::decode(&bytes).as_ref() == Ok(policy), "L12: policy {first} reads back as another");
        for (second, other) in policies.iter().enumerate() {
            hold!(first == second || encode(other) != bytes, "L12: {first} and {second} look the same");
        }
        for cut in 0..bytes.len() {
            hold!(Policy::decode(&bytes[..cut]).is_err(), "L12: policy {first} cut to {cut} bytes");
        }
        let world = World::new(&real, policy.clone());
        let restored = State::decode(&world.state.encode()).map_err(|_| "L12: does not parse".to_owned())?;
        hold!(restored.policy() == policy, "L12: a restart changed the policy");
    }
    Ok(())
}

#[test]
fn l12_the_policy_is_fixed() {
    assert_eq!(l12(&Policy::encode), Ok(()));
    let forgetful: [(&str, fn(&mut Policy)); 3] = [
        ("attempts_max", |policy| policy.attempts_max = 10),
        ("development", |policy| policy.development = true),
        ("pinned", |policy| policy.pinned.clear()),
    ];
    for (field, forget) in forgetful {
        let caught = l12(&|policy| {
            let mut policy = policy.clone();
            forget(&mut policy);
            policy.encode()
        });
        assert!(caught.is_err(), "an encoding without {field}");
    }
    // No command changes it.
    let mut world = World::new(&real, policy(3, 9));
    for (time_s, command) in week() {
        world.state.advance(time_s);
        world.apply(&command);
        assert_eq!(*world.state.policy(), policy(3, 9), "L12: {command:?}");
    }
}

#[test]
fn l12_a_policy_that_breaks_a_rule_is_refused() {
    let breaks: [fn(&mut Policy); 16] = [
        |policy| policy.attempts_max = 0,
        |policy| (policy.attempts_max, policy.lifetime_max) = (65, 4096),
        |policy| policy.lifetime_max = policy.attempts_max - 1,
        |policy| policy.lifetime_max = 4097,
        |policy| (policy.conceal_exhausted, policy.lifetime_max) = (true, 2 * policy.attempts_max - 1),
        |policy| policy.login_ttl_s = 0,
        |policy| policy.enrolment_ttl_s = 0,
        |policy| policy.destroy_after_s = policy.login_ttl_s - 1,
        |policy| policy.restore_attempts = 0,
        |policy| policy.restore_attempts = policy.attempts_max + 1,
        |policy| policy.unknown_max = 0,
        |policy| policy.context = vec![0; 65],
        |policy| policy.pinned = vec![[0; 32]; 17],
        |policy| policy.development = false,
        |policy| (policy.development, policy.root) = (false, crate::ledger::RootKind::Pkcs11),
        |policy| (policy.development, policy.anchor) = (false, crate::ledger::AnchorKind::Hardware),
    ];
    assert_eq!(Policy::development().check(), Ok(()));
    let concealed = Policy { conceal_exhausted: true, lifetime_max: 20, ..Policy::development() };
    assert_eq!(concealed.check(), Ok(()), "where one record may be exhausted and another enrolled");
    for (number, make) in breaks.into_iter().enumerate() {
        let mut policy = Policy::development();
        make(&mut policy);
        assert!(matches!(policy.check(), Err(Fault::Policy(_))), "{number}");
    }
}

#[test]
fn a_rewrap_needs_the_bytes_that_it_read_and_an_epoch_that_is_allowed() {
    let mut world = World::new(&real, policy(3, 9));
    let rewrap =
        |generation, rewraps, epoch| Command::Rewrap { account: PERSON, generation, rewraps, sealed: sealed(epoch, 9) };
    assert!(world.refuses(&rewrap(0, 0, 2), Refusal::Stale), "nothing to rewrap");
    world.enrol(1);
    let raise = |epoch| Command::RaiseEpochMin { epoch };
    assert!(world.refuses(&raise(2), Refusal::Forbidden), "a live record is still sealed under epoch 1");
    assert!(world.refuses(&rewrap(0, 0, 2), Refusal::Stale), "another generation");
    assert!(world.refuses(&rewrap(1, 1, 2), Refusal::Stale), "other bytes were read");
    assert_eq!(world.apply(&rewrap(1, 0, 2)), Verdict::Done);
    assert_eq!(world.kept.0[&PERSON], sealed(2, 9));
    assert!(world.refuses(&rewrap(1, 0, 3), Refusal::Stale), "the same command twice");
    assert!(world.refuses(&rewrap(1, 1, 1), Refusal::Stale), "back to an older epoch");
    assert_eq!(world.state.records_by_epoch().iter().collect::<Vec<_>>(), [(&2, &1)]);
    assert_eq!(world.apply(&raise(2)), Verdict::Done);
    assert_eq!(world.state.epoch_min(), 2);
    assert_eq!(world.apply(&raise(1)), Verdict::Done);
    assert_eq!(world.state.epoch_min(), 2, "it never goes down");
    assert!(world.refuses(&rewrap(1, 1, 1), Refusal::Busy), "below epoch_min");
    let finish = world.finish(2);
    assert!(world.refuses(&finish, Refusal::Busy), "an enrolment below epoch_min");
    assert!(world.account().enrolled_by(&[1; 32]), "and the old record is untouched");
}

#[test]
fn a_restore_leaves_one_attempt_and_counts_the_rest() {
    let mut world = World::new(&real, policy(3, 9));
    assert!(world.refuses(&Command::Restore { number: 2 }, Refusal::Stale), "the first restore has number 1");
    world.enrol(1);
    world.guess(1, 1);
    assert_eq!(world.apply(&Command::Restore { number: 1 }), Verdict::Done);
    assert_eq!((world.account().spent, world.account().remaining(world.state.policy())), (2, 1));
    assert!(world.refuses(&Command::Restore { number: 1 }, Refusal::Stale), "a restore is applied once");
    assert_eq!(world.guess(10, 3), 1);
    // What it took is owed like a guess, until a success says otherwise.
    world.enrol(2);
    assert_eq!(world.account().owed, 3);
}

#[test]
fn a_statement_of_members_follows_the_one_before() {
    let mut world = World::new(&real, policy(3, 9));
    let first = Command::Members { predecessor: [0; 32], statement: b"first".to_vec() };
    assert_eq!(world.apply(&first), Verdict::Done);
    assert!(world.refuses(&first, Refusal::Stale), "applied twice");
    let predecessor = *world.state.members().0;
    let huge = Command::Members { predecessor, statement: vec![0; crate::limits::STATEMENT_MAX + 1] };
    assert!(world.refuses(&huge, Refusal::Malformed));
    assert_eq!(world.apply(&Command::Members { predecessor, statement: b"second".to_vec() }), Verdict::Done);
    assert_eq!(world.state.members().1, b"second");
}

#[test]
fn signers_are_followed_by_those_that_a_bundle_of_theirs_names() {
    let first = Signers { auditor: [1; 32], operator: [2; 32] };
    let mut world = World::new(&real, Policy { signers: Some(first), ..policy(3, 9) });
    let (first, next) = (Obeyed::first(first), Obeyed { signers: Signers { auditor: [3; 32], ..first }, epoch: 2 });
    assert!(world.refuses(&turn(next, first), Refusal::Stale), "not those before");
    let twice = Signers { auditor: [2; 32], ..first.signers };
    assert!(world.refuses(&turn(first, Obeyed { signers: twice, epoch: 2 }), Refusal::Malformed), "one key twice");
    let huge = Command::Signers {
        from: Box::new(first),
        to: Box::new(next),
        bundle: vec![0; crate::limits::STATEMENT_MAX + 1],
    };
    assert!(world.refuses(&huge, Refusal::Malformed));
    assert_eq!(world.apply(&turn(first, next)), Verdict::Done);
    assert_eq!((world.state.signers(), world.state.obeyed()), (Some(&next.signers), Some(&next)));
    assert!(world.refuses(&turn(first, next), Refusal::Stale), "applied twice");
    // Where nobody's statements are obeyed, nobody's bundle makes that otherwise.
    let mut world = World::new(&real, policy(3, 9));
    assert!(world.refuses(&turn(first, next), Refusal::Stale));
}

#[test]
fn t3_the_ledger_takes_no_signers_of_an_epoch_that_is_not_higher() {
    let first = Signers { auditor: [1; 32], operator: [2; 32] };
    let mut world = World::new(&real, Policy { signers: Some(first), ..policy(3, 9) });
    let of = |operator: u8, epoch| Obeyed { signers: Signers { operator: [operator; 32], ..first }, epoch };
    // Those of the policy are of epoch 0, before every bundle.
    assert_eq!(world.state.obeyed(), Some(&of(2, 0)));
    assert!(world.refuses(&turn(of(2, 0), of(3, 0)), Refusal::Malformed));
    assert!(world.refuses(&turn(of(2, 1), of(3, 2)), Refusal::Stale), "the same keys, of another epoch");
    assert_eq!(world.apply(&turn(of(2, 0), of(3, 4))), Verdict::Done);
    let (before, globals) = (of(3, 4), world.state.encode_globals());
    for epoch in [0, 1, 3, 4] {
        assert!(world.refuses(&turn(before, of(2, epoch)), Refusal::Malformed), "back, by epoch {epoch}");
        assert!(world.refuses(&turn(before, of(9, epoch)), Refusal::Malformed), "on, by epoch {epoch}");
    }
    assert_eq!(world.state.encode_globals(), globals, "nothing has changed");
    // By a higher one a key may come back: then both have named it again. Epochs may be left out.
    assert_eq!(world.apply(&turn(before, of(2, 5))), Verdict::Done);
    assert!(world.refuses(&turn(of(2, 0), of(3, 4)), Refusal::Stale), "the first turn once more, from the same keys");
    assert_eq!(world.apply(&turn(of(2, 5), of(3, u32::MAX))), Verdict::Done);
    assert!(world.refuses(&turn(of(3, u32::MAX), of(2, u32::MAX)), Refusal::Malformed), "there is none after the last");
    // A checkpoint has the epoch, too.
    let again = State::decode_globals(&world.state.encode_globals()).unwrap();
    assert_eq!(again.obeyed(), Some(&of(3, u32::MAX)));
}

fn turn(from: Obeyed, to: Obeyed) -> Command {
    Command::Signers { from: Box::new(from), to: Box::new(to), bundle: b"a bundle".to_vec() }
}

#[test]
fn a_pardon_reaches_what_no_success_can_clear() {
    let mut world = World::new(&real, policy(3, 4));
    let pardon = |pardoned| Command::Pardon { account: PERSON, pardoned };
    assert!(world.refuses(&pardon(0), Refusal::NoRecord), "nobody");
    world.enrol(1);
    world.guess(1, 3);
    assert!(world.refuses(&pardon(1), Refusal::Forbidden), "a live record's charges may still be cleared");
    world.wait(DAY_S);
    world.sweep();
    let finish = world.finish(2);
    assert!(world.refuses(&finish, Refusal::LifetimeUsed));
    assert!(world.refuses(&pardon(4), Refusal::Forbidden), "more than there is");
    assert_eq!(world.apply(&pardon(2)), Verdict::Done);
    assert_eq!(State::decode(&world.state.encode()), Ok(world.state.clone()));
    assert_eq!(world.apply(&finish), Verdict::Enrolled { generation: 2, again: false });
    assert_eq!((world.account().owed, world.account().pardoned), (3, 2));
    assert_eq!(world.apply(&pardon(2)), Verdict::Done);
    assert_eq!(world.account().pardoned, 2, "a statement applied twice pardons once");
}
