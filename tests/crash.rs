//! J2 and J4: after a crash at every operation of a workload, with any part of the unsynced writes surviving, nothing
//! acknowledged is missing, and the state is the replay of the acknowledged batches and at most the one in flight, byte
//! for byte (L5). The checker is seen to catch a journal that acknowledges before its fsync, one that moves the anchor
//! before it, and one that empties the log before its checkpoint is on disk.
#![cfg(feature = "local")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod disk;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use disk::{CHECKPOINT, Dice, Disk, LOG, Lie, Survive};
use strongroom::account::AccountId;
use strongroom::error::Fault;
use strongroom::journal::{Committed, Journal, Local};
use strongroom::ledger::{Command, Digests, KeyedDigest, Policy, Records, State};
use strongroom::secret::Secret;
use strongroom::wrap::{Header, SEALED_LEN, Sealed};

const SURVIVALS: [Survive; 7] = [
    Survive::Nothing,
    Survive::Kill,
    Survive::Some(1),
    Survive::Some(4),
    Survive::Some(7),
    Survive::Prefix,
    Survive::Some(8),
];

fn key() -> Secret<[u8; 32]> {
    Secret::new([5; 32])
}

fn policy() -> Policy {
    Policy { unknown_max: 6, ..Policy::development() }
}

fn sealed(filler: u8) -> Sealed {
    let mut bytes = [filler; SEALED_LEN];
    bytes[..7].copy_from_slice(&Header { epoch: 1, key_number: 1 }.encode());
    Sealed::from_bytes(&bytes).unwrap()
}

/// A step of the workload.
#[derive(Clone)]
enum Step {
    Batch(Batch),
    /// A checkpoint, and batches that come while it is written.
    Checkpoint(Vec<Batch>),
}

type Batch = (u64, Vec<Command>);

/// Charges, enrolments, removals of ids, a row of several pages, and checkpoints between and beside them.
fn workload(seed: u64, steps: usize) -> Vec<Step> {
    let mut dice = Dice(seed);
    let mut time_s = 1_000;
    let mut batches = (0..steps)
        .map(|_| {
            time_s += dice.below(40_000);
            let size = if dice.below(6) == 0 { 120 } else { 1 + dice.below(6) };
            let mut commands: Vec<Command> = (0..size)
                .map(|_| {
                    let account = AccountId([dice.below(12) as u8; 32]);
                    let byte = dice.below(256) as u8;
                    match dice.below(8) {
                        0 | 1 => Command::Enrol {
                            account,
                            generation: dice.below(4) as u32,
                            expiry_s: u64::MAX,
                            finish: [byte; 32],
                            sealed: sealed(byte),
                        },
                        2 => Command::Sweep { account },
                        _ => Command::Charge {
                            account,
                            digests: Digests {
                                current: KeyedDigest { key_number: 1, digest: [byte; 16] },
                                previous: None,
                            },
                        },
                    }
                })
                .collect();
            if dice.below(4) == 0 {
                commands.push(Command::Forget { most: 3 });
            }
            (time_s, commands)
        })
        .collect::<Vec<_>>()
        .into_iter();
    let mut steps = Vec::new();
    while let Some(batch) = batches.next() {
        steps.push(Step::Batch(batch));
        steps.extend(batches.by_ref().take(3).map(Step::Batch));
        steps.push(Step::Checkpoint(batches.by_ref().take(seed as usize % 3).collect()));
    }
    steps
}

impl Step {
    fn batches(&self) -> &[Batch] {
        match self {
            Step::Batch(batch) => std::slice::from_ref(batch),
            Step::Checkpoint(batches) => batches,
        }
    }
}

/// The rules of the ledger with nothing between: what the journal ought to hold after each batch.
struct Model {
    state: State,
    records: Kept,
}

#[derive(Clone, Default)]
struct Kept(HashMap<AccountId, Sealed>);

