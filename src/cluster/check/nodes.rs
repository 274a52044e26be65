//! Which nodes play which role.

use crate::cluster::resolve::{Resolved, Role};
use crate::cluster::spec::{Reach, Size};
use crate::diag::{Diagnostic, Diagnostics, nearest};
use std::collections::HashMap;

pub fn check(r: &Resolved, out: &mut Diagnostics) {
    counts(r, out);
    primary(r, out);
    exceptions(r, out);
    let targets = &r.cluster.targets;
    if *targets.share_nodes {
        if targets.mountpaths.iter().chain(targets.exceptions.iter().flat_map(|e| &e.mountpaths)).any(|m| m.claim.is_none()) {
            out.push(
                Diagnostic::error(&targets.share_nodes.loc, "`targets.share_nodes` needs a `claim` for each mountpath")
                    .help("two targets on one node would write into one directory of the host"),
            );
        }
        if targets.access.by.value != Reach::Cluster && targets.access.by.value != Reach::LoadBalancer {
            out.push(
                Diagnostic::error(
                    &targets.share_nodes.loc,
                    format!("`targets.share_nodes` and `targets.access.by: {}` exclude each other", targets.access.by.word()),
                )
                .help("a port of the node leads to one pod only; use `load_balancer` or `cluster`"),
            );
        }
    }
}

fn counts(r: &Resolved, out: &mut Diagnostics) {
    let proxies = &r.cluster.proxies;
    let loc = if matches!(proxies.count.value, Size::Of(_)) { &proxies.count.loc } else { &proxies.loc };
    if r.proxy_count == 1 {
        out.push(
            Diagnostic::warning(loc, "there is one proxy: while it is away nobody reaches the cluster".to_owned())
                .help("take three, so that two are left to elect a new primary"),
        );
    } else if r.proxy_count % 2 == 0 {
        out.push(
            Diagnostic::warning(loc, format!("there are {} proxies: an even number bears no more failures than one fewer", r.proxy_count))
                .help("a new primary needs more than half of the votes; take an odd number"),
        );
    }
}

fn primary(r: &Resolved, out: &mut Diagnostics) {
    let Some(primary) = &r.cluster.initial_primary else { return };
    let nodes = r.of(Role::Proxy);
    if nodes.is_empty() {
        out.push(
            Diagnostic::error(&primary.loc, "`initial_primary` needs proxies whose nodes are known")
                .help("name them in `proxies.nodes` or `proxies.groups`"),
        );
    } else if !nodes.iter().any(|n| n.name == *primary.value) {
        let d = Diagnostic::error(&primary.loc, format!("`initial_primary` is `{}`, which is no proxy's node", primary.value));
        let d = match nearest(primary, nodes.iter().map(|n| n.name.as_str())) {
            Some(near) => d.label(format!("did you mean `{near}`?")),
            None => d.help(format!("proxies run on {}", nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(", "))),
        };
        out.push(d);
    } else if (nodes.len() as i64) > r.proxy_count {
        out.push(
            Diagnostic::error(
                &primary.loc,
                format!(
                    "`initial_primary` can't be promised: {} proxies run on some of {} nodes, maybe not on `{}`",
                    r.proxy_count,
                    nodes.len(),
                    primary.value
                ),
            )
            .help("choose as many nodes as there are proxies"),
        );
    }
}

fn exceptions(r: &Resolved, out: &mut Diagnostics) {
    let targets = &r.cluster.targets;
    let known = r.of(Role::Target);
    let mut named: HashMap<&str, &str> = HashMap::new();
    let mut names: Vec<&str> = vec![];
    for exception in &targets.exceptions {
        if names.contains(&&*exception.name.value) {
            out.push(Diagnostic::error(&exception.name.loc, format!("there are two exceptions `{}`", exception.name.value)));
        }
        names.push(&exception.name.value);
        if exception.nodes.is_empty() {
            out.push(Diagnostic::error(&exception.loc, format!("the exception `{}` has no nodes", exception.name.value)));
        }
        for node in &exception.nodes {
            if let Some(other) = named.insert(&node.value, &exception.name.value) {
                out.push(Diagnostic::error(&node.loc, format!("the node `{}` is in the exception `{other}` already", node.value)));
            } else if known.is_empty() {
                out.push(
                    Diagnostic::error(&node.loc, "exceptions need targets whose nodes are known")
                        .help("name them in `targets.nodes` or `targets.groups`"),
                );
            } else if !known.iter().any(|n| n.name == *node.value) {
                let d = Diagnostic::error(&node.loc, format!("the node `{}` of an exception is no target's", node.value));
                out.push(d.nearest(&node.value, known.iter().map(|n| n.name.as_str())));
            }
        }
    }
    if let (Size::Of(count), false) = (targets.count.value, targets.exceptions.is_empty())
        && !known.is_empty()
        && count.0 != known.len() as i64
    {
        out.push(
            Diagnostic::error(
                &targets.count.loc,
                format!("`targets.count` is {count} of {} nodes, and with exceptions it must be all of them", known.len()),
            )
            .help("leave `count` out"),
        );
    }
}
