//! The fleet under test: what an operator does with the command line, and relays between the members.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use strongroom::fleet::{Fleet, Settings, Streams, TcpDials};
use strongroom::journal::Journal;
use strongroom::ledger::{Policy, State};
use tokio::runtime::Runtime;

use crate::ports::port;
use crate::relay::Way;
use crate::site::Site;
use crate::wires::Wires;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PATIENCE: Duration = Duration::from_secs(60);
/// What a build to come reads, which this one plays where mistakes may be planted in it; elsewhere it is restarted as it is.
const NEXT: u8 = if cfg!(feature = "planted") { 2 } else { 1 };
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A member, whether it runs or not.
struct Member {
    process: Option<Child>,
    people: u16,
    operations: u16,
    links: u16,
}

/// A fleet of processes.
pub(crate) struct Processes {
    folder: PathBuf,
    members: BTreeMap<u64, Member>,
    wires: Wires,
    /// What a statement says of each.
    named: BTreeMap<u64, String>,
    /// How many statements have named members, and how many members there have been.
    statements: u64,
    born: u64,
    /// The newest version that the builds read which members are started on.
    newest: u8,
}

impl Processes {
    /// From the ceremony to members that run.
    pub(crate) fn found(folder: &Path, count: u64, wires: Wires, runtime: &Runtime) -> Outcome<Self> {
        let mut fleet = Processes {
            folder: folder.to_owned(),
            members: BTreeMap::new(),
            wires,
            named: BTreeMap::new(),
            statements: 0,
            born: 0,
            newest: Settings::default().newest,
        };
        let path = |name: &str| folder.join(name).display().to_string();
        std::fs::write(folder.join("admission.key"), [42; 32])?;
        let keys = ["auditor", "operator", "auditor-evidence", "operator-evidence"];
        let mut public = Vec::new();
        for name in keys {
            let key = path(&format!("{name}.key"));
            public.push(fleet.told(&["signer", "new", "--name", &format!("{name}.example"), &key])?.trim().to_owned());
        }
        let participants = ["auditor", "operator"].map(|who| {
            let at = keys.iter().position(|it| *it == format!("{who}-evidence")).unwrap();
            format!("{who}={}", public[at])
        });
        fleet.told(&[
            "ceremony",
            "--folder",
            &path("ceremony"),
            "--namespace",
            "example.org/backup",
            "--auditor",
            &public[0],
            "--operator",
            &public[1],
            "--participant",
            &participants[0],
            "--participant",
            &participants[1],
            "--attempts-max",
            "4",
            "--lifetime-max",
            "12",
            "--out",
            &path("drawn"),
        ])?;
        for _ in 1..=count {
            fleet.born(runtime)?;
        }
        let statement = fleet.name()?;
        for number in 1..=count {
            let (member, keys) = (number.to_string(), path(&format!("keys-{number}")));
            let channel_key = path(&format!("member-{number}/channel.pub"));
            fleet.told(&[
                "fleet",
                "hand-over",
                "--folder",
                &path("ceremony"),
                "--statement",
                &statement,
                "--member",
                &member,
                "--channel-key",
                &channel_key,
                &keys,
            ])?;
            fleet.told(&[
                "fleet",
                "take",
                "--folder",
                &path(&format!("member-{number}")),
                "--artifact",
                &path("drawn/fleet-keys.json"),
                "--statement",
                &statement,
                "--keys",
                &keys,
            ])?;
        }
        std::fs::remove_dir_all(folder.join("ceremony"))?;
        for number in fleet.numbers() {
            fleet.start(number)?;
        }
        Ok(fleet)
    }

    /// What a command prints that must succeed.
    fn told(&self, arguments: &[&str]) -> Outcome<String> {
        let done = Command::new(env!("CARGO_BIN_EXE_strongroom")).args(arguments).stdin(Stdio::null()).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if done.status.success() {
            return Ok(text(&done.stdout));
        }
        let (told, wrong) = (text(&done.stdout), text(&done.stderr));
        Err(format!("strongroom {}: {}: {told}{wrong}", arguments.join(" "), done.status).into())
    }

    /// A new member's folder, and the ways between it and the others; its number.
    fn born(&mut self, runtime: &Runtime) -> Outcome<u64> {
        self.born += 1;
        let number = self.born;
        let [people, operations, links] = [(); 3].map(|()| port(&[]));
        let (name, folder) =
            (format!("{}:{links}", self.wires.host(number)), self.folder_of(number).display().to_string());
        let told =
            self.told(&["fleet", "member", "--folder", &folder, "--number", &number.to_string(), "--name", &name])?;
        let others: Vec<_> = self.members.iter().map(|(other, member)| (*other, member.links)).collect();
        self.wires.born(number, links, &others, runtime)?;
        self.members.insert(number, Member { process: None, people, operations, links });
        self.named.insert(number, told.trim().to_owned());
        Ok(number)
    }

