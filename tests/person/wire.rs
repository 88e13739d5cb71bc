//! What passes between client and server: one size there and one size back, whatever is asked and however it ends; and
//! answers that are lost on the way cost nothing.

use std::time::Duration;

use strongroom::account::AccountId;
use strongroom::client::{Code, Failure, Http, Terms, Trouble};
use strongroom::error::Refusal;
use strongroom::secret::Secret;
use tokio::runtime::{Builder, Runtime};

use super::Server;
use super::relay::Relay;

fn code(typed: &str) -> Code {
    Code::new(typed).unwrap()
}

struct World {
    server: Server,
    relay: Relay,
    runtime: Runtime,
    account: AccountId,
    http: Http,
    key: Secret<[u8; 32]>,
    _folder: tempfile::TempDir,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("vault"));
    let relay = Relay::before(&server.address);
    let account = AccountId::derive("example.org/backup", "ada");
    let http = Http::new(&relay.address, &server.token(&account), server.vault.channel_key().unwrap()).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    World { server, relay, runtime, account, http, key: Secret::random().unwrap(), _folder: folder }
}

#[test]
fn every_exchange_has_the_same_two_sizes() {
    let World { server, relay, runtime, account, http, key, _folder } = world();
    let terms = Terms::development();
    let mut sizes = Vec::new();
    // Of a step of several exchanges the sum is divided; each must come out even.
    let mut passed = |what: &'static str, exchanges: usize| {
        let (up, down) = relay.passed();
        assert_eq!((up % exchanges, down % exchanges), (0, 0), "{what}");
        sizes.push((what, up / exchanges, down / exchanges));
    };
    assert_eq!(runtime.block_on(http.remaining(&account)), Ok(10));
    passed("what remains", 1);
    let pending = runtime.block_on(http.enrol(&terms, account, code("one"), &key)).unwrap();
    passed("an enrolment begun", 1);
    assert_eq!(runtime.block_on(http.settle(&pending)), Ok(1));
    passed("an enrolment finished", 1);
    assert_eq!(runtime.block_on(http.settle(&pending)), Ok(1));
    passed("an enrolment repeated", 1);
    let recovered = runtime.block_on(http.recover(&terms, account, code("one"))).unwrap();
    assert_eq!(recovered.expose(), key.expose());
    passed("a recovery", 2);
    for left in (0..10).rev() {
        let wrong = runtime.block_on(http.recover(&terms, account, code("two"))).err();
        assert_eq!(wrong, Some(Trouble::Failure(Failure::WrongCode { remaining: left })));
        passed("a wrong code", 1);
    }
    let exhausted = runtime.block_on(http.recover(&terms, account, code("one"))).err();
    assert_eq!(exhausted, Some(Trouble::Failure(Failure::Refused(Refusal::Exhausted))));
    passed("exhausted", 1);
    let pending = runtime.block_on(http.enrol(&terms, account, code("three"), &key)).unwrap();
    assert_eq!(runtime.block_on(http.settle(&pending)), Ok(2));
    passed("an enrolment, both steps", 2);
    assert_eq!(runtime.block_on(http.remove(&terms, account, code("three"))), Ok(()));
    passed("a removal", 2);
    let unknown = AccountId::derive("example.org/backup", "bea");
    let http = Http::new(&relay.address, &server.token(&unknown), server.vault.channel_key().unwrap()).unwrap();
    let wrong = runtime.block_on(http.recover(&terms, unknown, code("one"))).err();
    assert_eq!(wrong, Some(Trouble::Failure(Failure::WrongCode { remaining: 9 })));
    passed("nobody known", 1);
    let refused = runtime.block_on(http.remaining(&account));
    assert_eq!(refused, Err(Trouble::Failure(Failure::Refused(Refusal::Forbidden))), "admitted as another");
    passed("another account", 1);

    let (_, up, down) = sizes[0];
    println!("every request has {up} bytes and every answer {down}, headers included");
    for (what, here, back) in sizes {
        assert_eq!((here, back), (up, down), "{what} is told apart by its size");
    }
}

#[test]
fn l9_answers_that_are_lost_cost_nothing() {
    let World { server: _server, relay, runtime, account, http, key, _folder } = world();
    let terms = Terms::development();
    relay.lose(2);
    let pending = runtime.block_on(http.enrol(&terms, account, code("one"), &key)).unwrap();
    relay.lose(3);
    assert_eq!(runtime.block_on(http.settle(&pending)), Ok(1), "three times stored, and once");
    assert_eq!(relay.lost(), 5);
    relay.lose(2);
    let wrong = runtime.block_on(http.recover(&terms, account, code("two"))).err();
    assert_eq!(wrong, Some(Trouble::Failure(Failure::WrongCode { remaining: 9 })), "one attempt, not three");
    // The first answer comes through, so that it is the last message which is repeated.
    relay.lose_after(1, 2);
    assert_eq!(runtime.block_on(http.recover(&terms, account, code("one"))).unwrap().expose(), key.expose());
    assert_eq!(runtime.block_on(http.remaining(&account)), Ok(10));
    relay.lose_after(1, 3);
    let removed = runtime.block_on(http.remove(&terms, account, code("one")));
    assert_eq!(removed, Ok(()), "the vault says that there is no record: the first removal was done");
    assert_eq!(relay.lost(), 12);
    let gone = runtime.block_on(http.recover(&terms, account, code("one"))).err();
    assert!(matches!(gone, Some(Trouble::Failure(Failure::WrongCode { .. }))), "{gone:?}");

    // Nobody answers at all.
    let hasty = http.patience(Duration::from_millis(300));
    relay.lose(usize::MAX);
    assert!(matches!(runtime.block_on(hasty.remaining(&account)), Err(Trouble::Unreachable(_))));
}

#[test]
fn what_is_not_trusted_or_admitted_is_told() {
    let World { server, relay, runtime, account, http: _, key: _, _folder } = world();
    let key = server.vault.channel_key().unwrap();
    let http = Http::new(&relay.address, "no token", key.clone()).unwrap();
    assert!(matches!(runtime.block_on(http.remaining(&account)), Err(Trouble::NotAdmitted(_))));
    let token = server.token(&account);
    for (altered, problem) in [
        (strongroom::session::ChannelKey { number: 9, ..key.clone() }, strongroom::session::ChannelProblem::UnknownKey),
        (strongroom::session::ChannelKey { epoch: 9, ..key }, strongroom::session::ChannelProblem::UnknownBundle),
    ] {
        let http = Http::new(&relay.address, &token, altered).unwrap();
        assert_eq!(runtime.block_on(http.remaining(&account)), Err(Trouble::Channel(problem)));
    }
    assert!(matches!(
        Http::new("no address at all", &token, server.vault.channel_key().unwrap()),
        Err(Trouble::Odd(_))
    ));
}
