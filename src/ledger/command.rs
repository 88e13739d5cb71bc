//! [`Command`]: what can happen to the state; [`Verdict`]: what came of it.

use std::sync::Arc;

use super::moving::{Arrival, read_arrivals, read_bound, write_arrivals, write_bound};
use super::policy::Obeyed;
use crate::account::AccountId;
use crate::error::Refusal;
use crate::limits::STATEMENT_MAX;
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::Sealed;

/// A KE1's digest: HMAC-SHA-512 under the fleet key of this number, over account id and KE1, cut to 16 bytes (L9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedDigest {
    /// Number of the fleet key.
    pub key_number: u16,
    /// The digest.
    pub digest: [u8; 16],
}

/// A KE1's digest under the current key and, while that key rotates, under the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Under the current key: the one that is kept.
    pub current: KeyedDigest,
    /// Under the key before it, to recognise a KE1 that was charged before the rotation.
    pub previous: Option<KeyedDigest>,
}

impl Digests {
    /// Whether `kept` was made from the same KE1.
    pub(crate) fn matches(&self, kept: &KeyedDigest) -> bool {
        self.current == *kept || self.previous.as_ref() == Some(kept)
    }
}

/// What a login ticket says of the attempt that it was issued for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Ordinal of the attempt.
    pub ordinal: u32,
    /// State time after which the ticket is no longer good, in seconds.
    pub expiry_s: u64,
}

/// One change of the state. Everything random or timed is already inside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Spend one attempt, unless this KE1 was charged in the open window.
    Charge {
        /// Whose attempt.
        account: AccountId,
        /// Of which KE1.
        digests: Digests,
    },
    /// A proven success: clear the window up to its ordinal.
    Clear {
        /// Whose window.
        account: AccountId,
        /// Generation that the ticket names.
        generation: u32,
        /// What the ticket says of the attempt.
        proof: Proof,
    },
    /// Begin a new generation with this record.
    Enrol {
        /// Whose record.
        account: AccountId,
        /// Generation that the ticket names, the one that this enrolment ends.
        generation: u32,
        /// State time after which the ticket is no longer good, in seconds.
        expiry_s: u64,
        /// SHA-256 of the whole finish, by which a repetition is known (L6).
        finish: [u8; 32],
        /// The record, sealed for generation + 1.
        sealed: Sealed,
    },
    /// Begin a new generation without a record.
    Remove {
        /// Whose record.
        account: AccountId,
        /// Generation to end.
        generation: u32,
        /// What the login ticket says, or `None` where the policy allows removal without proof.
        proof: Option<Proof>,
    },
    /// Destroy an exhausted record whose time has come (L8).
    Sweep {
        /// Whose record.
        account: AccountId,
    },
    /// Forget ids never enrolled, oldest first, that are old or too many (L11).
    Forget {
        /// At most so many.
        most: u16,
    },
    /// The same record under another epoch key.
    Rewrap {
        /// Whose record.
        account: AccountId,
        /// Generation it was sealed for.
        generation: u32,
        /// How often the sealed bytes had been replaced when they were read: the old must be unchanged.
        rewraps: u32,
        /// The new sealed bytes.
        sealed: Sealed,
    },
    /// From here on no sealed bytes of an epoch below this one enter the state.
    RaiseEpochMin {
        /// The lowest epoch still allowed.
        epoch: u32,
    },
    /// By statement of both signers: attempts of ended records that no longer count against the lifetime.
    Pardon {
        /// Whose.
        account: AccountId,
        /// The value that `pardoned` is raised to.
        pardoned: u32,
    },
    /// By statement of both signers: the state was restored from a backup.
    Restore {
        /// Number of this restore, one more than the last.
        number: u32,
    },
    /// By statement of both signers: who the members are.
    Members {
        /// SHA-256 of the text of the statement before this one, or zeros.
        predecessor: [u8; 32],
        /// The statement's bytes: its text, and behind an empty line its signatures.
        statement: Vec<u8>,
    },
    /// By a bundle that those before have signed: whose statements are obeyed from here on.
    Signers {
        /// Those before.
        from: Box<Obeyed>,
        /// Those from here on, of a higher epoch.
        to: Box<Obeyed>,
        /// The bundle's bytes.
        bundle: Vec<u8>,
    },
    /// From here on nobody enrols under keys of a number below this one. Records that come from another vault keep theirs.
    RaiseKeyMin {
        /// The lowest number still allowed.
        key_number: u16,
    },
    /// The fleet's keys have changed: an older copy of them is never used again, and no other keys of this serial number.
    TurnKeys {
        /// Serial number of the keys, above every one before.
        serial: u32,
        /// What tells them from others of that number, and nobody what they are.
        mark: [u8; 32],
    },
    /// From here on accounts leave for another vault.
    Leave {
        /// SHA-256 of what that vault offered.
        offer: [u8; 32],
    },
    /// From here on accounts come from another vault. Only a vault without accounts takes them.
    Expect {
        /// SHA-256 of what this vault offered.
        offer: [u8; 32],
    },
    /// Accounts have left: this vault answers for none below this id any more.
    Depart {
        /// The move that they leave in.
        offer: [u8; 32],
        /// Where it stops, or `None` if all have left.
        upto: Option<AccountId>,
    },
    /// Accounts have come: this vault answers for all below this id.
    Arrive {
        /// The move that they come in.
        offer: [u8; 32],
        /// Where the move stood.
        from: AccountId,
        /// Where it stands now, or `None` if all have come.
        upto: Option<AccountId>,
        /// Every account between the two, in order of id, at most `limits::ARRIVE_MAX`.
        arrivals: Arc<[Arrival]>,
    },
}

