//! A member's place in the simulation: its disk, its clock, and what runs there.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom::account::AccountId;
use strongroom::error::{Fault, Refusal};
use strongroom::fleet::{Address, Call, Dialled, Dials, Links, Member, Replica, Settings, Streams, serve};
use strongroom::journal::Clock;
use strongroom::ledger::{Command, Digests, KeyedDigest, Policy, Proof, Verdict};
use strongroom::secret::Secret;
use strongroom::wrap::{Header, SEALED_LEN, Sealed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use crate::disk::{CHECKPOINT, Dice, Disk, LOG};
use crate::model::{Ask, Told};
use crate::signers::{self, Signers};
use crate::vaults::{Door, Keys};

/// Where members speak to members, and people to members.
const MEMBERS: u16 = 1;
pub(crate) const PEOPLE: u16 = 2;
/// Where people are answered by a vault.
pub(crate) const VAULTS: u16 = 3;
/// When the simulation begins, in seconds.
const BEGAN_S: i64 = 1_800_000_000;

pub(crate) fn key() -> Secret<[u8; 32]> {
    Secret::new([7; 32])
}

pub(crate) fn policy() -> Policy {
    Policy { signers: Some(signers::keys()), ..Policy::development() }
}

pub(crate) fn settings() -> Settings {
    // Small enough that checkpoints travel.
    Settings { rows_kept: 5, patience: Duration::from_secs(3), ..Settings::default() }
}

pub(crate) fn name(number: u64) -> String {
    format!("member-{number}")
}

pub(crate) struct Site {
    pub number: u64,
    pub disk: Mutex<Disk>,
    /// How far its clock is ahead, in seconds.
    pub ahead_s: Arc<AtomicI64>,
    pub replica: Mutex<Option<Replica>>,
    /// Whether it is to refuse to open.
    pub refuses: AtomicBool,
    /// Whether a checkpoint is to be written.
    pub checkpoint: AtomicBool,
    /// How badly messages are treated on their way from here, in thousandths.
    pub meddling: u64,
    /// The newest version that the build reads which it runs.
    pub newest: AtomicU8,
    pub seed: u64,
    pub signers: Arc<Signers>,
    pub keys: Arc<Keys>,
    /// What must not have happened.
    pub wrongs: Arc<Mutex<Vec<String>>>,
}

struct SimClock(Arc<AtomicI64>);

/// What a clock shows so long after the beginning, in seconds.
pub(crate) fn shows_s(elapsed: Duration, ahead_s: i64) -> u64 {
    (BEGAN_S + elapsed.as_secs() as i64 + ahead_s) as u64
}

impl Clock for SimClock {
    fn now_s(&self) -> Result<u64, Fault> {
        Ok(shows_s(turmoil::sim_elapsed().unwrap_or_default(), self.0.load(Ordering::Relaxed)))
    }
}

struct Wire {
    from: u64,
}

impl Dials for Wire {
    type Stream = TcpStream;

    fn dial<'a>(&'a self, _: u64, address: &'a Address) -> Dialled<'a, TcpStream> {
        Box::pin(async move {
            let mut stream = TcpStream::connect((&*address.name, MEMBERS)).await?;
            stream.write_u64(self.from).await?;
            Ok(stream)
        })
    }
}

/// A way that loses replies, and says some things twice.
struct Meddling {
    streams: Arc<Streams<Wire>>,
    dice: Mutex<Dice>,
    per_mille: u64,
}

impl Links for Meddling {
    fn call<'a>(&'a self, member: u64, address: &'a Address, request: Vec<u8>) -> Call<'a> {
        let (loses, repeats, wait) = {
            let mut dice = self.dice.lock().unwrap();
            (dice.below(1000) < self.per_mille, dice.below(1000) < self.per_mille, dice.below(1500))
        };
        if repeats {
            let (streams, address, request) = (Arc::clone(&self.streams), address.clone(), request.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                streams.call(member, &address, request).await.ok();
            });
        }
        Box::pin(async move {
            let reply = self.streams.call(member, address, request).await?;
            if loses { Err(io::ErrorKind::TimedOut.into()) } else { Ok(reply) }
        })
    }
}

impl Site {
    /// How far its clock is ahead, in seconds, if it is right: not far off.
    pub(crate) fn right_ahead_s(&self) -> Option<i64> {
        Some(self.ahead_s.load(Ordering::Relaxed)).filter(|ahead_s| ahead_s.abs() <= 1000)
    }

