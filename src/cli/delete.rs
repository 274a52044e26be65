//! `fettle delete`: take a cluster away, and leave what users stored unless that is named.

use super::cluster::{ClusterArgs, Ready, ready_for_what_is_there, run};
use super::connect::confirm;
use super::remains::Folders;
use super::{CliError, Exit};
use crate::kube::Info;
use crate::kube::delete::{Removal, delete as take_away, find};
use crate::report::{Paint, Steps, Tone, colour_wanted};
use clap::Args;

/// Options of `fettle delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Dry run: show what would go
    #[arg(short = 'C', long)]
    check: bool,
    /// Delete AIStore's own state too: cluster map, identities, configuration (claims; on hosts with -i)
    #[arg(long)]
    state: bool,
    /// Delete users' data too: everything stored in the cluster (claims and volumes; on hosts with -i). Asks for the cluster's name
    #[arg(long, requires = "state")]
    data: bool,
    /// Don't ask whether to delete the cluster
    #[arg(short, long)]
    yes: bool,
    /// The cluster's name, in place of typing it when --data asks
    #[arg(long, value_name = "NAME", requires = "data")]
    data_of: Option<String>,
    /// Remove folders also on hosts whose nodes Kubernetes has no more, or of which it may not be asked; and go on without hosts that can't
    /// be reached
    #[arg(long, requires = "state")]
    any_host: bool,
    #[command(flatten)]
    connect: super::preflight::HostArgs,
}

/// What is said when the answer is no.
const KEPT: &str = "nothing was deleted";

/// Deletes.
pub fn delete(args: &DeleteArgs) -> Result<Exit, CliError> {
    run(
        async {
            let Ready { server, resolved, inventory } = ready_for_what_is_there(&args.cluster).await?;
            let info = Info::new(&resolved);
            let removal = find(&server, &info, &resolved.labels()).await?;
            let paint = Paint { on: colour_wanted() };
            let folders = super::remains::folders(&resolved, args.state, args.data);
            // The same spec may be for several clusters, and the context another one than meant.
            let place = format!("{} ({})", server.url, server.login);
            show(&info, &place, &removal, &folders, args, paint);
            // Before anything is taken away: a cluster that is half gone is worse than one that is there.
            let on_hosts = match &inventory {
                Some(inventory) => {
                    let by_host = super::remains::by_host(&folders, inventory)?;
                    if !folders.is_empty() {
                        super::remains::recognise(&server, &folders, inventory, &args.connect, args.any_host).await?;
                    }
                    by_host
                }
                None if folders.is_empty() => Folders::new(),
                None => {
                    let count: usize = folders.values().map(Vec::len).sum();
                    return Err(CliError::Failed(format!(
                        "{count} folders on hosts are to be deleted, and no inventory says how to reach the hosts: give it with -i"
                    )));
                }
            };
            if args.check {
                println!("Nothing was changed: this was a dry run.");
                return Ok(Exit(0));
            }
            if removal.is_empty() && folders.is_empty() {
                return Ok(Exit(0));
            }
            if !args.yes && args.data_of.is_none() && !args.data {
                let question = format!("Delete cluster {} in namespace {} at {place}? (yes/no) ", info.name, info.namespace);
                confirm(&question, "yes", "--yes", KEPT)?;
            }
            if args.data {
                match &args.data_of {
                    Some(name) if *name == info.name => {}
                    Some(name) => {
                        return Err(CliError::Failed(format!(
                            "--data-of says `{name}`, and the cluster is `{}`: nothing was deleted",
                            info.name
                        )));
                    }
                    None => confirm(
                        &format!("All data stored in the cluster at {place} will be lost. Type its name to go on: "),
                        &info.name,
                        "--data-of NAME",
                        KEPT,
                    )?,
                }
            }
            let mut steps = Steps::new(paint, false);
            let result = take_away(&server, &info, &removal, args.state, args.data, &mut steps).await;
            steps.done();
            result?;
            if let Some(inventory) = &inventory
                && !on_hosts.is_empty()
            {
                super::remains::remove(&on_hosts, inventory, &args.connect)?;
            }
            println!(
                "Cluster {} is deleted{}.",
                info.name,
                if args.data { ", with all data" } else { "; what users stored is still there" }
            );
            if let Some(local) = &resolved.cluster.targets.local_volumes {
                println!(
                    "The StorageClass {} stays: volumes may still name it. kubectl delete storageclass {}",
                    local.storage_class.value, local.storage_class.value
                );
            }
            if args.state && !args.data && !removal.data_claims.is_empty() {
                println!(
                    "The {} claims with users' data hold a copy of the cluster map, which can't be removed from here: targets of a cluster of \
                     this name read it. For a cluster that begins anew, with HTTPS in place of HTTP for example, remove .ais.smap from each.",
                    removal.data_claims.len()
                );
            }
            if !args.state && !removal.state_claims.is_empty() {
                println!("AIStore's state is kept in {} claims; a cluster of this name goes on with it.", removal.state_claims.len());
            }
            Ok(Exit(0))
        },
        "stopped; run the same again to delete the rest",
    )
}

fn show(info: &Info, place: &str, removal: &Removal, folders: &Folders, args: &DeleteArgs, paint: Paint) {
    if removal.is_empty() && folders.is_empty() {
        println!("There is nothing of cluster {} in namespace {} at {place}.", info.name, info.namespace);
        return;
    }
    println!("Cluster {} in namespace {} at {place}:", info.name, info.namespace);
    let bad = |text: &str| paint.text(Tone::Bad, text);
    let keep = |text: &str| paint.text(Tone::Good, text);
    for (kind, name, _) in &removal.objects {
        println!("{} {kind} {}/{name}", bad("delete"), info.namespace);
    }
    for label in &removal.labels {
        println!("{} label {} of node {}", bad("delete"), label.key, label.node);
    }
    for (claims, gone, what) in [(&removal.state_claims, args.state, "state"), (&removal.data_claims, args.data, "users' data")] {
        for (claim, _) in claims {
            println!("{} PersistentVolumeClaim {}/{claim} ({what})", if gone { bad("delete") } else { keep("keep  ") }, info.namespace);
        }
    }
    for (volume, _) in &removal.volumes {
        println!("{} PersistentVolume {volume} (users' data)", if args.data { bad("delete") } else { keep("keep  ") });
    }
    for line in &removal.kept {
        println!("{} {line}", keep("keep  "));
    }
    for (host, paths) in folders {
        for path in paths {
            println!("{} {host}: {path}", bad("delete"));
        }
    }
    println!("{} Namespace {}", keep("keep  "), info.namespace);
}
