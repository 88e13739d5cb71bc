//! [`Roster`]: who may be a member, as the rows of a log up to one of them say.
//!
//! The last statement of both signers names the members; a change of the membership is a row of its own behind it. The one
//! is held against the other by every replica before it takes such a row, however it came (F10), and statements against the
//! keys of both: with the keys of one signer alone, or of one member, a stranger would take every key of the fleet.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{ChangeMembers, EntryPayload};

use super::consensus::{Entry, Membership, NAME_MAX};
use super::link::Address;
use super::machine::commands_of;
use crate::error::Fault;
use crate::ledger::{Command, Obeyed, State, statement_hash};
use crate::transparency::{Member, Note, Order, Statement, next_signers};

/// What is known of the members at a row.
#[derive(Clone)]
pub(super) struct Roster {
    /// The hash of the last statement's text; zeros before the first.
    hash: [u8; 32],
    /// Whom it names.
    named: BTreeMap<u64, Address>,
    /// Numbers that a statement before it named, and one since then does not, or under another key: whose they were is never
    /// a member again.
    gone: BTreeSet<u64>,
    /// Who is a member.
    pub(super) membership: Membership,
    /// By whose statements it goes on.
    obeyed: Option<Obeyed>,
    /// The fleet's id, which the last statement has.
    fleet: Option<[u8; 32]>,
}

impl Roster {
    /// As of a state, and of what is kept beside it.
    pub(super) fn of(state: &State, gone: BTreeSet<u64>, membership: Membership) -> Self {
        let (hash, statement) = state.members();
        let fleet = read(statement).map(|it| it.fleet);
        Roster { hash: *hash, named: named(statement), gone, membership, obeyed: state.obeyed().copied(), fleet }
    }

    /// Numbers that nobody has again.
    pub(super) fn gone(&self) -> &BTreeSet<u64> {
        &self.gone
    }

    /// Whom the last statement names.
    pub(super) fn into_named(self) -> BTreeMap<u64, Address> {
        self.named
    }

    /// Everybody who is or was a member, or was to be.
    pub(super) fn all(&self) -> BTreeSet<u64> {
        let members = self.membership.nodes().map(|(number, _)| *number);
        self.gone.iter().copied().chain(self.named.keys().copied()).chain(members).collect()
    }

    /// Whether a statement may follow the last: no number comes back, and none changes its key.
    pub(super) fn may_be_followed_by(&self, members: &BTreeMap<u64, Address>) -> bool {
        members.iter().all(|(number, at)| self.may_have(*number, at))
    }

    /// Whether this may be the number of whoever is at this address: it is nobody else's, and never was.
    pub(super) fn may_have(&self, number: u64, at: &Address) -> bool {
        let known = self.named.get(&number);
        !self.gone.contains(&number) && known.is_none_or(|known| known.link_key == at.link_key)
    }

    /// What of these commands names other members or signers, as the ledger decides it too; whether both signers have signed all
    /// of that.
    pub(super) fn take(&mut self, commands: &[Command]) -> bool {
        let mut signed = true;
        for command in commands {
            match command {
                Command::Members { predecessor, statement } if *predecessor == self.hash => {
                    signed &= self.have_signed(predecessor, statement);
                    let next = named(statement);
                    let stays = |number, at: &Address| next.get(number).is_some_and(|it| it.link_key == at.link_key);
                    self.gone
                        .extend(self.named.iter().filter(|(number, at)| !stays(*number, at)).map(|(number, _)| number));
                    self.hash = statement_hash(statement);
                    self.named = next;
                    self.fleet = read(statement).map(|it| it.fleet);
                }
                Command::Signers { from, to, bundle } if self.obeyed == Some(**from) => {
                    let next = |fleet| next_signers(&Note::read(bundle).ok()?, &fleet, from).ok().flatten();
                    signed &= self.fleet.and_then(next) == Some(**to);
                    self.obeyed = Some(**to);
                }
                _ => {}
            }
        }
        signed
    }

    /// Whether both signers have said that by this statement, behind that one, others are members.
    fn have_signed(&self, predecessor: &[u8; 32], statement: &[u8]) -> bool {
        let (Some(Obeyed { signers, .. }), Some(fleet)) = (self.obeyed, self.fleet) else { return false };
        let read = Note::read(statement).ok().and_then(|note| Statement::of(&note, &signers).ok());
        let members = read.filter(|it| matches!(it.order, Order::Members { .. })).map(|it| members_of(&it, &fleet));
        members.is_some_and(|members| members.is_ok_and(|(behind, _)| behind == *predecessor))
    }

    /// Goes one row on; whether that is a row to be taken.
    pub(super) fn pass(&mut self, entry: &Entry) -> bool {
        match &entry.payload {
            EntryPayload::Blank => true,
            EntryPayload::Normal(proposal) => match commands_of(proposal) {
                // The first is what the fleet was founded by, which no statement stands before.
                Ok(commands) => self.take(&commands) || entry.log_id.index == 0,
                Err(_) => false,
            },
            EntryPayload::Membership(next) => {
                let admits = self.admits(next);
                if admits {
                    self.membership = next.clone();
                }
                admits
            }
        }
    }

