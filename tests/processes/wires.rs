//! The ways between members: through relays of this process, or through the kernel's own network, a namespace for each member.
//!
//! A relay takes bytes and lets them go late or never; whoever dialled it has a connection that works. In namespaces what is cut
//! loses its packets on the way, and TCP notices by itself, as it does between machines.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use tokio::runtime::Runtime;

use crate::fleet::Outcome;
use crate::relay::{Relay, Way};

/// The network between the namespaces. Its last number is the member's; this process has 254.
const NETWORK: &str = "10.77.0";
/// Nobody's. What is sent there is lost.
const NOBODY: &str = "02:00:00:00:de:ad";

pub(crate) enum Wires {
    /// From whom, to whom.
    Relays(BTreeMap<(u64, u64), Relay>),
    Namespaces {
        /// The ways on which packets are lost.
        cut: RefCell<BTreeSet<(u64, u64)>>,
    },
}

/// Has the kernel do it.
fn ip(arguments: &str) -> Outcome<()> {
    let done = Command::new("ip").args(arguments.split(' ')).output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&done.stderr)).into()),
    }
}

impl Wires {
    pub(crate) fn relays() -> Self {
        Wires::Relays(BTreeMap::new())
    }

    /// A bridge, at which the members' namespaces will be. For a process in a network and a tree of mounts of its own.
    pub(crate) fn namespaces() -> Outcome<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]).status()?;
        if !mounted.success() {
            return Err("/run is not this process's".into());
        }
        ip("link set lo up")?;
        ip("link add bridge type bridge")?;
        ip(&format!("address add {NETWORK}.254/24 dev bridge"))?;
        ip("link set bridge up")?;
        Ok(Wires::Namespaces { cut: RefCell::default() })
    }

    /// Where a member is.
    pub(crate) fn host(&self, number: u64) -> String {
        match self {
            Wires::Relays(_) => "127.0.0.1".to_owned(),
            Wires::Namespaces { .. } => format!("{NETWORK}.{number}"),
        }
    }

    /// A member at this port comes among the others, at theirs.
    pub(crate) fn born(&mut self, number: u64, links: u16, others: &[(u64, u16)], runtime: &Runtime) -> Outcome<()> {
        match self {
            Wires::Relays(relays) => {
                for (other, theirs) in others {
                    let to = |port| Relay::to(format!("127.0.0.1:{port}"), runtime);
                    relays.insert((*other, number), to(links)?);
                    relays.insert((number, *other), to(*theirs)?);
                }
                Ok(())
            }
            Wires::Namespaces { .. } => {
                ip(&format!("netns add m{number}"))?;
                ip(&format!("link add v{number} type veth peer name eth0 netns m{number}"))?;
                ip(&format!("link set v{number} master bridge up"))?;
                ip(&format!("-n m{number} address add {NETWORK}.{number}/24 dev eth0"))?;
                ip(&format!("-n m{number} link set eth0 up"))?;
                ip(&format!("-n m{number} link set lo up"))
            }
        }
    }

    pub(crate) fn gone(&mut self, number: u64) -> Outcome<()> {
        match self {
            Wires::Relays(relays) => relays.retain(|(from, to), _| ![from, to].contains(&&number)),
            Wires::Namespaces { cut } => {
                cut.borrow_mut().retain(|(from, to)| ![from, to].contains(&&number));
                ip(&format!("netns delete m{number}"))?;
            }
        }
        Ok(())
    }

    /// What runs a member in its place, with the ways to the others among the last of its arguments.
    pub(crate) fn command(&self, number: u64, program: &str, arguments: &[String]) -> Command {
        match self {
            Wires::Relays(relays) => {
                let mut command = Command::new(program);
                command.args(arguments);
                for ((_, to), relay) in relays.iter().filter(|((from, _), _)| *from == number) {
                    command.arg("--reach").arg(format!("{to}={}", relay.address));
                }
                command
            }
            Wires::Namespaces { .. } => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/m{number}")).arg(program).args(arguments);
                command
            }
        }
    }

    /// What is wrong with each way between these.
    pub(crate) fn are(&self, members: &[u64], way: impl Fn(u64, u64) -> Way) -> Outcome<()> {
        match self {
            Wires::Relays(relays) => relays.iter().for_each(|((from, to), relay)| relay.is(way(*from, *to))),
            Wires::Namespaces { cut } => {
                let mut cut = cut.borrow_mut();
                for (from, to) in members.iter().flat_map(|from| members.iter().map(move |to| (*from, *to))) {
                    let lost = from != to && way(from, to) == Way::Cut;
                    if lost && cut.insert((from, to)) {
                        let neighbour = format!("{NETWORK}.{to} lladdr {NOBODY} dev eth0 nud permanent");
                        ip(&format!("-n m{from} neighbour replace {neighbour}"))?;
                    } else if !lost && cut.remove(&(from, to)) {
                        ip(&format!("-n m{from} neighbour delete {NETWORK}.{to} dev eth0"))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The control: from the one's place the other is reached, and not once the way is cut.
    pub(crate) fn cut_what_they_say(&self, one: u64, other: u64, port: u16) -> Outcome<()> {
        let Wires::Namespaces { .. } = self else { return Ok(()) };
        let reaches = || {
            let dials = format!("exec 3<>/dev/tcp/{}/{port}", self.host(other));
            let arguments = ["0.5", "bash", "-c", &dials].map(str::to_owned);
            let dialled = self.command(one, "timeout", &arguments).stderr(Stdio::null()).status();
            dialled.is_ok_and(|status| status.success())
        };
        for (way, reached) in [(Way::Open, true), (Way::Cut, false), (Way::Open, true)] {
            self.are(&[one, other], |from, _| if from == one { way } else { Way::Open })?;
            if reaches() != reached {
                return Err(format!("{way:?}, and {one} reaches {other}: {}", !reached).into());
            }
        }
        Ok(())
    }

    /// Has this process where these members were, once they have stopped.
    pub(crate) fn take_places(&mut self, members: &[u64]) -> Outcome<()> {
        if let Wires::Namespaces { .. } = self {
            for number in members {
                self.gone(*number)?;
                ip(&format!("address add {NETWORK}.{number}/32 dev lo"))?;
            }
        }
        Ok(())
    }
}

/// Runs one test of this program where it may have namespaces of its own, if the system lets it; whether it does.
pub(crate) fn in_a_network_of_its_own(test: &str) -> bool {
    let alone = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--net", "--mount", "--"]).stdin(Stdio::null());
        unshare
    };
    // All that is asked of the system, once.
    let tries = "mount -t tmpfs tmpfs /run && ip link add tried type bridge && ip netns add tried && \
                 ip link add one type veth peer name two netns tried && nsenter --net=/run/netns/tried timeout 1 true";
    if !alone().args(["bash", "-c", tries]).output().is_ok_and(|tried| tried.status.success()) {
        return false;
    }
    let program = std::env::current_exe().expect("it runs");
    let done = alone().arg(program).args(["--exact", test, "--nocapture"]).env(INSIDE, "1").status();
    assert!(done.is_ok_and(|status| status.success()), "in a network of its own");
    true
}

/// Set where a test is in a network of its own.
pub(crate) const INSIDE: &str = "FLEET_INSIDE";
