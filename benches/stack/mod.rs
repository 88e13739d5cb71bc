//! Work at different places of the stack, for all that is timed beside curve25519-dalek: how long dalek takes depends on
//! where its frame lies in a page, up to a third. So rounds go through all places, and whoever is measured finds its best.

use std::hint::black_box;

/// Places that rounds go through: a page in steps of 256 bytes.
const PLACES: usize = 16;

/// Does `work` at the place of this round.
pub(crate) fn at_place(round: usize, work: &mut dyn FnMut()) {
    further_down(round % PLACES, work);
}

#[inline(never)]
fn further_down(steps: usize, work: &mut dyn FnMut()) {
    let step = black_box([0u8; 256]);
    match steps {
        0 => work(),
        _ => further_down(steps - 1, work),
    }
    black_box(step);
}
