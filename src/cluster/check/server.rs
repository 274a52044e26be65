//! Forms that the API server checks and the reader does not: keys of free mappings, tolerations, fields, resources.

use crate::cluster::forms::{Scalar, label_key_wrong, label_value_wrong, network_of};
use crate::cluster::passed::EnvValue;
use crate::cluster::resolve::Resolved;
use crate::cluster::spec::{Resources, Taint, TaintEffect, TaintOperator};
use crate::cluster::value::At;
use crate::diag::{Diagnostic, Diagnostics, Loc, nearest};
use indexmap::IndexMap;

/// Resources of a container that have no domain (`ResourceName` of Kubernetes' API; hugepages-SIZE beside them).
const RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// Fields of a pod that a variable can be taken from, as Kubernetes documents its downward API; `labels['KEY']` and
/// `annotations['KEY']` of `metadata` beside them.
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

pub fn check(r: &Resolved, out: &mut Diagnostics) {
    let c = &r.cluster;
    for (section, pods) in [("proxies.pods", &c.proxies.pods), ("targets.pods", &c.targets.pods)] {
        resources(&format!("{section}.resources"), &pods.resources, out);
        tolerations(&format!("{section}.tolerations"), &pods.tolerations, out);
        env(&format!("{section}.env"), &pods.env, out);
        for key in pods.sysctls.keys().filter(|key| !sysctl(key)) {
            out.push(Diagnostic::error(&pods.sysctls.loc, format!("`{section}.sysctls` has `{key}`, which is no kernel parameter's name")));
        }
    }
    for (section, access) in [("proxies.access", c.proxies.access()), ("targets.access", c.targets.access())] {
        keys(&format!("{section}.annotations"), access.annotations, access.loc, false, out);
        if let Some((class, why)) = access.load_balancer_class.and_then(|class| Some((class, label_key_wrong(class)?))) {
            out.push(Diagnostic::error(&class.loc, format!("`{section}.load_balancer_class` can't be `{}`: {why}", class.value)));
        }
        for range in access.source_ranges {
            if let Some(network) = network_of(range).filter(|n| n.as_str() != &*range.value) {
                out.push(
                    Diagnostic::error(
                        &range.loc,
                        format!("`{section}.source_ranges` has `{}`, an address inside its network", range.value),
                    )
                    .help(format!("write `{network}`")),
                );
            }
        }
    }
    for mountpath in c.targets.mountpaths.iter().chain(c.targets.exceptions.iter().flat_map(|e| &e.mountpaths)) {
        if let Some(claim) = &mountpath.claim {
            let all = claim.selector.iter().map(|(k, v)| (k, &v.value, &v.loc));
            entries("the selector of a claim", all, true, out);
        }
    }
    if let Some(client) = &c.admin_client {
        tolerations("admin_client.tolerations", &client.tolerations, out);
        env("admin_client.env", &client.env, out);
        resources("admin_client.resources", &client.resources, out);
        keys("admin_client.annotations", &client.annotations, &client.loc, false, out);
        keys("admin_client.node_labels", &client.node_labels, &client.loc, true, out);
        data_key("admin_client.ca.key", client.ca.as_ref().map(|ca| (&*ca.key, &ca.loc)), out);
    }
    if let Some(load) = &c.load_generator {
        tolerations("load_generator.tolerations", &load.tolerations, out);
        env("load_generator.env", &load.env, out);
        resources("load_generator.resources", &load.resources, out);
        keys("load_generator.node_labels", &load.node_labels, &load.loc, true, out);
        data_key("load_generator.ca.key", load.ca.as_ref().map(|ca| (&*ca.key, &ca.loc)), out);
    }
    if let Some(sidecar) = &c.logs.sidecar {
        resources("logs.sidecar.resources", &sidecar.resources, out);
    }
    if let Some(monitor) = &c.monitoring.pod_monitor {
        keys("monitoring.pod_monitor.labels", &monitor.labels, &monitor.loc, true, out);
    }
    if let Some(dashboard) = &c.monitoring.dashboard {
        keys("monitoring.dashboard.labels", &dashboard.labels, &dashboard.loc, true, out);
        keys("monitoring.dashboard.annotations", &dashboard.annotations, &dashboard.loc, false, out);
    }
    if let Some(azure) = &c.cloud.azure {
        data_key("cloud.azure.account_key", Some((&*azure.account_key, &azure.loc)), out);
        data_key("cloud.azure.access_key", Some((&*azure.access_key, &azure.loc)), out);
    }
}

/// Labels (or annotations, whose values are free) of a mapping that stands at `loc`.
fn keys(section: &str, all: &IndexMap<String, Scalar>, loc: &Loc, labels: bool, out: &mut Diagnostics) {
    entries(&format!("`{section}`"), all.iter().map(|(k, v)| (k, v, loc)), labels, out);
}

