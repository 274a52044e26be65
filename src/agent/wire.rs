//! The agent's end of the connection: a thread that reads, a heartbeat, and one way to write.

use crate::host::apply::StopFlag;
use crate::protocol::{FRAME_LIMIT, FrameError, ToAgent, ToController, read_frame, write_frame};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// How often the agent says that it is still there, in seconds, unless a shorter silence already counts as a broken line.
const HEARTBEAT: u64 = 5;
/// Seconds of silence that count as a broken line until the controller says how many it takes.
const SILENCE: u64 = 30;

/// A reader to which every byte is a sign of life: on a slow line one message may take longer than the line may be silent.
struct Heard<R> {
    from: R,
    quiet: Arc<AtomicU64>,
}

impl<R: Read> Read for Heard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.from.read(buffer);
        self.quiet.store(0, Ordering::SeqCst);
        got
    }
}

/// The connection to the controller.
pub struct Wire {
    incoming: Receiver<ToAgent>,
    /// Errands that came while another one's files were waited for.
    later: RefCell<VecDeque<ToAgent>>,
    out: Arc<Mutex<Box<dyn Write + Send>>>,
    stop: StopFlag,
    lost: Arc<AtomicBool>,
    silence: Arc<AtomicU64>,
    /// Why the controller said stop.
    reason: Arc<OnceLock<String>>,
}

impl Wire {
    /// Starts reading `from`; `stop` is set when the controller asks to stop or is gone.
    pub fn new(from: impl Read + Send + 'static, to: impl Write + Send + 'static, stop: StopFlag) -> Self {
        let (sender, incoming) = mpsc::channel();
        let out: Arc<Mutex<Box<dyn Write + Send>>> = Arc::new(Mutex::new(Box::new(to)));
        let lost = Arc::new(AtomicBool::new(false));
        let silence = Arc::new(AtomicU64::new(SILENCE));
        let reason = Arc::new(OnceLock::new());
        // Seconds since the last word, counted and not read off a clock: while the whole host stands still none pass.
        let quiet = Arc::new(AtomicU64::new(0));
        std::thread::spawn({
            let (stop, lost, reason, quiet) = (stop.clone(), lost.clone(), reason.clone(), quiet.clone());
            let mut from = std::io::BufReader::new(Heard { from, quiet });
            move || {
                loop {
                    match read_frame::<ToAgent>(&mut from) {
                        Ok(ToAgent::Heartbeat) => {}
                        Ok(message) => {
                            if let ToAgent::Stop(why) = &message {
                                let _ = reason.set(why.clone());
                                stop.stop();
                            }
                            // Who waits for something else hears of a stop, too.
                            if sender.send(message).is_err() {
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
            let (out, stop, lost, silence) = (out.clone(), stop.clone(), lost.clone(), silence.clone());
            move || {
                let mut unsaid = 0;
                while !lost.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_secs(1));
                    let limit = silence.load(Ordering::SeqCst);
                    // A cable that was pulled breaks no connection: only the silence tells.
                    if quiet.fetch_add(1, Ordering::SeqCst) >= limit {
                        lost.store(true, Ordering::SeqCst);
                        stop.stop();
                        return;
                    }
                    unsaid += 1;
                    if unsaid >= HEARTBEAT.min(limit / 3) {
                        unsaid = 0;
                        if put(&out, &ToController::Heartbeat).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Self { incoming, later: RefCell::default(), out, stop, lost, silence, reason }
    }

    /// Takes so many seconds without a word for a broken line.
    pub fn silence(&self, seconds: u64) {
        self.silence.store(seconds.max(1), Ordering::SeqCst);
    }

    /// Sends a message. A broken line sets the stop flag: the run ends after the change it is in.
    pub fn send(&self, message: &ToController) {
        let sent = match put(&self.out, message) {
            // The line is good, and nothing of it was sent.
            Err(FrameError::TooLarge(_)) => {
                let words = too_large(message);
                let _ = self.reason.set(words.clone());
                self.stop.stop();
                put(&self.out, &ToController::Fatal(words))
            }
            other => other,
        };
        if sent.is_err() {
            self.lost.store(true, Ordering::SeqCst);
            self.stop.stop();
        }
    }

    /// The next thing to do; `None` when the controller is gone.
    pub fn next(&self) -> Option<ToAgent> {
        self.later.borrow_mut().pop_front().or_else(|| self.hear(false))
    }

    /// The next answer; `None` when the controller is gone. Errands are kept for later.
    pub fn receive(&self) -> Option<ToAgent> {
        self.hear(true)
    }

    fn hear(&self, answers: bool) -> Option<ToAgent> {
        loop {
            match self.incoming.recv_timeout(Duration::from_secs(1)) {
                Ok(errand @ ToAgent::Delegate { .. }) if answers => self.later.borrow_mut().push_back(errand),
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) if !self.lost() => {}
                Err(_) => return None,
            }
        }
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

    /// The same, but a stop ends the waiting.
    pub fn wait<T>(&self, question: &ToController, mut pick: impl FnMut(ToAgent) -> Option<T>) -> Option<T> {
        self.send(question);
        while !self.stopping() {
            if let Some(answer) = pick(self.receive()?) {
                return Some(answer);
            }
        }
        None
    }

    /// Why the controller said stop.
    pub fn why_stopped(&self) -> String {
        self.reason.get().cloned().unwrap_or_else(|| "the operator stopped it".into())
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

/// Why a message can't be sent.
fn too_large(message: &ToController) -> String {
    let (what, instead) = match message {
        ToController::Journal(_) => ("the journal", "; --run asks for one run's"),
        ToController::Undo(_) => ("what undoing comes to", "; ask for it without --diff"),
        ToController::PlayDone { .. } | ToController::Meet { .. } => ("what this host's variables hold", "; let tasks register less"),
        _ => ("what this host has to say", ""),
    };
    format!("{what} is over the {} MiB that a message can hold{instead}", FRAME_LIMIT >> 20)
}

fn put(out: &Mutex<Box<dyn Write + Send>>, message: &ToController) -> Result<(), FrameError> {
    let mut out = out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    write_frame(&mut *out, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::encode;

    /// Gives a byte at a time, a tenth of a second apart, and never ends.
    struct Slow(std::vec::IntoIter<u8>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            loop {
                std::thread::sleep(Duration::from_millis(100));
                if let Some(byte) = self.0.next() {
                    buffer[0] = byte;
                    return Ok(1);
                }
            }
        }
    }

    #[test]
    fn a_message_that_takes_longer_than_the_line_may_be_silent_is_a_sign_of_life() {
        let message = encode(&ToAgent::Stop("slow ".repeat(10))).unwrap();
        assert!(message.len() > 50, "more than five seconds");
        let wire = Wire::new(Slow(message.into_iter()), std::io::sink(), StopFlag::default());
        wire.silence(2);
        assert!(matches!(wire.receive(), Some(ToAgent::Stop(_))));
    }
}
