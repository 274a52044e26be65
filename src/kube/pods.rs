//! The cluster's pods: which are ready, and in one line why one is not.

use super::{Info, KubeError, Role, Server, kind};
use serde_json::Value as Json;

/// Annotation of a target's pod whose objects were all moved away, before it leaves the cluster map: a run that ends in between
/// can be told from a target that is merely down.
pub const EMPTIED: &str = "fettle/emptied";

/// A pod of a proxy or target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `ais-target-0`.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its StatefulSet.
    pub set: String,
    /// Its number in its StatefulSet.
    pub ordinal: u32,
    /// This very pod, not its successor of the same name.
    pub uid: String,
    /// Where it runs; empty: nowhere yet.
    pub node: String,
    /// `Running`, `Pending`, ….
    pub phase: String,
    /// Answers as a member of the cluster.
    pub ready: bool,
    /// Being deleted.
    pub leaving: bool,
    /// Which version of its StatefulSet's template it was made from.
    pub revision: String,
    /// Image of aisnode.
    pub image: String,
    /// The port on which it answers clients, as it was started; the spec may want another by now.
    pub port: u16,
    /// It speaks HTTPS there.
    pub https: bool,
    /// [`EMPTIED`] says that its objects were moved away.
    pub emptied: bool,
    /// Restarts of its containers.
    pub restarts: u64,
    object: Json,
}

/// The pods of a cluster: proxies, then targets, by number.
pub async fn pods(server: &Server, info: &Info) -> Result<Vec<Pod>, KubeError> {
    let Some(kind) = kind("Pod") else { return Ok(vec![]) };
    let list = server.list(kind, Some(&info.namespace), &info.selector()).await?;
    let mut pods: Vec<Pod> = list.into_iter().filter_map(read).collect();
    pods.sort_by(|a, b| (a.role, &a.set, a.ordinal).cmp(&(b.role, &b.set, b.ordinal)));
    Ok(pods)
}

/// A pod from its object; `None`: it is none of a proxy or target.
pub(super) fn read(object: Json) -> Option<Pod> {
    let name = object["metadata"]["name"].as_str()?.to_owned();
    let labels = &object["metadata"]["labels"];
    let role = [Role::Proxy, Role::Target].into_iter().find(|r| labels["app.kubernetes.io/component"] == r.name())?;
    let (set, ordinal) = name.rsplit_once('-')?;
    let (set, ordinal) = (set.to_owned(), ordinal.parse().ok()?);
    let text = |pointer: &str| object.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned();
    let containers = object["status"]["containerStatuses"].as_array();
    Some(Pod {
        role,
        set,
        ordinal,
        uid: text("/metadata/uid"),
        node: text("/spec/nodeName"),
        phase: text("/status/phase"),
        ready: condition(&object, "Ready").is_some_and(|c| c["status"] == "True"),
        leaving: object["metadata"]["deletionTimestamp"].is_string(),
        revision: text("/metadata/labels/controller-revision-hash"),
        image: text("/spec/containers/0/image"),
        port: object
            .pointer("/spec/containers/0/ports/0/containerPort")
            .and_then(Json::as_u64)
            .and_then(|p| p.try_into().ok())
            .unwrap_or(0),
        https: text("/spec/containers/0/readinessProbe/httpGet/scheme") == "HTTPS",
        emptied: object["metadata"]["annotations"][EMPTIED].is_string(),
        restarts: containers.into_iter().flatten().filter_map(|c| c["restartCount"].as_u64()).sum(),
        name,
        object,
    })
}

fn condition<'a>(object: &'a Json, kind: &str) -> Option<&'a Json> {
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind)
}

/// Why a pod is not ready: the most telling of what its status, its events and its last words say.
pub async fn why_not_ready(server: &Server, info: &Info, pod: &Pod) -> String {
    if let Some(reason) = from_status(&pod.object) {
        // A container that ends says itself why.
        if reason.crashed {
            let words = last_words(server, info, pod, &reason.container).await;
            return if words.is_empty() { reason.text } else { format!("{}; last words: {words}", reason.text) };
        }
        return reason.text;
    }
    if let Some(event) = last_warning(server, info, &pod.name).await {
        return event;
    }
    match pod.phase.as_str() {
        "Running" => "runs, and is not a member of the cluster yet".into(),
        "" => "has no status yet".into(),
        phase => phase.to_lowercase(),
    }
}

/// Why a StatefulSet has fewer pods than it should.
pub async fn why_no_pod(server: &Server, info: &Info, set: &str) -> String {
    let what = last_warning(server, info, set).await;
    what.unwrap_or_else(|| "its pod was not made yet; is the StatefulSet controller running?".into())
}

/// A reason found in a pod's status.
#[derive(Debug, PartialEq, Eq)]
struct Reason {
    text: String,
    container: String,
    crashed: bool,
}

