//! Sealed records open for their own account, generation and epoch, and nowhere else.

use super::{account, body, expand};
use crate::account::AccountId;
use crate::engine::Backend;
use crate::engine::tally::{self, Tally};
use crate::error::Fault;
use crate::limits::SECRET_MAX;
use crate::secret::Secret;
use crate::wrap::{
    EpochKeys, Header, MemoryRoot, OpenItem, PLAIN_LEN, Record, RootSource, SEALED_LEN, SealItem, Sealed, VERSION,
};

/// Epochs 1 to 3 are held, 3 is the newest.
fn keys() -> EpochKeys {
    let mut keys = EpochKeys::new(3, &epoch_key(3));
    keys.insert(1, &epoch_key(1)).expect("not held yet");
    keys.insert(2, &epoch_key(2)).expect("not held yet");
    keys
}

fn epoch_key(epoch: u8) -> Secret<[u8; 64]> {
    Secret::new([epoch; 64])
}

fn record(number: u8) -> Record {
    let secret = vec![number; usize::from(number) * 2 + 1];
    Record::new(&[number; 32], number, &[number.wrapping_add(1); 192], &secret).expect("a short secret")
}

fn seal(keys: &EpochKeys, account: &AccountId, generation: u32, key_number: u16, record: &Record) -> Sealed {
    keys.seal(&[SealItem { account, generation, key_number, record }]).remove(0).expect("sealed")
}

fn open(keys: &EpochKeys, account: &AccountId, generation: u32, sealed: &Sealed) -> Result<Record, Fault> {
    keys.open(&[OpenItem { account, generation, sealed }]).remove(0)
}

fn refused(result: Result<Record, Fault>) -> bool {
    matches!(result, Err(Fault::Damaged(words)) if words == "a sealed record does not open")
}

fn with_header(sealed: &Sealed, header: Header) -> Sealed {
    let mut bytes = *sealed.as_bytes();
    bytes[..7].copy_from_slice(&header.encode());
    Sealed::from_bytes(&bytes).expect("a header of this version")
}

#[test]
fn a_sealed_record_is_what_the_design_says() {
    let (record, account) = (record(9), account(1));
    let plain = [&[9; 32][..], &[9], &[10; 192], &[0, 19], &[9; 19], &[0; SECRET_MAX - 19]].concat();
    assert_eq!(record.encode()[..], plain);
    assert_eq!((record.nonce(), record.preset(), record.opaque()), (&[9; 32], 9, &[10; 192]));
    assert_eq!(record.secret(), [9; 19]);

    let item = SealItem { account: &account, generation: 5, key_number: 258, record: &record };
    let sealed = keys().seal_with(&[(item, [8; 12])]).remove(0).expect("sealed");
    let secret: [u8; 64] = expand(&[3; 64], &[b"record", account.as_bytes(), &5u32.to_be_bytes()]);
    let header = [VERSION, 0, 0, 0, 3, 1, 2];
    let associated: [&[u8]; 4] = [&header, account.as_bytes(), &5u32.to_be_bytes(), b"record"];
    let expected = [&header[..], &body(&secret, &[8; 12], &associated, &plain)].concat();
    assert_eq!(sealed.as_bytes()[..], expected);
    assert_eq!(sealed.header(), Header { epoch: 3, key_number: 258 });
    assert_eq!(open(&keys(), &account, 5, &sealed).expect("opened").encode(), record.encode());
}

#[test]
fn every_flipped_bit_is_refused() {
    let (keys, account) = (keys(), account(1));
    let sealed = seal(&keys, &account, 1, 1, &record(1));
    for bit in 0..SEALED_LEN * 8 {
        let mut bytes = *sealed.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match Sealed::from_bytes(&bytes) {
            Err(fault) => assert!(bit < 8 && matches!(fault, Fault::Format { .. }), "the version alone is read before"),
            Ok(altered) if keys.holds(altered.header().epoch) => {
                assert!(bit >= 8 && refused(open(&keys, &account, 1, &altered)), "bit {bit}");
            }
            Ok(altered) => {
                assert!((8..40).contains(&bit), "another epoch");
                assert!(matches!(open(&keys, &account, 1, &altered), Err(Fault::Key(_))));
            }
        }
    }
    assert!(open(&keys, &account, 1, &sealed).is_ok(), "and unaltered it opens");
}

