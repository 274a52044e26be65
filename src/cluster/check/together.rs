//! Several clusters side by side: what they must not share.

use super::access::on_host;
use super::storage::within;
use crate::cluster::resolve::{Resolved, Role};
use crate::cluster::spec::Mountpath;
use crate::cluster::value::{At, Port};
use crate::diag::{Diagnostic, Diagnostics};

/// Checks clusters against each other: names of objects, node labels, and on nodes that they share mountpaths and ports.
pub fn check_together(all: &[Resolved]) -> Diagnostics {
    let mut out = Diagnostics::default();
    for (i, later) in all.iter().enumerate() {
        for earlier in all.iter().take(i) {
            names(earlier, later, &mut out);
            namespace(earlier, later, &mut out);
            labels(earlier, later, &mut out);
            ports(earlier, later, &mut out);
            mountpaths(earlier, later, &mut out);
        }
    }
    out
}

fn whose(r: &Resolved) -> String {
    format!("the cluster {}/{} ({})", *r.cluster.namespace, *r.cluster.name, r.cluster.name.loc)
}

fn names(earlier: &Resolved, later: &Resolved, out: &mut Diagnostics) {
    let (Ok(before), Ok(after)) = (earlier.objects(), later.objects()) else { return };
    let shared = after.iter().find(|o| {
        // One namespace holds several clusters.
        o.kind() != "Namespace" && before.iter().any(|b| b.kind() == o.kind() && b.name() == o.name() && b.namespace() == o.namespace())
    });
    if let Some(object) = shared {
        let loc = if object.kind() == "StorageClass" {
            later.cluster.targets.local_volumes.as_ref().map_or(&later.cluster.name.loc, |l| &l.storage_class.loc)
        } else {
            &later.cluster.name.loc
        };
        out.push(
            Diagnostic::error(loc, format!("{} would be an object of {} too", object.title(), whose(earlier)))
                .help("give the clusters different names, or namespaces of their own"),
        );
    }
}

/// The namespace of both: a label can't have two values. One that only one of them has is kept when the other is deployed, and not by
/// who applies manifests.
fn namespace(earlier: &Resolved, later: &Resolved, out: &mut Diagnostics) {
    let (before, after) = (&earlier.cluster, &later.cluster);
    if before.namespace.value != after.namespace.value || !before.create_namespace || !after.create_namespace {
        return;
    }
    let (old, new) = (&before.namespace_labels, &after.namespace_labels);
    let way = "give both clusters the same `namespace_labels`, or let one make the namespace: `create_namespace: false` for the other";
    let other = new.iter().find(|(key, value)| old.get(*key).is_some_and(|o| o.value != value.value));
    if let Some((key, value)) = other {
        let text = format!("the namespace `{}` has another label `{key}` here than for {}", *after.namespace, whose(earlier));
        out.push(Diagnostic::error(&value.loc, text).help(way));
        return;
    }
    let extra = new.iter().find(|(key, _)| !old.contains_key(*key)).map(|(key, value)| (key, &value.loc, true));
    let lacking = || old.keys().find(|key| !new.contains_key(*key)).map(|key| (key, &after.name.loc, false));
    if let Some((key, loc, here)) = extra.or_else(lacking) {
        let (with, without) = if here {
            ("here".to_owned(), format!("for {}", whose(earlier)))
        } else {
            (format!("for {}", whose(earlier)), "here".to_owned())
        };
        let text = format!("the namespace `{}` has the label `{key}` {with}, and not {without}", *after.namespace);
        out.push(Diagnostic::warning(loc, text).help(format!("`fettle deploy` keeps it; for manifests that are applied otherwise, {way}")));
    }
}

