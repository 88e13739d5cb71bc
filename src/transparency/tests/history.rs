//! A history: what a log takes, and what those who watch it say of what it has taken.

use super::*;
use crate::error::Fault;

fn history() -> History {
    History::new(pins()).unwrap()
}

/// What it says of a bundle that does not follow; it must not be moved by that.
fn refused(history: &mut History, note: &Note) -> Rejection {
    let before = history.clone();
    let said = history.follow(note).unwrap_err();
    assert_eq!(*history, before, "T5");
    said
}

#[test]
fn t3_a_history_goes_on_after_a_turn() {
    let new = key("operator.example", 12);
    let notes = turning(&new);
    let mut history = history();
    let entries: Vec<_> = notes.iter().map(|note| history.follow(note).unwrap()).collect();
    assert_eq!(entries, entries_of(&notes, &new));
    // What was followed may come again, with whatever line of somebody else.
    for (note, entry) in notes.iter().zip(&entries) {
        let mut junk = note.clone();
        junk.sign(&key("nobody.example", 77));
        assert_eq!((history.follow(note).as_ref(), history.follow(&junk).as_ref()), (Ok(entry), Ok(entry)));
    }
    let fourth = bundle(4, notes.last());
    assert_eq!(refused(&mut history, &signed(&fourth)), Rejection::SignatureMissing("operator"), "the old key");
    history.follow(&fourth.signed(&auditor(), &new).unwrap()).unwrap();
}

#[test]
fn t5_a_history_is_not_moved_by_what_does_not_follow() {
    let new = key("operator.example", 12);
    let notes = turning(&new);
    let mut history = history();
    // One may not become the other; and who was to be is forgotten again.
    let same = Bundle { next_operator: Some(auditor().verifying_key()), ..bundle(1, None) };
    assert_eq!(refused(&mut history, &signed(&same)), Rejection::OneKeyTwice);
    let names = Bundle { next_operator: Some(new.verifying_key()), ..second() };
    let unsigned = signed(&names);
    history.follow(&notes[0]).unwrap();
    assert_eq!(refused(&mut history, &unsigned), Rejection::NewKeyUnsigned("operator"));
    history.follow(&notes[1]).unwrap();
    // Nor is what was followed taken without the lines that it needs.
    assert_eq!(refused(&mut history, &unsigned), Rejection::NewKeyUnsigned("operator"));
    let mut alone = names.note().unwrap();
    alone.sign(&auditor());
    alone.sign(&new);
    assert_eq!(refused(&mut history, &alone), Rejection::SignatureMissing("operator"));

    let other = |it: Bundle| Bundle { evidence: [1; 32], ..it };
    assert!(matches!(refused(&mut history, &signed(&other(second()))), Rejection::Fork(_)));
    history.follow(&notes[2]).unwrap();
    let rolled_back = Rejection::RolledBack { found: 2, least: 4 };
    assert_eq!(refused(&mut history, &signed(&other(second()))), rolled_back);
    let late = bundle(5, notes.last()).signed(&auditor(), &new).unwrap();
    assert_eq!(refused(&mut history, &late), Rejection::ChainBroken(5));
    let elsewhere = Bundle { namespace: "example.org/test".to_owned(), ..bundle(4, notes.last()) };
    let elsewhere = elsewhere.signed(&auditor(), &new).unwrap();
    assert!(matches!(refused(&mut history, &elsewhere), Rejection::WrongNamespace { .. }));
}

#[test]
fn t3_what_a_log_has_taken_is_followed_by_its_entries() -> Result<(), Fault> {
    let new = key("operator.example", 12);
    let notes = turning(&new);
    let [first, second, third] = entries_of(&notes, &new).try_into().unwrap();
    let (auditor_key, new_key) = (auditor().verifying_key(), new.verifying_key());
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(folder.path(), log_key())?;
    let elsewhere = signed(&Bundle { namespace: "example.org/test".to_owned(), ..bundle(1, None) });
    let mut fork = signed(&Bundle { evidence: [1; 32], ..self::second() });
    let stranger = bundle(4, notes.last()).signed(&auditor(), &operator()).unwrap();
    log.append(&[b"not a note".to_vec(), elsewhere.write(), first.clone(), second.clone()])?;
    log.append(&[fork.write(), third.clone(), stranger.write()])?;

    let mut history = history();
    let said = history.follow_log(&log);
    assert_eq!(said.keys().collect::<Vec<_>>(), [&4, &6]);
    assert!(matches!(&said[&4], Rejection::Fork(proof) if proof.epoch() == 2));
    assert_eq!(said[&6], Rejection::SignatureMissing("operator"));
    // The next one alone is taken, and each finds its place.
    let fourth = bundle(4, notes.last()).signed(&auditor(), &new).unwrap();
    let entry = history.follow(&fourth).unwrap();
    assert_eq!(entry, fourth.entry(&auditor_key, &new_key));
    assert_eq!(log.append(&[entry])?, [7]);
    for (note, place) in notes.iter().chain([&fourth]).zip([2, 3, 5, 7]) {
        assert_eq!(log.find(&history.follow(note).unwrap()), Some(place));
    }
    // An entry does not have the new key's line, and a bundle must.
    let bare = Note::read(&second)?;
    assert_eq!(refused(&mut history, &bare), Rejection::NewKeyUnsigned("operator"));
    fork.sign(&new);
    assert!(matches!(refused(&mut history, &fork), Rejection::RolledBack { found: 2, least: 5 }));

    // Whose pins name the new key begins where that one has signed.
    let mut later = History::new(Pins { operator: new.verifying_key(), ..pins() }).unwrap();
    assert_eq!(later.follow_log(&log).into_keys().collect::<Vec<_>>(), [2, 3, 4, 6]);
    assert_eq!(later.follow(&notes[2]), Ok(third));
    Ok(())
}

#[test]
fn t3_a_history_does_not_begin_with_the_turn_to_its_own_key() {
    let new = key("operator.example", 12);
    let notes = turning(&new);
    // By the pinned keys it would have the log take the new key's line, where the old one's belongs.
    let mut later = History::new(Pins { operator: new.verifying_key(), ..pins() }).unwrap();
    assert_eq!(refused(&mut later, &notes[1]), Rejection::TurnedToPins("operator"));
    assert!(Rejection::TurnedToPins("operator").to_string().contains("take pins that name that one"));
    later.follow(&notes[2]).unwrap();
}
