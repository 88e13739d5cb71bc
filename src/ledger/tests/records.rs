//! L4, L6, L7, L8: what begins and ends a record, and what a success does to it.

use super::*;

/// A clear with every part chosen.
fn clear(generation: u32, ordinal: u32, expiry_s: u64) -> Command {
    Command::Clear { account: PERSON, generation, proof: Proof { ordinal, expiry_s } }
}

fn l4(apply: &Apply<'_>) -> Held {
    let mut world = World::new(apply, policy(4, 40));
    world.guess(1, 1);
    let now = world.now();
    hold!(world.refuses(&clear(0, 1, now), Refusal::Stale), "L4: a success without a record");
    world.enrol(1);
    world.guess(10, 4);
    hold!(world.refuses(&clear(1, 1, now), Refusal::Stale), "L4: an attempt from before the record");
    hold!(world.refuses(&clear(0, 3, now), Refusal::Stale), "L4: another generation's ticket");
    hold!(world.refuses(&clear(2, 3, now), Refusal::Stale), "L4: a later generation's ticket");
    hold!(world.refuses(&clear(1, 6, now), Refusal::Stale), "L4: an attempt that was never charged");
    hold!(world.refuses(&clear(1, 0, now), Refusal::Stale), "L4: no attempt");
    hold!(world.refuses(&clear(1, 3, now - 1), Refusal::TicketExpired), "L4: an expired ticket");
    hold!(
        world.refuses(&clear(2, 3, now - 1), Refusal::Stale),
        "L4: of a ticket both expired and stale the client is told to begin again for the record's sake"
    );

    // At its expiry the ticket is still good; it clears up to its ordinal, and once.
    hold!(world.apply(&clear(1, 3, now)) == Verdict::Cleared { again: false }, "L4: a good ticket was refused");
    hold!((world.account().cleared, world.account().open()) == (3, 2), "L4: it cleared something else");
    hold!(world.account().window.len() == 2, "L4: a later attempt's digest went");
    let before = world.bytes();
    for ordinal in [3, 2, 3] {
        hold!(world.apply(&clear(1, ordinal, now)) == Verdict::Cleared { again: true }, "L4: {ordinal} repeated");
        hold!(world.bytes() == before, "L4: a repeated or overtaken success changed something");
    }
    hold!(
        world.refuses(&clear(1, 3, now - 1), Refusal::TicketExpired),
        "L4: a repeated success is answered after its ticket expired"
    );
    world.apply(&clear(1, 5, now));
    hold!(world.account().open() == 0 && world.account().window.is_empty(), "L4: the newest success left something");

    // Destroyed: nothing brings it back.
    world.guess(20, 4);
    let ordinal = world.account().spent;
    world.wait(DAY_S);
    world.sweep();
    hold!(world.refuses(&clear(1, ordinal, u64::MAX), Refusal::Stale), "L4: a destroyed record's success counted");
    world.enrol(2);
    hold!(world.refuses(&clear(1, ordinal, u64::MAX), Refusal::Stale), "L4: a replaced record's success counted");
    hold!(world.refuses(&clear(2, ordinal, u64::MAX), Refusal::Stale), "L4: and under the new generation's name");
    Ok(())
}

