//! `fettle deploy`: bring a cluster to its spec.

use super::cluster::{ClusterArgs, Ready, duration, ready, run};
use super::{CliError, Exit};
use crate::kube::deploy::{Deployment, Options, Plan, deploy as bring_up, keeps, plan, word};
use crate::kube::neighbours::own_ports;
use crate::kube::{KubeError, Leave, Outcome, Role, Token};
use crate::report::{Paint, Steps, Tone, colour_wanted, printable, unified};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `fettle deploy`.
#[derive(Debug, Args)]
pub struct DeployArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Dry run: the API server checks everything and changes nothing
    #[arg(short = 'C', long)]
    check: bool,
    /// Show what changes inside objects
    #[arg(short = 'D', long)]
    diff: bool,
    /// Take over fields and labels that other managers set
    #[arg(long)]
    force_conflicts: bool,
    /// Replace objects whose difference can't be changed in place; pods and volume claims of StatefulSets stay
    #[arg(long)]
    recreate: bool,
    /// Deploy a release that AIStore does not go to from the one that runs: an earlier one, or 5.1 and later from 4
    #[arg(long)]
    any_release: bool,
    /// Token of an administrator, for clusters with authentication; otherwise $AIS_AUTHN_TOKEN or the file $AIS_AUTHN_TOKEN_FILE
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long to wait until the cluster is complete; 0: don't wait, and restart nothing
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    timeout: Duration,
    /// Don't look at the hosts first
    #[arg(long)]
    no_preflight: bool,
    /// For machines: a JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: super::preflight::HostArgs,
}

/// Deploys.
pub fn deploy(args: &DeployArgs) -> Result<Exit, CliError> {
    let again = "stopped; what was begun goes on in the cluster. Run the same again to see it through";
    run(
        async {
            let Ready { mut server, resolved, inventory } = ready(&args.cluster).await?;
            server.token = Token::find(args.token_file.as_deref())?;
            let deployment = Deployment::new(&resolved)?;
            let paint = Paint { on: colour_wanted() };
            let options =
                Options { force: args.force_conflicts, recreate: args.recreate, any_release: args.any_release, timeout: args.timeout };
            if !args.no_preflight {
                match &inventory {
                    Some(inventory) => {
                        let own = own_ports(&server, &deployment.info, &deployment.claims).await?;
                        let fine = super::preflight::run(&resolved, &own, inventory, &args.connect, args.json).await?;
                        if !fine {
                            return Err(CliError::Failed("the hosts are not ready for this cluster; nothing was changed".into()));
                        }
                    }
                    None if args.json => {}
                    None => eprintln!("The hosts are not looked at: no inventory was given (-i)."),
                }
            }
            let plan = plan(&server, &deployment, options).await.map_err(|e| away(e, "nothing was changed; run the same again"))?;
            show(&plan, args, paint);
            if !plan.problems.is_empty() {
                return Err(problems(&plan.problems, "deploy"));
            }
            if args.check {
                return Ok(Exit(0));
            }
            let mut steps = Steps::new(paint, args.json);
            let result = bring_up(&server, &deployment, &plan, options, &mut steps).await;
            steps.done();
            warn(&server.warnings.fresh(), args, paint);
            result.map_err(|e| away(e, "what was begun goes on in the cluster; run the same again to see it through"))?;
            let info = &deployment.info;
            let what = match (plan.changes(), args.timeout.is_zero()) {
                (_, true) => "applied; not waited for",
                (false, _) => "nothing was changed: it is as the spec says",
                (true, _) => "complete",
            };
            if args.json {
                println!("{}", json!({"event": "deployed", "cluster": info.name, "changed": plan.changes(), "endpoint": info.endpoint}));
            } else {
                println!(
                    "{} {what}. Clients in the cluster use {}",
                    paint.text(Tone::Good, &format!("Cluster {}:", info.name)),
                    info.endpoint
                );
            }
            Ok(Exit(0))
        },
        again,
    )
}

/// Tells what the API server warned of; a plan's JSON has it already.
fn warn(warnings: &[String], args: &DeployArgs, paint: Paint) {
    for warning in warnings {
        match args.json {
            true => println!("{}", json!({"event": "warning", "message": warning})),
            false => eprintln!("{} {}", paint.text(Tone::Doubt, "warning:"), printable(warning)),
        }
    }
}

