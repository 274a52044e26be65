//! Being asked to stop: Ctrl-C, a CI system's cancel, a terminal that was closed.

use tokio::signal::unix::{SignalKind, signal};

/// Waits until this program is asked to stop.
pub async fn interrupted() {
    let one = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        // Without a listener the system's own way of ending the program stays.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = one(SignalKind::interrupt()) => {}
        () = one(SignalKind::terminate()) => {}
        () = one(SignalKind::hangup()) => {}
    }
}
