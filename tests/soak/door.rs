//! Hostile input at the door: people come and go as always while somebody floods the server from another address. The
//! server's memory stays bounded, and everybody who means well is answered. The flood is looked at too: one that is not
//! let in, or gets other answers than it must, proves nothing.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::watch;

use crate::dice::Dice;
use crate::flood::{Done, Kind};
use crate::front::caller::Caller;
use crate::people::{self, Serving, World};
use crate::run::{PEOPLE, diary};
use crate::server::{self, Server};

/// How long each flood is watched, and before that left to get going.
const SECONDS: u64 = 4;
const BEFORE: u64 = 2;
/// Connections that an address may have.
pub(crate) const OF_ADDRESS: usize = 16;
/// What a flood may add to the server's memory, in kilobytes: a second of bodies without end is several times as much.
/// Most of what is seen are the accounts that people have made by then.
const GROWTH_MAX_KB: u64 = 128 << 10;
/// Where floods come from: loopback too, but not where people come from.
const FROM: &str = "127.0.0.66";

/// What must not be met with beside a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// People were not answered, or hardly.
    ShutOut,
    /// The server's memory has grown by more than a flood may add.
    Memory,
    /// The flood was none: it was not let in, not held back, or not answered as it must be.
    NoFlood,
}

/// What people met with during a flood.
#[derive(Clone)]
struct Met {
    what: &'static str,
    answered: u64,
    p50_ms: f64,
    p99_ms: f64,
    busy: u64,
    lost: u64,
    /// The server's peak.
    memory_kb: u64,
    /// The flood, if there was one, and what it did.
    flood: Option<(Kind, Done)>,
}

