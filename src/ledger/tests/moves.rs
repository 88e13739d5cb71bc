//! Accounts that go from one vault to another: each answered by one of the two, its counters going on where they were.

use std::cell::RefCell;

use super::*;
use crate::ledger::{Arrival, Moving, Side, Tally};
use crate::limits::UNKNOWN_KEEP_S;

const OFFER: [u8; 32] = [7; 32];
const BEGIN: AccountId = AccountId([0; 32]);

fn depart(upto: Option<AccountId>) -> Command {
    Command::Depart { offer: OFFER, upto }
}

/// What comes of the accounts of a vault between two bounds, their records under keys of another.
fn arrive(from: AccountId, upto: Option<AccountId>, source: &World<'_>) -> Command {
    let between = |id: &AccountId| *id >= from && upto.is_none_or(|upto| *id < upto);
    let mut accounts: Vec<_> = source.state.accounts().filter(|(id, _)| between(id)).collect();
    accounts.sort_by_key(|(id, _)| **id);
    let come = |(id, account): (&AccountId, &Account)| {
        Arrival::new(*id, account.clone(), account.is_live().then(|| sealed(5, 50))).unwrap()
    };
    Command::Arrive { offer: OFFER, from, upto, arrivals: accounts.into_iter().map(come).collect() }
}

/// Two vaults, and the guesses that both of them together evaluate of one person's code.
fn bound_over_both(apply: &Apply<'_>) -> Held {
    let mut source = World::new(apply, policy(3, 9));
    let mut target = World::new(apply, policy(3, 9));
    source.enrol(1);
    let mut guesses = source.guess(1, 2);
    let begun = [
        source.apply(&Command::Leave { offer: OFFER }),
        target.apply(&Command::Expect { offer: OFFER }),
        source.apply(&depart(Some(OTHER))),
    ];
    hold!(begun == [Verdict::Done; 3], "the move begins: {begun:?}");
    // From here on one of the two answers: first neither, then the target.
    guesses += source.guess(10, 3) + target.guess(20, 3);
    let command = arrive(BEGIN, Some(OTHER), &source);
    hold!(target.apply(&command) == Verdict::Done, "accounts come");
    guesses += source.guess(30, 3) + target.guess(40, 3);
    hold!(guesses == 3, "{guesses} guesses at one record");
    hold!(target.account().spent == 3 && source.account().spent == 2, "counters go on where they were");
    Ok(())
}

#[test]
fn l3_over_two_vaults_as_over_one() {
    let stays = |state: &mut State, kept: &mut Kept, command: &Command| match command {
        Command::Depart { .. } => {
            let mut gone = state.clone();
            gone.apply(command, kept)
        }
        _ => real(state, kept, command),
    };
    let early = |state: &mut State, kept: &mut Kept, command: &Command| match command {
        Command::Expect { .. } => Verdict::Done,
        Command::Arrive { .. } => {
            *state = State::new(state.policy().clone());
            state.apply(&Command::Expect { offer: OFFER }, kept);
            real(state, kept, command)
        }
        _ => real(state, kept, command),
    };
    let forgets = |state: &mut State, kept: &mut Kept, command: &Command| {
        let verdict = real(state, kept, command);
        if let Command::Arrive { .. } = command {
            let account = state.account(&PERSON).cloned().unwrap_or_default();
            state.restore_account(PERSON, Account { spent: account.began, ..account });
        }
        verdict
    };
    prove(
        bound_over_both,
        &[
            ("an account that has left is still answered", &stays),
            ("an account is answered before it has come", &early),
            ("attempts stay behind", &forgets),
        ],
    );
}

#[test]
fn a_move_holds_forgetting_up_only_once_accounts_have_left() {
    let mut source = World::new(&real, policy(3, 9));
    source.apply(&Command::Charge { account: PERSON, digests: ke1(1) });
    source.wait(UNKNOWN_KEEP_S);
    assert_eq!(source.apply(&Command::Leave { offer: OFFER }), Verdict::Done);
    assert!(source.state.has_forgettable(), "announced, and nobody has left");
    assert_eq!(source.apply(&depart(Some(OTHER))), Verdict::Done);
    assert!(!source.state.has_forgettable(), "what has left is counted");
    source.apply(&Command::Forget { most: 9 });
    assert_eq!(source.state.unknown_len(), 1);
}

