//! The one shell command that starts the agent on a host, and asks for it where it is missing.

use super::agents::Agent;

/// Printed when the host needs the agent's program, before it waits for exactly its bytes.
pub const NEED: &str = "FETTLE-NEED ";
/// Printed when there is no agent for this kind of machine.
pub const NO_AGENT: &str = "FETTLE-NO-AGENT ";
/// Printed when the agent can't be put in place, with the reason.
pub const FAILED: &str = "FETTLE-FAILED ";
/// Printed by the agent itself, first of all: from here on there are only frames.
pub const READY: &str = "FETTLE-READY";
/// What sudo asks for a password with.
pub const SUDO_PROMPT: &str = "FETTLE-SUDO-PASSWORD:";

/// How the agent gets root's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sudo {
    /// Not needed.
    No,
    /// `sudo -n`: no password is known.
    WithoutPassword,
    /// `sudo -S`: the password is sent when asked for.
    WithPassword,
}

/// The command, safe for any login shell: one word in single quotes for `/bin/sh`.
///
/// The agent lies in a folder that only its owner can write to, named by its hash, and is checked by hash before each
/// use. Old ones are removed, the newest three stay. It runs with the umask of the login, which tasks see.
pub fn command(agents: &[Agent], sudo: Sudo) -> String {
    let mut cases = String::new();
    for agent in agents {
        let unpack = if agent.packed { "gzip -dc" } else { "cat" };
        cases.push_str(&format!("{}) h={} n={} u=\"{unpack}\";; ", agent.machine, agent.hash, agent.content.len()));
    }
    let start = match sudo {
        Sudo::No => "umask $k; exec \"$f\" serve".to_owned(),
        Sudo::WithoutPassword => "umask $k; if [ \"$(id -u)\" = 0 ]; then exec \"$f\" serve; fi; exec sudo -n -- \"$f\" serve".to_owned(),
        Sudo::WithPassword => {
            format!("umask $k; if [ \"$(id -u)\" = 0 ]; then exec \"$f\" serve; fi; exec sudo -S -p {SUDO_PROMPT} -- \"$f\" serve")
        }
    };
    let script = format!(
        r#"k=$(umask); umask 077; m=$(uname -m); h=; case "$m" in {cases}esac
fail() {{ echo "{FAILED}$1"; exit 91; }}
if [ -z "$h" ]; then echo "{NO_AGENT}$m"; exit 90; fi
b=${{XDG_CACHE_HOME:-${{HOME:-/root}}/.cache}}; d=$b/fettle; f=$d/agent-$h
[ -d "$d" ] || mkdir -p "$d" || fail "$d can not be made"
if [ -L "$d" ] || [ ! -O "$d" ]; then fail "$d belongs to somebody else or is a link: remove it"; fi
case $(stat -c %a "$d") in *[2367]?|*[2367]) fail "$d can be written to by others: remove it, or chmod 700 it";; esac
good() {{ [ -f "$f" ] && [ ! -L "$f" ] && [ -O "$f" ] && [ "$(sha256sum <"$f" | cut -c1-64)" = "$h" ]; }}
if ! good; then
rm -f "$f"; echo "{NEED}$m"
head -c "$n" | $u >"$f.$$" || fail "the agent can not be written to $d"
chmod 700 "$f.$$" && mv -f "$f.$$" "$f"; good || fail "the agent arrived damaged, or $d has no room"
ls -t "$d" | grep "^agent-" | tail -n +4 | while read -r o; do rm -f "$d/$o"; done
else touch "$f"; fi
{start}"#
    );
    format!("/bin/sh -c '{script}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_command_is_one_word_for_the_shell() {
        let agent = Agent { machine: "x86_64", path: "/x".into(), hash: "ab".into(), content: Arc::new(vec![0; 7]), packed: true };
        for sudo in [Sudo::No, Sudo::WithoutPassword, Sudo::WithPassword] {
            let command = command(std::slice::from_ref(&agent), sudo);
            assert_eq!(command.matches('\'').count(), 2, "no quote may stand inside:\n{command}");
            let checked = std::process::Command::new("sh").args(["-n", "-c", &command]).status().unwrap();
            assert!(checked.success());
        }
    }

    #[test]
    fn the_agent_has_the_umask_of_the_login() {
        use std::io::Write;
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let program = b"#!/bin/sh\numask\n".to_vec();
        let machine = nix::sys::utsname::uname().unwrap().machine().to_string_lossy().into_owned().leak();
        let hash = crate::host::cache::hash(&program);
        let agent = Agent { machine, path: "/x".into(), hash: hash.clone(), content: Arc::new(program.clone()), packed: false };
        for sudo in [Sudo::No, Sudo::WithoutPassword] {
            if sudo != Sudo::No && !nix::unistd::geteuid().is_root() {
                continue;
            }
            let mut shell = std::process::Command::new("sh")
                .args(["-c", &format!("umask 0027; {}", command(std::slice::from_ref(&agent), sudo))])
                .env("HOME", home.path())
                .env_remove("XDG_CACHE_HOME")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            // The second time it is there already.
            let _ = shell.stdin.take().unwrap().write_all(&program);
            let output = shell.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(said.lines().last(), Some("0027"), "{sudo:?}: {said}");
        }
        let mode = |path: &str| std::fs::metadata(home.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(".cache/fettle"), mode(&format!(".cache/fettle/agent-{hash}"))), (0o700, 0o700));
    }
}
