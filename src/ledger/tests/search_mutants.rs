//! The search is seen to fail: each of these rules, broken, gives the adversary more guesses than the bound.
//!
//! Some rules can be broken without that, since others stand behind them. A clear under another generation's name is
//! one: ordinals never repeat, so those of an ended generation clear nothing. They have their tests among L1 to L12.

use super::search::Game;
use super::*;

/// The search over a mutant ends at more guesses than allowed.
fn breaks(name: &str, mutant: &Apply<'_>) {
    let limits: &[_] = if cfg!(debug_assertions) { &[(2, 4)] } else { &[(2, 4), (3, 5)] };
    for (attempts_max, lifetime_max) in limits.iter().copied() {
        // Removal without proof is the setting in which there is most to be broken.
        let game = Game::new(mutant, attempts_max, lifetime_max).pardons(&[1, 2]).unproven_removal();
        let found = game.without_comparison().search();
        let broken = found.broken.unwrap_or_default();
        println!("mutant {name}: {} states, {broken}", found.states);
        assert!(broken.contains("guesses"), "the bound held although {name}");
    }
}

/// After every command for which `is` says so, the account is changed with a look at what it was.
fn after(
    is: fn(&Command, Verdict) -> bool,
    change: fn(&mut Account, &Account),
) -> impl Fn(&mut State, &mut Kept, &Command) -> Verdict {
    move |state, kept, command| {
        let before = look(state, command);
        let verdict = real(state, kept, command);
        if is(command, verdict) {
            edit(state, command, |it| change(it, &before));
        }
        verdict
    }
}

fn cleared(_: &Command, verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Cleared { .. })
}

fn enrolled(_: &Command, verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Enrolled { again: false, .. })
}

fn removed(command: &Command, verdict: Verdict) -> bool {
    matches!((command, verdict), (Command::Remove { .. }, Verdict::Done))
}

fn swept(command: &Command, verdict: Verdict) -> bool {
    matches!((command, verdict), (Command::Sweep { .. }, Verdict::Done))
}

#[test]
fn what_is_owed() {
    breaks("a success clears what is owed", &after(cleared, |it, _| it.owed = it.pardoned));
    breaks("an enrolment clears what is owed", &after(enrolled, |it, _| it.owed = it.pardoned));
    breaks("an enrolment forgets open charges", &after(enrolled, |it, before| it.owed = before.owed.max(it.pardoned)));
    breaks("a removal forgets open charges", &after(removed, |it, before| it.owed = before.owed.max(it.pardoned)));
    breaks(
        "a destroyed record's charges are not owed",
        &after(enrolled, |it, before| {
            if before.record == Record::Destroyed {
                it.owed = before.owed.max(it.pardoned);
            }
        }),
    );
    breaks("a sweep gives attempts back", &after(swept, |it, _| it.cleared = it.spent));
}

#[test]
fn what_a_lifetime_holds() {
    breaks("an enrolment does not count the record that it ends", &|state, kept, command| match command {
        Command::Enrol { .. } => {
            let it = look(state, command);
            let open = if it.record == Record::None { 0 } else { it.open() };
            under(|policy| policy.lifetime_max += open, state, kept, command)
        }
        _ => real(state, kept, command),
    });
    breaks("an enrolment does not count the record that it begins", &|state, kept, command| match command {
        Command::Enrol { .. } => under(|policy| policy.lifetime_max += policy.attempts_max, state, kept, command),
        _ => real(state, kept, command),
    });
    breaks("a lifetime holds one more", &|state, kept, command| {
        under(|policy| policy.lifetime_max += 1, state, kept, command)
    });
    breaks(
        "a pardon adds",
        &after(
            |command, verdict| matches!((command, verdict), (Command::Pardon { .. }, Verdict::Done)),
            |it, before| it.pardoned = (before.pardoned + 1).min(it.owed),
        ),
    );
    breaks("an account that enrolled is forgotten", &|state, kept, command| match command {
        Command::Forget { .. } => {
            state.accounts.remove(&PERSON);
            state.indexes = Default::default();
            Verdict::Done
        }
        _ => real(state, kept, command),
    });
}

#[test]
fn what_a_success_clears() {
    breaks("a success at any ordinal of any generation clears the window", &|state, kept, command| {
        let it = look(state, command);
        let mut command = command.clone();
        if let Command::Clear { generation, proof, .. } = &mut command {
            (*generation, proof.ordinal) = (it.generation, it.spent);
        }
        real(state, kept, &command)
    });
    breaks("a repeated success clears again", &|state, kept, command| {
        let it = look(state, command);
        let mut command = command.clone();
        if let Command::Clear { proof, .. } = &mut command
            && proof.ordinal > it.began
            && proof.ordinal <= it.cleared
        {
            proof.ordinal = it.spent;
        }
        real(state, kept, &command)
    });
    breaks("a success also clears what is charged next", &after(cleared, |it, _| it.spent = it.cleared.max(it.began)));
}

#[test]
fn what_a_charge_costs() {
    breaks("the window holds one more", &|state, kept, command| match command {
        Command::Charge { .. } => under(|policy| policy.attempts_max += 1, state, kept, command),
        _ => real(state, kept, command),
    });
    breaks("a full window is answered as if for a KE1 charged before", &|state, kept, command| match (
        real(state, kept, command),
        command,
    ) {
        (Verdict::Refused(Refusal::Exhausted), Command::Charge { .. }) => {
            let it = look(state, command);
            let (generation, ordinal, live) = (it.generation, it.spent, it.is_live());
            Verdict::Charged { generation, ordinal, live, remaining: 0, again: true }
        }
        (verdict, _) => verdict,
    });
    breaks("an enrolment leaves digests", &after(enrolled, |it, before| it.window = before.window.clone()));
    breaks("a refused charge gives one back", &|state, kept, command| {
        let verdict = real(state, kept, command);
        if verdict == Verdict::Refused(Refusal::Exhausted) {
            edit(state, command, |it| it.cleared = (it.spent - it.open()) + 1);
        }
        verdict
    });
}
