//! Connections through other hosts: `ProxyJump` and `ProxyCommand`, carried by a program on this machine, as OpenSSH does it.

use super::config::expand;
use super::limit;
use nix::unistd::{Uid, User};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most bytes of a program's complaints that are kept: its last ones say why it ended.
const COMPLAINTS: usize = 4 << 10;
/// How long a program that has ended may take to be heard to its end.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Stack of the thread that reads them.
const STACK: usize = 64 << 10;

/// What the configuration says about the way to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// `none`: straight, whatever is said elsewhere.
    None,
    /// `ProxyJump`: `[user@]host[:port]`, several with commas between, the first one first.
    Jump(String),
    /// `ProxyCommand`: a shell command whose standard streams are the connection.
    Command(String),
}

/// Whom the connection is to.
pub struct Destination<'a> {
    /// As the inventory says.
    pub named: &'a str,
    /// Where that is.
    pub address: &'a str,
    /// Port.
    pub port: u16,
    /// Who logs in.
    pub user: &'a str,
}

impl Proxy {
    /// Reads the value of a keyword of ssh_config(5).
    pub fn read(keyword: &str, value: &str) -> Self {
        if value.is_empty() || value.eq_ignore_ascii_case("none") {
            Self::None
        } else if keyword.eq_ignore_ascii_case("proxyjump") {
            Self::Jump(value.to_owned())
        } else {
            Self::Command(value.to_owned())
        }
    }

    /// The shell command that carries a connection; `None`: it goes straight.
    pub fn command(&self, to: &Destination<'_>) -> Result<Option<String>, String> {
        match self {
            Self::None => Ok(None),
            Self::Jump(hops) => jump(hops, to),
            Self::Command(text) => fill(text, to).map(Some),
        }
    }
}

/// What stands in for OpenSSH's own jump: `ssh -W` to the last hop, by way of those before it.
fn jump(hops: &str, to: &Destination<'_>) -> Result<Option<String>, String> {
    let (before, last) = match hops.rsplit_once(',') {
        Some((before, last)) => (Some(before), last),
        None => (None, hops),
    };
    let wrong = || format!("`{hops}` is no jump host: write [user@]host[:port]");
    let last = last.trim().strip_prefix("ssh://").unwrap_or(last.trim()).trim_end_matches('/');
    let (user, place) = last.rsplit_once('@').map_or((None, last), |(user, place)| (Some(user), place));
    let (host, port) = match place.strip_prefix('[').and_then(|p| p.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        // More than one colon is an IPv6 address without a port.
        None if place.matches(':').count() == 1 => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        None => (place, None),
    };
    if host.is_empty() || port.is_some_and(|p| p.parse::<u16>().is_err()) {
        return Err(wrong());
    }
    // The jump host itself is reached without jumping, also where the configuration says `Host *`.
    if before.is_none() && (host == to.named || host == to.address) {
        return Ok(None);
    }
    let mut command = "ssh -o BatchMode=yes".to_owned();
    for (option, value) in [("-J", before), ("-l", user), ("-p", port)] {
        if let Some(value) = value {
            command.push_str(&format!(" {option} {}", safe(value)?));
        }
    }
    let address = if to.address.contains(':') { format!("[{}]", to.address) } else { to.address.to_owned() };
    Ok(Some(format!("{command} -W '{}:{}' -- {}", safe(&address)?, to.port, safe(host)?)))
}

/// Puts the connection into a command's `%h`, `%p` and so on.
fn fill(text: &str, to: &Destination<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('h') => out.push_str(safe(to.address)?),
            Some('n') => out.push_str(safe(to.named)?),
            Some('p') => out.push_str(&to.port.to_string()),
            Some('r') => out.push_str(safe(to.user)?),
            Some('d') => out.push_str(&expand("~/").display().to_string()),
            Some('u') => out.push_str(&User::from_uid(Uid::current()).ok().flatten().map(|u| u.name).unwrap_or_default()),
            other => {
                let token: String = other.into_iter().collect();
                return Err(format!("`%{token}` in `{text}` is not known: there are %h, %n, %p, %r, %d, %u and %%"));
            }
        }
    }
    Ok(out)
}

