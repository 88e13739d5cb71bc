//! The one suite of RFC 9807 that the client speaks, in opaque-ke's words, and what its errors mean here.

use opaque_ke::errors::{InternalError, ProtocolError};
use opaque_ke::{CipherSuite, Ristretto255, TripleDh};
use sha2_010::Sha512;
use zeroize::Zeroize;

use super::Failure;
use super::preset::Stretch;
use crate::secret::Secret;

/// OPAQUE-3DH with ristretto255-SHA512 throughout (RFC 9807 section 7), and our presets as its KSF.
pub(super) struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, Sha512>;
    type Ksf = Stretch;
}

/// What a failure inside opaque-ke means. `remaining` stands for a login, where a proof that does not hold has the
/// wrong code as its cause in all but hostile cases; without it there is no code to be wrong.
pub(super) fn failure(error: ProtocolError, remaining: Option<u32>) -> Failure {
    match (error, remaining) {
        (ProtocolError::InvalidLoginError, Some(remaining)) => Failure::WrongCode { remaining },
        (ProtocolError::LibraryError(InternalError::KsfError), _) => Failure::Stretching,
        // Elements that do not decode, a reflected element, wrong sizes: not an answer of OPAQUE's other half.
        _ => Failure::UnexpectedReply,
    }
}

/// A message of opaque-ke as an array. Its sizes are fixed by the suite, so the error is never seen.
pub(super) fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Failure> {
    bytes.try_into().map_err(|_| Failure::UnexpectedReply)
}

/// Takes a key into custody and wipes where it stood: opaque-ke returns its keys as plain arrays.
pub(super) fn take(key: &mut [u8]) -> Result<Secret<[u8; 64]>, Failure> {
    let mut secret = Secret::new([0; 64]);
    let fits = key.len() == 64;
    if fits {
        secret.expose_mut().copy_from_slice(key);
    }
    key.zeroize();
    if fits { Ok(secret) } else { Err(Failure::UnexpectedReply) }
}
