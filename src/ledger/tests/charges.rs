//! L1, L2, L3, L9, L10: what a charge is, and that none is given back.

use super::*;

fn charged(generation: u32, ordinal: u32, live: bool, remaining: u32, again: bool) -> Verdict {
    Verdict::Charged { generation, ordinal, live, remaining, again }
}

fn l1(apply: &Apply<'_>) -> Held {
    let mut world = World::new(apply, policy(3, 9));
    // Never enrolled: charged all the same, and no record to evaluate.
    hold!(world.charge(1) == charged(0, 1, false, 2, false), "L1: an unknown id's first charge");
    world.enrol(1);
    for number in 2..=4 {
        let want = charged(1, number, true, 4 - number, false);
        hold!(world.charge(number) == want, "L1: charge {number} has no ordinal of its own");
        hold!(world.account().spent == number, "L1: charge {number} is not in the state");
    }
    let more = Command::Charge { account: PERSON, digests: ke1(5) };
    hold!(world.refuses(&more, Refusal::Exhausted), "L1: more than the window holds");
    world.wait(DAY_S);
    world.sweep();
    let old = Command::Charge { account: PERSON, digests: ke1(4) };
    hold!(world.refuses(&more, Refusal::Exhausted), "L1: a destroyed record is charged");
    hold!(world.refuses(&old, Refusal::Exhausted), "L1: a destroyed record is evaluated again");
    world.enrol(2);
    hold!(world.charge(5) == charged(2, 5, true, 2, false), "L1: an ordinal is used twice");
    world.state.globals.policy.unproven_removal = true;
    world.remove(None);
    hold!(world.charge(6) == charged(3, 6, false, 2, false), "L1: a removed record is evaluated");
    Ok(())
}

#[test]
fn l1_every_evaluation_has_a_charge_of_its_own() {
    prove(
        l1,
        &[
            ("an ordinal is used twice", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Verdict::Charged { generation, ordinal: ordinal @ 2.., live, remaining, again: false } = verdict
                {
                    edit(state, command, |it| it.spent -= 1);
                    return charged(generation, ordinal - 1, live, remaining, false);
                }
                verdict
            }),
            ("a full window is charged to its last attempt", &|state, kept, command| match (
                real(state, kept, command),
                command,
            ) {
                (Verdict::Refused(Refusal::Exhausted), Command::Charge { .. }) => {
                    let it = look(state, command);
                    charged(it.generation, it.spent, it.is_live(), 0, true)
                }
                (verdict, _) => verdict,
            }),
            ("every record lives", &|state, kept, command| match real(state, kept, command) {
                Verdict::Charged { generation, ordinal, remaining, again, .. } => {
                    charged(generation, ordinal, true, remaining, again)
                }
                verdict => verdict,
            }),
            ("a charge is answered and not kept", &|state, kept, command| {
                let before = look(state, command);
                let verdict = real(state, kept, command);
                if let Command::Charge { .. } = command {
                    edit(state, command, |it| *it = before);
                }
                verdict
            }),
        ],
    );
}

