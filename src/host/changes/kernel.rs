//! Values in the kernel: sysctls, sysfs attributes, an interface's MTU.

use super::spot::{io_error, not_read_only};
use crate::host::act::Act;
use crate::host::change::{SetMtu, SetSysctl, SetSysfs};
use crate::host::rights::{is_root_or, permits};
use crate::host::{Change, ChangeError, Diff, FileKind, Outcome, Overlay, RealHost, View, ViewError};
use nix::libc;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A value as it is compared: fields separated by one space.
pub fn normalise(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The file of the kernel parameter `key`. As in sysctl(8): if the first separator is a dot, dots separate and a
/// slash stands for a dot in a name (`net.ipv4.conf.eth0/100.rp_filter`); if it is a slash, the other way round. Beyond that, an
/// interface's dots may stand as they are in `net.ipv4.conf.*` and the like, whose depth is known.
pub fn sysctl_path(key: &str) -> Result<PathBuf, String> {
    let wrong = || format!("`{key}` is no name of a kernel parameter");
    let slashes = key.find(['.', '/']).is_some_and(|i| key.as_bytes().get(i) == Some(&b'/'));
    let mut parts: Vec<String> =
        if slashes { key.split('/').map(str::to_owned).collect() } else { key.split('.').map(|p| p.replace('/', ".")).collect() };
    let per_interface =
        matches!(parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), ["net", "ipv4" | "ipv6", "conf" | "neigh", _, _, _, ..]);
    if per_interface && !slashes && parts.len() > 5 {
        let leaf = parts.pop();
        let name = parts.split_off(3).join(".");
        parts.push(name);
        parts.extend(leaf);
    }
    if parts.iter().any(|p| p.is_empty() || p == "." || p == ".." || p.contains('\0')) {
        return Err(wrong());
    }
    Ok(parts.iter().fold(PathBuf::from("/proc/sys"), |path, part| path.join(part)))
}

/// What there is to say about a value that the kernel holds in a file.
struct Knob<'a> {
    /// `net.core.somaxconn`, `/sys/block/sda/queue/scheduler`.
    name: &'a str,
    file: PathBuf,
}

impl Knob<'_> {
    /// Whether it is there and, as far as that can be known, can be written.
    fn check(&self, view: &Overlay<'_>, missing: &str) -> Result<PathBuf, ChangeError> {
        let name = self.name;
        let Some(stat) = view.stat(&self.file, true)? else {
            return Err(ChangeError::new(format!("{name} does not exist on this host ({missing})")));
        };
        if stat.kind != FileKind::File {
            return Err(ChangeError::new(format!(
                "{name} is not a value: {} is {}",
                self.file.display(),
                super::spot::kind_word(stat.kind)
            )));
        }
        // The bits count for root too: the kernel clears them where it refuses everybody.
        if stat.mode & 0o222 == 0 {
            return Err(ChangeError::new(format!("{name} is read-only on this host: the kernel lets nobody write it here")));
        }
        let path = view.resolve(&self.file, true)?;
        not_read_only(view, &path)
            .map_err(|e| e.map(|_| format!("{name} can't be set: {} is mounted read-only here (a container?)", mount_name(&path))))?;
        if !permits(view, &stat, 0o2) {
            return Err(ChangeError::new(format!(
                "{name} can't be set: only its owner (user {}) may write it; use `become: true`",
                stat.uid
            )));
        }
        Ok(path)
    }

    /// The value now, blanks normalised; `None`: it can't be read (write-only, unknown).
    fn value(&self, view: &dyn View) -> Option<String> {
        view.read_text(&self.file).ok().map(|text| normalise(&text))
    }

    /// Writes it with one write, as the kernel wants it.
    fn write(&self, value: &str) -> Result<(), ChangeError> {
        let written = std::fs::OpenOptions::new().write(true).open(&self.file).and_then(|mut f| write_once(&mut f, value.as_bytes()));
        written.map_err(|e| match e.raw_os_error() {
            Some(libc::EINVAL | libc::ERANGE) => ChangeError::new(format!("the kernel does not accept `{value}` for {}", self.name)),
            Some(libc::EROFS) => ChangeError::new(format!("{} can't be set: its filesystem is mounted read-only here", self.name)),
            Some(libc::EACCES | libc::EPERM) => ChangeError::new(format!(
                "{} can't be set: the kernel does not allow it here (read-only in a container, or not root)",
                self.name
            )),
            _ => io_error("set", Path::new(self.name), &e),
        })
    }

    /// Shows before and after.
    fn diff(&self, before: &dyn View, value: &str) -> Option<Diff> {
        let old = selected(&self.value(before)?).to_owned();
        let name = self.name.to_owned();
        let line = |v: &str| format!("{v}\n");
        Some(Diff { before_header: name.clone(), after_header: name, before: line(&old), after: line(value) })
    }

    fn describe_with(&self, before: &dyn View, value: &str) -> String {
        match self.value(before) {
            Some(old) => format!("set {}: {} → {value}", self.name, if old.is_empty() { "(empty)" } else { selected(&old) }),
            None => format!("set {} to {value}", self.name),
        }
    }
}

