//! [`Terms`]: what the application says about the vault before it hears from it.

use opaque_ke::Identifiers;
use subtle::ConstantTimeEq;

use super::{Failure, Preset};
use crate::account::AccountId;
#[cfg(feature = "transparency")]
use crate::error::Fault;
use crate::limits::CONTEXT_MAX;
#[cfg(feature = "transparency")]
use crate::transparency::{FleetKeys, Verified};

/// What a client holds a vault to. None of it is ever taken from a reply.
///
/// Context and client identity are the vault's policy, fixed at its ceremony: with others, every code looks wrong.
///
/// ```
/// use strongroom::client::{Preset, Terms};
/// let mut terms = Terms::default();
/// terms.preset = Preset::Medium;
/// terms.minimum = Preset::Medium;
/// assert!(!terms.development);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// OPAQUE's context, at most [`CONTEXT_MAX`] bytes; `strongroom-1` unless the vault's policy has another.
    pub context: Vec<u8>,
    /// Whether the account id is OPAQUE's client identity; otherwise there is none, and the client's key stands in.
    pub client_identity: bool,
    /// Whether this client may speak to a vault for development: without it, [`Preset::Development`] is refused
    /// whatever the minimum.
    pub development: bool,
    /// Preset of new enrolments.
    pub preset: Preset,
    /// The weakest preset that is accepted, in enrolment and recovery; raise it when no older record is left. Fakes
    /// carry the default preset of the vault's policy, so keep this at or below it, or a person without a record is
    /// told of the preset instead of the code.
    pub minimum: Preset,
    /// The heaviest preset that is accepted: what this device can bear. It bounds what an altered reply can make a
    /// recovery cost.
    pub maximum: Preset,
    /// The vault's static keys, where the application knows them, retired ones of older records among them: another one
    /// is [`Failure::FleetNotTrusted`]. None here accepts any.
    pub expected_server_keys: Vec<[u8; 32]>,
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            context: b"strongroom-1".to_vec(),
            client_identity: true,
            development: false,
            preset: Preset::Light,
            minimum: Preset::Light,
            maximum: Preset::Heavy,
            expected_server_keys: Vec::new(),
        }
    }
}

impl Terms {
    /// The default terms for a vault under development: no stretching, anything goes.
    pub fn development() -> Self {
        Terms { development: true, preset: Preset::Development, minimum: Preset::Development, ..Terms::default() }
    }

    /// The terms for a fleet whose keys are verified: its context, its client identity, its static keys, and for new
    /// enrolments the preset that its fakes send, by which they would else be told from records.
    ///
    /// # Errors
    /// [`Fault::Policy`] if the fleet is one for development, see [`Terms::of_development`], or its preset is none that
    /// this client knows; else as [`Verified::fleet_keys`].
    #[cfg(feature = "transparency")]
    pub fn of(verified: &Verified) -> Result<Self, Fault> {
        let keys = verified.fleet_keys()?;
        if keys.policy.development {
            return Err(Fault::Policy("the fleet was made for development, and this client was not".to_owned()));
        }
        let preset = Preset::from_byte(keys.policy.default_preset).filter(|it| *it != Preset::Development);
        let unknown = || Fault::Policy(format!("preset {} is none for records", keys.policy.default_preset));
        Ok(Terms { preset: preset.ok_or_else(unknown)?, ..Terms::default() }.with(keys))
    }

    /// [`Terms::of`]; and [`Terms::development`], where the fleet was made for development.
    ///
    /// # Errors
    /// As [`Verified::fleet_keys`].
    #[cfg(feature = "transparency")]
    pub fn of_development(verified: &Verified) -> Result<Self, Fault> {
        let keys = verified.fleet_keys()?;
        let terms = if keys.policy.development { Terms::development() } else { Terms::default() };
        Ok(terms.with(keys))
    }

    #[cfg(feature = "transparency")]
    fn with(self, keys: FleetKeys) -> Self {
        let expected_server_keys = keys.server_keys.into_iter().map(|(_, key)| key).collect();
        Terms {
            context: keys.policy.context,
            client_identity: keys.policy.client_identity,
            expected_server_keys,
            ..self
        }
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.context.len() > CONTEXT_MAX {
            return Err(Failure::Terms("the context is too long"));
        }
        if self.minimum > self.maximum {
            return Err(Failure::Terms("the weakest preset is above the heaviest"));
        }
        Ok(())
    }

    /// The preset that a byte beside a record stands for, if it is one that the terms allow.
    pub(super) fn accept(&self, byte: u8) -> Result<Preset, Failure> {
        self.allow(Preset::from_byte(byte).ok_or(Failure::UnknownPreset(byte))?)
    }

    pub(super) fn allow(&self, offered: Preset) -> Result<Preset, Failure> {
        let (minimum, maximum) = (self.minimum, self.maximum);
        match offered {
            Preset::Development if !self.development => Err(Failure::DevelopmentRefused),
            _ if offered < minimum => Err(Failure::PresetTooWeak { offered, minimum }),
            _ if offered > maximum => Err(Failure::PresetTooHeavy { offered, maximum }),
            _ => Ok(offered),
        }
    }

    pub(super) fn trust(&self, server_key: &[u8]) -> Result<(), Failure> {
        let expected = &self.expected_server_keys;
        if expected.is_empty() || expected.iter().any(|key| bool::from(key[..].ct_eq(server_key))) {
            Ok(())
        } else {
            Err(Failure::FleetNotTrusted)
        }
    }

    pub(super) fn identifiers<'a>(&self, account: &'a AccountId) -> Identifiers<'a> {
        Identifiers { client: self.client_identity.then_some(&account.0[..]), server: None }
    }
}
