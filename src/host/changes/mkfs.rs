//! Making filesystems.

use crate::host::act::Act;
use crate::host::change::MakeFilesystem;
use crate::host::{Change, ChangeError, Outcome, Overlay, View};

/// Refuses: nothing of this is there yet.
fn not_yet() -> ChangeError {
    ChangeError::new("filesystems cannot be made yet")
}

impl Act for MakeFilesystem {
    fn describe(&self) -> String {
        format!("make {} on {}", self.fstype, self.disk.path.display())
    }

    fn predict(&self, _: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        Err(not_yet())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        Err(not_yet())
    }

    fn verify(&self, _: &dyn View) -> Result<(), ChangeError> {
        Err(not_yet())
    }

    fn undo(&self, _: &dyn View) -> Result<Vec<Change>, String> {
        Err("a filesystem that was made cannot be unmade".into())
    }
}
