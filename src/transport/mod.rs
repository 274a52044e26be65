//! SSH and local connections, privilege, and putting the agent in place.
//!
//! One thread a host owns the connection: libssh2 is not to be shared between threads, and a blocked read would
//! hold up the writer. The thread speaks to the run loop through channels only.

mod agents;
mod bootstrap;
mod config;
mod error;
mod known_hosts;
mod link;
mod local;
mod pipe;
mod proxy;
mod ssh;
mod target;

pub use error::LinkError;
pub use link::{LinkEvent, LinkHandle, open};
pub use target::{Defaults, HostKeyPrompt, Kind, StrictHostKey, Target};
