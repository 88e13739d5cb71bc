//! The doors of the engine on lanes: requests into lanes, answers out of them.
//!
//! Eight requests or more: each has a lane of its own. One to six that are left over have their four multiplications
//! spread over lanes instead, which is fewer passes, and up to four multiplications have two lanes each. Lanes without a
//! request hold the identity.

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

use super::field::{Tight, bytes_of, words_of};
use super::ladder::Ladder;
use super::lanes::{LANES, Lanes, Row};
use super::point::{Affine, Point};
use super::scalar::{Reduce, Signs, SignsOfHalf};
use super::split::{self, SPLIT};
use super::{ELEMENT_LEN, Element, Exchange, Exchanged, Scalar, fixed_base, ristretto, tally};
use crate::error::Fault;
use crate::limits::CHUNK;
use crate::secret::Secret;
use crate::secret::declassified::{Reason, declassified};

/// x and y of a point, as limbs.
pub(super) type Coordinates = [[u64; 5]; 2];

/// x and y of the identity.
const IDENTITY: Coordinates = [[0; 5], [1, 0, 0, 0, 0]];

/// A scalar and what it multiplies.
type Product<'a> = (&'a Scalar, &'a super::Point);

/// Vectors of eight that are decoded together: their square roots take turns.
const TOGETHER: usize = 2;

pub(super) fn decode<L: Lanes>(token: L::Token, encodings: &[[u8; ELEMENT_LEN]]) -> Vec<Option<super::Point>> {
    tally::count(|tally| tally.decoded += encodings.len());
    let mut points = Vec::with_capacity(encodings.len());
    for encodings in encodings.chunks(TOGETHER * LANES) {
        match encodings.len() {
            ..=LANES => decode_vectors::<L, 1>(token, encodings, &mut points),
            _ => decode_vectors::<L, TOGETHER>(token, encodings, &mut points),
        }
    }
    points
}

fn decode_vectors<L: Lanes, const K: usize>(
    token: L::Token,
    encodings: &[[u8; ELEMENT_LEN]],
    points: &mut Vec<Option<super::Point>>,
) {
    let mut vectors = encodings.chunks(LANES);
    let words: [[Row; 4]; K] = std::array::from_fn(|_| words_of(vectors.next().unwrap_or(&[])));
    for ((valid, affine), encodings) in ristretto::decode::<L, K>(token, &words).iter().zip(encodings.chunks(LANES)) {
        let valid = L::bits(*valid);
        let [x, y] = [affine.x, affine.y].map(|coordinate| coordinate.0.map(L::store));
        for (lane, encoding) in encodings.iter().enumerate() {
            let of = |limbs: &[Row; 5]| limbs.map(|limb| limb.0[lane]);
            let decodes = Choice::from(valid >> lane & 1);
            points.push(super::Point::accepted(decodes, encoding, || Element::Lanes([of(&x), of(&y)])));
        }
    }
}

pub(super) fn map<L: Lanes>(token: L::Token, uniform: &[[u8; 64]]) -> Vec<[u8; ELEMENT_LEN]> {
    tally::count(|tally| {
        tally.mapped += uniform.len();
        tally.encoded += uniform.len();
    });
    let mut encodings = Vec::with_capacity(uniform.len());
    for uniform in uniform.chunks(LANES) {
        let [a, b, c, d, e, f, g, h] = words_of(uniform);
        let mut point = ristretto::map::<L>(token, &[[a, b, c, d], [e, f, g, h]]);
        let words = ristretto::encode(token, &point);
        point.zeroize();
        encodings.extend((0..uniform.len()).map(|lane| bytes_of(&words, lane)));
    }
    encodings
}

pub(super) fn reduce<L: Lanes>(token: L::Token, uniform: &[[u8; 64]]) -> Vec<Option<Scalar>> {
    tally::count(|tally| tally.reduced += uniform.len());
    let mut scalars = Vec::with_capacity(uniform.len());
    for uniform in uniform.chunks(LANES) {
        let mut words = words_of(uniform);
        let mut reduced = L::call(token, Reduce::<L>(token, &words));
        scalars.extend((0..uniform.len()).map(|lane| Scalar::not_zero(bytes_of(&reduced, lane))));
        words.zeroize();
        reduced.zeroize();
    }
    scalars
}

