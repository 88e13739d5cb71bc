//! Bundles: who signs, which epoch, which keys, which dates.

use super::*;
use crate::error::Fault;

#[test]
fn honest_people_get_through() {
    let notes = chain(4);
    // A phone that has always been on.
    let mut always = trust();
    for note in &notes {
        let accepted = always.accept(&logged(std::slice::from_ref(note)), ARTIFACT, NOW_S).unwrap();
        assert_eq!((accepted.hash(), accepted.artifact()), (&note.hash(), ARTIFACT));
    }
    assert_eq!(always.epoch(), Some(4));
    assert_eq!(always.accept(&logged(&notes[3..]), ARTIFACT, NOW_S).unwrap().bundle().epoch, 4, "the same again");
    // One that was off for two epochs, and a new one.
    let mut off = trust();
    off.accept(&logged(&notes[..1]), ARTIFACT, NOW_S).unwrap();
    off.accept(&logged(&notes[1..]), ARTIFACT, NOW_S).unwrap();
    let mut new = Trust::new(Pins { epoch_min: 3, ..pins() }).unwrap();
    new.accept(&logged(&notes[3..]), ARTIFACT, NOW_S).unwrap();
    assert_eq!((off.epoch(), new.epoch()), (Some(4), Some(4)));
    // Each finds its own part of what is published.
    let all = logged(&notes);
    let epochs = |trust: &Trust| trust.unseen(&all).iter().map(|it| Bundle::read(&it.note).unwrap().epoch).collect();
    let mut first = trust();
    first.accept(&all[..1], ARTIFACT, NOW_S).unwrap();
    let found: [Vec<u32>; 3] = [epochs(&trust()), epochs(&first), epochs(&always)];
    assert_eq!(found, [vec![4], vec![2, 3, 4], vec![4]]);
    assert!(trust().unseen(&[]).is_empty());
    // Of those in between only the last must hold today.
    let mut old = bundle(2, notes.first());
    (old.not_before_s, old.not_after_s) = (1, 2);
    let old = signed(&old);
    let now = signed(&bundle(3, Some(&old)));
    let mut trust = trust();
    trust.accept(&logged(&notes[..1]), ARTIFACT, NOW_S).unwrap();
    trust.accept(&logged(&[old, now]), ARTIFACT, NOW_S).unwrap();
    // An application with keys compiled in.
    let mut app = self::app();
    app.accept(&logged(&notes[..1]), ARTIFACT, NOW_S + 1_000_000).unwrap();
}

#[test]
fn t1_both_must_have_signed_and_neither_twice() {
    for (signer, missing) in [(auditor(), "operator"), (operator(), "auditor")] {
        let mut alone = second().note().unwrap();
        alone.sign(&signer);
        assert_eq!(said_of(&alone), Rejection::SignatureMissing(missing));
        // Nor by another key of the other's name.
        alone.sign(&key("auditor.example", 9));
        alone.sign(&key("operator.example", 9));
        assert_eq!(said_of(&alone), Rejection::SignatureMissing(missing));
    }
    // One key under another name is one key, whatever it is for.
    for name in ["auditor.example", "operator.example"] {
        let pins = Pins { operator: key(name, 1).verifying_key(), ..pins() };
        assert_eq!(Trust::new(pins).err(), Some(Rejection::OneKeyTwice));
    }
    let pins = Pins { operator_evidence: log_key().verifying_key(), ..pins() };
    assert_eq!(Trust::new(pins).err(), Some(Rejection::OneKeyTwice));
}

