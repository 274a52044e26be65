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
/// use. Old ones are removed, the three that came last stay.
pub fn command(agents: &[Agent], sudo: Sudo) -> String {
    let mut cases = String::new();
    for agent in agents {
        let unpack = if agent.packed { "gzip -dc" } else { "cat" };
        cases.push_str(&format!("{}) h={} n={} u=\"{unpack}\";; ", agent.machine, agent.hash, agent.content.len()));
    }
    let start = match sudo {
        Sudo::No => "exec \"$f\" serve".to_owned(),
        Sudo::WithoutPassword => "if [ \"$(id -u)\" = 0 ]; then exec \"$f\" serve; fi; exec sudo -n -- \"$f\" serve".to_owned(),
        Sudo::WithPassword => format!("if [ \"$(id -u)\" = 0 ]; then exec \"$f\" serve; fi; exec sudo -S -p {SUDO_PROMPT} -- \"$f\" serve"),
    };
    let script = format!(
        r#"umask 077; m=$(uname -m); h=; case "$m" in {cases}esac
fail() {{ echo "{FAILED}$1"; exit 91; }}
if [ -z "$h" ]; then echo "{NO_AGENT}$m"; exit 90; fi
b=${{XDG_CACHE_HOME:-${{HOME:-/root}}/.cache}}; d=$b/fettle; f=$d/agent-$h
if [ -d "$d" ]; then p=$(stat -c %a "$d"); else p=700; mkdir -p "$d" || fail "$d can not be made"; fi
if [ -L "$d" ] || [ ! -O "$d" ]; then fail "$d belongs to somebody else or is a link: remove it"; fi
case $p in ""|*[2367]?|*[2367]) fail "$d can be written to by others: remove it, or chmod 700 it";; esac
good() {{ [ -f "$f" ] && [ ! -L "$f" ] && [ -O "$f" ] && s=$(sha256sum <"$f") && [ "${{s%% *}}" = "$h" ]; }}
if ! good; then
if [ -e "$f" ] || [ -L "$f" ]; then rm -f "$f"; fi
echo "{NEED}$m"
head -c "$n" | $u >"$f.$$" || fail "the agent can not be written to $d"
chmod 700 "$f.$$" && mv -f "$f.$$" "$f"; good || fail "the agent arrived damaged, or $d has no room"
set -- "$d"/agent-*
[ $# -le 3 ] || ls -t "$d" | grep "^agent-" | tail -n +4 | while read -r o; do rm -f "$d/$o"; done
fi
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
}
