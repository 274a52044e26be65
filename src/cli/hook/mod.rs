//! `fettle hook post-kubespray`: what Kubespray leaves undone for AIStore, on the nodes it made.
//!
//! | file | what it does |
//! |---|---|
//! | `access` | finds the API server |
//! | `hosts` | looks at hosts, nodes and kubelets, and refuses what is not well |
//! | `change` | changes kubelets, waits for them, puts back what does not come back |
//! | `stop` | hears Ctrl-C |
//! | `sysctls` | compares kernel parameters, now and after the next boot |
//! | `finish` | what is said at the end |

mod access;
mod change;
mod finish;
mod hosts;
mod stop;
mod sysctls;

use crate::cli::cluster::{AccessArgs, duration, labelled};
use crate::cli::label;
use crate::cli::onhosts::HostArgs;
use crate::cli::{CliError, Exit};
use crate::inventory::Inventory;
use crate::kube::{Progress, Server};
use crate::report::{Paint, Steps, colour_wanted};
use change::{Told, Trouble, change, still_well};
use clap::{Args, Subcommand};
use hosts::Node;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use stop::{STOPPED, Stop};

/// Options of `fettle hook`.
#[derive(Debug, Args)]
pub struct HookArgs {
    #[command(subcommand)]
    hook: Hook,
}

#[derive(Debug, Subcommand)]
enum Hook {
    /// After Kubespray's cluster.yml or scale.yml: let pods set the sysctls AIStore needs, one kubelet after another
    PostKubespray(PostKubespray),
}

#[derive(Debug, Args)]
struct PostKubespray {
    /// Kubespray's inventory, as it is; may be given several times
    #[arg(short, long, value_name = "INVENTORY", required = true)]
    inventory: Vec<String>,
    /// Only these hosts
    #[arg(short, long, value_name = "PATTERN")]
    limit: Option<String>,
    /// How many kubelets restart at once: a number, or a part of all (`20%`)
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = serial)]
    serial: Serial,
    /// Sysctls that pods may set, names or patterns; AIStore's deployment guide allows all of net
    #[arg(long, value_name = "SYSCTL", value_delimiter = ',', default_value = "net.*")]
    sysctl: Vec<String>,
    /// Then put the labels on nodes that this cluster spec needs; may be given several times
    #[arg(long, value_name = "CLUSTER")]
    cluster: Vec<PathBuf>,
    /// Dry run
    #[arg(short = 'C', long)]
    check: bool,
    /// How long a kubelet may take to come back
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = duration)]
    timeout: Duration,
    /// For machines: a JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hosts: HostArgs,
    #[command(flatten)]
    access: AccessArgs,
}

/// How many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serial {
    Number(usize),
    /// Of a hundred.
    Part(usize),
}

fn serial(text: &str) -> Result<Serial, String> {
    let wrong = || format!("`{text}` is no number of hosts: write 2 or 20%");
    match text.strip_suffix('%') {
        Some(part) => part.parse().ok().filter(|p| (1..=100).contains(p)).map(Serial::Part).ok_or_else(wrong),
        None => text.parse().ok().filter(|n| *n > 0).map(Serial::Number).ok_or_else(wrong),
    }
}

impl Serial {
    /// Of so many hosts; at least one, as Ansible has it.
    fn of(self, all: usize) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Part(part) => (all.saturating_mul(part) / 100).max(1),
        }
    }
}

/// Why the hook did not get through.
struct Ended {
    code: u8,
    error: CliError,
}

impl<E: Into<CliError>> From<E> for Ended {
    fn from(error: E) -> Self {
        let error = error.into();
        Self { code: error.code(), error }
    }
}

fn ended(code: u8, text: String) -> Ended {
    Ended { code, error: CliError::Failed(text) }
}

/// An error's words.
fn words(error: &CliError) -> String {
    match error {
        CliError::Input(all) => all.to_string(),
        CliError::Failed(text) => text.clone(),
    }
}

/// What all steps of a run work with.
struct Run<'a> {
    args: &'a PostKubespray,
    inventory: &'a Inventory,
    server: &'a Server,
    stop: &'a Stop,
    steps: Steps,
}

impl Run<'_> {
    /// Says what became of a host.
    fn tell(&mut self, host: &str, state: &str, text: &str) {
        if self.args.json {
            println!("{}", json!({"event": "host", "host": host, "state": state, "text": text}));
        } else {
            self.steps.line(&format!("{host}: {text}"));
        }
    }

    /// Says it to machines only: people read it elsewhere.
    fn tell_machines(&mut self, host: &str, state: &str) {
        if self.args.json {
            println!("{}", json!({"event": "host", "host": host, "state": state}));
        }
    }
}

