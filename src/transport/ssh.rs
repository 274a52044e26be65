//! One SSH connection: connect, check the host key, log in, start a command.

use super::config::Family;
use super::error::LinkError;
use super::known_hosts::{self, Verdict};
use super::login;
use super::pipe::Pipe;
use super::proxy::Carrier;
use super::reach::LOGGING_IN;
use super::target::{StrictHostKey, Target};
use super::turns;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssh2::{BlockDirections, Channel, ErrorCode, MethodType, Session};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time limit for saying goodbye to a host that does not answer any more.
const FAREWELL: Duration = Duration::from_millis(300);
/// What libssh2 calls a time limit that has passed: `LIBSSH2_ERROR_TIMEOUT`, `LIBSSH2_ERROR_SOCKET_TIMEOUT`.
const TIMEOUTS: [ErrorCode; 2] = [ErrorCode::Session(-9), ErrorCode::Session(-30)];

/// A command running over SSH.
pub struct Ssh {
    session: Session,
    channel: Channel,
    socket: RawFd,
    /// Ends after the session.
    _carrier: Option<Carrier>,
}

/// What a connection that is being made has to do with others, and with the operator.
pub struct Company<'a> {
    /// Set while it waits for them: its own time does not run meanwhile.
    pub waiting: &'a AtomicBool,
    /// Set when nobody waits for the connection any more.
    pub given_up: &'a AtomicBool,
    /// Whether to trust an unknown host key: of this host, of this type, with this fingerprint.
    pub trust: &'a dyn Fn(&str, &str, &str) -> bool,
}

impl Company<'_> {
    fn wait<T>(&self, what: impl FnOnce() -> T) -> T {
        self.waiting.store(true, Ordering::Relaxed);
        let result = what();
        self.waiting.store(false, Ordering::Relaxed);
        result
    }
}

/// A connection to a host that is the right one.
struct Met {
    session: Session,
    socket: RawFd,
    carrier: Option<Carrier>,
    deadline: Instant,
    /// The operator was waited for.
    asked: bool,
}

/// Connects, logs in and starts `command`.
pub fn start(target: &Target, command: &str, company: &Company<'_>) -> Result<Ssh, LinkError> {
    let mut met = meet(target, company)?;
    if met.asked && hung_up(met.socket) {
        // A server waits for a login two minutes and less; the operator may have taken longer, and now the key is known.
        met = meet(target, company)?;
    }
    let Met { session, socket, carrier, deadline, .. } = met;
    let lost =
        |what: &str, e: &ssh2::Error| LinkError::Unreachable(format!("{what} {}:{} failed: {}", target.address, target.port, e.message()));
    session.set_timeout(left(deadline).max(u32::try_from(LOGGING_IN.as_millis()).unwrap_or(u32::MAX)));
    login::log_in(&session, target)?;
    let mut channel = session.channel_session().map_err(|e| lost("opening a channel to", &e))?;
    channel.exec(command).map_err(|e| lost("starting the agent on", &e))?;
    session.set_blocking(false);
    Ok(Ssh { session, channel, socket, _carrier: carrier })
}

/// Connects, and makes sure that the host is the right one.
fn meet(target: &Target, company: &Company<'_>) -> Result<Met, LinkError> {
    let mut session = Session::new().map_err(|e| LinkError::Unreachable(format!("no SSH session can be made: {}", e.message())))?;
    let turn = target.proxy.as_deref().map(|way| company.wait(|| turns::wait(way, &target.host, &target.address, target.port)));
    if company.given_up.load(Ordering::Relaxed) {
        return Err(LinkError::Unreachable("it was given up".into()));
    }
    let deadline = Instant::now() + target.connect_timeout;
    let mut carrier = None;
    let socket = match &target.proxy {
        Some(command) => {
            let (stream, program) =
                Carrier::start(command).map_err(|e| LinkError::Unreachable(format!("`{command}` can't be started: {e}")))?;
            carrier = Some(program);
            let socket = stream.as_raw_fd();
            session.set_tcp_stream(stream);
            socket
        }
        None => {
            let stream = connect(target, deadline)?;
            let socket = stream.as_raw_fd();
            session.set_tcp_stream(stream);
            socket
        }
    };
    session.set_timeout(left(deadline));
    prefer(&session, target);
    session.handshake().map_err(|e| {
        let waited = TIMEOUTS.contains(&e.code());
        if let Some(program) = &mut carrier {
            return through(target, program, waited, e.message());
        }
        LinkError::Unreachable(if waited {
            format!(
                "{}:{} took the connection but said nothing for {} s: is it an SSH server?",
                target.address,
                target.port,
                target.connect_timeout.as_secs()
            )
        } else {
            format!("the SSH handshake with {}:{} failed: {}", target.address, target.port, e.message())
        })
    })?;
    // The jump host has let this one in.
    drop(turn);
    let asked = check_host_key(&session, target, company)?;
    Ok(Met { session, socket, carrier, deadline, asked })
}

