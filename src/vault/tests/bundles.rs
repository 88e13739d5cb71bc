//! From a vault's keys to a client's trust in them, and back: what is sealed under a verified bundle is opened.

use super::person::Person;
use super::vault;
use crate::client::{Preset, Terms};
use crate::error::Fault;
use crate::protocol::{Reply, Request};
use crate::secret::Secret;
use crate::session::ChannelProblem;
use crate::transparency::{
    Bundle, FleetKeys, Log, LogPolicy, LoggedBundle, Note, Pins, SigningKey, Trust, Verified, Witness,
    WitnessSigningKey,
};
use crate::vault::{Admitted, Turn, Vault};

const NOW_S: u64 = 1_800_000_000;

/// Two signers, a log, a witness, and somebody who has verified all bundles so far.
struct World {
    auditor: SigningKey,
    operator: SigningKey,
    _folder: tempfile::TempDir,
    log: Log,
    witness: Witness,
    trust: Trust,
    notes: Vec<Note>,
}

impl World {
    fn new() -> Self {
        let key = |name: &str| SigningKey::new(name, &Secret::random().unwrap()).unwrap();
        let (auditor, operator) = (key("auditor"), key("operator"));
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(folder.path(), key("log")).unwrap();
        let witness = WitnessSigningKey::new("witness", &Secret::random().unwrap()).unwrap();
        let pins = Pins {
            namespace: "example.org/backup".to_owned(),
            epoch_min: 1,
            auditor: auditor.verifying_key(),
            operator: operator.verifying_key(),
            auditor_evidence: key("evidence.auditor").verifying_key(),
            operator_evidence: key("evidence.operator").verifying_key(),
            log: LogPolicy::new(log.key(), vec![witness.verifying_key()], 1).unwrap(),
            measurements: Vec::new(),
            compiled_in: false,
        };
        let witness = Witness::new(witness, log.key(), None).unwrap();
        let trust = Trust::new(pins).unwrap();
        World { auditor, operator, _folder: folder, log, witness, trust, notes: Vec::new() }
    }

    /// The next bundle, of these keys, as everybody gets it.
    fn next(&mut self, keys: &FleetKeys) -> Verified {
        let artifact = keys.write().unwrap();
        let bundle = Bundle {
            namespace: "example.org/backup".to_owned(),
            fleet: keys.fleet,
            epoch: self.notes.len() as u32 + 1,
            not_before_s: NOW_S - 1,
            not_after_s: NOW_S + 1_000_000,
            previous: self.notes.last().map_or([0; 32], Note::hash),
            artifact: FleetKeys::hash(&artifact),
            evidence: [0; 32],
            next_auditor: None,
            next_operator: None,
        };
        let note = bundle.signed(&self.auditor, &self.operator).unwrap();
        let entry = note.entry(&self.auditor.verifying_key(), &self.operator.verifying_key());
        let index = self.log.append(&[entry]).unwrap()[0];
        let proof = self.log.consistency(self.witness.seen()).unwrap();
        let cosigned = self.witness.cosign(self.log.checkpoint(), &proof, NOW_S).unwrap();
        self.log.take_cosignature(&cosigned, &self.witness.key()).unwrap();
        self.notes.push(note.clone());
        let proof = self.log.prove(index).unwrap();
        self.trust.accept(&[LoggedBundle { note, proof }], &artifact, NOW_S).unwrap()
    }
}

fn ask(vault: &Vault, verified: &Verified, person: Person) -> Result<Reply, ChannelProblem> {
    let request = Request::Remaining.encode(&person.0).unwrap();
    let sealed = verified.channel_key().unwrap().seal(request.as_slice().try_into().unwrap()).unwrap();
    let reply = vault.process_sealed(&[Admitted { account: person.0, request: sealed.bytes() }]).remove(0)?;
    Ok(Reply::decode(sealed.open(&reply).unwrap().expose()).unwrap())
}

