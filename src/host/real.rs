//! The machine the agent runs on.

use super::probe;
use super::view::READ_LIMIT;
use super::{FileKind, Mount, Probe, Stat, UnitState, View, ViewError};
use nix::libc;
use std::ffi::{CString, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The host itself, seen with the rights of the process's effective user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealHost;

/// Where programs are looked for after `PATH`: a login over SSH often lacks the `sbin` folders.
pub const PROGRAM_FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// An I/O error's words: lower case, without the number.
pub(crate) fn words(e: &io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "unknown error".into(),
    }
}

/// "cannot `what` `path`: why", or `NotFound`.
fn failed(what: &str, path: &Path, e: &io::Error) -> ViewError {
    match e.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => ViewError::NotFound(path.to_owned()),
        _ => ViewError::Failed(format!("cannot {what} {}: {}", path.display(), words(e))),
    }
}

/// Paths are absolute: what a relative one means would depend on where the agent was started.
pub(crate) fn absolute(path: &Path) -> Result<(), ViewError> {
    if path.is_absolute() { Ok(()) } else { Err(ViewError::Failed(format!("`{}` is not an absolute path", path.display()))) }
}

/// Devices read at once: enough to keep a storage host's disks busy, few enough for its memory.
pub(super) const DEVICES_AT_ONCE: usize = 16;

impl View for RealHost {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ViewError> {
        absolute(path)?;
        // Not to hang on a FIFO; no effect on regular files.
        let file =
            std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(|e| failed("read", path, &e))?;
        let meta = file.metadata().map_err(|e| failed("read", path, &e))?;
        if !meta.is_file() {
            let what = if meta.is_dir() { "a directory" } else { "not a regular file" };
            return Err(ViewError::Failed(format!("cannot read {}: it is {what}", path.display())));
        }
        let mut bytes = Vec::new();
        file.take(READ_LIMIT + 1).read_to_end(&mut bytes).map_err(|e| failed("read", path, &e))?;
        if bytes.len() as u64 > READ_LIMIT {
            return Err(ViewError::Failed(format!("cannot read {}: it is over the limit of {} MiB", path.display(), READ_LIMIT >> 20)));
        }
        Ok(bytes)
    }

    fn stat(&self, path: &Path, follow: bool) -> Result<Option<Stat>, ViewError> {
        absolute(path)?;
        let meta = if follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
        match meta {
            Ok(meta) => Ok(Some(stat_of(&meta))),
            Err(e) => match failed("look at", path, &e) {
                ViewError::NotFound(_) => Ok(None),
                other => Err(other),
            },
        }
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf, ViewError> {
        absolute(path)?;
        std::fs::read_link(path).map_err(|e| match e.raw_os_error() {
            Some(libc::EINVAL) => ViewError::Failed(format!("{} is not a symbolic link", path.display())),
            _ => failed("read the link", path, &e),
        })
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, ViewError> {
        absolute(path)?;
        let entries = std::fs::read_dir(path).map_err(|e| match e.raw_os_error() {
            Some(libc::ENOTDIR) if path.symlink_metadata().is_ok() => ViewError::Failed(format!("{} is not a directory", path.display())),
            _ => failed("list", path, &e),
        })?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| failed("list", path, &e))?.file_name();
            let name = name
                .into_string()
                .map_err(|name| ViewError::Failed(format!("{} holds a name that is not UTF-8: {}", path.display(), name.display())))?;
            names.push(name);
        }
        names.sort_unstable();
        Ok(names)
    }

    fn mounts(&self) -> Result<Vec<Mount>, ViewError> {
        let text = self.read(Path::new("/proc/self/mountinfo"))?;
        Ok(parse_mountinfo(&text))
    }

    fn probe(&self, path: &Path) -> Result<Probe, ViewError> {
        absolute(path)?;
        probe::probe_device(path)
    }

