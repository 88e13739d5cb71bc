//! The people before the server. Each lives through one account after the other and writes all of it into a diary.
//!
//! They do what the client's rules say: whatever is not answered is sent again, byte for byte, until it is. What they
//! come to is not judged here; the auditor does that, by the diaries alone.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use hdrhistogram::Histogram;
use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, Failure, PendingRecovery, Recovery, Terms};
use strongroom::error::Refusal;
use strongroom::protocol::Reply;
use strongroom::secret::Secret;
use tokio::sync::watch;

pub(crate) use crate::diary::Diary;
use crate::diary::{Asked, Event, Told};
use crate::dice::Dice;
use crate::front::caller::{Caller, Unanswered};
use crate::front::{now_s, token};

/// Before a request is sent again, or the next thing is done.
const PAUSE: Duration = Duration::from_millis(10);
/// Requests of an account that may be on their way unanswered; more wait for the server's end. Before a fleet, where nothing
/// ends what was asked, such an account is left.
const ADRIFT_MAX: usize = 3;

/// Who answers.
#[derive(Clone)]
#[allow(dead_code, reason = "one server's tests know no fleet, and a fleet's no single server")]
pub(crate) enum Serving {
    Nobody,
    /// One server: how many there were before it, and where it listens. What the earlier ones have not answered is not done
    /// any more.
    One(u64, String),
    /// Any of a fleet's members. What one has not answered, or said to be busy at, may be done at any later time.
    Fleet(Arc<[String]>),
}

/// What everybody shares.
pub(crate) struct World {
    serving: watch::Receiver<Serving>,
    key: SigningKey,
    /// Who is asked next, of a fleet.
    turn: AtomicU64,
    in_peace: Mutex<HashSet<u64>>,
    over: AtomicBool,
    busy: AtomicU64,
    lost: AtomicU64,
    /// Why the first of them was not.
    first_lost: Mutex<Option<String>>,
    /// How long answers took, in microseconds.
    waits: Mutex<Histogram<u64>>,
}

impl World {
    /// Before these, admitted by that key.
    pub(crate) fn new(serving: watch::Receiver<Serving>, key: SigningKey) -> Self {
        World {
            serving,
            key,
            turn: AtomicU64::new(0),
            in_peace: Mutex::default(),
            over: AtomicBool::new(false),
            busy: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            first_lost: Mutex::default(),
            waits: Mutex::new(waits()),
        }
    }

    /// People finish what they ask, and begin nothing more.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// This server stops in peace: what it has not answered it has not done.
    pub(crate) fn stops_in_peace(&self, server: u64) {
        held(&self.in_peace).insert(server);
    }

    /// Requests that were told that the vault is busy.
    pub(crate) fn busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Requests that nobody answered.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Why the first of them was not.
    #[allow(dead_code, reason = "only before a server that nothing is wrong with is it worth a word")]
    pub(crate) fn first_lost(&self) -> Option<String> {
        held(&self.first_lost).clone()
    }

    /// How long answers have taken since this was last asked, in microseconds.
    pub(crate) fn take_waits(&self) -> Histogram<u64> {
        std::mem::replace(&mut *held(&self.waits), waits())
    }
}

fn waits() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds of a histogram")
}

/// What a lock holds: each holder leaves whole values.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Someone whose code is known, for the roll call at the end.
pub(crate) struct Settled {
    account: AccountId,
    code: u32,
}

/// One account, and its diary.
struct Account<'a> {
    world: &'a World,
    caller: &'a Caller,
    id: AccountId,
    token: String,
    page: Mutex<Page<'a>>,
}

struct Page<'a> {
    diary: &'a mut Diary,
    asked: u32,
    codes: u32,
    /// Asked and not answered, by which server.
    adrift: Vec<(u32, u64)>,
}

/// The server number of a fleet: what it has not answered is not settled by any later one.
const NEVER_OVER: u64 = u64::MAX;

/// What a reply says.
enum Said {
    Told(Told),
    Again,
    Odd(String),
}

impl From<Failure> for Said {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(Refusal::Busy) => Said::Again,
            Failure::Refused(refusal) => Said::Told(Told::Refused(refusal.code())),
            other => Said::Odd(other.to_string()),
        }
    }
}

/// The run is over, or what was met belongs to the auditor: this life ends here.
struct Ended;

/// A request that was answered: its number, what it was told, and the reply's bytes.
type Answered = (u32, Told, Vec<u8>);

impl Page<'_> {
    fn write(&mut self, event: Event) {
        self.diary.write(&event).expect("the diary can be written");
    }

    /// What earlier servers did not answer they will not do any more.
    fn settle(&mut self, server: u64, in_peace: &HashSet<u64>) {
        let (over, still): (Vec<_>, Vec<_>) = self.adrift.drain(..).partition(|(_, asked)| *asked < server);
        self.adrift = still;
        for (number, asked) in over {
            self.write(if in_peace.contains(&asked) { Event::Undone(number) } else { Event::Unknown(number) });
        }
    }
}

