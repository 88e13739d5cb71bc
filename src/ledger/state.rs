//! [`State`]: every account, and what the vault as a whole remembers. `apply` is the only thing that changes it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::account::{Account, Record};
use super::command::{Command, Digests, Verdict, read_account};
use super::index::{Indexes, Marks};
use super::moving::{Arrival, Moving, Side, Tally};
use super::policy::{Obeyed, Policy, Signers};
use super::table::Accounts;
use crate::account::AccountId;
use crate::error::Refusal;
use crate::limits::{ACCOUNTS_MAX, ARRIVE_MAX, STATEMENT_MAX, UNKNOWN_KEEP_S};
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::{Header, Sealed};

/// Where the sealed bytes of records go. The rules decide what is kept and never read it back.
pub trait Records {
    /// These are the account's sealed bytes from here on.
    fn put(&mut self, account: &AccountId, sealed: &Sealed);
    /// The account has no sealed bytes from here on.
    fn erase(&mut self, account: &AccountId);
    /// An id never enrolled is forgotten; this is what was known of it. It has no sealed bytes.
    fn forget(&mut self, id: &AccountId, was: &Account) {
        let _ = (id, was);
    }
}

/// A place in the state's accounts, for [`State::scan`]. The default is the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cursor((usize, usize));

/// What the vault remembers of itself, beside its accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Globals {
    pub(super) policy: Policy,
    /// Largest time seen, in seconds.
    pub(super) time_s: u64,
    epoch_min: u32,
    key_min: u16,
    /// Serial number of the keys, and what tells them from others of that number.
    keys: (u32, [u8; 32]),
    restores: u32,
    moving: Option<Moving>,
    /// SHA-256 of the text of the last membership statement, and the statement; zeros and nothing before the first.
    members: ([u8; 32], Vec<u8>),
    /// Whose statements are obeyed.
    obeyed: Option<Obeyed>,
}

/// The state of a vault's accounting, a pure function of its policy and of the commands applied since.
///
/// ```
/// use strongroom::account::AccountId;
/// use strongroom::ledger::{Command, Digests, KeyedDigest, Policy, Records, State, Verdict};
/// use strongroom::wrap::Sealed;
///
/// struct Nowhere;
/// impl Records for Nowhere {
///     fn put(&mut self, _: &AccountId, _: &Sealed) {}
///     fn erase(&mut self, _: &AccountId) {}
/// }
///
/// let mut state = State::new(Policy::development());
/// let account = AccountId::derive("example.org/backup", "+15550100");
/// let current = KeyedDigest { key_number: 1, digest: [7; 16] };
/// let charge = Command::Charge { account, digests: Digests { current, previous: None } };
/// let (first, repeated) = (state.apply(&charge, &mut Nowhere), state.apply(&charge, &mut Nowhere));
/// // An id never enrolled is charged like any other; the same KE1 once more costs nothing.
/// assert!(matches!(first, Verdict::Charged { ordinal: 1, remaining: 9, again: false, .. }));
/// assert!(matches!(repeated, Verdict::Charged { ordinal: 1, remaining: 9, again: true, .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub(super) globals: Globals,
    pub(super) accounts: Accounts,
    pub(super) indexes: Indexes,
}

impl State {
    /// The state before any command.
    pub fn new(policy: Policy) -> Self {
        State::from_globals(Globals {
            obeyed: policy.signers.map(Obeyed::first),
            policy,
            time_s: 0,
            epoch_min: 0,
            key_min: 0,
            keys: (0, [0; 32]),
            restores: 0,
            moving: None,
            members: ([0; 32], Vec::new()),
        })
    }

    fn from_globals(globals: Globals) -> Self {
        State { globals, accounts: Accounts::new(), indexes: Indexes::default() }
    }

    /// The policy, fixed at the beginning (L12).
    pub fn policy(&self) -> &Policy {
        &self.globals.policy
    }

    /// The largest time seen, in seconds. Every expiry is computed from it, never from a clock.
    pub fn time_s(&self) -> u64 {
        self.globals.time_s
    }

    /// Sealed bytes of an epoch below this one are refused.
    pub fn epoch_min(&self) -> u32 {
        self.globals.epoch_min
    }

    /// An enrolment under keys of a number below this one is refused.
    pub fn key_min(&self) -> u16 {
        self.globals.key_min
    }

    /// Serial number of the fleet's keys when they last changed.
    pub fn keys_serial(&self) -> u32 {
        self.globals.keys.0
    }

    /// The mark of the keys of that serial number; zeros before the first turn.
    pub fn keys_mark(&self) -> &[u8; 32] {
        &self.globals.keys.1
    }

