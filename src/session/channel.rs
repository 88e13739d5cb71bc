//! The channel: a request sealed to a fleet's key, and its reply, each of one size.
//!
//! ```text
//! request  version (1) || key number (2) || bundle epoch (4) || enc (1120) || sealed request
//! reply    response nonce (32) || sealed reply
//! ```
//!
//! As RFC 9458 has it: `enc` and the sealed request are an HPKE message with what stands in clear and the bundle's hash in
//! its `info`; the reply's key comes from that message's exporter, from `enc` and from a nonce that the vault draws for
//! each reply, so that a repeated request, which has the same exporter, has a reply under another key.
//!
//! | id | invariant |
//! |---|---|
//! | S1 | every request has one size and every reply has one size, whatever is in them |
//! | S2 | a reply opens only for the request that it answers, at the client that sealed it |
//! | S3 | a request opens only under the key, the bundle epoch and the bundle that its client trusts |
//! | S4 | a retired key opens until its time is over, and no longer |

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Key, Nonce, Tag};
use hkdf::Hkdf;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeS, Serializable, setup_sender};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use super::context::Context;
use super::sealed::{ENCAPSULATED_LEN, PUBLIC_KEY_LEN, Recipient};
use super::xwing::decapsulate;
use crate::engine::{DEEP, SHALLOW, in_chunks, traceless};
use crate::error::Fault;
use crate::protocol::{REPLY_LEN, REQUEST_LEN};
use crate::secret::{Secret, fill_random, random_array};

const VERSION: u8 = 1;
const HEADER_LEN: usize = 1 + 2 + 4;
const TAG_LEN: usize = 16;
const NONCE_LEN: usize = 32;
const REQUEST: &[u8] = b"strongroom channel request v1";
const RESPONSE: &[u8] = b"strongroom channel response v1";

/// Bytes of a sealed request.
pub const SEALED_REQUEST_LEN: usize = HEADER_LEN + ENCAPSULATED_LEN + REQUEST_LEN + TAG_LEN;
/// Bytes of a sealed reply.
pub const SEALED_REPLY_LEN: usize = NONCE_LEN + REPLY_LEN + TAG_LEN;

/// Why something on the channel does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ChannelProblem {
    /// It has another size, another version, or was altered, or was sealed to another key than it names.
    #[error("the message does not open")]
    Malformed,
    /// The vault does not hold the key that it names, or holds it no longer.
    #[error("the vault does not hold this channel key; fetch the fleet's keys again")]
    UnknownKey,
    /// It was sealed by who trusts another bundle than the vault serves.
    #[error("the vault does not serve this bundle; fetch the fleet's keys again")]
    UnknownBundle,
    /// The vault cannot answer at the moment; the same bytes may be sent again.
    #[error("the vault is busy; send the same request later")]
    Busy,
}

/// What a client knows of the key that it seals requests to: from a verified bundle, and from nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelKey {
    /// Number of the key.
    pub number: u16,
    /// Epoch of the bundle that names it; 0 without a bundle, for development.
    pub epoch: u32,
    /// Hash of that bundle; zeros without one.
    pub bundle: [u8; 32],
    /// The key.
    pub public_key: Box<[u8; PUBLIC_KEY_LEN]>,
}

/// A request on its way, and what opens its reply. The bytes may be sent again; each reply to them opens.
pub struct SealedRequest {
    bytes: Box<[u8; SEALED_REQUEST_LEN]>,
    exported: Box<Secret<[u8; 32]>>,
}

