//! Opening of tickets, sealed records and blobs: they open where and as they were sealed, and nowhere else.
//!
//! An input is a script: what to seal, where to open it, how to alter the sealed bytes first. Whether it must open is
//! known from the script alone. No fuzzer forges a seal, so each script begins with a genuine one. For the fuzzer and its
//! seeds.

use std::fmt::Display;
use std::sync::LazyLock;

use strongroom::account::AccountId;
use strongroom::error::{Fault, Refusal};
use strongroom::secret::Secret;
use strongroom::wire::{Invalid, Reader, Writer};
use strongroom::wrap::{
    BLOB_OVERHEAD, EnrolmentTicket, EpochKeys, LoginTicket, OpenItem, Record, SEALED_LEN, SealItem, Sealed, Ticket,
    TicketKeys,
};

use crate::judge::Judge;

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

pub(crate) fn drive(data: &[u8], judge: &mut Judge) -> Result<(), Invalid> {
    let mut script = Reader::new(data);
    let (kind, place) = opening(&mut script)?;
    match kind {
        b'l' => login(judge, &mut script, &place),
        b'e' => enrolment(judge, &mut script, &place),
        b'r' => record(judge, &mut script, &place),
        b'b' => blob(judge, &mut script, &place),
        b'x' => {
            forged(judge, script.rest());
            Ok(())
        }
        _ => Err(Invalid),
    }
}

/// An answer as bytes: what was opened, or why nothing was.
fn told<E: Display>(opened: Result<Vec<u8>, E>) -> Vec<u8> {
    opened.map_or_else(|why| format!("no: {why}").into_bytes(), |opened| [b"yes: ", &opened[..]].concat())
}

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

fn login(judge: &mut Judge, script: &mut Reader<'_>, place: &Place) -> Result<(), Invalid> {
    let state = Box::new(Secret::new(*script.array()?));
    let (generation, expiry_s) = (script.u32()?, script.u64()?);
    let ticket = LoginTicket { generation, expiry_s, key_number: script.u16()?, ordinal: script.u32()?, state };
    let fields = |it: &LoginTicket| {
        let mut writer = Writer::default();
        writer.u32(it.generation).u64(it.expiry_s).u16(it.key_number).u32(it.ordinal).bytes(it.state.expose());
        writer.finish()
    };
    self::ticket::<LoginTicket, EnrolmentTicket>(judge, script, place, &ticket, fields)
}

fn enrolment(judge: &mut Judge, script: &mut Reader<'_>, place: &Place) -> Result<(), Invalid> {
    let nonce = Box::new(Secret::new(*script.array()?));
    let (generation, expiry_s) = (script.u32()?, script.u64()?);
    let (key_number, transcript) = (script.u16()?, *script.array()?);
    let ticket = EnrolmentTicket { generation, expiry_s, key_number, transcript, nonce };
    let fields = |it: &EnrolmentTicket| {
        let mut writer = Writer::default();
        writer.u32(it.generation).u64(it.expiry_s).u16(it.key_number).bytes(&it.transcript).bytes(it.nonce.expose());
        writer.finish()
    };
    self::ticket::<EnrolmentTicket, LoginTicket>(judge, script, place, &ticket, fields)
}

fn ticket<T: Ticket, Other: Ticket>(
    judge: &mut Judge,
    script: &mut Reader<'_>,
    place: &Place,
    ticket: &T,
    fields: impl Fn(&T) -> Vec<u8>,
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
        let refused = Err(refused(Other::SEALED_LEN));
        judge.demand("a ticket of one kind opened as another", told(opened.map(|_| Vec::new())), told(refused));
    } else {
        // A genuine neighbour opens whatever stands beside it.
        let neighbour = only(KEYS.tickets.seal_with(0, &[((&HERE, ticket), place.nonce)])).expect("one length");
        let opened = KEYS.tickets.open::<T>(0, &[(account, &sealed), (&HERE, &neighbour)], time_s);
        let [opened, neighbour] = opened.try_into().unwrap_or_else(|_| panic!("one result an item"));
        let [opened, neighbour] = [opened, neighbour].map(|opened| told(opened.as_ref().map(&fields)));
        judge.demand("a bad ticket's neighbour", neighbour, told::<Refusal>(Ok(fields(ticket))));
        let expected = if opens { Ok(fields(ticket)) } else { Err(refused(T::SEALED_LEN)) };
        judge.demand("a ticket", opened, told(expected));
    }
    Ok(())
}