#[test]
fn l4_a_success_clears_once() {
    /// Rewrites a clear before it is applied.
    fn as_if(rewrite: fn(&Account, &mut u32, &mut Proof)) -> impl Fn(&mut State, &mut Kept, &Command) -> Verdict {
        move |state, kept, command| {
            let mut command = command.clone();
            let it = look(state, &command);
            if let Command::Clear { generation, proof, .. } = &mut command {
                rewrite(&it, generation, proof);
            }
            real(state, kept, &command)
        }
    }
    let done_on = |record: fn(&Record) -> bool| {
        move |state: &mut State, kept: &mut Kept, command: &Command| match command {
            Command::Clear { proof, .. } if record(&look(state, command).record) => {
                edit(state, command, |it| it.cleared = proof.ordinal);
                Verdict::Cleared { again: false }
            }
            _ => real(state, kept, command),
        }
    };
    prove(
        l4,
        &[
            ("expiry is ignored", &as_if(|_, _, proof| proof.expiry_s = u64::MAX)),
            ("expiry is a second early", &as_if(|_, _, proof| proof.expiry_s = proof.expiry_s.saturating_sub(1))),
            ("the generation is ignored", &as_if(|it, generation, _| *generation = it.generation)),
            (
                "an ordinal never charged counts as the newest",
                &as_if(|it, _, proof| {
                    proof.ordinal = proof.ordinal.min(it.spent);
                }),
            ),
            (
                "an attempt from before the record counts",
                &as_if(|it, _, proof| {
                    proof.ordinal = proof.ordinal.max(it.began + 1);
                }),
            ),
            (
                "a success clears the whole window",
                &as_if(|it, _, proof| {
                    if proof.ordinal > it.began && proof.ordinal <= it.spent {
                        proof.ordinal = it.spent;
                    }
                }),
            ),
            (
                "a repeated success clears again",
                &as_if(|it, _, proof| {
                    if proof.ordinal > it.began && proof.ordinal <= it.cleared {
                        proof.ordinal = it.spent;
                    }
                }),
            ),
            ("a success counts on a destroyed record", &done_on(|record| *record == Record::Destroyed)),
            ("a success counts without a record", &done_on(|record| *record == Record::None)),
            ("an overtaken success takes back the later one", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let (Verdict::Cleared { again: true }, Command::Clear { proof, .. }) = (verdict, command) {
                    edit(state, command, |it| it.cleared = proof.ordinal);
                }
                verdict
            }),
            ("a repetition is refused", &|state, kept, command| match real(state, kept, command) {
                Verdict::Cleared { again: true } => Verdict::Refused(Refusal::Stale),
                verdict => verdict,
            }),
        ],
    );
}

fn l6(apply: &Apply<'_>) -> Held {
    let mut policy = policy(3, 40);
    policy.unproven_removal = true;
    let mut world = World::new(apply, policy);
    let first = world.finish(1);
    let rival = world.finish(2);
    hold!(world.apply(&first) == Verdict::Enrolled { generation: 1, again: false }, "L6: an enrolment");
    hold!(world.kept.0.get(&PERSON) == Some(&sealed(1, 1)), "L6: its bytes are not kept");
    hold!(world.refuses(&rival, Refusal::Stale), "L6: a ticket of an ended generation worked");

    // The identical finish is answered again, after attempts, after expiry, and changes nothing.
    world.guess(1, 2);
    world.wait(2 * DAY_S);
    let before = world.bytes();
    for _ in 0..2 {
        let verdict = world.apply(&first);
        hold!(verdict == Verdict::Enrolled { generation: 1, again: true }, "L6: repeated: {verdict:?}");
        hold!(world.bytes() == before, "L6: a repeated finish changed something");
    }
    hold!(world.refuses(&rival, Refusal::TicketExpired), "L6: an expired ticket");

    // The next one replaces everything in its own commit.
    let second = world.finish(3);
    hold!(world.apply(&second) == Verdict::Enrolled { generation: 2, again: false }, "L6: a second enrolment");
    let it = world.account();
    hold!(it.enrolled_by(&[3; 32]) && !it.enrolled_by(&[1; 32]), "L6: which finish made it");
    hold!((it.open(), it.window.len(), it.began, it.owed) == (0, 0, 2, 2), "L6: the old window is still there");
    hold!(world.kept.0.get(&PERSON) == Some(&sealed(1, 3)), "L6: the old record's bytes are still there");
    hold!(world.refuses(&first, Refusal::TicketExpired), "L6: the first finish came back");

    // While its record lives, and no longer.
    let third = world.finish(4);
    world.remove(None);
    hold!(!world.kept.0.contains_key(&PERSON), "L6: a removed record's bytes are still there");
    hold!(world.refuses(&second, Refusal::Stale), "L6: a finish came back after the removal");
    hold!(world.refuses(&third, Refusal::Stale), "L6: a finish held back over a removal worked");
    hold!(world.enrol(5) == Verdict::Enrolled { generation: 4, again: false }, "L6: enrolment after removal");
    let last = world.finish(6);
    world.apply(&last);
    world.guess(50, 3);
    world.wait(DAY_S);
    world.sweep();
    hold!(world.refuses(&last, Refusal::TicketExpired), "L6: a finish is answered for a destroyed record");
    Ok(())
}

