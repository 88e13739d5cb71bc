//! What a vault says of its keys, for ceremonies and turns, and the bundles that it serves under.

use std::sync::Arc;

use super::Vault;
use super::ring::Ring;
use crate::error::Fault;
use crate::transparency::{FleetKeys, Verified};

impl Vault {
    /// The public keys and the policy of this vault's fleet: the artifact that a bundle is to name. Made anew after each
    /// turn of OPRF seed and static key or of the channel's key.
    ///
    /// ```
    /// # use strongroom::ledger::Policy;
    /// # use strongroom::transparency::FleetKeys;
    /// # use strongroom::vault::{ManualClock, Vault};
    /// # let clock = std::sync::Arc::new(ManualClock::new(1_800_000_000));
    /// # let vault = Vault::in_memory(Policy::development(), clock)?;
    /// let artifact = vault.fleet_keys()?.write()?;
    /// assert_eq!(FleetKeys::read(&artifact)?.server_keys, [(1, vault.server_public_key())]);
    /// # Ok::<(), strongroom::error::Fault>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault::Key`] if the channel's key cannot be had.
    pub fn fleet_keys(&self) -> Result<FleetKeys, Fault> {
        let ring = self.ring();
        let (servers, _) = ring.evaluator.public_keys();
        let channel = ring.secrets.channel_keys(&[(0, [0; 32])])?.key();
        Ok(FleetKeys {
            fleet: self.fleet,
            server_keys: servers.map(|(number, public_key)| (number, *public_key)).collect(),
            channel_keys: vec![(channel.number, channel.public_key.to_vec())],
            policy: self.policy.clone(),
        })
    }

    /// Opens the channel under these bundles, and under no others: all that clients may still have, the newest last. Before
    /// it, a vault that is not for development opens no sealed request; after it, one for development takes none that
    /// binds no bundle.
    ///
    /// # Errors
    /// [`Fault::Key`] if there is none, or one names another fleet, or keys that this vault does not hold;
    /// [`Fault::PolicyMismatch`] if it names another policy. Nothing has changed then.
    pub fn serve_under(&self, bundles: &[Verified]) -> Result<(), Fault> {
        let _keeper = self.keeper();
        let (secrets, epochs, held) = {
            let ring = self.ring();
            let (servers, _) = ring.evaluator.public_keys();
            let servers: Vec<_> = servers.map(|(number, public_key)| (number, *public_key)).collect();
            let channel = ring.secrets.channel_keys(&[(0, [0; 32])])?.public_keys();
            (ring.secrets.same(), Arc::clone(&ring.epochs), (servers, channel))
        };
        if bundles.is_empty() {
            return Err(Fault::Key("a vault serves under at least one bundle".to_owned()));
        }
        for verified in bundles {
            let (keys, epoch) = (verified.fleet_keys()?, verified.bundle().epoch);
            if keys.fleet != self.fleet {
                return Err(Fault::Key(format!("the bundle of epoch {epoch} is another fleet's")));
            }
            if let Some(field) = self.policy.difference(&keys.policy) {
                return Err(Fault::PolicyMismatch(format!("the bundle of epoch {epoch} names another {field}")));
            }
            if !keys.server_keys.iter().all(|key| held.0.contains(key))
                || !keys.channel_keys.iter().all(|key| held.1.contains(key))
            {
                return Err(Fault::Key(format!(
                    "the bundle of epoch {epoch} names keys that this vault does not hold"
                )));
            }
        }
        let served = bundles.iter().map(|it| (it.bundle().epoch, *it.hash())).collect();
        self.put(Ring::new(&self.policy, secrets, epochs, served)?);
        Ok(())
    }
}
