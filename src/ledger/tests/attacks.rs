//! Attacks by name, each of which a rule exists for.

use super::*;

/// A front-end enrols a record of its own, proves success there, and hopes that the person's budget is whole again.
fn laundering(apply: &Apply<'_>) -> Held {
    let (attempts_max, lifetime_max) = (3, 9);
    let mut world = World::new(apply, policy(attempts_max, lifetime_max));
    let mut guesses = 0;
    for round in 0..20u8 {
        // The person enrols their code; the front-end guesses at it ...
        if !matches!(world.enrol(2 * round), Verdict::Enrolled { .. }) {
            break;
        }
        guesses += world.guess(u32::from(round) * 100, attempts_max);
        // ... then replaces the record by its own and succeeds there.
        if matches!(world.enrol(2 * round + 1), Verdict::Enrolled { .. }) {
            world.charge(u32::from(round) * 100 + 50);
            let ordinal = world.account().spent;
            hold!(world.clear(ordinal) == Verdict::Cleared { again: false }, "an own success is refused");
        }
    }
    hold!(guesses == lifetime_max, "{guesses} guesses, {lifetime_max} in a lifetime");
    Ok(())
}

#[test]
fn budget_laundered_by_an_own_enrolment_and_success() {
    prove(
        laundering,
        &[
            ("a success clears what is owed", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Verdict::Cleared { .. } = verdict {
                    edit(state, command, |it| it.owed = 0);
                }
                verdict
            }),
            ("an enrolment begins with nothing owed", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if let Verdict::Enrolled { .. } = verdict {
                    edit(state, command, |it| it.owed = 0);
                }
                verdict
            }),
        ],
    );
}

/// KE1s charged to one record, sent again to the next: each would be a free guess there.
fn old_ke1(apply: &Apply<'_>) -> Held {
    let mut world = World::new(apply, policy(3, 9));
    world.guess(1, 3);
    world.enrol(1);
    for number in 1..=2 {
        let verdict = world.charge(number);
        hold!(
            matches!(verdict, Verdict::Charged { generation: 1, again: false, .. }),
            "KE1 {number} of before the enrolment: {verdict:?}"
        );
    }
    hold!(world.account().open() == 2, "what was repeated is not counted");
    world.enrol(2);
    hold!(world.state.charged_before(&PERSON, &ke1(1)).is_none(), "free on the read path");
    hold!(world.guess(1, 9) == 3, "more KE1s than the window holds");
    Ok(())
}

#[test]
fn old_ke1_replayed_after_enrolment() {
    prove(
        old_ke1,
        &[("an enrolment leaves digests", &|state, kept, command| {
            let before = look(state, command);
            let verdict = real(state, kept, command);
            if let Verdict::Enrolled { .. } = verdict {
                edit(state, command, |it| it.window = before.window);
            }
            verdict
        })],
    );
}

/// A finish kept back by the front-end and sent when the person has removed their record: the record must not return.
fn held_back(apply: &Apply<'_>) -> Held {
    let mut world = World::new(apply, policy(3, 9));
    let early = world.finish(1);
    world.enrol(2);
    let late = world.finish(3);
    world.charge(1);
    let proof = Proof { ordinal: 1, expiry_s: world.now() };
    hold!(world.remove(Some(proof)) == Verdict::Done, "a proven removal is refused");
    for finish in [&early, &late] {
        hold!(world.refuses(finish, Refusal::Stale), "a finish from before the removal brought a record back");
    }
    hold!(world.account().record == Record::None && world.kept.0.is_empty(), "a record is back");
    hold!(world.account().owed == 0, "a proven removal owes what led up to it");
    Ok(())
}

#[test]
fn held_back_enrolment_finish_after_a_removal() {
    prove(
        held_back,
        &[
            ("the generation is ignored", &|state, kept, command| {
                let now = look(state, command).generation;
                let mut command = command.clone();
                if let Command::Enrol { generation, .. } = &mut command {
                    *generation = now;
                }
                real(state, kept, &command)
            }),
            ("a removal is no generation", &|state, kept, command| {
                let verdict = real(state, kept, command);
                if matches!((verdict, command), (Verdict::Done, Command::Remove { .. })) {
                    edit(state, command, |it| it.generation -= 1);
                }
                verdict
            }),
        ],
    );
}

