//! Where and how to connect: inventory variables, command-line defaults and `~/.ssh/config` put together.

use super::bootstrap;
use super::config::{self, Family, HostConfig, expand};
use super::proxy::{Destination, Proxy};
use crate::diag::{Diagnostic, Loc};
use crate::modules::boolean;
use crate::playbook::is_about_connecting;
use serde_json::{Map, Value as Json};
use std::path::PathBuf;
use std::time::Duration;

/// How the connection is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Over SSH.
    Ssh,
    /// This machine itself.
    Local,
}

/// What to do about a host key that is not known. A changed one is refused always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrictHostKey {
    /// Ask at the terminal; refuse where there is none.
    Ask,
    /// Refuse.
    Yes,
    /// Take it and remember it.
    AcceptNew,
    /// Take it, remember nothing.
    No,
}

/// What the command line says for all hosts.
#[derive(Clone)]
pub struct Defaults {
    /// `-u`.
    pub user: Option<String>,
    /// `--private-key`.
    pub private_key: Option<PathBuf>,
    /// `-k`.
    pub password: Option<String>,
    /// `-K`.
    pub become_password: Option<String>,
    /// `-c`.
    pub connection: Option<String>,
    /// `-T`.
    pub connect_timeout: Duration,
    /// How long an agent may be silent. It says that it is there every 5 s.
    pub silence: Duration,
    /// `~/.ssh/config`; `None`: none is read.
    pub ssh_config: Option<PathBuf>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            user: None,
            private_key: None,
            password: None,
            become_password: None,
            connection: None,
            connect_timeout: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            ssh_config: Some(expand("~/.ssh/config")),
        }
    }
}

/// One host's connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name in the inventory.
    pub host: String,
    /// SSH or local.
    pub kind: Kind,
    /// The shell command that carries the connection (`ProxyJump`, `ProxyCommand`); `None`: it goes straight.
    pub proxy: Option<String>,
    /// Which of its addresses count.
    pub family: Family,
    /// Where to connect to.
    pub address: String,
    /// Port.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// Keys to try, in order.
    pub identity_files: Vec<PathBuf>,
    /// Try no keys but these.
    pub identities_only: bool,
    /// Login password.
    pub password: Option<String>,
    /// sudo password.
    pub become_password: Option<String>,
    /// Files with known host keys; new ones go to the first.
    pub known_hosts: Vec<PathBuf>,
    /// About unknown host keys.
    pub strict: StrictHostKey,
    /// Time limit for connecting and logging in.
    pub connect_timeout: Duration,
    /// How long the agent may be silent.
    pub silence: Duration,
    /// How often to try again where it can't be reached (`ansible_ssh_retries`).
    pub retries: u32,
    /// The name that known_hosts has it under (`HostKeyAlias`); `None`: its address.
    pub key_alias: Option<String>,
    /// The SSH agent's socket, where it is not the environment's.
    pub identity_agent: Option<PathBuf>,
    /// `ansible_remote_tmp`: where the agent is put, for the host's shell; `None`: the user's cache.
    pub remote_tmp: Option<String>,
    /// What of the SSH configuration may concern this host and is not followed.
    pub unfollowed: Vec<String>,
    /// What `ansible_become` says, if it says anything.
    pub becomes: Option<bool>,
}

