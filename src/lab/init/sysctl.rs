//! Stand-ins for sysctls that are the whole machine's.
//!
//! A network namespace has its own `net.*`, more or less: `net.core.rmem_max` and `net.ipv4.tcp_mem` are shared. `vm.*`,
//! `kernel.*` and `fs.*` are always the machine's. A lab must not turn the machine's knobs, but hosts without them
//! can't be prepared. So a host sees plain files there, with the machine's values of the moment: they take and
//! remember anything, and nothing comes of it.

use super::root::bind;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Where sysctls live.
const SYS: &str = "/proc/sys";
/// Folders that are the machine's as a whole.
const SHARED: [&str; 3] = ["vm", "kernel", "fs"];
/// Partly a namespace's, partly the machine's.
const MIXED: [&str; 2] = ["net/core", "net/ipv4"];
/// Where the namespace's own part of a mixed folder stands within it.
const OWN: &str = ".namespace";

/// One of the machine's sysctls.
#[derive(Clone, Debug)]
pub struct Value {
    text: Vec<u8>,
    folder: bool,
    mode: u32,
}

/// What the machine has in the mixed folders: folder to names to values.
pub type MachineValues = BTreeMap<&'static str, BTreeMap<String, Value>>;

/// Reads what a network namespace shows only in part; so before stepping into one.
pub fn machine_values() -> MachineValues {
    MIXED.into_iter().map(|folder| (folder, values(&Path::new(SYS).join(folder)))).collect()
}

fn values(folder: &Path) -> BTreeMap<String, Value> {
    let Ok(files) = fs::read_dir(folder) else { return BTreeMap::new() };
    let value = |file: fs::DirEntry| {
        let meta = file.metadata().ok()?;
        // Some can only be written (net.ipv4.route.flush).
        let text = fs::read(file.path()).unwrap_or_default();
        Some((file.file_name().into_string().ok()?, Value { text, folder: meta.is_dir(), mode: meta.permissions().mode() }))
    };
    files.flatten().filter_map(value).collect()
}

/// Covers the host's view of the machine's sysctls.
pub fn stand_ins(base: &Path, root: &Path, host: &str, machine: &MachineValues) -> io::Result<()> {
    let sys = root.join("proc/sys");
    for name in SHARED {
        let (from, to) = (sys.join(name), base.join("sysctl").join(name));
        copy(&from, &to)?;
        if name == "kernel" {
            fs::write(to.join("hostname"), format!("{host}\n"))?;
            // Every read of kernel.random.uuid gives another one; a copy would not.
            if from.join("random").is_dir() {
                bind(&from.join("random"), &to.join("random"))?;
            }
        }
        bind(&to, &from)?;
    }
    for (name, values) in machine {
        let (from, to) = (sys.join(name), base.join("sysctl").join(name));
        fs::create_dir_all(to.join(OWN))?;
        bind(&from, &to.join(OWN))?;
        for (name, value) in values {
            // The namespace's own, unless it only shows what the machine can set (net.core.rmem_max).
            let own = fs::metadata(from.join(name))
                .is_ok_and(|meta| value.folder || meta.permissions().mode() & 0o200 != 0 || value.mode & 0o200 == 0);
            match own {
                true => symlink(Path::new(OWN).join(name), to.join(name))?,
                false if value.folder => {}
                false => fs::write(to.join(name), &value.text)?,
            }
        }
        bind(&to, &from)?;
    }
    Ok(())
}

/// Copies a folder of sysctls, as far as they can be read, with their modes.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
            continue;
        }
        let mode = entry.metadata()?.permissions().mode();
        // Some can only be written (vm.drop_caches), some need hardware: those begin empty.
        fs::write(&target, fs::read(entry.path()).unwrap_or_default())?;
        fs::set_permissions(&target, Permissions::from_mode(mode))?;
    }
    Ok(())
}
