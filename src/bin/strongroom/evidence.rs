//! `strongroom evidence`: what both say of how keys came to be; and `strongroom ceremony`: how they do.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sha2::{Digest, Sha256};
use strongroom::ledger::{Policy, RootKind, Signers};
use strongroom::transparency::{
    Document, Envelope, Evidence, FleetKeys, Measurement, Origin, Participant, SigningKey, Step, Transcript,
    VerifyingKey,
};
use strongroom::vault::Vault;

use crate::bundle::hex;
use crate::file::{read, read_key, tell, write_new, write_whole};
use crate::keys::Place;
use crate::log::now_s;
use crate::measure::Outcome;
use crate::signer::public_key;

#[derive(Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Make the evidence for a fleet's keys, to be signed by auditor and operator
    Make(Make),
    /// Sign evidence, or the transcript of a ceremony, in place of an earlier signature by the same key
    Sign {
        /// A file with the signer's private key for evidence
        #[arg(long)]
        key: PathBuf,
        /// What to sign
        file: PathBuf,
    },
    /// Print what evidence, or a transcript, says
    Show {
        /// The evidence or transcript
        file: PathBuf,
    },
}

/// What new evidence says.
#[derive(Args)]
pub(crate) struct Make {
    /// The service, like example.org/backup
    #[arg(long)]
    namespace: String,
    /// The fleet's public keys and policy, fleet-keys.json
    #[arg(long)]
    artifact: PathBuf,
    /// The transcript of the ceremony, signed by everybody who was there
    #[arg(long, required_unless_present = "rotation_of")]
    transcript: Option<PathBuf>,
    /// What hardware says of itself, as KIND=FILE, or KIND:NONCE=FILE with what it was asked to say again, in hex
    #[arg(long, requires = "transcript")]
    attestation: Vec<String>,
    /// The digest of the code that runs, as KIND=DIGEST
    #[arg(long, requires = "transcript")]
    measurement: Option<String>,
    /// How anybody makes that code again from its source
    #[arg(long, requires = "transcript", default_value = "")]
    rebuild: String,
    /// For keys that have turned: the evidence of the ceremony before
    #[arg(long, conflicts_with = "transcript", requires = "reason")]
    rotation_of: Option<PathBuf>,
    /// What has turned, and why
    #[arg(long)]
    reason: Option<String>,
    /// Where to write it
    file: PathBuf,
}

pub(crate) fn run(command: EvidenceCommand) -> Outcome<()> {
    match command {
        EvidenceCommand::Make(options) => make(options),
        EvidenceCommand::Sign { key, file } => {
            let (key, mut envelope): (SigningKey, _) = (read_key(&key)?, Envelope::read(&read(&file)?)?);
            envelope.sign(&key);
            write_whole(&file, &envelope.write())?;
            tell(&format!("{} has signed {}", key.verifying_key().name(), file.display()))
        }
        EvidenceCommand::Show { file } => {
            let envelope = Envelope::read(&read(&file)?)?;
            let signers: Vec<_> = envelope.signers().collect();
            let signed = if signers.is_empty() { "nobody yet".to_owned() } else { signers.join(", ") };
            let text = String::from_utf8_lossy(envelope.payload()).into_owned();
            tell(&format!("{text}\nsigned, as its key ids say, by {signed}"))
        }
    }
}

fn make(options: Make) -> Outcome<()> {
    let artifact = read(&options.artifact)?;
    let keys = FleetKeys::read(&artifact)?;
    let digest = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    let origin = match (&options.rotation_of, &options.transcript) {
        (Some(path), _) => {
            let earlier = read(path)?;
            let (before, _) = Evidence::read(&Envelope::read(&earlier)?)?;
            let ours = before.namespace == options.namespace && before.fleet == hex(&keys.fleet);
            if !ours || !matches!(before.origin, Origin::Ceremony { .. }) {
                return Err(
                    "that is not the evidence of a ceremony of this service and fleet; a later rotation names it, too"
                        .into(),
                );
            }
            Origin::Rotation { ceremony: digest(&earlier), reason: options.reason.unwrap_or_default() }
        }
        (None, Some(path)) => {
            let transcript = read(path)?;
            // One that somebody has not signed is no transcript yet.
            let told = Transcript::of(&Envelope::read(&transcript)?)?;
            if told.artifact != digest(&artifact) {
                return Err("other keys came of that ceremony".into());
            }
            let attestation = |text: &String| -> Outcome<Document> {
                let (kind, file) = pair("--attestation", "KIND=FILE", text)?;
                let (kind, nonce) = match kind.split_once(':') {
                    Some((kind, nonce)) => (kind.to_owned(), Some(nonce.to_owned())),
                    None => (kind, None),
                };
                Ok(Document { kind, sha256: digest(&read(file.as_ref())?), nonce })
            };
            Origin::Ceremony {
                transcript: digest(&transcript),
                attestations: options.attestation.iter().map(attestation).collect::<Result<_, _>>()?,
                measurement: options.measurement.as_deref().map(measurement).transpose()?,
                rebuild: options.rebuild,
            }
        }
        (None, None) => return Err("either a transcript or earlier evidence is needed".into()),
    };
    let evidence = Evidence { namespace: options.namespace, fleet: hex(&keys.fleet), origin };
    write_new(&options.file, &evidence.envelope(&FleetKeys::hash(&artifact))?.write())?;
    tell(&format!("the evidence is in {}; auditor and operator are to sign it", options.file.display()))
}

/// Code that runs, as an option names it.
pub(crate) fn measurement(text: &str) -> Outcome<Measurement> {
    let (kind, digest) = pair("--measurement", "KIND=DIGEST", text)?;
    Ok(Measurement { kind, digest })
}

