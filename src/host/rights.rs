//! What the process may do by a file's mode bits, for predictions. Access control lists are not looked at.

use super::{Stat, View};
use nix::unistd::{getegid, geteuid, getgroups};

/// Whether this process may do all of `bits` (4 read, 2 write, 1 search or execute) with what has `stat`.
/// Root may; on a made-up host everybody may.
pub(crate) fn permits(view: &dyn View, stat: &Stat, bits: u32) -> bool {
    let me = geteuid();
    if me.is_root() || !view.has_rights() {
        return true;
    }
    let allowed = if me.as_raw() == stat.uid {
        stat.mode >> 6
    } else if in_group(stat.gid) {
        stat.mode >> 3
    } else {
        stat.mode
    };
    allowed & bits == bits
}

/// Whether this process acts as root (on a made-up host everybody does) or as `uid`.
pub(crate) fn is_root_or(view: &dyn View, uid: Option<u32>) -> bool {
    let me = geteuid();
    me.is_root() || uid == Some(me.as_raw()) || !view.has_rights()
}

/// Whether this process is in the group.
pub(crate) fn in_group(gid: u32) -> bool {
    getegid().as_raw() == gid || getgroups().is_ok_and(|groups| groups.iter().any(|g| g.as_raw() == gid))
}
