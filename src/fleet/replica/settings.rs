//! [`Settings`]: how long a replica waits for what, and how much it keeps.

use std::time::Duration;

use openraft::SnapshotPolicy;

use crate::error::Fault;
use crate::fleet::version::NEWEST;
use crate::limits::CHECKPOINT_BYTES;

/// The longest patience: beyond it a time may be none that there is.
const PATIENCE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long a replica waits for what, and how much it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Between two signs of life of a leader. Also the longest that one message to a member may take: above the longest
    /// round trip between sites, with a write to a disk in it.
    pub heartbeat: Duration,
    /// Without a sign of life of its leader for three to four times this long, a replica stands for election: a promise to
    /// the leader lasts twice this long, and chance adds once or twice. At least two heartbeats: so six in a row are to be
    /// missed. Where two stand at once and neither is elected, it takes once or twice this long more.
    pub election: Duration,
    /// After which a batch that is not known to be committed is given up: whoever asked repeats it. At most a day.
    pub patience: Duration,
    /// Size of the log since the last checkpoint at which the next one is written, in bytes; not 0. The leader holds rows
    /// back once its own log is twice as large, and takes none while it is four times as large: no member's log and memory
    /// outgrow checkpoints that are written as fast as the leader's.
    pub checkpoint_bytes: u64,
    /// Rows that stay in the log although a checkpoint has them: who is behind by no more gets rows, and not a checkpoint.
    pub rows_kept: u64,
    /// The newest version of messages and batches to read, at most this build's, which is the default. Once every member reads
    /// it, the fleet turns to it for good; with the one before, until one is sure of a new build, the old one may come back.
    pub newest: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            heartbeat: Duration::from_millis(125),
            election: Duration::from_millis(250),
            patience: Duration::from_secs(5),
            checkpoint_bytes: CHECKPOINT_BYTES,
            rows_kept: 1000,
            newest: NEWEST,
        }
    }
}

impl Settings {
    /// What of it is openraft's.
    pub(super) fn consensus(&self) -> Result<openraft::Config, Fault> {
        if self.patience > PATIENCE_MAX {
            return Err(Fault::Limit("settings: nobody waits longer than a day".to_owned()));
        }
        if self.checkpoint_bytes == 0 {
            return Err(Fault::Limit("settings: a log of no bytes takes no row".to_owned()));
        }
        let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let config = openraft::Config {
            cluster_name: "strongroom".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election),
            election_timeout_max: millis(self.election.saturating_mul(2)),
            install_snapshot_timeout: 60_000,
            max_payload_entries: 300,
            // Whoever is behind gets rows while they are there, and a checkpoint in the place of those that are not.
            replication_lag_threshold: u64::MAX,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: self.rows_kept,
            ..openraft::Config::default()
        };
        config.validate().map_err(|error| Fault::Limit(format!("settings: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_no_fleet_can_live_by_are_refused() {
        assert!(Settings::default().consensus().is_ok());
        let day = Settings { patience: PATIENCE_MAX, ..Settings::default() };
        assert!(day.consensus().is_ok());
        for bad in [
            Settings { patience: PATIENCE_MAX + Duration::from_secs(1), ..day },
            Settings { checkpoint_bytes: 0, ..day },
            Settings { heartbeat: day.election, ..day },
        ] {
            assert!(matches!(bad.consensus(), Err(Fault::Limit(why)) if why.starts_with("settings: ")), "{bad:?}");
        }
    }
}
