//! [`Passkey`]: what WebAuthn's PRF extension says of a credential.

use super::keyring::KeyringProblem;
use crate::engine::sha512::HmacKey;
use crate::secret::Secret;

const SALT: &[u8] = b"strongroom passkey v1";

/// A passkey, as its making (`navigator.credentials.create`) or use (`get`) shows it, asked for the PRF of
/// [`Keyring::prf_input`](super::Keyring::prf_input):
///
/// ```js
/// extensions: { prf: { eval: { first: prfInput } } }     // in the options of both
/// let { enabled, results } = credential.getClientExtensionResults().prf ?? {};
/// ```
///
/// The PRF's output is a secret that the authenticator gives for this credential and this input alone, after it has
/// verified the person. The wrapping key is HKDF of it.
pub struct Passkey {
    /// The credential's id (`rawId`).
    pub credential_id: Vec<u8>,
    /// `prf.enabled`, which is there at making alone: whether the credential has a PRF.
    pub prf_enabled: Option<bool>,
    /// `prf.results.first`, where it was given. Many authenticators give none at making; then the passkey is used once
    /// before it is added.
    pub prf_output: Option<Secret<[u8; 32]>>,
}

impl Passkey {
    /// What a backup key is wrapped under.
    pub(super) fn wrapping_key(&self) -> Result<Secret<[u8; 64]>, KeyringProblem> {
        match &self.prf_output {
            Some(output) => Ok(Secret::new(HmacKey::new(SALT).mac(&[output.expose()]))),
            None if self.prf_enabled == Some(true) => Err(KeyringProblem::PrfNotAsked),
            None => Err(KeyringProblem::NoPrf),
        }
    }
}
