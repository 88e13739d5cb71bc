//! [`Import`]: the side that accounts come to.

use super::Vault;
use super::keys::{Arriving, FleetSecrets, Server, has_room, no_number};
use super::transfer::{Content, Contents, Hello, Offer, Parcel, may_move};
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::ledger::{Arrival, Command, Moving, Side, Tally, Verdict};
use crate::limits::ARRIVE_MAX;
use crate::secret::{Secret, fill_random};
use crate::session::Recipient;
use crate::wire::Invalid;
use crate::wrap::SealItem;

/// Accounts on their way in: [`Import::begin`], then [`Import::take`] for each parcel.
pub struct Import<'a> {
    vault: &'a Vault,
    offer: [u8; 32],
    recipient: Recipient,
}

impl Vault {
    /// Offers to take the accounts of another vault, and answers for none until they have come. Only a vault that has no
    /// accounts does; the same offer is made again until all have come.
    ///
    /// # Errors
    /// [`Fault::Policy`] if accounts may not move here; [`Fault::Key`] if this vault has accounts of its own, or all have
    /// come; the faults of key store and journal.
    pub fn offer(&self) -> Result<Offer, Fault> {
        may_move(&self.policy, &self.policy)?;
        // A move that was cut short behind its last account has its keys still. Who used its offer once more would send
        // accounts that nobody takes.
        self.drop_unused_keys()?;
        {
            let keeper = self.keeper_to_turn()?;
            let ring = self.ring();
            if ring.secrets.arriving.is_none() {
                let mut empty = false;
                self.journal.read(&mut |state| empty = state.is_empty() && state.moving().is_none())?;
                if !empty {
                    return Err(Fault::Key("only a vault without accounts takes those of another".to_owned()));
                }
                let mut secrets = ring.secrets.next()?;
                // Drawn where it is kept: what moves leaves a copy where it was.
                let arriving = Arriving { seed: [0; 32], transfer_key: None, numbers: Vec::new() };
                fill_random(&mut secrets.arriving.insert(arriving).seed)?;
                let epochs = ring.epochs.clone();
                drop(ring);
                self.turn_to(&keeper, secrets, epochs)?;
            }
        }
        let offer = self.standing_offer()?.0;
        self.commit_move(Command::Expect { offer: offer.hash() })?;
        Ok(offer)
    }

    /// The offer that was made, and the key that opens what comes.
    fn standing_offer(&self) -> Result<(Offer, Recipient), Fault> {
        let ring = self.ring();
        let arriving = ring.secrets.arriving.as_ref();
        let arriving = arriving.ok_or_else(|| Fault::Key("this vault expects no accounts".to_owned()))?;
        let recipient = Recipient::new(&Secret::new(arriving.seed));
        let public_key = Box::new(*recipient.public_key());
        Ok((Offer { fleet: self.fleet, public_key, policy: self.policy.clone() }, recipient))
    }

    /// Takes what comes in answer to [`Vault::offer`].
    ///
    /// # Errors
    /// [`Fault::Key`] if there is no such offer, or all have come.
    pub fn import(&self) -> Result<Import<'_>, Fault> {
        self.drop_unused_keys()?;
        let (offer, recipient) = self.standing_offer()?;
        Ok(Import { vault: self, offer: offer.hash(), recipient })
    }

    /// Commits a step of a move.
    pub(super) fn commit_move(&self, command: Command) -> Result<(), Fault> {
        let receipts = self.journal.commit(self.clock.now_s()?, vec![command])?;
        match receipts.first().map(|receipt| *receipt.verdict()) {
            Some(Verdict::Done) => Ok(()),
            Some(Verdict::Refused(Refusal::Stale)) => Err(Fault::Key("another move is under way".to_owned())),
            other => Err(Fault::Key(format!("the journal does not take this step of a move: {other:?}"))),
        }
    }
}

