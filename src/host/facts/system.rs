//! The system itself: kernel, distribution, names, user, time.

use super::{line, set};
use crate::host::identity::User;
use crate::host::{View, clock};
use serde_json::{Map, Value as Json, json};
use std::path::Path;

/// Distributions' families, as Ansible groups them.
const FAMILIES: &[(&str, &[&str])] = &[
    ("Debian", &["Debian", "Ubuntu", "Raspbian", "Linux Mint", "Kali", "Pop!_OS"]),
    ("RedHat", &["RedHat", "CentOS", "Fedora", "Rocky", "AlmaLinux", "OracleLinux", "Amazon"]),
    ("Suse", &["SLES", "openSUSE Leap", "openSUSE Tumbleweed"]),
    ("Archlinux", &["Archlinux"]),
    ("Alpine", &["Alpine"]),
    ("Flatcar", &["Flatcar"]),
];

/// Gathers them.
pub fn gather(view: &dyn View, facts: &mut Map<String, Json>) {
    if let Ok(uname) = nix::sys::utsname::uname() {
        let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
        let node = text(uname.nodename());
        set(facts, "system", text(uname.sysname()));
        set(facts, "kernel", text(uname.release()));
        set(facts, "kernel_version", text(uname.version()));
        set(facts, "machine", text(uname.machine()));
        set(facts, "architecture", text(uname.machine()));
        set(facts, "userspace_bits", usize::BITS.to_string());
        let fqdn = fqdn(view, &node);
        set(facts, "domain", fqdn.split_once('.').map_or("", |(_, d)| d));
        set(facts, "fqdn", fqdn);
        set(facts, "hostname", node.split('.').next().unwrap_or(&node));
        set(facts, "nodename", node);
    }
    distribution(view, facts);
    set(facts, "machine_id", line(view, "/etc/machine-id"));
    set(facts, "service_mgr", service_manager(view));
    let managers = [("apt", "apt-get"), ("dnf", "dnf"), ("yum", "yum"), ("zypper", "zypper"), ("pacman", "pacman"), ("apk", "apk")];
    let manager = managers.iter().find(|(_, program)| view.program(program).is_some()).map_or("unknown", |(name, _)| name);
    set(facts, "pkg_mgr", manager);
    user(view, facts);
    let env: Map<String, Json> = std::env::vars().map(|(k, v)| (k, Json::String(v))).collect();
    set(facts, "env", env);
    set(facts, "date_time", date_time());
    set(facts, "selinux", selinux(view));
    set(facts, "apparmor", json!({"status": if exists(view, "/sys/kernel/security/apparmor") { "enabled" } else { "disabled" }}));
    set(facts, "is_chroot", chroot(view));
    if let Some(cmdline) = line(view, "/proc/cmdline") {
        let pairs =
            cmdline.split_whitespace().map(|w| w.split_once('=').map_or((w.to_owned(), json!(true)), |(k, v)| (k.to_owned(), json!(v))));
        set(facts, "cmdline", Json::Object(pairs.collect()));
    }
    set(facts, "dns", dns(view));
    set(facts, "local", local(view));
    if let Some(load) = line(view, "/proc/loadavg") {
        let numbers: Vec<f64> = load.split_whitespace().take(3).filter_map(|n| n.parse().ok()).collect();
        if let [one, five, fifteen] = numbers.as_slice() {
            set(facts, "loadavg", json!({"1m": one, "5m": five, "15m": fifteen}));
        }
    }
    if let Ok(uptime) = sysinfo::System::uptime() {
        set(facts, "uptime_seconds", uptime);
    }
    set(facts, "module_setup", true);
}

fn exists(view: &dyn View, path: &str) -> bool {
    view.stat(Path::new(path), true).is_ok_and(|s| s.is_some())
}

