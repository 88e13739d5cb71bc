//! Parsing with re-encoding: whatever is accepted has exactly one encoding, and nothing panics.
//!
//! The first byte of an input says what the rest is read as. For the fuzzer and its seeds.

use strongroom::client::{Code, Keyring, RecoveryKey};
use strongroom::ledger::{Account, Command, Policy, State};
use strongroom::protocol::{REPLY_LEN, REQUEST_LEN, Reply, Request};
use strongroom::wire::{Invalid, Reader, Writer};
use strongroom::wrap::Sealed;

use crate::judge::Judge;

pub(crate) fn drive(data: &[u8], judge: &mut Judge) -> Result<(), Invalid> {
    let (kind, bytes) = data.split_first().ok_or(Invalid)?;
    match kind {
        b'w' => scripted(judge, bytes),
        b'c' => stream(judge, bytes, Command::read, Command::write),
        b'a' => stream(judge, bytes, Account::read, Account::write),
        b'p' => whole(judge, bytes, |bytes| Policy::decode(bytes).ok(), |policy| policy.encode()),
        b'g' => whole(judge, bytes, |bytes| State::decode_globals(bytes).ok(), |state| state.encode_globals()),
        b's' => whole(judge, bytes, |bytes| State::decode(bytes).ok(), |state| state.encode()),
        b'r' => whole(judge, bytes, |bytes| Sealed::from_bytes(bytes).ok(), |sealed| sealed.as_bytes().to_vec()),
        b'q' => whole(judge, &filled(bytes, REQUEST_LEN), request, |bytes| bytes.clone()),
        b'y' => whole(judge, &filled(bytes, REPLY_LEN), |bytes| Reply::decode(bytes).ok(), Reply::encode),
        b'k' => {
            whole(judge, bytes, |bytes| Keyring::read(bytes).ok(), |keyring| keyring.write().expect("it has a way in"));
        }
        b't' => typed(judge, bytes),
        _ => return Err(Invalid),
    }
    Ok(())
}

/// What a person types, or a scanner reads: a recovery key is printed as it was read, and a code that is accepted is
/// accepted again with white space around it.
fn typed(judge: &mut Judge, bytes: &[u8]) {
    let Ok(typed) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = RecoveryKey::read(typed) {
        let text = key.text();
        let again = RecoveryKey::read(&text).map(|key| key.text()).expect("what was printed");
        judge.demand("the text of a key", again.as_bytes(), text.as_bytes());
    }
    if Code::new(typed).is_ok() {
        judge.agree("a code with white space around it", Code::new(&format!("\t{typed}\r\n")).is_ok(), true);
    }
}

/// Messages are filled up with zeros; the fuzzer need not find that out.
fn filled(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() < length {
        bytes.resize(length, 0);
    }
    bytes
}

/// A request borrows from its bytes, so it is encoded again at once.
fn request(bytes: &[u8]) -> Option<Vec<u8>> {
    let (account, request) = Request::decode(bytes).ok()?;
    Some(request.encode(&account).expect("what was read is within bounds"))
}

/// A value that fills its bytes: what is accepted is written as it was read, and no byte may follow or be missing.
fn whole<T>(judge: &mut Judge, bytes: &[u8], decode: impl Fn(&[u8]) -> Option<T>, encode: impl Fn(&T) -> Vec<u8>) {
    let Some(value) = decode(bytes) else { return };
    judge.demand("the one encoding of a value", encode(&value), bytes);
    judge.agree("a byte too many", decode(&[bytes, &[0]].concat()).is_some(), false);
    judge.agree("a byte too few", bytes.split_last().is_some_and(|(_, head)| decode(head).is_some()), false);
}

/// Values behind each other: each is written as it was read.
fn stream<T>(
    judge: &mut Judge,
    bytes: &[u8],
    read: impl for<'a> Fn(&mut Reader<'a>) -> Result<T, Invalid>,
    write: impl Fn(&T, &mut Writer),
) {
    let mut reader = Reader::new(bytes);
    let mut writer = Writer::default();
    let mut taken = 0;
    while let Ok(value) = read(&mut reader) {
        taken = bytes.len() - reader.clone().rest().len();
        write(&value, &mut writer);
    }
    judge.demand("the one encoding of values", writer.finish(), &bytes[..taken]);
}

/// The parser itself against a plain index into the bytes: a script of reads, then the bytes that it reads.
fn scripted(judge: &mut Judge, input: &[u8]) {
    let Some((count, rest)) = input.split_first() else { return };
    let Some((script, bytes)) = rest.split_at_checked(usize::from(*count)) else { return };
    let mut reader = Reader::new(bytes);
    let mut writer = Writer::default();
    let mut at = 0;
    for step in script {
        let left = &bytes[at..];
        let number = |width: usize| left.get(..width).map(|n| n.iter().fold(0, |sum, n| sum << 8 | u64::from(*n)));
        // What the step takes if it can, as the plain index has it.
        let expected = match step % 6 {
            0 => number(1).map(|_| 1),
            1 => number(2).map(|_| 2),
            2 => number(4).map(|_| 4),
            3 => number(8).map(|_| 8),
            4 => number(1).filter(|flag| *flag < 2).map(|_| 1),
            _ => number(4).filter(|n| *n <= u64::from(*step)).map(|n| 4 + n as usize).filter(|n| *n <= left.len()),
        };
        let took = match step % 6 {
            0 => reader.u8().map(|value| _ = writer.u8(value)),
            1 => reader.u16().map(|value| _ = writer.u16(value)),
            2 => reader.u32().map(|value| _ = writer.u32(value)),
            3 => reader.u64().map(|value| _ = writer.u64(value)),
            4 => reader.flag().map(|value| _ = writer.flag(value)),
            _ => reader.counted(usize::from(*step)).map(|value| _ = writer.counted(value)),
        };
        judge.agree(&format!("step {step} with {} bytes left", left.len()), took.is_ok(), expected.is_some());
        let Some(taken) = expected else { break };
        at += taken;
        judge.agree("the end, where the bytes end", reader.finish().is_ok(), at == bytes.len());
    }
    judge.demand("what is read, written back", writer.finish(), &bytes[..at]);
}