impl Import<'_> {
    /// Hears what the other vault says first, and keeps its keys under numbers of this one. Heard again, it keeps those
    /// that have turned there since; where there are none, it changes nothing.
    ///
    /// # Errors
    /// [`Fault::Key`] if it was not sealed to this vault's offer, or another vault said hello before; the faults of key
    /// store and journal.
    pub fn begin(&self, hello: &[u8]) -> Result<(), Fault> {
        let hello = Hello::open(&self.recipient, &self.offer, hello)?;
        let keeper = self.vault.keeper_to_turn()?;
        let ring = self.vault.ring();
        let mut secrets = ring.secrets.next()?;
        let FleetSecrets { servers, arriving, .. } = &mut *secrets;
        let arriving = arriving.as_mut().ok_or_else(|| Fault::Key("all accounts have come".to_owned()))?;
        let known = arriving.transfer_key.as_ref();
        if known.is_some_and(|known| !bool::from(hello.transfer_key.ct_eq(known))) {
            return Err(Fault::Key("another vault has said hello before".to_owned()));
        }
        let is_new = |theirs: &&Server| arriving.numbers.iter().all(|(number, _)| *number != theirs.number);
        let new: Vec<_> = hello.servers.iter().filter(is_new).collect();
        if known.is_some() && new.is_empty() {
            return Ok(());
        }
        let (held, more) = (servers.len(), new.len());
        has_room(held, more)?;
        let mut number = servers.last().map_or(0, |it| it.number);
        // Large enough from the start: a vector that grows leaves its keys behind.
        let mut all = Vec::with_capacity(held + more);
        all.extend_from_slice(servers);
        for theirs in new {
            number = number.checked_add(1).ok_or_else(no_number)?;
            arriving.numbers.push((theirs.number, number));
            all.push(Server { number, ..theirs.clone() });
        }
        *servers = all;
        arriving.transfer_key.get_or_insert([0; 32]).copy_from_slice(hello.transfer_key.expose());
        let epochs = ring.epochs.clone();
        drop(ring);
        self.vault.turn_to(&keeper, secrets, epochs)?;
        tracing::info!(servers = more, "a vault has said hello; its accounts are expected");
        Ok(())
    }

    /// Takes the accounts of a parcel, in the order in which parcels were made. One that has been taken is passed over.
    /// Returns what has come altogether.
    ///
    /// # Errors
    /// [`Fault::Key`] if it is not this move's or not from the vault that said hello, or has a record of server keys that
    /// no hello has brought yet; [`Fault::Limit`] if one before it is missing; [`Fault::Damaged`] if what came is not what
    /// left: then the last parcel is not taken. The faults of key store and journal, after which it may be taken again.
    pub fn take(&self, parcel: &Parcel) -> Result<Tally, Fault> {
        if parcel.offer != self.offer {
            return Err(Fault::Key("this parcel belongs to another move".to_owned()));
        }
        let (mut bound, mut tally) = self.stands()?;
        let Some(at) = bound else {
            self.vault.drop_unused_keys()?;
            return Ok(tally);
        };
        if parcel.upto.is_some_and(|upto| upto <= at) {
            return Ok(tally);
        }
        if parcel.from > at {
            return Err(Fault::Limit("a parcel before this one is missing".to_owned()));
        }
        let ring = self.vault.ring();
        let arriving = ring.secrets.arriving.as_ref();
        let arriving = arriving.ok_or_else(|| Fault::Key("this vault expects no accounts".to_owned()))?;
        let key = arriving.transfer_key.as_ref().ok_or_else(|| Fault::Key("nobody has said hello yet".to_owned()))?;
        let Contents { time_s, accounts, total } = parcel.unpack(&self.recipient, &Secret::new(*key))?;
        let accounts: Vec<_> = accounts.into_iter().filter(|it| it.id >= at).collect();
        let mut expected = tally;
        accounts.iter().for_each(|it| expected.add(&it.id, &it.account));
        if parcel.upto.is_none() && total != Some(expected) {
            return Err(Fault::Damaged(
                "what came is not what left; nothing more is taken, and the parcels can be brought again".to_owned(),
            ));
        }
        let mut rest = accounts.as_slice();
        while let Some(from) = bound
            && (!rest.is_empty() || bound != parcel.upto)
        {
            let (some, after) = rest.split_at(rest.len().min(ARRIVE_MAX));
            let upto = after.first().map_or(parcel.upto, |next| Some(next.id));
            let arrivals = self.arrivals(some, &arriving.numbers)?;
            let command = Command::Arrive { offer: self.offer, from, upto, arrivals: arrivals.into() };
            self.commit(time_s, command)?;
            (rest, bound) = (after, upto);
        }
        tally = self.stands()?.1;
        drop(ring);
        if bound.is_none() {
            tracing::info!("all accounts have come");
            // Those of the move are among them now.
            self.vault.drop_unused_keys()?;
        }
        Ok(tally)
    }

    /// Seals what has come under this vault's keys.
    fn arrivals(&self, accounts: &[Content], numbers: &[(u16, u16)]) -> Result<Vec<Arrival>, Fault> {
        let ring = self.vault.ring();
        let mut items = Vec::with_capacity(accounts.len());
        for it in accounts {
            if let Some((theirs, record)) = &it.record {
                let ours = numbers.iter().find(|(number, _)| number == theirs).map(|(_, ours)| *ours);
                let key_number = ours.ok_or_else(|| {
                    Fault::Key(format!(
                        "a record was made by keys {theirs}, which did not come; have the other vault say hello again"
                    ))
                })?;
                items.push(SealItem { account: &it.id, generation: it.account.generation(), key_number, record });
            }
        }
        let mut sealed = ring.epochs.seal(&items).into_iter();
        let mut arrivals = Vec::with_capacity(accounts.len());
        for it in accounts {
            let sealed = if it.record.is_some() { sealed.next().transpose()? } else { None };
            let arrival = Arrival::new(it.id, it.account.clone(), sealed);
            arrivals.push(arrival.map_err(Invalid::stored("an account that has come"))?);
        }
        Ok(arrivals)
    }

    fn commit(&self, time_s: u64, command: Command) -> Result<(), Fault> {
        // Dated no earlier than the vault that the accounts left, so that none was charged in the future.
        let now_s = self.vault.clock.now_s()?;
        let latest_s = now_s.saturating_add(self.vault.policy.skew_max_s);
        if time_s > latest_s {
            return Err(Fault::Clock(format!("the vault that accounts come from is {} s ahead", time_s - now_s)));
        }
        let receipts = self.vault.journal.commit(now_s.max(time_s), vec![command])?;
        match receipts.first().map(|receipt| *receipt.verdict()) {
            Some(Verdict::Done) => Ok(()),
            other => Err(Fault::Damaged(format!("the journal does not take these accounts: {other:?}"))),
        }
    }

    /// Where the move stands here.
    fn stands(&self) -> Result<(Option<AccountId>, Tally), Fault> {
        match self.vault.moving()? {
            Some(Moving { offer, bound, side: Side::Arriving(tally) }) if offer == self.offer => Ok((bound, tally)),
            _ => Err(Fault::Key("this vault expects no accounts in this move".to_owned())),
        }
    }
}
