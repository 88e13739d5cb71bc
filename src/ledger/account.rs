//! [`Account`]: the counters of one account and the rules that move them. None ever decreases.

use super::command::{Digests, KeyedDigest, Proof, Verdict, read_digest, write_digest};
use super::policy::Policy;
use crate::error::Refusal;
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::Header;

/// An attempt of the open window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    /// Its ordinal.
    pub ordinal: u32,
    /// The digest of its KE1.
    pub digest: KeyedDigest,
}

/// What the present generation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Record {
    /// No record: never enrolled, or removed.
    #[default]
    None,
    /// A record that is evaluated.
    Live {
        /// Epoch and key number of its sealed bytes.
        header: Header,
        /// How often its sealed bytes have been replaced.
        rewraps: u32,
        /// SHA-256 of the finish that made it.
        finish: [u8; 32],
    },
    /// A record that is never evaluated again; its attempts still count.
    Destroyed,
}

/// The counters of one account (DESIGN section 3).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Account {
    pub(super) spent: u32,
    pub(super) cleared: u32,
    pub(super) generation: u32,
    pub(super) began: u32,
    pub(super) owed: u32,
    pub(super) pardoned: u32,
    pub(super) last_charge_s: u64,
    pub(super) window: Vec<Charged>,
    pub(super) record: Record,
}

impl Account {
    /// Attempts charged, ever.
    pub fn spent(&self) -> u32 {
        self.spent
    }

    /// Ordinal of the last attempt that ended in a proven success.
    pub fn cleared(&self) -> u32 {
        self.cleared
    }

    /// Enrolments and removals, ever; 0 is an id never enrolled.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// [`Account::spent`] when the present generation began.
    pub fn began(&self) -> u32 {
        self.began
    }

    /// Charges on records that ended before a success cleared them.
    pub fn owed(&self) -> u32 {
        self.owed
    }

    /// How many of the owed no longer count, by statement of both signers.
    pub fn pardoned(&self) -> u32 {
        self.pardoned
    }

    /// State time of the last charge, in seconds.
    pub fn last_charge_s(&self) -> u64 {
        self.last_charge_s
    }

    /// The attempts of the open window whose KE1 is remembered, in order of ordinal.
    pub fn window(&self) -> &[Charged] {
        &self.window
    }

    /// What the present generation has.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether the present generation's record is evaluated.
    pub fn is_live(&self) -> bool {
        matches!(self.record, Record::Live { .. })
    }

    /// Attempts in the open window.
    pub fn open(&self) -> u32 {
        self.spent - self.cleared.max(self.began)
    }

    /// Attempts left in the window.
    pub fn remaining(&self, policy: &Policy) -> u32 {
        policy.attempts_max.saturating_sub(self.open())
    }

    /// The attempt of the open window that this KE1 was charged to, if it was (L9).
    pub fn charged_before(&self, digests: &Digests) -> Option<u32> {
        self.window.iter().find(|charged| digests.matches(&charged.digest)).map(|charged| charged.ordinal)
    }

    /// Whether an enrolment is allowed, counting the record that it ends.
    ///
    /// # Errors
    /// [`Refusal::LifetimeUsed`] if the attempts of this account's lifetime are used up.
    pub fn may_enrol(&self, policy: &Policy) -> Result<(), Refusal> {
        let unpardoned = self.owed_at_end().saturating_sub(self.pardoned);
        if unpardoned.saturating_add(policy.attempts_max) <= policy.lifetime_max {
            Ok(())
        } else {
            Err(Refusal::LifetimeUsed)
        }
    }

    /// `owed` once the present generation has ended: attempts on a record, live or destroyed, that no success cleared.
    fn owed_at_end(&self) -> u32 {
        match self.record {
            Record::None => self.owed,
            Record::Live { .. } | Record::Destroyed => self.owed.saturating_add(self.open()),
        }
    }

    pub(super) fn charge(&mut self, policy: &Policy, time_s: u64, digests: &Digests) -> Verdict {
        let (ordinal, again) = match self.charged_before(digests) {
            Some(ordinal) => (ordinal, true),
            None if self.open() >= policy.attempts_max || self.spent == u32::MAX => {
                return Verdict::Refused(Refusal::Exhausted);
            }
            None => {
                self.spent += 1;
                self.last_charge_s = time_s;
                self.window.push(Charged { ordinal: self.spent, digest: digests.current });
                (self.spent, false)
            }
        };
        let remaining = self.remaining(policy);
        Verdict::Charged { generation: self.generation, ordinal, live: self.is_live(), remaining, again }
    }

    pub(super) fn clear(&mut self, time_s: u64, generation: u32, proof: &Proof) -> Result<Verdict, Refusal> {
        let charged_here = proof.ordinal > self.began && proof.ordinal <= self.spent;
        if !self.is_live() || generation != self.generation || !charged_here {
            return Err(Refusal::Stale);
        }
        if proof.expiry_s < time_s {
            return Err(Refusal::TicketExpired);
        }
        let again = proof.ordinal <= self.cleared;
        if !again {
            self.cleared = proof.ordinal;
            self.window.retain(|charged| charged.ordinal > proof.ordinal);
        }
        Ok(Verdict::Cleared { again })
    }