fn record(judge: &mut Judge, script: &mut Reader<'_>, place: &Place) -> Result<(), Invalid> {
    let (nonce, preset, opaque) = (script.array()?, script.u8()?, script.array()?);
    let (generation, key_number, secret) = (script.u32()?, script.u16()?, script.counted(600)?);
    let record = Record::new(nonce, preset, opaque, secret);
    judge.agree("a record's secret, which has 1 to 512 bytes", record.is_ok(), (1..=512).contains(&secret.len()));
    let Ok(record) = &record else { return Ok(()) };
    let item = SealItem { account: &HERE, generation, key_number, record };
    let genuine = only(sealer(place).seal_with(&[(item, place.nonce)])).expect("a record has one length");
    let sealed = altered(script, genuine.as_bytes());

    let sealed = match Sealed::from_bytes(&sealed) {
        Ok(sealed) => sealed,
        Err(Fault::Format { found, .. }) => {
            assert!(sealed.len() == SEALED_LEN && found == sealed[0]);
            judge.agree("another version", found != 1, true);
            return Ok(());
        }
        Err(fault) => {
            assert!(matches!(fault, Fault::Damaged(_)), "{fault}");
            judge.agree("another length", sealed.len() != SEALED_LEN, true);
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
        let [opened, neighbour] = [opened, neighbour].map(|opened| {
            assert!(opened.as_ref().is_err() || opened.as_ref().is_ok_and(|opened| opened.secret() == secret));
            told(opened.map(|opened| opened.encode().to_vec()).map_err(|fault| kind(&fault)))
        });
        judge.demand("a bad record's neighbour", neighbour, told::<&str>(Ok(record.encode().to_vec())));
        let held = (1..=2).contains(&sealed.header().epoch);
        let refused = if held { "damaged" } else { "no key" };
        let expected = if opens { Ok(record.encode().to_vec()) } else { Err(refused) };
        judge.demand("a record", opened, told(expected));
    }
    Ok(())
}

fn kind(fault: &Fault) -> &'static str {
    match fault {
        Fault::Key(_) => "no key",
        Fault::Damaged(_) => "damaged",
        other => panic!("{other}"),
    }
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

fn blob(judge: &mut Judge, script: &mut Reader<'_>, place: &Place) -> Result<(), Invalid> {
    let plain = script.counted(600)?;
    let genuine = sealer(place).seal_blob_with("purpose", plain, &place.nonce).expect("short enough");
    assert_eq!(genuine.len(), plain.len() + BLOB_OVERHEAD);
    let sealed = altered(script, &genuine);
    let purpose = if place.other_kind { "purpose of another" } else { "purpose" };
    let opens = sealed == genuine && !place.other_kind && !place.lost_key;
    let opened = KEYS.epochs.open_blob(purpose, &sealed).map(|opened| opened.expose().clone()).map_err(|fault| {
        assert!(matches!(fault, Fault::Key(_) | Fault::Damaged(_) | Fault::Format { .. }), "{fault}");
        "refused"
    });
    let expected = if opens { Ok(plain.to_vec()) } else { Err("refused") };
    judge.demand("a blob", told(opened), told(expected));
    Ok(())
}

/// Bytes that nobody sealed.
fn forged(judge: &mut Judge, bytes: &[u8]) {
    let mut opens = |opens: bool| judge.agree("bytes that nobody sealed", opens, false);
    opens(only(KEYS.tickets.open::<LoginTicket>(0, &[(&HERE, bytes)], 0)).is_ok());
    opens(only(KEYS.tickets.open::<EnrolmentTicket>(0, &[(&HERE, bytes)], 0)).is_ok());
    opens(KEYS.epochs.open_blob("purpose", bytes).is_ok());
    if let Ok(sealed) = &Sealed::from_bytes(bytes) {
        opens(only(KEYS.epochs.open(&[OpenItem { account: &HERE, generation: 1, sealed }])).is_ok());
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
