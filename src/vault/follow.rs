//! Keys that turn at one vault of a fleet, and at the others because of it.
//!
//! Every vault's state says how new the fleet's keys are, since a turn is an entry of the journal. One whose own are older
//! takes what it has kept aside ([`super::aside`]), or asks the other members, which answer whom the last statement of both
//! signers names (V13). A turn at one vault is at the others a moment later; one that was away meanwhile takes the keys before it
//! opens.
//!
//! | id | invariant |
//! |---|---|
//! | V15 | keys that turn at one vault of a fleet are taken by the others from one that has them, and a vault whose keys are older than its journal knows does not open |

use std::sync::{Arc, Weak};

use super::handover::{Handed, Receiver};
use super::turn::Named;
use super::{Custody, Vault};
use crate::error::Fault;
use crate::fleet::{Fleet, KeyHolder};
use crate::session::{PUBLIC_KEY_LEN, Recipient};

fn unsettled() -> Fault {
    Fault::Unsettled("no other member has handed over the keys that the fleet has turned to".to_owned())
}

/// A vault as the replica beside it knows it.
struct Holder {
    vault: Weak<Vault>,
    member: u64,
    recipient: Arc<Recipient>,
}

impl Holder {
    fn vault(&self) -> Result<Arc<Vault>, Fault> {
        self.vault.upgrade().ok_or(Fault::Latched)
    }
}

impl KeyHolder for Holder {
    fn channel_key(&self) -> &[u8; PUBLIC_KEY_LEN] {
        self.recipient.public_key()
    }

    fn hand_over(&self, member: u64, channel_key: &[u8; PUBLIC_KEY_LEN]) -> Result<Vec<u8>, Fault> {
        self.vault()?.hand_over(member, channel_key)
    }

    fn keep_aside(&self, from: u64, sealed: &[u8]) -> Result<(), Fault> {
        self.vault()?.keep_aside(from, sealed, self.member, &self.recipient)
    }
}

impl Vault {
    /// From now on, and as long as it is there, hands its keys to members that ask for them, and keeps aside those that others
    /// are about to turn to. A majority of a fleet's vaults must do so for keys to turn at any.
    pub fn hold_keys(self: &Arc<Self>, fleet: &Fleet, recipient: &Arc<Recipient>) {
        let (vault, member) = (Arc::downgrade(self), fleet.replica().number());
        fleet.replica().hold_keys_by(Arc::new(Holder { vault, member, recipient: Arc::clone(recipient) }));
    }

    /// Takes the keys that another vault of the fleet has turned to, if there are newer ones than its own; whether there were.
    /// Nothing is asked while there are none, so it may be called many times a second.
    ///
    /// # Errors
    /// [`Fault::Unsettled`] if nobody hands over what there is to be had; else as [`Vault::take_keys`].
    pub fn follow_keys(&self, fleet: &Fleet, recipient: &Recipient) -> Result<bool, Fault> {
        let mut named = Named { serial: 0, mark: [0; 32] };
        self.journal.look(&mut |state| named = Named { serial: state.keys_serial(), mark: *state.keys_mark() })?;
        if self.ring().secrets.serial >= named.serial {
            return Ok(false);
        }
        // A turn of its own may be under way, or may have been taken after it was given up.
        if self.finish(&self.keeper())? {
            return Ok(true);
        }
        if self.ring().secrets.serial >= named.serial {
            return Ok(false);
        }
        if let Some(handed) = self.kept_aside(&named) {
            return self.adopt(handed).map(|()| true);
        }
        let member = fleet.replica().number();
        let taken = fleet.take_keys(recipient.public_key(), &mut |sealed| self.take_keys(sealed, member, recipient))?;
        if taken { Ok(true) } else { Err(unsettled()) }
    }
}

impl Custody {
    /// [`Vault::follow_keys`] before there is a vault: waits for a leader, so that what this member has not heard of is heard.
    ///
    /// # Errors
    /// As [`Vault::follow_keys`], and the fleet's while it has no leader.
    pub fn follow_keys(&mut self, fleet: &Fleet, recipient: &Recipient) -> Result<bool, Fault> {
        let named = Named::by(fleet)?;
        if self.is_as_new_as(&named)? {
            return Ok(false);
        }
        if self.take_kept(named.serial, &named.mark)? {
            return Ok(true);
        }
        let to = Receiver { fleet: self.secrets.fleet, member: fleet.replica().number() };
        let taken = fleet.take_keys(recipient.public_key(), &mut |sealed| {
            let handed = Handed::open(sealed, &to, recipient)?;
            if handed.is(&named)? { self.adopt(handed) } else { Err(unsettled()) }
        })?;
        if taken { Ok(true) } else { Err(unsettled()) }
    }
}
