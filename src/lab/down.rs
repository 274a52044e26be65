//! Taking a lab away, whatever state it is in.

use super::names::{IMAGES, Lab, RUN};
use super::{failed, found, kubernetes, loops, needs, net, state};
use crate::diag::Diagnostic;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the kernel may take to bury processes and to let go of disks; it writes back what they hold.
const LIMIT: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(5);

/// Takes the lab `name` away. Says whether there was anything of it.
///
/// # Errors
/// Names what stays and why.
pub fn down(name: &str) -> Result<bool, Diagnostic> {
    let lab = Lab::new(name)?;
    needs::root("down")?;
    let there = state::all_names().iter().any(|known| known == name) || !found::loops(&lab.images()).is_empty();
    remove(&lab)?;
    Ok(there)
}

/// Takes every lab away. Gives their names.
///
/// # Errors
/// Names what stays and why; the other labs are gone.
pub fn down_all() -> Result<Vec<String>, Diagnostic> {
    needs::root("down")?;
    let names = state::all_names();
    let mut first = None;
    for name in &names {
        if let Err(why) = Lab::new(name).and_then(|lab| remove(&lab)) {
            first.get_or_insert(why);
        }
    }
    match first {
        None => Ok(names),
        Some(why) => Err(why),
    }
}

/// Removes everything of a lab, its notes last: what fails can be tried again.
pub(super) fn remove(lab: &Lab) -> Result<(), Diagnostic> {
    sweep(lab)?;
    remove_folder(&lab.run())?;
    for folder in [RUN, IMAGES] {
        // Only the last lab takes the common folder along.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// Removes processes, links, mounts, loop devices and images, but not the folder with the notes.
pub(super) fn sweep(lab: &Lab) -> Result<(), Diagnostic> {
    kubernetes::stop(lab)?;
    end_hosts(lab)?;
    net::remove(lab)?;
    release(lab)?;
    remove_folder(&lab.images())
}

/// Kills every PID 1; the kernel kills the rest of each host before that is gone.
fn end_hosts(lab: &Lab) -> Result<(), Diagnostic> {
    let ours = || found::inits().into_iter().filter(|init| init.lab == lab.name());
    let begin = Instant::now();
    loop {
        let left: Vec<_> = ours().collect();
        if left.is_empty() {
            return Ok(());
        }
        for init in &left {
            let _ = kill(Pid::from_raw(init.pid), Signal::SIGKILL);
        }
        if begin.elapsed() > LIMIT {
            let pids: Vec<_> = left.iter().map(|init| init.pid.to_string()).collect();
            return Err(Diagnostic::bare(format!("processes {} of lab `{}` do not die", pids.join(", "), lab.name()))
                .help("the kernel is waiting for a disk; try again in a while"));
        }
        std::thread::sleep(GLANCE);
    }
}

/// Unmounts what hangs on the lab's files in this machine's own mounts (somebody looked into a disk), and lets go
/// of the loop devices.
fn release(lab: &Lab) -> Result<(), Diagnostic> {
    let begin = Instant::now();
    loop {
        let loops = found::loops(&lab.images());
        for target in mounts_of(lab, &loops) {
            let _ = umount2(&target, MntFlags::empty());
        }
        let mut why = None;
        for device in &loops {
            if let Err(error) = loops::detach(device) {
                why = Some(failed(device.display(), error));
            }
        }
        let (loops, mounts) = (found::loops(&lab.images()), mounts_of(lab, &loops));
        match (loops.as_slice(), mounts.as_slice()) {
            ([], []) => return Ok(()),
            _ if begin.elapsed() < LIMIT => std::thread::sleep(GLANCE),
            (_, [mount, ..]) => {
                return Err(Diagnostic::bare(format!("{} is a mount of lab `{}` and in use", mount.display(), lab.name()))
                    .help(format!("umount {}, then down again", mount.display())));
            }
            ([device, ..], _) => {
                let busy = failed(device.display(), "still in use by something outside the lab");
                return Err(why.unwrap_or(busy).help("losetup -a lists loop devices; end what holds it, then down again"));
            }
        }
    }
}

/// Mounts in this machine's own view: of the lab's loop devices, and below its folders. Innermost first.
fn mounts_of(lab: &Lab, loops: &[PathBuf]) -> Vec<PathBuf> {
    let numbers: Vec<_> =
        loops.iter().filter_map(|path| Some(format!("7:{}", path.file_name()?.to_str()?.strip_prefix("loop")?))).collect();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut targets: Vec<_> = text.lines().filter_map(|line| parse_mount(line, lab, &numbers)).collect();
    targets.reverse();
    targets
}

fn parse_mount(line: &str, lab: &Lab, numbers: &[String]) -> Option<PathBuf> {
    let mut words = line.split(' ').skip(2);
    let number = words.next()?;
    // The kernel writes a space in a path as \040.
    let target = PathBuf::from(words.nth(1)?.replace("\\040", " "));
    let below = target.starts_with(lab.run()) || target.starts_with(lab.images());
    (below || numbers.iter().any(|known| known == number)).then_some(target)
}

fn remove_folder(path: &Path) -> Result<(), Diagnostic> {
    match fs::remove_dir_all(path) {
        Err(why) if why.kind() != ErrorKind::NotFound => Err(failed(path.display(), why)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_a_lab_are_found_by_device_and_by_place() -> Result<(), Diagnostic> {
        let lab = Lab::new("x")?;
        let find = |line: &str| parse_mount(line, &lab, &["7:3".to_owned()]);
        assert_eq!(find("40 27 7:3 / /mnt/a\\040b rw - xfs /dev/loop3 rw"), Some(PathBuf::from("/mnt/a b")));
        assert_eq!(find("40 27 7:30 / /mnt rw - xfs /dev/loop30 rw"), None);
        assert_eq!(find("40 27 0:9 / /run/fettle-lab/x/y rw - tmpfs t rw"), Some(PathBuf::from("/run/fettle-lab/x/y")));
        assert_eq!(find("40 27 0:9 / /run/fettle-lab/xy rw - tmpfs t rw"), None);
        Ok(())
    }
}
