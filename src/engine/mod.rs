//! ristretto255 (RFC 9496), SHA-512 and X25519 for many requests at once.
//!
//! The doors of this room are the methods of [`Backend`]: slices in, one answer an item out, in order. What stands
//! behind a door is chosen once, at run time, by [`backend`]: eight requests to a register where the processor has AVX-512
//! with IFMA, curve25519-dalek elsewhere. A caller that needs another asks [`Backend::all`]. How the lanes work, and what
//! it costs, is told in [`notes`]. All backends keep these:
//!
//! - **E1** a [`Point`] is a decoded, valid element other than the identity, and only [`Backend::decode`] makes one;
//! - **E2** a [`Scalar`] is neither zero nor unreduced, so no product with a [`Point`] is the identity;
//! - **E3** no item's answer depends on its neighbours or on its place in the slice;
//! - **E4** time depends on the number of items, on the lengths of byte strings and on whether public encodings decode;
//!   never on a scalar, a key or an element;
//! - **E5** on lanes, a product that is disturbed between the ladder and its encoding is a fault and never an answer.

// Elsewhere the lanes are compiled for checks alone, which run them on the model.
#![cfg_attr(not(any(test, feature = "model", target_arch = "x86_64")), allow(unused))]

use std::sync::OnceLock;

use curve25519_dalek::ristretto::RistrettoPoint;
use rayon::prelude::*;
use subtle::{Choice, ConstantTimeEq};

use crate::error::Fault;
use crate::limits::CHUNK;
use crate::secret::Secret;
use crate::secret::declassified::{Reason, declassified};

/// On lanes, of the kind `L` with its token, or else on the fallback.
macro_rules! on {
    ($backend:expr, ($lanes:ident, $token:ident) => $work:expr, $fallback:expr) => {
        match $backend.0 {
            #[cfg(target_arch = "x86_64")]
            $crate::engine::Kind::Ifma(token) => {
                type $lanes = $crate::engine::ifma::Eight;
                token.enter(|$token| $work)
            }
            #[cfg(any(test, feature = "model"))]
            $crate::engine::Kind::Model => {
                type $lanes = $crate::engine::model::Model;
                let $token = $crate::engine::model::Always;
                $work
            }
            $crate::engine::Kind::Fallback => $fallback,
        }
    };
}

/// What a door does, [`on`] its backend, without a trace on a stack of that depth.
macro_rules! door {
    ($backend:expr, $depth:ident, $($on:tt)*) => { traceless::<$depth, _>(|| on!($backend, $($on)*)) };
}

mod batch;
mod fallback;
mod field;
mod fixed_base;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod ladder;
mod lanes;
pub mod meter;
#[cfg(any(test, feature = "model"))]
mod model;
mod montgomery;
#[doc = include_str!("notes.md")]
pub mod notes {}
mod point;
mod ristretto;
mod scalar;
pub mod sha512;
mod split;
mod table;
pub(crate) mod tally;
#[cfg(test)]
mod tests;
mod traceless;

pub(crate) use traceless::{DEEP, SHALLOW, traceless};

use sha512::{HmacKey, Prefix};

/// Bytes of an encoded element, and of a scalar.
pub const ELEMENT_LEN: usize = 32;

/// A ristretto255 element that was decoded from its one valid encoding and is not the identity (E1).
///
/// Messages carry it from the place where they are parsed to the place where it is multiplied, so that the work of
/// decoding is done once and nobody multiplies what nobody checked.
#[derive(Clone)]
pub struct Point {
    encoding: [u8; ELEMENT_LEN],
    element: Element,
}

/// A decoded element, in the form of the backend that decoded it. Each backend takes either.
#[derive(Clone)]
enum Element {
    Dalek(RistrettoPoint),
    Lanes(batch::Coordinates),
}

impl Point {
    /// The point that an encoding stands for, where it decodes. The identity, whose one encoding is zeros, is refused (E1).
    fn accepted(decodes: Choice, encoding: &[u8; ELEMENT_LEN], element: impl FnOnce() -> Element) -> Option<Self> {
        // All of its words are looked at.
        let [a, b, c, d] = std::array::from_fn(|word| u64::from_le_bytes(encoding.as_chunks().0[word]));
        let identity = (a | b | c | d).ct_eq(&0);
        declassified(decodes & !identity, Reason::Decodes).then(|| Point { encoding: *encoding, element: element() })
    }

    /// The encoding it was decoded from.
    pub fn encoding(&self) -> &[u8; ELEMENT_LEN] {
        &self.encoding
    }
}

/// An integer modulo the order of the group, not zero (E2). Wiped on drop, without `Debug`.
///
/// ```compile_fail
/// let scalar = strongroom::engine::Scalar::from_bytes(&[1; 32]).unwrap();
/// println!("{scalar:?}");
/// ```
pub struct Scalar(Secret<[u8; ELEMENT_LEN]>);

