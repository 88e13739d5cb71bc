//! `strongroom fleet status`: the fleet as a table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::runtime::Runtime;

use super::operations::Told;
use crate::file::{read_text, tell};
use crate::front_end::{self, Unreached};
use crate::measure::Outcome;

/// How long a member may take to tell how it stands.
const PATIENCE: Duration = Duration::from_secs(2);
/// In a fleet's folder, where its members answer operators, a line each.
pub(super) const OPERATIONS: &str = "operations";

/// Whom to ask.
#[derive(Args)]
pub(crate) struct Status {
    /// The folder of a fleet that `up` runs
    #[arg(long, default_value = "fleet-for-a-try")]
    folder: PathBuf,
    /// Members' addresses for operators, at least a majority of those who vote, instead of those of the folder
    members: Vec<String>,
    /// Write JSON to standard output, and nothing else
    #[arg(long)]
    json: bool,
}

/// Where a member was asked, and what it told.
pub(super) struct Asked {
    pub(super) at: String,
    pub(super) told: Result<Told, String>,
}

pub(crate) fn run(options: &Status) -> Outcome<ExitCode> {
    let members = match &options.members[..] {
        [] => addresses(&options.folder)
            .map_err(|why| format!("{why}; give the members' addresses for operators, like http://HOST:8180"))?,
        members => members.to_vec(),
    };
    let asked = Runtime::new()?.block_on(ask(&members));
    if options.json {
        let told = |it: &Asked| match &it.told {
            Ok(told) => json!({ "at": it.at, "told": told }),
            Err(why) => json!({ "at": it.at, "unreachable": why }),
        };
        tell(&json!(asked.iter().map(told).collect::<Vec<_>>()).to_string())?;
    } else {
        tell(&table(&asked))?;
    }
    Ok(if stands(&asked) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the members of a fleet that `up` runs answer operators.
pub(super) fn addresses(folder: &Path) -> Outcome<Vec<String>> {
    let path = folder.join(OPERATIONS);
    if !path.exists() {
        return Err(format!("{} is no folder of \"strongroom fleet up\"", folder.display()).into());
    }
    Ok(read_text(&path)?.lines().map(str::to_owned).collect())
}

/// Asks all of them at once.
pub(super) async fn ask(members: &[String]) -> Vec<Asked> {
    let asked: Vec<_> = members
        .iter()
        .map(|at| {
            let at = at.clone();
            tokio::spawn(async move {
                let told = tokio::time::timeout(PATIENCE, front_end::call(&at, "/v1/status", None)).await;
                let told = told.map_err(|_| "no answer in time".to_owned());
                let told = told.and_then(|told| told.map_err(|error| words(&*error)));
                let told = told.and_then(|it| serde_json::from_value(it).map_err(|error| error.to_string()));
                Asked { at, told }
            })
        })
        .collect();
    let mut answers = Vec::new();
    for (asked, at) in asked.into_iter().zip(members) {
        let given_up = |_| Asked { at: at.clone(), told: Err("the question was given up".to_owned()) };
        answers.push(asked.await.unwrap_or_else(given_up));
    }
    answers
}

fn words(error: &(dyn std::error::Error + 'static)) -> String {
    if error.is::<Unreached>() { "not reached".to_owned() } else { error.to_string() }
}

/// Whether a majority of those who vote answer people, and know one leader.
pub(super) fn stands(asked: &[Asked]) -> bool {
    let told: Vec<_> = asked.iter().filter_map(|it| it.told.as_ref().ok()).collect();
    let Some(newest) = told.iter().max_by_key(|it| it.applied_index) else { return false };
    let ready = told.iter().filter(|it| newest.voters.contains(&it.number) && it.unready.is_none());
    let (mut leaders, mut count) = (BTreeSet::new(), 0);
    for it in ready {
        leaders.insert(it.leader);
        count += 1;
    }
    count > newest.voters.len() / 2 && leaders.len() == 1 && leaders.iter().all(Option::is_some)
}

/// A line a member, and what to make of them.
pub(super) fn table(asked: &[Asked]) -> String {
    let reached: Vec<_> = asked.iter().filter_map(|it| it.told.as_ref().ok()).collect();
    let applied = reached.iter().filter_map(|it| it.applied_index).max().unwrap_or(0);
    let number = |index: Option<u64>| index.map_or_else(|| "-".to_owned(), |index| index.to_string());
    let mut lines = vec![format!(
        "{:>6}  {:<22} {:<8} {:>5} {:>9} {:>7} {:>11}  state",
        "member", "people", "role", "term", "applied", "behind", "checkpoint"
    )];
    for Asked { at, told } in asked {
        lines.push(match told {
            Ok(it) => {
                let role = match () {
                    () if it.leader == Some(it.number) => "leads",
                    () if it.voters.contains(&it.number) => "votes",
                    () if it.members.contains_key(&it.number) => "learns",
                    () => "none",
                };
                format!(
                    "{:>6}  {:<22} {role:<8} {:>5} {:>9} {:>7} {:>11}  {}",
                    it.number,
                    it.people.trim_start_matches("http://"),
                    it.term,
                    number(it.applied_index),
                    applied - it.applied_index.unwrap_or(0),
                    number(it.checkpoint_index),
                    it.unready.as_deref().unwrap_or("ready"),
                )
            }
            Err(why) => format!("{:>6}  {at}: {why}", "?"),
        });
    }
    let mut verdict = String::from(if stands(asked) { "the fleet answers" } else { "THE FLEET ANSWERS NOBODY" });
    if let Some(newest) = reached.iter().max_by_key(|it| it.applied_index) {
        let numbers: Vec<_> = newest.voters.iter().map(u64::to_string).collect();
        let (votes, more) = (newest.voters.len(), newest.members.len() - newest.voters.len());
        let learning = if more > 0 { format!("; {more} more learn") } else { String::new() };
        let majority = votes / 2 + 1;
        let numbers = numbers.join(", ");
        let speaks = newest.version;
        lines.push(format!(
            "{votes} vote: {numbers}; a majority is {majority}{learning}; the fleet speaks version {speaks}"
        ));
        let count = asked.len();
        if count < majority {
            let were = if count == 1 { "was" } else { "were" };
            verdict = format!(
                "{count} {were} asked, and a majority is {majority}: whether the fleet answers is not seen from here"
            );
        }
    } else {
        verdict = "none of those asked was reached".to_owned();
    }
    lines.push(verdict);
    lines.join("\n")
}
