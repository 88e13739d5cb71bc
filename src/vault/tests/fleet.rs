//! Three vaults over one fleet: a person may turn to any of them at every step.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::person::Person;
use crate::error::{Fault, Refusal};
use crate::fleet::tests::Fleet;
use crate::journal::SystemClock;
use crate::protocol::{Reply, Request};
use crate::vault::{Custody, FileKeyStore, Vault};
use crate::wrap::FileRoot;

struct Sites {
    runtime: Runtime,
    fleet: Fleet,
    vaults: Vec<Vault>,
    _folder: tempfile::TempDir,
}

/// Vaults 1 to 3, which have the same keys.
fn sites() -> Sites {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let custody = |first: bool| {
        let root = Box::new(FileRoot::create(folder.path().join("root")).unwrap());
        let keys = Box::new(FileKeyStore::new(folder.path().join("keys")));
        if first { Custody::create(root, keys) } else { Custody::open(root, keys) }
    };
    let id = *custody(true).unwrap().fleet();
    let fleet = runtime.block_on(Fleet::by(3, Arc::new(SystemClock::new(300).unwrap()), id));
    let vault = |number: u64| {
        let journal = crate::fleet::Fleet::new(fleet.replica(number), Arc::new(runtime.handle().clone()));
        let clock = Arc::new(SystemClock::new(300).unwrap());
        Vault::over(Box::new(journal), clock, custody(false).unwrap()).unwrap()
    };
    runtime.block_on(fleet.leader(None));
    let vaults = (1..=3).map(vault).collect();
    Sites { runtime, fleet, vaults, _folder: folder }
}

#[test]
fn fleet_answers_a_person_wherever_they_turn() {
    let sites = sites();
    let [one, two, three] = &sites.vaults[..] else { panic!("three vaults") };
    let person = Person::new("fleet");
    let finish = person.start_enrolment(one, "right", b"secret").unwrap();
    assert_eq!(person.ask(two, &finish.request()), Ok(Reply::Enrolled { generation: 1 }));
    assert_eq!(person.ask(three, &finish.request()), Ok(Reply::Enrolled { generation: 1 }), "said again elsewhere");

    // A code is tried at one, its proof brought to another, and repeated at the third.
    let answered = person.start(three, "right").unwrap();
    assert_eq!(answered.remaining, 9);
    let proof = person.prove(answered, "right").unwrap();
    assert_eq!(person.finish(one, &proof).unwrap(), b"secret");
    assert_eq!(person.finish(two, &proof).unwrap(), b"secret");
    assert_eq!(person.remaining(three), 10, "a success clears, and everybody knows at once");

    // Wrong codes count wherever they are tried; a repeated KE1 costs nothing, wherever it is repeated.
    for attempt in 1..=10 {
        let vault = &sites.vaults[attempt % 3];
        let (state, ke1) = person.ke1("wrong");
        let answered = person.send_ke1(vault, state.clone(), &ke1).unwrap();
        assert_eq!(answered.remaining as usize, 10 - attempt);
        assert!(person.prove(answered, "wrong").is_none());
        let again = person.send_ke1(&sites.vaults[(attempt + 1) % 3], state, &ke1).unwrap();
        assert_eq!(again.remaining as usize, 10 - attempt);
    }
    for vault in &sites.vaults {
        assert_eq!(person.remaining(vault), 0);
        assert_eq!(person.start(vault, "right").err(), Some(Refusal::Exhausted));
    }
}

#[test]
fn fleet_without_its_leader_answers_and_without_a_majority_says_busy() {
    let sites = sites();
    let person = Person::new("fleet");
    let leader = sites.runtime.block_on(sites.fleet.leader(None));
    let others: Vec<_> = (1..=3).filter(|it| *it != leader).collect();
    let vault = |number: u64| &sites.vaults[number as usize - 1];
    person.enrol(vault(leader), "right", b"secret");
    sites.fleet.cut_off(leader);
    assert_eq!(person.recover(vault(others[0]), "right").unwrap(), b"secret");
    let remaining = Request::Remaining.encode(&person.0).unwrap();
    let lonely = vault(leader).process(&[crate::vault::Admitted { account: person.0, request: &remaining }]);
    assert!(matches!(lonely[..], [Err(Fault::Unsettled(_))]), "who is cut off tells nobody what remains: {lonely:?}");
    sites.fleet.heal();
    assert_eq!(person.recover(vault(leader), "right").unwrap(), b"secret");
}
