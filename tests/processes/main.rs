//! A fleet of real processes whose members are killed, paused, stopped, cut off and slowed while people come; and the
//! auditor of the soak, who holds what these wrote down against what the members' logs say afterwards.
//!
//! ```text
//! cargo test --release --features cli --test processes                       # a minute
//! FLEET_MINUTES=10 cargo test --release --features cli --test processes      # as long as asked
//! ```
//!
//! The members are `strongroom fleet run`, and everything about them is done by the command line: the ceremony, the statements
//! of both signers, keys that are handed over and that turn, a member in the place of another. Each speaks to each through a
//! relay that is told what is wrong with that way.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../soak/audit.rs"]
mod audit;
#[path = "../soak/controls.rs"]
mod controls;
#[path = "../soak/diary.rs"]
mod diary;
#[path = "../disk/dice.rs"]
mod dice;
mod fleet;
#[path = "../../examples/front/mod.rs"]
mod front;
#[path = "../soak/life.rs"]
mod life;
#[path = "../soak/people.rs"]
#[allow(dead_code, reason = "the soak asks it for more")]
mod people;
mod ports;
mod relay;
mod shown;
#[path = "../../src/bin/strongroom/fleet/site.rs"]
#[allow(dead_code, reason = "the command line uses all of it")]
mod site;
mod wires;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::{Audited, Counters, audit};
use diary::Diary;
use dice::Dice;
use fleet::{Outcome, Processes};
use front::caller::Caller;
use life::Limits;
use nix::sys::signal::Signal;
use people::{Serving, Settled, World};
use relay::Way;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use wires::Wires;

/// People at once.
const PEOPLE: u64 = 24;
/// Accounts that are called at the end.
const CALLED_MAX: usize = 1_000;
/// Members at first.
const MEMBERS: u64 = 5;
/// How long people may take to finish and to be called, once nothing is wrong any more.
const PATIENCE: Duration = Duration::from_secs(180);
/// How much longer than asked a run may take for every fault to have come to be.
const LATE: Duration = Duration::from_secs(240);

/// What happens to a fleet in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    LeaderKilled,
    TwoKilled,
    Terminated,
    LeaderPaused,
    CutOff,
    CutOneWay,
    Split,
    Slow,
    Turned,
    Replaced,
    Lost,
    Upgraded,
}

impl Fault {
    const TABLE: [(Fault, u64, &str); 12] = [
        (Fault::LeaderKilled, 4, "the leader killed"),
        (Fault::TwoKilled, 3, "two members killed at once"),
        (Fault::Terminated, 2, "a member told to stop, and started again"),
        (Fault::LeaderPaused, 2, "the leader paused"),
        (Fault::CutOff, 3, "a member cut off from all others"),
        (Fault::CutOneWay, 3, "a member whose questions reach nobody"),
        (Fault::Split, 2, "two on one side, the others on the other"),
        (Fault::Slow, 2, "every message late by up to 60 ms"),
        (Fault::Turned, 2, "keys turned at one member"),
        (Fault::Replaced, 1, "a member replaced by another, by a statement of both signers"),
        (Fault::Lost, 1, "a member lost with its disk as soon as keys had turned at it, and replaced"),
        (Fault::Upgraded, 1, "every member brought to a newer build, one after the other"),
    ];

    /// One of these, by their weights.
    fn chosen(faults: &[Fault], dice: &mut Dice) -> Self {
        let among = || Self::TABLE.into_iter().filter(|(fault, ..)| faults.contains(fault));
        let mut at = dice.below(among().map(|(_, weight, _)| weight).sum());
        for (fault, weight, _) in among() {
            if at < weight {
                return fault;
            }
            at -= weight;
        }
        unreachable!("the weights are all there are")
    }
}

#[derive(Default)]
struct Seen {
    times: u64,
    busy: u64,
    lost: u64,
}

#[test]
fn fleet_of_processes_forgets_nothing() {
    controls::every_changed_word_is_found().unwrap();
    forgets_nothing(Wires::relays(), &Fault::TABLE.map(|(fault, ..)| fault));
}