#[test]
fn l6_an_enrolment_replaces_and_works_once() {
    prove(
        l6,
        &[
            ("a repeated finish makes a new generation", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Verdict::Enrolled { again: true, .. } = verdict {
                    edit(state, command, |it| it.begin(it.generation + 1, it.record));
                }
                verdict
            }),
            ("the generation is ignored", &|state, kept, command| {
                let now = look(state, command).generation;
                let mut command = command.clone();
                if let Command::Enrol { generation, .. } = &mut command {
                    *generation = now;
                }
                real(state, kept, &command)
            }),
            ("the ticket is opened before the comparison", &|state, kept, command| match command {
                Command::Enrol { expiry_s, .. } if *expiry_s < state.time_s() => {
                    Verdict::Refused(Refusal::TicketExpired)
                }
                _ => real(state, kept, command),
            }),
            ("expiry is ignored", &|state, kept, command| {
                let mut command = command.clone();
                if let Command::Enrol { expiry_s, .. } = &mut command {
                    *expiry_s = u64::MAX;
                }
                real(state, kept, &command)
            }),
            ("every finish is the same", &|state, kept, command| {
                let mut command = command.clone();
                if let Command::Enrol { finish, .. } = &mut command {
                    *finish = [0; 32];
                }
                real(state, kept, &command)
            }),
            ("a removed record's finish is answered again", &|state, kept, command| match (
                real(state, kept, command),
                command,
            ) {
                (Verdict::Refused(Refusal::Stale), Command::Enrol { generation, .. })
                    if look(state, command).record == Record::None =>
                {
                    Verdict::Enrolled { generation: generation + 1, again: true }
                }
                (verdict, _) => verdict,
            }),
            ("a destroyed record's finish is answered again", &|state, kept, command| match (
                real(state, kept, command),
                command,
            ) {
                (Verdict::Refused(_), Command::Enrol { generation, .. })
                    if look(state, command).record == Record::Destroyed =>
                {
                    Verdict::Enrolled { generation: generation + 1, again: true }
                }
                (verdict, _) => verdict,
            }),
            ("the old bytes stay at an enrolment", &|state, kept, command| {
                let before = kept.clone();
                let verdict = real(state, kept, command);
                if before.0.contains_key(&PERSON) && matches!(command, Command::Enrol { .. }) {
                    *kept = before;
                }
                verdict
            }),
            ("the old bytes stay at a removal", &|state, kept, command| {
                let before = kept.clone();
                let verdict = real(state, kept, command);
                if matches!(command, Command::Remove { .. }) {
                    *kept = before;
                }
                verdict
            }),
            ("the old window stays at an enrolment", &|state, kept, command| {
                let before = look(state, command);
                let verdict = real(state, kept, command);
                if let Verdict::Enrolled { again: false, .. } = verdict {
                    edit(state, command, |it| it.began = before.began);
                }
                verdict
            }),
        ],
    );
}

/// The ledger's part of L7: each generation is one enrolment's or one removal's, so the nonce that the vault derives
/// from it cannot meet another's.
fn l7(apply: &Apply<'_>) -> Held {
    let mut policy = policy(3, 40);
    policy.unproven_removal = true;
    let mut world = World::new(apply, policy);
    let mut last = 0;
    for name in 1..=9 {
        if name % 3 == 0 {
            world.remove(None);
            hold!(world.account().generation > last, "L7: a removal leaves the generation to the next enrolment");
            last = world.account().generation;
        } else {
            let Verdict::Enrolled { generation, again: false } = world.enrol(name) else {
                return Err("L7: an enrolment was refused".to_owned());
            };
            hold!(generation == last + 1, "L7: generation {generation} after {last}");
            hold!(world.account().generation == generation, "L7: the verdict names another generation");
            last = generation;
        }
    }
    Ok(())
}

#[test]
fn l7_no_two_enrolments_share_a_generation() {
    prove(
        l7,
        &[
            ("a removal is no generation", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if matches!((verdict, command), (Verdict::Done, Command::Remove { .. })) {
                    edit(state, command, |it| it.generation -= 1);
                }
                verdict
            }),
            ("an enrolment is no generation", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Verdict::Enrolled { generation: 2.., .. } = verdict {
                    edit(state, command, |it| it.generation -= 1);
                }
                verdict
            }),
            ("the verdict names the generation that ended", &|state, kept, command| match real(state, kept, command) {
                Verdict::Enrolled { generation, again } => Verdict::Enrolled { generation: generation - 1, again },
                verdict => verdict,
            }),
        ],
    );
}

