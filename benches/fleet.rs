//! A fleet's charges, beside openraft over redb without anything of ours; recoveries through a queue; fail-over; a checkpoint
//! that travels, and one that is written
//! while people are answered.
//!
//! Members are processes of their own on loopback, each with a disk file, an anchor and TLS, but for the one that leads,
//! which runs here and is asked here. The peer's are processes too, and its entries have as many bytes. Both are asked in turns
//! in the same run: one batch after the other, and eight at once. Counters are checked at the end.
//!
//! `cargo bench --features fleet --bench fleet` prints it all; `-- joining --accounts 1000000` for a checkpoint of a million alone. Two cores
//! for five members measure the cores: a round trip between sites is not in these figures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod accounts;
mod raft;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::{Dice, id, sealed};
use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, PendingRecovery, Recovery, Terms};
use strongroom::fleet::{self, Fleet, LinkKey, Member, Replica, Settings, Streams, TcpDials, Tls};
use strongroom::journal::{FileAnchor, SystemClock};
use strongroom::ledger::{Command, Digests, KeyedDigest, Policy, Signers, Verdict};
use strongroom::protocol::Reply;
use strongroom::secret::Secret;
use strongroom::transparency::{self, Note, Order, SigningKey, Statement};
use strongroom::vault::{Custody, Gathering, MemoryKeyStore, Queue, Vault};
use strongroom::wire::Writer;
use strongroom::wrap::MemoryRoot;
use tokio::runtime::Runtime;

const PARTS: [&str; 5] = ["charges", "recoveries", "fail-over", "joining", "checkpoint"];
const FLEET: [u8; 32] = [3; 32];
const KEY: [u8; 32] = [9; 32];
/// So many that no window of an account fills up in a run.
const ACCOUNTS: u64 = 100_000;
/// What ours is to keep of the peer's rate, at three replicas and 1,024 charges a batch, one batch after the other.
const SHARE: f64 = 0.7;

fn signers() -> [SigningKey; 2] {
    [("auditor.example", 1), ("operator.example", 2)]
        .map(|(name, seed)| SigningKey::new(name, &Secret::new([seed; 32])).unwrap())
}

fn policy() -> Policy {
    let [auditor, operator] = signers().map(|it| *it.verifying_key().as_bytes());
    // Windows that do not fill up.
    let signers = Some(Signers { auditor, operator });
    Policy { attempts_max: 64, lifetime_max: 4096, signers, ..Policy::development() }
}

fn journal_key() -> Secret<[u8; 32]> {
    Secret::new([7; 32])
}

fn link_key(number: u64) -> LinkKey {
    LinkKey::new(&Secret::new([number as u8; 32]))
}

/// What names members of these numbers, found at these names.
fn statement(predecessor: [u8; 32], names: &[String]) -> Note {
    let member = |(number, name): (u64, &String)| transparency::Member {
        number,
        name: name.clone(),
        link_key: link_key(number).public_key(),
        channel_key: [0; 32],
        code: "bench".to_owned(),
    };
    let members = (1..).zip(names).map(member).collect();
    let mut note = Statement { fleet: FLEET, order: Order::Members { predecessor, members } }.note().unwrap();
    signers().iter().for_each(|key| note.sign(key));
    note
}

/// Addresses that were free a moment ago.
fn names(count: u64) -> Vec<String> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|it| it.local_addr().unwrap().to_string()).collect()
}

fn place(folder: &Path, number: u64) -> PathBuf {
    folder.join(number.to_string())
}

fn make_place(folder: &Path, number: u64) -> PathBuf {
    let place = place(folder, number);
    std::fs::create_dir_all(&place).unwrap();
    FileAnchor::create(place.join("anchor")).unwrap();
    place
}

/// Runs our member of this number.
async fn run_ours(folder: &Path, number: u64, name: &str) -> Replica {
    let place = place(folder, number);
    let tls = Tls::new(&FLEET, link_key(number));
    let member = Member {
        number,
        fleet: FLEET,
        policy: policy(),
        journal_key: journal_key(),
        anchor: Arc::new(FileAnchor::open(place.join("anchor")).unwrap()),
        clock: Arc::new(SystemClock::new(policy().skew_max_s).unwrap()),
        links: Arc::new(Streams::new(TcpDials::new(tls.clone()))),
        settings: Settings::default(),
    };
    let replica = Replica::open(&place, member).await.unwrap();
    let listener = tokio::net::TcpListener::bind(name).await.unwrap();
    tokio::spawn(tls.acceptor(&replica).unwrap().listen(listener));
    replica
}

