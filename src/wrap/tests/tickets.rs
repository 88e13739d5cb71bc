//! Tickets open for their own kind, account and fleet, while their key is held.

use super::{account, body};
use crate::account::AccountId;
use crate::error::{Fault, Refusal};
use crate::secret::Secret;
use crate::wrap::{
    ENROLMENT_TICKET_LEN, EnrolmentTicket, LOGIN_TICKET_LEN, LoginTicket, Ticket, TicketKey, TicketKeys,
};

const FLEET: [u8; 32] = [0xf1; 32];

fn key(byte: u8) -> TicketKey {
    Secret::new([byte; 32])
}

fn keys() -> TicketKeys {
    TicketKeys::new(FLEET, (258, &key(1)), (259, &key(2)))
}

fn login() -> LoginTicket {
    let state = Box::new(Secret::new([6; 128]));
    LoginTicket { generation: 1, expiry_s: 2, key_number: 3, ordinal: 4, state }
}

fn enrolment() -> EnrolmentTicket {
    let nonce = Box::new(Secret::new([8; 32]));
    EnrolmentTicket { generation: 1, expiry_s: 2, key_number: 3, transcript: [7; 32], nonce }
}

/// What a login ticket holds, by the words of DESIGN section 4.
fn login_bytes() -> Vec<u8> {
    [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 4][..], &[6; 128]].concat()
}

fn enrolment_bytes() -> Vec<u8> {
    [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3][..], &[7; 32], &[8; 32]].concat()
}

fn seal<T: Ticket>(keys: &TicketKeys, account: &AccountId, ticket: &T) -> Vec<u8> {
    keys.seal(3, &[(account, ticket)]).remove(0).expect("sealed")
}

fn opens<T: Ticket>(keys: &TicketKeys, account: &AccountId, sealed: &[u8], time_s: u64) -> bool {
    match keys.open::<T>(3, &[(account, sealed)], time_s).remove(0) {
        Ok(_) => true,
        Err(refusal) => {
            let named = sealed.get(1..3).map_or(0, |number| u16::from_be_bytes([number[0], number[1]]));
            let over = sealed.len() == T::SEALED_LEN && sealed[0] == 1 && named < keys.current::<T>();
            // A key from before the present one that does not open: retired for good, or, in the control, another's.
            assert!(refusal == Refusal::TicketInvalid || (over && refusal == Refusal::TicketExpired), "{refusal}");
            false
        }
    }
}

fn opened<T: Ticket>(sealed: &[u8]) -> T {
    keys().open(3, &[(&account(1), sealed)], 0).remove(0).expect("opened")
}

#[test]
fn tickets_are_what_the_design_says() {
    let account = &account(1);
    let sealed = keys().seal_with(3, &[((account, &login()), [9; 12])]).remove(0).expect("sealed");
    let associated: [&[u8]; 5] = [&[1], &[1, 1, 2], &FLEET, &[0, 0, 0, 3], account.as_bytes()];
    assert_eq!(sealed, [&[1, 1, 2][..], &body_of_short_key(1, &associated, &login_bytes())].concat());
    assert_eq!(sealed.len(), LOGIN_TICKET_LEN);
    let ticket: LoginTicket = opened(&sealed);
    assert_eq!((ticket.generation, ticket.expiry_s, ticket.key_number, ticket.ordinal), (1, 2, 3, 4));
    assert_eq!(ticket.state.expose(), &[6; 128]);

    let sealed = keys().seal_with(3, &[((account, &enrolment()), [9; 12])]).remove(0).expect("sealed");
    let associated: [&[u8]; 5] = [&[2], &[1, 1, 3], &FLEET, &[0, 0, 0, 3], account.as_bytes()];
    assert_eq!(sealed, [&[1, 1, 3][..], &body_of_short_key(2, &associated, &enrolment_bytes())].concat());
    assert_eq!(sealed.len(), ENROLMENT_TICKET_LEN);
    let ticket: EnrolmentTicket = opened(&sealed);
    assert_eq!((ticket.generation, ticket.expiry_s, ticket.key_number), (1, 2, 3));
    assert_eq!((ticket.transcript, ticket.nonce.expose()), ([7; 32], &[8; 32]));
}