fn mount_name(path: &Path) -> &'static str {
    if path.starts_with("/sys") { "/sys" } else { "/proc/sys" }
}

/// A value must reach the kernel whole: a second write would be a second value.
fn write_once(file: &mut std::fs::File, bytes: &[u8]) -> io::Result<()> {
    let n = file.write(bytes)?;
    if n == bytes.len() { Ok(()) } else { Err(io::Error::other(format!("the kernel took {n} of {} bytes", bytes.len()))) }
}

/// The one in use of a choice the kernel shows as `none [mq-deadline] kyber`; otherwise the value itself.
fn selected(value: &str) -> &str {
    value.split(' ').find_map(|word| word.strip_prefix('[')?.strip_suffix(']')).unwrap_or(value)
}

/// Whether both mean the same: equal, or equal as whole numbers (`0x10` and `16`).
pub fn same_value(a: &str, b: &str) -> bool {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok(),
        None => text.parse::<i128>().ok(),
    };
    let (a, b): (Vec<&str>, Vec<&str>) = (a.split(' ').collect(), b.split(' ').collect());
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || matches!((number(a), number(b)), (Some(a), Some(b)) if a == b))
}

impl SetSysctl {
    fn knob(&self) -> Result<Knob<'_>, ChangeError> {
        Ok(Knob { name: &self.key, file: sysctl_path(&self.key).map_err(ChangeError::new)? })
    }
}

/// Why a sysctl may be missing.
const NO_SYSCTL: &str = "misspelt, its kernel module is not loaded, or it is not there in this network namespace";

impl Act for SetSysctl {
    fn describe(&self) -> String {
        format!("set {} to {}", self.key, self.value)
    }

    fn describe_with(&self, before: &dyn View) -> String {
        self.knob().map_or_else(|_| self.describe(), |k| k.describe_with(before, &normalise(&self.value)))
    }

    fn diff(&self, before: &dyn View) -> Option<Diff> {
        self.knob().ok()?.diff(before, &normalise(&self.value))
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        let knob = self.knob()?;
        let path = knob.check(overlay, NO_SYSCTL)?;
        let old = overlay.read_text(&path).unwrap_or_default();
        // The kernel separates the fields of number lists with tabs.
        let separator = if old.contains('\t') { "\t" } else { " " };
        overlay.set_content(&path, format!("{}\n", normalise(&self.value).replace(' ', separator)));
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        let knob = self.knob()?;
        knob.check(&Overlay::new(&RealHost), NO_SYSCTL)?;
        knob.write(&self.value)?;
        Ok(Outcome::default())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        let knob = self.knob()?;
        // Some are write-only (`net.ipv4.route.flush`).
        if view.stat(&knob.file, true)?.is_some_and(|s| s.mode & 0o444 == 0) {
            return Ok(());
        }
        let found = normalise(&view.read_text(&knob.file)?);
        let wanted = normalise(&self.value);
        if same_value(&found, &wanted) {
            return Ok(());
        }
        Err(ChangeError::new(format!("{} should be `{wanted}` now, but the kernel made it `{found}`", self.key)))
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        let knob = self.knob().map_err(|e| e.message)?;
        let value = normalise(&before.read_text(&knob.file).map_err(|e| e.to_string())?);
        Ok(vec![Change::SetSysctl(SetSysctl { key: self.key.clone(), value })])
    }
}

