//! Who comes to do harm: a process of its own, from an address of its own, for a while. It says what it did.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use strongroom::account::AccountId;
use strongroom::client::{Code, Recovery, Terms};
use strongroom::protocol::REQUEST_LEN;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::dice::Dice;
use crate::front::{now_s, to_base64, token};
use crate::server::admission_key;

/// Connections that it tries to have.
const CONNECTIONS: u64 = 200;
/// Requests that are made ready before it begins.
const READY: u64 = 2_000;
/// Who can send so many bytes one by one, in a second, has been let in: whoever is turned away is so at once.
const LASTING: usize = 10;

/// Whom a flood for one account is for.
pub(crate) const ONE: AccountId = AccountId([7; 32]);

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Heads and bodies that come a byte at a time.
    Slow,
    /// Bodies that do not end.
    Giant,
    /// As many requests as can be, for one account.
    OneAccount,
    /// As many as can be, each for an account that nobody has.
    Strangers,
    /// Whatever is not a request: noise, half of one, another's token, another's bytes.
    Malformed,
}

impl Kind {
    pub(crate) const ALL: [(Kind, &str); 5] = [
        (Kind::Slow, "a byte at a time"),
        (Kind::Giant, "bodies without end"),
        (Kind::OneAccount, "a flood for one account"),
        (Kind::Strangers, "a flood for accounts that nobody has"),
        (Kind::Malformed, "everything but requests"),
    ];

    /// The statuses of the answers that it must get, each of them, and no others.
    pub(crate) fn answers(self) -> &'static [u16] {
        match self {
            // It is cut off before it has asked anything.
            Kind::Slow => &[],
            Kind::Giant => &[413],
            // Whatever the vault says.
            Kind::OneAccount | Kind::Strangers => &[200],
            Kind::Malformed => &[200, 400, 401, 404],
        }
    }
}

#[derive(Parser)]
pub(crate) struct Arguments {
    kind: Kind,
    /// Where it comes from.
    from: IpAddr,
    server: SocketAddr,
    seconds: u64,
}

/// What it did, and what it got for it: what it prints, in JSON.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) connected: u64,
    /// Connections that were answered, or lasted.
    pub(crate) let_in: u64,
    /// Those that ended before that.
    pub(crate) turned_away: u64,
    pub(crate) sent: u64,
    /// Answers, by their status.
    pub(crate) answers: BTreeMap<u16, u64>,
}

