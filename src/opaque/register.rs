//! Registration, server side: CreateRegistrationResponse of RFC 9807 section 5.2.2, for a batch.

use super::keys::{ServerKeys, oprf_keys};
use super::message::{REGISTRATION_RESPONSE_LEN, RegistrationRequest};
use crate::engine::{Backend, DEEP, ELEMENT_LEN, backend, in_chunks};
use crate::error::Fault;

/// One registration to answer.
#[derive(Clone, Copy)]
pub struct Registration<'a> {
    /// The keys under whose number the record will stand.
    pub keys: &'a ServerKeys,
    /// The client's request.
    pub request: &'a RegistrationRequest,
    /// What the record's OPRF key is derived from; the same bytes at every login with the record.
    pub credential_identifier: &'a [u8],
}

/// The response to each request: the evaluated element, then the server's public key.
///
/// ```
/// use strongroom::opaque::register::{self, Registration};
/// use strongroom::opaque::{RegistrationRequest, ServerKeys, random_static_secret};
/// use strongroom::secret::Secret;
/// let keys = ServerKeys::new(&Secret::random()?, &random_static_secret()?)?;
/// # let message = *keys.public_key();
/// let request = RegistrationRequest::parse(&[&message]).remove(0).expect("a valid element");
/// let item = Registration { keys: &keys, request: &request, credential_identifier: b"account 1" };
/// let response = register::respond(&[item]).remove(0)?;
/// assert_eq!(&response[32..], keys.public_key());
/// # Ok::<(), strongroom::error::Fault>(())
/// ```
///
/// # Errors
/// Each item has its own: [`Fault::Key`] if its identifier derives no key, which nobody will see; [`Fault::Miscalculated`] if the
/// machine miscalculated.
pub fn respond(items: &[Registration<'_>]) -> Vec<Result<[u8; REGISTRATION_RESPONSE_LEN], Fault>> {
    respond_on(backend(), items)
}

/// [`respond`] on a backend of the caller's choice.
///
/// # Errors
/// As [`respond`].
pub fn respond_on(backend: Backend, items: &[Registration<'_>]) -> Vec<Result<[u8; REGISTRATION_RESPONSE_LEN], Fault>> {
    in_chunks::<DEEP, _, _>(items, |chunk| match respond_chunk(backend, chunk) {
        Ok(responses) => responses.into_iter().map(Ok).collect(),
        Err(fault) => chunk.iter().map(|_| Err(fault.clone())).collect(),
    })
}

/// [`respond`] on the caller's thread.
pub(super) fn respond_chunk(
    backend: Backend,
    items: &[Registration<'_>],
) -> Result<Vec<[u8; REGISTRATION_RESPONSE_LEN]>, Fault> {
    let credentials: Vec<_> = items.iter().map(|item| (&*item.keys.oprf_seed, item.credential_identifier)).collect();
    let keys = oprf_keys(backend, &credentials)?;
    let products: Vec<_> = keys.iter().zip(items).map(|(key, item)| (key, item.request.blinded())).collect();
    let evaluated = backend.multiply(&products)?;
    let responses = evaluated.iter().zip(items).map(|(element, item)| {
        let mut response = [0; REGISTRATION_RESPONSE_LEN];
        response[..ELEMENT_LEN].copy_from_slice(element);
        response[ELEMENT_LEN..].copy_from_slice(item.keys.public_key());
        response
    });
    Ok(responses.collect())
}