/// Runs a hook.
pub fn hook(args: &HookArgs) -> Result<Exit, CliError> {
    let Hook::PostKubespray(args) = &args.hook;
    let stop = Stop::watch()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| CliError::Failed(e.to_string()))?;
    match runtime.block_on(post_kubespray(args, &stop)) {
        Ok(exit) => Ok(exit),
        Err(Ended { code, error }) => {
            if args.json {
                println!("{}", json!({"event": "failed", "code": code, "text": words(&error)}));
            }
            error.print();
            Ok(Exit(code))
        }
    }
}

async fn post_kubespray(args: &PostKubespray, stop: &Stop) -> Result<Exit, Ended> {
    let inventory = Inventory::load(&args.inventory, None)?;
    let mut hosts = inventory.select("k8s_cluster")?;
    if let Some(limit) = &args.limit {
        hosts = inventory.limit(hosts, limit)?;
    }
    if hosts.is_empty() {
        return Err(CliError::Failed(
            "the inventory has no hosts in k8s_cluster (kube_node, kube_control_plane) that --limit leaves: is it Kubespray's?".into(),
        )
        .into());
    }
    let wanted = sysctls::required()?;
    let mut steps = Steps::new(Paint { on: colour_wanted() }, args.json);
    let prepared = tokio::select! {
        found = prepare(args, &inventory, &hosts, &wanted, &mut steps) => found,
        () = stop.wait() => Err(ended(STOPPED, "stopped; nothing was changed".into())),
    };
    let Prepared { server, nodes, results, labels } = prepared?;
    let todo: Vec<Node> = nodes.iter().filter(|n| n.changes || n.stale).cloned().collect();
    let mut run = Run { args, inventory: &inventory, server: &server, stop, steps };
    for node in &todo {
        let what = if node.changes {
            format!("allow {} in {}", args.sysctl.join(", "), node.path)
        } else {
            "its kubelet does not run with its file yet".into()
        };
        run.tell(&node.host, "to do", &format!("{what}; restart its kubelet{}", if args.check { " (dry run)" } else { "" }));
    }
    if !args.check {
        change_all(&mut run, &todo).await?;
    }
    run.steps.done();
    let notices = finish::notices(&nodes, &results, &wanted);
    // What was found on hosts is told whatever becomes of the labels.
    let labelled = put_labels(&run, &labels).await;
    finish::finish(&run, &nodes, &todo, labelled.as_ref().copied().unwrap_or(0), &notices);
    labelled?;
    Ok(Exit(0))
}

/// What is known before anything is changed.
struct Prepared {
    server: Server,
    nodes: Vec<Node>,
    results: crate::cli::onhosts::Results,
    labels: Vec<label::Planned>,
}

async fn prepare(
    args: &PostKubespray,
    inventory: &Inventory,
    hosts: &[String],
    wanted: &[sysctls::Wanted],
    steps: &mut Steps,
) -> Result<Prepared, Ended> {
    // Wrong files are told before anything is asked over the network.
    for spec in &args.cluster {
        crate::cluster::load(spec)?;
    }
    let server = access::server(args, inventory).await?;
    server.version().await?;
    steps.now(&format!("looking at {} kubelets", hosts.len()));
    let (nodes, results) = hosts::look_at(args, inventory, &server, hosts, wanted).await?;
    let mut labels = vec![];
    if !args.cluster.is_empty() {
        let opened = crate::cluster::open(&args.cluster, Some(inventory), Some(&labelled(&server).await?))?;
        let only: Option<Vec<String>> = args.limit.is_some().then(|| nodes.iter().map(|n| n.node.clone()).collect());
        for resolved in &opened.clusters {
            labels.push(label::plan(&server, resolved, how(args), only.as_deref()).await?);
        }
    }
    Ok(Prepared { server, nodes, results, labels })
}

fn how(args: &PostKubespray) -> label::How {
    label::How { check: args.check, json: args.json, ..label::How::default() }
}

/// Puts the labels of the specs given; how many changed, or would.
async fn put_labels(run: &Run<'_>, labels: &[label::Planned]) -> Result<usize, CliError> {
    let mut changed = 0;
    for planned in labels {
        changed += planned.act(run.server, how(run.args)).await?;
    }
    Ok(changed)
}

