//! Bringing a cluster up, and to a new spec: first everything is asked of the API server as a dry run; only if nothing
//! is in the way is anything changed.

use super::apply::{Applied, Options as ApplyOptions, Outcome, gone};
use super::labels::{LabelChange, LabelPlan, plan_labels, refused, set_labels};
use super::leave::{Leave, Leaving, leaving, wander};
use super::neighbours::{Claim, claims, clashes};
use super::pods::{Pod, pods};
use super::running::{Before, HELD, STARTED, note, note_held};
use super::settings::{self, Setting};
use super::unwanted::unwanted;
use super::{Info, KubeError, Progress, Role, Server, kind, members, namespace, primary, rebalance, rollout, running, shrink, wait};
use crate::cluster::{Object, Resolved};
use crate::diag::Diagnostics;
use crate::host::Diff;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// All that makes up a cluster.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The cluster.
    pub info: Info,
    /// Its objects, in the order they are to be applied.
    pub objects: Vec<Object>,
    /// Labels its nodes need: node, key, value.
    pub labels: Vec<(String, String, String)>,
    /// What it takes of its nodes.
    pub claims: BTreeMap<String, Claim>,
}

impl Deployment {
    /// What a spec becomes.
    pub fn new(resolved: &Resolved) -> Result<Self, Diagnostics> {
        Ok(Self { info: Info::new(resolved), objects: resolved.objects()?, labels: resolved.labels(), claims: claims(resolved) })
    }

    /// `ais.json`, as the ConfigMap has it.
    fn config(&self) -> Json {
        let map = self.objects.iter().find(|o| o.kind() == "ConfigMap" && o.name() == self.info.config_map());
        let text = map.and_then(|m| m.json["data"]["ais.json"].as_str()).unwrap_or_default();
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// How to deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Take fields and labels over from other managers.
    pub force: bool,
    /// Replace what can't be changed in place.
    pub recreate: bool,
    /// Deploy releases that AIStore does not go to from the one that runs.
    pub any_release: bool,
    /// How long to wait for the cluster to be complete; zero: don't wait, and roll nothing.
    pub timeout: Duration,
}

/// What deploying would change.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Labels of nodes.
    pub labels: LabelPlan,
    /// Every object, in order; those no longer part of the cluster last.
    pub objects: Vec<Applied>,
    /// Pods that would be restarted, in order.
    pub restarts: Vec<String>,
    /// What stands in the way; nothing is changed while there is any.
    pub problems: Vec<KubeError>,
    /// Pods that leave their nodes, in order; targets are emptied before.
    pub leaving: Vec<Leave>,
    /// Settings that the spec has no more and a running cluster keeps, with their values.
    pub kept: Vec<String>,
    /// What rebalancing is switched to in the end; `None`: it is so already, or nobody can tell yet.
    pub rebalance: Option<bool>,
    /// Settings of the running cluster that are not as the spec says.
    pub settings: Vec<Setting>,
    /// A rebalance is begun in the end, for what was written while targets were restarted.
    pub moves: bool,
    /// The cluster was never complete.
    pub first: bool,
    /// What the API server warns of.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Whether anything would change.
    pub fn changes(&self) -> bool {
        !self.labels.changes.is_empty()
            || self.objects.iter().any(|o| o.outcome != Outcome::Unchanged)
            || !self.restarts.is_empty()
            || !self.leaving.is_empty()
            || self.rebalance.is_some()
            || self.moves
            || !self.settings.is_empty()
    }
}