/// A body under the 32-byte ticket key of this byte. RFC 2104 pads a short key with zeros, so the oracle, which wants a
/// PRK of a digest's length, gets the same key padded.
fn body_of_short_key(byte: u8, associated: &[&[u8]], plain: &[u8]) -> Vec<u8> {
    let mut padded = [0; 64];
    padded[..32].fill(byte);
    body(&padded, &[9; 12], associated, plain)
}

fn refuses_every_flip_and_cut<T: Ticket>(ticket: &T) {
    let mut keys = keys();
    // Neighbouring numbers are held too, so that a flipped number finds a key.
    for number in [259, 256, 262] {
        keys.retire::<LoginTicket>((number, &key(9)), 1000).expect("free");
    }
    for number in [258, 257, 263] {
        keys.retire::<EnrolmentTicket>((number, &key(9)), 1000).expect("free");
    }
    let account = account(1);
    let sealed = seal(&keys, &account, ticket);
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens::<T>(&keys, &account, &altered, 0), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(!opens::<T>(&keys, &account, &sealed[..length], 0));
    }
    assert!(!opens::<T>(&keys, &account, &[&sealed[..], &[0]].concat(), 0));
    assert!(opens::<T>(&keys, &account, &sealed, 0), "and unaltered it opens");
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    refuses_every_flip_and_cut(&login());
    refuses_every_flip_and_cut(&enrolment());
}

#[test]
fn a_ticket_opens_for_its_account_and_fleet_only() {
    let sealed = seal(&keys(), &account(1), &login());
    assert!(opens::<LoginTicket>(&keys(), &account(1), &sealed, 0));
    assert!(!opens::<LoginTicket>(&keys(), &account(2), &sealed, 0));
    let other = TicketKeys::new([0xf2; 32], (258, &key(1)), (259, &key(2)));
    assert!(!opens::<LoginTicket>(&other, &account(1), &sealed, 0), "the same keys in another fleet");
    let other = TicketKeys::new(FLEET, (258, &key(3)), (259, &key(2)));
    assert!(!opens::<LoginTicket>(&other, &account(1), &sealed, 0), "another key under the same number");
    let other = TicketKeys::new(FLEET, (260, &key(1)), (259, &key(2)));
    assert!(!opens::<LoginTicket>(&other, &account(1), &sealed, 0), "the same key under another number");
    for restores in [0, 2, 4] {
        let opened = keys().open::<LoginTicket>(restores, &[(&account(1), &sealed)], 0).remove(0);
        assert_eq!(opened.err(), Some(Refusal::TicketInvalid), "in a state restored {restores} times and not 3");
    }
}

#[test]
fn a_ticket_of_one_kind_is_none_of_the_other() {
    // The worst case: both kinds under one key and number, and a body of the very length that the other kind has.
    let keys = TicketKeys::new(FLEET, (1, &key(1)), (1, &key(1)));
    let account = account(1);
    let made = |kind: u8, plain: &[u8]| {
        let associated: [&[u8]; 5] = [&[kind], &[1, 0, 1], &FLEET, &[0, 0, 0, 3], account.as_bytes()];
        [&[1, 0, 1][..], &body_of_short_key(1, &associated, plain)].concat()
    };
    let (login, enrolment) = (login_bytes(), enrolment_bytes());
    assert!(opens::<LoginTicket>(&keys, &account, &made(1, &login), 0));
    assert!(!opens::<LoginTicket>(&keys, &account, &made(2, &login), 0));
    assert!(!opens::<LoginTicket>(&keys, &account, &made(2, &enrolment), 0));
    assert!(opens::<EnrolmentTicket>(&keys, &account, &made(2, &enrolment), 0));
    assert!(!opens::<EnrolmentTicket>(&keys, &account, &made(1, &enrolment), 0));
    assert!(!opens::<EnrolmentTicket>(&keys, &account, &made(1, &login), 0));
    // And as they are used, each kind under its own key.
    let sealed = seal(&self::keys(), &account, &self::login());
    assert!(!opens::<EnrolmentTicket>(&self::keys(), &account, &sealed, 0));
}

