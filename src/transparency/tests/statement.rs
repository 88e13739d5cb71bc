//! Statements to a fleet, and bundles that name other signers.

use super::*;
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Obeyed, Signers};

fn signers() -> Signers {
    Signers { auditor: *auditor().verifying_key().as_bytes(), operator: *operator().verifying_key().as_bytes() }
}

fn statements() -> Vec<Statement> {
    let member = |number| Member {
        number,
        name: format!("vault{number}.example:7000"),
        link_key: [100 + number as u8; 32],
        channel_key: [number as u8; 32],
        code: "nitro-pcr0:aa".to_owned(),
    };
    let orders = [
        Order::Pardon { account: AccountId([9; 32]), pardoned: 50 },
        Order::Restore { number: 1 },
        Order::Members { predecessor: [0; 32], members: vec![member(1), member(2), member(7)] },
        Order::Members { predecessor: [3; 32], members: Vec::new() },
        Order::Refound { number: 2, backup: [4; 32], predecessor: [3; 32], members: vec![member(8), member(9)] },
    ];
    orders.into_iter().map(|order| Statement { fleet: [7; 32], order }).collect()
}

fn signed_by(statement: &Statement, keys: &[SigningKey]) -> Note {
    let mut note = statement.note().unwrap();
    keys.iter().for_each(|key| note.sign(key));
    note
}

#[test]
fn t10_a_statement_is_what_both_have_signed() {
    for statement in statements() {
        let note = signed_by(&statement, &[auditor(), operator()]);
        assert_eq!(Statement::of(&Note::read(&note.write()).unwrap(), &signers()), Ok(statement.clone()));
        // Whatever their keys are called.
        let others = [key("somebody", 1), key("else", 2)];
        assert_eq!(Statement::of(&signed_by(&statement, &others), &signers()), Ok(statement.clone()));
        for (one, missing) in [(auditor(), "operator"), (operator(), "auditor")] {
            let alone = signed_by(&statement, &[one]);
            assert_eq!(Statement::of(&alone, &signers()), Err(Rejection::SignatureMissing(missing)));
        }
        let strangers = signed_by(&statement, &[key("auditor.example", 8), key("operator.example", 9)]);
        assert_eq!(Statement::of(&strangers, &signers()), Err(Rejection::SignatureMissing("auditor")));
        let text = String::from_utf8(note.write()).unwrap();
        let other = Note::read(text.replacen("fleet 07", "fleet 08", 1).as_bytes()).unwrap();
        assert_eq!(Statement::of(&other, &signers()), Err(Rejection::SignatureBad("auditor")));
    }
    // A bundle is no statement, and a statement no bundle, whoever has signed them.
    let bundle = signed(&bundle(1, None));
    assert!(matches!(Statement::of(&bundle, &signers()), Err(Rejection::Malformed(_))));
    assert!(Bundle::read(&signed_by(&statements()[0], &[auditor(), operator()])).is_err());
}

#[test]
fn a_statement_has_one_text() {
    let [pardon, restore, members, _, refound] = statements().try_into().unwrap();
    for (statement, old, new) in [
        (&pardon, "statement v1", "statement v2"),
        (&pardon, " 50\n", " 050\n"),
        (&pardon, " 50\n", " +50\n"),
        (&pardon, " 50\n", " 50 \n"),
        (&pardon, " 50\n", " 50\nrestore 1\n"),
        (&pardon, "pardon 09", "pardon 9"),
        (&pardon, "fleet 07", "fleet  07"),
        (&pardon, "pardon", "excuse"),
        (&restore, "restore 1", "restore"),
        (&members, "member 7", "member 2"),
        (&members, "member 7", "member 0"),
        (&members, "vault7.example:7000 ", ""),
        (&members, "vault7.example", "vault7\u{e4}.example"),
        (&members, "members 00", "members 0"),
        (&refound, "refound 2", "refound 02"),
        (&refound, "refound 2 04", "refound 2 4"),
        (&refound, "refound 2 ", "refound "),
        (&refound, "member 9", "member 8"),
    ] {
        let text = statement.note().unwrap().text().to_owned();
        assert!(text.contains(old), "{old}");
        let changed = Note::unsigned(text.replacen(old, new, 1));
        assert!(matches!(Statement::read(&changed), Err(Fault::Damaged(_))), "{new}");
    }
    let spaced =
        Member { number: 1, name: "a b".to_owned(), link_key: [0; 32], channel_key: [0; 32], code: "c".to_owned() };
    let order = Order::Members { predecessor: [0; 32], members: vec![spaced] };
    assert!(Statement { fleet: [7; 32], order }.note().is_err());
}

