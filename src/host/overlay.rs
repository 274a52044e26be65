//! Predictions laid over a host: what it would look like after changes that were not made.
//!
//! Names and what they name are kept apart, as on a disk, so that hard links agree. Paths are resolved here,
//! component by component, through predicted and real links alike; keys are paths without links in them.

use super::real::absolute;
use super::rights::permits;
use super::{FileKind, Mount, Probe, Stat, UnitState, View, ViewError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};

mod blank;
mod look;
mod predict;
#[cfg(test)]
mod tests;

pub use blank::Blank;

/// As the kernel's limit on symbolic links in one path (`MAXSYMLINKS`).
const LINK_LIMIT: usize = 40;

/// A host with predicted changes. Looking at it costs little more than looking at what is below.
#[derive(Clone)]
pub struct Overlay<'a> {
    base: &'a dyn View,
    /// What is predicted for a path; absent: as below (unless a parent says otherwise).
    names: BTreeMap<PathBuf, Name>,
    nodes: Vec<Node>,
    /// Nodes made of files below that have several names there, by (device, inode).
    linked: HashMap<(u64, u64), usize>,
    probes: BTreeMap<PathBuf, Probe>,
    /// Devices with a predicted, never yet mounted filesystem: mounted, it is empty.
    fresh: BTreeSet<PathBuf>,
    /// The mount table, once it differs from the one below.
    mounts: Option<Vec<Mount>>,
    /// What predicted mounts cover: (target, names at and below it), in mount order.
    covered: Vec<(PathBuf, BTreeMap<PathBuf, Name>)>,
    units: BTreeMap<String, Result<UnitState, String>>,
    /// When systemd would have read the files of a unit, and, under the empty name, of all units: seconds since 1970.
    units_read: BTreeMap<String, f64>,
}

/// What is predicted of a name.
#[derive(Clone, Debug)]
enum Name {
    /// Nothing is there.
    Gone,
    /// A dry run can't know what is there, or below it.
    Unknown(String),
    /// This node.
    Node(usize),
}

/// A predicted file, directory, link or device.
#[derive(Clone, Debug)]
struct Node {
    stat: Stat,
    /// Why the attributes can't be known.
    unknown: Option<String>,
    body: Body,
    /// Where content and extended attributes still are as they were.
    below: Option<PathBuf>,
}

#[derive(Clone, Debug)]
enum Body {
    /// As at `below`; of a directory: names not predicted are as below.
    Below,
    /// A file's content.
    File(Vec<u8>),
    /// Where a symbolic link points.
    Link(PathBuf),
    /// A directory that holds only predicted names.
    Directory,
    /// A directory whose content can't be known.
    Unknown(String),
}

/// What a path leads to.
#[derive(Clone, Debug)]
enum Found {
    Nothing,
    Below(Stat),
    Node(usize),
    Unknown(String),
}

/// Where a path leads, and to what.
struct Place {
    /// Without links in it (but perhaps itself one).
    path: PathBuf,
    found: Found,
    /// Whether names in it that are not predicted are as below.
    see_through: bool,
}

