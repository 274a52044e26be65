//! Mounting, changing mount options, unmounting.

use crate::host::act::Act;
use crate::host::change::{MountChange, Unmount};
use crate::host::{Change, ChangeError, Outcome, Overlay, View};

/// A [`MountChange`] as a new mount.
pub(crate) struct AsMount<'a>(pub &'a MountChange);

/// A [`MountChange`] as a change of options of what is mounted.
pub(crate) struct AsRemount<'a>(pub &'a MountChange);

/// Refuses: nothing of this is there yet.
fn not_yet() -> ChangeError {
    ChangeError::new("mounts cannot be changed yet")
}

macro_rules! refuse {
    ($type:ty, $self:ident, $describe:expr) => {
        impl Act for $type {
            fn describe(&$self) -> String {
                $describe
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
                Err("mounts cannot be changed yet".into())
            }
        }
    };
}

refuse!(AsMount<'_>, self, format!("mount {} on {}", self.0.source, self.0.target.display()));
refuse!(AsRemount<'_>, self, format!("remount {}", self.0.target.display()));
refuse!(Unmount, self, format!("unmount {}", self.target.display()));
