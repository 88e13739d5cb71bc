//! Each operation of the registers, one by one, against the model's, on random numbers and on the ends of their range.
#![cfg(target_arch = "x86_64")]

use super::limbs::Stream;
use super::panics;
use crate::engine::ifma::{Eight, Ifma};
use crate::engine::lanes::{HashLanes, LANES, Lanes, Row};
use crate::engine::model::{Always, Model};

/// Numbers at the ends: of words, of limbs and of what the multiplier reads.
const ENDS: [u64; 14] = [
    0,
    1,
    2,
    u64::MAX,
    u64::MAX - 1,
    1 << 63,
    (1 << 63) - 1,
    1 << 52,
    (1 << 52) - 1,
    1 << 51,
    (1 << 51) - 1,
    (1 << 51) + (1 << 17) - 1,
    1 << 31,
    u32::MAX as u64,
];

/// A row of ends and random numbers.
fn row(stream: &mut Stream) -> Row {
    Row(std::array::from_fn(|_| match stream.next() as usize {
        end if end % 2 == 0 => ENDS[end / 2 % ENDS.len()],
        _ => stream.next(),
    }))
}

/// The row with every number shifted down.
fn down(row: &Row, bits: u32) -> Row {
    Row(row.0.map(|number| number >> bits))
}

/// What an operation gives on any kind of lanes.
trait Operation {
    fn of<L: HashLanes>(&self, token: L::Token, rows: &[Row; 3]) -> Vec<Row>;
}

fn compare(token: Ifma, operation: &impl Operation, rows: &[Row; 3], name: &str) {
    let (ours, models) = (operation.of::<Eight>(token, rows), operation.of::<Model>(Always, rows));
    assert_eq!(ours, models, "{name} of {rows:x?}");
}

/// What any numbers may be put through.
struct Total;

impl Operation for Total {
    fn of<L: HashLanes>(&self, token: L::Token, rows: &[Row; 3]) -> Vec<Row> {
        let [a, b, c] = rows.each_ref().map(|row| L::load(token, row));
        let mut out = vec![a, a.wrapping_add(b), a.choose(b, c), a.majority(b, c), a.parity(b, c)];
        out.extend([0, 1, 12, 13, 38, 51, 52, 63].map(|bits| a.down(bits)));
        out.extend([0, 1, (1 << 51) - 1, (1 << 52) - 1, u64::MAX].map(|bits| a.and(bits)));
        // Those of SHA-512, and the ends.
        out.extend([a.rotate::<0>(), a.rotate::<1>(), a.rotate::<8>(), a.rotate::<14>(), a.rotate::<18>()]);
        out.extend([a.rotate::<19>(), a.rotate::<28>(), a.rotate::<34>(), a.rotate::<39>(), a.rotate::<41>()]);
        out.extend([a.rotate::<61>(), a.rotate::<63>(), L::splat(token, rows[0].0[0]), L::splat(a.token(), 7)]);
        out.extend([a.exchanged::<1>(), a.exchanged::<2>(), a.exchanged::<4>()]);
        out.extend(L::settle([a, b, c, b, a]));
        out.into_iter().map(L::store).collect()
    }
}

/// Masks, and what is made of them.
struct Masks(u8, u8);

impl Operation for Masks {
    fn of<L: HashLanes>(&self, token: L::Token, rows: &[Row; 3]) -> Vec<Row> {
        let [a, b, _] = rows.each_ref().map(|row| L::load(token, row));
        let (this, that) = (L::mask(token, self.0), L::mask(token, self.1));
        // The second row with the first's numbers where the mask says so.
        let mixed = L::select(this, a, b);
        let masks =
            [this, L::both(this, that), L::either(this, that), L::one_of(this, that), a.equal(mixed), a.equal(a)];
        let bits = masks.map(|mask| Row([L::bits(mask).into(); LANES]));
        bits.into_iter().chain([mixed.store()]).collect()
    }
}

/// Sums and differences, products and shifts of numbers small enough for them.
struct Bounded;

impl Operation for Bounded {
    fn of<L: HashLanes>(&self, token: L::Token, rows: &[Row; 3]) -> Vec<Row> {
        let load = |row: &Row| L::load(token, row);
        let [a, b, c] = rows.each_ref().map(|row| load(&down(row, 1)));
        let [x, y, _] = rows.each_ref().map(|row| load(&down(row, 12)));
        let sum = a.add(b);
        let mut out = vec![sum, sum.sub(a), sum.sub(b), c.add_product_low(x, y), c.add_product_high(x, y)];
        out.extend([load(&down(&rows[0], 5)).times(19), load(&down(&rows[0], 63)).times(u64::MAX)]);
        out.extend([1, 13, 26, 51].map(|bits| load(&down(&rows[0], bits)).up(bits)));
        out.push(a.up(0));
        out.into_iter().map(L::store).collect()
    }
}

/// Numbers out of 32.
struct LookUp([Row; 4]);

impl Operation for LookUp {
    fn of<L: HashLanes>(&self, token: L::Token, rows: &[Row; 3]) -> Vec<Row> {
        rows.iter().map(|row| L::load(token, &down(row, 59)).look_up(&self.0).store()).collect()
    }
}

#[test]
fn every_operation_of_the_registers_is_that_of_the_model() {
    let Some(token) = Ifma::detect() else {
        println!("LEFT OUT: lanes: not on this machine");
        return;
    };
    let mut stream = Stream::new(3);
    for _ in 0..2000 {
        let rows = [row(&mut stream), row(&mut stream), row(&mut stream)];
        compare(token, &Total, &rows, "an operation on any numbers");
        compare(token, &Bounded, &rows, "an operation with bounds");
        let (this, that) = (stream.next() as u8, stream.next() as u8);
        compare(token, &Masks(this, that), &rows, "an operation on masks");
        let table = std::array::from_fn(|_| row(&mut stream));
        compare(token, &LookUp(table), &rows, "a look-up");
    }
    for bits in 0..=u8::MAX {
        compare(
            token,
            &Masks(bits, bits.rotate_left(3) ^ 0x5a),
            &[Row([0; LANES]), Row([1; LANES]), Row([2; LANES])],
            "a mask",
        );
    }
    // Every index in every lane.
    let table: [Row; 4] = std::array::from_fn(|_| Row(std::array::from_fn(|_| stream.next())));
    for index in 0..32 {
        let rows = [Row([index << 59; LANES]); 3];
        compare(token, &LookUp(table), &rows, "a look-up");
        assert_eq!(
            LookUp(table).of::<Eight>(token, &rows)[0].0,
            [table[index as usize / 8].0[index as usize % 8]; LANES]
        );
    }
}

#[test]
fn the_model_refuses_what_the_contract_leaves_out() {
    let number = |number| Model::splat(Always, number);
    let refused: [&dyn Fn() -> Model; 8] = [
        &|| number(u64::MAX).add(number(1)),
        &|| number(1).sub(number(2)),
        &|| number(1 << 60).times(16),
        &|| number(4).up(62),
        &|| number(0).add_product_low(number(1 << 52), number(1)),
        &|| number(0).add_product_high(number(1), number(1 << 52)),
        &|| number(u64::MAX).add_product_low(number(1), number(1)),
        &|| number(32).look_up(&[Row([0; LANES]); 4]),
    ];
    for (index, operation) in refused.into_iter().enumerate() {
        assert!(panics(operation), "operation {index} leaves the contract and is not refused");
    }
}
