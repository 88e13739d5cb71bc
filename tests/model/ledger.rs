//! A second opinion on the rules of attempts, for the property test and the fuzzer.
//!
//! The ledger keeps counters; this model keeps the history of each account and answers by reading it from the start.
//! [`drive`] turns bytes into commands, gives them to both, and compares everything that can be seen.

mod history;

use std::collections::BTreeMap;
use std::rc::Rc;

use sha2::{Digest, Sha256};
use strongroom::account::AccountId;
use strongroom::error::Refusal;
use strongroom::ledger::{
    Account, Arrival, Command, Digests, KeyedDigest, Obeyed, Policy, Proof, Record, Records, Side, Signers, State,
    Verdict,
};
use strongroom::wire::{Reader, Writer};
use strongroom::wrap::{Header, SEALED_LEN, Sealed};

use history::{Event, History};

/// Days that an id never enrolled is remembered, in seconds.
const MONTH_S: u64 = 30 * 86_400;

/// The hash of no statement.
const NOBODYS: [u8; 32] = [0xee; 32];

/// What the vault as a whole should know.
struct Model {
    policy: Policy,
    time_s: u64,
    epoch_min: u32,
    key_min: u16,
    /// Every turn of the keys: serial number and mark.
    turns: Vec<(u32, [u8; 32])>,
    restores: u32,
    members: Vec<Vec<u8>>,
    /// Whose statements were obeyed, one pair after the other, each with the epoch of what named it.
    signers: Vec<(Signers, u32)>,
    moving: Option<Move>,
    lives: BTreeMap<AccountId, History>,
    /// Those of the vault whose accounts come here.
    elsewhere: Elsewhere,
}

/// Accounts of another vault, and what happened to them there.
type Elsewhere = BTreeMap<AccountId, (Account, History)>;

/// A move: its name, the ids that have not moved, and, where accounts come, which have.
#[derive(Clone)]
struct Move {
    offer: [u8; 32],
    left: Vec<AccountId>,
    arrived: Option<Vec<AccountId>>,
}

/// Every id that a script names, in order.
const IDS: [AccountId; 4] = [AccountId([0; 32]), AccountId([1; 32]), AccountId([2; 32]), AccountId([3; 32])];

/// The ids from a bound on.
fn from(bound: Option<AccountId>) -> Vec<AccountId> {
    IDS.into_iter().filter(|id| bound.is_some_and(|bound| bound <= *id)).collect()
}

impl Model {
    fn new(policy: Policy) -> Self {
        Model {
            signers: policy.signers.map(|signers| (signers, 0)).into_iter().collect(),
            policy,
            time_s: 0,
            epoch_min: 0,
            key_min: 0,
            turns: vec![(0, [0; 32])],
            restores: 0,
            members: Vec::new(),
            moving: None,
            lives: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
        }
    }

    /// Which vault answers for an id.
    fn is_here(&self, id: &AccountId) -> Result<(), Refusal> {
        match &self.moving {
            Some(Move { left, arrived: None, .. }) if !left.contains(id) => Err(Refusal::Moved),
            Some(Move { left, arrived: Some(_), .. }) if left.contains(id) => Err(Refusal::Busy),
            _ => Ok(()),
        }
    }

    fn begin_move(&mut self, offer: [u8; 32], arrived: Option<Vec<AccountId>>) -> Result<Verdict, Refusal> {
        if let Some(moving) = &self.moving {
            if moving.offer == offer && moving.arrived.is_some() == arrived.is_some() {
                return Ok(Verdict::Done);
            }
            let over = moving.arrived.is_some() && moving.left.is_empty();
            if moving.left.len() < IDS.len() && !over {
                return Err(Refusal::Stale);
            }
        }
        if arrived.is_some() && !self.lives.is_empty() {
            return Err(Refusal::Forbidden);
        }
        self.moving = Some(Move { offer, left: IDS.to_vec(), arrived });
        Ok(Verdict::Done)
    }

    fn history(&self, id: &AccountId) -> History {
        self.lives.get(id).cloned().unwrap_or_default()
    }

    fn happens(&mut self, id: &AccountId, event: Event) {
        self.lives.entry(*id).or_default().0.push(event);
    }

    fn is_full(&self, history: &History) -> bool {
        history.lives() && history.open() >= self.policy.attempts_max
    }