impl std::fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay").field("names", &self.names).field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl<'a> Overlay<'a> {
    /// No predictions yet over `base`.
    pub fn new(base: &'a dyn View) -> Self {
        Self {
            base,
            names: BTreeMap::new(),
            nodes: vec![],
            linked: HashMap::new(),
            probes: BTreeMap::new(),
            fresh: BTreeSet::new(),
            mounts: None,
            covered: vec![],
            units: BTreeMap::new(),
            units_read: BTreeMap::new(),
        }
    }

    /// Whether anything at all is predicted.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.probes.is_empty() && self.mounts.is_none() && self.units.is_empty()
    }

    /// The group a new entry at `path` gets: its folder's if that has the setgid bit, else the process's.
    pub(crate) fn new_gid(&self, path: &Path) -> u32 {
        let parent = path.parent().and_then(|p| self.stat(p, true).ok().flatten());
        match parent {
            Some(stat) if stat.mode & 0o2000 != 0 => stat.gid,
            _ => nix::unistd::getegid().as_raw(),
        }
    }

    /// `path` without any link in it (the last component too if `follow`).
    pub fn resolve(&self, path: &Path, follow: bool) -> Result<PathBuf, ViewError> {
        Ok(self.walk(path, follow)?.path)
    }

    fn mount_table(&mut self) -> &mut Vec<Mount> {
        let base = self.base;
        self.mounts.get_or_insert_with(|| base.mounts().unwrap_or_default())
    }

    /// As `walk`; what can't be resolved stands where it says it stands.
    fn place(&self, path: &Path, follow: bool) -> Place {
        self.walk(path, follow).unwrap_or_else(|_| Place { path: path.to_owned(), found: Found::Nothing, see_through: true })
    }

    /// A new node at `path`, with directories above it.
    fn put(&mut self, path: PathBuf, mut node: Node) {
        self.parents(&path);
        if node.stat.dev == 0
            && let Some(Ok(Some(folder))) = path.parent().map(|p| self.stat(p, true))
        {
            node.stat.dev = folder.dev;
        }
        self.names.insert(path, Name::Node(self.nodes.len()));
        self.nodes.push(node);
    }

    /// Makes the missing folders above `path` (already resolved).
    fn parents(&mut self, path: &Path) {
        let Some(parent) = path.parent() else { return };
        let place = self.place(parent, true);
        if matches!(place.found, Found::Nothing) && parent != path {
            let node = Node { stat: new_stat(FileKind::Directory, 0o755, 0, 0), unknown: None, body: Body::Directory, below: None };
            self.put(place.path, node);
        }
    }

    /// Takes the names at and below `path` out and returns them.
    fn forget(&mut self, path: &Path) -> BTreeMap<PathBuf, Name> {
        let below: Vec<PathBuf> = self.names_below(path).map(|(p, _)| p.clone()).chain([path.to_owned()]).collect();
        below.into_iter().filter_map(|p| self.names.remove_entry(&p)).collect()
    }

    /// Predicted names below `path`. Paths are ordered by component, so they stand together.
    fn names_below<'s>(&'s self, path: &'s Path) -> impl Iterator<Item = (&'s PathBuf, &'s Name)> {
        self.names.range::<Path, _>((Bound::Excluded(path), Bound::Unbounded)).take_while(move |(p, _)| p.starts_with(path))
    }

    /// One name less for the file there: other names of it show that.
    fn unlink(&mut self, place: &Place) {
        let several = match &place.found {
            Found::Below(stat) => stat.kind != FileKind::Directory && stat.nlink > 1,
            Found::Node(i) => self.nodes.get(*i).is_some_and(|n| n.stat.kind != FileKind::Directory && n.stat.nlink > 1),
            _ => false,
        };
        if several && let Some(node) = self.node(place).and_then(|i| self.nodes.get_mut(i)) {
            node.stat.nlink -= 1;
        }
    }

    /// As `unlink`, for all files below too.
    fn unlink_tree(&mut self, place: &Place) {
        if self.kind(&place.found) != Some(FileKind::Directory) {
            return self.unlink(place);
        }
        for name in self.list(&place.path).unwrap_or_default() {
            let child = self.place(&place.path.join(name), false);
            self.unlink_tree(&child);
        }
    }

    /// The node at `place`, made from what is below where there is none yet; `None`: nothing is there, or nobody knows.
    fn node(&mut self, place: &Place) -> Option<usize> {
        match &place.found {
            Found::Node(i) => Some(*i),
            Found::Below(stat) => {
                let body = match stat.kind {
                    FileKind::Symlink => Body::Link(self.base.read_link(&place.path).ok()?),
                    _ => Body::Below,
                };
                let i = self.nodes.len();
                self.nodes.push(Node { stat: stat.clone(), unknown: None, body, below: Some(place.path.clone()) });
                self.names.insert(place.path.clone(), Name::Node(i));
                if stat.kind != FileKind::Directory && stat.nlink > 1 {
                    self.linked.insert((stat.dev, stat.ino), i);
                }
                Some(i)
            }
            Found::Nothing | Found::Unknown(_) => None,
        }
    }

    /// What is at `path`, whose parent is resolved. `see_through`: names not predicted are as below.
    fn look(&self, path: &Path, see_through: bool) -> Result<Found, ViewError> {
        Ok(match self.names.get(path) {
            Some(Name::Gone) => Found::Nothing,
            Some(Name::Unknown(why)) => Found::Unknown(why.clone()),
            Some(Name::Node(i)) => Found::Node(*i),
            None if !see_through => Found::Nothing,
            None => match self.base.stat(path, false)? {
                None => Found::Nothing,
                Some(stat) => match self.linked.get(&(stat.dev, stat.ino)) {
                    Some(i) if stat.nlink > 1 && stat.kind != FileKind::Directory => Found::Node(*i),
                    _ => Found::Below(stat),
                },
            },
        })
    }

    /// Follows `path` from the root.
    fn walk(&self, path: &Path, follow: bool) -> Result<Place, ViewError> {
        absolute(path)?;
        let mut todo: Vec<OsString> = components(path);
        let root = self.enter(PathBuf::from("/"), true)?;
        let mut trail = vec![root];
        let mut links = 0;
        while let Some(name) = todo.pop() {
            let Some(here) = trail.last() else { break };
            let child = here.path.join(&name);
            let nothing = |child: PathBuf, todo: &[OsString]| {
                let path = todo.iter().rev().fold(child, |path, name| path.join(name));
                Ok(Place { path, found: Found::Nothing, see_through: false })
            };
            match self.kind(&here.found) {
                None if matches!(here.found, Found::Unknown(_)) => {
                    let Found::Unknown(why) = &here.found else { break };
                    return Err(ViewError::Unknown(why.clone()));
                }
                Some(FileKind::Directory) => {}
                _ => return nothing(child, &todo),
            }
            self.permitted(&here.found, 0o1, "look at", &child)?;
            if name == ".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            if let Found::Node(i) = &here.found
                && let Some(Body::Unknown(why)) = self.nodes.get(*i).map(|n| &n.body)
                && !self.names.contains_key(&child)
            {
                return Err(ViewError::Unknown(why.clone()));
            }
            let place = self.enter(child, here.see_through)?;
            if self.kind(&place.found) == Some(FileKind::Symlink) && (follow || !todo.is_empty()) {
                links += 1;
                if links > LINK_LIMIT {
                    return Err(ViewError::Failed(format!("cannot look at {}: too many levels of symbolic links", path.display())));
                }
                let target = self.link_target(&place)?;
                if target.is_absolute() {
                    trail.truncate(1);
                }
                todo.extend(components(&target));
                continue;
            }
            if matches!(place.found, Found::Nothing) {
                return nothing(place.path, &todo);
            }
            trail.push(place);
        }
        trail.pop().ok_or_else(|| ViewError::Failed(format!("cannot look at {}", path.display())))
    }

    /// What is at `path`, and whether one sees through it.
    fn enter(&self, path: PathBuf, see_through: bool) -> Result<Place, ViewError> {
        let found = self.look(&path, see_through)?;
        let see_through = match &found {
            Found::Below(_) => true,
            Found::Node(i) => self.nodes.get(*i).is_some_and(|n| matches!(n.body, Body::Below)),
            _ => false,
        };
        Ok(Place { path, found, see_through })
    }

    fn kind(&self, found: &Found) -> Option<FileKind> {
        match found {
            Found::Below(stat) => Some(stat.kind),
            Found::Node(i) => self.nodes.get(*i).map(|n| n.stat.kind),
            _ => None,
        }
    }

    /// Fails where the process has no such right to what is predicted; what is below looks after itself.
    fn permitted(&self, found: &Found, bits: u32, what: &str, path: &Path) -> Result<(), ViewError> {
        match found {
            Found::Node(i) if self.nodes.get(*i).is_some_and(|n| !permits(self.base, &n.stat, bits)) => {
                Err(ViewError::Failed(format!("cannot {what} {}: permission denied", path.display())))
            }
            _ => Ok(()),
        }
    }

    fn link_target(&self, place: &Place) -> Result<PathBuf, ViewError> {
        match &place.found {
            Found::Node(i) => match self.nodes.get(*i).map(|n| &n.body) {
                Some(Body::Link(target)) => Ok(target.clone()),
                _ => Err(ViewError::Failed(format!("{} is not a symbolic link", place.path.display()))),
            },
            Found::Nothing => Err(ViewError::NotFound(place.path.clone())),
            Found::Unknown(why) => Err(ViewError::Unknown(why.clone())),
            Found::Below(_) => self.base.read_link(&place.path),
        }
    }

    /// Whether `path` is one of the kernel's lists of mounts, which predicted mounts make wrong.
    fn stale(&self, path: &Path) -> bool {
        let lists = ["mounts", "mountinfo", "mountstats"];
        self.mounts.is_some() && path.starts_with("/proc") && path.file_name().and_then(OsStr::to_str).is_some_and(|n| lists.contains(&n))
    }
}

/// `name` with `.service` where it has no unit suffix, as systemctl completes it.
pub(crate) fn unit_name(name: &str) -> String {
    const SUFFIXES: [&str; 11] = ["service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"];
    match name.rsplit_once('.') {
        Some((_, suffix)) if SUFFIXES.contains(&suffix) => name.to_owned(),
        _ => format!("{name}.service"),
    }
}

/// The path to ask the body below for: the one given if it leads to the same place there.
fn path_for_base<'p>(given: &'p Path, place: &'p Place) -> &'p Path {
    if place.path == given { given } else { &place.path }
}

/// A directory of which nothing can be known but that it is one.
fn hidden_directory(stat: Stat, why: String) -> Node {
    Node { stat, unknown: Some(why.clone()), body: Body::Unknown(why), below: None }
}

/// Attributes of something new.
fn new_stat(kind: FileKind, mode: u32, uid: u32, gid: u32) -> Stat {
    let time = now();
    let nlink = if kind == FileKind::Directory { 2 } else { 1 };
    Stat { kind, mode: mode & 0o7777, uid, gid, size: 0, mtime: time, atime: time, ctime: time, ino: 0, nlink, dev: 0, rdev: (0, 0) }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// The components of a path, last first, `.` and `/` left out.
fn components(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}
