//! Laying predictions over a host.

use super::{Body, Found, Name, Node, Overlay, hidden_directory, new_stat, now, unit_name};
use crate::host::{FileKind, Mount, Probe, Stat, UnitState};
use std::path::{Path, PathBuf};

impl Overlay<'_> {
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
        self.probes.remove(&place.path);
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
        let name = unit_name(name);
        // A unit that is used for the first time is read then.
        if !self.units.contains_key(&name) && self.base.unit(&name).is_ok_and(|below| below.load == "not-found") {
            self.units_read.insert(name.clone(), now());
        }
        self.units.insert(name, Ok(state));
    }

    /// systemd has read all its unit files again.
    pub fn reload_units(&mut self) {
        self.units_read.insert(String::new(), now());
    }

    /// A dry run can't know the state of a systemd unit.
    pub fn mark_unit_unknown(&mut self, name: &str, why: &str) {
        self.units.insert(unit_name(name), Err(why.to_owned()));
    }
}
