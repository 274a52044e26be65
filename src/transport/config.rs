//! The parts of `~/.ssh/config` that fettle follows.

use super::proxy::Proxy;
use crate::host::glob::{self, matches_host};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which addresses of a host count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// All.
    #[default]
    Any,
    /// IPv4's.
    Four,
    /// IPv6's.
    Six,
}

impl Family {
    /// Reads the value of `AddressFamily`.
    pub fn read(value: &str) -> Option<Self> {
        match value.to_ascii_lowercase().as_str() {
            "any" => Some(Self::Any),
            "inet" => Some(Self::Four),
            "inet6" => Some(Self::Six),
            _ => None,
        }
    }

    /// Whether an address counts.
    pub fn has(self, address: &SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Four => address.is_ipv4(),
            Self::Six => address.is_ipv6(),
        }
    }
}

/// What the operator's SSH configuration says about a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// `HostName`.
    pub host_name: Option<String>,
    /// `Port`.
    pub port: Option<u16>,
    /// `User`.
    pub user: Option<String>,
    /// `IdentityFile`, all of them.
    pub identity_files: Vec<PathBuf>,
    /// `UserKnownHostsFile`.
    pub known_hosts: Vec<PathBuf>,
    /// `GlobalKnownHostsFile`.
    pub global_known_hosts: Option<Vec<PathBuf>>,
    /// `StrictHostKeyChecking`.
    pub strict: Option<String>,
    /// `IdentitiesOnly`.
    pub identities_only: bool,
    /// `ProxyJump` or `ProxyCommand`.
    pub proxy: Option<Proxy>,
    /// `AddressFamily`.
    pub family: Option<Family>,
    /// `ConnectTimeout`, seconds.
    pub timeout: Option<u64>,
    /// `ServerAliveInterval`, seconds.
    pub alive_interval: Option<u64>,
    /// `ServerAliveCountMax`.
    pub alive_count: Option<u64>,
    /// `HostKeyAlias`.
    pub key_alias: Option<String>,
    /// `IdentityAgent`.
    pub identity_agent: Option<PathBuf>,
    /// `Match` blocks that may concern the host and can't be followed, with their place.
    pub unfollowed: Vec<String>,
}

impl HostConfig {
    /// How long the other side may be silent, if the configuration says so. Without a count it is OpenSSH's 3.
    pub fn silence(&self) -> Option<Duration> {
        let seconds = self.alive_interval.filter(|i| *i > 0)?.saturating_mul(self.alive_count.unwrap_or(3).max(1));
        // Heartbeats are counted in whole seconds, and three of them should fit.
        Some(Duration::from_secs(seconds.clamp(3, 86_400)))
    }
}

/// Reads the configuration for `host` as ssh_config(5) says: the first value of each keyword counts. Of `Match` the criteria
/// `all`, `host`, `originalhost` and `localuser` are followed; blocks with others are passed over and named in `unfollowed`.
pub fn read(path: &Path, host: &str) -> HostConfig {
    let mut config = HostConfig::default();
    apply(path, host, &mut config, 0);
    config
}

