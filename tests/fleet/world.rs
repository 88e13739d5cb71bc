//! One run of a simulated fleet, from one seed: members, people who ask, and everything that may go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom::account::AccountId;
use strongroom::fleet::{self, Mistake, Settings};
use strongroom::journal::{Anchored, Leader};
use turmoil::net::TcpStream;
use turmoil::{Builder, Sim};

use crate::disk::{Dice, Disk, LOG, Lie, Survive};
use crate::model::{Ask, Call, Told, unexplained};
use crate::owners::{Owner, Seen};
use crate::signers::{FLEET, Signers};
use crate::site::{self, PEOPLE, Site, name};
use crate::vaults::Keys;

const ACCOUNTS: u64 = 6;
const PERSONS: u64 = 5;
/// People with a vault, each with an account of its own.
const OWNERS: u64 = 2;
/// Questions of each.
const QUESTIONS: u64 = 24;
/// For how long things go wrong, of the simulation's time.
const TROUBLE: Duration = Duration::from_secs(25);
/// Members of one run, one after another.
const MEMBERS_MAX: u64 = 9;
/// By when all must be well again.
const HEALED: Duration = Duration::from_secs(60);

/// What is planted, to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    /// Members acknowledge before their disks have it.
    NoSync,
    /// A member that has lost its disk and its anchor comes back under its old number.
    Amnesia,
    /// Hosts put back an older anchor with an older copy.
    AnchorToo,
    /// In the fleet's own code.
    Mistake(Mistake),
}

/// What came of a run.
pub(crate) struct Outcome {
    /// What happened, a line each, the same whenever this seed runs.
    pub log: Vec<String>,
    /// What must not have happened.
    pub wrongs: Vec<String>,
    pub answered: usize,
    /// Secrets that owners have got back.
    pub recovered: usize,
    /// Accounts of which the search for an order took too long.
    pub undecided: usize,
    /// How often a member was started on a copy that is older than its anchor.
    pub rolled_back: usize,
}

type Log = Arc<Mutex<Vec<String>>>;

fn note(log: &Log, line: String) {
    let at = turmoil::sim_elapsed().unwrap_or_default().as_millis();
    log.lock().unwrap().push(format!("{at:>6} {line}"));
}

/// What people know, and what they have been told.
#[derive(Default)]
struct Book {
    calls: Vec<Call>,
    moments: u64,
}

impl Book {
    fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }
}

