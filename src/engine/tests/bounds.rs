//! No limb passes its bound, for all inputs: the flows run over intervals. And errors that are planted in the flows are
//! seen, so a proof that runs through says something.
//!
//! Every tight limb of the inputs is anything below [`TIGHT`](crate::engine::field::TIGHT), every word anything at all.
//! Ladders and powers run as they are, since their limbs come back to the same interval. What is proved is the flows
//! that exist: `Wide::sub` wants no more than the sum of two products subtracted, and here are all that call it.

use zeroize::Zeroize;

use super::flows::{self, Flow, Input, Numbers};
use super::interval::Interval;
use super::limbs::numbers;
use super::panics;
use crate::engine::fixed_base;
use crate::engine::lanes::{Lanes, Row, Work};
use crate::engine::model::{Always, Model};

#[test]
fn no_limb_passes_its_bound_in_any_flow() {
    for (name, flow) in flows::all::<Interval>() {
        let outcome = flow(&Input::load((), &Numbers::whole()));
        assert_ne!(outcome, Default::default(), "{name} has an outcome");
        assert_eq!(outcome.over(), None, "{name}: a number may pass its bound");
    }
}

#[test]
fn no_limb_passes_its_bound_in_the_making_of_the_table() {
    let table = fixed_base::make::<Interval>(());
    let most = table.0.iter().flatten().flatten().flatten().flat_map(|row| row.0).max();
    assert_eq!(most, Some((1 << 51) - 1), "a canonical limb may be any of 51 bits, and no more");
}

/// What one operation out of many does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A carry that forgets to take away what it hands on.
    NoMask,
    /// A difference without the multiple of p that keeps it from being negative.
    NoBias,
    /// A difference with half of it.
    HalfBias,
    /// A carry that is shifted by a bit too little.
    ShortShift,
    /// A sum that is left out.
    NoSum,
}

/// The fault that is planted on this thread, how many operations of its kind there were, and at which it strikes.
#[derive(Clone, Copy)]
struct Plan {
    fault: Fault,
    seen: usize,
    strikes_at: usize,
}

thread_local!(static PLAN: std::cell::Cell<Plan> = const {
    std::cell::Cell::new(Plan { fault: Fault::NoMask, seen: 0, strikes_at: 0 })
});

impl Fault {
    /// Whether it strikes at this operation.
    fn strikes(self) -> bool {
        let mut plan = PLAN.get();
        plan.seen += usize::from(plan.fault == self);
        PLAN.set(plan);
        plan.fault == self && plan.seen == plan.strikes_at
    }
}

/// Lanes of another kind with the planted fault.
#[derive(Clone, Copy, Zeroize)]
struct Faulty<L: Lanes>(L);

impl<L: Lanes> Lanes for Faulty<L> {
    type Token = L::Token;
    type Mask = L::Mask;

    fn call<W: Work>(_: L::Token, work: W) -> W::Output {
        work.run()
    }

    fn token(self) -> L::Token {
        self.0.token()
    }

    #[inline(never)]
    fn splat(token: L::Token, number: u64) -> Self {
        // The limbs of a bias are multiples of p's: above 51 bits, where no other constant has anything.
        let bias = number >> 51 != 0;
        let number = if bias && Fault::NoBias.strikes() { 0 } else { number };
        Faulty(L::splat(token, if bias && Fault::HalfBias.strikes() { number / 2 } else { number }))
    }

    fn load(token: L::Token, row: &Row) -> Self {
        Faulty(L::load(token, row))
    }

    fn store(self) -> Row {
        self.0.store()
    }

    #[inline(never)]
    fn add(self, other: Self) -> Self {
        if Fault::NoSum.strikes() { self } else { Faulty(self.0.add(other.0)) }
    }

    #[inline(never)]
    fn sub(self, other: Self) -> Self {
        Faulty(self.0.sub(other.0))
    }

    #[inline(never)]
    fn times(self, number: u64) -> Self {
        Faulty(self.0.times(number))
    }

    #[inline(never)]
    fn and(self, bits: u64) -> Self {
        if Fault::NoMask.strikes() { self } else { Faulty(self.0.and(bits)) }
    }

    #[inline(never)]
    fn down(self, bits: u32) -> Self {
        Faulty(self.0.down(bits - u32::from(Fault::ShortShift.strikes())))
    }

    #[inline(never)]
    fn up(self, bits: u32) -> Self {
        Faulty(self.0.up(bits))
    }