fn apply(path: &Path, host: &str, config: &mut HostConfig, depth: usize) {
    let Ok(text) = std::fs::read_to_string(path) else { return };
    let mut active = true;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (keyword, value) = match line.find(|c: char| c.is_whitespace() || c == '=') {
            Some(at) => (&line[..at], line[at..].trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim()),
            None => (line, ""),
        };
        let value = value.trim_matches('"');
        match keyword.to_ascii_lowercase().as_str() {
            "host" => active = matches(value, host),
            "match" => {
                active = match criteria(value, host, config) {
                    Some(holds) => holds,
                    None => {
                        config.unfollowed.push(format!("`{line}` ({}:{})", path.display(), number + 1));
                        false
                    }
                }
            }
            // 16: OpenSSH's own limit of nested includes.
            "include" if active && depth < 16 => {
                for name in value.split_whitespace() {
                    let included = expand(name);
                    let included = if included.is_absolute() { included } else { path.parent().unwrap_or(Path::new("")).join(included) };
                    for file in files(&included) {
                        apply(&file, host, config, depth + 1);
                    }
                }
            }
            _ if !active => {}
            "hostname" => set(&mut config.host_name, value.replace("%h", host)),
            "port" => config.port = config.port.or(value.parse().ok()),
            "user" => set(&mut config.user, value.to_owned()),
            "identityfile" => config.identity_files.push(expand(&tokens(value, host, config))),
            "identityagent" if config.identity_agent.is_none() => config.identity_agent = identity_agent(value),
            "hostkeyalias" => set(&mut config.key_alias, value.to_owned()),
            "userknownhostsfile" if config.known_hosts.is_empty() => config.known_hosts = value.split_whitespace().map(expand).collect(),
            "globalknownhostsfile" if config.global_known_hosts.is_none() => config.global_known_hosts = Some(global_known_hosts(value)),
            "stricthostkeychecking" => set(&mut config.strict, value.to_ascii_lowercase()),
            "identitiesonly" => config.identities_only |= value.eq_ignore_ascii_case("yes"),
            "addressfamily" => config.family = config.family.or(Family::read(value)),
            "proxyjump" | "proxycommand" if config.proxy.is_none() => config.proxy = Some(Proxy::read(keyword, value)),
            "serveraliveinterval" => config.alive_interval = config.alive_interval.or(value.parse().ok()),
            "serveralivecountmax" => config.alive_count = config.alive_count.or(value.parse().ok()),
            "connecttimeout" => config.timeout = config.timeout.or(value.parse().ok()),
            _ => {}
        }
    }
}

/// Whether the criteria of a `Match` hold; `None`: that can't be told.
fn criteria(text: &str, host: &str, config: &HostConfig) -> Option<bool> {
    let mut words = text.split_whitespace();
    let mut holds = true;
    while let Some(word) = words.next() {
        let (negated, name) = match word.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, word),
        };
        let own = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|u| u.name).unwrap_or_default();
        let fits = match name.to_ascii_lowercase().as_str() {
            "all" => true,
            "host" => matches(&words.next()?.replace(',', " "), config.host_name.as_deref().unwrap_or(host)),
            "originalhost" => matches(&words.next()?.replace(',', " "), host),
            "localuser" => matches(&words.next()?.replace(',', " "), &own()),
            // What is read a second time for names made canonical; fettle does not.
            "canonical" | "final" => false,
            _ => return if holds { None } else { Some(false) },
        };
        holds &= fits != negated;
    }
    Some(holds)
}

/// The files of an `Include`: patterns in the last part of the path, in the order of names.
fn files(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if !name.contains(['*', '?', '[']) {
        return vec![path.to_owned()];
    }
    let Some(folder) = path.parent() else { return vec![] };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let fits = |p: &PathBuf| p.file_name().and_then(|n| n.to_str()).is_some_and(|n| !n.starts_with('.') && glob::matches(name, n));
    let mut all: Vec<PathBuf> = entries.filter(fits).collect();
    all.sort();
    all
}

/// The tokens of ssh_config(5) that are known here: `%h`, `%n`, `%r`, `%p`, `%u`, `%%`.
fn tokens(value: &str, host: &str, config: &HostConfig) -> String {
    let own = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|u| u.name).unwrap_or_default();
    let mut out = String::new();
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match (c, if c == '%' { rest.next() } else { None }) {
            ('%', Some('h')) => out.push_str(config.host_name.as_deref().unwrap_or(host)),
            ('%', Some('n')) => out.push_str(host),
            ('%', Some('r')) => out.push_str(&config.user.clone().unwrap_or_else(own)),
            ('%', Some('p')) => out.push_str(&config.port.unwrap_or(22).to_string()),
            ('%', Some('u')) => out.push_str(&own()),
            ('%', Some('%')) => out.push('%'),
            ('%', Some(other)) => out.extend(['%', other]),
            (c, _) => out.push(c),
        }
    }
    out
}