    /// Runs the member until the simulation stops it.
    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        let disk = self.disk.lock().unwrap().clone();
        let streams = Arc::new(Streams::new(Wire { from: self.number }));
        let life = disk.anchored().sequence;
        let dice = Mutex::new(Dice(self.seed ^ (self.number << 32) ^ life));
        let member = Member {
            number: self.number,
            fleet: signers::FLEET,
            policy: policy(),
            journal_key: key(),
            anchor: disk.anchor(),
            clock: Arc::new(SimClock(Arc::clone(&self.ahead_s))),
            links: Arc::new(Meddling { streams, dice, per_mille: self.meddling }),
            settings: Settings { newest: self.newest.load(Ordering::Relaxed), ..settings() },
        };
        let replica = match Replica::open_on(disk.file(LOG), disk.file(CHECKPOINT), member).await {
            Ok(replica) => {
                if self.refuses.load(Ordering::Relaxed) {
                    self.wrongs.lock().unwrap().push(format!("member {} runs on an older copy", self.number));
                }
                replica
            }
            Err(Fault::Anchor(_)) if self.refuses.load(Ordering::Relaxed) => return std::future::pending().await,
            Err(fault) => {
                // The disk may die while it is opened. What it held must never contradict the anchor.
                if !disk.is_dead() {
                    self.wrongs.lock().unwrap().push(format!("member {} does not open: {fault}", self.number));
                }
                return std::future::pending().await;
            }
        };
        *self.replica.lock().unwrap() = Some(replica.clone());
        let door = Door::over(&replica, &self.keys, Arc::new(SimClock(Arc::clone(&self.ahead_s))));
        let mut rounds = 0;
        let members = TcpListener::bind(("0.0.0.0", MEMBERS)).await?;
        let people = TcpListener::bind(("0.0.0.0", PEOPLE)).await?;
        let vaults = TcpListener::bind(("0.0.0.0", VAULTS)).await?;
        loop {
            tokio::select! {
                biased;
                accepted = members.accept() => {
                    let (mut stream, _) = accepted?;
                    let replica = replica.clone();
                    tokio::spawn(async move {
                        let Ok(from) = stream.read_u64().await else { return };
                        serve(stream, from, replica).await.ok();
                    });
                }
                accepted = people.accept() => {
                    let (mut stream, _) = accepted?;
                    let replica = replica.clone();
                    tokio::spawn(async move { answer(&mut stream, &replica).await.ok() });
                }
                accepted = vaults.accept() => {
                    let (mut stream, _) = accepted?;
                    let door = door.clone();
                    tokio::spawn(async move { door.answer(&mut stream).await.ok() });
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => {
                    rounds += 1;
                    // Everybody tells the fleet what its signers have said, at times of their own.
                    if (rounds + 7 * self.number).is_multiple_of(40) {
                        self.tell(&replica);
                    }
                    if self.checkpoint.swap(false, Ordering::Relaxed) {
                        replica.checkpoint().await.ok();
                    }
                }
            }
        }
    }

    fn tell(&self, replica: &Replica) {
        let mut next = None;
        replica.look(&mut |state| next = self.signers.after(state.members().0)).ok();
        if let Some(command) = next {
            let replica = replica.clone();
            tokio::spawn(async move { replica.commit(vec![command]).await.ok() });
        }
        if !replica.is_led() {
            // Its operator has heard of it too. Nobody lets in who is not named by both.
            let [_, statement] = self.signers.ends();
            replica.introduce(&statement).ok();
        }
    }
}

pub(crate) fn account(number: u8) -> AccountId {
    AccountId([number; 32])
}

fn command(account: AccountId, ask: &Ask) -> Option<Command> {
    let bytes = |number: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        bytes
    };
    match *ask {
        Ask::Read => None,
        Ask::Charge { ke1 } => {
            let mut digest = [0; 16];
            digest.copy_from_slice(&bytes(ke1)[..16]);
            let current = KeyedDigest { key_number: 1, digest };
            Some(Command::Charge { account, digests: Digests { current, previous: None } })
        }
        Ask::Clear { generation, ordinal } => {
            Some(Command::Clear { account, generation, proof: Proof { ordinal, expiry_s: u64::MAX } })
        }
        Ask::Enrol { generation, finish } => {
            let mut sealed = [finish as u8; SEALED_LEN];
            sealed[..7].copy_from_slice(&Header { epoch: 1, key_number: 1 }.encode());
            let sealed = Sealed::from_bytes(&sealed).expect("a header and filler");
            Some(Command::Enrol { account, generation, expiry_s: u64::MAX, finish: bytes(finish), sealed })
        }
    }
}