#[test]
fn a_record_opens_only_where_it_was_put() {
    let keys = keys();
    let sealed = seal(&keys, &account(1), 1, 1, &record(1));
    assert!(refused(open(&keys, &account(2), 1, &sealed)), "another account");
    assert!(refused(open(&keys, &account(1), 2, &sealed)), "another generation");
    assert!(refused(open(&keys, &account(1), 1, &with_header(&sealed, Header { epoch: 2, key_number: 1 }))));
    assert!(refused(open(&keys, &account(1), 1, &with_header(&sealed, Header { epoch: 3, key_number: 2 }))));
    assert!(open(&keys, &account(1), 1, &with_header(&sealed, sealed.header())).is_ok());

    // A blob that holds a record and calls itself one: still another key.
    let blob = keys.seal_blob("record", record(1).encode()).expect("sealed");
    let header = Header { epoch: 3, key_number: 1 }.encode();
    let disguised = Sealed::from_bytes(&[&header[..], &blob[5..]].concat()).expect("a record's length");
    assert!(refused(open(&keys, &account(1), 1, &disguised)), "another purpose");
}

#[test]
fn every_part_of_the_associated_data_counts() {
    let (account, header) = (account(1), [VERSION, 0, 0, 0, 3, 0, 1]);
    let secret: [u8; 64] = expand(&[3; 64], &[b"record", account.as_bytes(), &1u32.to_be_bytes()]);
    let associated = [&header[..], account.as_bytes(), &1u32.to_be_bytes(), b"record"].concat();
    // The right key each time, so that only the associated data can refuse.
    let opens = |associated: &[u8]| {
        let body = body(&secret, &[8; 12], &[associated], record(1).encode());
        open(&keys(), &account, 1, &Sealed::from_bytes(&[&header[..], &body].concat()).expect("a record's length"))
    };
    assert!(opens(&associated).is_ok());
    for index in 0..associated.len() {
        let mut other = associated.clone();
        other[index] ^= 1;
        assert!(refused(opens(&other)), "byte {index}");
    }
    assert!(refused(opens(&associated[..associated.len() - 1])));
}

#[test]
fn what_authenticates_but_is_no_record_is_damaged() {
    let (account, header) = (account(1), [VERSION, 0, 0, 0, 3, 0, 1]);
    let secret: [u8; 64] = expand(&[3; 64], &[b"record", account.as_bytes(), &1u32.to_be_bytes()]);
    let associated: [&[u8]; 4] = [&header, account.as_bytes(), &1u32.to_be_bytes(), b"record"];
    for length in [0, 1, 2, 200, SECRET_MAX - 1, SECRET_MAX, SECRET_MAX + 1, 1024, usize::from(u16::MAX)] {
        let padding = length.min(SECRET_MAX)..SECRET_MAX;
        for stray in padding.step_by(37).map(Some).chain([None, Some(SECRET_MAX - 1)]) {
            let mut plain = *record(1).encode();
            plain[225..227].copy_from_slice(&(length as u16).to_be_bytes());
            plain[227..].iter_mut().enumerate().for_each(|(index, byte)| *byte = u8::from(index < length));
            if let Some(stray) = stray.filter(|stray| *stray >= length) {
                plain[227 + stray] = 0x80;
            }
            // The rule said a second time, plainly.
            let good = (1..=SECRET_MAX).contains(&length) && plain[227 + length..].iter().all(|byte| *byte == 0);
            let sealed = [&header[..], &body(&secret, &[8; 12], &associated, &plain)].concat();
            let opened = open(&keys(), &account, 1, &Sealed::from_bytes(&sealed).expect("a record's length"));
            assert_eq!(Record::decode(&plain).is_ok(), good);
            assert_eq!(opened.is_ok(), good);
            assert!(good || refused(opened), "{length} {stray:?}");
        }
    }
}

