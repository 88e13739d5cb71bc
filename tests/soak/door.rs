//! Hostile input at the door: people come and go as always while somebody floods the server from another address. The
//! server's memory stays bounded, and everybody who means well is answered.

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::watch;

use crate::dice::Dice;
use crate::flood::Kind;
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

/// What people met with during a flood.
struct Met {
    what: &'static str,
    answered: u64,
    p50_ms: f64,
    p99_ms: f64,
    busy: u64,
    lost: u64,
    /// The server's peak.
    memory_kb: u64,
    /// What the flood did, in its own words.
    flood: String,
}

/// Sends each flood at a server, with so little claim to the machine as `nice` says: in life a flood does not take its
/// time from the people beside it. Whether people were served, and the server's memory stayed bounded.
#[tokio::main]
pub(crate) async fn run(
    folder: &Path,
    arguments: &server::Arguments,
    kinds: &[(Kind, &'static str)],
    nice: u8,
) -> Result<bool, Box<dyn Error>> {
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
    world.end();
    for life in lives {
        let (_, mut diary) = life.await?;
        diary.flush()?;
    }
    server.stop()?;
    Ok(judged(&all))
}

async fn met(
    world: &World,
    server: &Server,
    what: &'static str,
    kind: Option<Kind>,
    nice: u8,
) -> Result<Met, Box<dyn Error>> {
    let flood = match kind {
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
    tokio::time::sleep(Duration::from_secs(BEFORE)).await;
    let before = (world.busy(), world.lost());
    world.take_waits();
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let waits: Histogram<u64> = world.take_waits();
    let (busy, lost) = (world.busy() - before.0, world.lost() - before.1);
    let flood = match flood {
        Some(child) => {
            let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await??;
            String::from_utf8(output.stdout)?.trim().to_owned()
        }
        None => String::new(),
    };
    let quantile = |q| waits.value_at_quantile(q) as f64 / 1000.0;
    let memory_kb = server.peak_kb()?;
    Ok(Met { what, answered: waits.len(), p50_ms: quantile(0.5), p99_ms: quantile(0.99), busy, lost, memory_kb, flood })
}

/// Says what was met, and whether it is as it must be.
fn judged(all: &[Met]) -> bool {
    println!(
        "{:>10} {:>8} {:>8} {:>6} {:>6} {:>6} {:>6} {:>10}  beside people",
        "answers/s", "p50 ms", "p99 ms", "p50", "p99", "busy", "lost", "memory kB"
    );
    let calm = &all[0];
    let mut right = true;
    for it in all {
        let Met { what, answered, p50_ms, p99_ms, busy, lost, memory_kb, flood } = it;
        let rate = answered / SECONDS;
        println!(
            "{rate:>10} {p50_ms:>8.2} {p99_ms:>8.2} {:>5.1}x {:>5.1}x {busy:>6} {lost:>6} {memory_kb:>10}  {what} {}",
            p50_ms / calm.p50_ms,
            p99_ms / calm.p99_ms,
            told(flood)
        );
        if *lost > 0 || answered * 5 < calm.answered {
            println!("FINDING people were shut out");
            right = false;
        }
        if memory_kb - calm.memory_kb.min(*memory_kb) > GROWTH_MAX_KB {
            println!("FINDING the server's memory has grown by more than {GROWTH_MAX_KB} kB");
            right = false;
        }
    }
    right
}

fn told(flood: &str) -> String {
    match flood.split(' ').collect::<Vec<_>>()[..] {
        [connected, turned_away, sent, answered] => {
            format!("({connected} connections, {turned_away} of them cut off; {sent} sent, {answered} answered)")
        }
        _ => String::new(),
    }
}