#[test]
fn what_is_sealed_under_a_verified_bundle_is_opened_and_nothing_else() {
    let ((vault, _), mut world, ada) = (vault(), World::new(), Person::new("ada"));
    let before = vault.channel_key().unwrap();
    let first = world.next(&vault.fleet_keys().unwrap());
    assert_eq!(ask(&vault, &first, ada), Err(ChannelProblem::UnknownBundle), "nobody has told the vault");
    vault.serve_under(std::slice::from_ref(&first)).unwrap();
    assert_eq!(ask(&vault, &first, ada), Ok(Reply::Remaining { attempts: 10 }));
    assert_eq!(vault.channel_key().map(|key| (key.epoch, key.bundle)), Some((1, *first.hash())));
    let request = Request::Remaining.encode(&ada.0).unwrap();
    let sealed = before.seal(request.as_slice().try_into().unwrap()).unwrap();
    let told = vault.process_sealed(&[Admitted { account: ada.0, request: sealed.bytes() }]).remove(0);
    assert_eq!(told, Err(ChannelProblem::UnknownBundle), "bound to no bundle");

    // Keys turn: what the old bundle names still opens, and the new one is taken beside it.
    vault.rotate(Turn::Channel { not_after_s: first.bundle().not_after_s }).unwrap();
    vault.rotate(Turn::Server).unwrap();
    assert_eq!(ask(&vault, &first, ada), Ok(Reply::Remaining { attempts: 10 }));
    let second = world.next(&vault.fleet_keys().unwrap());
    let keys = second.fleet_keys().unwrap();
    assert_eq!((keys.server_keys.len(), keys.channel_keys[0].0), (2, 2));
    vault.serve_under(&[first.clone(), second.clone()]).unwrap();
    for verified in [&first, &second] {
        assert_eq!(ask(&vault, verified, ada), Ok(Reply::Remaining { attempts: 10 }));
    }
    vault.serve_under(std::slice::from_ref(&second)).unwrap();
    assert_eq!(ask(&vault, &first, ada), Err(ChannelProblem::UnknownBundle), "withdrawn");
    vault.rotate(Turn::Epoch).unwrap();
    assert_eq!(ask(&vault, &second, ada), Ok(Reply::Remaining { attempts: 10 }), "a turn keeps what is served");
}

#[test]
fn a_vault_serves_under_no_bundle_of_other_keys() {
    let ((vault, _), (other, _), mut world) = (vault(), self::vault(), World::new());
    let ours = vault.fleet_keys().unwrap();
    let first = world.next(&ours);
    vault.serve_under(std::slice::from_ref(&first)).unwrap();
    let mut refused = |keys: &FleetKeys| {
        let verified = world.next(keys);
        let fault = vault.serve_under(&[first.clone(), verified]).unwrap_err();
        assert_eq!(vault.channel_key().unwrap().bundle, *first.hash(), "nothing has changed");
        fault
    };
    let swapped = FleetKeys { server_keys: vec![(1, other.server_public_key())], ..ours.clone() };
    assert!(matches!(refused(&swapped), Fault::Key(_)));
    let channel_keys = other.fleet_keys().unwrap().channel_keys;
    assert!(matches!(refused(&FleetKeys { channel_keys, ..ours.clone() }), Fault::Key(_)));
    let mut lax = ours.clone();
    lax.policy.attempts_max = 11;
    assert!(matches!(refused(&lax), Fault::PolicyMismatch(_)));
    assert!(matches!(vault.serve_under(&[]), Err(Fault::Key(_))));
    let elsewhere = World::new().next(&other.fleet_keys().unwrap());
    assert!(matches!(vault.serve_under(&[elsewhere]), Err(Fault::Key(_))));
}

#[test]
fn a_client_takes_its_terms_from_what_it_has_verified() {
    let ((vault, _), mut world) = (vault(), World::new());
    let keys = vault.fleet_keys().unwrap();
    let verified = world.next(&keys);
    let terms = Terms::of_development(&verified).unwrap();
    assert_eq!(terms.expected_server_keys, [vault.server_public_key()]);
    assert_eq!((terms.context, terms.client_identity), (keys.policy.context.clone(), true));
    assert!(matches!(Terms::of(&verified), Err(Fault::Policy(_))), "a fleet for development");
    let mut kept = keys;
    (kept.policy.development, kept.policy.context) = (false, b"another".to_vec());
    (kept.policy.root, kept.policy.anchor) = (crate::ledger::RootKind::Pkcs11, crate::ledger::AnchorKind::Hardware);
    kept.policy.signers = Some(crate::ledger::Signers { auditor: [1; 32], operator: [2; 32] });
    let terms = Terms::of(&world.next(&kept)).unwrap();
    assert!(!terms.development && terms.context == b"another");
    // New records come with the preset that fakes send; one that no record may have is refused.
    assert_eq!(terms.preset, Preset::Light);
    kept.policy.default_preset = 2;
    assert_eq!(Terms::of(&world.next(&kept)).unwrap().preset, Preset::Medium);
    for preset in [0, 9] {
        kept.policy.default_preset = preset;
        assert!(matches!(Terms::of(&world.next(&kept)), Err(Fault::Policy(why)) if why.contains("preset")));
    }
}
