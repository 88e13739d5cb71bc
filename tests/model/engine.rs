//! The doors of the engine on every backend against curve25519-dalek, for the fuzzer and its seeds.
//!
//! An input chooses the door, the number of items, and for each of them its scalars, its points, and how an encoding is
//! spoiled; so it chooses which lanes hold what. Where a point is a known multiple of the generator, the oracle
//! multiplies scalars instead of points: another way than that of the fallback, which is dalek too.

use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use strongroom::engine::{Backend, Exchange, Point, Scalar};

use crate::judge::{Judge, Script};

type Integer = curve25519_dalek::Scalar;

/// Order of the group, RFC 9496 section 4.4, lowest byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// What is to be decoded and multiplied, and what the oracle knows of it.
struct Element {
    encoding: [u8; 32],
    element: RistrettoPoint,
    /// Times the generator, where that is known.
    multiple: Option<Integer>,
}

impl Element {
    fn times(&self, scalar: &Integer) -> [u8; 32] {
        let product = match self.multiple {
            Some(multiple) => RistrettoPoint::mul_base(&(multiple * scalar)),
            None => self.element * scalar,
        };
        product.compress().to_bytes()
    }
}

/// Does what the script says on every backend.
pub(crate) fn drive(bytes: &[u8], judge: &mut Judge) -> Result<(), String> {
    let mut script = Script::new(bytes);
    let (door, count, bits) = (script.byte() % 7, script.count(), script.byte());
    match door {
        0 => decode(&mut script, count, judge),
        1 => multiply(&mut script, count, bits, judge),
        2 => multiply_base(&mut script, count, judge),
        3 => exchange(&mut script, count, bits, judge),
        4 => map(&mut script, count, judge),
        5 => reduce(&mut script, count, judge),
        _ => x25519(&mut script, count, judge),
    }
}

fn decode(script: &mut Script<'_>, count: usize, judge: &mut Judge) -> Result<(), String> {
    let encodings: Vec<_> = (0..count).map(|_| encoding(script)).collect();
    let valid = |bytes: &[u8; 32]| *bytes != [0; 32] && CompressedRistretto(*bytes).decompress().is_some();
    let expected: Vec<_> =
        encodings.iter().map(|bytes| if valid(bytes) { bytes.to_vec() } else { b"none".to_vec() }).collect();
    let one = Scalar::from_bytes(&Integer::ONE.to_bytes()).ok_or("one is a scalar")?;
    for backend in Backend::all() {
        let decoded = backend.decode(&encodings);
        let told: Vec<_> =
            decoded.iter().map(|point| point.as_ref().map_or(b"none".to_vec(), |p| p.encoding().to_vec())).collect();
        judge.all(&format!("decode on {}", backend.name()), &told, &expected)?;
        // Once the point is the right one, it is encoded as it came.
        let points: Vec<_> = decoded.iter().flatten().collect();
        let items: Vec<_> = points.iter().map(|point| (&one, *point)).collect();
        let came: Vec<_> = points.iter().map(|point| point.encoding()).collect();
        judge.all(&format!("what {} decoded", backend.name()), &in_words(backend.multiply(&items))?, &came)?;
    }
    Ok(())
}

fn multiply(script: &mut Script<'_>, count: usize, bits: u8, judge: &mut Judge) -> Result<(), String> {
    let (scalars, elements) = chosen(script, count);
    let expected: Vec<_> = elements.iter().zip(&scalars).map(|(element, (scalar, _))| element.times(scalar)).collect();
    for backend in Backend::all() {
        let points = decoded(backend, &elements, bits)?;
        let items: Vec<_> = scalars.iter().map(|(_, scalar)| scalar).zip(&points).collect();
        judge.all(&format!("multiply on {}", backend.name()), &in_words(backend.multiply(&items))?, &expected)?;
    }
    Ok(())
}

fn multiply_base(script: &mut Script<'_>, count: usize, judge: &mut Judge) -> Result<(), String> {
    let scalars: Vec<_> = (0..count).map(|_| scalar(script)).collect();
    let product = |(scalar, _): &(Integer, Scalar)| RistrettoPoint::mul_base(scalar).compress().to_bytes();
    let expected: Vec<_> = scalars.iter().map(product).collect();
    let scalars: Vec<_> = scalars.iter().map(|(_, scalar)| scalar).collect();
    Backend::all().into_iter().try_for_each(|backend| {
        judge.all(
            &format!("multiply_base on {}", backend.name()),
            &in_words(backend.multiply_base(&scalars))?,
            &expected,
        )
    })
}

