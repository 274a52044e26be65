//! Running commands.

use crate::host::act::Act;
use crate::host::change::Run;
use crate::host::identity;
use crate::host::real::words;
use crate::host::{Change, ChangeError, FileKind, Outcome, Overlay, RealHost, View, clock};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Map, Value as Json, json};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Instant, SystemTime};

/// Most bytes kept of each of a command's outputs; the rest is read and dropped. Two of them, escaped, fit a message.
pub(crate) const OUTPUT_LIMIT: usize = 4 << 20;

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Captured {
    /// Exit status; less than 0: ended by that signal.
    pub rc: i32,
    /// Output, at most [`OUTPUT_LIMIT`], as text.
    pub stdout: String,
    /// Error output, likewise.
    pub stderr: String,
    /// When it began and ended.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// How long it took.
    pub took: std::time::Duration,
}

/// Runs `argv` to its end as the user the process acts as, with real and saved ids too, so that it can't go back.
pub(crate) fn capture(
    argv: &[String],
    chdir: Option<&Path>,
    stdin: Option<&[u8]>,
    environment: &[(String, String)],
) -> io::Result<Captured> {
    let (name, arguments) = argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command given"))?;
    let path = environment.iter().rev().find(|(k, _)| k == "PATH").map(|(_, v)| v.as_str());
    let mut command = Command::new(program(name, chdir, path)?);
    command.arg0(name).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.env("PATH", identity::search_path()).envs(identity::environment()).envs(environment.iter().map(|(k, v)| (k, v)));
    if let Some(folder) = chdir {
        command.current_dir(folder);
    }
    take_real_ids(&mut command);
    let (start, clock) = (SystemTime::now(), Instant::now());
    let mut child = command.spawn()?;
    let (stdout, stderr) = collect(&mut child, stdin)?;
    let status = child.wait()?;
    let rc = status.code().or_else(|| status.signal().map(|s| -s)).unwrap_or(-1);
    Ok(Captured { rc, stdout, stderr, start, end: SystemTime::now(), took: clock.elapsed() })
}

/// The program's file: a plain name is looked for in the search path (the command's own where it is given one).
fn program(name: &str, chdir: Option<&Path>, path: Option<&str>) -> io::Result<PathBuf> {
    if !name.contains('/') {
        if let Some(path) = path {
            let found = std::env::split_paths(path)
                .map(|folder| folder.join(name))
                .find(|file| RealHost.program(&file.to_string_lossy()).is_some());
            return found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT));
        }
        return RealHost.program(name).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT));
    }
    // A relative path counts from the folder the command starts in.
    Ok(match chdir {
        Some(folder) if !name.starts_with('/') => folder.join(name),
        _ => PathBuf::from(name),
    })
}

/// Between fork and exec, the effective ids become the only ones.
fn take_real_ids(command: &mut Command) {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    if (uid, gid) == (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw()) {
        return;
    }
    let ids = move || {
        // SAFETY: system calls with plain numbers, allowed after a fork. Not the C library's functions, which would
        // signal the other threads that are not there in the child.
        let done =
            unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0 && libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0 };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes only the two system calls above.
    unsafe {
        command.pre_exec(ids);
    }
}

/// Feeds and drains the child until it ended and its outputs did. A daemon it leaves behind may hold them open: then
/// what came before the child's end counts.
fn collect(child: &mut Child, stdin: Option<&[u8]>) -> io::Result<(String, String)> {
    let mut input = child.stdin.take();
    if let Some(input) = &input {
        let flags = nix::fcntl::OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(input, nix::fcntl::FcntlArg::F_SETFL(flags))?;
    }
    let mut rest = stdin.unwrap_or_default();
    let mut out = Pipe::new(child.stdout.take());
    let mut err = Pipe::new(child.stderr.take());
    let mut ended = false;
    loop {
        if rest.is_empty() {
            input = None;
        }
        if out.from.is_none() && err.from.is_none() && input.is_none() {
            break;
        }
        let events = wait(out.from.as_ref(), err.from.as_ref(), input.as_ref())?;
        if events == [false; 3] {
            if ended {
                break;
            }
            ended = child.try_wait()?.is_some();
            continue;
        }
        let [out_ready, err_ready, in_ready] = events;
        if out_ready {
            out.read()?;
        }
        if err_ready {
            err.read()?;
        }
        if let (true, Some(pipe)) = (in_ready, &mut input) {
            match pipe.write(rest) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // It does not want to read on.
                Err(_) => rest = &[],
            }
        }
    }
    Ok((out.text(), err.text()))
}