/// Those of these keys, whom a bundle of this epoch has named.
fn obeyed(auditor: &SigningKey, operator: &SigningKey, epoch: u32) -> Obeyed {
    let bytes = |key: &SigningKey| *key.verifying_key().as_bytes();
    Obeyed { signers: Signers { auditor: bytes(auditor), operator: bytes(operator) }, epoch }
}

fn rolled_back<T>(found: u32, least: u32) -> Result<T, Rejection> {
    Err(Rejection::RolledBack { found, least })
}

#[test]
fn t3_signers_are_followed_by_those_that_their_bundle_names() {
    let (new_auditor, new_operator) = (key("auditor.example", 11), key("operator.example", 12));
    let (fleet, first) = ([7; 32], Obeyed::first(signers()));
    assert_eq!(next_signers(&signed(&second()), &fleet, &first), Ok(None), "it names none");
    let named = Bundle {
        next_auditor: Some(new_auditor.verifying_key()),
        next_operator: Some(new_operator.verifying_key()),
        ..second()
    };
    let mut note = signed(&named);
    note.sign(&new_auditor);
    assert_eq!(next_signers(&note, &fleet, &first), Err(Rejection::NewKeyUnsigned("operator")));
    note.sign(&new_operator);
    let next = obeyed(&new_auditor, &new_operator, 2);
    assert_eq!(next_signers(&note, &fleet, &first), Ok(Some(next)));
    assert_eq!(next_signers(&note, &[8; 32], &first), Err(Rejection::WrongFleet));
    assert_eq!(next_signers(&note, &fleet, &next), Ok(None), "it is the present ones who have signed");
    // And these by those that theirs names.
    let third_operator = key("operator.example", 13);
    let third = Bundle { next_operator: Some(third_operator.verifying_key()), ..bundle(3, Some(&note)) };
    let mut third = third.signed(&new_auditor, &new_operator).unwrap();
    third.sign(&third_operator);
    let last = obeyed(&new_auditor, &third_operator, 3);
    assert_eq!(next_signers(&third, &fleet, &next), Ok(Some(last)));
    assert_eq!(next_signers(&third, &fleet, &first), Err(Rejection::SignatureMissing("auditor")), "none left out");
    let same = Bundle { next_operator: Some(auditor().verifying_key()), ..second() };
    assert_eq!(next_signers(&signed(&same), &fleet, &first), Err(Rejection::OneKeyTwice));
    let stranger = named.signed(&auditor(), &key("operator.example", 66)).unwrap();
    assert_eq!(next_signers(&stranger, &fleet, &first), Err(Rejection::SignatureMissing("operator")));
}

/// A bundle by which the operator's key turns, signed by those that hold and by the new one.
fn turns(epoch: u32, auditor: &SigningKey, from: &SigningKey, to: &SigningKey) -> Note {
    let named = Bundle { next_operator: Some(to.verifying_key()), ..bundle(epoch, None) };
    let mut note = named.signed(auditor, from).unwrap();
    note.sign(to);
    note
}

fn with_line_of(note: &Note, key: &SigningKey) -> Note {
    let mut note = note.clone();
    note.sign(key);
    note
}

