//! Login, server side: GenerateKE2 and ServerFinish of RFC 9807 section 6, for batches.

use std::sync::LazyLock;

use super::keys::{Credential, ServerKeys, diffie_hellman_keys, oprf_keys};
use super::message::{KE2_LEN, Ke1, Ke3, STATE_LEN, ke2, record};
use crate::engine::sha512::{HmacKey, Prefix};
use crate::engine::{Backend, DEEP, ELEMENT_LEN, Exchange, Exchanged, Point, SHALLOW, backend, in_chunks, traceless};
use crate::error::Fault;
use crate::secret::declassified::{Reason, declassified};
use crate::secret::{Secret, fill_random, same};

/// Bytes of a MAC and of a session key.
const KEY_LEN: usize = 64;
/// Longest context and longest identity, in bytes: their lengths are written in two (RFC 9807 section 6.4.2.1).
const FIELD_MAX: usize = u16::MAX as usize;

/// One login to answer.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The server's keys. Items of one batch may name different ones.
    pub keys: &'a ServerKeys,
    /// What the account is evaluated under, from [`ServerKeys::credential`] or [`fake::choose`](super::fake::choose).
    pub credential: Credential<'a>,
    /// The client's message.
    pub ke1: &'a Ke1,
    /// The application's context, at most 65,535 bytes.
    pub context: &'a [u8],
    /// The client's identity, at most 65,535 bytes; without one its public key stands in.
    pub client_identity: Option<&'a [u8]>,
    /// The server's identity, at most 65,535 bytes; without one its public key stands in.
    pub server_identity: Option<&'a [u8]>,
}

/// The randomness of one login.
pub struct Randomness {
    /// Separates this response's mask from every other's; sent in clear.
    pub masking_nonce: [u8; 32],
    /// The server's nonce; sent in clear.
    pub server_nonce: [u8; 32],
    /// What the server's ephemeral key is derived from.
    pub keyshare_seed: Secret<[u8; 32]>,
}

impl Randomness {
    /// Randomness for `count` logins, out of one call to the operating system.
    ///
    /// # Errors
    /// [`Fault::Randomness`] if the operating system gives none.
    pub fn draw(count: usize) -> Result<Vec<Self>, Fault> {
        let mut drawn = Secret::new(vec![[[0u8; 32]; 3]; count]);
        fill_random(drawn.expose_mut().as_flattened_mut().as_flattened_mut())?;
        let each = drawn.expose().iter().map(|[masking_nonce, server_nonce, seed]| Randomness {
            masking_nonce: *masking_nonce,
            server_nonce: *server_nonce,
            keyshare_seed: Secret::new(*seed),
        });
        Ok(each.collect())
    }
}

/// The answer to a KE1.
pub struct Response {
    /// What the client gets.
    pub ke2: [u8; KE2_LEN],
    /// What the server keeps until the client answers, and [`finish`] takes. Boxed: where this moves to, it leaves a pointer behind.
    pub state: Box<Secret<[u8; STATE_LEN]>>,
}

