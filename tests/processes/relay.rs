//! The way from one member to another, which is told what is wrong with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How late a message may be, either way.
const LATE_MS: u64 = 60;

/// What is wrong with a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Nothing comes through, and nobody is told.
    Cut,
    Slow,
}

/// Listens in the place of a member, for one other.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    way: watch::Sender<Way>,
}

impl Relay {
    pub(crate) fn to(member: String, runtime: &Runtime) -> std::io::Result<Self> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let (way, told) = watch::channel(Way::Open);
        runtime.spawn(async move {
            let member: Arc<str> = member.into();
            while let Ok((stream, _)) = listener.accept().await {
                let (member, told) = (member.clone(), told.clone());
                tokio::spawn(async move { pass(stream, &member, told).await.ok() });
            }
        });
        Ok(Relay { address, way })
    }

    pub(crate) fn is(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn pass(dialled: TcpStream, member: &str, told: watch::Receiver<Way>) -> std::io::Result<()> {
    open(&mut told.clone()).await;
    let answers = TcpStream::connect(member).await?;
    dialled.set_nodelay(true)?;
    answers.set_nodelay(true)?;
    let ((from, back), (answer, to)) = (dialled.into_split(), answers.into_split());
    tokio::select! {
        done = carry(from, to, told.clone()) => done,
        done = carry(answer, back, told) => done,
    }
}

/// Waits until something comes through.
async fn open(told: &mut watch::Receiver<Way>) -> Way {
    let way = told.wait_for(|way| *way != Way::Cut).await.map(|way| *way).ok();
    match way {
        Some(way) => way,
        // Nobody tells this way any more.
        None => std::future::pending().await,
    }
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut told: watch::Receiver<Way>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    let mut late = 0_u64;
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        if open(&mut told).await == Way::Slow {
            late = late.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokio::time::sleep(Duration::from_millis((late >> 33) % LATE_MS)).await;
        }
        to.write_all(&bytes[..count]).await?;
    }
}