pub(crate) fn run(seed: u64, planted: Planted) -> Outcome {
    fleet::seed_timers(seed);
    fleet::plant(if let Planted::Mistake(mistake) = planted { Some(mistake) } else { None });
    // Two in three have disks that are slower than the network; who does not wait for them is found where they all are.
    let disk_ms =
        [0, 30, 120, 400][if planted == Planted::Mistake(Mistake::CommitsAhead) { 3 } else { (seed % 3) as usize }];
    fleet::slow_disks(seed, Duration::from_millis(disk_ms));
    let mut dice = Dice(seed);
    let count = if dice.below(3) == 0 { 5 } else { 3 };
    let signers = Arc::new(Signers::new((1..=count).collect()));
    let (log, wrongs) = (Log::default(), Arc::new(Mutex::new(Vec::new())));
    let mut sim = Builder::new()
        .simulation_duration(Duration::from_secs(600))
        .tick_duration(Duration::from_millis(2))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(5 + dice.below(40)))
        .tcp_capacity(4096)
        .rng_seed(seed)
        .build();
    let meddling = [0, 5, 30][dice.below(3) as usize];
    let mut trouble = Trouble {
        sites: Vec::new(),
        signers: Arc::clone(&signers),
        keys: Arc::new(Keys::new()),
        dice,
        log: Arc::clone(&log),
        wrongs: Arc::clone(&wrongs),
        down: BTreeMap::new(),
        lost: BTreeSet::new(),
        older: BTreeMap::new(),
        rolled_back: 0,
        right_ahead_s: i64::MIN / 2,
        misdated: false,
        next: Duration::from_secs(2),
        meddling,
        newest: Settings::default().newest,
        seed,
        planted,
    };
    for number in 1..=count {
        let disk = if planted == Planted::NoSync { Disk::lying(Lie::NoSync(LOG)) } else { Disk::new() };
        trouble.found(&disk);
        let ahead_s = trouble.dice.below(200) as i64 - 100;
        trouble.settle_at(&mut sim, number, disk, ahead_s);
    }
    let book = Arc::new(Mutex::new(Book::default()));
    let done = Arc::new(AtomicI64::new(0));
    for person in 0..PERSONS {
        let person = Person {
            number: person,
            signers: Arc::clone(&signers),
            dice: Dice(seed ^ (person + 1).wrapping_mul(0x1234_5678_9abc_def1)),
            book: Arc::clone(&book),
            log: Arc::clone(&log),
            generations: BTreeMap::new(),
            charges: Vec::new(),
            asked: Vec::new(),
        };
        let done = Arc::clone(&done);
        sim.client(format!("person-{}", person.number), async move {
            person.live(&done).await;
            Ok(())
        });
    }
    let mut owners = Vec::new();
    for number in 0..OWNERS {
        let owner = Owner {
            account: site::account(100 + number as u8),
            dice: Dice(seed ^ (number + 1).wrapping_mul(0x0fed_cba9_8765_4321)),
            signers: Arc::clone(&signers),
            wrongs: Arc::clone(&wrongs),
            seen: Arc::default(),
            note: Box::new({
                let log = Arc::clone(&log);
                move |line| note(&log, line)
            }),
            trouble: TROUBLE,
        };
        owners.push((owner.account, Arc::clone(&owner.seen)));
        let done = Arc::clone(&done);
        sim.client(format!("owner-{number}"), async move {
            owner.live(&done).await;
            Ok(())
        });
    }
    while done.load(Ordering::Relaxed) < (PERSONS + OWNERS) as i64 || sim.elapsed() < TROUBLE {
        sim.step().expect("the simulation goes on");
        if sim.elapsed() < TROUBLE {
            trouble.come(&mut sim);
        } else {
            trouble.heal(&mut sim);
        }
        if sim.elapsed() > TROUBLE + HEALED {
            wrongs.lock().unwrap().push("people are not answered although all is well".to_owned());
            break;
        }
        trouble.hold_dates(&sim);
    }
    trouble.heal(&mut sim);
    settle(&mut sim, &trouble, &book, &owners);
    trouble.hold_dates(&sim);
    let book = book.lock().unwrap();
    let mut wrongs = wrongs.lock().unwrap().clone();
    let (found, undecided) = unexplained(&book.calls);
    wrongs.extend(found);
    let answered = book.calls.iter().filter(|call| call.told.is_some()).count();
    let log = log.lock().unwrap().clone();
    let recovered = owners.iter().map(|(_, seen)| seen.lock().unwrap().recovered).sum();
    Outcome { log, wrongs, answered, recovered, undecided, rolled_back: trouble.rolled_back }
}

/// Once all is well every member has the same state, and somebody reads every account.
fn settle(sim: &mut Sim<'_>, trouble: &Trouble, book: &Arc<Mutex<Book>>, owners: &[(AccountId, Arc<Mutex<Seen>>)]) {
    let Trouble { signers, wrongs, log, .. } = trouble;
    let members = signers.members();
    let read = Arc::new(AtomicBool::new(false));
    let person = Person {
        number: 99,
        signers: Arc::clone(signers),
        dice: Dice(1),
        book: Arc::clone(book),
        log: Arc::clone(log),
        generations: BTreeMap::new(),
        charges: Vec::new(),
        asked: Vec::new(),
    };
    let (done, mut person, asked) = (Arc::clone(&read), person, members.clone());
    sim.client("reader", async move {
        for account in 0..ACCOUNTS as u8 {
            for member in &asked {
                // Until it is answered.
                while person.ask(*member, account, Ask::Read).await.is_none() {}
            }
        }
        done.store(true, Ordering::Relaxed);
        Ok(())
    });
    let until = sim.elapsed() + HEALED;
    while !read.load(Ordering::Relaxed) {
        if sim.elapsed() > until {
            wrongs.lock().unwrap().push("members do not answer although all is well".to_owned());
            return;
        }
        sim.step().expect("the simulation goes on");
    }
    // Followers hear of the last commit with the next sign of life.
    let until = sim.elapsed() + Duration::from_secs(3);
    while sim.elapsed() < until {
        sim.step().expect("the simulation goes on");
    }
    let states: Vec<_> = members
        .iter()
        .map(|number| {
            let site = trouble.site(*number);
            let mut bytes = Vec::new();
            let replica = site.replica.lock().unwrap();
            let looked = replica.as_ref().map(|it| it.look(&mut |state| bytes = state.encode()));
            (looked, bytes)
        })
        .collect();
    if states.iter().any(|(_, state)| *state != states[0].1) {
        let at: Vec<_> = states.iter().map(|(at, _)| at).collect();
        wrongs.lock().unwrap().push(format!("members have come to two states, at {at:?}"));
    }
    for (account, seen) in owners {
        let (mut charged, evaluated) = (0, seen.lock().unwrap().evaluated.len());
        if let Some(replica) = &*trouble.site(*members.first().expect("a member")).replica.lock().unwrap() {
            replica.look(&mut |state| charged = state.account(account).map_or(0, |it| it.spent())).ok();
        }
        if evaluated > charged as usize {
            let why = format!("owner {}: {evaluated} elements were evaluated, {charged} charged", account.0[0]);
            wrongs.lock().unwrap().push(why);
        }
    }
    let reads = |number: &u64| trouble.site(*number).newest.load(Ordering::Relaxed);
    let least = members.iter().map(reads).min();
    let speaks = |number: &u64| trouble.site(*number).replica.lock().unwrap().as_ref().map(|it| it.status().version);
    if members.iter().any(|number| speaks(number) != least) {
        let spoken: Vec<_> = members.iter().map(speaks).collect();
        wrongs.lock().unwrap().push(format!("members speak {spoken:?}, and all read {least:?}"));
    }
    if members.iter().any(|number| !trouble.is_settled(*number)) {
        wrongs.lock().unwrap().push(format!("the members are not yet {members:?}, although all is well"));
    }
}