pub(super) fn multiply<L: Lanes>(token: L::Token, items: &[Product<'_>]) -> Result<Vec<[u8; ELEMENT_LEN]>, Fault> {
    tally::count(|tally| tally.multiplied += items.len());
    in_vectors(token, items, Products::<L>::multiply)
}

pub(super) fn multiply_base<L: Lanes>(token: L::Token, scalars: &[&Scalar]) -> Result<Vec<[u8; ELEMENT_LEN]>, Fault> {
    tally::count(|tally| tally.multiplied_base += scalars.len());
    in_vectors(token, scalars, Products::<L>::multiply_base)
}

/// One product an item, eight to a vector, a chunk of items to an inversion.
fn in_vectors<L: Lanes, T>(
    token: L::Token,
    items: &[T],
    multiply: fn(&mut Products<L>, &[T]),
) -> Result<Vec<[u8; ELEMENT_LEN]>, Fault> {
    let mut encodings = Vec::with_capacity(items.len());
    for items in items.chunks(CHUNK) {
        let mut products = Products::new(token);
        for items in items.chunks(LANES) {
            multiply(&mut products, items);
        }
        let encoded = products.encode(items.len())?;
        encodings.extend((0..items.len()).map(|index| bytes_of(&encoded.expose()[index / LANES], index % LANES)));
    }
    Ok(encodings)
}

pub(super) fn exchange<L: Lanes>(token: L::Token, items: &[Exchange<'_>]) -> Result<Vec<Exchanged>, Fault> {
    tally::count(|tally| {
        tally.multiplied += (PRODUCTS - 1) * items.len();
        tally.multiplied_base += items.len();
    });
    let mut answers = Vec::with_capacity(items.len());
    for items in items.chunks(CHUNK) {
        let mut products = Products::<L>::new(token);
        let mut places = Vec::with_capacity(items.len());
        for items in items.chunks(LANES) {
            match items.len() {
                ..=SPREAD_MAX => products.spread(items, &mut places),
                _ => products.side_by_side(items, &mut places),
            }
        }
        let encoded = products.encode(PRODUCTS * items.len())?;
        answers.extend(places.iter().map(|places| {
            let [evaluated, server_keyshare, shared @ ..] =
                places.map(|(vector, lane)| bytes_of(&encoded.expose()[vector], lane));
            Exchanged { evaluated, server_keyshare, shared: Secret::new(shared) }
        }));
    }
    Ok(answers)
}

/// Products of one login.
const PRODUCTS: usize = 5;
/// Requests for which spreading their products over lanes takes fewer passes than a lane for each, which takes three and
/// a half.
const SPREAD_MAX: usize = 6;

/// Where the products of a login are, in the order of [`Exchanged`]: vector and lane.
type Places = [(usize, usize); PRODUCTS];

/// Halves of the elements that a chunk will encode, a vector for each eight, and the scratch they are made with. Wiped on
/// drop.
struct Products<L: Lanes> {
    token: L::Token,
    /// Made when more than four products are wanted at once. Boxed, so that a chunk with fewer does without its room.
    ladder: Option<Box<Ladder<L>>>,
    points: Vec<Point<L>>,
}

impl<L: Lanes> Drop for Products<L> {
    fn drop(&mut self) {
        self.points.zeroize();
    }
}

impl<L: Lanes> Products<L> {
    fn new(token: L::Token) -> Self {
        // With less room, a growing vector would leave copies behind.
        let points = Vec::with_capacity(PRODUCTS * CHUNK / LANES);
        Products { token, ladder: None, points }
    }

    /// Out of line, so that the room it is made in is not added to the stack of the work that follows.
    #[inline(never)]
    fn ladder(&mut self) -> &mut Ladder<L> {
        self.ladder.get_or_insert_with(|| Box::new(Ladder::new(self.token)))
    }

    /// A lane for each login.
    fn side_by_side(&mut self, items: &[Exchange<'_>], places: &mut Vec<Places>) {
        let first = self.points.len();
        self.multiply(&items.iter().map(|item| (item.oprf_key, item.blinded)).collect::<Vec<_>>());
        let ephemerals: Vec<_> = items.iter().map(|item| item.server_ephemeral).collect();
        self.multiply_base(&ephemerals);
        let statics: Vec<_> = items.iter().map(|item| item.server_static).collect();
        let points: Vec<_> = items.iter().map(|item| item.client_ephemeral).collect();
        self.multiply_pair([&ephemerals, &statics], &points);
        self.multiply(&items.iter().map(|item| (item.server_ephemeral, item.client_static)).collect::<Vec<_>>());
        places.extend((0..items.len()).map(|lane| std::array::from_fn(|number| (first + number, lane))));
    }

    /// Lanes for each product of each login.
    fn spread(&mut self, items: &[Exchange<'_>], places: &mut Vec<Places>) {
        let first = self.points.len();
        let variable = items.iter().flat_map(|item| {
            [
                (item.oprf_key, item.blinded),
                (item.server_ephemeral, item.client_ephemeral),
                (item.server_static, item.client_ephemeral),
                (item.server_ephemeral, item.client_static),
            ]
        });
        let products: Vec<Product<'_>> = variable.collect();
        for products in products.chunks(LANES) {
            self.multiply(products);
        }
        let base_vector = self.points.len();
        self.multiply_base(&items.iter().map(|item| item.server_ephemeral).collect::<Vec<_>>());
        let at = |number| (first + number / LANES, number % LANES);
        places.extend((0..items.len()).map(|index| {
            let [evaluated, shared @ ..] = [0, 1, 2, 3].map(|number| at((PRODUCTS - 1) * index + number));
            let [a, b, c] = shared;
            [evaluated, (base_vector, index), a, b, c]
        }));
    }

    /// Out of line, as [`Products::ladder`].
    #[inline(never)]
    fn multiply_split(&mut self, xy: &Tight<L>, half: &Signs<L>) -> Point<L> {
        split::Ladder::new(self.token).multiply(xy, half)
    }

    /// A vector of at most eight products, each in a lane of its own; up to four have two lanes each.
    fn multiply(&mut self, products: &[Product<'_>]) {
        let (scalars, points): (Vec<_>, Vec<_>) = products.iter().copied().unzip();
        let product = if products.len() <= SPLIT {
            let (xy, mut half) = (self.load_split(&points), self.halve(&scalars, SPLIT));
            let product = self.multiply_split(&xy, &half);
            half.zeroize();
            product
        } else {
            let (point, mut half) = (self.load(&points), self.halve(&scalars, LANES));
            let product = self.ladder().multiply(&point, &half);
            half.zeroize();
            product
        };
        self.points.push(product);
    }

    /// Two vectors of products of the same points.
    fn multiply_pair(&mut self, scalars: [&[&Scalar]; 2], points: &[&super::Point]) {
        let (point, mut halves) = (self.load(points), scalars.map(|scalars| self.halve(scalars, LANES)));
        let products = self.ladder().multiply_pair(&point, halves.each_ref());
        self.points.extend(products);
        halves.iter_mut().for_each(Zeroize::zeroize);
    }

    /// A vector of multiples of the generator.
    fn multiply_base(&mut self, scalars: &[&Scalar]) {
        let alone = scalars.len() == 1;
        let mut half = self.halve(scalars, if alone { 1 } else { LANES });
        let multiply = if alone { fixed_base::multiply_base_alone } else { fixed_base::multiply_base };
        self.points.push(multiply(self.token, &half));
        half.zeroize();
    }

    /// Signs of half of each scalar, again after each `stride` lanes; lanes without one get those of zero.
    fn halve(&self, scalars: &[&Scalar], stride: usize) -> Signs<L> {
        let mut words = [Row([0; LANES]); 4];
        for (lane, scalar) in scalars.iter().enumerate() {
            for (word, bytes) in words.iter_mut().zip(scalar.0.expose().as_chunks().0) {
                for lane in (lane..LANES).step_by(stride) {
                    word.0[lane] = u64::from_le_bytes(*bytes);
                }
            }
        }
        let signs = L::call(self.token, SignsOfHalf(self.token, &words));
        words.zeroize();
        signs
    }

    /// The points, and the identity in lanes without one.
    fn load(&self, points: &[&super::Point]) -> Affine<L> {
        let [mut x, mut y] = IDENTITY.map(|limbs| limbs.map(|limb| Row([limb; LANES])));
        for (lane, point) in points.iter().enumerate() {
            let coordinates = self.coordinates(point);
            for (rows, limbs) in [&mut x, &mut y].into_iter().zip(coordinates) {
                put(rows, lane, limbs);
            }
        }
        Affine { x: self.tight(&x), y: self.tight(&y) }
    }

    /// x of each point in the lower lanes, y in the upper ones.
    fn load_split(&self, points: &[&super::Point]) -> Tight<L> {
        let mut xy = [Row([0; LANES]); 5];
        for lane in 0..SPLIT {
            let coordinates = points.get(lane).map_or(IDENTITY, |point| self.coordinates(point));
            for (half, limbs) in coordinates.into_iter().enumerate() {
                put(&mut xy, half * SPLIT + lane, limbs);
            }
        }
        self.tight(&xy)
    }

    fn tight(&self, rows: &[Row; 5]) -> Tight<L> {
        Tight(rows.each_ref().map(|row| L::load(self.token, row)))
    }

    /// A point's coordinates; one that another backend decoded is decoded again.
    fn coordinates(&self, point: &super::Point) -> Coordinates {
        match &point.element {
            Element::Lanes(coordinates) => *coordinates,
            Element::Dalek(_) => {
                let [(_, affine)] = ristretto::decode::<L, 1>(self.token, &[words_of(&[point.encoding])]);
                [affine.x, affine.y].map(|coordinate| coordinate.0.map(|limb| limb.store().0[0]))
            }
        }
    }

    /// The encoding of each product, as words of a vector's lanes; `count` of them are somebody's. If one lane went
    /// wrong none is given: the machine is not to be trusted with the others.
    fn encode(&self, count: usize) -> Result<Secret<Vec<[Row; 4]>>, Fault> {
        tally::count(|tally| tally.encoded += count);
        let mut encoded = Secret::new(Vec::with_capacity(self.points.len()));
        let sound = ristretto::encode_doubled(self.token, &self.points, encoded.expose_mut());
        if declassified(sound.ct_eq(&u8::MAX), Reason::Sound) { Ok(encoded) } else { Err(Fault::Miscalculated) }
    }
}

/// The limbs of one lane.
fn put(rows: &mut [Row; 5], lane: usize, limbs: [u64; 5]) {
    for (row, limb) in rows.iter_mut().zip(limbs) {
        row.0[lane] = limb;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::Backend;
    #[cfg(target_arch = "x86_64")]
    use super::super::ifma::{Eight, Ifma};
    use super::super::model::{Always, Model};
    use super::*;

    fn unused_lanes_hold_the_identity<L: Lanes>(token: L::Token) {
        let scalars: Vec<_> = (1..8).map(|byte| Scalar::from_bytes(&[byte; 32]).unwrap()).collect();
        let mut points = Vec::new();
        for encoding in Backend::all()[0].map(&[[7; 64]; 7]) {
            points.extend(decode::<L>(token, &[encoding]).remove(0));
        }
        for count in 0..=7 {
            let scalars: Vec<_> = scalars[..count].iter().collect();
            let points: Vec<_> = points[..count].iter().collect();
            let mut products = Products::<L>::new(token);
            products.multiply(&scalars.iter().copied().zip(points.iter().copied()).collect::<Vec<_>>());
            products.multiply_base(&scalars);
            products.multiply_pair([&scalars, &scalars], &points);
            let encoded = products.encode(4 * count).unwrap();
            assert_eq!(encoded.expose().len(), 4);
            for words in encoded.expose() {
                for lane in 0..LANES {
                    let identity = bytes_of(words, lane) == [0; ELEMENT_LEN];
                    assert_eq!(identity, lane >= count, "lane {lane} of {count}: the identity where nobody asked");
                }
            }
        }
    }

    #[test]
    fn lanes_without_a_request_hold_the_identity() {
        unused_lanes_hold_the_identity::<Model>(Always);
        #[cfg(target_arch = "x86_64")]
        match Ifma::detect() {
            Some(token) => unused_lanes_hold_the_identity::<Eight>(token),
            None => println!("LEFT OUT: lanes: not on this machine"),
        }
    }
}
