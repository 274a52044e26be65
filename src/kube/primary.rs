//! Which proxy is primary, and making another one it.

use super::members::{self, Map};
use super::pods::{Pod, pods};
use super::wait::PAUSE;
use super::{Info, KubeError, Progress, Role, Server};
use tokio::time::{Instant, sleep};

/// Makes another proxy primary: the lowest number that is ready and not in `but`. Whether there is one.
pub async fn hand_over(
    server: &Server,
    info: &Info,
    map: &Map,
    pods: &[Pod],
    but: &[String],
    end: Instant,
    progress: &mut dyn Progress,
) -> Result<bool, KubeError> {
    let next = pods
        .iter()
        .filter(|p| p.role == Role::Proxy && p.ready && !p.leaving && !but.contains(&p.name))
        .find_map(|p| map.of_pod(&p.name).filter(|m| !m.primary && !m.away).map(|m| (p, m)));
    match next {
        Some((pod, member)) => make_primary(server, info, map, pods, pod, &member.id, end, progress).await.map(|()| true),
        None => Ok(false),
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
