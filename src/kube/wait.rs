//! Waiting until a cluster is complete, saying what is missing.

use super::members::{self, Map};
use super::pods::{Pod, pods, why_no_pod, why_not_ready};
use super::{Info, KubeError, Progress, Role, Server};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between looks: pods take seconds to start, and an API server bears one list a second.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// After this many looks it is asked anew why a pod is not ready.
const REASON_EVERY: u32 = 5;

/// Waits until all pods are ready and in the cluster map; errors say which pod is stuck, and why.
pub async fn complete(server: &Server, info: &Info, end: Instant, progress: &mut dyn Progress) -> Result<Map, KubeError> {
    let mut why = String::new();
    let mut looks = 0u32;
    loop {
        let missing = match look(server, info).await {
            Ok(Ok(map)) => {
                progress.now("");
                return Ok(map);
            }
            Ok(Err(missing)) => missing,
            // The API server may be away for a while: it is only being looked at.
            Err(e) if e.is_passing() && Instant::now() < end => format!("{e}; asking again"),
            Err(e) => return Err(e),
        };
        if Instant::now() >= end {
            return Err(KubeError::Other(format!("the time is up (--timeout): {}", stuck(server, info, &missing).await)));
        }
        // Events and logs are asked for less often than pods.
        if looks.is_multiple_of(REASON_EVERY) {
            why = first_stuck(server, info).await.map(|w| format!("; {w}")).unwrap_or_default();
        }
        looks += 1;
        progress.now(&format!("{missing}{why}"));
        sleep(PAUSE).await;
    }
}

/// The first pod that is not ready, and why.
async fn first_stuck(server: &Server, info: &Info) -> Option<String> {
    let pods = pods(server, info).await.ok()?;
    // Those of a StatefulSet start one after the other, or all at once: the first says most.
    let pod = pods.iter().find(|p| !p.ready && !p.leaving).or_else(|| pods.iter().find(|p| p.leaving))?;
    Some(describe(server, info, pod).await)
}

/// The map if all is there; otherwise what is missing.
async fn look(server: &Server, info: &Info) -> Result<Result<Map, String>, KubeError> {
    let pods = pods(server, info).await?;
    let ready = |role| pods.iter().filter(|p| p.role == role && p.ready && !p.leaving).count();
    let counts = format!(
        "{} of {} proxies and {} of {} targets ready",
        ready(Role::Proxy),
        info.wanted(Role::Proxy),
        ready(Role::Target),
        info.wanted(Role::Target)
    );
    if [Role::Proxy, Role::Target].into_iter().any(|r| ready(r) < info.wanted(r) as usize) {
        return Ok(Err(counts));
    }
    if let Some(stray) = pods.iter().filter(|p| !p.leaving).find_map(|p| info.stray(p)) {
        return Ok(Err(format!("{counts}; {stray}")));
    }
    match members::map(server, info, &pods).await {
        Ok(map) if map.is_complete(info) => Ok(Ok(map)),
        Ok(map) => {
            Ok(Err(format!("{counts}; the cluster map has {} proxies and {} targets", map.serving(Role::Proxy), map.serving(Role::Target))))
        }
        Err(KubeError::Denied(text)) => Err(KubeError::Denied(text)),
        Err(e) => Ok(Err(format!("{counts}; no cluster map yet: {e}"))),
    }
}

/// What is missing, with the reason for each pod that is not ready.
pub(super) async fn stuck(server: &Server, info: &Info, missing: &str) -> String {
    let Ok(pods) = pods(server, info).await else { return missing.to_owned() };
    let mut lines = vec![missing.to_owned()];
    for set in &info.sets {
        let there: Vec<&Pod> = pods.iter().filter(|p| p.set == set.name).collect();
        if there.len() < set.count as usize {
            lines.push(format!("{}: {}", set.name, why_no_pod(server, info, &set.name).await));
        }
        for pod in there.into_iter().filter(|p| !p.ready) {
            lines.push(describe(server, info, pod).await);
        }
    }
    lines.join("\n")
}

/// `ais-target-1 on node3: …why`.
pub(super) async fn describe(server: &Server, info: &Info, pod: &Pod) -> String {
    let place = if pod.node.is_empty() { String::new() } else { format!(" on {}", pod.node) };
    if pod.leaving {
        return format!("{}{place}: is being deleted, and its node has not stopped it yet", pod.name);
    }
    format!("{}{place}: {}", pod.name, why_not_ready(server, info, pod).await)
}
