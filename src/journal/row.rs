//! One row a batch: how it is written, how rows are chained, and how a stored row proves its place.
//!
//! A row is `version, log id, time, kind, payload`, then the chained MAC at this row. The chain covers every byte of
//! the row before it and the chain at the row before, so who knows the chain at one row knows every row up to it: an
//! altered, missing, moved or foreign row breaks it. Row 0 holds the policy (L12), every later one a batch.

use subtle::ConstantTimeEq;

use super::anchor::LogId;
use crate::engine::sha512::HmacKey;
use crate::error::Fault;
use crate::ledger::{Command, Policy};
use crate::limits::{BATCH_MAX, ROW_MAX, STATEMENT_MAX};
use crate::secret::Secret;
use crate::wire::{Invalid, Reader, Writer};

/// Version of the row format.
pub(crate) const ROW_VERSION: u8 = 1;
const KIND_POLICY: u8 = 0;
const KIND_BATCH: u8 = 1;
/// Bytes around a batch's commands: version, log id, time, kind, count, chain.
const FRAME_LEN: usize = 1 + LogId::LEN + 8 + 1 + 4 + CHAIN_BEGIN.len();
/// Room for one charge; longer commands grow the buffer.
const COMMAND_HINT: usize = 56;

/// The chained MAC at some row.
pub(crate) type Chain = [u8; 32];

/// The chain before the first row.
pub(crate) const CHAIN_BEGIN: Chain = [0; 32];

/// The keys of a journal, each for one purpose. What they make may be seen by the host, they may not.
pub(crate) struct Keys {
    chain: HmacKey,
    /// Turns an account's row into a summand of the checkpoint's root.
    #[cfg(feature = "local")]
    pub(crate) account: HmacKey,
    /// Authenticates what a checkpoint says of itself.
    #[cfg(feature = "local")]
    pub(crate) checkpoint: HmacKey,
    /// Chains the rows of a fleet's log, and authenticates what a replica keeps beside them.
    #[cfg(feature = "fleet")]
    pub(crate) fleet: HmacKey,
}

impl Keys {
    /// Derives them from the journal key by HKDF-Expand (RFC 5869 section 2.3).
    pub(crate) fn new(journal_key: &Secret<[u8; 32]>) -> Self {
        let root = HmacKey::new(journal_key.expose());
        let derive = |label: &[u8]| {
            let key = Secret::new(root.expand_array::<64>(&[b"strongroom journal v1 ", label]));
            HmacKey::new(key.expose())
        };
        Keys {
            chain: derive(b"chain"),
            #[cfg(feature = "local")]
            account: derive(b"account"),
            #[cfg(feature = "local")]
            checkpoint: derive(b"checkpoint"),
            #[cfg(feature = "fleet")]
            fleet: derive(b"fleet"),
        }
    }

    fn chain(&self, previous: &Chain, row: &[u8]) -> Chain {
        first_half(&self.chain.mac(&[previous, row]))
    }
}

/// A MAC cut to 32 bytes.
pub(crate) fn first_half(mac: &[u8; 64]) -> [u8; 32] {
    let mut half = [0; 32];
    half.copy_from_slice(&mac[..32]);
    half
}

/// A row whose place in the log is not known yet, so that writing out what it holds needs no lock.
pub(crate) struct Draft {
    time_s: u64,
    kind: u8,
    /// Commands of a batch.
    count: usize,
    /// The policy, or the commands one behind another.
    content: Vec<u8>,
    /// It has a statement in it: refused or taken, nobody else's batch shares its fate.
    #[cfg_attr(not(feature = "local"), allow(dead_code))]
    alone: bool,
}

/// A batch of nothing.
impl Default for Draft {
    fn default() -> Self {
        Draft { time_s: 0, kind: KIND_BATCH, count: 0, content: Vec::new(), alone: false }
    }
}

impl Draft {
    /// A batch, dated `time_s`.
    pub(crate) fn batch(time_s: u64, commands: &[Command]) -> Result<Self, Fault> {
        if commands.len() > BATCH_MAX {
            return Err(Fault::Limit(format!("{} commands in a batch, at most {BATCH_MAX} fit", commands.len())));
        }
        let mut writer = Writer::with_capacity(commands.len() * COMMAND_HINT);
        for command in commands {
            if let Command::Members { statement: words, .. } | Command::Signers { bundle: words, .. } = command
                && words.len() > STATEMENT_MAX
            {
                // Written it would be a row that nobody reads again.
                return Err(Fault::Limit(format!("a statement of {} bytes, at most {STATEMENT_MAX} fit", words.len())));
            }
            command.write(&mut writer);
        }
        let content = writer.finish();
        if content.len() + FRAME_LEN > ROW_MAX {
            return Err(Fault::Limit(format!("a batch of {} bytes, at most {ROW_MAX} fit", content.len())));
        }
        let alone = commands.iter().any(|it| matches!(it, Command::Members { .. } | Command::Signers { .. }));
        Ok(Draft { time_s, count: commands.len(), content, alone, ..Draft::default() })
    }