/// Waits up to a tenth of a second for something to do: (stdout, stderr, stdin).
fn wait(out: Option<&impl AsFd>, err: Option<&impl AsFd>, input: Option<&ChildStdin>) -> io::Result<[bool; 3]> {
    let mut fds = vec![];
    let mut which = vec![];
    let reads = PollFlags::POLLIN;
    let all = [(out.map(AsFd::as_fd), reads), (err.map(AsFd::as_fd), reads), (input.map(AsFd::as_fd), PollFlags::POLLOUT)];
    for (i, (fd, flags)) in all.into_iter().enumerate() {
        if let Some(fd) = fd {
            fds.push(PollFd::new(fd, flags));
            which.push(i);
        }
    }
    match poll(&mut fds, PollTimeout::from(100u8)) {
        Ok(_) | Err(nix::Error::EINTR) => {}
        Err(e) => return Err(e.into()),
    }
    let mut ready = [false; 3];
    for (fd, i) in fds.iter().zip(which) {
        if let Some(slot) = ready.get_mut(i) {
            *slot = fd.any().unwrap_or(false);
        }
    }
    Ok(ready)
}

/// One output of a child.
struct Pipe<R> {
    from: Option<R>,
    bytes: Vec<u8>,
    dropped: usize,
}

impl<R: Read> Pipe<R> {
    fn new(from: Option<R>) -> Self {
        Self { from, bytes: vec![], dropped: 0 }
    }

