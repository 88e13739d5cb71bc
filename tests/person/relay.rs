//! Somebody on the way: counts what passes, and loses answers when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// A way to a server that is watched.
pub(crate) struct Relay {
    pub(crate) address: String,
    seen: Arc<Seen>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Seen {
    /// Bytes to the server, and back.
    up: AtomicUsize,
    down: AtomicUsize,
    /// Answers that are yet to come through, before any is lost, and to be lost then.
    to_pass: AtomicUsize,
    to_lose: AtomicUsize,
    lost: AtomicUsize,
}

impl Relay {
    pub(crate) fn before(server: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let (seen, server) = (Arc::new(Seen::default()), server.trim_start_matches("http://").to_owned());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = seen.clone();
        runtime.spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(pass(client, server, shared.clone()));
            }
        });
        Relay { address, seen, _runtime: runtime }
    }

    /// The next so many answers do not arrive.
    pub(crate) fn lose(&self, answers: usize) {
        self.lose_after(0, answers);
    }

    /// The next so many answers arrive, and so many after them do not.
    pub(crate) fn lose_after(&self, pass: usize, lose: usize) {
        self.seen.to_pass.store(pass, Ordering::SeqCst);
        self.seen.to_lose.store(lose, Ordering::SeqCst);
    }

    /// After so many answers, none arrives until [`Relay::lose`] says otherwise.
    pub(crate) fn lose_all_after(&self, answers: usize) {
        self.lose_after(answers, usize::MAX);
    }

    pub(crate) fn lost(&self) -> usize {
        self.seen.lost.load(Ordering::SeqCst)
    }

    /// Bytes there and back since the last time.
    pub(crate) fn passed(&self) -> (usize, usize) {
        (self.seen.up.swap(0, Ordering::SeqCst), self.seen.down.swap(0, Ordering::SeqCst))
    }
}

async fn pass(client: TcpStream, server: TcpStream, seen: Arc<Seen>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = async {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            seen.up.fetch_add(count, Ordering::SeqCst);
            if to_server.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            let one_less = |count: &AtomicUsize| {
                count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
            };
            // An answer may come in several pieces.
            let begins = bytes.starts_with(b"HTTP/1.");
            if begins && !one_less(&seen.to_pass) && one_less(&seen.to_lose) {
                // The server has answered; the connection ends before the answer is through.
                seen.lost.fetch_add(1, Ordering::SeqCst);
                break;
            }
            seen.down.fetch_add(count, Ordering::SeqCst);
            if to_client.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}