impl Scalar {
    /// Reads the canonical encoding (RFC 9496 section 4.4); `None` if it is zero or not reduced.
    ///
    /// ```
    /// use strongroom::engine::Scalar;
    /// let mut bytes = [0; 32];
    /// assert!(Scalar::from_bytes(&bytes).is_none(), "zero");
    /// bytes[0] = 1;
    /// assert!(Scalar::from_bytes(&bytes).is_some());
    /// assert!(Scalar::from_bytes(&[0xff; 32]).is_none(), "not reduced");
    /// ```
    pub fn from_bytes(bytes: &[u8; ELEMENT_LEN]) -> Option<Self> {
        let reduced = curve25519_dalek::Scalar::from_canonical_bytes(*bytes).is_some();
        Scalar::not_zero(*bytes).filter(|_| declassified(reduced, Reason::Reduced))
    }

    /// The canonical encoding.
    pub fn to_bytes(&self) -> Secret<[u8; ELEMENT_LEN]> {
        Secret::new(*self.0.expose())
    }

    /// A copy.
    pub(crate) fn same(&self) -> Self {
        Scalar(Secret::new(*self.0.expose()))
    }

    /// Takes a canonical encoding.
    fn not_zero(bytes: [u8; ELEMENT_LEN]) -> Option<Self> {
        let zero = bytes.iter().fold(0, |any, byte| any | byte).ct_eq(&0);
        if declassified(zero, Reason::NotZero) { None } else { Some(Scalar(Secret::new(bytes))) }
    }
}

/// What one login multiplies: RFC 9807 sections 6.3.2.2 and 6.4.4, server side.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    /// Key of the OPRF for this record.
    pub oprf_key: &'a Scalar,
    /// The client's blinded element.
    pub blinded: &'a Point,
    /// The server's ephemeral secret.
    pub server_ephemeral: &'a Scalar,
    /// The server's static secret.
    pub server_static: &'a Scalar,
    /// The client's ephemeral public key.
    pub client_ephemeral: &'a Point,
    /// The client's static public key, out of its record.
    pub client_static: &'a Point,
}

/// What comes of an [`Exchange`], encoded.
pub struct Exchanged {
    /// OPRF key times blinded element.
    pub evaluated: [u8; ELEMENT_LEN],
    /// The server's ephemeral public key.
    pub server_keyshare: [u8; ELEMENT_LEN],
    /// The three shared secrets, in the order of RFC 9807: ephemeral with ephemeral, static with the client's
    /// ephemeral, ephemeral with the client's static.
    pub shared: Secret<[[u8; ELEMENT_LEN]; 3]>,
}

/// An arithmetic that this machine can run. Copies are free; only this room makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Ifma(ifma::Ifma),
    /// The lanes on plain integers, slow. Tests check its operands, and run the lanes' code on it where the machine has
    /// no registers for them; valgrind, which knows no such registers, follows secrets through it.
    #[cfg(any(test, feature = "model"))]
    Model,
    Fallback,
}

/// The backend in use, chosen at the first call: the fastest that this machine can run, or the one that the environment
/// variable `STRONGROOM_BACKEND` names. A line in the log says which.
pub fn backend() -> Backend {
    static CHOSEN: OnceLock<Backend> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let wanted = std::env::var_os("STRONGROOM_BACKEND");
        let (backend, known) = choose(wanted.as_deref().and_then(|name| name.to_str()), &Backend::all());
        if wanted.is_some() && !known {
            tracing::warn!("STRONGROOM_BACKEND names no backend of this machine and is not obeyed");
        }
        tracing::info!(backend = backend.name(), "arithmetic chosen");
        backend
    })
}

/// The backend of that name, or else the fastest; and whether the name was one of them.
fn choose(wanted: Option<&str>, all: &[Backend]) -> (Backend, bool) {
    let named = all.iter().find(|backend| Some(backend.name()) == wanted);
    (named.or(all.first()).copied().unwrap_or(Backend(Kind::Fallback)), named.is_some())
}

impl Backend {
    /// Every backend that this machine can run, the fastest first.
    pub fn all() -> Vec<Backend> {
        #[cfg(target_arch = "x86_64")]
        let lanes = ifma::Ifma::detect().map(Kind::Ifma);
        #[cfg(not(target_arch = "x86_64"))]
        let lanes = None;
        let everywhere = [
            #[cfg(test)]
            Kind::Model,
            Kind::Fallback,
            // Behind the one that it must not replace.
            #[cfg(all(feature = "model", not(test)))]
            Kind::Model,
        ];
        lanes.into_iter().chain(everywhere).map(Backend).collect()
    }