    fn probe_all(&self, paths: &[PathBuf]) -> Vec<Result<Probe, ViewError>> {
        if let [one] = paths {
            return vec![self.probe(one)];
        }
        let mut all = Vec::with_capacity(paths.len());
        for some in paths.chunks(DEVICES_AT_ONCE) {
            std::thread::scope(|scope| {
                let threads: Vec<_> = some.iter().map(|path| scope.spawn(|| self.probe(path))).collect();
                let lost = |path: &PathBuf| ViewError::Failed(format!("cannot read {}: the thread that did was cut off", path.display()));
                all.extend(threads.into_iter().zip(some).map(|(t, path)| t.join().unwrap_or_else(|_| Err(lost(path)))));
            });
        }
        all
    }

    fn holds(&self, path: &Path, uuid: &str) -> Result<bool, ViewError> {
        absolute(path)?;
        let has = |probe: Probe| probe.signatures.iter().any(|s| s.uuid.as_deref() == Some(uuid));
        // Most are told by their beginning, a twentieth of what a probe reads.
        Ok(has(probe::probe_beginning(path)?) || has(self.probe(path)?))
    }

    fn is_held(&self, path: &Path) -> bool {
        let taken = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_EXCL | libc::O_NONBLOCK).open(path);
        taken.is_err_and(|e| e.raw_os_error() == Some(libc::EBUSY))
    }

    fn unit(&self, name: &str) -> Result<UnitState, ViewError> {
        let systemctl = self.program("systemctl").ok_or_else(|| {
            ViewError::Failed(format!("the state of {name} cannot be told: this host has no systemd (`systemctl` is not installed)"))
        })?;
        let output = Command::new(systemctl)
            .args(["show", "--no-pager", "--", name])
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| ViewError::Failed(format!("cannot run systemctl: {}", words(&e))))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ");
            return Err(ViewError::Failed(format!("the state of {name} cannot be told: systemd does not answer here ({said})")));
        }
        let state = parse_unit(&String::from_utf8_lossy(&output.stdout));
        if state.load.is_empty() {
            return Err(ViewError::Failed(format!("the state of {name} cannot be told: `systemctl show` printed no LoadState")));
        }
        Ok(state)
    }

    fn xattrs(&self, path: &Path) -> Result<Vec<(String, Vec<u8>)>, ViewError> {
        absolute(path)?;
        xattrs_of(path).map_err(|e| failed("read the extended attributes of", path, &e))
    }

    fn has_rights(&self) -> bool {
        true
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        if name.is_empty() {
            return None;
        }
        if name.contains('/') {
            let path = PathBuf::from(name);
            return executable(&path).then_some(path);
        }
        let from_environment = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&from_environment)
            .filter(|folder| folder.is_absolute())
            .chain(PROGRAM_FOLDERS.iter().map(PathBuf::from))
            .map(|folder| folder.join(name))
            .find(|path| executable(path))
    }
}

/// Whether `path` is a regular file somebody may execute.
fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0)
}

/// Our [`Stat`] from the system's.
pub(crate) fn stat_of(meta: &std::fs::Metadata) -> Stat {
    let kind = meta.file_type();
    let kind = if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_symlink() {
        FileKind::Symlink
    } else if kind.is_block_device() {
        FileKind::Block
    } else if kind.is_char_device() {
        FileKind::Char
    } else if kind.is_fifo() {
        FileKind::Fifo
    } else if kind.is_socket() {
        FileKind::Socket
    } else {
        FileKind::File
    };
    let time = |seconds: i64, nanoseconds: i64| seconds as f64 + nanoseconds as f64 / 1e9;
    Stat {
        kind,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        size: meta.size(),
        mtime: time(meta.mtime(), meta.mtime_nsec()),
        atime: time(meta.atime(), meta.atime_nsec()),
        ctime: time(meta.ctime(), meta.ctime_nsec()),
        ino: meta.ino(),
        nlink: meta.nlink(),
        dev: meta.dev(),
        rdev: (libc::major(meta.rdev()), libc::minor(meta.rdev())),
    }
}

