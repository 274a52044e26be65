//! Changes that have no body yet: they refuse.

use crate::host::act::Act;
use crate::host::change::{MakeDirectory, MakeLink, Remove, Run, SetAttributes, SetMtu, SetSysctl, SetSysfs, Touch, UnitChange, WriteFile};
use crate::host::{Change, ChangeError, Outcome, Overlay, View};

macro_rules! refuse {
    ($($type:ty),*) => {$(
        impl Act for $type {
            fn describe(&self) -> String {
                format!("{self:?}")
            }

            fn predict(&self, _: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
                Err(ChangeError::new("this change is not there yet"))
            }

            fn perform(&self) -> Result<Outcome, ChangeError> {
                Err(ChangeError::new("this change is not there yet"))
            }

            fn verify(&self, _: &dyn View) -> Result<(), ChangeError> {
                Err(ChangeError::new("this change is not there yet"))
            }

            fn undo(&self, _: &dyn View) -> Result<Vec<Change>, String> {
                Err("this change is not there yet".into())
            }
        }
    )*};
}

refuse!(WriteFile, SetAttributes, MakeDirectory, MakeLink, Remove, Touch, SetSysctl, SetSysfs, SetMtu, UnitChange, Run);
