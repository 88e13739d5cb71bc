//! [`MemberRoot`]: the keys of epochs that a member of a fleet was handed, under a root of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::custody::KeyStore;
use super::keys::can_hold_epochs;
use crate::error::Fault;
use crate::limits::KEYS_MAX;
use crate::secret::Secret;
use crate::wire::{Invalid, Reader, Writer};
use crate::wrap::{EpochKey, EpochKeys, RootSource};

/// What the sealed bytes are for.
const PURPOSE: &str = "member epochs";
const VERSION: u8 = 1;

/// A source of root keys for a member that was handed the keys of epochs: it has no root of theirs, and keeps them sealed
/// under one of its own, made anew with every change of them, so that no older copy of the store opens again.
pub struct MemberRoot {
    own: Box<dyn RootSource>,
    store: Mutex<Box<dyn KeyStore>>,
}

/// In order of number. Boxed, since a vector that grows leaves behind what was in it.
pub(super) type Epochs = Vec<(u32, Box<EpochKey>)>;

impl MemberRoot {
    /// Over the member's own source, and a place for what is sealed under it.
    pub fn new(own: Box<dyn RootSource>, store: Box<dyn KeyStore>) -> Self {
        MemberRoot { own, store: Mutex::new(store) }
    }

    /// Keeps the first epochs.
    pub(super) fn begin(&self, epochs: &Epochs) -> Result<(), Fault> {
        let store = self.store();
        if store.read()?.is_some() {
            return Err(Fault::Key("there are keys of epochs here already".to_owned()));
        }
        self.write(&**store, epochs)
    }

    fn store(&self) -> MutexGuard<'_, Box<dyn KeyStore>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, store: &dyn KeyStore) -> Result<Epochs, Fault> {
        let Some(sealed) = store.read()? else { return Ok(Epochs::new()) };
        let plain = self.keys()?.open_blob(PURPOSE, &sealed)?;
        let mut reader = Reader::versioned("the keys of epochs", plain.expose(), VERSION)?;
        let epochs = read_epochs(&mut reader).map_err(Invalid::stored("the keys of epochs"))?;
        reader.finish().map_err(Invalid::stored("the keys of epochs"))?;
        Ok(epochs)
    }

    /// The keys of this source's own roots.
    fn keys(&self) -> Result<EpochKeys, Fault> {
        let newest = self.own.epochs()?.last().copied();
        let newest = newest.ok_or_else(|| Fault::Key("the member's own source holds no root key".to_owned()))?;
        EpochKeys::load(&*self.own, newest)
    }

    /// Keeps these in place of those before, under a new root of this source's own; those before go with theirs.
    fn write(&self, store: &dyn KeyStore, epochs: &Epochs) -> Result<(), Fault> {
        // More than are read back would be lost with the roots before.
        can_hold_epochs(epochs.len())?;
        let before = self.own.epochs()?;
        let next = before.last().copied().unwrap_or(0).checked_add(1);
        let next = next.ok_or_else(|| Fault::Limit("the member's own source has no epoch left".to_owned()))?;
        self.own.create(next)?;
        let mut writer = Writer::with_capacity(8 + epochs.len() * 80);
        writer.u8(VERSION);
        write_epochs(&mut writer, epochs);
        let plain = Zeroizing::new(writer.finish());
        let sealed = EpochKeys::new(next, &self.own.derive(next)?).seal_blob(PURPOSE, &plain)?;
        store.write(&sealed)?;
        // A crash before this leaves a root too many, which the next write takes away.
        before.into_iter().try_for_each(|epoch| self.own.destroy(epoch))
    }
}