/// Asks the server what deploying would change; changes nothing.
pub async fn plan(server: &Server, deployment: &Deployment, options: Options) -> Result<Plan, KubeError> {
    let mut plan = Plan::default();
    let all = pods(server, &deployment.info).await?;
    let before = Before::ask(server, &deployment.info).await?;
    // One that was never waited for is not noted as complete, and stores objects all the same.
    let empty = before.first && !all.iter().any(|p| p.role == Role::Target && p.ready);
    let Leaving { all: leave, problems: stuck, nowhere } = leaving(server, &deployment.info, &all, empty).await?;
    if !deployment.labels.is_empty()
        && let Some(nodes) = kind("Node")
    {
        let list = server.list(nodes, None, "").await?;
        let mut wanted: Vec<_> = deployment.labels.iter().map(|(n, k, v)| (n.clone(), k.clone(), Some(v.clone()))).collect();
        let extra = unwanted(server, &deployment.info, &list, &all, &leave).await?;
        wanted.extend(extra.into_iter().map(|c| (c.node, c.key, None)));
        match plan_labels(&list, &wanted) {
            Ok(labels) => {
                // Those of nodes that are emptied come off later, which must not be refused then.
                let mut asked = labels.clone();
                asked.changes.extend(leave.iter().filter_map(|l| taken_off(&deployment.info, l, &list)));
                plan.problems.extend(refused(server, &asked, options.force).await?);
                plan.labels = labels;
            }
            Err(e) => plan.problems.push(e),
        }
        if !options.force {
            plan.problems.extend(plan.labels.conflicts.iter().map(conflict));
        }
        plan.problems.extend(wander(&deployment.info, &nowhere, &plan.labels.changes, &before.held));
    }
    plan.problems.extend(clashes(server, &deployment.info, &deployment.claims).await?);
    let how = ApplyOptions { dry_run: true, force: options.force, recreate: options.recreate };
    for object in &deployment.objects {
        match namespace::apply_shared(server, &deployment.info, object, how).await {
            Ok(applied) => plan.objects.push(applied),
            Err(e @ (KubeError::Conflict { .. } | KubeError::Invalid { .. } | KubeError::Missing(_))) => plan.problems.push(e),
            Err(e) => return Err(e),
        }
    }
    for object in surplus(server, deployment).await? {
        plan.objects.push(removed(&object));
    }
    plan.problems.extend(stuck);
    if let Some(first) = leave.iter().find(|l| !l.moves).filter(|_| options.timeout.is_zero()) {
        let what = if first.role == Role::Target { "be emptied" } else { "leave the cluster" };
        plan.problems.push(KubeError::Other(format!("{} is to {what}, which takes time: --timeout 0 leaves none", first.pod)));
    }
    plan.problems.extend(running::obstacles(&deployment.info, &all, options.any_release));
    match live(server, &deployment.info, &all).await {
        Ok(Some(config)) if !options.timeout.is_zero() => {
            let on = &config["rebalance"]["enabled"];
            plan.rebalance = Some(deployment.info.rebalance).filter(|wanted| on != wanted);
            plan.settings = settings::differing(&config, &deployment.info.config, &before.told);
        }
        Ok(_) => {}
        // Deploying would end there, too.
        Err(e @ KubeError::Denied(_)) => plan.problems.push(e),
        Err(_) => {}
    }
    plan.first = before.first;
    if !all.is_empty() {
        plan.kept = before.kept(&deployment.config());
    }
    let targets: Vec<String> = all.iter().filter(|p| p.role == Role::Target).map(|p| p.name.clone()).collect();
    plan.restarts = rollout::expected(server, &deployment.info, all, &plan.objects, &leave).await?;
    let owed = before.owed || plan.restarts.iter().any(|pod| targets.contains(pod));
    plan.moves = rebalance::is_due(&deployment.info, owed) && !options.timeout.is_zero();
    plan.leaving = leave;
    plan.warnings = server.warnings.fresh();
    Ok(plan)
}

/// The label that the node of a pod loses when that leaves, if it has it.
fn taken_off(info: &Info, leave: &Leave, nodes: &[Json]) -> Option<LabelChange> {
    let (_, key, value) = info.labels.iter().find(|(role, key, _)| *role == leave.role && leave.label.as_ref() == Some(key))?;
    let node = nodes.iter().find(|n| n["metadata"]["name"] == leave.node.as_str())?;
    let has = node["metadata"]["labels"][key] == value.as_str();
    has.then(|| LabelChange { node: leave.node.clone(), key: key.clone(), before: Some(value.clone()), after: None })
}

/// The settings of a cluster that can be asked.
async fn live(server: &Server, info: &Info, pods: &[Pod]) -> Result<Option<Json>, KubeError> {
    if !pods.iter().any(|p| p.role == Role::Proxy && p.ready) {
        return Ok(None);
    }
    let map = members::map(server, info, pods).await?;
    members::config(server, info, &map, pods).await.map(Some)
}

fn conflict(change: &LabelChange) -> KubeError {
    let or = |v: &Option<String>| v.clone().unwrap_or_default();
    KubeError::Conflict {
        what: format!("label Node {}", change.node),
        causes: vec![super::Cause {
            field: format!(".metadata.labels.{}", change.key),
            message: format!("is `{}`, would be `{}`: the node may belong to another cluster", or(&change.before), or(&change.after)),
        }],
    }
}

