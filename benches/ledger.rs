//! Charges, enrolments and their mixture: applied, and replayed from bytes, a second, at ten thousand and at a million
//! accounts. Answers are checked before the clock runs. Test mode (`cargo test --benches`) takes small tables only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use strongroom::account::AccountId;
use strongroom::ledger::{Account, Command, Digests, KeyedDigest, Policy, Proof, Records, State, Verdict};
use strongroom::wire::{Reader, Writer};
use strongroom::wrap::{Header, SEALED_LEN, Sealed};

/// Commands of one commit, as in P6.
const COMMIT: usize = 1024;
/// Commands whose accounts are read at once, as in a journal.
const AHEAD: usize = 128;
/// Commits a measured pass applies.
const COMMITS: usize = 16;

/// The rules decide where sealed bytes go; here they go nowhere.
struct Nowhere;

impl Records for Nowhere {
    fn put(&mut self, _: &AccountId, _: &Sealed) {}
    fn erase(&mut self, _: &AccountId) {}
}

/// Ids spread like hashes, since that is what they are.
fn id(number: u64) -> AccountId {
    let mut bytes = [0; 32];
    let mut word = number;
    for part in bytes.chunks_exact_mut(8) {
        word = (word ^ (word >> 31)).wrapping_add(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        part.copy_from_slice(&(word ^ (word >> 29)).to_be_bytes());
    }
    AccountId(bytes)
}

fn sealed() -> Sealed {
    let mut bytes = [0; SEALED_LEN];
    bytes[..7].copy_from_slice(&Header { epoch: 1, key_number: 1 }.encode());
    Sealed::from_bytes(&bytes).unwrap()
}

fn digest(number: u64) -> Digests {
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    Digests { current: KeyedDigest { key_number: 1, digest }, previous: None }
}

fn finish(account: u64, generation: u32) -> [u8; 32] {
    let mut finish = id(account).0;
    finish[..4].copy_from_slice(&generation.to_be_bytes());
    finish
}

fn enrol(account: u64, generation: u32) -> Command {
    let finish = finish(account, generation);
    Command::Enrol { account: id(account), generation, expiry_s: u64::MAX, finish, sealed: sealed() }
}

/// A state of so many people, each enrolled, with an empty window.
fn enrolled(accounts: u64) -> State {
    let mut state = State::new(Policy::development());
    for account in 0..accounts {
        let verdict = state.apply(&enrol(account, 0), &mut Nowhere);
        assert_eq!(verdict, Verdict::Enrolled { generation: 1, again: false });
    }
    assert_eq!(state.len() as u64, accounts);
    state
}

/// People in an order that no cache foresees.
fn people(accounts: u64) -> impl Iterator<Item = u64> {
    (1u64..).map(move |step| u64::from_be_bytes(id(step).0[..8].try_into().unwrap()) % accounts)
}

/// One charge each, of people who differ.
fn charges(accounts: u64) -> Vec<Command> {
    let stride = 7919 % accounts;
    (0..(COMMIT * COMMITS) as u64)
        .map(|step| Command::Charge { account: id(step * stride % accounts), digests: digest(step) })
        .collect()
}

/// New records in place of old ones.
fn enrolments(accounts: u64) -> Vec<Command> {
    let mut generations = std::collections::HashMap::new();
    people(accounts)
        .take(COMMIT * COMMITS)
        .map(|account| {
            let generation = generations.entry(account).or_insert(0);
            *generation += 1;
            enrol(account, *generation)
        })
        .collect()
}

/// Recoveries, wrong codes and enrolments as a vault sees them: of twenty commands nine charges, eight clears, a retry,
/// a charge of an unknown id, and an enrolment, each sort on people of its own.
fn mixed(accounts: u64) -> Vec<Command> {
    let mut people = people(accounts / 2);
    let mut generations = std::collections::HashMap::new();
    let mut ordinals = std::collections::HashMap::new();
    let mut commands = Vec::with_capacity(COMMIT * COMMITS + 20);
    while commands.len() < COMMIT * COMMITS {
        let step = commands.len() as u64;
        for number in 0..9 {
            let person = people.next().unwrap();
            let ordinal = ordinals.entry(person).or_insert(0u32);
            *ordinal += 1;
            commands.push(Command::Charge { account: id(person), digests: digest(step + number) });
            let proof = Proof { ordinal: *ordinal, expiry_s: u64::MAX };
            commands.push(match number {
                0 => Command::Charge { account: id(person), digests: digest(step) },
                _ => Command::Clear { account: id(person), generation: 1, proof },
            });
        }
        commands.push(Command::Charge { account: id(u64::MAX - step), digests: digest(step) });
        let person = accounts / 2 + people.next().unwrap();
        let generation = generations.entry(person).or_insert(0);
        *generation += 1;
        commands.push(enrol(person, *generation));
    }
    commands.truncate(COMMIT * COMMITS);
    commands
}

fn rows(commands: &[Command]) -> Vec<Vec<u8>> {
    commands
        .chunks(COMMIT)
        .map(|commit| {
            let mut writer = Writer::default();
            commit.iter().for_each(|command| command.write(&mut writer));
            writer.finish()
        })
        .collect()
}

/// Applies commit by commit, as a journal does; how many were refused.
fn apply(state: &mut State, commands: &[Command]) -> usize {
    let mut refused = 0;
    for ahead in commands.chunks(AHEAD) {
        state.read_ahead(ahead);
        for command in ahead {
            refused += usize::from(matches!(state.apply(command, &mut Nowhere), Verdict::Refused(_)));
        }
    }
    refused
}

fn replay(state: &mut State, rows: &[Vec<u8>]) -> usize {
    let mut refused = 0;
    for row in rows {
        let mut reader = Reader::new(row);
        let mut commands = Vec::with_capacity(COMMIT);
        while reader.finish().is_err() {
            commands.push(Command::read(&mut reader).unwrap());
        }
        refused += apply(state, &commands);
    }
    refused
}

fn ledger(c: &mut Criterion) {
    let told = |flag| std::env::args().any(|argument| argument == flag);
    let measured = told("--bench") && !told("--test");
    let sizes: &[u64] = if measured { &[1_000_000, 10_000] } else { &[2_000] };
    for (number, &accounts) in sizes.iter().enumerate() {
        let before = resident();
        let state = enrolled(accounts);
        // Only the first: what comes after it finds memory that was given back but not to the system.
        if let (true, 0, Some(before), Some(after)) = (measured, number, before, resident()) {
            let each = after.saturating_sub(before) as f64 / accounts as f64;
            println!("ledger: {accounts} accounts, {} B a value, {each:.0} B of RAM an account", size_of::<Account>());
        }
        for (name, commands) in
            [("charge", charges(accounts)), ("enrol", enrolments(accounts)), ("mixed", mixed(accounts))]
        {
            // The answers first: nobody is refused, and what is replayed is what was applied.
            let rows = rows(&commands);
            let (mut live, mut replayed) = (state.clone(), state.clone());
            assert_eq!(apply(&mut live, &commands), 0, "{name}: refused");
            assert_eq!(replay(&mut replayed, &rows), 0, "{name}: refused in replay");
            assert_eq!(live.encode(), replayed.encode(), "L5: replay is not the live state");
            assert_ne!(live.encode(), state.encode());
            drop((live, replayed));

            let mut group = c.benchmark_group(format!("ledger/{name}"));
            group.throughput(Throughput::Elements(commands.len() as u64)).sample_size(20);
            // A clone of a million accounts lies in new memory; drop it off the clock too.
            group.bench_function(BenchmarkId::new("apply", accounts), |b| {
                b.iter_batched_ref(|| state.clone(), |state| apply(state, &commands), BatchSize::PerIteration);
            });
            group.bench_function(BenchmarkId::new("replay", accounts), |b| {
                b.iter_batched_ref(|| state.clone(), |state| replay(state, &rows), BatchSize::PerIteration);
            });
            group.finish();
        }
    }
}

/// Memory of this process in bytes, where Linux tells it.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

criterion_group!(benches, ledger);
criterion_main!(benches);