    /// Takes what is there.
    fn read(&mut self) -> io::Result<()> {
        let Some(from) = &mut self.from else { return Ok(()) };
        let mut buffer = [0u8; 1 << 14];
        match from.read(&mut buffer) {
            Ok(0) => self.from = None,
            Ok(n) => {
                let keep = n.min(OUTPUT_LIMIT.saturating_sub(self.bytes.len()));
                self.bytes.extend(buffer.iter().take(keep));
                self.dropped += n - keep;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn text(self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.dropped > 0 {
            text.push_str(&format!("\n[fettle: {} more bytes of output left out]", self.dropped));
        }
        text
    }
}

impl Run {
    /// As Ansible shows it: a shell's text, else the list of words.
    fn shown(&self) -> Json {
        match self.argv.as_slice() {
            [shell, flag, text] if shell.ends_with("sh") && flag == "-c" => json!(text),
            argv => json!(argv),
        }
    }
}

/// A result's fields under Ansible's names.
fn fields(cmd: Json, output: &Captured) -> Map<String, Json> {
    let (stdout, stderr) = (output.stdout.trim_end_matches(['\r', '\n']), output.stderr.trim_end_matches(['\r', '\n']));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let mut fields = Map::new();
    fields.insert("cmd".into(), cmd);
    fields.insert("rc".into(), json!(output.rc));
    fields.insert("stdout".into(), json!(stdout));
    fields.insert("stderr".into(), json!(stderr));
    fields.insert("stdout_lines".into(), json!(lines(stdout)));
    fields.insert("stderr_lines".into(), json!(lines(stderr)));
    fields.insert("start".into(), json!(clock::local(output.start)));
    fields.insert("end".into(), json!(clock::local(output.end)));
    fields.insert("delta".into(), json!(clock::delta(output.took)));
    fields
}

impl Act for Run {
    fn describe(&self) -> String {
        if self.secret {
            return "run a command (not shown)".into();
        }
        let text = match self.shown() {
            Json::String(text) => text,
            _ => self.argv.join(" "),
        };
        let line = text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default().to_owned();
        let more = if text.trim().lines().count() > 1 { " …" } else { "" };
        let folder = self.chdir.as_ref().map(|c| format!(" (in {})", c.display())).unwrap_or_default();
        format!("run {line}{more}{folder}")
    }

    /// Nobody can say what a command does: nothing is laid over the host. Whoever asked must call the result unknown.
    fn predict(&self, _: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        let refused = |rc: i32, message: String| {
            let mut e = ChangeError::new(message);
            e.fields.extend([("cmd".to_owned(), self.shown()), ("rc".to_owned(), json!(rc))]);
            e
        };
        if let Some(folder) = &self.chdir {
            match RealHost.stat(folder, true)? {
                Some(stat) if stat.kind == FileKind::Directory => {}
                _ => {
                    return Err(refused(
                        257,
                        format!("unable to change to the directory {} before running: there is none", folder.display()),
                    ));
                }
            }
        }
        let stdin = self.stdin.as_ref().map(String::as_bytes);
        let output = capture(&self.argv, self.chdir.as_deref(), stdin, &self.environment).map_err(|e| {
            let name = self.argv.first().map(String::as_str).unwrap_or_default();
            match e.kind() {
                io::ErrorKind::NotFound => refused(2, format!("there is no program `{name}` on this host")),
                io::ErrorKind::PermissionDenied => refused(13, format!("no permission to run `{name}`")),
                _ => refused(e.raw_os_error().unwrap_or(1), format!("`{name}` could not be run: {}", words(&e))),
            }
        })?;
        let fields = fields(self.shown(), &output);
        match output.rc {
            0 => Ok(Outcome { fields }),
            rc if rc < 0 => {
                let name = nix::sys::signal::Signal::try_from(-rc).map_or("unknown", |s| s.as_str());
                Err(ChangeError { fields, ..ChangeError::new(format!("the command was ended by signal {} ({name})", -rc)) })
            }
            _ => Err(ChangeError { fields, ..ChangeError::new("non-zero return code") }),
        }
    }

    /// Its return code was all there is to check.
    fn verify(&self, _: &dyn View) -> Result<(), ChangeError> {
        Ok(())
    }

    fn undo(&self, _: &dyn View) -> Result<Vec<Change>, String> {
        Err("what a command did can't be undone".into())
    }
}

/// Splits a command into words as a shell does, without expanding anything.
pub fn split_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("a single quote is not closed".into()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err("a double quote is not closed".into()),
                        },
                        Some(c) => word.push(c),
                        None => return Err("a double quote is not closed".into()),
                    }
                }
            }
            '\\' => match chars.next() {
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("a backslash ends the text".into()),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(argv: &[&str]) -> Run {
        Run { argv: argv.iter().map(|s| (*s).to_owned()).collect(), chdir: None, stdin: None, environment: vec![], secret: false }
    }

    #[test]
    fn a_command_gives_ansibles_fields() {
        let change = Run {
            stdin: Some("in\n".into()),
            environment: vec![("X".into(), "y".into())],
            chdir: Some("/".into()),
            ..run(&["/bin/sh", "-c", "cat; echo $X; pwd; echo oops >&2"])
        };
        let fields = change.perform().unwrap().fields;
        assert_eq!(fields["stdout"], "in\ny\n/");
        assert_eq!(fields["stdout_lines"], json!(["in", "y", "/"]));
        assert_eq!((&fields["stderr"], &fields["rc"]), (&json!("oops"), &json!(0)));
        assert_eq!(fields["cmd"], "cat; echo $X; pwd; echo oops >&2");
        assert!(fields["delta"].as_str().unwrap().starts_with("0:00:0"));
    }

    #[test]
    fn failures_keep_what_was_said() {
        let e = run(&["/bin/sh", "-c", "echo no >&2; exit 7"]).perform().unwrap_err();
        assert_eq!((e.message.as_str(), &e.fields["rc"], &e.fields["stderr"]), ("non-zero return code", &json!(7), &json!("no")));
        let e = run(&["no-such-program-at-all"]).perform().unwrap_err();
        assert_eq!(e.fields["rc"], 2);
        let e = Run { environment: vec![("PATH".into(), "/nowhere".into())], ..run(&["sh", "-c", "true"]) }.perform().unwrap_err();
        assert_eq!(e.fields["rc"], 2, "the command's own search path counts");
        let e = run(&["/bin/sh", "-c", "kill -9 $$"]).perform().unwrap_err();
        assert_eq!(e.fields["rc"], -9);
        assert!(e.message.contains("SIGKILL"));
        let e = Run { chdir: Some("/nowhere/at/all".into()), ..run(&["true"]) }.perform().unwrap_err();
        assert!(e.message.contains("/nowhere/at/all"));
        assert!(run(&[]).perform().is_err());
    }

    #[test]
    fn large_outputs_are_cut_and_never_block() {
        let big = "x".repeat(300_000);
        let change = Run { stdin: Some(big.clone()), ..run(&["/bin/sh", "-c", "cat >&2; head -c 5000000 /dev/zero | tr '\\0' a"]) };
        let fields = change.perform().unwrap().fields;
        assert_eq!(fields["stderr"].as_str().unwrap().len(), big.len());
        let stdout = fields["stdout"].as_str().unwrap();
        assert!(stdout.len() < OUTPUT_LIMIT + 100 && stdout.ends_with("more bytes of output left out]"));
    }

    #[test]
    fn a_daemon_left_behind_does_not_hold_the_run() {
        let begin = Instant::now();
        let fields = run(&["/bin/sh", "-c", "echo started; sleep 5 &"]).perform().unwrap().fields;
        assert_eq!(fields["stdout"], "started");
        assert!(begin.elapsed().as_secs() < 3);
    }

    #[test]
    fn words_split_as_in_a_shell() {
        assert_eq!(split_words(r#"a 'b c'  "d \" e"\ f ''"#).unwrap(), ["a", "b c", "d \" e f", ""]);
        assert!(split_words("a 'b").is_err());
    }
}
