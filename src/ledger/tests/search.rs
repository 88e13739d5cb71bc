//! Every order of an adversary's and a person's actions, at small limits, over the real `apply`: how many guesses at
//! the person's code the adversary gets.
//!
//! The adversary is the front-end: it sees, keeps, drops, delays and repeats every message, sends what it likes, and
//! enrols records under a code of its own, where it can prove success. The person enrols their one code whenever it
//! helps the adversary, logs in with it when asked to, and each genuine success is counted. A guess is a KE1 of the
//! adversary's, counted once, that a record under the person's code may have been evaluated for.
//!
//! The search is finite because two situations that differ only by a shift of the numbers behave alike ([`Key`]); that
//! this is so is itself checked, on the situations that were taken for one. The walk itself uses real accounts as the
//! rules made them, never ones put together from a key.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use super::*;
use crate::limits::UNKNOWN_KEEP_S;

/// State time that a login ticket lives, that a full window is left alone for, and that one step of time takes.
const STEP_S: u64 = 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Person,
    Adversary,
}

/// A KE3 and ticket that the adversary holds although the window has moved on.
#[derive(Clone, Copy)]
struct Stale {
    generation: u32,
    ordinal: u32,
    /// Whether it was proven before, so that another use is no new success of the person's.
    counted: bool,
}

#[derive(Clone)]
struct Node {
    account: Option<Account>,
    time_s: u64,
    /// Whose code the live record is under.
    code: Who,
    /// The adversary's KE1s of the window that are counted as guesses.
    guessed: BTreeSet<u32>,
    successes: u32,
    /// The largest value that a delivered pardon names.
    pardon: u32,
    /// A finish, the person's or the adversary's own, that may be delivered late and again: its generation and name.
    held: Option<(Who, u32, u32)>,
    stale: [Option<Stale>; 2],
    /// Number of the next KE1 or finish.
    next: u32,
}

/// A situation up to a shift of ordinals, generations, time and names.
type Key = Vec<u8>;

/// One configuration of the game.
pub(super) struct Game<'a> {
    apply: &'a Apply<'a>,
    policy: Policy,
    /// Values of the pardons that the signers have given out.
    pardons: &'a [u32],
    /// Most genuine successes of the person; `None`: any number, and guesses are counted less `attempts_max - 1` each.
    successes_max: Option<u32>,
    /// Only guesses and the person's enrolments: nothing but a guess is charged.
    guesses_only: bool,
    /// Of how many situations taken for one a pair is compared. None around mutants, which may remember what no key
    /// tells.
    compare_every: Option<u64>,
    sealed: Sealed,
    scratch: RefCell<State>,
}

/// What a search found.
pub(super) struct Found {
    pub(super) states: usize,
    /// Most guesses by number of successes and largest pardon.
    pub(super) most: BTreeMap<(u32, u32), i64>,
    /// Fewest guesses with which an enrolment is refused.
    pub(super) lockout: Option<i64>,
    /// The first way found to more than the bound.
    pub(super) broken: Option<String>,
    /// Pairs of situations taken for one whose continuations were compared.
    pub(super) compared: usize,
}

impl<'a> Game<'a> {
    pub(super) fn new(apply: &'a Apply<'a>, attempts_max: u32, lifetime_max: u32) -> Self {
        let policy = Policy {
            destroy_after_s: STEP_S,
            login_ttl_s: STEP_S,
            enrolment_ttl_s: STEP_S,
            ..policy(attempts_max, lifetime_max)
        };
        let scratch = RefCell::new(State::new(policy.clone()));
        let (sealed, pardons, successes_max) = (sealed(1, 0), &[][..], Some(2));
        Game { apply, policy, pardons, successes_max, guesses_only: false, compare_every: Some(97), sealed, scratch }
    }

    pub(super) fn pardons(self, pardons: &'a [u32]) -> Self {
        Game { pardons, ..self }
    }

    pub(super) fn any_successes(self) -> Self {
        Game { successes_max: None, ..self }
    }

    pub(super) fn guesses_only(self) -> Self {
        Game { guesses_only: true, ..self }
    }

    pub(super) fn without_comparison(self) -> Self {
        Game { compare_every: None, ..self }
    }

    pub(super) fn unproven_removal(mut self) -> Self {
        self.policy.unproven_removal = true;
        self.scratch = RefCell::new(State::new(self.policy.clone()));
        self
    }