impl Target {
    /// Puts the target of `host` together. `vars`: its `ansible_*` connection variables, rendered.
    pub fn from_vars(host: &str, vars: &Map<String, Json>, defaults: &Defaults) -> Result<Self, Diagnostic> {
        let wrong = |name: &str, message: String| Diagnostic::error(&Loc::outside(&format!("{name} of host {host}")), message);
        let text = |names: &[&str]| -> Option<String> {
            debug_assert!(names.iter().all(|name| is_about_connecting(name)), "plays' own are not looked at: {names:?}");
            names
                .iter()
                .find_map(|n| vars.get(*n))
                .filter(|v| !v.is_null())
                .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                .filter(|s| !s.is_empty())
        };
        let connection = text(&["ansible_connection"]).or_else(|| defaults.connection.clone());
        let kind = match connection.as_deref() {
            None | Some("ssh" | "smart" | "paramiko" | "ssh2" | "ansible.builtin.ssh") => Kind::Ssh,
            Some("local" | "ansible.builtin.local") => Kind::Local,
            Some(other) => {
                return Err(
                    wrong("ansible_connection", format!("the connection `{other}` is not supported")).help("there are ssh and local")
                );
            }
        };
        if let Some(method) = text(&["ansible_become_method", "ansible_become_exe"]).filter(|m| m != "sudo" && m != "ansible.builtin.sudo")
        {
            return Err(wrong("ansible_become_method", format!("becoming root by `{method}` is not supported")).help("there is sudo"));
        }
        if let Some(flags) =
            text(&["ansible_become_flags"]).filter(|f| !f.split_whitespace().all(|f| matches!(f, "-H" | "-S" | "-n" | "-HSn" | "-E")))
        {
            return Err(wrong("ansible_become_flags", format!("the flags `{flags}` are not supported"))
                .help("fettle's agent is started with `sudo -n` or `sudo -S`"));
        }
        let named = text(&["ansible_host", "ansible_ssh_host"]).unwrap_or_else(|| host.to_owned());
        let mut ssh = match (&defaults.ssh_config, kind) {
            (Some(path), Kind::Ssh) => {
                let mut config = config::read(path, &named);
                let system = config::read(std::path::Path::new("/etc/ssh/ssh_config"), &named);
                merge(&mut config, system);
                config
            }
            _ => HostConfig::default(),
        };
        let mut strict = None;
        for variable in ["ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"] {
            if let Some(args) = text(&[variable]) {
                ssh_args(&args, &mut ssh, &mut strict).map_err(|e| wrong(variable, e).help("fettle speaks SSH itself; understood are -o with User, Port, IdentityFile, IdentitiesOnly, UserKnownHostsFile, GlobalKnownHostsFile, StrictHostKeyChecking, HostKeyAlias, IdentityAgent, ConnectTimeout, ServerAliveInterval, ServerAliveCountMax, ProxyJump, ProxyCommand, AddressFamily, -J and OpenSSH's options about connection sharing"))?;
            }
        }
        let number = |names: &[&str]| match text(names) {
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| wrong(names[0], format!("`{text}` is no whole number"))),
            None => Ok(None),
        };
        let timeout = number(&["ansible_ssh_timeout", "ansible_timeout"])?;
        let retries = number(&["ansible_ssh_retries", "ansible_retries"])?.map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX));
        let remote_tmp = match text(&["ansible_remote_tmp"]).map(|folder| bootstrap::cache_folder(&folder)).transpose() {
            Ok(folder) => folder,
            Err(e) => return Err(wrong("ansible_remote_tmp", e)),
        };
        let silence = ssh.silence().unwrap_or(defaults.silence);
        let strict = match strict.or(ssh.strict).as_deref() {
            Some("no" | "off") => StrictHostKey::No,
            Some("accept-new") => StrictHostKey::AcceptNew,
            Some("yes") => StrictHostKey::Yes,
            _ => match text(&["ansible_host_key_checking", "ansible_ssh_host_key_checking"]).as_deref() {
                Some("False" | "false" | "no") => StrictHostKey::No,
                _ if std::env::var("ANSIBLE_HOST_KEY_CHECKING")
                    .is_ok_and(|v| matches!(v.to_ascii_lowercase().as_str(), "false" | "no" | "0")) =>
                {
                    StrictHostKey::No
                }
                _ => StrictHostKey::Ask,
            },
        };
        let port = match text(&["ansible_port", "ansible_ssh_port"]) {
            Some(port) => port.parse().map_err(|_| wrong("ansible_port", format!("`{port}` is no port")))?,
            None => ssh.port.unwrap_or(22),
        };
        let key = text(&["ansible_ssh_private_key_file", "ansible_private_key_file"])
            .map(|k| expand(&k))
            .or_else(|| defaults.private_key.clone());
        let identities_only = ssh.identities_only || key.is_some();
        let mut identity_files: Vec<PathBuf> = key.into_iter().collect();
        identity_files.append(&mut ssh.identity_files);
        if identity_files.is_empty() {
            identity_files =
                ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"].iter().map(|p| expand(p)).filter(|p| p.exists()).collect();
        }
        let mut known_hosts = ssh.known_hosts;
        if known_hosts.is_empty() {
            known_hosts = vec![expand("~/.ssh/known_hosts"), expand("~/.ssh/known_hosts2")];
        }
        // ssh_config(5) has the default.
        let system = || ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from).to_vec();
        known_hosts.extend(ssh.global_known_hosts.unwrap_or_else(system));
        let own = local_user();
        let user = match kind {
            Kind::Local => own,
            Kind::Ssh => text(&["ansible_user", "ansible_ssh_user"]).or_else(|| defaults.user.clone()).or(ssh.user).unwrap_or(own),
        };
        let address = ssh.host_name.unwrap_or_else(|| named.clone());
        let to = Destination { named: &named, address: &address, port, user: &user };
        let proxy = match ssh.proxy.map(|p| p.command(&to)).transpose() {
            Ok(command) => command.flatten(),
            Err(e) => return Err(wrong("the way through other hosts", e)),
        };
        Ok(Self {
            host: host.to_owned(),
            kind,
            proxy,
            family: ssh.family.unwrap_or_default(),
            address,
            port,
            user,
            identity_files,
            identities_only,
            password: text(&["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"]).or_else(|| defaults.password.clone()),
            become_password: text(&["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"])
                .or_else(|| defaults.become_password.clone()),
            known_hosts,
            strict,
            connect_timeout: timeout.or(ssh.timeout).map_or(defaults.connect_timeout, |seconds| Duration::from_secs(seconds.max(1))),
            silence,
            retries,
            key_alias: ssh.key_alias,
            identity_agent: ssh.identity_agent,
            remote_tmp,
            unfollowed: ssh.unfollowed,
            becomes: vars.get("ansible_become").and_then(boolean),
        })
    }

    /// Takes over passwords that another play has for the same host. What leads nowhere else (time limits, the agent's folder,
    /// whether an unknown key is taken) stays the first play's. An error: that play goes another way, and in what it differs.
    pub fn join(&mut self, other: &Self) -> Result<(), &'static str> {
        for (own, more) in [(&mut self.password, &other.password), (&mut self.become_password, &other.become_password)] {
            *own = own.take().or_else(|| more.clone());
        }
        let passwords = (other.password.clone().or(self.password.clone()), other.become_password.clone().or(self.become_password.clone()));
        let like = Self {
            password: passwords.0,
            become_password: passwords.1,
            becomes: self.becomes,
            strict: self.strict,
            connect_timeout: self.connect_timeout,
            silence: self.silence,
            retries: self.retries,
            remote_tmp: self.remote_tmp.clone(),
            ..other.clone()
        };
        match () {
            () if self.kind != like.kind => Err("`ansible_connection`"),
            // Nothing else leads anywhere here.
            () if self.kind == Kind::Local && self.become_password == like.become_password => Ok(()),
            () if self.user != like.user => Err("the user"),
            () if (&self.address, self.port) != (&like.address, like.port) => Err("address or port"),
            () if *self != like => Err("options or passwords"),
            () => Ok(()),
        }
    }

    /// The name that known_hosts has it under.
    pub fn key_name(&self) -> &str {
        self.key_alias.as_deref().unwrap_or(&self.address)
    }

    /// Who logs in.
    pub fn login(&self) -> &str {
        &self.user
    }
}

