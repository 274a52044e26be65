//! What a connection to an agent can do, whatever carries it.

use std::io;
use std::os::fd::RawFd;

/// A started agent's standard streams, none of whose calls wait.
pub trait Pipe {
    /// Reads the agent's output; `WouldBlock` when there is none yet, 0 at its end.
    fn read_out(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Reads its error output likewise.
    fn read_err(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes to its input.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Descriptors to wait on: those to read from, and those to write to while something is waiting to be written.
    fn descriptors(&self, writing: bool) -> (Vec<RawFd>, Vec<RawFd>);
    /// Ends its input.
    fn close_input(&mut self);
    /// The exit code, once it has ended.
    fn exit_code(&mut self) -> Option<i32>;
}
