//! The overlay as a host to look at.

use super::{Body, Found, Name, Node, Overlay, path_for_base, unit_name};
use crate::host::{FileKind, Mount, PROGRAM_FOLDERS, Probe, Stat, UnitState, View, ViewError};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

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

    fn is_held(&self, path: &Path) -> bool {
        // What a predicted unmount lets go of is held all the same below.
        let mounted = |m: &Mount| self.mounts.as_ref().is_none_or(|now| now.iter().any(|n| n.device == m.device));
        self.base.mounts().is_ok_and(|before| before.iter().all(mounted)) && self.base.is_held(path)
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

    fn probe_all(&self, paths: &[PathBuf]) -> Vec<Result<Probe, ViewError>> {
        let own = |path: &PathBuf| match self.walk(path, true) {
            Ok(place) if !self.probes.contains_key(&place.path) && !matches!(place.found, Found::Nothing | Found::Unknown(_)) => None,
            _ => Some(self.probe(path)),
        };
        let own: Vec<_> = paths.iter().map(own).collect();
        let below: Vec<PathBuf> = paths.iter().zip(&own).filter(|(_, own)| own.is_none()).map(|(path, _)| path.clone()).collect();
        let mut below = self.base.probe_all(&below).into_iter();
        own.into_iter().filter_map(|own| own.or_else(|| below.next())).collect()
    }

    fn unit(&self, name: &str) -> Result<UnitState, ViewError> {
        let name = unit_name(name);
        let state = match self.units.get(&name) {
            Some(state) => state.clone().map_err(ViewError::Unknown)?,
            None => {
                let below = self.base.unit(&name)?;
                if below.load == "not-found" {
                    return Ok(self.new_unit(&name)?.unwrap_or(below));
                }
                below
            }
        };
        self.with_reload_needed(&name, state)
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

/// systemd.unit(5), the system manager's search path, without generators and `/run`.
const UNIT_FOLDERS: [&str; 4] = ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Whether systemd would say that a unit's files have changed since it read them.
const RELOAD_NEEDED: &str = "NeedDaemonReload";

impl Overlay<'_> {
    /// A unit systemd does not know yet, but whose file is predicted: systemd loads it when asked.
    fn new_unit(&self, name: &str) -> Result<Option<UnitState>, ViewError> {
        for folder in UNIT_FOLDERS {
            let path = Path::new(folder).join(name);
            let Some(text) = self.read_text_opt(&path)? else { continue };
            let line = |start: &str| text.lines().map(str::trim).find_map(|l| l.strip_prefix(start)).map(str::trim);
            let file = if line("[Install]").is_some() { "disabled" } else { "static" };
            let mut properties = vec![
                ("FragmentPath".to_owned(), path.display().to_string()),
                (RELOAD_NEEDED.to_owned(), "no".to_owned()),
                ("CanReload".to_owned(), if line("ExecReload=").is_some() { "yes" } else { "no" }.to_owned()),
            ];
            for key in ["Type", "RemainAfterExit"] {
                properties.extend(line(&format!("{key}=")).map(|value| (key.to_owned(), value.to_owned())));
            }
            let (load, active, sub) = ("loaded".into(), "inactive".into(), "dead".into());
            return Ok(Some(UnitState { load, active, sub, file: file.into(), properties }));
        }
        Ok(None)
    }

    /// The state with what systemd would say about the unit's files: whether any predicted one is newer than its last reading.
    fn with_reload_needed(&self, name: &str, mut state: UnitState) -> Result<UnitState, ViewError> {
        let all = self.units_read.get("").copied();
        let read = all.into_iter().chain(self.units_read.get(name).copied()).fold(0.0, f64::max);
        let of = |key: &str| state.properties.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).unwrap_or_default();
        let mut paths: Vec<PathBuf> = of("DropInPaths").split_whitespace().chain([of("FragmentPath")]).map(PathBuf::from).collect();
        for folder in UNIT_FOLDERS.map(Path::new) {
            paths.push(folder.join(name));
            let drop_ins = folder.join(format!("{name}.d"));
            match self.list(&drop_ins) {
                Ok(names) => paths.extend(names.into_iter().filter(|n| n.ends_with(".conf")).map(|n| drop_ins.join(n))),
                Err(ViewError::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        let mut newer = false;
        for path in paths.iter().filter(|p| p.is_absolute()) {
            newer |= match self.walk(path, true)?.found {
                Found::Node(i) => self.nodes.get(i).is_some_and(|n| matches!(n.body, Body::File(_)) && n.stat.mtime > read),
                Found::Nothing => all.is_none() && matches!(self.base.stat(path, true), Ok(Some(_))),
                _ => false,
            };
        }
        let answer = if newer { Some("yes") } else { all.map(|_| "no") };
        if let Some(answer) = answer {
            state.properties.retain(|(k, _)| k != RELOAD_NEEDED);
            state.properties.push((RELOAD_NEEDED.into(), answer.into()));
        }
        Ok(state)
    }
}