/// Settings of a disk's queue that make the kernel compute another one anew, from what it never shows: the scheduler
/// (block/blk-mq-sched.c of Linux) and the largest request (block/blk-settings.c).
pub const RESETS: &[(&str, &str)] = &[("scheduler", "nr_requests"), ("max_sectors_kb", "read_ahead_kb")];

/// Why a sysfs attribute may be missing.
const NO_ATTRIBUTE: &str = "no such device, or its driver or this kernel does not have the setting";

impl SetSysfs {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Where it is, and what the file would hold. Fails where the value is none of the choices it shows.
    fn prepare(&self, view: &Overlay<'_>) -> Result<(PathBuf, String), ChangeError> {
        let name = self.name();
        if !self.path.starts_with("/sys") {
            return Err(ChangeError::new(format!("{name} is not under /sys")));
        }
        let knob = Knob { name: &name, file: self.path.clone() };
        let path = knob.check(view, NO_ATTRIBUTE)?;
        let value = self.value.trim();
        let old = match view.read_text(&self.path) {
            Ok(text) => normalise(&text),
            Err(e @ ViewError::Unknown(_)) => return Err(e.into()),
            // Write-only ones show nothing.
            Err(_) => String::new(),
        };
        let choices: Vec<&str> = old.split(' ').map(|w| w.trim_start_matches('[').trim_end_matches(']')).collect();
        if selected(&old) == old {
            return Ok((path, format!("{value}\n")));
        }
        if !choices.contains(&value) {
            return Err(ChangeError::new(format!("{name} can't be `{value}`: this host offers {}", choices.join(", "))));
        }
        let line: Vec<String> = choices.iter().map(|c| if *c == value { format!("[{c}]") } else { (*c).to_owned() }).collect();
        Ok((path, format!("{}\n", line.join(" "))))
    }
}

impl Act for SetSysfs {
    fn describe(&self) -> String {
        format!("set {} to {}", self.path.display(), self.value)
    }

    fn describe_with(&self, before: &dyn View) -> String {
        if self.reset {
            return self.describe();
        }
        Knob { name: &self.name(), file: self.path.clone() }.describe_with(before, self.value.trim())
    }

    fn diff(&self, before: &dyn View) -> Option<Diff> {
        if self.reset {
            return None;
        }
        Knob { name: &self.name(), file: self.path.clone() }.diff(before, self.value.trim())
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        let (path, content) = self.prepare(overlay)?;
        overlay.set_content(path, content);
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        self.prepare(&Overlay::new(&RealHost))?;
        Knob { name: &self.name(), file: self.path.clone() }.write(self.value.trim())?;
        Ok(Outcome::default())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        if view.stat(&self.path, true)?.is_some_and(|s| s.mode & 0o444 == 0) {
            return Ok(());
        }
        let found = normalise(&view.read_text(&self.path)?);
        let wanted = normalise(&self.value);
        if same_value(selected(&found), &wanted) {
            return Ok(());
        }
        let (path, found) = (self.path.display(), selected(&found));
        Err(ChangeError::new(format!(
            "{path} should be `{wanted}` now, but the kernel made it `{found}`: ask for a value the device supports"
        )))
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        let back = |path: PathBuf| -> Result<Change, ViewError> {
            let value = normalise(&before.read_text(&path)?);
            Ok(Change::SetSysfs(SetSysfs { path, value: selected(&value).to_owned(), reset: false }))
        };
        let mut undo = vec![back(self.path.clone()).map_err(|e| e.to_string())?];
        let reset = RESETS.iter().find(|(by, _)| self.path.ends_with(Path::new("queue").join(by)));
        // Setting it back resets the other one again. Not every disk has that.
        undo.extend(reset.and_then(|(_, other)| back(self.path.with_file_name(other)).ok()));
        Ok(undo)
    }
}

