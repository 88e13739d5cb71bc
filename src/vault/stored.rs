//! The fleet's keys as sealed bytes: what a key store keeps of them.

use zeroize::Zeroizing;

use super::keys::{Arriving, FleetSecrets, Numbered, Server};
use crate::engine::{SHALLOW, traceless};
use crate::error::Fault;
use crate::limits::KEYS_MAX;
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::EpochKeys;

/// What the sealed bytes are for.
const PURPOSE: &str = "fleet keys";

/// Version of the encoding.
const VERSION: u8 = 1;

impl FleetSecrets {
    /// The keys sealed under the newest epoch's key.
    pub(super) fn seal(&self, epochs: &EpochKeys) -> Result<Vec<u8>, Fault> {
        epochs.seal_blob(PURPOSE, &Zeroizing::new(self.encode()))
    }

    /// Opens what [`FleetSecrets::seal`] sealed.
    pub(super) fn open(epochs: &EpochKeys, sealed: &[u8]) -> Result<Box<Self>, Fault> {
        Self::decode(epochs.open_blob(PURPOSE, sealed)?.expose())
    }

    /// The bytes to be sealed. The caller wipes them.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Room for everything, so that no copy is left behind by a growing vector.
        let mut writer = Writer::with_capacity(32 * 1024);
        writer.u8(VERSION).u32(self.serial).bytes(&self.fleet).u16(self.enrols).u16(self.servers.len() as u16);
        for server in &self.servers {
            writer.u16(server.number).bytes(&server.oprf_seed).bytes(&server.static_secret);
        }
        writer.bytes(&self.fake_seed).bytes(&self.fake_masking).bytes(&self.nonce).bytes(&self.journal);
        write_numbered(&mut writer, &self.digests);
        write_numbered(&mut writer, &self.login_tickets);
        write_numbered(&mut writer, &self.enrolment_tickets);
        write_numbered(&mut writer, &self.channel);
        writer.flag(self.arriving.is_some());
        if let Some(Arriving { seed, transfer_key, numbers }) = &self.arriving {
            writer.bytes(seed).flag(transfer_key.is_some());
            writer.bytes(transfer_key.as_ref().unwrap_or(&[0; 32])).u16(numbers.len() as u16);
            for (theirs, ours) in numbers {
                writer.u16(*theirs).u16(*ours);
            }
        }
        writer.finish()
    }

    /// Reads what [`FleetSecrets::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Box<Self>, Fault> {
        let mut reader = Reader::versioned("the fleet's keys", bytes, VERSION)?;
        // Keys pass over the stack on their way.
        traceless::<SHALLOW, _>(|| Self::read(&mut reader)).map_err(Invalid::stored("the fleet's keys"))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Box<Self>, Invalid> {
        let (serial, fleet, enrols) = (reader.u32()?, *reader.array()?, reader.u16()?);
        let count = read_count(reader)?;
        // Large enough from the start: a vector that grows leaves its keys behind.
        let mut servers = Vec::with_capacity(count);
        for _ in 0..count {
            let number = reader.u16()?;
            servers.push(Server { number, oprf_seed: *reader.array()?, static_secret: *reader.array()? });
        }
        let secrets = Box::new(FleetSecrets {
            serial,
            fleet,
            enrols,
            fake_seed: *reader.array()?,
            fake_masking: *reader.array()?,
            nonce: *reader.array()?,
            journal: *reader.array()?,
            digests: read_numbered(reader)?,
            login_tickets: read_numbered(reader)?,
            enrolment_tickets: read_numbered(reader)?,
            channel: read_numbered(reader)?,
            arriving: if reader.flag()? { Some(read_arriving(reader)?) } else { None },
            servers,
        });
        reader.finish()?;
        let in_order = secrets.servers.is_sorted_by(|one, next| one.number < next.number);
        if in_order && secrets.servers.iter().any(|it| it.number == enrols) { Ok(secrets) } else { Err(Invalid) }
    }
}

fn read_arriving(reader: &mut Reader<'_>) -> Result<Arriving, Invalid> {
    let (seed, known, key) = (*reader.array()?, reader.flag()?, *reader.array()?);
    let count = reader.u16()?;
    let numbers = (0..count).map(|_| Ok((reader.u16()?, reader.u16()?))).collect::<Result<_, Invalid>>()?;
    Ok(Arriving { seed, transfer_key: known.then_some(key), numbers })
}

fn read_count(reader: &mut Reader<'_>) -> Result<usize, Invalid> {
    Some(usize::from(reader.u16()?)).filter(|count| (1..=KEYS_MAX).contains(count)).ok_or(Invalid)
}

fn read_numbered<const N: usize>(reader: &mut Reader<'_>) -> Result<Vec<Numbered<N>>, Invalid> {
    let count = read_count(reader)?;
    let mut keys = Vec::with_capacity(count);
    for _ in 0..count {
        keys.push(Numbered { number: reader.u16()?, until_s: reader.u64()?, key: *reader.array()? });
    }
    Ok(keys)
}

fn write_numbered<const N: usize>(writer: &mut Writer, keys: &[Numbered<N>]) {
    writer.u16(keys.len() as u16);
    for Numbered { number, until_s, key } in keys {
        writer.u16(*number).u64(*until_s).bytes(key);
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{with_one_more, with_server};
    use super::*;

    #[test]
    fn keys_are_written_and_read_back_whole() {
        let mut secrets = FleetSecrets::generate().expect("randomness");
        secrets.serial = 7;
        secrets.servers = with_server(&secrets.servers, 2).expect("randomness");
        secrets.enrols = 2;
        secrets.arriving = Some(Arriving { seed: [3; 32], transfer_key: Some([4; 32]), numbers: vec![(1, 3), (2, 4)] });
        secrets.login_tickets = with_one_more(&secrets.login_tickets, 9).expect("randomness");
        let bytes = secrets.encode();
        let read = FleetSecrets::decode(&bytes).expect("our own bytes");
        assert_eq!(read.encode(), bytes);
        for cut in 0..bytes.len() {
            assert!(FleetSecrets::decode(&bytes[..cut]).is_err());
        }
        assert!(FleetSecrets::decode(&[bytes.clone(), vec![0]].concat()).is_err(), "nothing may trail");
        let mut strange = bytes.clone();
        strange[1 + 4 + 32..][..2].copy_from_slice(&[0, 9]);
        assert!(FleetSecrets::decode(&strange).is_err(), "new records under keys that are not there");
        let mut later = bytes.clone();
        later[0] = 2;
        assert_eq!(
            FleetSecrets::decode(&later).err(),
            Some(Fault::Format { what: "the fleet's keys", found: 2, reads: 1 })
        );
    }
}