impl ChannelKey {
    /// Seals a request.
    ///
    /// ```
    /// use strongroom::protocol::{REPLY_LEN, REQUEST_LEN};
    /// use strongroom::secret::Secret;
    /// use strongroom::session::ChannelKeys;
    ///
    /// let seed = Secret::<[u8; 32]>::random()?;
    /// let keys = ChannelKeys::new((1, &seed), &[(0, [0; 32])])?;
    /// let sealed = keys.key().seal(&[7; REQUEST_LEN])?;
    /// let opened = keys.open(&[sealed.bytes()], 0).remove(0).expect("sealed to this key");
    /// assert_eq!(opened.request.expose()[..], [7; REQUEST_LEN]);
    /// let reply = opened.reply_key.seal(&[9; REPLY_LEN])?;
    /// assert_eq!(sealed.open(&reply).expect("the reply to it").expose()[..], [9; REPLY_LEN]);
    /// # Ok::<(), strongroom::error::Fault>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault::Key`] if the key is none, [`Fault::Randomness`].
    pub fn seal(&self, request: &[u8; REQUEST_LEN]) -> Result<SealedRequest, Fault> {
        let wrong = |_| Fault::Key("this is not a channel key that requests can be sealed to".to_owned());
        // The next call takes it for granted.
        fill_random(&mut [0])?;
        let header = header(self.number, self.epoch);
        let mut bytes = Box::new([0; SEALED_REQUEST_LEN]);
        let mut exported = Box::new(Secret::new([0; 32]));
        traceless::<DEEP, _>(|| {
            let public_key = <XWing as Kem>::PublicKey::from_bytes(&self.public_key[..]).map_err(wrong)?;
            let info = info(&header, &self.bundle);
            let (encapsulated, mut context) =
                setup_sender::<ChaCha20Poly1305, HkdfSha256, XWing>(&OpModeS::Base, &public_key, &info)
                    .map_err(wrong)?;
            let body = context.seal(request, b"").map_err(wrong)?;
            context.export(RESPONSE, exported.expose_mut()).map_err(wrong)?;
            bytes[..HEADER_LEN].copy_from_slice(&header);
            bytes[HEADER_LEN..HEADER_LEN + ENCAPSULATED_LEN].copy_from_slice(&encapsulated.to_bytes());
            bytes[HEADER_LEN + ENCAPSULATED_LEN..].copy_from_slice(&body);
            Ok(SealedRequest { bytes, exported })
        })
    }
}

impl SealedRequest {
    /// The bytes to send, as often as need be.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..]
    }

    /// Opens a reply to it.
    ///
    /// # Errors
    /// [`ChannelProblem::Malformed`] if it is not one.
    pub fn open(&self, reply: &[u8]) -> Result<Secret<Vec<u8>>, ChannelProblem> {
        let reply: &[u8; SEALED_REPLY_LEN] = reply.try_into().map_err(|_| ChannelProblem::Malformed)?;
        let (nonce, sealed) = reply.split_first_chunk::<NONCE_LEN>().ok_or(ChannelProblem::Malformed)?;
        let (cipher_text, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(ChannelProblem::Malformed)?;
        let mut plain = Secret::new(cipher_text.to_vec());
        traceless::<SHALLOW, _>(|| {
            let (key, aead_nonce) = derive(&self.exported, encapsulated(&self.bytes), nonce);
            let cipher = chacha20poly1305::ChaCha20Poly1305::new(&Key::from(*key));
            cipher.decrypt_inout_detached(
                &Nonce::from(aead_nonce),
                b"",
                plain.expose_mut().as_mut_slice().into(),
                &Tag::from(*tag),
            )
        })
        .map_err(|_| ChannelProblem::Malformed)?;
        Ok(plain)
    }
}

/// A fleet's channel keys: the one that clients are told of, and those that are retired and still open.
pub struct ChannelKeys {
    current: (u16, Recipient),
    retired: Vec<(u16, u64, Recipient)>,
    /// Epoch and hash of each bundle that is served.
    bundles: Vec<(u32, [u8; 32])>,
}

/// A request that was opened, and what its reply is sealed under.
pub struct Opened {
    /// The request's bytes.
    pub request: Secret<Vec<u8>>,
    /// For its reply.
    pub reply_key: ReplyKey,
}

/// A request, and what it was sealed to.
struct Named<'a> {
    recipient: &'a Recipient,
    info: Vec<u8>,
    encapsulated: &'a [u8; ENCAPSULATED_LEN],
    body: &'a [u8],
}

impl Named<'_> {
    fn open(self, shared: &[u8; 32]) -> Result<Opened, ChannelProblem> {
        let context = Context::new(shared, &self.info);
        let request = context.open(self.body).ok_or(ChannelProblem::Malformed)?;
        let encapsulated = Box::new(*self.encapsulated);
        Ok(Opened { request, reply_key: ReplyKey { exported: context.export(RESPONSE), encapsulated } })
    }
}

