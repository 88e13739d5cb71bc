//! Passkeys as ways in to a backup: a page for your browser, on this machine alone.
//!
//! You will see: an address on localhost to open in a browser. On it you add a passkey of this device or of a security key to
//! the keyring in this folder, and, where the backup key is gone, get it back with the passkey. An authenticator without PRF
//! is refused with the reason. Open the whole address: what stands after `#` is a token, and without it nothing is done, as
//! others may have accounts on this machine. `strongroom enrol` and `strongroom recovery-key` make the folder's files; while
//! a command is at work on them, the page changes nothing. From a keyring that was altered a passkey still gets the backup
//! key back, with a warning.
//!
//! ```text
//! cargo run --release --example passkeys -- --key backup.key --keyring backup.keyring
//! ```
//!
//! In an app the page's part is played by the platform's own calls, with the relying party that the app has; what is done
//! with what they give is in `page.rs`.
#![allow(clippy::expect_used)] // An example stops where something is not as told.

mod page;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use tokio::net::TcpListener;

/// A page that adds passkeys to a keyring and opens it with them.
#[derive(Parser)]
struct Arguments {
    /// The backup key, on this device alone.
    #[arg(long, default_value = "backup.key")]
    key: PathBuf,
    /// The ways in to the backup.
    #[arg(long, default_value = "backup.keyring")]
    keyring: PathBuf,
    /// The port on localhost.
    #[arg(long, default_value_t = 8081)]
    port: u16,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { key, keyring, port } = Arguments::parse();
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = page::Address::new(&listener)?;
    println!("open {address} in a browser");
    Ok(axum::serve(listener, page::router(page::Files { key, keyring }, address)).await?)
}