#[test]
fn t3_one_signer_alone_brings_back_no_key() {
    let fleet = [7; 32];
    let operators = [operator(), key("operator.example", 12), key("operator.example", 13)];
    let [one, two, three] = &operators;
    let (first, second) = (turns(2, &auditor(), one, two), turns(4, &auditor(), two, three));
    let at = |operator: &SigningKey, epoch| obeyed(&auditor(), operator, epoch);
    assert_eq!(next_signers(&first, &fleet, &at(one, 0)), Ok(Some(at(two, 2))));
    assert_eq!(next_signers(&second, &fleet, &at(two, 2)), Ok(Some(at(three, 4))));
    let last = at(three, 4);
    // Said again as they were: the older is not even signed by the present key; the last is nothing to follow.
    assert_eq!(next_signers(&first, &fleet, &last), Err(Rejection::SignatureMissing("operator")));
    assert_eq!(next_signers(&second, &fleet, &last), Ok(None));
    // With the line of the present key the older is one that both present keys have signed, and is refused all the same.
    let again = with_line_of(&first, three);
    assert_eq!(next_signers(&again, &fleet, &last), rolled_back(2, 4));
    // The control: without the epoch it would be followed, back to the second key.
    let forgetful = Obeyed { epoch: 0, ..last };
    assert_eq!(next_signers(&again, &fleet, &forgetful), Ok(Some(at(two, 2))));
    // So is every other of an epoch that is not higher: one of that very epoch, and one that names none.
    let fork = with_line_of(&turns(4, &auditor(), two, one), three);
    assert_eq!(next_signers(&fork, &fleet, &last), rolled_back(4, 5));
    let none = |epoch| bundle(epoch, None).signed(&auditor(), three).unwrap();
    assert_eq!(next_signers(&none(3), &fleet, &last), rolled_back(3, 4));
    let end = at(three, u32::MAX);
    assert_eq!(next_signers(&turns(u32::MAX, &auditor(), three, one), &fleet, &end), rolled_back(u32::MAX, u32::MAX));
    // What both say from here on is followed, a key of before among it, and epochs may be left out.
    assert_eq!(next_signers(&turns(5, &auditor(), three, one), &fleet, &last), Ok(Some(at(one, 5))));
    assert_eq!(next_signers(&turns(9, &auditor(), three, two), &fleet, &last), Ok(Some(at(two, 9))));
}

/// What names none does not raise the epoch: else the holder of a key that was replaced, but not yet here, would keep it so.
#[test]
fn t3_a_bundle_that_names_none_stands_in_the_way_of_no_other() {
    let (two, fleet) = (key("operator.example", 12), [7; 32]);
    let (first, turn) = (Obeyed::first(signers()), turns(2, &auditor(), &operator(), &two));
    // A later one, by the key that the operator has had since; the key of before has signed that too.
    let later = bundle(6, None).signed(&auditor(), &two).unwrap();
    assert_eq!(next_signers(&later, &fleet, &first), Err(Rejection::SignatureMissing("operator")));
    assert_eq!(next_signers(&with_line_of(&later, &operator()), &fleet, &first), Ok(None), "nothing to follow");
    assert_eq!(next_signers(&turn, &fleet, &first), Ok(Some(obeyed(&auditor(), &two, 2))));
}

/// The limit of bundles that may be left out: see [`next_signers`].
#[test]
fn t3_a_key_replaced_elsewhere_stays_until_its_holder_and_the_other_name_another() {
    let (next_auditor, two, three) =
        (key("auditor.example", 11), key("operator.example", 12), key("operator.example", 13));
    let fleet = [7; 32];
    let turn = turns(2, &auditor(), &operator(), &two);
    let later = Bundle { next_auditor: Some(next_auditor.verifying_key()), ..bundle(3, None) };
    let mut later = later.signed(&auditor(), &two).unwrap();
    later.sign(&next_auditor);
    // Who followed each in its turn cannot be led astray by the key of before.
    let followed = obeyed(&auditor(), &two, 2);
    let led = with_line_of(&later, &operator());
    assert_eq!(next_signers(&led, &fleet, &followed), Ok(Some(obeyed(&next_auditor, &two, 3))));
    // Who did not follow the first keeps that key,
    let astray = obeyed(&next_auditor, &operator(), 3);
    assert_eq!(next_signers(&led, &fleet, &Obeyed::first(signers())), Ok(Some(astray)));
    let late = with_line_of(&turn, &next_auditor);
    assert_eq!(next_signers(&late, &fleet, &astray), rolled_back(2, 3));
    // until one that it signs too names another: it must not be gone before the first is followed.
    let mended = turns(4, &next_auditor, &operator(), &three);
    assert_eq!(next_signers(&mended, &fleet, &astray), Ok(Some(obeyed(&next_auditor, &three, 4))));
}