/// The user who runs fettle.
fn local_user() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
        .map(|u| u.name)
        .or_else(|| std::env::var("USER").ok())
        .unwrap_or_else(|| "root".into())
}

fn merge(config: &mut HostConfig, system: HostConfig) {
    config.host_name = config.host_name.take().or(system.host_name);
    config.port = config.port.or(system.port);
    config.user = config.user.take().or(system.user);
    config.strict = config.strict.take().or(system.strict);
    config.identity_files.extend(system.identity_files);
    if config.known_hosts.is_empty() {
        config.known_hosts = system.known_hosts;
    }
    config.global_known_hosts = config.global_known_hosts.take().or(system.global_known_hosts);
    config.proxy = config.proxy.take().or(system.proxy);
    config.family = config.family.or(system.family);
    config.timeout = config.timeout.or(system.timeout);
    config.alive_interval = config.alive_interval.or(system.alive_interval);
    config.alive_count = config.alive_count.or(system.alive_count);
    config.key_alias = config.key_alias.take().or(system.key_alias);
    config.identity_agent = config.identity_agent.take().or(system.identity_agent);
    config.unfollowed.extend(system.unfollowed);
}

/// Understands `-o Key=Value` and the like; options that only tune OpenSSH's own working are passed over.
fn ssh_args(args: &str, config: &mut HostConfig, strict: &mut Option<String>) -> Result<(), String> {
    let words = split(args);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let option = match word.as_str() {
            "-o" => words.next().cloned().ok_or("-o needs an option")?,
            "-i" => format!("IdentityFile={}", words.next().ok_or("-i needs a file")?),
            "-p" => format!("Port={}", words.next().ok_or("-p needs a number")?),
            "-J" => format!("ProxyJump={}", words.next().ok_or("-J needs a host")?),
            "-l" => format!("User={}", words.next().ok_or("-l needs a user")?),
            "-4" => "AddressFamily=inet".to_owned(),
            "-6" => "AddressFamily=inet6".to_owned(),
            "-C" | "-q" | "-T" | "-a" | "-x" => continue,
            other => match other.strip_prefix("-o") {
                Some(option) => option.to_owned(),
                None => return Err(format!("`{other}` is not supported")),
            },
        };
        let (key, value) = option.split_once(['=', ' ']).ok_or_else(|| format!("`{option}` is no option"))?;
        let value = value.trim().trim_matches('"').to_owned();
        match key.trim().to_ascii_lowercase().as_str() {
            "stricthostkeychecking" => *strict = Some(value.to_ascii_lowercase()),
            "userknownhostsfile" => config.known_hosts = value.split_whitespace().map(expand).collect(),
            "globalknownhostsfile" => config.global_known_hosts = Some(config::global_known_hosts(&value)),
            "port" => config.port = Some(value.parse().map_err(|_| format!("`{value}` is no port"))?),
            "user" => config.user = Some(value),
            keyword @ ("proxyjump" | "proxycommand") => config.proxy = Some(Proxy::read(keyword, &value)),
            "addressfamily" => config.family = Some(Family::read(&value).ok_or_else(|| format!("`{value}` is no address family"))?),
            "hostname" => config.host_name = Some(value),
            "identityfile" => config.identity_files.insert(0, expand(&value)),
            "identityagent" => config.identity_agent = config::identity_agent(&value),
            "hostkeyalias" => config.key_alias = Some(value),
            "identitiesonly" => config.identities_only = value.eq_ignore_ascii_case("yes"),
            "serveraliveinterval" => config.alive_interval = Some(value.parse().map_err(|_| format!("`{value}` is no number of seconds"))?),
            "serveralivecountmax" => config.alive_count = Some(value.parse().map_err(|_| format!("`{value}` is no number"))?),
            "connecttimeout" => config.timeout = value.parse().ok(),
            "controlmaster"
            | "controlpersist"
            | "controlpath"
            | "compression"
            | "loglevel"
            | "batchmode"
            | "preferredauthentications"
            | "forwardagent"
            | "tcpkeepalive"
            | "gssapiauthentication"
            | "pubkeyauthentication"
            | "passwordauthentication"
            | "kbdinteractiveauthentication"
            | "connectionattempts"
            | "updatehostkeys"
            | "checkhostip" => {}
            other => return Err(format!("the SSH option `{other}` is not supported")),
        }
    }
    Ok(())
}

