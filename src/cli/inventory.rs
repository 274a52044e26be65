//! `fettle inventory`: what an inventory says.

use super::connect::ConnectArgs;
use super::{CliError, Exit};
use crate::inventory;
use clap::Args;
use std::path::PathBuf;

/// What to show.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct InventoryArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Everything, as JSON that a dynamic inventory would print
    #[arg(long, group = "what")]
    list: bool,
    /// Groups and hosts as a tree
    #[arg(long, group = "what")]
    graph: bool,
    /// One host's variables
    #[arg(long, value_name = "HOST", group = "what")]
    host: Option<String>,
    /// With --graph: show variables too
    #[arg(long)]
    vars: bool,
    /// Where else group_vars and host_vars are
    #[arg(long, value_name = "DIR")]
    playbook_dir: Option<PathBuf>,
}

/// Prints it.
pub fn run(args: &InventoryArgs) -> Result<Exit, CliError> {
    let inventory = args.connect.inventory(args.playbook_dir.as_deref())?;
    let only = match &args.connect.limit {
        None => None,
        Some(limit) => Some(inventory.limit(inventory.hosts(), limit)?),
    };
    if let Some(host) = &args.host {
        println!("{:#}", inventory::host_json(&inventory, host)?);
    } else if args.graph {
        print!("{}", inventory::graph_text(&inventory, args.vars));
    } else {
        println!("{:#}", inventory::list_json(&inventory, only.as_deref()));
    }
    Ok(Exit(0))
}
