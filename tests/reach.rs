//! Getting to hosts that are not as they should be: noisy logins, shells that run nothing, folders that run nothing, many at once.

mod support;

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use support::runs::{Playbook, said, text};
use support::{Lab, fettle_command, skipped};

/// `fettle ping` as JSON: each host's answer, or why there is none.
fn ping(lab: &Lab, more: &[&str]) -> Vec<String> {
    let mut command = fettle_command(["ping", "--json", "-i", &lab.inventory().display().to_string()]);
    answers(&command.args(more).output().unwrap())
}

fn answers(output: &Output) -> Vec<String> {
    let lines = support::runs::events(output);
    lines.iter().map(|a| a["unreachable"].as_str().or(a["ping"].as_str()).unwrap().to_owned()).collect()
}

/// Options with which a host that is silent for three seconds is given up.
fn hurried(lab: &Lab) -> String {
    let known = lab.folder().join("known_hosts").display().to_string();
    let options = format!("-o UserKnownHostsFile={known} -o IdentitiesOnly=yes -o ServerAliveInterval=1 -o ServerAliveCountMax=3");
    serde_json::json!({"ansible_ssh_common_args": options}).to_string()
}

#[test]
fn what_start_up_files_print_is_borne_or_told() {
    let Some(lab) = Lab::new(4, 0) else { return skipped("needs root") };
    lab.sh("node01", r#"echo 'printf "\033]0;title\007"; echo greetings >&2' >/root/.bashrc"#);
    lab.sh("node02", "echo 'while :; do echo noise; sleep 0.05; done' >/root/.bashrc");
    lab.sh("node03", "echo 'yes FETTLE-NOISE' >/root/.bashrc");
    lab.sh("node04", "echo 'while :; do echo FETTLE-NEED x86_64; done' >/root/.bashrc");
    let begun = Instant::now();
    let answers = ping(&lab, &["-e", &hurried(&lab)]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(answers[0], "pong");
    assert_eq!(
        answers[1],
        "logged in, but no agent has started for 3 s, and nothing was done: look at the start-up files of root's login shell, and whether \
         sudo waits for something"
    );
    assert_eq!(answers[2], "the login shell prints without end before the agent starts: quiet its start-up files");
    assert_eq!(answers[3], "the host asks for the agent again and again");
}

#[test]
fn logins_that_run_nothing_say_so_themselves() {
    let Some(lab) = Lab::new(1, 0) else { return skipped("needs root") };
    lab.sh("node01", "printf '#!/bin/sh\\necho Go away.\\nexit 1\\n' >/root/away && chmod 755 /root/away && chmod 755 /root");
    lab.sh("node01", "usermod -s /root/away admin");
    assert_eq!(
        ping(&lab, &["-e", "ansible_user=admin"]),
        [
            "the agent did not start (code 1); it said: Go away.. It is started by `/bin/sh`: a login shell or forced command (ForceCommand, or \
          command= in authorized_keys) that runs no commands is in its way"
        ]
    );
}

#[test]
fn what_the_agent_makes_has_the_logins_umask() {
    let Some(lab) = Lab::new(1, 0) else { return skipped("needs root") };
    let playbook = Playbook::tasks(
        "- {copy: {content: x, dest: /var/tmp/file}}\n- {file: {path: /var/tmp/folder, state: directory}}\n\
         - {shell: umask; touch /var/tmp/touched, register: mask}\n- {name: mask, debug: {msg: \"{{ mask.stdout }}\"}}\n",
    );
    for more in [&["-e", "ansible_user=root"][..], &["-e", "ansible_user=admin", "-b"], &["-e", "ansible_user=admin"]] {
        lab.sh("node01", "rm -rf /var/tmp/file /var/tmp/folder /var/tmp/touched");
        let path = playbook.path();
        let output = lab.fettle(&[&["apply", &path, "--json"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert_eq!(said(&output, "mask"), ["node01: 0022"], "{more:?}");
        assert_eq!(lab.sh("node01", "stat -c %a /var/tmp/file /var/tmp/folder /var/tmp/touched"), "644\n755\n644", "{more:?}");
    }
    assert_eq!(lab.sh("node01", "stat -c %a /root/.cache/fettle /root/.cache/fettle/agent-* | sort -u"), "700", "its own is nobody else's");
}

#[test]
fn several_may_bring_the_agent_at_once() {
    let Some(lab) = Lab::new(1, 0) else { return skipped("needs root") };
    for _ in 0..3 {
        lab.sh("node01", "rm -rf /root/.cache");
        let inventory = lab.inventory().display().to_string();
        let start = |_| fettle_command(["ping", "--json", "-i", &inventory]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let children: Vec<_> = (0..6).map(start).collect();
        for child in children {
            assert_eq!(answers(&child.wait_with_output().unwrap()), ["pong"]);
        }
        assert_eq!(lab.sh("node01", "ls /root/.cache/fettle | wc -l"), "1", "nothing half done stays");
    }
}

#[test]
fn the_agent_may_lie_elsewhere() {
    let Some(lab) = Lab::new(1, 0) else { return skipped("needs root") };
    lab.sh("node01", "mkdir -p /root/.cache && mount -t tmpfs -o noexec none /root/.cache");
    let told = ping(&lab, &[]).remove(0);
    assert!(told.starts_with("the agent can't be started where it lies: the filesystem may be mounted noexec; it said: "), "{told}");
    assert!(told.ends_with("; ansible_remote_tmp names another folder"), "{told}");
    assert_eq!(ping(&lab, &["-e", "ansible_remote_tmp=~/.ansible/tmp"]), ["pong"]);
    assert_eq!(lab.sh("node01", "ls -d /root/.ansible/tmp/fettle/agent-* | wc -l"), "1");
    // Whoever may write to the folder above could put another one in its place.
    lab.sh("node01", "mkdir -p /var/tmp/shared && chown admin /var/tmp/shared");
    let told = ping(&lab, &["-e", "ansible_remote_tmp=/var/tmp/shared"]).remove(0);
    assert!(told.starts_with("the agent can't be put in place: /var/tmp/shared belongs to somebody else or is a link"), "{told}");
    // A full filesystem is named as such, and nothing half done stays on it.
    lab.sh("node01", "umount /root/.cache; mount -t tmpfs -o size=200k none /root/.cache");
    let told = ping(&lab, &[]).remove(0);
    assert!(told.contains("No space left on device"), "{told}");
    assert_eq!(lab.sh("node01", "find /root/.cache -type f"), "");
}

#[test]
fn a_key_with_a_passphrase_is_used_from_the_ssh_agent() {
    let Some(lab) = Lab::new(1, 0) else { return skipped("needs root") };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let script = format!(
        "cd {0} && cp {1} key && chmod 600 key && ssh-add -q key && ssh-keygen -q -p -N secret -f key >/dev/null && rm -f key.pub && \
         exec \"$1\" ping --json -i \"$2\" --private-key \"$3\"",
        folder.path().display(),
        lab.folder().join("key").display()
    );
    support::agents();
    let run = |file: &std::path::Path| {
        let mut command = std::process::Command::new("ssh-agent");
        command.args(["sh", "-c", &script, "-", support::FETTLE]).arg(lab.inventory()).arg(file);
        answers(&command.output().unwrap())
    };
    // The inventory's own key would open the door as well.
    let plain = lab.inventory().display().to_string();
    let inventory = std::fs::read_to_string(&plain).unwrap();
    std::fs::write(&plain, inventory.lines().filter(|l| !l.starts_with("ansible_ssh_private_key_file")).collect::<Vec<_>>().join("\n"))
        .unwrap();
    assert_eq!(run(&key), ["pong"]);
    let told = ping(&lab, &["--private-key", &key.display().to_string()]).remove(0);
    assert!(told.contains("it has a passphrase: add it to an SSH agent with ssh-add"), "{told}");
}

#[test]
fn questions_about_host_keys_are_asked_one_by_one_while_others_go_on() {
    let Some(lab) = Lab::new(3, 0) else { return skipped("needs root") };
    let known = lab.folder().join("known_hosts");
    let before = std::fs::read_to_string(&known).unwrap();
    let first = before.lines().next().unwrap();
    assert!(first.contains("node01"));
    std::fs::write(&known, format!("{first}\n")).unwrap();
    let playbook = Playbook::tasks("- {command: sleep 2}\n- {copy: {content: x, dest: /root/done}}\n");
    // `script` gives it a terminal.
    support::agents();
    let run = format!("{} apply {} -i {}", support::FETTLE, playbook.path(), lab.inventory().display());
    let mut child = std::process::Command::new("script");
    child.args(["-qec", &run, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    // The host that is known gets on while the first question is open.
    lab.wait_until("node01", "test -e /root/done");
    keys.write_all(b"yes\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    keys.write_all(b"no\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(4), "{shown}");
    assert_eq!(shown.matches("Trust it from now on (yes/no)?").count(), 2, "{shown}");
    assert_eq!(shown.matches("\nThe host key of ").count(), 2, "each on a line of its own: {shown:?}");
    assert_eq!(std::fs::read_to_string(&known).unwrap().lines().count(), 2, "one was trusted");
    let done: Vec<String> = ["node02", "node03"].iter().map(|h| lab.sh(h, "ls /root")).collect();
    assert!(done.contains(&"done".to_owned()) && done.contains(&String::new()), "{done:?}");
}

#[test]
fn a_question_may_stay_open_for_long() {
    let Some(lab) = Lab::new(3, 0) else { return skipped("needs root") };
    std::fs::write(lab.folder().join("known_hosts"), "").unwrap();
    // These hang up long before the operator answers.
    for host in ["node01", "node02"] {
        lab.sh(host, "sed -i '1i LoginGraceTime 3' /etc/ssh/sshd_config && pkill -HUP -o -x sshd");
    }
    support::agents();
    let run = format!("{} ping -T 5 -i {}", support::FETTLE, lab.inventory().display());
    let mut child = std::process::Command::new("script");
    child.args(["-qec", &run, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    // Longer than connecting and logging in may take.
    std::thread::sleep(Duration::from_secs(13));
    child.stdin.take().unwrap().write_all(b"yes\nyes\nyes\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert_eq!(shown.matches("Trust it from now on (yes/no)?").count(), 3, "{shown}");
    assert_eq!(std::fs::read_to_string(lab.folder().join("known_hosts")).unwrap().lines().count(), 3);
}

#[test]
fn the_usual_limit_of_open_files_is_enough_for_many_hosts() {
    let Some(lab) = Lab::new(8, 0) else { return skipped("needs root") };
    let playbook = Playbook::new(
        "- hosts: ais,localhost
  gather_facts: false
  tasks:
    - {shell: ulimit -Sn; ulimit -Hn, register: limits, when: inventory_hostname == 'localhost'}
    - {name: limits, debug: {msg: \"{{ limits.stdout_lines | default([]) | join(' ') }}\"}, when: inventory_hostname == 'localhost'}
",
    );
    let inventory = std::fs::read_to_string(lab.inventory()).unwrap();
    playbook.file("hosts.ini", &format!("localhost ansible_connection=local\n{inventory}"));
    support::agents();
    let script = "ulimit -Sn 26; ulimit -Hn 500; exec \"$@\"";
    let hosts = playbook.folder().join("hosts.ini").display().to_string();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", script, "-", support::FETTLE, "apply", &playbook.path(), "--json", "-i", &hosts]).stdin(Stdio::null());
    let output = limited.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(said(&output, "limits").contains(&"localhost: 26 500".to_owned()), "what runs for a task finds the operator's own");
    let few = script.replace("500", "26");
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", &few, "-", support::FETTLE, "apply", &playbook.path(), "--json", "-i", &hosts]).stdin(Stdio::null());
    let output = limited.output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
}

#[test]
fn silent_hosts_are_told_in_the_same_words() {
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let hosts: String = (1..=60).map(|i| format!("127.0.0.{i}:{port},")).collect();
    let output = fettle_command(["ping", "--json", "-T", "1", "-f", "60", "-i", &hosts]).output().unwrap();
    let told = answers(&output);
    assert_eq!(told.len(), 60);
    for (i, told) in told.iter().enumerate() {
        assert_eq!(*told, format!("127.0.0.{}:{port} took the connection but said nothing for 1 s: is it an SSH server?", i + 1));
    }
}

#[test]
fn what_hosts_warn_of_is_told_in_one_order() {
    let Some(lab) = Lab::new(3, 0) else { return skipped("needs root") };
    let playbook = Playbook::tasks("- {copy: {content: x, dest: /root/a}}\n- {copy: {content: x, dest: /root/b}}\n");
    let stopped = lab.fettle(&["apply", &playbook.path(), "--stop-after", "1"]);
    assert!(!stopped.status.success(), "{}", text(&stopped));
    // The first one is the last to greet.
    lab.sh("node01", "echo 'sleep 2' >/root/.bashrc");
    let plan = lab.fettle(&["plan", &playbook.path(), "--json"]);
    let events = support::runs::events(&plan);
    let told = events.iter().filter(|e| ["warning", "host_done"].contains(&e["event"].as_str().unwrap()));
    let told: Vec<String> = told.map(|e| format!("{} {}", e["event"].as_str().unwrap(), e["host"].as_str().unwrap())).collect();
    let wanted = ["warning node01", "warning node02", "warning node03", "host_done node01", "host_done node02", "host_done node03"];
    assert_eq!(told, wanted, "{}", text(&plan));
    let plan = text(&lab.fettle(&["plan", &playbook.path()]));
    let warnings: Vec<&str> = plan.lines().filter(|l| l.starts_with("warning: ")).collect();
    let hosts: String = warnings.iter().filter_map(|w| w.split(": ").nth(1)).collect::<Vec<_>>().join(", ");
    assert_eq!(hosts, "node01, node02, node03", "those that began in one second are named together: {plan}");
}

#[test]
fn a_run_without_hosts_is_an_error() {
    let playbook = Playbook::new("- hosts: all\n  gather_facts: false\n  tasks: [{debug: {msg: x}}]\n");
    let path = playbook.path();
    let output = fettle_command(["apply", &path]).env_remove("ANSIBLE_INVENTORY").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("there are no hosts: name an inventory with -i"), "{}", text(&output));
    let output = fettle_command(["apply", &path, "-i", "a,b,", "-l", "!all"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("`-l !all` leaves no host of these plays; nothing was done"), "{}", text(&output));
}

#[test]
fn the_recap_repeats_the_command_without_secrets() {
    let playbook = Playbook::new("- hosts: all\n  gather_facts: false\n  tasks: [{command: id}]\n");
    let path = playbook.path();
    let secret = ["-e", "ansible_become_password=hush", "-e", "{\"db_password\": \"hush\"}", "-e", "{\"size\": \"3 GB\"}"];
    let command = [&["apply", &path, "-i", "127.0.0.1:9,", "-T", "1", "-b", "--become-user", "op"][..], &secret].concat();
    let output = fettle_command(command).output().unwrap();
    let told = text(&output);
    assert!(!told.contains("hush"), "{told}");
    assert!(told.contains("-e 'ansible_become_password=…' -e '…' -e '{\"size\": \"3 GB\"}' -b --become-user op -T 1 -l"), "{told}");
}
