//! Reaching a host within its time limit, whatever hangs on the way: a server that never stops talking, an SSH agent that never
//! answers, a name server. What hangs is left to itself.

use super::error::LinkError;
use super::link::{HostKeyQuestion, LinkEvent, Order};
use super::ssh::{self, Company, Ssh};
use super::target::Target;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

/// Time that logging in may take beyond the limit for connecting: password checks may be slow on purpose.
pub const LOGGING_IN: Duration = Duration::from_secs(5);
/// How often a connection that is being made looks whether it is still wanted.
const GLANCE: Duration = Duration::from_millis(50);
/// Stack of the thread that connects.
const STACK: usize = 512 << 10;

/// Connects, logs in and starts `command`, as often as the target says. `None`: it is not wanted any more. Messages that come
/// meanwhile are put into `held`.
///
/// # Errors
/// The host can't be reached, logged in to, or is not the one it should be.
pub fn start(
    target: &Target,
    command: &str,
    orders: &Receiver<Order>,
    held: &mut VecDeque<Order>,
    say: &dyn Fn(LinkEvent),
) -> Result<Option<Ssh>, LinkError> {
    let mut left = target.retries;
    loop {
        match once(target, command, orders, held, say) {
            Err(LinkError::Unreachable(_)) if left > 0 => left -= 1,
            other => return other,
        }
    }
}

/// Tells the thread that connects when nobody waits for it any more.
#[derive(Default)]
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn once(
    target: &Target,
    command: &str,
    orders: &Receiver<Order>,
    held: &mut VecDeque<Order>,
    say: &dyn Fn(LinkEvent),
) -> Result<Option<Ssh>, LinkError> {
    let (done, result) = channel();
    let (ask, questions) = channel::<HostKeyQuestion>();
    let waiting = Arc::new(AtomicBool::new(false));
    let wanted = Wanted::default();
    let thread = {
        let (target, command, waiting, given_up) = (target.clone(), command.to_owned(), waiting.clone(), wanted.0.clone());
        std::thread::Builder::new().name(format!("reach {}", target.host)).stack_size(STACK).spawn(move || {
            let trust = |host: &str, kind: &str, fingerprint: &str| {
                let (answer, answered) = channel();
                let sent = ask.send(HostKeyQuestion { host: host.into(), kind: kind.into(), fingerprint: fingerprint.into(), answer });
                sent.is_ok() && answered.recv().unwrap_or(false)
            };
            // Nobody waits any more for one that was given up.
            let _ = done.send(ssh::start(&target, &command, &Company { waiting: &waiting, given_up: &given_up, trust: &trust }));
        })
    };
    thread.map_err(|e| LinkError::Unreachable(format!("no thread could be started for this host: {e}")))?;
    let limit = target.connect_timeout + LOGGING_IN;
    let mut deadline = Instant::now() + limit;
    loop {
        match result.recv_timeout(GLANCE) {
            Ok(result) => return result.map(Some),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(LinkError::Unreachable("connecting broke off by an error in fettle; please report it".into()));
            }
        }
        while let Ok(question) = questions.try_recv() {
            say(LinkEvent::Question(question));
        }
        loop {
            match orders.try_recv() {
                Ok(Order::Close) | Err(TryRecvError::Disconnected) => return Ok(None),
                Ok(order) => held.push_back(order),
                Err(TryRecvError::Empty) => break,
            }
        }
        if waiting.load(Ordering::Relaxed) {
            // The operator may take their time, and a jump host lets in a few at a time.
            deadline = Instant::now() + limit;
        } else if Instant::now() >= deadline {
            return Err(LinkError::Unreachable(format!(
                "{}:{} could not be connected to and logged in to within {} s",
                target.address,
                target.port,
                limit.as_secs()
            )));
        }
    }
}
