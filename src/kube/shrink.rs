//! Taking pods out of the cluster: what targets store moves to the others first, and is known to have arrived.

use super::labels::{LabelChange, set_labels};
use super::leave::Leave;
use super::members::{self, Map, Member};
use super::pods::{EMPTIED, Pod, pods};
use super::primary::hand_over;
use super::wait::{PAUSE, describe};
use super::{Info, KubeError, MANAGER, Progress, Role, Server, kind, rebalance};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// Makes StatefulSets smaller, one pod after the other: each is emptied, and its set is one smaller before the next. A pod that stays
/// on after it left would be started again by its kubelet, and might join again.
pub async fn smaller(server: &Server, info: &Info, leaving: &[Leave], end: Instant, progress: &mut dyn Progress) -> Result<(), KubeError> {
    for leave in leaving.iter().filter(|l| !l.moves) {
        take_out(server, info, leave, leaving, end, progress).await?;
        unlabel(server, info, leave, progress).await?;
        let Some(sets) = kind("StatefulSet") else { return Ok(()) };
        let path = format!("{}?fieldManager={MANAGER}", sets.path(Some(&info.namespace), &leave.set));
        server.merge_at(&path, &json!({"spec": {"replicas": leave.ordinal}})).await?;
        let gone = |all: &[Pod]| !all.iter().any(|p| p.name == leave.pod);
        until(server, info, end, progress, &format!("{}: stopping", leave.pod), |all, _| Ok(gone(all))).await?;
    }
    Ok(())
}

/// Makes pods anew on nodes that the spec wants for them, one after the other. Their StatefulSets are as the spec says already.
pub async fn elsewhere(
    server: &Server,
    info: &Info,
    leaving: &[Leave],
    end: Instant,
    progress: &mut dyn Progress,
) -> Result<(), KubeError> {
    for leave in leaving.iter().filter(|l| l.moves) {
        take_out(server, info, leave, leaving, end, progress).await?;
        unlabel(server, info, leave, progress).await?;
        let all = pods(server, info).await?;
        let old = all.iter().find(|p| p.name == leave.pod && p.node == leave.node);
        if let (Some(kind), Some(old)) = (kind("Pod"), old) {
            server.delete(kind, Some(&info.namespace), &old.name, Some(&old.uid), false, false).await?;
        }
        back(server, info, leave, end, progress).await?;
    }
    Ok(())
}

/// Waits until a pod of this name is ready elsewhere, and a member.
async fn back(server: &Server, info: &Info, leave: &Leave, end: Instant, progress: &mut dyn Progress) -> Result<(), KubeError> {
    loop {
        let all = pods(server, info).await?;
        let state = match all.iter().find(|p| p.name == leave.pod && !p.leaving && p.node != leave.node) {
            None => format!("{}: being made anew", leave.pod),
            Some(pod) if !pod.ready => describe(server, info, pod).await,
            Some(pod) => match members::map(server, info, &all).await {
                Ok(map) if map.of_pod(&pod.name).is_some_and(|m| !m.away) => {
                    progress.line(&format!("{}: on {} now, in the cluster", pod.name, pod.node));
                    return Ok(());
                }
                _ => format!("{}: ready, and not in the cluster map yet", pod.name),
            },
        };
        if Instant::now() >= end {
            return Err(KubeError::Other(format!("the time is up (--timeout): {state}. Run the same again to go on")));
        }
        progress.now(&state);
        sleep(PAUSE).await;
    }
}

/// Takes the label off the node that a pod leaves, so that none comes there again.
async fn unlabel(server: &Server, info: &Info, leave: &Leave, progress: &mut dyn Progress) -> Result<(), KubeError> {
    let Some((_, key, value)) = info.labels.iter().find(|(r, key, _)| *r == leave.role && leave.label.as_ref() == Some(key)) else {
        return Ok(());
    };
    let Some(nodes) = kind("Node") else { return Ok(()) };
    let node = server.get(nodes, None, &leave.node).await?;
    if node.is_some_and(|n| n["metadata"]["labels"][key] == value.as_str()) {
        let change = LabelChange { node: leave.node.clone(), key: key.clone(), before: Some(value.clone()), after: None };
        set_labels(server, &leave.node, &[change], false, false).await?;
        progress.line(&format!("node {}: label {key} removed", leave.node));
    }
    Ok(())
}