    /// How often the state was restored from a backup.
    pub fn restores(&self) -> u32 {
        self.globals.restores
    }

    /// The move to or from another vault, begun or done.
    pub fn moving(&self) -> Option<&Moving> {
        self.globals.moving.as_ref()
    }

    /// Whether this vault answers for an account.
    ///
    /// # Errors
    /// [`Refusal::Moved`] if it has left for another vault, [`Refusal::Busy`] if it is still to come from one.
    pub fn is_here(&self, account: &AccountId) -> Result<(), Refusal> {
        self.globals.moving.as_ref().map_or(Ok(()), |moving| moving.is_here(account))
    }

    /// Looks at accounts from a cursor on, about `most` of them, and returns where to go on, or `None` at the end. Between
    /// two calls the state may change: what is there from the first to the last is seen, unless [`Command::Forget`] moves
    /// it about.
    pub fn scan(&self, from: Cursor, most: usize, look: impl FnMut(&AccountId, &Account)) -> Option<Cursor> {
        self.accounts.scan(from.0, most, look).map(Cursor)
    }

    /// SHA-256 of the text of the last membership statement, and the statement with its signatures.
    pub fn members(&self) -> (&[u8; 32], &[u8]) {
        (&self.globals.members.0, &self.globals.members.1)
    }

    /// Whose statements are obeyed, if anybody's are.
    pub fn signers(&self) -> Option<&Signers> {
        self.obeyed().map(|it| &it.signers)
    }

    /// The same, and the epoch of the bundle that named them.
    pub fn obeyed(&self) -> Option<&Obeyed> {
        self.globals.obeyed.as_ref()
    }

    /// One account, if it was ever charged or enrolled.
    pub fn account(&self, account: &AccountId) -> Option<&Account> {
        self.accounts.get(account)
    }