impl SetMtu {
    fn file(&self) -> PathBuf {
        Path::new("/sys/class/net").join(&self.link).join("mtu")
    }

    /// Where the value shows. Fails where there is no such interface or no such size.
    fn prepare(&self, view: &Overlay<'_>) -> Result<PathBuf, ChangeError> {
        let link = &self.link;
        // `IFNAMSIZ` is 16 with the zero byte; an interface's name is one path component.
        if link.is_empty() || link.len() > 15 || link.contains('/') || link.contains('\0') || link == "." || link == ".." {
            return Err(ChangeError::new(format!("`{link}` is no name of an interface")));
        }
        // Least an IPv4 host must take (RFC 791), and the most an IP packet's length field can say.
        if !(68..=65_536).contains(&self.mtu) {
            return Err(ChangeError::new(format!("an MTU of {} is not possible: it must be 68 to 65536", self.mtu)));
        }
        if view.stat(&self.file(), true)?.is_none() {
            return Err(ChangeError::new(format!("there is no interface {link} on this host")));
        }
        if !is_root_or(view, None) {
            return Err(ChangeError::new(format!("the MTU of {link} can't be set: only root may; use `become: true`")));
        }
        Ok(view.resolve(&self.file(), true)?)
    }
}

impl Act for SetMtu {
    fn describe(&self) -> String {
        format!("set the MTU of {} to {}", self.link, self.mtu)
    }

    fn describe_with(&self, before: &dyn View) -> String {
        match before.read_text(&self.file()) {
            Ok(old) => format!("set the MTU of {}: {} → {}", self.link, old.trim(), self.mtu),
            Err(_) => self.describe(),
        }
    }

    fn diff(&self, before: &dyn View) -> Option<Diff> {
        Knob { name: &format!("MTU of {}", self.link), file: self.file() }.diff(before, &self.mtu.to_string())
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        let path = self.prepare(overlay)?;
        overlay.set_content(path, format!("{}\n", self.mtu));
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        self.prepare(&Overlay::new(&RealHost))?;
        set_mtu(&self.link, self.mtu).map_err(|e| match e.raw_os_error() {
            Some(libc::EINVAL | libc::ERANGE) => ChangeError::new(format!(
                "{} does not take an MTU of {}: its driver, or the interface below it, allows less",
                self.link, self.mtu
            )),
            _ => io_error("set the MTU of", Path::new(&self.link), &e),
        })?;
        Ok(Outcome::default())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        let found = view.read_text(&self.file())?;
        if found.trim() == self.mtu.to_string() {
            return Ok(());
        }
        Err(ChangeError::new(format!("the MTU of {} should be {} now, but is {}", self.link, self.mtu, found.trim())))
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        let old = before.read_text(&self.file()).map_err(|e| e.to_string())?;
        let mtu = old.trim().parse().map_err(|_| format!("the MTU of {} was `{}`", self.link, old.trim()))?;
        Ok(vec![Change::SetMtu(SetMtu { link: self.link.clone(), mtu })])
    }
}

