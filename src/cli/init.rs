//! `fettle init`: looks at hosts and writes a cluster spec that fits them.

use super::ask::{WhoArgs, answers};
use super::{CliError, Exit};
use crate::cluster::propose::{DiskUse, HostFacts, Proposal, RELEASE, Wishes, propose, unnumbered};
use crate::cluster::{self, node_name};
use crate::controller::Question;
use crate::diag::Loc;
use crate::host::block::human;
use crate::protocol::ToController;
use crate::report::{Paint, Tone, colour_wanted, ranges};
use clap::Args;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// Options of `fettle init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// Write without asking
    #[arg(short, long)]
    yes: bool,
    /// The file to write; `-` prints it
    #[arg(short, long, value_name = "FILE", default_value = "cluster.yml")]
    output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// The cluster's name
    #[arg(long, default_value = "ais")]
    name: String,
    /// Its namespace
    #[arg(long, default_value = "ais")]
    namespace: String,
    /// Release of AIStore's images
    #[arg(long, value_name = "TAG", default_value = RELEASE)]
    release: String,
    /// How many proxies; by the number of hosts unless given
    #[arg(long, value_name = "NUMBER")]
    proxies: Option<usize>,
    /// The folder that data disks are mounted in
    #[arg(long, value_name = "DIR", default_value = "/ais")]
    prefix: String,
}

/// What was found out about the hosts.
struct Found {
    hosts: Vec<HostFacts>,
    unreachable: Vec<(String, String)>,
}

/// Asks hosts, shows what is proposed, asks the operator, and writes the file. Changes nothing on any host.
pub fn run(args: &InitArgs) -> Result<Exit, CliError> {
    let to_screen = args.output.as_os_str() == "-";
    if !to_screen && args.output.exists() && !args.force {
        return Err(CliError::Failed(format!(
            "{} is there already: name another file with -o, or replace it with --force",
            args.output.display()
        )));
    }
    let wishes = Wishes {
        name: args.name.clone(),
        namespace: args.namespace.clone(),
        release: args.release.clone(),
        proxies: args.proxies,
        prefix: args.prefix.trim_end_matches('/').to_owned(),
    };
    wishes.check()?;
    let folder = args.output.parent().filter(|f| !to_screen && !f.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|f| !f.is_dir()) {
        return Err(CliError::Failed(format!("{} is no folder that {} could be written to", folder.display(), args.output.display())));
    }
    let found = find(args)?;
    let paint = Paint { on: colour_wanted() && !to_screen };
    // The file is the only thing on standard output when it is asked for there.
    let show = |line: &str| if to_screen { eprintln!("{line}") } else { println!("{line}") };
    for (host, reason) in &found.unreachable {
        show(&format!("{}: {}: {reason}", host, paint.text(Tone::Bad, "unreachable")));
    }
    let proposal = propose(&found.hosts, &wishes)?;
    for line in table(&found.hosts, &proposal, &wishes.prefix, paint) {
        show(&line);
    }
    let text = proposal.to_text(&found.hosts, &wishes);
    check(&args.output.display().to_string(), &text)?;
    for warning in &proposal.warnings {
        show(&format!("{} {warning}", paint.text(Tone::Doubt, "warning:")));
    }
    let exit = Exit(if found.unreachable.is_empty() { 0 } else { 4 });
    if to_screen {
        print!("{text}");
        return Ok(exit);
    }
    if !args.yes && !agreed(args)? {
        println!("Nothing was written.");
        return Ok(Exit(1));
    }
    std::fs::write(&args.output, &text).map_err(|e| CliError::Failed(format!("{} can't be written: {e}", args.output.display())))?;
    let file = args.output.display();
    let inventory: String = args.who.connect.inventory.iter().map(|i| format!(" -i {i}")).collect();
    println!("\nWrote {file}; no host was changed. Its last lines are for the inventory. Then:");
    println!("  fettle plan playbooks/site.yml{inventory}");
    println!("  fettle deploy {file}{inventory} --check");
    Ok(exit)
}

