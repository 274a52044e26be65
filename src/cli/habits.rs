//! For hands that know Ansible: options, environment variables and settings of its that fettle does not take, told by name.

use std::path::{Path, PathBuf};

/// The environment variables of Ansible's that fettle reads (`inventory`, `playbook`, `transport` and `report` do).
const READ: &[&str] = &["ANSIBLE_INVENTORY", "ANSIBLE_ROLES_PATH", "ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_FORCE_COLOR"];

/// What to do instead of using an option of ansible-playbook's that fettle has not; `None`: it is none of these.
pub fn instead(option: &str) -> Option<&'static str> {
    Some(match option {
        "--start-at-task" => "run the playbook again: what is done already changes nothing. Tasks are chosen by tags (-t, --skip-tags)",
        "--force-handlers" => "write `force_handlers: true` in the play",
        "--flush-cache" => "facts are gathered anew on every run; there is no cache to flush",
        "--become-method" => "fettle becomes other users by sudo, or is root already",
        "--become-password-file" | "--become-pass-file" => {
            "-K asks for the password; or set ansible_become_password, for example with -e @file"
        }
        "--connection-password-file" | "--conn-pass-file" => "-k asks for the password; or set ansible_password, for example with -e @file",
        "-J" | "--ask-vault-password" | "--ask-vault-pass" | "--vault-id" | "--vault-password-file" | "--vault-pass-file" => {
            "there is no vault yet. Decrypt the file before the run (ansible-vault view FILE), and give it with -e @file"
        }
        "-M" | "--module-path" => "fettle's modules are built in: `fettle doc` lists them",
        "--ssh-common-args" | "--ssh-extra-args" => "set ansible_ssh_common_args in the inventory",
        "--scp-extra-args" | "--sftp-extra-args" => "fettle needs neither scp nor sftp: everything goes through one SSH channel",
        "--inventory-file" => "use -i or --inventory",
        _ => return None,
    })
}

/// What is set for Ansible and is not read here, as warnings.
pub fn unread() -> Vec<String> {
    let mut names: Vec<String> =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().filter(|_| !value.is_empty())).collect();
    names.retain(|n| n.starts_with("ANSIBLE_") && n != "ANSIBLE_CONFIG" && !READ.contains(&n.as_str()));
    names.sort();
    let mut all = vec![];
    if !names.is_empty() {
        all.push(format!("{} in the environment: fettle does not read that; it reads {}", names.join(", "), READ.join(", ")));
    }
    if let Some(path) = config() {
        let keys = std::fs::read_to_string(&path).map(|text| settings(&text)).unwrap_or_default();
        if !keys.is_empty() {
            all.push(format!(
                "{} is not read ({}): use options, the inventory's variables, or the environment ({})",
                path.display(),
                keys.join(", "),
                READ.join(", ")
            ));
        }
    }
    all
}

/// The file of settings that Ansible would read: the first of these that exists (Ansible's documentation, "Ansible Configuration Settings").
fn config() -> Option<PathBuf> {
    let named = std::env::var_os("ANSIBLE_CONFIG").filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".ansible.cfg"));
    let places = [named, Some("ansible.cfg".into()), home, Some("/etc/ansible/ansible.cfg".into())];
    places.into_iter().flatten().find(|path| path.is_file())
}

/// The names of what an INI file sets.
fn settings(text: &str) -> Vec<String> {
    let set = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_owned());
    text.lines().filter(|l| !l.trim_start().starts_with(['#', ';', '['])).filter_map(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_of_settings_sets_is_named() {
        let text = "[defaults]\n# forks = 5\n; user = x\nremote_user = ops\ninventory=hosts\n\n[ssh_connection]\npipelining = True\n";
        assert_eq!(settings(text), ["remote_user", "inventory", "pipelining"]);
        assert!(settings("[defaults]\n#x=1\n").is_empty());
    }
}
