//! What hands that know Ansible type: options, settings, one host after another.

mod support;

use std::io::Write;
use std::process::{Output, Stdio};
use support::runs::{Playbook, statuses, text};
use support::{Lab, fettle, fettle_command};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[test]
fn options_that_are_not_there_say_what_to_use() {
    let refused = |option: &str| {
        let output = fettle(["apply", "playbooks/site.yml", "-i", "nobody,", option]);
        assert_eq!(output.status.code(), Some(2), "{option}: {}", text(&output));
        stderr(&output)
    };
    assert_eq!(
        refused("--start-at-task=Open files"),
        "error: --start-at-task is not supported: run the playbook again: what is done already changes nothing. Tasks are chosen by tags (-t, --skip-tags)"
    );
    assert_eq!(
        refused("--become-method=su"),
        "error: --become-method is not supported: fettle becomes other users by sudo, or is root already"
    );
    assert!(refused("-J").starts_with("error: -J is not supported: there is no vault yet."));
    assert!(refused("--skip-tag").contains("a similar argument exists: '--skip-tags'"));
}

#[test]
fn settings_of_ansible_that_are_not_read_are_named() {
    let playbook = Playbook::new("- hosts: all\n  gather_facts: false\n  tasks: []\n");
    let run = |name: &str, value: &str| {
        let mut command = fettle_command(["apply", &playbook.path(), "-i", "nobody,", "--list-hosts"]);
        stderr(&command.current_dir(playbook.folder()).env("HOME", playbook.folder()).env(name, value).output().unwrap())
    };
    assert_eq!(run("ANSIBLE_ROLES_PATH", "/roles"), "");
    assert_eq!(
        run("ANSIBLE_REMOTE_USER", "ops"),
        "warning: ANSIBLE_REMOTE_USER in the environment: fettle does not read that; it reads ANSIBLE_INVENTORY, ANSIBLE_ROLES_PATH, ANSIBLE_HOST_KEY_CHECKING, ANSIBLE_FORCE_COLOR"
    );
    playbook.file("ansible.cfg", "[defaults]\n# forks = 9\nremote_user = ops\n");
    assert!(run("A", "b").starts_with("warning: ansible.cfg is not read (remote_user): use options"), "{}", run("A", "b"));
    playbook.file("ansible.cfg", "[defaults]\n# forks = 9\n");
    assert_eq!(run("A", "b"), "");
}

#[test]
fn steps_are_asked_for_host_by_host() {
    let Some(lab) = Lab::new(3, 0) else { return };
    let play = |name: &str| {
        format!(
            "- hosts: ais\n  name: {name}\n  gather_facts: false\n  tasks:\n    - {{name: {name}, copy: {{content: x, dest: /root/{name}}}}}\n"
        )
    };
    let playbook = Playbook::new(&(play("one") + &play("two")));
    let run = |answers: &str| {
        let mut child = fettle_command([
            "apply",
            &playbook.path(),
            "-i",
            &lab.inventory().display().to_string(),
            "--json",
            "--serial",
            "1,2",
            "--step",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let there = || ["node01", "node02", "node03"].map(|host| lab.sh(host, "ls /root | tr '\\n' ' '"));
    let stopped = run("n\ny\n");
    assert_eq!(stopped.status.code(), Some(99), "nobody answers the third question: {}", text(&stopped));
    assert_eq!(
        stderr(&stopped),
        "Run `one` on node01? (N)o/(y)es/(c)ontinue: Run `one` on node02, node03? (N)o/(y)es/(c)ontinue: Run `two` on node01? (N)o/(y)es/(c)ontinue:"
    );
    assert_eq!(there(), ["", "one", "one"]);
    let rest = run("c\n");
    assert_eq!((rest.status.code(), statuses(&rest).len()), (Some(0), 6), "{}", text(&rest));
    assert_eq!(there(), ["one two"; 3]);
    let wrong = lab.fettle(&["plan", &playbook.path(), "--serial", "some"]);
    assert_eq!(wrong.status.code(), Some(4));
    assert!(
        text(&wrong).contains("`serial` must be a number of hosts or a percentage") && text(&wrong).contains("--serial"),
        "{}",
        text(&wrong)
    );
}

#[test]
fn readers_that_go_and_full_disks_break_nothing() {
    for arguments in [&["render", "examples/cluster.yml"][..], &["schema", "cluster"], &["doc"], &["doc", "copy"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = support::fettle_command(arguments).stdout(writer).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !told.contains("panicked"), "{arguments:?}: {}\n{told}", output.status);

        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = support::fettle_command(arguments).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(
            told.ends_with("error: standard output can't be written: No space left on device (os error 28); the work itself is done\n"),
            "{told}"
        );
    }
}
