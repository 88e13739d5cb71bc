//! [`Policy`]: the limits a vault lives under, fixed at its beginning (L12).

use crate::error::Fault;
use crate::limits::{ATTEMPTS_LIMIT, CONTEXT_MAX, LIFETIME_LIMIT, PINNED_MAX};
use crate::wire::{Invalid, Reader, Writer};

/// Longest encoding that is read; far above what [`Policy::encode`] gives.
const ENCODED_MAX: usize = 4096;

/// Where the root key of a vault lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootKind {
    /// A file on the same machine: development only.
    File,
    /// A PKCS#11 token.
    Pkcs11,
}

/// What kind of thing the host cannot roll back holds the anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnchorKind {
    /// Memory of the process: nothing survives it.
    Memory,
    /// A file on the same machine: development only.
    File,
    /// Memory of a TPM or HSM.
    Hardware,
}

/// The keys of the two signers whose statements a vault obeys: Ed25519, each in its 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signers {
    /// The auditor's.
    pub auditor: [u8; 32],
    /// The operator's.
    pub operator: [u8; 32],
}

impl Signers {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.auditor).bytes(&self.operator);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Signers { auditor: *reader.array()?, operator: *reader.array()? })
    }
}

/// The signers that a vault obeys at present, and by which bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obeyed {
    /// Who they are.
    pub signers: Signers,
    /// Epoch of the bundle that named them, the last one that was followed: none follows that is not of a higher one. 0 of
    /// those that the policy names, before any bundle: whoever makes a vault draws its fleet's id, so no bundle of its fleet
    /// is older, and the first is of epoch 1.
    pub epoch: u32,
}

impl Obeyed {
    /// Those that a policy names, before any bundle.
    pub fn first(signers: Signers) -> Self {
        Obeyed { signers, epoch: 0 }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        self.signers.write(writer);
        writer.u32(self.epoch);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Ok(Obeyed { signers: Signers::read(reader)?, epoch: reader.u32()? })
    }
}

/// The limits of a vault. Checked and fixed when a vault is created, its journal's first entry; `open` refuses any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts between two proven successes.
    pub attempts_max: u32,
    /// Attempts, over all records of an account that ended unproven, that still let it enrol.
    pub lifetime_max: u32,
    /// Answer an exhausted account like an unknown one, with a fixed number of remaining attempts. That needs a
    /// `lifetime_max` of twice `attempts_max` or more: else the first record that is exhausted shows where an enrolment
    /// is refused.
    pub conceal_exhausted: bool,
    /// State time between the last charge of an exhausted record and its destruction, in seconds.
    pub destroy_after_s: u64,
    /// State time for which a login ticket is good, in seconds.
    pub login_ttl_s: u64,
    /// State time for which an enrolment ticket is good, in seconds.
    pub enrolment_ttl_s: u64,
    /// How far a batch may be dated ahead of its acknowledger's clock, in seconds.
    pub skew_max_s: u64,
    /// Attempts left in a window after a restore from backup.
    pub restore_attempts: u32,
    /// Ids never enrolled that are remembered; above it the oldest may be forgotten.
    pub unknown_max: u64,
    /// Whether a record may be removed without proof of the code. Who may ask learns then whether there is one.
    pub unproven_removal: bool,
    /// Where the root key lives.
    pub root: RootKind,
    /// What holds the anchor.
    pub anchor: AnchorKind,
    /// The OPAQUE context.
    pub context: Vec<u8>,
    /// Whether the account id is the OPAQUE client identity; else the client's public key stands for it.
    pub client_identity: bool,
    /// KSF preset that fakes send.
    pub default_preset: u8,
    /// Hashes of bundles that stay good until both signers withdraw them.
    pub pinned: Vec<[u8; 32]>,
    /// Whose statements are obeyed until a bundle names others; none for development, where nobody's may be.
    pub signers: Option<Signers>,
    /// Made without a ceremony: clients refuse it unless told.
    pub development: bool,
}

impl Policy {
    /// The defaults of the design, marked `development`: 10 attempts, 50 in a lifetime, a day before destruction.
    pub fn development() -> Self {
        Policy {
            attempts_max: 10,
            lifetime_max: 50,
            conceal_exhausted: false,
            destroy_after_s: 24 * 3600,
            login_ttl_s: 600,
            enrolment_ttl_s: 3600,
            skew_max_s: 300,
            restore_attempts: 1,
            unknown_max: 1_000_000,
            unproven_removal: false,
            root: RootKind::File,
            anchor: AnchorKind::File,
            context: b"strongroom-1".to_vec(),
            client_identity: true,
            default_preset: 1,
            pinned: Vec::new(),
            signers: None,
            development: true,
        }
    }

