//! A front-end that is not on the people's side: it logs everything, replays, reorders, admits under other accounts, drops,
//! alters, forges, and guesses for itself in between. It gains no guess beyond the budget, and reads nothing.
//!
//! People and vault are the real ones. A run draws what people want and what the front-end does from a seed; afterwards the
//! judge, who sees every request in clear as the vault does, counts which of them were evaluated.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, Failure, Recovery, Terms};
use strongroom::error::Refusal;
use strongroom::ledger::Policy;
use strongroom::protocol::{REQUEST_LEN, Reply, Request};
use strongroom::secret::Secret;
use strongroom::session::{ChannelKey, ChannelProblem, SEALED_REPLY_LEN, SEALED_REQUEST_LEN, SealedRequest};
use strongroom::vault::{Admitted, ManualClock, Vault};

const ATTEMPTS: u32 = 4;
const LIFETIME: u32 = 24;
const PEOPLE: [&str; 3] = ["ada", "bea", "cleo"];
/// Codes are out of so few that a front-end without limit would have them all.
const CODES: u64 = 30;
const RUNS: u64 = 40;
const EVENTS: usize = 60;

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

struct Person {
    account: AccountId,
    code: String,
    key: [u8; 32],
}

fn code(number: u64) -> String {
    format!("the code {number:02}")
}

/// What the judge knows of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Judged {
    /// KE1s that were answered with an evaluation.
    evaluated: BTreeSet<Vec<u8>>,
    /// KE3s and enrolments that the vault accepted: each opens the window anew.
    accepted: BTreeSet<Vec<u8>>,
    /// Of the evaluated ones, those that the front-end made itself.
    guessed: BTreeSet<Vec<u8>>,
}

impl Judged {
    /// Whether more was evaluated than rules allow, and how much more.
    fn over(&self) -> Option<String> {
        let budget = (ATTEMPTS as usize) * (self.accepted.len() + 1);
        let most = budget.min(LIFETIME as usize + self.accepted.len());
        (self.evaluated.len() > most).then(|| format!("{} evaluated, {most} allowed", self.evaluated.len()))
    }
}

/// The front-end, with the vault behind it, and the judge behind its back.
struct FrontEnd {
    vault: Vault,
    key: ChannelKey,
    dice: Dice,
    /// Every sealed request that it carried, with the account that it was told, and every sealed reply.
    requests: Vec<(AccountId, Vec<u8>)>,
    replies: Vec<Vec<u8>>,
    judged: BTreeMap<AccountId, Judged>,
    /// How often it was told that no attempts are left.
    exhausted: usize,
}

impl FrontEnd {
    fn new(policy: Policy, seed: u64) -> Self {
        let vault = Vault::in_memory(policy, Arc::new(ManualClock::new(1_800_000_000))).unwrap();
        let (key, dice) = (vault.channel_key().unwrap(), Dice(seed));
        FrontEnd { vault, key, dice, requests: Vec::new(), replies: Vec::new(), judged: BTreeMap::new(), exhausted: 0 }
    }

    /// To the vault and back, under the judge's eyes.
    fn deliver(&mut self, account: AccountId, bytes: &[u8], own: bool) -> Result<Vec<u8>, ChannelProblem> {
        let opened = self.vault.open_requests(&[bytes]).unwrap().remove(0);
        let reply = self.vault.process_sealed(&[Admitted { account, request: bytes }]).remove(0);
        if let Ok(opened) = opened {
            // The reply in clear: to the same request, again, which changes nothing (L9).
            let clear = self.vault.process_bytes(&[Admitted { account, request: opened.request.expose() }]).remove(0);
            if let Ok((inside, request)) = Request::decode(opened.request.expose()) {
                let judged = self.judged.entry(inside).or_default();
                match (request, Reply::decode(&clear).unwrap()) {
                    (Request::RecoverStart { ke1 }, Reply::RecoverStarted { .. }) => {
                        judged.evaluated.insert(ke1.to_vec());
                        if own {
                            judged.guessed.insert(ke1.to_vec());
                        }
                    }
                    (Request::RecoverFinish { ke3, .. }, Reply::Recovered { .. }) => {
                        judged.accepted.insert(ke3.to_vec());
                    }
                    (Request::EnrolFinish { r3, .. }, Reply::Enrolled { .. }) => {
                        judged.accepted.insert(r3.to_vec());
                    }
                    (_, Reply::Refused(Refusal::Exhausted)) => self.exhausted += 1,
                    _ => {}
                }
                assert!(
                    inside == account || clear == Reply::Refused(Refusal::Forbidden).encode(),
                    "not whom it admits"
                );
            }
        }
        if let Ok(reply) = &reply {
            assert_eq!(reply.len(), SEALED_REPLY_LEN);
            self.replies.push(reply.clone());
        }
        reply
    }