impl Command {
    /// The account that it changes, if it is one account.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Command::Charge { account, .. }
            | Command::Clear { account, .. }
            | Command::Enrol { account, .. }
            | Command::Remove { account, .. }
            | Command::Sweep { account }
            | Command::Rewrap { account, .. }
            | Command::Pardon { account, .. } => Some(account),
            Command::Forget { .. }
            | Command::RaiseEpochMin { .. }
            | Command::Restore { .. }
            | Command::Members { .. }
            | Command::Signers { .. }
            | Command::RaiseKeyMin { .. }
            | Command::TurnKeys { .. }
            | Command::Leave { .. }
            | Command::Expect { .. }
            | Command::Depart { .. }
            | Command::Arrive { .. } => None,
        }
    }

    /// The accounts that it changes, as far as it names them.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &AccountId> + Clone {
        let arrivals = if let Command::Arrive { arrivals, .. } = self { &arrivals[..] } else { &[] };
        self.account().into_iter().chain(arrivals.iter().map(|arrival| &arrival.id))
    }

    /// Appends the command's one encoding.
    pub fn write(&self, writer: &mut Writer) {
        match self {
            Command::Charge { account, digests } => {
                writer.u8(1).bytes(&account.0);
                write_digest(writer, &digests.current);
                writer.flag(digests.previous.is_some());
                if let Some(previous) = &digests.previous {
                    write_digest(writer, previous);
                }
            }
            Command::Clear { account, generation, proof } => {
                writer.u8(2).bytes(&account.0).u32(*generation).u32(proof.ordinal).u64(proof.expiry_s);
            }
            Command::Enrol { account, generation, expiry_s, finish, sealed } => {
                writer.u8(3).bytes(&account.0).u32(*generation).u64(*expiry_s).bytes(finish);
                sealed.write(writer);
            }
            Command::Remove { account, generation, proof } => {
                writer.u8(4).bytes(&account.0).u32(*generation).flag(proof.is_some());
                if let Some(proof) = proof {
                    writer.u32(proof.ordinal).u64(proof.expiry_s);
                }
            }
            Command::Sweep { account } => {
                writer.u8(5).bytes(&account.0);
            }
            Command::Forget { most } => {
                writer.u8(6).u16(*most);
            }
            Command::Rewrap { account, generation, rewraps, sealed } => {
                writer.u8(7).bytes(&account.0).u32(*generation).u32(*rewraps);
                sealed.write(writer);
            }
            Command::RaiseEpochMin { epoch } => {
                writer.u8(8).u32(*epoch);
            }
            Command::Pardon { account, pardoned } => {
                writer.u8(9).bytes(&account.0).u32(*pardoned);
            }
            Command::Restore { number } => {
                writer.u8(10).u32(*number);
            }
            Command::Members { predecessor, statement } => {
                writer.u8(11).bytes(predecessor).counted(statement);
            }
            Command::RaiseKeyMin { key_number } => {
                writer.u8(12).u16(*key_number);
            }
            Command::TurnKeys { serial, mark } => {
                writer.u8(13).u32(*serial).bytes(mark);
            }
            Command::Leave { offer } => {
                writer.u8(14).bytes(offer);
            }
            Command::Expect { offer } => {
                writer.u8(15).bytes(offer);
            }
            Command::Depart { offer, upto } => {
                write_bound(writer.u8(16).bytes(offer), *upto);
            }
            Command::Arrive { offer, from, upto, arrivals } => {
                write_bound(writer.u8(17).bytes(offer).bytes(&from.0), *upto);
                write_arrivals(writer, arrivals);
            }
            Command::Signers { from, to, bundle } => {
                writer.u8(18);
                from.write(writer);
                to.write(writer);
                writer.counted(bundle);
            }
        }
    }

    /// Reads one command.
    ///
    /// # Errors
    /// [`Invalid`] if the next bytes are not a command's encoding.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(match reader.u8()? {
            1 => Command::Charge {
                account: read_account(reader)?,
                digests: Digests {
                    current: read_digest(reader)?,
                    previous: if reader.flag()? { Some(read_digest(reader)?) } else { None },
                },
            },
            2 => {
                Command::Clear { account: read_account(reader)?, generation: reader.u32()?, proof: read_proof(reader)? }
            }
            3 => Command::Enrol {
                account: read_account(reader)?,
                generation: reader.u32()?,
                expiry_s: reader.u64()?,
                finish: *reader.array()?,
                sealed: Sealed::read(reader)?,
            },
            4 => Command::Remove {
                account: read_account(reader)?,
                generation: reader.u32()?,
                proof: if reader.flag()? { Some(read_proof(reader)?) } else { None },
            },
            5 => Command::Sweep { account: read_account(reader)? },
            6 => Command::Forget { most: reader.u16()? },
            7 => Command::Rewrap {
                account: read_account(reader)?,
                generation: reader.u32()?,
                rewraps: reader.u32()?,
                sealed: Sealed::read(reader)?,
            },
            8 => Command::RaiseEpochMin { epoch: reader.u32()? },
            9 => Command::Pardon { account: read_account(reader)?, pardoned: reader.u32()? },
            10 => Command::Restore { number: reader.u32()? },
            11 => {
                Command::Members { predecessor: *reader.array()?, statement: reader.counted(STATEMENT_MAX)?.to_vec() }
            }
            12 => Command::RaiseKeyMin { key_number: reader.u16()? },
            13 => Command::TurnKeys { serial: reader.u32()?, mark: *reader.array()? },
            14 => Command::Leave { offer: *reader.array()? },
            15 => Command::Expect { offer: *reader.array()? },
            16 => Command::Depart { offer: *reader.array()?, upto: read_bound(reader)? },
            17 => Command::Arrive {
                offer: *reader.array()?,
                from: read_account(reader)?,
                upto: read_bound(reader)?,
                arrivals: read_arrivals(reader)?,
            },
            18 => Command::Signers {
                from: Box::new(Obeyed::read(reader)?),
                to: Box::new(Obeyed::read(reader)?),
                bundle: reader.counted(STATEMENT_MAX)?.to_vec(),
            },
            _ => return Err(Invalid),
        })
    }
}

