//! [`Statement`]: what both signers tell a fleet to do.

use super::bundle::{hex, unhex};
use super::note::Note;
use super::rejection::{self, Rejection};
use crate::account::AccountId;
use crate::error::Fault;
use crate::ledger::{Obeyed, Signers};

const FORMAT: &str = "strongroom statement v1";

/// A statement of both signers to one fleet, as a note: lines of text, in one way.
///
/// ```text
/// strongroom statement v1
/// fleet 6f1c...
/// pardon 0a1b... 50
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The fleet's id.
    pub fleet: [u8; 32],
    /// What it is to do.
    pub order: Order,
}

/// What a fleet is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Attempts of ended records no longer count against an account's lifetime: `pardon <account> <value>`.
    Pardon {
        /// Whose.
        account: AccountId,
        /// The value that `pardoned` is raised to: said twice it does nothing more.
        pardoned: u32,
    },
    /// The state was restored from a backup: `restore <number>`.
    Restore {
        /// One more than the last.
        number: u32,
    },
    /// Who the members are: `members <hash of the statement before>`, and a line for each.
    Members {
        /// [`Note::hash`] of the statement before this one, or zeros.
        predecessor: [u8; 32],
        /// All of them, in order of number.
        members: Vec<Member>,
    },
    /// A majority is lost for good, and the fleet goes on from a backup: `refound <number> <backup> <hash of the statement
    /// before>`, and a line for each member. It is a restore of this number too.
    Refound {
        /// One more than the last restore.
        number: u32,
        /// The chain at the last row of the backup, by which [`crate::fleet::survey`] names it.
        backup: [u8; 32],
        /// [`Note::hash`] of the last statement in the backup that named members.
        predecessor: [u8; 32],
        /// All of them, in order of number; none was a member before.
        members: Vec<Member>,
    },
}

impl Order {
    /// Its word.
    pub fn name(&self) -> &'static str {
        match self {
            Order::Pardon { .. } => "pardon",
            Order::Restore { .. } => "restore",
            Order::Members { .. } => "members",
            Order::Refound { .. } => "refound",
        }
    }

    /// Whom it names as the members, if it does, and the hash of the statement that it follows.
    pub fn members(&self) -> Option<(&[u8; 32], &[Member])> {
        match self {
            Order::Members { predecessor, members } | Order::Refound { predecessor, members, .. } => {
                Some((predecessor, members))
            }
            Order::Pardon { .. } | Order::Restore { .. } => None,
        }
    }
}

/// A member of a fleet: `member <number> <name> <link key> <channel key> <code>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number, which no other member ever has.
    pub number: u64,
    /// Where it is found: printable, without spaces.
    pub name: String,
    /// Its key on links to other members: Ed25519, in its 32 bytes.
    pub link_key: [u8; 32],
    /// SHA-256 of its attested channel key, to which the fleet's keys are sealed for it.
    pub channel_key: [u8; 32],
    /// The measurement of the code that it runs: printable, without spaces.
    pub code: String,
}

impl Statement {
    /// The statement as a note to be signed.
    ///
    /// ```
    /// use strongroom::account::AccountId;
    /// use strongroom::transparency::{Order, Statement};
    /// let account = AccountId::derive("example.org/backup", "+15550100");
    /// let statement = Statement { fleet: [7; 32], order: Order::Pardon { account, pardoned: 50 } };
    /// let note = statement.note()?;
    /// assert_eq!(Statement::read(&note)?, statement);
    /// # Ok::<(), strongroom::error::Fault>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault::Limit`] if a member's name or code is not a word, or members are not in order of number.
    pub fn note(&self) -> Result<Note, Fault> {
        let mut text = format!("{FORMAT}\nfleet {}\n", hex(&self.fleet));
        match &self.order {
            Order::Pardon { account, pardoned } => text += &format!("pardon {} {pardoned}\n", hex(&account.0)),
            Order::Restore { number } => text += &format!("restore {number}\n"),
            Order::Members { predecessor, members } => {
                text += &format!("members {}\n{}", hex(predecessor), lines(members)?);
            }
            Order::Refound { number, backup, predecessor, members } => {
                let (backup, predecessor) = (hex(backup), hex(predecessor));
                text += &format!("refound {number} {backup} {predecessor}\n{}", lines(members)?);
            }
        }
        Ok(Note::unsigned(text))
    }