    /// Has both signers name those who are to be members; the statement's file.
    fn name(&mut self) -> Outcome<String> {
        let file = |number: u64| self.folder.join(format!("members-{number}")).display().to_string();
        let (previous, out) = (file(self.statements), file(self.statements + 1));
        let artifact = self.folder.join("drawn/fleet-keys.json").display().to_string();
        let mut arguments = vec!["statement", "members", "--artifact", &artifact, "--out", &out];
        self.named.values().for_each(|one| arguments.extend(["--member", one]));
        if self.statements > 0 {
            arguments.extend(["--previous", &previous]);
        }
        self.told(&arguments)?;
        for signer in ["auditor", "operator"] {
            let key = self.folder.join(format!("{signer}.key")).display().to_string();
            self.told(&["statement", "sign", "--key", &key, &out])?;
        }
        self.statements += 1;
        Ok(out)
    }

    fn folder_of(&self, number: u64) -> PathBuf {
        self.folder.join(format!("member-{number}"))
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    pub(crate) fn admission(&self) -> SigningKey {
        SigningKey::from_bytes(&[42; 32])
    }

    /// Where people are answered.
    pub(crate) fn doors(&self) -> Arc<[String]> {
        self.members.iter().map(|(number, it)| format!("http://{}:{}", self.wires.host(*number), it.people)).collect()
    }

    fn operations(&self, number: u64) -> String {
        format!("http://{}:{}", self.wires.host(number), self.members[&number].operations)
    }

    pub(crate) fn start(&mut self, number: u64) -> Outcome<()> {
        let log = self.folder.join(format!("member-{number}.log"));
        let log = File::options().create(true).append(true).open(log)?;
        let (member, host) = (&self.members[&number], self.wires.host(number));
        let arguments = [
            ("--folder", self.folder_of(number).display().to_string()),
            ("--listen", format!("{host}:{}", member.people)),
            ("--operations", format!("{host}:{}", member.operations)),
            ("--newest", self.newest.to_string()),
            ("--admit-anybody", self.folder.join("admission.key").display().to_string()),
        ];
        let arguments: Vec<_> = ["fleet", "run", "--with-parent"]
            .map(str::to_owned)
            .into_iter()
            .chain(arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]))
            .collect();
        let mut command = self.wires.command(number, env!("CARGO_BIN_EXE_strongroom"), &arguments);
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        self.members.get_mut(&number).expect("it was born").process = Some(process);
        Ok(())
    }

    pub(crate) fn signal(&self, number: u64, signal: Signal) -> Outcome<()> {
        let process = self.members[&number].process.as_ref().ok_or("it does not run")?;
        Ok(kill(Pid::from_raw(process.id() as i32), signal)?)
    }

    /// Ends a member, and waits until it is gone.
    pub(crate) fn end(&mut self, number: u64, signal: Signal) -> Outcome<()> {
        self.signal(number, signal)?;
        let process = self.members.get_mut(&number).and_then(|it| it.process.take());
        let status = process.ok_or("it does not run")?.wait()?;
        match signal {
            Signal::SIGTERM if !status.success() => {
                Err(format!("member {number} did not stop in peace: {status}").into())
            }
            _ => Ok(()),
        }
    }

    /// Ends a member, and whatever it had.
    pub(crate) fn lose(&mut self, number: u64) -> Outcome<()> {
        self.end(number, Signal::SIGKILL)?;
        Ok(std::fs::remove_dir_all(self.folder_of(number))?)
    }

    /// No member has ended by itself.
    pub(crate) fn all_run(&mut self) -> Outcome<()> {
        for (number, member) in &mut self.members {
            if let Some(status) = member.process.as_mut().and_then(|it| it.try_wait().transpose()).transpose()? {
                return Err(format!("member {number} has ended by itself: {status}").into());
            }
        }
        Ok(())
    }

    /// What is wrong with each way.
    pub(crate) fn ways(&self, way: impl Fn(u64, u64) -> Way) -> Outcome<()> {
        self.wires.are(&self.numbers(), way)
    }

    pub(crate) fn heal(&self) -> Outcome<()> {
        self.ways(|_, _| Way::Open)
    }

    /// What is told of a way is so.
    pub(crate) fn ways_are_what_they_say(&self) -> Outcome<()> {
        let [one, other, ..] = self.numbers()[..] else { return Err("two members at least".into()) };
        self.wires.cut_what_they_say(one, other, self.members[&other].links)
    }

    /// The control: members of whom none hears another answer nobody, and do again once they hear each other.
    pub(crate) fn cuts_are_felt(&mut self) -> Outcome<()> {
        self.wires.are(&self.numbers(), |_, _| Way::Cut)?;
        let begun = Instant::now();
        while self.status()?.0 {
            if begun.elapsed() > PATIENCE {
                return Err("members that hear nobody answer all the same: what cuts them off does not".into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.heal()?;
        self.wait_until_it_stands()
    }

    /// Whether the fleet answers, and its table.
    pub(crate) fn status(&self) -> Outcome<(bool, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command.args(["fleet", "status"]).args(self.numbers().iter().map(|number| self.operations(*number)));
        let done = command.output()?;
        Ok((done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned()))
    }

    /// Waits until every member says that it is ready.
    pub(crate) fn wait_until_it_stands(&mut self) -> Outcome<()> {
        let begun = Instant::now();
        loop {
            let (stands, table) = self.status()?;
            if stands && table.matches("ready").count() == self.members.len() {
                return Ok(());
            }
            self.all_run()?;
            if begun.elapsed() > PATIENCE {
                return Err(format!("the fleet does not stand after {PATIENCE:?}:\n{table}").into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Who leads, by the table.
    pub(crate) fn leader(&mut self) -> Outcome<u64> {
        self.wait_until_it_stands()?;
        let table = self.status()?.1;
        let leads = table.lines().find(|line| line.contains(" leads "));
        let number = leads.and_then(|line| line.split_whitespace().next()?.parse().ok());
        Ok(number.ok_or_else(|| format!("nobody leads:\n{table}"))?)
    }

    /// Waits until the fleet's table has these words.
    fn wait_until_it_shows(&self, words: &str) -> Outcome<()> {
        let begun = Instant::now();
        while !self.status()?.1.contains(words) {
            if begun.elapsed() > PATIENCE {
                return Err(
                    format!("the table does not show {words:?} after {PATIENCE:?}:\n{}", self.status()?.1).into()
                );
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Brings every member to a build to come, one after the other, each once the one before is back.
    pub(crate) fn upgrade(&mut self) -> Outcome<()> {
        self.newest = NEXT;
        for number in self.numbers() {
            self.wait_until_it_stands()?;
            self.end(number, Signal::SIGTERM)?;
            self.start(number)?;
        }
        self.wait_until_it_stands()?;
        self.wait_until_it_shows(&format!("the fleet speaks version {NEXT}\n"))
    }

    /// Turns keys, as the guide says: where too few have kept them in time, once more.
    pub(crate) fn rotate(&self, number: u64, kind: &str) -> Outcome<()> {
        let begun = Instant::now();
        loop {
            match self.told(&["fleet", "rotate", "--at", &self.operations(number), kind]) {
                Err(why)
                    if begun.elapsed() < PATIENCE
                        && why.to_string().contains("fewer than a majority of the members keep") =>
                {
                    std::thread::sleep(LOOK_EVERY);
                }
                told => return told.map(drop),
            }
        }
    }

    /// Puts a new member in the place of this one, by a statement of both signers.
    pub(crate) fn replace(&mut self, leaves: u64, runtime: &Runtime) -> Outcome<()> {
        let joins = self.born(runtime)?;
        self.named.remove(&leaves);
        let statement = self.name()?;
        let stays = *self.named.keys().next().ok_or("nobody stays")?;
        let (at, folder) = (self.operations(stays), self.folder_of(joins).display().to_string());
        let artifact = self.folder.join("drawn/fleet-keys.json").display().to_string();
        self.told(&["fleet", "obey", "--at", &at, &statement])?;
        self.told(&[
            "fleet",
            "take",
            "--folder",
            &folder,
            "--artifact",
            &artifact,
            "--statement",
            &statement,
            "--from",
            &at,
        ])?;
        self.start(joins)?;
        let numbers: Vec<_> = self.named.keys().map(u64::to_string).collect();
        let settled = format!("{} vote: {}; a majority is 3;", numbers.len(), numbers.join(", "));
        self.wait_until_it_shows(&settled)?;
        if self.members[&leaves].process.is_some() {
            self.end(leaves, Signal::SIGTERM)?;
        }
        self.members.remove(&leaves);
        self.wires.gone(leaves)
    }

    /// Tells all to stop.
    pub(crate) fn stop(&mut self) -> Outcome<()> {
        self.numbers().into_iter().try_for_each(|number| self.end(number, Signal::SIGTERM))?;
        self.wires.take_places(&self.numbers())
    }

    /// Opens every member's log once more in this process, and shows the state that a majority confirms.
    pub(crate) fn look(&self, runtime: &Runtime, look: &mut dyn FnMut(&State, &Policy)) -> Outcome<()> {
        let mut replicas = Vec::new();
        for number in self.numbers() {
            let site = Site::open(&self.folder_of(number))?;
            let tls = site.tls()?;
            let links = Arc::new(Streams::new(TcpDials::new(tls.clone())));
            let replica =
                runtime.block_on(site.replica(links, Settings { newest: self.newest, ..Settings::default() }))?;
            let listener = runtime.block_on(tokio::net::TcpListener::bind(&site.name))?;
            runtime.spawn(tls.acceptor(&replica)?.listen(listener));
            replicas.push(replica);
        }
        let fleet = Fleet::new(replicas[0].clone(), Arc::new(runtime.handle().clone()));
        let begun = Instant::now();
        let shown = loop {
            match fleet.read(&mut |state| look(state, fleet.policy())) {
                Ok(_) => break Ok(()),
                Err(fault) if begun.elapsed() > PATIENCE => break Err(fault.into()),
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        };
        replicas.iter().for_each(|replica| runtime.block_on(replica.stop()));
        shown
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in self.members.values_mut().filter_map(|it| it.process.as_mut()) {
            process.kill().ok();
            process.wait().ok();
        }
    }
}
