//! Encodings have one form, fixed sizes, and refuse everything else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::account::AccountId;
use crate::error::Refusal;
use crate::limits::SECRET_MAX;
use crate::secret::Secret;

const ACCOUNT: AccountId = AccountId([7; 32]);

fn requests() -> Vec<Request<'static>> {
    vec![
        Request::EnrolStart { r1: &[1; R1_LEN] },
        Request::EnrolFinish {
            ticket: &[2; TICKET_MAX],
            r3: &[3; R3_LEN],
            preset: 4,
            secret: &[5; SECRET_MAX],
            transcript: &[6; 32],
        },
        Request::EnrolFinish { ticket: &[], r3: &[3; R3_LEN], preset: 0, secret: &[5], transcript: &[6; 32] },
        Request::RecoverStart { ke1: &[7; KE1_LEN] },
        Request::RecoverFinish { ticket: &[8; 20], ke3: &[9; KE3_LEN] },
        Request::Remaining,
        Request::Remove { ticket: &[8; 20], ke3: &[9; KE3_LEN] },
        Request::RemoveUnproven { generation: 5 },
    ]
}

fn replies() -> Vec<Reply> {
    let item = DeliveryItem { session_key: &Secret::new([1; 64]), account: &ACCOUNT, secret: b"wrapped" };
    let delivery = Delivery::seal_with(&[(item, [2; 12])]).remove(0).unwrap();
    let mut replies = vec![
        Reply::EnrolStarted { r2: [1; R2_LEN], ticket: vec![2; TICKET_MAX] },
        Reply::Enrolled { generation: 3 },
        Reply::RecoverStarted { ke2: Box::new([4; KE2_LEN]), preset: 5, remaining: 6, ticket: vec![7; TICKET_MAX] },
        Reply::Recovered { delivery },
        Reply::Remaining { attempts: 8 },
        Reply::Removed,
    ];
    replies.extend(Refusal::all().map(Reply::Refused));
    replies
}

#[test]
fn requests_have_one_size_and_one_encoding() {
    for request in requests() {
        let bytes = request.encode(&ACCOUNT).unwrap();
        assert_eq!(bytes.len(), REQUEST_LEN);
        assert_eq!(Request::decode(&bytes), Ok((ACCOUNT, request)));
        for index in [0, 1] {
            let mut other = bytes.clone();
            other[index] = 99;
            assert_eq!(Request::decode(&other), Err(Refusal::Malformed), "version and kind are known ones");
        }
        assert_eq!(Request::decode(&bytes[..REQUEST_LEN - 1]), Err(Refusal::Malformed));
        assert_eq!(Request::decode(&[bytes.clone(), vec![0]].concat()), Err(Refusal::Malformed));
    }
    let mut padded = Request::Remaining.encode(&ACCOUNT).unwrap();
    padded[REQUEST_LEN - 1] = 1;
    assert_eq!(Request::decode(&padded), Err(Refusal::Malformed), "the filling is zeros");
}

#[test]
fn requests_out_of_bounds_are_not_written() {
    let finish =
        |ticket, secret| Request::EnrolFinish { ticket, r3: &[3; R3_LEN], preset: 4, secret, transcript: &[6; 32] };
    for request in [
        finish(&[0; TICKET_MAX + 1][..], &[1][..]),
        finish(&[], &[]),
        finish(&[], &[0; SECRET_MAX + 1]),
        Request::RecoverFinish { ticket: &[0; TICKET_MAX + 1], ke3: &[0; KE3_LEN] },
    ] {
        assert_eq!(request.encode(&ACCOUNT), Err(Refusal::Malformed));
    }
}

#[test]
fn replies_have_one_size_and_one_encoding() {
    for reply in replies() {
        let bytes = reply.encode();
        assert_eq!(bytes.len(), REPLY_LEN);
        assert_eq!(Reply::decode(&bytes), Ok(reply));
        assert_eq!(Reply::decode(&bytes[1..]), Err(Refusal::Malformed));
        for (index, value) in [(0, 9), (1, 99), (2, 99)] {
            let mut other = bytes.clone();
            other[index] = value;
            assert_eq!(Reply::decode(&other), Err(Refusal::Malformed));
        }
    }
}

#[test]
fn deliveries_sealed_together_are_those_sealed_alone() {
    let keys: Vec<_> = (0..70).map(|number| Secret::new([number; 64])).collect();
    let secrets: Vec<_> = (0..70_usize).map(|number| vec![9; 7 * number]).collect();
    let items = keys.iter().zip(&secrets);
    let items = items.map(|(session_key, secret)| DeliveryItem { session_key, account: &ACCOUNT, secret });
    let items: Vec<_> = items.zip((0..70).map(|number| [number; 12])).collect();
    let together = Delivery::seal_with(&items);
    assert_eq!(together.len(), items.len());
    for (item, together) in items.iter().zip(&together) {
        assert_eq!(*together, Delivery::seal_with(&[*item]).remove(0));
        // An empty secret has an error of its own, and the others lose nothing by it.
        let opened = together.as_ref().ok().map(|it| it.open(item.0.session_key, &ACCOUNT).unwrap().to_vec());
        assert_eq!(opened, (!item.0.secret.is_empty()).then(|| item.0.secret.to_vec()));
    }
}

#[test]
fn a_delivery_opens_only_under_its_key_and_account() {
    let key = Secret::new([1; 64]);
    let seal =
        |secret: &[u8]| Delivery::seal(&[DeliveryItem { session_key: &key, account: &ACCOUNT, secret }]).remove(0);
    for length in [1, 2, 100, SECRET_MAX] {
        let secret = vec![9; length];
        let delivery = seal(&secret).unwrap();
        assert_eq!(delivery.open(&key, &ACCOUNT).unwrap().as_slice(), secret);
        assert_eq!(delivery.open(&Secret::new([2; 64]), &ACCOUNT), Err(Refusal::WrongProof));
        assert_eq!(delivery.open(&key, &AccountId([8; 32])), Err(Refusal::WrongProof));
        for index in [0, 11, 12, 13, 14, 100, DELIVERY_LEN - 17, DELIVERY_LEN - 1] {
            let mut bytes = *delivery.as_bytes();
            bytes[index] ^= 1;
            assert_eq!(Delivery::from_bytes(&bytes).open(&key, &ACCOUNT), Err(Refusal::WrongProof));
        }
    }
    assert!(seal(&[]).is_err());
    assert!(seal(&[0; SECRET_MAX + 1]).is_err());
}

#[test]
fn a_transcript_depends_on_each_part_and_on_where_parts_end() {
    let started = enrolment_digest(&[1; 32], &[2; 64]);
    assert_ne!(started, enrolment_digest(&[1; 32], &[3; 64]));
    let base = transcript(&ACCOUNT, &started, &[1, 2], &[3; R3_LEN], 4, &[5, 6]);
    let others = [
        transcript(&AccountId([8; 32]), &started, &[1, 2], &[3; R3_LEN], 4, &[5, 6]),
        transcript(&ACCOUNT, &[0; 32], &[1, 2], &[3; R3_LEN], 4, &[5, 6]),
        transcript(&ACCOUNT, &started, &[1, 2, 3], &[3; R3_LEN], 4, &[5, 6]),
        transcript(&ACCOUNT, &started, &[1, 2], &[4; R3_LEN], 4, &[5, 6]),
        transcript(&ACCOUNT, &started, &[1, 2], &[3; R3_LEN], 5, &[5, 6]),
        transcript(&ACCOUNT, &started, &[1, 2], &[3; R3_LEN], 4, &[5, 6, 0]),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(base, *other, "part {index}");
    }
}