    fn due(&self) -> Vec<AccountId> {
        let mut due: Vec<_> = self
            .lives
            .iter()
            .filter(|(id, _)| self.is_here(id).is_ok())
            .filter(|(_, it)| self.is_full(it) && self.time_s - it.last_charge_s() >= self.policy.destroy_after_s)
            .map(|(id, it)| (it.last_charge_s(), *id))
            .collect();
        due.sort();
        due.into_iter().map(|(_, id)| id).collect()
    }

    fn forgettable(&self) -> Option<AccountId> {
        if self.moving.as_ref().is_some_and(|moving| moving.arrived.is_none() && moving.left.len() < IDS.len()) {
            return None;
        }
        let unknown = self.lives.iter().filter(|(_, it)| it.generation() == 0);
        let mut unknown: Vec<_> = unknown.map(|(id, it)| (it.last_charge_s(), *id)).collect();
        unknown.sort();
        let &(charged_s, id) = unknown.first()?;
        let go = self.time_s - charged_s >= MONTH_S || unknown.len() as u64 > self.policy.unknown_max;
        go.then_some(id)
    }

    fn apply(&mut self, command: &Command) -> Verdict {
        match self.happen(command) {
            Ok(verdict) => verdict,
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    fn happen(&mut self, command: &Command) -> Result<Verdict, Refusal> {
        let now = self.time_s;
        if let (Some(id), false) = (command.account(), matches!(command, Command::Rewrap { .. })) {
            self.is_here(id)?;
        }
        match command {
            Command::Charge { account, digests } => {
                let it = self.history(account);
                let again = it.repeats(digests);
                if again.is_none() {
                    if it.open() >= self.policy.attempts_max {
                        return Err(Refusal::Exhausted);
                    }
                    self.happens(account, Event::Charged(Some(digests.current), now));
                }
                let it = self.history(account);
                Ok(Verdict::Charged {
                    generation: it.generation(),
                    ordinal: again.unwrap_or(it.spent()),
                    live: it.lives(),
                    remaining: self.policy.attempts_max.saturating_sub(it.open()),
                    again: again.is_some(),
                })
            }
            Command::Clear { account, generation, proof } => {
                let it = self.history(account);
                it.counts(now, *generation, proof)?;
                let again = History::proven(&it.0) >= proof.ordinal;
                if !again {
                    self.happens(account, Event::Proved(proof.ordinal));
                }
                Ok(Verdict::Cleared { again })
            }
            Command::Enrol { account, generation, expiry_s, finish, sealed } => {
                let it = self.history(account);
                if it.record().is_some_and(|(made_by, _, _, lives)| lives && made_by == *finish) {
                    return Ok(Verdict::Enrolled { generation: it.generation(), again: true });
                }
                if now > *expiry_s {
                    return Err(Refusal::TicketExpired);
                }
                if *generation != it.generation() {
                    return Err(Refusal::Stale);
                }
                let counted = i64::from(it.owed(true)) - i64::from(it.pardoned());
                if counted.max(0) + i64::from(self.policy.attempts_max) > i64::from(self.policy.lifetime_max) {
                    return Err(Refusal::LifetimeUsed);
                }
                if sealed.header().epoch < self.epoch_min {
                    return Err(Refusal::Busy);
                }
                if sealed.header().key_number < self.key_min {
                    return Err(Refusal::Stale);
                }
                self.happens(account, Event::Enrolled(*finish, Rc::new(sealed.clone())));
                Ok(Verdict::Enrolled { generation: generation + 1, again: false })
            }
            Command::Remove { account, generation, proof } => {
                let it = self.history(account);
                if it.record().is_none() {
                    return Err(Refusal::NoRecord);
                }
                if *generation != it.generation() {
                    return Err(Refusal::Stale);
                }
                match proof {
                    Some(proof) => {
                        it.counts(now, *generation, proof)?;
                        self.happens(account, Event::Proved(proof.ordinal));
                    }
                    None if !self.policy.unproven_removal => return Err(Refusal::Forbidden),
                    None => {}
                }
                self.happens(account, Event::Removed);
                Ok(Verdict::Done)
            }
            Command::Sweep { account } => {
                if !self.due().contains(account) {
                    return Err(Refusal::Stale);
                }
                self.happens(account, Event::Destroyed);
                Ok(Verdict::Done)
            }
            Command::Forget { most } => {
                for _ in 0..*most {
                    if let Some(id) = self.forgettable() {
                        self.lives.remove(&id);
                    }
                }
                Ok(Verdict::Done)
            }
            Command::Rewrap { account, generation, rewraps, sealed } => {
                let it = self.history(account);
                let Some((_, old, made, true)) = it.record() else { return Err(Refusal::Stale) };
                if *generation != it.generation() || *rewraps != made {
                    return Err(Refusal::Stale);
                }
                let (old, new) = (old.header(), sealed.header());
                if new.epoch < self.epoch_min {
                    return Err(Refusal::Busy);
                }
                if new.epoch < old.epoch || new.key_number != old.key_number {
                    return Err(Refusal::Stale);
                }
                self.happens(account, Event::Rewrapped(Rc::new(sealed.clone())));
                Ok(Verdict::Done)
            }
            Command::RaiseEpochMin { epoch } => {
                if self.headers().iter().any(|header| header.epoch < *epoch) {
                    return Err(Refusal::Forbidden);
                }
                self.epoch_min = self.epoch_min.max(*epoch);
                Ok(Verdict::Done)
            }
            Command::Pardon { account, pardoned } => {
                let it = self.lives.get(account).ok_or(Refusal::NoRecord)?;
                // What a destroyed record left can no more be cleared than what an ended one did.
                let destroyed = it.record().is_some() && !it.lives();
                if *pardoned > it.owed(destroyed) {
                    return Err(Refusal::Forbidden);
                }
                self.happens(account, Event::Pardoned(*pardoned));
                Ok(Verdict::Done)
            }
            Command::Restore { number } => {
                if *number != self.restores + 1 {
                    return Err(Refusal::Stale);
                }
                if self.moving.as_ref().is_some_and(|moving| moving.arrived.is_none() || !moving.left.is_empty()) {
                    return Err(Refusal::Forbidden);
                }
                self.restores += 1;
                let most = self.policy.attempts_max - self.policy.restore_attempts;
                for it in self.lives.values_mut() {
                    while it.open() < most {
                        it.0.push(Event::Charged(None, now));
                    }
                }
                Ok(Verdict::Done)
            }
            Command::Members { predecessor: NOBODYS, .. } => Err(Refusal::Stale),
            Command::Members { statement, .. } => {
                self.members.push(statement.clone());
                Ok(Verdict::Done)
            }
            Command::Signers { from, to, .. } => {
                let Obeyed { signers: named, epoch } = **to;
                if self.signers.last() != Some(&(from.signers, from.epoch)) {
                    return Err(Refusal::Stale);
                }
                // Of all that was ever followed none is of its epoch, or a later one.
                if named.auditor == named.operator || self.signers.iter().any(|(_, before)| *before >= epoch) {
                    return Err(Refusal::Malformed);
                }
                self.signers.push((named, epoch));
                Ok(Verdict::Done)
            }
            Command::RaiseKeyMin { key_number } => {
                self.key_min = self.key_min.max(*key_number);
                Ok(Verdict::Done)
            }
            Command::TurnKeys { serial, mark } => match self.turns.last() {
                Some(last) if *last == (*serial, *mark) => Ok(Verdict::Done),
                Some((newest, _)) if newest >= serial => Err(Refusal::Stale),
                _ => {
                    self.turns.push((*serial, *mark));
                    Ok(Verdict::Done)
                }
            },
            Command::Leave { offer } => self.begin_move(*offer, None),
            Command::Expect { offer } => self.begin_move(*offer, Some(Vec::new())),
            Command::Depart { offer, upto } => match &mut self.moving {
                Some(Move { offer: begun, left, arrived: None }) if begun == offer => {
                    // Every id that a script names is a bound of its own.
                    if from(*upto).len() >= left.len() {
                        return Err(Refusal::Stale);
                    }
                    *left = from(*upto);
                    Ok(Verdict::Done)
                }
                _ => Err(Refusal::Stale),
            },
            Command::Arrive { offer, from: stood, upto, arrivals } => match &mut self.moving {
                Some(Move { offer: begun, left, arrived: Some(arrived) }) if begun == offer => {
                    if left.first() != Some(stood) || from(*upto).len() >= left.len() {
                        return Err(Refusal::Stale);
                    }
                    let ids: Vec<_> = arrivals.iter().map(|it| it.id).collect();
                    let mut sorted = ids.clone();
                    sorted.sort();
                    sorted.dedup();
                    let between = ids.iter().all(|id| left.contains(id) && !from(*upto).contains(id));
                    if sorted != ids || !between {
                        return Err(Refusal::Malformed);
                    }
                    let old = |sealed: &Sealed| sealed.header().epoch < self.epoch_min;
                    if arrivals.iter().any(|it| it.sealed.as_ref().is_some_and(old)) {
                        return Err(Refusal::Busy);
                    }
                    *left = from(*upto);
                    for Arrival { id, sealed, .. } in &arrivals[..] {
                        arrived.push(*id);
                        let (_, history) = self.elsewhere[id].clone();
                        self.lives.insert(*id, history.arrived(sealed.as_ref()));
                    }
                    Ok(Verdict::Done)
                }
                _ => Err(Refusal::Stale),
            },
            other => unreachable!("a command that nobody drives: {other:?}"),
        }
    }

    fn headers(&self) -> Vec<Header> {
        let live = self.lives.values().filter_map(History::record).filter(|(.., lives)| *lives);
        live.map(|(_, sealed, ..)| sealed.header()).collect()
    }
}

/// Sealed bytes by account, as a journal keeps them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept(BTreeMap<AccountId, Sealed>);

impl Records for Kept {
    fn put(&mut self, account: &AccountId, sealed: &Sealed) {
        self.0.insert(*account, sealed.clone());
    }

    fn erase(&mut self, account: &AccountId) {
        self.0.remove(account);
    }
}

/// An apply: the real one, or something that should be told from it.
pub(crate) type Apply<'a> = dyn Fn(&mut State, &mut Kept, &Command) -> Verdict + 'a;

/// The real one.
pub(crate) fn real(state: &mut State, kept: &mut Kept, command: &Command) -> Verdict {
    state.apply(command, kept)
}

fn ensure(holds: bool, words: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(words()) }
}

/// All that the public interface tells of an account, against its history.
fn compare_account(id: &AccountId, account: &Account, it: &History, policy: &Policy) -> Result<(), String> {
    let told = [
        ("spent", account.spent(), it.spent()),
        ("generation", account.generation(), it.generation()),
        ("began", account.began(), it.began()),
        ("cleared", account.cleared(), History::proven(&it.0)),
        ("owed", account.owed(), it.owed(false)),
        ("pardoned", account.pardoned(), it.pardoned()),
        ("open", account.open(), it.open()),
        ("remaining", account.remaining(policy), policy.attempts_max.saturating_sub(it.open())),
    ];
    for (what, ledger, model) in told {
        ensure(ledger == model, || format!("{what} of {:?} is {ledger}, the history says {model}", id.as_bytes()[0]))?;
    }
    ensure(account.last_charge_s() == it.last_charge_s(), || "time of the last charge".to_owned())?;
    ensure(account.window() == it.window(), || format!("window {:?}, {:?}", account.window(), it.window()))?;
    let record = match it.record() {
        None => Record::None,
        Some((.., false)) => Record::Destroyed,
        Some((finish, sealed, rewraps, true)) => Record::Live { header: sealed.header(), rewraps, finish },
    };
    ensure(*account.record() == record, || format!("record {:?}, {record:?}", account.record()))?;
    ensure(account.is_live() == it.lives(), || "whether it lives".to_owned())
}

fn compare(state: &State, kept: &Kept, model: &Model) -> Result<(), String> {
    ensure(state.len() == model.lives.len(), || format!("{} accounts, {}", state.len(), model.lives.len()))?;
    let mut live = 0;
    for (id, it) in &model.lives {
        let account = state.account(id).ok_or_else(|| "an account is missing".to_owned())?;
        compare_account(id, account, it, &model.policy)?;
        let sealed = it.record().filter(|(.., lives)| *lives).map(|(_, sealed, ..)| sealed);
        ensure(kept.0.get(id) == sealed, || "the sealed bytes are not the record's".to_owned())?;
        live += usize::from(sealed.is_some());
    }
    ensure(kept.0.len() == live, || "sealed bytes of nobody".to_owned())?;
    let (mut by_epoch, mut by_key) = (BTreeMap::new(), BTreeMap::new());
    for header in model.headers() {
        *by_epoch.entry(header.epoch).or_insert(0) += 1;
        *by_key.entry(header.key_number).or_insert(0) += 1;
    }
    ensure(*state.records_by_epoch() == by_epoch && *state.records_by_key() == by_key, || "record counts".to_owned())?;
    let unknown = model.lives.values().filter(|it| it.generation() == 0).count();
    ensure(state.unknown_len() == unknown, || "ids never enrolled".to_owned())?;
    ensure(state.has_forgettable() == model.forgettable().is_some(), || "whether one may be forgotten".to_owned())?;
    ensure(state.due(usize::MAX) == model.due(), || "what is due".to_owned())?;
    let globals = (
        state.time_s(),
        state.epoch_min(),
        state.key_min(),
        (state.keys_serial(), *state.keys_mark()),
        state.restores(),
    );
    let said = (model.time_s, model.epoch_min, model.key_min, model.turns[model.turns.len() - 1], model.restores);
    ensure(globals == said, || format!("globals {globals:?}, {said:?}"))?;
    compare_move(state, model)?;
    let obeyed = state.obeyed().map(|it| (it.signers, it.epoch));
    ensure(obeyed.as_ref() == model.signers.last(), || "signers".to_owned())?;
    ensure(state.signers().copied() == obeyed.map(|it| it.0), || "the signers' keys".to_owned())?;
    ensure(state.members().1 == model.members.last().map_or(&[][..], Vec::as_slice), || "members".to_owned())
}

fn compare_move(state: &State, model: &Model) -> Result<(), String> {
    let (Some(moving), Some(it)) = (state.moving(), &model.moving) else {
        return ensure(state.moving().is_none() && model.moving.is_none(), || "whether accounts move".to_owned());
    };
    ensure(moving.offer == it.offer && moving.bound == it.left.first().copied(), || {
        format!("where {moving:?} stands")
    })?;
    for id in IDS {
        ensure(state.is_here(&id) == model.is_here(&id), || "who answers for an account".to_owned())?;
    }
    match (moving.side, &it.arrived) {
        (Side::Leaving, None) => Ok(()),
        (Side::Arriving(tally), Some(arrived)) => {
            let mut digest = [0u8; 32];
            for id in arrived {
                let mut row = Writer::default();
                model.elsewhere[id].0.as_travels().write(&mut row);
                digest = Sha256::digest([&digest[..], &id.0, &row.finish()].concat()).into();
            }
            let records = arrived.iter().filter(|id| model.elsewhere[id].1.lives()).count();
            let said = (arrived.len() as u64, records as u64, digest);
            ensure((tally.accounts, tally.records, tally.digest) == said, || format!("{tally:?} and not {said:?}"))
        }
        _ => Err("which side of a move it is".to_owned()),
    }
}

/// Numbers from the front of a byte string; zero when it has ended.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `end`.
    fn below(&mut self, end: u8) -> u32 {
        u32::from(self.next() % end)
    }
}