/// The host's name with its domain, from `/etc/hosts`; no name server is asked.
fn fqdn(view: &dyn View, node: &str) -> String {
    if node.contains('.') {
        return node.to_owned();
    }
    let hosts = view.read_text(Path::new("/etc/hosts")).unwrap_or_default();
    let found = hosts.lines().map(|l| l.split('#').next().unwrap_or("")).find_map(|l| {
        let names: Vec<&str> = l.split_whitespace().skip(1).collect();
        names.contains(&node).then(|| names.iter().find(|n| n.starts_with(node) && n.contains('.')).map(|n| (*n).to_owned())).flatten()
    });
    found.unwrap_or_else(|| node.to_owned())
}

fn distribution(view: &dyn View, facts: &mut Map<String, Json>) {
    let release = line(view, "/etc/os-release").or_else(|| line(view, "/usr/lib/os-release")).unwrap_or_default();
    let get =
        |key: &str| release.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=').map(|v| v.trim_matches(['"', '\'']).to_owned()));
    let id = get("ID").unwrap_or_default();
    let name = match id.as_str() {
        "debian" => "Debian".to_owned(),
        "ubuntu" => "Ubuntu".into(),
        "rhel" => "RedHat".into(),
        "centos" => "CentOS".into(),
        "fedora" => "Fedora".into(),
        "rocky" => "Rocky".into(),
        "almalinux" => "AlmaLinux".into(),
        "ol" => "OracleLinux".into(),
        "amzn" => "Amazon".into(),
        "sles" => "SLES".into(),
        "opensuse-leap" => "openSUSE Leap".into(),
        "arch" => "Archlinux".into(),
        "alpine" => "Alpine".into(),
        "flatcar" => "Flatcar".into(),
        _ => get("NAME").unwrap_or_else(|| "OtherLinux".into()),
    };
    let family = FAMILIES.iter().find(|(_, members)| members.contains(&name.as_str())).map_or(name.as_str(), |(family, _)| family);
    // Debian's own file knows the point release.
    let version =
        if id == "debian" { line(view, "/etc/debian_version").filter(|v| v.starts_with(|c: char| c.is_ascii_digit())) } else { None };
    let version = version.or_else(|| get("VERSION_ID")).unwrap_or_else(|| "NA".into());
    set(facts, "os_family", family);
    set(facts, "distribution_major_version", version.split('.').next().unwrap_or(&version));
    set(facts, "distribution_version", version);
    set(facts, "distribution_release", get("VERSION_CODENAME").unwrap_or_else(|| "NA".into()));
    set(facts, "distribution_file_path", "/etc/os-release");
    set(facts, "distribution", name);
}

fn service_manager(view: &dyn View) -> String {
    let first = line(view, "/proc/1/comm").unwrap_or_default();
    match first.as_str() {
        "systemd" => "systemd".into(),
        _ if exists(view, "/run/systemd/system") => "systemd".into(),
        "init" | "runit-init" | "openrc-init" if exists(view, "/sbin/openrc") => "openrc".into(),
        "init" => "sysvinit".into(),
        "" => "service".into(),
        other => other.into(),
    }
}

fn user(view: &dyn View, facts: &mut Map<String, Json>) {
    let (uid, euid) = (nix::unistd::getuid().as_raw(), nix::unistd::geteuid().as_raw());
    set(facts, "user_uid", euid);
    set(facts, "real_user_id", uid);
    set(facts, "effective_user_id", euid);
    set(facts, "user_gid", nix::unistd::getegid().as_raw());
    set(facts, "effective_group_id", nix::unistd::getegid().as_raw());
    set(facts, "real_group_id", nix::unistd::getgid().as_raw());
    if let Ok(Some(user)) = User::by_uid(view, euid) {
        set(facts, "user_id", user.name);
        set(facts, "user_dir", user.home);
        set(facts, "user_shell", user.shell);
    } else {
        set(facts, "user_id", euid.to_string());
    }
}

fn date_time() -> Json {
    let now = clock::utc(std::time::SystemTime::now());
    let (date, time) = now.split_once('T').unwrap_or((&now, ""));
    let time = time.get(..8).unwrap_or(time);
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or(0);
    json!({
        "date": date, "time": time, "year": year, "month": month, "day": day, "hour": time.get(..2), "minute": time.get(3..5), "second": time.get(6..8),
        "epoch": epoch.to_string(), "iso8601": now, "tz": "UTC", "tz_offset": "+0000",
    })
}

