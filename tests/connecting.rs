//! Variables about connecting that stand in plays, over real sshd.

mod support;

use std::process::Output;
use support::Lab;
use support::runs::{Playbook, events, said, text};

const WHO: &str = "- {command: id -un, register: id, changed_when: false}\n- {name: who, debug: {msg: \"{{ id.stdout }}\"}}\n";

/// A play on all hosts with these keywords that says who it is.
fn play(keywords: &str) -> String {
    let tasks: String = WHO.lines().map(|line| format!("    {line}\n")).collect();
    format!("- hosts: ais\n  gather_facts: false\n{keywords}\n  tasks:\n{tasks}")
}

fn who(output: &Output) -> Vec<String> {
    assert_eq!(output.status.code(), Some(0), "{}", text(output));
    said(output, "who")
}

#[test]
fn a_play_may_say_how_its_hosts_are_reached() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let run = |keywords: &str, more: &[&str]| {
        let playbook = Playbook::new(&play(keywords));
        playbook.file("secrets.yml", "ansible_user: operator\nansible_password: fettle-lab\nansible_become_password: fettle-lab\n");
        playbook.file("roles/door/vars/main.yml", "ansible_user: \"{{ playbook_dir | length > 0 and 'admin' }}\"\n");
        playbook.file("roles/mat/defaults/main.yml", "ansible_user: operator\nansible_timeout: 600\n");
        lab.fettle(&[&["apply", &playbook.path(), "--json"], more].concat())
    };
    assert_eq!(who(&run("", &[])), ["node01: root"], "the inventory's");
    assert_eq!(who(&run("  vars: {ansible_user: \"{{ login }}\", login: admin}", &[])), ["node01: admin"]);
    assert_eq!(who(&run("  vars: {ansible_user: nobody}", &["-e", "ansible_user=admin"])), ["node01: admin"], "-e wins");
    assert_eq!(who(&run("  vars_files: secrets.yml", &[])), ["node01: operator"]);
    assert_eq!(who(&run("  vars_files: secrets.yml\n  become: true", &[])), ["node01: root"]);
    assert_eq!(who(&run("  vars_prompt: [{name: ansible_user, default: admin}]", &[])), ["node01: admin"]);
    assert_eq!(who(&run("  roles: [door]", &[])), ["node01: admin"]);
    assert_eq!(who(&run("  roles: [mat]", &[])), ["node01: root"], "defaults lose against the inventory");
    let output = run("  vars: {ansible_port: 9}", &[]);
    let gone = events(&output).into_iter().find(|e| e["event"] == "unreachable").unwrap_or_else(|| panic!("{}", text(&output)));
    assert!(gone["reason"].as_str().unwrap().contains(":9"), "{gone}");
    let output = run("  vars: {ansible_port: \"{{ ansible_fact }}\"}", &[]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("`ansible_port` of host node01 can't be rendered before connecting"), "{}", text(&output));
    assert!(text(&output).contains("play.yml:3:24"), "{}", text(&output));
}

#[test]
fn who_becomes_root_is_asked_of_the_variables_value() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let run = |keywords: &str, more: &[&str]| {
        let playbook = Playbook::new(&play(keywords));
        lab.fettle(&[&["apply", &playbook.path(), "--json"], more].concat())
    };
    assert_eq!(who(&run("", &["-e", "ansible_user=admin", "-e", "ansible_become=true"])), ["node01: root"]);
    assert_eq!(who(&run("  vars: {ansible_become: true, ansible_user: admin}", &[])), ["node01: root"]);
    // sudo would ask this user for a password.
    let operator = ["-e", "ansible_user=operator", "-e", "ansible_password=fettle-lab"];
    assert_eq!(who(&run("  become: true", &[&operator[..], &["-e", "ansible_become=no"]].concat())), ["node01: operator"]);
    assert_eq!(who(&run("  become: true\n  vars: {ansible_become: false}", &operator)), ["node01: operator"]);
    // A task's own variable wins, there and nowhere else.
    let playbook = Playbook::tasks(
        "- {command: id -un, register: one, vars: {ansible_become: true}}\n- {command: id -un, register: two}\n\
         - {name: who, debug: {msg: \"{{ one.stdout }} {{ two.stdout }}\"}}\n",
    );
    let output = lab.fettle(&["apply", &playbook.path(), "--json", "-e", "ansible_user=admin"]);
    assert_eq!(who(&output), ["node01: root admin"]);
}