/// What seals the replies to one request, under a key of its own each.
pub struct ReplyKey {
    exported: Box<Secret<[u8; 32]>>,
    encapsulated: Box<[u8; ENCAPSULATED_LEN]>,
}

impl ChannelKeys {
    /// One key, by number and seed, and the bundles that are served, by epoch and hash, newest last.
    ///
    /// # Errors
    /// [`Fault::Key`] if there is no bundle; (0, zeros) stands for none, in development.
    pub fn new(current: (u16, &Secret<[u8; 32]>), bundles: &[(u32, [u8; 32])]) -> Result<Self, Fault> {
        if bundles.is_empty() {
            return Err(Fault::Key("a channel key is served under a bundle".to_owned()));
        }
        let (number, seed) = current;
        Ok(ChannelKeys { current: (number, Recipient::new(seed)), retired: Vec::new(), bundles: bundles.to_vec() })
    }

    /// Holds a key that is retired: it opens until `until_s`, in seconds of state time.
    ///
    /// # Errors
    /// [`Fault::Key`] if the number is taken.
    pub fn retire(&mut self, (number, seed): (u16, &Secret<[u8; 32]>), until_s: u64) -> Result<(), Fault> {
        if number == self.current.0 || self.retired.iter().any(|(held, ..)| *held == number) {
            return Err(Fault::Key(format!("a channel key has number {number} already")));
        }
        self.retired.push((number, until_s, Recipient::new(seed)));
        Ok(())
    }

    /// What clients are told of the present key.
    pub fn key(&self) -> ChannelKey {
        let (epoch, bundle) = self.bundles.last().copied().unwrap_or_default();
        let (number, recipient) = &self.current;
        ChannelKey { number: *number, epoch, bundle, public_key: Box::new(*recipient.public_key()) }
    }

    /// The numbers and public keys of all that open: the retired ones, and the present one last.
    pub fn public_keys(&self) -> Vec<(u16, Vec<u8>)> {
        let retired = self.retired.iter().map(|(number, _, recipient)| (*number, recipient));
        let all = retired.chain([(self.current.0, &self.current.1)]);
        all.map(|(number, recipient)| (number, recipient.public_key().to_vec())).collect()
    }

    /// Opens requests at a state time, in seconds: those of a chunk together. One result each, in their order; a bad one
    /// never harms its neighbours.
    ///
    /// # Errors
    /// An item's result is what is the matter with it.
    pub fn open(&self, sealed: &[&[u8]], time_s: u64) -> Vec<Result<Opened, ChannelProblem>> {
        in_chunks::<DEEP, _, _>(sealed, |chunk| {
            let named: Vec<_> = chunk.iter().map(|bytes| self.named(bytes, time_s)).collect();
            let whole = named.iter().filter_map(|it| it.as_ref().ok());
            let shared = decapsulate(&whole.map(|it| (it.recipient.key(), it.encapsulated)).collect::<Vec<_>>());
            let mut shared = shared.expose().iter();
            let mut open = |it: Named<'_>| it.open(shared.next().ok_or(ChannelProblem::Malformed)?);
            named.into_iter().map(|it| it.and_then(&mut open)).collect()
        })
    }

    /// What a request names in clear.
    fn named<'a>(&'a self, bytes: &'a [u8], time_s: u64) -> Result<Named<'a>, ChannelProblem> {
        let bytes: &[u8; SEALED_REQUEST_LEN] = bytes.try_into().map_err(|_| ChannelProblem::Malformed)?;
        let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(ChannelProblem::Malformed)?;
        let [version, n0, n1, e0, e1, e2, e3] = *header;
        if version != VERSION {
            return Err(ChannelProblem::Malformed);
        }
        let (number, epoch) = (u16::from_be_bytes([n0, n1]), u32::from_be_bytes([e0, e1, e2, e3]));
        let recipient = self.opening(number, time_s).ok_or(ChannelProblem::UnknownKey)?;
        let bundle = self.bundles.iter().find(|(served, _)| *served == epoch);
        let (_, bundle) = bundle.ok_or(ChannelProblem::UnknownBundle)?;
        let body = &bytes[HEADER_LEN + ENCAPSULATED_LEN..];
        Ok(Named { recipient, info: info(header, bundle), encapsulated: encapsulated(bytes), body })
    }

