//! `fettle hook post-kubespray`: what Kubespray leaves undone for AIStore, on the nodes it made.

use super::cluster::{AccessArgs, duration, run};
use super::onhosts::{HostArgs, Results, play_aside};
use super::{CliError, Exit};
use crate::cluster::node_name;
use crate::diag::Loc;
use crate::inventory::Inventory;
use crate::kube::kubelet::{allows, look};
use crate::kube::{Access, KubeError, Progress, Server, connect, kind};
use crate::protocol::Status;
use crate::report::{Paint, Steps, Tone, colour_wanted};
use clap::{Args, Subcommand};
use serde_json::{Map, Value as Json, json};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

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
    /// How many kubelets restart at once
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    serial: u16,
    /// Sysctls that pods may set, names or patterns; AIStore's deployment guide allows all of net
    #[arg(long, value_name = "SYSCTL", value_delimiter = ',', default_value = "net.*")]
    sysctl: Vec<String>,
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

/// One host of the run.
#[derive(Clone, Debug)]
struct Node {
    host: String,
    node: String,
    /// The file to change, and what it held (base64); `None`: it did not exist.
    path: String,
    before: Option<String>,
    /// The file has to change.
    changes: bool,
    /// The kubelet runs with something older than its file.
    stale: bool,
}

/// Runs a hook.
pub fn hook(args: &HookArgs) -> Result<Exit, CliError> {
    let Hook::PostKubespray(args) = &args.hook;
    run(post_kubespray(args), "stopped; a kubelet that was being restarted comes back by itself. Run the same again to see to the rest")
}

async fn post_kubespray(args: &PostKubespray) -> Result<Exit, CliError> {
    let inventory = Inventory::load(&args.inventory, None)?;
    let mut hosts = inventory.select("k8s_cluster")?;
    if let Some(limit) = &args.limit {
        hosts = inventory.limit(hosts, limit)?;
    }
    if hosts.is_empty() {
        return Err(CliError::Failed(
            "the inventory has no hosts in k8s_cluster (kube_node, kube_control_plane) that --limit leaves: is it Kubespray's?".into(),
        ));
    }
    let server = server(args, &inventory).await?;
    server.version().await?;
    let names = nodes_of(&server, &inventory, &hosts).await?;
    let mut steps = Steps::new(Paint { on: colour_wanted() }, args.json);
    steps.now(&format!("looking at {} kubelets", hosts.len()));
    let mut results = Results::default();
    let extra = json!({"hook_hosts": hosts.join(","), "hook_sysctls": args.sysctl});
    play_aside("hook", include_str!("hook_look.yml"), &extra, &inventory, &args.hosts, false, &mut results)?;
    if let Some((host, why)) = results.failed.iter().next() {
        return Err(CliError::Failed(format!(
            "{} of {} hosts could not be looked at; {host}: {why}\nnothing was changed",
            results.failed.len(),
            hosts.len()
        )));
    }
    let mut nodes = vec![];
    for (host, node) in &names {
        let task = |name: &str| results.hosts.get(host).and_then(|t| t.get(name));
        let found = task("kubelet").ok_or_else(|| CliError::Failed(format!("{host}: its kubelet was not looked at")))?;
        let before = task("before").filter(|t| t.status != Status::Failed).and_then(|t| super::onhosts::field(t, "content").as_str());
        let now = look(&server, node).await?;
        let runs = args.sysctl.iter().all(|s| allows(&now.allowed, s));
        nodes.push(Node {
            host: host.clone(),
            node: node.clone(),
            path: super::onhosts::field(found, "path").as_str().unwrap_or_default().to_owned(),
            before: before.map(str::to_owned),
            changes: found.status == Status::Changed,
            stale: found.status != Status::Changed && !runs && now.wrong.is_none(),
        });
    }
    let todo: Vec<Node> = nodes.iter().filter(|n| n.changes || n.stale).cloned().collect();
    for node in &todo {
        let what = if node.changes {
            format!("allow {} in {}", args.sysctl.join(", "), node.path)
        } else {
            "its kubelet does not run with its file yet".into()
        };
        steps.line(&format!("{}: {what}; restart its kubelet{}", node.host, if args.check { " (dry run)" } else { "" }));
    }
    let mut done = vec![];
    if !args.check {
        for batch in todo.chunks(usize::from(args.serial)) {
            if let Err(why) = change(args, &inventory, &server, batch, &mut steps).await {
                steps.done();
                return Err(halt(args, &todo, &done, batch, &why));
            }
            done.extend(batch.iter().map(|n| n.host.clone()));
        }
    }
    steps.done();
    finish(args, &nodes, &todo, &results);
    Ok(Exit(0))
}

