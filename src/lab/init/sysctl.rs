//! Stand-ins for sysctls that are the whole machine's.
//!
//! A network namespace has its own `net.*`, more or less: `net.core.rmem_max` and its like are shared. `vm.*`,
//! `kernel.*` and `fs.*` are always the machine's. A lab must not turn the machine's knobs, but hosts without them
//! can't be prepared. So a host sees plain files there, with the machine's values of the moment: they take and
//! remember anything, and nothing comes of it.

use super::root::bind;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where sysctls live.
const SYS: &str = "/proc/sys";
/// Folders that are the machine's as a whole.
const SHARED: [&str; 3] = ["vm", "kernel", "fs"];
/// Partly a namespace's, partly the machine's.
const MIXED: &str = "net/core";

/// The machine's own values of `net.core.*`: file name to text.
pub type MachineValues = BTreeMap<String, Vec<u8>>;

/// Reads the machine's `net.core.*`, which a network namespace shows only in part; so before stepping into one.
pub fn machine_values() -> MachineValues {
    let Ok(files) = fs::read_dir(Path::new(SYS).join(MIXED)) else { return BTreeMap::new() };
    files.flatten().filter_map(|file| Some((file.file_name().into_string().ok()?, fs::read(file.path()).unwrap_or_default()))).collect()
}

/// Covers the host's view of the machine's sysctls.
pub fn stand_ins(base: &Path, root: &Path, host: &str, values: &MachineValues) -> io::Result<()> {
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
    let (from, to) = (sys.join(MIXED), base.join("sysctl/net.core"));
    fs::create_dir_all(&to)?;
    for (name, value) in values {
        let (real, file) = (from.join(name), to.join(name));
        fs::write(&file, value)?;
        let own = fs::metadata(&real).is_ok_and(|meta| meta.permissions().mode() & 0o200 != 0);
        if own {
            bind(&real, &file)?;
        }
    }
    bind(&to, &from)
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