/// Sends each flood at a server, with so little claim to the machine as `nice` says: in life a flood does not take its
/// time from the people beside it. What was found.
#[tokio::main]
pub(crate) async fn run(
    folder: &Path,
    arguments: &server::Arguments,
    kinds: &[(Kind, &'static str)],
    nice: u8,
) -> Result<Vec<Finding>, Box<dyn Error>> {
    let (serve, serving) = watch::channel(Serving::Nobody);
    let world = Arc::new(World::new(serving, server::admission_key()));
    let server = Server::start(arguments, &folder.join("server.log"))?;
    serve.send_replace(Serving::One(0, format!("http://127.0.0.1:{}", server.port)));
    let mut lives = Vec::new();
    for person in 0..PEOPLE {
        // As phones come: each from an address of its own, each request on a connection of its own.
        let caller = Caller::new(Some(Ipv4Addr::new(127, 0, 1, 1 + person as u8).into()), 0);
        let diary = people::Diary::create(&diary(folder, &person.to_string()))?;
        lives.push(tokio::spawn(people::live(world.clone(), caller, diary, Dice(person))));
    }
    let mut all = vec![met(&world, &server, "nobody else", None, nice).await?];
    for (kind, what) in kinds {
        all.push(met(&world, &server, what, Some(*kind), nice).await?);
    }
    let lost = world.lost();
    world.end();
    // Who has too many requests adrift waits for the next server, and there is none.
    drop(serve);
    for life in lives {
        let (_, mut diary) = life.await?;
        diary.flush()?;
    }
    server.stop()?;
    if let Some(last) = all.last_mut() {
        last.lost += world.lost() - lost;
    }
    if let Some(words) = world.first_lost() {
        println!("the first request that was not answered: {words}");
    }
    Ok(judged(&all, arguments.of_address)?)
}

async fn met(
    world: &World,
    server: &Server,
    what: &'static str,
    kind: Option<Kind>,
    nice: u8,
) -> Result<Met, Box<dyn Error>> {
    let child = match kind {
        Some(kind) => {
            let mut command = Command::new("nice");
            command.arg("-n").arg(nice.to_string()).arg(std::env::current_exe()?);
            let kind = clap::ValueEnum::to_possible_value(&kind).ok_or("a kind without a name")?;
            command.arg("flood").arg(kind.get_name()).arg(FROM).arg(format!("127.0.0.1:{}", server.port));
            command.arg((BEFORE + SECONDS + 1).to_string()).stdout(Stdio::piped());
            Some(command.spawn()?)
        }
        None => None,
    };
    let before = (world.busy(), world.lost());
    tokio::time::sleep(Duration::from_secs(BEFORE)).await;
    world.take_waits();
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let waits: Histogram<u64> = world.take_waits();
    let done = match child {
        Some(child) => {
            let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await??;
            if !output.status.success() {
                return Err(format!("{what}: the flood failed: {}", output.status).into());
            }
            Some(serde_json::from_slice(&output.stdout)?)
        }
        None => None,
    };
    let (busy, lost) = (world.busy() - before.0, world.lost() - before.1);
    let flood = kind.zip(done);
    let quantile = |q| waits.value_at_quantile(q) as f64 / 1000.0;
    let memory_kb = server.peak_kb()?;
    Ok(Met { what, answered: waits.len(), p50_ms: quantile(0.5), p99_ms: quantile(0.99), busy, lost, memory_kb, flood })
}

/// Says what was met, and what of it must not be.
fn judged(all: &[Met], of_address: usize) -> Result<Vec<Finding>, String> {
    println!(
        "{:>10} {:>8} {:>8} {:>6} {:>6} {:>6} {:>6} {:>10}  beside people",
        "answers/s", "p50 ms", "p99 ms", "p50", "p99", "busy", "lost", "memory kB"
    );
    let calm = &all[0];
    let mut findings = Vec::new();
    for it in all {
        let Met { what, answered, p50_ms, p99_ms, busy, lost, memory_kb, flood } = it;
        let rate = answered / SECONDS;
        println!(
            "{rate:>10} {p50_ms:>8.2} {p99_ms:>8.2} {:>5.1}x {:>5.1}x {busy:>6} {lost:>6} {memory_kb:>10}  {what} {}",
            p50_ms / calm.p50_ms,
            p99_ms / calm.p99_ms,
            flood.as_ref().map_or_else(String::new, |(_, done)| told(done))
        );
        for finding in found(it, calm, of_address) {
            match finding {
                Finding::ShutOut => println!("FINDING people were shut out"),
                Finding::Memory => println!("FINDING the server's memory has grown by more than {GROWTH_MAX_KB} kB"),
                Finding::NoFlood => println!("FINDING this was not the flood that it is meant to be"),
            }
            findings.push(finding);
        }
    }
    // Everything else is held against this.
    if calm.lost > 0 || calm.answered < PEOPLE {
        return Err(format!("with nobody else there, {} answers and {} lost are no load", calm.answered, calm.lost));
    }
    Ok(findings)
}

/// What is wrong beside a flood. `of_address` connections the server lets it have.
fn found(it: &Met, calm: &Met, of_address: usize) -> Vec<Finding> {
    let Some((kind, done)) = &it.flood else { return Vec::new() };
    let came = done.let_in >= of_address as u64 && done.answers.keys().eq(kind.answers());
    // Where one address may have every connection, nothing of it is turned away.
    let held_back = done.turned_away > 0 || of_address >= server::CONNECTIONS;
    let all = [
        (Finding::ShutOut, it.lost > 0 || it.answered * 5 < calm.answered),
        (Finding::Memory, it.memory_kb.saturating_sub(calm.memory_kb) > GROWTH_MAX_KB),
        (Finding::NoFlood, !came || !held_back),
    ];
    all.into_iter().filter(|(_, met)| *met).map(|(finding, _)| finding).collect()
}

fn told(done: &Done) -> String {
    let Done { connected, let_in, turned_away, sent, answers } = done;
    let answers: Vec<_> = answers.iter().map(|(status, times)| format!("{times} of {status}")).collect();
    let answers = if answers.is_empty() { "none".to_owned() } else { answers.join(", ") };
    format!("({connected} connections, {let_in} let in, {turned_away} turned away; {sent} sent; answers: {answers})")
}

/// Controls: each finding is told, and as itself.
pub(crate) fn every_finding_is_told_as_itself() -> Result<(), String> {
    let calm = Met {
        what: "nobody else",
        answered: 1_000,
        p50_ms: 1.0,
        p99_ms: 1.0,
        busy: 0,
        lost: 0,
        memory_kb: 1_000,
        flood: None,
    };
    let done = Done { connected: 300, let_in: 32, turned_away: 200, sent: 900, ..Done::default() };
    let beside = |done| Met { flood: Some((Kind::Slow, done)), ..calm.clone() };
    let right = beside(done.clone());
    let cases = [
        ("all is well", right.clone(), None),
        ("a request is lost", Met { lost: 1, ..right.clone() }, Some(Finding::ShutOut)),
        ("few are answered", Met { answered: 199, ..right.clone() }, Some(Finding::ShutOut)),
        ("memory grows", Met { memory_kb: 1_001 + GROWTH_MAX_KB, ..right }, Some(Finding::Memory)),
        ("nobody comes", beside(Done::default()), Some(Finding::NoFlood)),
        ("too few are let in", beside(Done { let_in: 15, ..done.clone() }), Some(Finding::NoFlood)),
        ("nobody is turned away", beside(Done { turned_away: 0, ..done.clone() }), Some(Finding::NoFlood)),
        ("other answers", beside(Done { answers: BTreeMap::from([(401, 9)]), ..done }), Some(Finding::NoFlood)),
    ];
    for (what, met, finding) in cases {
        let seen = found(&met, &calm, OF_ADDRESS);
        if !seen.iter().eq(&finding) {
            return Err(format!("beside a flood where {what} this is found: {seen:?}"));
        }
    }
    Ok(())
}