/// Floods for as long as asked.
#[tokio::main]
pub(crate) async fn run(arguments: &Arguments) {
    let Arguments { kind, from, server, seconds } = *arguments;
    let ready = Arc::new(ready(kind));
    let done = Arc::new(Mutex::new(Done::default()));
    let until = Instant::now() + Duration::from_secs(seconds);
    let floods: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let (ready, done) = (ready.clone(), done.clone());
            tokio::spawn(async move {
                let mut dice = Dice(number);
                while Instant::now() < until {
                    let left = until.saturating_duration_since(Instant::now());
                    let connected = connection(kind, from, server, &ready, &done, &mut dice);
                    if !matches!(tokio::time::timeout(left, connected).await, Ok(Some(()))) {
                        // Turned away or cut off: at once again would be a flood of connections, and of nothing else.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect();
    for flood in floods {
        flood.await.ok();
    }
    println!("{}", serde_json::to_string(&*held(&done)).expect("numbers"));
}

fn held(done: &Mutex<Done>) -> MutexGuard<'_, Done> {
    done.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection, until it ends.
async fn connection(
    kind: Kind,
    from: IpAddr,
    server: SocketAddr,
    ready: &[Vec<u8>],
    done: &Mutex<Done>,
    dice: &mut Dice,
) -> Option<()> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::new(from, 0)).ok()?;
    let stream = socket.connect(server).await.ok()?;
    stream.set_nodelay(true).ok()?;
    held(done).connected += 1;
    let mut connection = Connection { stream, done, let_in: false };
    let used = connection.use_up(kind, ready, dice).await;
    if !connection.let_in {
        held(done).turned_away += 1;
    }
    used
}

/// A connection that there is.
struct Connection<'a> {
    stream: TcpStream,
    done: &'a Mutex<Done>,
    let_in: bool,
}

impl Connection<'_> {
    /// Does what it came for, until it is cut off.
    async fn use_up(&mut self, kind: Kind, ready: &[Vec<u8>], dice: &mut Dice) -> Option<()> {
        match kind {
            Kind::Slow => {
                for (number, byte) in one_of(ready, dice).iter().enumerate() {
                    self.send(&[*byte]).await?;
                    if number == LASTING {
                        self.is_let_in();
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Some(())
            }
            Kind::Giant => {
                self.send(one_of(ready, dice)).await?;
                let body = vec![b'A'; 64 << 10];
                while self.send(&body).await.is_some() {}
                // What the server said before it hung up is still there to be read.
                self.hear().await?;
                None
            }
            Kind::OneAccount | Kind::Strangers | Kind::Malformed => loop {
                self.send(one_of(ready, dice)).await?;
                self.hear().await?;
            },
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).await.ok()?;
        held(self.done).sent += 1;
        Some(())
    }

    /// Hears an answer. It fits one read on a loopback, and if not, the rest is taken for the next, of no status.
    async fn hear(&mut self) -> Option<()> {
        let mut reply = vec![0; 16 << 10];
        let length = self.stream.read(&mut reply).await.ok()?;
        if length == 0 {
            return None;
        }
        if let Some(status) = status(&reply[..length]) {
            *held(self.done).answers.entry(status).or_default() += 1;
            self.is_let_in();
        }
        Some(())
    }

    fn is_let_in(&mut self) {
        if !std::mem::replace(&mut self.let_in, true) {
            held(self.done).let_in += 1;
        }
    }
}

fn one_of<'a>(ready: &'a [Vec<u8>], dice: &mut Dice) -> &'a [u8] {
    &ready[dice.below(ready.len() as u64) as usize]
}

fn status(reply: &[u8]) -> Option<u16> {
    let status = reply.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

/// Requests whole with their heads, made before the clock runs.
fn ready(kind: Kind) -> Vec<Vec<u8>> {
    // Not those of anybody else, or accounts would be theirs.
    let mut dice = Dice((1 << 40) + kind as u64);
    (0..READY)
        .map(|number| {
            let account = match kind {
                Kind::OneAccount => ONE,
                _ => AccountId(std::array::from_fn(|_| dice.below(256) as u8)),
            };
            let code = Code::new("a guess").expect("a code");
            let recovery = Recovery::start(&Terms::development(), account, code).expect("terms that can be met");
            let mut request = recovery.request().to_vec();
            let mut token = token(&admission_key(), &account, now_s() + 3600);
            let mut route = "recover";
            if kind == Kind::Malformed {
                match number % 8 {
                    0 => return (0..400).map(|_| dice.below(256) as u8).collect(),
                    1 => request.truncate(dice.below(REQUEST_LEN as u64) as usize),
                    2 => request[dice.below(34) as usize] ^= 1,
                    // An element that does not decode.
                    3 => request[34..66].fill(0xff),
                    4 => token.replace_range(4..8, "AAAA"),
                    5 => route = "nowhere",
                    6 => request.fill(0xee),
                    _ => token = "x".repeat(12_000),
                }
            }
            let body = format!("{{\"request\":\"{}\"}}", to_base64(&request));
            // A giant's request is right but for what follows it: nothing else may be why it is refused.
            let length = if kind == Kind::Giant { 1_000_000_000_000 } else { body.len() as u64 };
            let head = format!(
                "POST /v1/{route} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: \
                 application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            head.into_bytes()
        })
        .collect()
}