#[test]
fn t1_a_bad_signature_by_a_known_key_rejects_and_a_line_of_nobody_changes_nothing() {
    let good = signed(&second());
    let lines = String::from_utf8(good.write()).unwrap();
    let other = String::from_utf8(signed(&Bundle { epoch: 9, ..second() }).write()).unwrap();
    // The lines of another bundle under this text.
    let (text, _) = lines.rsplit_once("\n\n").unwrap();
    let (_, theirs) = other.rsplit_once("\n\n").unwrap();
    let swapped = Note::read(format!("{text}\n\n{theirs}").as_bytes()).unwrap();
    assert_eq!(said_of(&swapped), Rejection::SignatureBad("auditor"));
    // A good one and a bad one by the same key.
    let bad = theirs.lines().next().unwrap();
    for both in [format!("{lines}{bad}\n"), format!("{text}\n\n{bad}\n{}", lines.rsplit_once("\n\n").unwrap().1)] {
        assert_eq!(said_of(&Note::read(both.as_bytes()).unwrap()), Rejection::SignatureBad("auditor"));
    }
    let mut junk = good.clone();
    junk.sign(&key("nobody.example", 5));
    assert_eq!(junk.hash(), good.hash(), "T4");
    let mut trust = trust();
    trust.accept(&logged(&chain(1)), ARTIFACT, NOW_S).unwrap();
    trust.accept(&logged(&[junk]), ARTIFACT, NOW_S).unwrap();
    trust.accept(&logged(&[good]), ARTIFACT, NOW_S).unwrap();
}

#[test]
fn t2_epochs_grow_one_by_one_and_history_is_fixed() {
    let notes = chain(4);
    let mut trust = trust();
    trust.accept(&logged(&notes[..3]), ARTIFACT, NOW_S).unwrap();
    let mut refused = |notes: &[Note]| trust.accept(&logged(notes), ARTIFACT, NOW_S).unwrap_err();
    assert_eq!(refused(&notes[1..2]), Rejection::RolledBack { found: 2, least: 4 });
    assert_eq!(refused(&[signed(&bundle(5, notes.last()))]), Rejection::ChainBroken(5), "one is missing");
    assert_eq!(refused(&[signed(&bundle(4, notes.first()))]), Rejection::ChainBroken(4), "another history");
    assert_eq!(refused(&[signed(&Bundle { fleet: [8; 32], ..bundle(4, Some(&notes[2])) })]), Rejection::WrongFleet);
    let mut new = Trust::new(Pins { epoch_min: 5, ..pins() }).unwrap();
    assert_eq!(new.accept(&logged(&notes[3..]), ARTIFACT, NOW_S), Err(Rejection::RolledBack { found: 4, least: 5 }));
    assert!(matches!(new.accept(&logged(&[]), ARTIFACT, NOW_S), Err(Rejection::Malformed(_))));
}

#[test]
fn t2_two_bundles_of_one_epoch_prove_a_fork_to_everybody() {
    let (first, second) = (signed(&second()), signed(&Bundle { evidence: [1; 32], ..second() }));
    let mut trust = trust();
    trust.accept(&logged(&chain(1)), ARTIFACT, NOW_S).unwrap();
    trust.accept(&logged(std::slice::from_ref(&first)), ARTIFACT, NOW_S).unwrap();
    let Err(Rejection::Fork(proof)) = trust.accept(&logged(std::slice::from_ref(&second)), ARTIFACT, NOW_S) else {
        panic!("a fork")
    };
    assert_eq!((proof.epoch(), &proof.first, &proof.second), (2, &first, &second));
    let keys = (auditor().verifying_key(), operator().verifying_key());
    let check = |first: &Note, second: &Note| ForkProof::check(first.clone(), second.clone(), &keys.0, &keys.1);
    assert_eq!(check(&proof.first, &proof.second), Ok(*proof));
    assert!(matches!(check(&first, &first), Err(Rejection::Malformed(_))), "one bundle is no fork");
    assert!(matches!(check(&first, &chain(1)[0]), Err(Rejection::Malformed(_))), "nor are two epochs");
    let mut unsigned = self::second().note().unwrap();
    unsigned.sign(&operator());
    assert_eq!(check(&first, &unsigned), Err(Rejection::SignatureMissing("auditor")), "nor what one of them says");
    let elsewhere = signed(&Bundle { namespace: "example.org/test".to_owned(), ..self::second() });
    assert!(matches!(check(&first, &elsewhere), Err(Rejection::WrongNamespace { .. })));
}

