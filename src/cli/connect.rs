//! Options about inventory and connection that several subcommands share, with ansible's letters.

use super::CliError;
use crate::controller::Via;
use crate::diag::{Diagnostic, Loc};
use crate::inventory::Inventory;
use crate::play::Vars;
use crate::playbook::is_about_connecting;
use crate::template::{Engine, Scope};
use crate::transport::{Defaults, StrictHostKey, Target};
use clap::Args;
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Inventory and connection.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// Inventory file, folder or script, or a list of hosts with a comma (`a,b,`); may be given several times
    #[arg(short, long = "inventory", value_name = "INVENTORY", help_heading = "Hosts")]
    pub inventory: Vec<String>,
    /// Only these hosts of what a pattern selects
    #[arg(short, long, value_name = "PATTERN", help_heading = "Hosts")]
    pub limit: Option<String>,
    /// Log in as this user
    #[arg(short, long = "user", value_name = "USER", help_heading = "Connection")]
    pub user: Option<String>,
    /// Private key to log in with
    #[arg(long, alias = "key-file", value_name = "FILE", help_heading = "Connection")]
    pub private_key: Option<PathBuf>,
    /// Ask for the login password
    #[arg(short = 'k', long, help_heading = "Connection")]
    pub ask_pass: bool,
    /// Ask for the sudo password
    #[arg(short = 'K', long, help_heading = "Connection")]
    pub ask_become_pass: bool,
    /// Seconds to wait for a connection
    #[arg(short = 'T', long, value_name = "SECONDS", default_value_t = TIMEOUT, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Connection")]
    pub timeout: u64,
    /// How to connect where the inventory does not say
    #[arg(short, long, value_name = "KIND", value_parser = ["ssh", "smart", "local"], help_heading = "Connection")]
    pub connection: Option<String>,
    /// Hosts at once; without it all, up to 64
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Hosts")]
    pub forks: Option<u16>,
}

/// Seconds to wait for a connection without `-T`, as Ansible's.
pub const TIMEOUT: u64 = 10;
/// Most hosts at once when `--forks` is not given.
const FORKS: usize = 64;

impl ConnectArgs {
    /// Loads the inventory; `playbook_dir`: where else group_vars and host_vars are.
    pub fn inventory(&self, playbook_dir: Option<&Path>) -> Result<Inventory, CliError> {
        for what in super::habits::unread() {
            eprintln!("warning: {what}");
        }
        let mut sources = self.inventory.clone();
        if sources.is_empty()
            && let Some(from_env) = std::env::var_os("ANSIBLE_INVENTORY").or_else(|| std::env::var_os("FETTLE_INVENTORY"))
        {
            sources.push(from_env.to_string_lossy().into_owned());
        }
        Ok(Inventory::load(&sources, playbook_dir)?)
    }

    /// Hosts at once.
    pub fn forks(&self) -> usize {
        self.forks.map_or(FORKS, usize::from)
    }

    /// Asks for the passwords that `-k` and `-K` announce and puts all defaults together.
    pub fn defaults(&self) -> Result<Defaults, CliError> {
        let password = if self.ask_pass { Some(secret("SSH password: ")?) } else { None };
        let become_password = if self.ask_become_pass {
            let prompt = if password.is_some() { "sudo password (empty: the same): " } else { "sudo password: " };
            let given = secret(prompt)?;
            Some(if given.is_empty() { password.clone().unwrap_or_default() } else { given })
        } else {
            None
        };
        Ok(Defaults {
            user: self.user.clone(),
            private_key: self.private_key.clone(),
            password,
            become_password,
            connection: self.connection.clone(),
            connect_timeout: std::time::Duration::from_secs(self.timeout),
            ..Defaults::default()
        })
    }

    /// Who runs this: `user@workstation`.
    pub fn by(&self) -> String {
        let own = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|u| u.name);
        let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).ok().or_else(own).unwrap_or_else(|| "unknown".into());
        let host = nix::unistd::gethostname().map(|h| h.to_string_lossy().into_owned()).unwrap_or_else(|_| "unknown".into());
        format!("{user}@{host}")
    }
}

