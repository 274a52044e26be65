//! New versions and settings of pods: proxies first, the primary last of them, then targets; one at a time, each back in
//! the cluster map before the next. Rebalancing is off meanwhile, so that a restart moves no data.

use super::apply::Applied;
use super::info::PodSet;
use super::leave::Leave;
use super::members;
use super::pods::{Pod, pods};
use super::primary::hand_over;
use super::wait::{PAUSE, complete, describe};
use super::{Info, KubeError, Outcome, Progress, Role, Server, kind, rebalance};
use std::collections::BTreeMap;
use tokio::time::{Instant, sleep};

/// The revision each StatefulSet's pods should have, once its controller has seen its newest version.
async fn revisions(server: &Server, info: &Info, end: Instant) -> Result<BTreeMap<String, String>, KubeError> {
    let mut all = BTreeMap::new();
    let Some(sets) = kind("StatefulSet") else { return Ok(all) };
    for PodSet { name, .. } in &info.sets {
        loop {
            let Some(set) = server.get(sets, Some(&info.namespace), name).await? else { break };
            let seen = set["status"]["observedGeneration"].as_u64() >= set["metadata"]["generation"].as_u64();
            if let Some(revision) = set["status"]["updateRevision"].as_str().filter(|_| seen) {
                all.insert(name.clone(), revision.to_owned());
                break;
            }
            if Instant::now() >= end {
                return Err(KubeError::Other(format!(
                    "the time is up (--timeout): nothing acts on StatefulSet {name}; is the controller manager running?"
                )));
            }
            sleep(PAUSE).await;
        }
    }
    Ok(all)
}

fn outdated<'a>(pods: &'a [Pod], revisions: &BTreeMap<String, String>) -> Vec<&'a Pod> {
    pods.iter().filter(|p| revisions.get(&p.set).is_some_and(|r| p.revision != *r)).collect()
}

/// The pods that deploying will restart, in order, as far as can be known before.
/// Those that leave their nodes are not among them: they are gone by then, or made anew elsewhere.
pub async fn expected(
    server: &Server,
    info: &Info,
    mut all: Vec<Pod>,
    objects: &[Applied],
    leaving: &[Leave],
) -> Result<Vec<String>, KubeError> {
    all.retain(|p| !leaving.iter().any(|l| l.pod == p.name));
    let now = revisions(server, info, Instant::now()).await.unwrap_or_default();
    let late: Vec<String> = outdated(&all, &now).into_iter().map(|p| p.name.clone()).collect();
    let template_changes = |set: &PodSet| {
        let title = format!("StatefulSet {}/{}", info.namespace, set.name);
        objects.iter().any(|o| {
            o.title == title
                && o.outcome != Outcome::Unchanged
                && o.diff.as_ref().is_some_and(|d| template(&d.before) != template(&d.after))
        })
    };
    let changing: Vec<&str> = info.sets.iter().filter(|s| template_changes(s)).map(|s| s.name.as_str()).collect();
    let mut restarted: Vec<Pod> = all.into_iter().filter(|p| late.contains(&p.name) || changing.contains(&p.set.as_str())).collect();
    let primary = match restarted.iter().any(|p| p.role == Role::Proxy) {
        true => primary(server, info).await,
        false => None,
    };
    restarted.sort_by(|a, b| order(a, primary.as_deref()).cmp(&order(b, primary.as_deref())));
    Ok(restarted.into_iter().map(|p| p.name).collect())
}

/// The part of a StatefulSet's YAML that makes pods.
fn template(yaml: &str) -> String {
    let parsed = crate::yaml::parse_one("StatefulSet", yaml);
    parsed.map(|n| n.to_json()["spec"]["template"].to_string()).unwrap_or_default()
}

async fn primary(server: &Server, info: &Info) -> Option<String> {
    let all = pods(server, info).await.ok()?;
    let map = members::map(server, info, &all).await.ok()?;
    map.primary().map(|m| m.pod.clone())
}

/// What does not work anyway first; then proxies before targets, the primary last of its kind, and by number.
fn order<'a>(pod: &'a Pod, primary: Option<&str>) -> (bool, Role, bool, &'a str, u32) {
    (pod.ready, pod.role, primary == Some(pod.name.as_str()), &pod.set, pod.ordinal)
}

