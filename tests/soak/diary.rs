//! What clients write down: what they are about to ask, and what they were told. A line each, an account a section.
//!
//! ```text
//! account 5f…          # a section begins, or goes on
//! 1 > start            # asked, under a number of its own within the account
//! 1 < started          # told
//! 2 > enrol 1 2 3      # the finish of what 1 started, with code 2 and backup key 3
//! 2 < unknown          # never told: it may have been done, but will not be done any more
//! 3 > guess 3 2        # the KE1 that was first sent as 3, with code 2
//! 3 < undone           # it did not leave, or its server stopped in peace without an answer
//! 4 > guess 3 2        # the same bytes again; where nothing follows it may be done at any later time
//! ```

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::str::SplitWhitespace;

use strongroom::account::AccountId;
use strongroom::error::Refusal;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Begins an enrolment.
    Start,
    /// Finishes the one that `started` began.
    Enrol { started: u32, code: u32, key: u32 },
    /// Sends the KE1 that was first sent as `first`.
    Guess { first: u32, code: u32 },
    /// Sends the proof that the answer to `guess` gave.
    Prove { guess: u32 },
    /// The same, to remove the record.
    Remove { guess: u32 },
    /// Asks what remains.
    Remaining,
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Told {
    Started,
    /// The generation of the new record.
    Enrolled(u32),
    /// Attempts left, and whether the code opened the answer.
    Answered(u32, bool),
    /// The backup key.
    Recovered(u32),
    Removed,
    Remaining(u32),
    /// By its code on the wire.
    Refused(u8),
}

/// A line of a diary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Asked(u32, Asked),
    Told(u32, Told),
    /// It was not answered, and is done by now or never.
    Unknown(u32),
    /// It was not done, and will not be.
    Undone(u32),
    /// Something that no client should ever meet.
    Odd(u32, String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Asked(number, asked) => {
                write!(f, "{number} > ")?;
                match asked {
                    Asked::Start => f.write_str("start"),
                    Asked::Enrol { started, code, key } => write!(f, "enrol {started} {code} {key}"),
                    Asked::Guess { first, code } => write!(f, "guess {first} {code}"),
                    Asked::Prove { guess } => write!(f, "prove {guess}"),
                    Asked::Remove { guess } => write!(f, "remove {guess}"),
                    Asked::Remaining => f.write_str("remaining"),
                }
            }
            Event::Told(number, told) => {
                write!(f, "{number} < ")?;
                match told {
                    Told::Started => f.write_str("started"),
                    Told::Enrolled(generation) => write!(f, "enrolled {generation}"),
                    Told::Answered(remaining, true) => write!(f, "answered {remaining} opens"),
                    Told::Answered(remaining, false) => write!(f, "answered {remaining} shut"),
                    Told::Recovered(key) => write!(f, "recovered {key}"),
                    Told::Removed => f.write_str("removed"),
                    Told::Remaining(attempts) => write!(f, "remaining {attempts}"),
                    Told::Refused(code) => match Refusal::from_code(*code) {
                        Some(refusal) => write!(f, "refused {code} {refusal:?}"),
                        None => write!(f, "refused {code}"),
                    },
                }
            }
            Event::Unknown(number) => write!(f, "{number} < unknown"),
            Event::Undone(number) => write!(f, "{number} < undone"),
            Event::Odd(number, words) => write!(f, "{number} < odd {words}"),
        }
    }
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let number = number(&mut words)?;
        Some(match (words.next()?, words.next()?) {
            (">", kind) => {
                let words = &mut words;
                Event::Asked(
                    number,
                    match kind {
                        "start" => Asked::Start,
                        "enrol" => Asked::Enrol {
                            started: self::number(words)?,
                            code: self::number(words)?,
                            key: self::number(words)?,
                        },
                        "guess" => Asked::Guess { first: self::number(words)?, code: self::number(words)? },
                        "prove" => Asked::Prove { guess: self::number(words)? },
                        "remove" => Asked::Remove { guess: self::number(words)? },
                        "remaining" => Asked::Remaining,
                        _ => return None,
                    },
                )
            }
            ("<", "unknown") => Event::Unknown(number),
            ("<", "undone") => Event::Undone(number),
            ("<", "odd") => Event::Odd(number, words.collect::<Vec<_>>().join(" ")),
            ("<", kind) => {
                let words = &mut words;
                Event::Told(
                    number,
                    match kind {
                        "started" => Told::Started,
                        "enrolled" => Told::Enrolled(self::number(words)?),
                        "answered" => Told::Answered(self::number(words)?, words.next()? == "opens"),
                        "recovered" => Told::Recovered(self::number(words)?),
                        "removed" => Told::Removed,
                        "remaining" => Told::Remaining(self::number(words)?),
                        "refused" => Told::Refused(self::number(words)?.try_into().ok()?),
                        _ => return None,
                    },
                )
            }
            _ => return None,
        })
    }
}

fn number(words: &mut SplitWhitespace<'_>) -> Option<u32> {
    words.next()?.parse().ok()
}

/// What was written down of one account, in order.
pub(crate) type Lives = std::collections::HashMap<AccountId, Vec<Event>>;

/// Adds a diary's text to what is known.
pub(crate) fn read(text: &str, lives: &mut Lives) -> Result<(), String> {
    let mut account = None;
    for (at, line) in text.lines().enumerate() {
        let odd = || format!("line {} is not one of a diary: {line}", at + 1);
        if let Some(id) = line.strip_prefix("account ") {
            let id: [u8; 32] = hex::decode(id).ok().and_then(|id| id.try_into().ok()).ok_or_else(odd)?;
            account = Some(AccountId(id));
        } else {
            let event = Event::parse(line).ok_or_else(odd)?;
            lives.entry(account.ok_or_else(odd)?).or_default().push(event);
        }
    }
    Ok(())
}

/// What is written in the diaries of a folder.
pub(crate) fn read_all(folder: &Path) -> Result<Lives, String> {
    let words = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut paths: Vec<_> = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<_, _>>).map_err(words)?;
    // The roll call goes on where the others ended.
    paths.sort_by_key(|entry: &std::fs::DirEntry| (entry.file_name() == "roll-call.diary", entry.file_name()));
    let mut lives = Lives::new();
    for entry in paths {
        read(&std::fs::read_to_string(entry.path()).map_err(words)?, &mut lives)?;
    }
    Ok(lives)
}

/// A diary that is being written: of one account after the other.
pub(crate) struct Diary(BufWriter<File>);

impl Diary {
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Diary(BufWriter::with_capacity(1 << 16, File::create(path)?)))
    }

    /// What follows is this account's.
    pub(crate) fn section(&mut self, account: &AccountId) -> std::io::Result<()> {
        writeln!(self.0, "account {}", hex::encode(account.as_bytes()))
    }

    pub(crate) fn write(&mut self, event: &Event) -> std::io::Result<()> {
        writeln!(self.0, "{event}")
    }

    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