fn selinux(view: &dyn View) -> Json {
    match line(view, "/sys/fs/selinux/enforce").as_deref() {
        Some("1") => json!({"status": "enabled", "mode": "enforcing"}),
        Some(_) => json!({"status": "enabled", "mode": "permissive"}),
        None => json!({"status": "disabled"}),
    }
}

fn chroot(view: &dyn View) -> bool {
    let root = |path: &str| view.stat(Path::new(path), true).ok().flatten().map(|s| (s.dev, s.ino));
    match (root("/"), root("/proc/1/root/.")) {
        (Some(own), Some(first)) => own != first,
        _ => false,
    }
}

fn dns(view: &dyn View) -> Json {
    let text = line(view, "/etc/resolv.conf").unwrap_or_default();
    let all =
        |key: &str| -> Vec<&str> { text.lines().filter_map(|l| l.trim().strip_prefix(key)).flat_map(str::split_whitespace).collect() };
    json!({"nameservers": all("nameserver "), "search": all("search ")})
}

/// Static facts of `/etc/ansible/facts.d/*.fact`, JSON or INI. Executable ones are not run: gathering touches nothing.
fn local(view: &dyn View) -> Json {
    let folder = Path::new("/etc/ansible/facts.d");
    let mut all = Map::new();
    for name in view.list(folder).unwrap_or_default() {
        let Some(stem) = name.strip_suffix(".fact") else { continue };
        let path = folder.join(&name);
        let executable = view.stat(&path, true).ok().flatten().is_some_and(|s| s.mode & 0o111 != 0);
        if executable {
            continue;
        }
        let Ok(text) = view.read_text(&path) else { continue };
        let value = serde_json::from_slice(text.as_bytes()).unwrap_or_else(|_| ini(&text));
        all.insert(stem.to_owned(), value);
    }
    Json::Object(all)
}

fn ini(text: &str) -> Json {
    let mut sections = Map::new();
    let mut current = String::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name.clone_into(&mut current);
            sections.entry(current.clone()).or_insert_with(|| json!({}));
        } else if let Some((key, value)) = line.split_once(['=', ':'])
            && let Some(Json::Object(section)) = sections.get_mut(&current)
        {
            section.insert(key.trim().to_owned(), json!(value.trim()));
        }
    }
    Json::Object(sections)
}

/// What the host runs on.
pub fn virtualization(view: &dyn View, facts: &mut Map<String, Json>) {
    let vendor = line(view, "/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    let product = line(view, "/sys/class/dmi/id/product_name").unwrap_or_default();
    let cgroup = line(view, "/proc/1/cgroup").unwrap_or_default();
    let hypervisor = line(view, "/proc/cpuinfo")
        .is_some_and(|c| c.lines().any(|l| l.starts_with("flags") && l.split_whitespace().any(|f| f == "hypervisor")));
    let (kind, role) = if exists(view, "/.dockerenv") || cgroup.contains("/docker/") {
        ("docker", "guest")
    } else if cgroup.contains("/lxc/") {
        ("lxc", "guest")
    } else if product.contains("VMware") {
        ("VMware", "guest")
    } else if product.contains("VirtualBox") {
        ("virtualbox", "guest")
    } else if vendor.starts_with("Microsoft") {
        ("VirtualPC", "guest")
    } else if hypervisor
        || vendor == "QEMU"
        || product.contains("KVM")
        || ["RHEV Hypervisor"].contains(&product.as_str())
        || ["Amazon EC2", "Google", "OpenStack Foundation"].iter().any(|v| vendor.contains(v))
    {
        ("kvm", "guest")
    } else if exists(view, "/dev/kvm") {
        ("kvm", "host")
    } else {
        ("NA", "NA")
    };
    set(facts, "virtualization_type", kind);
    set(facts, "virtualization_role", role);
}
