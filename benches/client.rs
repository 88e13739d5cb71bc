//! What a person waits for: a code stretched by each preset, and a whole login of the client's half beside it.
//!
//! The memory is what the preset says, since Argon2 is given that much and no more. `Heavy` takes seconds and 2 GiB, so it
//! is measured once, and left out with `--test`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use strongroom::account::AccountId;
use strongroom::client::{Code, Enrolment, Preset, Recovery, Terms};
use strongroom::ledger::Policy;
use strongroom::secret::Secret;
use strongroom::vault::{Admitted, ManualClock, Vault};

fn main() {
    let test = std::env::args().any(|word| word == "--test");
    println!("{:<26}{:>10}{:>14}{:>16}", "preset", "MiB", "enrol, ms", "recover, ms");
    for preset in [Preset::Development, Preset::Light, Preset::Medium, Preset::Heavy] {
        if preset == Preset::Heavy && test {
            continue;
        }
        let rounds = if test || preset == Preset::Heavy { 1 } else { 9 };
        let mut times: Vec<[f64; 2]> = (0..rounds).map(|_| walk(preset)).collect();
        let mut median = |which: usize| {
            times.sort_by(|one, other| one[which].total_cmp(&other[which]));
            times[times.len() / 2][which]
        };
        let [enrol, recover] = [median(0), median(1)];
        let note = if test { "  (no measurement)" } else { "" };
        println!("{:<26}{:>10}{enrol:>14.1}{recover:>16.1}{note}", preset.to_string(), preset.memory_kib() / 1024);
    }
    println!("Success");
}

/// An enrolment and a recovery: what the client computes, in milliseconds, without the vault's part.
fn walk(preset: Preset) -> [f64; 2] {
    let vault = Vault::in_memory(Policy::development(), Arc::new(ManualClock::new(1_800_000_000))).unwrap();
    let account = AccountId::derive("example.org/backup", "ada");
    let ask = |request: &[u8]| vault.process_bytes(&[Admitted { account, request }]).remove(0);
    let mut terms = Terms::default();
    (terms.preset, terms.minimum, terms.development) = (preset, preset, preset == Preset::Development);
    let key = Secret::<[u8; 32]>::random().unwrap();
    let code = || Code::new("correct horse 4711").unwrap();

    let mut clock = Clock::default();
    let enrolment = clock.run(|| Enrolment::start(&terms, account, code()).unwrap());
    let reply = ask(enrolment.request());
    let pending = clock.run(|| enrolment.finish(&reply, &key).unwrap());
    pending.done(&ask(pending.request())).unwrap();
    let enrol = std::mem::take(&mut clock).0;

    let recovery = clock.run(|| Recovery::start(&terms, account, code()).unwrap());
    let reply = ask(recovery.request());
    let pending = clock.run(|| recovery.finish(&reply).unwrap());
    let reply = ask(pending.request());
    let recovered = clock.run(|| pending.open(&reply).unwrap());
    assert_eq!(recovered.expose(), key.expose(), "the key that was enrolled");
    [enrol, clock.0]
}

/// Milliseconds of what ran.
#[derive(Default)]
struct Clock(f64);

impl Clock {
    fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = black_box(work());
        self.0 += begun.elapsed().as_secs_f64() * 1e3;
        done
    }
}