struct Person {
    number: u64,
    signers: Arc<Signers>,
    dice: Dice,
    book: Arc<Mutex<Book>>,
    log: Log,
    /// The last generation heard of, by account.
    generations: BTreeMap<u8, u32>,
    /// Charges on records that lived: account, generation, ordinal.
    charges: Vec<(u8, u32, u32)>,
    /// What was asked before.
    asked: Vec<(u8, Ask)>,
}

impl Person {
    async fn live(mut self, done: &AtomicI64) {
        for question in 0..QUESTIONS {
            let pause = self.dice.below(1200);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let (account, ask) = self.think(question as u32);
            let mut member = self.choose();
            let mut told = self.ask(member, account, ask.clone()).await;
            if told.is_none() && self.dice.below(2) == 0 {
                member = self.choose();
                told = self.ask(member, account, ask.clone()).await;
            }
            match told {
                Some(Told::Charged { generation, ordinal, live: true, .. }) => {
                    self.generations.insert(account, generation);
                    self.charges.push((account, generation, ordinal));
                }
                Some(Told::Enrolled { generation, .. } | Told::Counters { generation, .. }) => {
                    self.generations.insert(account, generation);
                }
                _ => {}
            }
        }
        done.fetch_add(1, Ordering::Relaxed);
    }

    /// One of those who are members by then.
    fn choose(&mut self) -> u64 {
        any_of(&self.signers.members(), &mut self.dice)
    }

    fn think(&mut self, question: u32) -> (u8, Ask) {
        let account = self.dice.below(ACCOUNTS) as u8;
        let number = self.number as u32 * 1000 + question;
        let ask = match self.dice.below(100) {
            0..12 if !self.asked.is_empty() => {
                let at = self.dice.below(self.asked.len() as u64) as usize;
                return self.asked[at].clone();
            }
            0..52 => Ask::Charge { ke1: number },
            52..67 if !self.charges.is_empty() => {
                let at = self.dice.below(self.charges.len() as u64) as usize;
                let (account, generation, ordinal) = self.charges.swap_remove(at);
                return (account, Ask::Clear { generation, ordinal });
            }
            52..82 => {
                let generation = self.generations.get(&account).copied().unwrap_or(0);
                Ask::Enrol { generation, finish: number }
            }
            _ => Ask::Read,
        };
        if ask != Ask::Read {
            self.asked.push((account, ask.clone()));
        }
        (account, ask)
    }