/// Connection variables of `host`, rendered, and the target they make; `via`: what the play says.
pub fn target(inventory: &Inventory, extra: &Vars, host: &str, via: &Via, defaults: &Defaults) -> Result<Target, Diagnostic> {
    let vars = inventory.vars(host);
    let layers = [&via.defaults, &vars, &via.vars, extra];
    let known = Vars(layers[..3].iter().flat_map(|layer| layer.0.iter().cloned()).collect());
    // Of a play only what is about connecting: other variables may wait for the host.
    let all = vars.0.iter().chain(&extra.0).map(|(name, _)| name).filter(|name| name.starts_with("ansible_"));
    let plays = via.vars.0.iter().chain(&via.defaults.0).map(|(name, _)| name).filter(|name| is_about_connecting(name));
    let names: BTreeSet<String> = all.chain(plays).cloned().collect();
    let mut scope = Scope::new();
    layers.iter().for_each(|layer| scope.push(crate::controller::templates(layer)));
    scope.push(crate::controller::before_connecting(inventory, known, extra, host, names.clone()));
    let engine = Engine::new();
    let mut values = Map::new();
    for name in names {
        let Some(node) = layers.iter().rev().find_map(|layer| layer.get(&name)) else { continue };
        let value = engine
            .variable(&name, &scope)
            .map_err(|e| Diagnostic::error(&node.loc, format!("`{name}` of host {host} can't be rendered before connecting: {e}")))?;
        values.insert(name, value);
    }
    for (variable, value) in &via.keywords {
        values.entry(*variable).or_insert_with(|| Json::from(value.as_str()));
    }
    // As Kubespray's defaults have it.
    if let Some(bastion) = inventory.bastion().filter(|b| *b != host && !values.contains_key("ansible_ssh_common_args")) {
        let way = through(&target(inventory, extra, bastion, &Via::default(), defaults)?)?;
        values.insert("ansible_ssh_common_args".into(), way.into());
    }
    Target::from_vars(host, &values, defaults)
}

/// The option by which a host is reached through another. Kubespray checks no host key of its bastion; a changed one is refused here.
fn through(bastion: &Target) -> Result<String, Diagnostic> {
    let check = match bastion.strict {
        StrictHostKey::No => "no -o UserKnownHostsFile=/dev/null",
        StrictHostKey::Yes => "yes",
        StrictHostKey::Ask | StrictHostKey::AcceptNew => "accept-new",
    };
    let mut command = format!("ssh -o BatchMode=yes -o StrictHostKeyChecking={check} -p {} -l {}", bastion.port, bastion.user);
    for key in &bastion.identity_files {
        command.push_str(&format!(" -i {}", key.display()));
    }
    command.push_str(&format!(" -W [%h]:%p -- {}", bastion.address));
    // It goes to a shell.
    if command.contains(|c: char| !c.is_ascii_alphanumeric() && !" -_=./:@+,%[]".contains(c)) {
        let loc = Loc::outside(&format!("the host {}", bastion.host));
        return Err(Diagnostic::error(&loc, format!("`{command}`: no shell should see this"))
            .help("say how hosts are reached with ansible_ssh_common_args"));
    }
    Ok(format!("-o ProxyCommand=\"{command}\""))
}

/// Reads a password from the terminal.
pub fn secret(prompt: &str) -> Result<String, CliError> {
    rpassword::prompt_password(prompt).map_err(|e| CliError::Failed(format!("the password can't be asked for: {e} (is there a terminal?)")))
}

/// Asks a question that only the answer `wanted` says yes to; `option` answers it where there is no terminal, and `kept` is
/// what a no means.
pub fn confirm(question: &str, wanted: &str, option: &str, kept: &str) -> Result<(), CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::Failed(format!("{kept}: there is no terminal to ask at; {option} answers")));
    }
    eprint!("{question}");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|e| CliError::Failed(format!("no answer could be read: {e}")))?;
    if answer.trim() == wanted { Ok(()) } else { Err(CliError::Failed(kept.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str, host: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hosts.ini");
        std::fs::write(&file, text).unwrap();
        let inventory = Inventory::load(&[file.display().to_string()], None).unwrap();
        let defaults = Defaults { ssh_config: None, ..Defaults::default() };
        target(&inventory, &Vars::default(), host, &Via::default(), &defaults).unwrap_or_else(|e| panic!("{e}")).proxy
    }

    #[test]
    fn kubesprays_bastion_is_the_way_to_all_others() {
        let text = "[all]\nn1 ansible_host=10.0.0.1\nn2 ansible_host=10.0.0.2 ansible_ssh_common_args='-o ServerAliveInterval=9'\n\
            [kube_node]\nn1\nn2\n[bastion]\nbastion ansible_host=192.0.2.7 ansible_port=2222\n[all:vars]\nansible_user=ops\nansible_ssh_private_key_file=/k\n";
        let way = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -p 2222 -l ops -i /k -W [10.0.0.1]:22 -- 192.0.2.7";
        assert_eq!(proxy(text, "n1").as_deref(), Some(way));
        assert_eq!((proxy(text, "n2"), proxy(text, "bastion")), (None, None));
        // Other inventories' hosts may have any name.
        assert_eq!(proxy(&text.replace("kube_node", "web"), "n1"), None);
    }

    #[test]
    fn connection_variables_see_other_hosts() {
        let text = "[web]\nn1 ansible_host=10.0.0.1\n[gate]\ng ansible_host=192.0.2.7\n[web:vars]\n\
            ansible_ssh_common_args=\"{% if 'gate' in groups and 'web' in group_names %}-J ops@{{ hostvars[groups['gate'][0]].ansible_host }}{% endif %}\"\n";
        assert_eq!(proxy(text, "n1").as_deref(), Some("ssh -o BatchMode=yes -l ops -W '10.0.0.1:22' -- 192.0.2.7"));
    }
}
