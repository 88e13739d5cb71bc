//! The messages of RFC 9807: their lengths, where their fields lie, and reading them.
//!
//! Reading decodes the elements that the server will multiply. Whatever does not decode, decodes to the identity or has
//! another length is [`Refusal::Malformed`], before any secret is touched.

use std::ops::Range;

use crate::engine::{Backend, DEEP, ELEMENT_LEN, Point, backend, in_chunks};
use crate::error::Refusal;
use crate::secret::Secret;

/// Bytes of a registration request (RFC 9807 section 5.1): the blinded element.
pub const REGISTRATION_REQUEST_LEN: usize = ELEMENT_LEN;
/// Bytes of a registration response (section 5.1): the evaluated element, then the server's public key.
pub const REGISTRATION_RESPONSE_LEN: usize = 2 * ELEMENT_LEN;
/// Bytes of a registration record (section 5.1): the client's public key, its masking key, its envelope.
pub const RECORD_LEN: usize = 192;
/// Bytes of KE1 (section 6.1): the blinded element, the client's nonce, its key share.
pub const KE1_LEN: usize = 96;
/// Bytes of KE2 (section 6.1): the evaluated element, the masking nonce, the masked response, the server's nonce, its key
/// share, its MAC.
pub const KE2_LEN: usize = 320;
/// Bytes of KE3 (section 6.1): the client's MAC.
pub const KE3_LEN: usize = 64;
/// Bytes that the server keeps between KE2 and KE3: the MAC it expects, then the session key.
pub const STATE_LEN: usize = 128;

/// Where the fields of a record lie.
pub(super) mod record {
    use super::Range;

    pub(in super::super) const CLIENT_PUBLIC_KEY: Range<usize> = 0..32;
    pub(in super::super) const MASKING_KEY: Range<usize> = 32..96;
    pub(in super::super) const ENVELOPE: Range<usize> = 96..192;
}

/// Where the fields of KE2 lie. What comes before the MAC is what the MAC covers.
pub(super) mod ke2 {
    use super::Range;

    pub(in super::super) const EVALUATED: Range<usize> = 0..32;
    pub(in super::super) const MASKING_NONCE: Range<usize> = 32..64;
    pub(in super::super) const MASKED_SERVER_KEY: Range<usize> = 64..96;
    pub(in super::super) const MASKED_ENVELOPE: Range<usize> = 96..192;
    pub(in super::super) const SERVER_NONCE: Range<usize> = 192..224;
    pub(in super::super) const SERVER_KEYSHARE: Range<usize> = 224..256;
    pub(in super::super) const SERVER_MAC: Range<usize> = 256..320;
}

/// A message of `LEN` bytes and its `N` elements, as far as they are valid.
type Read<'a, const LEN: usize, const N: usize> = (Option<&'a [u8; LEN]>, [Option<Point>; N]);

/// The elements of each message, decoded together: those that begin at `offsets` in messages of `LEN` bytes.
fn decode<'a, const LEN: usize, const N: usize>(
    backend: Backend,
    messages: &[&'a [u8]],
    offsets: [usize; N],
) -> Vec<Read<'a, LEN, N>> {
    let whole: Vec<Option<&[u8; LEN]>> = messages.iter().map(|message| (*message).try_into().ok()).collect();
    let mut encodings = Secret::new(Vec::with_capacity(messages.len() * N));
    for message in &whole {
        for offset in offsets {
            // A message of another length gets encodings of the identity, which are no valid elements here.
            let field = message.and_then(|bytes| bytes[offset..].first_chunk());
            encodings.expose_mut().push(field.copied().unwrap_or([0; ELEMENT_LEN]));
        }
    }
    let mut points = backend.decode(encodings.expose()).into_iter();
    whole.into_iter().map(|message| (message, std::array::from_fn(|_| points.next().flatten()))).collect()
}

/// A client's request to register (RFC 9807 section 5.1), its element decoded.
pub struct RegistrationRequest {
    blinded: Point,
}

impl RegistrationRequest {
    /// Reads each message.
    ///
    /// ```
    /// use strongroom::error::Refusal;
    /// use strongroom::opaque::RegistrationRequest;
    /// let generator = hex::decode("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")?;
    /// let read = RegistrationRequest::parse(&[&generator, &[0; 32], &generator[..31]]);
    /// assert!(read[0].is_ok());
    /// assert_eq!(read[1].as_ref().err(), Some(&Refusal::Malformed), "the identity");
    /// assert_eq!(read[2].as_ref().err(), Some(&Refusal::Malformed), "one byte short");
    /// # Ok::<(), hex::FromHexError>(())
    /// ```
    pub fn parse(messages: &[&[u8]]) -> Vec<Result<Self, Refusal>> {
        Self::parse_on(backend(), messages)
    }