/// All extended attributes of `path` itself, sorted by name; none where the filesystem has no such thing.
pub(crate) fn xattrs_of(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let c_path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: both pointers are valid for the lengths given; the path ends in a zero byte.
    let names = sized(|buffer| unsafe { libc::llistxattr(c_path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) })?;
    let Some(names) = names else { return Ok(vec![]) };
    let mut all = Vec::new();
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let c_name = CString::new(name)?;
        // SAFETY: as above.
        let value = sized(|buffer| unsafe { libc::lgetxattr(c_path.as_ptr(), c_name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) });
        match value {
            Ok(Some(value)) => all.push((String::from_utf8_lossy(name).into_owned(), value)),
            // Taken away meanwhile, or listed but not readable (`security.*` of some kernels).
            Ok(None) => {}
            Err(e) if e.raw_os_error() == Some(libc::ENODATA) => {}
            Err(e) => return Err(e),
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// Calls `get` with ever larger buffers; `None`: not supported there.
fn sized(mut get: impl FnMut(&mut [u8]) -> isize) -> io::Result<Option<Vec<u8>>> {
    // The kernel's limits are 64 KiB for one value and for the list of names.
    let mut buffer = vec![0u8; 1 << 10];
    loop {
        let n = get(&mut buffer);
        if let Ok(n) = usize::try_from(n) {
            buffer.truncate(n);
            return Ok(Some(buffer));
        }
        let e = io::Error::last_os_error();
        match e.raw_os_error() {
            Some(libc::ERANGE) if buffer.len() < 1 << 17 => buffer.resize(buffer.len() * 4, 0),
            Some(libc::ENOTSUP) => return Ok(None),
            _ => return Err(e),
        }
    }
}

/// `/proc/self/mountinfo`, as proc_pid_mountinfo(5) describes it. Lines that are not of that form are left out.
pub(crate) fn parse_mountinfo(text: &[u8]) -> Vec<Mount> {
    text.split(|b| *b == b'\n').filter_map(parse_mount).collect()
}

/// One line: `36 35 98:0 /root /target rw,noatime shared:1 - xfs /dev/sda rw,inode64`.
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ').filter(|f| !f.is_empty());
    let (major, minor) = std::str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?;
    let root = fields.next()?;
    let target = fields.next()?;
    let own = std::str::from_utf8(fields.next()?).ok()?;
    fields.find(|f| *f == b"-")?;
    let fstype = fields.next()?;
    // An empty source is written as nothing at all: then the next field is the last one.
    let source = fields.next()?;
    let whole = std::str::from_utf8(fields.next().unwrap_or_default()).unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(&unescape(bytes)).into_owned();
    Some(Mount {
        target: PathBuf::from(OsString::from_vec(unescape(target))),
        source: text(source),
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: text(root),
        fstype: text(fstype),
        options: merge_options(own, whole),
    })
}

/// The mount's options and the superblock's together. Read-only wins: either makes writing fail.
fn merge_options(own: &str, whole: &str) -> Vec<String> {
    let all = || own.split(',').chain(whole.split(',')).filter(|o| !o.is_empty());
    let read_only = all().any(|o| o == "ro");
    let mut options = vec![if read_only { "ro".to_owned() } else { "rw".to_owned() }];
    for option in all().filter(|o| !matches!(*o, "ro" | "rw")) {
        let option = String::from_utf8_lossy(&unescape(option.as_bytes())).into_owned();
        if !options.contains(&option) {
            options.push(option);
        }
    }
    options
}

/// Undoes the kernel's escapes of blanks and backslashes: `\040` and so on.
pub(crate) fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'\\'
            && let Some(digits) = after.first_chunk::<3>()
            && digits.iter().all(|d| (b'0'..=b'7').contains(d))
        {
            let value = digits.iter().fold(0u32, |sum, d| sum * 8 + u32::from(d - b'0'));
            if let Ok(byte) = u8::try_from(value) {
                out.push(byte);
                rest = after.get(3..).unwrap_or_default();
                continue;
            }
        }
        out.push(*first);
    }
    out
}

