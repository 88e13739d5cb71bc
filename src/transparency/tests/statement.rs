//! Statements to a fleet, and bundles that name other signers.

use super::*;
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::Signers;

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

#[test]
fn t3_signers_are_followed_by_those_that_their_bundle_names() {
    let (new_auditor, new_operator) = (key("auditor.example", 11), key("operator.example", 12));
    let fleet = [7; 32];
    assert_eq!(next_signers(&signed(&second()), &fleet, &signers()), Ok(None), "it names none");
    let named = Bundle {
        next_auditor: Some(new_auditor.verifying_key()),
        next_operator: Some(new_operator.verifying_key()),
        ..second()
    };
    let mut note = signed(&named);
    note.sign(&new_auditor);
    assert_eq!(next_signers(&note, &fleet, &signers()), Err(Rejection::NewKeyUnsigned("operator")));
    note.sign(&new_operator);
    let next = Signers {
        auditor: *new_auditor.verifying_key().as_bytes(),
        operator: *new_operator.verifying_key().as_bytes(),
    };
    assert_eq!(next_signers(&note, &fleet, &signers()), Ok(Some(next)));
    assert_eq!(next_signers(&note, &[8; 32], &signers()), Err(Rejection::WrongFleet));
    assert_eq!(next_signers(&note, &fleet, &next), Ok(None), "it is the present ones who have signed");
    // And these by those that theirs names.
    let third_operator = key("operator.example", 13);
    let third = Bundle { next_operator: Some(third_operator.verifying_key()), ..bundle(3, Some(&note)) };
    let mut third = third.signed(&new_auditor, &new_operator).unwrap();
    third.sign(&third_operator);
    let last = Signers { operator: *third_operator.verifying_key().as_bytes(), ..next };
    assert_eq!(next_signers(&third, &fleet, &next), Ok(Some(last)));
    assert_eq!(next_signers(&third, &fleet, &signers()), Err(Rejection::SignatureMissing("auditor")), "none left out");
    let same = Bundle { next_operator: Some(auditor().verifying_key()), ..second() };
    assert_eq!(next_signers(&signed(&same), &fleet, &signers()), Err(Rejection::OneKeyTwice));
    let stranger = named.signed(&auditor(), &key("operator.example", 66)).unwrap();
    assert_eq!(next_signers(&stranger, &fleet, &signers()), Err(Rejection::SignatureMissing("operator")));
}

/// What [`next_signers`] says of bundles without an epoch: who can bring back which key, and who cannot.
#[test]
fn t3_one_signer_alone_brings_back_no_key_but_one_of_its_own_that_both_have_named() {
    let operators = [operator(), key("operator.example", 12), key("operator.example", 13)];
    let bytes = |key: &SigningKey| *key.verifying_key().as_bytes();
    let names = |from: usize, auditor: &SigningKey| {
        let next_operator = Some(operators[from + 1].verifying_key());
        let mut note = Bundle { next_operator, ..second() }.signed(auditor, &operators[from]).unwrap();
        note.sign(&operators[from + 1]);
        note
    };
    let (first, second) = (names(0, &auditor()), names(1, &auditor()));
    let obeyed = |operator: usize| Signers { operator: bytes(&operators[operator]), ..signers() };
    assert_eq!(next_signers(&first, &[7; 32], &obeyed(0)), Ok(Some(obeyed(1))));
    assert_eq!(next_signers(&second, &[7; 32], &obeyed(1)), Ok(Some(obeyed(2))));
    // Said again as it was, an older one is nothing.
    assert_eq!(next_signers(&first, &[7; 32], &obeyed(2)), Err(Rejection::SignatureMissing("operator")));
    assert_eq!(next_signers(&second, &[7; 32], &obeyed(2)), Ok(None));
    // The line of a present key makes it one that both have signed: the second key, which the auditor has agreed to, and not
    // the first, which nobody has named.
    let mut again = first.clone();
    again.sign(&operators[2]);
    assert_eq!(next_signers(&again, &[7; 32], &obeyed(2)), Ok(Some(obeyed(1))));
    // Not so where the auditor's key has turned since.
    let auditor = bytes(&key("auditor.example", 11));
    let turned = Signers { auditor, ..obeyed(2) };
    assert_eq!(next_signers(&again, &[7; 32], &turned), Err(Rejection::SignatureMissing("auditor")));
}