pub(super) fn read_account(reader: &mut Reader<'_>) -> Result<AccountId, Invalid> {
    reader.array().copied().map(AccountId)
}

fn read_proof(reader: &mut Reader<'_>) -> Result<Proof, Invalid> {
    Ok(Proof { ordinal: reader.u32()?, expiry_s: reader.u64()? })
}

pub(super) fn read_digest(reader: &mut Reader<'_>) -> Result<KeyedDigest, Invalid> {
    Ok(KeyedDigest { key_number: reader.u16()?, digest: *reader.array()? })
}

pub(super) fn write_digest(writer: &mut Writer, digest: &KeyedDigest) {
    writer.u16(digest.key_number).bytes(&digest.digest);
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// An attempt is charged, or was charged before for the same KE1.
    Charged {
        /// Generation it is charged to.
        generation: u32,
        /// The attempt's ordinal.
        ordinal: u32,
        /// Whether this generation's record lives; else the answer is a fake.
        live: bool,
        /// Attempts left in the window.
        remaining: u32,
        /// True where this KE1 had been charged already and nothing changed (L9).
        again: bool,
    },
    /// The success is proven and the record lives.
    Cleared {
        /// True where it cleared nothing, since it had been cleared before.
        again: bool,
    },
    /// The record is the account's.
    Enrolled {
        /// Its generation.
        generation: u32,
        /// True where this very finish had made it already.
        again: bool,
    },
    /// Done.
    Done,
    /// Nothing changed.
    Refused(Refusal),
}
