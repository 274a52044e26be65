//! The thread that owns a connection, and the handle the run loop holds.

use super::agents;
use super::bootstrap::{self, SUDO_PROMPT, Sudo};
use super::error::LinkError;
use super::outgoing::{Frame, Outgoing, Row};
use super::pipe::Pipe;
use super::starting::{Said, Starting};
use super::target::{Kind, Target};
use super::{limit, local, reach};
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
/// Most bytes of error output kept for messages.
const STDERR_LIMIT: usize = 8 << 10;

/// What a connection tells.
#[derive(Debug)]
pub enum LinkEvent {
    /// It is being made.
    Connecting,
    /// The host's key is not known: the connection waits for an answer.
    Question(HostKeyQuestion),
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

/// Whether to trust a host key that is not known.
#[derive(Clone, Debug)]
pub struct HostKeyQuestion {
    /// Whose key: name or address, with its port unless that is 22.
    pub host: String,
    /// Key type: `ssh-ed25519`, ….
    pub kind: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// Takes the answer: from now on, yes or no. Without one it is no.
    pub answer: Sender<bool>,
}

pub(super) enum Order {
    Send(Vec<u8>),
    /// These, each made when those before it are written.
    Row(Row),
    /// A message can't be sent, and without it nothing goes on.
    Broken(String),
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
        self.give(encode(&message).map_or_else(|e| Order::Broken(e.to_string()), Order::Send));
    }

