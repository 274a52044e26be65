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

/// The command, safe for any login shell: one word in single quotes, on one line (csh wants no more), for `/bin/sh`.
///
/// The agent lies in a folder that only its owner can write to, named by its hash, and is checked by hash before each
/// use. Old ones are removed, the three that came last stay. `cache`: the folder to put that folder into, as
/// [`cache_folder`] gives it; `None`: the user's cache. The agent has the login's umask, which tasks see.
pub fn command(agents: &[Agent], sudo: Sudo, cache: Option<&str>) -> String {
    let mut cases = String::new();
    for agent in agents {
        let unpack = if agent.packed { "gzip -dc" } else { "cat" };
        cases.push_str(&format!("{}) h={} n={} u=\"{unpack}\";; ", agent.machine, agent.hash, agent.content.len()));
    }
    let start = match sudo {
        Sudo::No => "exec \"$f\" serve".to_owned(),
        Sudo::WithoutPassword => "if [ \"$(id -u)\" = 0 ]; then exec \"$f\" serve; fi; exec sudo -n -- \"$f\" serve".to_owned(),
        Sudo::WithPassword => {
            format!("if [ \"$(id -u)\" = 0 ]; then exec \"$f\" serve; fi; exec sudo -S -p {SUDO_PROMPT} -- \"$f\" serve")
        }
    };
    let base = cache.unwrap_or("${XDG_CACHE_HOME:-${HOME:-/root}}/.cache");
    // Who may write to the folder above could put another one in its place.
    let above = match cache {
        Some(_) => r#"mkdir -p "$b"; if [ -L "$b" ] || [ ! -O "$b" ]; then fail "$b belongs to somebody else or is a link"; fi"#,
        None => ":",
    };
    let script = [
        // The login's own umask is for what the agent makes; nobody else may write to what is made here.
        &format!(r#"k=$(umask); umask 077; m=$(uname -m); h=; case "$m" in {cases}esac"#),
        // Behind a line break: what start-up files printed may have had none.
        &format!(r#"fail() {{ rm -f "$f.$$"; echo; echo "{FAILED}$1"; exit 91; }}"#),
        &format!(r#"if [ -z "$h" ]; then echo; echo "{NO_AGENT}$m"; exit 90; fi"#),
        &format!(r#"b={base}; d=$b/fettle; f=$d/agent-$h"#),
        above,
        r#"if [ -d "$d" ]; then p=$(stat -c %a "$d"); else p=700; mkdir -p "$d" || fail "$d can not be made"; fi"#,
        r#"if [ -L "$d" ] || [ ! -O "$d" ]; then fail "$d belongs to somebody else or is a link: remove it"; fi"#,
        r#"case $p in ""|*[2367]?|*[2367]) fail "$d can be written to by others: remove it, or chmod 700 it";; esac"#,
        r#"good() { [ -f "$f" ] && [ ! -L "$f" ] && [ -O "$f" ] && s=$(sha256sum <"$f") && [ "${s%% *}" = "$h" ]; }"#,
        &format!(r#"if ! good; then echo; echo "{NEED}$m""#),
        r#"head -c "$n" | $u >"$f.$$" || fail "the agent can not be written to $d""#,
        // No removal before: another run may have put it there a moment ago and start it now.
        r#"chmod 700 "$f.$$" && mv -f "$f.$$" "$f"; good || fail "the agent arrived damaged, or $d has no room""#,
        r#"set -- "$d"/agent-*"#,
        // What has a dot in its name is being written by another run, or was given up long ago.
        r#"if [ $# -gt 3 ]; then ls -t "$d" | grep "^agent-[0-9a-f]*\$" | tail -n +4 | while read -r o; do rm -f "$d/$o"; done"#,
        r#"find "$d" -name "agent-*.*" -mtime +0 -exec rm -f {} +; fi; fi"#,
        r#"umask "$k""#,
        &start,
    ]
    .join("; ");
    format!("/bin/sh -c '{script}'")
}

/// The folder that `ansible_remote_tmp` names, for the script: `~` and variables are the host's.
///
/// # Errors
/// What can't be part of the script.
pub fn cache_folder(named: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:=,~${}".contains(c);
    if let Some(wrong) = named.chars().find(|c| !fine(*c)) {
        return Err(format!("`{named}` has a {wrong:?}: it may have letters, digits, `/._-+@%:=,`, `~` at its beginning, and variables"));
    }
    let path = match named.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("$HOME{rest}"),
        _ => named.to_owned(),
    };
    if path.contains('~') || !(path.starts_with('/') || path.starts_with('$')) {
        return Err(format!("`{named}` is no absolute path"));
    }
    Ok(format!("\"{path}\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_command_is_one_word_for_the_shell() {
        let agent = Agent { machine: "x86_64", path: "/x".into(), hash: "ab".into(), content: Arc::new(vec![0; 7]), packed: true };
        for sudo in [Sudo::No, Sudo::WithoutPassword, Sudo::WithPassword] {
            for cache in [None, Some("~/.ansible/tmp"), Some("/var/tmp/${USER}")] {
                let cache = cache.map(|c| cache_folder(c).unwrap());
                let command = command(std::slice::from_ref(&agent), sudo, cache.as_deref());
                assert_eq!(command.matches('\'').count(), 2, "no quote may stand inside:\n{command}");
                assert!(!command.contains('\n'), "csh takes no line breaks in quotes");
                let checked = std::process::Command::new("sh").args(["-n", "-c", &command]).status().unwrap();
                assert!(checked.success(), "{command}");
            }
        }
        for wrong in ["$(id)", "/a b", "relative/path", "/a/~/b", "`id`", "/a'b"] {
            assert!(cache_folder(wrong).is_err(), "{wrong}");
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
                .args(["-c", &format!("umask 0027; {}", command(std::slice::from_ref(&agent), sudo, None))])
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