impl<'a> Account<'a> {
    fn new(world: &'a World, caller: &'a Caller, diary: &'a mut Diary, id: AccountId) -> Self {
        diary.section(&id).expect("the diary can be written");
        let page = Mutex::new(Page { diary, asked: 0, codes: 0, adrift: Vec::new() });
        Account { world, caller, id, token: token(&world.key, &id, now_s() + 6 * 3600), page }
    }

    fn page(&self) -> MutexGuard<'_, Page<'a>> {
        held(&self.page)
    }

    /// Waits for a server; its number and where it listens.
    async fn server(&self) -> Result<(u64, String), Ended> {
        let mut serving = self.world.serving.clone();
        loop {
            let now = serving.borrow_and_update().clone();
            match now {
                Serving::Nobody => {}
                Serving::One(number, address) => {
                    let mut page = self.page();
                    page.settle(number, &held(&self.world.in_peace));
                    if page.adrift.len() < ADRIFT_MAX {
                        return Ok((number, address));
                    }
                }
                Serving::Fleet(_) if self.page().adrift.len() >= ADRIFT_MAX => return Err(Ended),
                Serving::Fleet(members) => {
                    let turn = self.world.turn.fetch_add(1, Ordering::Relaxed) as usize;
                    return Ok((NEVER_OVER, members[turn % members.len()].clone()));
                }
            }
            serving.changed().await.map_err(|_| Ended)?;
        }
    }