fn entries<'a>(what: &str, all: impl Iterator<Item = (&'a String, &'a Scalar, &'a Loc)>, labels: bool, out: &mut Diagnostics) {
    for (key, value, loc) in all {
        if let Some(why) = label_key_wrong(key).or_else(|| label_value_wrong(value).filter(|_| labels)) {
            let kind = if labels { format!("`{key}={value}`, which is no label") } else { format!("`{key}`, which is no annotation") };
            out.push(Diagnostic::error(loc, format!("{what} has {kind}: {why}")));
        }
    }
}

fn resources(section: &str, resources: &Resources, out: &mut Diagnostics) {
    for (part, all) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        for (name, amount) in all {
            let known = RESOURCES.contains(&name.as_str()) || name.starts_with("hugepages-");
            if known || (name.contains('/') && label_key_wrong(name).is_none()) {
                continue;
            }
            let d = Diagnostic::error(&amount.loc, format!("`{section}.{part}` has `{name}`, which is no resource"));
            out.push(match nearest(name, RESOURCES.iter().copied()) {
                Some(near) => d.label(format!("did you mean `{near}`?")),
                None => d.help("cpu, memory, ephemeral-storage, hugepages-SIZE, or a device's with its domain: nvidia.com/gpu"),
            });
        }
    }
}

fn tolerations(section: &str, all: &[Taint], out: &mut Diagnostics) {
    for taint in all.iter().filter(|t| t.loc.line > 0) {
        let key = taint.key.as_ref();
        let why = if taint.operator == TaintOperator::Exists && taint.value.as_ref().is_some_and(|v| !v.is_empty()) {
            Some("`operator: Exists` takes any value, so `value` has no meaning".to_owned())
        } else if key.is_none() && taint.operator == TaintOperator::Equal {
            Some("without `key` it is for all taints, which is `operator: Exists`".to_owned())
        } else if taint.seconds.is_some() && taint.effect != Some(TaintEffect::NoExecute) {
            Some("`seconds` is for `effect: NoExecute`".to_owned())
        } else if let Some(why) = key.and_then(|k| label_key_wrong(k)) {
            Some(format!("`key`: {why}"))
        } else {
            taint.value.as_ref().and_then(|v| label_value_wrong(v)).map(|why| format!("`value`: {why}"))
        };
        if let Some(why) = why {
            out.push(Diagnostic::error(&taint.loc, format!("`{section}` has one that Kubernetes refuses: {why}")));
        }
    }
}

fn env(section: &str, all: &IndexMap<String, At<EnvValue>>, out: &mut Diagnostics) {
    for (name, value) in all {
        let good = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !good {
            out.push(Diagnostic::error(&value.loc, format!("`{name}` can't be the name of an environment variable")));
        }
        match &value.value {
            EnvValue::Text(_) => {}
            EnvValue::Secret(_, key) | EnvValue::ConfigMap(_, key) => {
                data_key(&format!("{section}.{name}.key"), Some((key, &value.loc)), out)
            }
            EnvValue::Field(path) => {
                let inner = ["metadata.labels['", "metadata.annotations['"].iter().find_map(|p| path.strip_prefix(p)?.strip_suffix("']"));
                if FIELDS.contains(&path.as_str()) || inner.is_some_and(|key| label_key_wrong(key).is_none()) {
                    continue;
                }
                let d = Diagnostic::error(&value.loc, format!("`{section}.{name}` can't be taken from the pod's field `{path}`"));
                out.push(match nearest(path, FIELDS.iter().copied()) {
                    Some(near) => d.label(format!("did you mean `{near}`?")),
                    None => d.help(format!("fields: {}, metadata.labels['KEY'], metadata.annotations['KEY']", FIELDS.join(", "))),
                });
            }
        }
    }
}

/// A key of a Secret or ConfigMap.
fn data_key(what: &str, key: Option<(&str, &Loc)>, out: &mut Diagnostics) {
    let Some((key, loc)) = key else { return };
    let good =
        key.len() <= 253 && key.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) && key != "." && !key.starts_with("..");
    if !good {
        out.push(Diagnostic::error(loc, format!("`{what}` can't be `{key}`: keys hold letters, digits, `-`, `_` and `.`")));
    }
}

/// Words of a-z, 0-9, `-`, `_` between dots or slashes, which end in letters or digits (`IsValidSysctlName` of Kubernetes).
fn sysctl(name: &str) -> bool {
    let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name
            .split(['.', '/'])
            .all(|word| word.starts_with(alnum) && word.ends_with(alnum) && word.chars().all(|c| alnum(c) || matches!(c, '-' | '_')))
}
