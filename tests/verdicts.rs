//! What Ansible says of results: changed and failed are two things, and who has a say in them.

mod support;

use support::runs::{Playbook, said, statuses, text};
use support::{Lab, fettle};

/// Applies `playbook` on `lab`, and says how each task ended.
fn outcome(lab: &Lab, playbook: &Playbook) -> (Vec<String>, String) {
    let run = fettle(["apply", &playbook.path(), "-i", &lab.inventory().display().to_string(), "--json"]);
    (statuses(&run), text(&run))
}

#[test]
fn changed_and_failed_are_judged_as_ansible_does() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::new(
        r#"- hosts: ais
  gather_facts: false
  tasks:
    - {name: two is fine, shell: exit 2, register: r, failed_when: "r.rc not in [0, 2]", changed_when: r.rc == 2, notify: handler}
    - {name: changed, assert: {that: [r.changed, not r.failed]}}
    - {name: never fails, shell: exit 3, register: r, failed_when: false}
    - {name: changed too, assert: {that: [r.changed, not r.failed, r.rc == 3]}}
    - {name: ignored, shell: exit 1, register: r, ignore_errors: true, notify: not notified}
    - {name: it ran, assert: {that: [r.changed, r.failed]}}
    - {name: loop, shell: "exit {{ item }}", loop: [1, 0], register: r, changed_when: false, ignore_errors: true}
    - {name: none changed, assert: {that: [not r.changed, r.failed]}}
    - {name: no module, command: "echo {{ nope }}", failed_when: false, ignore_errors: true}
    - {name: no file, copy: {src: missing, dest: /root/x}, failed_when: false, ignore_errors: true}
    - {name: no user, command: id, become: true, become_user: nobody-there, failed_when: false, ignore_errors: true}
    - {name: its own error, file: {path: /none, state: file}, failed_when: false}
    - {name: not run, command: touch /root/touched, check_mode: true, register: r, notify: not notified}
    - {name: skipped, assert: {that: [r is skipped, not r.changed]}}
    - {name: there already, command: touch /root/touched, args: {creates: /etc}, register: r}
    - {name: not skipped, assert: {that: [r is not skipped, not r.changed, r.rc == 0]}}
    - {name: tries, shell: 'echo x >> /root/n; test $(wc -l < /root/n) -ge 3', retries: 5, delay: 0, register: r, changed_when: r.attempts == 3}
    - {name: tried, assert: {that: [r.attempts == 3, r.changed]}}
    - {name: environment, shell: 'test "$A $B" = "True [1, ''b'']"', environment: {A: true, B: [1, b]}}
    - {name: nothing, debug: {var: nope}}
  handlers:
    - {name: handler, debug: {msg: x}}
    - {name: not notified, debug: {msg: x}}
"#,
    );
    let (found, text) = outcome(&lab, &playbook);
    let single: Vec<&str> = found.iter().map(String::as_str).filter(|line| !line.starts_with("loop")).collect();
    assert_eq!(
        single,
        [
            "two is fine: changed",
            "changed: ok",
            "never fails: changed",
            "changed too: ok",
            "ignored: failed",
            "it ran: ok",
            "none changed: ok",
            "no module: failed",
            "no file: failed",
            "no user: failed",
            "its own error: ok",
            "not run: skipped",
            "skipped: ok",
            "there already: ok",
            "not skipped: ok",
            "tries: changed",
            "tried: ok",
            "environment: changed",
            "nothing: ok",
            "handler: ok",
        ],
        "{text}"
    );
}

#[test]
fn folders_on_a_host_are_copied_with_their_modes() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    lab.sh("node01", "mkdir -p /root/s/d && echo a > /root/s/d/a && chmod 0700 /root/s/d && chmod 0600 /root/s/d/a");
    let playbook = Playbook::tasks(
        "- {name: copy, copy: {src: /root/s/, dest: /root/t, remote_src: true}}\n- {name: backups, copy: {content: \"{{ item }}\", dest: /root/t/d/a, backup: true}, loop: [x, y, z]}\n",
    );
    let (found, text) = outcome(&lab, &playbook);
    assert_eq!(found.first().map(String::as_str), Some("copy: changed"), "{text}");
    assert_eq!(lab.sh("node01", "stat -c %a /root/t/d /root/t/d/a; ls /root/t/d | wc -l"), "700\n600\n4", "{text}");
}

