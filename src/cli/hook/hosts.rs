//! What the hook looks at before it changes anything: hosts, their nodes, their kubelets.

use super::{Ended, PostKubespray, ended, sysctls};
use crate::cli::CliError;
use crate::cli::identity::stranger;
use crate::cli::onhosts::{Results, field, play_aside};
use crate::cluster::node_name_with;
use crate::diag::Loc;
use crate::inventory::Inventory;
use crate::kube::kubelet::{allows, look};
use crate::kube::{Server, kind};
use crate::protocol::Status;
use serde_json::{Value as Json, json};

/// One host of the run.
#[derive(Clone, Debug)]
pub struct Node {
    /// The inventory's name.
    pub host: String,
    /// Its node.
    pub node: String,
    /// Its address in the cluster.
    pub address: Option<String>,
    /// The file to change.
    pub path: String,
    /// The list is a flag in an environment file.
    pub flag: bool,
    /// All that is allowed then: what is now, and what was asked for.
    pub all: Vec<String>,
    /// The file has to change.
    pub changes: bool,
    /// The kubelet runs with something older than its file.
    pub stale: bool,
}

/// Looks at all hosts. Whatever stands in the way of changing them is an error.
pub async fn look_at(
    args: &PostKubespray,
    inventory: &Inventory,
    server: &Server,
    hosts: &[String],
    wanted: &[sysctls::Wanted],
) -> Result<(Vec<Node>, Results), Ended> {
    let mut results = Results::default();
    let extra = json!({"hook_hosts": hosts.join(","), "hook_sysctls": args.sysctl,
        "hook_parameters": sysctls::question(wanted), "hook_folders": crate::modules::SYSCTL_FOLDERS});
    let summary = play_aside("hook", include_str!("look.yml"), &extra, inventory, &args.hosts, false, &mut results)?;
    if summary.interrupted {
        return Err(ended(summary.exit_code(), "stopped; nothing was changed".into()));
    }
    if !results.failed.is_empty() {
        let each: Vec<String> = results.failed.iter().map(|(host, why)| format!("{host}: {why}")).collect();
        let failed: Vec<&str> = results.failed.keys().map(String::as_str).collect();
        let text = format!(
            "{} of {} hosts could not be looked at; {}\nnothing was changed; {}",
            failed.len(),
            hosts.len(),
            each.join("\n"),
            without(args, &failed)
        );
        return Err(ended(summary.exit_code().max(2), text));
    }
    let facts_of = |host: &str| results.hosts.get(host).and_then(|t| t.get("facts")).map_or(&Json::Null, |t| field(t, "ansible_facts"));
    let names = nodes_of(server, inventory, hosts, &facts_of).await?;
    let strangers: Vec<String> = names
        .iter()
        .filter_map(|(host, node, object)| Some(format!("{host} is not the node {node}: {}", stranger(object, facts_of(host))?)))
        .collect();
    if !strangers.is_empty() {
        return Err(ended(
            1,
            format!(
                "{}\nthat is the cluster at {} ({}): is this the inventory of another one? Nothing was changed",
                strangers.join("\n"),
                server.url,
                server.login
            ),
        ));
    }
    let (mut nodes, mut unwell) = (vec![], vec![]);
    for (host, node, object) in &names {
        let found = results.hosts.get(host).and_then(|t| t.get("kubelet"));
        let found = found.ok_or_else(|| CliError::Failed(format!("{host}: its kubelet was not looked at")))?;
        let now = look(server, node).await?;
        if let Some(wrong) = now.wrong {
            unwell.push((host.as_str(), wrong));
        }
        let runs = args.sysctl.iter().all(|s| allows(&now.allowed, s));
        let all = field(found, "allowed_unsafe_sysctls").as_array().into_iter().flatten();
        nodes.push(Node {
            host: host.clone(),
            node: node.clone(),
            address: internal_ip(object),
            path: field(found, "path").as_str().unwrap_or_default().to_owned(),
            flag: field(found, "flag").as_bool().unwrap_or(false),
            all: all.filter_map(Json::as_str).map(str::to_owned).collect(),
            changes: found.status == Status::Changed,
            stale: found.status != Status::Changed && !runs,
        });
    }
    if !unwell.is_empty() {
        let each: Vec<String> = unwell.iter().map(|(host, wrong)| format!("{host}: {wrong}")).collect();
        let bad: Vec<&str> = unwell.iter().map(|(host, _)| *host).collect();
        let text = format!(
            "{} of {} kubelets are not well, and nothing was changed; {}\nput that right first, or {}: a kubelet that is restarted has to show that it came back",
            unwell.len(),
            nodes.len(),
            each.join("\n"),
            without(args, &bad)
        );
        return Err(ended(2, text));
    }
    Ok((nodes, results))
}

fn internal_ip(node: &Json) -> Option<String> {
    let all = node["status"]["addresses"].as_array().into_iter().flatten();
    all.filter(|a| a["type"] == "InternalIP").find_map(|a| a["address"].as_str()).map(str::to_owned)
}

/// How to run it for all hosts but these.
fn without(args: &PostKubespray, hosts: &[&str]) -> String {
    let but: String = hosts.iter().map(|h| format!(":!{h}")).collect();
    format!("leave them out: -l '{}{but}'", args.limit.as_deref().unwrap_or("k8s_cluster"))
}

/// Hosts with their nodes; a host that is no node is an error before anything is changed.
async fn nodes_of<'a>(
    server: &Server,
    inventory: &Inventory,
    hosts: &[String],
    facts_of: &impl Fn(&str) -> &'a Json,
) -> Result<Vec<(String, String, Json)>, CliError> {
    let list = match kind("Node") {
        Some(kind) => server.list(kind, None, "").await?,
        None => vec![],
    };
    let mut all: Vec<(String, String, Json)> = vec![];
    let mut missing = vec![];
    for host in hosts {
        let node = node_name_with(inventory, host, facts_of(host), &Loc::outside("inventory"))?;
        match list.iter().find(|n| n["metadata"]["name"] == node.as_str()) {
            Some(object) => all.push((host.clone(), node, object.clone())),
            None => missing.push(if node == *host { node } else { format!("{host} (as {node})") }),
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
