//! Blobs of any length open for their own purpose and nowhere else.

use super::{body, expand};
use crate::error::Fault;
use crate::secret::Secret;
use crate::wrap::{BLOB_OVERHEAD, EpochKeys, VERSION, blob_epoch};

fn keys() -> EpochKeys {
    EpochKeys::new(258, &Secret::new([1; 64]))
}

#[test]
fn a_blob_is_what_the_design_says() {
    for plain in [&b""[..], b"x", &[7; 5000]] {
        let sealed = keys().seal_blob_with("fleet keys", plain, &[2; 12]).expect("sealed");
        let secret: [u8; 64] = expand(&[1; 64], &[b"blob", b"fleet keys"]);
        let header = [VERSION, 0, 0, 1, 2];
        let expected = body(&secret, &[2; 12], &[&header, b"blob", b"fleet keys"], plain);
        assert_eq!(sealed, [&header[..], &expected].concat());
        assert_eq!(sealed.len(), plain.len() + BLOB_OVERHEAD);
        assert_eq!(blob_epoch(&sealed), Ok(258));
        assert_eq!(keys().open_blob("fleet keys", &sealed).expect("opened").expose(), plain);
    }
}

#[test]
fn a_blob_opens_for_its_purpose_and_whole_only() {
    let sealed = keys().seal_blob("fleet keys", b"seed and static key").expect("sealed");
    assert_ne!(sealed, keys().seal_blob("fleet keys", b"seed and static key").expect("sealed"), "a nonce of its own");
    for purpose in ["fleet key", "fleet keyss", "", "record"] {
        assert!(matches!(keys().open_blob(purpose, &sealed), Err(Fault::Damaged(_))), "{purpose}");
    }
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let fault = keys().open_blob("fleet keys", &altered).err().expect("refused");
        match bit / 8 {
            0 => assert!(matches!(fault, Fault::Format { .. })),
            1..5 => assert!(matches!(fault, Fault::Key(_))),
            _ => assert!(matches!(fault, Fault::Damaged(_))),
        }
    }
    for length in 0..sealed.len() {
        assert!(matches!(keys().open_blob("fleet keys", &sealed[..length]), Err(Fault::Damaged(_))));
    }
    assert_eq!(keys().open_blob("fleet keys", &sealed).expect("opened").expose(), b"seed and static key");
}