    /// Every account, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = (&AccountId, &Account)> {
        self.accounts.iter()
    }

    /// Number of accounts, ids never enrolled among them.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there is no account at all.
    pub fn is_empty(&self) -> bool {
        self.accounts.len() == 0
    }

    /// Number of ids never enrolled.
    pub fn unknown_len(&self) -> usize {
        self.indexes.unknown.len()
    }

    /// Live records by the key number that made them.
    pub fn records_by_key(&self) -> &BTreeMap<u16, u64> {
        &self.indexes.by_key
    }

    /// Live records by the epoch they are sealed under.
    pub fn records_by_epoch(&self) -> &BTreeMap<u32, u64> {
        &self.indexes.by_epoch
    }

    /// The attempt of the open window that this KE1 was charged to: generation and ordinal (L9).
    pub fn charged_before(&self, account: &AccountId, digests: &Digests) -> Option<(u32, u32)> {
        self.is_here(account).ok()?;
        let account = self.accounts.get(account)?;
        account.charged_before(digests).map(|ordinal| (account.generation, ordinal))
    }

    /// Exhausted records that a sweep would destroy at state time, longest due first, at most `most`.
    pub fn due(&self, most: usize) -> Vec<AccountId> {
        let destroy_after_s = self.globals.policy.destroy_after_s;
        self.indexes
            .full
            .iter()
            .take_while(|(charged_s, _)| self.globals.time_s.saturating_sub(*charged_s) >= destroy_after_s)
            .filter(|(_, account)| self.is_here(account).is_ok())
            .take(most)
            .map(|(_, account)| *account)
            .collect()
    }

    /// Whether a [`Command::Forget`] would forget an id now.
    pub fn has_forgettable(&self) -> bool {
        self.forgettable().is_some()
    }

    fn forgettable(&self) -> Option<AccountId> {
        // What has left is counted and digested as it left. A move that is only announced holds nothing up.
        if self.globals.moving.is_some_and(|moving| moving.side == Side::Leaving && !moving.is_fresh()) {
            return None;
        }
        let (charged_s, account) = self.indexes.unknown.first()?;
        let old = self.globals.time_s.saturating_sub(*charged_s) >= UNKNOWN_KEEP_S;
        let many = self.indexes.unknown.len() as u64 > self.globals.policy.unknown_max;
        (old || many).then_some(*account)
    }

    /// Moves state time forward to `time_s`, in seconds; an earlier time changes nothing.
    pub fn advance(&mut self, time_s: u64) {
        self.globals.time_s = self.globals.time_s.max(time_s);
    }

    /// Reads what commands are about to change. It changes nothing; a batch applied after it is applied faster, since
    /// with many accounts the time goes into waiting for their memory.
    pub fn read_ahead(&self, commands: &[Command]) {
        self.accounts.read_ahead(commands.iter().flat_map(Command::accounts));
    }

    /// Applies one command. The same commands in the same order give the same state and the same verdicts, live and in
    /// replay (L5); a refused command changes nothing.
    pub fn apply(&mut self, command: &Command, records: &mut impl Records) -> Verdict {
        self.try_apply(command, records).unwrap_or_else(Verdict::Refused)
    }

    fn try_apply(&mut self, command: &Command, records: &mut impl Records) -> Result<Verdict, Refusal> {
        let time_s = self.globals.time_s;
        match command {
            // The same record under another key, wherever its account has gone.
            Command::Rewrap { .. } => {}
            _ => command.account().map_or(Ok(()), |account| self.is_here(account))?,
        }
        match command {
            Command::Charge { account, digests } => {
                self.change(account, |policy, it| it.charge(policy, time_s, digests))
            }
            Command::Clear { account, generation, proof } => {
                self.change(account, |_, it| it.clear(time_s, *generation, proof))
            }
            Command::Enrol { account, generation, expiry_s, finish, sealed } => {
                let (admitted, key_min) = (self.admit(sealed), self.globals.key_min);
                let verdict = self.change(account, |policy, it| {
                    if it.enrolled_by(finish) {
                        return Ok(Verdict::Enrolled { generation: it.generation, again: true });
                    }
                    it.may_replace(policy, time_s, *generation, *expiry_s)?;
                    let header = admitted.and_then(made_by(key_min))?;
                    let record = Record::Live { header, rewraps: 0, finish: *finish };
                    let generation = it.next_generation()?;
                    it.begin(generation, record);
                    Ok(Verdict::Enrolled { generation, again: false })
                })?;
                if let Verdict::Enrolled { again: false, .. } = verdict {
                    records.put(account, sealed);
                }
                Ok(verdict)
            }
            Command::Remove { account, generation, proof } => {
                let verdict =
                    self.change(account, |policy, it| it.remove(policy, time_s, *generation, proof.as_ref()))?;
                records.erase(account);
                Ok(verdict)
            }
            Command::Sweep { account } => {
                let verdict = self.change(account, |policy, it| {
                    if !it.is_due(policy, time_s) {
                        return Err(Refusal::Stale);
                    }
                    it.destroy();
                    Ok(Verdict::Done)
                })?;
                records.erase(account);
                Ok(verdict)
            }
            Command::Forget { most } => {
                for _ in 0..*most {
                    let Some(id) = self.forgettable() else { break };
                    if let Some(account) = self.accounts.remove(&id) {
                        self.indexes.update(&id, Marks::of(&self.globals.policy, &account), Marks::default());
                        records.forget(&id, &account);
                    }
                }
                Ok(Verdict::Done)
            }
            Command::Rewrap { account, generation, rewraps, sealed } => {
                let admitted = self.admit(sealed);
                let verdict = self.change(account, |_, it| it.rewrap(*generation, *rewraps, admitted))?;
                records.put(account, sealed);
                Ok(verdict)
            }
            Command::RaiseEpochMin { epoch } => {
                if self.indexes.by_epoch.range(..*epoch).next().is_some() {
                    return Err(Refusal::Forbidden);
                }
                self.globals.epoch_min = self.globals.epoch_min.max(*epoch);
                Ok(Verdict::Done)
            }
            Command::Pardon { account, pardoned } => {
                if self.accounts.get(account).is_none() {
                    return Err(Refusal::NoRecord);
                }
                self.change(account, |_, it| it.pardon(*pardoned))
            }
            Command::Restore { number } => {
                if self.globals.restores.checked_add(1) != Some(*number) {
                    return Err(Refusal::Stale);
                }
                if self.globals.moving.is_some_and(|moving| !moving.has_arrived()) {
                    return Err(Refusal::Forbidden);
                }
                self.globals.restores = *number;
                let policy = &self.globals.policy;
                for (id, account) in self.accounts.iter_mut() {
                    let before = Marks::of(policy, account);
                    account.restore(policy, time_s);
                    self.indexes.update(id, before, Marks::of(policy, account));
                }
                Ok(Verdict::Done)
            }
            Command::Members { predecessor, statement } => {
                if *predecessor != self.globals.members.0 {
                    return Err(Refusal::Stale);
                }
                if statement.len() > STATEMENT_MAX {
                    return Err(Refusal::Malformed);
                }
                self.globals.members = (statement_hash(statement), statement.clone());
                Ok(Verdict::Done)
            }
            Command::Signers { from, to, bundle } => {
                if self.globals.obeyed != Some(**from) {
                    return Err(Refusal::Stale);
                }
                // A vault makes no other, and T3 does not rest on that alone.
                let goes_on = to.epoch > from.epoch && to.signers.auditor != to.signers.operator;
                if bundle.len() > STATEMENT_MAX || !goes_on {
                    return Err(Refusal::Malformed);
                }
                self.globals.obeyed = Some(**to);
                Ok(Verdict::Done)
            }
            Command::RaiseKeyMin { key_number } => {
                self.globals.key_min = self.globals.key_min.max(*key_number);
                Ok(Verdict::Done)
            }
            Command::TurnKeys { serial, mark } => {
                // Said again it does nothing.
                if *serial <= self.globals.keys.0 && (*serial, *mark) != self.globals.keys {
                    return Err(Refusal::Stale);
                }
                self.globals.keys = (*serial, *mark);
                Ok(Verdict::Done)
            }
            Command::Leave { offer } => self.begin_move(*offer, Side::Leaving),
            Command::Expect { offer } => self.begin_move(*offer, Side::Arriving(Tally::default())),
            Command::Depart { offer, upto } => {
                let moving = self.globals.moving.as_mut().filter(|it| it.offer == *offer && it.side == Side::Leaving);
                let moving = moving.filter(|it| it.goes_on_to(*upto)).ok_or(Refusal::Stale)?;
                moving.bound = *upto;
                Ok(Verdict::Done)
            }
            Command::Arrive { offer, from, upto, arrivals } => self.arrive(offer, from, *upto, arrivals, records),
        }
    }

    /// A move begins, or has begun; one in which nothing has moved yet gives way to another.
    fn begin_move(&mut self, offer: [u8; 32], side: Side) -> Result<Verdict, Refusal> {
        match &self.globals.moving {
            Some(moving) if moving.offer == offer && (moving.side == Side::Leaving) == (side == Side::Leaving) => {
                return Ok(Verdict::Done);
            }
            Some(moving) if !moving.is_fresh() && !moving.has_arrived() => return Err(Refusal::Stale),
            _ => {}
        }
        if side != Side::Leaving && !self.is_empty() {
            return Err(Refusal::Forbidden);
        }
        self.globals.moving = Some(Moving::begun(offer, side));
        Ok(Verdict::Done)
    }

    /// Takes accounts that come, all of them or none.
    fn arrive(
        &mut self,
        offer: &[u8; 32],
        from: &AccountId,
        upto: Option<AccountId>,
        arrivals: &[Arrival],
        records: &mut impl Records,
    ) -> Result<Verdict, Refusal> {
        let Some(Moving { side: Side::Arriving(mut tally), bound, offer: expected }) = self.globals.moving else {
            return Err(Refusal::Stale);
        };
        let moving = Moving { offer: expected, bound: upto, side: Side::Leaving };
        if expected != *offer || bound != Some(*from) || upto.is_some_and(|upto| upto <= *from) {
            return Err(Refusal::Stale);
        }
        let mut ids = arrivals.iter().map(|it| it.id);
        let in_order = arrivals.is_sorted_by(|one, next| one.id < next.id);
        if !in_order || arrivals.len() > ARRIVE_MAX || !ids.all(|id| id >= *from && moving.has_moved(&id)) {
            return Err(Refusal::Malformed);
        }
        for arrival in arrivals {
            if let Some(sealed) = &arrival.sealed {
                self.admit(sealed)?;
            }
        }
        if self.len() + arrivals.len() > ACCOUNTS_MAX {
            return Err(Refusal::Busy);
        }
        for Arrival { id, account, sealed } in arrivals {
            tally.add(id, account);
            self.restore_account(*id, account.clone());
            if let Some(sealed) = sealed {
                records.put(id, sealed);
            }
        }
        self.globals.moving = Some(Moving { offer: *offer, bound: upto, side: Side::Arriving(tally) });
        Ok(Verdict::Done)
    }

    /// Sealed bytes may enter the state only from an epoch that is still allowed.
    fn admit(&self, sealed: &Sealed) -> Result<Header, Refusal> {
        let header = sealed.header();
        if header.epoch < self.globals.epoch_min { Err(Refusal::Busy) } else { Ok(header) }
    }

    /// Changes one account by `rule`, in place, and keeps the indexes true to it. A rule that refuses has changed
    /// nothing; an id that was not there is added only by one that does not refuse.
    fn change(
        &mut self,
        id: &AccountId,
        rule: impl FnOnce(&Policy, &mut Account) -> Result<Verdict, Refusal>,
    ) -> Result<Verdict, Refusal> {
        let policy = &self.globals.policy;
        let hash = self.accounts.hash(id);
        if let Some(account) = self.accounts.get_mut(hash, id) {
            let before = Marks::of(policy, account);
            let verdict = rule(policy, account)?;
            self.indexes.update(id, before, Marks::of(policy, account));
            return Ok(verdict);
        }
        let mut account = Account::default();
        let verdict = rule(policy, &mut account)?;
        if self.accounts.len() >= ACCOUNTS_MAX {
            return Err(Refusal::Busy);
        }
        self.indexes.update(id, Marks::default(), Marks::of(policy, &account));
        self.accounts.insert_new(hash, *id, account);
        Ok(verdict)
    }

    /// The encoding of everything but the accounts.
    pub fn encode_globals(&self) -> Vec<u8> {
        let globals = &self.globals;
        let mut writer = Writer::default();
        writer.counted(&globals.policy.encode()).u64(globals.time_s).u32(globals.epoch_min).u16(globals.key_min);
        writer.u32(globals.keys.0).bytes(&globals.keys.1).u32(globals.restores).flag(globals.moving.is_some());
        if let Some(moving) = &globals.moving {
            moving.write(&mut writer);
        }
        writer.bytes(&globals.members.0).counted(&globals.members.1).flag(globals.obeyed.is_some());
        globals.obeyed.iter().for_each(|obeyed| obeyed.write(&mut writer));
        writer.finish()
    }

    /// A state without accounts, from what [`State::encode_globals`] wrote; [`State::restore_account`] adds them.
    ///
    /// # Errors
    /// [`Invalid`] if the bytes are not such an encoding.
    pub fn decode_globals(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut reader = Reader::new(bytes);
        let globals = Globals {
            policy: Policy::read(&mut reader)?,
            time_s: reader.u64()?,
            epoch_min: reader.u32()?,
            key_min: reader.u16()?,
            keys: (reader.u32()?, *reader.array()?),
            restores: reader.u32()?,
            moving: if reader.flag()? { Some(Moving::read(&mut reader)?) } else { None },
            members: (*reader.array()?, reader.counted(STATEMENT_MAX)?.to_vec()),
            obeyed: if reader.flag()? { Some(Obeyed::read(&mut reader)?) } else { None },
        };
        reader.finish()?;
        Ok(State::from_globals(globals))
    }

    /// Puts back an account that was read from a checkpoint.
    pub fn restore_account(&mut self, id: AccountId, account: Account) {
        let after = Marks::of(&self.globals.policy, &account);
        let hash = self.accounts.hash(&id);
        match self.accounts.get_mut(hash, &id) {
            Some(there) => {
                self.indexes.update(&id, Marks::of(&self.globals.policy, there), after);
                *there = account;
            }
            None => {
                self.indexes.update(&id, Marks::default(), after);
                self.accounts.insert_new(hash, id, account);
            }
        }
    }

    /// The whole state's one encoding: globals, then the accounts in order of id.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.counted(&self.encode_globals());
        let mut accounts: Vec<_> = self.accounts.iter().collect();
        accounts.sort_by_key(|(id, _)| **id);
        for (id, account) in accounts {
            writer.bytes(&id.0);
            account.write(&mut writer);
        }
        writer.finish()
    }

    /// Reads what [`State::encode`] wrote.
    ///
    /// # Errors
    /// [`Invalid`] if the bytes are not one state's encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut reader = Reader::new(bytes);
        let mut state = State::decode_globals(reader.counted(bytes.len())?)?;
        let mut last = None;
        while reader.finish().is_err() {
            let id = read_account(&mut reader)?;
            if last.is_some_and(|last| last >= id) {
                return Err(Invalid);
            }
            last = Some(id);
            let account = Account::read(&mut reader)?;
            if matches!(account.record, Record::Live { header, .. } if header.epoch < state.globals.epoch_min) {
                return Err(Invalid);
            }
            state.restore_account(id, account);
        }
        Ok(state)
    }
}

/// SHA-256 of what of a statement is signed, which is up to its first empty line: who carries it can add signatures, and
/// must not change its name by it.
pub(crate) fn statement_hash(statement: &[u8]) -> [u8; 32] {
    let end = statement.windows(2).position(|two| two == b"\n\n");
    Sha256::digest(end.map_or(statement, |end| &statement[..=end])).into()
}

/// A new record must be made by keys of a number that is not retired; whoever brings another begins again.
fn made_by(key_min: u16) -> impl Fn(Header) -> Result<Header, Refusal> {
    move |header| if header.key_number < key_min { Err(Refusal::Stale) } else { Ok(header) }
}