/// A charge and an enrolment in one batch, in either order: the charge belongs to the record that was there when it was
/// applied, never to the other.
fn one_batch(apply: &Apply<'_>) -> Held {
    let prepared = || {
        let mut world = World::new(apply, policy(3, 9));
        world.enrol(1);
        world
    };
    let mut world = prepared();
    let (charge, enrol) = (Command::Charge { account: PERSON, digests: ke1(1) }, world.finish(2));
    let want = Verdict::Charged { generation: 1, ordinal: 1, live: true, remaining: 2, again: false };
    hold!(world.apply(&charge) == want, "the charge before the enrolment");
    hold!(world.apply(&enrol) == Verdict::Enrolled { generation: 2, again: false }, "the enrolment after the charge");
    let it = world.account();
    hold!(it.generation != 1 && it.owed == 1, "the charge is not owed");
    hold!(it.open() == 0 && it.window.is_empty(), "the charge is the new record's");
    hold!(world.state.charged_before(&PERSON, &ke1(1)).is_none(), "a retry would be evaluated under the new record");

    let mut world = prepared();
    world.apply(&enrol);
    let want = Verdict::Charged { generation: 2, ordinal: 1, live: true, remaining: 2, again: false };
    hold!(world.apply(&charge) == want, "the charge after the enrolment");
    let it = world.account();
    hold!((it.owed, it.open(), it.window.len()) == (0, 1, 1), "the charge is the old record's");
    Ok(())
}

#[test]
fn a_charge_and_an_enrolment_in_one_batch() {
    prove(
        one_batch,
        &[
            ("an enrolment forgets open charges", &|state, kept, command| {
                let before = look(state, command);
                let verdict = real(state, kept, command);
                if let Verdict::Enrolled { .. } = verdict {
                    edit(state, command, |it| it.owed = before.owed);
                }
                verdict
            }),
            ("an enrolment takes the open window over", &|state, kept, command| {
                let before = look(state, command);
                let verdict = real(state, kept, command);
                if let Verdict::Enrolled { .. } = verdict {
                    edit(state, command, |it| (it.began, it.window) = (before.began, before.window));
                }
                verdict
            }),
            ("a charge names no generation", &|state, kept, command| match real(state, kept, command) {
                Verdict::Charged { ordinal, live, remaining, again, .. } => {
                    Verdict::Charged { generation: 0, ordinal, live, remaining, again }
                }
                verdict => verdict,
            }),
        ],
    );
}

/// Seconds since 1970 pass 2^32 in 2106. Nothing wraps there, nor where 64 bits end.
fn far_future(apply: &Apply<'_>) -> Held {
    for (time_s, left_s) in [((1 << 32) - 10, u64::MAX), (u64::MAX - 10, 10)] {
        let mut world = World::new(apply, policy(3, 9));
        world.enrol(1);
        let old = world.finish(2);
        world.guess(1, 1);
        let (today, ticket_s) = (world.now(), world.now() + 600);
        world.state.advance(time_s);
        world.state.advance(today);
        hold!(world.now() == time_s, "time went back to {}", world.now());
        let clear = |expiry_s| Command::Clear { account: PERSON, generation: 1, proof: Proof { ordinal: 1, expiry_s } };
        hold!(world.refuses(&clear(ticket_s), Refusal::TicketExpired), "a ticket of 2026 is good in {time_s}");
        hold!(world.refuses(&old, Refusal::TicketExpired), "an enrolment of 2026 is good in {time_s}");
        world.guess(2, 2);
        hold!(world.account().last_charge_s == time_s, "a charge is dated {}", world.account().last_charge_s);
        // The tenth second from here is beyond 2^32, or the last of all.
        world.wait(10);
        hold!(world.now() == time_s + 10, "time wraps");
        let due = world.state.due(1).is_empty() && world.sweep() == Verdict::Refused(Refusal::Stale);
        hold!(due && world.account().is_live(), "destroyed after ten seconds at {time_s}");
        hold!(world.apply(&clear(time_s + 10)) == Verdict::Cleared { again: false }, "a good ticket at {time_s}");
        world.guess(10, 1);
        if left_s > DAY_S {
            world.wait(DAY_S);
            hold!(world.state.due(1) == [PERSON] && world.sweep() == Verdict::Done, "never destroyed at {time_s}");
        } else {
            world.wait(DAY_S);
            hold!(world.now() == u64::MAX && world.state.due(1).is_empty(), "a day in no time");
        }
        hold!(world.apply(&Command::Forget { most: 9 }) == Verdict::Done, "forgetting at {time_s}");
        hold!(State::decode(&world.state.encode()).as_ref() == Ok(&world.state), "does not read back at {time_s}");
    }
    Ok(())
}

