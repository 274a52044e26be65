//! The variables a host gets with a play: only those the play can reach.

use crate::diag::Loc;
use crate::inventory::Inventory;
use crate::play::Vars;
use crate::playbook::PlaySource;
use crate::protocol::HostVars;
use crate::template::{Engine, Scope, Var, referenced};
use crate::yaml::Node;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// The version of Ansible whose language is spoken, for playbooks that assert one (Kubespray does).
const ANSIBLE_VERSION: (u32, u32, u32) = (2, 18, 0);

/// What of a run goes into magic variables.
pub struct Magic<'a> {
    /// The hosts of the play.
    pub play_hosts: &'a [String],
    /// Of those, the ones that have neither failed nor become unreachable.
    pub left: &'a [String],
    /// Of those, the ones in this batch.
    pub batch: &'a [String],
    /// A dry run.
    pub check: bool,
    /// Diffs are shown.
    pub diff: bool,
    /// `-v` count.
    pub verbosity: u8,
    /// Hosts at once.
    pub forks: usize,
    /// `--limit`.
    pub limit: Option<&'a str>,
    /// `--tags`.
    pub tags: &'a [String],
    /// `--skip-tags`.
    pub skip_tags: &'a [String],
    /// Folder of the playbook.
    pub playbook_dir: &'a Path,
    /// Other hosts read this one's variables: none may be left away.
    pub all: bool,
}

/// The variables of `host` for `play`.
pub fn host_vars(inventory: &Inventory, play: &PlaySource, extra: &Vars, host: &str, magic: &Magic<'_>) -> HostVars {
    let inventory_vars = inventory.vars(host);
    let (inventory_vars, reach) = match play.referenced().filter(|_| !magic.all) {
        Some(names) => reachable(inventory_vars, extra, names),
        None => (inventory_vars, None),
    };
    let mut inventory_vars = inventory_vars;
    // Ansible knows it of every host; whatever sets it wins.
    if inventory_vars.get("ansible_host").is_none() {
        inventory_vars.0.push(("ansible_host".into(), Node::text(host, Loc::outside("inventory"))));
    }
    let wanted = |name: &str| reach.as_ref().is_none_or(|names| names.contains(name));
    let mut values = magic_values(inventory, play, host, magic);
    values.retain(|name, _| wanted(name) || ALWAYS.contains(&name.as_str()));
    HostVars { inventory: inventory_vars, extra: extra.clone(), magic: values }
}

/// Magic variables that modules or fettle itself read without a template naming them.
const ALWAYS: &[&str] = &["inventory_hostname", "ansible_check_mode", "ansible_verbosity"];

/// Inventory variables the agent reads without a template naming them.
const CONNECTION: &[&str] = &["ansible_become", "ansible_become_user"];

/// Keeps what `names`, or anything they refer to, reads. Also returns all names reached.
fn reachable(vars: Vars, extra: &Vars, names: BTreeSet<String>) -> (Vars, Option<BTreeSet<String>>) {
    let mut reached: BTreeSet<String> = names;
    reached.extend(CONNECTION.iter().map(|s| (*s).to_owned()));
    let mut queue: Vec<String> = reached.iter().cloned().collect();
    // Extra vars always travel, so what they read is reached as well.
    queue.extend(extra.0.iter().flat_map(|(_, node)| referenced(node)));
    while let Some(name) = queue.pop() {
        reached.insert(name.clone());
        if let Some(node) = vars.get(&name) {
            queue.extend(referenced(node).into_iter().filter(|n| !reached.contains(n)));
        }
    }
    let kept = vars.0.into_iter().filter(|(name, _)| reached.contains(name)).collect();
    (Vars(kept), Some(reached))
}