#[test]
fn t3_a_signers_key_is_replaced_by_both_the_old_and_the_new() {
    for (whose, new) in [("auditor", key("auditor.example", 11)), ("operator", key("operator.example", 12))] {
        let mut replaces = second();
        let place = if whose == "auditor" { &mut replaces.next_auditor } else { &mut replaces.next_operator };
        *place = Some(new.verifying_key());
        let mut note = signed(&replaces);
        assert_eq!(said_of(&note), Rejection::NewKeyUnsigned(whose));
        note.sign(&new);
        let mut trust = trust();
        trust.accept(&logged(&chain(1)), ARTIFACT, NOW_S).unwrap();
        trust.accept(&logged(std::slice::from_ref(&note)), ARTIFACT, NOW_S).unwrap();
        let third = bundle(3, Some(&note));
        assert_eq!(
            trust.accept(&logged(&[signed(&third)]), ARTIFACT, NOW_S),
            Err(Rejection::SignatureMissing(whose)),
            "the old key"
        );
        let (auditor, operator) = if whose == "auditor" { (&new, &operator()) } else { (&auditor(), &new) };
        let third = [third.signed(auditor, operator).unwrap()];
        trust.accept(&logged_by(&third, auditor, operator), ARTIFACT, NOW_S).unwrap();
        // A fork of the epoch that replaced it is told by the keys of then.
        let mut other = Bundle { evidence: [1; 32], ..replaces }.signed(&self::auditor(), &self::operator()).unwrap();
        other.sign(&new);
        let mut late = self::trust();
        late.accept(&logged(&chain(1)), ARTIFACT, NOW_S).unwrap();
        late.accept(&logged(std::slice::from_ref(&note)), ARTIFACT, NOW_S).unwrap();
        assert!(matches!(late.accept(&logged(&[other]), ARTIFACT, NOW_S), Err(Rejection::Fork(_))));
    }
    // One may not become the other.
    let mut same = second();
    same.next_operator = Some(auditor().verifying_key());
    assert_eq!(said_of(&signed(&same)), Rejection::OneKeyTwice);
}

#[test]
fn namespace_dates_and_artifact_are_held() {
    let elsewhere = Bundle { namespace: "example.org/test".to_owned(), ..second() };
    assert!(matches!(said_of(&signed(&elsewhere)), Rejection::WrongNamespace { .. }));
    let early = Bundle { not_before_s: NOW_S + 1, ..second() };
    assert_eq!(said_of(&signed(&early)), Rejection::NotYetValid { not_before_s: NOW_S + 1 });
    let late = Bundle { not_after_s: NOW_S - 1, ..second() };
    assert_eq!(said_of(&signed(&late)), Rejection::Expired { not_after_s: NOW_S - 1 });
    assert_eq!(said_of(&signed(&Bundle { artifact: [1; 32], ..second() })), Rejection::WrongArtifact);
    let mut app = app();
    let early = signed(&Bundle { not_before_s: NOW_S + 1, ..bundle(1, None) });
    assert!(
        matches!(app.accept(&logged(&[early]), ARTIFACT, NOW_S), Err(Rejection::NotYetValid { .. })),
        "pinned or not"
    );
}

#[test]
fn t2_a_verifier_that_is_put_away_remembers_epoch_and_keys() {
    let new = key("auditor.example", 11);
    let mut notes = chain(1);
    let mut replaces = Bundle { next_auditor: Some(new.verifying_key()), ..second() }.signed(&auditor(), &operator());
    replaces.as_mut().unwrap().sign(&new);
    notes.push(replaces.unwrap());
    let mut trust = trust();
    assert_eq!(trust.memory(), None);
    trust.accept(&logged(&notes), ARTIFACT, NOW_S).unwrap();
    let memory = trust.memory().unwrap();
    let mut again = Trust::with_memory(pins(), &memory).unwrap();
    assert_eq!(again, trust);
    // And nothing older than that.
    assert_eq!(again.accept(&logged(&notes[..1]), ARTIFACT, NOW_S), Err(Rejection::RolledBack { found: 1, least: 3 }));
    let third = [bundle(3, notes.last()).signed(&new, &operator()).unwrap()];
    again.accept(&logged_by(&third, &new, &operator()), ARTIFACT, NOW_S).unwrap();
    for (old, new) in [("memory v1", "memory v2"), ("operator operator", "operator auditor"), ("epoch 2", "epoch 9")] {
        let text = String::from_utf8(memory.clone()).unwrap();
        assert!(text.contains(old), "{old}");
        assert!(Trust::with_memory(pins(), text.replacen(old, new, 1).as_bytes()).is_err(), "{new}");
    }
    let elsewhere = Pins { namespace: "example.org/test".to_owned(), ..pins() };
    assert!(matches!(Trust::with_memory(elsewhere, &memory), Err(Rejection::WrongNamespace { .. })));
}