    /// Whether the last statement lets this one join, or stay, at this address.
    fn names(&self, number: u64, at: &Address) -> bool {
        let known = self.membership.get_node(&number);
        self.named.get(&number) == Some(at)
            && known.map_or(!self.gone.contains(&number), |known| known.link_key == at.link_key)
    }

    /// Whether this membership may follow the present one: whoever is new in it is named by the last statement, and so are
    /// all whose votes are new.
    fn admits(&self, next: &Membership) -> bool {
        let nodes =
            next.nodes().all(|(number, at)| self.membership.get_node(number) == Some(at) || self.names(*number, at));
        let present = self.membership.get_joint_config().last();
        let of_the_named =
            |voters: &BTreeSet<u64>| !voters.is_empty() && voters.iter().all(|it| self.named.contains_key(it));
        let voters = next.get_joint_config().iter().flatten().all(|it| next.get_node(it).is_some());
        nodes
            && voters
            && match &next.get_joint_config()[..] {
                [last] => Some(last) == present || (present.is_none() && of_the_named(last)),
                [first, last] => Some(first) == present && of_the_named(last),
                _ => false,
            }
    }

    /// Whether a checkpoint's membership can have come about: whoever is not named by its last statement was before.
    pub(super) fn stands(&self) -> bool {
        let named = |number, at: &Address| self.named.get(number).is_some_and(|it| it.link_key == at.link_key);
        self.membership.nodes().all(|(number, at)| named(number, at) || self.gone.contains(number))
    }

    /// The next change on the way from this membership to what the statement says, and whether whoever it removes is
    /// forgotten; `caught_up` tells which members have all but the newest rows.
    pub(super) fn next_change(&self, caught_up: impl Fn(u64) -> bool) -> Option<(ChangeMembers<u64, Address>, bool)> {
        let member = |number: &u64| self.membership.get_node(number);
        let configs = self.membership.get_joint_config();
        if let [_, last] = &configs[..] {
            return Some((ChangeMembers::ReplaceAllVoters(last.clone()), true));
        }
        let named: BTreeMap<_, _> = self
            .named
            .iter()
            .filter(|(number, at)| self.names(**number, at))
            .map(|(it, at)| (*it, at.clone()))
            .collect();
        if let Some((number, at)) = named.iter().find(|(number, _)| member(number).is_none()) {
            return Some((ChangeMembers::AddNodes(BTreeMap::from([(*number, at.clone())])), true));
        }
        if let Some((number, at)) = named.iter().find(|(number, at)| member(number) != Some(*at)) {
            return Some((ChangeMembers::SetNodes(BTreeMap::from([(*number, at.clone())])), true));
        }
        let (target, present): (BTreeSet<_>, BTreeSet<_>) =
            (named.keys().copied().collect(), self.membership.voter_ids().collect());
        if target != present && !target.is_empty() {
            let ready = target.difference(&present).all(|number| caught_up(*number));
            return ready.then_some((ChangeMembers::ReplaceAllVoters(target), false));
        }
        let left: BTreeSet<_> = self.membership.learner_ids().filter(|it| !target.contains(it)).collect();
        (!left.is_empty() && !target.is_empty()).then_some((ChangeMembers::RemoveNodes(left), false))
    }
}

/// The members of a statement of both signers, or of one that nobody had to sign; and the hash of the one that it follows.
///
/// # Errors
/// [`Fault::Key`] if it is to another fleet, or names no members, or one key twice, or too long a name.
pub(super) fn members_of(statement: &Statement, fleet: &[u8; 32]) -> Result<([u8; 32], BTreeMap<u64, Address>), Fault> {
    let wrong = |why: &str| Fault::Key(format!("the statement {why}"));
    let Some((predecessor, members)) = statement.order.members() else { return Err(wrong("does not name members")) };
    if statement.fleet != *fleet {
        return Err(wrong("is to another fleet"));
    }
    Ok((*predecessor, addresses(members)?))
}

/// The members that a statement names.
///
/// # Errors
/// [`Fault::Key`] if there are none, or one key is there twice, or too long a name.
pub(super) fn addresses(members: &[Member]) -> Result<BTreeMap<u64, Address>, Fault> {
    let wrong = |why: &str| Fault::Key(format!("the statement {why}"));
    let keys: BTreeSet<_> = members.iter().map(|it| it.link_key).collect();
    if members.is_empty() || keys.len() < members.len() {
        return Err(wrong("names nobody, or one key twice"));
    }
    if members.iter().any(|it| it.name.len() > NAME_MAX) {
        return Err(wrong("has a name of more than 255 bytes"));
    }
    let address = |it: &Member| (it.number, Address { name: it.name.clone(), link_key: it.link_key });
    Ok(members.iter().map(address).collect())
}

/// Whom a statement in the state names: its signatures were checked when it came.
fn read(statement: &[u8]) -> Option<Statement> {
    Note::read_unsigned(statement).and_then(|note| Statement::read(&note)).ok()
}

fn named(statement: &[u8]) -> BTreeMap<u64, Address> {
    let order = read(statement).map(|it| it.order);
    let members = order.as_ref().and_then(Order::members);
    members.and_then(|(_, members)| addresses(members).ok()).unwrap_or_default()
}