fn labels(earlier: &Resolved, later: &Resolved, out: &mut Diagnostics) {
    let (before, after) = (earlier.labels(), later.labels());
    let chosen = |put: &[(String, String, String)], by: &Resolved| {
        put.iter().find(|(_, k, v)| by.cluster.choosing_labels().contains(&(k.clone(), v.clone()))).map(|(_, k, v)| format!("{k}={v}"))
    };
    // Clusters of one name and namespace are told about their names.
    let same =
        (&earlier.cluster.namespace.value, &earlier.cluster.name.value) == (&later.cluster.namespace.value, &later.cluster.name.value);
    if let Some(label) = chosen(&after, earlier).or_else(|| chosen(&before, later)).filter(|_| !same) {
        out.push(
            Diagnostic::error(&later.cluster.name.loc, format!("pods of {} choose nodes by the label `{label}` too", whose(earlier)))
                .help("pods of one would come to nodes of the other: give one `node_labels: {scheme: per_cluster}`, or another name"),
        );
    }
    let clash = after.into_iter().find(|(node, key, value)| before.iter().any(|(n, k, v)| n == node && k == key && v != value));
    if let Some((node, key, value)) = clash {
        out.push(
            Diagnostic::error(
                &later.cluster.loc,
                format!("the node `{node}` can't have the label `{key}={value}`: {} gives it another value", whose(earlier)),
            )
            .help("nodes that serve several clusters need `node_labels: {scheme: per_cluster}`"),
        );
    }
}

/// Each role's nodes; `None` where they are unknown and may be any.
fn share(a: &Resolved, a_role: Role, b: &Resolved, b_role: Role) -> Option<String> {
    let (of_a, of_b) = (a.of(a_role), b.of(b_role));
    if of_a.is_empty() || of_b.is_empty() {
        let same = a.cluster.node_selector(a_role) == b.cluster.node_selector(b_role);
        return same.then(|| "a node with both".to_owned());
    }
    of_a.iter().find(|n| of_b.iter().any(|m| m.name == n.name)).map(|n| format!("the node `{}`", n.name))
}

fn taken(r: &Resolved, role: Role) -> Vec<At<Port>> {
    let c = &r.cluster;
    match role {
        Role::Proxy => on_host(&c.proxies.access(), &c.proxies.ports()),
        Role::Target => on_host(&c.targets.access(), &c.targets.ports()),
    }
}

fn ports(earlier: &Resolved, later: &Resolved, out: &mut Diagnostics) {
    for role in [Role::Proxy, Role::Target] {
        for other in [Role::Proxy, Role::Target] {
            let Some(node) = share(later, role, earlier, other) else { continue };
            for port in taken(later, role) {
                if taken(earlier, other).iter().any(|p| p.value == port.value) {
                    let section = match role {
                        Role::Proxy => &later.cluster.proxies.loc,
                        Role::Target => &later.cluster.targets.loc,
                    };
                    let loc = if port.loc.line > 0 { &port.loc } else { section };
                    out.push(
                        Diagnostic::error(
                            loc,
                            format!("port {} of {node} is taken by a {} of {}", port.value, other.word(), whose(earlier)),
                        )
                        .help(format!("give `{}.ports` other numbers", role.section())),
                    );
                }
            }
        }
    }
}

fn mountpaths(earlier: &Resolved, later: &Resolved, out: &mut Diagnostics) {
    let sets = earlier.target_sets();
    for set in later.target_sets() {
        for other in &sets {
            let unknown = set.nodes.is_empty() || other.nodes.is_empty();
            let node = match set.nodes.iter().find(|n| other.nodes.contains(n)) {
                Some(node) => format!("the node `{node}`"),
                None if unknown && share(later, Role::Target, earlier, Role::Target).is_some() => "a node with both".to_owned(),
                None => continue,
            };
            let clash = |m: &Mountpath| other.mountpaths.iter().any(|o| within(&m.path, &o.path) || within(&o.path, &m.path));
            for mountpath in set.mountpaths.iter().filter(|m| clash(m)) {
                out.push(
                    Diagnostic::error(
                        &mountpath.path.loc,
                        format!("the mountpath {} of {node} belongs to {} too", mountpath.path.value, whose(earlier)),
                    )
                    .help("a filesystem serves one cluster: each takes the space that is free for its own"),
                );
            }
        }
    }
}