    /// DESIGN section 3: distinct guesses at one person's code, over all generations that share it.
    fn bound(&self, successes: u32, pardon: u32) -> i64 {
        let each = i64::from(self.policy.attempts_max) - 1;
        i64::from(self.policy.lifetime_max + pardon) + each * i64::from(successes)
    }

    fn start() -> Node {
        Node {
            account: None,
            time_s: 1000,
            code: Who::Adversary,
            guessed: BTreeSet::new(),
            successes: 0,
            pardon: 0,
            held: None,
            stale: [None; 2],
            next: 1,
        }
    }

    /// Puts the node's account into a state, lets `apply` do its work, and takes it out again.
    fn step(&self, node: &Node, time_s: u64, command: &Command) -> (Node, Verdict) {
        let state = &mut *self.scratch.borrow_mut();
        state.globals.time_s = time_s;
        match &node.account {
            Some(account) => state.restore_account(PERSON, account.clone()),
            None => {
                state.accounts.remove(&PERSON);
                state.indexes = Default::default();
            }
        }
        let verdict = (self.apply)(state, &mut Kept::default(), command);
        let mut next = node.clone();
        (next.time_s, next.account) = (time_s, state.account(&PERSON).cloned());
        let (before, after) = (node.account.clone().unwrap_or_default(), next.account.clone().unwrap_or_default());
        if before.generation != after.generation && before.is_live() {
            // Proofs of the record that has ended stay in the adversary's hands.
            for charged in &before.window {
                let owner = owner(charged.digest);
                if owner == node.code && (owner == Who::Adversary || node.stale[0].is_none()) {
                    let (generation, ordinal) = (before.generation, charged.ordinal);
                    next.stale[owner as usize] = Some(Stale { generation, ordinal, counted: false });
                }
            }
        }
        next.guessed.retain(|number| after.window.iter().any(|charged| name(charged.digest) == *number));
        (next, verdict)
    }

    /// Every situation that one action leads to, and what it is worth in guesses.
    fn successors(&self, node: &Node) -> Vec<(String, Node, i64)> {
        let mut out = Vec::new();
        let it = node.account.clone().unwrap_or_default();
        let now = node.time_s;
        let names: Vec<u32> = it.window.iter().map(|charged| name(charged.digest)).collect();

        // Charges: a fresh KE1 of the adversary's, one of the person's, and every one of the window again.
        let fresh = |who: Who| node.next * 2 + who as u32;
        let mut ke1s = vec![fresh(Who::Adversary)];
        if !self.guesses_only {
            ke1s.extend((it.is_live() && node.code == Who::Person).then(|| fresh(Who::Person)));
            ke1s.extend(names);
        }
        for number in ke1s {
            let (mut next, verdict) = self.step(node, now, &Command::Charge { account: PERSON, digests: ke1(number) });
            next.next += 1;
            let evaluated = matches!(verdict, Verdict::Charged { live: true, .. }) && node.code == Who::Person;
            let guess = evaluated && owner(ke1(number).current) == Who::Adversary && next.guessed.insert(number);
            out.push((format!("charge {number}"), next, i64::from(guess)));
        }

        // Enrolments: with the person's code, with the adversary's, and the live record's finish again.
        for who in [Who::Person, Who::Adversary] {
            if who == Who::Person || !self.guesses_only {
                out.extend(self.enrol(node, who, it.generation, node.next, now + STEP_S));
            }
        }
        out.push(("time".to_owned(), Node { time_s: now + STEP_S, ..node.clone() }, 0));
        let (next, _) = self.step(node, now, &Command::Sweep { account: PERSON });
        out.push(("sweep".to_owned(), next, 0));
        if self.guesses_only {
            return out;
        }
        if let Record::Live { finish, .. } = it.record {
            let number = u32::from_be_bytes([finish[0], finish[1], finish[2], finish[3]]);
            out.extend(self.enrol(node, node.code, it.generation - 1, number, now - 1));
        }
        // The person begins an enrolment, and the adversary keeps what they send; or it begins one of its own. It
        // delivers that when it likes.
        for who in [Who::Person, Who::Adversary] {
            let held = Some((who, it.generation, node.next));
            out.push((format!("{who:?} held back"), Node { held, next: node.next + 1, ..node.clone() }, 0));
        }
        if let Some((who, generation, number)) = node.held {
            out.extend(self.enrol(node, who, generation, number, now));
            out.extend(self.enrol(node, who, generation, number, now - 1));
        }

        // Proofs: of each attempt in the window by whoever knows the record's code, and of those that are past.
        let mut proofs: Vec<(Who, Stale)> = Vec::new();
        for charged in it.window.iter().filter(|charged| it.is_live() && owner(charged.digest) == node.code) {
            proofs.push((node.code, Stale { generation: it.generation, ordinal: charged.ordinal, counted: false }));
        }
        for who in [Who::Person, Who::Adversary] {
            proofs.extend(node.stale[who as usize].map(|stale| (who, stale)));
        }
        for (who, stale) in proofs {
            out.extend(self.prove(node, who, stale, now, false));
            out.extend(self.prove(node, who, stale, now, true));
            out.extend(self.prove(node, who, stale, now - 1, false));
        }
        if self.policy.unproven_removal {
            let remove = Command::Remove { account: PERSON, generation: it.generation, proof: None };
            out.push(("remove unproven".to_owned(), self.step(node, now, &remove).0, 0));
        }
        for &pardoned in self.pardons {
            let (mut next, verdict) = self.step(node, now, &Command::Pardon { account: PERSON, pardoned });
            if verdict == Verdict::Done {
                next.pardon = next.pardon.max(pardoned);
            }
            out.push((format!("pardon {pardoned}"), next, 0));
        }
        let (next, _) = self.step(node, now + UNKNOWN_KEEP_S, &Command::Forget { most: 1 });
        out.push(("a month, and forget".to_owned(), next, 0));
        out
    }

