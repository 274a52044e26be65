//! One SSH connection: connect, check the host key, log in, start a command.

use super::config::Family;
use super::error::LinkError;
use super::known_hosts::{self, Verdict};
use super::pipe::Pipe;
use super::proxy::Carrier;
use super::target::{StrictHostKey, Target};
use ssh2::{BlockDirections, Channel, MethodType, Session};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time limit for saying goodbye to a host that does not answer any more.
const FAREWELL: Duration = Duration::from_millis(300);

/// A command running over SSH.
pub struct Ssh {
    session: Session,
    channel: Channel,
    socket: RawFd,
    /// Ends after the session.
    _carrier: Option<Carrier>,
}

/// Connects, logs in and starts `command`.
pub fn start(target: &Target, command: &str) -> Result<Ssh, LinkError> {
    let deadline = Instant::now() + target.connect_timeout;
    let mut session = Session::new().map_err(|e| LinkError::Unreachable(format!("no SSH session can be made: {}", e.message())))?;
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
    let lost =
        |what: &str, e: &ssh2::Error| LinkError::Unreachable(format!("{what} {}:{} failed: {}", target.address, target.port, e.message()));
    session.set_timeout(left(deadline));
    prefer(&session, target);
    session.handshake().map_err(|e| {
        let waited = Instant::now() >= deadline;
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
    check_host_key(&session, target)?;
    session.set_timeout(left(deadline).max(5_000));
    log_in(&session, target)?;
    let mut channel = session.channel_session().map_err(|e| lost("opening a channel to", &e))?;
    channel.exec(command).map_err(|e| lost("starting the agent on", &e))?;
    session.set_blocking(false);
    Ok(Ssh { session, channel, socket, _carrier: carrier })
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
    for entry in known_hosts::entries(session, &target.known_hosts, &target.address, target.port) {
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

fn check_host_key(session: &Session, target: &Target) -> Result<(), LinkError> {
    let Some((key, _)) = session.host_key() else {
        return Err(LinkError::HostKey(format!("{} showed no host key", target.address)));
    };
    let kind = known_hosts::kind_of(key);
    let print = known_hosts::fingerprint(key);
    let look = || known_hosts::verdict(&known_hosts::entries(session, &target.known_hosts, &target.address, target.port), &kind, key);
    let name = if target.port == 22 { target.address.clone() } else { format!("[{}]:{}", target.address, target.port) };
    let remember = || {
        let Some(file) = target.known_hosts.first() else { return Ok(()) };
        known_hosts::remember(file, &target.address, target.port, &kind, key)
            .map_err(|e| LinkError::HostKey(format!("the host key of {name} can't be written to {}: {e}", file.display())))
    };
    match look() {
        Verdict::Known => Ok(()),
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
            StrictHostKey::No => Ok(()),
            StrictHostKey::AcceptNew => remember(),
            StrictHostKey::Yes => Err(unknown(&name, &kind, &print, target)),
            StrictHostKey::Ask => {
                let _one = ASKING.lock();
                // Somebody may have answered for the same host meanwhile.
                if look() == Verdict::Known {
                    return Ok(());
                }
                if target.prompt.trust(&name, &kind, &print) { remember() } else { Err(unknown(&name, &kind, &print, target)) }
            }
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

fn log_in(session: &Session, target: &Target) -> Result<(), LinkError> {
    let user = target.user.as_str();
    let mut tried: Vec<String> = vec![];
    let methods = session.auth_methods(user).map(str::to_owned).unwrap_or_default();
    if session.authenticated() {
        return Ok(());
    }
    let offers = |m: &str| methods.is_empty() || methods.split(',').any(|x| x == m);
    if offers("publickey") {
        for file in &target.identity_files {
            if !file.exists() {
                tried.push(format!("{} (does not exist)", file.display()));
                continue;
            }
            match session.userauth_pubkey_file(user, None, file, None) {
                Ok(()) => return Ok(()),
                Err(e) => tried.push(format!("{} ({})", file.display(), plain(&e, file))),
            }
        }
        if (!target.identities_only || target.identity_files.is_empty()) && std::env::var_os("SSH_AUTH_SOCK").is_some() {
            match agent(session, user) {
                Ok(true) => return Ok(()),
                Ok(false) => tried.push("the keys of the SSH agent".into()),
                Err(e) => tried.push(format!("the SSH agent ({e})")),
            }
        }
    }
    if let Some(password) = &target.password {
        if offers("password") {
            match session.userauth_password(user, password) {
                Ok(()) => return Ok(()),
                Err(_) => tried.push("the password".into()),
            }
        }
        if offers("keyboard-interactive") {
            let mut answer = Password(password);
            match session.userauth_keyboard_interactive(user, &mut answer) {
                Ok(()) => return Ok(()),
                Err(_) => tried.push("the password (keyboard-interactive)".into()),
            }
        }
    }
    let offered = if methods.is_empty() { String::new() } else { format!("; the server takes {methods}") };
    Err(LinkError::Auth(if tried.is_empty() {
        format!(
            "nothing to log in with as {user}{offered}: name a key (--private-key, ansible_ssh_private_key_file), start an SSH agent, or use -k"
        )
    } else {
        format!("logging in as {user} failed; tried {}{offered}", tried.join(", "))
    }))
}

/// Why a key did not work, where libssh2's words need help.
fn plain(e: &ssh2::Error, file: &std::path::Path) -> String {
    let encrypted = std::fs::read_to_string(file).is_ok_and(|t| t.contains("ENCRYPTED") || openssh_encrypted(&t));
    if encrypted { "it has a passphrase: add it to an SSH agent with ssh-add".into() } else { e.message().to_owned() }
}

/// Whether an OpenSSH private key has a cipher other than "none".
fn openssh_encrypted(text: &str) -> bool {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let body: String = text.lines().filter(|l| !l.starts_with("-----")).collect();
    STANDARD.decode(body).is_ok_and(|b| b.starts_with(b"openssh-key-v1\0") && b.get(15..23).is_some_and(|c| c != b"\0\0\0\x04none"))
}

fn agent(session: &Session, user: &str) -> Result<bool, String> {
    let mut agent = session.agent().map_err(|e| e.message().to_owned())?;
    agent.connect().map_err(|e| e.message().to_owned())?;
    agent.list_identities().map_err(|e| e.message().to_owned())?;
    for identity in agent.identities().map_err(|e| e.message().to_owned())? {
        if agent.userauth(user, &identity).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Password<'a>(&'a str);

impl ssh2::KeyboardInteractivePrompt for Password<'_> {
    fn prompt<'a>(&mut self, _user: &str, _instructions: &str, prompts: &[ssh2::Prompt<'a>]) -> Vec<String> {
        prompts.iter().map(|_| self.0.to_owned()).collect()
    }
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
        self.channel.eof().then(|| self.channel.exit_status().ok()).flatten()
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
