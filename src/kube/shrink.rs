//! Fewer targets than before: what they hold moves to the others first.

use super::members::{self, Map};
use super::pods::{Pod, pods};
use super::wait::PAUSE;
use super::{Info, KubeError, Progress, Role, Server, kind};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// Pods beyond what the spec wants, highest number first, as a StatefulSet removes them; targets before proxies.
pub async fn leaving(server: &Server, info: &Info) -> Result<Vec<String>, KubeError> {
    let Some(sets) = kind("StatefulSet") else { return Ok(vec![]) };
    let mut all = vec![];
    for role in [Role::Target, Role::Proxy] {
        let selector = format!("{},app.kubernetes.io/component={}", info.everything(), role.name());
        for set in server.list(sets, Some(&info.namespace), &selector).await? {
            let name = set["metadata"]["name"].as_str().unwrap_or_default();
            let now = set["spec"]["replicas"].as_u64().unwrap_or(0);
            let wanted = info.sets.iter().find(|s| s.name == name).map_or(0, |s| u64::from(s.count));
            all.extend((wanted..now).rev().map(|n| format!("{name}-{n}")));
        }
    }
    Ok(all)
}

/// Takes the `leaving` out of the cluster: targets give their objects to the others; a primary hands over first.
pub async fn empty(server: &Server, info: &Info, leaving: &[String], end: Instant, progress: &mut dyn Progress) -> Result<(), KubeError> {
    for name in leaving {
        let all = pods(server, info).await?;
        let Some(pod) = all.iter().find(|p| p.name == *name) else { continue };
        let map = members::map(server, info, &all).await?;
        let Some(member) = map.of_pod(name) else { continue };
        if member.primary {
            hand_over(server, info, &map, &all, leaving, end, progress).await?;
        }
        let map = members::map(server, info, &all).await?;
        if !member.away {
            members::act(server, info, &map, &all, "decommission-node", &json!({"sid": member.id})).await?;
        }
        progress.line(&format!(
            "{name}: leaving the cluster{}",
            if pod.role == Role::Target { ", its objects move to the others" } else { "" }
        ));
        until_gone(server, info, &member.id, name, end, progress).await?;
    }
    Ok(())
}

async fn until_gone(
    server: &Server,
    info: &Info,
    id: &str,
    name: &str,
    end: Instant,
    progress: &mut dyn Progress,
) -> Result<(), KubeError> {
    loop {
        let all = pods(server, info).await?;
        if let Ok(map) = members::map(server, info, &all).await
            && !map.members.iter().any(|m| m.id == id)
        {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(KubeError::Other(format!(
                "the time is up (--timeout): {name} still has objects to give away; its pod stays. Run the same again to go on waiting"
            )));
        }
        progress.now(&format!("{name}: giving its objects to the others"));
        sleep(PAUSE).await;
    }
}

/// Makes another proxy primary: the lowest number that is ready and not in `but`.
pub async fn hand_over(
    server: &Server,
    info: &Info,
    map: &Map,
    pods: &[Pod],
    but: &[String],
    end: Instant,
    progress: &mut dyn Progress,
) -> Result<(), KubeError> {
    let next = pods
        .iter()
        .filter(|p| p.role == Role::Proxy && p.ready && !p.leaving && !but.contains(&p.name))
        .find_map(|p| map.of_pod(&p.name).filter(|m| !m.primary && !m.away).map(|m| (p, m)));
    match next {
        Some((pod, member)) => make_primary(server, info, map, pods, pod, &member.id, end, progress).await,
        None => Ok(()),
    }
}

/// Makes the proxy in the pod of this node primary, if it is not.
pub async fn primary_on(
    server: &Server,
    info: &Info,
    map: &Map,
    node: &str,
    end: Instant,
    progress: &mut dyn Progress,
) -> Result<(), KubeError> {
    let all = pods(server, info).await?;
    let there = all.iter().find(|p| p.role == Role::Proxy && p.node == node);
    let member = there.and_then(|p| map.of_pod(&p.name).map(|m| (p, m)));
    match member {
        Some((pod, member)) if !member.primary => make_primary(server, info, map, &all, pod, &member.id, end, progress).await,
        _ => Ok(()),
    }
}

#[expect(clippy::too_many_arguments, reason = "what, where, until when and who hears of it")]
async fn make_primary(
    server: &Server,
    info: &Info,
    map: &Map,
    pods: &[Pod],
    pod: &Pod,
    id: &str,
    end: Instant,
    progress: &mut dyn Progress,
) -> Result<(), KubeError> {
    members::set_primary(server, info, map, pods, id).await?;
    loop {
        if let Ok(map) = members::map(server, info, pods).await
            && map.primary().is_some_and(|p| p.id == id)
        {
            progress.line(&format!("{}: primary now", pod.name));
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(KubeError::Other(format!("the time is up (--timeout): {} did not become primary", pod.name)));
        }
        progress.now(&format!("{}: becoming primary", pod.name));
        sleep(PAUSE).await;
    }
}
