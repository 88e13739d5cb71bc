//! Keys that turn at one vault of a fleet, and at the others because of it.
//!
//! Every vault's state says how new the fleet's keys are, since a turn is an entry of the journal. One whose own are older
//! asks the other members, which answer whom the last statement of both signers names (V13). A turn at one vault is at the
//! others a moment later; one that was away meanwhile takes the keys before it opens.
//!
//! | id | invariant |
//! |---|---|
//! | V15 | keys that turn at one vault of a fleet are taken by the others from one that has them, and a vault whose keys are older than its journal knows does not open |

use std::sync::{Arc, Weak};

use super::{Custody, Vault};
use crate::error::Fault;
use crate::fleet::Fleet;
use crate::session::Recipient;

fn unsettled() -> Fault {
    Fault::Unsettled("no other member has handed over the keys that the fleet has turned to".to_owned())
}

impl Vault {
    /// From now on hands its keys to members that ask for them, as long as it is there.
    pub fn hand_keys(self: &Arc<Self>, fleet: &Fleet) {
        let vault: Weak<Vault> = Arc::downgrade(self);
        fleet.replica().hand_keys_by(Arc::new(move |member, public_key| {
            let vault = vault.upgrade().ok_or(Fault::Latched)?;
            vault.hand_over(member, public_key)
        }));
    }

    /// Takes the keys that another vault of the fleet has turned to, if there are newer ones than its own; whether there were.
    /// Nothing is asked while there are none, so it may be called many times a second.
    ///
    /// # Errors
    /// [`Fault::Unsettled`] if nobody hands over what there is to be had; else as [`Vault::take_keys`].
    pub fn follow_keys(&self, fleet: &Fleet, recipient: &Recipient) -> Result<bool, Fault> {
        let mut known = 0;
        self.journal.look(&mut |state| known = state.keys_serial())?;
        if self.ring().secrets.serial >= known {
            return Ok(false);
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
        use crate::journal::Journal;
        let mut known = 0;
        fleet.read(&mut |state| known = state.keys_serial())?;
        if self.secrets.serial >= known {
            return Ok(false);
        }
        let member = fleet.replica().number();
        let taken = fleet.take_keys(recipient.public_key(), &mut |sealed| self.take_keys(sealed, member, recipient))?;
        if taken { Ok(true) } else { Err(unsettled()) }
    }
}