fn policy(choices: &mut Choices<'_>) -> Policy {
    let attempts_max = 1 + choices.below(4);
    let lifetime_max = attempts_max + choices.below(9);
    let first = Signers { auditor: [0; 32], operator: [1; 32] };
    Policy {
        signers: (choices.below(4) != 0).then_some(first),
        attempts_max,
        lifetime_max,
        restore_attempts: 1 + choices.below(attempts_max as u8),
        unknown_max: u64::from(1 + choices.below(2)),
        unproven_removal: choices.below(2) == 0,
        login_ttl_s: 10,
        destroy_after_s: 20,
        ..Policy::development()
    }
}

fn sealed(epoch: u32, key_number: u16, fill: u8) -> Sealed {
    let mut bytes = [fill; SEALED_LEN];
    bytes[..7].copy_from_slice(&Header { epoch, key_number }.encode());
    Sealed::from_bytes(&bytes).expect("the length and version of a sealed record")
}

/// What to do next: to advance time, or a command. Most are what a vault would send; some are late, early or of another.
fn choose(choices: &mut Choices<'_>, state: &State, elsewhere: &Elsewhere) -> Result<u64, Command> {
    let kind = choices.below(31);
    let account = AccountId([choices.below(4) as u8; 32]);
    let it = state.account(&account).cloned().unwrap_or_default();
    let now = state.time_s();
    let generation = match choices.below(12) {
        0 => it.generation().wrapping_sub(1),
        1 => it.generation() + 1,
        _ => it.generation(),
    };
    let expiry_s = (now + u64::from(choices.below(16))).saturating_sub(1);
    let mut ordinal = || match choices.below(16) {
        0 => it.spent() + 1,
        1 => it.began(),
        behind => it.spent().saturating_sub(behind % it.open().max(1)),
    };
    let command = match kind {
        0..=8 => {
            let number = choices.below(24) as u8;
            let keyed = |key_number: u16| KeyedDigest { key_number, digest: [number ^ (key_number as u8) << 5; 16] };
            let digests = match choices.below(8) {
                0 => Digests { current: keyed(2), previous: Some(keyed(1)) },
                1 => Digests { current: keyed(2), previous: None },
                _ => Digests { current: keyed(1), previous: None },
            };
            Command::Charge { account, digests }
        }
        9..=12 => Command::Clear { account, generation, proof: Proof { ordinal: ordinal(), expiry_s } },
        13..=16 => {
            let epoch = (state.epoch_min() + choices.below(3)).saturating_sub(u32::from(choices.below(8) == 0));
            let (key_number, name) = (1 + choices.below(2) as u16, choices.below(5) as u8);
            let finish = [name; 32];
            Command::Enrol { account, generation, expiry_s, finish, sealed: sealed(epoch, key_number, name) }
        }
        17 => {
            let proof = Proof { ordinal: ordinal(), expiry_s };
            Command::Remove { account, generation, proof: (choices.below(3) > 0).then_some(proof) }
        }
        18 => Command::Sweep { account: state.due(1).first().copied().unwrap_or(account) },
        19 => Command::Sweep { account },
        20 => Command::Forget { most: choices.below(3) as u16 },
        21 => {
            let (epoch, made, key_number) = match *it.record() {
                Record::Live { header, rewraps, .. } => (header.epoch, rewraps, header.key_number),
                Record::None | Record::Destroyed => (0, 0, 1),
            };
            let epoch = (epoch + choices.below(4)).saturating_sub(1);
            let rewraps = made + u32::from(choices.below(8) == 0);
            let key_number = key_number + u16::from(choices.below(8) == 0);
            Command::Rewrap { account, generation, rewraps, sealed: sealed(epoch, key_number, 200) }
        }
        22 => Command::RaiseEpochMin { epoch: (state.epoch_min() + choices.below(3)).saturating_sub(1) },
        23 => Command::Pardon { account, pardoned: choices.below(8) },
        24 if choices.below(4) == 0 => Command::Restore { number: state.restores() + choices.below(3) },
        24 => {
            let predecessor = if choices.below(4) == 0 { NOBODYS } else { *state.members().0 };
            Command::Members { predecessor, statement: vec![choices.next(); 3] }
        }
        28 if choices.below(3) == 0 => {
            let first = Obeyed::first(Signers { auditor: [0; 32], operator: [1; 32] });
            let now = state.obeyed().copied().unwrap_or(first);
            let from = match choices.below(8) {
                0 => Obeyed { signers: Signers { auditor: [9; 32], ..now.signers }, ..now },
                1 => Obeyed { epoch: now.epoch.wrapping_sub(1), ..now },
                _ => now,
            };
            let signers = Signers { auditor: [choices.below(3) as u8; 32], operator: [choices.below(3) as u8; 32] };
            let to = Obeyed { signers, epoch: (now.epoch + choices.below(4)).saturating_sub(1) };
            Command::Signers { from: Box::new(from), to: Box::new(to), bundle: vec![choices.next(); 3] }
        }
        28 => match choices.below(4) {
            0 => Command::RaiseKeyMin { key_number: choices.below(3) as u16 },
            _ => {
                let serial = (state.keys_serial() + choices.below(4)).saturating_sub(1);
                Command::TurnKeys { serial, mark: [choices.below(2) as u8; 32] }
            }
        },
        29..=30 => choose_move(choices, state, elsewhere),
        25 => return Ok(now + u64::from(choices.below(8))),
        26 => return Ok(now + 15 + u64::from(choices.below(10))),
        _ => match choices.below(4) {
            0 => return Ok(now + MONTH_S - u64::from(choices.below(40))),
            1 => return Ok(now.saturating_sub(5)),
            _ => return Ok(now + 1),
        },
    };
    Err(command)
}

