//! What hosts do together, over real sshd: one for all, one for another, all or none.

mod support;

use support::runs::{Playbook, changes, events, outcomes, said, text};
use support::{Lab, fettle};

#[test]
fn one_host_does_it_for_all() {
    let Some(lab) = Lab::new(3, 0) else { return support::skipped("needs root") };
    lab.sh("node01", "touch /root/first");
    let playbook = Playbook::new(
        "- hosts: ais
  gather_facts: false
  tasks:
    - {name: ask, command: hostname, run_once: true, register: who}
    - {name: note, set_fact: {noted: \"{{ inventory_hostname }}\"}, run_once: true}
    - {name: each, set_fact: {own: \"{{ inventory_hostname }}\"}}
    - {name: told, debug: {msg: \"{{ who.stdout }} {{ noted }} {{ own }}\"}}
    - {name: where, copy: {content: x, dest: /root/once}, run_once: true, notify: handle}
    - {name: loop, debug: {msg: \"{{ item }}\"}, run_once: true, loop: [1, 2]}
    - {name: not here, debug: {msg: x}, run_once: true, when: inventory_hostname == 'node02'}
  handlers:
    - {name: handle, copy: {content: x, dest: /root/handled}}
",
    );
    let apply = lab.fettle(&["apply", &playbook.path(), "--json"]);
    assert_eq!(apply.status.code(), Some(0), "{}", text(&apply));
    assert_eq!(said(&apply, "told"), ["node01: node01 node01 node01", "node02: node01 node01 node02", "node03: node01 node01 node03"]);
    let done = |name: &str| -> Vec<String> { outcomes(&apply).into_iter().filter(|o| o.contains(&format!("| {name} |"))).collect() };
    assert_eq!(done("ask"), ["node01 | ask | - | changed"], "the first of them, and only it, reports");
    assert_eq!(done("loop").len(), 3);
    assert_eq!(done("not here"), ["node01 | not here | - | skipped"], "its condition is the first one's");
    for host in ["node02", "node03"] {
        assert_eq!(lab.sh(host, "ls /root"), "", "neither the task nor what it notifies");
    }
    assert_eq!(lab.sh("node01", "ls /root"), "first\nhandled\nonce");
    // One host at a time, and with batches: each batch has its first.
    for options in [&["-f", "1"][..], &["-f", "2"]] {
        let few = lab.fettle(&[&["plan", &playbook.path(), "--json"], options].concat());
        assert_eq!((few.status.code(), changes(&few)), (Some(0), vec!["node01 | ask | run hostname | false".to_owned()]), "{}", text(&few));
    }
}

#[test]
fn when_the_first_is_gone_the_next_one_does_it_and_a_failure_is_everybodys() {
    let Some(lab) = Lab::new(3, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::tasks(
        "- {name: out, fail: {msg: out}, when: inventory_hostname == 'node01'}
- {name: ask, command: hostname, run_once: true, register: who}
- {name: told, debug: {msg: \"{{ who.stdout }}\"}}
- block:
    - {name: breaks, command: /bin/false, run_once: true}
  rescue:
    - {name: rescued, debug: {msg: \"rc {{ ansible_failed_result.rc }}\"}}
- {name: ends, command: /bin/false, run_once: true}
- {name: never, debug: {msg: x}}
",
    );
    let apply = lab.fettle(&["apply", &playbook.path(), "--json"]);
    assert_eq!(apply.status.code(), Some(2), "{}", text(&apply));
    assert_eq!(said(&apply, "told"), ["node02: node02", "node03: node02"]);
    assert_eq!(said(&apply, "rescued"), ["node02: rc 1", "node03: rc 1"]);
    assert_eq!(said(&apply, "never"), Vec::<String>::new());
    assert_eq!(
        said(&apply, "ends"),
        ["node02: non-zero return code", "node03: it failed on the host that did it for all: non-zero return code"]
    );
    // It dies in the middle of it: nobody knows whether it was done.
    let slow = Playbook::tasks("- {name: slow, command: sleep 60, run_once: true}\n");
    let child = lab.start_fettle(&["apply", &slow.path(), "--json"]);
    lab.wait_until("node01", "pgrep -x sleep");
    lab.sh("node01", "pkill -9 -f '[a]gent-.* serve'; pkill -x sleep; true");
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        said(&output, "slow"),
        [
            "node02: node01 was to do it for all, and ended before it was done",
            "node03: node01 was to do it for all, and ended before it was done"
        ],
        "{}",
        text(&output)
    );
}

#[test]
fn tasks_are_done_on_other_hosts_and_on_this_machine() {
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    let here = tempfile::tempdir().unwrap();
    let playbook = Playbook::new(
        "- hosts: ais
  gather_facts: false
  vars: {secret: \"of {{ inventory_hostname }}\"}
  tasks:
    - {name: here, copy: {content: \"{{ secret }}\\n\", dest: \"{{ here }}/{{ inventory_hostname }}\"}, delegate_to: localhost, register: copied}
    - {name: template, template: {src: t.j2, dest: \"{{ here }}/t-{{ inventory_hostname }}\"}, delegate_to: localhost}
    - {name: there, command: hostname, delegate_to: node02, register: there}
    - {name: who, command: id -un, delegate_to: \"{{ groups['ais'][1] }}\", become: true, become_user: operator, register: who}
    - {name: told, debug: {msg: \"{{ copied.changed }} {{ there.stdout }} {{ who.stdout }}\"}}
    - {name: file, copy: {src: f, dest: \"/root/from-{{ inventory_hostname }}\"}, delegate_to: node02}
    - {name: once, copy: {content: \"{{ inventory_hostname }}\", dest: \"{{ here }}/once\"}, delegate_to: localhost, run_once: true}
    - {name: fails, command: /bin/false, delegate_to: localhost, ignore_errors: true}
",
    );
    playbook.file("templates/t.j2", "{{ secret }} in a template\n");
    playbook.file("files/f", "a file\n");
    let extra = format!("here={}", here.path().display());
    let plan = lab.fettle(&["plan", &playbook.path(), "--json", "-e", &extra]);
    assert_eq!(plan.status.code(), Some(0), "{}", text(&plan));
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0, "a dry run is one there, too");
    let apply = lab.fettle(&["apply", &playbook.path(), "--json", "-e", &extra]);
    assert_eq!(apply.status.code(), Some(0), "{}", text(&apply));
    assert_eq!(said(&apply, "told"), ["node01: True node02 operator", "node02: True node02 operator"]);
    // The plan says what the apply does (what a command would do, nobody knows).
    let what = |output: &std::process::Output| -> Vec<String> {
        let known = changes(output).into_iter().filter(|c| !c.contains(" run "));
        known.map(|c| c.rsplit_once(" | ").map(|(change, _)| change.to_owned()).unwrap_or_default()).collect()
    };
    assert_eq!(what(&plan), what(&apply));
    assert_eq!(what(&plan).len(), 7, "{:?}", what(&plan));
    let read = |name: &str| std::fs::read_to_string(here.path().join(name)).unwrap();
    assert_eq!((read("node01").as_str(), read("node02").as_str()), ("of node01\n", "of node02\n"));
    assert_eq!((read("t-node01").as_str(), read("once").as_str()), ("of node01 in a template\n", "node01"));
    assert_eq!(lab.sh("node02", "ls /root; cat /root/from-node01"), "from-node01\nfrom-node02\na file");
    assert_eq!(lab.sh("node01", "ls /root"), "");
    assert!(
        changes(&apply).contains(&format!("node01 | here | -> localhost: create {}/node01 (10 bytes) | true", here.path().display())),
        "{:?}",
        changes(&apply)
    );
    let again = lab.fettle(&["apply", &playbook.path(), "--json", "-e", &extra]);
    let commands_only: Vec<_> = changes(&again).into_iter().filter(|c| !c.contains("run ")).collect();
    assert_eq!(commands_only, Vec::<String>::new(), "{}", text(&again));
    // Wrong names are found before any host is touched; unreachable ones fail the task.
    let wrong = Playbook::tasks("- {command: hostname, delegate_to: nod02}\n");
    let output = lab.fettle(&["apply", &wrong.path()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(
        text(&output).contains("there is no host `nod02` in the inventory to delegate to")
            && text(&output).contains("did you mean `node02`"),
        "{}",
        text(&output)
    );
    lab.cause("node02", fettle::lab::Trouble::Stop);
    let gone = Playbook::tasks("- {name: gone, command: hostname, delegate_to: node02}\n");
    let output = lab.fettle(&["apply", &gone.path(), "--json", "-l", "node01", "-T", "2"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(said(&output, "gone")[0].starts_with("node01: it can't be delegated to node02: "), "{}", text(&output));
}

#[test]
fn one_failure_can_end_the_run_for_all() {
    let Some(lab) = Lab::new(3, 0) else { return support::skipped("needs root") };
    let run = |keyword: &str, failing: &str| {
        let playbook = Playbook::new(&format!(
            "- hosts: ais
  gather_facts: false
  {keyword}
  tasks:
    - {{name: first, debug: {{msg: x}}}}
    - {{name: fails, fail: {{msg: no}}, when: \"inventory_hostname in [{failing}]\"}}
    - {{name: later, debug: {{msg: x}}}}
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - {{name: next play, debug: {{msg: x}}}}
"
        ));
        let output = lab.fettle(&["apply", &playbook.path(), "--json"]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        let warnings: Vec<String> =
            events(&output).iter().filter(|e| e["event"] == "warning").map(|e| e["message"].as_str().unwrap().to_owned()).collect();
        (said(&output, "later").len(), said(&output, "next play").len(), warnings)
    };
    assert_eq!(run("name: free", "'node02'"), (2, 1, vec![]), "the others go on");
    let fatal = "the run ends: a task failed on node02, and `any_errors_fatal` makes that everybody's failure";
    assert_eq!(run("any_errors_fatal: true", "'node02'"), (0, 0, vec![fatal.to_owned()]));
    assert_eq!(run("max_fail_percentage: 40", "'node02'"), (2, 1, vec![]), "a third is not too many");
    let many = "the run ends: 67 % of the hosts failed, and `max_fail_percentage` allows 40";
    assert_eq!(run("max_fail_percentage: 40", "'node02', 'node01'"), (0, 0, vec![many.to_owned()]));
    // Nothing is begun anywhere before every host is there.
    lab.cause("node03", fettle::lab::Trouble::Stop);
    let playbook =
        Playbook::new("- hosts: ais\n  gather_facts: false\n  any_errors_fatal: true\n  tasks: [{name: later, command: hostname}]\n");
    let output = lab.fettle(&["apply", &playbook.path(), "--json", "-T", "3"]);
    assert!(!output.status.success() && said(&output, "later").is_empty(), "{}", text(&output));
    assert!(text(&output).contains("the run ends: node03 is unreachable, and `any_errors_fatal`"), "{}", text(&output));
    let refused = Playbook::tasks("- {ping: , run_once: [1]}\n");
    let output = fettle(["apply", &refused.path(), "-i", "a,"]);
    assert!(text(&output).contains("`run_once` must be"), "{}", text(&output));
}

#[test]
fn blocks_includes_handlers_and_batches_have_their_first_host_each() {
    let Some(lab) = Lab::new(3, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::new(
        "- hosts: ais
  gather_facts: false
  serial: 2
  tasks:
    - block:
        - include_tasks: inner.yml
      run_once: true
    - {name: file, copy: {content: x, dest: /root/each}, notify: handle}
    - {name: looped, set_fact: {last: \"{{ item }} {{ inventory_hostname }}\"}, loop: [1, 2], run_once: true}
    - meta: flush_handlers
    - {name: told, debug: {msg: \"{{ inner.stdout }} {{ handled.stdout }} {{ last }}\"}}
    - {name: end, meta: end_play, run_once: true, when: inventory_hostname == 'node01'}
    - {name: never, debug: {msg: x}}
  handlers:
    - {name: handle, command: hostname, run_once: true, register: handled}
",
    );
    playbook.file("inner.yml", "- {name: inner, command: hostname, register: inner}\n");
    let apply = lab.fettle(&["apply", &playbook.path(), "--json"]);
    assert_eq!(apply.status.code(), Some(0), "{}", text(&apply));
    assert_eq!(
        said(&apply, "told"),
        ["node01: node01 node01 2 node01", "node02: node01 node01 2 node01", "node03: node03 node03 2 node03"]
    );
    let ran = |name: &str| -> Vec<String> {
        let changed = outcomes(&apply).into_iter().filter(|o| o.ends_with(&format!("| {name} | - | changed")));
        changed.map(|o| o.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!((ran("inner"), ran("handle")), (vec!["node01".to_owned(), "node03".into()], vec!["node01".to_owned(), "node03".into()]));
    assert_eq!(said(&apply, "never"), ["node03: x"], "the first host of each batch decides whether its play ends");
}

#[test]
fn hosts_that_wait_hear_ctrl_c() {
    let Some(lab) = Lab::new(3, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::new(
        "- hosts: ais
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - {name: slow, command: sleep 4, when: inventory_hostname == 'node01'}
    - {name: later, debug: {msg: x}}
",
    );
    let delegated = Playbook::tasks(
        "- {name: slow, command: sleep 4, delegate_to: node02, run_once: true}
- {name: later, debug: {msg: x}}
",
    );
    for (playbook, sleeper) in [(&playbook, "node01"), (&delegated, "node02")] {
        let child = lab.start_fettle(&["apply", &playbook.path(), "--json"]);
        lab.wait_until(sleeper, "pgrep -x sleep");
        let started = std::time::Instant::now();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(started.elapsed().as_secs() < 20, "{}", text(&output));
        assert_eq!((said(&output, "later"), output.status.code()), (vec![], Some(99)), "{}", text(&output));
        assert_eq!(lab.exec(sleeper, "pgrep -x sleep").status.code(), Some(1), "what was begun was waited for");
    }
}

#[test]
fn a_host_outside_the_run_does_tasks_too_unless_another_run_holds_it() {
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::tasks(
        "- {name: plain, command: id -un, delegate_to: node02, register: plain}
- {name: root, command: id -un, delegate_to: node02, become: true, register: root}
- {name: file, copy: {content: x, dest: /root/outside}, delegate_to: node02, become: true, check_mode: true}
- {name: told, debug: {msg: \"{{ plain.stdout }} {{ root.stdout }}\"}}
- {name: fails, command: /bin/false, delegate_to: node02, ignore_errors: true}
",
    );
    let apply = lab.fettle(&["apply", &playbook.path(), "--json", "-l", "node01"]);
    assert_eq!(apply.status.code(), Some(0), "{}", text(&apply));
    let told = said(&apply, "told");
    assert!(told.len() == 1 && told[0].ends_with(" root"), "{told:?}");
    assert_eq!(said(&apply, "fails"), ["node01: -> node02: non-zero return code"]);
    assert_eq!(lab.sh("node02", "ls /root"), "", "`check_mode` holds there, too");
    assert_eq!(lab.sh("node01", "test -e /var/lib/fettle && ls /var/lib/fettle/journal || true"), "", "nothing was done here");
    let slow = Playbook::tasks("- {name: slow, command: sleep 12, become: true}\n");
    let other = lab.start_fettle(&["apply", &slow.path(), "--json", "-l", "node02"]);
    lab.wait_until("node02", "pgrep -x sleep");
    let held = Playbook::tasks("- {name: root, command: id -un, delegate_to: node02, become: true}\n");
    let output = lab.fettle(&["apply", &held.path(), "--json", "-l", "node01"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let said = said(&output, "root");
    assert!(
        said[0].starts_with("node01: it can't be delegated to node02: ") && said[0].contains("is running `apply "),
        "the other run is named: {said:?}"
    );
    assert!(other.wait_with_output().unwrap().status.success());
}

#[test]
fn variables_may_say_whom_a_delegated_task_becomes() {
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    let play = |more: &str, keywords: &str| {
        let tasks = format!("  tasks:\n    - {{name: who, command: id -un, delegate_to: node02, register: who{keywords}}}\n");
        Playbook::new(&format!(
            "- hosts: node01\n  gather_facts: false\n{more}{tasks}    - {{name: told, debug: {{msg: \"{{{{ who.stdout }}}}\"}}}}\n"
        ))
    };
    for (more, keywords) in [
        ("  become: true\n  vars: {ansible_become_user: nobody}\n", ""),
        ("  become: true\n  roles: [r]\n", ""),
        ("", ", vars: {ansible_become: true, ansible_become_user: nobody}"),
    ] {
        let playbook = play(more, keywords);
        playbook.file("roles/r/defaults/main.yml", "ansible_become_user: nobody\n");
        let output = lab.fettle(&["apply", &playbook.path(), "--json"]);
        assert_eq!(said(&output, "told"), ["node01: nobody"], "{more}{keywords}: {}", text(&output));
    }
}
