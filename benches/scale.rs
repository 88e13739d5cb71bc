//! Ten million accounts on one machine: RAM, start-up, checkpoints beside load, disk, and P9.
//!
//! Accounts are enrolled through the journal with synthetic sealed records, and among them, at random places, people
//! with real ones. Then, printed one by one:
//!
//! - how long loading takes, and how long its commits are;
//! - commits of 1,024 charges while nothing else happens, and while a checkpoint of millions of accounts is written; the
//!   longest may be 50 ms longer than the longest fsync of a bystander on the same disk in the same time;
//! - how long opening takes, from a checkpoint and from a log, and what an account takes of memory, in a process of its
//!   own each;
//! - what the files take of the disk, as accounts change, go and come again;
//! - P9: recoveries of people among all these accounts beside recoveries of people among ten thousand, interleaved.
//!
//! ```text
//! cargo bench --bench scale                           # 100,000 accounts, half a minute
//! cargo bench --bench scale -- --accounts 10000000    # 30 GB of disk, a quarter of an hour, nothing else running
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounts;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use accounts::{Dice, id, sealed};
use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, Recovery, Terms};
use strongroom::error::Fault;
use strongroom::journal::{Anchor, FileAnchor, Journal, Local};
use strongroom::ledger::{Command, Digests, KeyedDigest, Policy, Verdict};
use strongroom::secret::Secret;
use strongroom::vault::{Admitted, Custody, MemoryKeyStore, SystemClock, Vault};
use strongroom::wrap::MemoryRoot;

const BATCH: usize = 1024;
/// Accounts of the small vault that P9 compares with.
const FEW: u64 = 10_000;
/// Disk that an account may come to need: its record and its row twice over, in half-filled pages.
const DISK_PER_ACCOUNT: u64 = 3_000;
/// What the longest commit beside a checkpoint may take beyond the longest fsync.
const PAUSE: Duration = Duration::from_millis(50);
const OPEN: &str = "--open";

fn policy() -> Policy {
    // Windows that do not fill up, so that every charge of the run changes a counter.
    Policy { attempts_max: 64, lifetime_max: 4096, unproven_removal: true, ..Policy::development() }
}

fn journal_key() -> Secret<[u8; 32]> {
    Secret::new([7; 32])
}

fn name(person: usize) -> AccountId {
    AccountId::derive("scale", &person.to_string())
}

fn code() -> Code {
    Code::new("1234 5678").unwrap()
}

/// A journal, and accounts that are only counted.
struct Load {
    journal: Arc<Local>,
    accounts: u64,
    dice: Dice,
    ke1: u128,
}

/// The places of a vault's keys.
type Keys = (Arc<MemoryRoot>, Arc<MemoryKeyStore>);

/// A vault over such a journal, and people who have records there.
struct World {
    folder: PathBuf,
    keys: Keys,
    vault: Vault,
    load: Load,
}

fn open(folder: &Path) -> Result<Local, Fault> {
    let anchor: Arc<dyn Anchor> = Arc::new(FileAnchor::open(folder.join("anchor"))?);
    Local::open(folder.join("store"), &policy(), &journal_key(), anchor)
}

impl Load {
    fn new(journal: Arc<Local>, accounts: u64) -> Self {
        Load { journal, accounts, dice: Dice(1), ke1: 0 }
    }

    /// Commits a command for each of these accounts, and returns how long each commit took.
    fn each(&self, numbers: impl Iterator<Item = u64>, command: impl Fn(u64) -> Command) -> Vec<Duration> {
        let mut numbers = numbers.peekable();
        let mut times = Vec::new();
        while numbers.peek().is_some() {
            let commands: Vec<_> = numbers.by_ref().take(BATCH).map(&command).collect();
            let begun = Instant::now();
            let receipts = self.journal.commit(1, commands).unwrap();
            times.push(begun.elapsed());
            assert!(!receipts.iter().any(|receipt| matches!(receipt.verdict(), Verdict::Refused(_))));
        }
        times
    }