    async fn ask(&mut self, member: u64, account: u8, ask: Ask) -> Option<Told> {
        let call = {
            let mut book = self.book.lock().unwrap();
            let asked_at = book.moment();
            book.calls.push(Call { account, ask: ask.clone(), asked_at, told: None });
            book.calls.len() - 1
        };
        let asking = async {
            let mut stream = TcpStream::connect((name(member), PEOPLE)).await?;
            site::send(&mut stream, account, &ask).await
        };
        let told = tokio::time::timeout(Duration::from_secs(8), asking).await.ok().and_then(Result::ok).flatten();
        note(&self.log, format!("person {} asks member {member} of {account}: {ask:?} {told:?}", self.number));
        if let Some(told) = &told {
            let mut book = self.book.lock().unwrap();
            let at = book.moment();
            book.calls[call].told = Some((at, told.clone()));
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        told
    }
}

fn any_of(members: &BTreeSet<u64>, dice: &mut Dice) -> u64 {
    let at = dice.below(members.len() as u64) as usize;
    members.iter().nth(at).copied().unwrap_or_default()
}

/// Everything that may go wrong.
struct Trouble {
    /// Of all who are or were members, in order of number.
    sites: Vec<Arc<Site>>,
    signers: Arc<Signers>,
    /// Of every member's vault.
    keys: Arc<Keys>,
    dice: Dice,
    log: Log,
    /// What must not have happened.
    wrongs: Arc<Mutex<Vec<String>>>,
    /// Members that are down, and until when.
    down: BTreeMap<u64, Duration>,
    /// Members that do not come back.
    lost: BTreeSet<u64>,
    /// A copy of a member's files that its host has kept, and the anchor as it was then.
    older: BTreeMap<u64, ([Vec<u8>; 2], Anchored, Leader)>,
    rolled_back: usize,
    /// How far a right clock has been ahead at most, in seconds.
    right_ahead_s: i64,
    /// Whether a batch was dated ahead of all of them.
    misdated: bool,
    next: Duration,
    meddling: u64,
    /// The newest version that the builds read which members are brought to.
    newest: u8,
    seed: u64,
    planted: Planted,
}

impl Trouble {
    fn come(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        let back: Vec<_> = self.down.iter().filter(|(_, until)| **until <= now).map(|(number, _)| *number).collect();
        back.into_iter().for_each(|number| self.start(sim, number));
        if now < self.next {
            return;
        }
        self.next = now + Duration::from_millis(100 + self.dice.below(1500));
        let (one, other) = (self.any(), self.any());
        match self.dice.below(14) {
            0 | 1 => self.crash(sim, one),
            2 => {
                let (at, half) = (1 + self.dice.below(60), self.dice.below(2) == 0);
                self.say(sim, format!("the disk of {one} fails at operation {at}"));
                self.site(one).disk.lock().unwrap().fail_at(at, half);
                self.down.insert(one, now + Duration::from_millis(500 + self.dice.below(3000)));
            }
            3 if one != other => {
                self.say(sim, format!("{one} and {other} are cut"));
                sim.partition(name(one), name(other));
            }
            4 if one != other => {
                self.say(sim, format!("{one} does not reach {other}"));
                sim.partition_oneway(name(one), name(other));
            }
            5 => {
                self.say(sim, format!("{one} is cut off"));
                for site in self.sites.iter().filter(|site| site.number != one) {
                    sim.partition(name(one), name(site.number));
                }
            }
            6 | 7 => {
                self.say(sim, "the network heals".to_owned());
                self.repair(sim);
            }
            8 => {
                self.say(sim, format!("the host of {one} keeps a copy"));
                let disk = self.site(one).disk.lock().unwrap().clone();
                if let Some(vote) = self.vote(one).filter(|_| !disk.is_dead()) {
                    self.older.insert(one, (disk.bytes(), disk.anchored(), vote));
                }
            }
            9 => self.roll_back(sim, one),
            10 => {
                self.say(sim, format!("{one} writes a checkpoint"));
                self.site(one).checkpoint.store(true, Ordering::Relaxed);
            }
            11 => self.change_members(sim),
            12 => {
                // A build to come: whoever starts from here on runs it.
                self.newest = Settings::default().newest + 1;
                self.crash(sim, one);
            }
            _ => {
                let ahead_s: i64 = [-100_000, -100, 0, 100, 100_000][self.dice.below(5) as usize];
                // Less than half of all clocks are wrong, of the members that were as of those that will be.
                let mut others = self.signers.members();
                others.remove(&one);
                if ahead_s.abs() > 1000 && (!self.is_quiet() || (self.wrong_clocks(&others) + 1) * 2 > others.len() + 1)
                {
                    return;
                }
                self.say(sim, format!("the clock of {one} is {ahead_s} s ahead"));
                self.site(one).ahead_s.store(ahead_s, Ordering::Relaxed);
            }
        }
    }