/// A member in a process of its own, which ends with this one.
struct Elsewhere(Child);

impl Elsewhere {
    fn start(kind: &str, folder: &Path, number: u64, names: &[String]) -> Self {
        let mut process = Process::new(std::env::current_exe().unwrap());
        process.args(["member", kind, &number.to_string(), &names.join(",")]).arg(folder);
        Elsewhere(process.stdin(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The process of a member: until nobody holds its standard input.
fn member(arguments: &[String]) {
    let [kind, number, names, folder] = arguments else { panic!("kind, number, names, folder") };
    let (number, names) = (number.parse::<u64>().unwrap(), names.split(',').map(str::to_owned).collect::<Vec<_>>());
    let (folder, runtime) = (Path::new(folder), Runtime::new().unwrap());
    let _kept: Box<dyn std::any::Any> = match kind.as_str() {
        "plain" => Box::new(runtime.block_on(raft::run(&place(folder, number), number, &names, heartbeat()))),
        _ => {
            let replica = runtime.block_on(run_ours(folder, number, &names[number as usize - 1]));
            if kind == "follows" {
                replica.drain();
            }
            Box::new(replica)
        }
    };
    std::io::stdin().lines().for_each(drop);
}

fn heartbeat() -> Duration {
    Settings::default().heartbeat
}

/// Our fleet: the first member here, the others elsewhere.
struct Ours {
    replica: Replica,
    others: Vec<Elsewhere>,
    names: Vec<String>,
    folder: tempfile::TempDir,
    dice: Dice,
    charges: u64,
    ke1: u64,
}

fn folder() -> tempfile::TempDir {
    // Where cargo builds, which is a disk; a temporary folder may be memory.
    tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap()
}

impl Ours {
    /// `kind` says whether the others may lead.
    fn new(count: u64, kind: &str, accounts: u64, runtime: &Runtime) -> Self {
        let (folder, names) = (folder(), names(count));
        let statement = statement([0; 32], &names);
        for number in 1..=count {
            let place = make_place(folder.path(), number);
            fleet::found(place, &policy(), &journal_key(), &FLEET, &statement).unwrap();
        }
        let others = (2..=count).map(|number| Elsewhere::start(kind, folder.path(), number, &names)).collect();
        let replica = runtime.block_on(run_ours(folder.path(), 1, &names[0]));
        let mut ours = Ours { replica, others, names, folder, dice: Dice(1), charges: 0, ke1: 0 };
        wait("a leader", || ours.replica.leader());
        let people: Vec<u64> = (0..accounts).collect();
        for people in people.chunks(1024) {
            let enrolment = |person: &u64| Command::Enrol {
                account: id(*person),
                generation: 0,
                expiry_s: u64::MAX,
                finish: [1; 32],
                sealed: sealed(*person),
            };
            let commands: Vec<_> = people.iter().map(enrolment).collect();
            while runtime.block_on(ours.replica.commit(commands.clone())).is_err() {}
        }
        ours.charges = 0;
        ours
    }

    fn batch(&mut self, count: usize) -> Vec<Command> {
        let charge = |_| {
            self.ke1 += 1;
            let mut digest = [0; 16];
            digest[..8].copy_from_slice(&self.ke1.to_be_bytes());
            let current = KeyedDigest { key_number: 1, digest };
            let account = id(self.dice.roll() % ACCOUNTS);
            Command::Charge { account, digests: Digests { current, previous: None } }
        };
        (0..count).map(charge).collect()
    }

    /// So many batches at once; the commands are made before the clock starts.
    fn round(&mut self, count: usize, at_once: usize, runtime: &Runtime) -> Duration {
        let batches: Vec<_> = (0..at_once).map(|_| self.batch(count)).collect();
        let begun = Instant::now();
        let commits: Vec<_> = batches
            .into_iter()
            .map(|batch| {
                let replica = self.replica.clone();
                runtime.spawn(async move { replica.commit(batch).await })
            })
            .collect();
        for commit in commits {
            let receipts = runtime.block_on(commit).unwrap().unwrap();
            assert!(receipts.iter().all(|it| matches!(it.verdict(), Verdict::Charged { again: false, .. })));
            self.charges += receipts.len() as u64;
        }
        begun.elapsed()
    }

    /// A checkpoint of all that is applied here by now.
    fn write_checkpoint(&self, runtime: &Runtime) {
        let goal = self.replica.status().applied_index;
        wait("a checkpoint", || {
            // One that is being written already is of an earlier row.
            runtime.block_on(self.replica.checkpoint()).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            (self.replica.status().checkpoint_index >= goal).then_some(())
        });
    }

    /// Every charge that was acknowledged is counted, once.
    fn check(&self) {
        let mut spent = 0;
        self.replica
            .look(&mut |state| {
                spent = state.accounts().map(|(_, it)| u64::from(it.spent())).sum();
            })
            .unwrap();
        assert_eq!(spent, self.charges, "charges are lost, or counted twice");
    }
}

/// The peer's fleet.
struct Peer {
    raft: raft::Raft,
    machine: raft::Machine,
    entries: u64,
    _others: Vec<Elsewhere>,
    _folder: tempfile::TempDir,
}

impl Peer {
    fn new(count: u64, runtime: &Runtime) -> Self {
        let (folder, names) = (folder(), names(count));
        for number in 1..=count {
            std::fs::create_dir_all(place(folder.path(), number)).unwrap();
        }
        let others = (2..=count).map(|number| Elsewhere::start("plain", folder.path(), number, &names)).collect();
        std::thread::sleep(Duration::from_millis(300));
        let (raft, machine) = runtime.block_on(raft::run(&place(folder.path(), 1), 1, &names, heartbeat()));
        wait("a leader of the peer's", || raft.metrics().borrow().current_leader);
        Peer { raft, machine, entries: 0, _others: others, _folder: folder }
    }

    fn round(&mut self, bytes: usize, at_once: usize, runtime: &Runtime) -> Duration {
        let content: Arc<[u8]> = vec![0x5a; bytes].into();
        let begun = Instant::now();
        let commits: Vec<_> = (0..at_once)
            .map(|_| {
                let (raft, content) = (self.raft.clone(), content.clone());
                runtime.spawn(async move { raft.client_write(content).await.map(drop) })
            })
            .collect();
        commits.into_iter().for_each(|commit| runtime.block_on(commit).unwrap().unwrap());
        self.entries += at_once as u64;
        begun.elapsed()
    }

    fn check(&self) {
        assert_eq!(self.machine.entries(), self.entries, "entries of the peer are lost, or applied twice");
    }
}

fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        match ready() {
            Some(it) => return it,
            None if begun.elapsed() > Duration::from_secs(600) => panic!("{what} did not come"),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// Charges beside the peer, for every size.
fn charges(runtime: &Runtime, rounds: usize) {
    println!(
        "{:>8} {:>6} {:>8} {:>11} {:>9} {:>9}  share",
        "replicas", "batch", "at once", "charges/s", "ms", "plain ms"
    );
    for count in [1, 3, 5] {
        let (mut ours, mut peer) = (Ours::new(count, "follows", ACCOUNTS, runtime), Peer::new(count, runtime));
        for (batch, at_once) in [(1, 1), (64, 1), (1024, 1), (1024, 8)] {
            let mut writer = Writer::default();
            ours.batch(batch).iter().for_each(|command| command.write(&mut writer));
            let bytes = writer.finish().len();
            let mut pair = || (ours.round(batch, at_once, runtime), peer.round(bytes, at_once, runtime));
            let _ = pair();
            // Windows are to stay as short as people's are.
            let rounds = rounds.div_ceil(at_once / 2 + 1);
            let (mut our_times, mut peer_times): (Vec<_>, Vec<_>) = (0..rounds).map(|_| pair()).unzip();
            let (ours, peer) = (median(&mut our_times), median(&mut peer_times));
            let (rate, share) = ((batch * at_once) as f64 / ours, peer / ours);
            let goal =
                if (count, batch, at_once) == (3, 1024, 1) { format!(" (at least {SHARE})") } else { String::new() };
            println!(
                "{count:>8} {batch:>6} {at_once:>8} {rate:>11.0} {:>9.2} {:>9.2}  {share:.2}{goal}",
                ours * 1e3,
                peer * 1e3
            );
        }
        ours.check();
        peer.check();
        runtime.block_on(ours.replica.stop());
    }
}

/// Recoveries through the queue of a vault over three replicas.
fn recoveries(runtime: &Runtime, people: usize, rounds: usize) {
    let ours = Ours::new(3, "follows", 0, runtime);
    let custody = Custody::create(Box::new(MemoryRoot::new()), Box::new(MemoryKeyStore::new())).unwrap();
    let clock = Arc::new(SystemClock::new(policy().skew_max_s).unwrap());
    let journal = Fleet::new(ours.replica.clone(), Arc::new(runtime.handle().clone()));
    let vault = Vault::over(Box::new(journal), clock, custody).unwrap();
    let queue = Queue::open(Arc::new(vault), Gathering::default()).unwrap();
    let account = |person: usize| AccountId::derive("bench", &person.to_string());
    let code = || Code::new("1234 5678").unwrap();
    let ask = |requests: Vec<Vec<u8>>| -> (Vec<Reply>, Duration) {
        let begun = Instant::now();
        let answers: Vec<_> = (0..).zip(requests).map(|(person, it)| queue.submit(account(person), it)).collect();
        let replies = answers.into_iter().map(|it| it.wait().unwrap()).collect();
        (replies, begun.elapsed())
    };
    let begun: Vec<_> =
        (0..people).map(|it| Enrolment::start(&Terms::development(), account(it), code()).unwrap()).collect();
    let replies = ask(begun.iter().map(|it| it.request().to_vec()).collect()).0;
    let pending = begun.into_iter().zip(replies);
    let pending: Vec<_> = pending.map(|(it, reply)| it.finish(&reply.encode(), &Secret::new(KEY)).unwrap()).collect();
    let replies = ask(pending.iter().map(|it| it.request().to_vec()).collect()).0;
    pending.iter().zip(replies).for_each(|(it, reply)| assert!(it.done(&reply.encode()).is_ok()));
    let mut times = Vec::new();
    for _ in 0..rounds {
        let begun: Vec<_> =
            (0..people).map(|it| Recovery::start(&Terms::development(), account(it), code()).unwrap()).collect();
        let (replies, starts) = ask(begun.iter().map(|it| it.request().to_vec()).collect());
        let pending = begun.into_iter().zip(replies);
        let pending: Vec<PendingRecovery> = pending.map(|(it, reply)| it.finish(&reply.encode()).unwrap()).collect();
        let (replies, finishes) = ask(pending.iter().map(|it| it.request().to_vec()).collect());
        for (it, reply) in pending.into_iter().zip(replies) {
            let key = it.open(&reply.encode()).unwrap();
            assert!(bool::from(key.ct_eq(&KEY)), "the key that was enrolled comes back");
        }
        times.push(starts + finishes);
    }
    println!("recoveries a second over three replicas: {:.0}", people as f64 / median(&mut times));
    queue.close();
    runtime.block_on(ours.replica.stop());
}

/// From the last success to the first after the leader was killed.
fn fail_over(runtime: &Runtime, times: usize) {
    let mut gaps = Vec::new();
    while gaps.len() < times {
        let mut ours = Ours::new(3, "may-lead", ACCOUNTS / 100, runtime);
        let leader = wait("a leader", || ours.replica.leader());
        if leader == 1 {
            // Whoever leads is to be elsewhere.
            runtime.block_on(ours.replica.stop());
            continue;
        }
        ours.round(1, 1, runtime);
        let succeeded = Instant::now();
        drop(ours.others.remove(leader as usize - 2));
        let batch = ours.batch(1);
        // Said again until it is settled: it is counted once.
        let receipts = loop {
            if let Ok(receipts) = runtime.block_on(ours.replica.commit(batch.clone())) {
                break receipts;
            }
        };
        gaps.push(succeeded.elapsed());
        assert!(matches!(receipts[0].verdict(), Verdict::Charged { .. }));
        runtime.block_on(ours.replica.stop());
    }
    gaps.sort_unstable();
    let seconds: Vec<_> = gaps.iter().map(|gap| format!("{:.2}", gap.as_secs_f64())).collect();
    println!("fail-over, from the last success to the next: {} s (at most 2)", seconds.join(", "));
}

/// A member that joins, and takes all accounts as a checkpoint.
fn joining(runtime: &Runtime, accounts: u64) {
    let ours = Ours::new(1, "follows", accounts, runtime);
    ours.write_checkpoint(runtime);
    let mut names = ours.names.clone();
    names.extend(self::names(1));
    let note = statement(statement([0; 32], &ours.names).hash(), &names);
    let predecessor = statement([0; 32], &ours.names).hash();
    let command = Command::Members { predecessor, statement: note.write() };
    let receipts = runtime.block_on(ours.replica.commit(vec![command])).unwrap();
    assert_eq!(*receipts[0].verdict(), Verdict::Done);
    let place = make_place(ours.folder.path(), 2);
    fleet::join(&place, &policy(), &journal_key(), &FLEET, 2, &note, policy().signers.as_ref()).unwrap();
    let begun = Instant::now();
    let _joins = Elsewhere::start("follows", ours.folder.path(), 2, &names);
    wait("a second vote", || (ours.replica.status().voters.len() == 2).then_some(()));
    println!("a member with {accounts} accounts to take votes after {:.1} s", begun.elapsed().as_secs_f64());
    runtime.block_on(ours.replica.stop());
}

/// What commits take that come one after the other while `goes_on`, and for `after` more, at least so many.
fn commits(
    ours: &mut Ours,
    least: usize,
    after: Duration,
    runtime: &Runtime,
    goes_on: impl Fn(&Ours) -> bool,
) -> String {
    let (mut times, mut over) = (Vec::new(), None::<Instant>);
    while times.len() < least || over.is_none_or(|over| over.elapsed() < after) {
        times.push(ours.round(64, 1, runtime));
        if over.is_none() && !goes_on(ours) {
            over = Some(Instant::now());
        }
    }
    times.sort_unstable();
    let ms = |time: &Duration| time.as_secs_f64() * 1e3;
    let (middle, late, most) = (times.len() / 2, times.len() * 99 / 100, times.len() - 1);
    format!(
        "{} commits of 64, in ms: median {:.1}, of a hundred the slowest {:.1}, the slowest of all {:.1}",
        times.len(),
        ms(&times[middle]),
        ms(&times[late]),
        ms(&times[most])
    )
}

/// Commits while the leader writes a checkpoint in which every account has changed, beside those before.
fn checkpoint(runtime: &Runtime, accounts: u64, least: usize) {
    let mut ours = Ours::new(3, "follows", accounts, runtime);
    ours.write_checkpoint(runtime);
    let people: Vec<u64> = (0..accounts).collect();
    for people in people.chunks(1024) {
        let charge = |person: &u64| {
            let current = KeyedDigest { key_number: 1, digest: [0xee; 16] };
            Command::Charge { account: id(*person), digests: Digests { current, previous: None } }
        };
        let commands = people.iter().map(charge).collect();
        ours.charges += runtime.block_on(ours.replica.commit(commands)).unwrap().len() as u64;
    }
    let quiet = commits(&mut ours, least, Duration::from_secs(2), runtime, |_| false);
    println!("{accounts} accounts, no checkpoint: {quiet}");
    let (begun, goal) = (Instant::now(), ours.replica.status().applied_index);
    runtime.block_on(ours.replica.checkpoint()).unwrap();
    let asked = std::cell::Cell::new(begun);
    let took = std::cell::Cell::new(None);
    let busy = commits(&mut ours, least, Duration::from_secs(1), runtime, |ours| {
        let written = ours.replica.status().checkpoint_index >= goal;
        if !written && asked.get().elapsed() > Duration::from_secs(1) {
            asked.set(Instant::now());
            runtime.block_on(ours.replica.checkpoint()).unwrap();
        }
        if written && took.get().is_none() {
            took.set(Some(begun.elapsed().as_secs_f64()));
        }
        !written
    });
    println!("{accounts} accounts, a checkpoint of {:.1} s: {busy}", took.get().unwrap());
    ours.check();
    runtime.block_on(ours.replica.stop());
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    if arguments.get(1).is_some_and(|it| it == "member") {
        return member(&arguments[2..]);
    }
    let testing = !arguments.iter().any(|it| it == "--bench") || arguments.iter().any(|it| it == "--test");
    if testing {
        println!("a short run, to see that all answers are right; its figures mean nothing");
    }
    let accounts = arguments.iter().skip_while(|it| *it != "--accounts").nth(1).map(|it| it.parse().unwrap());
    let runtime = Runtime::new().unwrap();
    // Those that are named, or all.
    let asked =
        |part| arguments.iter().any(|it| it == part) || !arguments.iter().any(|it| PARTS.contains(&it.as_str()));
    if asked("charges") {
        charges(&runtime, if testing { 5 } else { 100 });
    }
    if asked("recoveries") {
        recoveries(&runtime, if testing { 64 } else { 2048 }, if testing { 1 } else { 5 });
    }
    if asked("fail-over") {
        fail_over(&runtime, if testing { 1 } else { 7 });
    }
    if asked("joining") {
        joining(&runtime, accounts.unwrap_or(if testing { 2_000 } else { 100_000 }));
    }
    if asked("checkpoint") {
        checkpoint(
            &runtime,
            accounts.unwrap_or(if testing { 2_000 } else { ACCOUNTS }),
            if testing { 20 } else { 500 },
        );
    }
    if testing {
        println!("Success");
    }
}