#[test]
fn a_move_has_one_order_and_one_name() {
    let mut source = World::new(&real, policy(3, 9));
    source.enrol(1);
    assert!(source.refuses(&depart(None), Refusal::Stale), "no move has begun");
    assert!(source.refuses(&Command::Expect { offer: OFFER }, Refusal::Forbidden), "it has accounts of its own");
    assert_eq!(source.apply(&Command::Leave { offer: [1; 32] }), Verdict::Done);
    assert_eq!(source.apply(&Command::Leave { offer: OFFER }), Verdict::Done, "nothing had left for the other");
    assert_eq!(
        source.charge(1),
        Verdict::Charged { generation: 1, ordinal: 1, live: true, remaining: 2, again: false }
    );
    let other = Command::Depart { offer: [1; 32], upto: None };
    assert!(source.refuses(&other, Refusal::Stale), "another move");
    assert_eq!(source.apply(&depart(Some(OTHER))), Verdict::Done);
    assert!(source.refuses(&depart(Some(OTHER)), Refusal::Stale), "no further");
    assert!(source.refuses(&depart(Some(PERSON)), Refusal::Stale), "back");
    assert!(source.refuses(&Command::Leave { offer: [1; 32] }, Refusal::Stale), "some have left already");
    assert_eq!(source.apply(&Command::Leave { offer: OFFER }), Verdict::Done, "the same again");
    for command in [
        Command::Charge { account: PERSON, digests: ke1(1) },
        source.finish(1),
        source.finish(2),
        Command::Remove { account: PERSON, generation: 1, proof: None },
        Command::Sweep { account: PERSON },
        Command::Pardon { account: PERSON, pardoned: 0 },
    ] {
        assert!(source.refuses(&command, Refusal::Moved), "{command:?}");
    }
    assert!(source.refuses(&Command::Restore { number: 1 }, Refusal::Forbidden));
    assert_eq!(source.state.charged_before(&PERSON, &ke1(1)), None, "nor is a repeated KE1");
    let rewrap = Command::Rewrap { account: PERSON, generation: 1, rewraps: 0, sealed: sealed(2, 9) };
    assert_eq!(source.apply(&rewrap), Verdict::Done, "keys may turn behind it");
    let unmoved = Command::Charge { account: OTHER, digests: ke1(1) };
    assert!(matches!(source.apply(&unmoved), Verdict::Charged { ordinal: 1, .. }), "who has not left is answered");
    assert_eq!(source.apply(&depart(None)), Verdict::Done);
    assert!(source.refuses(&depart(None), Refusal::Stale), "all have left");
    assert!(source.refuses(&unmoved, Refusal::Moved));

    let mut target = World::new(&real, policy(3, 9));
    let (first, second) = (arrive(BEGIN, Some(OTHER), &source), arrive(OTHER, None, &source));
    assert!(target.refuses(&first, Refusal::Stale), "nobody is expected");
    assert_eq!(target.apply(&Command::Expect { offer: OFFER }), Verdict::Done);
    assert!(target.refuses(&unmoved, Refusal::Busy), "an id that is still to come");
    assert!(target.refuses(&second, Refusal::Stale), "out of turn");
    assert_eq!(target.apply(&first), Verdict::Done);
    assert!(target.refuses(&first, Refusal::Stale), "twice");
    assert!(target.refuses(&unmoved, Refusal::Busy));
    assert!(target.refuses(&Command::Leave { offer: OFFER }, Refusal::Stale), "before all have come");
    assert_eq!(target.apply(&second), Verdict::Done);
    assert!(matches!(target.apply(&unmoved), Verdict::Charged { ordinal: 2, remaining: 1, .. }));
    assert_eq!(target.kept.0[&PERSON], sealed(5, 50));
    assert_eq!(target.account().last_charge_s, source.account().last_charge_s);
    let mut tally = Tally::default();
    for id in [PERSON, OTHER] {
        tally.add(&id, source.state.account(&id).unwrap());
    }
    assert_eq!((tally.accounts, tally.records), (2, 1));
    let done = Moving { offer: OFFER, bound: None, side: Side::Arriving(tally) };
    assert_eq!(target.state.moving(), Some(&done), "what came is what left");
    assert_eq!(State::decode(&target.state.encode()), Ok(target.state.clone()));
    assert_eq!(target.apply(&Command::Leave { offer: [8; 32] }), Verdict::Done, "and on to a third");
}