fn l8(apply: &Apply<'_>) -> Held {
    let sweep = Command::Sweep { account: PERSON };
    let mut world = World::new(apply, policy(3, 40));
    world.enrol(1);
    world.guess(1, 2);
    world.wait(10 * DAY_S);
    hold!(world.refuses(&sweep, Refusal::Stale), "L8: a sweep destroyed a record with attempts left");
    hold!(world.state.due(9).is_empty(), "L8: a record with attempts left is due");
    world.guess(3, 1);
    let more = Command::Charge { account: PERSON, digests: ke1(4) };
    hold!(world.refuses(&more, Refusal::Exhausted), "L8: a refused charge does more than refuse");
    hold!(world.account().is_live(), "L8: a refused charge destroyed the record");
    world.wait(DAY_S - 1);
    hold!(world.refuses(&sweep, Refusal::Stale), "L8: destroyed too early");
    hold!(world.state.due(9).is_empty(), "L8: due too early");
    world.wait(1);
    hold!(world.state.due(9) == [PERSON], "L8: not due");

    // The test is made in apply: a success that commits first saves the record.
    world.clear(2);
    hold!(world.refuses(&sweep, Refusal::Stale), "L8: a sweep did not see the success before it");
    hold!(world.state.due(9).is_empty(), "L8: due after a success");
    world.guess(10, 2);
    hold!(world.refuses(&sweep, Refusal::Stale), "L8: the day did not begin anew with the last charge");
    world.wait(DAY_S);
    hold!(world.state.due(9) == [PERSON] && world.state.due(0).is_empty(), "L8: not due");
    hold!(world.apply(&sweep) == Verdict::Done, "L8: not destroyed");
    let it = world.account();
    hold!(it.record == Record::Destroyed && it.window.is_empty(), "L8: what is destroyed is still there");
    hold!(!world.kept.0.contains_key(&PERSON), "L8: a destroyed record's bytes are still there");
    hold!((it.open(), it.generation, it.spent) == (3, 1, 5), "L8: destruction changed a counter");
    hold!(world.refuses(&sweep, Refusal::Stale), "L8: destroyed twice");
    hold!(world.state.due(9).is_empty(), "L8: still due");
    hold!(
        world.refuses(&Command::Sweep { account: OTHER }, Refusal::Stale) && world.state.len() == 1,
        "L8: a sweep of nobody"
    );
    Ok(())
}

#[test]
fn l8_only_a_sweep_destroys() {
    let destroy_when = |when: fn(&State, &Command) -> bool| {
        move |state: &mut State, kept: &mut Kept, command: &Command| {
            if when(state, command) {
                edit(state, command, Account::destroy);
                kept.erase(&PERSON);
                return Verdict::Done;
            }
            real(state, kept, command)
        }
    };
    prove(
        l8,
        &[
            ("a refused charge destroys", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if verdict == Verdict::Refused(Refusal::Exhausted) {
                    edit(state, command, Account::destroy);
                }
                verdict
            }),
            ("a refused charge moves the time of the last", &|state, kept, command| {
                let (verdict, time_s) = (real(state, kept, command), state.time_s());
                if verdict == Verdict::Refused(Refusal::Exhausted) {
                    edit(state, command, |it| it.last_charge_s = time_s + 1);
                }
                verdict
            }),
            (
                "a sweep does not look whether the window is full",
                &destroy_when(|state, command| {
                    let it = look(state, command);
                    let old = state.time_s() >= it.last_charge_s + DAY_S;
                    matches!(command, Command::Sweep { .. }) && it.is_live() && old
                }),
            ),
            (
                "a sweep does not look at the time",
                &destroy_when(|state, command| {
                    matches!(command, Command::Sweep { .. }) && look(state, command).is_full(state.policy())
                }),
            ),
            ("a sweep is a second early", &|state, kept, command| {
                under(|policy| policy.destroy_after_s -= 1, state, kept, command)
            }),
            ("a sweep gives attempts back", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if matches!((verdict, command), (Verdict::Done, Command::Sweep { .. })) {
                    edit(state, command, |it| it.cleared = it.spent);
                }
                verdict
            }),
            ("a sweep leaves the bytes", &|state, kept, command| {
                let before = kept.clone();
                let verdict = real(state, kept, command);
                if matches!(command, Command::Sweep { .. }) {
                    *kept = before;
                }
                verdict
            }),
            ("nothing is destroyed", &|state, kept, command| match command {
                Command::Sweep { .. } => Verdict::Refused(Refusal::Stale),
                _ => real(state, kept, command),
            }),
        ],
    );
}
