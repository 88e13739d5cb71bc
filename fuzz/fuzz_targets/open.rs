//! Opening of tickets, sealed records and blobs: they open where and as they were sealed, and nowhere else.
//!
//! An input is a script: what to seal, where to open it, how to alter the sealed bytes first. Whether it must open is
//! known from the script alone. No fuzzer forges a seal, so each script begins with a genuine one. The seeds in
//! `corpus/open` are made by `tests/seeds.rs`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use strongroom::account::AccountId;
use strongroom::error::{Fault, Refusal};
use strongroom::secret::Secret;
use strongroom::wire::{Invalid, Reader};
use strongroom::wrap::{
    BLOB_OVERHEAD, EnrolmentTicket, EpochKeys, LoginTicket, OpenItem, Record, SEALED_LEN, SealItem, Sealed, Ticket,
    TicketKeys,
};

const HERE: AccountId = AccountId([1; 32]);
const ELSEWHERE: AccountId = AccountId([2; 32]);
/// State time until which the retired ticket key opens.
const RETIRED_S: u64 = 1000;

struct Keys {
    /// Sealed with before the rotation, and after.
    old_tickets: TicketKeys,
    tickets: TicketKeys,
    /// Of the older of two epochs that are held, and of one that is not.
    old_epoch: EpochKeys,
    lost_epoch: EpochKeys,
    epochs: EpochKeys,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let key = |byte| Secret::new([byte; 32]);
    let epoch = |byte| Secret::new([byte; 64]);
    let old_tickets = || TicketKeys::new([7; 32], (1, &key(1)), (1, &key(2)));
    let mut tickets = old_tickets();
    tickets.rotate::<LoginTicket>((2, &key(3)), RETIRED_S).expect("number 2 is free");
    tickets.rotate::<EnrolmentTicket>((2, &key(4)), RETIRED_S).expect("number 2 is free");
    let mut epochs = EpochKeys::new(2, &epoch(2));
    epochs.insert(1, &epoch(1)).expect("epoch 1 is not held yet");
    let (old_epoch, lost_epoch) = (EpochKeys::new(1, &epoch(1)), EpochKeys::new(3, &epoch(3)));
    Keys { old_tickets: old_tickets(), tickets, old_epoch, lost_epoch, epochs }
});

fuzz_target!(|data: &[u8]| -> Corpus {
    let mut script = Reader::new(data);
    let Ok((kind, place)) = opening(&mut script) else { return Corpus::Reject };
    let done = match kind {
        b'l' => login(&mut script, &place),
        b'e' => enrolment(&mut script, &place),
        b'r' => record(&mut script, &place),
        b'b' => blob(&mut script, &place),
        b'x' => {
            forged(script.rest());
            Ok(())
        }
        _ => Err(Invalid),
    };
    done.map_or(Corpus::Reject, |()| Corpus::Keep)
});

/// Where and under what is sealed and opened.
struct Place {
    nonce: [u8; 12],
    /// Opened for another account than it was sealed for.
    other_account: bool,
    /// Opened as another kind, generation or purpose.
    other_kind: bool,
    /// Sealed under the key before the present one.
    old_key: bool,
    /// For tickets: opened after the old key's time. For records and blobs: sealed under an epoch that is not held.
    lost_key: bool,
}

fn opening(script: &mut Reader<'_>) -> Result<(u8, Place), Invalid> {
    let (kind, bits) = (script.u8()?, script.u8()?);
    let bit = |letter: u8| bits & letter != 0;
    let nonce = if kind == b'x' { [0; 12] } else { *script.array()? };
    let place = Place { nonce, other_account: bit(1), other_kind: bit(2), old_key: bit(4), lost_key: bit(8) };
    Ok((kind, place))
}

/// Alters sealed bytes as the rest of the script says: an operation and a place, three bytes each.
fn altered(script: &mut Reader<'_>, sealed: &[u8]) -> Vec<u8> {
    let mut bytes = sealed.to_vec();
    while let (Ok(operation), Ok(at)) = (script.u8(), script.u16()) {
        let at = usize::from(at);
        match (operation >> 5, bytes.len()) {
            (0, _) => bytes.truncate(at),
            (1, length) if length < 2 * SEALED_LEN => bytes.push(at as u8),
            (2, length) => bytes.rotate_left(at.min(length)),
            (_, 0) => {}
            (_, length) => bytes[at % length] ^= 1 << (operation % 8),
        }
    }
    bytes
}