#[test]
fn what_comes_is_whole_in_order_and_under_keys_that_are_allowed() {
    let mut source = World::new(&real, policy(3, 9));
    source.enrol(1);
    source.apply(&Command::Charge { account: OTHER, digests: ke1(1) });
    source.apply(&Command::Leave { offer: OFFER });
    source.apply(&depart(None));
    let Command::Arrive { arrivals, .. } = arrive(BEGIN, None, &source) else { unreachable!() };
    let target = RefCell::new(World::new(&real, policy(3, 9)));
    target.borrow_mut().apply(&Command::Expect { offer: OFFER });
    let refused = |upto, arrivals: &[Arrival], refusal| {
        let command = Command::Arrive { offer: OFFER, from: BEGIN, upto, arrivals: arrivals.into() };
        target.borrow_mut().refuses(&command, refusal)
    };
    let [first, second] = &arrivals[..] else { unreachable!() };
    assert!(refused(None, &[second.clone(), first.clone()], Refusal::Malformed), "out of order");
    assert!(refused(None, &[first.clone(), first.clone()], Refusal::Malformed), "twice");
    assert!(refused(Some(OTHER), &arrivals, Refusal::Malformed), "beyond the bound");
    assert!(refused(Some(BEGIN), &[], Refusal::Stale), "no further");
    let many: Vec<_> = (0..=crate::limits::ARRIVE_MAX as u32)
        .map(|number| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            Arrival { id: AccountId(id), ..second.clone() }
        })
        .collect();
    assert!(refused(None, &many, Refusal::Malformed), "too many");
    target.borrow_mut().apply(&Command::RaiseEpochMin { epoch: 6 });
    assert!(refused(None, &arrivals, Refusal::Busy), "under an epoch that is over");
    assert!(Arrival::new(PERSON, first.account.clone(), None).is_err(), "a live record without bytes");
    assert!(Arrival::new(OTHER, second.account.clone(), Some(sealed(5, 1))).is_err(), "bytes without a record");
}

#[test]
fn records_of_retired_keys_are_refused_and_kept() {
    let mut world = World::new(&real, policy(3, 9));
    world.enrol(1);
    let (same, next) = (world.finish(1), world.finish(2));
    assert_eq!(world.apply(&Command::RaiseKeyMin { key_number: 2 }), Verdict::Done);
    assert_eq!(world.apply(&Command::RaiseKeyMin { key_number: 1 }), Verdict::Done);
    assert_eq!(world.state.key_min(), 2, "it never goes down");
    assert!(world.refuses(&next, Refusal::Stale), "a new record of retired keys");
    assert_eq!(world.apply(&same), Verdict::Enrolled { generation: 1, again: true }, "L6 comes first");
    assert_eq!(world.guess(1, 3), 3, "the record lives on");
    assert!(world.refuses(&Command::TurnKeys { serial: 0, mark: [1; 32] }, Refusal::Stale));
    let turn = |serial, mark| Command::TurnKeys { serial, mark: [mark; 32] };
    assert_eq!(world.apply(&turn(4, 1)), Verdict::Done);
    assert_eq!(world.apply(&turn(4, 1)), Verdict::Done, "said again");
    assert!(world.refuses(&turn(4, 2), Refusal::Stale), "other keys of the same number");
    assert!(world.refuses(&turn(3, 1), Refusal::Stale), "an older copy of the keys");
    assert_eq!(world.state.keys_serial(), 4);
}
