//! `fettle label`: the labels on nodes that a cluster spec needs.

use super::cluster::{ClusterArgs, Ready, ready, run};
use super::{CliError, Exit};
use crate::cluster::Resolved;
use crate::kube::neighbours::{Users, label_users, shared};
use crate::kube::{Info, KubeError, LabelPlan, Server, kind, plan_labels, set_labels};
use crate::report::printable;
use clap::Args;
use serde_json::{Value as Json, json};

/// Options of `fettle label`.
#[derive(Debug, Args)]
pub struct LabelArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Dry run: the API server checks, and changes nothing
    #[arg(short = 'C', long)]
    check: bool,
    /// Give labels that have another value the spec's, and set those by which another cluster chooses nodes
    #[arg(long)]
    force_conflicts: bool,
    /// Take this cluster's labels from nodes that the spec does not name
    #[arg(long)]
    prune: bool,
    /// For machines
    #[arg(long)]
    json: bool,
}

/// How to label.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Labels that have another value get the spec's.
    pub force: bool,
    /// Nodes that the spec does not name lose this cluster's labels.
    pub prune: bool,
    /// Only ask the server.
    pub check: bool,
    /// Objects instead of lines.
    pub json: bool,
}

/// Labels nodes.
pub fn label(args: &LabelArgs) -> Result<Exit, CliError> {
    let work = async {
        let Ready { server, resolved, .. } = ready(&args.cluster).await?;
        let how = How { force: args.force_conflicts, prune: args.prune, check: args.check, json: args.json };
        put(&server, &resolved, how).await?;
        server.warnings.fresh().iter().for_each(|warning| eprintln!("warning: {}", printable(warning)));
        Ok(Exit(0))
    };
    run(work, "stopped; labels set so far stay. Run the same again to set the rest")
}

/// What putting a spec's labels on its nodes comes to.
pub struct Planned {
    plan: LabelPlan,
    wanted: usize,
    /// Nodes with this cluster's labels that the spec does not name.
    extra: Vec<(String, String)>,
}

/// Puts a spec's labels on its nodes, and tells what became of them; how many changed, or would.
pub async fn put(server: &Server, resolved: &Resolved, how: How) -> Result<usize, CliError> {
    plan(server, resolved, how, None).await?.act(server, how).await
}

/// Compares a spec's labels with the nodes as they are; changes nothing. Labels that have another value are an error.
/// `only`: the nodes it is about; all without it.
pub async fn plan(server: &Server, resolved: &Resolved, how: How, only: Option<&[String]>) -> Result<Planned, CliError> {
    let about = |node: &String| only.is_none_or(|names| names.contains(node));
    let mut wanted: Vec<_> = resolved.labels().into_iter().filter(|(n, ..)| about(n)).map(|(n, k, v)| (n, k, Some(v))).collect();
    let nodes = nodes(server).await?;
    let mut extra = strangers(&nodes, resolved);
    extra.retain(|(node, _)| about(node));
    if how.prune {
        wanted.extend(extra.iter().map(|(n, k)| (n.clone(), k.clone(), None)));
    }
    let plan = plan_labels(&nodes, &wanted)?;
    if !plan.conflicts.is_empty() && !how.force {
        let lines: Vec<String> = plan
            .conflicts
            .iter()
            .map(|c| {
                let or = |v: &Option<String>| v.clone().unwrap_or_default();
                format!(
                    "node {}: label {} is {}, would be {}: the node may belong to another cluster",
                    c.node,
                    c.key,
                    or(&c.before),
                    or(&c.after)
                )
            })
            .collect();
        return Err(CliError::Failed(format!("{}\nno label was changed; to insist: fettle label --force-conflicts", lines.join("\n"))));
    }
    let info = Info::new(resolved);
    let pairs = resolved.labels().into_iter().map(|(_, key, value)| (key, value)).collect();
    let users = match label_users(server, &info, &pairs).await {
        // Who may not look at all namespaces can't know.
        Err(KubeError::Denied(_)) => Users::new(),
        users => users?,
    };
    // Pruning would take them from the other cluster's nodes.
    if !users.is_empty() && (!how.force || how.prune) {
        let lines: Vec<String> = users.iter().map(shared).collect();
        let insist = if how.prune { "" } else { "; to insist: fettle label --force-conflicts" };
        return Err(CliError::Failed(format!("{}\nno label was changed{insist}", lines.join("\n"))));
    }
    Ok(Planned { plan, wanted: wanted.len(), extra })
}

impl Planned {
    /// Does it, and tells what became of it; how many labels changed, or would.
    pub async fn act(&self, server: &Server, how: How) -> Result<usize, CliError> {
        let changes = &self.plan.changes;
        let mut names: Vec<&str> = changes.iter().map(|c| c.node.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for node in names {
            let changes: Vec<_> = changes.iter().filter(|c| c.node == node).cloned().collect();
            set_labels(server, node, &changes, how.force, how.check).await?;
            for c in &changes {
                if how.json {
                    println!("{}", json!({"node": c.node, "key": c.key, "before": c.before, "after": c.after, "check": how.check}));
                    continue;
                }
                let before = c.before.as_ref().map(|b| format!(" (was {b})")).unwrap_or_default();
                match &c.after {
                    Some(after) => println!("node {node}: label {}={after}{before}", c.key),
                    None => println!("node {node}: label {} removed{before}", c.key),
                }
            }
        }
        if how.json {
            return Ok(changes.len());
        }
        match (changes.len(), how.check) {
            (0, _) => println!("Nothing to change: {} labels are as they should be.", self.wanted),
            (n, true) => println!("{n} labels would change. This was a dry run."),
            (n, false) => println!("{n} labels changed."),
        }
        if !how.prune {
            for (node, key) in &self.extra {
                println!("node {node} has this cluster's label {key}, and the spec does not name it: `fettle label --prune` takes it off");
            }
        }
        Ok(changes.len())
    }
}

async fn nodes(server: &Server) -> Result<Vec<Json>, KubeError> {
    match kind("Node") {
        Some(kind) => server.list(kind, None, "").await,
        None => Ok(vec![]),
    }
}

/// Nodes with this cluster's labels that the spec does not name, where it names nodes at all.
fn strangers(nodes: &[Json], resolved: &Resolved) -> Vec<(String, String)> {
    let wanted = resolved.labels();
    let mut pairs: Vec<(&str, &str)> = wanted.iter().map(|(_, k, v)| (k.as_str(), v.as_str())).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let mut found = vec![];
    for node in nodes {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        for (key, value) in &pairs {
            let named = wanted.iter().any(|(n, k, _)| n == name && k == key);
            if !named && node["metadata"]["labels"][*key] == *value {
                found.push((name.to_owned(), (*key).to_owned()));
            }
        }
    }
    found
}