#[test]
fn a_retired_key_opens_for_one_more_lifetime() {
    let (mut keys, account) = (keys(), account(1));
    let old = seal(&keys, &account, &login());
    let enrolment = seal(&keys, &account, &enrolment());
    assert_eq!(keys.rotate::<LoginTicket>((258, &key(3)), 1600), Err(taken(258)));
    assert_eq!(keys.retire::<LoginTicket>((258, &key(3)), 1600), Err(taken(258)));
    assert_eq!(keys.rotate::<LoginTicket>((260, &key(3)), 1600), Ok(()));
    assert_eq!((keys.current::<LoginTicket>(), keys.current::<EnrolmentTicket>()), (260, 259));
    assert_eq!(keys.rotate::<LoginTicket>((258, &key(4)), 1600), Err(taken(258)), "retired is taken too");
    let new = seal(&keys, &account, &login());
    assert_eq!(new[1..3], 260u16.to_be_bytes());
    for time_s in [0, 1000, 1600] {
        assert!(opens::<LoginTicket>(&keys, &account, &old, time_s), "{time_s}");
    }
    for time_s in [1601, u64::MAX] {
        let said = keys.open::<LoginTicket>(3, &[(&account, &old)], time_s).remove(0).err();
        assert_eq!(said, Some(Refusal::TicketExpired), "{time_s}");
        assert!(opens::<LoginTicket>(&keys, &account, &new, time_s), "the current key has no end");
        assert!(opens::<EnrolmentTicket>(&keys, &account, &enrolment, time_s), "the other kind is as it was");
    }
    keys.forget_retired(1600);
    assert!(opens::<LoginTicket>(&keys, &account, &old, 1600), "not yet");
    keys.forget_retired(1601);
    let said = keys.open::<LoginTicket>(3, &[(&account, &old)], 0).remove(0).err();
    assert_eq!(said, Some(Refusal::TicketExpired), "gone");
    keys.retire::<LoginTicket>((258, &key(1)), 1700).expect("free again");
    assert!(opens::<LoginTicket>(&keys, &account, &old, 1700), "as after a restart with the key file");
}

fn taken(number: u16) -> Fault {
    Fault::Key(format!("a ticket key has number {number} already"))
}

#[test]
fn a_bad_ticket_harms_no_neighbour() {
    let keys = keys();
    for size in [0u8, 1, 2, 8, 9, 17, 65] {
        let accounts: Vec<_> = (0..size).map(account).collect();
        let tickets: Vec<_> = (0..size).map(|index| LoginTicket { ordinal: index.into(), ..login() }).collect();
        let items: Vec<_> = accounts.iter().zip(&tickets).collect();
        let sealed: Vec<_> = keys.seal(3, &items).into_iter().map(|sealed| sealed.expect("sealed")).collect();
        // In a large batch, at both ends of both tasks.
        for bad in (0..usize::from(size)).filter(|bad| size < 65 || [0, 31, 32, 64].contains(bad)) {
            let mut sealed = sealed.clone();
            sealed[bad][20] ^= 1;
            let items: Vec<_> = accounts.iter().zip(sealed.iter().map(Vec::as_slice)).collect();
            for (index, opened) in keys.open::<LoginTicket>(3, &items, 0).into_iter().enumerate() {
                match opened {
                    Ok(ticket) => assert!(index != bad && ticket.ordinal as usize == index),
                    Err(refusal) => assert_eq!((index, refusal), (bad, Refusal::TicketInvalid)),
                }
            }
        }
    }
}

#[test]
fn nonces_are_drawn_anew() {
    let (keys, account, ticket) = (keys(), account(1), login());
    let mut nonces: Vec<_> = keys
        .seal(3, &vec![(&account, &ticket); 40])
        .into_iter()
        .map(|sealed| sealed.expect("sealed")[3..15].to_vec())
        .collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 40);
}