    /// Sends many messages, each of which is made when those before it are written: they take no memory while they wait.
    pub fn send_row(&self, row: impl Iterator<Item = Frame> + Send + 'static) {
        self.give(Order::Row(Box::new(row)));
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
    limit::raise();
    // A pipe that can't be made (too many open files) shows up as an error of this host.
    let (wait, wake) = match nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK) {
        Ok(pair) => pair,
        Err(e) => {
            let _ = events.send((
                index,
                LinkEvent::Closed(Err(LinkError::Unreachable(format!(
                    "no more files can be opened here ({e}), and each host of a run needs three: raise the hard limit of `ulimit -n`"
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
    let mut held = VecDeque::new();
    let mut pipe: Box<dyn Pipe> = match target.kind {
        Kind::Ssh => {
            let agents = agents::all();
            if agents.is_empty() {
                agents::for_machine("x86_64").map_err(LinkError::Agent)?;
            }
            let command = bootstrap::command(agents, sudo, target.remote_tmp.as_deref());
            match reach::start(target, &command, orders, &mut held, say)? {
                Some(ssh) => Box::new(ssh),
                None => return Ok(()),
            }
        }
        Kind::Local => Box::new(local::start(sudo)?),
    };
    let mut state = State {
        target,
        say,
        stage: Stage::Starting(Starting::default()),
        input: vec![],
        errors: vec![],
        outgoing: Outgoing::default(),
        held,
        pushed: 0,
        push_total: 0,
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
                Ok(Order::Close) | Err(TryRecvError::Disconnected) => {
                    pipe.close_input();
                    return Ok(());
                }
                Ok(order) => state.queue(order)?,
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
                // What a login shell prints is no sign of the agent: it may go on for ever.
                if !state.is_starting() {
                    state.heard = Instant::now();
                }
                state.input.extend_from_slice(&buffer[..n]);
                state.take()?;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(state.broken(&e)),
        }
        moved |= state.flush(pipe.as_mut())?;
        let quiet = state.heard.elapsed();
        if quiet >= target.silence && (!moved || state.is_starting()) {
            return Err(state.silent());
        }
        if moved {
            continue;
        }
        let mut limit = target.silence.saturating_sub(quiet);
        if !state.is_starting() {
            if state.said.elapsed() >= beat {
                state.said = Instant::now();
                if let Ok(bytes) = encode(&ToAgent::Heartbeat) {
                    state.outgoing.put(bytes);
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

enum Stage {
    /// The shell runs; nothing of the agent was heard yet.
    Starting(Starting),
    /// The agent speaks frames.
    Running,
}

struct State<'a> {
    target: &'a Target,
    say: &'a dyn Fn(LinkEvent),
    stage: Stage,
    input: Vec<u8>,
    errors: Vec<u8>,
    outgoing: Outgoing,
    /// Messages that wait until the agent runs.
    held: VecDeque<Order>,
    pushed: u64,
    push_total: u64,
    heard: Instant,
    /// When the last heartbeat was sent.
    said: Instant,
}

impl State<'_> {
    fn is_starting(&self) -> bool {
        matches!(self.stage, Stage::Starting(_))
    }

    fn queue(&mut self, order: Order) -> Result<(), LinkError> {
        match order {
            order if self.is_starting() => self.held.push_back(order),
            Order::Send(bytes) => self.outgoing.put(bytes),
            Order::Row(row) => self.outgoing.put_row(row),
            Order::Broken(reason) => return Err(unsent(&reason)),
            // It ends the connection where it is taken.
            Order::Close => {}
        }
        Ok(())
    }

    /// Reads what has arrived: lines until the agent runs, frames from then on.
    fn take(&mut self) -> Result<(), LinkError> {
        while let Stage::Starting(starting) = &mut self.stage {
            let Some(end) = self.input.iter().position(|b| *b == b'\n') else {
                return starting.within(self.input.len());
            };
            let line = String::from_utf8_lossy(&self.input[..end]).trim_end().to_owned();
            self.input.drain(..=end);
            match starting.line(&line)? {
                // Anything that means nothing is noise of the login.
                Said::Nothing => {}
                Said::Send(agent) => {
                    self.heard = Instant::now();
                    self.push_total = agent.content.len() as u64;
                    self.outgoing.put(agent.content.to_vec());
                    (self.say)(LinkEvent::Pushing { sent: 0, total: self.push_total });
                }
                Said::Ready => {
                    self.heard = Instant::now();
                    self.stage = Stage::Running;
                    self.push_total = 0;
                    (self.say)(LinkEvent::Ready);
                    for held in std::mem::take(&mut self.held) {
                        self.queue(held)?;
                    }
                }
            }
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
        self.outgoing.fill().map_err(|e| unsent(&e))?;
        while !self.outgoing.is_empty() {
            match pipe.write(self.outgoing.next()) {
                Ok(0) => break,
                Ok(n) => {
                    self.outgoing.written(n);
                    moved = true;
                    // While the agent is being pushed it can't speak. Later, what the system takes from us says nothing.
                    if self.is_starting() {
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
        if let Stage::Starting(starting) = &mut self.stage
            && let Some(password) = starting.sudo(&self.errors, self.target)?
        {
            self.heard = Instant::now();
            self.outgoing.put(password.into_bytes());
        }
        Ok(())
    }

    fn silent(&self) -> LinkError {
        let seconds = self.target.silence.as_secs();
        match self.stage {
            Stage::Starting(_) => LinkError::Agent(format!(
                "logged in, but no agent has started for {seconds} s, and nothing was done: look at the start-up files of {}'s login shell, \
                 and whether sudo waits for something",
                self.target.user
            )),
            Stage::Running => LinkError::Lost(format!("no sign of life for {seconds} s; what it did until then is in its journal")),
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
        match (&self.stage, code) {
            (Stage::Starting(starting), _) => Err(starting.ended(code, &self.errors, self.target)),
            // Lost (3) and refused (4) were told in messages already.
            (Stage::Running, Some(0 | 3 | 4)) => Ok(()),
            (Stage::Running, _) => Err(LinkError::Lost(format!(
                "the agent ended unexpectedly{}{}",
                code.map(|c| format!(" with code {c}")).unwrap_or_default(),
                self.last_words()
            ))),
        }
    }
}

fn unsent(reason: &str) -> LinkError {
    LinkError::Lost(format!("what it needs to go on can't be sent to it: {reason}"))
}
