//! `fettle ping`, `fettle facts`, `fettle journal`: one question to many hosts.

use super::connect::{ConnectArgs, target};
use super::{CliError, Exit};
use crate::controller::{Answer, Question, Via, ask};
use crate::host::glob;
use crate::play::Privilege;
use crate::protocol::ToController;
use crate::report::{Paint, Tone, clean_value, colour_wanted, printable};
use clap::Args;
use serde_json::{Map, Value as Json, json};

/// Which hosts are asked, and how.
#[derive(Debug, Args)]
pub struct WhoArgs {
    /// Which hosts
    #[arg(default_value = "all")]
    pub pattern: String,
    /// Inventory and connection.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Become root with sudo: only root sees what is on disks, and runs that became root are in root's journal
    #[arg(short, long = "become")]
    pub becomes: bool,
    /// Variables for connecting that win over the inventory's: `k=v`, JSON, YAML, or `@file`
    #[arg(short, long, value_name = "VARS")]
    pub extra_vars: Vec<String>,
}

/// Options of `fettle ping`.
#[derive(Debug, Args)]
pub struct PingArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// For machines
    #[arg(long)]
    json: bool,
}

/// Options of `fettle facts`.
#[derive(Debug, Args)]
pub struct FactsArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// Only facts whose names match (`*` and `?`), as `ansible_*` or without it
    #[arg(long, value_name = "PATTERN")]
    filter: Vec<String>,
    /// Only these subsets: all, min, hardware, network, virtual, !hardware, …
    #[arg(long, value_name = "SUBSET", value_delimiter = ',')]
    gather_subset: Vec<String>,
}

/// Options of `fettle journal`.
#[derive(Debug, Args)]
pub struct JournalArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// Only this run
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// For machines
    #[arg(long)]
    json: bool,
}

/// Asks the hosts that the pattern means.
pub fn answers(who: &WhoArgs, question: &Question) -> Result<Vec<Answer>, CliError> {
    let WhoArgs { pattern, connect, becomes, extra_vars } = who;
    let extra = crate::playbook::extra_vars(extra_vars)?;
    let inventory = connect.inventory(None)?;
    let mut hosts = inventory.select(pattern)?;
    if let Some(limit) = &connect.limit {
        hosts = inventory.limit(hosts, limit)?;
    }
    if hosts.is_empty() {
        return Err(CliError::Failed(format!(
            "no host matches `{pattern}`: name an inventory with -i, and see `fettle inventory --graph`"
        )));
    }
    let defaults = connect.defaults()?;
    let mut targets = vec![];
    for host in hosts {
        let target = target(&inventory, &extra, &host, &Via::default(), &defaults)?;
        targets.push((host, target));
    }
    let privilege = if *becomes { Privilege::Root } else { Privilege::Connection };
    Ok(ask(targets, question, privilege, connect.forks(), &connect.by())?)
}

/// 4 where a host could not be reached, as ansible's exit code.
fn exit(answers: &[Answer]) -> Exit {
    Exit(if answers.iter().any(|a| a.answer.is_err()) { 4 } else { 0 })
}

/// Connects to hosts and says what answered.
pub fn ping(args: &PingArgs) -> Result<Exit, CliError> {
    let answers = answers(&args.who, &Question::Ping)?;
    let paint = Paint { on: colour_wanted() };
    let width = answers.iter().map(|a| a.host.chars().count()).max().unwrap_or(0);
    for Answer { host, took, answer } in &answers {
        let millis = took.as_millis();
        match answer {
            Ok(ToController::Hello { machine, uid, unfinished, .. }) if args.json => {
                println!(
                    "{}",
                    json!({"host": host, "ping": "pong", "machine": machine, "uid": uid, "millis": millis, "unfinished": unfinished})
                );
            }
            Ok(ToController::Hello { machine, uid, unfinished, .. }) => {
                let who = if *uid == 0 { "root".to_owned() } else { format!("uid {uid}") };
                println!("{host:<width$}  {}  {machine}, {who}, {millis} ms", paint.text(Tone::Good, "pong"));
                if let Some(text) = unfinished {
                    println!("{:<width$}  {} {}", "", paint.text(Tone::Doubt, "warning:"), printable(text));
                }
            }
            Ok(_) => {}
            Err(reason) if args.json => println!("{}", json!({"host": host, "unreachable": reason})),
            Err(reason) => println!("{host:<width$}  {}: {}", paint.text(Tone::Bad, "unreachable"), printable(reason)),
        }
    }
    Ok(exit(&answers))
}

/// Prints facts as one JSON object, hosts as keys.
pub fn facts(args: &FactsArgs) -> Result<Exit, CliError> {
    let known: Vec<&str> = crate::host::facts::subset_names().collect();
    if let Some(wrong) = args.gather_subset.iter().find(|s| !known.contains(&s.trim_start_matches('!'))) {
        return Err(CliError::Failed(format!("`{wrong}` is no subset of facts: there are {}, each also with `!`", known.join(", "))));
    }
    let answers = answers(&args.who, &Question::Facts(args.gather_subset.clone()))?;
    let mut all = Map::new();
    for Answer { host, answer, .. } in &answers {
        match answer {
            Ok(ToController::Facts(facts)) => {
                let facts = facts
                    .iter()
                    .map(|(name, value)| (format!("ansible_{name}"), value.clone()))
                    .filter(|(name, _)| wanted(name, &args.filter));
                all.insert(host.clone(), Json::Object(facts.collect()));
            }
            Ok(_) => {}
            Err(reason) => eprintln!("{host}: unreachable: {}", printable(reason)),
        }
    }
    println!("{:#}", Json::Object(all));
    Ok(exit(&answers))
}

fn wanted(name: &str, filter: &[String]) -> bool {
    filter.is_empty()
        || filter.iter().any(|p| {
            let short = name.strip_prefix("ansible_").unwrap_or(name);
            glob::matches(p, name) || glob::matches(p, short)
        })
}

/// Prints the journals.
pub fn journal(args: &JournalArgs) -> Result<Exit, CliError> {
    let answers = answers(&args.who, &Question::Journal(args.run.clone()))?;
    let paint = Paint { on: colour_wanted() };
    for Answer { host, answer, .. } in &answers {
        match answer {
            Ok(ToController::Journal(journal)) if args.json => {
                for entry in &journal.entries {
                    println!("{}", json!({"host": host, "entry": entry}));
                }
            }
            Ok(ToController::Journal(journal)) => {
                println!("{}", paint.text(Tone::Strong, host));
                if journal.entries.is_empty() {
                    println!("  nothing{}", args.run.as_ref().map(|r| format!(" of run {r}")).unwrap_or_default());
                }
                let mut entries = journal.entries.clone();
                entries.iter_mut().for_each(clean_value);
                for line in crate::report::journal::lines(&entries, paint) {
                    println!("  {line}");
                }
            }
            Ok(_) => {}
            Err(reason) => eprintln!("{host}: {}: {}", paint.text(Tone::Bad, "unreachable"), printable(reason)),
        }
    }
    Ok(exit(&answers))
}
