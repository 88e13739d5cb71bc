//! The two signers of a simulated fleet, and the statements that they have made, one behind another.

use std::collections::BTreeSet;
use std::sync::Mutex;

use strongroom::ledger::{Command, Signers as Keys};
use strongroom::secret::Secret;
use strongroom::transparency::{Member, Note, Order, SigningKey, Statement};

use crate::site::name;

pub(crate) const FLEET: [u8; 32] = [9; 32];

fn key(seed: u8) -> SigningKey {
    SigningKey::new("signer", &Secret::new([seed; 32])).expect("a name")
}

/// Whose statements the fleet obeys.
pub(crate) fn keys() -> Keys {
    let [auditor, operator] = [1, 2].map(|seed| *key(seed).verifying_key().as_bytes());
    Keys { auditor, operator }
}

/// What has been signed so far.
pub(crate) struct Signers(Mutex<Vec<(Note, BTreeSet<u64>)>>);

impl Signers {
    /// They have named the founders.
    pub(crate) fn new(founders: BTreeSet<u64>) -> Self {
        let signers = Signers(Mutex::default());
        signers.name(founders);
        signers
    }

    /// They name these as the members from here on.
    pub(crate) fn name(&self, members: BTreeSet<u64>) {
        let mut made = self.0.lock().unwrap();
        let predecessor = made.last().map_or([0; 32], |(note, _)| note.hash());
        let member = |number: &u64| Member {
            number: *number,
            name: name(*number),
            link_key: [*number as u8; 32],
            channel_key: [0; 32],
            code: "simulated".to_owned(),
        };
        let order = Order::Members { predecessor, members: members.iter().map(member).collect() };
        let mut note = Statement { fleet: FLEET, order }.note().expect("a statement");
        note.sign(&key(1));
        note.sign(&key(2));
        made.push((note, members));
    }

    /// The first statement, and the last.
    pub(crate) fn ends(&self) -> [Note; 2] {
        let made = self.0.lock().unwrap();
        [made.first(), made.last()].map(|it| it.expect("they have named the founders").0.clone())
    }

    /// Whom the last statement names.
    pub(crate) fn members(&self) -> BTreeSet<u64> {
        self.0.lock().unwrap().last().map(|(_, members)| members.clone()).unwrap_or_default()
    }

    /// What a fleet that has obeyed the statement of this hash is to be told next.
    pub(crate) fn after(&self, hash: &[u8; 32]) -> Option<Command> {
        let made = self.0.lock().unwrap();
        let at = made.iter().position(|(note, _)| note.hash() == *hash)?;
        let (note, _) = made.get(at + 1)?;
        Some(Command::Members { predecessor: *hash, statement: note.write() })
    }
}