    /// The checks of an enrolment, in the order in which they are told; the caller has the comparison of L6 behind it.
    pub(super) fn enrol(
        &mut self,
        policy: &Policy,
        time_s: u64,
        generation: u32,
        expiry_s: u64,
        record: Record,
    ) -> Result<Verdict, Refusal> {
        if expiry_s < time_s {
            return Err(Refusal::TicketExpired);
        }
        if generation != self.generation {
            return Err(Refusal::Stale);
        }
        self.may_enrol(policy)?;
        self.begin(record)?;
        Ok(Verdict::Enrolled { generation: self.generation, again: false })
    }

    /// Whether this very finish made the record that lives (L6).
    pub fn enrolled_by(&self, digest: &[u8; 32]) -> bool {
        matches!(&self.record, Record::Live { finish, .. } if finish == digest)
    }

    pub(super) fn remove(
        &mut self,
        policy: &Policy,
        time_s: u64,
        generation: u32,
        proof: Option<&Proof>,
    ) -> Result<Verdict, Refusal> {
        if self.record == Record::None {
            return Err(Refusal::NoRecord);
        }
        if generation != self.generation {
            return Err(Refusal::Stale);
        }
        match proof {
            // A proven removal is a proven success: what led up to it is not owed.
            Some(proof) => self.clear(time_s, generation, proof).map(|_| ())?,
            None if policy.unproven_removal => {}
            None => return Err(Refusal::Forbidden),
        }
        self.begin(Record::None)?;
        Ok(Verdict::Done)
    }

    /// Ends the present generation and begins the next.
    fn begin(&mut self, record: Record) -> Result<(), Refusal> {
        let next = self.generation.checked_add(1).ok_or(Refusal::LifetimeUsed)?;
        self.owed = self.owed_at_end();
        self.generation = next;
        self.began = self.spent;
        self.window = Vec::new();
        self.record = record;
        Ok(())
    }

    /// Whether a sweep destroys the record at this time (L8).
    pub(super) fn is_due(&self, policy: &Policy, time_s: u64) -> bool {
        self.is_full(policy) && time_s >= self.last_charge_s.saturating_add(policy.destroy_after_s)
    }

    /// Whether the record lives and its window is full.
    pub(super) fn is_full(&self, policy: &Policy) -> bool {
        self.is_live() && self.open() >= policy.attempts_max
    }

    pub(super) fn destroy(&mut self) {
        self.record = Record::Destroyed;
        self.window = Vec::new();
    }

    pub(super) fn pardon(&mut self, pardoned: u32) -> Result<Verdict, Refusal> {
        if pardoned > self.owed {
            return Err(Refusal::Forbidden);
        }
        self.pardoned = self.pardoned.max(pardoned);
        Ok(Verdict::Done)
    }

    /// Leaves at most `restore_attempts` in the window: what was charged since the backup is not known.
    pub(super) fn restore(&mut self, policy: &Policy, time_s: u64) {
        let surplus = self.remaining(policy).saturating_sub(policy.restore_attempts);
        if surplus > 0 {
            self.spent = self.spent.saturating_add(surplus);
            self.last_charge_s = time_s;
        }
    }

    /// Appends the account's one encoding.
    pub fn write(&self, writer: &mut Writer) {
        writer
            .u32(self.spent)
            .u32(self.cleared)
            .u32(self.generation)
            .u32(self.began)
            .u32(self.owed)
            .u32(self.pardoned)
            .u64(self.last_charge_s);
        match &self.record {
            Record::None => writer.u8(0),
            Record::Live { header, rewraps, finish } => {
                writer.u8(1).u32(header.epoch).u16(header.key_number).u32(*rewraps).bytes(finish)
            }
            Record::Destroyed => writer.u8(2),
        };
        writer.u16(self.window.len() as u16);
        for charged in &self.window {
            writer.u32(charged.ordinal);
            write_digest(writer, &charged.digest);
        }
    }

    /// Reads what [`Account::write`] wrote.
    ///
    /// # Errors
    /// [`Invalid`] if the bytes are not an account's encoding or its counters contradict each other.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        let mut account = Account {
            spent: reader.u32()?,
            cleared: reader.u32()?,
            generation: reader.u32()?,
            began: reader.u32()?,
            owed: reader.u32()?,
            pardoned: reader.u32()?,
            last_charge_s: reader.u64()?,
            window: Vec::new(),
            record: Record::None,
        };
        account.record = match reader.u8()? {
            0 => Record::None,
            1 => Record::Live {
                header: Header { epoch: reader.u32()?, key_number: reader.u16()? },
                rewraps: reader.u32()?,
                finish: *reader.array()?,
            },
            2 => Record::Destroyed,
            _ => return Err(Invalid),
        };
        let base = account.cleared.max(account.began);
        if base > account.spent || account.pardoned > account.owed {
            return Err(Invalid);
        }
        let mut above = base;
        for _ in 0..reader.u16()? {
            let charged = Charged { ordinal: reader.u32()?, digest: read_digest(reader)? };
            if charged.ordinal <= above || charged.ordinal > account.spent {
                return Err(Invalid);
            }
            above = charged.ordinal;
            account.window.push(charged);
        }
        Ok(account)
    }
}
