//! [`Tree`]: the Merkle tree of a log (RFC 6962 section 2), over `tlog_tiles`, which is used here and nowhere else.

use tlog_tiles::{
    EMPTY_HASH, Error, Hash, HashReader, Tile, check_record, check_tree, prove_record, prove_tree, record_hash,
    stored_hashes_for_record_hash, tree_hash,
};

/// A tile has 2^8 hashes.
const HEIGHT: u8 = 8;
/// Most entries of a log that is looked at. Sizes come from other people's checkpoints.
pub(super) const SIZE_MAX: u64 = 1 << 40;
/// Longest proof: hashes.
pub(super) const PROOF_MAX: usize = 64;

/// Hash of an entry.
pub(super) fn leaf_hash(entry: &[u8]) -> [u8; 32] {
    record_hash(entry).0
}

/// The hashes of all whole subtrees, in the order in which they came to be.
#[derive(Default)]
pub(super) struct Tree {
    hashes: Vec<Hash>,
    size: u64,
}

impl HashReader for Tree {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let at = |index: &u64| self.hashes.get(usize::try_from(*index).ok()?).copied();
        indexes.iter().map(at).collect::<Option<_>>().ok_or(Error::IndexesNotInTree)
    }
}

impl Tree {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds an entry by its hash.
    pub(super) fn push(&mut self, leaf: [u8; 32]) {
        // Whatever is asked for is in the tree: no error is left.
        let more = stored_hashes_for_record_hash(self.size, Hash(leaf), self).unwrap_or_default();
        self.hashes.extend(more);
        self.size += 1;
    }

    /// Root of the tree of the first entries; `None` if it has not so many.
    pub(super) fn root(&self, size: u64) -> Option<[u8; 32]> {
        if size > self.size {
            return None;
        }
        tree_hash(size, self).ok().map(|hash| hash.0)
    }

    /// Proof that an entry is in the tree of the first entries.
    pub(super) fn inclusion(&self, size: u64, index: u64) -> Option<Vec<[u8; 32]>> {
        if size > self.size || index >= size {
            return None;
        }
        prove_record(size, index, self).ok().map(bytes)
    }

    /// Proof that a tree continues a smaller one; nothing is to be proven of an empty one.
    pub(super) fn consistency(&self, size: u64, old: u64) -> Option<Vec<[u8; 32]>> {
        match old {
            _ if size > self.size || old > size => None,
            0 => Some(Vec::new()),
            _ => prove_tree(size, old, self).ok().map(bytes),
        }
    }

    /// What a folder must get when the tree has grown from `old`: paths and contents of tiles.
    pub(super) fn tiles(&self, old: u64) -> Option<Vec<(String, Vec<u8>)>> {
        let tiles = Tile::new_tiles(HEIGHT, old, self.size).into_iter();
        tiles.map(|tile| Some((path(&tile), tile.read_data(self).ok()?))).collect()
    }
}

/// Paths of the bundles of entries that hold those from `old` to `size`, with the numbers of the entries of each.
pub(super) fn entry_bundles(old: u64, size: u64) -> impl Iterator<Item = (String, std::ops::Range<u64>)> {
    let width = 1 << HEIGHT;
    (old / width..size.div_ceil(width)).map(move |number| {
        let range = number * width..size.min((number + 1) * width);
        let tile = Tile::new(HEIGHT, 0, number, (range.end - range.start) as u32, false);
        (path(&tile).replacen("tile/0/", "tile/entries/", 1), range)
    })
}

/// A tile's place by C2SP tlog-tiles, which has no height in it.
fn path(tile: &Tile) -> String {
    tile.path().replacen(&format!("tile/{HEIGHT}/"), "tile/", 1)
}

/// Whether a proof shows that the tree of this size and root has this leaf at this place.
pub(super) fn includes(proof: &[[u8; 32]], size: u64, root: &[u8; 32], index: u64, leaf: [u8; 32]) -> bool {
    let sane = size <= SIZE_MAX && index < size && proof.len() <= PROOF_MAX;
    sane && check_record(&hashes(proof), size, Hash(*root), index, Hash(leaf)).is_ok()
}

/// Whether a proof shows that the tree of this size and root continues the one of the old size and root.
pub(super) fn continues(proof: &[[u8; 32]], size: u64, root: &[u8; 32], old: u64, old_root: &[u8; 32]) -> bool {
    let sane = size <= SIZE_MAX && old <= size && proof.len() <= PROOF_MAX;
    match old {
        _ if !sane => false,
        0 => proof.is_empty() && *old_root == EMPTY_HASH.0,
        _ => check_tree(&hashes(proof), size, Hash(*root), old, Hash(*old_root)).is_ok(),
    }
}

fn hashes(proof: &[[u8; 32]]) -> Vec<Hash> {
    proof.iter().map(|hash| Hash(*hash)).collect()
}

fn bytes(proof: Vec<Hash>) -> Vec<[u8; 32]> {
    proof.into_iter().map(|hash| hash.0).collect()
}
