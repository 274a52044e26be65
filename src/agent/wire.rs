//! The agent's end of the connection: a thread that reads, a heartbeat, and one way to write.

use crate::host::apply::StopFlag;
use crate::protocol::{FrameError, ToAgent, ToController, read_frame, write_frame};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often the agent says that it is still there. The controller's silence limit is a few of these.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The connection to the controller.
pub struct Wire {
    incoming: Receiver<ToAgent>,
    out: Arc<Mutex<Box<dyn Write + Send>>>,
    stop: StopFlag,
    lost: Arc<AtomicBool>,
}

impl Wire {
    /// Starts reading `from`; `stop` is set when the controller asks to stop or is gone.
    pub fn new(from: impl Read + Send + 'static, to: impl Write + Send + 'static, stop: StopFlag) -> Self {
        let (sender, incoming) = mpsc::channel();
        let out: Arc<Mutex<Box<dyn Write + Send>>> = Arc::new(Mutex::new(Box::new(to)));
        let lost = Arc::new(AtomicBool::new(false));
        std::thread::spawn({
            let (stop, lost) = (stop.clone(), lost.clone());
            let mut from = std::io::BufReader::new(from);
            move || {
                loop {
                    match read_frame::<ToAgent>(&mut from) {
                        Ok(ToAgent::Stop) => stop.stop(),
                        Ok(message) => {
                            let bye = matches!(message, ToAgent::Bye);
                            if sender.send(message).is_err() || bye {
                                return;
                            }
                        }
                        // Whether the line is cut or speaks nonsense: nobody is there to answer to.
                        Err(_) => {
                            lost.store(true, Ordering::SeqCst);
                            stop.stop();
                            return;
                        }
                    }
                }
            }
        });
        std::thread::spawn({
            let (out, lost) = (out.clone(), lost.clone());
            move || {
                while !lost.load(Ordering::SeqCst) {
                    std::thread::sleep(HEARTBEAT);
                    if put(&out, &ToController::Heartbeat).is_err() {
                        return;
                    }
                }
            }
        });
        Self { incoming, out, stop, lost }
    }

    /// Sends a message. A broken line sets the stop flag: the run ends after the change it is in.
    pub fn send(&self, message: &ToController) {
        if put(&self.out, message).is_err() {
            self.lost.store(true, Ordering::SeqCst);
            self.stop.stop();
        }
    }

    /// The next message; `None` when the controller is gone.
    pub fn receive(&self) -> Option<ToAgent> {
        self.incoming.recv().ok()
    }

    /// Asks `question` and waits for the message `pick` takes.
    pub fn ask<T>(&self, question: &ToController, pick: impl Fn(ToAgent) -> Option<T>) -> Option<T> {
        self.send(question);
        loop {
            if let Some(answer) = pick(self.receive()?) {
                return Some(answer);
            }
        }
    }

    /// Whether the line to the controller is gone (rather than a stop asked for).
    pub fn lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Whether the run is to end after the change it is in.
    pub fn stopping(&self) -> bool {
        self.stop.is_stopped()
    }
}

fn put(out: &Mutex<Box<dyn Write + Send>>, message: &ToController) -> Result<(), FrameError> {
    let mut out = out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    write_frame(&mut *out, message)
}