#[test]
fn t3_who_raises_the_least_epoch_has_the_pins_own_keys_hold() {
    let stolen = key("operator.example", 12);
    let notes = turning(&stolen);
    let mut phone = trust();
    phone.accept(&logged(&notes[..2]), ARTIFACT, NOW_S).unwrap();
    let memory = phone.memory().unwrap();
    let third = logged_by(&notes[2..], &auditor(), &stolen);
    // From its own epoch a memory is gone on from.
    let mut same = Trust::with_memory(Pins { epoch_min: 2, ..pins() }, &memory).unwrap();
    assert_eq!(same.epoch(), Some(2));
    same.accept(&third, ARTIFACT, NOW_S).unwrap();
    // An update of the app pins another key, and the epoch from which on that one signs.
    let fresh = key("operator.example", 13);
    let update = Pins { operator: fresh.verifying_key(), epoch_min: 3, ..pins() };
    let mut phone = Trust::with_memory(update.clone(), &memory).unwrap();
    assert_eq!(Ok(&phone), Trust::new(update.clone()).as_ref());
    assert_eq!(phone.accept(&third, ARTIFACT, NOW_S), Err(Rejection::SignatureMissing("operator")), "the stolen key");
    assert_eq!(
        phone.accept(&logged(&notes[1..2]), ARTIFACT, NOW_S),
        Err(Rejection::SignatureMissing("operator")),
        "nor the one before"
    );
    let anew = [bundle(3, Some(&notes[1])).signed(&auditor(), &fresh).unwrap()];
    phone.accept(&logged_by(&anew, &auditor(), &fresh), ARTIFACT, NOW_S).unwrap();
    // What is no memory is none, whatever its epoch.
    let text = String::from_utf8(memory).unwrap();
    for (old, new) in [("memory v1", "memory v2"), ("operator operator", "operator auditor"), ("epoch 2", "epoch 1")] {
        assert!(Trust::with_memory(update.clone(), text.replacen(old, new, 1).as_bytes()).is_err(), "{new}");
    }
    let elsewhere = Pins { namespace: "example.org/test".to_owned(), ..update };
    assert!(matches!(Trust::with_memory(elsewhere, text.as_bytes()), Err(Rejection::WrongNamespace { .. })));
}

#[test]
fn t3_a_verifier_without_history_is_carried_to_a_signers_new_key() {
    let new = key("operator.example", 12);
    let notes = turning(&new);
    let bundle = |(note, proof): (&Note, Proof)| LoggedBundle { note: note.clone(), proof };
    let bundles: Vec<_> = notes.iter().zip(proofs(&entries_of(&notes, &new))).map(bundle).collect();
    let all = Published { bundles, artifact: ARTIFACT.to_vec(), evidence: Vec::new(), documents: Vec::new() };
    let mut fresh = Trust::new(Pins { epoch_min: 3, ..pins() }).unwrap();
    assert_eq!(fresh.unseen(&all.bundles), &all.bundles[1..]);
    let told = fresh.verify(&all.given(&fresh), NOW_S).proven;
    assert_eq!(told[1].proves, "no bundle was seen before; 3 is the least epoch allowed");
    assert_eq!(all.accept(&mut fresh, NOW_S).unwrap().bundle().epoch, 3);
    assert_eq!(fresh.unseen(&all.bundles), &all.bundles[2..]);
    // Who pins the new key begins with what that one has signed.
    let mut later = Trust::new(Pins { operator: new.verifying_key(), ..pins() }).unwrap();
    assert_eq!(later.unseen(&all.bundles), &all.bundles[2..]);
    assert_eq!(all.accept(&mut later, NOW_S).unwrap().bundle().epoch, 3);

    // Where nothing leads from the pinned keys to the last, it is refused as before.
    let refused = |change: &dyn Fn(&mut Vec<LoggedBundle>)| {
        let (mut trust, mut some) = (trust(), all.clone());
        change(&mut some.bundles);
        let said = some.accept(&mut trust, NOW_S).unwrap_err();
        assert_eq!(trust, self::trust(), "T5");
        said
    };
    assert_eq!(refused(&|it| drop(it.remove(1))), Rejection::SignatureMissing("operator"), "the turn is missing");
    assert_eq!(refused(&|it| drop(it.drain(..2))), Rejection::SignatureMissing("operator"), "none by the pinned keys");
    assert!(matches!(refused(&|it| it.clear()), Rejection::Malformed(_)));
    assert_eq!(refused(&|it| it[1].proof.index = 0), Rejection::NotInLog, "each must be in the log");
    let mut unsigned = signed(&Bundle { next_operator: Some(new.verifying_key()), ..second() });
    assert_eq!(refused(&|it| it[1].note = unsigned.clone()), Rejection::NewKeyUnsigned("operator"));
    unsigned.sign(&key("operator.example", 13));
    assert_eq!(refused(&|it| it[1].note = unsigned.clone()), Rejection::NewKeyUnsigned("operator"), "by a namesake");
}

