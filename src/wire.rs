//! The only byte parser of the crate: fixed-size, bounded, total. Numbers are big-endian.
//!
//! A [`Reader`] takes bytes from the front and never panics; [`Reader::finish`] refuses trailing bytes, so a value has
//! exactly one encoding. A [`Writer`] is its mirror. What failed to parse is [`Invalid`]; whether that is a peer's
//! [`Refusal`] or a disk's [`Fault`] is for the caller to say.

use crate::error::{Fault, Refusal};

/// The bytes do not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

impl From<Invalid> for Refusal {
    fn from(_: Invalid) -> Refusal {
        Refusal::Malformed
    }
}

impl Invalid {
    /// What a parse failure of *stored* bytes means: `what` is damaged.
    pub fn stored(what: &str) -> impl Fn(Invalid) -> Fault + '_ {
        move |_| Fault::Damaged(format!("{what} does not parse"))
    }
}

/// Reads values from the front of a byte string.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// Reads *stored* bytes behind their first, which is the version of their format: `what` they are, of version `reads`.
    ///
    /// # Errors
    /// [`Fault::Format`] on another version, [`Fault::Damaged`] if there are none.
    pub fn versioned(what: &'static str, bytes: &'a [u8], reads: u8) -> Result<Self, Fault> {
        match bytes.split_first() {
            Some((found, rest)) if *found == reads => Ok(Reader(rest)),
            Some((&found, _)) => Err(Fault::Format { what, found, reads }),
            None => Err(Fault::Damaged(format!("{what}: there are no bytes"))),
        }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`Invalid`] if fewer are left.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Invalid> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(Invalid)?;
        self.0 = tail;
        Ok(head)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`Invalid`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Invalid> {
        let (head, tail) = self.0.split_first_chunk().ok_or(Invalid)?;
        self.0 = tail;
        Ok(head)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Invalid`] if none is left.
    pub fn u8(&mut self) -> Result<u8, Invalid> {
        self.array().map(|[byte]| *byte)
    }

    /// Two bytes as a number.
    ///
    /// # Errors
    /// [`Invalid`] if fewer are left.
    pub fn u16(&mut self) -> Result<u16, Invalid> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Four bytes as a number.
    ///
    /// # Errors
    /// [`Invalid`] if fewer are left.
    pub fn u32(&mut self) -> Result<u32, Invalid> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Eight bytes as a number.
    ///
    /// # Errors
    /// [`Invalid`] if fewer are left.
    pub fn u64(&mut self) -> Result<u64, Invalid> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// One byte that is 0 or 1.
    ///
    /// # Errors
    /// [`Invalid`] if none is left or it is another byte.
    pub fn flag(&mut self) -> Result<bool, Invalid> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Invalid),
        }
    }

    /// A byte string of at most `most` bytes behind its length in four bytes.
    ///
    /// # Errors
    /// [`Invalid`] if it is longer or cut short.
    pub fn counted(&mut self, most: usize) -> Result<&'a [u8], Invalid> {
        let length = self.u32()? as usize;
        if length > most { Err(Invalid) } else { self.bytes(length) }
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Whether every byte has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Invalid`] if bytes are left over.
    pub fn finish(self) -> Result<(), Invalid> {
        if self.0.is_empty() { Ok(()) } else { Err(Invalid) }
    }

    /// Ends the reading of what is filled up with zeros. All of them are looked at, many at a time.
    ///
    /// # Errors
    /// [`Invalid`] if other bytes are left.
    pub fn padding(self) -> Result<(), Invalid> {
        if self.0.iter().fold(0, |any, byte| any | byte) == 0 { Ok(()) } else { Err(Invalid) }
    }
}

/// Writes values to the end of a byte string.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty byte string with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Writer(Vec::with_capacity(capacity))
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Appends a number in two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a number in four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a number in eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a flag in one byte.
    pub fn flag(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// Appends a byte string behind its length in four bytes.
    pub fn counted(&mut self, bytes: &[u8]) -> &mut Self {
        // Every counted field is bounded by a constant of `limits` far below 2^32.
        debug_assert!(u32::try_from(bytes.len()).is_ok(), "a counted field is bounded");
        self.u32(bytes.len() as u32).bytes(bytes)
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_may_trail() {
        let mut writer = Writer::default();
        writer.u8(1).u16(2).u32(3).u64(4).flag(true).counted(b"abc").bytes(&[9; 4]);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.u64(), Ok(4));
        assert_eq!(reader.flag(), Ok(true));
        assert_eq!(reader.counted(3), Ok(&b"abc"[..]));
        assert_eq!(reader.finish(), Err(Invalid), "four bytes are left");
        assert_eq!(reader.array::<4>(), Ok(&[9; 4]));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn padding_is_zeros_to_its_last_byte() {
        for length in [0, 1, 63, 64, 1000] {
            let mut bytes = vec![0; length];
            assert_eq!(Reader::new(&bytes).padding(), Ok(()));
            for place in 0..length {
                bytes[place] = 0x80;
                assert_eq!(Reader::new(&bytes).padding(), Err(Invalid), "byte {place} of {length}");
                bytes[place] = 0;
            }
        }
    }

    #[test]
    fn every_cut_is_refused() {
        let mut writer = Writer::default();
        writer.u64(4).counted(b"abc");
        let bytes = writer.finish();
        for cut in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..cut]);
            assert_eq!(reader.u64().and_then(|_| reader.counted(3)), Err(Invalid));
        }
        assert_eq!(Reader::new(&bytes[8..]).counted(2), Err(Invalid), "longer than allowed");
        assert_eq!(Reader::new(&[2]).flag(), Err(Invalid));
    }
}
