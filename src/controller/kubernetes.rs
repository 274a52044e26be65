//! Modules that work on the Kubernetes cluster, with the operator's kubeconfig.
//!
//! A host asks for them, and a host may be hostile: one that is not this machine itself may only touch its own node, and
//! deploys nothing.

use crate::cluster::{LabelledNodes, open, open_as_it_was};
use crate::inventory::Inventory;
use crate::kube::delete::{delete as take_away, find};
use crate::kube::deploy::{Deployment, Options, deploy, keeps, plan, word};
use crate::kube::{
    Access, Info, KubeError, Outcome, Quiet, Server, Taint, Token, connect, kind, plan_labels, plan_taints, set_labels, set_taints,
};
use crate::protocol::{ChangeReport, ModuleDone};
use serde_json::{Map, Value as Json, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a host asks for.
#[derive(Debug)]
pub struct Request {
    /// The task.
    pub task: u32,
    /// The module.
    pub module: String,
    /// Its arguments.
    pub args: Map<String, Json>,
    /// A dry run.
    pub check: bool,
    /// Say what differs.
    pub diff: bool,
    /// The host's own node.
    pub node: Result<String, String>,
    /// The host is this machine itself.
    pub local: bool,
}

/// Carries a module out, or says why not.
pub fn carry_out(request: &Request) -> Result<ModuleDone, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        match request.module.as_str() {
            "k8s_node_label" => label(request).await,
            "k8s_taint" => taint(request).await,
            "aisnode" => aisnode(request).await,
            other => Err(format!("the controller has no module `{other}`")),
        }
    })
}

impl Request {
    fn text(&self, key: &str) -> Option<&str> {
        self.args.get(key).and_then(Json::as_str)
    }

    fn flag(&self, key: &str) -> bool {
        self.args.get(key).and_then(Json::as_bool).unwrap_or(false)
    }

    fn is_absent(&self) -> bool {
        self.text("state") == Some("absent")
    }

    /// The API server.
    async fn server(&self) -> Result<Server, String> {
        if !self.local && (self.args.contains_key("kubeconfig") || self.args.contains_key("context")) {
            return Err("`kubeconfig` and `context` are only for tasks on the workstation itself (`connection: local`): set $KUBECONFIG \
                        where fettle runs, or delegate the task"
                .into());
        }
        let access = Access { kubeconfig: self.text("kubeconfig").map(PathBuf::from), context: self.text("context").map(str::to_owned) };
        connect(&access).await.map_err(text)
    }

    /// The node the task is about.
    fn own_node(&self) -> Result<String, String> {
        let own = self.node.clone();
        match self.text("name") {
            None => own,
            Some(name) if self.local || own.as_deref() == Ok(name) => Ok(name.to_owned()),
            Some(name) => Err(format!(
                "this host is node {}, and may not change node {name}: run the task on the workstation",
                own.unwrap_or_default()
            )),
        }
    }
}

fn text(error: KubeError) -> String {
    error.to_string()
}

async fn node(server: &Server, name: &str) -> Result<Json, String> {
    let kind = kind("Node").ok_or("no nodes")?;
    server.get(kind, None, name).await.map_err(text)?.ok_or_else(|| format!("the cluster at {} has no node {name}", server.url))
}

fn change(summary: String) -> ChangeReport {
    ChangeReport { summary, destroys: None, diff: None, done: true }
}

async fn label(request: &Request) -> Result<ModuleDone, String> {
    let name = request.own_node()?;
    let server = request.server().await?;
    let object = node(&server, &name).await?;
    let labels = request.args.get("labels").and_then(Json::as_object).cloned().unwrap_or_default();
    let value = |json: &Json| match json {
        Json::String(s) => s.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    };
    let wanted: Vec<_> = labels.iter().map(|(k, v)| (name.clone(), k.clone(), (!request.is_absent()).then(|| value(v)))).collect();
    let plan = plan_labels(std::slice::from_ref(&object), &wanted).map_err(text)?;
    if let Some(c) = plan.conflicts.first().filter(|_| !request.flag("overwrite")) {
        let or = |v: &Option<String>| v.clone().unwrap_or_default();
        return Err(format!("node {name} has label {}={}, not {}: `overwrite: true` changes it", c.key, or(&c.before), or(&c.after)));
    }
    if !plan.changes.is_empty() {
        set_labels(&server, &name, &plan.changes, request.flag("overwrite"), request.check).await.map_err(text)?;
    }
    let changes = plan.changes.iter().map(|c| {
        let summary = match (&c.before, &c.after) {
            (_, None) => format!("node {name}: remove label {}", c.key),
            (None, Some(after)) => format!("node {name}: label {}={after}", c.key),
            (Some(before), Some(after)) => format!("node {name}: label {}: {before} → {after}", c.key),
        };
        change(summary)
    });
    Ok(ModuleDone { changes: changes.collect(), result: Map::from_iter([("node".to_owned(), json!(name))]), warnings: vec![] })
}