/// What a member says to one person's question; `None` where it does not know.
async fn ask(replica: &Replica, number: u8, ask: &Ask) -> Option<Told> {
    let account = account(number);
    let Some(command) = command(account, ask) else {
        replica.confirm().await.ok()?;
        let mut told = None;
        let look = &mut |state: &strongroom::ledger::State| {
            let it = state.account(&account);
            told = Some(Told::Counters {
                spent: it.map_or(0, |it| it.spent()),
                generation: it.map_or(0, |it| it.generation()),
                remaining: it.map_or(policy().attempts_max, |it| it.remaining(&policy())),
            });
        };
        replica.look(look).ok()?;
        return told;
    };
    let receipts = replica.commit(vec![command]).await.ok()?;
    Some(match *receipts.first()?.verdict() {
        Verdict::Charged { generation, ordinal, live, remaining, again } => {
            Told::Charged { generation, ordinal, live, remaining, again }
        }
        Verdict::Cleared { again } => Told::Cleared { again },
        Verdict::Enrolled { generation, again } => Told::Enrolled { generation, again },
        Verdict::Refused(Refusal::Exhausted) => Told::Exhausted,
        Verdict::Refused(Refusal::LifetimeUsed) => Told::LifetimeUsed,
        Verdict::Refused(Refusal::Stale) => Told::Stale,
        other => panic!("nobody asked for {other:?}"),
    })
}

/// The way of a question over the simulated network: its fields in big-endian numbers.
pub(crate) async fn send(stream: &mut TcpStream, account: u8, ask: &Ask) -> io::Result<Option<Told>> {
    let words = match *ask {
        Ask::Read => [0, 0, 0],
        Ask::Charge { ke1 } => [1, ke1, 0],
        Ask::Clear { generation, ordinal } => [2, generation, ordinal],
        Ask::Enrol { generation, finish } => [3, generation, finish],
    };
    stream.write_u8(account).await?;
    for word in words {
        stream.write_u32(word).await?;
    }
    let mut words = [0; 6];
    for word in &mut words {
        *word = stream.read_u32().await?;
    }
    let [kind, one, two, three, four, again] = words;
    let again = again == 1;
    Ok(match kind {
        1 => Some(Told::Charged { generation: one, ordinal: two, live: three == 1, remaining: four, again }),
        2 => Some(Told::Cleared { again }),
        3 => Some(Told::Enrolled { generation: one, again }),
        4 => Some(Told::Counters { spent: one, generation: two, remaining: three }),
        5 => Some(Told::Exhausted),
        6 => Some(Told::Stale),
        7 => Some(Told::LifetimeUsed),
        _ => None,
    })
}

async fn answer(stream: &mut TcpStream, replica: &Replica) -> io::Result<()> {
    let account = stream.read_u8().await?;
    let [kind, one, two] = [stream.read_u32().await?, stream.read_u32().await?, stream.read_u32().await?];
    let question = match kind {
        1 => Ask::Charge { ke1: one },
        2 => Ask::Clear { generation: one, ordinal: two },
        3 => Ask::Enrol { generation: one, finish: two },
        _ => Ask::Read,
    };
    let words = match ask(replica, account, &question).await {
        Some(Told::Charged { generation, ordinal, live, remaining, again }) => {
            [1, generation, ordinal, live.into(), remaining, again.into()]
        }
        Some(Told::Cleared { again }) => [2, 0, 0, 0, 0, again.into()],
        Some(Told::Enrolled { generation, again }) => [3, generation, 0, 0, 0, again.into()],
        Some(Told::Counters { spent, generation, remaining }) => [4, spent, generation, remaining, 0, 0],
        Some(Told::Exhausted) => [5, 0, 0, 0, 0, 0],
        Some(Told::Stale) => [6, 0, 0, 0, 0, 0],
        Some(Told::LifetimeUsed) => [7, 0, 0, 0, 0, 0],
        None => [0; 6],
    };
    for word in words {
        stream.write_u32(word).await?;
    }
    Ok(())
}
