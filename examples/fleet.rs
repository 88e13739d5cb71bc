//! A fleet of three vaults that becomes four, on loopback, with disks, links and keys as they are in earnest.
//!
//! You will see: two signers naming the members, whose keys are sealed to each; a person who enrols at one vault and gets the
//! key back at another; the leader being stopped, and nothing forgotten; a fourth vault that joins by another statement, takes
//! the rows it lacks, and answers; and the one that was stopped leaving for good. The exit status is not zero if anything is
//! not as it says.
//!
//! ```text
//! cargo run --release --features fleet --example fleet
//! ```
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // An example stops where something is not as told.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, Failure, Recovery, Terms, remaining, remaining_request};
use strongroom::fleet::{self, Fleet, LinkKey, Member, Replica, Settings, Streams, TcpDials, Tls};
use strongroom::journal::{FileAnchor, SystemClock};
use strongroom::ledger::{Policy, Signers};
use strongroom::secret::Secret;
use strongroom::session::Recipient;
use strongroom::transparency::{self, Note, Order, SigningKey, Statement};
use strongroom::vault::{Admitted, Custody, FileKeyStore, MemberRoot, Receiver, Vault};
use strongroom::wrap::{FileRoot, MemoryRoot};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A member's place, and the keys that it was born with: in earnest its hardware attests them.
struct Site {
    number: u64,
    folder: PathBuf,
    link_seed: Secret<[u8; 32]>,
    recipient: Recipient,
    listener: Option<std::net::TcpListener>,
    name: String,
}

/// A member that runs.
struct Running {
    replica: Replica,
    vault: Vault,
    answers: JoinHandle<()>,
}

fn main() -> Outcome<()> {
    let folder = tempfile::Builder::new().prefix("strongroom-fleet-").tempdir()?;
    let runtime = Runtime::new()?;
    let signers = ["auditor.example", "operator.example"].map(|name| SigningKey::new(name, &Secret::random().unwrap()));
    let [auditor, operator] = signers;
    let signers = [auditor?, operator?];
    let keys = |at: usize| *signers[at].verifying_key().as_bytes();
    let policy = Policy { signers: Some(Signers { auditor: keys(0), operator: keys(1) }), ..Policy::development() };

    println!("The fleet's keys are drawn, and both signers name three members");
    let drawn = Custody::create(Box::new(MemoryRoot::new()), Box::new(FileKeyStore::new(folder.path().join("drawn"))))?;
    let id = *drawn.fleet();
    let mut sites = (1..=4).map(|number| Site::new(folder.path(), number)).collect::<Outcome<Vec<_>>>()?;
    let first = name(&id, [0; 32], &sites[..3], &signers)?;
    print!("{}", first.text().lines().map(|line| format!("  {:.76}\n", line)).collect::<String>());
    for site in &sites[..3] {
        let sealed = drawn.hand_over(&first, policy.signers.as_ref(), site.number, site.recipient.public_key())?;
        let custody = site.receive(&id, &sealed)?;
        fleet::found(&site.folder, &policy, &custody.journal_key(), &id, &first)?;
        println!("  member {}: {} bytes of keys, sealed to it; its log is founded", site.number, sealed.len());
    }
    drop(drawn);

    println!("\nThey run, and elect a leader");
    let opened = sites[..3].iter_mut().map(|site| site.replica(&runtime, &policy, &id));
    let opened = opened.collect::<Outcome<Vec<_>>>()?;
    let mut running = BTreeMap::new();
    for (site, replica) in sites.iter().zip(opened) {
        running.insert(site.number, site.vault(&runtime, replica)?);
    }
    let leader = wait("a leader", || leader_of(&running))?;
    println!("  member {leader} leads");

    println!("\nAda enrols at member 1, tries a wrong code at 2, and recovers at 3");
    let (ada, key) = (AccountId::derive("example.org/backup", "Ada"), Secret::random()?);
    enrol(&running[&1].vault, &ada, "correct horse", &key)?;
    must(recover(&running[&2].vault, &ada, "wrong").is_err(), "a wrong code recovers nothing")?;
    println!("  {} attempts left, says member 3", left(&running[&3].vault, &ada)?);
    must(left(&running[&3].vault, &ada)? == 9, "every member knows at once")?;
    let recovered = recover(&running[&3].vault, &ada, "correct horse")?;
    must(bool::from(recovered.ct_eq(key.expose())), "the recovered key is the enrolled one")?;
    println!("  the same key came back; the count is cleared");

    println!("\nThe leader is gone; the others go on");
    must(recover(&running[&leader].vault, &ada, "wrong").is_err(), "a wrong code recovers nothing")?;
    let gone = running.remove(&leader).expect("it ran");
    gone.stop(&runtime);
    let begun = Instant::now();
    let other = *running.keys().next().expect("two are left");
    let attempts = wait("an answer", || left(&running[&other].vault, &ada).ok())?;
    println!("  member {other} answers after {:.1} s: {attempts} attempts left", begun.elapsed().as_secs_f64());
    must(attempts == 9, "nothing that was answered is forgotten")?;

    println!("\nBoth signers name member 4 in the place of member {leader}");
    let others: Vec<_> = sites.iter().filter(|site| site.number != leader).collect();
    let next = name(&id, first.hash(), &others, &signers)?;
    running[&other].vault.obey(&next)?;
    let site = &mut sites[3];
    let sealed = running[&other].vault.hand_over(4, site.recipient.public_key())?;
    let custody = site.receive(&id, &sealed)?;
    fleet::join(&site.folder, &policy, &custody.journal_key(), &id, 4, &next, policy.signers.as_ref())?;
    drop(custody);
    let replica = site.replica(&runtime, &policy, &id)?;
    let begun = Instant::now();
    let voters = wait("the new members", || {
        let status = replica.0.status();
        (status.voters.contains(&4) && !status.members.contains_key(&leader)).then_some(status.voters)
    })?;
    println!("  after {:.1} s those who vote are {voters:?}", begun.elapsed().as_secs_f64());
    running.insert(4, site.vault(&runtime, replica)?);
    let recovered = recover(&running[&4].vault, &ada, "correct horse")?;
    must(bool::from(recovered.ct_eq(key.expose())), "the new member answers like the others")?;
    println!("  Ada recovers at member 4");
    for (_, member) in running {
        member.stop(&runtime);
    }
    println!("\nEverything was as it says.");
    Ok(())
}

