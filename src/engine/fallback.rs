//! The doors of the engine on curve25519-dalek, for machines without anything faster.
//!
//! Encoding an element takes an inverse square root of its own; encoding the *double* of an element takes an inversion,
//! which a whole batch shares. So every product here is made with half the scalar (there is an inverse of two modulo the
//! order) and encoded by [`RistrettoPoint::double_and_compress_batch`]. That function works on the
//! heap and does not wipe it: coordinates of products, halved as they are, stay there until something else takes their
//! place. What is ours is wiped here. Nor can its points be looked into, so here nobody notices a machine that
//! miscalculates.

use std::hint::black_box;
use std::mem::MaybeUninit;

use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use subtle::Choice;
use zeroize::{Zeroize, Zeroizing};

use super::{ELEMENT_LEN, Element, Exchange, Exchanged, Point, Scalar, tally};
use crate::error::Fault;
use crate::secret::Secret;

pub(super) fn decode(encodings: &[[u8; ELEMENT_LEN]]) -> Vec<Option<Point>> {
    tally::count(|tally| tally.decoded += encodings.len());
    encodings
        .iter()
        .map(|encoding| {
            let element = CompressedRistretto(*encoding).decompress()?;
            Point::accepted(Choice::from(1), encoding, || Element::Dalek(element))
        })
        .collect()
}

pub(super) fn map(uniform: &[[u8; 64]]) -> Vec<[u8; ELEMENT_LEN]> {
    tally::count(|tally| {
        tally.mapped += uniform.len();
        tally.encoded += uniform.len();
    });
    uniform.iter().map(|bytes| RistrettoPoint::from_uniform_bytes(bytes).compress().to_bytes()).collect()
}

pub(super) fn reduce(uniform: &[[u8; 64]]) -> Vec<Option<Scalar>> {
    tally::count(|tally| tally.reduced += uniform.len());
    let reduced = |bytes| curve25519_dalek::Scalar::from_bytes_mod_order_wide(bytes).to_bytes();
    uniform.iter().map(|bytes| Scalar::not_zero(reduced(bytes))).collect()
}

pub(super) fn multiply(items: &[(&Scalar, &Point)]) -> Result<Vec<[u8; ELEMENT_LEN]>, Fault> {
    let mut halves = Halves::with_capacity(items.len());
    on_one_page(|| {
        for (scalar, point) in items {
            halves.push(&half(scalar), point);
        }
    });
    Ok(halves.encode_doubled().expose().clone())
}

pub(super) fn multiply_base(scalars: &[&Scalar]) -> Result<Vec<[u8; ELEMENT_LEN]>, Fault> {
    let mut halves = Halves::with_capacity(scalars.len());
    for scalar in scalars {
        halves.push_base(&half(scalar));
    }
    Ok(halves.encode_doubled().expose().clone())
}

pub(super) fn exchange(items: &[Exchange<'_>]) -> Result<Vec<Exchanged>, Fault> {
    const PRODUCTS: usize = 5;
    let mut halves = Halves::with_capacity(items.len() * PRODUCTS);
    on_one_page(|| {
        for item in items {
            let ephemeral = half(item.server_ephemeral);
            halves.push(&half(item.oprf_key), item.blinded);
            halves.push_base(&ephemeral);
            halves.push(&ephemeral, item.client_ephemeral);
            halves.push(&half(item.server_static), item.client_ephemeral);
            halves.push(&ephemeral, item.client_static);
        }
    });
    let encodings = halves.encode_doubled();
    let (products, _) = encodings.expose().as_chunks::<PRODUCTS>();
    let answers = products.iter().map(|[evaluated, server_keyshare, shared @ ..]| Exchanged {
        evaluated: *evaluated,
        server_keyshare: *server_keyshare,
        shared: Secret::new(*shared),
    });
    Ok(answers.collect())
}

pub(super) fn x25519(items: &[(&[u8; 32], &[u8; 32])]) -> Vec<[u8; 32]> {
    tally::count(|tally| tally.multiplied += items.len());
    items.iter().map(|(scalar, coordinate)| MontgomeryPoint(**coordinate).mul_clamped(**scalar).to_bytes()).collect()
}

/// Bytes of a page of memory, on the processors that matter.
const PAGE: usize = 4096;

/// Does `work` with the stack in the middle of a page. A multiplication of dalek has a frame of some 3 KB, and where that
/// straddles a page boundary it takes up to a third longer (27 us or 31 to 36, on Zen 4 by where the stack began).
fn on_one_page(work: impl FnOnce()) {
    #[repr(align(4096))]
    struct Page(#[allow(dead_code)] MaybeUninit<[u8; PAGE]>);

    #[inline(never)]
    fn half_a_page_down(work: impl FnOnce()) {
        black_box(&MaybeUninit::<[u8; PAGE / 2]>::uninit());
        work();
    }

    #[inline(never)]
    fn on_a_page(work: impl FnOnce()) {
        black_box(&Page(MaybeUninit::uninit()));
        half_a_page_down(work);
    }

    on_a_page(work);
}

/// Half of a scalar, modulo the order.
fn half(scalar: &Scalar) -> Zeroizing<curve25519_dalek::Scalar> {
    Zeroizing::new(curve25519_dalek::Scalar::from_bytes_mod_order(*scalar.0.expose()).div_by_2())
}

/// A point's element; one that another backend decoded is decoded again, which cannot fail.
fn element(point: &Point) -> RistrettoPoint {
    match &point.element {
        Element::Dalek(element) => *element,
        Element::Lanes(_) => CompressedRistretto(point.encoding).decompress().unwrap_or_default(),
    }
}

/// Halves of the elements that a batch will encode. Wiped on drop.
#[derive(Zeroize)]
#[zeroize(drop)]
struct Halves(Vec<RistrettoPoint>);

impl Halves {
    /// Room for `products` elements; with less, a growing vector would leave copies behind.
    fn with_capacity(products: usize) -> Self {
        Halves(Vec::with_capacity(products))
    }

    fn push(&mut self, half: &curve25519_dalek::Scalar, point: &Point) {
        tally::count(|tally| tally.multiplied += 1);
        self.0.push(half * element(point));
    }

    fn push_base(&mut self, half: &curve25519_dalek::Scalar) {
        tally::count(|tally| tally.multiplied_base += 1);
        self.0.push(RistrettoPoint::mul_base(half));
    }

    fn encode_doubled(&self) -> Secret<Vec<[u8; ELEMENT_LEN]>> {
        tally::count(|tally| tally.encoded += self.0.len());
        let mut encodings = RistrettoPoint::double_and_compress_batch(&self.0);
        let copied = Secret::new(encodings.iter().map(CompressedRistretto::to_bytes).collect());
        encodings.zeroize();
        copied
    }
}
