//! Printing that can't break a run. The standard library's `println!` panics where nobody reads any more (`fettle render … | head`)
//! or a file's disk is full; in the controller these macros stand in its place, by the same names. A reader who has gone is no
//! error: what was begun on hosts goes on. Output that is lost otherwise makes the program fail in the end.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);
static LOST: Mutex<Option<String>> = Mutex::new(None);

/// Prints to standard output.
pub fn print(text: Arguments<'_>) {
    let mut out = io::stdout().lock();
    match out.write_fmt(text) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => CLOSED.store(true, Ordering::Relaxed),
        Err(e) => drop(LOST.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(e.to_string())),
    }
}

/// Prints to standard error. Where that is lost, too, there is nobody to tell.
pub fn warn(text: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Whether nobody reads standard output any more.
pub fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// Why output was lost, if it was (not: that nobody wanted it).
pub fn lost() -> Option<String> {
    if let Err(e) = io::stdout().flush()
        && e.kind() != ErrorKind::BrokenPipe
    {
        return Some(e.to_string());
    }
    LOST.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

macro_rules! print {
    ($($text:tt)*) => { $crate::out::print(format_args!($($text)*)) };
}
macro_rules! println {
    () => { $crate::out::print(format_args!("\n")) };
    ($($text:tt)*) => { $crate::out::print(format_args!("{}\n", format_args!($($text)*))) };
}
macro_rules! eprint {
    ($($text:tt)*) => { $crate::out::warn(format_args!($($text)*)) };
}
macro_rules! eprintln {
    () => { $crate::out::warn(format_args!("\n")) };
    ($($text:tt)*) => { $crate::out::warn(format_args!("{}\n", format_args!($($text)*))) };
}