    fn enrol(&self, numbers: impl Iterator<Item = u64>, generation: u32) -> Vec<Duration> {
        let finish = [generation as u8; 32];
        self.each(numbers, |number| Command::Enrol {
            account: id(number),
            generation,
            expiry_s: u64::MAX,
            finish,
            sealed: sealed(number),
        })
    }

    /// One commit of charges at random accounts.
    fn charge(&mut self) -> Duration {
        let commands = (0..BATCH).map(|_| {
            self.ke1 += 1;
            let current = KeyedDigest { key_number: 1, digest: self.ke1.to_be_bytes() };
            let account = id(self.dice.roll() % self.accounts);
            Command::Charge { account, digests: Digests { current, previous: None } }
        });
        let commands: Vec<_> = commands.collect();
        let begun = Instant::now();
        self.journal.commit(2, commands).unwrap();
        begun.elapsed()
    }

    fn checkpoint(&self) {
        self.journal.checkpoint().unwrap();
    }
}

impl World {
    /// People first, so that their records have long left every cache when they come to recover.
    fn new(folder: PathBuf, accounts: u64, people: usize) -> Self {
        fs::create_dir(&folder).unwrap();
        let anchor: Arc<dyn Anchor> = Arc::new(FileAnchor::create(folder.join("anchor")).unwrap());
        let journal = Local::create(folder.join("store"), policy(), &journal_key(), anchor).unwrap();
        let keys: Keys = Default::default();
        let custody = Custody::create(Box::new(keys.0.clone()), Box::new(keys.1.clone())).unwrap();
        let world = World::over(folder, journal, keys, custody, accounts);
        for people in (0..people).collect::<Vec<_>>().chunks(BATCH) {
            let begun: Vec<_> = people
                .iter()
                .map(|person| Enrolment::start(&Terms::development(), name(*person), code()).unwrap())
                .collect();
            let replies = world.ask(people, begun.iter().map(Enrolment::request)).0;
            let key = Secret::new([9; 32]);
            let pending: Vec<_> =
                begun.into_iter().zip(&replies).map(|(it, reply)| it.finish(reply, &key).unwrap()).collect();
            let replies = world.ask(people, pending.iter().map(|it| it.request())).0;
            pending.iter().zip(&replies).for_each(|(it, reply)| {
                it.done(reply).unwrap();
            });
        }
        world
    }

    fn over(folder: PathBuf, journal: Local, keys: Keys, custody: Custody, accounts: u64) -> Self {
        let journal = Arc::new(journal);
        let clock = Arc::new(SystemClock::new(policy().skew_max_s).unwrap());
        let vault = Vault::over(Box::new(Arc::clone(&journal)), clock, custody).unwrap();
        World { folder, keys, vault, load: Load::new(journal, accounts) }
    }

    /// Closes the vault, opens its journal in another process, and then here again.
    fn opened_elsewhere(self) -> (Self, Opened) {
        let World { folder, keys, vault, load } = self;
        let accounts = load.accounts;
        drop((vault, load));
        let opened = Opened::elsewhere(&folder);
        let journal = open(&folder).unwrap();
        let custody = Custody::open(Box::new(keys.0.clone()), Box::new(keys.1.clone())).unwrap();
        (World::over(folder, journal, keys, custody, accounts), opened)
    }

    /// Replies of the vault, and how long they took.
    fn ask<'a>(&self, people: &[usize], requests: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Duration) {
        let admitted: Vec<_> =
            people.iter().zip(requests).map(|(person, request)| Admitted { account: name(*person), request }).collect();
        let begun = Instant::now();
        let replies = self.vault.process_bytes(&admitted);
        (replies, begun.elapsed())
    }

    /// Recoveries of these people: the time of both halves at the vault. What clients do is off the clock.
    fn recover(&self, people: &[usize]) -> Duration {
        let begun: Vec<_> = people
            .iter()
            .map(|person| Recovery::start(&Terms::development(), name(*person), code()).unwrap())
            .collect();
        let (replies, starts) = self.ask(people, begun.iter().map(Recovery::request));
        let pending: Vec<_> = begun.into_iter().zip(&replies).map(|(it, reply)| it.finish(reply).unwrap()).collect();
        let (replies, finishes) = self.ask(people, pending.iter().map(|it| it.request()));
        for (it, reply) in pending.into_iter().zip(&replies) {
            assert!(bool::from(it.open(reply).unwrap().ct_eq(&[9; 32])), "the key that was enrolled comes back");
        }
        starts + finishes
    }

    /// Bytes of the files: log and checkpoint.
    fn disk(&self) -> u64 {
        let store = fs::read_dir(self.folder.join("store")).unwrap();
        store.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }

    /// After a checkpoint, so that no log is left.
    fn print_disk(&self, what: &str) {
        self.load.checkpoint();
        let bytes = self.disk();
        println!("disk, {what:<42} {:>7.2} GB, {:>5} bytes an account", bytes as f64 / 1e9, bytes / self.load.accounts);
    }
}

