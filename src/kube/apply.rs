//! Server-side apply of rendered objects, for real or as the server's own dry run.

use super::compare::{covers, difference};
use super::kinds::Kind;
use super::server::{Patch, title};
use super::{Cause, KubeError, Server, kind};
use crate::cluster::Object;
use crate::host::Diff;
use serde_json::Value as Json;

/// Our name as the owner of fields.
pub const MANAGER: &str = "fettle";

/// What became (or would become) of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was as wanted.
    Unchanged,
    /// There was none.
    Created,
    /// It was different.
    Changed,
    /// It was replaced by a new one, because what differs can't be changed in place.
    Recreated,
    /// It is no longer part of the cluster.
    Deleted,
}

/// One object's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// `StatefulSet ais/ais-proxy`.
    pub title: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Before and after; `None` where nothing changed.
    pub diff: Option<Diff>,
    /// A dry run could not ask the server to check it: its namespace is yet to be made.
    pub unchecked: bool,
}

/// How to apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The server checks and answers, and keeps nothing.
    pub dry_run: bool,
    /// Take fields over from other managers.
    pub force: bool,
    /// Replace objects whose difference can't be changed in place. Pods and claims of StatefulSets stay.
    pub recreate: bool,
}

/// What can't be changed in an existing object, by kind (the API's validation rules), and what replacing it means.
fn fixed(kind: &str) -> (&'static [&'static str], &'static str) {
    match kind {
        "StatefulSet" => (
            &["/spec/serviceName", "/spec/selector", "/spec/podManagementPolicy", "/spec/volumeClaimTemplates"],
            "with --recreate the StatefulSet is replaced and its pods and claims stay (volume claims keep their old size and class)",
        ),
        "Deployment" => (&["/spec/selector"], "with --recreate the Deployment is replaced; its pods stop meanwhile"),
        "Job" => (&["/spec/template", "/spec/selector"], "with --recreate the Job is deleted and started anew"),
        "PersistentVolume" => (
            &["/spec/hostPath", "/spec/local", "/spec/nodeAffinity"],
            "a volume stands for data: use another volume name, or remove this one by hand when its data is not needed",
        ),
        "RoleBinding" => (&["/roleRef"], "with --recreate the RoleBinding is replaced"),
        "StorageClass" => (
            &["/provisioner", "/parameters", "/reclaimPolicy", "/volumeBindingMode"],
            "with --recreate the StorageClass is replaced; volumes made before keep their ways",
        ),
        _ => (&[], ""),
    }
}

/// Applies one object.
pub async fn apply(server: &Server, object: &Object, options: Options) -> Result<Applied, KubeError> {
    let kind = Server::kind_of(&object.json)?;
    let (namespace, name) = (object.namespace(), object.name());
    let before = server.get(kind, namespace, name).await?;
    let mut recreated = false;
    if let Some(live) = &before {
        let stuck = unchangeable(kind, live, &object.json);
        if !stuck.is_empty() {
            let (_, way) = fixed(kind.name);
            let may = options.recreate && kind.name != "PersistentVolume";
            if !may {
                let what = format!("{}: what differs can't be changed in place; {way}", object.title());
                return Err(KubeError::Invalid { what, causes: stuck });
            }
            if options.dry_run {
                // The server can't be asked about the new one while the old one stands.
                let diff = difference(&object.title(), Some(live), &object.json);
                return Ok(Applied { title: object.title(), outcome: Outcome::Recreated, diff, unchecked: true });
            }
            let orphan = kind.name == "StatefulSet";
            server.delete(kind, namespace, name, live["metadata"]["uid"].as_str(), orphan, false).await?;
            gone(server, kind, namespace, name).await?;
            recreated = true;
        }
    }
    let ask = async |force| server.patch(kind, namespace, name, Patch::Apply { force }, &object.json, options.dry_run).await;
    let asked = match ask(options.force).await {
        Err(KubeError::Conflict { causes, .. }) if causes.iter().all(is_ours) => ask(true).await,
        other => other,
    };
    let after = match asked {
        Ok(after) => after,
        // A dry run of the namespace does not make it, and the server can't check what would be in it.
        Err(KubeError::Missing(_)) if options.dry_run && before.is_none() && misses_namespace(server, namespace).await? => {
            let diff = difference(&object.title(), None, &object.json);
            return Ok(Applied { title: object.title(), outcome: Outcome::Created, diff, unchecked: true });
        }
        Err(KubeError::Missing(text)) if before.is_none() && text.contains("page not found") => {
            return Err(KubeError::Missing(unknown_kind(&object.title(), kind)));
        }
        Err(e) => return Err(e),
    };
    let diff = difference(&object.title(), before.as_ref(), &after);
    let outcome = match (&before, &diff) {
        _ if recreated => Outcome::Recreated,
        (None, _) => Outcome::Created,
        (_, None) => Outcome::Unchanged,
        _ => Outcome::Changed,
    };
    Ok(Applied { title: object.title(), outcome, diff, unchecked: false })
}

/// A kind that the API server has no page for, and what brings it.
fn unknown_kind(title: &str, kind: &Kind) -> String {
    let way = match kind.name {
        "PodMonitor" => ": install the Prometheus operator, or leave `monitoring.pod_monitor` out",
        "Certificate" => ": install cert-manager, or give `tls.secret` in place of `tls.certificate`",
        _ => "",
    };
    format!("{title}: this Kubernetes cluster does not know the kind {} ({}){way}", kind.name, kind.api_version)
}

/// A field is ours in another way already: a number of pods that was made smaller one by one.
fn is_ours(cause: &Cause) -> bool {
    cause.message.starts_with(&format!("conflict with \"{MANAGER}\""))
}

async fn misses_namespace(server: &Server, namespace: Option<&str>) -> Result<bool, KubeError> {
    match (namespace, kind("Namespace")) {
        (Some(namespace), Some(kind)) => Ok(server.get(kind, None, namespace).await?.is_none()),
        _ => Ok(false),
    }
}

/// The parts of `wanted` that differ from `live` and can't be changed there.
fn unchangeable(kind: &Kind, live: &Json, wanted: &Json) -> Vec<Cause> {
    let (parts, _) = fixed(kind.name);
    let null = Json::Null;
    parts
        .iter()
        .filter_map(|part| {
            let (was, wants) = (live.pointer(part).unwrap_or(&null), wanted.pointer(part)?);
            (!covers(was, wants))
                .then(|| Cause { field: part.replace('/', "."), message: format!("is {}, would be {}", short(was), short(wants)) })
        })
        .collect()
}

fn short(json: &Json) -> String {
    let text = json.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Waits until a deleted object is gone: at most 30 s, which finalizers of what we make never take.
pub(super) async fn gone(server: &Server, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<(), KubeError> {
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while server.get(kind, namespace, name).await?.is_some() {
        if tokio::time::Instant::now() > end {
            return Err(KubeError::Other(format!(
                "{} is being deleted for more than 30 s: see its finalizers",
                title(kind, namespace, name)
            )));
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_change_is_recognised() {
        let set = |service: &str, image: &str| {
            json!({"kind": "StatefulSet", "apiVersion": "apps/v1", "metadata": {"name": "a"},
                "spec": {"serviceName": service, "template": {"image": image}}})
        };
        let kind = kind("StatefulSet").unwrap();
        assert_eq!(unchangeable(kind, &set("a", "1"), &set("a", "2")), []);
        let causes = unchangeable(kind, &set("a", "1"), &set("b", "1"));
        assert_eq!(causes, [Cause { field: ".spec.serviceName".into(), message: "is \"a\", would be \"b\"".into() }]);
    }
}
