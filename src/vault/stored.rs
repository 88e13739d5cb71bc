//! The fleet's keys as sealed bytes: what a vault keeps beside its journal.

use zeroize::Zeroizing;

use super::keys::{FleetSecrets, Numbered, Server};
use crate::error::Fault;
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::EpochKeys;

/// What the sealed bytes are for.
const PURPOSE: &str = "fleet keys";

/// Version of the encoding.
const VERSION: u8 = 1;

/// Most keys of one kind that are held at once.
const NUMBERS_MAX: usize = 64;

impl FleetSecrets {
    /// The keys sealed under the newest epoch's key, to be kept by who opens the vault's journal: see [`Vault::over`].
    ///
    /// ```
    /// use strongroom::vault::FleetSecrets;
    /// use strongroom::wrap::{EpochKeys, MemoryRoot, RootSource};
    ///
    /// let root = MemoryRoot::new();
    /// root.create(1)?;
    /// let epochs = EpochKeys::load(&root, 1)?;
    /// let secrets = FleetSecrets::generate()?;
    /// let sealed = secrets.seal(&epochs)?;
    /// assert_eq!(FleetSecrets::open(&epochs, &sealed)?.fleet(), secrets.fleet());
    /// # Ok::<(), strongroom::error::Fault>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault::Randomness`].
    ///
    /// [`Vault::over`]: super::Vault::over
    pub fn seal(&self, epochs: &EpochKeys) -> Result<Vec<u8>, Fault> {
        epochs.seal_blob(PURPOSE, &Zeroizing::new(self.encode()))
    }

    /// Opens what [`FleetSecrets::seal`] sealed.
    ///
    /// # Errors
    /// [`Fault::Key`] if the epoch's key is not there, [`Fault::Damaged`], [`Fault::Format`].
    pub fn open(epochs: &EpochKeys, sealed: &[u8]) -> Result<Self, Fault> {
        Self::decode(epochs.open_blob(PURPOSE, sealed)?.expose())
    }

    /// The bytes to be sealed. The caller wipes them.
    fn encode(&self) -> Vec<u8> {
        // Room for everything, so that no copy is left behind by a growing vector.
        let mut writer = Writer::with_capacity(8 * 1024);
        writer.u8(VERSION).bytes(&self.fleet).u16(self.servers.len() as u16);
        for server in &self.servers {
            writer.u16(server.number).bytes(&server.oprf_seed).bytes(&server.static_secret);
        }
        writer.bytes(&self.fake_seed).bytes(&self.fake_masking).bytes(&self.nonce).bytes(&self.journal);
        write_numbered(&mut writer, &self.digests);
        write_numbered(&mut writer, &self.login_tickets);
        write_numbered(&mut writer, &self.enrolment_tickets);
        writer.finish()
    }

    /// Reads what [`FleetSecrets::encode`] wrote.
    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        match bytes.first() {
            Some(&VERSION) => Self::read(&mut Reader::new(&bytes[1..])).map_err(Invalid::stored("the fleet's keys")),
            Some(&found) => Err(Fault::Format { what: "the fleet's keys", found, reads: VERSION }),
            None => Err(Fault::Damaged("the fleet's keys are empty".to_owned())),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        let fleet = *reader.array()?;
        let servers = (0..read_count(reader)?)
            .map(|_| Ok(Server { number: reader.u16()?, oprf_seed: *reader.array()?, static_secret: *reader.array()? }))
            .collect::<Result<_, Invalid>>()?;
        let secrets = FleetSecrets {
            fleet,
            servers,
            fake_seed: *reader.array()?,
            fake_masking: *reader.array()?,
            nonce: *reader.array()?,
            journal: *reader.array()?,
            digests: read_numbered(reader)?,
            login_tickets: read_numbered(reader)?,
            enrolment_tickets: read_numbered(reader)?,
        };
        reader.finish()?;
        Ok(secrets)
    }
}

fn read_count(reader: &mut Reader<'_>) -> Result<usize, Invalid> {
    Some(usize::from(reader.u16()?)).filter(|count| (1..=NUMBERS_MAX).contains(count)).ok_or(Invalid)
}

fn read_numbered<const N: usize>(reader: &mut Reader<'_>) -> Result<Vec<Numbered<N>>, Invalid> {
    (0..read_count(reader)?).map(|_| Ok(Numbered { number: reader.u16()?, key: *reader.array()? })).collect()
}

fn write_numbered<const N: usize>(writer: &mut Writer, keys: &[Numbered<N>]) {
    writer.u16(keys.len() as u16);
    for Numbered { number, key } in keys {
        writer.u16(*number).bytes(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_and_read_back_whole() {
        let secrets = FleetSecrets::generate().expect("randomness");
        let bytes = secrets.encode();
        let read = FleetSecrets::decode(&bytes).expect("our own bytes");
        assert_eq!(read.encode(), bytes);
        assert_eq!(read.fleet(), secrets.fleet());
        for cut in 0..bytes.len() {
            assert!(FleetSecrets::decode(&bytes[..cut]).is_err());
        }
        assert!(FleetSecrets::decode(&[bytes.clone(), vec![0]].concat()).is_err(), "nothing may trail");
        let mut later = bytes.clone();
        later[0] = 2;
        assert_eq!(
            FleetSecrets::decode(&later).err(),
            Some(Fault::Format { what: "the fleet's keys", found: 2, reads: 1 })
        );
    }
}
