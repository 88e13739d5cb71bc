//! O2: known, unknown and destroyed accounts cost the same.

use subtle::Choice;

use super::interop::{Random, Suite};
use crate::engine::tally::{self, Tally};
use crate::opaque::fake::{FakeKeys, Lookup, choose};
use crate::opaque::login::{Login, respond};
use crate::opaque::{Ke1, ServerKeys, random_static_secret};
use crate::secret::Secret;

/// What the vault does with a KE1 once its charge is durable, for accounts that are `known` or not.
fn answer(keys: &ServerKeys, fakes: &FakeKeys, message: &[u8], known: &[bool], record: &[u8; 192], context: &[u8]) {
    let ke1s: Vec<_> = Ke1::parse(&vec![message; known.len()]).into_iter().map(|read| read.unwrap()).collect();
    let lookups: Vec<_> = known
        .iter()
        .map(|known| Lookup { known: Choice::from(u8::from(*known)), keys, account: &[3; 32], nonce: &[4; 32], record })
        .collect();
    let chosen = choose(&lookups, fakes);
    let logins: Vec<_> = chosen
        .iter()
        .zip(&ke1s)
        .map(|(chosen, ke1)| Login {
            keys,
            credential: chosen.credential(),
            ke1,
            context,
            client_identity: Some(&[3; 32]),
            server_identity: None,
        })
        .collect();
    assert!(respond(&logins).unwrap().iter().all(Result::is_ok));
}

#[test]
fn o2_known_unknown_and_destroyed_cost_the_same() {
    let keys = ServerKeys::new(&Secret::random().unwrap(), &random_static_secret().unwrap()).unwrap();
    let fakes = FakeKeys::new(&Secret::random().unwrap(), &Secret::random().unwrap()).unwrap();
    let message = opaque_ke::ClientLogin::<Suite>::start(&mut Random, b"code").unwrap().message.serialize();
    let mut live = [1; 192];
    live[..32].copy_from_slice(keys.public_key());
    // What is computed once a process (midstates of constants) is none of the login's work.
    answer(&keys, &fakes, &message, &[true], &live, b"warm up");
    let work = |known: &[bool], record: &[u8; 192], context: &[u8]| {
        tally::of(|| answer(&keys, &fakes, &message, known, record, context))
    };
    let context = b"strongroom-1";
    let known = work(&[true], &live, context);
    let unknown = work(&[false], &[0; 192], context);
    let destroyed = work(&[false], &live, context);
    let expected = Tally { decoded: 3, multiplied: 4, multiplied_base: 1, encoded: 5, mapped: 0, reduced: 2, ..known };
    assert_eq!(known, expected);
    println!("one login: {known:?}");
    assert!(known.blocks > 40 && known.blocks < 50, "PERFORMANCE.md counts 43, a fake's masking key is two more");
    assert_eq!(unknown, known);
    assert_eq!(destroyed, known);
    for count in [2, 8, 17, 32] {
        let all = work(&vec![true; count], &live, context);
        let none = work(&vec![false; count], &[9; 192], context);
        let half: Vec<bool> = (0..count).map(|index| index % 2 == 0).collect();
        assert_eq!(all, none);
        assert_eq!(all, work(&half, &live, context));
        assert_eq!(all.blocks, known.blocks * count);
    }
}

/// Control: work that one kind has and another has not is seen, down to one hash block.
#[test]
fn o2_the_tally_sees_a_shortcut() {
    let keys = ServerKeys::new(&Secret::random().unwrap(), &random_static_secret().unwrap()).unwrap();
    let fakes = FakeKeys::new(&Secret::random().unwrap(), &Secret::random().unwrap()).unwrap();
    let message = opaque_ke::ClientLogin::<Suite>::start(&mut Random, b"code").unwrap().message.serialize();
    let mut live = [1; 192];
    live[..32].copy_from_slice(keys.public_key());
    answer(&keys, &fakes, &message, &[true], &live, b"warm up");
    let honest = tally::of(|| answer(&keys, &fakes, &message, &[true], &live, b"strongroom-1"));
    // A server that derives the fake only where it is needed.
    let shortcut = tally::of(|| {
        let ke1 = Ke1::parse(&[&message]).remove(0).unwrap();
        let login = Login {
            keys: &keys,
            credential: keys.credential(&[3; 64], &live),
            ke1: &ke1,
            context: b"strongroom-1",
            client_identity: Some(&[3; 32]),
            server_identity: None,
        };
        assert!(respond(&[login]).unwrap()[0].is_ok());
    });
    assert_eq!(honest, Tally { blocks: shortcut.blocks + 2, ..shortcut });
    // One that looks at the record once more, as opaque-ke 4.0.1 does for known accounts only.
    let extra = tally::of(|| {
        answer(&keys, &fakes, &message, &[true], &live, b"strongroom-1");
        crate::opaque::RegistrationRecord::parse(&[&live]);
    });
    assert_eq!(extra, Tally { decoded: honest.decoded + 1, ..honest });
    // A longer preamble, by a block.
    let longer = tally::of(|| answer(&keys, &fakes, &message, &[true], &live, &[0; 140]));
    assert_eq!(longer, Tally { blocks: honest.blocks + 1, ..honest });
}
