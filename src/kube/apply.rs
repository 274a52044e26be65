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
    /// A dry run could not ask the server to check it: its namespace, or the Role that it binds, is yet to be made.
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
        // A load balancer's class alone; who provides load balancers may fill it in, so only the server knows.
        "Service" => (&[], "with --recreate the Service is replaced; its address may be another one then"),
        _ => (&[], ""),
    }
}

/// Fixed parts that the server fills in where nothing is said of them.
const FILLED_IN: &[&str] = &["/spec/selector", "/spec/podManagementPolicy", "/reclaimPolicy", "/volumeBindingMode"];

/// Applies one object.
pub async fn apply(server: &Server, object: &Object, options: Options) -> Result<Applied, KubeError> {
    let kind = Server::kind_of(&object.json)?;
    let (namespace, name) = (object.namespace(), object.name());
    let before = server.get(kind, namespace, name).await?;
    let patch = async |force| server.patch(kind, namespace, name, Patch::Apply { force }, &object.json, options.dry_run).await;
    let ask = async || match patch(options.force).await {
        Err(KubeError::Conflict { causes, .. }) if causes.iter().all(is_ours) => patch(true).await,
        other => other,
    };
    let mut recreated = false;
    let mut stuck = before.as_ref().map(|live| unchangeable(kind, live, &object.json)).unwrap_or_default();
    let mut asked = None;
    if stuck.is_empty() {
        match ask().await {
            Err(KubeError::Invalid { causes, .. }) if before.is_some() && is_fixed(kind, &causes) => stuck = in_short(causes),
            other => asked = Some(other),
        }
    }
    if let Some(live) = before.as_ref().filter(|_| !stuck.is_empty()) {
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
    let asked = match asked {
        Some(asked) => asked,
        None => ask().await,
    };
    let after = match asked {
        Ok(after) => after,
        // A dry run of the namespace does not make it, and the server can't check what would be in it.
        Err(KubeError::Missing(_)) if options.dry_run && before.is_none() && misses_what_comes_before(server, object).await? => {
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

/// Whether an object's namespace is yet to be made, or the Role that it binds: the server looks for that one where somebody does not
/// have all its rights already.
async fn misses_what_comes_before(server: &Server, object: &Object) -> Result<bool, KubeError> {
    let namespace = object.namespace();
    let role = object.json["roleRef"]["name"].as_str();
    for (kind, name) in [(kind("Namespace"), namespace), (kind("Role"), role)] {
        if let (Some(kind), Some(name)) = (kind, name)
            && server.get(kind, namespace, name).await?.is_none()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The parts of `wanted` that differ from `live` and can't be changed there.
fn unchangeable(kind: &Kind, live: &Json, wanted: &Json) -> Vec<Cause> {
    let (parts, _) = fixed(kind.name);
    let null = Json::Null;
    parts
        .iter()
        .filter_map(|part| {
            let was = live.pointer(part).unwrap_or(&null);
            let wants = match wanted.pointer(part) {
                None if FILLED_IN.contains(part) => return None,
                wants => wants.unwrap_or(&null),
            };
            (!covers(was, wants)).then(|| Cause {
                field: part.replace('/', "."),
                message: format!("is {}, would be {}", short(&was.to_string()), short(&wants.to_string())),
            })
        })
        .collect()
}

/// Whether the server refuses a change only because such a thing never changes in place. It says so in these words
/// (`ValidateImmutableField` of its validation, and those of single kinds), and knows of parts that nobody asked for.
fn is_fixed(kind: &Kind, causes: &[Cause]) -> bool {
    const WORDS: &[&str] = &["immutable", "may not change once set", "cannot change", "updates to "];
    let (_, way) = fixed(kind.name);
    !way.is_empty() && !causes.is_empty() && causes.iter().all(|c| WORDS.iter().any(|w| c.message.contains(w)))
}

/// Without the values, which may be whole pods.
fn in_short(mut causes: Vec<Cause>) -> Vec<Cause> {
    for cause in &mut causes {
        let value = if cause.message.starts_with("Invalid value: ") { cause.message.rsplit(": ").next() } else { None };
        cause.message = short(value.or_else(|| cause.message.lines().next()).unwrap_or_default());
    }
    causes
}

fn short(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
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

    #[test]
    fn what_is_dropped_is_recognised_where_the_server_fills_nothing_in() {
        let set = kind("StatefulSet").unwrap();
        let live = json!({"spec": {"podManagementPolicy": "OrderedReady", "volumeClaimTemplates": [{"metadata": {"name": "state"}}]}});
        let causes = unchangeable(set, &live, &json!({"spec": {}}));
        assert_eq!(causes.iter().map(|c| c.field.as_str()).collect::<Vec<_>>(), [".spec.volumeClaimTemplates"]);
        assert!(causes[0].message.ends_with(", would be null"), "{causes:?}");
        assert_eq!(unchangeable(kind("Job").unwrap(), &json!({"spec": {"selector": {"a": "b"}}}), &json!({"spec": {}})), []);
    }

    #[test]
    fn what_the_server_calls_fixed_is_told_in_short() {
        let cause = |message: &str| Cause { field: "spec.x".into(), message: message.to_owned() };
        let job = kind("Job").unwrap();
        let fixed = cause("Invalid value: {\"a\": 1}: field is immutable");
        assert!(is_fixed(job, std::slice::from_ref(&fixed)));
        assert!(is_fixed(job, &[cause("Forbidden: updates to parameters are forbidden.")]));
        // What would be wrong in a new one, too, is no reason to delete the old one; nor are kinds that are never replaced.
        assert!(!is_fixed(job, &[fixed.clone(), cause("Required value")]) && !is_fixed(job, &[]));
        assert!(!is_fixed(kind("ConfigMap").unwrap(), std::slice::from_ref(&fixed)));
        assert_eq!(in_short(vec![fixed]), [cause("field is immutable")]);
        assert_eq!(in_short(vec![cause("Forbidden: no\n  diff: 1")]), [cause("Forbidden: no")]);
    }
}