#[test]
fn secrets_have_one_to_512_bytes_and_every_sealed_record_one_size() {
    let keys = keys();
    for length in 0..=SECRET_MAX + 1 {
        let record = Record::new(&[1; 32], 1, &[2; 192], &vec![3; length]);
        let Ok(record) = record else {
            assert!(length == 0 || length > SECRET_MAX, "{length}");
            continue;
        };
        assert!((1..=SECRET_MAX).contains(&length), "{length}");
        let sealed = seal(&keys, &account(1), 1, 1, &record);
        assert_eq!(sealed.as_bytes().len(), 7 + 12 + 32 + PLAIN_LEN + 16);
        assert_eq!(open(&keys, &account(1), 1, &sealed).expect("opened").secret(), vec![3; length]);
    }
}

#[test]
fn a_bad_record_harms_no_neighbour() {
    let keys = keys();
    for size in [0u8, 1, 2, 8, 9, 17, 65] {
        let (accounts, records): (Vec<_>, Vec<_>) = (0..size).map(|index| (account(index), record(index))).unzip();
        let items: Vec<_> = accounts.iter().zip(&records).collect();
        let items: Vec<_> =
            items.iter().map(|(account, record)| SealItem { account, generation: 1, key_number: 1, record }).collect();
        let sealed: Vec<_> = keys.seal(&items).into_iter().map(|sealed| sealed.expect("sealed")).collect();
        // In a large batch, at both ends of both tasks.
        for bad in (0..usize::from(size)).filter(|bad| size < 65 || [0, 31, 32, 64].contains(bad)) {
            let mut sealed = sealed.clone();
            let mut bytes = *sealed[bad].as_bytes();
            bytes[100] ^= 1;
            sealed[bad] = Sealed::from_bytes(&bytes).expect("a record's length");
            let items: Vec<_> = accounts
                .iter()
                .zip(&sealed)
                .map(|(account, sealed)| OpenItem { account, generation: 1, sealed })
                .collect();
            for (index, (opened, rewrapped)) in keys.open(&items).into_iter().zip(keys.rewrap(&items)).enumerate() {
                if index == bad {
                    assert!(refused(opened) && rewrapped.is_err());
                } else {
                    assert_eq!(opened.expect("opened").encode(), records[index].encode());
                    let again = open(&keys, &accounts[index], 1, &rewrapped.expect("rewrapped")).expect("opened");
                    assert_eq!(again.encode(), records[index].encode());
                }
            }
        }
    }
}

/// Records of three epochs take turns, so neighbours have different keys; one in each place is of an epoch not held.
#[test]
fn a_lost_epoch_harms_no_neighbour_on_any_backend() {
    let (all, kept) = (Backend::all(), keys());
    for backend in &all {
        println!("backend {}", backend.name());
    }
    for size in [1u8, 7, 8, 9, 17, 33] {
        let (accounts, records): (Vec<_>, Vec<_>) = (0..size).map(|index| (account(index), record(index))).unzip();
        let sealed: Vec<_> = accounts
            .iter()
            .zip(&records)
            .enumerate()
            .map(|(index, (account, record))| {
                let epoch = index as u8 % 3 + 1;
                seal(&EpochKeys::new(epoch.into(), &epoch_key(epoch)), account, index as u32, 1, record)
            })
            .collect();
        for bad in 0..usize::from(size) {
            let mut sealed = sealed.clone();
            sealed[bad] = with_header(&sealed[bad], Header { epoch: 9, key_number: 1 });
            let items: Vec<_> = accounts
                .iter()
                .zip(&sealed)
                .enumerate()
                .map(|(index, (account, sealed))| OpenItem { account, generation: index as u32, sealed })
                .collect();
            let opened = all.iter().flat_map(|backend| kept.open_on(*backend, &items).into_iter().enumerate());
            for (index, opened) in opened {
                match opened {
                    Err(fault) => assert!(index == bad && matches!(fault, Fault::Key(words) if words.contains("9"))),
                    Ok(opened) => assert!(index != bad && opened.encode() == records[index].encode()),
                }
            }
            for (index, rewrapped) in kept.rewrap(&items).into_iter().enumerate() {
                match rewrapped {
                    Err(fault) => assert!(index == bad && matches!(fault, Fault::Key(_))),
                    Ok(sealed) => {
                        let opened = open(&kept, &accounts[index], index as u32, &sealed).expect("opened");
                        assert!(index != bad && opened.encode() == records[index].encode());
                    }
                }
            }
        }
    }
}