    /// Makes a founder's disk.
    fn found(&self, disk: &Disk) {
        let [founding, _] = self.signers.ends();
        fleet::found_on(disk.file(LOG), &site::policy(), &site::key(), &FLEET, &founding).expect("an empty disk");
    }

    /// A member begins, with this disk.
    fn settle_at(&mut self, sim: &mut Sim<'_>, number: u64, disk: Disk, ahead_s: i64) {
        let site = Arc::new(Site {
            number,
            disk: Mutex::new(disk),
            ahead_s: Arc::new(AtomicI64::new(ahead_s)),
            replica: Mutex::new(None),
            refuses: AtomicBool::new(false),
            checkpoint: AtomicBool::new(false),
            meddling: self.meddling,
            newest: AtomicU8::new(self.newest),
            seed: self.seed,
            signers: Arc::clone(&self.signers),
            keys: Arc::clone(&self.keys),
            wrongs: Arc::clone(&self.wrongs),
        });
        self.sites.push(Arc::clone(&site));
        sim.host(name(number), move || Arc::clone(&site).run());
    }

    /// Whether a member knows that those whom the signers have named last are the members, and nobody else.
    fn is_settled(&self, number: u64) -> bool {
        let members = self.signers.members();
        let site = self.site(number);
        let status = site.replica.lock().unwrap().as_ref().map(|it| it.status());
        status.is_some_and(|it| it.voters == members && it.members.keys().eq(&members))
    }

    /// Whether the last change of the members is behind them.
    fn is_quiet(&self) -> bool {
        self.signers.members().iter().filter(|number| self.is_settled(**number)).count() * 2
            > self.signers.members().len()
    }

    /// How many of these have clocks that are far off.
    fn wrong_clocks(&self, members: &BTreeSet<u64>) -> usize {
        let of_these = self.sites.iter().filter(|site| members.contains(&site.number));
        of_these.filter(|site| site.right_ahead_s().is_none()).count()
    }

    /// No batch is dated ahead of every clock that was right until now (F7), as it would go on: a clock is believed for a while.
    fn hold_dates(&mut self, sim: &Sim<'_>) {
        let right = self.sites.iter().filter_map(|site| site.right_ahead_s());
        self.right_ahead_s = right.max().unwrap_or(self.right_ahead_s).max(self.right_ahead_s);
        let latest_s = site::shows_s(sim.elapsed(), self.right_ahead_s);
        for site in &self.sites {
            let mut dated_s = 0;
            if let Some(replica) = &*site.replica.lock().unwrap() {
                replica.look(&mut |state| dated_s = state.time_s()).ok();
            }
            // It is told once.
            if dated_s > latest_s && !std::mem::replace(&mut self.misdated, true) {
                let why =
                    format!("member {}: a batch is {} s ahead of every right clock", site.number, dated_s - latest_s);
                self.wrongs.lock().unwrap().push(why);
            }
        }
    }

    /// The signers name others: one more, one less, another for one that goes, or for one whose disk is lost.
    fn change_members(&mut self, sim: &mut Sim<'_>) {
        let (mut members, next) = (self.signers.members(), self.sites.len() as u64 + 1);
        if !self.is_quiet() || self.planted == Planted::Amnesia || next > MEMBERS_MAX {
            return;
        }
        let one = self.any();
        let (grows, shrinks) = match self.dice.below(5) {
            0 if members.len() < 5 => (true, false),
            1 if members.len() > 3 => (false, true),
            _ => (true, true),
        };
        if shrinks {
            members.remove(&one);
        }
        if grows {
            members.insert(next);
        }
        if self.wrong_clocks(&members) * 2 >= members.len() {
            return;
        }
        if grows && shrinks && self.dice.below(2) == 0 {
            self.say(sim, format!("{one} is lost"));
            if sim.is_host_running(name(one)) {
                self.stop(sim, one);
            }
            self.lost.insert(one);
        }
        self.say(sim, format!("the members are to be {members:?}"));
        self.signers.name(members);
        if grows {
            let disk = Disk::new();
            let (policy, key, [_, statement]) = (site::policy(), site::key(), self.signers.ends());
            let signers = policy.signers.as_ref();
            fleet::join_on(disk.file(LOG), &policy, &key, &FLEET, next, &statement, signers).expect("it is named");
            self.settle_at(sim, next, disk, 0);
        }
    }

