//! Which pods must leave the node they run on, and whether that can be done without losing what they store.
//!
//! A StatefulSet gives up its highest numbers only. So a pod leaves in one of two ways: the set gets smaller and the pod is its last
//! one, or the pod is made anew under its name on another node. What a target stores, and who it is, belongs to the mountpaths of
//! its node; so it is emptied first either way, and one that is made anew begins with nothing.

use super::labels::LabelChange;
use super::pods::{EMPTIED, Pod};
use super::{Info, KubeError, MANAGER, Role, Server, kind};
use std::collections::BTreeMap;
use std::fmt;

/// A pod that must leave its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The pod.
    pub pod: String,
    /// Its role.
    pub role: Role,
    /// Its StatefulSet.
    pub set: String,
    /// Its number there: how many pods the set has without it and those after it.
    pub ordinal: u32,
    /// Its node; empty: it runs nowhere.
    pub node: String,
    /// It is made anew on another node; otherwise its StatefulSet gets smaller.
    pub moves: bool,
    /// The label that its node loses then: the key.
    pub label: Option<String>,
}

impl fmt::Display for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pod)?;
        match (self.role, self.node.is_empty()) {
            (_, true) => f.write_str(": taken out of the cluster")?,
            (Role::Target, _) => write!(f, ": taken out of the cluster, and {} emptied", self.node)?,
            (Role::Proxy, _) => write!(f, ": taken out of the cluster, and off {}", self.node)?,
        }
        if self.moves {
            f.write_str("; made anew on another node")?;
        }
        if let Some(label) = &self.label {
            write!(f, "; the node loses the label {label}")?;
        }
        Ok(())
    }
}

/// A target that runs nowhere just now, and was not emptied: what it stores is on the node it ran on last, and nothing tells which that is.
/// (Nor whether there is anything: one that never ran looks the same.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nowhere {
    pod: String,
    set: String,
    ordinal: u32,
    /// There is a pod, which waits for a node; otherwise its StatefulSet has not made it.
    made: bool,
}

/// What changes places, and what does not let it.
#[derive(Clone, Debug, Default)]
pub struct Leaving {
    /// Who leaves, in the order in which they do.
    pub all: Vec<Leave>,
    /// What stands in the way of it.
    pub problems: Vec<KubeError>,
    /// Targets that stay, and run nowhere.
    pub nowhere: Vec<Nowhere>,
}