fn login(script: &mut Reader<'_>, place: &Place) -> Result<(), Invalid> {
    let state = Box::new(Secret::new(*script.array()?));
    let (generation, expiry_s) = (script.u32()?, script.u64()?);
    let ticket = LoginTicket { generation, expiry_s, key_number: script.u16()?, ordinal: script.u32()?, state };
    let same = |opened: &LoginTicket| {
        opened.generation == ticket.generation
            && opened.expiry_s == ticket.expiry_s
            && opened.key_number == ticket.key_number
            && opened.ordinal == ticket.ordinal
            && opened.state.expose() == ticket.state.expose()
    };
    self::ticket::<LoginTicket, EnrolmentTicket>(script, place, &ticket, same)
}

fn enrolment(script: &mut Reader<'_>, place: &Place) -> Result<(), Invalid> {
    let nonce = Box::new(Secret::new(*script.array()?));
    let (generation, expiry_s) = (script.u32()?, script.u64()?);
    let (key_number, transcript) = (script.u16()?, *script.array()?);
    let ticket = EnrolmentTicket { generation, expiry_s, key_number, transcript, nonce };
    let same = |opened: &EnrolmentTicket| {
        opened.generation == ticket.generation
            && opened.expiry_s == ticket.expiry_s
            && opened.key_number == ticket.key_number
            && opened.transcript == ticket.transcript
            && opened.nonce.expose() == ticket.nonce.expose()
    };
    self::ticket::<EnrolmentTicket, LoginTicket>(script, place, &ticket, same)
}

fn ticket<T: Ticket, Other: Ticket>(
    script: &mut Reader<'_>,
    place: &Place,
    ticket: &T,
    same: impl Fn(&T) -> bool,
) -> Result<(), Invalid> {
    let sealer = if place.old_key { &KEYS.old_tickets } else { &KEYS.tickets };
    let genuine = only(sealer.seal_with(0, &[((&HERE, ticket), place.nonce)])).expect("a ticket has one length");
    assert_eq!(genuine.len(), T::SEALED_LEN);
    let sealed = altered(script, &genuine);

    let account = if place.other_account { &ELSEWHERE } else { &HERE };
    let time_s = RETIRED_S + u64::from(place.lost_key);
    let over = place.old_key && place.lost_key;
    let opens = sealed == genuine && !place.other_account && !place.other_kind && !over;
    // Whoever names a key that is retired for good is told that their ticket is over.
    let refused = |length: usize| match *sealed {
        [version, 0, 0, ..] if sealed.len() == length && version == genuine[0] => Refusal::TicketExpired,
        [version, 0, 1, ..] if sealed.len() == length && version == genuine[0] && time_s > RETIRED_S => {
            Refusal::TicketExpired
        }
        _ => Refusal::TicketInvalid,
    };
    if place.other_kind {
        let opened = only(KEYS.tickets.open::<Other>(0, &[(account, &sealed)], time_s));
        assert_eq!(opened.err(), Some(refused(Other::SEALED_LEN)), "a ticket of one kind opened as another");
    } else {
        // A genuine neighbour opens whatever stands beside it.
        let neighbour = only(KEYS.tickets.seal_with(0, &[((&HERE, ticket), place.nonce)])).expect("one length");
        let opened = KEYS.tickets.open::<T>(0, &[(account, &sealed), (&HERE, &neighbour)], time_s);
        let [opened, neighbour] = opened.try_into().unwrap_or_else(|_| panic!("one result an item"));
        assert!(neighbour.is_ok_and(|opened| same(&opened)), "a bad ticket harmed its neighbour");
        match opened {
            Ok(opened) => assert!(opens && same(&opened), "opened what it must not, or as something else"),
            Err(refusal) => assert!(!opens && refusal == refused(T::SEALED_LEN), "a genuine ticket: {refusal}"),
        }
    }
    Ok(())
}

