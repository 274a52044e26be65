//! What of a lab is there now, asked of the kernel and never of our own notes: processes, links, loop devices.

use super::names::{ALIAS, IMAGES};
use std::fs;
use std::path::{Path, PathBuf};

/// The arguments with which a host's PID 1 runs, before the lab's and the host's name.
pub const INIT_ARGUMENTS: [&str; 2] = ["lab", "init"];

/// A host's PID 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// Its process id as this machine counts.
    pub pid: i32,
    /// The lab it belongs to.
    pub lab: String,
    /// The host it is.
    pub host: String,
}

/// Every PID 1 of every lab's hosts, and those that are on their way to be one.
pub fn inits() -> Vec<Init> {
    let mut found: Vec<_> = processes()
        .into_iter()
        .filter_map(|(pid, line)| {
            let (lab, host) = parse_init(&line)?;
            Some(Init { pid, lab, host })
        })
        .collect();
    found.sort_by(|a, b| (&a.lab, &a.host, a.pid).cmp(&(&b.lab, &b.host, b.pid)));
    found
}

/// All processes with their command lines; those that end meanwhile, and zombies, have none.
fn processes() -> Vec<(i32, Vec<String>)> {
    let Ok(all) = procfs::process::all_processes() else { return vec![] };
    all.flatten().filter_map(|p| Some((p.pid(), p.cmdline().ok()?))).filter(|(_, line)| !line.is_empty()).collect()
}

/// Lab and host out of a command line such as `fettle lab init default node01`.
fn parse_init(line: &[String]) -> Option<(String, String)> {
    match line {
        [_, first, second, lab, host, ..] if [first.as_str(), second.as_str()] == INIT_ARGUMENTS => Some((lab.clone(), host.clone())),
        _ => None,
    }
}

/// Processes of the control plane that keeps its things in `folder`, and of what plays its nodes.
pub fn control_planes(folder: &Path) -> Vec<i32> {
    let (data, stages) = (folder.to_string_lossy(), format!("--config={}/", folder.display()));
    let ours =
        |words: &[String]| words.windows(2).any(|w| w[0] == "--data" && w[1] == data) || words.iter().any(|w| w.starts_with(&stages));
    let mut found: Vec<i32> = processes().into_iter().filter(|(_, line)| ours(line)).map(|(pid, _)| pid).collect();
    found.sort_unstable();
    found
}

/// The PID 1 of one host: the one that is PID 1 in its own namespace.
pub fn init_of(lab: &str, host: &str) -> Option<i32> {
    inits().into_iter().filter(|init| init.lab == lab && init.host == host).map(|init| init.pid).find(|pid| is_first(*pid))
}

/// Whether a process is PID 1 of a namespace below ours.
fn is_first(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
        status.lines().find_map(|line| line.strip_prefix("NSpid:")).is_some_and(|ids| {
            let ids: Vec<_> = ids.split_whitespace().collect();
            ids.len() > 1 && ids.last() == Some(&"1")
        })
    })
}

/// A link on this machine that a lab made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// The lab it belongs to.
    pub lab: String,
    /// Whether it is the bridge.
    pub bridge: bool,
}

/// Every link that carries a lab's name in its alias.
pub fn links() -> Vec<Link> {
    let Ok(links) = fs::read_dir("/sys/class/net") else { return vec![] };
    links
        .flatten()
        .filter_map(|entry| {
            let alias = fs::read_to_string(entry.path().join("ifalias")).ok()?;
            let lab = alias.trim().strip_prefix(ALIAS)?.to_owned();
            Some(Link { name: entry.file_name().into_string().ok()?, lab, bridge: entry.path().join("bridge").is_dir() })
        })
        .collect()
}

/// Loop devices (`/dev/loopN`) over images in `folder`, deleted ones too.
pub fn loops(folder: &Path) -> Vec<PathBuf> {
    let Ok(disks) = fs::read_dir("/sys/block") else { return vec![] };
    let mut found: Vec<_> = disks
        .flatten()
        .filter(|entry| {
            fs::read_to_string(entry.path().join("loop/backing_file")).is_ok_and(|file| Path::new(file.trim_end()).starts_with(folder))
        })
        .map(|entry| Path::new("/dev").join(entry.file_name()))
        .collect();
    found.sort();
    found
}

/// Loop devices over any lab's images.
pub fn all_loops() -> Vec<PathBuf> {
    loops(Path::new(IMAGES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_is_known_by_its_arguments() {
        let parse = |line: &str| parse_init(&line.split('\0').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("/x/fettle\0lab\0init\0default\0node01\0"), Some(("default".into(), "node01".into())));
        assert_eq!(parse("/x/fettle\0lab\0up\0default\0node01\0"), None);
        assert_eq!(parse("grep\0lab init default node01\0"), None);
        assert_eq!(parse(""), None);
    }
}