#[test]
fn t3_pins_that_are_newer_than_the_newest_bundle_take_the_turn_to_their_key() {
    let (new_auditor, new_operator) = (key("auditor.new", 11), key("operator.new", 12));
    let names = |auditor: bool, operator: bool| Bundle {
        next_auditor: auditor.then(|| new_auditor.verifying_key()),
        next_operator: operator.then(|| new_operator.verifying_key()),
        ..second()
    };
    let delivered = |note: &Note, by: [&SigningKey; 2]| {
        let [auditor, operator] = by.map(SigningKey::verifying_key);
        let bundles = logged_as(&[chain(1)[0].clone(), note.clone()], |note| note.entry(&auditor, &operator));
        Published { bundles, artifact: ARTIFACT.to_vec(), evidence: Vec::new(), documents: Vec::new() }
    };
    for (auditor_turns, operator_turns) in [(true, false), (false, true), (true, true)] {
        let mut note = signed(&names(auditor_turns, operator_turns));
        let mut update = pins();
        if auditor_turns {
            note.sign(&new_auditor);
            update.auditor = new_auditor.verifying_key();
        }
        if operator_turns {
            note.sign(&new_operator);
            update.operator = new_operator.verifying_key();
        }
        note.sign(&key("nobody.example", 77));
        let published = delivered(&note, [&auditor(), &operator()]);
        let mut phone = Trust::new(update.clone()).unwrap();
        assert_eq!(published.accept(&mut phone, NOW_S).unwrap().bundle().epoch, 2);
        // The same again, by what it remembers too.
        let mut again = Trust::with_memory(update.clone(), &phone.memory().unwrap()).unwrap();
        assert_eq!(again, phone);
        assert_eq!(published.accept(&mut again, NOW_S).unwrap().index(), 1);
        // And on from there, by the new keys alone.
        let next_auditor = if auditor_turns { &new_auditor } else { &auditor() };
        let next_operator = if operator_turns { &new_operator } else { &operator() };
        let third = bundle(3, Some(&note));
        let stale = logged(&[signed(&third)]);
        assert!(matches!(again.accept(&stale, ARTIFACT, NOW_S), Err(Rejection::SignatureMissing(_))), "the old keys");
        let third = [third.signed(next_auditor, next_operator).unwrap()];
        again.accept(&logged_by(&third, next_auditor, next_operator), ARTIFACT, NOW_S).unwrap();

        // Who has not both pinned keys gets nowhere, whatever the log has taken.
        let stolen = signed(&names(auditor_turns, operator_turns));
        let published = delivered(&stolen, [&auditor(), &operator()]);
        let said = published.accept(&mut Trust::new(update.clone()).unwrap(), NOW_S).unwrap_err();
        assert!(matches!(said, Rejection::SignatureMissing(_)), "a thief of what was replaced: {said}");
        // Another text in the log, or none of this one's lines beside it, is not this bundle.
        let mut other = Bundle { evidence: [1; 32], ..names(auditor_turns, operator_turns) }.note().unwrap();
        for key in [&auditor(), &operator(), &new_auditor, &new_operator] {
            other.sign(key);
        }
        let mut swapped = delivered(&other, [&auditor(), &operator()]);
        swapped.bundles[1].note = note.clone();
        assert_eq!(swapped.accept(&mut Trust::new(update.clone()).unwrap(), NOW_S), Err(Rejection::NotInLog));
        let bare = delivered(&note, [&key("a", 90), &key("b", 91)]);
        assert_eq!(bare.accept(&mut Trust::new(update.clone()).unwrap(), NOW_S), Err(Rejection::NotInLog));
        // Where no key turns, nobody's line stands for the operator's.
        let mut plain = signed(&second());
        plain.sign(&key("nobody.example", 77));
        let by_nobody = delivered(&plain, [&auditor(), &key("nobody.example", 77)]);
        assert_eq!(by_nobody.accept(&mut trust(), NOW_S), Err(Rejection::NotInLog));
        // After a theft the least epoch is beyond what the stolen key has signed, and that holds here too.
        let mut raised = Trust::new(Pins { epoch_min: 3, ..update }).unwrap();
        let published = delivered(&note, [&auditor(), &operator()]);
        assert_eq!(published.accept(&mut raised, NOW_S), Err(Rejection::RolledBack { found: 2, least: 3 }));
    }
}