fn exchange(script: &mut Script<'_>, count: usize, bits: u8, judge: &mut Judge) -> Result<(), String> {
    let (scalars, elements) = chosen(script, 3 * count);
    let expected: Vec<_> = scalars
        .as_chunks::<3>()
        .0
        .iter()
        .zip(elements.as_chunks::<3>().0)
        .map(|([(key, _), (ephemeral, _), (fixed, _)], [blinded, client, client_static])| {
            let keyshare = RistrettoPoint::mul_base(ephemeral).compress().to_bytes();
            let shared = [client.times(ephemeral), client.times(fixed), client_static.times(ephemeral)];
            [&blinded.times(key)[..], &keyshare, shared.as_flattened()].concat()
        })
        .collect();
    for backend in Backend::all() {
        let points = decoded(backend, &elements, bits)?;
        let items = scalars.as_chunks::<3>().0.iter().zip(points.as_chunks::<3>().0);
        let items: Vec<_> = items
            .map(|([(_, key), (_, ephemeral), (_, fixed)], [blinded, client, client_static])| Exchange {
                oprf_key: key,
                blinded,
                server_ephemeral: ephemeral,
                server_static: fixed,
                client_ephemeral: client,
                client_static,
            })
            .collect();
        let answers: Vec<_> = backend
            .exchange(&items)
            .map_err(|fault| fault.to_string())?
            .iter()
            .map(|it| [&it.evaluated[..], &it.server_keyshare, it.shared.expose().as_flattened()].concat())
            .collect();
        judge.all(&format!("exchange on {}", backend.name()), &answers, &expected)?;
    }
    Ok(())
}

fn x25519(script: &mut Script<'_>, count: usize, judge: &mut Judge) -> Result<(), String> {
    let coordinate = |script: &mut Script<'_>| match script.byte() {
        kind @ ..64 => near_p(kind),
        _ => script.array(),
    };
    let chosen: Vec<([u8; 32], [u8; 32])> = (0..count).map(|_| (script.array(), coordinate(script))).collect();
    let expected: Vec<_> =
        chosen.iter().map(|(scalar, it)| MontgomeryPoint(*it).mul_clamped(*scalar).to_bytes()).collect();
    let items: Vec<_> = chosen.iter().map(|(scalar, coordinate)| (scalar, coordinate)).collect();
    Backend::all().into_iter().try_for_each(|backend| {
        judge.all(&format!("x25519 on {}", backend.name()), backend.x25519(&items).expose(), &expected)
    })
}

fn map(script: &mut Script<'_>, count: usize, judge: &mut Judge) -> Result<(), String> {
    let half = |script: &mut Script<'_>| match script.byte() {
        kind @ ..64 => near_p(kind),
        _ => script.array(),
    };
    let uniform = |_| -> [u8; 64] {
        let halves = [half(script), half(script)];
        std::array::from_fn(|index| halves[index / 32][index % 32])
    };
    let uniform: Vec<_> = (0..count).map(uniform).collect();
    let expected: Vec<_> =
        uniform.iter().map(|bytes| RistrettoPoint::from_uniform_bytes(bytes).compress().to_bytes()).collect();
    Backend::all()
        .into_iter()
        .try_for_each(|backend| judge.all(&format!("map on {}", backend.name()), &backend.map(&uniform), &expected))
}

fn reduce(script: &mut Script<'_>, count: usize, judge: &mut Judge) -> Result<(), String> {
    let uniform = |_| -> [u8; 64] {
        let (low, high) = match script.byte() {
            // Near the order, and what its multiples by 2^256 and so on are made of.
            kind @ ..64 => (near(ORDER, kind), [0; 32]),
            64..96 => (ORDER, ORDER),
            96..128 => ([0xff; 32], [0xff; 32]),
            128..160 => (script.array(), [0xff; 32]),
            _ => (script.array(), script.array()),
        };
        std::array::from_fn(|index| if index < 32 { low[index] } else { high[index - 32] })
    };
    let uniform: Vec<_> = (0..count).map(uniform).collect();
    let expected: Vec<_> = uniform.iter().map(|bytes| Integer::from_bytes_mod_order_wide(bytes).to_bytes()).collect();
    for backend in Backend::all() {
        // Zero is no scalar.
        let reduced = backend.reduce(&uniform);
        let told: Vec<_> = reduced
            .iter()
            .map(|scalar| scalar.as_ref().map_or([0; 32], |scalar| *scalar.to_bytes().expose()))
            .collect();
        judge.all(&format!("reduce on {}", backend.name()), &told, &expected)?;
    }
    Ok(())
}