/// Whether the other side has closed the connection, though what it said before may not have been read yet.
fn hung_up(socket: RawFd) -> bool {
    let closed = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
    // SAFETY: the session that the socket belongs to outlives this call.
    let mut one = [PollFd::new(unsafe { BorrowedFd::borrow_raw(socket) }, closed)];
    poll(&mut one, PollTimeout::ZERO).is_ok()
        && one[0].revents().is_none_or(|r| r.intersects(closed | PollFlags::POLLHUP | PollFlags::POLLERR))
}

/// Why nothing came through a program that carries the connection.
fn through(target: &Target, program: &mut Carrier, waited: bool, message: &str) -> LinkError {
    let said = program.end();
    let why = match (said.is_empty(), waited) {
        (false, _) => said,
        (true, true) => format!("nothing came within {} s", target.connect_timeout.as_secs()),
        (true, false) => message.to_owned(),
    };
    let command = target.proxy.as_deref().unwrap_or_default();
    LinkError::Unreachable(format!("{}:{} can't be reached through `{command}`: {why}", target.address, target.port))
}

fn left(deadline: Instant) -> u32 {
    // libssh2 takes 0 for "for ever".
    u32::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u32::MAX).max(1)
}

fn connect(target: &Target, deadline: Instant) -> Result<TcpStream, LinkError> {
    let addresses: Vec<_> = (target.address.as_str(), target.port)
        .to_socket_addrs()
        .map_err(|e| LinkError::Unreachable(format!("the name {} can't be resolved: {e}", target.address)))?
        .filter(|a| target.family.has(a))
        .collect();
    let mut reason = match target.family {
        Family::Any => "it has no address",
        Family::Four => "it has no IPv4 address, and AddressFamily wants one",
        Family::Six => "it has no IPv6 address, and AddressFamily wants one",
    }
    .to_owned();
    for (i, address) in addresses.iter().enumerate() {
        // What time is left is shared by the addresses not yet tried.
        let share = deadline.saturating_duration_since(Instant::now()) / u32::try_from(addresses.len() - i).unwrap_or(1);
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => {
                // A small frame is a whole message: never wait for more to fill a packet.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(e) if e.kind() == io::ErrorKind::TimedOut => reason = format!("no answer within {} s", target.connect_timeout.as_secs()),
            Err(e) => reason = e.to_string(),
        }
    }
    Err(LinkError::Unreachable(format!("{}:{} can't be reached: {reason}", target.address, target.port)))
}

