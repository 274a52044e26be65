//! Being asked to stop: Ctrl-C, a CI system's cancel, a terminal that was closed.

use std::io;
use std::sync::OnceLock;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits until this program is asked to stop.
pub async fn interrupted() {
    Interrupts::listen().asked().await;
}

/// Listens for whatever asks this program to stop, and remembers what came while nobody waited for it.
pub struct Interrupts([Option<Signal>; 3]);

impl Interrupts {
    /// Listens from now on. To be called where a runtime is.
    pub fn listen() -> Self {
        // Without a listener the system's own way of ending the program stays.
        Self([SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(|kind| listen(kind).ok().flatten()))
    }

    /// Waits until it is asked.
    pub async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            () = heard(interrupt) => {}
            () = heard(terminate) => {}
            () = heard(hangup) => {}
        }
    }
}

/// Listens for a signal. `None`: it was ignored when fettle was started (`nohup`, a script's job in the background), and stays so.
pub fn listen(kind: SignalKind) -> io::Result<Option<Signal>> {
    // The first answer stays: later the listeners themselves are in the way.
    static IGNORED: OnceLock<u64> = OnceLock::new();
    let mask = *IGNORED.get_or_init(|| std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored(&status)));
    let bit = u32::try_from(kind.as_raw_value() - 1).unwrap_or(u32::MAX);
    if mask.checked_shr(bit).is_some_and(|m| m & 1 == 1) { Ok(None) } else { signal(kind).map(Some) }
}

/// Waits for the signal; for one that stays ignored, for ever.
pub async fn heard(listener: &mut Option<Signal>) {
    match listener {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The line `SigIgn` of `/proc/PID/status`, proc(5): a bit a signal, the lowest is signal 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::ignored;

    #[test]
    fn ignored_signals_are_read_from_proc() {
        assert_eq!(ignored("Name:\tfettle\nSigBlk:\t00000000000000ff\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored("Name:\tfettle\n"), 0);
    }
}
