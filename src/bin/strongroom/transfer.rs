//! `strongroom keys offer|export|import`: accounts that move to another vault, by way of a folder of parcels.

use std::fs;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use strongroom::account::AccountId;
use strongroom::ledger::{Moving, Side, Tally};
use strongroom::vault::{Offer, Parcel, Vault};

use crate::file::{read, read_if_there, tell, write_whole};
use crate::measure::Outcome;

const HELLO: &str = "hello";

pub(crate) fn offer(vault: &Vault, file: &Path) -> Outcome<()> {
    let offer = vault.offer()?;
    write_whole(file, &offer.encode())?;
    tell(&format!(
        "the offer is in {}; where it is used, `strongroom keys export` begins to hand accounts over, for good",
        file.display()
    ))
}

pub(crate) fn export(vault: &Vault, offer: &Path, folder: &Path) -> Outcome<()> {
    let offer = Offer::decode(&read(offer)?)?;
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let hash = offer.hash();
    let export = vault.export(offer)?;
    write_whole(&folder.join(HELLO), &export.hello()?)?;

    let bar =
        ProgressBar::new(1000).with_style(ProgressStyle::with_template("{bar:28} {percent}% of all ids, {eta} to go")?);
    // What an earlier run kept is looked at by its places alone; whether it is sound shows where it is taken.
    let mut kept = Some(AccountId([0; 32]));
    let mut number = 0;
    while let Some(bytes) = read_if_there(&path(folder, number))? {
        let parcel = Parcel::decode(&bytes)?;
        if parcel.offer != hash || Some(parcel.from) != kept {
            return Err(format!("{} is not a parcel of this move", path(folder, number).display()).into());
        }
        kept = parcel.upto;
        number += 1;
    }
    while let Some(parcel) = export.next(kept)? {
        write_whole(&path(folder, number), &parcel.encode())?;
        kept = parcel.upto;
        number += 1;
        bar.set_position(export.departed()?.per_mille.into());
    }
    bar.finish_and_clear();
    tell(&format!("all have left, in {number} parcels: {}", counted(&export.total()?)))
}

pub(crate) fn import(vault: &Vault, folder: &Path) -> Outcome<()> {
    if let Some(Moving { bound: None, side: Side::Arriving(tally), .. }) = vault.moving()? {
        // Where a run was cut short behind the last account, the keys of the move are there still.
        vault.sweep()?;
        return tell(&format!("all have come: {}", counted(&tally)));
    }
    let import = vault.import()?;
    import.begin(&read(&folder.join(HELLO))?)?;
    let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template("{spinner} {pos} parcels, {msg}")?);
    let mut number = 0;
    while let Some(bytes) = read_if_there(&path(folder, number))? {
        let parcel = Parcel::decode(&bytes)?;
        let tally = import.take(&parcel).map_err(|fault| format!("{}: {fault}", path(folder, number).display()))?;
        number += 1;
        bar.set_position(number);
        bar.set_message(format!("{} accounts", tally.accounts));
        if parcel.upto.is_none() {
            bar.finish_and_clear();
            return tell(&format!("all have come: {}", counted(&tally)));
        }
    }
    bar.finish_and_clear();
    Err(format!("{number} parcels are taken and there are no more here yet; run it again when there are").into())
}

fn counted(tally: &Tally) -> String {
    let digest: String = tally.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} accounts, {} with a record, digest {digest}", tally.accounts, tally.records)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:06}.parcel"))
}
