//! The one list of what is proved and compared: every function of the arithmetic on lanes, as a flow from numbers to
//! numbers that runs on any kind of lanes.
//!
//! `bounds.rs` runs the list over intervals, `limbs.rs` runs it on each kind of lanes of this machine and compares. A
//! new function of the field, the points, the tables or the ladders gets a flow here and with it both.

use crate::engine::field::{P_TIMES_512, P_TIMES_1024, TIGHT, Tight, WIDE, Wide, constant, invert, sqrt_ratios};
use crate::engine::ladder::Ladder;
use crate::engine::lanes::{LANES, Lanes, Row, Work};
use crate::engine::montgomery::Rung;
use crate::engine::point::{Affine, AffineCached, Cached, Extended, Point, Projective};
use crate::engine::scalar::{Reduce, Signs, SignsOfHalf};
use crate::engine::table::{Choice, FillForComb, FillWithOddMultiples, Table};
use crate::engine::{Backend, fixed_base, ristretto, split};

/// Elements that a flow can draw from.
const ELEMENTS: usize = 16;

/// Numbers for the lanes of a flow, within the bounds of their types.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    /// Limbs below [`TIGHT`].
    pub(super) elements: [[Row; 5]; ELEMENTS],
    /// Limbs below [`WIDE`].
    pub(super) wide: [Row; 5],
    /// Any words.
    pub(super) words: [[Row; 4]; 4],
    /// Below 8.
    pub(super) index: Row,
    pub(super) mask: u8,
}

impl Numbers {
    /// Numbers whose rows hold the ends of the whole interval of each type.
    pub(super) fn whole() -> Self {
        let up_to = |most: u64| Row([0, most, 0, most, 0, most, 0, most]);
        Numbers {
            elements: [[up_to(TIGHT - 1); 5]; ELEMENTS],
            wide: [up_to(WIDE - 1); 5],
            words: [[up_to(u64::MAX); 4]; 4],
            index: up_to(7),
            mask: 0b0110_1010,
        }
    }
}

/// [`Numbers`] in lanes.
pub(super) struct Input<L: Lanes> {
    token: L::Token,
    elements: [Tight<L>; ELEMENTS],
    wide: Wide<L>,
    words: [[Row; 4]; 4],
    index: L,
    mask: L::Mask,
}

impl<L: Lanes> Input<L> {
    pub(super) fn load(token: L::Token, numbers: &Numbers) -> Self {
        let row = |row: Row| L::load(token, &row);
        Input {
            token,
            elements: numbers.elements.map(|limbs| Tight(limbs.map(row))),
            wide: Wide(numbers.wide.map(row)),
            words: numbers.words,
            index: row(numbers.index),
            mask: L::mask(token, numbers.mask),
        }
    }

    fn affine(&self) -> Affine<L> {
        let [x, y, ..] = self.elements;
        Affine { x, y }
    }

    fn projective(&self) -> Projective<L> {
        let [x, y, z, sum, ..] = self.elements;
        Projective { x, y, z, sum }
    }

    fn extended(&self) -> Extended<L> {
        let [minus, plus, z, t, ..] = self.elements;
        Extended { minus, plus, z, t }
    }

    fn cached(&self) -> Cached<L> {
        let [.., minus, plus, z2, t2d] = self.elements;
        Cached { minus, plus, z2, t2d }
    }

    fn affine_cached(&self) -> AffineCached<L> {
        let [.., minus, plus, t2d] = self.elements;
        AffineCached { minus, plus, t2d }
    }

    fn point(&self) -> Point<L> {
        let [x, y, z, t, ..] = self.elements;
        Point { x, y, z, t }
    }

    fn split_projective(&self) -> split::Projective<L> {
        let [xy, zs, ..] = self.elements;
        split::Projective { xy, zs }
    }

    fn split_extended(&self) -> split::Extended<L> {
        let [ends, zt, ..] = self.elements;
        split::Extended { ends, zt }
    }

    fn split_cached(&self) -> split::Cached<L> {
        let [.., ends, zt] = self.elements;
        split::Cached { ends, zt }
    }

    fn signs(&self, number: usize) -> Signs<L> {
        SignsOfHalf(self.token, &self.words[number]).run()
    }
}

/// What comes of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Numbers, and the most that their type lets them be.
    numbers: Vec<(Row, u64)>,
    masks: Vec<u8>,
}

impl Outcome {
    /// A number over its bound, and the bound.
    pub(super) fn over(&self) -> Option<(u64, u64)> {
        let all = self.numbers.iter().flat_map(|(row, most)| row.0.map(|number| (number, *most)));
        all.into_iter().find(|(number, most)| number > most)
    }

