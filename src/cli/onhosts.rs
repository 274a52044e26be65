//! Plays of our own that commands run on hosts on the way, by the same run loop as the operator's.

use super::CliError;
use super::connect::{ConnectArgs, target};
use crate::controller::{Event, Options, Reporter, Summary, Via, run};
use crate::inventory::Inventory;
use crate::play::Vars;
use crate::playbook::{self, LoadOptions};
use crate::protocol::{Status, TaskReport};
use clap::Args;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How to reach hosts, for commands whose main matter is the Kubernetes cluster.
#[derive(Clone, Debug, Args)]
pub struct HostArgs {
    /// Log in on hosts as this user
    #[arg(short, long = "user", value_name = "USER", help_heading = "Hosts")]
    pub user: Option<String>,
    /// Private key to log in with
    #[arg(long, alias = "key-file", value_name = "FILE", help_heading = "Hosts")]
    pub private_key: Option<PathBuf>,
    /// Ask for the login password
    #[arg(short = 'k', long, help_heading = "Hosts")]
    pub ask_pass: bool,
    /// Ask for the sudo password
    #[arg(short = 'K', long, help_heading = "Hosts")]
    pub ask_become_pass: bool,
}

impl HostArgs {
    fn connect(&self) -> ConnectArgs {
        ConnectArgs {
            inventory: vec![],
            limit: None,
            user: self.user.clone(),
            private_key: self.private_key.clone(),
            ask_pass: self.ask_pass,
            ask_become_pass: self.ask_become_pass,
            timeout: super::connect::TIMEOUT,
            connection: None,
            forks: None,
        }
    }
}

/// What tasks of such a play returned, by host and task name.
#[derive(Debug, Default)]
pub struct Results {
    /// The reports.
    pub hosts: BTreeMap<String, BTreeMap<String, TaskReport>>,
    /// Hosts that could not be asked, and why.
    pub failed: BTreeMap<String, String>,
    /// Those of them that could not be reached.
    pub unreachable: BTreeSet<String>,
}

impl Reporter for Results {
    fn event(&mut self, event: Event) {
        match event {
            Event::Result { host, report } => {
                if report.status == Status::Failed && !report.ignored {
                    self.failed.insert(host.clone(), format!("{}: {}", report.name, report.message));
                }
                if report.item.is_none() {
                    self.hosts.entry(host).or_default().insert(report.name.clone(), *report);
                }
            }
            Event::Unreachable { host, reason } => {
                self.unreachable.insert(host.clone());
                self.failed.insert(host, reason);
            }
            _ => {}
        }
    }
}

/// A field of a task's result; null where it has none.
pub fn field<'a>(task: &'a TaskReport, name: &str) -> &'a serde_json::Value {
    task.result.get(name).unwrap_or(&serde_json::Value::Null)
}

/// Runs a playbook of our own on hosts of `inventory`. `extra`: its variables, one JSON object.
pub fn play(
    name: &str,
    text: &str,
    extra: &serde_json::Value,
    inventory: &Inventory,
    hosts: &HostArgs,
    check: bool,
    reporter: &mut dyn Reporter,
) -> Result<Summary, CliError> {
    let folder = Folder::new()?;
    let file = folder.0.join(format!("{name}.yml"));
    std::fs::write(&file, text).map_err(|e| CliError::Failed(format!("{}: {e}", file.display())))?;
    let extra: Vars = playbook::extra_vars(&[extra.to_string()])?;
    let site = playbook::load(&[file], &LoadOptions { extra: extra.clone(), ..LoadOptions::default() })?;
    let connect = hosts.connect();
    let defaults = connect.defaults()?;
    let options = Options {
        run: uuid::Uuid::new_v4().simple().to_string()[..8].to_owned(),
        by: connect.by(),
        purpose: format!("{name} of fettle"),
        check,
        forks: connect.forks(),
        extra: extra.clone(),
        ..Options::default()
    };
    let targets = |host: &str, via: &Via| target(inventory, &extra, host, via, &defaults);
    Ok(run(&site, inventory, &options, &targets, reporter)?)
}

/// The same from within asynchronous work: the run has a loop of its own, which needs a thread of its own.
pub fn play_aside<R: Reporter + Send>(
    name: &str,
    text: &str,
    extra: &serde_json::Value,
    inventory: &Inventory,
    hosts: &HostArgs,
    check: bool,
    reporter: &mut R,
) -> Result<Summary, CliError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| play(name, text, extra, inventory, hosts, check, reporter));
        thread.join().unwrap_or_else(|_| Err(CliError::Failed(format!("{name}: the run on hosts broke off"))))
    })
}

/// A folder of this process's own that goes away with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, CliError> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("fettle-{}", uuid::Uuid::new_v4().simple()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|e| CliError::Failed(format!("{}: {e}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is one small file in the folder for such things.
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}