#[test]
fn every_record_takes_the_same_hash_blocks() {
    let (keys, accounts, nobody) = (keys(), [account(1), account(2)], AccountId([0; 32]));
    let real = seal(&keys, &accounts[0], 7, 1, &record(200));
    let decoy = seal(&keys, &nobody, 0, 1, &Record::new(&[0; 32], 1, &[0; 192], &[0]).expect("one byte"));
    let work = |account: &AccountId, generation, sealed: &Sealed, count: usize| {
        let items = vec![OpenItem { account, generation, sealed }; count];
        tally::of(|| drop(keys.open(&items)))
    };
    let one = work(&accounts[0], 7, &real, 1);
    assert_eq!(one, Tally { blocks: 8, ..Tally::default() });
    for count in [1, 2, 8, 9, 32] {
        let real = work(&accounts[0], 7, &real, count);
        assert_eq!(real.blocks, count * one.blocks);
        assert_eq!(work(&nobody, 0, &decoy, count), real);
        assert_eq!(work(&accounts[1], 7, &decoy, count), real, "one that does not open");
    }
}

#[test]
fn nonces_are_drawn_anew_and_the_twins_take_them() {
    let (keys, account, record) = (keys(), account(1), record(1));
    let item = SealItem { account: &account, generation: 1, key_number: 1, record: &record };
    let sealed: Vec<_> = keys.seal(&[item; 40]).into_iter().map(|sealed| sealed.expect("sealed")).collect();
    let mut nonces: Vec<_> = sealed.iter().map(|sealed| sealed.as_bytes()[7..19].to_vec()).collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 40);
    let twin = |nonce| keys.seal_with(&[(item, nonce)]).remove(0).expect("sealed");
    assert_eq!(twin([1; 12]), twin([1; 12]));
    assert_ne!(twin([1; 12]), twin([2; 12]));
    let again = OpenItem { account: &account, generation: 1, sealed: &sealed[0] };
    assert_eq!(keys.rewrap_with(&[(again, [1; 12])]).remove(0).expect("rewrapped"), twin([1; 12]));
}

#[test]
fn records_move_to_the_newest_epoch_and_the_old_one_can_go() {
    let source = MemoryRoot::new();
    source.create(1).expect("a root");
    let mut keys = EpochKeys::load(&source, 1).expect("epoch 1");
    let (account, record) = (account(1), record(1));
    let old = seal(&keys, &account, 4, 7, &record);

    source.create(2).expect("a root");
    assert!(matches!(keys.name_newest(2), Err(Fault::Key(_))), "not held");
    keys.insert(2, &source.derive(2).expect("a root")).expect("not held yet");
    assert!(matches!(keys.insert(2, &epoch_key(9)), Err(Fault::Key(_))), "held already");
    assert_eq!(seal(&keys, &account, 4, 7, &record).header().epoch, 1, "still");
    keys.name_newest(2).expect("held");
    assert!(matches!(keys.name_newest(1), Err(Fault::Key(_))), "time does not go back");
    assert_eq!(keys.newest(), 2);

    let item = OpenItem { account: &account, generation: 4, sealed: &old };
    let new = keys.rewrap(&[item]).remove(0).expect("rewrapped");
    assert_eq!(new.header(), Header { epoch: 2, key_number: 7 });
    assert_eq!(open(&keys, &account, 4, &old).expect("still held").encode(), record.encode());

    assert!(matches!(keys.forget_below(3), Err(Fault::Key(_))), "the newest stays");
    assert_eq!(keys.epochs().collect::<Vec<_>>(), [1, 2]);
    keys.forget_below(2).expect("a newer one is named");
    source.destroy(1).expect("destroyed");
    assert_eq!(keys.epochs().collect::<Vec<_>>(), [2]);
    assert!(matches!(open(&keys, &account, 4, &old), Err(Fault::Key(words)) if words.contains("epoch 1")));
    assert!(matches!(keys.rewrap(&[item]).remove(0), Err(Fault::Key(_))));
    assert_eq!(open(&keys, &account, 4, &new).expect("opened").encode(), record.encode());

    let loaded = EpochKeys::load(&source, 2).expect("epoch 2");
    assert_eq!(open(&loaded, &account, 4, &new).expect("opened").encode(), record.encode());
    assert!(matches!(EpochKeys::load(&source, 1), Err(Fault::Key(_))), "a destroyed root derives nothing");
}
