//! What every change can do: say what it is, show a difference, be predicted, be performed, be checked, be undone.

use super::changes::mount::{AsMount, AsRemount};
use super::{Change, ChangeError, Diff, Outcome, Overlay, View};

/// One change's abilities. [`Change`] forwards to the struct it holds.
pub trait Act {
    /// What it does: one line an operator understands, from what the change itself holds.
    fn describe(&self) -> String;

    /// As [`Act::describe`], with the state before where that says more: `set net.core.somaxconn: 4096 → 65535`.
    fn describe_with(&self, before: &dyn View) -> String {
        let _ = before;
        self.describe()
    }

    /// What is lost for good, named with its identity; `None`: nothing that the journal can't bring back.
    fn destroys(&self) -> Option<String> {
        None
    }

    /// State before and after as text; `None` where there is nothing to show or it must not be shown.
    fn diff(&self, before: &dyn View) -> Option<Diff> {
        let _ = before;
        None
    }

    /// Lays over the host what this change would do. Fails where performing it is known to fail.
    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError>;

    /// Does it, with the rights of the process's effective user.
    fn perform(&self) -> Result<Outcome, ChangeError>;

    /// Looks whether it has happened; a difference is a failure that says what was expected and what was found.
    fn verify(&self, view: &dyn View) -> Result<(), ChangeError>;

    /// The changes that bring the state of `before` back, in the order to do them; or why there are none.
    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String>;
}

impl Change {
    /// Calls `f` with the change's own body.
    fn with<R>(&self, f: impl FnOnce(&dyn Act) -> R) -> R {
        match self {
            Self::WriteFile(c) => f(c),
            Self::SetAttributes(c) => f(c),
            Self::MakeDirectory(c) => f(c),
            Self::MakeLink(c) => f(c),
            Self::Remove(c) => f(c),
            Self::Touch(c) => f(c),
            Self::SetSysctl(c) => f(c),
            Self::SetSysfs(c) => f(c),
            Self::SetMtu(c) => f(c),
            Self::MakeFilesystem(c) => f(c),
            Self::Mount(c) => f(&AsMount(c)),
            Self::Remount(c) => f(&AsRemount(c)),
            Self::Unmount(c) => f(c),
            Self::Unit(c) => f(c),
            Self::Run(c) => f(c),
        }
    }
}

impl Act for Change {
    fn describe(&self) -> String {
        self.with(|c| c.describe())
    }

    fn describe_with(&self, before: &dyn View) -> String {
        self.with(|c| c.describe_with(before))
    }

    fn destroys(&self) -> Option<String> {
        self.with(|c| c.destroys())
    }

    fn diff(&self, before: &dyn View) -> Option<Diff> {
        self.with(|c| c.diff(before))
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        self.with(|c| c.predict(overlay))
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        self.with(|c| c.perform())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        self.with(|c| c.verify(view))
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        self.with(|c| c.undo(before))
    }
}
