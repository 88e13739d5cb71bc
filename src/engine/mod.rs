//! ristretto255 (RFC 9496) and SHA-512 for many requests at once.

pub mod sha512;