/// The API server: as the options say, or Kubespray's own kubeconfig beside the inventory.
async fn server(args: &PostKubespray, inventory: &Inventory) -> Result<Server, CliError> {
    let access = args.access.access();
    match connect(&access).await {
        Err(KubeError::Config(why)) if access == Access::default() => {
            let beside = inventory.dir().map(|d| Path::new(d).join("artifacts/admin.conf")).filter(|p| p.exists());
            let Some(path) = beside else {
                return Err(CliError::Failed(format!(
                    "{why}\nKubespray puts one beside the inventory (artifacts/admin.conf) with `kubeconfig_localhost: true`; a control plane host has it at /etc/kubernetes/admin.conf"
                )));
            };
            eprintln!("Kubeconfig: {}", path.display());
            Ok(connect(&Access { kubeconfig: Some(path), context: None }).await?)
        }
        other => Ok(other?),
    }
}

/// Hosts with their nodes; a host that is no node is an error before anything is changed.
async fn nodes_of(server: &Server, inventory: &Inventory, hosts: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let list = match kind("Node") {
        Some(kind) => server.list(kind, None, "").await?,
        None => vec![],
    };
    let known: Vec<&str> = list.iter().filter_map(|n| n["metadata"]["name"].as_str()).collect();
    let mut all = vec![];
    let mut missing = vec![];
    for host in hosts {
        let node = node_name(inventory, host, &Loc::outside("inventory"))?;
        if known.contains(&node.as_str()) {
            all.push((host.clone(), node));
        } else {
            missing.push(if node == *host { node } else { format!("{host} (as {node})") });
        }
    }
    if missing.is_empty() {
        return Ok(all);
    }
    Err(CliError::Failed(format!(
        "the cluster at {} has no node {}: is this the inventory of that cluster? Nothing was changed",
        server.url,
        missing.join(", ")
    )))
}

/// Changes one batch and waits until its kubelets are back; on trouble the batch is put back as it was.
async fn change(args: &PostKubespray, inventory: &Inventory, server: &Server, batch: &[Node], steps: &mut Steps) -> Result<(), String> {
    let hosts: Vec<&str> = batch.iter().map(|n| n.host.as_str()).collect();
    steps.now(&format!("restarting the kubelet of {}", hosts.join(", ")));
    let extra = json!({"hook_hosts": hosts.join(","), "hook_sysctls": args.sysctl});
    let mut results = Results::default();
    let ran = play_aside("hook", include_str!("hook_change.yml"), &extra, inventory, &args.hosts, false, &mut results);
    let mut trouble = match ran {
        Err(e) => Some(format!("{e:?}")),
        Ok(_) => results.failed.iter().next().map(|(host, why)| format!("{host}: {why}")),
    };
    if trouble.is_none() {
        for node in batch {
            match back(args, server, node, &args.sysctl, steps).await {
                Ok(()) => steps.line(&format!("{}: kubelet restarted, {} Ready, {} allowed", node.host, node.node, args.sysctl.join(", "))),
                Err(why) => {
                    trouble = Some(format!("{}: {why}", node.host));
                    break;
                }
            }
        }
    }
    let Some(why) = trouble else { return Ok(()) };
    Err(format!("{why}\n{}", restore(args, inventory, server, batch, steps).await))
}

/// Waits until a kubelet answers, its node is ready, and it runs with `wanted`.
async fn back(args: &PostKubespray, server: &Server, node: &Node, wanted: &[String], steps: &mut Steps) -> Result<(), String> {
    let end = Instant::now() + args.timeout;
    loop {
        let state = match look(server, &node.node).await {
            Ok(kubelet) => match kubelet.wrong {
                None if wanted.iter().all(|w| allows(&kubelet.allowed, w)) => return Ok(()),
                None => format!("the kubelet runs, and allows only {}", kubelet.allowed.join(", ")),
                Some(wrong) => wrong,
            },
            Err(e) if e.is_passing() => e.to_string(),
            Err(e) => return Err(e.to_string()),
        };
        if Instant::now() >= end {
            return Err(format!("not back after {} s: {state}", args.timeout.as_secs()));
        }
        steps.now(&format!("{}: {state}", node.host));
        sleep(Duration::from_secs(1)).await;
    }
}