    /// Reads the text of a note. That says nothing of who signed it.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it is not a statement's, or is written in another way than [`Statement::note`] writes it.
    pub fn read(note: &Note) -> Result<Self, Fault> {
        let wrong = || Fault::Damaged("this note is not a statement to a fleet".to_owned());
        let mut lines = note.text().lines().map(|line| line.split(' ').collect::<Vec<_>>());
        if lines.next().is_none_or(|words| words.join(" ") != FORMAT) {
            return Err(wrong());
        }
        let mut read = || {
            let fleet = match lines.next()?[..] {
                ["fleet", fleet] => unhex(fleet)?,
                _ => return None,
            };
            let order = match lines.next()?[..] {
                ["pardon", account, pardoned] => {
                    Order::Pardon { account: AccountId(unhex(account)?), pardoned: pardoned.parse().ok()? }
                }
                ["restore", number] => Order::Restore { number: number.parse().ok()? },
                ["members", predecessor] => Order::Members {
                    predecessor: unhex(predecessor)?,
                    members: lines.by_ref().map(member).collect::<Option<_>>()?,
                },
                ["refound", number, backup, predecessor] => Order::Refound {
                    number: number.parse().ok()?,
                    backup: unhex(backup)?,
                    predecessor: unhex(predecessor)?,
                    members: lines.by_ref().map(member).collect::<Option<_>>()?,
                },
                _ => return None,
            };
            Some(Statement { fleet, order })
        };
        let statement = read().ok_or_else(wrong)?;
        // One encoding: no line more, no number with zeros before it.
        match statement.note() {
            Ok(again) if again.text() == note.text() => Ok(statement),
            _ => Err(wrong()),
        }
    }

    /// Reads a statement that both of these have signed.
    ///
    /// # Errors
    /// [`Rejection::Malformed`], [`Rejection::SignatureMissing`], [`Rejection::SignatureBad`].
    pub fn of(note: &Note, signers: &Signers) -> Result<Self, Rejection> {
        signed_by(note, signers)?;
        Statement::read(note).map_err(|fault| Rejection::Malformed(fault.to_string()))
    }
}

/// A line for each member.
fn lines(members: &[Member]) -> Result<String, Fault> {
    let word = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_graphic());
    if !members.iter().all(|it| word(&it.name) && word(&it.code))
        || !members.is_sorted_by(|one, next| one.number < next.number)
    {
        return Err(Fault::Limit("members must have names, code, and numbers of their own, in order".to_owned()));
    }
    let line = |Member { number, name, link_key, channel_key, code }: &Member| {
        format!("member {number} {name} {} {} {code}\n", hex(link_key), hex(channel_key))
    };
    Ok(members.iter().map(line).collect())
}

/// The member of one line.
fn member(words: Vec<&str>) -> Option<Member> {
    match words[..] {
        ["member", number, name, link_key, channel_key, code] => Some(Member {
            number: number.parse().ok()?,
            name: name.to_owned(),
            link_key: unhex(link_key)?,
            channel_key: unhex(channel_key)?,
            code: code.to_owned(),
        }),
        _ => None,
    }
}

/// The signers that a bundle names in place of these, who have signed it, if it names any: each new key has signed too.
///
/// It must be of a higher epoch than the last that was followed. A signer can add the line of its present key to an older bundle
/// that the other signed with the key which that one has still: without the epoch, one signer alone, or a thief of its present
/// key, would bring back a key of its own from before. What names the present signers alone is nothing to follow (the bundle
/// that named them, once more, or one that renews dates), and does not raise the epoch: whoever holds a key that was replaced,
/// but not yet here, would add its line to a later bundle, and the one that replaces it could not be followed any more.
///
/// Bundles may be left out, so two things are not asked here. One that names other keys, signed by both present keys, of a
/// higher epoch, is followed even if the fleet has since gone on by another: what one signer has signed the other can complete
/// until a later one is followed. And the holder of a key that was replaced elsewhere but not yet here can add its line to a
/// later bundle that replaces the other's key, and that key of its own stays until a bundle of a still higher epoch, by it too,
/// names another. So the private half of a replaced key is destroyed only once every vault has followed the bundle that
/// replaced it.
///
/// # Errors
/// As [`Statement::of`]; [`Rejection::RolledBack`], [`Rejection::NewKeyUnsigned`], [`Rejection::OneKeyTwice`],
/// [`Rejection::WrongFleet`].
pub fn next_signers(note: &Note, fleet: &[u8; 32], obeyed: &Obeyed) -> Result<Option<Obeyed>, Rejection> {
    let Obeyed { signers, epoch } = obeyed;
    signed_by(note, signers)?;
    let bundle = rejection::read(note)?;
    if bundle.fleet != *fleet {
        return Err(Rejection::WrongFleet);
    }
    if bundle.epoch < *epoch {
        return Err(Rejection::RolledBack { found: bundle.epoch, least: *epoch });
    }
    let [auditor, operator] = rejection::new_keys(note, &bundle)?;
    let next = Signers {
        auditor: auditor.map_or(signers.auditor, |new| *new.as_bytes()),
        operator: operator.map_or(signers.operator, |new| *new.as_bytes()),
    };
    if next.auditor == next.operator {
        return Err(Rejection::OneKeyTwice);
    }
    if next == *signers {
        return Ok(None);
    }
    if bundle.epoch == *epoch {
        return Err(Rejection::RolledBack { found: bundle.epoch, least: epoch.saturating_add(1) });
    }
    Ok(Some(Obeyed { signers: next, epoch: bundle.epoch }))
}

fn signed_by(note: &Note, signers: &Signers) -> Result<(), Rejection> {
    rejection::by_both(note.signed_by_bytes(&signers.auditor), note.signed_by_bytes(&signers.operator))
}