impl RootSource for MemberRoot {
    fn name(&self) -> &'static str {
        "handed over"
    }

    fn development(&self) -> bool {
        self.own.development()
    }

    fn epochs(&self) -> Result<Vec<u32>, Fault> {
        Ok(self.read(&**self.store())?.into_iter().map(|(epoch, _)| epoch).collect())
    }

    fn create(&self, epoch: u32) -> Result<(), Fault> {
        let mut key = Secret::new([0; 64]);
        crate::secret::fill_random(key.expose_mut())?;
        if self.epochs()?.contains(&epoch) {
            return Err(Fault::Key(format!("epoch {epoch} has a key here already; it is not replaced")));
        }
        self.take(epoch, &key, epoch)
    }

    fn take(&self, epoch: u32, key: &EpochKey, used: u32) -> Result<(), Fault> {
        let store = self.store();
        let mut epochs = self.read(&**store)?;
        match epochs.iter().find(|(held, _)| *held == epoch) {
            Some((_, held)) if bool::from(held.ct_eq(key.expose())) => return Ok(()),
            Some(_) if epoch <= used => return Err(Fault::Key(format!("epoch {epoch} has another key here"))),
            _ => {}
        }
        epochs.retain(|(held, _)| *held != epoch);
        epochs.push((epoch, boxed(key.expose())));
        epochs.sort_by_key(|(epoch, _)| *epoch);
        self.write(&**store, &epochs)
    }

    fn destroy(&self, epoch: u32) -> Result<(), Fault> {
        let store = self.store();
        let mut epochs = self.read(&**store)?;
        let held = epochs.len();
        epochs.retain(|(held, _)| *held != epoch);
        if epochs.len() < held { self.write(&**store, &epochs) } else { Ok(()) }
    }

    fn mac(&self, epoch: u32, _: &[u8]) -> Result<EpochKey, Fault> {
        Err(Fault::Key(format!("a member of a fleet has the key of epoch {epoch}, and not its root")))
    }

    fn derive(&self, epoch: u32) -> Result<EpochKey, Fault> {
        let found = self.read(&**self.store())?.into_iter().find(|(held, _)| *held == epoch);
        found
            .map(|(_, key)| Secret::new(*key.expose()))
            .ok_or_else(|| Fault::Key(format!("epoch {epoch} has no key among those handed over")))
    }
}

/// A key that is filled in where it stays.
pub(super) fn boxed(key: &[u8; 64]) -> Box<EpochKey> {
    let mut boxed = Box::new(Secret::new([0; 64]));
    boxed.expose_mut().copy_from_slice(key);
    boxed
}

pub(super) fn write_epochs(writer: &mut Writer, epochs: &Epochs) {
    writer.u16(epochs.len() as u16);
    for (epoch, key) in epochs {
        writer.u32(*epoch).bytes(key.expose());
    }
}

pub(super) fn read_epochs(reader: &mut Reader<'_>) -> Result<Epochs, Invalid> {
    let count = Some(usize::from(reader.u16()?)).filter(|it| *it <= KEYS_MAX).ok_or(Invalid)?;
    let mut epochs = Epochs::with_capacity(count);
    for _ in 0..count {
        let (epoch, bytes) = (reader.u32()?, reader.array::<64>()?);
        if epochs.last().is_some_and(|(before, _)| *before >= epoch) {
            return Err(Invalid);
        }
        epochs.push((epoch, boxed(bytes)));
    }
    Ok(epochs)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::MemoryKeyStore;
    use super::*;
    use crate::wrap::MemoryRoot;

    #[test]
    fn more_epochs_than_are_read_back_are_not_kept() {
        let (own, store) = (Arc::new(MemoryRoot::new()), Arc::new(MemoryKeyStore::new()));
        let open = || MemberRoot::new(Box::new(Arc::clone(&own)), Box::new(Arc::clone(&store)));
        let (root, most) = (open(), KEYS_MAX as u32);
        (1..=most).for_each(|epoch| root.create(epoch).expect("there is room"));
        let key = root.derive(1).expect("it is held");
        for refused in [root.create(most + 1), root.take(most + 1, &key, most)] {
            assert!(matches!(refused, Err(Fault::Limit(said)) if said.contains("rewrap")));
        }
        assert_eq!(open().epochs(), Ok((1..=most).collect()), "those before stay");
        root.destroy(1).expect("it is held");
        root.create(most + 1).expect("there is room again");
        assert_eq!(open().epochs(), Ok((2..=most + 1).collect()));
    }
}
