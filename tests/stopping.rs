//! Runs that end before their end, over real sshd: stopped by the operator, or because nobody is left; what they tell, and what
//! they leave for the next one.

mod support;

use nix::sys::signal::Signal::{self, SIGHUP, SIGINT};
use nix::unistd::Pid;
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::runs::{Playbook, events, said, text};
use support::{FETTLE, Lab};

fn signal(child: &Child, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// What `child` prints up to the line that holds `word`.
fn until(out: &mut impl BufRead, word: &str) -> Vec<u8> {
    let mut read = vec![];
    while !String::from_utf8_lossy(&read).contains(word) {
        assert_ne!(out.read_until(b'\n', &mut read).unwrap(), 0, "no `{word}`: {}", String::from_utf8_lossy(&read));
    }
    read
}

/// The end of a run whose output was read up to here.
fn ended(mut child: Child, mut out: impl Read, mut stdout: Vec<u8>) -> Output {
    let mut stderr = vec![];
    out.read_to_end(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    Output { status: child.wait().unwrap(), stdout, stderr }
}

fn appears(file: &Path) {
    let begun = Instant::now();
    while !file.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} does not appear", file.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn summary(output: &Output) -> Json {
    events(output).into_iter().find(|e| e["event"] == "recap").unwrap_or_else(|| panic!("{}", text(output)))["summary"].take()
}

/// The hosts that the recap has totals of, and those it calls not begun.
fn hosts(output: &Output) -> (Vec<String>, Json) {
    let mut summary = summary(output);
    (summary["hosts"].as_object().unwrap().keys().cloned().collect(), summary["not_started"].take())
}

#[test]
fn what_other_hosts_did_is_told_when_the_operator_stops() {
    let Some(lab) = Lab::new(3, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::tasks(
        "- {name: first, debug: {msg: x}}\n- {name: slow, shell: touch /root/begun; until test -e /root/go; do sleep 0.1; done}\n- {name: later, debug: {msg: x}}\n",
    );
    // The second host never answers, and it is not the third one's turn.
    lab.cause("node02", fettle::lab::Trouble::Freeze);
    let begin = || {
        lab.sh("node01", "rm -f /root/begun /root/go");
        let mut child = lab.start_fettle(&["apply", &playbook.path(), "--json", "-f", "2", "-T", "600"]);
        lab.wait_until("node01", "test -e /root/begun");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        signal(&child, SIGINT);
        let read = until(&mut out, "\"stopping\"");
        (child, out, read)
    };
    let (child, out, read) = begin();
    lab.sh("node01", "touch /root/go");
    let output = ended(child, out, read);
    assert_eq!(output.status.code(), Some(99), "{}", text(&output));
    assert_eq!((said(&output, "first"), said(&output, "later").len()), (vec!["node01: x".to_owned()], 0), "{}", text(&output));
    assert_eq!(said(&output, "slow").len(), 1, "{}", text(&output));
    assert_eq!(hosts(&output), (vec!["node01".to_owned()], json!(["node02", "node03"])), "each host is in one place");

    // Asked twice, the host in the middle of a change is told about, too.
    let (child, out, read) = begin();
    signal(&child, SIGINT);
    let output = ended(child, out, read);
    lab.sh("node01", "touch /root/go");
    assert_eq!((output.status.code(), said(&output, "first")), (Some(99), vec!["node01: x".to_owned()]), "{}", text(&output));
    let left: Vec<Json> = events(&output).into_iter().filter(|e| e["event"] == "unreachable").collect();
    assert_eq!((left.len(), &left[0]["host"]), (1, &json!("node01")), "{}", text(&output));
    assert!(left[0]["reason"].as_str().unwrap().starts_with("left behind: "), "{left:?}");
    lab.cause("node02", fettle::lab::Trouble::Thaw);
}

#[test]
fn ctrl_c_at_the_terminal_does_not_break_off_what_this_machine_is_at() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let here = tempfile::tempdir().unwrap();
    let playbook = Playbook::tasks(&format!(
        "- {{shell: \"cd {}; touch begun; until test -e go; do sleep 0.1; done; touch done\", delegate_to: localhost}}\n",
        here.path().display()
    ));
    let mut command = support::fettle_command(["apply", &playbook.path(), "--json", "-i", &lab.inventory().display().to_string()]);
    // A terminal sends its signals to all of a process group.
    let mut child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    appears(&here.path().join("begun"));
    nix::sys::signal::killpg(Pid::from_raw(i32::try_from(child.id()).unwrap()), SIGINT).unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let read = until(&mut out, "\"stopping\"");
    std::fs::write(here.path().join("go"), "").unwrap();
    let output = ended(child, out, read);
    assert_eq!(output.status.code(), Some(99), "{}", text(&output));
    assert!(here.path().join("done").exists(), "{}", text(&output));
    // The next run here goes to its end, so that this machine's own journal has no other's to tell of.
    let again = lab.fettle(&["apply", &playbook.path(), "--json"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
}

#[test]
fn what_asks_at_the_operators_terminal_fails_and_stops_nothing() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::tasks("- {name: asks, shell: \"read answer < /dev/tty\", delegate_to: localhost}\n");
    support::agents();
    let run = format!("{FETTLE} apply {} --json -i {}", playbook.path(), lab.inventory().display());
    let output = Command::new("script").args(["-qec", &run, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("/dev/tty: No such device or address"), "{}", text(&output));
}

#[test]
fn signals_ignored_from_the_start_stay_ignored() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let playbook =
        Playbook::tasks("- {shell: touch /root/begun; until test -e /root/go; do sleep 0.1; done}\n- {name: later, debug: {msg: x}}\n");
    support::agents();
    // As nohup does, and a shell with a job in the background.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP INT; exec \"$@\"", "-", FETTLE, "apply", &playbook.path(), "--json", "-i"]).arg(lab.inventory());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    lab.wait_until("node01", "test -e /root/begun");
    signal(&child, SIGHUP);
    signal(&child, SIGINT);
    lab.sh("node01", "touch /root/go");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), said(&output, "later")), (Some(0), vec!["node01: x".to_owned()]), "{}", text(&output));
}