    fn enrol(&self, node: &Node, who: Who, generation: u32, number: u32, expiry_s: u64) -> Option<(String, Node, i64)> {
        let mut finish = [who as u8; 32];
        finish[..4].copy_from_slice(&number.to_be_bytes());
        let sealed = self.sealed.clone();
        let enrol = Command::Enrol { account: PERSON, generation, expiry_s, finish, sealed };
        let (mut next, verdict) = self.step(node, node.time_s, &enrol);
        next.next += 1;
        if let Verdict::Enrolled { again: false, .. } = verdict {
            next.code = who;
        }
        Some((format!("enrol {who:?} {number} at {generation}"), next, 0))
    }

    /// A success delivered, as a recovery's or as a removal's proof.
    fn prove(&self, node: &Node, who: Who, stale: Stale, expiry_s: u64, remove: bool) -> Option<(String, Node, i64)> {
        let Stale { generation, ordinal, counted } = stale;
        let proof = Proof { ordinal, expiry_s };
        let command = match remove {
            true => Command::Remove { account: PERSON, generation, proof: Some(proof) },
            false => Command::Clear { account: PERSON, generation, proof },
        };
        let clears = node.account.as_ref().is_some_and(|it| ordinal > it.cleared);
        let (mut next, verdict) = self.step(node, node.time_s, &command);
        let proven = match verdict {
            Verdict::Cleared { again } => !again,
            Verdict::Done => clears,
            _ => false,
        };
        let mut worth = 0;
        if proven {
            let success = who == Who::Person && !counted;
            match self.successes_max {
                Some(most) if success && next.successes == most => return None,
                Some(_) => next.successes += u32::from(success),
                None if success => worth = 1 - i64::from(self.policy.attempts_max),
                None => {}
            }
            next.stale[who as usize] = Some(Stale { generation, ordinal, counted: true });
        }
        Some((format!("{} {who:?} {ordinal}", if remove { "remove" } else { "clear" }), next, worth))
    }