/// The files that `GlobalKnownHostsFile` names; `none`: no file.
pub fn global_known_hosts(value: &str) -> Vec<PathBuf> {
    value.split_whitespace().filter(|name| *name != "none").map(expand).collect()
}

/// The socket that `IdentityAgent` names: a path, or a variable of the environment; `none` stays so.
pub fn identity_agent(value: &str) -> Option<PathBuf> {
    match value {
        "SSH_AUTH_SOCK" => None,
        _ => match value.strip_prefix('$') {
            Some(name) => std::env::var_os(name.trim_matches(['{', '}'])).map(PathBuf::from),
            None => Some(expand(value)),
        },
    }
}

fn set(slot: &mut Option<String>, value: String) {
    if slot.is_none() {
        *slot = Some(value);
    }
}

/// `~` and `%d` at the start.
pub fn expand(path: &str) -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_else(|| PathBuf::from("/root"));
    match path.strip_prefix("~/").or_else(|| path.strip_prefix("%d/")) {
        Some(rest) => home.join(rest),
        None => PathBuf::from(path),
    }
}

/// `Host` patterns: any that matches, unless a negated one does.
fn matches(patterns: &str, host: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split_whitespace() {
        match pattern.strip_prefix('!') {
            Some(negated) if matches_host(negated, host) => return false,
            Some(_) => {}
            None => found |= matches_host(pattern, host),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts_and_patterns_choose() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(
            &path,
            "Host node* !node9\n  User ops\n  Port=2222\n  IdentityFile /k1\nHost node1\n  HostName 10.0.0.1\n  User other\nHost jump\n ProxyJump b\nMatch host x\n User never\nHost *\n  IdentityFile /k2\n  StrictHostKeyChecking accept-new\n",
        )
        .unwrap();
        let config = read(&path, "node1");
        assert_eq!((config.user.as_deref(), config.port, config.host_name.as_deref()), (Some("ops"), Some(2222), Some("10.0.0.1")));
        assert_eq!(config.identity_files, [PathBuf::from("/k1"), PathBuf::from("/k2")]);
        assert_eq!(read(&path, "node9").user, None);
        assert_eq!(read(&path, "jump").proxy, Some(Proxy::Jump("b".into())));
        assert_eq!(read(&path, "node1").strict.as_deref(), Some("accept-new"));
        assert_eq!(read(&path, "x").user.as_deref(), Some("never"), "Match host");
    }

    #[test]
    fn includes_tokens_and_matches_are_followed_as_far_as_they_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::create_dir(folder.path().join("config.d")).unwrap();
        std::fs::write(folder.path().join("config.d/20-b.conf"), "Host *\n  Port 2\n  HostKeyAlias store\n").unwrap();
        std::fs::write(folder.path().join("config.d/10-a.conf"), "Host *\n  Port 1\n  User ops\n  IdentityFile /keys/%n/%r%%\n").unwrap();
        std::fs::write(folder.path().join("config.d/notes"), "Port 3\n").unwrap();
        std::fs::write(
            &path,
            "Include config.d/*.conf\nMatch originalhost a,b !host b\n IdentityAgent /run/agent\nMatch exec true\n Port 4\n",
        )
        .unwrap();
        let config = read(&path, "a");
        assert_eq!((config.port, config.key_alias.as_deref()), (Some(1), Some("store")));
        assert_eq!(config.identity_files, [PathBuf::from("/keys/a/ops%")]);
        assert_eq!(config.identity_agent, Some(PathBuf::from("/run/agent")));
        assert_eq!(config.unfollowed, [format!("`Match exec true` ({}:4)", path.display())]);
        assert_eq!(read(&path, "b").identity_agent, None);
    }
}
