//! Names, labels, images.

use crate::cluster::forms::{Scalar, dns_label, label_key_wrong, label_value_wrong};
use crate::cluster::objects::{claim_name, state_claim_name};
use crate::cluster::resolve::{Resolved, Role};
use crate::cluster::spec::{Pods, Reach, Resources};
use crate::cluster::value::At;
use crate::diag::{Diagnostic, Diagnostics};
use indexmap::IndexMap;

/// A StatefulSet's name is a label value with a hash of ten characters and a dash behind it, and labels end at 63.
const SET_NAME: usize = 52;
/// A pod's name is its host name too: a DNS label.
const POD_NAME: usize = 63;

/// Labels that services, budgets and StatefulSets choose by.
const RESERVED: &[&str] = &[
    "app.kubernetes.io/name",
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "statefulset.kubernetes.io/pod-name",
    "controller-revision-hash",
    "apps.kubernetes.io/pod-index",
];

/// Annotations of pods that fettle writes.
const OWN_ANNOTATION: &str = crate::cluster::objects::RESTART;

pub fn check(r: &Resolved, out: &mut Diagnostics) {
    lengths(r, out);
    images(r, out);
    let c = &r.cluster;
    for (section, pods) in [("proxies", &c.proxies.pods), ("targets", &c.targets.pods)] {
        self::pods(section, pods, out);
    }
    for (section, labels) in [("proxies.labels", &c.proxies.labels), ("targets.labels", &c.targets.labels)] {
        labels_are(section, labels, out);
    }
    labels_are("namespace_labels", &c.namespace_labels, out);
    reserved("namespace_labels", &c.namespace_labels, out);
    if let Some(first) = c.namespace_labels.values().next().filter(|_| !c.create_namespace) {
        out.push(
            Diagnostic::error(&first.loc, "`namespace_labels` are for a namespace that fettle makes, and `create_namespace` is false")
                .help("label the namespace yourself: kubectl label namespace"),
        );
    }
    pod_security(r, out);
    if let Some(client) = &c.admin_client {
        labels_are("admin_client.labels", &client.labels, out);
        reserved("admin_client.labels", &client.labels, out);
        resources("admin_client.resources", &client.resources, out);
    }
    if let Some(load) = &c.load_generator {
        resources("load_generator.resources", &load.resources, out);
    }
}

/// What Pod Security Standards forbid to pods (`baseline`, and all the more `restricted`): directories, ports and network of the
/// host, unsafe sysctls.
fn pod_security(r: &Resolved, out: &mut Diagnostics) {
    let c = &r.cluster;
    let state = c.state.claim.is_none() && c.state.empty_dir.is_none();
    let mut mountpaths = c.targets.mountpaths.iter().chain(c.targets.exceptions.iter().flat_map(|e| &e.mountpaths));
    let folders = state || c.logs.directory.is_some() || mountpaths.any(|m| m.claim.is_none());
    let ports = [c.proxies.access.by.value, c.targets.access.by.value].iter().any(|by| matches!(by, Reach::HostPort | Reach::HostNetwork));
    let reasons = [
        (folders, "directories of their nodes"),
        (ports, "ports of their nodes"),
        (!r.unsafe_sysctls().is_empty(), "sysctls that Kubernetes calls unsafe"),
    ];
    let mut reasons: Vec<&str> = reasons.into_iter().filter(|(used, _)| *used).map(|(_, what)| what).collect();
    let within_baseline = reasons.is_empty();
    // What only `restricted` forbids: the images run as root.
    reasons.push("root");
    for mode in ["enforce", "warn"] {
        let key = format!("pod-security.kubernetes.io/{mode}");
        let Some(level) = c.namespace_labels.get(&key) else { continue };
        match (&*level.value, within_baseline) {
            ("privileged", _) | ("baseline", true) => {}
            ("baseline" | "restricted", _) => {
                let told = format!("`{key}: {}`, and pods use {}", level.value, reasons.first().copied().unwrap_or_default());
                out.push(if mode == "enforce" {
                    Diagnostic::error(&level.loc, format!("{told}: none would be let in")).help(format!("write `{key}: privileged`"))
                } else {
                    Diagnostic::warning(&level.loc, format!("{told}: the API server will warn each time"))
                });
            }
            (other, _) => out.push(
                Diagnostic::error(&level.loc, format!("`{key}` can't be `{other}`"))
                    .help("Pod Security Standards: privileged, baseline, restricted"),
            ),
        }
    }
}

