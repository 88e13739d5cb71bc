//! Vaults over simulated replicas. What a vault does is done on a thread of its own, of which one goes on at a time: it and the
//! simulation hand the turn to each other, so that one seed is one history with them too.

use std::cell::RefCell;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use strongroom::account::AccountId;
use strongroom::error::Fault;
use strongroom::fleet::{Fleet, Replica, Waits, Work};
use strongroom::journal::{Clock, ManualClock};
use strongroom::vault::{Admitted, Custody, MemoryKeyStore, Vault};
use strongroom::wrap::MemoryRoot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::TcpStream;

/// Between two tries to open a vault, while there is no leader.
const RETRY: Duration = Duration::from_millis(200);

thread_local! {
    /// On a thread of a vault.
    static TURNS: RefCell<Option<Turns>> = const { RefCell::new(None) };
}

/// How a vault's thread takes turns with the simulation.
struct Turns {
    /// What it waits for, or nothing once it is done.
    waits: Sender<Option<Work>>,
    goes_on: Receiver<()>,
}

/// Hands the turn to the simulation.
struct Waiting;

impl Waits for Waiting {
    fn wait(&self, work: Work) {
        TURNS.with_borrow(|turns| {
            let Turns { waits, goes_on } = turns.as_ref().expect("a thread of a vault");
            // Once the member has crashed nobody does the work, and what waits for it is given up.
            if waits.send(Some(work)).is_ok() {
                goes_on.recv().ok();
            }
        });
    }
}

/// Gives a thread up, and waits until it is gone.
struct Thread<T> {
    goes_on: Option<Sender<()>>,
    handle: Option<JoinHandle<T>>,
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        self.goes_on = None;
        if let Some(handle) = self.handle.take() {
            handle.join().ok();
        }
    }
}

/// The result of work of a vault.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (waits, waited_for) = channel();
    let (goes_on, told) = channel();
    let handle = thread::spawn(move || {
        TURNS.set(Some(Turns { waits: waits.clone(), goes_on: told }));
        let done = work();
        waits.send(None).ok();
        done
    });
    let mut thread = Thread { goes_on: Some(goes_on), handle: Some(handle) };
    while let Ok(Some(work)) = waited_for.recv() {
        work.await;
        thread.goes_on.as_ref().expect("it goes on").send(()).ok();
    }
    thread.handle.take().expect("it runs").join().expect("a vault that does not panic")
}

/// The keys of every member's vault.
pub(crate) struct Keys {
    root: Arc<MemoryRoot>,
    store: Arc<MemoryKeyStore>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let keys = Keys { root: Arc::default(), store: Arc::default() };
        Custody::create(Box::new(keys.root.clone()), Box::new(keys.store.clone())).expect("keys");
        keys
    }

    fn custody(&self) -> Custody {
        Custody::open(Box::new(self.root.clone()), Box::new(self.store.clone())).expect("they were made")
    }
}

/// A member's vault, once there was a leader.
#[derive(Clone)]
pub(crate) struct Door {
    vault: Arc<OnceLock<Arc<Vault>>>,
    clock: Arc<ManualClock>,
    /// The member's.
    shows: Arc<dyn Clock>,
}

impl Door {
    /// Opens a vault over this replica, as soon as it can be.
    pub(crate) fn over(replica: &Replica, keys: &Arc<Keys>, shows: Arc<dyn Clock>) -> Self {
        let door = Door { vault: Arc::default(), clock: Arc::new(ManualClock::new(0)), shows };
        let (opened, replica, keys) = (door.clone(), replica.clone(), Arc::clone(keys));
        tokio::spawn(async move {
            loop {
                opened.clock.set(opened.shows.now_s().unwrap_or_default());
                let (journal, clock) = (Fleet::new(replica.clone(), Arc::new(Waiting)), opened.clock.clone());
                let custody = keys.custody();
                match apart(move || Vault::over(Box::new(journal), clock, custody)).await {
                    Ok(vault) => break drop(opened.vault.set(Arc::new(vault))),
                    Err(Fault::Latched) => break,
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
        });
        door
    }

    /// Answers one request: the account, the request's length and the request; an empty reply where there is no vault yet.
    pub(crate) async fn answer(&self, stream: &mut TcpStream) -> io::Result<()> {
        let mut account = [0; 32];
        stream.read_exact(&mut account).await?;
        let mut request = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut request).await?;
        let reply = match self.vault.get().cloned() {
            Some(vault) => {
                self.clock.set(self.shows.now_s().unwrap_or_default());
                let admitted = move |vault: &Vault| {
                    vault.process_bytes(&[Admitted { account: AccountId(account), request: &request }]).remove(0)
                };
                apart(move || admitted(&vault)).await
            }
            None => Vec::new(),
        };
        stream.write_u16(reply.len() as u16).await?;
        stream.write_all(&reply).await
    }
}

/// Asks the vault at the other end: what it replies, if there is one.
pub(crate) async fn ask(stream: &mut TcpStream, account: &AccountId, request: &[u8]) -> io::Result<Option<Vec<u8>>> {
    stream.write_all(&account.0).await?;
    stream.write_u16(request.len() as u16).await?;
    stream.write_all(request).await?;
    let mut reply = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut reply).await?;
    Ok(Some(reply).filter(|reply| !reply.is_empty()))
}