/// A step of a move; most are the one that comes next.
fn choose_move(choices: &mut Choices<'_>, state: &State, elsewhere: &Elsewhere) -> Command {
    let moving = state.moving().copied();
    let offer = match (choices.below(8), moving) {
        (0, _) | (_, None) => [7; 32],
        (_, Some(moving)) => moving.offer,
    };
    let upto = match choices.below(6) {
        name @ 0..=3 => Some(IDS[name as usize]),
        _ => None,
    };
    match moving.map(|moving| moving.side) {
        None if choices.below(4) > 0 => return Command::Charge { account: IDS[0], digests: unlike_any(choices) },
        None if choices.below(4) == 0 => return Command::Expect { offer },
        None => return Command::Leave { offer },
        Some(_) if choices.below(8) == 0 => return Command::Leave { offer: [choices.below(3) as u8; 32] },
        Some(Side::Leaving) => return Command::Depart { offer, upto },
        Some(Side::Arriving(_)) => {}
    }
    let stood = moving.and_then(|moving| moving.bound);
    let stands = if choices.below(8) == 0 { Some(IDS[1]) } else { stood };
    let beyond = choices.below(8) == 0;
    let between = elsewhere.iter().filter(|(id, _)| stood.is_some_and(|stood| stood <= **id));
    let mut arrivals: Vec<_> = between
        .filter(|(id, _)| beyond || upto.is_none_or(|upto| **id < upto))
        .map(|(id, (account, _))| {
            let epoch = (state.epoch_min() + choices.below(2)).saturating_sub(u32::from(choices.below(8) == 0));
            let sealed = account.is_live().then(|| sealed(epoch, 1 + choices.below(2) as u16, 100));
            Arrival::new(*id, account.clone(), sealed).expect("bytes for a live record and no other")
        })
        .collect();
    if choices.below(8) == 0 {
        arrivals.reverse();
    }
    Command::Arrive { offer, from: stands.unwrap_or(IDS[0]), upto, arrivals: arrivals.into() }
}

