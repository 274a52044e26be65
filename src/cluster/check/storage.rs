//! Mountpaths, state, logs.

use crate::cluster::forms::AbsPath;
use crate::cluster::objects::sanitized;
use crate::cluster::resolve::Resolved;
use crate::cluster::spec::Mountpath;
use crate::cluster::value::At;
use crate::diag::{Diagnostic, Diagnostics};

/// Folders of the containers that a mountpath would hide or be hidden by: the image's, and what fettle mounts.
const TAKEN: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/var/ais_config",
    "/var/certs",
    "/var/gcp",
    "/var/log",
    "/var/run",
    "/var/traces",
    "/var/lib/kubelet",
];

/// Whether `inner` is `outer` or below it.
pub fn within(inner: &str, outer: &str) -> bool {
    inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

pub fn check(r: &Resolved, out: &mut Diagnostics) {
    let targets = &r.cluster.targets;
    mountpaths(&targets.mountpaths, &targets.loc, "`targets.mountpaths`", out);
    for exception in &targets.exceptions {
        mountpaths(&exception.mountpaths, &exception.loc, &format!("the mountpaths of the exception `{}`", exception.name), out);
    }
    let all = || targets.mountpaths.iter().chain(targets.exceptions.iter().flat_map(|e| &e.mountpaths));
    claims(r, out);
    if *targets.share_nodes && targets.local_volumes.is_some() && r.target_count > r.nodes.targets.len() as i64 {
        out.push(Diagnostic::error(
            &targets.share_nodes.loc,
            "`targets.local_volumes` makes one volume for each node and mountpath, and targets that share nodes need more",
        ));
    }
    state(r, out);
    // Below it each has NAMESPACE/NAME/ROLE, so the same folder is the same folder to the end.
    let state_path = r.cluster.state.host_path.as_ref().map_or("/etc/ais", |h| &h.prefix);
    let on_host = r.cluster.state.claim.is_none() && r.cluster.state.empty_dir.is_none();
    if let Some(logs) = r.cluster.logs.directory.as_ref().filter(|logs| on_host && *logs.value == *state_path) {
        out.push(
            Diagnostic::error(&logs.loc, format!("`logs.directory` is {}, where `state` is too: both would be one folder", logs.value))
                .help(
                    "give logs a folder of their own, such as /var/log/ais: what deletes state would delete logs, and the other way round",
                ),
        );
    }
    for (what, path) in host_paths(r) {
        for mountpath in all() {
            if within(path, &mountpath.path) || within(&mountpath.path, path) {
                out.push(
                    Diagnostic::error(
                        &path.loc,
                        format!("`{what}` is {} and a mountpath is {}: one is inside the other", path.value, mountpath.path.value),
                    )
                    .help("objects and the cluster's own files must not share a folder: when objects are erased, so would they be"),
                );
            }
        }
    }
}

/// The host's directories that hold no objects.
fn host_paths(r: &Resolved) -> Vec<(&'static str, &At<AbsPath>)> {
    let c = &r.cluster;
    let state = c.state.host_path.as_ref().map(|h| ("state.host_path.prefix", &h.prefix));
    let logs = c.logs.directory.as_ref().map(|d| ("logs.directory", d));
    state.into_iter().chain(logs).collect()
}

fn mountpaths(all: &[Mountpath], loc: &crate::diag::Loc, what: &str, out: &mut Diagnostics) {
    if all.is_empty() {
        out.push(Diagnostic::error(loc, format!("{what} is empty: a target without mountpaths does not start")));
    }
    for (i, mountpath) in all.iter().enumerate() {
        let path = &mountpath.path;
        if path.len() > 255 {
            out.push(Diagnostic::error(&path.loc, format!("the mountpath is {} characters long, and AIStore takes 255", path.len())));
        }
        if let Some(taken) = TAKEN.iter().find(|t| within(path, t) || within(t, path)) {
            out.push(
                Diagnostic::error(
                    &path.loc,
                    format!("{} can't be a mountpath: it would hide {taken} in the container, or be hidden by it", path.value),
                )
                .help("mount disks below a folder of their own, such as /ais/nvme0n1"),
            );
        }
        for earlier in all.iter().take(i) {
            if *path.value == *earlier.path.value {
                out.push(
                    Diagnostic::error(&path.loc, format!("the mountpath {} is there twice", path.value))
                        .help(format!("first in line {}", earlier.path.loc.line)),
                );
            } else if within(path, &earlier.path) || within(&earlier.path, path) {
                out.push(
                    Diagnostic::error(&path.loc, format!("the mountpaths {} and {} are nested", path.value, earlier.path.value))
                        .help("AIStore refuses mountpaths inside one another; each must be a filesystem of its own"),
                );
            } else if mountpath.claim.is_some() && sanitized(path) == sanitized(&earlier.path) {
                out.push(Diagnostic::error(
                    &path.loc,
                    format!("the claims of {} and {} would have one name, {}", path.value, earlier.path.value, sanitized(path)),
                ));
            }
        }
    }
}

fn claims(r: &Resolved, out: &mut Diagnostics) {
    let targets = &r.cluster.targets;
    let all = || targets.mountpaths.iter().chain(targets.exceptions.iter().flat_map(|e| &e.mountpaths));
    let claimed = all().filter(|m| m.claim.is_some()).count();
    if let Some(local) = &targets.local_volumes {
        if claimed == 0 {
            out.push(
                Diagnostic::error(&local.loc, "`targets.local_volumes` makes volumes for claims, and no mountpath has one")
                    .help("give mountpaths a `claim`, or leave `local_volumes` out: without claims the host's directories are mounted"),
            );
        } else if r.nodes.targets.is_empty() {
            out.push(
                Diagnostic::error(&local.loc, "`targets.local_volumes` makes volumes of nodes, and the targets' nodes are not known")
                    .help("name them in `targets.nodes` or `targets.groups`"),
            );
        }
        for claim in all().filter_map(|m| m.claim.as_ref()) {
            if let Some(class) = claim.storage_class.as_ref().filter(|c| *c.value != *local.storage_class.value) {
                out.push(Diagnostic::error(
                    &class.loc,
                    format!(
                        "this claim asks for the class `{}`, and `targets.local_volumes` makes volumes of `{}`",
                        class.value, local.storage_class.value
                    ),
                ));
            }
        }
    }
    let state = r.cluster.state.claim.is_some();
    for (section, retention, claims) in
        [("proxies", &r.cluster.proxies.claim_retention, state), ("targets", &targets.claim_retention, state || claimed > 0)]
    {
        if let Some(retention) = retention.as_ref().filter(|_| !claims) {
            out.push(Diagnostic::error(
                &retention.loc,
                format!("`{section}.claim_retention` says what happens to claims, and there are none"),
            ));
        }
    }
}

fn state(r: &Resolved, out: &mut Diagnostics) {
    let state = &r.cluster.state;
    let given = [("host_path", state.host_path.is_some()), ("claim", state.claim.is_some()), ("empty_dir", state.empty_dir.is_some())];
    let names: Vec<&str> = given.iter().filter(|(_, g)| *g).map(|(n, _)| *n).collect();
    if names.len() > 1 {
        out.push(Diagnostic::error(&state.loc, format!("`state` is in one place, and {} are given", names.join(" and "))));
    }
    if let Some(empty) = &state.empty_dir {
        match super::names::release(&r.cluster.images.aisnode) {
            Some(release) if release.starts_with("v4") || release.starts_with("v3") => out.push(
                Diagnostic::error(&empty.loc, format!("`state.empty_dir` needs AIStore 5.0, and `images.aisnode` is {release}"))
                    .help("before 5.0 the cluster map is lost when all proxies restart"),
            ),
            _ => out.push(
                Diagnostic::warning(
                    &empty.loc,
                    "with `state.empty_dir` a cluster whose proxies are all gone at once starts anew".to_owned(),
                )
                .help("buckets are found again on the mountpaths, the configuration is not"),
            ),
        }
    }
}