fn show(plan: &Plan, args: &DeployArgs, paint: Paint) {
    if args.json {
        let objects: Vec<_> = plan
            .objects
            .iter()
            .map(|o| {
                let diff = o.diff.as_ref().filter(|_| args.diff).map(|d| json!({"before": d.before, "after": d.after}));
                json!({"object": o.title, "outcome": word(o.outcome), "unchecked": o.unchecked, "diff": diff})
            })
            .collect();
        let labels: Vec<_> =
            plan.labels.changes.iter().map(|c| json!({"node": c.node, "key": c.key, "before": c.before, "after": c.after})).collect();
        let problems: Vec<_> = plan.problems.iter().map(ToString::to_string).collect();
        let settings: Vec<_> = plan.settings.iter().map(ToString::to_string).collect();
        let leaving: Vec<_> = plan.leaving.iter().map(leave_json).collect();
        println!(
            "{}",
            json!({"event": "plan", "check": args.check, "objects": objects, "labels": labels, "restarts": plan.restarts,
                "leaving": leaving, "kept": plan.kept, "rebalance": plan.rebalance, "settings": settings, "moves": plan.moves, "warnings": plan.warnings, "problems": problems, "changed": plan.changes()})
        );
        return;
    }
    warn(&plan.warnings, args, paint);
    if !args.check && !args.diff {
        return;
    }
    for change in &plan.labels.changes {
        let before = change.before.as_ref().map(|b| format!(" (was {b})")).unwrap_or_default();
        match &change.after {
            Some(after) => println!("{} node {}: {}={after}{before}", paint.text(Tone::Change, "label   "), change.node, change.key),
            None => println!("{} node {}: {}{before}", paint.text(Tone::Bad, "unlabel "), change.node, change.key),
        }
    }
    let mut unchecked = false;
    for object in plan.objects.iter().filter(|o| o.outcome != Outcome::Unchanged) {
        let (verb, tone) = match object.outcome {
            Outcome::Created => ("create  ", Tone::Good),
            Outcome::Deleted => ("delete  ", Tone::Bad),
            Outcome::Recreated => ("replace ", Tone::Bad),
            Outcome::Changed | Outcome::Unchanged => ("change  ", Tone::Change),
        };
        println!("{} {}", paint.text(tone, verb), object.title);
        unchecked |= object.unchecked;
        if let Some(diff) = object.diff.as_ref().filter(|_| args.diff) {
            unified(diff, paint).iter().for_each(|line| println!("    {line}"));
        }
    }
    for setting in &plan.kept {
        println!("{} {}", paint.text(Tone::Doubt, "keep    "), keeps(setting));
    }
    for leave in &plan.leaving {
        println!("{} {leave}", paint.text(Tone::Bad, if leave.role == Role::Target { "empty   " } else { "remove  " }));
    }
    for pod in &plan.restarts {
        println!("{} {pod}", paint.text(Tone::Change, "restart "));
    }
    for setting in &plan.settings {
        println!("{} configuration: {setting}", paint.text(Tone::Change, "set     "));
    }
    if let Some(on) = plan.rebalance {
        println!("{} rebalance: {}", paint.text(Tone::Change, "set     "), if on { "on" } else { "off" });
    }
    if plan.moves {
        println!("{} rebalance: moves what was written while targets were restarted", paint.text(Tone::Change, "start   "));
    }
    let unchanged = plan.objects.iter().filter(|o| o.outcome == Outcome::Unchanged).count();
    let changed = plan.objects.len() - unchanged
        + plan.labels.changes.len()
        + plan.leaving.len()
        + plan.restarts.len()
        + plan.settings.len()
        + usize::from(plan.rebalance.is_some())
        + usize::from(plan.moves);
    if args.check {
        match plan.changes() {
            true => println!("{changed} changes, {unchanged} objects are as they should be. Nothing was changed: this was a dry run."),
            false => println!("Nothing to change."),
        }
        if unchecked {
            println!("The API server could not check what goes into a namespace, or in the place of an object, that is not there yet.");
        }
    }
}

/// How to go on where the API server is away.
fn away(error: KubeError, how: &str) -> CliError {
    let again = if error.is_passing() { format!("\n{how} when it answers") } else { String::new() };
    CliError::Failed(format!("{error}{again}"))
}

fn leave_json(leave: &Leave) -> serde_json::Value {
    json!({"pod": leave.pod, "node": leave.node, "moves": leave.moves, "label": leave.label})
}

/// What stands in the way, field by field, and how to go on.
fn problems(all: &[KubeError], verb: &str) -> CliError {
    let mut lines = vec![];
    for problem in all {
        match problem {
            KubeError::Conflict { what, causes } | KubeError::Invalid { what, causes } => {
                lines.push(what.clone());
                lines.extend(causes.iter().map(|c| format!("  {}: {}", c.field, c.message)));
            }
            other => lines.push(other.to_string()),
        }
    }
    let conflicts = all.iter().any(|p| matches!(p, KubeError::Conflict { .. }));
    lines.push("nothing was changed".into());
    if conflicts {
        lines.push(format!("to take these fields over from their managers: fettle {verb} --force-conflicts"));
    }
    CliError::Failed(lines.join("\n"))
}
