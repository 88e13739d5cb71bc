//! What both signers tell a vault to do: statements, and bundles that name other signers.

use super::Vault;
use crate::error::{Fault, Refusal};
use crate::ledger::{Command, Obeyed, Signers, Verdict};
use crate::transparency::{Note, Order, Statement, next_signers};

impl Vault {
    /// Does what both signers say in a statement to this fleet.
    ///
    /// # Errors
    /// [`Fault::Policy`] if this vault obeys nobody; [`Fault::Key`] if it is not a statement of both to this fleet;
    /// [`Fault::Statement`] if the ledger refuses it: it was obeyed before, or does not follow the last one; the clock's and
    /// the journal's faults.
    pub fn obey(&self, note: &Note) -> Result<Statement, Fault> {
        let statement = Statement::of(note, &self.signers()?).map_err(|why| Fault::Key(why.to_string()))?;
        if statement.fleet != self.fleet {
            return Err(Fault::Key("the statement is to another fleet".to_owned()));
        }
        self.commit_statement(match &statement.order {
            Order::Pardon { account, pardoned } => Command::Pardon { account: *account, pardoned: *pardoned },
            Order::Restore { number } => Command::Restore { number: *number },
            Order::Members { predecessor, .. } => {
                Command::Members { predecessor: *predecessor, statement: note.write() }
            }
            Order::Refound { .. } => {
                let why = "a fleet that runs does not go on from a backup: each of its members begins so";
                return Err(Fault::Statement(why.to_owned()));
            }
        })?;
        tracing::info!(order = statement.order.name(), "a statement of both signers was obeyed");
        Ok(statement)
    }

    /// Obeys from now on the signers that a bundle names in place of the present ones, who have signed it; does nothing if
    /// it names none, or is the one that was followed last. One that is older is refused, whoever has signed it
    /// ([`next_signers`]).
    ///
    /// # Errors
    /// As [`Vault::obey`].
    pub fn follow_signers(&self, bundle: &Note) -> Result<(), Fault> {
        let from = self.obeyed()?;
        let next = next_signers(bundle, &self.fleet, &from).map_err(|why| Fault::Key(why.to_string()))?;
        match next {
            Some(to) => self.commit_statement(Command::Signers {
                from: Box::new(from),
                to: Box::new(to),
                bundle: bundle.write(),
            }),
            None => Ok(()),
        }
    }

    /// Whose statements are obeyed.
    ///
    /// # Errors
    /// [`Fault::Policy`] if nobody's are.
    pub fn signers(&self) -> Result<Signers, Fault> {
        self.obeyed().map(|it| it.signers)
    }

    fn obeyed(&self) -> Result<Obeyed, Fault> {
        let mut obeyed = None;
        self.journal.read(&mut |state| obeyed = state.obeyed().copied())?;
        obeyed.ok_or_else(|| Fault::Policy("this vault was made without signers, and obeys nobody".to_owned()))
    }

    fn commit_statement(&self, command: Command) -> Result<(), Fault> {
        let receipts = self.journal.commit(self.clock.now_s()?, vec![command])?;
        match receipts.first().map(|receipt| *receipt.verdict()) {
            Some(Verdict::Done) => Ok(()),
            Some(Verdict::Refused(Refusal::Stale)) => {
                Err(Fault::Statement("it was obeyed before, or another must come before it".to_owned()))
            }
            Some(Verdict::Refused(Refusal::NoRecord)) => {
                Err(Fault::Statement("nobody of this id was ever here".to_owned()))
            }
            Some(Verdict::Refused(Refusal::Forbidden)) => {
                Err(Fault::Statement("there is not so much to pardon, or accounts are on their way".to_owned()))
            }
            other => Err(Fault::Statement(format!("the ledger does not take it: {other:?}"))),
        }
    }
}