/// Names go into a shell's command: nothing in them may mean anything to it, nor be an option.
fn safe(name: &str) -> Result<&str, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '@' | '[' | ']' | ',' | '%');
    if name.starts_with('-') || !name.chars().all(fine) {
        return Err(format!("`{name}` can't be part of a command: it is no name or address"));
    }
    Ok(name)
}

/// A program that carries a connection. It ends with this value.
pub struct Carrier {
    child: Child,
    complaints: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Carrier {
    /// Starts `command`; the socket is the connection.
    pub fn start(command: &str) -> io::Result<(UnixStream, Self)> {
        let (ours, theirs) = UnixStream::pair()?;
        let input: OwnedFd = theirs.try_clone()?.into();
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped())
            // Nobody is asked: many hosts at once would all ask at one terminal. Keys and SSH agents answer.
            .env("SSH_ASKPASS", "/bin/false")
            .env("SSH_ASKPASS_REQUIRE", "force")
            // Ctrl-C is for fettle, which lets hosts finish what they are at.
            .process_group(0);
        let mut child = limit::as_started(&mut shell).spawn()?;
        let complaints = Arc::new(Mutex::new(vec![]));
        let (kept, errors) = (complaints.clone(), child.stderr.take());
        let reader = std::thread::Builder::new().name("proxy".into()).stack_size(STACK).spawn(move || {
            let Some(mut errors) = errors else { return };
            let mut buffer = [0u8; 1024];
            while let Ok(n @ 1..) = errors.read(&mut buffer) {
                let mut all = kept.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend_from_slice(&buffer[..n]);
                let excess = all.len().saturating_sub(COMPLAINTS);
                all.drain(..excess);
            }
        })?;
        Ok((ours, Self { child, complaints, reader: Some(reader) }))
    }

    /// Ends it, and tells what it complained about.
    pub fn end(&mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Something it started may hold its error output open, and is not waited for longer.
        let begin = Instant::now();
        while self.reader.as_ref().is_some_and(|r| !r.is_finished()) && begin.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(2));
        }
        let all = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&all).lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: Destination<'_> = Destination { named: "node1", address: "10.0.0.1", port: 2222, user: "ops" };

    #[test]
    fn jumps_become_commands() {
        let command = |value: &str| Proxy::read("ProxyJump", value).command(&TO);
        for (value, wanted) in [
            ("bastion", "ssh -o BatchMode=yes -W '10.0.0.1:2222' -- bastion"),
            ("me@bastion:22", "ssh -o BatchMode=yes -l me -p 22 -W '10.0.0.1:2222' -- bastion"),
            ("a,me@b:22, ssh://you@[fd00::1]:23", "ssh -o BatchMode=yes -J a,me@b:22 -l you -p 23 -W '10.0.0.1:2222' -- fd00::1"),
        ] {
            assert_eq!(command(value), Ok(Some(wanted.to_owned())), "{value}");
        }
        let six = Destination { address: "fd00::5", ..TO };
        let through = Proxy::Jump("b".into()).command(&six);
        assert_eq!(through, Ok(Some("ssh -o BatchMode=yes -W '[fd00::5]:2222' -- b".into())));
        for straight in ["none", "10.0.0.1", "me@node1"] {
            assert_eq!(command(straight), Ok(None), "{straight}");
        }
        for wrong in ["a;reboot", "-oProxyCommand=x", "b:99999", "$(x)", "me@"] {
            assert!(command(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn commands_are_filled_in() {
        let command = |value: &str| Proxy::read("ProxyCommand", value).command(&TO);
        assert_eq!(command("ssh -W %h:%p -q %r@b 2>%%1"), Ok(Some("ssh -W 10.0.0.1:2222 -q ops@b 2>%1".into())));
        assert!(command("x %Z").unwrap_err().contains("`%Z` in `x %Z` is not known"));
        let evil = Destination { address: "x;reboot", ..TO };
        assert!(Proxy::Command("nc %h %p".into()).command(&evil).is_err());
    }

    #[test]
    fn what_a_program_complains_about_is_told() {
        let (socket, mut carrier) = Carrier::start("sh -c 'echo no such host >&2; exit 1'").unwrap();
        assert_eq!((&socket).read(&mut [0]).unwrap(), 0);
        assert_eq!(carrier.end(), "no such host");
    }
}