#[test]
fn hosts_know_each_other_as_of_the_task() {
    let Some(lab) = Lab::new(3, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::new(
        r#"- hosts: ais
  tasks:
    - {set_fact: {mine: "{{ inventory_hostname }}-a"}}
    - {name: own, debug: {msg: "{{ hostvars[inventory_hostname].mine }}"}}
    - {set_fact: {mine: "{{ inventory_hostname }}-b"}}
    - {name: facts, debug: {msg: "{{ groups.ais | map('extract', hostvars, 'ansible_hostname') | select | length }} {{ groups.ais | map('extract', hostvars, 'mine') | join(' ') }}"}}
    - {set_fact: {mine: "{{ inventory_hostname }}-c"}}
    - {template: {src: hosts.j2, dest: /root/hosts}}
    - {set_fact: {mine: late}}
    - {name: by variable, debug: {msg: "{{ outer }}"}}
    - {name: included, include_tasks: "{{ 'more' }}.yml"}
"#,
    );
    playbook.file("templates/hosts.j2", "{% for h in groups.ais %}{{ hostvars[h].mine }} {% endfor %}");
    playbook.file("group_vars/all.yml", "outer: \"{{ inner }}\"\ninner: \"{{ hostvars.node03.own }}\"\nown: \"its {{ mine }}\"\n");
    playbook.file(
        "more.yml",
        "- {set_fact: {new: \"{{ inventory_hostname }}\"}}\n- {name: new, debug: {msg: \"{{ hostvars.node02.new }}\"}}\n",
    );
    // Fewer at once than there are: all take part all the same.
    let run = lab.fettle(&["apply", &playbook.path(), "--json", "--forks", "1"]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    assert_eq!(said(&run, "own"), ["node01: node01-a", "node02: node02-a", "node03: node03-a"]);
    let all = "3 node01-b node02-b node03-b";
    assert_eq!(said(&run, "facts"), ["node01", "node02", "node03"].map(|h| format!("{h}: {all}")));
    assert_eq!(lab.sh("node02", "cat /root/hosts"), "node01-c node02-c node03-c");
    assert_eq!(said(&run, "by variable"), ["node01", "node02", "node03"].map(|h| format!("{h}: its late")));
    assert_eq!(said(&run, "new"), ["node01", "node02", "node03"].map(|h| format!("{h}: node02")));
}

#[test]
fn who_fails_is_not_waited_for() {
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::new(
        r#"- hosts: ais
  gather_facts: false
  serial: 1
  tasks:
    - {set_fact: {mine: "{{ inventory_hostname }}"}}
    - {name: before, debug: {msg: "{{ hostvars.node01.mine }} {{ hostvars.node02.mine | default('none') }}"}}
- hosts: ais
  gather_facts: false
  tasks:
    - {fail: {msg: x}, when: inventory_hostname == 'node01'}
    - {name: after, debug: {msg: "{{ hostvars.node01.mine }}"}}
"#,
    );
    let run = lab.fettle(&["apply", &playbook.path(), "--json"]);
    assert_eq!(said(&run, "before"), ["node01: node01 none", "node02: node01 node02"], "{}", text(&run));
    assert_eq!(said(&run, "after"), ["node02: node01"], "{}", text(&run));
}

#[test]
fn names_of_nobody_in_hosts_are_a_warning() {
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    let play = |hosts: &str| format!("- hosts: \"{hosts}\"\n  gather_facts: false\n  tasks: [{{name: who, debug: {{msg: x}}}}]\n");
    let run = |hosts: &str| {
        let playbook = Playbook::new(&play(hosts));
        lab.fettle(&["apply", &playbook.path(), "--json"])
    };
    for (hosts, found) in
        [("nobody", vec![]), ("ais:nobody", vec!["node01: x", "node02: x"]), ("ais:&nobody", vec![]), ("ais[:0]", vec!["node01: x"])]
    {
        let output = run(hosts);
        assert_eq!(
            (said(&output, "who"), output.status.code()),
            (found.into_iter().map(str::to_owned).collect(), Some(0)),
            "{}",
            text(&output)
        );
        assert_eq!(text(&output).contains("no host and no group is named `nobody`"), hosts.contains("nobody"), "{}", text(&output));
    }
}

#[test]
fn a_result_that_no_message_holds_is_a_failure_and_no_lost_connection() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    lab.sh("node01", "head -c 50000000 /dev/zero >/root/large");
    let playbook = Playbook::tasks(
        "- {name: large, slurp: {src: /root/large}, register: r, ignore_errors: true}\n- {name: judged, assert: {that: [r.failed, r.content is undefined]}}\n",
    );
    let run = lab.fettle(&["apply", &playbook.path(), "--json"]);
    assert_eq!((statuses(&run), run.status.code()), (vec!["large: failed".into(), "judged: ok".into()], Some(0)), "{}", text(&run));
    assert!(said(&run, "large")[0].contains("its result is over the 64 MiB that a message can hold"), "{}", text(&run));
}

#[test]
fn who_logs_in_may_be_known_to_a_directory_service_only() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    // As the agent sees it, which reads /etc/passwd and nothing else.
    let playbook = Playbook::tasks(
        "- {command: \"sed -i /^admin:/d /etc/passwd\", become: true}\n- {name: who, command: id -u, register: r}\n- {name: said, debug: {msg: \"{{ r.stdout }}\"}}\n- {name: others, command: id, become: true, become_user: nobody-there, ignore_errors: true}\n",
    );
    let id = lab.sh("node01", "id -u admin");
    let run = lab.fettle(&["apply", &playbook.path(), "-e", "ansible_user=admin", "--json"]);
    assert_eq!((said(&run, "said"), run.status.code()), (vec![format!("node01: {id}")], Some(0)), "{}", text(&run));
    assert_eq!(said(&run, "others"), ["node01: there is no user nobody-there on this host"]);
}