    /// Takes a person's request and hands back what it likes; nothing is a connection that ends.
    fn carry(&mut self, account: AccountId, sealed: &SealedRequest) -> Option<Vec<u8>> {
        let bytes = sealed.bytes().to_vec();
        assert_eq!(bytes.len(), SEALED_REQUEST_LEN);
        self.requests.push((account, bytes.clone()));
        match self.dice.below(12) {
            0 => None,
            1 => {
                // Served, and the answer dropped.
                self.deliver(account, &bytes, false).ok();
                None
            }
            2 => {
                // Served three times, and one answer of them.
                let mut replies: Vec<_> = (0..3).filter_map(|_| self.deliver(account, &bytes, false).ok()).collect();
                let which = self.dice.below(replies.len().max(1));
                (which < replies.len()).then(|| replies.swap_remove(which))
            }
            3 => {
                // As somebody else.
                let other = AccountId::derive("observer", PEOPLE[self.dice.below(PEOPLE.len())]);
                self.deliver(other, &bytes, false).ok()
            }
            4 => {
                // Altered on the way there, or back.
                let mut altered = bytes;
                let at = self.dice.below(altered.len() * 8);
                altered[at / 8] ^= 1 << (at % 8);
                self.deliver(account, &altered, false).ok()
            }
            5 => {
                let mut reply = self.deliver(account, &bytes, false).ok()?;
                let at = self.dice.below(reply.len() * 8);
                reply[at / 8] ^= 1 << (at % 8);
                Some(reply)
            }
            6 => {
                // The answer to something else.
                let which = self.dice.below(self.replies.len().max(1));
                self.replies.get(which).cloned()
            }
            7 => Some(vec![self.dice.next() as u8; SEALED_REPLY_LEN]),
            _ => self.deliver(account, &bytes, false).ok(),
        }
    }

    /// Something of its own: an old request again, under whatever account, or a guess.
    fn meddle(&mut self, people: &[Person]) {
        let victim = people[self.dice.below(people.len())].account;
        if self.dice.below(2) == 0 && !self.requests.is_empty() {
            let (account, bytes) = self.requests[self.dice.below(self.requests.len())].clone();
            let account = if self.dice.below(4) == 0 { victim } else { account };
            self.deliver(account, &bytes, false).ok();
            return;
        }
        self.guess(victim);
    }

    fn guess(&mut self, victim: AccountId) {
        let guess = Code::new(&code(self.dice.next() % CODES)).unwrap();
        let guessing = Recovery::start(&Terms::development(), victim, guess).unwrap();
        let sealed = self.seal(guessing.request());
        let Ok(reply) = self.deliver(victim, sealed.bytes(), true) else { return };
        let reply = sealed.open(&reply).unwrap();
        // A right guess opens the window anew, as it would for its owner: it goes on and takes the key.
        if let Ok(pending) = guessing.finish(reply.expose()) {
            let sealed = self.seal(pending.request());
            let reply = self.deliver(victim, sealed.bytes(), true).unwrap();
            pending.open(sealed.open(&reply).unwrap().expose()).unwrap();
        }
    }

    fn seal(&self, request: &[u8]) -> SealedRequest {
        self.key.seal(<&[u8; REQUEST_LEN]>::try_from(request).unwrap()).unwrap()
    }

    /// A person's way through it: the same bytes again where nothing, or nothing that opens, comes back.
    fn ask(&mut self, account: AccountId, request: &[u8]) -> Option<Secret<Vec<u8>>> {
        let sealed = self.seal(request);
        (0..4).find_map(|_| sealed.open(&self.carry(account, &sealed)?).ok())
    }

    fn recover(&mut self, person: &Person, typed: &str) -> Result<[u8; 32], Option<Failure>> {
        let recovery = Recovery::start(&Terms::development(), person.account, Code::new(typed).unwrap()).unwrap();
        let reply = self.ask(person.account, recovery.request()).ok_or(None)?;
        let pending = recovery.finish(reply.expose()).map_err(Some)?;
        let reply = self.ask(person.account, pending.request()).ok_or(None)?;
        Ok(*pending.open(reply.expose()).map_err(Some)?.expose())
    }

    fn enrol(&mut self, person: &Person) -> bool {
        let code = Code::new(&person.code).unwrap();
        let enrolment = Enrolment::start(&Terms::development(), person.account, code).unwrap();
        let Some(reply) = self.ask(person.account, enrolment.request()) else { return false };
        let Ok(pending) = enrolment.finish(reply.expose(), &Secret::new(person.key)) else { return false };
        self.ask(person.account, pending.request()).is_some_and(|reply| pending.done(reply.expose()).is_ok())
    }
}