/// Brings the cluster up, as planned before by [`plan`] (whose problems must be none).
pub async fn deploy(
    server: &Server,
    deployment: &Deployment,
    plan: &Plan,
    options: Options,
    progress: &mut dyn Progress,
) -> Result<(), KubeError> {
    let info = &deployment.info;
    let end = Instant::now() + options.timeout;
    let mut nodes: Vec<&str> = plan.labels.changes.iter().map(|c| c.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    for node in nodes {
        let changes: Vec<_> = plan.labels.changes.iter().filter(|c| c.node == node).cloned().collect();
        set_labels(server, node, &changes, options.force, false).await?;
        for change in &changes {
            progress.line(&change.to_string());
        }
    }
    for setting in &plan.kept {
        progress.line(&format!("configuration: {}", keeps(setting)));
    }
    if !plan.first && plan.leaving.iter().any(|l| l.role == Role::Target) {
        // A node that is emptied holds nothing any more, also if this run does not get to its end.
        note(server, info, HELD, &Json::Null).await?;
    }
    shrink::smaller(server, info, &plan.leaving, end, progress).await?;
    push_config(server, info, plan, progress).await?;
    let how = ApplyOptions { dry_run: false, force: options.force, recreate: options.recreate };
    for object in &deployment.objects {
        progress.now(&format!("apply {}", object.title()));
        let applied = namespace::apply_shared(server, info, object, how).await?;
        if applied.outcome != Outcome::Unchanged {
            progress.line(&format!("{}: {}", applied.title, word(applied.outcome)));
        }
    }
    for object in surplus(server, deployment).await? {
        let (Ok(kind), name) = (Server::kind_of(&object), object["metadata"]["name"].as_str().unwrap_or_default()) else { continue };
        let namespace = object["metadata"]["namespace"].as_str();
        server.delete(kind, namespace, name, object["metadata"]["uid"].as_str(), false, false).await?;
        gone(server, kind, namespace, name).await?;
        progress.line(&format!("{} {name}: deleted, it is no longer part of the cluster", kind.name));
    }
    if options.timeout.is_zero() {
        return Ok(());
    }
    shrink::elsewhere(server, info, &plan.leaving, end, progress).await?;
    rollout::roll(server, info, end, progress).await?;
    let map = wait::complete(server, info, end, progress).await?;
    // Later the primary is where an election put it, and stays there.
    if let Some(node) = info.initial_primary.as_ref().filter(|_| plan.first) {
        primary::primary_on(server, info, &map, node, end, progress).await?;
    }
    let before = Before::ask(server, info).await?;
    settings::tell(server, info, &map, &before.told, progress).await?;
    rebalance::switch(server, info, &map, info.rebalance, progress).await?;
    if rebalance::is_due(info, before.owed) {
        rebalance::pay(server, info, &map, end, progress).await?;
    }
    if plan.first {
        note(server, info, STARTED, &Json::from("true")).await?;
    }
    let all = pods(server, info).await?;
    shrink::serving(server, info, &map, &all).await?;
    note_held(server, info, &before, &all).await
}

/// What becomes of a setting that the spec has no more.
pub fn keeps(setting: &str) -> String {
    format!("{setting} stays in the running cluster, though the spec has it no more; to change it, write the value it is to have")
}

/// `created`, `changed`, ….
pub fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unchanged => "unchanged",
        Outcome::Created => "created",
        Outcome::Changed => "changed",
        Outcome::Recreated => "replaced",
        Outcome::Deleted => "deleted",
    }
}

/// AIStore reads the ConfigMap only at its very first start; a cluster that runs is told new settings itself. It is told
/// before the ConfigMap changes, so that a run which ends in between tells it again next time.
async fn push_config(server: &Server, info: &Info, plan: &Plan, progress: &mut dyn Progress) -> Result<(), KubeError> {
    let title = format!("ConfigMap {}/{}", info.namespace, info.config_map());
    let is_new = plan.objects.iter().any(|o| o.title == title && o.outcome == Outcome::Changed);
    if !is_new || info.config.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(());
    }
    let pods = pods(server, info).await?;
    if !pods.iter().any(|p| p.role == Role::Proxy && p.ready) {
        return Ok(());
    }
    let told = async {
        let map = members::map(server, info, &pods).await?;
        members::set_config(server, info, &map, &pods, &info.config).await
    };
    told.await.map_err(|e| {
        let again = match e {
            KubeError::Unreachable(_) | KubeError::Busy(_) => {
                "\nrun the same again when its proxies answer; `fettle status` says how they are"
            }
            _ => "",
        };
        KubeError::Other(format!(
            "the running cluster could not be told its new settings (`config`), and no object was changed: {e}{again}"
        ))
    })?;
    progress.line("configuration: the running cluster has the new settings");
    Ok(())
}

/// Kinds that are removed when the spec no longer has them. Namespaces, volumes and claims never are: they hold data.
const PRUNED: &[&str] = &[
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Service",
    "StatefulSet",
    "Deployment",
    "PodDisruptionBudget",
    "Job",
    "PodMonitor",
    "Certificate",
];

/// Objects made for this cluster that its spec no longer has.
async fn surplus(server: &Server, deployment: &Deployment) -> Result<Vec<Json>, KubeError> {
    let info = &deployment.info;
    let mut all = vec![];
    for name in PRUNED {
        let Some(kind) = kind(name) else { continue };
        let list = match server.list(kind, Some(&info.namespace), &info.everything()).await {
            // Others' kinds: who may not look at them made none.
            Err(KubeError::Denied(_)) if matches!(kind.name, "PodMonitor" | "Certificate") => continue,
            list => list?,
        };
        for mut object in list {
            let kept = |o: &Object| o.kind() == *name && o.json["metadata"]["name"] == object["metadata"]["name"];
            if !deployment.objects.iter().any(kept) && object["metadata"]["ownerReferences"].is_null() {
                // Lists leave out what all their items are.
                object["kind"] = Json::from(kind.name);
                object["apiVersion"] = Json::from(kind.api_version);
                all.push(object);
            }
        }
    }
    Ok(all)
}

fn removed(object: &Json) -> Applied {
    let title = Object { json: object.clone() }.title();
    let before = crate::cluster::document(&super::compare::essence(object));
    let diff = Diff { before_header: title.clone(), after_header: "nothing".into(), before, after: String::new() };
    Applied { title, outcome: Outcome::Deleted, diff: Some(diff), unchecked: false }
}