#[test]
fn a_clock_in_2106() {
    prove(
        far_future,
        &[
            ("seconds in 32 bits", &|state, kept, command| {
                let time_s = state.globals.time_s;
                state.globals.time_s &= 0xffff_ffff;
                let verdict = real(state, kept, command);
                state.globals.time_s = time_s;
                verdict
            }),
            ("tickets expire in 32 bits", &|state, kept, command| {
                let mut command = command.clone();
                if let Command::Clear { proof, .. } = &mut command {
                    proof.expiry_s &= 0xffff_ffff;
                }
                real(state, kept, &command)
            }),
            ("a sum that ends at the end of time", &|state, kept, command| {
                let end = look(state, command).last_charge_s.saturating_add(DAY_S);
                if matches!(command, Command::Sweep { .. }) && state.time_s() >= end {
                    edit(state, command, |it| it.last_charge_s = 0);
                }
                real(state, kept, command)
            }),
        ],
    );
}

/// The sweep commits first, the success second: the record is gone, and its attempts stay counted.
fn late_clear(apply: &Apply<'_>) -> Held {
    let mut world = World::new(apply, policy(3, 9));
    world.enrol(1);
    world.guess(1, 3);
    world.wait(DAY_S);
    let expiry_s = world.now();
    hold!(world.sweep() == Verdict::Done, "the sweep");
    let clear = Command::Clear { account: PERSON, generation: 1, proof: Proof { ordinal: 3, expiry_s } };
    hold!(world.refuses(&clear, Refusal::Stale), "a success after the sweep was taken");
    let remove =
        Command::Remove { account: PERSON, generation: 1, proof: Some(Proof { ordinal: 3, expiry_s: expiry_s + 9 }) };
    hold!(world.refuses(&remove, Refusal::Stale), "a proven removal after the sweep was taken");
    let charge = Command::Charge { account: PERSON, digests: ke1(4) };
    hold!(world.refuses(&charge, Refusal::Exhausted), "the window is open again");
    world.enrol(2);
    hold!(world.account().owed == 3, "the destroyed record's attempts are not owed");
    Ok(())
}

#[test]
fn a_clear_that_commits_after_the_sweep() {
    prove(
        late_clear,
        &[
            ("a success counts on a destroyed record", &|state, kept, command| match command {
                Command::Clear { proof, .. } if look(state, command).record == Record::Destroyed => {
                    edit(state, command, |it| it.cleared = proof.ordinal);
                    Verdict::Cleared { again: false }
                }
                _ => real(state, kept, command),
            }),
            ("a destroyed record is removed by proof", &|state, kept, command| match command {
                Command::Remove { .. } if look(state, command).record == Record::Destroyed => under(
                    |policy| policy.unproven_removal = true,
                    state,
                    kept,
                    &Command::Remove { account: PERSON, generation: look(state, command).generation, proof: None },
                ),
                _ => real(state, kept, command),
            }),
            ("destroyed attempts are not owed", &|state, kept, command| {
                let before = look(state, command);
                let verdict = real(state, kept, command);
                if before.record == Record::Destroyed && matches!(verdict, Verdict::Enrolled { .. }) {
                    edit(state, command, |it| it.owed = before.owed);
                }
                verdict
            }),
        ],
    );
}