/// Puts the fastest methods first, and host keys of the types that are known first of all.
fn prefer(session: &Session, target: &Target) {
    let order = |kind: MethodType, first: &[String]| {
        let Ok(supported) = session.supported_algs(kind) else { return };
        let mut all: Vec<&str> = first.iter().map(String::as_str).filter(|f| supported.contains(f)).collect();
        all.extend(supported.iter().filter(|s| !first.iter().any(|f| f == *s)));
        // Without this preference the library's own order is used.
        let _ = session.method_pref(kind, &all.join(","));
    };
    order(MethodType::Kex, &["curve25519-sha256".into(), "curve25519-sha256@libssh.org".into(), "ecdh-sha2-nistp256".into()]);
    // Processors do AES themselves; in this mode it needs no separate checksum.
    let ciphers = ["aes128-gcm@openssh.com".into(), "aes256-gcm@openssh.com".into()];
    order(MethodType::CryptCs, &ciphers);
    order(MethodType::CryptSc, &ciphers);
    let mut known = vec![];
    let entries = |port| known_hosts::entries(session, &target.known_hosts, target.key_name(), port);
    let mut about = entries(target.port);
    if about.is_empty() && target.port != 22 {
        about = entries(22);
    }
    for entry in about {
        let names: &[&str] = if entry.kind == "ssh-rsa" { &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"] } else { &[entry.kind.as_str()] };
        for name in names {
            if !known.iter().any(|k| k == name) {
                known.push((*name).to_owned());
            }
        }
    }
    if known.is_empty() {
        known.push("ssh-ed25519".into());
    }
    order(MethodType::HostKey, &known);
}

/// Questions about host keys go to the operator one at a time.
static ASKING: Mutex<()> = Mutex::new(());

/// Makes sure that the host is the right one; whether the operator was waited for.
fn check_host_key(session: &Session, target: &Target, company: &Company<'_>) -> Result<bool, LinkError> {
    let Some((key, _)) = session.host_key() else {
        return Err(LinkError::HostKey(format!("{} showed no host key", target.address)));
    };
    let kind = known_hosts::kind_of(key);
    let print = known_hosts::fingerprint(key);
    let known_as = target.key_name();
    let at = |port: u16| known_hosts::verdict(&known_hosts::entries(session, &target.known_hosts, known_as, port), &kind, key);
    // As OpenSSH: a key known of the host without a port will do, where none is known with it.
    let look = || match at(target.port) {
        Verdict::Unknown if target.port != 22 && matches!(at(22), Verdict::Known | Verdict::Revoked(_)) => at(22),
        verdict => verdict,
    };
    let name = if target.port == 22 { known_as.to_owned() } else { format!("[{known_as}]:{}", target.port) };
    let remember = || {
        let Some(file) = target.known_hosts.first() else { return Ok(()) };
        known_hosts::remember(file, known_as, target.port, &kind, key)
            .map_err(|e| LinkError::HostKey(format!("the host key of {name} can't be written to {}: {e}", file.display())))
    };
    match look() {
        Verdict::Known => Ok(false),
        Verdict::Changed(entry) => Err(LinkError::HostKey(format!(
            "the host key of {name} has CHANGED: it shows {kind} {print}, but {}:{} has {} {}; either the host was reinstalled, or somebody sits in between. \
             If you know why: ssh-keygen -f {} -R '{name}'",
            entry.file.display(),
            entry.line,
            entry.kind,
            known_hosts::fingerprint(&entry.key),
            entry.file.display()
        ))),
        Verdict::Revoked(entry) => Err(LinkError::HostKey(format!(
            "the host key of {name} ({kind} {print}) is marked as revoked in {}:{}",
            entry.file.display(),
            entry.line
        ))),
        Verdict::Unknown => match target.strict {
            StrictHostKey::No => Ok(false),
            StrictHostKey::AcceptNew => remember().map(|()| false),
            StrictHostKey::Yes => Err(unknown(&name, &kind, &print, target)),
            // Others' questions come first, and the operator may take their time for those, too.
            StrictHostKey::Ask => company.wait(|| {
                let _one = ASKING.lock();
                // Somebody may have answered for the same host meanwhile.
                if look() == Verdict::Known {
                    return Ok(true);
                }
                if (company.trust)(&name, &kind, &print) { remember().map(|()| true) } else { Err(unknown(&name, &kind, &print, target)) }
            }),
        },
    }
}

fn unknown(name: &str, kind: &str, print: &str, target: &Target) -> LinkError {
    let file = target.known_hosts.first().map(|f| f.display().to_string()).unwrap_or_default();
    LinkError::HostKey(format!(
        "the host key of {name} is not known ({kind} {print}). Compare it with the host's own, then add it: ssh-keyscan -p {} {} >> {file}",
        target.port, target.address
    ))
}

impl Pipe for Ssh {
    fn read_out(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.channel.read(buffer)?;
        if n == 0 && !self.channel.eof() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }

    fn read_err(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.channel.stderr().read(buffer)?;
        if n == 0 && !self.channel.eof() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.channel.write(bytes)
    }

    fn descriptors(&self, writing: bool) -> (Vec<RawFd>, Vec<RawFd>) {
        let wants = self.session.block_directions();
        let outbound = matches!(wants, BlockDirections::Outbound | BlockDirections::Both);
        // While a write waits for the channel's window, only reading brings it on.
        let write = if outbound && writing { vec![self.socket] } else { vec![] };
        (vec![self.socket], write)
    }

    fn close_input(&mut self) {
        // The agent ends by itself when told goodbye; this is for one that is not there yet.
        let _ = self.channel.send_eof();
    }

    fn exit_code(&mut self) -> Option<i32> {
        // The exit status comes behind the end of the output; until then the library says 0.
        self.session.set_blocking(true);
        self.session.set_timeout(u32::try_from(FAREWELL.as_millis()).unwrap_or(300));
        let closed = self.channel.wait_close();
        self.session.set_blocking(false);
        closed.ok().and_then(|()| self.channel.exit_status().ok())
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.session.set_blocking(true);
        self.session.set_timeout(u32::try_from(FAREWELL.as_millis()).unwrap_or(300));
        let _ = self.channel.close();
        let _ = self.session.disconnect(None, "done", None);
    }
}