fn magic_values(inventory: &Inventory, play: &PlaySource, host: &str, magic: &Magic<'_>) -> Map<String, Json> {
    let (major, minor, revision) = ANSIBLE_VERSION;
    let text = format!("{major}.{minor}.{revision}");
    let roles: Vec<&str> = play.play.roles.iter().map(|role| role.name.as_str()).collect();
    let tags = if magic.tags.is_empty() { vec!["all".to_owned()] } else { magic.tags.to_vec() };
    let values = json!({
        "inventory_hostname": host,
        "inventory_hostname_short": host.split('.').next().unwrap_or(host),
        "inventory_dir": inventory.dir(),
        "inventory_file": inventory.file(),
        "ansible_inventory_sources": inventory.sources(),
        "group_names": inventory.group_names(host),
        "groups": inventory.groups(),
        // An old name of ansible_play_batch.
        "play_hosts": magic.batch,
        "ansible_play_hosts": magic.left,
        "ansible_play_hosts_all": magic.play_hosts,
        "ansible_play_batch": magic.batch,
        "ansible_play_name": play.play.name,
        "playbook_dir": std::path::absolute(magic.playbook_dir).unwrap_or_else(|_| magic.playbook_dir.to_owned()).display().to_string(),
        // fettle reads no ansible.cfg.
        "ansible_config_file": null,
        "role_names": roles,
        "ansible_role_names": roles,
        "ansible_play_role_names": roles,
        "ansible_check_mode": magic.check,
        "ansible_diff_mode": magic.diff,
        "ansible_verbosity": magic.verbosity,
        "ansible_forks": magic.forks,
        "ansible_limit": magic.limit,
        "ansible_run_tags": tags,
        "ansible_skip_tags": magic.skip_tags,
        "ansible_version": {"full": text, "string": text, "major": major, "minor": minor, "revision": revision},
    });
    match values {
        Json::Object(mut map) => {
            if magic.limit.is_none() {
                map.remove("ansible_limit");
            }
            map
        }
        _ => Map::new(),
    }
}

/// A host's variables as others see them, so far as the controller knows: the inventory's, rendered with its own, and what it
/// told at the end of earlier plays. `names`: only these.
pub fn view(
    inventory: &Inventory,
    extra: &Vars,
    host: &str,
    told: Option<&Map<String, Json>>,
    names: Option<&[String]>,
) -> Map<String, Json> {
    let engine = Engine::new();
    let vars = inventory.vars(host);
    let own = Map::from_iter([
        ("inventory_hostname".to_owned(), json!(host)),
        ("inventory_hostname_short".to_owned(), json!(host.split('.').next().unwrap_or(host))),
        ("group_names".to_owned(), json!(inventory.group_names(host))),
        ("groups".to_owned(), json!(inventory.groups())),
    ]);
    let mut scope = Scope::new();
    scope.push(templates(&vars));
    if let Some(told) = told {
        scope.push(plain(told));
    }
    scope.push(templates(extra));
    let all: Vec<String> = scope.names().chain(own.keys().map(String::as_str).filter(|n| *n != "groups")).map(str::to_owned).collect();
    scope.push(plain(&own));
    // A variable that can't be rendered here (it needs facts not gathered yet) is left out:
    // reading it is then the error "undefined" with its name.
    let value = |name: &String| {
        scope.get(name)?;
        engine.variable(name, &scope).ok().map(|value| (name.clone(), value))
    };
    names.unwrap_or(&all).iter().filter_map(value).collect()
}

/// What those of the variables `vars` of `host` that are called `names` may read that no inventory says, before any host is
/// connected to.
pub fn before_connecting(
    inventory: &Inventory,
    vars: Vars,
    extra: &Vars,
    host: &str,
    names: BTreeSet<String>,
) -> Arc<HashMap<String, Var>> {
    let (_, reached) = reachable(vars, extra, names);
    let reads = |name: &str| reached.as_ref().is_none_or(|r| r.contains(name));
    let mut values = Map::from_iter([
        ("inventory_hostname".to_owned(), json!(host)),
        ("inventory_hostname_short".to_owned(), json!(host.split('.').next().unwrap_or(host))),
        ("inventory_dir".to_owned(), json!(inventory.dir())),
        ("inventory_file".to_owned(), json!(inventory.file())),
        ("group_names".to_owned(), json!(inventory.group_names(host))),
    ]);
    if reads("groups") {
        values.insert("groups".into(), json!(inventory.groups()));
    }
    let mut layer: HashMap<String, Var> = values.into_iter().map(|(name, value)| (name, Var::Plain(Arc::new(value)))).collect();
    if reads("hostvars") {
        // Made once: the variables of all hosts, for each of them, are too many to be made for each of them.
        let all = inventory.once_for_all(|| {
            let all = inventory.hosts().into_iter().map(|host| (host.clone(), Json::Object(view(inventory, extra, &host, None, None))));
            Json::Object(all.collect())
        });
        layer.insert("hostvars".into(), Var::Plain(all));
    }
    Arc::new(layer)
}

/// A layer of variables as written.
pub fn templates(vars: &Vars) -> Arc<HashMap<String, Var>> {
    Arc::new(vars.0.iter().map(|(name, node)| (name.clone(), Var::Template(Arc::new(node.clone())))).collect())
}

/// A layer of plain values.
pub fn plain(values: &Map<String, Json>) -> Arc<HashMap<String, Var>> {
    Arc::new(values.iter().map(|(name, value)| (name.clone(), Var::Plain(Arc::new(value.clone())))).collect())
}