    /// The first row of a journal.
    pub(crate) fn policy(policy: &Policy) -> Self {
        let mut writer = Writer::default();
        writer.counted(&policy.encode());
        Draft { kind: KIND_POLICY, content: writer.finish(), ..Draft::default() }
    }

    /// The row's bytes at `id`, behind a row whose chain is `previous`; and the chain at it.
    pub(crate) fn seal(self, keys: &Keys, id: LogId, previous: &Chain) -> (Vec<u8>, Chain) {
        let mut writer = Writer::with_capacity(self.content.len() + FRAME_LEN);
        writer.u8(ROW_VERSION);
        id.write(&mut writer);
        writer.u64(self.time_s).u8(self.kind);
        if self.kind == KIND_BATCH {
            writer.u32(self.count as u32);
        }
        writer.bytes(&self.content);
        let mut row = writer.finish();
        let chain = keys.chain(previous, &row);
        row.extend_from_slice(&chain);
        (row, chain)
    }
}

/// Batches that share a row.
#[cfg(feature = "local")]
impl Draft {
    /// Whether a row can hold another batch's commands behind these.
    pub(crate) fn has_room_for(&self, other: &Draft) -> bool {
        let fits = self.content.len() + other.content.len() + FRAME_LEN <= ROW_MAX;
        fits && self.count + other.count <= BATCH_MAX && !self.alone && !other.alone
    }

    /// Puts another batch behind this one. The row is dated by the later of the two, as its state will be.
    pub(crate) fn add(&mut self, other: Draft) {
        self.time_s = self.time_s.max(other.time_s);
        self.count += other.count;
        self.alone |= other.alone;
        if self.content.is_empty() {
            self.content = other.content;
        } else {
            self.content.extend(other.content);
        }
    }

    /// The latest time that is asked for, in seconds.
    pub(crate) fn time_s(&self) -> u64 {
        self.time_s
    }
}

/// Batches on their way to a leader.
#[cfg(feature = "fleet")]
impl Draft {
    /// How many commands it has.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The commands, one behind another.
    pub(crate) fn into_content(self) -> Vec<u8> {
        self.content
    }
}