/// Takes one pod out of the cluster map.
///
/// A target is put into maintenance first. AIStore marks it when the rebalance that this begins has moved all its objects, and does
/// not when that failed; only then is it decommissioned. (Decommissioned at once it would be removed even after a failed rebalance,
/// AIStore's `rmdModifier.postRm`, and without any while rebalance is off, `proxy.rmNode`.)
async fn take_out(
    server: &Server,
    info: &Info,
    leave: &Leave,
    leaving: &[Leave],
    end: Instant,
    progress: &mut dyn Progress,
) -> Result<(), KubeError> {
    let name = &leave.pod;
    let all = pods(server, info).await?;
    let there = all.iter().find(|p| p.name == *name);
    let Some(pod) = there.filter(|p| !p.node.is_empty()) else {
        // One that ran nowhere when this was planned has nothing to give, or what it has may be lost.
        let emptied = leave.node.is_empty() || there.is_some_and(|p| p.emptied);
        let what = format!("{name} ran on {}, and runs nowhere now", leave.node);
        return missing(info, leave, there.is_some(), emptied, &what);
    };
    let map = members::map(server, info, &all).await?;
    let Some(member) = map.of_pod(name) else {
        return missing(info, leave, true, pod.emptied, &format!("{name} on {} is not in the cluster map", pod.node));
    };
    if member.primary {
        let others: Vec<String> = leaving.iter().map(|l| l.pod.clone()).collect();
        // Where all leave, one that leaves later or has moved already has to do.
        let another = hand_over(server, info, &map, &all, &others, end, progress).await?
            || hand_over(server, info, &map, &all, std::slice::from_ref(name), end, progress).await?;
        if !another {
            return Err(KubeError::Other(format!(
                "{name} is the primary, and no other proxy can take over now: `fettle status` says how they are. Run the same again when one is ready"
            )));
        }
    }
    if pod.role == Role::Target {
        empty(server, info, pod, member, &map, end, progress).await?;
        let Some(pods) = kind("Pod") else { return Ok(()) };
        let path = format!("{}?fieldManager={MANAGER}", pods.path(Some(&info.namespace), name));
        server.merge_at(&path, &json!({"metadata": {"annotations": {EMPTIED: "true"}}})).await?;
    }
    let map = members::map(server, info, &all).await?;
    let leave = json!({"sid": member.id});
    while let Err(e) = members::act(server, info, &map, &all, "decommission-node", &leave).await {
        later(e, &format!("{name}: not out of the cluster yet"), end, progress).await?;
    }
    let doing = format!("{name}: leaving the cluster");
    until(server, info, end, progress, &doing, |_, map| Ok(map.is_some_and(|m| by_id(m, &member.id).is_none()))).await?;
    progress.line(&format!("{name}: out of the cluster"));
    Ok(())
}

/// What to do about a pod that is no member. `made`: there is such a pod; `what`: how that it is no member shows.
fn missing(info: &Info, leave: &Leave, made: bool, emptied: bool, what: &str) -> Result<(), KubeError> {
    // A proxy stores nothing, and a target that was emptied was taken out by a run before.
    if leave.role == Role::Proxy || emptied {
        return Ok(());
    }
    // There is nothing to annotate before.
    let when = if made { "" } else { ", once its StatefulSet has made it again" };
    Err(KubeError::Other(format!(
        "{what}, so its objects can't be moved to the others. Bring it back and run the same again (`fettle status` says how it is); \
         or, if they may be lost{when}: kubectl -n {} annotate pod {} {EMPTIED}=lost",
        info.namespace, leave.pod
    )))
}

