//! Ansible's language over real sshd: what a dry run may say, and the order things run in.

mod support;

use support::runs::{Playbook, said, statuses, text};
use support::{Lab, fettle};

#[test]
fn a_dry_run_sees_its_own_predictions_and_guesses_nothing() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let folder = tempfile::tempdir().unwrap();
    let playbook = folder.path().join("honest.yml");
    std::fs::write(
        &playbook,
        "- hosts: ais\n  gather_facts: false\n  tasks:\n    - {name: write, copy: {content: \"a\\n\", dest: /root/f}}\n    - {name: look, stat: {path: /root/f}, register: f}\n    - {name: there, assert: {that: f.stat.exists and f.stat.size == 2}}\n    - {name: add, lineinfile: {path: /root/f, line: b}}\n    - {name: same, lineinfile: {path: /root/f, line: b}}\n    - {name: run, command: cat /root/f, register: out}\n    - {name: reads, debug: {msg: x}, when: out.rc == 0}\n    - {name: does not read, debug: {msg: x}, when: out is defined}\n    - {name: really, command: hostname, check_mode: false, register: who}\n    - {name: knows, assert: {that: who.rc == 0}}\n",
    )
    .unwrap();
    let inventory = lab.inventory().display().to_string();
    let path = playbook.display().to_string();
    let plan = fettle(["plan", &path, "-i", &inventory, "--json"]);
    assert_eq!(
        statuses(&plan),
        [
            "write: changed",
            "look: ok",
            "there: ok",
            "add: changed",
            "same: ok",
            "run: unknown",
            "reads: unknown",
            "does not read: ok",
            "really: changed",
            "knows: ok"
        ],
        "{}",
        text(&plan)
    );
    assert_eq!(lab.sh("node01", "ls /root/f 2>/dev/null || echo none"), "none");
    let apply = fettle(["apply", &path, "-i", &inventory, "--json"]);
    assert!(!text(&apply).contains("did not come to its end"), "the dry run did, though it really ran something: {}", text(&apply));
    assert!(
        statuses(&apply).contains(&"reads: ok".to_owned()) && statuses(&apply).contains(&"run: changed".to_owned()),
        "{}",
        text(&apply)
    );
    assert_eq!(lab.sh("node01", "cat /root/f"), "a\nb");
}

#[test]
fn handlers_blocks_includes_batches_and_tags_run_as_in_ansible() {
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    let folder = tempfile::tempdir().unwrap();
    let playbook = folder.path().join("order.yml");
    std::fs::write(folder.path().join("more.yml"), "- {name: \"more {{ item }}\", debug: {msg: hi}}\n").unwrap();
    std::fs::write(
        &playbook,
        "- hosts: ais\n  gather_facts: false\n  serial: 1\n  pre_tasks:\n    - {name: before, copy: {content: x, dest: /root/x}, notify: [second, topic]}\n  tasks:\n    - block:\n        - {name: fails, command: /bin/false}\n        - {name: never reached, debug: {msg: no}}\n      rescue:\n        - {name: rescue, debug: {msg: \"{{ ansible_failed_task.name }}\"}}\n      always:\n        - {name: always, debug: {msg: x}}\n    - {include_tasks: more.yml, loop: [1, 2]}\n    - {name: tagged, debug: {msg: x}, tags: only}\n  handlers:\n    - {name: first, debug: {msg: x}, listen: topic}\n    - {name: second, debug: {msg: x}}\n",
    )
    .unwrap();
    let inventory = lab.inventory().display().to_string();
    let path = playbook.display().to_string();
    let run = fettle(["apply", &path, "-i", &inventory, "--json"]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    let one = [
        "before: changed",
        "first: ok",
        "second: ok",
        "fails: failed",
        "rescue: ok",
        "always: ok",
        "include_tasks: ok",
        "more 1: ok",
        "include_tasks: ok",
        "more 2: ok",
        "tagged: ok",
    ];
    let both: Vec<&str> = one.iter().chain(&one).copied().collect();
    assert_eq!(statuses(&run), both, "{}", text(&run));
    let tagged = fettle(["apply", &path, "-i", &inventory, "--json", "-t", "only", "-l", "node02"]);
    assert_eq!(statuses(&tagged), ["tagged: ok"], "{}", text(&tagged));
    let list = fettle(["plan", &path, "-i", &inventory, "--list-tasks"]);
    assert!(text(&list).contains("tagged\tTAGS: [only]"), "{}", text(&list));
}

#[test]
fn plays_know_their_hosts_and_who_is_left() {
    let Some(lab) = Lab::new(3, 0) else { return };
    let playbook = Playbook::new(
        "- hosts: ais\n  gather_facts: false\n  serial: 2\n  tasks:\n    - {fail: {msg: out}, when: inventory_hostname == 'node02'}\n    - {name: who, debug: {msg: \"{{ [ansible_play_hosts_all, ansible_play_hosts, ansible_play_batch, play_hosts] | map('join', ',') | join(' ') }}\"}}\n",
    );
    let output = lab.fettle(&["apply", &playbook.path(), "--json"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!(
        said(&output, "who"),
        [
            "node01: node01,node02,node03 node01,node02,node03 node01,node02 node01,node02",
            "node03: node01,node02,node03 node01,node03 node03 node03",
        ]
    );
}