    /// Asks until there is an answer: its number, what it says, and its bytes.
    async fn ask(
        &self,
        route: &str,
        request: &[u8],
        asked: impl Fn(u32) -> Asked,
        read: impl Fn(&[u8]) -> Said,
    ) -> Result<Answered, Ended> {
        loop {
            let (server, address) = self.server().await?;
            let number = {
                let mut page = self.page();
                page.asked += 1;
                let number = page.asked;
                page.write(Event::Asked(number, asked(number)));
                number
            };
            let asked_at = Instant::now();
            let answer = self.caller.ask(&address, route, &self.token, request).await;
            if answer.is_ok() {
                let waited = asked_at.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
                held(&self.world.waits).saturating_record(waited);
            }
            if let Some(done) = self.hear(number, server, answer, &read) {
                return done;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Writes down what came of a request; `None` if it is to be asked again.
    fn hear(
        &self,
        number: u32,
        server: u64,
        answer: Result<Vec<u8>, Unanswered>,
        read: impl Fn(&[u8]) -> Said,
    ) -> Option<Result<Answered, Ended>> {
        let mut page = self.page();
        match answer.map(|bytes| (read(&bytes), bytes)) {
            Ok((Said::Told(told), bytes)) => {
                page.write(Event::Told(number, told));
                return Some(Ok((number, told, bytes)));
            }
            Ok((Said::Again, _)) => {
                self.world.busy.fetch_add(1, Ordering::Relaxed);
                if server == NEVER_OVER {
                    page.adrift.push((number, server));
                } else {
                    page.write(Event::Unknown(number));
                }
            }
            Ok((Said::Odd(words), _)) | Err(Unanswered::Odd(words)) => {
                page.write(Event::Odd(number, words));
                return Some(Err(Ended));
            }
            Err(Unanswered::Unsent(_)) => page.write(Event::Undone(number)),
            Err(Unanswered::Lost(words)) => {
                held(&self.world.first_lost).get_or_insert(words);
                self.world.lost.fetch_add(1, Ordering::Relaxed);
                page.adrift.push((number, server));
            }
        }
        None
    }

    /// Enrols a new code; which, or why not.
    async fn enrol(&self) -> Result<Result<u32, Told>, Ended> {
        let code = {
            let mut page = self.page();
            page.codes += 1;
            page.codes
        };
        let enrolment = Enrolment::start(&Terms::development(), self.id, words(code)).expect("terms that can be met");
        let request = enrolment.request().to_vec();
        let read = |reply: &[u8]| match Reply::decode(reply) {
            Ok(Reply::EnrolStarted { .. }) => Said::Told(Told::Started),
            Ok(Reply::Refused(refusal)) => Failure::Refused(refusal).into(),
            other => Said::Odd(format!("{other:?} to the start of an enrolment")),
        };
        let (started, told, reply) = self.ask("enrol", &request, |_| Asked::Start, read).await?;
        if told != Told::Started {
            return Ok(Err(told));
        }
        let pending = match enrolment.finish(&reply, &key(code)) {
            Ok(pending) => pending,
            Err(failure) => {
                self.page().write(Event::Odd(started, failure.to_string()));
                return Err(Ended);
            }
        };
        let read = |reply: &[u8]| pending.done(reply).map_or_else(Said::from, |it| Said::Told(Told::Enrolled(it)));
        let asked = |_| Asked::Enrol { started, code, key: code };
        let (_, told, _) = self.ask("enrol", pending.request(), asked, read).await?;
        Ok(if let Told::Enrolled(_) = told { Ok(code) } else { Err(told) })
    }

    /// Begins a recovery: the request that can be sent again and again.
    fn recovery(&self, code: u32) -> (Recovery, u32) {
        let recovery = Recovery::start(&Terms::development(), self.id, words(code)).expect("terms that can be met");
        (recovery, code)
    }

    /// Sends a KE1 that was, or will be, first sent as `first`; the answer's number, and what it came to.
    async fn guess(
        &self,
        (recovery, code): &(Recovery, u32),
        first: &mut Option<u32>,
    ) -> Result<(u32, Told, Option<PendingRecovery>, Vec<u8>), Ended> {
        let known = Mutex::new(*first);
        let asked = |number| {
            let mut known = held(&known);
            Asked::Guess { first: *known.get_or_insert(number), code: *code }
        };
        let read = |reply: &[u8]| {
            let remaining = match Reply::decode(reply) {
                Ok(Reply::RecoverStarted { remaining, .. }) => remaining,
                Ok(Reply::Refused(refusal)) => return Failure::Refused(refusal).into(),
                other => return Said::Odd(format!("{other:?} to a KE1")),
            };
            match recovery.finish(reply) {
                Ok(_) => Said::Told(Told::Answered(remaining, true)),
                Err(Failure::WrongCode { .. }) => Said::Told(Told::Answered(remaining, false)),
                Err(failure) => failure.into(),
            }
        };
        let (number, told, reply) = self.ask("recover", recovery.request(), asked, read).await?;
        *first = *held(&known);
        Ok((number, told, recovery.finish(&reply).ok(), reply))
    }

    /// A code once. Whether it was proven, and what was told instead.
    async fn recover(&self, code: u32) -> Result<Told, Ended> {
        let recovery = self.recovery(code);
        let (guess, told, pending, _) = self.guess(&recovery, &mut None).await?;
        let Some(pending) = pending else { return Ok(told) };
        self.prove(guess, &pending).await
    }

    async fn prove(&self, guess: u32, pending: &PendingRecovery) -> Result<Told, Ended> {
        let read = |reply: &[u8]| match pending.open(reply) {
            Ok(found) => number_of(&found).map_or_else(
                || Said::Odd("a backup key that nobody enrolled".to_owned()),
                |key| Said::Told(Told::Recovered(key)),
            ),
            Err(failure) => failure.into(),
        };
        let (_, told, _) = self.ask("recover", pending.request(), |_| Asked::Prove { guess }, read).await?;
        Ok(told)
    }

    /// Removes the record, proving its code.
    async fn remove(&self, code: u32) -> Result<Told, Ended> {
        let recovery = self.recovery(code);
        let (guess, told, _, reply) = self.guess(&recovery, &mut None).await?;
        let Ok(pending) = recovery.0.remove(&reply) else { return Ok(told) };
        let read = |reply: &[u8]| pending.done(reply).map_or_else(Said::from, |()| Said::Told(Told::Removed));
        let (_, told, _) = self.ask("remove", pending.request(), |_| Asked::Remove { guess }, read).await?;
        Ok(told)
    }

    async fn remaining(&self) -> Result<Told, Ended> {
        let request = strongroom::client::remaining_request(&self.id).expect("a request");
        let read = |reply: &[u8]| match strongroom::client::remaining(reply) {
            Ok(attempts) => Said::Told(Told::Remaining(attempts)),
            Err(failure) => failure.into(),
        };
        Ok(self.ask("remaining", &request, |_| Asked::Remaining, read).await?.1)
    }
}

/// A code by its number; 0 is nobody's.
fn words(code: u32) -> Code {
    Code::new(&format!("the code of number {code}")).expect("a code")
}

/// The backup key that goes with a code.
fn key(code: u32) -> Secret<[u8; 32]> {
    let mut bytes = [0x5a; 32];
    bytes[..4].copy_from_slice(&code.to_be_bytes());
    Secret::new(bytes)
}

fn number_of(found: &Secret<[u8; 32]>) -> Option<u32> {
    let number = u32::from_be_bytes(*found.expose().first_chunk()?);
    bool::from(found.ct_eq(key(number).expose())).then_some(number)
}

// ---- lives

/// One person after the other, until it is over. Returns those whose code is known.
pub(crate) async fn live(world: Arc<World>, caller: Caller, mut diary: Diary, mut dice: Dice) -> (Vec<Settled>, Diary) {
    let mut settled = Vec::new();
    while !world.over.load(Ordering::Relaxed) {
        let id = AccountId(std::array::from_fn(|_| dice.below(256) as u8));
        let account = Account::new(&world, &caller, &mut diary, id);
        let lived = match dice.below(10) {
            0..4 => person(&account, &mut dice).await,
            4..6 => guesser(&account, &mut dice).await,
            6..9 => devices(&account, &mut dice).await,
            _ => stranger(&account, &mut dice).await,
        };
        if let Ok(Some(code)) = lived {
            settled.push(Settled { account: id, code });
        }
    }
    (settled, diary)
}

/// Comes back to each whose code is known: nothing that was acknowledged may be gone.
pub(crate) async fn roll_call(world: &World, caller: &Caller, diary: &mut Diary, settled: &[Settled]) {
    for Settled { account, code } in settled {
        let account = Account::new(world, caller, diary, *account);
        // Numbers of a section that goes on must not be those that were used before.
        account.page().asked = 1 << 30;
        account.recover(*code).await.ok();
    }
}

/// Someone who recovers, mistypes, changes the code, removes the record. Their last code.
async fn person(account: &Account<'_>, dice: &mut Dice) -> Result<Option<u32>, Ended> {
    let Ok(mut code) = account.enrol().await? else { return Ok(None) };
    for _ in 0..2 + dice.below(8) {
        match dice.below(10) {
            0..4 => drop(account.recover(code).await?),
            4..6 => {
                for _ in 0..1 + dice.below(2) {
                    account.recover(0).await?;
                }
                account.recover(code).await?;
            }
            6 => {
                if let Ok(new) = account.enrol().await? {
                    code = new;
                }
            }
            7 => {
                // A second device has the request of the first, and the first has its reply already.
                let (recovery, mut first) = (account.recovery(code), None);
                account.guess(&recovery, &mut first).await?;
                let (guess, _, pending, _) = account.guess(&recovery, &mut first).await?;
                if let Some(pending) = pending {
                    account.prove(guess, &pending).await?;
                    account.prove(guess, &pending).await?;
                }
                account.guess(&recovery, &mut first).await?;
                account.recover(code).await?;
            }
            8 => drop(account.remaining().await?),
            _ => {
                account.remove(code).await?;
                account.recover(code).await?;
                let Ok(new) = account.enrol().await? else { return Ok(None) };
                code = new;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Some(code))
}

/// Someone who wants to guess more often than they may: through every record that can be had, with every trick.
async fn guesser(account: &Account<'_>, dice: &mut Dice) -> Result<Option<u32>, Ended> {
    while let Ok(code) = account.enrol().await? {
        let (again, mut first) = (account.recovery(0), None);
        loop {
            let told = match dice.below(4) {
                // An element that was charged before, in this record or in one before it.
                0 => account.guess(&again, &mut first).await?.1,
                _ => account.recover(0).await?,
            };
            if let Told::Refused(_) = told {
                break;
            }
        }
        account.remaining().await?;
        account.recover(code).await?;
    }
    account.recover(0).await?;
    Ok(None)
}

/// Two devices of one person that know nothing of each other.
async fn devices(account: &Account<'_>, dice: &mut Dice) -> Result<Option<u32>, Ended> {
    let Ok(mut code) = account.enrol().await? else { return Ok(None) };
    for _ in 0..1 + dice.below(4) {
        match dice.below(4) {
            0 => {
                let (one, other) = tokio::join!(account.recover(code), account.recover(code));
                one?;
                other?;
            }
            1 => {
                let (one, other) = tokio::join!(account.recover(0), account.recover(code));
                one?;
                other?;
            }
            2 => {
                let (one, other) = tokio::join!(account.enrol(), account.recover(code));
                other?;
                if let Ok(new) = one? {
                    code = new;
                }
            }
            _ => {
                let (one, other) = tokio::join!(account.enrol(), account.enrol());
                let (one, other) = (one?, other?);
                // Of two that began at once one replaces the other, or finds itself overtaken: nobody knows which.
                code = match (one, other) {
                    (Ok(new), Err(_)) | (Err(_), Ok(new)) => new,
                    _ => return Ok(None),
                };
            }
        }
    }
    Ok(Some(code))
}

/// Guesses at an id that was never enrolled, and then it is.
async fn stranger(account: &Account<'_>, dice: &mut Dice) -> Result<Option<u32>, Ended> {
    for _ in 0..1 + dice.below(6) {
        account.recover(0).await?;
    }
    account.remaining().await?;
    Ok(account.enrol().await?.ok())
}