/// Who leaves. `empty`: the cluster never served, so a target that runs nowhere has stored nothing yet.
pub async fn leaving(server: &Server, info: &Info, pods: &[Pod], empty: bool) -> Result<Leaving, KubeError> {
    let Some(sets) = kind("StatefulSet") else { return Ok(Leaving::default()) };
    let mut counts = BTreeMap::new();
    for set in server.list(sets, Some(&info.namespace), &info.everything()).await? {
        let name = set["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let role = [Role::Target, Role::Proxy].into_iter().find(|r| set["metadata"]["labels"]["app.kubernetes.io/component"] == r.name());
        let count = set["spec"]["replicas"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        if let Some(role) = role {
            counts.insert(name, (role, count));
        }
    }
    let all = who(info, &counts, pods);
    let (leave, nowhere): (Vec<_>, Vec<_>) = match empty {
        true => (vec![], vec![]),
        false => nowhere(&counts, pods).into_iter().partition(|n| all.iter().any(|l| l.pod == n.pod)),
    };
    let problems = obstacles(info, &all, pods).into_iter().chain(stranded(info, &leave, pods)).map(KubeError::Other).collect();
    Ok(Leaving { all, problems, nowhere })
}

/// `counts` as for [`who`].
fn nowhere(counts: &BTreeMap<String, (Role, u32)>, pods: &[Pod]) -> Vec<Nowhere> {
    let mut all = vec![];
    for (set, (_, count)) in counts.iter().filter(|(_, (role, _))| *role == Role::Target) {
        for ordinal in 0..*count {
            let name = format!("{set}-{ordinal}");
            let pod = pods.iter().find(|p| p.name == name);
            if pod.is_none_or(|p| p.node.is_empty() && !p.emptied) {
                all.push(Nowhere { pod: name, set: set.clone(), ordinal, made: pod.is_some() });
            }
        }
    }
    all
}

/// How a target that runs nowhere comes back.
fn bring_back(info: &Info) -> String {
    let label = info.labels.iter().find(|(role, ..)| *role == Role::Target);
    let label =
        label.map(|(_, key, value)| format!(", one that came back without its label after `kubectl label node NODE {key}={value}`"));
    format!(
        "Bring it back first (`fettle status` says why it does not run; a node that was drained takes it again after `kubectl uncordon`{})",
        label.unwrap_or_default()
    )
}

/// How to say that what targets store may be lost: of those that have a pod.
fn lost(info: &Info, all: &[&Nowhere]) -> Option<String> {
    let made: Vec<&str> = all.iter().filter(|n| n.made).map(|n| n.pod.as_str()).collect();
    (!made.is_empty()).then(|| format!("kubectl -n {} annotate pod {} {EMPTIED}=lost", info.namespace, made.join(" ")))
}

/// Why targets that run nowhere can't leave; `None`: there are none.
fn stranded(info: &Info, all: &[Nowhere], pods: &[Pod]) -> Option<String> {
    let mut commands: Vec<String> = lost(info, &all.iter().collect::<Vec<_>>()).into_iter().collect();
    let mut hints = vec![];
    // There is nothing to annotate, and a StatefulSet with fewer pods does not make it; but that one stops all with higher numbers, too.
    let mut fewer: BTreeMap<&str, u32> = BTreeMap::new();
    for one in all.iter().filter(|n| !n.made) {
        let after = pods.iter().filter(|p| p.set == one.set && p.ordinal > one.ordinal && !p.node.is_empty());
        if let Some(last) = after.max_by_key(|p| p.ordinal) {
            hints.push(format!(
                ". {}, which runs, comes after {} and would go with it: deploy with {} pods of {} first, which empties those after it",
                last.name,
                one.pod,
                one.ordinal.saturating_add(1),
                one.set
            ));
            continue;
        }
        let count = fewer.entry(&one.set).or_insert(one.ordinal);
        *count = one.ordinal.min(*count);
    }
    // As fettle itself does it: `kubectl scale` would own the number, and the next deploy be refused it.
    commands.extend(fewer.iter().map(|(set, count)| {
        format!(
            "kubectl -n {} patch statefulset {set} --field-manager={MANAGER} --type=merge -p '{{\"spec\":{{\"replicas\":{count}}}}}'",
            info.namespace
        )
    }));
    let names: Vec<&str> = all.iter().map(|n| n.pod.as_str()).collect();
    let commands =
        if commands.is_empty() { String::new() } else { format!("; or, if there are none or they may be lost: {}", commands.join("; ")) };
    (!all.is_empty()).then(|| {
        format!(
            "the spec has no more {}, and no node runs it now: its objects, if it ran before, are on the node it ran on last, and can't be moved to \
             the others. {}{commands}{}",
            names.join(", "),
            bring_back(info),
            hints.concat()
        )
    })
}

/// Why labels can't go onto nodes yet: a target that runs nowhere would come there and begin with nothing, while its objects are on the
/// node it ran on last. (What is in volume claims goes with it, or keeps it where the claims are.) `held`: nodes that hold what targets
/// stored; who comes there goes on with that.
pub fn wander(info: &Info, nowhere: &[Nowhere], labels: &[LabelChange], held: &[String]) -> Option<KubeError> {
    let key = info.labels.iter().find(|(role, ..)| *role == Role::Target).map(|(_, key, _)| key);
    let comes = |nodes: &[String], change: &LabelChange| {
        let new = change.after.is_some() && !held.contains(&change.node);
        new && Some(&change.key) == key && (nodes.is_empty() || nodes.contains(&change.node))
    };
    let to = |one: &Nowhere| {
        let set = info.sets.iter().find(|s| s.name == one.set && !s.claims)?;
        labels.iter().find(|change| comes(&set.nodes, change)).map(|change| change.node.as_str())
    };
    let found: Vec<(&Nowhere, &str)> = nowhere.iter().filter_map(|one| Some((one, to(one)?))).collect();
    let (_, node) = found.first()?;
    let all: Vec<&Nowhere> = found.iter().map(|(one, _)| *one).collect();
    let names = |all: &mut dyn Iterator<Item = &&Nowhere>| all.map(|one| one.pod.as_str()).collect::<Vec<_>>().join(", ");
    let unmade = names(&mut all.iter().filter(|one| !one.made));
    let ways = lost(info, &all)
        .into_iter()
        .chain((!unmade.is_empty()).then(|| format!("{unmade}: let its StatefulSet make it first (`fettle status` says why it does not)")));
    Some(KubeError::Other(format!(
        "no node runs {} now: with its label {node} would, and the target would begin there with nothing, for its objects, if it ran before, are on \
         the node it ran on last. {}: deploy then moves them. Or, if there are none or they may be lost: {}",
        names(&mut all.iter()),
        bring_back(info),
        ways.collect::<Vec<_>>().join("; ")
    )))
}

/// `counts`: each StatefulSet's role and number of pods as it is.
fn who(info: &Info, counts: &BTreeMap<String, (Role, u32)>, pods: &[Pod]) -> Vec<Leave> {
    let mut all = vec![];
    for role in [Role::Target, Role::Proxy] {
        let leave = |set: &str, ordinal: u32, moves: bool| {
            let pod = format!("{set}-{ordinal}");
            let node = pods.iter().find(|p| p.name == pod).map(|p| p.node.clone()).unwrap_or_default();
            let label = info.labels.iter().find(|(r, ..)| *r == role).map(|(_, key, _)| key.clone());
            let label = label.filter(|_| !node.is_empty() && !info.names(role, &node));
            Leave { pod, role, set: set.to_owned(), ordinal, node, moves, label }
        };
        let wanted = |set: &str| info.sets.iter().find(|s| s.name == set).map_or(0, |s| s.count);
        for (set, (_, now)) in counts.iter().filter(|(_, (r, _))| *r == role) {
            all.extend((wanted(set)..*now).rev().map(|n| leave(set, n, false)));
        }
        let stays = |p: &&Pod| p.role == role && p.ordinal < wanted(&p.set) && !p.leaving;
        all.extend(pods.iter().filter(stays).filter(|p| info.stray(p).is_some()).map(|p| leave(&p.set, p.ordinal, true)));
    }
    // Smaller sets first: that frees the nodes which others go to.
    all.sort_by_key(|l| l.moves);
    all
}

/// Why the targets among them can't leave without losing objects, or without emptying a node that the spec wants to keep.
fn obstacles(info: &Info, all: &[Leave], pods: &[Pod]) -> Vec<String> {
    let mut problems: Vec<String> = [Role::Target, Role::Proxy].into_iter().filter_map(|r| nobody_left(r, all, pods)).collect();
    let targets: Vec<&Leave> = all.iter().filter(|l| l.role == Role::Target && !l.node.is_empty()).collect();
    let Some(first) = targets.first() else { return problems };
    if !info.rebalance {
        problems.push(format!(
            "{} must leave {}, and `config.rebalance.enabled: false` keeps its objects from moving to the others: they would be lost; \
             set it to true for this change",
            first.pod, first.node
        ));
    }
    for leave in targets.iter().filter(|l| l.moves) {
        let Some(set) = info.sets.iter().find(|s| s.name == leave.set) else { continue };
        let (pod, node) = (&leave.pod, &leave.node);
        if set.claims {
            problems.push(format!(
                "{pod} runs on {node}, where the spec does not want it, and stores its objects in volume claims, which may be bound to \
                 that node: fettle does not move it. Where the volumes can follow, take the label off {node} and delete the pod; where they \
                 can't, keep {node}, or let the nodes with the highest numbers of {} go",
                set.name
            ));
        }
        // One that the spec wants to keep its target would be emptied only because its number is the highest.
        if let Some(last) = targets.iter().find(|l| !l.moves && l.set == leave.set && info.names(Role::Target, &l.node)) {
            let mut keep: Vec<&Pod> = pods.iter().filter(|p| p.set == leave.set && p.ordinal < set.count).collect();
            keep.sort_by_key(|p| p.ordinal);
            let keep: Vec<&str> = keep.iter().map(|p| p.node.as_str()).filter(|n| !n.is_empty()).collect();
            problems.push(format!(
                "{pod} runs on {node}, where the spec does not want it; but with fewer pods the StatefulSet {} gives up its highest \
                 number, {} on {}, which the spec wants to keep. Either let {} go instead, or do it in two steps: deploy with these \
                 nodes of {} first: {} ({} gives its objects to the others), then with those you want ({pod} does, and is made anew \
                 on {})",
                set.name,
                last.pod,
                last.node,
                last.node,
                set.name,
                keep.join(", "),
                last.node,
                last.node
            ));
        }
    }
    problems
}

/// Whether the last pod of a role would leave, with nobody to take over what it holds.
fn nobody_left(role: Role, all: &[Leave], pods: &[Pod]) -> Option<String> {
    let there = |p: &&Pod| p.role == role && !p.node.is_empty() && !p.leaving;
    let stay = pods.iter().filter(there).filter(|p| !all.iter().any(|l| l.pod == p.name)).count();
    let leave: Vec<&Leave> = all.iter().filter(|l| l.role == role && !l.node.is_empty()).collect();
    // Those made anew leave one after the other, so another of them may take over meanwhile.
    let moves = leave.iter().filter(|l| l.moves).count();
    let last = leave.last().filter(|_| stay + moves.saturating_sub(1) == 0)?;
    let lost = if role == Role::Target { "its objects would be lost" } else { "the cluster map would be lost" };
    let name = role.name();
    Some(format!("{} must leave {}, and there is no other {name}: {lost}; deploy with one {name} more first", last.pod, last.node))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "name: ais\nimages: {aisnode: a:v5.0, init: b:v5.0}\nproxies:\n  nodes: [n1]\ntargets:\n  nodes: [NODES]\n  mountpaths: [{path: /ais/sda}]\n";

    fn info(nodes: &str) -> Info {
        let text = SPEC.replace("NODES", nodes);
        Info::new(&crate::cluster::read("cluster.yml", &text).unwrap().resolve(None, None).unwrap())
    }

    /// Targets 0, 1, … on these nodes.
    fn targets(nodes: &[&str]) -> Vec<Pod> {
        let pod = |(n, node): (usize, &&str)| {
            super::super::pods::read(serde_json::json!({"metadata": {"name": format!("ais-target-{n}"),
                "labels": {"app.kubernetes.io/component": "target"}}, "spec": {"nodeName": node}}))
            .unwrap()
        };
        nodes.iter().enumerate().map(pod).collect()
    }

    fn leaves(wanted: &str, now: &[&str]) -> (Vec<(String, String, bool)>, Vec<String>) {
        let (info, pods) = (info(wanted), targets(now));
        let counts = BTreeMap::from([("ais-target".to_owned(), (Role::Target, now.len() as u32))]);
        let all = who(&info, &counts, &pods);
        let problems = obstacles(&info, &all, &pods);
        (all.into_iter().map(|l| (l.pod, l.node, l.moves)).collect(), problems)
    }

    #[test]
    fn the_node_that_leaves_is_the_one_that_is_emptied() {
        let leave = |pod: &str, node: &str, moves: bool| (pod.to_owned(), node.to_owned(), moves);
        assert_eq!(leaves("n1, n2", &["n1", "n2", "n3"]), (vec![leave("ais-target-2", "n3", false)], vec![]));
        assert_eq!(leaves("n3, n2", &["n3", "n2", "n1"]), (vec![leave("ais-target-2", "n1", false)], vec![]));
        assert_eq!(leaves("n1, n3", &["n1", "n2"]), (vec![leave("ais-target-1", "n2", true)], vec![]));
        assert_eq!(leaves("n1, n2, n3", &["n1", "n2"]), (vec![], vec![]));
        let (_, problems) = leaves("n2, n3", &["n1", "n2", "n3"]);
        assert!(problems.len() == 1 && problems[0].contains("first: n1, n2 (n3 gives"), "{problems:?}");
        let (_, problems) = leaves("n2", &["n1"]);
        assert!(problems.len() == 1 && problems[0].contains("no other target"), "{problems:?}");
    }

    #[test]
    fn a_target_that_runs_nowhere_neither_leaves_nor_begins_anew() {
        let counts = |n: u32| BTreeMap::from([("ais-target".to_owned(), (Role::Target, n))]);
        let mut pods = targets(&["n1", "n2", ""]);
        let found = nowhere(&counts(4), &pods);
        assert_eq!(found.iter().map(|n| (n.pod.as_str(), n.made)).collect::<Vec<_>>(), [("ais-target-2", true), ("ais-target-3", false)]);
        let text = stranded(&info("n1, n2"), &found, &pods).unwrap();
        let patch = |count: u32| {
            format!(
                "kubectl -n ais patch statefulset ais-target --field-manager=fettle --type=merge -p '{{\"spec\":{{\"replicas\":{count}}}}}'"
            )
        };
        assert!(text.ends_with(&format!("annotate pod ais-target-2 fettle/emptied=lost; {}", patch(3))), "{text}");
        assert!(text.contains("`kubectl label node NODE nvidia.com/ais-target=ais`"), "{text}");
        // A smaller StatefulSet would stop one that runs and was not emptied.
        let gap: Vec<Pod> = targets(&["n1", "", "n3"]).into_iter().filter(|p| p.ordinal != 1).collect();
        let between = nowhere(&counts(5), &gap);
        let text = stranded(&info("n1"), &between, &gap).unwrap();
        assert!(text.contains(&patch(3)) && !text.contains(&patch(1)), "{text}");
        assert!(
            text.contains("ais-target-2, which runs, comes after ais-target-1 and would go with it: deploy with 2 pods of ais-target"),
            "{text}"
        );
        let text = stranded(&info("n1"), &between[..1], &gap).unwrap();
        assert!(!text.contains("kubectl -n") && !text.contains("may be lost"), "{text}");
        pods[2].emptied = true;
        assert_eq!(nowhere(&counts(3), &pods), []);
        assert_eq!(stranded(&info("n1, n2"), &[], &pods), None);

        let label = |node: &str, key: &str| LabelChange { node: node.into(), key: key.into(), before: None, after: Some("ais".into()) };
        let info = info("n1, n2, n4");
        let why = |change: LabelChange| wander(&info, &found[..1], &[change], &["n1".to_owned(), "n2".to_owned()]).map(|e| e.to_string());
        let text = why(label("n4", "nvidia.com/ais-target")).unwrap();
        assert!(text.contains("no node runs ais-target-2 now: with its label n4 would"), "{text}");
        assert_eq!(why(label("n4", "nvidia.com/ais-proxy")), None);
        assert_eq!(why(LabelChange { after: None, ..label("n4", "nvidia.com/ais-target") }), None);
        assert_eq!(why(label("n9", "nvidia.com/ais-target")), None);
        assert_eq!(why(label("n2", "nvidia.com/ais-target")), None, "what targets stored is there");
        assert_eq!(wander(&info, &[], &[label("n4", "nvidia.com/ais-target")], &[]), None);
        let text = wander(&info, &found, &[label("n4", "nvidia.com/ais-target")], &[]).unwrap().to_string();
        let ways = "annotate pod ais-target-2 fettle/emptied=lost; ais-target-3: let its StatefulSet make it first";
        assert!(text.contains("no node runs ais-target-2, ais-target-3 now") && text.contains(ways), "{text}");
    }

    #[test]
    fn without_rebalance_nothing_is_emptied() {
        let text = SPEC.replace("NODES", "n1") + "config: {rebalance: {enabled: false}}\n";
        let info = Info::new(&crate::cluster::read("cluster.yml", &text).unwrap().resolve(None, None).unwrap());
        let pods = targets(&["n1", "n2"]);
        let all = who(&info, &BTreeMap::from([("ais-target".to_owned(), (Role::Target, 2))]), &pods);
        let problems = obstacles(&info, &all, &pods);
        assert!(problems.len() == 1 && problems[0].contains("would be lost; set it to true"), "{problems:?}");
    }
}