/// Changes all that have to change, batch by batch.
async fn change_all(run: &mut Run<'_>, todo: &[Node]) -> Result<(), Ended> {
    let mut done: Vec<Told> = vec![];
    let at_once = run.args.serial.of(todo.len());
    for batch in todo.chunks(at_once) {
        if run.stop.asked() {
            return Err(halt(run, todo, &done, Trouble { code: STOPPED, text: "stopped".into(), hosts: vec![] }));
        }
        if let Err(trouble) = still_well(run, &mut done, false, at_once).await {
            return Err(halt(run, todo, &done, trouble));
        }
        match change(run, batch).await {
            Ok(told) => done.extend(told),
            Err(trouble) => return Err(halt(run, todo, &done, trouble)),
        }
    }
    let trouble = still_well(run, &mut done, true, at_once).await;
    trouble.map_err(|trouble| halt(run, todo, &done, trouble))
}

fn halt(run: &mut Run<'_>, todo: &[Node], done: &[Told], trouble: Trouble) -> Ended {
    run.steps.done();
    let here: Vec<&str> = trouble.hosts.iter().map(String::as_str).collect();
    let done: Vec<&str> = done.iter().map(|t| t.host.as_str()).filter(|h| !here.contains(h)).collect();
    let left: Vec<&str> = todo.iter().map(|n| n.host.as_str()).filter(|h| !done.contains(h) && !here.contains(h)).collect();
    if run.args.json {
        println!("{}", json!({"event": "halted", "done": done, "stopped_at": here, "not_begun": left}));
    }
    let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let first = if trouble.code == STOPPED { "go on with" } else { "when it is put right, go on with" };
    let text = format!(
        "{}\ndone: {}; stopped at: {}; not begun: {}\n{first}: {}",
        trouble.text,
        list(&done),
        list(&here),
        list(&left),
        again(run.args)
    );
    ended(trouble.code, text)
}

/// The command that does the same again.
fn again(args: &PostKubespray) -> String {
    let mut words = vec!["fettle hook post-kubespray".to_owned()];
    let mut option = |name: &str, value: &str| words.push(format!("{name} {}", quoted(value)));
    args.inventory.iter().for_each(|i| option("-i", i));
    args.limit.iter().for_each(|l| option("-l", l));
    match args.serial {
        Serial::Number(1) => {}
        Serial::Number(number) => option("--serial", &number.to_string()),
        Serial::Part(part) => option("--serial", &format!("{part}%")),
    }
    if args.sysctl != ["net.*"] {
        option("--sysctl", &args.sysctl.join(","));
    }
    args.cluster.iter().for_each(|c| option("--cluster", &c.display().to_string()));
    // The default is 3m.
    if args.timeout != Duration::from_secs(180) {
        option("--timeout", &format!("{}s", args.timeout.as_secs()));
    }
    args.access.kubeconfig.iter().for_each(|k| option("--kubeconfig", &k.display().to_string()));
    args.access.context.iter().for_each(|c| option("--context", c));
    args.hosts.user.iter().for_each(|u| option("-u", u));
    args.hosts.private_key.iter().for_each(|k| option("--private-key", &k.display().to_string()));
    for (given, letter) in [(args.hosts.ask_pass, "-k"), (args.hosts.ask_become_pass, "-K"), (args.json, "--json")] {
        words.extend(given.then(|| letter.to_owned()));
    }
    words.join(" ")
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-,:=@%+".contains(c));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: PostKubespray,
    }

    #[test]
    fn what_to_go_on_with_has_every_option() {
        for line in [
            "-i a -i b",
            "-i a -l 'k8s_cluster:!n2' --serial 20% --sysctl 'net.core.*,kernel.msg*' --cluster c.yml --timeout 60s --kubeconfig k --context c -u me --private-key key -k -K --json",
        ] {
            let words = line.split_whitespace().map(|w| w.trim_matches('\''));
            let parsed = Line::try_parse_from(std::iter::once("x").chain(words)).unwrap();
            assert_eq!(again(&parsed.args), format!("fettle hook post-kubespray {line}"));
        }
        assert_eq!(serial("50%").map(|s| s.of(5)), Ok(2));
        assert_eq!(serial("10%").map(|s| s.of(5)), Ok(1));
        assert!(serial("0").is_err() && serial("0%").is_err() && serial("x").is_err());
    }
}