/// A life with everything in it that could give an attempt back.
fn l2(apply: &Apply<'_>) -> Held {
    let mut policy = policy(3, 20);
    policy.unproven_removal = true;
    let mut world = World::new(apply, policy);
    let pardon = |pardoned| Command::Pardon { account: PERSON, pardoned };
    let steps: &[(&str, &dyn Fn(&mut World<'_>))] = &[
        ("enrolment", &|world| _ = world.enrol(1)),
        ("charges", &|world| _ = world.guess(1, 3)),
        ("refused charge", &|world| _ = world.charge(9)),
        ("enrolment over open charges", &|world| _ = world.enrol(2)),
        ("charges", &|world| _ = world.guess(10, 2)),
        ("success", &|world| _ = world.clear(4)),
        ("pardon", &|world| _ = world.apply(&pardon(2))),
        ("lower pardon", &|world| _ = world.apply(&pardon(1))),
        ("repeated success", &|world| _ = world.clear(4)),
        ("later success", &|world| _ = world.clear(5)),
        ("charges", &|world| _ = world.guess(20, 2)),
        ("restart", &|world| world.state = State::decode(&world.state.encode()).unwrap()),
        ("removal", &|world| _ = world.remove(None)),
        ("charge without a record", &|world| _ = world.charge(30)),
        ("enrolment", &|world| _ = world.enrol(3)),
        ("restore", &|world| _ = world.apply(&Command::Restore { number: 1 })),
        ("charges", &|world| _ = world.guess(40, 3)),
        ("restart", &|world| world.state = State::decode(&world.state.encode()).unwrap()),
        ("sweep", &|world| {
            world.wait(DAY_S);
            world.sweep();
        }),
        ("pardon of a destroyed record", &|world| _ = world.apply(&pardon(6))),
        ("enrolment after the sweep", &|world| _ = world.enrol(4)),
        ("forgetting", &|world| _ = world.apply(&Command::Forget { most: 9 })),
        ("repeated finish", &|world| _ = world.enrol(4)),
    ];
    for (step, act) in steps {
        let (mut before, time_s) = (world.account(), world.now());
        act(&mut world);
        let mut after = world.account();
        for (counter, value) in COUNTERS {
            let (before, after) = (*value(&mut before), *value(&mut after));
            hold!(after >= before, "L2: {step} took {counter} from {before} to {after}");
        }
        hold!(world.now() >= time_s, "L2: {step} turned time back");
    }
    Ok(())
}

#[test]
fn l2_no_attempt_is_refunded() {
    prove(
        l2,
        &[
            ("a success gives attempts back", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Verdict::Cleared { again: false } = verdict {
                    edit(state, command, |it| it.spent = it.cleared);
                    edit(state, command, |it| it.spent -= 1);
                }
                verdict
            }),
            ("a pardon lowers", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Command::Pardon { pardoned, .. } = command {
                    edit(state, command, |it| it.pardoned = *pardoned);
                }
                verdict
            }),
        ],
    );
    // Each counter, lowered by each kind of command that leaves it above zero, is seen.
    let kinds: [(&str, fn(&Command) -> bool); 5] = [
        ("charge", |command| matches!(command, Command::Charge { .. })),
        ("success", |command| matches!(command, Command::Clear { .. })),
        ("enrolment", |command| matches!(command, Command::Enrol { .. })),
        ("removal", |command| matches!(command, Command::Remove { .. })),
        ("pardon", |command| matches!(command, Command::Pardon { .. })),
    ];
    for (kind, is) in kinds {
        for (counter, value) in COUNTERS {
            let name = format!("a {kind} lowers {counter}");
            prove(
                l2,
                &[(&name, &|state, kept, command| {
                    let mut before = look(state, command);
                    let verdict = real(state, kept, command);
                    let before = *value(&mut before);
                    if is(command) && before > 0 {
                        edit(state, command, |it| *value(it) = before - 1);
                    }
                    verdict
                })],
            );
        }
    }
}

/// Under one record, and under all records that ended unproven.
fn l3(apply: &Apply<'_>) -> Held {
    let (attempts_max, lifetime_max) = (3, 8);
    let mut policy = policy(attempts_max, lifetime_max);
    policy.unproven_removal = true;
    let mut world = World::new(apply, policy);
    world.enrol(1);
    hold!(world.guess(1, 9) == attempts_max, "L3: more than attempts_max under one record");
    world.clear(3);
    hold!(world.guess(10, 9) == attempts_max, "L3: another window is not attempts_max");
    // A success of an attempt that is not the newest leaves the later ones counted.
    world.clear(4);
    hold!(world.guess(20, 9) == 1, "L3: a success cleared attempts that came after it");
    world.clear(7);
    hold!(world.account().open() == 0 && world.account().owed == 0, "L3: a success left something open");

    // From here on nothing is proven: records end by enrolment, removal and destruction in turn.
    let (mut charged, mut name) = (0, 1);
    for round in 0..20 {
        // Charges without a record are evaluated by nobody's key, and owed by nobody.
        charged += if world.account().is_live() { world.guess(100 + 10 * round, 1 + round % 3) } else { 0 };
        match round % 3 {
            0 => _ = world.remove(None),
            1 => {}
            _ => {
                world.wait(DAY_S);
                world.sweep();
            }
        }
        // Own enrolment and own success in between change nothing of it.
        name += 1;
        if let Verdict::Enrolled { .. } = world.enrol(name) {
            let own = world.charge(1000 + round);
            if let Verdict::Charged { ordinal, .. } = own {
                world.clear(ordinal);
            }
        } else if world.account().is_live() {
            charged += world.guess(2000 + 10 * round, attempts_max);
            break;
        }
    }
    let limit = lifetime_max;
    hold!(charged <= limit, "L3: {charged} unproven attempts over all records, {limit} allowed");
    hold!(charged > limit - attempts_max, "L3: locked out after {charged}");
    let owed = world.account().owed;
    world.apply(&Command::Pardon { account: PERSON, pardoned: owed });
    let pardoned = world.account().pardoned;
    world.remove(None);
    world.apply(&Command::Pardon { account: PERSON, pardoned });
    for round in 0..20 {
        name += 1;
        world.enrol(name);
        charged += if world.account().is_live() { world.guess(3000 + 10 * round, attempts_max) } else { 0 };
    }
    let limit = lifetime_max + pardoned;
    hold!(charged <= limit, "L3: {charged} unproven attempts over all records, {limit} allowed and pardoned");
    Ok(())
}