/// `SIOCSIFMTU`: works in the process's own network namespace, whatever `/sys` shows.
fn set_mtu(link: &str, mtu: u32) -> io::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    use std::os::fd::AsRawFd;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: `ifreq` is plain data for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(link.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_mtu = libc::c_int::try_from(mtu).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the request is valid for the call, which only reads it.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFMTU as _, &request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Blank;

    #[test]
    fn keys_become_paths_as_sysctl_does_it() {
        let path = |key: &str| sysctl_path(key).map(|p| p.to_string_lossy().trim_start_matches("/proc/sys/").to_owned());
        assert_eq!(path("net.core.somaxconn").unwrap(), "net/core/somaxconn");
        assert_eq!(path("net/core/somaxconn").unwrap(), "net/core/somaxconn");
        assert_eq!(path("net.ipv4.conf.eth0/100.rp_filter").unwrap(), "net/ipv4/conf/eth0.100/rp_filter");
        assert_eq!(path("net/ipv4/conf/eth0.100/rp_filter").unwrap(), "net/ipv4/conf/eth0.100/rp_filter");
        assert_eq!(path("net.ipv6.conf.eth0.100.mtu").unwrap(), "net/ipv6/conf/eth0.100/mtu");
        for bad in ["", "net..core", "net/../../etc/passwd", ".", "net."] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    fn host() -> Overlay<'static> {
        let mut host = Overlay::new(&Blank);
        host.set_file("/proc/sys/net/core/somaxconn", "4096\n", 0o644, 0, 0);
        host.set_file("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n", 0o644, 0, 0);
        host.set_file("/proc/sys/net/core/rmem_max", "212992\n", 0o444, 0, 0);
        host.set_file("/sys/devices/b/queue/scheduler", "none [mq-deadline] kyber \n", 0o644, 0, 0);
        host.set_link("/sys/block/sda", "../devices/b");
        host
    }

    fn sysctl(key: &str, value: &str) -> Change {
        Change::SetSysctl(SetSysctl { key: key.into(), value: value.into() })
    }

    #[test]
    fn a_dry_run_predicts_sysctls_and_their_failures() {
        let mut over = host();
        let change = sysctl("net.core.somaxconn", "65535");
        assert_eq!(change.describe_with(&over), "set net.core.somaxconn: 4096 → 65535");
        assert!(change.verify(&over).unwrap_err().message.contains("should be `65535` now, but the kernel made it `4096`"));
        assert_eq!(change.undo(&over).unwrap(), [sysctl("net.core.somaxconn", "4096")]);
        change.predict(&mut over).unwrap();
        change.verify(&over).unwrap();
        let change = sysctl("net.ipv4.tcp_rmem", "4096  87380 16777216");
        change.predict(&mut over).unwrap();
        change.verify(&over).unwrap();
        assert_eq!(over.read_text(Path::new("/proc/sys/net/ipv4/tcp_rmem")).unwrap(), "4096\t87380\t16777216\n");
        assert!(sysctl("net.core.nope", "1").predict(&mut over).unwrap_err().message.contains("net.core.nope does not exist on this host"));
        assert!(sysctl("net.core.rmem_max", "1").predict(&mut over).unwrap_err().message.contains("read-only"));
    }

    #[test]
    fn a_choice_moves_its_brackets() {
        let mut over = host();
        let path = PathBuf::from("/sys/block/sda/queue/scheduler");
        let change = Change::SetSysfs(SetSysfs { path: path.clone(), value: "none".into(), reset: false });
        assert_eq!(change.describe_with(&over), "set /sys/block/sda/queue/scheduler: mq-deadline → none");
        let back = change.undo(&over).unwrap();
        change.predict(&mut over).unwrap();
        assert_eq!(over.read_text(&path).unwrap(), "[none] mq-deadline kyber\n");
        change.verify(&over).unwrap();
        back[0].predict(&mut over).unwrap();
        assert_eq!(over.read_text(&path).unwrap(), "none [mq-deadline] kyber\n");
        let wrong = Change::SetSysfs(SetSysfs { path, value: "bfq".into(), reset: false });
        assert!(wrong.predict(&mut over).unwrap_err().message.contains("this host offers none, mq-deadline, kyber"));
    }

    #[test]
    fn values_are_compared_by_meaning() {
        assert!(same_value("1 2", "1 2"));
        assert!(same_value("16", "0x10"));
        assert!(!same_value("1 2", "1 2 3"));
        assert_eq!(selected("always [madvise] never"), "madvise");
        assert_eq!(normalise(" 1\t 2\n"), "1 2");
    }
}