fn lengths(r: &Resolved, out: &mut Diagnostics) {
    let c = &r.cluster;
    let mut sets = vec![(r.role_name(Role::Proxy), r.proxy_count, &c.name.loc)];
    for set in r.target_sets() {
        sets.push((set.name.clone(), set.count, set.exception.map_or(&c.name.loc, |e| &e.name.loc)));
    }
    // The longest tells enough.
    sets.sort_by_key(|(name, _, _)| std::cmp::Reverse(name.len()));
    if let Some((name, _, loc)) = sets.first().filter(|(name, _, _)| name.len() > SET_NAME) {
        let over = name.len() - SET_NAME;
        out.push(
            Diagnostic::error(loc, format!("the name is too long: the StatefulSet `{name}` would have {} characters", name.len()))
                .help(format!("Kubernetes makes labels of it, which end at 63; {over} characters fewer will do")),
        );
    } else if let Some((pod, loc)) =
        sets.iter().map(|(name, count, loc)| (format!("{name}-{}", count.saturating_sub(1)), loc)).find(|(pod, _)| pod.len() > POD_NAME)
    {
        let long = pod.len();
        out.push(Diagnostic::error(loc, format!("the name is too long: the pod `{pod}` would have {long} characters, and 63 are allowed")));
    }
    if let Some(why) = dns_label(&r.client_service(), true) {
        let loc = c.node_labels.release.as_ref().map_or(&c.name.loc, |release| &release.loc);
        out.push(Diagnostic::error(loc, format!("`{}` can't be the client service's name: {why}", r.client_service())));
    }
    // RELEASE-ais-proxy is also the service of the proxies of a cluster named RELEASE-ais.
    for role in [Role::Proxy, Role::Target] {
        let taken = r.role_name(role);
        let loc = c.node_labels.release.as_ref().map_or(&c.name.loc, |release| &release.loc);
        if [taken.clone(), format!("{taken}-lb")].contains(&r.client_service()) {
            out.push(
                Diagnostic::error(
                    loc,
                    format!("the clients' service and the service of the {} would both be `{}`", role.section(), r.client_service()),
                )
                .help("give the cluster or the release another name"),
            );
        }
    }
    for role in [Role::Proxy, Role::Target] {
        let (key, value) = c.role_label(role);
        if let Some(why) = label_key_wrong(&key).or_else(|| label_value_wrong(&value)) {
            out.push(Diagnostic::error(&c.name.loc, format!("{} can't have the label `{key}={value}`: {why}", role.section())));
        }
    }
    if let Some(claim) = &c.state.claim {
        let name = state_claim_name(&c.namespace, &c.name);
        if let Some(why) = dns_label(&name, false) {
            out.push(
                Diagnostic::error(&claim.loc, format!("the claim `{name}` of `state` can't have its name: {why}"))
                    .help("it is made of the namespace and the cluster's name: make one of them shorter"),
            );
        }
    }
    for mountpath in c.targets.mountpaths.iter().chain(c.targets.exceptions.iter().flat_map(|e| &e.mountpaths)) {
        let name = claim_name(r, mountpath);
        if mountpath.claim.is_some()
            && let Some(why) = dns_label(&name, false)
        {
            out.push(Diagnostic::error(&mountpath.path.loc, format!("the claim `{name}` of this mountpath can't have its name: {why}")));
        }
        if mountpath.claim.is_some() && c.state.claim.is_some() && name == state_claim_name(&c.namespace, &c.name) {
            out.push(
                Diagnostic::error(&mountpath.path.loc, format!("the claim of this mountpath and that of `state` would both be `{name}`"))
                    .help("mount the disk elsewhere: what deletes state would delete objects"),
            );
        }
    }
}

/// The release in an image's tag: `v5.0-etl` is v5.0. None for a digest, or for `latest`.
pub fn release(image: &str) -> Option<&str> {
    let tag = image.rsplit('/').next()?.split_once(':')?.1;
    let number = tag.strip_prefix('v').unwrap_or(tag);
    if image.contains('@') || !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(tag.split('-').next().unwrap_or(tag))
}

/// `v5.0-rc1` and `v5.0` are two builds: what comes after the release, but for AIStore's variants of it.
fn candidate(image: &str) -> Option<&str> {
    let rest = image.rsplit('/').next()?.split_once(':')?.1.split_once('-')?.1;
    rest.split('-').find(|part| part.starts_with("rc") || part.starts_with("alpha") || part.starts_with("beta"))
}

/// The last part of an image's name: `ais-init`.
fn short_name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}

