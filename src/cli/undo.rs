//! `fettle undo`: plays back what the journal of a run holds.

use super::ask::{WhoArgs, answers};
use super::connect::confirm;
use super::{CliError, Exit};
use crate::controller::{Answer, Question, UndoQuestion};
use crate::host::undo::Report;
use crate::protocol::ToController;
use crate::report::undo::{Counts, Group, add_to, lines};
use crate::report::{Paint, Tone, clean_value, colour_wanted, printable};
use clap::Args;
use serde_json::json;
use std::collections::HashMap;

/// Options of `fettle undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// Which run; `last`: each host's newest that changed something and was not undone yet
    #[arg(long, value_name = "RUN", default_value = "last")]
    run: String,
    /// Only show what it would do
    #[arg(short = 'C', long)]
    check: bool,
    /// Show what changes inside files
    #[arg(short = 'D', long)]
    diff: bool,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
    /// For machines: one object a host and step (`plan`, `undo`)
    #[arg(long)]
    json: bool,
}

/// Shows what would be undone, asks, and undoes it.
pub fn undo(args: &UndoArgs) -> Result<Exit, CliError> {
    let run = (args.run != "last").then(|| args.run.clone());
    let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let mut question = UndoQuestion { id: id.clone(), run, hosts: None, check: true, diff: args.diff };
    let plan = answers(&args.who, &Question::Undo(question.clone()))?;
    let mut counts = show(&plan, args, &[]);
    // Each host undoes the run that was shown for it, not one that came in between.
    let hosts: HashMap<String, String> = reports(&plan)
        .filter(|(_, r)| {
            let counts = Counts::of(r);
            counts.undone + counts.unknown > 0
        })
        .filter_map(|(host, r)| Some((host.to_owned(), r.run.as_ref()?.run.clone())))
        .collect();
    let unreachable = plan.iter().any(|a| a.answer.is_err());
    if args.check || hosts.is_empty() {
        if !args.json && plan.iter().any(|a| a.answer.is_ok()) {
            println!("\n{}. Nothing was changed.", capital(&counts.words(true)));
        }
        return Ok(exit(counts, unreachable));
    }
    if !args.yes {
        confirm(
            &format!("\n{}, on {} hosts. Undo it (yes/no)? ", capital(&counts.words(true)), hosts.len()),
            "yes",
            "--yes",
            "nothing was undone",
        )?;
    }
    question.check = false;
    question.hosts = Some(hosts);
    let done = answers(&args.who, &Question::Undo(question))?;
    counts = show(&done, args, &plan);
    if !args.json {
        println!("\n{}. This run is {id}; it can be undone as well: --run {id}", capital(&counts.words(false)));
    }
    Ok(exit(counts, unreachable || done.iter().any(|a| a.answer.is_err())))
}

/// As ansible's exit codes: 4 where a host could not be reached, 2 where something was refused or failed, 6 both.
fn exit(counts: Counts, unreachable: bool) -> Exit {
    Exit(u8::from(counts.refused + counts.failed > 0) * 2 + u8::from(unreachable) * 4)
}

fn reports(answers: &[Answer]) -> impl Iterator<Item = (&str, &Report)> {
    answers.iter().filter_map(|a| match &a.answer {
        Ok(ToController::Undo(report)) => Some((a.host.as_str(), &**report)),
        _ => None,
    })
}

/// Prints what hosts said, hosts with equal lines once. After a plan only what came out otherwise is told again.
fn show(answers: &[Answer], args: &UndoArgs, plan: &[Answer]) -> Counts {
    let step = if plan.is_empty() { "plan" } else { "undo" };
    let paint = Paint { on: colour_wanted() };
    let mut counts = Counts::default();
    let mut groups: Vec<Group> = vec![];
    for (host, report) in reports(answers) {
        counts.add(Counts::of(report));
        if args.json {
            println!("{}", json!({"host": host, "step": step, "report": report}));
            continue;
        }
        let mut report = printable_report(report);
        if let Some((_, planned)) = reports(plan).find(|(h, r)| *h == host && r.steps.len() == report.steps.len()) {
            let mut before = planned.steps.iter();
            report.steps.retain(|s| before.next().is_none_or(|b| b.end != s.end));
        }
        add_to(&mut groups, host, report);
    }
    for Group { hosts, report } in groups {
        println!("\n{}", paint.text(Tone::Strong, &crate::report::ranges(&hosts)));
        for line in lines(&report, paint) {
            println!("  {line}");
        }
    }
    for answer in answers {
        if let Err(reason) = &answer.answer {
            match args.json {
                true => println!("{}", json!({"host": answer.host, "step": step, "unreachable": reason})),
                false => println!("\n{}: {} {}", answer.host, paint.text(Tone::Bad, "unreachable:"), printable(reason)),
            }
        }
    }
    counts
}

/// The report as it may be shown on a terminal.
fn printable_report(report: &Report) -> Report {
    let Ok(mut value) = serde_json::to_value(report) else { return report.clone() };
    clean_value(&mut value);
    serde_json::from_value(value).unwrap_or_else(|_| report.clone())
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_other_runs() {
        let with = |refused, failed| Counts { refused, failed, ..Counts::default() };
        let codes = [(with(0, 0), false), (with(1, 0), false), (with(0, 1), false), (with(0, 0), true), (with(0, 1), true)];
        assert_eq!(codes.map(|(counts, unreachable)| exit(counts, unreachable).0), [0, 2, 2, 4, 6]);
    }
}