    fn opening(&self, number: u16, time_s: u64) -> Option<&Recipient> {
        if number == self.current.0 {
            return Some(&self.current.1);
        }
        let retired = self.retired.iter().find(|(held, until_s, _)| *held == number && *until_s >= time_s);
        retired.map(|(.., recipient)| recipient)
    }
}

impl ReplyKey {
    /// Seals a reply, [`SEALED_REPLY_LEN`] bytes.
    ///
    /// # Errors
    /// [`Fault::Randomness`] if the operating system gives no nonce.
    pub fn seal(&self, reply: &[u8; REPLY_LEN]) -> Result<Vec<u8>, Fault> {
        self.seal_with(reply, &random_array()?)
    }

    /// [`ReplyKey::seal`] with the response nonce given; no two replies may share one.
    ///
    /// # Errors
    /// None is known: a reply has one length.
    pub fn seal_with(&self, reply: &[u8; REPLY_LEN], nonce: &[u8; NONCE_LEN]) -> Result<Vec<u8>, Fault> {
        let mut sealed = vec![0; SEALED_REPLY_LEN];
        sealed[..NONCE_LEN].copy_from_slice(nonce);
        let (body, tag) = sealed[NONCE_LEN..].split_at_mut(REPLY_LEN);
        body.copy_from_slice(reply);
        let made = traceless::<SHALLOW, _>(|| {
            let (key, aead_nonce) = derive(&self.exported, &self.encapsulated, nonce);
            let cipher = chacha20poly1305::ChaCha20Poly1305::new(&Key::from(*key));
            cipher.encrypt_inout_detached(&Nonce::from(aead_nonce), b"", body.into())
        });
        tag.copy_from_slice(&made.map_err(|_| Fault::Limit("ChaCha20-Poly1305 refused a short message".to_owned()))?);
        Ok(sealed)
    }
}

fn header(number: u16, epoch: u32) -> [u8; HEADER_LEN] {
    let ([n0, n1], [e0, e1, e2, e3]) = (number.to_be_bytes(), epoch.to_be_bytes());
    [VERSION, n0, n1, e0, e1, e2, e3]
}

fn info(header: &[u8; HEADER_LEN], bundle: &[u8; 32]) -> Vec<u8> {
    [REQUEST, &[0], header, bundle].concat()
}

/// The encapsulated key of a sealed request.
fn encapsulated(bytes: &[u8; SEALED_REQUEST_LEN]) -> &[u8; ENCAPSULATED_LEN] {
    // A part of a longer array, whose place is a constant.
    bytes[HEADER_LEN..].first_chunk().unwrap_or(&[0; ENCAPSULATED_LEN])
}

