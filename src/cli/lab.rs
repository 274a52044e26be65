//! `fettle lab`: throw-away test hosts on this machine.

use crate::diag::Diagnostic;
use crate::lab::{self, Options, Trouble, Up, names};
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::io::IsTerminal;

/// Throw-away test hosts on this machine: real sshd, real disks (sparse files), nothing left behind.
#[derive(Debug, Args)]
pub struct LabCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Bring a lab up
    Up {
        /// How many hosts; without it 3
        #[arg(long, value_name = "N")]
        hosts: Option<usize>,
        /// How many disks each host has: sda, sdb, …; without it 4
        #[arg(long, value_name = "N")]
        disks: Option<usize>,
        /// Size of each disk: a sparse file, so it takes only what is written; XFS wants 300M; without it 1G
        #[arg(long, value_name = "SIZE", value_parser = names::size)]
        disk_size: Option<u64>,
        /// A Kubernetes control plane too (see scripts/control-plane): the hosts are its nodes, its pods are only played
        #[arg(long)]
        kubernetes: bool,
        #[command(flatten)]
        name: Name,
    },
    /// Take a lab away: processes, disks, links, files; also what a crash or a reboot left
    Down {
        #[command(flatten)]
        name: Name,
        /// Every lab on this machine
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// List labs, their hosts, addresses and disks
    List,
    /// Print the path of a lab's inventory
    Inventory {
        #[command(flatten)]
        name: Name,
    },
    /// Print the path of the kubeconfig of a lab's control plane
    Kubeconfig {
        #[command(flatten)]
        name: Name,
    },
    /// Run a command inside a host, as root and without SSH; its exit code is passed on
    Exec {
        /// The host, such as node01
        host: String,
        #[command(flatten)]
        name: Name,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Kill everything in a host but its PID 1: connections are refused, disks and files stay
    Stop(Host),
    /// Start a stopped host's sshd again
    Start(Host),
    /// Stop all of a host's processes where they are: nobody answers
    Freeze(Host),
    /// Let a frozen host go on
    Thaw(Host),
    /// Pull a host's network cable
    Cut(Host),
    /// Plug a host's network cable in again
    Plug(Host),
    /// What a host's PID 1 runs; started by `up`
    #[command(hide = true)]
    Init { lab: String, host: String },
}

#[derive(Debug, Args)]
struct Name {
    /// The lab's name; several stand side by side
    #[arg(long, default_value = "default")]
    name: String,
}

#[derive(Debug, Args)]
struct Host {
    /// The host, such as node01
    host: String,
    #[command(flatten)]
    name: Name,
}

impl LabCommand {
    /// Does it. Gives the exit code.
    ///
    /// # Errors
    /// What went wrong, for the caller to print.
    pub fn run(self) -> Result<i32, Diagnostic> {
        match self.what {
            What::Up { hosts, disks, disk_size, kubernetes, name } => {
                up(&name.name, hosts, disks, disk_size)?;
                if kubernetes {
                    eprintln!("Starting the control plane …");
                    let path = lab::kubernetes::start(&name.name)?;
                    println!("Kubeconfig: {}", path.display());
                }
            }
            What::Down { all: true, .. } => {
                let names = lab::down_all()?;
                if names.is_empty() {
                    println!("No lab is up.");
                }
                names.iter().for_each(|name| println!("Lab `{name}` is gone."));
            }
            What::Down { name, .. } => match lab::down(&name.name)? {
                true => println!("Lab `{}` is gone.", name.name),
                false => println!("No lab `{}` is up.", name.name),
            },
            What::List => list(),
            What::Inventory { name } => println!("{}", lab::inventory(&name.name)?.display()),
            What::Kubeconfig { name } => println!("{}", lab::kubernetes::kubeconfig(&name.name)?.display()),
            What::Exec { host, name, command } => return lab::exec(&name.name, &host, &command),
            What::Stop(host) => host.cause(Trouble::Stop)?,
            What::Start(host) => host.cause(Trouble::Start)?,
            What::Freeze(host) => host.cause(Trouble::Freeze)?,
            What::Thaw(host) => host.cause(Trouble::Thaw)?,
            What::Cut(host) => host.cause(Trouble::Cut)?,
            What::Plug(host) => host.cause(Trouble::Plug)?,
            What::Init { lab, host } => lab::init::run(&lab, &host)?,
        }
        Ok(0)
    }
}

impl Host {
    fn cause(&self, trouble: Trouble) -> Result<(), Diagnostic> {
        lab::cause(&self.name.name, &self.host, trouble)
    }
}

/// Brings a lab up, of 3 hosts with 4 disks of 1 GiB unless something else is asked for. One that is up must be as asked.
fn up(name: &str, hosts: Option<usize>, disks: Option<usize>, disk_size: Option<u64>) -> Result<(), Diagnostic> {
    let options = &Options {
        name: name.to_owned(),
        hosts: hosts.unwrap_or(3),
        disks: disks.unwrap_or(4),
        disk_size: disk_size.unwrap_or(1 << 30),
        program: None,
    };
    let terminal = std::io::stderr().is_terminal();
    let mut ready = 0;
    let made = lab::up(options, &mut |host, time| {
        ready += 1;
        let line = format!("{}  {}  up after {:.1} s", host.name, host.address, time.as_secs_f64());
        match terminal {
            true => eprint!("\r\x1b[K{line}  {ready}/{}", options.hosts),
            false => eprintln!("{line}"),
        }
    });
    if terminal && ready > 0 {
        eprint!("\r\x1b[K");
    }
    let (state, words) = match made? {
        Up::Made(state) => (state, "is up"),
        Up::There(state) => (state, "is up already"),
    };
    let wanted_disks = disks;
    let disks = state.hosts.first().map_or(0, |host| host.disks.len());
    let other = |asked: Option<usize>, there: usize| asked.is_some_and(|n| n != there);
    if other(hosts, state.hosts.len()) || other(wanted_disks, disks) || disk_size.is_some_and(|n| n != state.disk_size) {
        return Err(Diagnostic::bare(format!(
            "lab `{}` is up already, and otherwise: {}, {} of {} each",
            state.name,
            count(state.hosts.len(), "host"),
            count(disks, "disk"),
            size(state.disk_size)
        ))
        .help(format!("fettle lab down --name {0}, then up again; or another --name", state.name)));
    }
    println!(
        "Lab `{}` {words}: {}, {} of {} each.",
        state.name,
        count(state.hosts.len(), "host"),
        count(disks, "disk"),
        size(state.disk_size)
    );
    let name = match state.name.as_str() {
        "default" => String::new(),
        name => format!(" --name {name}"),
    };
    let first = state.hosts.first().map(|host| host.name.clone()).unwrap_or_default();
    println!("Look at it:    fettle lab list");
    println!("Dry run:       fettle plan playbooks/site.yml -i $(fettle lab inventory{name})");
    println!("Look inside:   fettle lab exec {first}{name} -- lsblk");
    println!("Take it away:  fettle lab down{name}");
    Ok(())
}

fn list() {
    let labs = lab::list();
    if labs.is_empty() {
        println!("No lab is up. To bring one up: fettle lab up");
    }
    for lab in labs {
        let Some(state) = lab.state else {
            println!("{}: broken, left by an interrupted `up` or a reboot; fettle lab down --name {0}", lab.name);
            continue;
        };
        println!("{}: bridge {}, disks of {}", lab.name, state.bridge, size(state.disk_size));
        for host in &state.hosts {
            let up = if lab.alive.contains(&host.name) { "up" } else { "dead" };
            println!("  {}  {:<14}  {up:<4}  {}", host.name, host.address, host.disks.join(" "));
        }
    }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Bytes in the largest unit that leaves no rest.
fn size(bytes: u64) -> String {
    let (mut number, mut unit) = (bytes, "");
    for larger in ["K", "M", "G", "T"] {
        if number % 1024 != 0 {
            break;
        }
        (number, unit) = (number / 1024, larger);
    }
    format!("{number}{unit}")
}