async fn taint(request: &Request) -> Result<ModuleDone, String> {
    let name = request.own_node()?;
    let mut taints = vec![];
    for given in request.args.get("taints").and_then(Json::as_array).into_iter().flatten() {
        let part = |key: &str| given[key].as_str().unwrap_or_default().to_owned();
        let taint = Taint { key: part("key"), value: part("value"), effect: part("effect") };
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if taint.key.is_empty() {
            return Err(format!("a taint needs a `key`: {given}"));
        }
        let any = taint.effect.is_empty() && request.is_absent();
        if !any && !effects.contains(&taint.effect.as_str()) {
            return Err(format!("`effect` of taint {} must be one of {}, not `{}`", taint.key, effects.join(", "), taint.effect));
        }
        taints.push(taint);
    }
    let server = request.server().await?;
    let object = node(&server, &name).await?;
    let planned = plan_taints(&object, &taints, request.is_absent());
    let mut changes = vec![];
    if let Some(planned) = &planned {
        set_taints(&server, &name, planned, request.check).await.map_err(text)?;
        changes.extend(planned.lines.iter().map(|line| change(format!("node {name}: {line}"))));
    }
    Ok(ModuleDone { changes, result: Map::from_iter([("node".to_owned(), json!(name))]), warnings: vec![] })
}

async fn aisnode(request: &Request) -> Result<ModuleDone, String> {
    if !request.local {
        return Err("`aisnode` works from the workstation: put it in a play with `hosts: localhost` and `connection: local`".into());
    }
    let spec = PathBuf::from(request.text("cluster").unwrap_or_default());
    let sources: Vec<String> = request
        .args
        .get("inventory")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(|s| s.as_str().map(str::to_owned))
        .collect();
    let inventory = if sources.is_empty() { None } else { Some(Inventory::load(&sources, None).map_err(|e| e.to_string())?) };
    let mut server = request.server().await?;
    server.token = Token::find(request.text("token_file").map(Path::new)).map_err(text)?;
    // What is taken away may have outlived its nodes, and who may see one namespace only sees none.
    let absent = request.is_absent();
    let nodes = match kind("Node") {
        Some(kind) => match server.list(kind, None, "").await {
            Err(KubeError::Denied(_)) if absent => None,
            list => Some(LabelledNodes::from_nodes(&list.map_err(text)?)),
        },
        None => Some(LabelledNodes::default()),
    };
    let open = if absent { open_as_it_was } else { open };
    let opened = open(std::slice::from_ref(&spec), inventory.as_ref(), nodes.as_ref()).map_err(|e| e.to_string())?;
    let resolved = opened.clusters.first().ok_or("no cluster in the spec")?;
    let mut warnings: Vec<String> = opened.warnings.0.iter().map(ToString::to_string).collect();
    if absent {
        return remove(request, &server, &Info::new(resolved), &resolved.labels(), warnings).await;
    }
    let deployment = Deployment::new(resolved).map_err(|e| e.to_string())?;
    let seconds = request.args.get("timeout").and_then(Json::as_u64).unwrap_or(600);
    let options = Options {
        force: request.flag("force_conflicts"),
        recreate: request.flag("recreate"),
        any_release: request.flag("any_release"),
        timeout: Duration::from_secs(seconds),
    };
    let plan = plan(&server, &deployment, options).await.map_err(text)?;
    if !plan.problems.is_empty() {
        let all: Vec<String> = plan.problems.iter().map(ToString::to_string).collect();
        return Err(format!("nothing was changed: {}", all.join("; ")));
    }
    let mut changes = vec![];
    changes.extend(plan.labels.changes.iter().map(|label| change(label.to_string())));
    for o in plan.objects.iter().filter(|o| o.outcome != Outcome::Unchanged) {
        let mut report = change(format!("{}: {}", o.title, word(o.outcome)));
        report.diff = o.diff.clone().filter(|_| request.diff);
        changes.push(report);
    }
    changes.extend(plan.leaving.iter().map(|leave| change(leave.to_string())));
    changes.extend(plan.restarts.iter().map(|pod| change(format!("{pod}: restarted"))));
    changes.extend(plan.rebalance.map(|on| change(format!("rebalance: {}", if on { "on" } else { "off" }))));
    changes.extend(plan.settings.iter().map(|setting| change(format!("configuration: {setting}"))));
    if plan.moves {
        changes.push(change("rebalance: started".into()));
    }
    warnings.extend(plan.kept.iter().map(|setting| keeps(setting)));
    warnings.extend(plan.warnings.iter().cloned());
    if !request.check {
        deploy(&server, &deployment, &plan, options, &mut Quiet).await.map_err(text)?;
        warnings.extend(server.warnings.fresh());
    }
    let result =
        Map::from_iter([("endpoint".to_owned(), json!(deployment.info.endpoint)), ("cluster".to_owned(), json!(deployment.info.name))]);
    Ok(ModuleDone { changes, result, warnings })
}

/// Takes a cluster away. A task can't ask, so claims and volumes always stay: only `fettle delete` takes those.
async fn remove(
    request: &Request,
    server: &Server,
    info: &Info,
    labels: &[(String, String, String)],
    mut warnings: Vec<String>,
) -> Result<ModuleDone, String> {
    let removal = find(server, info, labels).await.map_err(text)?;
    warnings.extend(removal.kept.iter().map(|line| format!("kept: {line}")));
    let objects = removal.objects.iter().map(|(kind, name, _)| change(format!("{kind} {}/{name}: deleted", info.namespace)));
    let gone = removal.labels.iter().map(|c| change(format!("node {}: remove label {}", c.node, c.key)));
    let changes = objects.chain(gone).collect();
    if !request.check {
        take_away(server, info, &removal, false, false, &mut Quiet).await.map_err(text)?;
    }
    Ok(ModuleDone { changes, result: Map::from_iter([("cluster".to_owned(), json!(info.name))]), warnings })
}