fn images(r: &Resolved, out: &mut Diagnostics) {
    let images = &r.cluster.images;
    for (field, image, other) in [("aisnode", &images.aisnode, "ais-init"), ("init", &images.init, "aisnode")] {
        if short_name(image) == other {
            out.push(Diagnostic::error(&image.loc, format!("`images.{field}` is an image of {other}: are the two exchanged?")));
        }
    }
    if release(&images.aisnode) == release(&images.init) && candidate(&images.aisnode) != candidate(&images.init) {
        out.push(
            Diagnostic::error(
                &images.init.loc,
                "`images.init` and `images.aisnode` are of one release, and not of one build of it".to_owned(),
            )
            .help("take both with the same tag, but for variants such as -etl"),
        );
    }
    match (release(&images.aisnode), release(&images.init)) {
        (Some(node), Some(init)) if node == init => {}
        (Some(node), Some(init)) if node.trim_start_matches('v') == init.trim_start_matches('v') => out.push(
            Diagnostic::warning(&images.init.loc, format!("`images.init` is {init} and `images.aisnode` is {node}"))
                .help("AIStore's own tags are written `v5.0`: is there an image with this one?"),
        ),
        (Some(node), Some(init)) => out.push(
            Diagnostic::error(
                &images.init.loc,
                format!("`images.init` is {init} and `images.aisnode` is {node}: they must be of one release"),
            )
            .help("the init container writes the configuration that aisnode reads, and its form changes between releases"),
        ),
        (node, _) => {
            let at = if node.is_none() { &images.aisnode } else { &images.init };
            out.push(
                Diagnostic::warning(
                    &at.loc,
                    "nobody can tell this image's release from its tag, nor whether both images are of one".to_owned(),
                )
                .help("tags such as v5.0 say it, and are checked"),
            );
        }
    }
    if *r.cluster.etl && release(&images.aisnode).is_some_and(|v| v.starts_with("v5")) && !images.aisnode.contains("-etl") {
        out.push(
            Diagnostic::warning(&r.cluster.etl.loc, "`etl` is true, and `images.aisnode` has no ETL since 5.0".to_owned())
                .help("take the image's variant with the tag …-etl"),
        );
    }
    if r.cluster.tracing.is_some() && release(&images.aisnode).is_some() && !images.aisnode.contains("oteltracing") {
        out.push(
            Diagnostic::warning(&images.aisnode.loc, "`tracing` is given, and this image was built without it".to_owned())
                .help("take the image's variant with the tag …-oteltracing"),
        );
    }
}

fn pods(section: &str, pods: &Pods, out: &mut Diagnostics) {
    let labels = format!("{section}.pods.labels");
    labels_are(&labels, &pods.labels, out);
    reserved(&labels, &pods.labels, out);
    for (key, value) in &pods.annotations {
        if key == OWN_ANNOTATION {
            out.push(Diagnostic::error(&value.loc, format!("the annotation `{key}` is fettle's own")));
        } else if let Some(why) = label_key_wrong(key) {
            out.push(Diagnostic::error(&value.loc, format!("`{key}` can't be an annotation: {why}")));
        }
    }
    resources(&format!("{section}.pods.resources"), &pods.resources, out);
}

fn reserved(section: &str, labels: &IndexMap<String, At<Scalar>>, out: &mut Diagnostics) {
    for (key, value) in labels {
        if RESERVED.contains(&key.as_str()) {
            out.push(
                Diagnostic::error(&value.loc, format!("`{section}` can't have the label `{key}`: it is reserved"))
                    .help("services, budgets and StatefulSets choose their pods by it"),
            );
        }
    }
}

fn labels_are(section: &str, labels: &IndexMap<String, At<Scalar>>, out: &mut Diagnostics) {
    for (key, value) in labels {
        if let Some(why) = label_key_wrong(key).or_else(|| label_value_wrong(value)) {
            out.push(Diagnostic::error(&value.loc, format!("`{section}` has `{key}={}`, which is no label: {why}", value.value)));
        }
    }
}

fn resources(section: &str, resources: &Resources, out: &mut Diagnostics) {
    for (key, request) in &resources.requests {
        let Some(limit) = resources.limits.get(key) else { continue };
        let amounts = (crate::cluster::forms::amount(request), crate::cluster::forms::amount(limit));
        if let (Some(asked), Some(most)) = amounts
            && asked > most
        {
            out.push(Diagnostic::error(
                &request.loc,
                format!("`{section}` requests {} of {key}, more than its limit of {}", request.value, limit.value),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn releases_are_read_from_tags() {
        assert_eq!(release("docker.io/aistorage/aisnode:v5.0"), Some("v5.0"));
        assert_eq!(release("registry:5000/aisnode:v5.0-etl"), Some("v5.0"));
        assert_eq!(release("registry:5000/aisnode@sha256:00"), None);
        assert_eq!(release("a/aisnode:latest"), None);
    }
}