impl Records for Kept {
    fn put(&mut self, account: &AccountId, sealed: &Sealed) {
        self.0.insert(*account, sealed.clone());
    }
    fn erase(&mut self, account: &AccountId) {
        self.0.remove(account);
    }
}

/// State and records after each row; row 0 is the policy.
fn models(steps: &[Step]) -> Vec<Model> {
    let mut state = State::new(policy());
    let mut records = Kept::default();
    let mut all = vec![Model { state: state.clone(), records: records.clone() }];
    for (time_s, commands) in steps.iter().flat_map(Step::batches) {
        state.advance(*time_s);
        commands.iter().for_each(|command| {
            state.apply(command, &mut records);
        });
        all.push(Model { state: state.clone(), records: records.clone() });
    }
    all
}

/// How far a run got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    created: bool,
    /// Rows acknowledged beside row 0.
    acknowledged: u64,
    /// A batch was begun and not acknowledged.
    in_flight: bool,
    failed: bool,
    /// Batches acknowledged while a checkpoint was written.
    beside: usize,
}

fn open(disk: &Disk) -> Result<Arc<Local>, Fault> {
    Local::open_on(disk.file(LOG), disk.file(CHECKPOINT), &policy(), &key(), disk.anchor()).map(Arc::new)
}

/// Runs the steps that come after row `progress.acknowledged` until one fails, and then sees that all is latched (J4).
fn drive(disk: &Disk, journal: &Arc<Local>, steps: &[Step], progress: &mut Progress) -> Result<(), String> {
    let mut row = 0;
    for step in steps {
        let there = (progress.acknowledged - row).min(step.batches().len() as u64);
        row += there;
        let mut batches = step.batches()[there as usize..].to_vec();
        let mut failed = false;
        if let Step::Checkpoint(_) = step
            && row == progress.acknowledged
        {
            // One batch at every other write, as far as there are enough of them.
            let (coming, answers) = (Arc::new(Mutex::new(batches)), Arc::new(Mutex::new(Vec::new())));
            let (other, to_come, answered) = (Arc::clone(journal), Arc::clone(&coming), Arc::clone(&answers));
            let mut writes = 0;
            let between = move || {
                writes += 1;
                if writes % 2 == 1 && !to_come.lock().unwrap().is_empty() {
                    let (time_s, commands) = to_come.lock().unwrap().remove(0);
                    answered.lock().unwrap().push((commands.len(), other.commit(time_s, commands)));
                }
            };
            failed = disk.with_between(between, || journal.checkpoint().is_err());
            for (commands, answer) in std::mem::take(&mut *answers.lock().unwrap()) {
                progress.beside += usize::from(answer.is_ok());
                failed |= !take(commands, answer, &mut row, progress)?;
            }
            batches = std::mem::take(&mut *coming.lock().unwrap());
        }
        for (time_s, commands) in batches {
            if !failed {
                failed = !take(commands.len(), journal.commit(time_s, commands), &mut row, progress)?;
            }
        }
        if failed {
            progress.failed = true;
            let latched = journal.commit(1, vec![]).err() == Some(Fault::Latched)
                && journal.read(&mut |_| ()) == Err(Fault::Latched)
                && journal.sealed(&AccountId([0; 32]), 1) == Err(Fault::Latched)
                && journal.checkpoint() == Err(Fault::Latched);
            return if latched { Ok(()) } else { Err("J4: a call after the failure was not latched".to_owned()) };
        }
    }
    Ok(())
}

/// Notes the answer to a batch of so many commands; whether it was acknowledged.
fn take(
    commands: usize,
    answer: Result<Vec<Committed>, Fault>,
    row: &mut u64,
    progress: &mut Progress,
) -> Result<bool, String> {
    let Ok(receipts) = answer else {
        progress.in_flight = true;
        return Ok(false);
    };
    *row += 1;
    progress.acknowledged = *row;
    if receipts.len() != commands || receipts.iter().any(|receipt| receipt.index() != *row) {
        return Err("J1: the receipts are not one a command".to_owned());
    }
    Ok(true)
}

