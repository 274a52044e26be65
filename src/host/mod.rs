//! The host: seen through one interface ([`View`]) with two bodies (the real host and an overlay
//! of predictions), acted on only by [`Change`]s, remembered in a journal. This room imports no other
//! room of fettle's but the YAML tree and located errors.

pub mod act;
pub mod apply;
pub mod block;
pub mod cache;
pub mod change;
mod changes;
pub mod clock;
pub mod facts;
pub mod fstab;
pub mod glob;
pub mod identity;
pub mod journal;
pub mod lock;
mod overlay;
pub mod probe;
mod probed;
mod real;
mod rights;
pub mod undo;
pub mod view;
pub mod zone;

pub use changes::mkfs::{name_all, name_signature, partitions_hold};
pub use changes::mount::{ambiguous, filesystems, is_other_name, is_whole};
pub use changes::options::{changes_on_remount, missing_options, own_options, refused_option};
pub(crate) use changes::umask;
pub use changes::{RESETS, normalise, same_value, split_words, sysctl_path};
pub(crate) use overlay::unit_name;
pub use overlay::{Blank, Overlay};
pub use probed::Probed;
pub use real::{PROGRAM_FOLDERS, RealHost};

pub use change::{Change, ChangeError, Diff, Outcome};
pub use view::{FileKind, Mount, Probe, Signature, Stat, UnitState, View, ViewError};
