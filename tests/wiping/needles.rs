//! What is searched for: the secrets that a door is given, what is derived from them, and the forms that these take.

use std::collections::HashMap;
use std::sync::Mutex;

use curve25519_dalek::Scalar;
use strongroom::engine::sha512::Midstate;

use crate::doors::{Door, Kind, Piece, Secrets};

/// Secrets that look like nothing else in memory.
pub(crate) const KIND: Kind = Kind::Random(77);

/// Bytes in a row that are searched for.
pub(crate) const WINDOW: usize = 8;

/// Bits of a limb of a scalar, in either arithmetic.
const LIMB: u32 = 52;

type Window = [u8; WINDOW];

/// Windows, and what they are of.
pub(crate) struct Needles {
    /// The place in the name, the byte, and whether the window is turned round.
    whose: HashMap<Window, (u32, u16, bool)>,
    /// Names of forms, and whose they are among the values.
    names: Vec<(String, usize)>,
    /// A bit for each beginning that a window has, since most of a memory begins like none.
    begin: Vec<u64>,
    /// The first secret.
    pub(crate) first: Vec<u8>,
    /// What is searched for, by name: first what was given, then what is derived.
    pub(crate) values: Vec<String>,
    /// How many were given.
    pub(crate) given: usize,
}

/// What the door was given, and what is derived from it, noted while it is made ready here.
static NOTED: Mutex<Noted> = Mutex::new(Noted { given: Vec::new(), derived: Vec::new() });

struct Noted {
    given: Vec<Vec<u8>>,
    derived: Vec<(String, Vec<u8>)>,
}

impl Needles {
    pub(crate) fn of(door: &Door) -> Result<Self, String> {
        *NOTED.lock().unwrap() = Noted { given: Vec::new(), derived: Vec::new() };
        let note = |piece: Piece, bytes: &mut [u8]| {
            if piece == Piece::Secret {
                NOTED.lock().unwrap().given.push(bytes.to_vec());
            }
        };
        let told = |what: &str, bytes: &[u8]| NOTED.lock().unwrap().derived.push((what.to_owned(), bytes.to_vec()));
        drop(door.ready(Secrets::new(KIND).shown_to(note).told_to(told)));
        let noted = NOTED.lock().unwrap();
        let first = noted.given.first().cloned().unwrap_or_default();
        let begin = vec![0; 1 << 18];
        let (values, given) = (Vec::new(), noted.given.len());
        let mut needles = Needles { whose: HashMap::new(), names: Vec::new(), begin, first, values, given };
        for (number, bytes) in noted.given.iter().enumerate() {
            needles.add_all(bytes, &format!("secret {number}"));
        }
        for (what, bytes) in &noted.derived {
            needles.add_all(bytes, what);
        }
        if needles.whose.is_empty() { Err("a door without a secret".to_owned()) } else { Ok(needles) }
    }

    /// What this window is of, if it is searched for: the number of the value, and words.
    pub(crate) fn find(&self, window: &Window) -> Option<(usize, String)> {
        let (word, bit) = begin(window);
        if self.begin[word] >> bit & 1 == 0 {
            return None;
        }
        let (name, byte, turned) = self.whose.get(window)?;
        let turned = if *turned { ", turned round" } else { "" };
        let (name, value) = &self.names[*name as usize];
        Some((*value, format!("{name}, byte {byte}{turned}")))
    }

    /// A value and the forms in which it lies in memory.
    fn add_all(&mut self, bytes: &[u8], what: &str) {
        self.values.push(what.to_owned());
        self.add(bytes, what.to_owned());
        let scalar = <[u8; 32]>::try_from(bytes).ok().map(Scalar::from_canonical_bytes);
        if let Some(scalar) = scalar.and_then(Option::<Scalar>::from) {
            self.add_scalar(scalar, what);
        }
        if bytes.len() <= 128 {
            self.add_hmac_key(bytes, what);
        }
    }

    fn add(&mut self, bytes: &[u8], what: String) {
        let name = self.names.len() as u32;
        self.names.push((what, self.values.len() - 1));
        for (offset, window) in bytes.windows(WINDOW).enumerate() {
            let mut distinct = window.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            // A window of few different bytes may stand anywhere.
            if distinct.len() > WINDOW / 2 {
                let window: Window = window.try_into().unwrap();
                // SHA-512 reads its words from the other end.
                let turned = std::array::from_fn(|at| window[WINDOW - 1 - at]);
                for (window, turned) in [(window, false), (turned, true)] {
                    let (word, bit) = begin(&window);
                    self.begin[word] |= 1 << bit;
                    self.whose.entry(window).or_insert((name, offset as u16, turned));
                }
            }
        }
    }

    /// What is multiplied with, and limbs of it all.
    fn add_scalar(&mut self, scalar: Scalar, what: &str) {
        let half = scalar.div_by_2();
        let quarter = (scalar - Scalar::from(2u8)).div_by_2().div_by_2();
        self.add(half.as_bytes(), format!("half of {what}"));
        self.add(quarter.as_bytes(), format!("(k - 2) / 4 of {what}"));
        let order = sum(limbs(&-Scalar::ONE), [1, 0, 0, 0, 0]);
        // On lanes the quarter is not always reduced.
        let wide = sum(limbs(&quarter), order);
        let of = [
            (limbs(&scalar), ""),
            (limbs(&half), "half of "),
            (limbs(&quarter), "(k - 2) / 4 of "),
            (wide, "l + (k - 2) / 4 of "),
        ];
        for (limbs, form) in of {
            for (number, limb) in limbs.iter().enumerate() {
                self.add(&limb.to_ne_bytes(), format!("limb {number} of {form}{what}"));
            }
        }
    }

    /// The two states that a key of HMAC is.
    fn add_hmac_key(&mut self, bytes: &[u8], what: &str) {
        for (pad, name) in [(0x36, "inner"), (0x5c, "outer")] {
            let mut block = [pad; 128];
            block.iter_mut().zip(bytes).for_each(|(pad, byte)| *pad ^= byte);
            let state = Midstate::new().after(&block);
            let words: Vec<u8> = state.words().iter().flat_map(|word| word.to_ne_bytes()).collect();
            self.add(&words, format!("{name} state of HMAC key {what}"));
            self.add(&block[..bytes.len()], format!("{name} block of HMAC key {what}"));
        }
    }
}

/// Where the bit of a window's beginning is.
fn begin(window: &Window) -> (usize, usize) {
    let begin = usize::from(window[0]) | usize::from(window[1]) << 8 | usize::from(window[2]) << 16;
    (begin / 64, begin % 64)
}

fn limbs(scalar: &Scalar) -> [u64; 5] {
    let bytes = scalar.as_bytes();
    let bit = |at: usize| u64::from(bytes.get(at / 8).map_or(0, |byte| byte >> (at % 8) & 1));
    std::array::from_fn(|limb| (0..LIMB as usize).fold(0, |sum, at| sum | bit(limb * LIMB as usize + at) << at))
}

fn sum(a: [u64; 5], b: [u64; 5]) -> [u64; 5] {
    let mut carry = 0;
    std::array::from_fn(|at| {
        let limb = a[at] + b[at] + carry;
        carry = limb >> LIMB;
        limb & ((1 << LIMB) - 1)
    })
}