/// The two halves of what an option was given; it is not repeated, since it may be a private key by mistake.
fn pair(option: &str, form: &str, text: &str) -> Outcome<(String, String)> {
    let (kind, value) = text.split_once('=').ok_or_else(|| format!("{option} must be of the form {form}"))?;
    Ok((kind.to_owned(), value.to_owned()))
}

/// How a fleet begins.
#[derive(Args)]
pub(crate) struct Ceremony {
    #[command(flatten)]
    place: Place,
    /// The service, like example.org/backup
    #[arg(long)]
    namespace: String,
    /// Somebody who is here, as ROLE=KEY, with their public key as "signer show" prints it: by it the transcript is signed
    #[arg(long, required = true)]
    participant: Vec<String>,
    /// The auditor's public key for bundles, as "signer show" prints it: what both sign as a statement, the fleet obeys
    #[arg(long, requires = "operator")]
    auditor: Option<String>,
    /// The operator's public key for bundles, as "signer show" prints it
    #[arg(long, requires = "auditor")]
    operator: Option<String>,
    /// Attempts between two proven successes
    #[arg(long, default_value_t = Policy::development().attempts_max)]
    attempts_max: u32,
    /// Attempts, over all records of an account that ended unproven, that still let it enrol
    #[arg(long, default_value_t = Policy::development().lifetime_max)]
    lifetime_max: u32,
    /// Seconds between the last charge of an exhausted record and its destruction
    #[arg(long, default_value_t = Policy::development().destroy_after_s)]
    destroy_after: u64,
    /// Answer an exhausted account like an unknown one
    #[arg(long)]
    conceal_exhausted: bool,
    /// Something that went otherwise than planned; as many as there were
    #[arg(long)]
    exception: Vec<String>,
    /// A credential that was destroyed; as many as there were
    #[arg(long)]
    destroyed: Vec<String>,
    /// Where to write fleet-keys.json and transcript.json
    #[arg(long)]
    out: PathBuf,
}

/// Draws a fleet's keys, and writes what is to be known of that.
pub(crate) fn ceremony(options: Ceremony) -> Outcome<()> {
    let participant = |text: &String| -> Outcome<Participant> {
        let (role, key) = pair("--participant", "ROLE=KEY", text)?;
        let key: VerifyingKey = public_key("--participant", &key)?;
        Ok(Participant { role, key: key.to_string() })
    };
    let participants = options.participant.iter().map(participant).collect::<Result<Vec<_>, _>>()?;
    let signer = |option, text: &Option<String>| -> Outcome<Option<[u8; 32]>> {
        let key: Option<VerifyingKey> = text.as_deref().map(|text| public_key(option, text)).transpose()?;
        Ok(key.map(|key| *key.as_bytes()))
    };
    let signers = signer("--auditor", &options.auditor)?.zip(signer("--operator", &options.operator)?);
    let signers = signers.map(|(auditor, operator)| Signers { auditor, operator });
    let [artifact_path, transcript_path] = ["fleet-keys.json", "transcript.json"].map(|name| options.out.join(name));
    if let Some(path) = [&artifact_path, &transcript_path].into_iter().find(|path| path.exists()) {
        return Err(format!("{} is there already", path.display()).into());
    }
    let mut steps = Vec::new();
    let mut step = |what: String| -> Outcome<()> {
        tell(&what)?;
        steps.push(Step { time_s: now_s()?, what });
        Ok(())
    };
    std::fs::create_dir_all(&options.out).map_err(|error| format!("{}: {error}", options.out.display()))?;
    let folder = options.place.folder().display().to_string();
    let in_token = options.place.in_token();
    let config = options.place.new_config()?;
    let policy = Policy {
        signers,
        attempts_max: options.attempts_max,
        lifetime_max: options.lifetime_max,
        destroy_after_s: options.destroy_after,
        conceal_exhausted: options.conceal_exhausted,
        root: if in_token { RootKind::Pkcs11 } else { RootKind::File },
        ..Policy::development()
    };
    policy.check()?;
    step(format!("a root key is drawn in a {}", if in_token { "PKCS#11 token" } else { "file, for development" }))?;
    let vault = Vault::create(config, policy)?;
    step("OPRF seed, static key, fake seed, nonce key, ticket keys, channel key and journal key are drawn".to_owned())?;
    step(format!("they are sealed under epoch 1, and the policy is the first entry of the journal, in {folder}"))?;
    let keys = vault.fleet_keys()?;
    let artifact = keys.write()?;
    write_new(&artifact_path, &artifact)?;
    step(format!("fleet-keys.json is written, of SHA-256 {}", hex(&FleetKeys::hash(&artifact))))?;
    step(match vault.signers() {
        Ok(_) => "the keys of auditor and operator are in the policy: the fleet obeys what both say".to_owned(),
        Err(_) => "the policy names no signers: the fleet obeys nobody's statements".to_owned(),
    })?;
    let status = vault.keys()?;
    drop(vault);
    step(format!("the vault is closed; it holds keys of serial number {}", status.serial))?;
    let transcript = Transcript {
        namespace: options.namespace,
        fleet: hex(&keys.fleet),
        artifact: hex(&FleetKeys::hash(&artifact)),
        participants,
        steps,
        exceptions: options.exception,
        destroyed: options.destroyed,
    };
    write_new(&transcript_path, &transcript.envelope()?.write())?;
    tell(&format!(
        "the transcript is in {}; everybody who is here reads it (`strongroom evidence show`) and signs it (`strongroom \
         evidence sign`)",
        transcript_path.display()
    ))
}
