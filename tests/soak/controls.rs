//! The auditor's own controls: a diary and counters that are right, and changes to them that it must find.

use crate::audit::{Audited, Counters, audit};
use crate::diary::{self, Lives};
use crate::life::Limits;

const LIMITS: Limits = Limits { attempts_max: 4, lifetime_max: 12 };

/// An enrolment whose answer was lost, a wrong guess, a repeated one, a success, a second record, a crash.
const RIGHT: &str = "\
account 0101010101010101010101010101010101010101010101010101010101010101
1 > start
1 < started
2 > enrol 1 1 1
2 < unknown
3 > enrol 1 1 1
3 < enrolled 1
4 > guess 4 9
5 > guess 5 1
5 < answered 2 opens
4 < answered 3 shut
6 > prove 5
6 < recovered 1
7 > remaining
7 < remaining 4
8 > guess 8 9
8 < answered 3 shut
9 > guess 8 9
9 < answered 3 shut
10 > start
10 < started
11 > guess 11 9
11 < undone
12 > enrol 10 2 2
12 < enrolled 2
13 > guess 13 2
";

/// What the store ends with, whether the last guess was charged or not.
const ENDS: [Counters; 2] = {
    let end = Counters { spent: 3, cleared: 2, generation: 2, began: 3, owed: 1, live: true, destroyed: false };
    [end, Counters { spent: 4, ..end }]
};

fn audited(text: &str, store: Counters) -> Audited {
    let mut lives = Lives::new();
    diary::read(text, &mut lives).expect("a diary");
    audit(&lives, |_| store, LIMITS)
}

/// The finding that says this, if there is one: another would not show that its own check works.
fn found(text: &str, store: Counters, says: &str) -> Option<String> {
    audited(text, store).findings.into_iter().find(|finding| finding.contains(says))
}

/// Holds the auditor to finding each of them.
pub(crate) fn every_changed_word_is_found() -> Result<(), String> {
    for end in ENDS {
        if let Some(finding) = audited(RIGHT, end).findings.first() {
            return Err(format!("the auditor finds fault with what is right: {finding}"));
        }
    }
    let told = [
        ("an enrolment is lost", "3 < enrolled 1", "3 < refused 6 Stale"),
        ("an enrolment counts twice", "3 < enrolled 1", "3 < enrolled 2"),
        ("an attempt is given back", "4 < answered 3 shut", "4 < answered 4 shut"),
        ("a wrong code opens", "4 < answered 3 shut", "4 < answered 3 opens"),
        ("a right code does not", "5 < answered 2 opens", "5 < answered 2 shut"),
        ("another key comes back", "6 < recovered 1", "6 < recovered 2"),
        ("a success does not clear", "7 < remaining 4", "7 < remaining 2"),
        ("a repetition is charged", "9 < answered 3 shut", "9 < answered 2 shut"),
        ("a ticket works twice", "12 > enrol 10 2 2", "12 > enrol 1 2 2"),
    ];
    let ends = [
        ("an attempt is lost", Counters { spent: 2, began: 2, owed: 0, ..ENDS[0] }),
        ("an attempt too many is counted", Counters { spent: 5, ..ENDS[0] }),
        ("a success is lost", Counters { cleared: 0, ..ENDS[0] }),
        ("the second record is lost", Counters { generation: 1, began: 0, owed: 0, ..ENDS[0] }),
        ("the account is lost", Counters::default()),
        ("a record is gone", Counters { live: false, ..ENDS[0] }),
        ("what was owed is forgiven", Counters { owed: 0, ..ENDS[0] }),
        ("a record with attempts left is destroyed", Counters { live: false, destroyed: true, ..ENDS[0] }),
    ];
    let lost = ends.iter().filter(|(_, end)| !audited(RIGHT, *end).lost.is_empty()).map(|(what, _)| *what);
    let lost: Vec<_> = lost.collect();
    if lost != ["an attempt is lost", "the second record is lost", "the account is lost"] {
        return Err(format!("the auditor takes these for a loss of what was acknowledged: {lost:?}"));
    }
    let mut seen = Vec::new();
    for (what, line, other) in told {
        assert_eq!(RIGHT.matches(line).count(), 1, "{line}");
        seen.push((what, audited(&RIGHT.replace(line, other), ENDS[0]).findings.into_iter().next()));
    }
    seen.extend(ends.map(|(what, end)| (what, found(RIGHT, end, "nothing that was told allows it"))));
    seen.push(("a guess beyond every bound", found(&laundered(), Counters::default(), "guesses were")));
    println!("the auditor's controls:");
    for (what, finding) in &seen {
        // The rest of a finding is for those who look for what went wrong.
        let finding = finding.as_deref().map_or("NOT FOUND", |it| it.split(';').next().unwrap_or(it));
        println!("  {what}: {finding}");
    }
    match seen.iter().find(|(_, finding)| finding.is_none()) {
        Some((what, _)) => Err(format!("the auditor does not see that {what}")),
        None => Ok(()),
    }
}

/// Four guesses a record, record after record.
fn laundered() -> String {
    let mut text = RIGHT.lines().next().unwrap_or_default().to_owned();
    let mut number = 1;
    for generation in 1..=4 {
        let start = number;
        text += &format!("\n{start} > start\n{start} < started\n{} > enrol {start} 1 1\n", start + 1);
        text += &format!("{} < enrolled {generation}", start + 1);
        number += 2;
        for left in [3, 2, 1, 0] {
            text += &format!("\n{number} > guess {number} 9\n{number} < answered {left} shut");
            number += 1;
        }
    }
    text
}