/// Puts the files of a batch back and restarts its kubelets; says how that went.
async fn restore(args: &PostKubespray, inventory: &Inventory, server: &Server, batch: &[Node], steps: &mut Steps) -> String {
    let changed: Vec<&Node> = batch.iter().filter(|n| n.changes).collect();
    let hosts: Vec<&str> = changed.iter().map(|n| n.host.as_str()).collect();
    if hosts.is_empty() {
        return "no file had been changed, so nothing was put back".into();
    }
    steps.now(&format!("putting back the file of {}", hosts.join(", ")));
    let content: Map<String, Json> = changed.iter().map(|n| (n.host.clone(), json!(n.before))).collect();
    let paths: Map<String, Json> = changed.iter().map(|n| (n.host.clone(), json!(n.path))).collect();
    let extra = json!({"hook_hosts": hosts.join(","), "hook_content": content, "hook_path": paths});
    let mut results = Results::default();
    let ran = play_aside("hook", include_str!("hook_restore.yml"), &extra, inventory, &args.hosts, false, &mut results);
    if let Some((host, why)) = results.failed.iter().next() {
        return format!("its file could not be put back, or its kubelet not restarted; {host}: {why}");
    }
    if let Err(e) = ran {
        return format!("its file could not be put back: {e:?}");
    }
    for node in changed {
        if let Err(why) = back(args, server, node, &[], steps).await {
            return format!("the file was put back, and the kubelet of {} still is not well: {why}", node.host);
        }
    }
    format!("the files of {} are as they were, and the kubelets run again", hosts.join(", "))
}

fn halt(args: &PostKubespray, todo: &[Node], done: &[String], batch: &[Node], why: &str) -> CliError {
    let here: Vec<&str> = batch.iter().map(|n| n.host.as_str()).collect();
    let left: Vec<&str> = todo.iter().map(|n| n.host.as_str()).filter(|h| !done.iter().any(|d| d == h) && !here.contains(h)).collect();
    let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let done: Vec<&str> = done.iter().map(String::as_str).collect();
    let inventories: String = args.inventory.iter().map(|i| format!(" -i {i}")).collect();
    CliError::Failed(format!(
        "{why}\ndone: {}; stopped at: {}; not begun: {}\nwhen it is put right, go on with: fettle hook post-kubespray{inventories}",
        list(&done),
        list(&here),
        list(&left)
    ))
}

fn finish(args: &PostKubespray, nodes: &[Node], todo: &[Node], results: &Results) {
    let mut notices = vec![];
    for node in nodes {
        let facts = results.hosts.get(&node.host).and_then(|t| t.get("facts")).map(|t| super::onhosts::field(t, "ansible_facts"));
        notices.extend(facts.into_iter().flat_map(super::preflight::narrow_pods).map(|text| (node.host.clone(), text)));
    }
    let setting = format!("kubelet_config_extra_args:\n  allowedUnsafeSysctls: {}", json!(args.sysctl));
    if args.json {
        for (host, text) in &notices {
            println!("{}", json!({"event": "finding", "host": host, "what": "mtu", "text": text}));
        }
        println!("{}", json!({"event": "hook", "nodes": nodes.len(), "changed": todo.len(), "check": args.check, "kubespray": setting}));
        return;
    }
    let paint = Paint { on: colour_wanted() };
    for (host, text) in &notices {
        println!("{} {host}: {text}", paint.text(Tone::Doubt, "notice"));
    }
    match (todo.len(), args.check) {
        (0, _) => println!(
            "{}: all {} kubelets allow {} already.",
            paint.text(Tone::Good, "Nothing to change"),
            nodes.len(),
            args.sysctl.join(", ")
        ),
        (n, true) => {
            println!("{n} of {} kubelets would be changed and restarted, {} at once. This was a dry run.", nodes.len(), args.serial)
        }
        (n, false) => println!("{n} of {} kubelets were changed and restarted; all nodes are Ready.", nodes.len()),
    }
    println!(
        "Kubespray's next run writes the kubelet's configuration anew. To keep this, put into group_vars/k8s_cluster/k8s-cluster.yml:\n\n{setting}\n"
    );
}
