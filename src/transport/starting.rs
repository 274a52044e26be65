//! From the login to the agent's first frame: what the shell prints, what it is sent, and why no agent started.

use super::agents;
use super::bootstrap::{FAILED, NEED, NO_AGENT, READY, SUDO_PROMPT};
use super::error::LinkError;
use super::target::Target;

/// Most bytes of noise (messages of the day, output of shell start-up files) before the agent's first line.
const NOISE_LIMIT: usize = 64 << 10;
/// Most bytes of noise kept for messages.
const NOISE_KEPT: usize = 2 << 10;

/// What a line means.
pub enum Said {
    /// Nothing, so far.
    Nothing,
    /// The agent's program is to be sent.
    Send(&'static agents::Agent),
    /// The agent runs.
    Ready,
}

/// The talk before the agent runs.
#[derive(Default)]
pub struct Starting {
    /// How much was printed that means nothing.
    noise: usize,
    kept: String,
    /// The agent was asked for: once is enough.
    asked: bool,
    /// The script gave up; its programs' complaints may still be on the way.
    failed: Option<String>,
    password_sent: bool,
}

impl Starting {
    /// Takes one line that was printed.
    ///
    /// # Errors
    /// There is no agent for this machine, or the host prints without end.
    pub fn line(&mut self, line: &str) -> Result<Said, LinkError> {
        // What was printed without a line break may stand before.
        if line.ends_with(READY) {
            return Ok(Said::Ready);
        }
        if let Some((_, machine)) = line.rsplit_once(NEED) {
            if std::mem::replace(&mut self.asked, true) {
                return Err(LinkError::Agent("the host asks for the agent again and again".into()));
            }
            return Ok(Said::Send(agents::for_machine(machine).map_err(LinkError::Agent)?));
        }
        if let Some((_, machine)) = line.rsplit_once(NO_AGENT) {
            return Err(LinkError::Agent(agents::for_machine(machine).err().unwrap_or_else(|| format!("no agent for {machine}"))));
        }
        if let Some((_, reason)) = line.rsplit_once(FAILED) {
            self.failed = Some(reason.to_owned());
            return Ok(Said::Nothing);
        }
        self.noise += line.len() + 1;
        if !line.trim().is_empty() {
            self.kept.push_str(line.trim());
            self.kept.push('\n');
            let excess = self.kept.len().saturating_sub(NOISE_KEPT);
            let cut = self.kept.char_indices().map(|(at, _)| at).find(|at| *at >= excess).unwrap_or(self.kept.len());
            self.kept.drain(..cut);
        }
        self.within(0)?;
        Ok(Said::Nothing)
    }

    /// Fails where the login prints more than it may; `unfinished`: bytes of a line that has not ended yet.
    pub fn within(&self, unfinished: usize) -> Result<(), LinkError> {
        if self.noise + unfinished <= NOISE_LIMIT {
            return Ok(());
        }
        Err(LinkError::Agent("the login shell prints without end before the agent starts: quiet its start-up files".into()))
    }

    /// What to answer sudo with, which has asked on standard error: the password, once.
    pub fn sudo(&mut self, errors: &[u8], target: &Target) -> Result<Option<String>, LinkError> {
        let asked = String::from_utf8_lossy(errors).matches(SUDO_PROMPT).count();
        match (&target.become_password, asked) {
            (_, 0) => Ok(None),
            (Some(password), 1) if !self.password_sent => {
                self.password_sent = true;
                Ok(Some(format!("{password}\n")))
            }
            (_, 1) => Ok(None),
            _ => Err(LinkError::Sudo(format!("sudo does not take the password of {}", target.user))),
        }
    }

    /// Why the shell ended without an agent.
    pub fn ended(&self, code: Option<i32>, errors: &[u8], target: &Target) -> LinkError {
        let text = String::from_utf8_lossy(errors).replace(SUDO_PROMPT, "");
        let user = &target.user;
        let has = |words: &[&str]| words.iter().any(|w| text.contains(w));
        if let Some(reason) = &self.failed {
            return LinkError::Agent(format!("the agent can't be put in place: {reason}{}{ELSEWHERE}", words("", &text)));
        }
        if has(&["a password is required"]) {
            LinkError::Sudo(format!("sudo wants a password for {user}: give it with -K, or in ansible_become_password"))
        } else if has(&["is not in the sudoers file", "is not allowed to", "may not run sudo"]) {
            LinkError::Sudo(format!("{user} may not use sudo here"))
        } else if has(&["sudo: not found", "sudo: command not found", "exec: sudo:"]) {
            LinkError::Sudo("there is no sudo here: log in as root, or install it".into())
        } else if has(&["you must have a tty", "a terminal is required"]) {
            LinkError::Sudo(format!(
                "sudo insists on a terminal for {user} (requiretty): take `Defaults requiretty` out of its configuration"
            ))
        } else if has(&["incorrect password", "Sorry, try again"]) {
            LinkError::Sudo(format!("sudo does not take the password of {user}"))
        } else if code == Some(126) && has(&["Permission denied"]) {
            LinkError::Agent(format!(
                "the agent can't be started where it lies: the filesystem may be mounted noexec{}{ELSEWHERE}",
                words("", &text)
            ))
        } else {
            let code = code.map(|c| format!(" (code {c})")).unwrap_or_default();
            LinkError::Agent(format!(
                "the agent did not start{code}{}. It is started by `/bin/sh`: a login shell or forced command (ForceCommand, or command= in \
                 authorized_keys) that runs no commands is in its way",
                words(&self.kept, &text)
            ))
        }
    }
}

/// How to have the agent in another folder.
const ELSEWHERE: &str = "; ansible_remote_tmp names another folder";

/// `; it said: …`, the last words first.
fn words(noise: &str, errors: &str) -> String {
    let lines: Vec<&str> = noise.lines().chain(errors.lines()).map(str::trim).filter(|l| !l.is_empty()).collect();
    // The last lines say why; the first ones are greetings.
    let last = &lines[lines.len().saturating_sub(4)..];
    if last.is_empty() { String::new() } else { format!("; it said: {}", last.join(" | ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_count_behind_noise_and_noise_is_bounded() {
        let mut starting = Starting::default();
        assert!(matches!(starting.line("\u{1b}]0;title\u{7}FETTLE-READY"), Ok(Said::Ready)));
        assert!(matches!(starting.line("Welcome"), Ok(Said::Nothing)));
        let endless = (0..10_000).find_map(|_| starting.line("noise and noise").err()).unwrap();
        assert!(endless.to_string().contains("prints without end"));
        assert!(Starting::default().within(NOISE_LIMIT + 1).is_err());
    }

    #[test]
    fn the_agent_is_sent_once() {
        let mut starting = Starting { asked: true, ..Starting::default() };
        assert!(starting.line("FETTLE-NEED x86_64").err().unwrap().to_string().contains("again and again"));
    }
}
