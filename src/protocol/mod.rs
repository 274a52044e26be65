//! The messages between controller and agent, and their framing.

mod frame;
mod message;

pub use frame::{FRAME_LIMIT, FrameError, decode, encode, read_frame, write_frame};
pub use message::{
    ChangeReport, Errand, FileRef, HostVars, Journal, LockHolder, ModuleDone, Once, PlayRun, Status, TaskReport, ToAgent, ToController,
    Told, VERSION,
};
