//! Ctrl-C and SIGTERM: the first asks the hook to stop at a good place, the second ends it at once.

use crate::cli::CliError;
use crate::controller::{heard, listen};
use std::sync::mpsc::channel;
use tokio::signal::unix::SignalKind;
use tokio::sync::watch;

/// Exit code of what the operator stopped.
pub const STOPPED: u8 = 99;

/// Whether the operator asked to stop.
#[derive(Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens from now on, on a thread of its own: plays on hosts block the one that waits for them.
    pub fn watch() -> Result<Self, CliError> {
        let (tell, asked) = watch::channel(false);
        let (ready, listens) = channel();
        std::thread::spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(e) => return drop(ready.send(Err(e))),
            };
            runtime.block_on(async {
                let (mut interrupt, mut terminate) = match (listen(SignalKind::interrupt()), listen(SignalKind::terminate())) {
                    (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
                    (Err(e), _) | (_, Err(e)) => return drop(ready.send(Err(e))),
                };
                let _ = ready.send(Ok(()));
                loop {
                    tokio::select! {
                        () = heard(&mut interrupt) => {}
                        () = heard(&mut terminate) => {}
                    }
                    if tell.send_replace(true) {
                        eprintln!("given up at once; what was being changed is left as it is now");
                        std::process::exit(i32::from(STOPPED));
                    }
                    eprintln!("stopping; once more gives up at once");
                }
            });
        });
        let failed = |why: String| CliError::Failed(format!("Ctrl-C can't be watched for: {why}"));
        listens.recv().map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        Ok(Self(asked))
    }

    /// Whether it was asked.
    pub fn asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is.
    pub async fn wait(&self) {
        let mut asked = self.0.clone();
        if asked.wait_for(|a| *a).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
