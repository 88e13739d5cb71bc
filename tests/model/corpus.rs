//! What a folder of seeds must be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Seeds by their names.
pub(crate) type Seeds = BTreeMap<String, Vec<u8>>;

/// Holds the folder of `target` against `seeds`, or writes it if told to.
pub(crate) fn hold(target: &str, seeds: &Seeds) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    if std::env::var_os("STRONGROOM_WRITE_SEEDS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, seed) in seeds {
            fs::write(folder.join(name), seed).unwrap();
        }
    }
    let differences = differences(&folder, seeds);
    assert!(differences.is_empty(), "see this file's first lines about {differences:?}");
}

/// Files of `folder` that are missing, that differ, or that are no seeds.
pub(crate) fn differences(folder: &Path, seeds: &Seeds) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        seeds.iter().filter(|(name, seed)| fs::read(folder.join(name)).ok().as_ref() != Some(*seed)).collect();
    found.sort();
    let mut found: Vec<_> = found.into_iter().map(|(name, _)| folder.join(name)).collect();
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    found.extend(entries.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let digest = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        !digest && !seeds.contains_key(name)
    }));
    found
}
