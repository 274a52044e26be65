//! Logging in: keys in files and in the SSH agent, the password.

use super::error::LinkError;
use super::target::Target;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ssh2::Session;
use std::path::{Path, PathBuf};

/// Logs in by the first way that works.
///
/// # Errors
/// None works: which were tried.
pub fn log_in(session: &Session, target: &Target) -> Result<(), LinkError> {
    let user = target.user.as_str();
    let mut tried: Vec<String> = vec![];
    let methods = session.auth_methods(user).map(str::to_owned).unwrap_or_default();
    if session.authenticated() {
        return Ok(());
    }
    let offers = |m: &str| methods.is_empty() || methods.split(',').any(|x| x == m);
    if offers("publickey") {
        let mut agent = Agent::of(session, target);
        for file in &target.identity_files {
            if !file.exists() {
                tried.push(format!("{} (does not exist)", file.display()));
                continue;
            }
            let public = public_key(file);
            // As OpenSSH: the agent has a key without its passphrase, or one whose private half is nowhere in a file.
            if let (Some(public), Ok(Some(agent))) = (&public, &mut agent)
                && agent.has(public)
            {
                if agent.log_in(user, |key| key == public) {
                    return Ok(());
                }
                tried.push(format!("{} (the SSH agent has it, and the server does not take it)", file.display()));
                continue;
            }
            match session.userauth_pubkey_file(user, None, file, None) {
                Ok(()) => return Ok(()),
                Err(e) => tried.push(format!("{} ({})", file.display(), plain(&e, file))),
            }
        }
        if !target.identities_only || target.identity_files.is_empty() {
            match &mut agent {
                Ok(None) => {}
                Ok(Some(agent)) => {
                    if agent.log_in(user, |_| true) {
                        return Ok(());
                    }
                    tried.push("the keys of the SSH agent".into());
                }
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
    let unfollowed = target.unfollowed.iter().map(|what| format!("; not followed: {what}")).collect::<String>();
    Err(LinkError::Auth(if tried.is_empty() {
        format!(
            "nothing to log in with as {user}{offered}: name a key (--private-key, ansible_ssh_private_key_file), start an SSH agent, or use \
             -k{unfollowed}"
        )
    } else {
        format!("logging in as {user} failed; tried {}{offered}{unfollowed}", tried.join(", "))
    }))
}

/// Why a key did not work, where libssh2's words need help.
fn plain(e: &ssh2::Error, file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let encrypted = text.contains("ENCRYPTED") || openssh(&text).is_some_and(|(cipher, _)| cipher != b"none");
    match (encrypted, public_line(&text)) {
        (true, _) => "it has a passphrase: add it to an SSH agent with ssh-add".into(),
        (false, Some(_)) => "it is a public key, and no SSH agent has the private one".into(),
        (false, None) => e.message().to_owned(),
    }
}

/// The public half of a key, from wherever it can be read without a passphrase.
fn public_key(file: &Path) -> Option<Vec<u8>> {
    let text = std::fs::read_to_string(file).ok()?;
    if let Some((_, public)) = openssh(&text) {
        return Some(public);
    }
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pub");
    public_line(&text).or_else(|| public_line(&std::fs::read_to_string(PathBuf::from(beside)).ok()?))
}

/// The key of a line such as `ssh-ed25519 AAAA… comment`.
fn public_line(text: &str) -> Option<Vec<u8>> {
    let mut words = text.lines().find(|l| !l.trim().is_empty())?.split_whitespace();
    let (kind, key) = (words.next()?, STANDARD.decode(words.next()?).ok()?);
    (super::known_hosts::kind_of(&key) == kind).then_some(key)
}

/// The cipher and the public key of a private key in OpenSSH's own form (its PROTOCOL.key).
fn openssh(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    text.contains("BEGIN OPENSSH PRIVATE KEY").then_some(())?;
    let body: String = text.lines().map(str::trim).filter(|l| !l.starts_with("-----")).collect();
    let bytes = STANDARD.decode(body).ok()?;
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0".as_slice())?;
    let (cipher, _kdf, _options) = (field(&mut rest)?, field(&mut rest)?, field(&mut rest)?);
    // How many keys follow: always one.
    rest = rest.get(4..)?;
    Some((cipher, field(&mut rest)?))
}

/// A text with its length before it.
fn field(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize;
    let (text, behind) = rest.get(4..)?.split_at_checked(length)?;
    *rest = behind;
    Some(text.to_vec())
}

/// The SSH agent and the keys it has.
struct Agent {
    agent: ssh2::Agent,
    keys: Vec<ssh2::PublicKey>,
}

impl Agent {
    /// The one that the configuration or the environment names; `None`: there is none.
    fn of(session: &Session, target: &Target) -> Result<Option<Self>, String> {
        let none = target.identity_agent.as_deref() == Some(Path::new("none"));
        if none || (target.identity_agent.is_none() && std::env::var_os("SSH_AUTH_SOCK").is_none()) {
            return Ok(None);
        }
        let told = |e: ssh2::Error| e.message().to_owned();
        let mut agent = session.agent().map_err(told)?;
        if let Some(path) = &target.identity_agent {
            agent.set_identity_path(path).map_err(told)?;
        }
        agent.connect().map_err(told)?;
        agent.list_identities().map_err(told)?;
        let keys = agent.identities().map_err(told)?;
        Ok(Some(Self { agent, keys }))
    }

    fn has(&self, public: &[u8]) -> bool {
        self.keys.iter().any(|k| k.blob() == public)
    }

    fn log_in(&self, user: &str, wanted: impl Fn(&[u8]) -> bool) -> bool {
        self.keys.iter().filter(|k| wanted(k.blob())).any(|k| self.agent.userauth(user, k).is_ok())
    }
}

struct Password<'a>(&'a str);

impl ssh2::KeyboardInteractivePrompt for Password<'_> {
    fn prompt<'a>(&mut self, _user: &str, _instructions: &str, prompts: &[ssh2::Prompt<'a>]) -> Vec<String> {
        prompts.iter().map(|_| self.0.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_halves_are_found_without_a_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let (key, other) = (folder.path().join("k"), folder.path().join("other"));
        for (path, kind, passphrase) in [(&key, "ed25519", "secret"), (&other, "rsa", "")] {
            let made = std::process::Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", passphrase, "-f"]).arg(path).status();
            assert!(made.unwrap().success());
        }
        let line = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let expected = public_line(&line).unwrap();
        assert_eq!(public_key(&key.with_extension("pub")).unwrap(), expected);
        std::fs::remove_file(key.with_extension("pub")).unwrap();
        assert_eq!(public_key(&key).unwrap(), expected, "from the private key alone");
        assert_eq!(openssh(&std::fs::read_to_string(&key).unwrap()).unwrap().0, b"aes256-ctr");
        assert!(public_key(&other).is_some());
        assert_eq!(public_line("no key at all"), None);
    }
}