/// So many commands, one behind another.
pub(crate) fn read_commands(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Command>, Invalid> {
    if count > BATCH_MAX {
        return Err(Invalid);
    }
    (0..count).map(|_| Command::read(reader)).collect()
}

/// What a row holds.
pub(crate) enum Entry {
    Policy(Policy),
    Batch { time_s: u64, commands: Vec<Command> },
}

/// A stored row that has proved its place.
pub(crate) struct Row {
    pub(crate) id: LogId,
    pub(crate) chain: Chain,
    pub(crate) entry: Entry,
}

impl Row {
    /// Reads the row found at `index`, behind a row whose chain is `previous`.
    ///
    /// # Errors
    /// [`Fault::Format`] on another version, [`Fault::Damaged`] if it does not continue the chain or does not parse.
    pub(crate) fn open(keys: &Keys, bytes: &[u8], index: u64, previous: &Chain) -> Result<Self, Fault> {
        match bytes.first() {
            Some(&ROW_VERSION) => {}
            Some(&found) => return Err(Fault::Format { what: "a log row", found, reads: ROW_VERSION }),
            None => return Err(damaged(index, "is empty")),
        }
        let (row, stored) = bytes.split_last_chunk::<32>().ok_or_else(|| damaged(index, "is cut short"))?;
        if bytes.len() > ROW_MAX {
            return Err(damaged(index, "is too long"));
        }
        let chain = keys.chain(previous, row);
        if !bool::from(chain.ct_eq(stored)) {
            return Err(damaged(index, "does not continue the chain of the rows before it"));
        }
        let (id, entry) = parse(row).map_err(|Invalid| damaged(index, "does not parse"))?;
        if id.index != index {
            return Err(damaged(index, "stands in another row's place"));
        }
        if (index == 0) != matches!(entry, Entry::Policy(_)) {
            return Err(damaged(index, "is of another kind than its place"));
        }
        Ok(Row { id, chain, entry })
    }
}

fn parse(row: &[u8]) -> Result<(LogId, Entry), Invalid> {
    let mut reader = Reader::new(row);
    reader.u8()?;
    let id = LogId::read(&mut reader)?;
    let time_s = reader.u64()?;
    let entry = match reader.u8()? {
        KIND_POLICY => Entry::Policy(Policy::read(&mut reader)?),
        KIND_BATCH => {
            let count = reader.u32()? as usize;
            Entry::Batch { time_s, commands: read_commands(&mut reader, count)? }
        }
        _ => return Err(Invalid),
    };
    reader.finish()?;
    Ok((id, entry))
}

fn damaged(index: u64, how: &str) -> Fault {
    Fault::Damaged(format!("log row {index} {how}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use hmac::{KeyInit, Mac};

    use super::*;
    use crate::journal::Leader;
    use crate::journal::tests::{charge, enrol};

    fn keys(byte: u8) -> Keys {
        Keys::new(&Secret::new([byte; 32]))
    }

    const AT: LogId = LogId { leader: Leader { term: 4, member: 2 }, index: 9 };
    const BEFORE: Chain = [0x33; 32];

    fn row() -> (Vec<u8>, Vec<Command>) {
        let commands = vec![charge(1, 1), enrol(2, 0, 5), charge(3, 7)];
        (Draft::batch(77, &commands).unwrap().seal(&keys(1), AT, &BEFORE).0, commands)
    }

    #[test]
    fn what_is_written_is_read() {
        let (bytes, expected) = row();
        let row = Row::open(&keys(1), &bytes, 9, &BEFORE).unwrap();
        assert_eq!(row.id, AT);
        assert_eq!(row.chain[..], bytes[bytes.len() - 32..]);
        let Entry::Batch { time_s, commands } = row.entry else { panic!("a batch") };
        assert_eq!((time_s, commands), (77, expected));

        let (bytes, chain) = Draft::policy(&Policy::development()).seal(&keys(1), LogId::default(), &CHAIN_BEGIN);
        let row = Row::open(&keys(1), &bytes, 0, &CHAIN_BEGIN).unwrap();
        assert_eq!(row.chain, chain);
        assert!(matches!(row.entry, Entry::Policy(policy) if policy == Policy::development()));
    }

    /// The chain, made with RustCrypto's HMAC and HKDF from the words of DESIGN section 7.
    #[test]
    fn chain_agrees_with_an_independent_hmac() {
        let (bytes, _) = row();
        let mut key = [0; 64];
        // HKDF-Expand's first and only block, RFC 5869 section 2.3: T(1) = HMAC(PRK, info || 1).
        let mut expand = hmac::Hmac::<sha2::Sha512>::new_from_slice(&[1; 32]).unwrap();
        expand.update(b"strongroom journal v1 chain\x01");
        key.copy_from_slice(&expand.finalize().into_bytes());
        let mut mac = hmac::Hmac::<sha2::Sha512>::new_from_slice(&key).unwrap();
        mac.update(&BEFORE);
        mac.update(&bytes[..bytes.len() - 32]);
        assert_eq!(mac.finalize().into_bytes()[..32], bytes[bytes.len() - 32..]);
    }

    #[test]
    fn j6_every_flipped_bit_cut_and_foreign_place_is_a_fault() {
        let (bytes, _) = row();
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[index] ^= 1 << bit;
                match Row::open(&keys(1), &other, 9, &BEFORE).err() {
                    Some(Fault::Format { found, .. }) if index == 0 => assert_eq!(found, ROW_VERSION ^ (1 << bit)),
                    Some(Fault::Damaged(_)) if index > 0 => {}
                    other => panic!("byte {index} bit {bit}: {other:?}"),
                }
            }
            assert!(matches!(Row::open(&keys(1), &bytes[..index], 9, &BEFORE), Err(Fault::Damaged(_))));
        }
        let damaged = |found: Result<Row, Fault>| matches!(found, Err(Fault::Damaged(_)));
        assert!(damaged(Row::open(&keys(2), &bytes, 9, &BEFORE)), "another journal's key");
        assert!(damaged(Row::open(&keys(1), &bytes, 8, &BEFORE)), "another place");
        assert!(damaged(Row::open(&keys(1), &bytes, 9, &CHAIN_BEGIN)), "behind another row");
        let (second_policy, _) = Draft::policy(&Policy::development()).seal(&keys(1), AT, &BEFORE);
        assert!(damaged(Row::open(&keys(1), &second_policy, 9, &BEFORE)), "a policy in the middle");
        let (first_batch, _) = Draft::batch(1, &[]).unwrap().seal(&keys(1), LogId::default(), &CHAIN_BEGIN);
        assert!(damaged(Row::open(&keys(1), &first_batch, 0, &CHAIN_BEGIN)), "a batch without a policy");
    }

    #[test]
    fn too_large_a_batch_is_refused() {
        let commands = vec![charge(1, 1); BATCH_MAX + 1];
        assert!(Draft::batch(1, &commands[1..]).is_ok());
        assert!(matches!(Draft::batch(1, &commands), Err(Fault::Limit(_))));
        let of_bytes = |count| Command::Members { predecessor: [0; 32], statement: vec![0; count] };
        assert!(matches!(Draft::batch(1, &vec![of_bytes(STATEMENT_MAX); 300]), Err(Fault::Limit(_))));
        assert!(Draft::batch(1, &[of_bytes(STATEMENT_MAX)]).is_ok());
        assert!(
            matches!(Draft::batch(1, &[of_bytes(STATEMENT_MAX + 1)]), Err(Fault::Limit(_))),
            "nobody reads it again"
        );
    }

    #[cfg(feature = "local")]
    #[test]
    fn a_statement_shares_its_row_with_nobody() {
        let draft = |command| Draft::batch(1, &[command]).unwrap();
        let statement = || draft(Command::Members { predecessor: [0; 32], statement: vec![1] });
        assert!(draft(charge(1, 1)).has_room_for(&draft(charge(2, 1))));
        assert!(!draft(charge(1, 1)).has_room_for(&statement()));
        assert!(!statement().has_room_for(&draft(charge(1, 1))));
        let mut gathered = Draft::default();
        gathered.add(statement());
        assert!(!gathered.has_room_for(&draft(charge(1, 1))));
    }
}