fn find(args: &InitArgs) -> Result<Found, CliError> {
    let inventory = args.who.connect.inventory(None)?;
    let subsets = ["min", "hardware", "network", "disks"].map(str::to_owned).to_vec();
    let answers = answers(&args.who, &Question::Facts(subsets))?;
    // Kubespray's group of nodes that run pods; without it every host may.
    let groups = inventory.groups();
    let workers = groups.get("kube_node").or_else(|| groups.get("kube-node"));
    let mut found = Found { hosts: vec![], unreachable: vec![] };
    for answer in &answers {
        match &answer.answer {
            // The way to the others, and none of them.
            Ok(ToController::Facts(_)) if inventory.bastion() == Some(&answer.host) => {}
            Ok(ToController::Facts(facts)) => {
                let node = node_name(&inventory, &answer.host, &Loc::outside("the inventory"))?;
                let worker = workers.is_none_or(|w| w.contains(&answer.host));
                found.hosts.push(HostFacts::read(&answer.host, &node, worker, facts));
            }
            Ok(_) => {}
            Err(reason) => found.unreachable.push((answer.host.clone(), reason.clone())),
        }
    }
    if found.hosts.is_empty() {
        let first = found.unreachable.first().map(|(host, reason)| format!(": {host}: {reason}")).unwrap_or_default();
        return Err(CliError::Failed(format!("no host answered{first}")));
    }
    Ok(found)
}

/// The proposal as it will be read back: its names come from options and inventories.
fn check(file: &str, text: &str) -> Result<(), CliError> {
    let found = cluster::read(file, text)?.resolve(None, None)?.check();
    if found.has_errors() { Err(found.into()) } else { Ok(()) }
}

fn agreed(args: &InitArgs) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::Failed("there is no terminal to ask at: write with --yes, or print with `-o -`".into()));
    }
    print!("\nWrite {} (yes/no)? ", args.output.display());
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|e| CliError::Failed(format!("no answer could be read: {e}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A line for hosts that are the same in everything shown.
fn table(hosts: &[HostFacts], proposal: &Proposal, prefix: &str, paint: Paint) -> Vec<String> {
    const HEAD: [&str; 7] = ["HOSTS", "ROLES", "DISKS FOR OBJECTS", "MEMORY", "NETWORK", "SPEED", "MTU"];
    let mut rows: Vec<(Vec<String>, [String; 6])> = vec![];
    for host in hosts {
        let cells = cells(host, proposal, prefix);
        match rows.iter_mut().find(|(_, c)| *c == cells) {
            Some((names, _)) => names.push(host.host.clone()),
            None => rows.push((vec![host.host.clone()], cells)),
        }
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(names, cells)| std::iter::once(ranges(&names)).chain(cells).collect()).collect();
    let widths: Vec<usize> = HEAD
        .iter()
        .enumerate()
        .map(|(i, head)| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).chain([head.len()]).max().unwrap_or(0))
        .collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(c, w)| format!("{c}{}", " ".repeat(w.saturating_sub(c.chars().count()))));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(&HEAD.map(str::to_owned));
    let mut lines = vec![paint.text(Tone::Strong, &head)];
    lines.extend(rows.iter().map(|r| line(r)));
    lines.push(String::new());
    lines.push(format!("Primary at first: {}. Tuning profile of the disks: {}.", proposal.primary, proposal.profile));
    lines.extend(left_alone(hosts, prefix));
    lines
}

fn cells(host: &HostFacts, proposal: &Proposal, prefix: &str) -> [String; 6] {
    let is = |list: &[String], word: &'static str| list.contains(&host.node).then_some(word);
    let roles: Vec<&str> = [is(&proposal.proxies, "proxy"), is(&proposal.targets, "target")].into_iter().flatten().collect();
    let disks = if proposal.targets.contains(&host.node) { host.disks_in_words(prefix) } else { format!("none: {}", host.why_not(prefix)) };
    let nic = host.nic.as_ref();
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".into());
    [
        if roles.is_empty() { "-".into() } else { roles.join(" + ") },
        disks,
        human(host.memory_mb << 20),
        or_unknown(nic.map(|n| n.name.clone())),
        or_unknown(host.speed_in_words()),
        or_unknown(nic.and_then(|n| n.mtu).map(|m| m.to_string())),
    ]
}

/// Disks of targets that are for something else, so that nobody wonders where they are.
fn left_alone(hosts: &[HostFacts], prefix: &str) -> Vec<String> {
    let mut reasons: Vec<(String, Vec<String>)> = vec![];
    for host in hosts.iter().filter(|h| h.worker && !h.mountpaths(prefix).is_empty()) {
        for disk in &host.disks {
            let DiskUse::Taken(why) = disk.usage(prefix) else { continue };
            if why == "is no disk for objects" {
                continue;
            }
            let text = format!("{} {}", disk.name, unnumbered(&why));
            match reasons.iter_mut().find(|(t, _)| *t == text) {
                Some((_, names)) => names.push(host.host.clone()),
                None => reasons.push((text, vec![host.host.clone()])),
            }
        }
    }
    reasons.into_iter().map(|(text, names)| format!("Left alone: {text} ({})", ranges(&names))).collect()
}
