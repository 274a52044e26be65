//! What a running cluster can't become in place, and what it keeps although its spec says nothing of it any more.

use super::pods::Pod;
use super::{Info, KubeError, Role, Server, kind};
use serde_json::Value as Json;

/// Annotation of the cluster's ConfigMap: the cluster was complete once, so its primary is where elections put it.
pub const STARTED: &str = "fettle/started";

/// Another: targets were restarted, and no rebalance was begun since.
pub const OWED: &str = "fettle/rebalance-owed";

/// Another: JSON, what the cluster answered after it was told settings ([`super::settings::differing`]).
pub const TOLD: &str = "fettle/told";

/// Another: JSON, the nodes that held targets when the cluster was last complete.
pub const HELD: &str = "fettle/target-nodes";

/// What the ConfigMap of a cluster tells about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Before {
    /// The cluster was never complete.
    pub first: bool,
    /// Targets were restarted, and no rebalance was begun since.
    pub owed: bool,
    /// What it answered when it was told settings.
    pub told: Json,
    /// The nodes that held targets when it was last complete; none since one of them was to be emptied.
    pub held: Vec<String>,
    /// The settings it was deployed with.
    config: Option<Json>,
}

impl Before {
    /// Asks for it.
    pub async fn ask(server: &Server, info: &Info) -> Result<Self, KubeError> {
        let Some(kind) = kind("ConfigMap") else { return Ok(Self::default()) };
        let Some(live) = server.get(kind, Some(&info.namespace), &info.config_map()).await? else {
            return Ok(Self { first: true, ..Self::default() });
        };
        let noted = |key: &str| &live["metadata"]["annotations"][key];
        let told = noted(TOLD).as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let held = noted(HELD).as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let (first, owed) = (noted(STARTED).is_null(), !noted(OWED).is_null());
        Ok(Self { first, owed, told, held, config: live["data"]["ais.json"].as_str().and_then(|text| serde_json::from_str(text).ok()) })
    }

    /// Settings that the cluster was given and `wanted` (the new `ais.json`) has no more, with their values: AIStore keeps them, for what
    /// is not said is not changed, and its defaults are its own.
    pub fn kept(&self, wanted: &Json) -> Vec<String> {
        let mut all = vec![];
        if let Some(config) = &self.config {
            missing("", config, wanted, &mut all);
        }
        all
    }
}

fn missing(path: &str, old: &Json, new: &Json, all: &mut Vec<String>) {
    match (old, new) {
        (Json::Object(old), Json::Object(new)) => {
            for (key, value) in old {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                missing(&path, value, new.get(key).unwrap_or(&Json::Null), all);
            }
        }
        (Json::Object(old), Json::Null) if !old.is_empty() => {
            for (key, value) in old {
                missing(&format!("{path}.{key}"), value, &Json::Null, all);
            }
        }
        (old, Json::Null) if !old.is_null() => all.push(format!("{path} ({old})")),
        _ => {}
    }
}

/// Notes something about the cluster in its ConfigMap; null: no longer.
pub async fn note(server: &Server, info: &Info, key: &str, value: &Json) -> Result<(), KubeError> {
    let Some(kind) = kind("ConfigMap") else { return Ok(()) };
    let path = format!("{}?fieldManager={}", kind.path(Some(&info.namespace), &info.config_map()), super::MANAGER);
    server.merge_at(&path, &serde_json::json!({"metadata": {"annotations": {key: value}}})).await
}

/// Notes which nodes hold targets, if that is news. `before`: what is noted.
pub async fn note_held(server: &Server, info: &Info, before: &Before, pods: &[Pod]) -> Result<(), KubeError> {
    let targets = pods.iter().filter(|p| p.role == Role::Target && !p.leaving && !p.node.is_empty());
    let mut held: Vec<String> = targets.map(|p| p.node.clone()).collect();
    held.sort_unstable();
    if held == before.held {
        return Ok(());
    }
    note(server, info, HELD, &Json::from(Json::from(held).to_string())).await
}

/// Why the running pods can't become what the spec says. `any_release`: the operator insists on the release.
pub fn obstacles(info: &Info, pods: &[Pod], any_release: bool) -> Vec<KubeError> {
    let mut all = vec![];
    if pods.iter().any(|p| p.https != info.https) {
        let (now, then) = if info.https { ("HTTP", "HTTPS") } else { ("HTTPS", "HTTP") };
        all.push(KubeError::Other(format!(
            "the cluster runs with {now}, and the spec wants {then} (`tls`): nodes of both kinds don't find each other, and AIStore keeps the \
             addresses in its state. It needs fresh state: `fettle delete --state` with the spec it runs with (users' objects stay), then deploy"
        )));
    }
    // One that never served may be of any release: an upgrade that failed at its first pod can be taken back.
    let mut running: Vec<(u32, u32)> = pods.iter().filter(|p| p.ready).filter_map(|p| release(&p.image)).collect();
    running.sort_unstable();
    if !any_release && let (Some(new), Some(oldest), Some(newest)) = (release(&info.image), running.first(), running.last()) {
        let name = |(major, minor): (u32, u32)| format!("v{major}.{minor}");
        let insist = "To insist: --any-release (`any_release` in a play)";
        // AIStore's release notes of 5.0: "downgrades are not supported", and 4.x "must pass through 5.0".
        if new < *newest {
            all.push(KubeError::Other(format!(
                "nodes of {} run, and the spec has {}: AIStore goes back to no earlier release, whose nodes may not read what later ones wrote. {insist}",
                name(*newest),
                name(new)
            )));
        } else if oldest.0 < 5 && new > (5, 0) {
            all.push(KubeError::Other(format!(
                "nodes of {} run, and the spec has {}: AIStore 4 must go through v5.0; deploy that first. {insist}",
                name(*oldest),
                name(new)
            )));
        }
    }
    all
}

/// `(5, 0)` of `docker.io/aistorage/aisnode:v5.0-etl`; `None`: the tag says no release.
fn release(image: &str) -> Option<(u32, u32)> {
    let tag = image.rsplit_once(':').map(|(_, tag)| tag)?.strip_prefix('v')?;
    let (major, rest) = tag.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn releases_of_images() {
        assert_eq!(release("docker.io/aistorage/aisnode:v5.0"), Some((5, 0)));
        assert_eq!(release("r:5000/aisnode:v4.10-etl"), Some((4, 10)));
        for other in ["aisnode:latest", "aisnode@sha256:ab", "r:5000/aisnode", "aisnode:v5"] {
            assert_eq!(release(other), None, "{other}");
        }
    }

    #[test]
    fn settings_that_went_are_found() {
        let before = Before {
            config: Some(json!({"mirror": {"enabled": true, "copies": 2}, "lru": {"a": {"b": 1}}, "cloud": {"aws": {}}})),
            ..Before::default()
        };
        assert_eq!(
            before.kept(&json!({"mirror": {"copies": 3}, "new": {"y": 1}})),
            ["mirror.enabled (true)", "lru.a.b (1)", "cloud.aws ({})"]
        );
        assert_eq!(before.kept(before.config.as_ref().unwrap()), Vec::<String>::new());
    }
}
