//! What binds an enrolment's finish to its start.

use sha2::{Digest, Sha256};

use super::{R1_LEN, R2_LEN, R3_LEN};
use crate::account::AccountId;

/// SHA-256 over R1 and R2, which the enrolment ticket carries.
pub fn enrolment_digest(r1: &[u8; R1_LEN], r2: &[u8; R2_LEN]) -> [u8; 32] {
    Sha256::new_with_prefix(b"strongroom enrolment v1").chain_update(r1).chain_update(r2).finalize().into()
}

/// SHA-256 over everything said in an enrolment: the account, R1 and R2 (as their digest, which is all that the vault
/// still has), the ticket, R3, the preset and the secret. Computed by the client, checked by the vault.
pub fn transcript(
    account: &AccountId,
    started: &[u8; 32],
    ticket: &[u8],
    r3: &[u8; R3_LEN],
    preset: u8,
    secret: &[u8],
) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(b"strongroom transcript v1");
    hash.update(account.0);
    hash.update(started);
    for part in [ticket, r3, &[preset], secret] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