    fn say(&self, sim: &Sim<'_>, line: String) {
        self.log.lock().unwrap().push(format!("{:>6} {line}", sim.elapsed().as_millis()));
    }

    fn any(&mut self) -> u64 {
        any_of(&self.signers.members(), &mut self.dice)
    }

    fn site(&self, number: u64) -> Arc<Site> {
        Arc::clone(&self.sites[number as usize - 1])
    }

    fn crash(&mut self, sim: &mut Sim<'_>, number: u64) {
        if self.down.contains_key(&number) || self.lost.contains(&number) {
            return;
        }
        self.say(sim, format!("{number} crashes"));
        self.stop(sim, number);
        self.down.insert(number, sim.elapsed() + Duration::from_millis(50 + self.dice.below(4000)));
    }

    /// The power goes: what was not synced is lost, or is not.
    fn stop(&mut self, sim: &mut Sim<'_>, number: u64) {
        let site = self.site(number);
        site.disk.lock().unwrap().fail_at(1, false);
        sim.crash(name(number));
        *site.replica.lock().unwrap() = None;
    }

    /// For whom a member has voted.
    fn vote(&self, number: u64) -> Option<Leader> {
        let site = self.site(number);
        let replica = site.replica.lock().unwrap();
        replica.as_ref().map(|it| it.status().vote)
    }

    /// The host starts a member on an older copy of its disk. It must not run, unless the copy is as new as the anchor.
    fn roll_back(&mut self, sim: &mut Sim<'_>, number: u64) {
        let Some((files, then, voted)) = self.older.remove(&number) else { return };
        let Some(vote) = self.vote(number).filter(|_| !self.down.contains_key(&number)) else { return };
        self.stop(sim, number);
        let site = self.site(number);
        let real = site.disk.lock().unwrap().after(Survive::Kill, &mut self.dice);
        let now = real.anchored();
        let as_new = vote == voted && (then.last, then.chain, then.root) == (now.last, now.chain, now.root);
        self.say(sim, format!("{number} starts on an older copy, as new as the anchor: {as_new}"));
        self.rolled_back += usize::from(!as_new);
        let older = Disk::holding(files, if self.planted == Planted::AnchorToo { then } else { now });
        *site.disk.lock().unwrap() = older.clone();
        site.refuses.store(!as_new, Ordering::Relaxed);
        sim.bounce(name(number));
        let until = sim.elapsed() + Duration::from_millis(300);
        while sim.elapsed() < until {
            sim.step().expect("the simulation goes on");
        }
        site.refuses.store(false, Ordering::Relaxed);
        if !as_new {
            // The operator finds the right one.
            self.stop(sim, number);
            *site.disk.lock().unwrap() = Disk::holding(real.bytes(), older.anchored());
            sim.bounce(name(number));
        }
    }

    fn start(&mut self, sim: &mut Sim<'_>, number: u64) {
        self.down.remove(&number);
        if self.lost.contains(&number) {
            return;
        }
        if sim.is_host_running(name(number)) {
            self.stop(sim, number);
        }
        let survive = [Survive::Nothing, Survive::Kill, Survive::Some(4), Survive::Prefix][self.dice.below(4) as usize];
        self.say(sim, format!("{number} starts, of its cache survives {survive:?}"));
        let site = self.site(number);
        let mut after = site.disk.lock().unwrap().after(survive, &mut self.dice);
        if self.planted == Planted::Amnesia {
            after = Disk::new();
            self.found(&after);
        }
        *site.disk.lock().unwrap() = after;
        site.newest.store(self.newest, Ordering::Relaxed);
        sim.bounce(name(number));
    }

    fn repair(&self, sim: &Sim<'_>) {
        for one in &self.sites {
            for other in self.sites.iter().filter(|it| it.number > one.number) {
                sim.repair(name(one.number), name(other.number));
            }
        }
    }

    fn heal(&mut self, sim: &mut Sim<'_>) {
        if self.next == Duration::MAX {
            return;
        }
        self.next = Duration::MAX;
        self.say(sim, "all is well".to_owned());
        self.repair(sim);
        for number in 1..=self.sites.len() as u64 {
            self.site(number).ahead_s.store(0, Ordering::Relaxed);
            if self.lost.contains(&number) {
                continue;
            }
            if self.down.contains_key(&number) || self.site(number).disk.lock().unwrap().is_dead() {
                self.start(sim, number);
            }
        }
    }
}
