//! The command line: a file a subcommand. Each reads arguments, calls, prints.

mod ask;
mod cluster;
mod connect;
mod delete;
mod deploy;
mod doc;
mod error;
mod habits;
mod hook;
mod identity;
mod init;
mod inventory;
pub mod lab;
mod label;
mod onhosts;
mod path_mtu;
mod play;
mod preflight;
mod remains;
mod render;
mod status;
mod undo;

pub use error::{CliError, Exit};

use clap::error::{ContextKind, ErrorKind};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Prepares and tunes Linux hosts for AIStore on Kubernetes: Ansible's language, one round trip a play, dry runs that tell the truth.
#[derive(Debug, Parser)]
#[command(name = "fettle", version, max_term_width = 110, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Dry run: show what apply would do, and touch nothing
    Plan(play::PlayArgs),
    /// Make the hosts as the playbooks say
    Apply(play::PlayArgs),
    /// Connect to hosts and start the agent there
    Ping(ask::PingArgs),
    /// Show hosts' facts
    Facts(ask::FactsArgs),
    /// Show what earlier runs did on hosts
    Journal(ask::JournalArgs),
    /// Bring back what a run found on hosts, as far as its journal can
    Undo(undo::UndoArgs),
    /// Show an inventory: hosts, groups, variables
    Inventory(inventory::InventoryArgs),
    /// Describe a module and its arguments, or list all modules
    Doc(doc::DocArgs),
    /// Look at hosts and write a cluster spec that fits them; changes nothing there
    Init(init::InitArgs),
    /// Show the Kubernetes manifests that a cluster spec becomes: what deploy applies
    Render(render::RenderArgs),
    /// Put the labels on nodes that a cluster spec needs
    Label(label::LabelArgs),
    /// Bring an AIStore cluster up, or to a changed spec
    Deploy(deploy::DeployArgs),
    /// Show how a cluster is: nodes, pods, primary, mountpaths
    Status(status::StatusArgs),
    /// Take a cluster away; users' data stays unless it is named
    Delete(delete::DeleteArgs),
    /// Steps after other tools: `post-kubespray`
    Hook(hook::HookArgs),
    /// Print the JSON Schema of a file that you write
    Schema(render::SchemaArgs),
    /// Throw-away hosts on this machine, for trying things out
    Lab(lab::LabCommand),
}

/// Runs the program and gives its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are no errors; wrong options are 5 in ansible-playbook, and 2 everywhere else.
            let code = if e.use_stderr() { 2 } else { 0 };
            let unknown = e.get(ContextKind::InvalidArg).filter(|_| e.kind() == ErrorKind::UnknownArgument);
            match unknown.map(ToString::to_string).and_then(|option| habits::instead(&option).map(|what| (option, what))) {
                Some((option, what)) => eprintln!("error: {option} is not supported: {what}"),
                None => drop(e.print()),
            }
            return ExitCode::from(code);
        }
    };
    let result = match cli.command {
        Command::Plan(args) => play::run(args, true),
        Command::Apply(args) => play::run(args, false),
        Command::Ping(args) => ask::ping(&args),
        Command::Facts(args) => ask::facts(&args),
        Command::Journal(args) => ask::journal(&args),
        Command::Undo(args) => undo::undo(&args),
        Command::Inventory(args) => inventory::run(&args),
        Command::Doc(args) => doc::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Render(args) => render::render(&args),
        Command::Schema(args) => Ok(render::schema(&args)),
        Command::Label(args) => label::label(&args),
        Command::Deploy(args) => deploy::deploy(&args),
        Command::Status(args) => status::status(&args),
        Command::Delete(args) => delete::delete(&args),
        Command::Hook(args) => hook::hook(&args),
        Command::Lab(command) => {
            command.run().map(|code| Exit(u8::try_from(code).unwrap_or(1))).map_err(|e| CliError::Failed(e.to_string()))
        }
    };
    match result {
        Ok(Exit(code)) => match crate::out::lost() {
            Some(why) => {
                eprintln!("error: standard output can't be written: {why}; the work itself is done");
                ExitCode::from(code.max(1))
            }
            None => ExitCode::from(code),
        },
        Err(e) => {
            e.print();
            ExitCode::from(e.code())
        }
    }
}