fn chosen(script: &mut Script<'_>, count: usize) -> (Vec<(Integer, Scalar)>, Vec<Element>) {
    (0..count).map(|_| (scalar(script), element(script))).unzip()
}

/// Decoded by the backend that will multiply, or, where bits say so, by the other one.
fn decoded(backend: Backend, elements: &[Element], bits: u8) -> Result<Vec<Point>, String> {
    let other = Backend::all().into_iter().find(|other| *other != backend).unwrap_or(backend);
    let encodings: Vec<_> = elements.iter().map(|element| element.encoding).collect();
    let mut points = backend.decode(&encodings);
    for (index, (point, theirs)) in points.iter_mut().zip(other.decode(&encodings)).enumerate() {
        if bits >> (index % 8) & 1 == 1 {
            *point = theirs;
        }
    }
    points.into_iter().map(|point| point.ok_or_else(|| "a valid encoding was refused".to_owned())).collect()
}

/// Small, a little below the order, around its half, a power of two, or any; never zero.
fn scalar(script: &mut Script<'_>) -> (Integer, Scalar) {
    let integer = match script.byte() {
        kind @ ..32 => Integer::from(kind) + Integer::ONE,
        kind @ 32..64 => -Integer::from(kind - 31),
        kind @ 64..96 => (-Integer::ONE).div_by_2() + Integer::from(kind) - Integer::from(80u8),
        96..128 => {
            let bit = script.byte() % 253;
            let power = std::array::from_fn(|index| if index == usize::from(bit / 8) { 1 << (bit % 8) } else { 0 });
            Integer::from_bytes_mod_order(power)
        }
        _ => Integer::from_bytes_mod_order(script.array()),
    };
    match Scalar::from_bytes(&integer.to_bytes()) {
        Some(scalar) => (integer, scalar),
        None => (Integer::ONE, Scalar::from_bytes(&Integer::ONE.to_bytes()).expect("one is a scalar")),
    }
}

/// A multiple of the generator, or an element of which nobody knows which multiple it is; never the identity.
fn element(script: &mut Script<'_>) -> Element {
    let multiple = match script.byte() {
        kind @ ..128 => Some(Integer::from(kind) + Integer::ONE),
        128..192 => Some(scalar(script).0),
        _ => None,
    };
    let element = match &multiple {
        Some(multiple) => RistrettoPoint::mul_base(multiple),
        None => {
            let seed: [u8; 8] = script.array();
            RistrettoPoint::from_uniform_bytes(&std::array::from_fn(|index| seed[index % 8] ^ (index as u8)))
        }
    };
    Element { encoding: element.compress().to_bytes(), element, multiple }
}

/// Valid, or spoiled in one of the ways of RFC 9496 appendix A.3, or just any bytes.
fn encoding(script: &mut Script<'_>) -> [u8; 32] {
    match script.byte() {
        ..96 => element(script).encoding,
        96..128 => near_p(script.byte()),
        128..160 => {
            let (mut bytes, at, bits) = (element(script).encoding, script.byte(), script.byte());
            bytes[usize::from(at % 32)] ^= bits;
            bytes
        }
        160..192 => {
            // p less a valid encoding: canonical, and negative.
            let (valid, p) = (element(script).encoding, near_p(32));
            let mut borrow = 0;
            std::array::from_fn(|index| {
                let difference = i16::from(p[index]) - i16::from(valid[index]) - borrow;
                borrow = i16::from(difference < 0);
                difference as u8
            })
        }
        _ => script.array(),
    }
}

/// Around p = 2^255 - 19, from 32 below to 18 above, which is 2^255 - 1; small numbers, with the highest bit clear or set.
fn near_p(kind: u8) -> [u8; 32] {
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    let small = |number: u8, high: u8| {
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (number, high);
        bytes
    };
    match kind % 64 {
        kind @ ..51 => near(p, kind),
        kind @ 51..58 => small(kind - 51, 0),
        kind => small(kind - 58, 0x80),
    }
}

/// `kind - 32` away from a number whose lowest byte leaves room for that, at most 18.
fn near(mut number: [u8; 32], kind: u8) -> [u8; 32] {
    number[0] = (u16::from(number[0]) + u16::from(kind % 64) - 32).min(255) as u8;
    number
}

/// A fault as the driver's own kind of failure.
fn in_words<T>(answers: Result<T, strongroom::error::Fault>) -> Result<T, String> {
    answers.map_err(|fault| fault.to_string())
}