/// The same with the kernel's network between the members, which loses packets and says nothing.
#[test]
fn fleet_of_namespaces_forgets_nothing() {
    if std::env::var_os(wires::INSIDE).is_some() {
        let cuts = [Fault::LeaderKilled, Fault::CutOff, Fault::CutOneWay, Fault::Split, Fault::Turned, Fault::Lost];
        return forgets_nothing(Wires::namespaces().unwrap(), &cuts);
    }
    if !wires::in_a_network_of_its_own("fleet_of_namespaces_forgets_nothing") {
        println!(
            "LEFT OUT: the network of the kernel between members: this system gives nobody a network of their own"
        );
    }
}

/// A fleet under load, to which these happen, each at least once.
fn forgets_nothing(wires: Wires, faults: &[Fault]) {
    let minutes: f64 = std::env::var("FLEET_MINUTES").map_or(1.0, |it| it.parse().unwrap());
    let seed = u64::from_be_bytes(strongroom::secret::random_array().unwrap());
    println!("\na fleet of {MEMBERS} under {PEOPLE} people for {minutes} minutes; seed {seed}");
    let folder = tempfile::Builder::new().prefix("strongroom-fleet-").tempdir().unwrap();
    let audited = run(folder.path(), wires, faults, Dice(seed), Duration::from_secs_f64(60.0 * minutes));
    let right = audited.and_then(|it| {
        let right = it.tell();
        load(&it).map(|()| right)
    });
    if !matches!(right, Ok(true)) {
        panic!("{right:?}; what is left of it: {}", folder.keep().display());
    }
}

/// A run that nobody felt proves nothing.
fn load(audited: &Audited) -> Outcome<()> {
    match audited.told > 500 && audited.recovered > 50 && audited.refused.len() > 1 {
        true => Ok(()),
        false => Err(format!("{} answers are no load", audited.told).into()),
    }
}

fn run(folder: &Path, wires: Wires, faults: &[Fault], mut dice: Dice, length: Duration) -> Outcome<Audited> {
    std::fs::create_dir_all(folder.join("diaries"))?;
    let runtime = Runtime::new()?;
    let mut fleet = Processes::found(folder, MEMBERS, wires, &runtime)?;
    fleet.wait_until_it_stands()?;
    fleet.ways_are_what_they_say()?;
    fleet.cuts_are_felt()?;
    let (serve, serving) = watch::channel(Serving::Fleet(fleet.doors()));
    let world = Arc::new(World::new(serving, fleet.admission()));
    let caller = Caller::default();
    let mut lives = Vec::new();
    for person in 0..PEOPLE {
        let diary = Diary::create(&folder.join(format!("diaries/{person}.diary")))?;
        let dice = Dice(dice.0 ^ (person << 32));
        lives.push(runtime.spawn(people::live(world.clone(), caller.clone(), diary, dice)));
    }

    let (begun, mut seen) = (Instant::now(), BTreeMap::<Fault, Seen>::new());
    let mut all = faults.to_vec();
    while begun.elapsed() < length || !all.is_empty() {
        if begun.elapsed() > length + LATE {
            return Err(format!("{all:?} have not come to be in {:?}", begun.elapsed()).into());
        }
        // Each once, then as the dice fall.
        let fault = if all.is_empty() {
            Fault::chosen(faults, &mut dice)
        } else {
            all.remove(dice.below(all.len() as u64) as usize)
        };
        let before = (world.busy(), world.lost());
        round(fault, &mut fleet, &mut dice, &runtime, &serve).map_err(|why| format!("{fault:?}: {why}"))?;
        let seen = seen.entry(fault).or_default();
        seen.times += 1;
        seen.busy += world.busy() - before.0;
        seen.lost += world.lost() - before.1;
        pause(&mut dice, 200, 600);
    }
    fleet.heal()?;
    fleet.wait_until_it_stands()?;
    world.end();
    let called = runtime.block_on(async {
        let finished = async {
            let mut settled: Vec<Settled> = Vec::new();
            for life in lives {
                let (known, mut diary) = life.await?;
                diary.flush()?;
                settled.extend(known);
            }
            settled.truncate(CALLED_MAX);
            let mut diary = Diary::create(&folder.join("diaries/roll-call.diary"))?;
            people::roll_call(&world, &caller, &mut diary, &settled).await;
            diary.flush()?;
            Outcome::Ok(settled.len())
        };
        let still = |_| format!("after {PATIENCE:?} before a fleet without a fault people still wait for an answer");
        tokio::time::timeout(PATIENCE, finished).await.map_err(still)?
    })?;
    for (fault, _, words) in Fault::TABLE {
        if let Some(seen) = seen.get(&fault) {
            println!("{:>4} {:>7} busy {:>6} unanswered  {words}", seen.times, seen.busy, seen.lost);
        }
    }
    println!("{called} people called at the end, whose codes were known");
    println!("{}", fleet.status()?.1);
    fleet.stop()?;
    let lives = diary::read_all(&folder.join("diaries"))?;
    let mut audited = Audited::default();
    fleet.look(&runtime, &mut |state, policy| {
        let counters = |id: &_| state.account(id).map_or_else(Counters::default, Counters::from);
        audited = audit(&lives, counters, Limits::from(policy));
    })?;
    Ok(audited)
}