fn record(script: &mut Reader<'_>, place: &Place) -> Result<(), Invalid> {
    let (nonce, preset, opaque) = (script.array()?, script.u8()?, script.array()?);
    let (generation, key_number, secret) = (script.u32()?, script.u16()?, script.counted(600)?);
    let record = Record::new(nonce, preset, opaque, secret);
    assert_eq!(record.is_ok(), (1..=512).contains(&secret.len()), "a secret has 1 to 512 bytes");
    let Ok(record) = &record else { return Ok(()) };
    let item = SealItem { account: &HERE, generation, key_number, record };
    let genuine = only(sealer(place).seal_with(&[(item, place.nonce)])).expect("a record has one length");
    let sealed = altered(script, genuine.as_bytes());

    let sealed = match Sealed::from_bytes(&sealed) {
        Ok(sealed) => sealed,
        Err(Fault::Format { found, .. }) => {
            assert!(sealed.len() == SEALED_LEN && found == sealed[0] && found != 1);
            return Ok(());
        }
        Err(fault) => {
            assert!(matches!(fault, Fault::Damaged(_)) && sealed.len() != SEALED_LEN, "{fault}");
            return Ok(());
        }
    };
    let account = if place.other_account { &ELSEWHERE } else { &HERE };
    let opened_as = generation.wrapping_add(u32::from(place.other_kind));
    let opens = sealed == genuine && !place.other_account && !place.other_kind && !place.lost_key;
    let neighbour = only(KEYS.epochs.seal_with(&[(item, place.nonce)])).expect("one length");
    let items = [
        OpenItem { account, generation: opened_as, sealed: &sealed },
        OpenItem { account: &HERE, generation, sealed: &neighbour },
    ];
    for opened in [KEYS.epochs.open(&items), reopened(&items, place)] {
        let [opened, neighbour] = opened.try_into().unwrap_or_else(|_| panic!("one result an item"));
        assert!(neighbour.is_ok_and(|opened| opened.encode() == record.encode()), "a bad record harmed its neighbour");
        match opened {
            Ok(opened) => assert!(opens && opened.encode() == record.encode() && opened.secret() == secret),
            Err(fault) => {
                let held = (1..=2).contains(&sealed.header().epoch);
                assert!(!opens && matches!(fault, Fault::Key(_)) != held, "{fault}");
                assert!(matches!(fault, Fault::Key(_) | Fault::Damaged(_)), "{fault}");
            }
        }
    }
    Ok(())
}

/// The same by way of a rewrap: what opens is sealed anew under the newest epoch and opens again.
fn reopened(items: &[OpenItem<'_>; 2], place: &Place) -> Vec<Result<Record, Fault>> {
    let rewrapped = KEYS.epochs.rewrap_with(&items.map(|item| (item, place.nonce)));
    let open = |(item, sealed): (&OpenItem<'_>, Result<Sealed, Fault>)| {
        let sealed = &sealed?;
        assert_eq!(sealed.header().epoch, 2, "a rewrap is to the newest epoch");
        assert_eq!(sealed.header().key_number, item.sealed.header().key_number);
        only(KEYS.epochs.open(&[OpenItem { sealed, ..*item }]))
    };
    items.iter().zip(rewrapped).map(open).collect()
}

fn blob(script: &mut Reader<'_>, place: &Place) -> Result<(), Invalid> {
    let plain = script.counted(600)?;
    let genuine = sealer(place).seal_blob_with("purpose", plain, &place.nonce).expect("short enough");
    assert_eq!(genuine.len(), plain.len() + BLOB_OVERHEAD);
    let sealed = altered(script, &genuine);
    let purpose = if place.other_kind { "purpose of another" } else { "purpose" };
    let opens = sealed == genuine && !place.other_kind && !place.lost_key;
    match KEYS.epochs.open_blob(purpose, &sealed) {
        Ok(opened) => assert!(opens && opened.expose() == plain),
        Err(fault) => {
            assert!(!opens, "{fault}");
            assert!(matches!(fault, Fault::Key(_) | Fault::Damaged(_) | Fault::Format { .. }), "{fault}");
        }
    }
    Ok(())
}

/// Bytes that nobody sealed.
fn forged(bytes: &[u8]) {
    assert!(only(KEYS.tickets.open::<LoginTicket>(0, &[(&HERE, bytes)], 0)).is_err());
    assert!(only(KEYS.tickets.open::<EnrolmentTicket>(0, &[(&HERE, bytes)], 0)).is_err());
    assert!(KEYS.epochs.open_blob("purpose", bytes).is_err());
    if let Ok(sealed) = &Sealed::from_bytes(bytes) {
        assert!(only(KEYS.epochs.open(&[OpenItem { account: &HERE, generation: 1, sealed }])).is_err());
    }
}

fn sealer(place: &Place) -> &'static EpochKeys {
    match (place.lost_key, place.old_key) {
        (true, _) => &KEYS.lost_epoch,
        (false, true) => &KEYS.old_epoch,
        (false, false) => &KEYS.epochs,
    }
}

fn only<T>(results: Vec<T>) -> T {
    let [result] = results.try_into().unwrap_or_else(|_| panic!("one result an item"));
    result
}
