//! The parts of `~/.ssh/config` that fettle follows.

use super::proxy::Proxy;
use crate::host::glob::matches_host;
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
}

impl HostConfig {
    /// How long the other side may be silent, if the configuration says so. Without a count it is OpenSSH's 3.
    pub fn silence(&self) -> Option<Duration> {
        let seconds = self.alive_interval.filter(|i| *i > 0)?.saturating_mul(self.alive_count.unwrap_or(3).max(1));
        // Heartbeats are counted in whole seconds, and three of them should fit.
        Some(Duration::from_secs(seconds.clamp(3, 86_400)))
    }
}

/// Reads the configuration for `host` as ssh_config(5) says: the first value of each keyword counts. `Match` blocks
/// other than `Match all` are passed over.
pub fn read(path: &Path, host: &str) -> HostConfig {
    let mut config = HostConfig::default();
    apply(path, host, &mut config, 0);
    config
}

fn apply(path: &Path, host: &str, config: &mut HostConfig, depth: usize) {
    let Ok(text) = std::fs::read_to_string(path) else { return };
    let mut active = true;
    for line in text.lines() {
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
            "match" => active = value.eq_ignore_ascii_case("all"),
            // 16: OpenSSH's own limit of nested includes.
            "include" if active && depth < 16 => {
                for name in value.split_whitespace() {
                    let included = expand(name);
                    let included = if included.is_absolute() { included } else { path.parent().unwrap_or(Path::new("")).join(included) };
                    apply(&included, host, config, depth + 1);
                }
            }
            _ if !active => {}
            "hostname" => set(&mut config.host_name, value.replace("%h", host)),
            "port" => config.port = config.port.or(value.parse().ok()),
            "user" => set(&mut config.user, value.to_owned()),
            "identityfile" => config.identity_files.push(expand(value)),
            "userknownhostsfile" if config.known_hosts.is_empty() => config.known_hosts = value.split_whitespace().map(expand).collect(),
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
    }
}
