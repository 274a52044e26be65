//! Network configurations that set an interface's MTU at boot, after udev's rules: netplan, systemd-networkd, NetworkManager,
//! RHEL's ifcfg files and ifupdown.

use crate::host::{FileKind, View, ViewError, glob};
use crate::modules::PlanError;
use std::path::{Path, PathBuf};

/// The interface that a configuration may mean.
struct Link<'a> {
    view: &'a dyn View,
    name: &'a str,
    /// Its hardware address, in lower case; of a bond's member the own one too.
    addresses: Vec<String>,
    mtu: String,
}

/// Place and MTU.
type Found = Option<(String, String)>;

/// A network configuration that sets another MTU for `name`: its place, and the MTU.
pub(super) fn contradiction(view: &dyn View, name: &str, mtu: u32) -> Result<Found, PlanError> {
    let mut addresses = vec![];
    for file in ["address", "bonding_slave/perm_hwaddr"] {
        addresses.extend(view.read_text_opt(&Path::new("/sys/class/net").join(name).join(file))?.map(|a| a.trim().to_lowercase()));
    }
    let link = Link { view, name, addresses, mtu: mtu.to_string() };
    for look in [netplan, networkd, network_manager, ifcfg, ifupdown] {
        if let Some(found) = look(&link)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn plain(value: &str) -> &str {
    value.trim().trim_matches(['"', '\''])
}

impl Link<'_> {
    fn differs(&self, value: &str) -> bool {
        plain(value) != self.mtu
    }

    fn has_address(&self, text: &str) -> bool {
        let text = plain(text).to_lowercase().replace('-', ":");
        self.addresses.contains(&text)
    }

    /// Whether one of these shell patterns, between blanks or semicolons, is for its name; after `!` they are for all others.
    fn is_named(&self, patterns: &str) -> bool {
        let (others, patterns) = match patterns.trim().strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, patterns),
        };
        patterns.split([' ', '\t', ';']).any(|p| glob::matches(plain(p), self.name)) != others
    }

    /// Files in these folders with one of these endings; none where there is no such folder.
    fn files(&self, folders: &[&str], endings: &[&str]) -> Result<Vec<PathBuf>, PlanError> {
        let mut all = vec![];
        for folder in folders.iter().map(Path::new) {
            match self.view.list(folder) {
                Ok(names) => {
                    all.extend(names.into_iter().filter(|n| endings.iter().any(|e| n.ends_with(e))).map(|n| folder.join(n)));
                }
                Err(ViewError::NotFound(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(all)
    }

    /// The content of a file; a folder and nothing at all have none.
    fn text(&self, path: &Path) -> Result<String, ViewError> {
        if self.view.stat(path, true)?.is_none_or(|s| s.kind == FileKind::Directory) {
            return Ok(String::new());
        }
        self.view.read_text(path)
    }

    /// Looks at each line of INI-like files that are one: section, key, value. If they are for the link (`named`: by their
    /// name), and the last MTU among them differs: its place.
    fn ini(&self, paths: &[PathBuf], named: bool, look: &dyn Fn(&str, &str, &str) -> Line) -> Result<Found, PlanError> {
        let (mut mtu, mut meant) = (None, named.then_some(true));
        for path in paths {
            let text = self.text(path)?;
            let mut section = "";
            for (number, line) in text.lines().map(str::trim).enumerate() {
                if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                    section = name;
                } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) {
                    let value = plain(value);
                    match look(section, key.trim(), value) {
                        Line::Mtu => mtu = Some((format!("{}:{}", path.display(), number + 1), value.to_owned())),
                        Line::For => meant = meant.or(Some(true)),
                        Line::NotFor => meant = Some(false),
                        Line::Other => {}
                    }
                }
            }
        }
        Ok(mtu.filter(|(_, value)| meant == Some(true) && self.differs(value)))
    }
}

/// What a line of an INI-like file says.
enum Line {
    /// The MTU.
    Mtu,
    /// The file is for the link.
    For,
    /// It is not, whatever other lines say.
    NotFor,
    /// Nothing of that.
    Other,
}

impl Line {
    fn when(meant: bool) -> Self {
        if meant { Self::For } else { Self::Other }
    }
}

/// Files of netplan(5). What has `match` is known by that; what has not, by its own name.
fn netplan(link: &Link<'_>) -> Result<Found, PlanError> {
    for path in link.files(&["/etc/netplan"], &[".yaml", ".yml"])? {
        let text = link.view.read_text(&path)?;
        let root = crate::yaml::parse_one(&path.display().to_string(), &text).map_err(|e| PlanError::failed(format!("netplan: {e}")))?;
        let network = root.as_map().and_then(|m| m.get("network")).and_then(|n| n.as_map());
        for kind in network.into_iter().flat_map(|n| n.iter()).filter_map(|(_, kind)| kind.as_map()) {
            for (id, entry) in kind.iter() {
                let Some((entry, value)) = entry.as_map().and_then(|e| Some((e, e.get("mtu")?))) else { continue };
                let said = |node: Option<&crate::yaml::Node>| node.and_then(|n| n.as_str()).map(str::to_owned);
                let meant = match entry.get("match").and_then(|m| m.as_map()) {
                    None => id.as_str() == Some(link.name),
                    Some(by) => {
                        said(by.get("name")).is_some_and(|n| link.is_named(&n))
                            || said(by.get("macaddress")).is_some_and(|a| link.has_address(&a))
                    }
                };
                let text = value.as_str().map_or_else(|| value.to_json().to_string(), str::to_owned);
                if (meant || said(entry.get("set-name")).as_deref() == Some(link.name)) && link.differs(&text) {
                    return Ok(Some((value.loc.to_string(), text)));
                }
            }
        }
    }
    Ok(None)
}

/// Files of systemd.network(5) and systemd.link(5), each with its drop-ins. The last MTU counts.
fn networkd(link: &Link<'_>) -> Result<Found, PlanError> {
    const FOLDERS: [&str; 4] =
        ["/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network"];
    for path in link.files(&FOLDERS, &[".network", ".link"])? {
        let mut paths = vec![path.clone()];
        for folder in FOLDERS {
            let folder = Path::new(folder).join(path.file_name().unwrap_or_default()).into_os_string().into_string().unwrap_or_default();
            paths.extend(link.files(&[&format!("{folder}.d")], &[".conf"])?);
        }
        let found = link.ini(&paths, false, &|section, key, value| match (section, key) {
            ("Link", "MTUBytes") => Line::Mtu,
            // `Name` of [Link] is the name it is given.
            ("Match", "Name" | "OriginalName") | ("Link", "Name") => Line::when(link.is_named(value)),
            ("Match", "MACAddress" | "PermanentMACAddress") => Line::when(value.split_whitespace().any(|a| link.has_address(a))),
            _ => Line::Other,
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Keyfiles of NetworkManager (nm-settings-keyfile(5)).
fn network_manager(link: &Link<'_>) -> Result<Found, PlanError> {
    const FOLDERS: [&str; 3] =
        ["/etc/NetworkManager/system-connections", "/run/NetworkManager/system-connections", "/usr/lib/NetworkManager/system-connections"];
    for path in link.files(&FOLDERS, &[""])? {
        let found = link.ini(&[path], false, &|_, key, value| match key {
            // 0 means "automatic".
            "mtu" if value != "0" => Line::Mtu,
            "interface-name" => Line::when(link.is_named(value)),
            "mac-address" => Line::when(link.has_address(value)),
            _ => Line::Other,
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// RHEL's files (ifcfg of initscripts, and of NetworkManager's ifcfg-rh).
fn ifcfg(link: &Link<'_>) -> Result<Found, PlanError> {
    for path in link.files(&["/etc/sysconfig/network-scripts"], &[""])? {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Copies that editors and rpm leave are not read.
        let copy = ["~", ".bak", ".orig", ".rpmnew", ".rpmsave"].iter().any(|end| file.ends_with(end));
        let Some(named) = file.strip_prefix("ifcfg-").filter(|_| !copy) else { continue };
        let found = link.ini(&[path], named == link.name, &|_, key, value| match key {
            "MTU" => Line::Mtu,
            "DEVICE" if value == link.name => Line::For,
            "DEVICE" => Line::NotFor,
            "HWADDR" => Line::when(link.has_address(value)),
            _ => Line::Other,
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Files of interfaces(5), and those that they read in turn.
fn ifupdown(link: &Link<'_>) -> Result<Found, PlanError> {
    let mut todo = link.files(&["/etc/network/interfaces.d"], &[""])?;
    todo.push("/etc/network/interfaces".into());
    let mut done: Vec<PathBuf> = vec![];
    while let Some(path) = todo.pop() {
        if done.contains(&path) {
            continue;
        }
        let text = link.text(&path)?;
        let mut here = false;
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["iface", interface, ..] => here = *interface == link.name,
                ["source", pattern] => {
                    let pattern = Path::new("/etc/network").join(pattern);
                    let folder = pattern.parent().unwrap_or(Path::new("/")).to_string_lossy();
                    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
                    let all = link.files(&[&folder], &[""])?;
                    todo.extend(all.into_iter().filter(|f| f.file_name().is_some_and(|f| glob::matches(&name, &f.to_string_lossy()))));
                }
                ["source-directory", folder] => {
                    todo.extend(link.files(&[&Path::new("/etc/network").join(folder).to_string_lossy()], &[""])?);
                }
                // Also a command: `up ip link set eth0 mtu 1400`.
                ["mtu" | "up" | "post-up" | "pre-up", ..] if here => {
                    let value = words.iter().position(|w| *w == "mtu").and_then(|at| words.get(at + 1));
                    if let Some(value) = value.filter(|v| link.differs(v)) {
                        return Ok(Some((format!("{}:{}", path.display(), number + 1), (*value).to_owned())));
                    }
                }
                _ => {}
            }
        }
        done.push(path);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Blank, Overlay};

    #[test]
    fn each_kind_of_file_is_read() {
        for (path, text, line) in [
            ("/etc/netplan/a.yaml", "network:\n  ethernets:\n    eth1:\n      mtu: 1400\n", "4:12"),
            (
                "/etc/netplan/a.yaml",
                "network:\n  ethernets:\n    x:\n      match: {macaddress: 'AA:bb:cc:00:11:22'}\n      mtu: 1400\n",
                "5:12",
            ),
            ("/etc/netplan/a.yaml", "network:\n  ethernets:\n    x:\n      match: {name: 'eth*'}\n      mtu: 1400\n", "5:12"),
            (
                "/etc/netplan/a.yaml",
                "network:\n  ethernets:\n    x:\n      match: {macaddress: '1:2'}\n      set-name: eth1\n      mtu: 1400\n",
                "6:12",
            ),
            ("/etc/systemd/network/a.network", "[Match]\nName=eth0 et?1\n[Link]\nMTUBytes=1400\n", "4"),
            ("/etc/systemd/network/a.network", "[Match]\nName=!lo eth0\n[Link]\nMTUBytes=1400\n", "4"),
            ("/run/systemd/network/a.network", "[Match]\nMACAddress=00:00:00:00:00:01 aa:bb:cc:00:11:22\n[Link]\nMTUBytes=1400\n", "4"),
            ("/usr/lib/systemd/network/a.link", "[Match]\nMACAddress=1:2\n[Link]\nName=eth1\nMTUBytes=1400\n", "5"),
            ("/etc/NetworkManager/system-connections/wired", "[ethernet]\nmac-address=AA:BB:CC:00:11:22\nmtu=1400\n", "3"),
            ("/run/NetworkManager/system-connections/w.nmconnection", "[match]\ninterface-name=en*;eth*;\n[ethernet]\nmtu=1400\n", "4"),
            ("/etc/sysconfig/network-scripts/ifcfg-eth1", "MTU=1400\n", "1"),
            ("/etc/sysconfig/network-scripts/ifcfg-any", "DEVICE=\"eth1\"\nMTU=\"1400\"\n", "2"),
            ("/etc/sysconfig/network-scripts/ifcfg-any", "HWADDR=AA:BB:CC:00:11:22\nMTU=1400\n", "2"),
            ("/etc/network/interfaces", "iface eth0 inet dhcp\n mtu 1300\niface eth1 inet dhcp\n mtu 1400\n", "4"),
            ("/etc/network/interfaces", "iface eth1 inet dhcp\n post-up ip link set eth1 mtu 1400\n", "2"),
            ("/etc/network/more/a", "iface eth1 inet dhcp\n mtu 1400\n", "2"),
            ("/srv/net/b", "iface eth1 inet dhcp\n mtu 1400\n", "2"),
        ] {
            let mut o = Overlay::new(&Blank);
            o.set_file("/sys/class/net/eth1/address", "aa:bb:cc:00:11:22\n", 0o444, 0, 0);
            o.set_file("/etc/network/interfaces", "source more/*\nsource-directory /srv/net\n", 0o644, 0, 0);
            o.set_file(path, text, 0o644, 0, 0);
            assert_eq!(contradiction(&o, "eth1", 9000), Ok(Some((format!("{path}:{line}"), "1400".into()))), "{text}");
            assert_eq!(contradiction(&o, "eth1", 1400), Ok(None), "{text}");
        }
    }

    #[test]
    fn files_for_other_interfaces_and_copies_are_not_read() {
        for (path, text) in [
            ("/etc/sysconfig/network-scripts/ifcfg-eth1", "DEVICE=eth2\nMTU=1400\n"),
            ("/etc/sysconfig/network-scripts/ifcfg-eth1.bak", "DEVICE=eth1\nMTU=1400\n"),
            ("/etc/systemd/network/a.network", "[Match]\nName=!eth1\n[Link]\nMTUBytes=1400\n"),
            ("/etc/NetworkManager/system-connections/folder/x", "interface-name=eth1\nmtu=1400\n"),
            ("/etc/netplan/a.yaml", "network:\n  ethernets:\n    eth1:\n      match: {macaddress: '1:2'}\n      mtu: 1400\n"),
            ("/etc/network/interfaces", "iface eth10 inet dhcp\n mtu 1400\n"),
        ] {
            let mut o = Overlay::new(&Blank);
            o.set_file("/sys/class/net/eth1/address", "aa:bb:cc:00:11:22\n", 0o444, 0, 0);
            o.set_file(path, text, 0o644, 0, 0);
            assert_eq!(contradiction(&o, "eth1", 9000), Ok(None), "{text}");
        }
    }

    #[test]
    fn the_last_mtu_of_a_unit_and_its_drop_ins_counts_and_routes_have_their_own() {
        let mut o = Overlay::new(&Blank);
        o.set_file("/etc/systemd/network/a.network", "[Match]\nName=eth1\n[Link]\nMTUBytes=9000\n[Route]\nMTUBytes=1300\n", 0o644, 0, 0);
        assert_eq!(contradiction(&o, "eth1", 9000), Ok(None));
        o.set_file("/etc/systemd/network/a.network.d/mtu.conf", "# x\n[Link]\nMTUBytes=1400\n", 0o644, 0, 0);
        assert_eq!(contradiction(&o, "eth1", 9000), Ok(Some(("/etc/systemd/network/a.network.d/mtu.conf:3".into(), "1400".into()))));
        o.set_file("/etc/systemd/network/a.network.d/zz.conf", "[Link]\nMTUBytes=9000\n", 0o644, 0, 0);
        assert_eq!(contradiction(&o, "eth1", 9000), Ok(None));
    }
}