/// Opens what the disk holds and holds it against what was acknowledged.
fn check(disk: &Disk, models: &[Model], progress: &Progress) -> Result<Option<Arc<Local>>, String> {
    let journal = match open(disk) {
        Ok(journal) => journal,
        // Before the creation was acknowledged there need not be a journal, but making one must then succeed.
        Err(first) if !progress.created => {
            let disk = disk.emptied();
            return Local::create_on(disk.file(LOG), disk.file(CHECKPOINT), policy(), &key(), disk.anchor())
                .map(|_| None)
                .map_err(|fault| format!("creation was cut short: {first}, and cannot be repeated: {fault}"));
        }
        Err(fault) => return Err(format!("it does not open: {fault}")),
    };
    let mut bytes = Vec::new();
    let index = journal.read(&mut |state| bytes = state.encode()).map_err(|fault| fault.to_string())?;
    let most = progress.acknowledged + u64::from(progress.in_flight);
    if index < progress.acknowledged || index > most {
        return Err(format!("J2: it ends at row {index}, {} rows were acknowledged", progress.acknowledged));
    }
    let model = &models[index as usize];
    if bytes != model.state.encode() {
        return Err(format!("L5: the state at row {index} is not the replay of its rows"));
    }
    for (id, account) in model.state.accounts() {
        let found = journal
            .sealed(id, account.generation())
            .map_err(|fault| format!("J2: a sealed record at row {index} is lost: {fault}"))?;
        if found.as_ref() != model.records.0.get(id).filter(|_| account.is_live()) {
            return Err(format!("J2: a sealed record at row {index} is not the one enrolled"));
        }
    }
    Ok(Some(journal))
}

/// A run on a new disk, cut short at its `n`-th operation.
fn run(lie: Lie, steps: &[Step], n: u64, half: bool) -> Result<(Disk, Progress), String> {
    let disk = Disk::lying(lie);
    disk.fail_at(n, half);
    let mut progress = Progress::default();
    let made = Local::create_on(disk.file(LOG), disk.file(CHECKPOINT), policy(), &key(), disk.anchor());
    match made {
        Ok(journal) => {
            progress.created = true;
            drive(&disk, &Arc::new(journal), steps, &mut progress)?;
        }
        Err(_) => progress.failed = true,
    }
    Ok((disk, progress))
}

/// Crashes the workload at operation `n`, lets `survive` of the cache survive, opens, and goes on; then cuts that run
/// short too, so that recovery itself is crashed.
fn sequence(lie: Lie, steps: &[Step], models: &[Model], n: u64, survive: Survive) -> Result<(), String> {
    let mut dice = Dice(n * 31 + 7);
    let (disk, mut progress) = run(lie, steps, n, n.is_multiple_of(2))?;
    let again = disk.after(survive, &mut dice);
    // The second crash is at some operation of opening or going on.
    again.fail_at(1 + dice.below(120), dice.below(2) == 0);
    if let Ok(journal) = open(&again) {
        progress.created = true;
        let index = journal.read(&mut |_| ());
        if let Ok(index) = index {
            // What a reader has seen may not go away either.
            progress.acknowledged = progress.acknowledged.max(index);
            progress.in_flight = false;
        }
        drive(&again, &journal, steps, &mut progress)?;
    }
    let power = if survive == Survive::Kill { Survive::Nothing } else { survive };
    let last = again.after(power, &mut dice);
    let Some(journal) = check(&last, models, &progress)? else { return Ok(()) };
    // And it is a journal that works: the rest of the workload runs, and survives.
    let mut rest = Progress { created: true, ..Progress::default() };
    rest.acknowledged = journal.read(&mut |_| ()).map_err(|fault| fault.to_string())?;
    drive(&last, &journal, steps, &mut rest)?;
    if rest.failed || rest.acknowledged as usize != models.len() - 1 {
        return Err("it opens, but does not go on".to_owned());
    }
    drop(journal);
    check(&last.after(Survive::Nothing, &mut dice), models, &rest).map(drop)
}

