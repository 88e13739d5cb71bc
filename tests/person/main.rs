//! One person with the command line and the client's HTTP transport, before a real server: enrolled, locked out, let in
//! again; and what somebody on the way sees, or breaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../examples/front/mod.rs"]
mod front;
mod relay;
#[cfg(unix)]
mod terminal;
mod trusted;
mod walk;
mod wire;

use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use front::server::{FrontEnd, Room, Stop};
use metrics_exporter_prometheus::PrometheusBuilder;
use strongroom::account::AccountId;
use strongroom::ledger::Policy;
use strongroom::vault::{Config, Gathering, Queue, Vault};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A server of the example's, on a runtime of its own.
struct Server {
    address: String,
    vault: Arc<Vault>,
    admission: SigningKey,
    _runtime: Runtime,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let vault = Arc::new(Vault::create(Config::development(folder).unwrap(), Policy::development()).unwrap());
        let queue = Arc::new(Queue::open(vault.clone(), Gathering::default()).unwrap());
        let admission = SigningKey::from_bytes(&[7; 32]);
        let front_end = FrontEnd {
            queue,
            admission: admission.verifying_key(),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            admits_anybody: Some(Arc::new(admission.clone())),
            vault: vault.clone(),
        };
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move {
            let mut stop = Stop::listen().unwrap();
            front::server::serve(listener, front_end, Room { connections: 64, of_address: 64 }, &mut stop).await;
        });
        Server { address, vault, admission, _runtime: runtime }
    }

    /// A token of whoever knows who people are.
    fn token(&self, account: &AccountId) -> String {
        front::token(&self.admission, account, front::now_s() + 3600)
    }
}
