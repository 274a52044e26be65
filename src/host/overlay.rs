//! Predictions laid over a host: what it would look like after changes that were not made.
//!
//! Names and what they name are kept apart, as on a disk, so that hard links agree. Paths are resolved here,
//! component by component, through predicted and real links alike; keys are paths without links in them.

use super::real::{PROGRAM_FOLDERS, absolute};
use super::rights::permits;
use super::{FileKind, Mount, Probe, Stat, UnitState, View, ViewError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};

mod blank;
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
    units: BTreeMap<String, UnitState>,
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
        }
    }

    /// A regular file with this content and these attributes, as if put in place under a new inode. A link at
    /// `path` is followed; missing parents appear as directories 0755 of root.
    pub fn set_file(&mut self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>, mode: u32, uid: u32, gid: u32) {
        let bytes = bytes.into();
        let place = self.place(path.as_ref(), true);
        let below = match &place.found {
            Found::Below(stat) if stat.kind == FileKind::File => Some(place.path.clone()),
            Found::Node(i) => self.nodes.get(*i).filter(|n| n.stat.kind == FileKind::File).and_then(|n| n.below.clone()),
            _ => None,
        };
        self.unlink(&place);
        let stat = Stat { size: bytes.len() as u64, ..new_stat(FileKind::File, mode, uid, gid) };
        self.put(place.path, Node { stat, unknown: None, body: Body::File(bytes), below });
    }

    /// Another content in the file that is there, attributes as they are (sysctls and sysfs too, whose size
    /// stays what the kernel says). Where there is none: as [`Overlay::set_file`], 0644 of root.
    pub fn set_content(&mut self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) {
        let place = self.place(path.as_ref(), true);
        let Some(i) = self.node(&place) else { return self.set_file(path, bytes, 0o644, 0, 0) };
        if let Some(node) = self.nodes.get_mut(i) {
            let bytes = bytes.into();
            if !(place.path.starts_with("/proc") || place.path.starts_with("/sys")) {
                node.stat.size = bytes.len() as u64;
                node.stat.mtime = now();
            }
            node.body = Body::File(bytes);
        }
    }

    /// These attributes for what is at `path` (a link there is followed, unless the kind is a link). Where nothing
    /// of that kind is there, it appears: an empty file or directory, a device node.
    pub fn set_stat(&mut self, path: impl AsRef<Path>, stat: Stat) {
        let place = self.place(path.as_ref(), stat.kind != FileKind::Symlink);
        if let Some(i) = self.node(&place)
            && let Some(node) = self.nodes.get_mut(i).filter(|n| n.stat.kind == stat.kind)
        {
            node.stat = stat;
            node.unknown = None;
            return;
        }
        let body = match stat.kind {
            FileKind::Directory => Body::Directory,
            FileKind::Symlink => Body::Link(PathBuf::new()),
            _ => Body::File(vec![]),
        };
        self.unlink(&place);
        self.put(place.path, Node { stat, unknown: None, body, below: None });
    }

    /// Mode, owner and group of what is at `path`, each where given. What is not known of them stays so unless
    /// all three are given. Nothing there: no effect.
    pub fn set_attributes(&mut self, path: impl AsRef<Path>, follow: bool, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>) {
        let place = self.place(path.as_ref(), follow);
        let Some(node) = self.node(&place).and_then(|i| self.nodes.get_mut(i)) else { return };
        if mode.is_some() && uid.is_some() && gid.is_some() {
            node.unknown = None;
        }
        node.stat.mode = mode.unwrap_or(node.stat.mode);
        node.stat.uid = uid.unwrap_or(node.stat.uid);
        node.stat.gid = gid.unwrap_or(node.stat.gid);
        node.stat.ctime = now();
    }

    /// An empty directory. Missing parents appear too.
    pub fn set_directory(&mut self, path: impl AsRef<Path>, mode: u32, uid: u32, gid: u32) {
        let place = self.place(path.as_ref(), true);
        self.unlink(&place);
        let node = Node { stat: new_stat(FileKind::Directory, mode, uid, gid), unknown: None, body: Body::Directory, below: None };
        self.put(place.path, node);
    }

    /// A symbolic link at `path` itself, owned by the process's effective user as a new one would be.
    pub fn set_link(&mut self, path: impl AsRef<Path>, target: impl Into<PathBuf>) {
        let target = target.into();
        let place = self.place(path.as_ref(), false);
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), self.new_gid(&place.path));
        self.unlink(&place);
        let stat = Stat { size: target.as_os_str().len() as u64, ..new_stat(FileKind::Symlink, 0o777, uid, gid) };
        self.put(place.path, Node { stat, unknown: None, body: Body::Link(target), below: None });
    }

    /// A further name `path` for the file `existing` (a link there is not followed). No such file: no effect.
    pub fn set_hard_link(&mut self, path: impl AsRef<Path>, existing: impl AsRef<Path>) {
        let from = self.place(existing.as_ref(), false);
        let Some(i) = self.node(&from) else { return };
        if let Found::Below(stat) = &from.found {
            self.linked.insert((stat.dev, stat.ino), i);
        }
        let place = self.place(path.as_ref(), false);
        if matches!(place.found, Found::Node(same) if same == i) {
            return;
        }
        self.unlink(&place);
        if let Some(node) = self.nodes.get_mut(i) {
            node.stat.nlink += 1;
        }
        self.parents(&place.path);
        self.names.insert(place.path, Name::Node(i));
    }

    /// Access and modification time of what is at `path` (a link is followed).
    pub fn set_times(&mut self, path: impl AsRef<Path>, atime: f64, mtime: f64) {
        let place = self.place(path.as_ref(), true);
        if let Some(node) = self.node(&place).and_then(|i| self.nodes.get_mut(i)) {
            (node.stat.atime, node.stat.mtime, node.stat.ctime) = (atime, mtime, now());
        }
    }

    /// Nothing at `path` any more (a link itself goes, not what it points to), nor below it.
    pub fn remove(&mut self, path: impl AsRef<Path>) {
        let place = self.place(path.as_ref(), false);
        self.unlink_tree(&place);
        self.forget(&place.path);
        self.names.insert(place.path, Name::Gone);
    }

    /// A dry run can't know what is at `path` or below it: looking there answers [`ViewError::Unknown`] with `why`.
    pub fn mark_unknown(&mut self, path: impl AsRef<Path>, why: impl Into<String>) {
        let place = self.place(path.as_ref(), false);
        self.forget(&place.path);
        self.names.insert(place.path, Name::Unknown(why.into()));
    }

    /// What is written on the block device at `path`.
    pub fn set_probe(&mut self, path: impl AsRef<Path>, probe: Probe) {
        let path = self.place(path.as_ref(), true).path;
        if probe.signatures.len() == 1 && !probe.signatures.iter().any(|s| s.partition_table) {
            self.fresh.insert(path.clone());
        } else {
            self.fresh.remove(&path);
        }
        self.probes.insert(path, probe);
    }

    /// One more mount, on top of the others. It hides what is at and below its target. A filesystem predicted
    /// with [`Overlay::set_probe`] is empty, its root 0755 of root as mkfs makes it; what any other holds, and its root's
    /// attributes, can't be known before it is mounted.
    pub fn add_mount(&mut self, mut mount: Mount) {
        mount.target = self.place(&mount.target, true).path;
        let device = self.place(Path::new(&mount.source), true).path;
        let covered = self.forget(&mount.target);
        self.covered.push((mount.target.clone(), covered));
        let mut stat = new_stat(FileKind::Directory, 0o755, 0, 0);
        stat.dev = nix::sys::stat::makedev(u64::from(mount.device.0), u64::from(mount.device.1));
        let node = if self.fresh.remove(&device) {
            Node { stat, unknown: None, body: Body::Directory, below: None }
        } else {
            hidden_directory(stat, format!("what {} holds shows once it is mounted on {}", mount.source, mount.target.display()))
        };
        self.parents(&mount.target);
        self.put(mount.target.clone(), node);
        self.mount_table().push(mount);
    }

    /// Takes away the topmost mount on `target`. What it hid shows again; where the mount is a real one that can't be known.
    pub fn remove_mount(&mut self, target: impl AsRef<Path>) {
        let target = self.place(target.as_ref(), true).path;
        let table = self.mount_table();
        let Some(i) = table.iter().rposition(|m| m.target == target) else { return };
        table.remove(i);
        self.forget(&target);
        if let Some(i) = self.covered.iter().rposition(|(t, _)| *t == target) {
            let (_, names) = self.covered.remove(i);
            self.names.extend(names);
        } else {
            let why = format!("what is below the mount on {} shows once it is unmounted", target.display());
            self.put(target, hidden_directory(new_stat(FileKind::Directory, 0o755, 0, 0), why));
        }
    }

    /// Other options for the topmost mount on `target`.
    pub fn set_mount_options(&mut self, target: impl AsRef<Path>, options: Vec<String>) {
        let target = self.place(target.as_ref(), true).path;
        if let Some(mount) = self.mount_table().iter_mut().rev().find(|m| m.target == target) {
            mount.options = options;
        }
    }

    /// The state of a systemd unit.
    pub fn set_unit(&mut self, name: &str, state: UnitState) {
        self.units.insert(unit_name(name), state);
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

impl View for Overlay<'_> {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ViewError> {
        let place = self.walk(path, true)?;
        if self.stale(&place.path) {
            return Err(ViewError::Unknown("mounts change before this".into()));
        }
        self.permitted(&place.found, 0o4, "read", path)?;
        match &place.found {
            Found::Nothing => Err(ViewError::NotFound(path.to_owned())),
            Found::Unknown(why) => Err(ViewError::Unknown(why.clone())),
            Found::Below(_) => self.base.read(path_for_base(path, &place)),
            Found::Node(i) => match self.nodes.get(*i) {
                Some(Node { stat, .. }) if stat.kind != FileKind::File => {
                    let what = if stat.kind == FileKind::Directory { "a directory" } else { "not a regular file" };
                    Err(ViewError::Failed(format!("cannot read {}: it is {what}", path.display())))
                }
                Some(Node { body: Body::File(bytes), .. }) => Ok(bytes.clone()),
                Some(Node { below: Some(below), .. }) => self.base.read(below),
                _ => Err(ViewError::NotFound(path.to_owned())),
            },
        }
    }

    fn stat(&self, path: &Path, follow: bool) -> Result<Option<Stat>, ViewError> {
        let place = self.walk(path, follow)?;
        match place.found {
            Found::Nothing => Ok(None),
            Found::Unknown(why) => Err(ViewError::Unknown(why)),
            Found::Below(stat) => Ok(Some(stat)),
            Found::Node(i) => match self.nodes.get(i) {
                Some(Node { unknown: Some(why), .. }) => Err(ViewError::Unknown(why.clone())),
                node => Ok(node.map(|n| n.stat.clone())),
            },
        }
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf, ViewError> {
        let place = self.walk(path, false)?;
        match place.found {
            Found::Nothing => Err(ViewError::NotFound(path.to_owned())),
            _ => self.link_target(&place),
        }
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, ViewError> {
        let place = self.walk(path, true)?;
        self.permitted(&place.found, 0o4, "list", path)?;
        let mut names: BTreeSet<String> = match (&place.found, self.kind(&place.found)) {
            (Found::Nothing, _) => return Err(ViewError::NotFound(path.to_owned())),
            (Found::Unknown(why), _) => return Err(ViewError::Unknown(why.clone())),
            (Found::Node(i), Some(FileKind::Directory)) => match self.nodes.get(*i).map(|n| &n.body) {
                Some(Body::Unknown(why)) => return Err(ViewError::Unknown(why.clone())),
                Some(Body::Below) => self.base.list(&place.path)?.into_iter().collect(),
                _ => BTreeSet::new(),
            },
            (Found::Below(_), Some(FileKind::Directory)) => self.base.list(&place.path)?.into_iter().collect(),
            _ => return Err(ViewError::Failed(format!("{} is not a directory", path.display()))),
        };
        for (child, name) in self.names_below(&place.path).filter(|(p, _)| p.parent() == Some(&place.path)) {
            let Some(text) = child.file_name().and_then(OsStr::to_str) else {
                return Err(ViewError::Failed(format!("{} holds a name that is not UTF-8", path.display())));
            };
            match name {
                Name::Gone => names.remove(text),
                Name::Unknown(why) => return Err(ViewError::Unknown(why.clone())),
                Name::Node(_) => names.insert(text.to_owned()),
            };
        }
        Ok(names.into_iter().collect())
    }

    fn mounts(&self) -> Result<Vec<Mount>, ViewError> {
        match &self.mounts {
            Some(mounts) => Ok(mounts.clone()),
            None => self.base.mounts(),
        }
    }

    fn probe(&self, path: &Path) -> Result<Probe, ViewError> {
        let place = self.walk(path, true)?;
        match (self.probes.get(&place.path), place.found) {
            (Some(probe), _) => Ok(probe.clone()),
            (None, Found::Nothing) => Err(ViewError::NotFound(path.to_owned())),
            (None, Found::Unknown(why)) => Err(ViewError::Unknown(why)),
            (None, _) => self.base.probe(path),
        }
    }

    fn unit(&self, name: &str) -> Result<UnitState, ViewError> {
        if let Some(state) = self.units.get(&unit_name(name)) {
            return Ok(state.clone());
        }
        let state = self.base.unit(name)?;
        Ok(if state.load == "not-found" { self.new_unit(name)?.unwrap_or(state) } else { state })
    }

    fn xattrs(&self, path: &Path) -> Result<Vec<(String, Vec<u8>)>, ViewError> {
        let place = self.walk(path, false)?;
        match place.found {
            Found::Nothing => Err(ViewError::NotFound(path.to_owned())),
            Found::Unknown(why) => Err(ViewError::Unknown(why)),
            Found::Below(_) => self.base.xattrs(path),
            Found::Node(i) => match self.nodes.get(i).and_then(|n| n.below.as_ref()) {
                Some(below) => self.base.xattrs(below),
                None => Ok(vec![]),
            },
        }
    }

    fn has_rights(&self) -> bool {
        self.base.has_rights()
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let runs = |path: &Path| matches!(self.stat(path, true), Ok(Some(s)) if s.kind == FileKind::File && s.mode & 0o111 != 0);
        // A body below may know programs without having their files (a recorded host).
        let untouched = |path: &Path| !self.names.contains_key(path) && !matches!(self.base.stat(path, true), Ok(Some(_)));
        if let Some(path) = self.base.program(name)
            && (runs(&path) || untouched(&path))
        {
            return Some(path);
        }
        if name.is_empty() || name.contains('/') {
            return Some(PathBuf::from(name)).filter(|path| path.is_absolute() && runs(path));
        }
        PROGRAM_FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| runs(path))
    }
}

impl Overlay<'_> {
    /// A unit systemd does not know yet, but whose file is predicted: systemd loads it when asked.
    fn new_unit(&self, name: &str) -> Result<Option<UnitState>, ViewError> {
        // systemd.unit(5), the system manager's search path, without generators and `/run`.
        for folder in ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"] {
            if let Some(text) = self.read_text_opt(&Path::new(folder).join(unit_name(name)))? {
                let installs = text.lines().any(|line| line.trim() == "[Install]");
                let file = if installs { "disabled" } else { "static" };
                return Ok(Some(UnitState {
                    load: "loaded".into(),
                    active: "inactive".into(),
                    sub: "dead".into(),
                    file: file.into(),
                    properties: vec![],
                }));
            }
        }
        Ok(None)
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
