//! [`Streams`]: messages over streams that are sure of both ends. Many calls share one stream to a member, each frame under
//! a number by which its reply is known.
//!
//! A frame is its length in four bytes, the number in eight, and the message. A longer frame than a message may be, or a
//! reply to what was not asked, ends the stream; calls on it fail, and the next one dials anew. So does a call that is given
//! up while nothing has come back since it was made: the other end may have gone without a word.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::link::{Address, Call, Links};
use super::message::MESSAGE_MAX;
use super::replica::Replica;

/// Requests of one member that are worked on at once; the stream is not read further meanwhile.
const SERVED_MAX: usize = 64;
/// Frames that wait to be written to one stream.
const WRITES_MAX: usize = 64;

/// A stream that is being opened.
pub type Dialled<'a, S> = Pin<Box<dyn Future<Output = io::Result<S>> + Send + 'a>>;

/// Opens streams to members.
pub trait Dials: Send + Sync + 'static {
    /// A stream of bytes, sure of who is at the other end.
    type Stream: AsyncRead + AsyncWrite + Send + 'static;

    /// Opens a stream to `member`, which is found at `address`.
    ///
    /// # Errors
    /// Of each: the member is not there, or who is there is not the member.
    fn dial<'a>(&'a self, member: u64, address: &'a Address) -> Dialled<'a, Self::Stream>;
}

/// The way to other members over streams, one to each, opened when it is needed.
pub struct Streams<D: Dials> {
    dials: D,
    open: Mutex<BTreeMap<u64, Arc<Open>>>,
    /// Held while a member is dialled.
    dialling: Mutex<BTreeMap<u64, Arc<tokio::sync::Mutex<()>>>>,
}

/// A stream in use.
struct Open {
    writes: mpsc::Sender<(u64, Vec<u8>)>,
    asked: Arc<Mutex<Pending>>,
    ends: Arc<Notify>,
}

/// Calls that wait for a reply; `None` once the stream has ended.
#[derive(Default)]
struct Pending {
    next: u64,
    /// Replies that have come.
    heard: u64,
    waiting: Option<BTreeMap<u64, oneshot::Sender<Vec<u8>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole values only are put into them, so a panic elsewhere leaves them sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: Dials> Streams<D> {
    /// The way to others by these.
    pub fn new(dials: D) -> Self {
        Streams { dials, open: Mutex::default(), dialling: Mutex::default() }
    }

    fn in_use(&self, member: u64) -> Option<Arc<Open>> {
        lock(&self.open).get(&member).filter(|it| lock(&it.asked).waiting.is_some()).cloned()
    }

    async fn open(&self, member: u64, address: &Address) -> io::Result<Arc<Open>> {
        if let Some(open) = self.in_use(member) {
            return Ok(open);
        }
        // One at a time: the other end keeps the last stream alone, and ends the others under those who call over them.
        let turn = Arc::clone(lock(&self.dialling).entry(member).or_default());
        let _turn = turn.lock().await;
        if let Some(open) = self.in_use(member) {
            return Ok(open);
        }
        let (reader, writer) = tokio::io::split(self.dials.dial(member, address).await?);
        let (writes, frames) = mpsc::channel(WRITES_MAX);
        let asked = Arc::new(Mutex::new(Pending { waiting: Some(BTreeMap::new()), ..Pending::default() }));
        let ends = Arc::new(Notify::new());
        let open = Arc::new(Open { writes, asked: Arc::clone(&asked), ends: Arc::clone(&ends) });
        lock(&self.open).insert(member, Arc::clone(&open));
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = ends.notified() => {}
                () = write_frames(writer, frames) => {}
                _ = hear(reader, &asked) => {}
            }
            // Whoever waits hears of it, since its sender is dropped.
            lock(&asked).waiting = None;
        });
        Ok(open)
    }
}

impl<D: Dials> Links for Streams<D> {
    fn call<'a>(&'a self, member: u64, address: &'a Address, request: Vec<u8>) -> Call<'a> {
        Box::pin(async move {
            let ended = || io::Error::from(io::ErrorKind::ConnectionReset);
            let open = self.open(member, address).await?;
            let (told, reply) = oneshot::channel();
            let (number, heard) = {
                let mut asked = lock(&open.asked);
                asked.next += 1;
                let number = asked.next;
                asked.waiting.as_mut().ok_or_else(ended)?.insert(number, told);
                (number, asked.heard)
            };
            let _given_up = GivenUp { open: &open, number, heard };
            open.writes.send((number, request)).await.map_err(|_| ended())?;
            reply.await.map_err(|_| ended())
        })
    }
}

/// A call that is given up waits for no reply, and does not trust a stream that has been silent since.
struct GivenUp<'a> {
    open: &'a Open,
    number: u64,
    heard: u64,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let mut asked = lock(&self.open.asked);
        let silent = asked.heard == self.heard;
        let unanswered = asked.waiting.as_mut().and_then(|it| it.remove(&self.number)).is_some();
        if unanswered && silent {
            asked.waiting = None;
            self.open.ends.notify_one();
        }
    }
}

/// Hands replies to those who wait for them, until the stream ends.
async fn hear<R: AsyncRead>(mut reader: ReadHalf<R>, asked: &Mutex<Pending>) -> io::Result<()> {
    loop {
        let (number, reply) = read_frame(&mut reader).await?;
        let mut asked = lock(asked);
        if number > asked.next {
            return Err(io::ErrorKind::InvalidData.into());
        }
        asked.heard += 1;
        if let Some(told) = asked.waiting.as_mut().and_then(|it| it.remove(&number)) {
            // Who was to hear it has given up.
            told.send(reply).ok();
        }
    }
}

/// Answers what the member at the other end asks, until the stream ends.
///
/// # Errors
/// Why it ended.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    from: u64,
    replica: Replica,
) -> io::Result<()> {
    let (mut reader, writer) = tokio::io::split(stream);
    let (replies, frames) = mpsc::channel(WRITES_MAX);
    let places = Arc::new(Semaphore::new(SERVED_MAX));
    // Dropped with this function: what is being worked on for a stream that has ended is given up.
    let mut tasks = JoinSet::new();
    tasks.spawn(write_frames(writer, frames));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let (number, request) = read_frame(&mut reader).await?;
        let (replica, replies) = (replica.clone(), replies.clone());
        tasks.spawn(async move {
            let reply = replica.handle(from, &request).await;
            replies.send((number, reply)).await.ok();
            drop(place);
        });
        while tasks.try_join_next().is_some() {}
    }
}

async fn read_frame<R: AsyncRead>(reader: &mut ReadHalf<R>) -> io::Result<(u64, Vec<u8>)> {
    let length = reader.read_u32().await? as usize;
    if length > MESSAGE_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let number = reader.read_u64().await?;
    let mut message = Vec::new();
    // Memory follows what has come, and not what was announced.
    let read = (&mut *reader).take(length as u64).read_to_end(&mut message).await?;
    if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((number, message)) }
}

async fn write_frames<W: AsyncWrite>(mut writer: WriteHalf<W>, mut frames: mpsc::Receiver<(u64, Vec<u8>)>) {
    while let Some((number, message)) = frames.recv().await {
        let mut frame = Vec::with_capacity(12 + message.len());
        frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
        frame.extend_from_slice(&number.to_be_bytes());
        frame.extend_from_slice(&message);
        if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}
