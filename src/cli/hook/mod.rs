//! `fettle hook post-kubespray`: what Kubespray leaves undone for AIStore, on the nodes it made.

mod access;
mod sysctls;

use crate::cli::cluster::{AccessArgs, duration, labelled, run};
use crate::cli::label;
use crate::cli::onhosts::{HostArgs, Results, play_aside};
use crate::cli::{CliError, Exit};
use crate::cluster::node_name;
use crate::diag::Loc;
use crate::inventory::Inventory;
use crate::kube::kubelet::{allows, look};
use crate::kube::{Progress, Server, kind};
use crate::protocol::Status;
use crate::report::{Paint, Steps, Tone, colour_wanted};
use clap::{Args, Subcommand};
use serde_json::{Map, Value as Json, json};
use std::path::PathBuf;
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
    // Wrong files are told before anything is touched.
    for spec in &args.cluster {
        crate::cluster::load(spec)?;
    }
    let wanted = sysctls::required()?;
    let server = access::server(args, &inventory).await?;
    server.version().await?;
    let names = nodes_of(&server, &inventory, &hosts).await?;
    let mut steps = Steps::new(Paint { on: colour_wanted() }, args.json);
    steps.now(&format!("looking at {} kubelets", hosts.len()));
    let mut results = Results::default();
    let extra = json!({"hook_hosts": hosts.join(","), "hook_sysctls": args.sysctl,
        "hook_parameters": sysctls::question(&wanted), "hook_folders": crate::modules::SYSCTL_FOLDERS});
    play_aside("hook", include_str!("look.yml"), &extra, &inventory, &args.hosts, false, &mut results)?;
    if let Some((host, why)) = results.failed.iter().next() {
        return Err(CliError::Failed(format!(
            "{} of {} hosts could not be looked at; {host}: {why}\nnothing was changed",
            results.failed.len(),
            hosts.len()
        )));
    }
    let (mut nodes, mut unwell) = (vec![], vec![]);
    for (host, node) in &names {
        let task = |name: &str| results.hosts.get(host).and_then(|t| t.get(name));
        let found = task("kubelet").ok_or_else(|| CliError::Failed(format!("{host}: its kubelet was not looked at")))?;
        let before = task("before").filter(|t| t.status != Status::Failed).and_then(|t| crate::cli::onhosts::field(t, "content").as_str());
        let now = look(&server, node).await?;
        if let Some(wrong) = &now.wrong {
            unwell.push(format!("{host}: {wrong}"));
        }
        let runs = args.sysctl.iter().all(|s| allows(&now.allowed, s));
        nodes.push(Node {
            host: host.clone(),
            node: node.clone(),
            path: crate::cli::onhosts::field(found, "path").as_str().unwrap_or_default().to_owned(),
            before: before.map(str::to_owned),
            changes: found.status == Status::Changed,
            stale: found.status != Status::Changed && !runs,
        });
    }
    if let Some(first) = unwell.first() {
        return Err(CliError::Failed(format!(
            "{} of {} kubelets are not well, and nothing was changed; {first}\nput that right first, or leave them out with --limit: a kubelet that is restarted has to show that it came back",
            unwell.len(),
            nodes.len()
        )));
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
    let mut notices = vec![];
    for node in &nodes {
        let Some(tasks) = results.hosts.get(&node.host) else { continue };
        let facts = tasks.get("facts").map(|t| crate::cli::onhosts::field(t, "ansible_facts"));
        let mtu = facts.into_iter().flat_map(crate::cli::preflight::narrow_pods).map(|text| ("mtu", text));
        let sysctl = sysctls::findings(&wanted, tasks).into_iter().map(|text| ("sysctl", text));
        notices.extend(mtu.chain(sysctl).map(|(what, text)| (node.host.clone(), what, text)));
    }
    let labels = labels(args, &inventory, &server).await?;
    finish(args, &nodes, &todo, labels, &notices);
    Ok(Exit(0))
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
    let ran = play_aside("hook", include_str!("change.yml"), &extra, inventory, &args.hosts, false, &mut results);
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
    let ran = play_aside("hook", include_str!("restore.yml"), &extra, inventory, &args.hosts, false, &mut results);
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

/// The labels of the specs given; how many changed, or would.
async fn labels(args: &PostKubespray, inventory: &Inventory, server: &Server) -> Result<usize, CliError> {
    if args.cluster.is_empty() {
        return Ok(0);
    }
    let opened = crate::cluster::open(&args.cluster, Some(inventory), Some(&labelled(server).await?))?;
    let mut changed = 0;
    for resolved in &opened.clusters {
        let how = label::How { check: args.check, json: args.json, ..label::How::default() };
        changed += label::put(server, resolved, how).await?;
    }
    Ok(changed)
}

fn finish(args: &PostKubespray, nodes: &[Node], todo: &[Node], labels: usize, notices: &[(String, &str, String)]) {
    let setting = format!("kubelet_config_extra_args:\n  allowedUnsafeSysctls: {}", json!(args.sysctl));
    if args.json {
        for (host, what, text) in notices {
            println!("{}", json!({"event": "finding", "host": host, "what": what, "text": text}));
        }
        let counts = json!({"event": "hook", "nodes": nodes.len(), "changed": todo.len(), "labels": labels, "check": args.check, "kubespray": setting});
        println!("{counts}");
        return;
    }
    let paint = Paint { on: colour_wanted() };
    let texts: Vec<_> = notices.iter().map(|(host, _, text)| (host.clone(), text.clone())).collect();
    for (hosts, text) in sysctls::together(&texts) {
        println!("{} {hosts}: {text}", paint.text(Tone::Doubt, "notice"));
    }
    if notices.iter().any(|(_, what, _)| *what == "sysctl") {
        println!("Kernel parameters are set by: fettle apply playbooks/host_tuning.yml -i {}", args.inventory.join(" -i "));
    }
    match (todo.len(), args.check) {
        (0, _) => println!(
            "{}: all {} kubelets allow {} already.",
            paint.text(Tone::Good, if labels == 0 { "Nothing to change" } else { "Kubelets" }),
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