    /// Holds the policy against the relations that the rules of attempts rest on.
    ///
    /// # Errors
    /// [`Fault::Policy`] with the first relation that does not hold.
    pub fn check(&self) -> Result<(), Fault> {
        let rules = [
            (self.attempts_max >= 1, "attempts_max must be at least 1"),
            (self.attempts_max <= ATTEMPTS_LIMIT, "attempts_max is too large"),
            (self.lifetime_max >= self.attempts_max, "lifetime_max must be at least attempts_max"),
            (self.lifetime_max <= LIFETIME_LIMIT, "lifetime_max is too large"),
            (
                !self.conceal_exhausted || self.lifetime_max / 2 >= self.attempts_max,
                "lifetime_max must be at least twice attempts_max where exhaustion is concealed",
            ),
            (self.login_ttl_s >= 1 && self.enrolment_ttl_s >= 1, "tickets must be good for at least a second"),
            (self.destroy_after_s >= self.login_ttl_s, "destroy_after must be at least a login ticket's lifetime"),
            (
                (1..=self.attempts_max).contains(&self.restore_attempts),
                "restore_attempts must be between 1 and attempts_max",
            ),
            (self.unknown_max >= 1, "unknown_max must be at least 1"),
            (self.context.len() <= CONTEXT_MAX, "the context is too long"),
            (self.pinned.len() <= PINNED_MAX, "too many bundles are pinned"),
            (
                self.signers.is_none_or(|it| it.auditor != it.operator),
                "auditor and operator must have keys of their own",
            ),
            (self.development || self.signers.is_some(), "a vault without signers is for development"),
            (self.development || self.root != RootKind::File, "a root key in a file is for development"),
            (self.development || self.anchor == AnchorKind::Hardware, "an anchor outside hardware is for development"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Fault::Policy((*rule).to_owned())),
            None => Ok(()),
        }
    }

    /// The first field in which two policies differ, by name; `None` if they are the same (L12).
    pub fn difference(&self, other: &Policy) -> Option<&'static str> {
        macro_rules! first_of {
            ($($field:ident),*) => {
                [$((stringify!($field), self.$field != other.$field)),*]
            };
        }
        let fields = first_of![
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
            context,
            client_identity,
            default_preset,
            pinned,
            signers,
            development
        ];
        let found = fields.iter().find(|(_, differs)| *differs).map(|(name, _)| *name);
        found.or_else(|| (self != other).then_some("a field of a later version"))
    }

    /// The policy's one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer
            .u32(self.attempts_max)
            .u32(self.lifetime_max)
            .flag(self.conceal_exhausted)
            .u64(self.destroy_after_s)
            .u64(self.login_ttl_s)
            .u64(self.enrolment_ttl_s)
            .u64(self.skew_max_s)
            .u32(self.restore_attempts)
            .u64(self.unknown_max)
            .flag(self.unproven_removal)
            .u8(match self.root {
                RootKind::File => 0,
                RootKind::Pkcs11 => 1,
            })
            .u8(match self.anchor {
                AnchorKind::Memory => 0,
                AnchorKind::File => 1,
                AnchorKind::Hardware => 2,
            })
            .counted(&self.context)
            .flag(self.client_identity)
            .u8(self.default_preset)
            .u16(self.pinned.len() as u16);
        for hash in &self.pinned {
            writer.bytes(hash);
        }
        writer.flag(self.signers.is_some());
        self.signers.iter().for_each(|signers| signers.write(&mut writer));
        writer.flag(self.development);
        writer.finish()
    }

    /// Reads one behind its length.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        Policy::decode(reader.counted(ENCODED_MAX)?)
    }

    /// Reads what [`Policy::encode`] wrote.
    ///
    /// # Errors
    /// [`Invalid`] if the bytes are not one policy's encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut reader = Reader::new(bytes);
        let policy = Policy {
            attempts_max: reader.u32()?,
            lifetime_max: reader.u32()?,
            conceal_exhausted: reader.flag()?,
            destroy_after_s: reader.u64()?,
            login_ttl_s: reader.u64()?,
            enrolment_ttl_s: reader.u64()?,
            skew_max_s: reader.u64()?,
            restore_attempts: reader.u32()?,
            unknown_max: reader.u64()?,
            unproven_removal: reader.flag()?,
            root: match reader.u8()? {
                0 => RootKind::File,
                1 => RootKind::Pkcs11,
                _ => return Err(Invalid),
            },
            anchor: match reader.u8()? {
                0 => AnchorKind::Memory,
                1 => AnchorKind::File,
                2 => AnchorKind::Hardware,
                _ => return Err(Invalid),
            },
            context: reader.counted(CONTEXT_MAX)?.to_vec(),
            client_identity: reader.flag()?,
            default_preset: reader.u8()?,
            pinned: {
                let count = usize::from(reader.u16()?);
                if count > PINNED_MAX {
                    return Err(Invalid);
                }
                (0..count).map(|_| reader.array().copied()).collect::<Result<_, _>>()?
            },
            signers: if reader.flag()? { Some(Signers::read(&mut reader)?) } else { None },
            development: reader.flag()?,
        };
        reader.finish()?;
        Ok(policy)
    }
}