/// GenerateKE2, RFC 9807 section 6.2.2, for each login.
///
/// ```
/// use strongroom::opaque::login::{self, Login};
/// use strongroom::opaque::{Ke1, ServerKeys, random_static_secret};
/// use strongroom::secret::Secret;
/// let keys = ServerKeys::new(&Secret::random()?, &random_static_secret()?)?;
/// # let element = *keys.public_key();
/// # let message = [element, [7; 32], element].concat();
/// # let mut record = [0; 192];
/// # record[..32].copy_from_slice(&element);
/// let ke1 = Ke1::parse(&[&message]).remove(0).expect("two valid elements");
/// let login = Login {
///     keys: &keys,
///     credential: keys.credential(b"account 1", &record),
///     ke1: &ke1,
///     context: b"strongroom-1",
///     client_identity: None,
///     server_identity: None,
/// };
/// for response in login::respond(&[login, login])? {
///     assert_eq!(response?.ke2.len(), 320);
/// }
/// # Ok::<(), strongroom::error::Fault>(())
/// ```
///
/// # Errors
/// [`Fault::Randomness`] if the operating system gives none. Each item has its own: see [`respond_with`].
pub fn respond(items: &[Login<'_>]) -> Result<Vec<Result<Response, Fault>>, Fault> {
    respond_on(backend(), items)
}

/// [`respond`] on a backend of the caller's choice.
///
/// # Errors
/// As [`respond`].
pub fn respond_on(backend: Backend, items: &[Login<'_>]) -> Result<Vec<Result<Response, Fault>>, Fault> {
    // Lent: what moves out of a vector leaves its bytes there.
    let drawn = traceless::<SHALLOW, _>(|| Randomness::draw(items.len()))?;
    let items: Vec<_> = items.iter().copied().zip(&drawn).collect();
    Ok(in_chunks::<DEEP, _, _>(&items, |chunk| respond_chunk(backend, chunk)))
}

/// [`respond`] with randomness that the caller brings; no two logins may share any.
///
/// # Errors
/// Each item has its own: [`Fault::Damaged`] if its record holds no valid public key, [`Fault::Limit`] if its context or
/// an identity is too long, [`Fault::Key`] if a seed derives no key, [`Fault::Miscalculated`] if the machine miscalculated.
pub fn respond_with(items: &[(Login<'_>, Randomness)]) -> Vec<Result<Response, Fault>> {
    let items: Vec<_> = items.iter().map(|(login, randomness)| (*login, randomness)).collect();
    in_chunks::<DEEP, _, _>(&items, |chunk| respond_chunk(backend(), chunk))
}

/// A login whose record was found in order.
struct Lane<'a> {
    login: &'a Login<'a>,
    randomness: &'a Randomness,
    client_static: Point,
}

/// Sets aside the items that cannot be evaluated, evaluates the others together, puts the answers in order.
pub(super) fn respond_chunk(backend: Backend, items: &[(Login<'_>, &Randomness)]) -> Vec<Result<Response, Fault>> {
    // As many as there are items: a vector that grows leaves copies behind.
    let mut encodings = Secret::new(vec![[0; ELEMENT_LEN]; items.len()]);
    for (encoding, (login, _)) in encodings.expose_mut().iter_mut().zip(items) {
        encoding.copy_from_slice(&login.credential.record[record::CLIENT_PUBLIC_KEY]);
    }
    let mut lanes = Vec::with_capacity(items.len());
    let mut faults = Vec::with_capacity(items.len());
    for ((login, randomness), client_static) in items.iter().zip(backend.decode(encodings.expose())) {
        let fields = [Some(login.context), login.client_identity, login.server_identity];
        faults.push(match client_static {
            None => Some(Fault::Damaged("the public key in a stored record is not valid".into())),
            Some(_) if fields.into_iter().flatten().any(|field| field.len() > FIELD_MAX) => {
                Some(Fault::Limit("a login's context or identity is longer than 65,535 bytes".into()))
            }
            Some(client_static) => {
                lanes.push(Lane { login, randomness, client_static });
                None
            }
        });
    }
    let mut responses = match respond_lanes(backend, &lanes) {
        Ok(responses) => responses.into_iter(),
        Err(fault) => return items.iter().map(|_| Err(fault.clone())).collect(),
    };
    let lost = || Fault::Damaged("a login without an answer".into());
    faults.into_iter().map(|fault| fault.map_or_else(|| responses.next().ok_or_else(lost), Err)).collect()
}

/// The whole of GenerateKE2, step by step, each step for all lanes.
fn respond_lanes(backend: Backend, lanes: &[Lane<'_>]) -> Result<Vec<Response>, Fault> {
    let credentials: Vec<_> =
        lanes.iter().map(|lane| (lane.login.credential.oprf_seed, lane.login.credential.identifier)).collect();
    let oprf_keys = oprf_keys(backend, &credentials)?;
    let seeds: Vec<_> = lanes.iter().map(|lane| lane.randomness.keyshare_seed.expose()).collect();
    let ephemerals = diffie_hellman_keys(backend, &seeds)?;
    let exchanges: Vec<_> = lanes
        .iter()
        .zip(oprf_keys.iter().zip(&ephemerals))
        .map(|(lane, (oprf_key, server_ephemeral))| Exchange {
            oprf_key,
            blinded: lane.login.ke1.blinded(),
            server_ephemeral,
            server_static: &lane.login.keys.static_secret,
            client_ephemeral: lane.login.ke1.client_keyshare(),
            client_static: &lane.client_static,
        })
        .collect();
    let exchanged = backend.exchange(&exchanges)?;
    let mut messages = credential_responses(backend, lanes, &exchanged);

    let preambles = preambles(backend, lanes, &messages);
    let transcripts = backend.digests(&preambles.iter().map(|preamble| (preamble, [&[][..]])).collect::<Vec<_>>());
    let keys = derive_keys(backend, &exchanged, transcripts.expose());

    let server_mac_keys = backend.mac_keys(keys.server_mac.expose());
    let server_macs = mac_each(backend, &server_mac_keys, transcripts.expose());
    let continued: Vec<_> =
        preambles.iter().zip(server_macs.expose()).map(|(preamble, mac)| (preamble, [&mac[..]])).collect();
    let transcripts = backend.digests(&continued);
    let client_mac_keys = backend.mac_keys(keys.client_mac.expose());
    let client_macs = mac_each(backend, &client_mac_keys, transcripts.expose());

    for (message, mac) in messages.iter_mut().zip(server_macs.expose()) {
        message[ke2::SERVER_MAC].copy_from_slice(mac);
    }
    let states = client_macs.expose().iter().zip(keys.session.expose()).map(|(client_mac, session_key)| {
        let mut state = Box::new(Secret::new([0; STATE_LEN]));
        state.expose_mut()[..KEY_LEN].copy_from_slice(client_mac);
        state.expose_mut()[KEY_LEN..].copy_from_slice(session_key);
        state
    });
    Ok(messages.into_iter().zip(states).map(|(ke2, state)| Response { ke2, state }).collect())
}

/// KE2 without its MAC: CreateCredentialResponse, RFC 9807 section 6.3.2.2, then nonce and key share.
fn credential_responses(backend: Backend, lanes: &[Lane<'_>], exchanged: &[Exchanged]) -> Vec<[u8; KE2_LEN]> {
    const PAD: &[u8] = b"CredentialResponsePad";
    let mut masking_keys = Secret::new(vec![[0; 64]; lanes.len()]);
    for (key, lane) in masking_keys.expose_mut().iter_mut().zip(lanes) {
        key.copy_from_slice(&lane.login.credential.record[record::MASKING_KEY]);
    }
    let masking_keys = backend.mac_keys(masking_keys.expose());
    // HKDF-Expand to 128 bytes: two blocks, the second over the first.
    let first: Vec<_> = masking_keys
        .iter()
        .zip(lanes)
        .map(|(key, lane)| (key, [&lane.randomness.masking_nonce[..], PAD, &[1]]))
        .collect();
    let first = backend.macs(&first);
    let second: Vec<_> = masking_keys
        .iter()
        .zip(lanes)
        .zip(first.expose())
        .map(|((key, lane), block)| (key, [&block[..], &lane.randomness.masking_nonce, PAD, &[2]]))
        .collect();
    let second = backend.macs(&second);

    let mut messages = vec![[0; KE2_LEN]; lanes.len()];
    for (index, message) in messages.iter_mut().enumerate() {
        let (lane, exchanged) = (&lanes[index], &exchanged[index]);
        message[ke2::EVALUATED].copy_from_slice(&exchanged.evaluated);
        message[ke2::MASKING_NONCE].copy_from_slice(&lane.randomness.masking_nonce);
        message[ke2::MASKED_SERVER_KEY].copy_from_slice(lane.login.keys.public_key());
        message[ke2::MASKED_ENVELOPE].copy_from_slice(&lane.login.credential.record[record::ENVELOPE]);
        let masked = message[ke2::MASKED_SERVER_KEY.start..ke2::MASKED_ENVELOPE.end].chunks_mut(KEY_LEN);
        for (masked, pad) in masked.zip([&first.expose()[index], &second.expose()[index]]) {
            masked.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
        }
        message[ke2::SERVER_NONCE].copy_from_slice(&lane.randomness.server_nonce);
        message[ke2::SERVER_KEYSHARE].copy_from_slice(&exchanged.server_keyshare);
    }
    messages
}

/// Preamble, RFC 9807 section 6.4.2.1, hashed as far as it goes: the transcript goes on with the server's MAC.
fn preambles(backend: Backend, lanes: &[Lane<'_>], messages: &[[u8; KE2_LEN]]) -> Vec<Prefix> {
    let fields: Vec<[&[u8]; 3]> = lanes
        .iter()
        .map(|lane| {
            let login = lane.login;
            let client_identity = login.client_identity.unwrap_or(login.credential.client_public_key());
            [login.context, client_identity, login.server_identity.unwrap_or(login.keys.public_key())]
        })
        .collect();
    // No length is over FIELD_MAX, so none is cut here.
    let lengths: Vec<[[u8; 2]; 3]> =
        fields.iter().map(|fields| fields.map(|field| (field.len() as u16).to_be_bytes())).collect();
    let parts: Vec<_> = lanes
        .iter()
        .zip(messages)
        .zip(fields.iter().zip(&lengths))
        .map(|((lane, message), (&[context, client, server], [context_len, client_len, server_len]))| {
            let ke1 = &lane.login.ke1.as_bytes()[..];
            let inner_ke2 = &message[..ke2::SERVER_MAC.start];
            [&b"OPAQUEv1-"[..], context_len, context, client_len, client, ke1, server_len, server, inner_ke2]
        })
        .collect();
    backend.prefixes(&parts)
}

/// The keys of each login, in order.
pub(super) struct Keys {
    pub(super) session: Secret<Vec<[u8; KEY_LEN]>>,
    pub(super) server_mac: Secret<Vec<[u8; KEY_LEN]>>,
    pub(super) client_mac: Secret<Vec<[u8; KEY_LEN]>>,
    #[cfg(test)]
    pub(super) handshake: Secret<Vec<[u8; KEY_LEN]>>,
}

/// DeriveKeys, RFC 9807 section 6.4.2.2. Each output is one block of HKDF-Expand, whose counter ends each label or
/// transcript.
pub(super) fn derive_keys(backend: Backend, exchanged: &[Exchanged], transcripts: &[[u8; 64]]) -> Keys {
    // HKDF-Extract without a salt has a key of zeros.
    static NO_SALT: LazyLock<HmacKey> = LazyLock::new(|| HmacKey::new(&[]));
    let shared: Vec<_> =
        exchanged.iter().map(|item| (&*NO_SALT, item.shared.expose().each_ref().map(|secret| &secret[..]))).collect();
    let extracted = backend.mac_keys(backend.macs(&shared).expose());
    let expand = |keys: &[HmacKey], label: &[u8]| {
        let items: Vec<_> =
            keys.iter().zip(transcripts).map(|(key, transcript)| (key, [label, &transcript[..], &[1]])).collect();
        backend.macs(&items)
    };
    let handshake = expand(&extracted, b"\x00\x40\x16OPAQUE-HandshakeSecret\x40");
    let session = expand(&extracted, b"\x00\x40\x11OPAQUE-SessionKey\x40");
    let handshake_keys = backend.mac_keys(handshake.expose());
    let expand_empty =
        |label: &[u8]| backend.macs(&handshake_keys.iter().map(|key| (key, [label, &[1]])).collect::<Vec<_>>());
    Keys {
        session,
        server_mac: expand_empty(b"\x00\x40\x10OPAQUE-ServerMAC\x00"),
        client_mac: expand_empty(b"\x00\x40\x10OPAQUE-ClientMAC\x00"),
        #[cfg(test)]
        handshake,
    }
}

/// MAC over each transcript under its own key.
fn mac_each(backend: Backend, keys: &[HmacKey], transcripts: &[[u8; 64]]) -> Secret<Vec<[u8; KEY_LEN]>> {
    let items: Vec<_> = keys.iter().zip(transcripts).map(|(key, transcript)| (key, [&transcript[..]])).collect();
    backend.macs(&items)
}

/// ServerFinish, RFC 9807 section 6.2.4: for each state and KE3 the session key, or `None` if the client's MAC is not the
/// one expected. The comparison takes the same time for every KE3.
///
/// ```
/// use strongroom::opaque::{Ke3, login};
/// use strongroom::secret::Secret;
/// let state = Secret::new([7; 128]);
/// let (right, wrong) = (Ke3::parse(&[7; 64]).unwrap(), Ke3::parse(&[8; 64]).unwrap());
/// let keys = login::finish(&[(&state, &right), (&state, &wrong)]);
/// assert!(keys[0].is_some() && keys[1].is_none());
/// ```
pub fn finish(items: &[(&Secret<[u8; STATE_LEN]>, &Ke3)]) -> Vec<Option<Box<Secret<[u8; KEY_LEN]>>>> {
    let finish_one = |(state, ke3): &(&Secret<[u8; STATE_LEN]>, &Ke3)| {
        let (expected, session_key) = state.expose().split_first_chunk::<KEY_LEN>()?;
        let proven = declassified(same(expected, ke3.as_bytes()), Reason::Proven);
        if !proven {
            return None;
        }
        let mut key = Box::new(Secret::new([0; KEY_LEN]));
        key.expose_mut().copy_from_slice(session_key);
        Some(key)
    };
    traceless::<SHALLOW, _>(|| items.iter().map(finish_one).collect())
}