/// What names these as the members, behind the statement of that hash, signed by both.
fn name(
    fleet: &[u8; 32],
    predecessor: [u8; 32],
    sites: &[impl std::borrow::Borrow<Site>],
    signers: &[SigningKey],
) -> Outcome<Note> {
    let member = |site: &Site| transparency::Member {
        number: site.number,
        name: site.name.clone(),
        link_key: LinkKey::new(&site.link_seed).public_key(),
        channel_key: Sha256::digest(site.recipient.public_key()).into(),
        code: "example".to_owned(),
    };
    let members = sites.iter().map(|site| member(site.borrow())).collect();
    let mut note = Statement { fleet: *fleet, order: Order::Members { predecessor, members } }.note()?;
    signers.iter().for_each(|key| note.sign(key));
    Ok(note)
}

impl Site {
    fn new(folder: &Path, number: u64) -> Outcome<Self> {
        let folder = folder.join(format!("member-{number}"));
        std::fs::create_dir(&folder)?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let name = listener.local_addr()?.to_string();
        FileAnchor::create(folder.join("anchor"))?;
        let (link_seed, recipient) = (Secret::random()?, Recipient::new(&Secret::random()?));
        Ok(Site { number, folder, link_seed, recipient, listener: Some(listener), name })
    }

    /// Where it keeps what it is handed, under a root of its own.
    fn places(&self) -> Outcome<(MemberRoot, Box<FileKeyStore>)> {
        let own = FileRoot::create(self.folder.join("root"))?;
        let epochs = FileKeyStore::new(self.folder.join("epochs"));
        let store = FileKeyStore::new(self.folder.join("keys"));
        Ok((MemberRoot::new(Box::new(own), Box::new(epochs)), Box::new(store)))
    }

