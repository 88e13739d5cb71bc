//! [`FleetKeys`]: the artifact, `fleet-keys.json`: what a client must know of a fleet.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bundle::{hex, unhex, unhex_bytes};
use crate::error::Fault;
use crate::ledger::{AnchorKind, Policy, RootKind, Signers};

const FORMAT: &str = "strongroom fleet keys v1";
const SUITE: &str = "OPAQUE-3DH ristretto255-SHA512, channel X-Wing HKDF-SHA256 ChaCha20-Poly1305";
/// Longest artifact, in bytes.
const ARTIFACT_MAX: usize = 256 * 1024;

/// Public keys and policy of a fleet. Its bytes are hashed as they are, and never written again from what was read.
///
/// ```json
/// {
///   "format": "strongroom fleet keys v1",
///   "fleet": "6f1c...",
///   "suite": "OPAQUE-3DH ristretto255-SHA512, channel X-Wing HKDF-SHA256 ChaCha20-Poly1305",
///   "keys": [
///     { "role": "opaque-static", "number": 1, "public_key": "a0b1..." },
///     { "role": "channel", "number": 1, "public_key": "c2d3..." }
///   ],
///   "policy": { "attempts_max": 10, "lifetime_max": 50 }
/// }
/// ```
///
/// (the policy with all of its fields).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetKeys {
    /// The fleet's id.
    pub fleet: [u8; 32],
    /// OPAQUE's static public keys by number, those of older records among them.
    pub server_keys: Vec<(u16, [u8; 32])>,
    /// The keys that requests are sealed to by number, the newest last: as `session` reads them.
    pub channel_keys: Vec<(u16, Vec<u8>)>,
    /// The limits that the fleet lives under (L12).
    pub policy: Policy,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: String,
    fleet: String,
    suite: String,
    keys: Vec<KeyText>,
    policy: PolicyText,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyText {
    role: Role,
    number: u16,
    public_key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Role {
    OpaqueStatic,
    Channel,
}

/// [`Policy`] as text: the same fields.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyText {
    attempts_max: u32,
    lifetime_max: u32,
    conceal_exhausted: bool,
    destroy_after_s: u64,
    login_ttl_s: u64,
    enrolment_ttl_s: u64,
    skew_max_s: u64,
    restore_attempts: u32,
    unknown_max: u64,
    unproven_removal: bool,
    root: RootText,
    anchor: AnchorText,
    context: String,
    client_identity: bool,
    default_preset: u8,
    pinned: Vec<String>,
    signers: Option<SignersText>,
    development: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignersText {
    auditor: String,
    operator: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RootText {
    File,
    Pkcs11,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AnchorText {
    Memory,
    File,
    Hardware,
}

impl FleetKeys {
    /// Reads the artifact's bytes.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if they are not an artifact's; [`Fault::Policy`] if the policy is not one that a fleet may have.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let wrong = |why: String| Fault::Damaged(format!("these are not the keys of a fleet: {why}"));
        if bytes.len() > ARTIFACT_MAX {
            return Err(wrong("they are too long".to_owned()));
        }
        let text: Text = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if text.format != FORMAT || text.suite != SUITE {
            return Err(wrong(format!("they are \"{}\" of suite \"{}\"", text.format, text.suite)));
        }
        let (mut server_keys, mut channel_keys) = (Vec::new(), Vec::new());
        for KeyText { role, number, public_key } in text.keys {
            let not_hex = || wrong(format!("the public key of number {number} is not hex"));
            match role {
                Role::OpaqueStatic => server_keys.push((number, unhex(&public_key).ok_or_else(not_hex)?)),
                Role::Channel => channel_keys.push((number, unhex_bytes(&public_key).ok_or_else(not_hex)?)),
            }
        }
        let keys = FleetKeys {
            fleet: unhex(&text.fleet).ok_or_else(|| wrong("the fleet's id is not hex".to_owned()))?,
            server_keys,
            channel_keys,
            policy: text.policy.read().ok_or_else(|| wrong("a field of the policy is not hex".to_owned()))?,
        };
        keys.check()?;
        Ok(keys)
    }

    /// The artifact.
    ///
    /// # Errors
    /// [`Fault::Policy`] if the policy is not one that a fleet may have; [`Fault::Damaged`] if there is no key of a role, or
    /// there are two of one number.
    pub fn write(&self) -> Result<Vec<u8>, Fault> {
        self.check()?;
        let servers = self.server_keys.iter().map(|(number, key)| (Role::OpaqueStatic, *number, hex(key)));
        let channel = self.channel_keys.iter().map(|(number, key)| (Role::Channel, *number, hex(key)));
        let keys = servers.chain(channel).map(|(role, number, public_key)| KeyText { role, number, public_key });
        let text = Text {
            format: FORMAT.to_owned(),
            fleet: hex(&self.fleet),
            suite: SUITE.to_owned(),
            keys: keys.collect(),
            policy: PolicyText::of(&self.policy),
        };
        let mut bytes = serde_json::to_vec_pretty(&text).map_err(|error| Fault::Damaged(error.to_string()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// SHA-256 of an artifact's bytes: what bundle and evidence name it by.
    pub fn hash(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    fn check(&self) -> Result<(), Fault> {
        self.policy.check()?;
        let servers: Vec<_> = self.server_keys.iter().map(|(number, _)| *number).collect();
        let channel: Vec<_> = self.channel_keys.iter().map(|(number, _)| *number).collect();
        for (role, numbers) in [("OPAQUE", servers), ("the channel", channel)] {
            if numbers.is_empty() || !numbers.is_sorted_by(|one, next| one < next) {
                return Err(Fault::Damaged(format!(
                    "a fleet has keys of {role}, each of a number of its own, in order"
                )));
            }
        }
        Ok(())
    }
}

impl PolicyText {
    fn of(policy: &Policy) -> Self {
        let Policy {
            attempts_max,
            lifetime_max,
            conceal_exhausted,
            destroy_after_s,
            login_ttl_s,
            enrolment_ttl_s,
            skew_max_s,
            restore_attempts,
            unknown_max,
            unproven_removal,
            root,
            anchor,
            ref context,
            client_identity,
            default_preset,
            ref pinned,
            signers,
            development,
        } = *policy;
        PolicyText {
            attempts_max,
            lifetime_max,
            conceal_exhausted,
            destroy_after_s,
            login_ttl_s,
            enrolment_ttl_s,
            skew_max_s,
            restore_attempts,
            unknown_max,
            unproven_removal,
            root: match root {
                RootKind::File => RootText::File,
                RootKind::Pkcs11 => RootText::Pkcs11,
            },
            anchor: match anchor {
                AnchorKind::Memory => AnchorText::Memory,
                AnchorKind::File => AnchorText::File,
                AnchorKind::Hardware => AnchorText::Hardware,
            },
            context: hex(context),
            client_identity,
            default_preset,
            pinned: pinned.iter().map(|hash| hex(hash)).collect(),
            signers: signers.map(|it| SignersText { auditor: hex(&it.auditor), operator: hex(&it.operator) }),
            development,
        }
    }

    fn read(self) -> Option<Policy> {
        let PolicyText { attempts_max, lifetime_max, conceal_exhausted, destroy_after_s, login_ttl_s, .. } = self;
        let PolicyText { enrolment_ttl_s, skew_max_s, restore_attempts, unknown_max, unproven_removal, .. } = self;
        let PolicyText { client_identity, default_preset, development, .. } = self;
        Some(Policy {
            attempts_max,
            lifetime_max,
            conceal_exhausted,
            destroy_after_s,
            login_ttl_s,
            enrolment_ttl_s,
            skew_max_s,
            restore_attempts,
            unknown_max,
            unproven_removal,
            root: match self.root {
                RootText::File => RootKind::File,
                RootText::Pkcs11 => RootKind::Pkcs11,
            },
            anchor: match self.anchor {
                AnchorText::Memory => AnchorKind::Memory,
                AnchorText::File => AnchorKind::File,
                AnchorText::Hardware => AnchorKind::Hardware,
            },
            context: unhex_bytes(&self.context)?,
            client_identity,
            default_preset,
            pinned: self.pinned.iter().map(|hash| unhex(hash)).collect::<Option<_>>()?,
            signers: match self.signers {
                None => None,
                Some(it) => Some(Signers { auditor: unhex(&it.auditor)?, operator: unhex(&it.operator)? }),
            },
            development,
        })
    }
}
