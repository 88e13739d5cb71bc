//! Accounts that must not be told apart, and their recoveries.

use std::sync::Arc;

use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, Recovery, Terms};
use strongroom::ledger::Policy;
use strongroom::protocol::Reply;
use strongroom::secret::Secret;
use strongroom::vault::{Admitted, ManualClock, Vault};

use crate::trace;

const NOW_S: u64 = 1_800_000_000;

/// What the vault knows of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    Known,
    Unknown,
    Destroyed,
    /// Exhausted, under a policy that does not say so.
    Concealed,
}

impl Account {
    pub(crate) const ALL: [Account; 4] = [Account::Known, Account::Unknown, Account::Destroyed, Account::Concealed];

    fn id(self, number: usize) -> AccountId {
        AccountId::derive("traces", &format!("{self:?} {number}"))
    }
}

/// Prepares `count` accounts of every kind in the same way, whichever is asked for; then has those of one kind
/// recover.
pub(crate) fn recover(kind: Account, count: usize) {
    let clock = Arc::new(ManualClock::new(NOW_S));
    let policy = Policy { conceal_exhausted: true, ..Policy::development() };
    let vault = Vault::in_memory(policy.clone(), clock.clone()).unwrap();
    for number in 0..count {
        enrol(&vault, Account::Destroyed.id(number));
        exhaust(&vault, Account::Destroyed.id(number));
    }
    clock.forward(policy.destroy_after_s + 1);
    assert_eq!(vault.sweep().unwrap().destroyed, count);
    for number in 0..count {
        enrol(&vault, Account::Known.id(number));
        enrol(&vault, Account::Concealed.id(number));
        exhaust(&vault, Account::Concealed.id(number));
    }
    let ids = |kind: Account| (0..count).map(|number| kind.id(number)).collect::<Vec<_>>();
    // Everyone twice before, for what is made at its first use and for a heap that is the same whoever comes then.
    for kind in [Account::ALL, Account::ALL].concat() {
        exchange(&vault, &ids(kind));
    }
    let attempts = attempts(&ids(kind));
    trace::mark();
    send(&vault, &attempts);
}

/// Requests of one size for some accounts, in one batch.
fn ask(vault: &Vault, requests: &[(AccountId, &[u8])]) -> Vec<Vec<u8>> {
    let admitted: Vec<_> = requests.iter().map(|&(account, request)| Admitted { account, request }).collect();
    vault.process_bytes(&admitted)
}

fn enrol(vault: &Vault, account: AccountId) {
    let enrolment = Enrolment::start(&Terms::development(), account, Code::new("the code").unwrap()).unwrap();
    let reply = ask(vault, &[(account, enrolment.request())]).remove(0);
    let pending = enrolment.finish(&reply, &Secret::new([7; 32])).unwrap();
    let reply = ask(vault, &[(account, pending.request())]).remove(0);
    assert_eq!(pending.done(&reply), Ok(1));
}

fn exhaust(vault: &Vault, account: AccountId) {
    for _ in 0..vault.policy().attempts_max {
        exchange(vault, &[account]);
    }
}

/// The first half of a recovery for each account.
fn exchange(vault: &Vault, accounts: &[AccountId]) {
    send(vault, &attempts(accounts));
}

fn attempts(accounts: &[AccountId]) -> Vec<(AccountId, Recovery)> {
    let start = |account: &AccountId| Recovery::start(&Terms::development(), *account, Code::new("no code").unwrap());
    accounts.iter().map(|account| (*account, start(account).unwrap())).collect()
}

fn send(vault: &Vault, attempts: &[(AccountId, Recovery)]) {
    let requests: Vec<_> = attempts.iter().map(|(account, recovery)| (*account, recovery.request())).collect();
    for reply in ask(vault, &requests) {
        assert!(matches!(Reply::decode(&reply), Ok(Reply::RecoverStarted { .. })), "every kind is answered alike");
    }
}
