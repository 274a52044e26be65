//! A host whose block devices have been read once, all together: a plan for a host of many disks asks for each several times.

use super::{Mount, Probe, Stat, UnitState, View, ViewError};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A host, and what these devices of it held when they were read.
pub struct Probed<'a> {
    host: &'a dyn View,
    held: HashMap<PathBuf, Result<Probe, ViewError>>,
}

impl<'a> Probed<'a> {
    /// Reads the devices at `paths`. What can't be read is not tried again either.
    pub fn new(host: &'a dyn View, paths: &[PathBuf]) -> Self {
        let held = paths.iter().cloned().zip(host.probe_all(paths)).collect();
        Self { host, held }
    }
}

impl View for Probed<'_> {
    fn probe(&self, path: &Path) -> Result<Probe, ViewError> {
        self.held.get(path).cloned().unwrap_or_else(|| self.host.probe(path))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, ViewError> {
        self.host.read(path)
    }

    fn stat(&self, path: &Path, follow: bool) -> Result<Option<Stat>, ViewError> {
        self.host.stat(path, follow)
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf, ViewError> {
        self.host.read_link(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, ViewError> {
        self.host.list(path)
    }

    fn mounts(&self) -> Result<Vec<Mount>, ViewError> {
        self.host.mounts()
    }

    fn is_held(&self, path: &Path) -> bool {
        self.host.is_held(path)
    }

    fn unit(&self, name: &str) -> Result<UnitState, ViewError> {
        self.host.unit(name)
    }

    fn xattrs(&self, path: &Path) -> Result<Vec<(String, Vec<u8>)>, ViewError> {
        self.host.xattrs(path)
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        self.host.program(name)
    }

    fn has_rights(&self) -> bool {
        self.host.has_rights()
    }
}