/// Key and nonce of a reply: RFC 9458 section 4.4.
fn derive(
    exported: &Secret<[u8; 32]>,
    encapsulated: &[u8; ENCAPSULATED_LEN],
    nonce: &[u8; NONCE_LEN],
) -> (Zeroizing<[u8; 32]>, [u8; 12]) {
    let salt = [&encapsulated[..], nonce].concat();
    let extracted = Hkdf::<Sha256>::new(Some(&salt), exported.expose());
    let (mut key, mut aead_nonce) = (Zeroizing::new([0; 32]), [0; 12]);
    // Both lengths are far below what HKDF expands to.
    let _ = extracted.expand(b"key", &mut *key);
    let _ = extracted.expand(b"nonce", &mut aead_nonce);
    (key, aead_nonce)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use hpke::{OpModeR, setup_receiver};

    use super::*;

    const BUNDLES: [(u32, [u8; 32]); 2] = [(3, [3; 32]), (4, [4; 32])];

    fn keys() -> ChannelKeys {
        let mut keys = ChannelKeys::new((2, &Secret::new([2; 32])), &BUNDLES).unwrap();
        keys.retire((1, &Secret::new([1; 32])), 1000).unwrap();
        keys
    }

    fn old_key() -> ChannelKey {
        ChannelKeys::new((1, &Secret::new([1; 32])), &BUNDLES[..1]).unwrap().key()
    }

    fn problem(keys: &ChannelKeys, bytes: &[u8], time_s: u64) -> Option<ChannelProblem> {
        keys.open(&[bytes], time_s).remove(0).err()
    }

    #[test]
    fn s2_a_reply_opens_for_its_request_however_often_that_is_sent() {
        let keys = keys();
        let [one, other] = [7, 8].map(|byte| keys.key().seal(&[byte; REQUEST_LEN]).unwrap());
        let opened = keys.open(&[one.bytes(), other.bytes(), one.bytes()], 0);
        let opened: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
        let said: Vec<_> = opened.iter().map(|it| it.request.expose()[0]).collect();
        assert_eq!(said, [7, 8, 7]);
        let replies: Vec<_> =
            opened.iter().map(|it| it.reply_key.seal(&[it.request.expose()[0]; REPLY_LEN]).unwrap()).collect();
        assert_ne!(replies[0], replies[2], "the same request twice, and two keys");
        for reply in [&replies[0], &replies[2]] {
            assert_eq!(one.open(reply).unwrap().expose()[..], [7; REPLY_LEN]);
            assert_eq!(other.open(reply).err(), Some(ChannelProblem::Malformed));
        }
        for bit in (0..replies[0].len() * 8).step_by(7) {
            let mut altered = replies[0].clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(one.open(&altered).err(), Some(ChannelProblem::Malformed), "bit {bit}");
        }
        assert_eq!(one.open(&replies[0][1..]).err(), Some(ChannelProblem::Malformed));
    }

    #[test]
    fn s3_a_request_opens_under_the_key_and_the_bundle_that_it_names() {
        let keys = keys();
        let sealed = keys.key().seal(&[7; REQUEST_LEN]).unwrap();
        assert_eq!(sealed.bytes().len(), SEALED_REQUEST_LEN);
        assert!(problem(&keys, sealed.bytes(), 0).is_none());
        for bit in (0..64).chain((64..SEALED_REQUEST_LEN * 8).step_by(101)) {
            let mut altered = sealed.bytes().to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(problem(&keys, &altered, 0).is_some(), "bit {bit}");
        }
        // Named truly, and sealed by who trusts another bundle of that epoch.
        let fork = ChannelKey { bundle: [9; 32], ..keys.key() };
        let sealed = fork.seal(&[7; REQUEST_LEN]).unwrap();
        assert_eq!(problem(&keys, sealed.bytes(), 0), Some(ChannelProblem::Malformed));
        let later = ChannelKey { epoch: 5, ..keys.key() };
        let sealed = later.seal(&[7; REQUEST_LEN]).unwrap();
        assert_eq!(problem(&keys, sealed.bytes(), 0), Some(ChannelProblem::UnknownBundle));
        let unknown = ChannelKey { number: 9, ..keys.key() };
        let sealed = unknown.seal(&[7; REQUEST_LEN]).unwrap();
        assert_eq!(problem(&keys, sealed.bytes(), 0), Some(ChannelProblem::UnknownKey));
        assert_eq!(problem(&keys, &sealed.bytes()[1..], 0), Some(ChannelProblem::Malformed));
        assert!(
            ChannelKey { public_key: Box::new([0xff; PUBLIC_KEY_LEN]), ..keys.key() }.seal(&[0; REQUEST_LEN]).is_err()
        );
        assert!(ChannelKeys::new((1, &Secret::new([1; 32])), &[]).is_err());
    }

    #[test]
    fn s4_a_retired_key_opens_until_its_time_is_over() {
        let keys = keys();
        let sealed = old_key().seal(&[7; REQUEST_LEN]).unwrap();
        assert_eq!(problem(&keys, sealed.bytes(), 1000), None);
        assert_eq!(problem(&keys, sealed.bytes(), 1001), Some(ChannelProblem::UnknownKey));
        let mut keys = keys;
        assert!(keys.retire((1, &Secret::new([5; 32])), 5).is_err(), "the number is taken");
        assert!(keys.retire((2, &Secret::new([5; 32])), 5).is_err(), "by the present one");
    }

    /// `vectors/channel/make.py`: requests by the HPKE of Python's cryptography, replies by RFC 9180 and RFC 9458 over it.
    #[test]
    fn what_python_seals_opens_and_its_replies_are_ours() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../vectors/channel/channel-v1.json")).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let bytes = |name: &str| hex::decode(case[name].as_str().unwrap()).unwrap();
            let array = |name: &str| <[u8; 32]>::try_from(bytes(name)).unwrap();
            let (number, epoch) = (case["number"].as_u64().unwrap() as u16, case["epoch"].as_u64().unwrap() as u32);
            let keys = ChannelKeys::new((number, &Secret::new(array("seed"))), &[(epoch, array("bundle"))]).unwrap();
            let opened = keys.open(&[&bytes("sealed_request")], 0).remove(0).unwrap();
            assert_eq!(*opened.request.expose(), bytes("request"));
            let reply = bytes("reply").try_into().unwrap();
            let sealed = opened.reply_key.seal_with(&reply, &array("response_nonce")).unwrap();
            assert_eq!(sealed, bytes("sealed_reply"));
        }
    }

    /// `vectors/sealed/negative.json`: a reply that was altered, or is to another request.
    #[test]
    fn what_is_no_reply_to_this_request_does_not_open() {
        let file: serde_json::Value = serde_json::from_str(include_str!("../../vectors/sealed/negative.json")).unwrap();
        let mut seen = [0; 2];
        for case in file["cases"].as_array().unwrap().iter().filter(|case| case["judge"] == "channel reply") {
            let bytes = |name: &str| hex::decode(case[name].as_str().unwrap()).unwrap();
            let array = |name: &str| <[u8; 32]>::try_from(bytes(name)).unwrap();
            let (number, epoch) = (case["number"].as_u64().unwrap() as u16, case["epoch"].as_u64().unwrap() as u32);
            let keys = ChannelKeys::new((number, &Secret::new(array("seed"))), &[(epoch, array("bundle"))]).unwrap();
            let request = bytes("sealed_request");
            let exported = keys.open(&[&request], 0).remove(0).unwrap().reply_key.exported;
            let request = SealedRequest { bytes: Box::new(request.try_into().unwrap()), exported };
            let accepts = case["accepts"].as_bool().unwrap();
            assert_eq!(request.open(&bytes("sealed_reply")).is_ok(), accepts, "{}", case["name"]);
            seen[usize::from(accepts)] += 1;
        }
        assert_eq!(seen, [10, 1]);
    }

    /// The reply by hand: RFC 9458 section 4.4 in the words of the crates alone.
    #[test]
    fn a_reply_is_what_rfc_9458_says() {
        let keys = keys();
        let sealed = keys.key().seal(&[7; REQUEST_LEN]).unwrap();
        let reply =
            keys.open(&[sealed.bytes()], 0).remove(0).unwrap().reply_key.seal_with(&[9; REPLY_LEN], &[5; 32]).unwrap();
        let enc = &sealed.bytes()[7..7 + 1120];
        let secret_key = <XWing as Kem>::PrivateKey::from_bytes(&[2; 32]).unwrap();
        let info = [&b"strongroom channel request v1\0\x01\0\x02\0\0\0\x04"[..], &[4; 32]].concat();
        let context = setup_receiver::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &secret_key,
            &<XWing as Kem>::EncappedKey::from_bytes(enc).unwrap(),
            &info,
        )
        .unwrap();
        let mut exported = [0; 32];
        context.export(b"strongroom channel response v1", &mut exported).unwrap();
        let extracted = Hkdf::<Sha256>::new(Some(&[enc, &[5; 32]].concat()), &exported);
        let (mut key, mut nonce) = ([0; 32], [0; 12]);
        extracted.expand(b"key", &mut key).unwrap();
        extracted.expand(b"nonce", &mut nonce).unwrap();
        let mut body = vec![9; REPLY_LEN];
        let tag = chacha20poly1305::ChaCha20Poly1305::new(&Key::from(key))
            .encrypt_inout_detached(&Nonce::from(nonce), b"", body.as_mut_slice().into())
            .unwrap();
        assert_eq!(reply, [&[5; 32][..], &body, &tag].concat());
    }
}