    /// Its name, as `STRONGROOM_BACKEND` and the log spell it.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(_) => "ifma",
            #[cfg(any(test, feature = "model"))]
            Kind::Model => "model",
            Kind::Fallback => "fallback",
        }
    }

    /// Decode, RFC 9496 section 4.3.1. `None` for an encoding that is not valid, and for the identity (E1).
    pub fn decode(self, encodings: &[[u8; ELEMENT_LEN]]) -> Vec<Option<Point>> {
        door!(self, DEEP, (L, token) => batch::decode::<L>(token, encodings), fallback::decode(encodings))
    }

    /// The one-way map, RFC 9496 section 4.3.4, encoded: from 64 uniform bytes to an element of which nobody knows the
    /// discrete logarithm.
    pub fn map(self, uniform: &[[u8; 64]]) -> Vec<[u8; ELEMENT_LEN]> {
        door!(self, DEEP, (L, token) => batch::map::<L>(token, uniform), fallback::map(uniform))
    }

    /// 64 uniform bytes as an integer, lowest byte first, modulo the order of the group (RFC 9497 section 4.1). `None`
    /// for zero (E2).
    pub fn reduce(self, uniform: &[[u8; 64]]) -> Vec<Option<Scalar>> {
        door!(self, DEEP, (L, token) => batch::reduce::<L>(token, uniform), fallback::reduce(uniform))
    }

    /// Each scalar times its own element, encoded.
    ///
    /// # Errors
    /// [`Fault::Miscalculated`], on lanes, if a product is no point of the curve (E5).
    pub fn multiply(self, items: &[(&Scalar, &Point)]) -> Result<Vec<[u8; ELEMENT_LEN]>, Fault> {
        door!(self, DEEP, (L, token) => batch::multiply::<L>(token, items), fallback::multiply(items))
    }

    /// Each scalar times the generator, encoded.
    ///
    /// # Errors
    /// As [`Backend::multiply`].
    pub fn multiply_base(self, scalars: &[&Scalar]) -> Result<Vec<[u8; ELEMENT_LEN]>, Fault> {
        door!(self, DEEP, (L, token) => batch::multiply_base::<L>(token, scalars), fallback::multiply_base(scalars))
    }

    /// The group operations of logins, together, so that they share what can be shared.
    ///
    /// # Errors
    /// As [`Backend::multiply`].
    pub fn exchange(self, items: &[Exchange<'_>]) -> Result<Vec<Exchanged>, Fault> {
        door!(self, DEEP, (L, token) => batch::exchange::<L>(token, items), fallback::exchange(items))
    }

    /// X25519 (RFC 7748 section 5): each scalar, clamped, times the point of its coordinate. An answer of zeros, to a
    /// coordinate of low order, is for the caller to judge.
    pub fn x25519(self, items: &[(&[u8; 32], &[u8; 32])]) -> Secret<Vec<[u8; 32]>> {
        Secret::new(door!(self, DEEP, (L, token) => montgomery::x25519::<L>(token, items), fallback::x25519(items)))
    }

    /// SHA-512 after the concatenation of each item's parts, to go on from.
    pub fn prefixes<const P: usize>(self, items: &[[&[u8]; P]]) -> Vec<Prefix> {
        door!(self, SHALLOW, (L, token) => sha512::batch::prefixes::<L, P>(token, items), items.iter().map(|parts| Prefix::new(parts)).collect())
    }

    /// SHA-512 over each prefix followed by the concatenation of its parts. These digests are secret until the caller
    /// says otherwise.
    pub fn digests<const P: usize>(self, items: &[(&Prefix, [&[u8]; P])]) -> Secret<Vec<[u8; 64]>> {
        Secret::new(
            door!(self, SHALLOW, (L, token) => sha512::batch::digests::<L, P>(token, items), items.iter().map(|(prefix, parts)| prefix.digest(parts)).collect()),
        )
    }

    /// HMAC-SHA-512 under each key over the concatenation of its parts.
    pub fn macs<const P: usize>(self, items: &[(&HmacKey, [&[u8]; P])]) -> Secret<Vec<[u8; 64]>> {
        Secret::new(
            door!(self, SHALLOW, (L, token) => sha512::batch::macs::<L, P>(token, items), items.iter().map(|(key, parts)| key.mac(parts)).collect()),
        )
    }

    /// Keys of HMAC-SHA-512 made ready.
    pub fn mac_keys(self, keys: &[[u8; 64]]) -> Vec<HmacKey> {
        door!(self, SHALLOW, (L, token) => sha512::batch::mac_keys::<L>(token, keys), keys.iter().map(|key| HmacKey::new(key)).collect())
    }
}

/// Runs `work` over `items`, one task a [`CHUNK`], [`traceless`], on the rayon pool of the caller. Answers keep the order
/// of the items; a batch of one chunk stays on the caller's thread. `work` gives one answer an item; those of several chunks are
/// moved, so what is secret in one is behind a pointer.
pub(crate) fn in_chunks<const DEPTH: usize, T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&[T]) -> Vec<R> + Send + Sync,
) -> Vec<R> {
    if items.len() <= CHUNK {
        return traceless::<DEPTH, _>(|| work(items));
    }
    items.par_chunks(CHUNK).flat_map_iter(|chunk| traceless::<DEPTH, _>(|| work(chunk))).collect()
}
