//! The thread that owns a connection, and the handle the run loop holds.

use super::agents;
use super::bootstrap::{self, FAILED, NEED, NO_AGENT, READY, SUDO_PROMPT, Sudo};
use super::error::LinkError;
use super::pipe::Pipe;
use super::target::{Kind, Target};
use super::{local, ssh};
use crate::play::Privilege;
use crate::protocol::{ToAgent, ToController, decode, encode};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Stack of an owner thread: what libssh2 and our frames need, small enough for a thousand hosts.
const STACK: usize = 512 << 10;
/// How often the agent hears that we are still there, unless a shorter silence already counts as a broken line.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Most bytes of noise (messages of the day, output of shell start-up files) before the agent's first line.
const NOISE_LIMIT: usize = 64 << 10;
/// Most bytes of error output kept for messages.
const STDERR_LIMIT: usize = 8 << 10;

/// What a connection tells.
#[derive(Debug)]
pub enum LinkEvent {
    /// It is being made.
    Connecting,
    /// The agent's program is being sent.
    Pushing {
        /// Bytes sent.
        sent: u64,
        /// Of these.
        total: u64,
    },
    /// The agent runs.
    Ready,
    /// It says something.
    Message(Box<ToController>),
    /// Work that the controller did beside the run is done: what this host is to be told.
    Answer(Box<ToAgent>),
    /// It is over.
    Closed(Result<(), LinkError>),
}

enum Order {
    Send(Vec<u8>),
    Close,
}

/// The run loop's end of a connection.
#[derive(Debug)]
pub struct LinkHandle {
    orders: Sender<Order>,
    /// `None`: the connection could not even be begun.
    wake: Option<OwnedFd>,
}

impl LinkHandle {
    /// Sends a message as soon as the agent runs. After the end of the connection it goes nowhere.
    pub fn send(&self, message: ToAgent) {
        // Messages are made of plain data and stay far below the limit; one that can't be encoded would close the link.
        let order = encode(&message).map_or(Order::Close, Order::Send);
        self.give(order);
    }

    /// Ends the connection now. The agent notices, finishes the change it is in, and writes its journal.
    pub fn close(&self) {
        self.give(Order::Close);
    }

    fn give(&self, order: Order) {
        if self.orders.send(order).is_ok()
            && let Some(wake) = &self.wake
        {
            let _ = nix::unistd::write(wake, &[1]);
        }
    }
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        self.close();
    }
}

/// Opens a connection in a thread of its own; what happens is told through `events` under `index`.
pub fn open(target: Target, wanted: Privilege, events: UnboundedSender<(usize, LinkEvent)>, index: usize) -> LinkHandle {
    let (orders, incoming) = channel();
    // A pipe that can't be made (too many open files) shows up as an error of this host.
    let (wait, wake) = match nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK) {
        Ok(pair) => pair,
        Err(e) => {
            let _ = events.send((
                index,
                LinkEvent::Closed(Err(LinkError::Unreachable(format!(
                    "no more files can be opened here ({e}): raise `ulimit -n` or lower --forks"
                )))),
            ));
            return LinkHandle { orders, wake: None };
        }
    };
    let name = format!("link {}", target.host);
    let tell = events.clone();
    let spawned = std::thread::Builder::new().name(name).stack_size(STACK).spawn(move || {
        let say = |event| {
            let _ = events.send((index, event));
        };
        say(LinkEvent::Connecting);
        let result = run(&target, wanted, &incoming, &wait, &say);
        say(LinkEvent::Closed(result));
    });
    if let Err(e) = spawned {
        let _ =
            tell.send((index, LinkEvent::Closed(Err(LinkError::Unreachable(format!("no thread could be started for this host: {e}"))))));
    }
    LinkHandle { orders, wake: Some(wake) }
}