    #[inline(always)]
    fn limbs<L: Lanes>(&mut self, limbs: impl IntoIterator<Item = L>, most: u64) {
        for limb in limbs {
            self.numbers.push((limb.store(), most));
        }
    }

    #[inline(always)]
    fn mask<L: Lanes>(&mut self, mask: L::Mask) {
        self.masks.push(L::bits(mask));
    }

    fn words(&mut self, words: &[Row; 4]) {
        self.numbers.extend(words.map(|word| (word, u64::MAX)));
    }

    #[inline(always)]
    fn tight<L: Lanes>(&mut self, element: Tight<L>) {
        self.limbs(element.0, TIGHT - 1);
    }

    #[inline(always)]
    fn wide<L: Lanes>(&mut self, element: Wide<L>) {
        self.limbs(element.0, WIDE - 1);
    }

    #[inline(always)]
    fn choice<L: Lanes>(&mut self, choice: Choice<L>, entries: u64) {
        self.limbs([choice.index], entries - 1);
        self.mask::<L>(choice.negative);
    }

    #[inline(always)]
    fn affine<L: Lanes>(&mut self, Affine { x, y }: Affine<L>) {
        for element in [x, y] {
            self.tight(element);
        }
    }

    #[inline(always)]
    fn projective<L: Lanes>(&mut self, Projective { x, y, z, sum }: Projective<L>) {
        for element in [x, y, z, sum] {
            self.tight(element);
        }
    }

    #[inline(always)]
    fn extended<L: Lanes>(&mut self, Extended { minus, plus, z, t }: Extended<L>) {
        for element in [minus, plus, z, t] {
            self.tight(element);
        }
    }

    #[inline(always)]
    fn cached<L: Lanes>(&mut self, Cached { minus, plus, z2, t2d }: Cached<L>) {
        for element in [minus, plus, z2, t2d] {
            self.tight(element);
        }
    }

    #[inline(always)]
    fn split<L: Lanes>(&mut self, completed: split::Completed<L>) {
        let split::Projective { xy, zs } = completed.projective();
        let split::Extended { ends, zt } = completed.extended();
        for element in [xy, zs, ends, zt] {
            self.tight(element);
        }
        self.point(completed.point());
    }

    #[inline(always)]
    fn point<L: Lanes>(&mut self, Point { x, y, z, t }: Point<L>) {
        for element in [x, y, z, t] {
            self.tight(element);
        }
    }
}

/// A flow on one kind of lanes.
pub(super) type Flow<L> = fn(&Input<L>) -> Outcome;

/// Each flow is compiled as a function of its own for the lanes, as the engine's work is.
macro_rules! flows {
    ($($name:ident($input:ident, $outcome:ident) $body:block)*) => {
        $(
            pub(super) fn $name<L: Lanes>(input: &Input<L>) -> Outcome {
                struct Run<'a, L: Lanes>(&'a Input<L>);

                impl<L: Lanes> Work for Run<'_, L> {
                    type Output = Outcome;

                    #[inline(always)]
                    fn run(self) -> Outcome {
                        let ($input, mut $outcome) = (self.0, Outcome::default());
                        $body
                        $outcome
                    }
                }

                L::call(input.token, Run(input))
            }
        )*

        /// Every flow, by name.
        pub(super) fn all<L: Lanes>() -> Vec<(&'static str, Flow<L>)> {
            vec![$((stringify!($name), $name)),*]
        }
    };
}

