//! The host's devices: its own disks and nobody else's.

use super::Attached;
use super::root::{bind, bind_flags, tmpfs};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

/// Character devices: name, major and minor number (`Documentation/admin-guide/devices.txt` of the kernel), mode.
const CHARACTER: [(&str, u64, u64, u32); 7] = [
    ("null", 1, 3, 0o666),
    ("zero", 1, 5, 0o666),
    ("full", 1, 7, 0o666),
    ("random", 1, 8, 0o666),
    ("urandom", 1, 9, 0o666),
    ("kmsg", 1, 11, 0o600),
    ("tty", 5, 0, 0o666),
];
const LINKS: [(&str, &str); 5] = [("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")];
/// The major number of loop devices.
const LOOP_MAJOR: u64 = 7;
/// Group `disk` on Debian and most others.
const DISK_GROUP: u32 = 6;
/// What stands in `/sys` for the whole machine; hosts may look but not touch.
const MACHINE_WIDE: [&str; 5] = ["kernel", "module", "power", "devices/system", "firmware"];

/// Fills the host's `/dev`.
pub fn devices(root: &Path, disks: &[Attached]) -> io::Result<()> {
    let dev = root.join("dev");
    tmpfs(&dev, "mode=0755")?;
    for (name, major, minor, mode) in CHARACTER {
        node(&dev.join(name), SFlag::S_IFCHR, major, minor, mode)?;
    }
    for (name, target) in LINKS {
        symlink(target, dev.join(name))?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777)] {
        fs::create_dir(dev.join(name))?;
        fs::set_permissions(dev.join(name), Permissions::from_mode(mode))?;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    // gid 5 is `tty`: what login programs expect of a terminal.
    mount(Some("devpts"), &dev.join("pts"), Some("devpts"), flags, Some("newinstance,ptmxmode=0666,mode=0620,gid=5"))?;
    tmpfs(&dev.join("shm"), "mode=1777")?;
    for Attached { disk, device } in disks {
        let path = dev.join(&disk.name);
        node(&path, SFlag::S_IFBLK, LOOP_MAJOR, device.number.into(), 0o660)?;
        chown(&path, Some(0), Some(DISK_GROUP))?;
    }
    Ok(())
}

fn node(path: &Path, kind: SFlag, major: u64, minor: u64, mode: u32) -> io::Result<()> {
    mknod(path, kind, Mode::from_bits_truncate(mode), makedev(major, minor))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Shows the host's disks, under their names inside, wherever `/sys` and `/proc` list block devices.
pub fn block(base: &Path, root: &Path, disks: &[Attached]) -> io::Result<()> {
    let sys = root.join("sys");
    let all = sys.join("devices/virtual/block");
    // Their real folders go aside first: they are about to be covered.
    let own = base.join("block");
    fs::create_dir(&own)?;
    tmpfs(&own, "mode=0755")?;
    for Attached { disk, device } in disks {
        let target = own.join(&disk.name);
        fs::create_dir(&target)?;
        bind(&all.join(format!("loop{}", device.number)), &target)?;
    }
    mount(Some(&own), &all, None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    for (folder, up) in [("block", ".."), ("class/block", "../.."), ("dev/block", "../..")] {
        let path = sys.join(folder);
        if !path.is_dir() {
            continue;
        }
        tmpfs(&path, "mode=0755")?;
        for Attached { disk, device } in disks {
            let name = if folder == "dev/block" { format!("{LOOP_MAJOR}:{}", device.number) } else { disk.name.clone() };
            symlink(format!("{up}/devices/virtual/block/{}", disk.name), path.join(name))?;
        }
    }
    let mut partitions = String::from("major minor  #blocks  name\n\n");
    let mut statistics = String::new();
    for Attached { disk, device } in disks {
        partitions.push_str(&format!("{LOOP_MAJOR:4}  {:7}  {:9} {}\n", device.number, disk.bytes / 1024, disk.name));
        statistics.push_str(&format!("{LOOP_MAJOR:4}  {:6} {} 0 0 0 0 0 0 0 0 0 0 0\n", device.number, disk.name));
    }
    for (name, text) in [("partitions", partitions), ("diskstats", statistics)] {
        let file = base.join(name);
        fs::write(&file, text)?;
        bind(&file, &root.join("proc").join(name))?;
    }
    Ok(())
}

/// Makes what belongs to the whole machine read-only.
pub fn guard(root: &Path) -> io::Result<()> {
    for path in MACHINE_WIDE.map(|name| root.join("sys").join(name)).into_iter().chain([root.join("proc/sysrq-trigger")]) {
        if path.exists() {
            bind(&path, &path)?;
            bind_flags(&path, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV)?;
        }
    }
    Ok(())
}