#[test]
fn a_play_in_which_every_host_fails_is_the_last_one() {
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    let play = |hosts: &str, task: &str| format!("- hosts: {hosts}\n  gather_facts: false\n  tasks: [{task}]\n");
    let next = play("node02", "{name: next, debug: {msg: x}}");
    for (first, reached) in [
        (play("node01", "{fail: {msg: no}}"), false),
        (play("node01", "{fail: {msg: no}, ignore_errors: true}"), true),
        (play("node01", "{block: [{fail: {msg: no}}], rescue: [{debug: {msg: x}}]}"), true),
        (play("ais", "{fail: {msg: no}, when: inventory_hostname == 'node01'}"), true),
        (play("nobody,!all", "{fail: {msg: no}}"), true),
        (play("node01", "{debug: {msg: x}}") + "  vars: {ansible_port: 9}\n", false),
    ] {
        let playbook = Playbook::new(&(first.clone() + &next));
        for verb in ["plan", "apply"] {
            let output = lab.fettle(&[verb, &playbook.path(), "--json"]);
            assert_eq!(said(&output, "next"), if reached { vec!["node02: x"] } else { vec![] }, "{first}{}", text(&output));
            let left = if reached { json!([]) } else { json!(["node02"]) };
            assert_eq!(hosts(&output).1, left, "{first}{}", text(&output));
        }
    }
    // One that goes on without a host that failed is the last playbook of the command line.
    let failing = play("ais", "{fail: {msg: no}, when: inventory_hostname == 'node01'}");
    let playbook = Playbook::new(&(failing + &next));
    playbook.file("second.yml", &play("node02", "{name: second, debug: {msg: x}}"));
    let second = playbook.folder().join("second.yml").display().to_string();
    let output = lab.fettle(&["plan", &playbook.path(), &second, "--json"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!((said(&output, "next").len(), said(&output, "second").len()), (1, 0), "{}", text(&output));
    let output = lab.fettle(&["plan", &second, &playbook.path(), "--json"]);
    assert_eq!((said(&output, "next").len(), said(&output, "second").len()), (1, 1), "{}", text(&output));
}
