//! SSH and local connections, privilege, and putting the agent in place.
//!
//! One thread a host owns the connection: libssh2 is not to be shared between threads, and a blocked read would
//! hold up the writer. The thread speaks to the run loop through channels only. A second one makes the connection for it, so
//! that what hangs on the way can be left to itself.

mod agents;
mod bootstrap;
mod config;
mod error;
mod known_hosts;
mod limit;
mod link;
mod local;
mod login;
mod outgoing;
mod pipe;
mod proxy;
mod reach;
mod ssh;
mod starting;
mod target;
mod turns;

pub use error::LinkError;
pub use link::{HostKeyQuestion, LinkEvent, LinkHandle, open};
pub use outgoing::Frame;
pub use target::{Defaults, Kind, StrictHostKey, Target};
