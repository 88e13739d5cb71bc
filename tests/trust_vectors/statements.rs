//! `vectors/trust/statements/`: statements to a fleet, and what a fleet must say to them.

use std::path::Path;

use strongroom::account::AccountId;
use strongroom::ledger::Signers;
use strongroom::secret::Secret;
use strongroom::transparency::{Member, Note, Order, SigningKey, Statement};

const FLEET: [u8; 32] = [7; 32];

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::new(name, &Secret::new([seed; 32])).unwrap()
}

fn signers() -> Signers {
    let key = |seed| *key("any", seed).verifying_key().as_bytes();
    Signers { auditor: key(1), operator: key(2) }
}

/// A name, what must be said, and the note.
type Case = (String, Option<&'static str>, String);

fn signed(text: &str, keys: &[SigningKey]) -> String {
    let mut note = Note::unsigned(text.to_owned());
    keys.iter().for_each(|key| note.sign(key));
    String::from_utf8(note.write()).unwrap()
}

pub(crate) fn all() -> Vec<Case> {
    let member = |number| Member {
        number,
        name: format!("vault{number}.example:7000"),
        link_key: [100 + number as u8; 32],
        channel_key: [number as u8; 32],
        code: "nitro-pcr0:aa".to_owned(),
    };
    let orders = [
        ("pardon", Order::Pardon { account: AccountId([9; 32]), pardoned: 50 }),
        ("restore", Order::Restore { number: 1 }),
        ("members", Order::Members { predecessor: [0; 32], members: vec![member(1), member(2), member(7)] }),
        (
            "refound",
            Order::Refound { number: 1, backup: [5; 32], predecessor: [6; 32], members: vec![member(8), member(9)] },
        ),
    ];
    let both = || [key("auditor.example", 1), key("operator.example", 2)];
    let text = |order: &Order| Statement { fleet: FLEET, order: order.clone() }.note().unwrap().text().to_owned();
    let mut cases: Vec<Case> = Vec::new();
    for (name, order) in &orders {
        cases.push((format!("good_{name}"), None, signed(&text(order), &both())));
    }
    let pardon = text(&orders[0].1);
    let mut bad = |name: &str, reason, note| cases.push((name.to_owned(), Some(reason), note));
    let [auditor, operator] = both();
    bad("operator_missing", "the signature of the operator is missing", signed(&pardon, &[auditor]));
    bad("auditor_missing", "the signature of the auditor is missing", signed(&pardon, &[operator]));
    let namesakes = [key("auditor.example", 8), key("operator.example", 9)];
    bad("signed_by_namesakes", "the signature of the auditor is missing", signed(&pardon, &namesakes));
    let altered = signed(&pardon, &both()).replacen(" 50\n", " 60\n", 1);
    bad("altered", "the signature of the auditor is not good", altered);
    for (name, old, new) in [
        ("number_with_a_zero_before_it", " 50\n", " 050\n"),
        ("two_orders", " 50\n", " 50\nrestore 1\n"),
        ("order_unknown", "pardon", "excuse"),
        ("account_too_short", "pardon 09", "pardon "),
        ("later_version", "statement v1", "statement v2"),
    ] {
        bad(name, "not a statement", signed(&pardon.replacen(old, new, 1), &both()));
    }
    let members = text(&orders[2].1).replacen("member 7", "member 2", 1);
    bad("member_twice", "not a statement", signed(&members, &both()));
    let other = pardon.replacen(&hex::encode(FLEET), &hex::encode([8; 32]), 1);
    bad("to_another_fleet", "to another fleet", signed(&other, &both()));
    cases
}

/// What a fleet says of a note.
fn judge(note: &str) -> Result<(), String> {
    let note = Note::read(note.as_bytes()).map_err(|fault| fault.to_string())?;
    let statement = Statement::of(&note, &signers()).map_err(|why| why.to_string())?;
    if statement.fleet == FLEET { Ok(()) } else { Err("it is to another fleet".to_owned()) }
}

fn file((name, expect, note): &Case) -> String {
    let expect = expect.map_or_else(|| "accepted".to_owned(), |reason| format!("refused: {reason}"));
    let Signers { auditor, operator } = signers();
    format!(
        "# {name}\n# expect: {expect}\n-- fleet\n{}\n-- signers\n{}\n{}\n-- statement\n{note}",
        hex::encode(FLEET),
        hex::encode(auditor),
        hex::encode(operator)
    )
}

#[test]
fn statements_are_judged_as_their_files_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/trust/statements");
    let cases = all();
    if std::env::var_os("STRONGROOM_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        cases.iter().for_each(|it| std::fs::write(folder.join(format!("{}.txt", it.0)), file(it)).unwrap());
    }
    for case in &cases {
        let there = std::fs::read_to_string(folder.join(format!("{}.txt", case.0))).unwrap_or_default();
        assert_eq!(there, file(case), "{}", case.0);
        let (_, note) = there.split_once("-- statement\n").unwrap();
        match case.1 {
            None => assert_eq!(judge(note), Ok(()), "{}", case.0),
            Some(reason) => {
                let said = judge(note).expect_err(&case.0);
                assert!(said.contains(reason), "{}: {said}", case.0);
            }
        }
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), cases.len(), "a file that nobody made");
}