#[test]
fn a_bundle_has_one_text() {
    let note = signed(&second());
    let text = note.text().to_owned();
    let with = |text: String| {
        let (_, lines) =
            std::str::from_utf8(&note.write()).unwrap().rsplit_once("\n\n").map(|(_, it)| ((), it.to_owned())).unwrap();
        Bundle::read(&Note::read(format!("{text}\n{lines}").as_bytes()).unwrap())
    };
    assert_eq!(with(text.clone()), Ok(second()));
    for (old, new) in [
        ("epoch 2", "epoch 02"),
        ("epoch 2", "epoch +2"),
        ("epoch 2", "epoch 2 "),
        ("fleet 07", "fleet 0"),
        ("evidence 09", "evidence 0G"),
        ("evidence 0909", "evidence 09\u{e9}"),
        ("not-before", "not-Before"),
        ("namespace example.org/backup", "namespace example.org/ba ckup"),
        ("namespace example.org/backup", "namespace "),
        ("artifact", "evidence"),
    ] {
        assert!(text.contains(old), "{old}");
        assert!(matches!(with(text.replacen(old, new, 1)), Err(Fault::Damaged(_))), "{new}");
    }
    for more in ["more 1\n", "next-operator x\n", "\n", "next-auditor auditor.example+00000000+AQ==\n"] {
        assert!(with(format!("{text}{more}")).is_err(), "{more}");
    }
    for cut in 1..9 {
        let less: String = text.lines().take(cut).map(|line| format!("{line}\n")).collect();
        assert!(with(less).is_err(), "{cut} lines");
    }
    assert_eq!(
        with(text.replacen("v1", "v2", 1)),
        Err(Fault::Format { what: "the bundle", found: 2, reads: 1 }),
        "a later version is named"
    );
    assert!(Bundle { namespace: String::new(), ..second() }.note().is_err());
    assert!(Bundle { not_after_s: 0, ..second() }.note().is_err());
}

#[test]
fn notes_and_keys_are_read_as_they_are_written_and_in_no_other_way() {
    let note = signed(&second());
    let bytes = note.write();
    assert_eq!(Note::read(&bytes), Ok(note));
    for cut in 0..bytes.len() {
        assert!(Note::read(&bytes[..cut]).is_err() || Note::read(&bytes[..cut]).unwrap().write() == bytes[..cut]);
    }
    assert!(Note::read(&vec![b'a'; NOTE_MAX + 1]).is_err());
    assert!(Note::read(b"text\n\n").is_err(), "without a signature");
    let key = auditor().verifying_key();
    let text = key.to_string();
    assert_eq!(text.parse::<VerifyingKey>().unwrap(), key);
    assert!(text.starts_with("auditor.example+"));
    for wrong in ["", "a", "a+b", "a+b+c", &text[1..], &text[..text.len() - 1], &text.replace("auditor", "au ditor")] {
        assert!(wrong.parse::<VerifyingKey>().is_err(), "{wrong}");
    }
    // A point of small order verifies anything under lax rules.
    let weak = ed25519_dalek::VerifyingKey::from_bytes(&std::array::from_fn(|at| u8::from(at == 0))).unwrap();
    assert!(weak.is_weak());
    assert!(SigningKey::new("with space", &Secret::new([1; 32])).is_err());
    assert!(SigningKey::new("", &Secret::new([1; 32])).is_err());
}