/// Does `work` beside a bystander, who writes to this file.
fn beside_bystander<R>(file: &Path, work: impl FnOnce() -> R) -> (R, Vec<Duration>) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let fsyncs = scope.spawn(|| bystander(file, &done));
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, fsyncs.join().unwrap())
    })
}

/// Prints commits beside the fsyncs of a bystander, and how much longer the longest was.
fn print_pause(what: &str, commits: &mut [Duration], fsyncs: &mut [Duration]) -> Duration {
    print_times(what, commits);
    print_times("  fsyncs of a bystander meanwhile", fsyncs);
    commits.last().unwrap().saturating_sub(*fsyncs.last().unwrap())
}

/// Writes a page and waits for the disk, again and again: how long that takes for one who has nothing to do with us.
fn bystander(file: &Path, done: &AtomicBool) -> Vec<Duration> {
    let mut file = File::create(file).unwrap();
    let mut times = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        file.write_all(&[1; 4096]).unwrap();
        file.sync_data().unwrap();
        times.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    times
}

fn at(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    times[((times.len() as f64 * share) as usize).min(times.len() - 1)].as_secs_f64() * 1e3
}

fn print_times(what: &str, times: &mut [Duration]) {
    let count = times.len();
    println!(
        "{what:<48} {count:>6} times: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
        at(times, 0.5),
        at(times, 0.99),
        at(times, 1.0)
    );
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// In a process of its own: opens a journal, and says how long that took and what it takes of memory.
fn open_here(folder: &Path) {
    let before = resident();
    let begun = Instant::now();
    let journal = open(folder).unwrap();
    let took = begun.elapsed();
    let mut accounts = 0;
    journal.read(&mut |state| accounts = state.len()).unwrap();
    println!("{} {} {accounts}", took.as_secs_f64(), resident() - before);
}

/// What a process says that has opened a journal.
struct Opened {
    seconds: f64,
    bytes: f64,
    accounts: f64,
}

impl Opened {
    fn elsewhere(folder: &Path) -> Self {
        let output = Process::new(std::env::current_exe().unwrap()).arg(OPEN).arg(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let words = String::from_utf8(output.stdout).unwrap();
        let numbers: Vec<f64> = words.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let &[seconds, bytes, accounts] = numbers.as_slice() else { panic!("it said {words}") };
        Opened { seconds, bytes, accounts }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == OPEN) {
        return open_here(Path::new(&arguments[place + 1]));
    }
    let testing = !arguments.iter().any(|argument| argument == "--bench") || arguments.iter().any(|it| it == "--test");
    let accounts = arguments.iter().position(|argument| argument == "--accounts");
    let accounts = accounts.map_or(100_000, |place| arguments[place + 1].parse().expect("--accounts takes a number"));
    let (people, rounds) = if testing { (512, 20) } else { (8 * BATCH, 2000) };
    if testing {
        println!("a short run, to see that all answers are right; its figures mean nothing");
    }

    // Where cargo builds, which is a disk; a temporary folder may be memory.
    let target = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let disk = nix::sys::statvfs::statvfs(&target).unwrap();
    let (free, needed) = (disk.blocks_available() * disk.fragment_size(), accounts * DISK_PER_ACCOUNT);
    println!(
        "{accounts} accounts may need {:.1} GB of disk; {:.1} GB are free",
        needed as f64 / 1e9,
        free as f64 / 1e9
    );
    assert!(free > needed, "too little disk");
    let folder = tempfile::tempdir_in(target).unwrap();

    let few = World::new(folder.path().join("few"), FEW, people);
    few.load.enrol(0..FEW, 0);
    few.load.checkpoint();
    let many = World::new(folder.path().join("many"), accounts, people);
    let beside = folder.path().join("bystander");
    let begun = Instant::now();
    let (mut times, mut fsyncs) = beside_bystander(&beside, || many.load.enrol(0..accounts, 0));
    let took = begun.elapsed().as_secs_f64();
    println!("loaded through the journal in {took:.0} s, {:.0} accounts a second", accounts as f64 / took);
    print_pause("commits of 1,024 enrolments", &mut times, &mut fsyncs);
    many.print_disk("loaded");
    let (mut many, opened) = many.opened_elsewhere();
    assert_eq!(opened.accounts as u64, accounts + people as u64);
    println!("opened from a checkpoint in {:.1} s", opened.seconds);
    let each = opened.bytes / opened.accounts;
    println!("P9 {each:.0} bytes of memory an account with an empty window, 80 MB of caches included (at most 160)");

    let (mut quiet, mut fsyncs) =
        beside_bystander(&beside, || (0..rounds).map(|_| many.load.charge()).collect::<Vec<_>>());
    print_pause("commits of 1,024 charges", &mut quiet, &mut fsyncs);
    let (mut times, mut fsyncs) = beside_bystander(&beside, || {
        let (journal, done) = (Arc::clone(&many.load.journal), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let begun = Instant::now();
                journal.checkpoint().unwrap();
                done.store(true, Ordering::Relaxed);
                begun.elapsed()
            });
            let mut times = vec![many.load.charge()];
            while !done.load(Ordering::Relaxed) {
                times.push(many.load.charge());
            }
            let took = writing.join().unwrap().as_secs_f64();
            println!("a checkpoint of up to {} changed accounts, written in {took:.1} s", rounds * BATCH);
            times
        })
    });
    let pause = print_pause("commits of 1,024 charges beside it", &mut times, &mut fsyncs);
    println!("longest commit beyond the longest fsync: {:.1} ms (at most 50 ms)", pause.as_secs_f64() * 1e3);
    many.print_disk("after charges");

    // P9, in chunks of people who come once each.
    let mut ratios = Vec::new();
    let everyone: Vec<_> = (0..people).collect();
    for people in everyone.chunks(if testing { 128 } else { BATCH / 2 }) {
        let (among_few, among_many) = (few.recover(people), many.recover(people));
        ratios.push(among_many.as_secs_f64() / among_few.as_secs_f64());
    }
    ratios.sort_unstable_by(f64::total_cmp);
    println!("P9 {:.2}x the cost of a recovery among {FEW} (at most 1.3x)", ratios[ratios.len() / 2]);

    // Half of the accounts go, and come again.
    many.load.each((0..accounts).step_by(2), |number| Command::Remove {
        account: id(number),
        generation: 1,
        proof: None,
    });
    many.print_disk("half of the records removed");
    many.load.enrol((0..accounts).step_by(2), 2);
    many.print_disk("and enrolled again");

    (0..rounds).for_each(|_| {
        many.load.charge();
    });
    let (many, opened) = many.opened_elsewhere();
    println!("opened from a checkpoint and a log of {} charges in {:.1} s", rounds * BATCH, opened.seconds);
    println!("{:.0} bytes of memory an account, as windows are filled now", opened.bytes / opened.accounts);

    // The counters, as the disk has them: every account is there, and charges were not lost.
    let mut spent = 0;
    many.load
        .journal
        .read(&mut |state| spent = state.accounts().map(|(_, account)| u64::from(account.spent())).sum())
        .unwrap();
    let charged = 2 * (rounds * BATCH) as u64 + people as u64;
    assert!(spent >= charged, "{spent} attempts are counted, at least {charged} were made");
    assert!(testing || pause <= PAUSE, "a checkpoint makes commits wait");
    if testing {
        println!("Success");
    }
}