#[test]
fn one_connection_serves_a_host() {
    // Nobody answers whether it may begin, so nobody is connected to.
    let run = |text: &str| {
        let playbook = Playbook::new(text);
        let output = support::fettle(["plan", &playbook.path(), "-i", "node,", "--step", "-t", "main"]);
        (output.status.code(), support::runs::text(&output))
    };
    let play = |hosts: &str, more: &str| format!("- hosts: {hosts}\n  gather_facts: false\n  tasks: [{{ping: , tags: main}}]\n{more}\n");
    let same = play("localhost", "  connection: local") + &play("localhost", "") + &play("localhost", "  vars: {ansible_port: 23}");
    assert_eq!(run(&same).0, Some(99), "this machine is this machine, however it is written: {}", run(&same).1);
    let same = play("all", "  vars: {ansible_port: 22}") + &play("all", "") + &play("all", "  port: 22");
    assert_eq!(run(&same).0, Some(99), "{}", run(&same).1);
    let more = play("all", "") + &play("all", "  vars: {ansible_become_password: x}") + &play("all", "");
    assert_eq!(run(&more).0, Some(99), "a password that only one play knows: {}", run(&more).1);
    for more in [
        "ansible_timeout: 60",
        "ansible_ssh_retries: 3",
        "ansible_remote_tmp: /var/tmp",
        "ansible_ssh_common_args: -o StrictHostKeyChecking=no -o ServerAliveInterval=9",
    ] {
        let more = format!("  vars: {{{more}}}");
        for same in [play("all", &more) + &play("all", ""), play("all", "") + &play("all", &more)] {
            assert_eq!(run(&same).0, Some(99), "it leads nowhere else: {}", run(&same).1);
        }
    }
    let first = play("all", "  vars: {ansible_user: admin}").replace("main", "bootstrap");
    assert_eq!(run(&(first + &play("all", ""))).0, Some(99), "of which tags leave nothing");
    for (second, what) in [
        ("  vars: {ansible_port: 23}", "address or port"),
        ("  remote_user: ops", "the user"),
        ("  connection: local", "`ansible_connection`"),
        ("  vars: {ansible_ssh_private_key_file: /k}", "options or passwords"),
        ("  vars: {ansible_password: y}", "options or passwords"),
    ] {
        let (code, told) = run(&(play("all", "  vars: {ansible_password: x}") + &play("all", second)));
        let wanted = format!("this play connects to node otherwise than an earlier play of this run ({what})");
        assert!(code == Some(4) && told.contains(&wanted), "{second}: {told}");
    }
}

#[test]
fn what_a_play_says_counts_for_whom_it_delegates_to_and_for_questions_after_it() {
    let Some(lab) = Lab::new(3, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::new(
        "- hosts: node01
  gather_facts: false
  vars: {ansible_user: admin}
  tasks:
    - {command: id -un, delegate_to: node02, register: id}
    - {name: who, debug: {msg: \"{{ id.stdout }}\"}}
",
    );
    let output = lab.fettle(&["apply", &playbook.path(), "--json"]);
    assert_eq!(who(&output), ["node01: admin"]);
    let output = lab.fettle(&["apply", &playbook.path(), "-e", "ansible_become=true", "-e", "greeting=x"]);
    let inventory = lab.inventory().display().to_string();
    let wanted = format!("Journal: fettle journal -i {inventory} -b -e ansible_become=true -e ansible_user=admin --run ");
    assert!(text(&output).contains(&wanted), "{}", text(&output));
    let play = |host: &str, user: &str| {
        format!(
            "- hosts: {host}\n  gather_facts: false\n  vars: {{ansible_user: {user}}}\n  tasks: [{{command: id -un, delegate_to: node02}}]\n"
        )
    };
    let run = |text: String| lab.fettle(&["apply", &Playbook::new(&text).path()]);
    let output = run(play("node01", "admin") + &play("node03", "root"));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let wanted = "this play connects to node02 otherwise than an earlier play of this run (the user)";
    assert!(text(&output).contains(wanted), "{}", text(&output));
    let output = run("- hosts: node02\n  gather_facts: false\n  tasks: [{command: id -un}]\n".to_owned() + &play("node01", "admin"));
    assert_eq!(output.status.code(), Some(0), "its own play says how: {}", text(&output));
}
