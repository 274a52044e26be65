//! Variables that say how hosts are reached: what a play and its roles have of them, and where they would come too late.

use super::PlaySource;
use crate::diag::{Diagnostic, Diagnostics};
use crate::play::{Action, Task, Vars};
use crate::yaml::Node;

/// Variables that lead to a host, and there to somebody.
const WAY: &[&str] = &[
    "ansible_connection",
    "ansible_host",
    "ansible_ssh_host",
    "ansible_port",
    "ansible_ssh_port",
    "ansible_user",
    "ansible_ssh_user",
    "ansible_password",
    "ansible_ssh_pass",
    "ansible_ssh_password",
    "ansible_become_password",
    "ansible_become_pass",
    "ansible_sudo_pass",
    "ansible_private_key_file",
    "ansible_ssh_private_key_file",
    "ansible_ssh_args",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
];

/// What else connecting asks for. Of a single task it does no harm: whether it becomes root is asked again there, the rest
/// leads nowhere else.
const MORE: &[&str] = &[
    "ansible_become",
    "ansible_become_method",
    "ansible_become_exe",
    "ansible_become_flags",
    "ansible_host_key_checking",
    "ansible_ssh_host_key_checking",
    "ansible_timeout",
    "ansible_ssh_timeout",
    "ansible_retries",
    "ansible_ssh_retries",
    "ansible_remote_tmp",
];

/// Whether a connection is made from a variable of this name.
pub fn is_about_connecting(name: &str) -> bool {
    WAY.contains(&name) || MORE.contains(&name)
}

impl PlaySource {
    /// The play's variables, with those of `vars_files`, prompts and roles, and apart from them its roles' defaults; both
    /// empty where none of them is about connecting.
    pub fn connecting(&self) -> (Vars, Vars) {
        let roles = || self.play.roles.iter().filter(|role| role.public);
        let vars = || self.play.vars.0.iter().chain(roles().flat_map(|role| &role.vars.0));
        let defaults = || roles().flat_map(|role| &role.defaults.0);
        if !vars().chain(defaults()).any(|(name, _)| is_about_connecting(name)) {
            return (Vars::default(), Vars::default());
        }
        (Vars(vars().cloned().collect()), Vars(defaults().cloned().collect()))
    }

    /// Whether a variable of the play or its roles, included ones too, has one of these names.
    pub fn says(&self, names: &[&str]) -> bool {
        let included = self.play.includes.iter().flat_map(|(_, included)| &included.roles);
        let roles = self.play.roles.iter().chain(included).flat_map(|role| role.vars.0.iter().chain(&role.defaults.0));
        self.play.vars.0.iter().chain(roles).any(|(name, _)| names.contains(&name.as_str()))
    }
}

/// Refuses variables of a single task that would lead elsewhere, and such as it would set. With `delegate_to` the other host's own
/// variables count.
pub(crate) fn check(task: &Task, out: &mut Diagnostics) {
    if task.delegate_to.is_none() {
        late(task.layers.iter().flat_map(|layer| &layer.vars.0).map(|(name, value)| (name.clone(), value)), out);
    }
    if let Action::Module { name, args, .. } = &task.action
        && name == "set_fact"
    {
        late(args.as_map().iter().flat_map(|map| map.iter()).map(|(key, value)| (key.key_text(), value)), out);
    }
}

/// Refuses variables that lead to a host where they are met with on it.
pub(crate) fn late<'v>(vars: impl Iterator<Item = (String, &'v Node)>, out: &mut Diagnostics) {
    for (name, value) in vars.filter(|(name, _)| WAY.contains(&name.as_str())) {
        out.push(
            Diagnostic::error(&value.loc, format!("`{name}` is not supported here: one connection serves a host for a whole run"))
                .help("set it for the host in the inventory, for the play (`vars` or `vars_files`), or with -e"),
        );
    }
}