/// What `systemctl show` printed.
pub(crate) fn parse_unit(text: &str) -> UnitState {
    let properties: Vec<(String, String)> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let get = |name: &str| properties.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()).unwrap_or_default();
    UnitState { load: get("LoadState"), active: get("ActiveState"), sub: get("SubState"), file: get("UnitFileState"), properties }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_with_escapes_optional_fields_and_read_only() {
        let text = b"22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw,discard\n\
            36 22 7:3 / /data/disk\\040one rw,noatime shared:7 master:1 - xfs /dev/sdb rw,attr2,inode64\n\
            37 22 7:3 /sub /data/b\\134c ro,noatime - xfs /dev/sdb rw,inode64\n\
            not a mount\n";
        let mounts = parse_mountinfo(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[1].target, Path::new("/data/disk one"));
        assert_eq!(mounts[1].device, (7, 3));
        assert_eq!(mounts[1].fstype, "xfs");
        assert_eq!(mounts[1].options, ["rw", "noatime", "attr2", "inode64"]);
        assert_eq!(mounts[2].target, Path::new("/data/b\\c"));
        assert_eq!((mounts[2].root.as_str(), mounts[2].options[0].as_str()), ("/sub", "ro"));
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let host = RealHost;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        std::fs::write(path.join("b"), "hello").unwrap();
        std::fs::create_dir(path.join("a")).unwrap();
        std::os::unix::fs::symlink("b", path.join("c")).unwrap();
        std::os::unix::fs::symlink("nowhere", path.join("d")).unwrap();
        assert_eq!(host.list(path).unwrap(), ["a", "b", "c", "d"]);
        assert_eq!(host.read(&path.join("c")).unwrap(), b"hello");
        assert_eq!(host.stat(&path.join("c"), false).unwrap().unwrap().kind, FileKind::Symlink);
        assert_eq!(host.stat(&path.join("c"), true).unwrap().unwrap().size, 5);
        assert_eq!(host.stat(&path.join("d"), true).unwrap(), None);
        assert_eq!(host.stat(&path.join("b/x"), true).unwrap(), None);
        assert_eq!(host.read_link(&path.join("d")).unwrap(), Path::new("nowhere"));
        assert_eq!(host.read(&path.join("d")), Err(ViewError::NotFound(path.join("d"))));
        assert!(host.read(path).unwrap_err().to_string().contains("is a directory"));
        assert!(host.list(&path.join("b")).unwrap_err().to_string().contains("not a directory"));
        assert!(host.read(Path::new("/dev/zero")).unwrap_err().to_string().contains("not a regular file"));
        assert!(host.read(Path::new("etc/passwd")).unwrap_err().to_string().contains("absolute"));
        assert!(host.mounts().unwrap().iter().any(|m| m.target == Path::new("/")));
        assert!(host.program("sh").is_some());
        assert_eq!(host.program("no-such-program-at-all"), None);
    }

    #[test]
    fn units_are_told_of_or_the_missing_manager_is_named() {
        match RealHost.unit("no-such-unit-at-all.service") {
            Ok(state) => assert_eq!(state.load, "not-found"),
            Err(e) => assert!(e.to_string().contains("systemd") && !Path::new("/run/systemd/system").exists(), "{e}"),
        }
    }

    #[test]
    fn unit_properties_are_read() {
        let state = parse_unit(
            "Type=notify\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nExecStart={ path=/a ; argv[]=/a b=c }\n",
        );
        assert_eq!(
            (state.load.as_str(), state.active.as_str(), state.sub.as_str(), state.file.as_str()),
            ("loaded", "active", "running", "enabled")
        );
        assert_eq!(state.properties.last().unwrap().1, "{ path=/a ; argv[]=/a b=c }");
    }
}