/// The single crash, checked at once.
fn single(lie: Lie, steps: &[Step], models: &[Model], n: u64, survive: Survive) -> Result<(), String> {
    let (disk, progress) = run(lie, steps, n, !n.is_multiple_of(2))?;
    check(&disk.after(survive, &mut Dice(n)), models, &progress).map(drop)
}

/// Operations of the whole workload, closing included.
fn operations(steps: &[Step]) -> u64 {
    let (disk, progress) = run(Lie::None, steps, u64::MAX, false).unwrap();
    assert!(!progress.failed && progress.acknowledged > 0);
    disk.operations()
}

/// How many sequences fail, and the first failure.
fn failures(lie: Lie, seed: u64, every: u64, survivals: &[Survive], check: Check) -> (u64, Vec<String>) {
    let steps = workload(seed, if cfg!(debug_assertions) { 15 } else { 25 });
    let models = models(&steps);
    let total = operations(&steps);
    let (mut count, mut failed) = (0, Vec::new());
    for n in (1 + seed % every..=total + 1).step_by(every as usize) {
        for &survive in survivals {
            count += 1;
            if let Err(what) = check(lie, &steps, &models, n, survive) {
                failed.push(format!("seed {seed}, operation {n}, {survive:?}: {what}"));
            }
        }
    }
    (count, failed)
}

type Check = fn(Lie, &[Step], &[Model], u64, Survive) -> Result<(), String>;

#[test]
fn j2_no_acknowledged_charge_is_lost_at_any_crash_point() {
    let (count, failed) = failures(Lie::None, 1, if cfg!(debug_assertions) { 3 } else { 1 }, &SURVIVALS, single);
    assert!(failed.is_empty(), "{} of {count}: {}", failed.len(), failed[0]);
    let (_, whole) = run(Lie::None, &workload(1, 25), u64::MAX, false).unwrap();
    println!("{count} crash sequences, of a run with {} batches beside checkpoints", whole.beside);
    assert!(whole.beside > 2, "no batch came while a checkpoint was written");
    assert!(count > if cfg!(debug_assertions) { 300 } else { 2000 }, "{count} sequences are too few");
}

#[test]
fn j2_nor_when_recovery_itself_is_cut_short() {
    let (mut total, every) = (0, if cfg!(debug_assertions) { 12 } else { 1 });
    for seed in 2..5 {
        let (count, failed) = failures(Lie::None, seed, every, &SURVIVALS, sequence);
        assert!(failed.is_empty(), "{} of {count}: {}", failed.len(), failed[0]);
        total += count;
    }
    println!("{total} crash sequences");
    assert!(total > if cfg!(debug_assertions) { 150 } else { 7000 }, "{total} sequences are too few");
}

/// The checker catches this lie, and catches it as what it is.
fn is_caught(lie: Lie, every: u64, survivals: &[Survive], words: &[&str]) {
    let (count, failed) = failures(lie, 1, every, survivals, single);
    assert!(!failed.is_empty(), "{lie:?} was not caught in {count} sequences");
    for failure in &failed {
        assert!(words.iter().any(|word| failure.contains(word)), "{failure}");
    }
    println!("{lie:?}: caught in {} of {count} sequences", failed.len());
}

#[test]
fn control_acknowledging_before_the_fsync_is_caught() {
    is_caught(Lie::NoSync(LOG), 5, &SURVIVALS, &["does not open", "J2"]);
}

#[test]
fn control_moving_the_anchor_before_the_fsync_is_caught() {
    // A window of one operation: every one is tried, and nothing survives that was not synced.
    is_caught(Lie::LateSync(LOG), 1, &[Survive::Nothing], &["truncated log", "log is empty", "does not open"]);
}

#[test]
fn control_emptying_the_log_before_the_checkpoint_is_on_disk_is_caught() {
    is_caught(Lie::NoSync(CHECKPOINT), 5, &SURVIVALS, &["does not open", "J2", "L5"]);
}