impl Reason {
    fn plain(text: String) -> Option<Self> {
        Some(Self { text, container: String::new(), crashed: false })
    }
}

fn from_status(object: &Json) -> Option<Reason> {
    let status = &object["status"];
    let text = |json: &Json| json.as_str().unwrap_or_default().trim().to_owned();
    if status["phase"] == "Failed" {
        // The kubelet's own refusals: SysctlForbidden, Evicted, NodeAffinity, ….
        let hint = if status["reason"] == "SysctlForbidden" { " (let the kubelet allow it: `fettle hook post-kubespray`)" } else { "" };
        return Reason::plain(format!("{}: {}{hint}", text(&status["reason"]), text(&status["message"])));
    }
    if let Some(c) = condition(object, "PodScheduled").filter(|c| c["status"] == "False") {
        return Reason::plain(format!("no node takes it: {}", text(&c["message"])));
    }
    let containers = ["initContainerStatuses", "containerStatuses"].map(|list| status[list].as_array());
    for container in containers.into_iter().flatten().flatten() {
        let name = text(&container["name"]);
        if let Some(waiting) = container["state"]["waiting"].as_object() {
            let reason = waiting.get("reason").map(text).unwrap_or_default();
            if matches!(reason.as_str(), "" | "PodInitializing" | "ContainerCreating") {
                continue;
            }
            let message = waiting.get("message").map(text).filter(|m| !m.is_empty()).map(|m| format!(": {m}")).unwrap_or_default();
            let ended = container["lastState"]["terminated"]["exitCode"].as_i64();
            let code = ended.map(|c| format!(" (exit code {c})")).unwrap_or_default();
            return Some(Reason { text: format!("{name}: {reason}{code}{message}"), container: name, crashed: ended.is_some() });
        }
        if let Some(code) = container["state"]["terminated"]["exitCode"].as_i64().filter(|c| *c != 0) {
            let reason = text(&container["state"]["terminated"]["reason"]);
            return Some(Reason {
                text: format!("{name}: ended with exit code {code} {reason}").trim_end().into(),
                container: name,
                crashed: true,
            });
        }
    }
    None
}

/// The newest warning among the events of an object.
async fn last_warning(server: &Server, info: &Info, name: &str) -> Option<String> {
    let query = format!("fieldSelector={}", super::server::escape(&format!("involvedObject.name={name},type=Warning")));
    let events = server.list_by(kind("Event")?, Some(&info.namespace), &query).await.ok()?;
    let when = |e: &Json| {
        let time = ["lastTimestamp", "eventTime"].iter().find_map(|k| e[*k].as_str());
        time.or(e["metadata"]["creationTimestamp"].as_str()).unwrap_or_default().to_owned()
    };
    let newest = events.into_iter().max_by_key(when)?;
    let line = newest["message"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    Some(format!("{}: {line}", newest["reason"].as_str().unwrap_or("event")))
}

/// The last two lines of a container's log before it ended.
async fn last_words(server: &Server, info: &Info, pod: &Pod, container: &str) -> String {
    let path =
        |previous: &str| format!("/api/v1/namespaces/{}/pods/{}/log?container={container}&tailLines=2{previous}", info.namespace, pod.name);
    let before = server.get_through(&path("&previous=true"), "read the log").await;
    let text = match before {
        Ok(text) if !text.trim().is_empty() => text,
        _ => server.get_through(&path(""), "read the log").await.unwrap_or_default(),
    };
    text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reason(status: Json) -> Option<String> {
        from_status(&json!({"status": status})).map(|r| r.text)
    }

    #[test]
    fn tells_why_from_the_status() {
        assert_eq!(
            reason(
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]})
            ),
            Some("no node takes it: 0/3 nodes are available".into())
        );
        assert_eq!(
            reason(
                json!({"phase": "Pending", "containerStatuses": [{"name": "ais-node", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}]})
            ),
            Some("ais-node: ImagePullBackOff: no such tag".into())
        );
        assert_eq!(
            reason(
                json!({"phase": "Running", "containerStatuses": [{"name": "ais-node", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1}}}]})
            ),
            Some("ais-node: CrashLoopBackOff (exit code 1)".into())
        );
        let forbidden =
            reason(json!({"phase": "Failed", "reason": "SysctlForbidden", "message": "forbidden sysctl: net.core.somaxconn"})).unwrap();
        assert!(forbidden.contains("fettle hook post-kubespray"), "{forbidden}");
        assert_eq!(reason(json!({"phase": "Running", "containerStatuses": [{"name": "ais-node", "state": {"running": {}}}]})), None);
        assert_eq!(
            reason(json!({"phase": "Pending", "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}}]})),
            None
        );
    }
}
