//! Against the vectors of RFC 9807, against opaque-ke, and the work counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod interop;
mod vectors;
mod work;

/// Whether a type can be printed with `{:?}`: its own constant, where it has one, hides the trait's.
macro_rules! has_debug {
    ($type:ty) => {{
        struct Probe<T>(std::marker::PhantomData<T>);
        #[allow(dead_code)]
        trait Otherwise {
            const DEBUG: bool = false;
        }
        impl<T> Otherwise for Probe<T> {}
        #[allow(dead_code)]
        impl<T: std::fmt::Debug> Probe<T> {
            const DEBUG: bool = true;
        }
        <Probe<$type>>::DEBUG
    }};
}

#[test]
fn o3_nothing_secret_can_be_printed() {
    assert!(has_debug!([u8; 32]), "the probe notices Debug where there is one");
    assert!(has_debug!(crate::engine::Backend));
    assert!(!has_debug!(crate::engine::Scalar));
    assert!(!has_debug!(crate::engine::Point));
    assert!(!has_debug!(crate::engine::Exchange<'static>));
    assert!(!has_debug!(crate::engine::Exchanged));
    assert!(!has_debug!(crate::engine::sha512::Midstate));
    assert!(!has_debug!(crate::engine::sha512::Prefix));
    assert!(!has_debug!(crate::engine::sha512::HmacKey));
    assert!(!has_debug!(super::ServerKeys));
    assert!(!has_debug!(super::Credential<'static>));
    assert!(!has_debug!(super::RegistrationRequest));
    assert!(!has_debug!(super::RegistrationRecord));
    assert!(!has_debug!(super::Ke1));
    assert!(!has_debug!(super::Ke3));
    assert!(!has_debug!(super::fake::FakeKeys));
    assert!(!has_debug!(super::fake::Lookup<'static>));
    assert!(!has_debug!(super::fake::Chosen));
    assert!(!has_debug!(super::login::Login<'static>));
    assert!(!has_debug!(super::login::Randomness));
    assert!(!has_debug!(super::login::Response));
    assert!(!has_debug!(super::register::Registration<'static>));
}