    /// [`RegistrationRequest::parse`] on a backend of the caller's choice.
    pub fn parse_on(backend: Backend, messages: &[&[u8]]) -> Vec<Result<Self, Refusal>> {
        in_chunks::<DEEP, _, _>(messages, |chunk| {
            decode::<REGISTRATION_REQUEST_LEN, 1>(backend, chunk, [0])
                .into_iter()
                .map(|(_, [blinded])| blinded.map(|blinded| RegistrationRequest { blinded }).ok_or(Refusal::Malformed))
                .collect()
        })
    }

    /// The blinded element.
    pub fn blinded(&self) -> &Point {
        &self.blinded
    }

    /// The message as it was read.
    pub fn as_bytes(&self) -> &[u8; REGISTRATION_REQUEST_LEN] {
        self.blinded.encoding()
    }
}

/// What a client uploads at the end of a registration and the server keeps (RFC 9807 section 5.1), found to hold a valid
/// public key.
pub struct RegistrationRecord {
    // Boxed: it moves out of the vector of its batch, and a move leaves a copy behind.
    bytes: Box<Secret<[u8; RECORD_LEN]>>,
}

impl RegistrationRecord {
    /// Reads each message.
    pub fn parse(messages: &[&[u8]]) -> Vec<Result<Self, Refusal>> {
        in_chunks::<DEEP, _, _>(messages, |chunk| {
            decode::<RECORD_LEN, 1>(backend(), chunk, [record::CLIENT_PUBLIC_KEY.start])
                .into_iter()
                .map(|read| match read {
                    (Some(bytes), [Some(_)]) => {
                        let mut boxed = Box::new(Secret::new([0; RECORD_LEN]));
                        boxed.expose_mut().copy_from_slice(bytes);
                        Ok(RegistrationRecord { bytes: boxed })
                    }
                    _ => Err(Refusal::Malformed),
                })
                .collect()
        })
    }

    /// The record as it was read.
    pub fn bytes(&self) -> &Secret<[u8; RECORD_LEN]> {
        &self.bytes
    }
}

/// A client's first message of a login (RFC 9807 section 6.1), its elements decoded. Boxed: it goes from step to step.
pub struct Ke1(Box<Decoded>);

struct Decoded {
    bytes: [u8; KE1_LEN],
    blinded: Point,
    client_keyshare: Point,
}

impl Ke1 {
    /// Reads each message.
    pub fn parse(messages: &[&[u8]]) -> Vec<Result<Self, Refusal>> {
        Self::parse_on(backend(), messages)
    }

    /// [`Ke1::parse`] on a backend of the caller's choice.
    pub fn parse_on(backend: Backend, messages: &[&[u8]]) -> Vec<Result<Self, Refusal>> {
        in_chunks::<DEEP, _, _>(messages, |chunk| {
            decode::<KE1_LEN, 2>(backend, chunk, [0, 64])
                .into_iter()
                .map(|read| match read {
                    (Some(bytes), [Some(blinded), Some(client_keyshare)]) => {
                        Ok(Ke1(Box::new(Decoded { bytes: *bytes, blinded, client_keyshare })))
                    }
                    _ => Err(Refusal::Malformed),
                })
                .collect()
        })
    }

    /// The message as it was read.
    pub fn as_bytes(&self) -> &[u8; KE1_LEN] {
        &self.0.bytes
    }

    /// The blinded element.
    pub fn blinded(&self) -> &Point {
        &self.0.blinded
    }

    /// The client's ephemeral public key.
    pub fn client_keyshare(&self) -> &Point {
        &self.0.client_keyshare
    }
}

/// A client's last message of a login (RFC 9807 section 6.1): its MAC.
pub struct Ke3(pub(super) [u8; KE3_LEN]);

impl Ke3 {
    /// Reads a message. There is nothing to decode, so no batch.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for another length.
    pub fn parse(message: &[u8]) -> Result<Self, Refusal> {
        message.try_into().map(Ke3).map_err(|_| Refusal::Malformed)
    }

    /// The message as it was read.
    pub fn as_bytes(&self) -> &[u8; KE3_LEN] {
        &self.0
    }
}