/// Waits at least `least` milliseconds, and up to `most` more.
fn pause(dice: &mut Dice, least: u64, most: u64) {
    std::thread::sleep(Duration::from_millis(least + dice.below(most)));
}

fn round(
    fault: Fault,
    fleet: &mut Processes,
    dice: &mut Dice,
    runtime: &Runtime,
    serve: &watch::Sender<Serving>,
) -> Outcome<()> {
    let numbers = fleet.numbers();
    let one = numbers[dice.below(numbers.len() as u64) as usize];
    match fault {
        Fault::LeaderKilled => {
            let leader = fleet.leader()?;
            fleet.end(leader, Signal::SIGKILL)?;
            pause(dice, 0, 4000);
            fleet.start(leader)?;
        }
        Fault::TwoKilled => {
            let other = *numbers.iter().find(|it| **it != one).expect("more than one");
            fleet.end(one, Signal::SIGKILL)?;
            fleet.end(other, Signal::SIGKILL)?;
            pause(dice, 0, 3000);
            fleet.start(one)?;
            fleet.start(other)?;
        }
        Fault::Terminated => {
            fleet.end(one, Signal::SIGTERM)?;
            fleet.start(one)?;
        }
        Fault::LeaderPaused => {
            let leader = fleet.leader()?;
            fleet.signal(leader, Signal::SIGSTOP)?;
            pause(dice, 500, 3500);
            fleet.signal(leader, Signal::SIGCONT)?;
        }
        Fault::CutOff => {
            fleet.ways(|from, to| if from == one || to == one { Way::Cut } else { Way::Open })?;
            pause(dice, 500, 7000);
        }
        Fault::CutOneWay => {
            fleet.ways(|from, _| if from == one { Way::Cut } else { Way::Open })?;
            pause(dice, 500, 7000);
        }
        Fault::Split => {
            let few = &numbers[..2];
            fleet.ways(|from, to| if few.contains(&from) == few.contains(&to) { Way::Open } else { Way::Cut })?;
            pause(dice, 500, 7000);
        }
        Fault::Slow => {
            fleet.ways(|_, _| Way::Slow)?;
            pause(dice, 1000, 3000);
        }
        Fault::Turned => {
            let kind = ["epoch", "tickets"][dice.below(2) as usize];
            fleet.wait_until_it_stands()?;
            fleet.rotate(one, kind)?;
        }
        Fault::Replaced => {
            fleet.wait_until_it_stands()?;
            fleet.replace(one, runtime)?;
            serve.send_replace(Serving::Fleet(fleet.doors()));
        }
        Fault::Lost => {
            fleet.wait_until_it_stands()?;
            fleet.rotate(one, "epoch")?;
            fleet.lose(one)?;
            fleet.replace(one, runtime)?;
            serve.send_replace(Serving::Fleet(fleet.doors()));
        }
        Fault::Upgraded => fleet.upgrade()?,
    }
    fleet.heal()?;
    fleet.all_run()?;
    Ok(())
}
