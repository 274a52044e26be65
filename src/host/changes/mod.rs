//! What the changes do, a file a change (or a few that belong together).

mod attributes;
mod file;
pub(crate) mod kernel;
pub(crate) mod mkfs;
pub(crate) mod mount;
pub(crate) mod options;
mod run;
mod spot;
mod temp;
#[cfg(test)]
mod tests;
mod tree;
mod unit;

pub use kernel::{RESETS, normalise, same_value, sysctl_path};
pub use run::split_words;
pub(crate) use spot::umask;