fn unlike_any(choices: &mut Choices<'_>) -> Digests {
    Digests { current: KeyedDigest { key_number: 3, digest: [choices.next(); 16] }, previous: None }
}

/// What a run saw, so that a test can say that it was worth running.
#[derive(Default)]
pub(crate) struct Seen(pub(crate) BTreeMap<String, u64>);

fn counters(it: &Account) -> [u32; 6] {
    [it.generation(), it.spent(), it.cleared(), it.began(), it.owed(), it.pardoned()]
}

/// A command in few words: sealed bytes are long.
fn brief(command: &impl std::fmt::Debug) -> String {
    format!("{command:?}").chars().take(300).collect()
}

/// Drives an apply and the model through what `bytes` say, and compares them after every step; then replays it.
///
/// # Errors
/// Where they differ first, in words.
pub(crate) fn drive(apply: &Apply<'_>, bytes: &[u8], mut seen: Option<&mut Seen>) -> Result<(), String> {
    let mut choices = Choices(bytes);
    let policy = policy(&mut choices);
    let (mut state, mut kept, mut model) = (State::new(policy.clone()), Kept::default(), Model::new(policy.clone()));
    let mut journal = Vec::new();
    while !choices.0.is_empty() {
        let before: Vec<_> = state.accounts().map(|(id, it)| (*id, counters(it))).collect();
        // Where all accounts have left, the script goes on at the vault that they come to.
        if state.moving().is_some_and(|moving| moving.bound.is_none() && moving.side == Side::Leaving) {
            let gone = |(id, history)| Some((id, (state.account(&id)?.clone(), history)));
            let elsewhere = model.lives.into_iter().filter_map(gone).collect();
            let time_s = state.time_s();
            (state, kept) = (State::new(policy.clone()), Kept::default());
            model = Model { time_s, elsewhere, ..Model::new(policy.clone()) };
            state.advance(time_s);
            let step = Command::Expect { offer: [9; 32] };
            let taken = (apply(&mut state, &mut kept, &step), model.apply(&step));
            ensure(taken == (Verdict::Done, Verdict::Done), || format!("an empty vault takes accounts: {taken:?}"))?;
            journal = vec![Ok(time_s), Err(step)];
            continue;
        }
        let step = choose(&mut choices, &state, &model.elsewhere);
        match &step {
            Ok(time_s) => {
                state.advance(*time_s);
                model.time_s = model.time_s.max(*time_s);
            }
            Err(command) => {
                let unchanged = (state.encode(), kept.clone());
                let repeated = match command {
                    Command::Charge { account, digests } => Some(state.charged_before(account, digests)),
                    _ => None,
                };
                let verdict = apply(&mut state, &mut kept, command);
                let expected = model.apply(command);
                if let Some(Seen(seen)) = &mut seen {
                    let kind = format!("{command:?}").split(' ').next().unwrap_or_default().to_owned();
                    let outcome = format!("{verdict:?}").replace(char::is_numeric, "");
                    *seen.entry(format!("{kind} {outcome}")).or_default() += 1;
                }
                ensure(verdict == expected, || format!("{}: {verdict:?}, by the model {expected:?}", brief(command)))?;
                let again = matches!(
                    verdict,
                    Verdict::Refused(_)
                        | Verdict::Charged { again: true, .. }
                        | Verdict::Cleared { again: true }
                        | Verdict::Enrolled { again: true, .. }
                );
                ensure(!again || (state.encode(), kept.clone()) == unchanged, || {
                    format!("{} was answered {verdict:?} and changed something", brief(command))
                })?;
                if let (Some(repeated), Verdict::Charged { generation, ordinal, again, .. }) = (repeated, verdict) {
                    let known = again.then_some((generation, ordinal));
                    ensure(repeated == known, || format!("asked before the charge: {repeated:?}, {known:?}"))?;
                }
            }
        }
        compare(&state, &kept, &model).map_err(|wrong| format!("after {}: {wrong}", brief(&step)))?;
        // L2, L11: nothing decreases, but that an id never enrolled may be forgotten.
        for (id, old) in before {
            match state.account(&id).map(counters) {
                Some(new) => {
                    let kept = old.into_iter().zip(new).all(|(old, new)| new >= old);
                    ensure(kept, || format!("L2: a counter decreased at {}", brief(&step)))?;
                }
                None => ensure(old[0] == 0, || format!("L11: somebody was forgotten at {}", brief(&step)))?,
            }
        }
        journal.push(step);
    }
    finish(apply, &state, &kept, &policy, &journal)
}