#[test]
fn l3_attempts_between_successes_and_in_a_lifetime_are_bounded() {
    prove(
        l3,
        &[
            ("the window holds one more", &|state, kept, command| match command {
                Command::Charge { .. } => under(|policy| policy.attempts_max += 1, state, kept, command),
                _ => real(state, kept, command),
            }),
            ("the window holds one less", &|state, kept, command| match command {
                Command::Charge { .. } => under(|policy| policy.attempts_max -= 1, state, kept, command),
                _ => real(state, kept, command),
            }),
            ("a success clears what came after it", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Verdict::Cleared { .. } = verdict {
                    edit(state, command, |it| it.cleared = it.spent);
                }
                verdict
            }),
            ("a success clears what is owed", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Verdict::Cleared { .. } = verdict {
                    edit(state, command, |it| it.owed = it.pardoned);
                }
                verdict
            }),
            ("an enrolment forgets open charges", &|state, kept, command| {
                let before = look(state, command);
                let verdict = real(state, kept, command);
                if let Verdict::Enrolled { .. } = verdict {
                    edit(state, command, |it| it.owed = before.owed);
                }
                verdict
            }),
            ("a removal forgets open charges", &|state, kept, command| {
                let before = look(state, command);
                let verdict = real(state, kept, command);
                if let Command::Remove { .. } = command {
                    edit(state, command, |it| it.owed = before.owed);
                }
                verdict
            }),
            ("an enrolment does not count the record that it ends", &|state, kept, command| match command {
                Command::Enrol { .. } => {
                    let it = look(state, command);
                    let open = if it.record == Record::None { 0 } else { it.open() };
                    under(|policy| policy.lifetime_max += open, state, kept, command)
                }
                _ => real(state, kept, command),
            }),
            ("a lifetime is longer", &|state, kept, command| {
                under(|policy| policy.lifetime_max += policy.attempts_max, state, kept, command)
            }),
            ("a pardon adds", &|state, kept, command| {
                let before = look(state, command);
                let verdict = real(state, kept, command);
                if let Command::Pardon { pardoned, .. } = command {
                    edit(state, command, |it| it.pardoned = before.pardoned + pardoned);
                }
                verdict
            }),
        ],
    );
}

fn l9(apply: &Apply<'_>) -> Held {
    let mut policy = policy(3, 30);
    policy.unproven_removal = true;
    let mut world = World::new(apply, policy);
    let repeat = |number| Command::Charge { account: PERSON, digests: ke1(number) };
    world.enrol(1);
    world.guess(1, 3);
    world.wait(5);
    let before = world.bytes();
    for number in [1, 3, 2, 2, 1, 3] {
        let verdict = world.charge(number);
        hold!(verdict == charged(1, number, true, 0, true), "L9: repeating {number} was answered {verdict:?}");
        hold!(world.bytes() == before, "L9: repeating {number} changed something");
        hold!(
            world.state.charged_before(&PERSON, &ke1(number)) == Some((1, number)),
            "L9: the read path does not know it"
        );
    }
    hold!(world.state.charged_before(&PERSON, &ke1(4)).is_none(), "L9: a KE1 never charged is known");
    // The fleet key has rotated: the digest under the one before still tells it, under another number nothing does.
    let rotated = Digests { current: keyed(2, 2), previous: Some(keyed(1, 2)) };
    let verdict = world.apply(&Command::Charge { account: PERSON, digests: rotated });
    hold!(verdict == charged(1, 2, true, 0, true), "L9: not known under the previous key");
    let mistaken = Digests { current: KeyedDigest { key_number: 2, ..keyed(1, 2) }, previous: None };
    let mistaken = Command::Charge { account: PERSON, digests: mistaken };
    hold!(world.refuses(&mistaken, Refusal::Exhausted), "L9: a digest under another key was taken for it");
    let others = Command::Charge { account: OTHER, digests: ke1(2) };
    hold!(world.apply(&others) == charged(0, 1, false, 2, false), "L9: another account's KE1 was taken for it");

    // Erased up to the ordinal at a success ...
    world.clear(2);
    hold!(world.charge(3) == charged(1, 3, true, 2, true), "L9: a success erased a later digest");
    hold!(world.charge(2) == charged(1, 4, true, 1, false), "L9: a success left a digest");
    // ... at an enrolment, a removal, and destruction.
    world.enrol(2);
    hold!(world.charge(3) == charged(2, 5, true, 2, false), "L9: an enrolment left a digest");
    world.remove(None);
    hold!(world.charge(3) == charged(3, 6, false, 2, false), "L9: a removal left a digest");
    world.enrol(3);
    hold!(world.charge(3) == charged(4, 7, true, 2, false), "L9: an enrolment left a fake's digest");
    world.guess(10, 2);
    world.wait(DAY_S);
    world.sweep();
    hold!(world.refuses(&repeat(3), Refusal::Exhausted), "L9: destruction left a digest");
    Ok(())
}