    fn key(&self, node: &Node) -> Key {
        let it = node.account.clone().unwrap_or_default();
        let small = |value: u32| u8::try_from(value.min(255)).unwrap_or(u8::MAX);
        let record = match it.record {
            Record::None => 0,
            Record::Destroyed => 1,
            Record::Live { .. } => 2 + node.code as u8,
        };
        let due = it.is_due(&self.policy, node.time_s);
        let mut key = vec![
            record,
            u8::from(node.account.is_some()) + u8::from(it.generation > 0),
            small(it.open()),
            small(it.owed),
            small(it.pardoned),
            u8::from(due),
            small(node.successes),
            small(node.pardon),
        ];
        key.push(match node.held {
            None => 0,
            Some((who, generation, number)) => {
                let made = matches!(it.record, Record::Live { finish, .. } if finish[..4] == number.to_be_bytes());
                1 + who as u8 + 2 * u8::from(generation == it.generation) + 4 * u8::from(made)
            }
        });
        for stale in node.stale {
            key.push(
                stale.map_or(0, |stale| 1 + u8::from(stale.generation == it.generation) + 2 * u8::from(stale.counted)),
            );
        }
        for charged in &it.window {
            let number = name(charged.digest);
            key.push(small(it.spent.saturating_sub(charged.ordinal)));
            key.push(owner(charged.digest) as u8 + 2 * u8::from(node.guessed.contains(&number)));
        }
        key
    }

    pub(super) fn search(&self) -> Found {
        self.search_by(&|node| self.key(node))
    }

    /// Breadth first. A situation is taken up again when more guesses lead to it than before: what can be done in it
    /// does not depend on how many there were.
    fn search_by(&self, key: &dyn Fn(&Node) -> Key) -> Found {
        let mut found = Found { states: 0, most: BTreeMap::new(), lockout: None, broken: None, compared: 0 };
        // Most guesses that lead to a situation, and the node that was first there.
        let mut best: HashMap<Key, (i64, Node)> = HashMap::new();
        let mut queue = VecDeque::from([(key(&Self::start()), Self::start(), 0, None)]);
        best.insert(key(&Self::start()), (0, Self::start()));
        let mut met = 0u64;
        while let Some((from, node, value, way)) = queue.pop_front() {
            if best[&from].0 != value {
                continue;
            }
            let most = found.most.entry((node.successes, node.pardon)).or_insert(value);
            *most = (*most).max(value);
            if node.account.as_ref().is_some_and(|it| it.may_enrol(&self.policy).is_err()) {
                found.lockout = Some(found.lockout.map_or(value, |least| least.min(value)));
            }
            for (action, next, worth) in self.successors(&node) {
                let mut to = key(&next);
                let value = value + worth;
                if self.guesses_only {
                    // Here the fewest are asked for too.
                    to.push(value as u8);
                }
                let way = Some(Rc::new(Way { action, before: way.clone() }));
                found.states = best.len();
                if value > self.bound(next.successes, next.pardon) {
                    found.broken = Some(format!("{value} guesses: {}", told(&way)));
                    return found;
                }
                if let Some((known, first)) = best.get_mut(&to) {
                    met += 1;
                    // Taken for one another: then they must go on alike.
                    if self.compare_every.is_some_and(|every| met.is_multiple_of(every)) {
                        found.compared += 1;
                        if !self.alike(key, first, &next, met) {
                            found.broken = Some(format!("not alike: {}", told(&way)));
                            return found;
                        }
                    }
                    if *known >= value {
                        continue;
                    }
                    *known = value;
                } else {
                    best.insert(to.clone(), (value, next.clone()));
                }
                queue.push_back((to, next, value, way));
            }
        }
        found.states = best.len();
        found
    }

    /// Whether two nodes lead to the same situations, now and along a walk of the same actions.
    fn alike(&self, key: &dyn Fn(&Node) -> Key, one: &Node, other: &Node, seed: u64) -> bool {
        let (mut one, mut other, mut choice) = (one.clone(), other.clone(), seed);
        for _ in 0..8 {
            let (ones, others) = (self.successors(&one), self.successors(&other));
            let same = |((_, one, worth), (_, other, too)): (&(_, Node, i64), &(_, Node, i64))| {
                worth == too && key(one) == key(other)
            };
            if ones.len() != others.len() || !ones.iter().zip(&others).all(same) {
                return false;
            }
            choice = choice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let taken = (choice >> 33) as usize % ones.len();
            (one, other) = (ones[taken].1.clone(), others[taken].1.clone());
        }
        true
    }
}

/// How a node was reached.
struct Way {
    action: String,
    before: Option<Rc<Way>>,
}

fn told(mut way: &Option<Rc<Way>>) -> String {
    let mut actions = Vec::new();
    while let Some(step) = way {
        actions.push(step.action.as_str());
        way = &step.before;
    }
    actions.reverse();
    actions.join(", ")
}

fn name(digest: KeyedDigest) -> u32 {
    let [a, b, c, d, ..] = digest.digest;
    u32::from_be_bytes([a, b, c, d])
}

