//! [`Account`]: the counters of one account and the rules that move them. None ever decreases.

use super::command::{Digests, KeyedDigest, Proof, Verdict, read_digest, write_digest};
use super::policy::Policy;
use crate::error::Refusal;
use crate::limits::ATTEMPTS_LIMIT;
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
///
/// Its fields are 96 bytes, and nothing lies behind them while the window is empty. The rules change it in place: each
/// looks at everything that could refuse before it moves the first counter.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Account {
    pub(super) spent: u32,
    pub(super) cleared: u32,
    pub(super) generation: u32,
    pub(super) began: u32,
    pub(super) owed: u32,
    pub(super) pardoned: u32,
    pub(super) last_charge_s: u64,
    /// Exactly as long as it is full: most accounts have none, and few have more than one.
    pub(super) window: Box<[Charged]>,
    pub(super) record: Record,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Account>() <= 96, "what an account may take of the memory of ten million");

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
        self.spent.saturating_sub(self.cleared.max(self.began))
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

    pub(super) fn charge(&mut self, policy: &Policy, time_s: u64, digests: &Digests) -> Result<Verdict, Refusal> {
        // A repetition is known before the window is tested (L9): the last attempt's lost reply is not lost.
        let (ordinal, again) = match self.charged_before(digests) {
            Some(ordinal) => (ordinal, true),
            None if self.open() >= policy.attempts_max || self.spent == u32::MAX => return Err(Refusal::Exhausted),
            None => {
                self.spent += 1;
                self.last_charge_s = time_s;
                self.remember(Charged { ordinal: self.spent, digest: digests.current });
                (self.spent, false)
            }
        };
        let remaining = self.remaining(policy);
        Ok(Verdict::Charged { generation: self.generation, ordinal, live: self.is_live(), remaining, again })
    }

    fn remember(&mut self, charged: Charged) {
        let mut window = std::mem::take(&mut self.window).into_vec();
        window.reserve_exact(1);
        window.push(charged);
        self.window = window.into_boxed_slice();
    }

    pub(super) fn clear(&mut self, time_s: u64, generation: u32, proof: &Proof) -> Result<Verdict, Refusal> {
        self.may_clear(time_s, generation, proof)?;
        let again = proof.ordinal <= self.cleared;
        self.clear_up_to(proof.ordinal);
        Ok(Verdict::Cleared { again })
    }

    /// Whether a proven success at this ordinal counts (L4).
    fn may_clear(&self, time_s: u64, generation: u32, proof: &Proof) -> Result<(), Refusal> {
        // Ordinals never repeat, so one above `began` cannot be another generation's; the ticket names both, and both
        // are held against the state.
        let charged_here = proof.ordinal > self.began && proof.ordinal <= self.spent;
        if !self.is_live() || generation != self.generation || !charged_here {
            Err(Refusal::Stale)
        } else if proof.expiry_s < time_s {
            Err(Refusal::TicketExpired)
        } else {
            Ok(())
        }
    }

    fn clear_up_to(&mut self, ordinal: u32) {
        if ordinal > self.cleared {
            self.cleared = ordinal;
            let gone = self.window.partition_point(|charged| charged.ordinal <= ordinal);
            self.window = self.window[gone..].into();
        }
    }

    /// Whether an enrolment may end the present generation: its checks, in the order in which they are told. The caller
    /// has the comparison of L6 behind it.
    pub(super) fn may_replace(
        &self,
        policy: &Policy,
        time_s: u64,
        generation: u32,
        expiry_s: u64,
    ) -> Result<(), Refusal> {
        if expiry_s < time_s {
            return Err(Refusal::TicketExpired);
        }
        if generation != self.generation {
            return Err(Refusal::Stale);
        }
        self.may_enrol(policy)
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
            Some(proof) => self.may_clear(time_s, generation, proof)?,
            None if policy.unproven_removal => {}
            None => return Err(Refusal::Forbidden),
        }
        let next = self.next_generation()?;
        if let Some(proof) = proof {
            // A proven removal is a proven success: what led up to it is not owed.
            self.clear_up_to(proof.ordinal);
        }
        self.begin(next, Record::None);
        Ok(Verdict::Done)
    }

    /// The number of the generation after this one.
    pub(super) fn next_generation(&self) -> Result<u32, Refusal> {
        self.generation.checked_add(1).ok_or(Refusal::LifetimeUsed)
    }

    /// Ends the present generation and begins the next.
    pub(super) fn begin(&mut self, generation: u32, record: Record) {
        self.owed = self.owed_at_end();
        self.generation = generation;
        self.began = self.spent;
        self.window = Box::default();
        self.record = record;
    }

    /// Whether a sweep destroys the record at this time (L8).
    pub(super) fn is_due(&self, policy: &Policy, time_s: u64) -> bool {
        self.is_full(policy) && time_s.saturating_sub(self.last_charge_s) >= policy.destroy_after_s
    }

    /// Whether the record lives and its window is full.
    pub(super) fn is_full(&self, policy: &Policy) -> bool {
        self.is_live() && self.open() >= policy.attempts_max
    }

    pub(super) fn destroy(&mut self) {
        self.record = Record::Destroyed;
        self.window = Box::default();
    }

    /// The same record under another epoch key, never an older one, provided that its bytes are unchanged since they
    /// were read.
    pub(super) fn rewrap(
        &mut self,
        generation: u32,
        read: u32,
        admitted: Result<Header, Refusal>,
    ) -> Result<Verdict, Refusal> {
        match &mut self.record {
            Record::Live { header, rewraps, .. } if self.generation == generation && *rewraps == read => {
                let new = admitted?;
                let next = read.checked_add(1).ok_or(Refusal::Forbidden)?;
                if new.key_number != header.key_number || new.epoch < header.epoch {
                    return Err(Refusal::Stale);
                }
                (*header, *rewraps) = (new, next);
                Ok(Verdict::Done)
            }
            _ => Err(Refusal::Stale),
        }
    }

    /// Charges that no success can clear any more: on ended records, and on one that is destroyed, which without this
    /// could be beyond pardon where `lifetime_max` is less than twice `attempts_max`.
    fn beyond_clearing(&self) -> u32 {
        if self.record == Record::Destroyed { self.owed_at_end() } else { self.owed }
    }

    pub(super) fn pardon(&mut self, pardoned: u32) -> Result<Verdict, Refusal> {
        if pardoned > self.beyond_clearing() {
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

    /// The account as it goes to another vault: what only this vault's keys give a meaning to stays behind. A KE1 that
    /// is repeated there is charged again.
    pub fn as_travels(&self) -> Account {
        let mut travels = Account { window: Box::default(), ..self.clone() };
        if let Record::Live { header, rewraps, .. } = &mut travels.record {
            (*header, *rewraps) = (Header { epoch: 0, key_number: 0 }, 0);
        }
        travels
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
            window: Box::default(),
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
        if base > account.spent {
            return Err(Invalid);
        }
        let consistent = match account.record {
            // Nothing is cleared in a generation without a record, and nothing else happens before the first.
            Record::None if account.generation == 0 => base == 0 && account.owed == 0,
            Record::None => account.cleared <= account.began,
            Record::Live { .. } | Record::Destroyed => account.generation > 0,
        };
        if !consistent || account.pardoned > account.beyond_clearing() {
            return Err(Invalid);
        }
        let count = usize::from(reader.u16()?);
        if count > 0 && account.record == Record::Destroyed {
            return Err(Invalid);
        }
        let mut window = Vec::with_capacity(count.min(ATTEMPTS_LIMIT as usize));
        let mut above = base;
        for _ in 0..count {
            let charged = Charged { ordinal: reader.u32()?, digest: read_digest(reader)? };
            if charged.ordinal <= above || charged.ordinal > account.spent {
                return Err(Invalid);
            }
            above = charged.ordinal;
            window.push(charged);
        }
        account.window = window.into_boxed_slice();
        Ok(account)
    }
}