    fn receive(&self, fleet: &[u8; 32], sealed: &[u8]) -> Outcome<Custody> {
        let (root, store) = self.places()?;
        let to = Receiver { fleet: *fleet, member: self.number };
        Ok(Custody::receive(sealed, &to, &self.recipient, root, store)?)
    }

    fn custody(&self) -> Outcome<Custody> {
        let (root, store) = self.places()?;
        Ok(Custody::open(Box::new(root), store)?)
    }

    /// Opens the replica, and answers the others on its listener.
    fn replica(&mut self, runtime: &Runtime, policy: &Policy, fleet: &[u8; 32]) -> Outcome<(Replica, JoinHandle<()>)> {
        let tls = Tls::new(fleet, LinkKey::new(&self.link_seed));
        let member = Member {
            number: self.number,
            fleet: *fleet,
            policy: policy.clone(),
            journal_key: self.custody()?.journal_key(),
            anchor: Arc::new(FileAnchor::open(self.folder.join("anchor"))?),
            clock: Arc::new(SystemClock::new(policy.skew_max_s)?),
            links: Arc::new(Streams::new(TcpDials::new(tls.clone()))),
            settings: Settings::default(),
        };
        let replica = runtime.block_on(Replica::open(&self.folder, member))?;
        let listener = self.listener.take().ok_or("it listens already")?;
        let _entered = runtime.enter();
        let listening = tls.acceptor(&replica)?.listen(TcpListener::from_std(listener)?);
        Ok((replica, runtime.spawn(listening)))
    }

    /// The vault over its replica.
    fn vault(&self, runtime: &Runtime, (replica, answers): (Replica, JoinHandle<()>)) -> Outcome<Running> {
        let clock = Arc::new(SystemClock::new(replica.policy().skew_max_s)?);
        let journal = Fleet::new(replica.clone(), Arc::new(runtime.handle().clone()));
        // It reads what the fleet knows of the keys, so it waits for a leader.
        let vault = Vault::over(Box::new(journal), clock, self.custody()?)?;
        Ok(Running { replica, vault, answers })
    }
}

impl Running {
    fn stop(self, runtime: &Runtime) {
        self.answers.abort();
        runtime.block_on(self.replica.stop());
    }
}

/// The leader whom all know.
fn leader_of(running: &BTreeMap<u64, Running>) -> Option<u64> {
    let mut leaders = running.values().map(|member| member.replica.leader());
    let first = leaders.next()??;
    leaders.all(|it| it == Some(first)).then_some(first)
}

fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> Outcome<T> {
    let begun = Instant::now();
    loop {
        match ready() {
            Some(it) => return Ok(it),
            None if begun.elapsed() > Duration::from_secs(30) => return Err(format!("{what} did not come").into()),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn ask(vault: &Vault, account: &AccountId, request: &[u8]) -> Vec<u8> {
    vault.process_bytes(&[Admitted { account: *account, request }]).remove(0)
}

fn enrol(vault: &Vault, account: &AccountId, code: &str, key: &Secret<[u8; 32]>) -> Result<(), Failure> {
    let enrolment = Enrolment::start(&Terms::development(), *account, Code::new(code)?)?;
    let reply = ask(vault, account, enrolment.request());
    let pending = enrolment.finish(&reply, key)?;
    pending.done(&ask(vault, account, pending.request()))?;
    Ok(())
}

fn recover(vault: &Vault, account: &AccountId, code: &str) -> Result<Secret<[u8; 32]>, Failure> {
    let recovery = Recovery::start(&Terms::development(), *account, Code::new(code)?)?;
    let pending = recovery.finish(&ask(vault, account, recovery.request()))?;
    pending.open(&ask(vault, account, pending.request()))
}

fn left(vault: &Vault, account: &AccountId) -> Result<u32, Failure> {
    remaining(&ask(vault, account, &remaining_request(account)?))
}

fn must(holds: bool, what: &str) -> Outcome<()> {
    if holds { Ok(()) } else { Err(format!("it is not as it says: {what}").into()) }
}
