//! What the hook says at the end: what else is not as AIStore needs it, what was done, and how to make it last.

use super::hosts::Node;
use super::{PostKubespray, Run, Serial, quoted, sysctls};
use crate::cli::onhosts::{Results, field};
use crate::inventory::Inventory;
use crate::report::{Paint, Tone, colour_wanted};
use serde_json::json;

/// What was found on hosts: host, what it is about, text.
pub fn notices(nodes: &[Node], results: &Results, wanted: &[sysctls::Wanted]) -> Vec<(String, &'static str, String)> {
    let mut all = vec![];
    for node in nodes {
        let Some(tasks) = results.hosts.get(&node.host) else { continue };
        let facts = tasks.get("facts").map(|t| field(t, "ansible_facts"));
        let narrow = facts.map(|f| crate::cli::preflight::narrow_pods(f, node.address.as_deref())).unwrap_or_default();
        let mtu = narrow.into_iter().map(|(_, text)| ("mtu", text));
        let sysctl = sysctls::findings(wanted, tasks).into_iter().map(|text| ("sysctl", text));
        all.extend(mtu.chain(sysctl).map(|(what, text)| (node.host.clone(), what, text)));
    }
    all
}

/// Says it.
pub fn finish(run: &Run<'_>, nodes: &[Node], todo: &[Node], labels: usize, notices: &[(String, &str, String)]) {
    let args = run.args;
    let setting = lasting(nodes);
    let set = nodes.iter().all(|n| set_in(run.inventory, &n.host, &args.sysctl));
    if args.json {
        for (host, what, text) in notices {
            println!("{}", json!({"event": "finding", "host": host, "what": what, "text": text}));
        }
        let changed = todo.len();
        println!(
            "{}",
            json!({"event": "hook", "nodes": nodes.len(), "changed": changed, "labels": labels, "check": args.check, "kubespray": setting, "kubespray_has_it": set})
        );
        return;
    }
    let paint = Paint { on: colour_wanted() };
    let texts: Vec<_> = notices.iter().map(|(host, _, text)| (host.clone(), text.clone())).collect();
    for (hosts, text) in sysctls::together(&texts) {
        println!("{} {hosts}: {text}", paint.text(Tone::Doubt, "notice"));
    }
    if notices.iter().any(|(_, what, _)| *what == "sysctl") {
        println!("Kernel parameters are set by: {}", tuning(args));
    }
    match (todo.len(), args.check) {
        (0, _) => println!(
            "{}: all {} kubelets allow {} already.",
            paint.text(Tone::Good, if labels == 0 { "Nothing to change" } else { "Kubelets" }),
            nodes.len(),
            args.sysctl.join(", ")
        ),
        (n, true) => {
            let at_once = match args.serial {
                Serial::Number(number) => number.to_string(),
                part => format!("{} (of {n})", part.of(n)),
            };
            println!("{n} of {} kubelets would be changed and restarted, {at_once} at once. This was a dry run.", nodes.len());
        }
        (n, false) => println!("{n} of {} kubelets were changed and restarted; all nodes are Ready.", nodes.len()),
    }
    if set {
        println!("The inventory's own variables have it too, so that Kubespray's next run keeps it.");
    } else {
        println!(
            "Kubespray's next run writes the kubelet's configuration anew. To keep this, put into group_vars/k8s_cluster/k8s-cluster.yml:\n\n{setting}\n"
        );
    }
}

/// The command that sets kernel parameters on these hosts; the playbook is for the group `ais` unless told otherwise.
fn tuning(args: &PostKubespray) -> String {
    let inventories: String = args.inventory.iter().map(|i| format!(" -i {}", quoted(i))).collect();
    let limit = args.limit.as_ref().map(|l| format!(" -l {}", quoted(l))).unwrap_or_default();
    format!("fettle apply playbooks/host_tuning.yml{inventories} -e ais_hosts=k8s_cluster{limit}")
}

/// The variables with which Kubespray itself keeps all that is allowed, where the kubelets read it.
fn lasting(nodes: &[Node]) -> String {
    let all = |nodes: &mut dyn Iterator<Item = &Node>| {
        let mut names: Vec<String> = nodes.flat_map(|n| n.all.iter().cloned()).collect();
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|n| seen.insert(n.clone()));
        names
    };
    let files = all(&mut nodes.iter().filter(|n| !n.flag));
    let flags = all(&mut nodes.iter().filter(|n| n.flag));
    let mut parts = vec![];
    if !files.is_empty() {
        parts.push(format!("kubelet_config_extra_args:\n  allowedUnsafeSysctls: {}", json!(files)));
    }
    if !flags.is_empty() {
        // A flag wins over the configuration, so it is the flag that has to stay.
        parts.push(format!("kubelet_custom_flags:\n  - \"--allowed-unsafe-sysctls={}\"", flags.join(",")));
    }
    parts.join("\n")
}

/// Whether the variables of a host make Kubespray write all of `wanted`.
fn set_in(inventory: &Inventory, host: &str, wanted: &[String]) -> bool {
    let vars = inventory.vars(host);
    let mut found: Vec<String> = vec![];
    for name in ["kubelet_config_extra_args", "kubelet_node_config_extra_args"] {
        let value = vars.get(name).map(crate::yaml::Node::to_json).unwrap_or_default();
        let list = value["allowedUnsafeSysctls"].as_array().into_iter().flatten();
        found.extend(list.filter_map(|v| v.as_str().map(str::to_owned)));
    }
    for name in ["kubelet_custom_flags", "kubelet_node_custom_flags"] {
        let value = vars.get(name).map(crate::yaml::Node::to_json).unwrap_or_default();
        let list = value.as_array().cloned().unwrap_or_else(|| vec![value]);
        let lists = list.iter().filter_map(|v| v.as_str()?.trim().strip_prefix("--allowed-unsafe-sysctls="));
        found.extend(lists.flat_map(|l| l.split(',').map(str::to_owned)));
    }
    wanted.iter().all(|w| crate::kube::kubelet::allows(&found, w))
}
