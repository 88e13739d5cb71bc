//! Single steps of the engine on lanes, repeated, so that a bench can time what no door shows by itself.
//!
//! For benches; no promise of stability. Each function gives what came of its steps in a form that an independent answer
//! can be held against, and `None` where the backend has no lanes.
//!
//! `K` vectors of eight lanes take their steps in turn. With one, each step waits for the one before, which shows its
//! latency; with more the multipliers are kept busy, which shows what it costs.

use super::field::{Tight, bytes_of, words_of};
use super::lanes::{LANES, Lanes, Row, Work};
use super::point::{Affine, Cached, Extended, Point, Projective};
use super::{Backend, ELEMENT_LEN, ristretto};

/// Something of 32 bytes for each lane.
pub type Vector = [[u8; ELEMENT_LEN]; LANES];

/// Field elements times their lane's factor, `n` times over, canonical.
pub fn multiply<const K: usize>(
    backend: Backend,
    from: &[Vector; K],
    factor: &Vector,
    n: usize,
) -> Option<[Vector; K]> {
    on!(backend, (L, token) => Some({
        let load = |vector: &Vector| Tight::<L>::from_words(token, &words_of(vector));
        let products = L::call(token, Repeat(n, from.each_ref().map(load), Times(load(factor))));
        products.map(|product| vector(&product.to_words()))
    }), None)
}

/// Field elements squared, `n` times over, canonical.
pub fn square<const K: usize>(backend: Backend, from: &[Vector; K], n: usize) -> Option<[Vector; K]> {
    on!(backend, (L, token) => Some({
        let load = |vector: &Vector| Tight::<L>::from_words(token, &words_of(vector));
        let squares = L::call(token, Repeat(n, from.each_ref().map(load), Square));
        squares.map(|square| vector(&square.to_words()))
    }), None)
}

/// The generator doubled `n + 2` times, encoded: `n` doublings in a row, then two that belong to the encoding. It is in
/// every lane of every vector.
pub fn double<const K: usize>(backend: Backend, n: usize) -> Option<[Vector; K]> {
    on!(backend, (L, token) => Some({
        let points = [Affine::<L>::generator(token).projective(); K];
        let points = L::call(token, Repeat(n, points, Double));
        points.map(|point| encoded(token, &[point.doubled().point()])[0])
    }), None)
}

/// Twice the generator's multiple by `n + 2`, encoded: `n` additions of it to itself in a row, then what belongs to the
/// encoding. It is in every lane of every vector.
pub fn add<const K: usize>(backend: Backend, n: usize) -> Option<[Vector; K]> {
    on!(backend, (L, token) => Some({
        let one = Affine::<L>::generator(token).extended();
        let sums = L::call(token, Repeat(n, [one; K], Add(one.cached())));
        sums.map(|sum| encoded(token, &[sum.plus(&one.cached()).point()])[0])
    }), None)
}

/// Encodings of the generator times 4, 6, 8 and so on, a vector of eight each, all of a pass together, in `n` passes.
pub fn encode(backend: Backend, vectors: usize, n: usize) -> Option<Vec<Vector>> {
    on!(backend, (L, token) => Some({
        let one = Affine::<L>::generator(token).extended();
        let next = |sum: &Extended<L>| L::call(token, Repeat(1, [*sum], Add(one.cached())))[0];
        let sums = std::iter::successors(Some(one), |sum| Some(next(sum)));
        let points: Vec<_> = sums.take(vectors).map(|sum| sum.plus(&one.cached()).point()).collect();
        (1..n).for_each(|_| drop(encoded(token, &points)));
        encoded(token, &points)
    }), None)
}

/// A step, written once for any number of vectors.
trait Step<T> {
    fn step(&self, value: &T) -> T;
}

struct Square;

impl<L: Lanes> Step<Tight<L>> for Square {
    #[inline(always)]
    fn step(&self, value: &Tight<L>) -> Tight<L> {
        value.square().carry()
    }
}

struct Times<L: Lanes>(Tight<L>);

impl<L: Lanes> Step<Tight<L>> for Times<L> {
    #[inline(always)]
    fn step(&self, value: &Tight<L>) -> Tight<L> {
        value.times(self.0).carry()
    }
}

struct Double;

impl<L: Lanes> Step<Projective<L>> for Double {
    #[inline(always)]
    fn step(&self, point: &Projective<L>) -> Projective<L> {
        point.doubled().projective()
    }
}

struct Add<L: Lanes>(Cached<L>);

impl<L: Lanes> Step<Extended<L>> for Add<L> {
    #[inline(always)]
    fn step(&self, sum: &Extended<L>) -> Extended<L> {
        sum.plus(&self.0).extended()
    }
}

struct Repeat<T, S, const K: usize>(usize, [T; K], S);

impl<T, S: Step<T>, const K: usize> Work for Repeat<T, S, K> {
    type Output = [T; K];

    #[inline(always)]
    fn run(mut self) -> [T; K] {
        for _ in 0..self.0 {
            for value in &mut self.1 {
                *value = self.2.step(value);
            }
        }
        self.1
    }
}

fn encoded<L: Lanes>(token: L::Token, points: &[Point<L>]) -> Vec<Vector> {
    let mut words = Vec::with_capacity(points.len());
    // What is measured need not be points of the curve.
    let _sound = ristretto::encode_doubled(token, points, &mut words);
    words.iter().map(vector).collect()
}

fn vector(words: &[Row; 4]) -> Vector {
    std::array::from_fn(|lane| bytes_of(words, lane))
}