/// Takes [`EMPTIED`] off targets that serve: they store objects again, and another day they would be taken for empty ones.
pub async fn serving(server: &Server, info: &Info, map: &Map, all: &[Pod]) -> Result<(), KubeError> {
    let Some(kind) = kind("Pod") else { return Ok(()) };
    let away = |p: &Pod| map.of_pod(&p.name).is_some_and(|m| m.away);
    for pod in all.iter().filter(|p| p.emptied && p.ready && !p.leaving && !away(p)) {
        let path = format!("{}?fieldManager={MANAGER}", kind.path(Some(&info.namespace), &pod.name));
        server.merge_at(&path, &json!({"metadata": {"annotations": {EMPTIED: null}}})).await?;
    }
    Ok(())
}

fn by_id<'a>(map: &'a Map, id: &str) -> Option<&'a Member> {
    map.members.iter().find(|m| m.id == id)
}

/// Has a target give all its objects to the others.
async fn empty(
    server: &Server,
    info: &Info,
    pod: &Pod,
    member: &Member,
    map: &Map,
    end: Instant,
    progress: &mut dyn Progress,
) -> Result<(), KubeError> {
    let name = &pod.name;
    // An earlier run may have left it off; it is read back, for without it the objects would stay behind unsaid.
    rebalance::switch(server, info, map, true, progress).await?;
    let all = pods(server, info).await?;
    if members::config(server, info, map, &all).await?["rebalance"]["enabled"] != true {
        return Err(KubeError::Other(format!(
            "{name} can't be emptied: rebalance does not stay on in the running cluster. Nothing was removed; see what switches it off"
        )));
    }
    let mut asked = member.away;
    while !asked {
        match members::act(server, info, map, &all, "start-maintenance", &json!({"sid": member.id})).await {
            Ok(()) => asked = true,
            Err(e) => later(e, &format!("{name}: not being emptied yet"), end, progress).await?,
        }
    }
    progress.line(&format!("{name}: leaving the cluster, its objects move from {} to the others", pod.node));
    let doing = format!("{name}: giving its objects to the others");
    let emptied = |_: &[Pod], map: Option<&Map>| match map.map(|m| by_id(m, &member.id)) {
        Some(Some(now)) => Ok(now.emptied),
        Some(None) => Err(KubeError::Other(format!(
            "{name} left the cluster map before all its objects were moved: bring it back (`fettle status` says how it is), and run the same again"
        ))),
        None => Ok(false),
    };
    until(server, info, end, progress, &doing, emptied).await.map_err(|e| match e {
        KubeError::Other(text) if text.starts_with("the time is up") => KubeError::Other(format!(
            "{text}; its pod and its objects stay. Run the same again to go on waiting. If no rebalance runs any more (`ais show rebalance`), \
             it failed: `ais cluster add-remove-nodes stop-maintenance {}` takes the target back, and the next run begins again",
            member.id
        )),
        other => other,
    })
}

/// What AIStore refuses while a rebalance runs or another node comes or goes, and what a node that starts can't say yet, is asked again.
pub(super) async fn later(error: KubeError, doing: &str, end: Instant, progress: &mut dyn Progress) -> Result<(), KubeError> {
    let text = format!("{doing}: {error}");
    match error {
        KubeError::Busy(_) | KubeError::Unreachable(_) if Instant::now() >= end => {
            Err(KubeError::Other(format!("the time is up (--timeout): {text}. Run the same again to go on")))
        }
        KubeError::Busy(_) | KubeError::Unreachable(_) => {
            progress.now(&text);
            sleep(PAUSE).await;
            Ok(())
        }
        other => Err(other),
    }
}

/// Looks again and again until `done` says so of the pods and the cluster map (`None`: nobody gives it just now).
async fn until(
    server: &Server,
    info: &Info,
    end: Instant,
    progress: &mut dyn Progress,
    doing: &str,
    done: impl Fn(&[Pod], Option<&Map>) -> Result<bool, KubeError>,
) -> Result<(), KubeError> {
    loop {
        match pods(server, info).await {
            Ok(all) => {
                let map = members::map(server, info, &all).await.ok();
                if done(&all, map.as_ref())? {
                    return Ok(());
                }
            }
            Err(e) if e.is_passing() => {}
            Err(e) => return Err(e),
        }
        if Instant::now() >= end {
            return Err(KubeError::Other(format!("the time is up (--timeout): {doing}")));
        }
        progress.now(doing);
        sleep(PAUSE).await;
    }
}
