//! A host with nothing on it.

use crate::host::{FileKind, Mount, Probe, Stat, UnitState, View, ViewError};
use std::path::{Path, PathBuf};

/// A host that has only an empty root folder: ground to lay a made-up host on, with [`super::Overlay`]'s setters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blank;

impl View for Blank {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ViewError> {
        Err(ViewError::NotFound(path.to_owned()))
    }

    fn stat(&self, path: &Path, _: bool) -> Result<Option<Stat>, ViewError> {
        Ok((path == Path::new("/")).then_some(Stat {
            kind: FileKind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0.0,
            atime: 0.0,
            ctime: 0.0,
            ino: 2,
            nlink: 2,
            dev: 1,
            rdev: (0, 0),
        }))
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf, ViewError> {
        Err(ViewError::NotFound(path.to_owned()))
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, ViewError> {
        if path == Path::new("/") { Ok(vec![]) } else { Err(ViewError::NotFound(path.to_owned())) }
    }

    fn mounts(&self) -> Result<Vec<Mount>, ViewError> {
        Ok(vec![])
    }

    fn probe(&self, path: &Path) -> Result<Probe, ViewError> {
        Err(ViewError::NotFound(path.to_owned()))
    }

    fn unit(&self, _: &str) -> Result<UnitState, ViewError> {
        Ok(UnitState { load: "not-found".into(), active: "inactive".into(), sub: "dead".into(), file: String::new(), properties: vec![] })
    }

    fn xattrs(&self, path: &Path) -> Result<Vec<(String, Vec<u8>)>, ViewError> {
        if path == Path::new("/") { Ok(vec![]) } else { Err(ViewError::NotFound(path.to_owned())) }
    }

    fn program(&self, _: &str) -> Option<PathBuf> {
        None
    }
}
