//! Who comes to do harm: a process of its own, from an address of its own, for a while. It says what it did.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
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
}

#[derive(Parser)]
pub(crate) struct Arguments {
    kind: Kind,
    /// Where it comes from.
    from: IpAddr,
    server: SocketAddr,
    seconds: u64,
}

/// What it did, and what it got for it.
#[derive(Default)]
struct Done {
    connected: AtomicU64,
    turned_away: AtomicU64,
    sent: AtomicU64,
    answered: AtomicU64,
}

/// Floods for as long as asked.
#[tokio::main]
pub(crate) async fn run(arguments: &Arguments) {
    let Arguments { kind, from, server, seconds } = *arguments;
    let ready = Arc::new(ready(kind));
    let done = Arc::new(Done::default());
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
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let Done { connected, turned_away, sent, answered } = &*done;
    println!("{} {} {} {}", count(connected), count(turned_away), count(sent), count(answered));
}

/// One connection, until it ends.
async fn connection(
    kind: Kind,
    from: IpAddr,
    server: SocketAddr,
    ready: &[Vec<u8>],
    done: &Done,
    dice: &mut Dice,
) -> Option<()> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::new(from, 0)).ok()?;
    let mut stream = socket.connect(server).await.ok()?;
    stream.set_nodelay(true).ok()?;
    done.connected.fetch_add(1, Ordering::Relaxed);
    let used = use_up(kind, &mut stream, ready, done, dice).await;
    if used.is_none() {
        done.turned_away.fetch_add(1, Ordering::Relaxed);
    }
    used
}

async fn use_up(kind: Kind, stream: &mut TcpStream, ready: &[Vec<u8>], done: &Done, dice: &mut Dice) -> Option<()> {
    match kind {
        Kind::Slow => {
            for byte in ready[dice.below(ready.len() as u64) as usize].clone() {
                stream.write_all(&[byte]).await.ok()?;
                done.sent.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Kind::Giant => {
            let head = "POST /v1/recover HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                        content-length: 1000000000000\r\n\r\n{\"request\":\"";
            stream.write_all(head.as_bytes()).await.ok()?;
            let body = vec![b'A'; 64 << 10];
            loop {
                stream.write_all(&body).await.ok()?;
                done.sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        Kind::OneAccount | Kind::Strangers | Kind::Malformed => {
            let mut reply = vec![0; 16 << 10];
            loop {
                let request = &ready[dice.below(ready.len() as u64) as usize];
                stream.write_all(request).await.ok()?;
                done.sent.fetch_add(1, Ordering::Relaxed);
                // A reply fits one read on a loopback, and if not, the rest is taken for the next.
                if stream.read(&mut reply).await.ok()? == 0 {
                    return None;
                }
                done.answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Some(())
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
            let head = format!(
                "POST /v1/{route} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: \
                 application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            head.into_bytes()
        })
        .collect()
}