fn split(text: &str) -> Vec<String> {
    let mut all = vec![];
    let mut word = String::new();
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
            }
            (_, c) => word.push(c),
        }
    }
    if !word.is_empty() {
        all.push(word);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn target(vars: Json) -> Result<Target, Diagnostic> {
        let defaults = Defaults { ssh_config: None, ..Defaults::default() };
        Target::from_vars("node1", vars.as_object().unwrap(), &defaults)
    }

    #[test]
    fn inventory_variables_make_a_target() {
        let t =
            target(json!({"ansible_host": "10.0.0.1", "ansible_port": "2222", "ansible_user": "ops", "ansible_ssh_private_key_file": "/k",
            "ansible_ssh_common_args": "-o UserKnownHostsFile=/kh -o StrictHostKeyChecking=accept-new -o ServerAliveInterval=50"}))
            .unwrap();
        assert_eq!((t.address.as_str(), t.port, t.login(), t.kind), ("10.0.0.1", 2222, "ops", Kind::Ssh));
        let files = |t: &Target| t.known_hosts.iter().map(|f| f.display().to_string()).collect::<Vec<_>>();
        assert_eq!(files(&t), ["/kh", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]);
        let site = target(json!({"ansible_ssh_common_args": "-o UserKnownHostsFile=/kh -o GlobalKnownHostsFile='/site /more'"}));
        assert_eq!(files(&site.unwrap()), ["/kh", "/site", "/more"]);
        let none = target(json!({"ansible_ssh_common_args": "-o UserKnownHostsFile=/kh -o GlobalKnownHostsFile=none"}));
        assert_eq!(files(&none.unwrap()), ["/kh"]);
        assert_eq!(t.silence, Duration::from_secs(150));
        assert_eq!((t.identity_files, t.identities_only, t.strict), (vec![PathBuf::from("/k")], true, StrictHostKey::AcceptNew));
        assert_eq!(target(json!({"ansible_connection": "local"})).unwrap().kind, Kind::Local);
        let four = target(json!({"ansible_ssh_common_args": "-4"})).unwrap().family;
        assert!(four.has(&"127.0.0.1:22".parse().unwrap()) && !four.has(&"[::1]:22".parse().unwrap()));
        let proxied = target(json!({"ansible_host": "10.0.0.1", "ansible_ssh_common_args": "-o ProxyCommand=\"ssh -W %h:%p -q me@b\""}));
        assert_eq!(proxied.unwrap().proxy.as_deref(), Some("ssh -W 10.0.0.1:22 -q me@b"));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let told = |vars: Json| target(vars).err().unwrap().to_string();
        assert!(told(json!({"ansible_connection": "docker"})).contains("`docker` is not supported"));
        assert!(told(json!({"ansible_ssh_common_args": "-o CertificateFile=x"})).contains("`certificatefile` is not supported"));
        assert!(told(json!({"ansible_ssh_common_args": "-J 'a b'"})).contains("`a b` can't be part of a command"));
        assert!(told(json!({"ansible_become_method": "su"})).contains("`su` is not supported"));
        assert!(told(json!({"ansible_port": "x"})).contains("is no port"));
    }
}