    #[inline(never)]
    fn add_product_low(self, a: Self, b: Self) -> Self {
        Faulty(self.0.add_product_low(a.0, b.0))
    }

    #[inline(never)]
    fn add_product_high(self, a: Self, b: Self) -> Self {
        Faulty(self.0.add_product_high(a.0, b.0))
    }

    fn exchanged<const DISTANCE: usize>(self) -> Self {
        Faulty(self.0.exchanged::<DISTANCE>())
    }

    fn settle(numbers: [Self; 5]) -> [Self; 5] {
        numbers
    }

    fn equal(self, other: Self) -> L::Mask {
        self.0.equal(other.0)
    }

    #[inline(never)]
    fn select(mask: L::Mask, this: Self, other: Self) -> Self {
        Faulty(L::select(mask, this.0, other.0))
    }

    #[inline(never)]
    fn look_up(self, numbers: &[Row; 4]) -> Self {
        Faulty(self.0.look_up(numbers))
    }

    fn mask(token: L::Token, bits: u8) -> L::Mask {
        L::mask(token, bits)
    }

    fn bits(mask: L::Mask) -> u8 {
        L::bits(mask)
    }

    fn both(a: L::Mask, b: L::Mask) -> L::Mask {
        L::both(a, b)
    }

    fn either(a: L::Mask, b: L::Mask) -> L::Mask {
        L::either(a, b)
    }

    fn one_of(a: L::Mask, b: L::Mask) -> L::Mask {
        L::one_of(a, b)
    }
}

/// Runs `work` with a fault planted at one operation; whether it panicked or came to true, and whether there was such
/// an operation.
fn planted(fault: Fault, strikes_at: usize, work: impl Fn() -> bool) -> (bool, bool) {
    PLAN.set(Plan { fault, seen: 0, strikes_at });
    let seen = std::cell::Cell::new(false);
    let stopped = panics(|| seen.set(work()));
    (stopped || seen.get(), PLAN.get().seen >= strikes_at)
}

/// A flow by name on faulty intervals, on the faulty model, and on the model.
type Tried = (&'static str, Flow<Faulty<Interval>>, Flow<Faulty<Model>>, Flow<Model>);

/// The flows that errors are planted in.
fn tried() -> Vec<Tried> {
    macro_rules! tried {
        ($($name:ident)*) => { vec![$((stringify!($name), flows::$name, flows::$name, flows::$name)),*] };
    }
    tried!(
        field_carry field_sub field_times_less field_square_less field_product
        point_doubled point_plus point_plus_or_minus_affine
        split_doubled split_plus
    )
}

/// Each operation in turn does it wrong, in a product, a doubling and an addition. The proof sees a fault that lets a
/// number grow; those that it lets pass are harmless to the bounds, and comparing limbs with the model sees them.
#[test]
fn errors_that_are_planted_in_a_flow_are_seen() {
    let whole = Numbers::whole();
    let some = numbers(1);
    for (name, interval, model, right) in tried() {
        let right = right(&Input::load(Always, &some));
        for fault in [Fault::NoMask, Fault::NoBias, Fault::HalfBias, Fault::ShortShift, Fault::NoSum] {
            let (mut proved, mut compared) = (Vec::new(), Vec::new());
            for number in 1.. {
                let (over, there) = planted(fault, number, || interval(&Input::load((), &whole)).over().is_some());
                let (differs, _) = planted(fault, number, || model(&Input::load(Always, &some)) != right);
                if !there {
                    assert!(!over && !differs, "{name}: {fault:?} is seen where none is planted");
                    break;
                }
                assert!(over || differs, "{name}: {fault:?} at operation {number} is not seen");
                if over { proved.push(number) } else { compared.push(number) }
            }
            println!("{name}: {fault:?}: {} seen by the proof, by comparison alone {compared:?}", proved.len());
            // Without its mask a limb stays wide, and without its bias a difference may be negative. Half a bias is
            // enough above one product, and not above the sum of two. A carry with a bit too many has room below 2^17
            // unless the limb was wide to the brim. What is left out of a sum makes it smaller.
            match (fault, name) {
                (Fault::NoMask | Fault::NoBias, _) => assert!(compared.is_empty(), "{name}: {fault:?} passes no bound"),
                (Fault::HalfBias, "field_square_less" | "point_doubled" | "split_doubled")
                | (Fault::ShortShift, "field_carry") => {
                    assert!(!proved.is_empty(), "{name}: {fault:?} passes no bound");
                }
                _ => {}
            }
        }
    }
}