/// Restarts what is outdated. Stops at the first that does not come back.
pub async fn roll(server: &Server, info: &Info, end: Instant, progress: &mut dyn Progress) -> Result<(), KubeError> {
    let revisions = revisions(server, info, end).await?;
    let (mut quiet, mut owed) = (false, false);
    loop {
        let all = pods(server, info).await?;
        let mut late: Vec<Pod> = outdated(&all, &revisions).into_iter().filter(|p| !p.leaving).cloned().collect();
        late.sort_by(|a, b| order(a, None).cmp(&order(b, None)));
        let Some(first) = late.first() else { return Ok(()) };
        in_time(end, first, late.len(), quiet)?;
        let left = late.len();
        let mut known = None;
        if first.ready {
            // One that serves is taken down only while all others serve.
            let map = complete(server, info, end, progress).await.map_err(|e| {
                let what = format!("{} is to be restarted, and not all others serve: {e}", first.name);
                halt(&what, left, quiet)
            })?;
            // Only this map says for certain who is primary.
            let primary = map.primary().map(|m| m.pod.as_str());
            late.sort_by(|a, b| order(a, primary).cmp(&order(b, primary)));
            known = Some(map);
        }
        let Some(pod) = late.first() else { return Ok(()) };
        if let Some(map) = known {
            if !quiet {
                let waiting = settled(server, info, end, progress).await;
                waiting.map_err(|e| halt(&format!("{} is to be restarted: {e}", pod.name), left, quiet))?;
                rebalance::switch(server, info, &map, false, progress).await?;
                quiet = true;
            }
            if map.primary().is_some_and(|m| m.pod == pod.name) {
                // A single proxy has nobody to hand over to.
                hand_over(server, info, &map, &all, std::slice::from_ref(&pod.name), end, progress).await?;
            }
        }
        in_time(end, pod, left, quiet)?;
        if pod.role == Role::Target && !owed {
            rebalance::owe(server, info).await?;
            owed = true;
        }
        progress.now(&format!("{}: restarting, {left} to go", pod.name));
        if let Some(kind) = kind("Pod") {
            server.delete(kind, Some(&info.namespace), &pod.name, Some(&pod.uid), false, false).await?;
        }
        back(server, info, pod, &revisions, end, progress)
            .await
            .map_err(|e| halt(&format!("{} does not come back: {e}", pod.name), left - 1, quiet))?;
        progress.line(&format!("{}: restarted, back in the cluster", pod.name));
    }
}

/// Waits until no rebalance runs: a restart would break it off, and it begins again by itself only while rebalancing is on. (A target
/// that has just come is being filled.)
async fn settled(server: &Server, info: &Info, end: Instant, progress: &mut dyn Progress) -> Result<(), KubeError> {
    loop {
        let all = pods(server, info).await?;
        let map = members::map(server, info, &all).await?;
        let state = match members::rebalancing(server, info, &map, &all).await {
            Ok(true) => "a rebalance moves objects between targets".to_owned(),
            // One may run.
            Err(e) if e.is_passing() => format!("whether a rebalance moves objects between targets is not known: {e}"),
            // A release that does not answer this is not waited for.
            Ok(false) | Err(_) => return Ok(()),
        };
        if Instant::now() >= end {
            return Err(KubeError::Other(format!("the time is up (--timeout): {state}")));
        }
        progress.now(&format!("{state}; restarts wait for its end"));
        sleep(PAUSE).await;
    }
}

/// Whether there is time for one more: a pod that is stopped when the time is up would be taken for one that does not come back.
fn in_time(end: Instant, next: &Pod, left: usize, quiet: bool) -> Result<(), KubeError> {
    if Instant::now() < end {
        return Ok(());
    }
    let off = if quiet { " Rebalancing stays off." } else { "" };
    Err(KubeError::Other(format!(
        "the time is up (--timeout), and {left} pods are still to be restarted, {} first; they keep running as they were.{off} Run the same again to go on",
        next.name
    )))
}

/// Waits until the successor of `old` is ready and in the cluster map. One that was not ready need only be ready.
async fn back(
    server: &Server,
    info: &Info,
    old: &Pod,
    revisions: &BTreeMap<String, String>,
    end: Instant,
    progress: &mut dyn Progress,
) -> Result<(), KubeError> {
    loop {
        let state = match look(server, info, old, revisions).await {
            Ok(None) => return Ok(()),
            Ok(Some(state)) => state,
            Err(e) if e.is_passing() => e.to_string(),
            Err(e) => return Err(e),
        };
        if Instant::now() >= end {
            return Err(KubeError::Other(state));
        }
        progress.now(&state);
        sleep(PAUSE).await;
    }
}

/// `None`: it is back.
async fn look(server: &Server, info: &Info, old: &Pod, revisions: &BTreeMap<String, String>) -> Result<Option<String>, KubeError> {
    let all = pods(server, info).await?;
    let Some(new) = all.iter().find(|p| p.name == old.name && p.uid != old.uid) else {
        return Ok(Some(format!("{}: stopping", old.name)));
    };
    if revisions.get(&new.set).is_some_and(|r| *r != new.revision) {
        return Ok(Some(format!("{}: made from an older version again", new.name)));
    }
    if !new.ready {
        return Ok(Some(describe(server, info, new).await));
    }
    if !old.ready {
        return Ok(None);
    }
    let map = match members::map(server, info, &all).await {
        Ok(map) => map,
        Err(e) => return Ok(Some(format!("{}: ready; no cluster map: {e}", new.name))),
    };
    match map.of_pod(&new.name) {
        Some(member) if !member.away => Ok(None),
        // Addresses that don't name pods: then the numbers must do.
        None if map.is_complete(info) => Ok(None),
        _ => Ok(Some(format!("{}: ready, and not back in the cluster map yet", new.name))),
    }
}

/// `left`: pods with an older template that were not touched. `quiet`: rebalancing was switched off.
fn halt(what: &str, left: usize, quiet: bool) -> KubeError {
    let others = if left > 0 { format!(" {left} pods keep running as they were.") } else { String::new() };
    let off = if quiet { " Rebalancing stays off." } else { "" };
    KubeError::Other(format!(
        "{what}\nThe rollout stops here.{others}{off} To go on: put right what is wrong and deploy again. To go back: deploy the earlier \
         spec (AIStore goes back to no earlier release once a node of the later one has joined)"
    ))
}