/// L5: the journal, written, read and applied, gives the live state byte for byte; and so does a checkpoint.
fn finish(
    apply: &Apply<'_>,
    state: &State,
    kept: &Kept,
    policy: &Policy,
    journal: &[Result<u64, Command>],
) -> Result<(), String> {
    let (mut replayed, mut again) = (State::new(policy.clone()), Kept::default());
    for step in journal {
        match step {
            Ok(time_s) => replayed.advance(*time_s),
            Err(command) => {
                let mut writer = Writer::default();
                command.write(&mut writer);
                let bytes = writer.finish();
                let mut reader = Reader::new(&bytes);
                let read = Command::read(&mut reader).map_err(|_| format!("{} does not read", brief(command)))?;
                ensure(reader.finish().is_ok() && read == *command, || {
                    format!("{} reads as {}", brief(command), brief(&read))
                })?;
                replayed.read_ahead(std::slice::from_ref(&read));
                apply(&mut replayed, &mut again, &read);
            }
        }
    }
    let bytes = state.encode();
    ensure(replayed.encode() == bytes && again == *kept, || "L5: replay is not the live state".to_owned())?;
    let decoded = State::decode(&bytes).map_err(|_| "the state does not read".to_owned())?;
    ensure(decoded == *state && decoded.encode() == bytes, || "what was read back differs".to_owned())?;
    let mut restored = State::decode_globals(&state.encode_globals()).map_err(|_| "globals".to_owned())?;
    for (id, account) in state.accounts() {
        let mut writer = Writer::default();
        account.write(&mut writer);
        let account = Account::read(&mut Reader::new(&writer.finish())).map_err(|_| "an account".to_owned())?;
        restored.restore_account(*id, account);
    }
    ensure(restored == *state, || "a checkpoint is not the live state".to_owned())
}
