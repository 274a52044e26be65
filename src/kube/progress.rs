//! What long work says while it goes on.

/// Hears how work goes on.
pub trait Progress {
    /// Something happened, for good.
    fn line(&mut self, text: &str);
    /// What is going on now; the next call replaces it.
    fn now(&mut self, text: &str);
}

/// Hears nothing.
#[derive(Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn line(&mut self, _: &str) {}
    fn now(&mut self, _: &str) {}
}