flows! {
    // field.rs
    field_constants(input, out) {
        out.tight(Tight::<L>::zero(input.token));
        out.tight(Tight::<L>::one(input.token));
        out.tight(Tight::<L>::splat(input.token, &constant([u64::MAX, u64::MAX, u64::MAX, u64::MAX >> 1])));
    }
    field_from_words(input, out) { out.tight(Tight::<L>::from_words(input.token, &input.words[0])); }
    field_to_words(input, out) { out.words(&input.elements[0].to_words()); }
    field_canonical(input, out) { out.limbs(input.elements[0].canonical(), (1 << 51) - 1); }
    field_is_negative(input, out) { out.mask::<L>(input.elements[0].is_negative()); }
    field_is_zero(input, out) {
        let [a, b, ..] = input.elements;
        out.mask::<L>(a.is_zero());
        out.mask::<L>(Tight::select(input.mask, Tight::zero(input.token), b).is_zero());
    }
    field_equal(input, out) {
        let [a, b, ..] = input.elements;
        out.mask::<L>(a.equal(b));
        out.mask::<L>(a.equal(Tight::select(input.mask, a, b)));
    }
    field_exchanged(input, out) {
        out.tight(input.elements[0].exchanged::<1>());
        out.wide(input.wide.exchanged::<4>());
        out.wide(Wide::select(input.mask, input.wide, input.wide.exchanged::<2>()));
    }
    field_nothing(input, out) { out.wide(Wide::nothing(input.token, P_TIMES_512).less(input.elements[0].square())); }
    field_select(input, out) { out.tight(Tight::select(input.mask, input.elements[0], input.elements[1])); }
    field_wide(input, out) { out.wide(input.elements[0].wide()); }
    field_add(input, out) { out.wide(input.elements[0].add(input.elements[1])); }
    field_sub(input, out) { out.wide(input.elements[0].sub(input.elements[1])); }
    field_negated(input, out) { out.tight(input.elements[0].negated()); }
    field_negated_where(input, out) { out.tight(input.elements[0].negated_where(input.mask)); }
    field_absolute(input, out) { out.tight(input.elements[0].absolute()); }
    field_times(input, out) { out.wide(input.elements[0].times(input.elements[1])); }
    field_square(input, out) { out.wide(input.elements[0].square()); }
    field_carry(input, out) { out.tight(input.wide.carry()); }
    field_wide_add(input, out) {
        let [a, b, c, d, ..] = input.elements;
        out.wide(a.times(b).add(c.square()).add(d.square()));
    }
    field_times_less(input, out) {
        let [a, b, c, d, ..] = input.elements;
        out.wide(a.times_plus(b, P_TIMES_512).less(c.times(d)));
        out.wide(a.wide().plus(P_TIMES_512).less(c.square()));
    }
    field_square_less(input, out) {
        let [a, b, c, ..] = input.elements;
        out.wide(a.square_plus(P_TIMES_512).less(b.square()));
        out.wide(a.square_plus(P_TIMES_512).less(b.square().add(c.square())));
    }
    field_square_less_the_most(input, out) {
        let [a, b, c, d, ..] = input.elements;
        // The most that is subtracted: two products, one of them with a multiple of its own.
        out.wide(a.square_plus(P_TIMES_1024).less(b.square_plus(P_TIMES_512).add(c.times(d))));
    }
    field_times_small(input, out) { out.wide(input.elements[0].times_small((1 << 20) - 1)); }
    field_product(input, out) { out.tight(input.elements[0].times(input.elements[1]).carry()); }
    field_invert(input, out) {
        let [a, b, c, ..] = input.elements;
        for element in invert(&[a]).into_iter().chain(invert(&[b, c])) {
            out.tight(element);
        }
    }
    field_sqrt_ratios(input, out) {
        let [a, b, c, d, e, f, ..] = input.elements;
        for (square, root) in sqrt_ratios(&[(a, b)]).into_iter().chain(sqrt_ratios(&[(c, d), (e, f)])) {
            out.mask::<L>(square);
            out.tight(root);
        }
    }

    // scalar.rs
    scalar_reduce(input, out) {
        let [[a, b, c, d], [e, f, g, h], ..] = input.words;
        out.words(&Reduce::<L>(input.token, &[a, b, c, d, e, f, g, h]).run());
    }
    scalar_windows(input, out) {
        let signs = input.signs(0);
        for number in 0..64 {
            out.choice(signs.window(number, 4, 256), 8);
        }
        for number in 0..43 {
            out.choice(signs.window(number, 6, 258), 32);
        }
    }
    scalar_columns(input, out) {
        let signs = input.signs(0);
        for number in 0..64 {
            out.choice(signs.column(number, 64), 8);
        }
    }

    // point.rs
    point_constants(input, out) {
        out.affine(Affine::<L>::generator(input.token));
        out.projective(Projective::<L>::identity(input.token));
        out.extended(Extended::<L>::identity(input.token));
    }
    point_of_affine(input, out) {
        out.extended(input.affine().extended());
        out.projective(input.affine().projective());
    }
    point_doubled(input, out) {
        let doubled = input.projective().doubled();
        out.projective(doubled.projective());
        out.extended(doubled.extended());
        out.point(doubled.point());
    }
    point_extended(input, out) {
        out.extended(input.projective().extended());
        out.extended(input.point().extended());
        out.point(input.extended().point());
    }
    point_select(input, out) {
        let identity = Extended::identity(input.token);
        out.extended(Extended::select(input.mask, input.extended(), identity));
    }
    point_plus(input, out) {
        let sum = input.extended().plus(&input.cached());
        out.projective(sum.projective());
        out.extended(sum.extended());
        out.point(sum.point());
    }
    point_plus_or_minus_affine(input, out) {
        out.extended(input.extended().plus_or_minus_affine(&input.affine_cached(), input.mask).extended());
    }
    point_plus_and_minus(input, out) {
        for completed in input.extended().plus_and_minus(&input.cached()) {
            out.extended(completed.extended());
        }
    }
    point_cached(input, out) { out.cached(input.extended().cached()); }

    // table.rs
    table_of_odd_multiples(input, out) {
        let mut table = Table::blank(input.token);
        L::call(input.token, FillWithOddMultiples { table: &mut table, point: &input.affine() });
        for entry in 0..8 {
            let index = L::splat(input.token, entry);
            out.tight(table.select(index, |entry| &entry.minus));
            out.tight(table.select(index, |entry| &entry.plus));
            out.tight(table.select(index, |entry| &entry.z2));
            out.tight(table.select(index, |entry| &entry.t2d));
        }
        let choice = Choice { index: input.index, negative: input.mask };
        let sum = input.extended().plus_chosen(&table, choice);
        out.projective(sum.projective());
        out.point(sum.point());
    }
    table_for_comb(input, out) {
        let mut table = Table::blank(input.token);
        let [a, b] = [input.extended(), input.projective().extended()];
        let teeth = [a, b, input.point().extended(), Extended::select(input.mask, b, a)];
        let mut sums = [a; 8];
        L::call(input.token, FillForComb { table: &mut table, teeth: &teeth, sums: &mut sums });
        for sum in sums {
            out.extended(sum);
        }
        let choice = Choice { index: input.index, negative: input.mask };
        out.projective(input.extended().plus_chosen(&table, choice).projective());
    }

    // ladder.rs
    ladder_multiply(input, out) {
        let mut ladder = Ladder::new(input.token);
        out.point(ladder.multiply(&input.affine(), &input.signs(0)));
        out.point(ladder.multiply(&Affine::generator(input.token), &input.signs(1)));
    }
    ladder_multiply_pair(input, out) {
        let halves = [&input.signs(2), &input.signs(3)];
        for product in Ladder::new(input.token).multiply_pair(&input.affine(), halves) {
            out.point(product);
        }
    }

    // montgomery.rs
    montgomery_step(input, out) {
        let [x2, z2, x3, z3, coordinate, ..] = input.elements;
        let Rung { x2, z2, x3, z3 } = Rung { x2, z2, x3, z3 }.swapped(input.mask).step(coordinate);
        for element in [x2, z2, x3, z3] {
            out.tight(element);
        }
    }

    // split.rs
    split_doubled(input, out) { out.split(input.split_projective().doubled()); }
    split_plus(input, out) { out.split(input.split_extended().plus(&input.split_cached())); }
    split_table(input, out) {
        let mut table = [input.split_cached(); 8];
        L::call(input.token, split::FillWithOddMultiples { table: &mut table, xy: &input.elements[0] });
        for entry in &table {
            out.tight(entry.ends);
            out.tight(entry.zt);
        }
        let choice = Choice { index: input.index, negative: input.mask };
        out.split(split::Extended::identity(input.token).plus_chosen(&table, choice));
        out.split(input.split_extended().plus_chosen(&table, choice));
    }
    split_multiply(input, out) {
        let mut ladder = split::Ladder::new(input.token);
        out.point(ladder.multiply(&input.elements[0], &input.signs(0)));
        out.point(ladder.multiply(&input.elements[1], &input.signs(1)));
    }

    // fixed_base.rs
    fixed_base_multiply(input, out) {
        // The table is made once in a process, by the kind of lanes that needs it first: never by intervals.
        the_table_of_the_generator();
        out.point(fixed_base::multiply_base(input.token, &input.signs(0)));
        out.point(fixed_base::multiply_base_alone(input.token, &input.signs(1)));
    }

    // ristretto.rs
    ristretto_decode(input, out) {
        let [a, b, c, _] = input.words;
        let one = ristretto::decode::<L, 1>(input.token, &[a]);
        let two = ristretto::decode::<L, 2>(input.token, &[b, c]);
        for (valid, affine) in one.into_iter().chain(two) {
            out.mask::<L>(valid);
            out.affine(affine);
        }
    }
    ristretto_encode(input, out) { out.words(&ristretto::encode(input.token, &input.point())); }
    ristretto_encode_doubled(input, out) {
        let identity = Extended::identity(input.token).point();
        let mut encodings = Vec::new();
        let points = [input.point(), identity, input.extended().point()];
        out.masks.push(ristretto::encode_doubled(input.token, &points, &mut encodings));
        for words in &encodings {
            out.words(words);
        }
    }
    ristretto_map(input, out) { out.point(ristretto::map::<L>(input.token, &[input.words[0], input.words[1]])); }
}

/// Has the table of the generator's multiples made, if it is not there yet.
pub(super) fn the_table_of_the_generator() {
    let scalar = crate::engine::Scalar::from_bytes(&[1; 32]).unwrap();
    assert_eq!(Backend::all()[0].multiply_base(&[&scalar]).unwrap().len(), 1);
}

/// One number for each lane.
pub(super) fn row(number: impl FnMut(usize) -> u64) -> Row {
    Row(std::array::from_fn::<u64, LANES, _>(number))
}
