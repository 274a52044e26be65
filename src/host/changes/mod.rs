//! What the changes do, a file a change (or a few that belong together).

pub(crate) mod mkfs;
pub(crate) mod mount;
mod rest;