fn run(target: &Target, wanted: Privilege, orders: &Receiver<Order>, wait: &OwnedFd, say: &dyn Fn(LinkEvent)) -> Result<(), LinkError> {
    let sudo = match wanted {
        Privilege::Connection => Sudo::No,
        Privilege::Root if target.user == "root" => Sudo::No,
        Privilege::Root if target.become_password.is_some() => Sudo::WithPassword,
        Privilege::Root => Sudo::WithoutPassword,
    };
    let mut pipe: Box<dyn Pipe> = match target.kind {
        Kind::Ssh => {
            let agents = agents::all();
            if agents.is_empty() {
                agents::for_machine("x86_64").map_err(LinkError::Agent)?;
            }
            Box::new(ssh::start(target, &bootstrap::command(agents, sudo))?)
        }
        Kind::Local => Box::new(local::start(sudo)?),
    };
    let mut state = State {
        target,
        say,
        stage: Stage::Starting,
        input: vec![],
        errors: vec![],
        outgoing: VecDeque::new(),
        held: VecDeque::new(),
        pushed: 0,
        push_total: 0,
        password_sent: false,
        heard: Instant::now(),
        said: Instant::now(),
    };
    // The agent waits as long as we do before it takes the line for broken.
    let beat = HEARTBEAT.min(target.silence / 3);
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        let mut moved = false;
        loop {
            match orders.try_recv() {
                Ok(Order::Send(bytes)) => state.queue(bytes),
                Ok(Order::Close) | Err(TryRecvError::Disconnected) => {
                    pipe.close_input();
                    return Ok(());
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        // Error output first: a sudo prompt or complaint explains what comes (or does not come) after it.
        match pipe.read_err(&mut buffer) {
            Ok(n) if n > 0 => {
                moved = true;
                state.errors.extend_from_slice(&buffer[..n]);
                let excess = state.errors.len().saturating_sub(STDERR_LIMIT);
                state.errors.drain(..excess);
                state.sudo_prompt()?;
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(state.broken(&e)),
        }
        match pipe.read_out(&mut buffer) {
            Ok(0) => {
                // Its last words may still be on the way.
                while let Ok(n) = pipe.read_err(&mut buffer) {
                    if n == 0 {
                        break;
                    }
                    state.errors.extend_from_slice(&buffer[..n]);
                }
                return state.ended(pipe.exit_code());
            }
            Ok(n) => {
                moved = true;
                state.heard = Instant::now();
                state.input.extend_from_slice(&buffer[..n]);
                state.take()?;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(state.broken(&e)),
        }
        moved |= state.flush(pipe.as_mut())?;
        if moved {
            continue;
        }
        let quiet = state.heard.elapsed();
        if quiet >= target.silence {
            return Err(LinkError::Lost(format!(
                "no sign of life for {} s; what it did until then is in its journal",
                target.silence.as_secs()
            )));
        }
        let mut limit = target.silence - quiet;
        if state.stage == Stage::Running {
            if state.said.elapsed() >= beat {
                state.said = Instant::now();
                if let Ok(bytes) = encode(&ToAgent::Heartbeat) {
                    state.queue(bytes);
                }
            }
            limit = limit.min(beat.saturating_sub(state.said.elapsed()));
        }
        wait_for(pipe.as_ref(), wait, !state.outgoing.is_empty(), limit)?;
        let mut drain = [0u8; 64];
        while nix::unistd::read(wait, &mut drain).is_ok_and(|n| n > 0) {}
    }
}

fn wait_for(pipe: &dyn Pipe, wake: &OwnedFd, writing: bool, limit: Duration) -> Result<(), LinkError> {
    let (reads, writes) = pipe.descriptors(writing);
    // SAFETY: the descriptors belong to `pipe` and `wake`, which outlive this call.
    let borrow = |fd: i32| unsafe { BorrowedFd::borrow_raw(fd) };
    let mut all: Vec<PollFd<'_>> = vec![PollFd::new(borrow(wake.as_raw_fd()), PollFlags::POLLIN)];
    all.extend(reads.iter().map(|fd| PollFd::new(borrow(*fd), PollFlags::POLLIN)));
    all.extend(writes.iter().map(|fd| PollFd::new(borrow(*fd), PollFlags::POLLOUT)));
    let millis = u16::try_from(limit.as_millis().clamp(1, 60_000)).unwrap_or(u16::MAX);
    match poll(&mut all, PollTimeout::from(millis)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(e) => Err(LinkError::Lost(format!("waiting for the host failed: {e}"))),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The shell runs; nothing of the agent was heard yet.
    Starting,
    /// The agent speaks frames.
    Running,
}

struct State<'a> {
    target: &'a Target,
    say: &'a dyn Fn(LinkEvent),
    stage: Stage,
    input: Vec<u8>,
    errors: Vec<u8>,
    outgoing: VecDeque<u8>,
    /// Messages that wait until the agent runs.
    held: VecDeque<Vec<u8>>,
    pushed: u64,
    push_total: u64,
    password_sent: bool,
    heard: Instant,
    /// When the last heartbeat was sent.
    said: Instant,
}

impl State<'_> {
    fn queue(&mut self, bytes: Vec<u8>) {
        match self.stage {
            Stage::Starting => self.held.push_back(bytes),
            Stage::Running => self.outgoing.extend(bytes),
        }
    }

    /// Reads what has arrived: lines until the agent runs, frames from then on.
    fn take(&mut self) -> Result<(), LinkError> {
        while self.stage == Stage::Starting {
            let Some(end) = self.input.iter().position(|b| *b == b'\n') else {
                if self.input.len() > NOISE_LIMIT {
                    return Err(LinkError::Agent(
                        "the login shell prints without end before the agent starts: quiet its start-up files".into(),
                    ));
                }
                return Ok(());
            };
            let line = String::from_utf8_lossy(&self.input[..end]).trim_end().to_owned();
            self.input.drain(..=end);
            if line == READY {
                self.stage = Stage::Running;
                self.push_total = 0;
                (self.say)(LinkEvent::Ready);
                for held in std::mem::take(&mut self.held) {
                    self.outgoing.extend(held);
                }
            } else if let Some(machine) = line.strip_prefix(NEED) {
                let agent = agents::for_machine(machine).map_err(LinkError::Agent)?;
                self.push_total = agent.content.len() as u64;
                self.outgoing.extend(agent.content.iter());
                (self.say)(LinkEvent::Pushing { sent: 0, total: self.push_total });
            } else if let Some(machine) = line.strip_prefix(NO_AGENT) {
                return Err(LinkError::Agent(agents::for_machine(machine).err().unwrap_or_else(|| format!("no agent for {machine}"))));
            } else if let Some(reason) = line.strip_prefix(FAILED) {
                return Err(LinkError::Agent(format!("the agent can't be put in place: {reason}")));
            }
            // Anything else is noise of the login.
        }
        loop {
            match decode::<ToController>(&mut self.input) {
                Ok(Some(ToController::Heartbeat)) => {}
                Ok(Some(message)) => (self.say)(LinkEvent::Message(Box::new(message))),
                Ok(None) => return Ok(()),
                Err(e) => return Err(LinkError::Lost(format!("the agent's answer is not understood: {e}"))),
            }
        }
    }

    fn flush(&mut self, pipe: &mut dyn Pipe) -> Result<bool, LinkError> {
        let mut moved = false;
        while !self.outgoing.is_empty() {
            let (front, _) = self.outgoing.as_slices();
            match pipe.write(front) {
                Ok(0) => break,
                Ok(n) => {
                    self.outgoing.drain(..n);
                    moved = true;
                    // While the agent is being pushed it can't speak. Later, what the system takes from us says nothing.
                    if self.stage == Stage::Starting {
                        self.heard = Instant::now();
                    }
                    if self.push_total > 0 {
                        self.pushed += n as u64;
                        (self.say)(LinkEvent::Pushing { sent: self.pushed.min(self.push_total), total: self.push_total });
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.kind() == io::ErrorKind::Interrupted => break,
                // A peer that is gone says why on its other streams; the next read finds its end.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                    self.outgoing.clear();
                    break;
                }
                Err(e) => return Err(self.broken(&e)),
            }
        }
        Ok(moved)
    }

    /// Answers sudo's question, once.
    fn sudo_prompt(&mut self) -> Result<(), LinkError> {
        if self.stage != Stage::Starting {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.errors).into_owned();
        let asked = text.matches(SUDO_PROMPT).count();
        match (&self.target.become_password, asked) {
            (_, 0) => Ok(()),
            (Some(password), 1) if !self.password_sent => {
                self.password_sent = true;
                self.outgoing.extend(password.bytes());
                self.outgoing.push_back(b'\n');
                Ok(())
            }
            (_, 1) => Ok(()),
            _ => Err(LinkError::Sudo(format!("sudo does not take the password of {}", self.target.user))),
        }
    }

    fn broken(&self, e: &io::Error) -> LinkError {
        LinkError::Lost(format!("the connection broke: {e}{}", self.last_words()))
    }

    fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.errors).replace(SUDO_PROMPT, "");
        let text = text.trim();
        if text.is_empty() { String::new() } else { format!("; it said: {text}") }
    }

    /// The other side has ended.
    fn ended(&self, code: Option<i32>) -> Result<(), LinkError> {
        if self.stage == Stage::Running {
            return match code {
                Some(0) => Ok(()),
                // Lost (3) and refused (4) were told in messages already.
                Some(3 | 4) => Ok(()),
                _ => Err(LinkError::Lost(format!(
                    "the agent ended unexpectedly{}{}",
                    code.map(|c| format!(" with code {c}")).unwrap_or_default(),
                    self.last_words()
                ))),
            };
        }
        let text = String::from_utf8_lossy(&self.errors).into_owned();
        let user = &self.target.user;
        let sudo = |message: String| Err(LinkError::Sudo(message));
        if text.contains("a password is required") {
            sudo(format!("sudo wants a password for {user}: give it with -K, or in ansible_become_password"))
        } else if text.contains("is not in the sudoers file") || text.contains("is not allowed to") || text.contains("may not run sudo") {
            sudo(format!("{user} may not use sudo here"))
        } else if text.contains("sudo: not found") || text.contains("sudo: command not found") || text.contains("exec: sudo:") {
            sudo("there is no sudo here: log in as root, or install it".into())
        } else if text.contains("you must have a tty") || text.contains("a terminal is required") {
            sudo(format!("sudo insists on a terminal for {user} (requiretty): take `Defaults requiretty` out of its configuration"))
        } else if text.contains("incorrect password") || text.contains("Sorry, try again") {
            sudo(format!("sudo does not take the password of {user}"))
        } else {
            Err(LinkError::Agent(format!(
                "the agent did not start{}{}",
                code.map(|c| format!(" (code {c})")).unwrap_or_default(),
                self.last_words()
            )))
        }
    }
}
