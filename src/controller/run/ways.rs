//! How each host is reached, and with which rights its agent starts: put together before the first host is touched.

use super::Options;
use crate::controller::summary::Reached;
use crate::diag::{Diagnostic, Loc};
use crate::play::{Privilege, Vars};
use crate::playbook::PlaySource;
use crate::transport::{Kind, Target};
use crate::yaml::Node;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

/// What a play says about connecting.
#[derive(Clone, Debug, Default)]
pub struct Via {
    /// `remote_user`, `port`, `connection`, as the variables that mean the same. Every variable wins over them.
    pub keywords: Vec<(&'static str, String)>,
    /// The variables of the play and its roles, where some are about connecting. They win over the inventory's.
    pub vars: Vars,
    /// Its roles' defaults, likewise. The inventory's variables win over them.
    pub defaults: Vars,
}

/// Makes the connection target of a host.
pub type Targets<'a> = dyn Fn(&str, &Via) -> Result<Target, Diagnostic> + 'a;

/// The connections of a run, by host.
#[derive(Default)]
pub(super) struct Ways {
    pub(super) targets: HashMap<String, Target>,
    pub(super) privileges: HashMap<String, Privilege>,
}

impl Ways {
    /// Adds what `play` wants for its `hosts`. Returns what it says about others.
    pub(super) fn add(&mut self, play: &PlaySource, hosts: &[String], options: &Options, targets: &Targets<'_>) -> Result<Via, Diagnostic> {
        let via = via(play, options)?;
        for host in hosts {
            let target = targets(host, &via)?;
            let privilege = play.privilege(options.become_all, target.becomes);
            let known = self.privileges.entry(host.clone()).or_insert(privilege);
            if privilege == Privilege::Root {
                *known = Privilege::Root;
            }
            match self.targets.entry(host.clone()) {
                Entry::Vacant(entry) => drop(entry.insert(target)),
                Entry::Occupied(mut entry) => entry.get_mut().join(&target).map_err(|what| {
                    Diagnostic::error(
                        &play.play.loc,
                        format!("this play connects to {host} otherwise than an earlier play of this run ({what})"),
                    )
                    .help("one connection serves a host for a whole run: run the playbooks one after the other")
                })?,
            }
        }
        // As in Ansible, keywords about the port and the kind of connection are not for the hosts it delegates to.
        Ok(Via { keywords: via.keywords.into_iter().filter(|(variable, _)| *variable == "ansible_user").collect(), ..via })
    }

    /// How the plays lead to their hosts, where the inventory and the command line do not.
    pub(super) fn reached(&self, targets: &Targets<'_>) -> Reached {
        let (mut users, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for (host, target) in self.targets.iter().filter(|(_, target)| target.kind == Kind::Ssh) {
            let plain = targets(host, &Via::default()).ok();
            users.extend(plain.as_ref().is_none_or(|p| p.user != target.user).then(|| target.user.clone()));
            ports.extend(plain.as_ref().is_none_or(|p| p.port != target.port).then_some(target.port));
        }
        Reached {
            user: users.pop_first().filter(|_| users.is_empty()),
            port: ports.pop_first().filter(|_| ports.is_empty()),
            root: self.privileges.values().any(|privilege| *privilege == Privilege::Root),
        }
    }
}

/// What `play` says about connecting.
fn via(play: &PlaySource, options: &Options) -> Result<Via, Diagnostic> {
    let mut keywords = vec![];
    for (node, variable) in [(&play.remote_user, "ansible_user"), (&play.port, "ansible_port"), (&play.connection, "ansible_connection")] {
        if let Some(node) = node {
            keywords.push((variable, play.known_now(node, &options.extra)?));
        }
    }
    let (mut vars, defaults) = play.connecting();
    if !(vars.is_empty() && defaults.is_empty()) {
        let dir = std::path::absolute(&play.dir).unwrap_or_else(|_| play.dir.clone());
        vars.0.push(("playbook_dir".into(), Node::text(dir.display().to_string(), Loc::outside("playbook_dir"))));
    }
    Ok(Via { keywords, vars, defaults })
}