fn owner(digest: KeyedDigest) -> Who {
    if name(digest).is_multiple_of(2) { Who::Person } else { Who::Adversary }
}

/// `attempts_max` and `lifetime_max`. Code that is not compiled for speed looks at the smallest only.
const LIMITS: &[(u32, u32)] =
    if cfg!(debug_assertions) { &[(2, 4), (3, 4)] } else { &[(2, 4), (2, 5), (2, 8), (3, 4), (3, 5), (3, 8)] };

/// The bound holds, and it is reached: exactly, for every number of successes and every pardon.
fn exact(game: &Game<'_>) -> Found {
    let found = game.search();
    let Policy { attempts_max, lifetime_max, .. } = game.policy;
    println!(
        "attempts_max {attempts_max} lifetime_max {lifetime_max} pardons {:?} unproven removal {}: {} states, {} \
         compared, most guesses by (successes, pardon) {:?}",
        game.pardons, game.policy.unproven_removal, found.states, found.compared, found.most
    );
    assert_eq!(found.broken, None);
    assert!(found.compared > 20, "too few situations compared");
    for (&(successes, pardon), &most) in &found.most {
        assert_eq!(most, game.bound(successes, pardon), "{successes} successes, pardon {pardon}: not tight");
    }
    found
}

#[test]
fn the_bound_is_exact() {
    for (attempts_max, lifetime_max) in LIMITS.iter().copied() {
        let found = exact(&Game::new(&real, attempts_max, lifetime_max));
        assert_eq!(found.most.len(), 3, "none, one and two successes");
    }
}

#[test]
fn the_bound_is_exact_with_pardons() {
    let limits: &[_] = if cfg!(debug_assertions) { &[(2, 4)] } else { &[(2, 4), (3, 4), (3, 5)] };
    for (attempts_max, lifetime_max) in limits.iter().copied() {
        let found = exact(&Game::new(&real, attempts_max, lifetime_max).pardons(&[1, 2]));
        assert_eq!(found.most.len(), 9, "none, one and two successes; pardon of none, one and two");
    }
}

#[test]
fn the_bound_is_exact_with_unproven_removal() {
    let limits: &[_] = if cfg!(debug_assertions) { &[(2, 4)] } else { &[(2, 4), (3, 5)] };
    for (attempts_max, lifetime_max) in limits.iter().copied() {
        exact(&Game::new(&real, attempts_max, lifetime_max).unproven_removal());
    }
}

/// However many successes there are, each is worth `attempts_max - 1` guesses and no more.
#[test]
fn the_bound_holds_for_any_number_of_successes() {
    for (attempts_max, lifetime_max) in LIMITS.iter().copied() {
        let game = Game::new(&real, attempts_max, lifetime_max).any_successes();
        let found = game.search();
        println!("attempts_max {attempts_max} lifetime_max {lifetime_max}, any successes: {} states", found.states);
        assert_eq!(found.broken, None);
        assert_eq!(found.most[&(0, 0)], i64::from(lifetime_max));
    }
}

#[test]
fn a_lockout_from_guesses_alone_begins_where_the_design_says() {
    for (attempts_max, lifetime_max) in LIMITS.iter().copied() {
        let found = Game::new(&real, attempts_max, lifetime_max).guesses_only().search();
        assert_eq!(found.broken, None);
        assert_eq!(found.lockout, Some(i64::from(lifetime_max - attempts_max + 1)), "{attempts_max} {lifetime_max}");
        assert_eq!(found.most[&(0, 0)], i64::from(lifetime_max), "and guesses go on to the lifetime's end");
    }
}

/// The check that situations taken for one go on alike is seen to fail, for each part of the key that is left out.
#[test]
fn a_key_that_leaves_something_out_is_noticed() {
    let game = Game { compare_every: Some(1), ..Game::new(&real, 2, 5).unproven_removal() };
    for (part, place) in [("record", 0), ("generation", 1), ("owed", 3), ("due", 5), ("held", 8)] {
        let found = game.search_by(&|node| {
            let mut key = game.key(node);
            key[place] = 0;
            key
        });
        let noticed = found.broken.is_some_and(|broken| broken.starts_with("not alike"));
        assert!(noticed, "nothing was noticed without {part}");
    }
}
