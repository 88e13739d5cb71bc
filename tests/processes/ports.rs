//! Ports for members, outside of those from which the system takes one for whoever connects somewhere: a member that is started
//! again finds its own still free.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// The lowest that is looked at.
const FIRST: u16 = 10_000;

/// Where the system's own begin.
fn first_of_system() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768)
}

/// A port that, with those that are so many above it, is free and was given to nobody else in this process.
pub(crate) fn port(above: &[u16]) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let reach = above.iter().max().map_or(1, |most| most + 1);
    let room = first_of_system().max(FIRST + 2 * reach + 1) - FIRST - reach;
    // Elsewhere than other processes of these tests begin to look.
    let start = (std::process::id() as u16).wrapping_mul(97);
    loop {
        let port = FIRST + start.wrapping_add(NEXT.fetch_add(reach, Ordering::Relaxed)) % room;
        let free = |it: u16| TcpListener::bind(("127.0.0.1", it)).is_ok();
        if free(port) && above.iter().all(|more| free(port + more)) {
            return port;
        }
    }
}