#[test]
fn l9_repeating_a_ke1_costs_nothing() {
    /// After a command for which `is` says so, the digests of before are put back.
    fn keeps(is: fn(&Command) -> bool) -> impl Fn(&mut State, &mut Kept, &Command) -> Verdict {
        move |state, kept, command| {
            let before = look(state, command);
            let verdict = real(state, kept, command);
            if is(command) && !matches!(verdict, Verdict::Refused(_)) {
                edit(state, command, |it| it.window = before.window);
            }
            verdict
        }
    }
    prove(
        l9,
        &[
            ("the window is tested first", &|state, kept, command| match command {
                Command::Charge { .. } if look(state, command).remaining(state.policy()) == 0 => {
                    Verdict::Refused(Refusal::Exhausted)
                }
                _ => real(state, kept, command),
            }),
            ("a repetition is charged", &|state, kept, command| {
                edit(state, command, |it| it.window = Box::default());
                real(state, kept, command)
            }),
            ("a repetition moves the time of the last charge", &|state, kept, command| {
                let (verdict, time_s) = (real(state, kept, command), state.time_s());
                if let Verdict::Charged { again: true, .. } = verdict {
                    edit(state, command, |it| it.last_charge_s = time_s);
                }
                verdict
            }),
            ("the previous key is not looked at", &|state, kept, command| match command {
                Command::Charge { account, digests } => {
                    let digests = Digests { previous: None, ..*digests };
                    real(state, kept, &Command::Charge { account: *account, digests })
                }
                _ => real(state, kept, command),
            }),
            ("the key number is not looked at", &|state, kept, command| match command {
                Command::Charge { account, digests } => {
                    let mut digests = *digests;
                    digests.current.key_number = 1;
                    real(state, kept, &Command::Charge { account: *account, digests })
                }
                _ => real(state, kept, command),
            }),
            ("a success leaves digests", &keeps(|command| matches!(command, Command::Clear { .. }))),
            ("an enrolment leaves digests", &keeps(|command| matches!(command, Command::Enrol { .. }))),
            ("a removal leaves digests", &keeps(|command| matches!(command, Command::Remove { .. }))),
            ("destruction leaves digests", &keeps(|command| matches!(command, Command::Sweep { .. }))),
            ("a success erases every digest", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Verdict::Cleared { .. } = verdict {
                    edit(state, command, |it| it.window = Box::default());
                }
                verdict
            }),
        ],
    );
}

/// The ledger's part of L10: a receipt says which generation it was charged to, and that one is live only until the
/// next commit that ends it, be it in the same batch.
fn l10(apply: &Apply<'_>) -> Held {
    let mut world = World::new(apply, policy(3, 30));
    let mut named = std::collections::BTreeSet::new();
    for name in 1..=3 {
        world.enrol(name);
        for number in 0..2 {
            let Verdict::Charged { generation, ordinal, .. } = world.charge(u32::from(name) * 10 + number) else {
                return Err("L10: a charge was refused".to_owned());
            };
            let live = world.account();
            hold!(live.is_live() && live.generation == generation, "L10: the receipt names another generation");
            hold!(named.insert(ordinal), "L10: two receipts of an account name one ordinal");
            if number == 1 {
                let held = generation;
                world.enrol(100 + name);
                hold!(world.account().generation != held, "L10: a receipt outlived its generation");
                hold!(
                    world.state.charged_before(&PERSON, &ke1(u32::from(name) * 10 + number)).is_none(),
                    "L10: a receipt of an ended generation is given again"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn l10_a_receipt_names_its_generation_and_ordinal() {
    prove(
        l10,
        &[
            ("a receipt names the first generation", &|state, kept, command| match real(state, kept, command) {
                Verdict::Charged { ordinal, live, remaining, again, .. } => charged(1, ordinal, live, remaining, again),
                verdict => verdict,
            }),
            ("an enrolment keeps the generation", &|state, kept, command| {
                let before = look(state, command);
                let verdict = real(state, kept, command);
                if before.generation > 0 {
                    edit(state, command, |it| it.generation = before.generation);
                }
                verdict
            }),
            ("an enrolment counts from one again", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Verdict::Enrolled { again: false, .. } = verdict {
                    edit(state, command, |it| (it.spent, it.began, it.cleared) = (0, 0, 0));
                }
                verdict
            }),
            ("an enrolment leaves digests", &|state, kept, command| {
                let before = look(state, command);
                let verdict = real(state, kept, command);
                if let Verdict::Enrolled { .. } = verdict {
                    edit(state, command, |it| it.window = before.window);
                }
                verdict
            }),
        ],
    );
}