struct Ended {
    front_end: FrontEnd,
    people: Vec<Person>,
    recovered: usize,
}

fn policy() -> Policy {
    Policy { attempts_max: ATTEMPTS, lifetime_max: LIFETIME, ..Policy::development() }
}

fn run(seed: u64) -> Ended {
    let mut front_end = FrontEnd::new(policy(), seed);
    let person = |name: &&str, dice: &mut Dice| Person {
        account: AccountId::derive("observer", name),
        code: code(dice.next() % CODES),
        key: std::array::from_fn(|_| dice.next() as u8),
    };
    let people: Vec<_> = PEOPLE.iter().map(|name| person(name, &mut front_end.dice)).collect();
    let mut enrolled = vec![false; people.len()];
    let mut recovered = 0;
    for _ in 0..EVENTS {
        let which = front_end.dice.below(people.len());
        let person = &people[which];
        match front_end.dice.below(6) {
            _ if !enrolled[which] => enrolled[which] = front_end.enrol(person),
            0..=2 => front_end.meddle(&people),
            3 => {
                let typed = format!("{} mistyped", person.code);
                let wrong = front_end.recover(person, &typed);
                assert!(wrong.is_err(), "a wrong code opened something");
            }
            _ => match front_end.recover(person, &person.code) {
                Ok(key) => {
                    assert_eq!(key, person.key, "somebody else's key");
                    recovered += 1;
                }
                // It may look wrong only where the account is used up or gone; nobody enrols again because of it.
                Err(failure) => assert!(
                    !matches!(failure, Some(Failure::SecretDamaged | Failure::FleetNotTrusted)),
                    "seed {seed}: {failure:?}"
                ),
            },
        }
    }
    Ended { front_end, people, recovered }
}

#[test]
fn no_front_end_gains_a_guess_or_reads_what_it_carries() {
    let (mut recovered, mut guessed, mut carried, mut exhausted) = (0, 0, 0, 0);
    for seed in 0..RUNS {
        let ended = run(seed);
        for (account, judged) in &ended.front_end.judged {
            assert_eq!(judged.over(), None, "seed {seed}, {account:?}");
            guessed += judged.guessed.len();
        }
        // What it carried is noise: no id, no code, no key in it.
        let FrontEnd { requests, replies, .. } = &ended.front_end;
        carried += requests.len();
        for person in &ended.people {
            for told in [&person.account.as_bytes()[..], person.code.as_bytes(), &person.key] {
                let found = requests.iter().map(|(_, it)| it).chain(replies).any(|it| contains(it, told));
                assert!(!found, "seed {seed}: something shows");
            }
        }
        recovered += ended.recovered;
        exhausted += ended.front_end.exhausted;
    }
    println!(
        "{RUNS} runs: {carried} requests carried, {guessed} guesses evaluated, {exhausted} requests beyond a budget, \
         {recovered} keys recovered by people"
    );
    // The runs are worth something: people get through, the front-end does guess, and it meets the budget's end.
    assert!(recovered > 50 && guessed > 200 && exhausted > 0);
}

fn contains(bytes: &[u8], told: &[u8]) -> bool {
    bytes.windows(told.len()).any(|it| it == told)
}

/// The judge and the search see what they are there for.
#[test]
fn the_judge_sees_one_guess_too_many_and_the_search_an_id_in_clear() {
    let ended = run(1);
    let (account, judged) = ended.front_end.judged.iter().next().unwrap();
    let mut cheated = judged.clone();
    let mut guess = 0u8;
    while cheated.over().is_none() {
        assert!(cheated.evaluated.len() <= (LIFETIME as usize) + cheated.accepted.len());
        cheated.evaluated.insert(vec![guess; 3]);
        guess += 1;
    }
    let request = Request::Remaining.encode(account).unwrap();
    assert!(contains(&request, account.as_bytes()));
}

/// And from end to end: a vault that grants one guess more than the rules is found by what it answers.
#[test]
fn the_judge_sees_a_vault_that_grants_one_guess_too_many() {
    for (more, refused) in [(0, true), (1, false)] {
        let mut front_end = FrontEnd::new(Policy { attempts_max: ATTEMPTS + more, ..policy() }, 1);
        let victim = AccountId::derive("observer", "nobody");
        (0..=ATTEMPTS).for_each(|_| front_end.guess(victim));
        assert_eq!(front_end.judged[&victim].over().is_none(), refused, "{more} more");
        assert_eq!(front_end.exhausted > 0, refused);
    }
}
