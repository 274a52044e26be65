//! Handlers over several runs, on a lab's hosts: one that failed, or that a run never got to, runs when the play is run again.

mod support;

use support::Lab;
use support::runs::{Playbook, changes, events, text};

/// A play whose task notifies a handler; `after` are more tasks, `handler` is what the handler runs.
fn playbook(after: &str, handler: &str) -> Playbook {
    let book = Playbook::new("");
    write(&book, after, handler);
    book
}

fn write(book: &Playbook, after: &str, handler: &str) {
    book.file(
        "play.yml",
        &format!(
            "- name: Service\n  hosts: ais\n  gather_facts: false\n  tasks:\n\
             \x20   - name: Configure\n      copy: {{content: 'x', dest: /etc/service.conf}}\n      notify: Restart\n{after}\
             \x20 handlers:\n    - name: Restart\n      shell: {handler}\n"
        ),
    );
}

const WORKS: &str = "date +%N >>/restarted";
const FAILS: &str = "    - name: Go on\n      command: 'false'\n";

/// Tasks that did or would do something, with what they warn of.
fn told(output: &std::process::Output) -> Vec<String> {
    let reports = events(output).into_iter().filter(|e| e["event"] == "result").map(|mut e| e["report"].take());
    reports.map(|r| format!("{}: {} {}", r["name"].as_str().unwrap(), r["status"].as_str().unwrap(), r["warnings"])).collect()
}

fn restarts(lab: &Lab) -> String {
    lab.sh("node01", "cat /restarted 2>/dev/null | wc -l")
}

/// Runs the play until its end, which must be a good one: with the handler, and then without.
fn runs_it_once(lab: &Lab, book: &Playbook) {
    let before = restarts(lab);
    for _ in 0..2 {
        let plan = lab.fettle(&["plan", &book.path(), "--json"]);
        assert_eq!(plan.status.code(), Some(0), "{}", text(&plan));
        assert_eq!(changes(&plan).len(), 1, "{}", text(&plan));
        assert!(changes(&plan)[0].contains("Restart"), "{}", text(&plan));
        assert!(told(&plan).last().unwrap().contains("which did not get to it"), "{}", text(&plan));
    }
    assert_eq!(restarts(lab), before, "a dry run runs nothing, and does not settle it");
    let journal = lab.fettle(&["journal"]);
    assert!(text(&journal).contains("notify Restart") && text(&journal).contains("it has not run"), "{}", text(&journal));
    let apply = lab.fettle(&["apply", &book.path(), "--json"]);
    assert_eq!(apply.status.code(), Some(0), "{}", text(&apply));
    assert_eq!(changes(&apply).len(), 1, "{}", text(&apply));
    assert!(told(&apply).last().unwrap().contains("which did not get to it"), "{}", text(&apply));
    assert_ne!(restarts(lab), before);
    let journal = lab.fettle(&["journal"]);
    assert!(text(&journal).contains("it ran in run ") && !text(&journal).contains("it has not run"), "{}", text(&journal));
    let again = lab.fettle(&["apply", &book.path(), "--json"]);
    assert_eq!((again.status.code(), changes(&again)), (Some(0), vec![]), "{}", text(&again));
    lab.sh("node01", "rm /etc/service.conf");
}

#[test]
fn a_handler_that_did_not_run_runs_when_the_play_is_run_again() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };

    // The handler fails.
    let book = playbook("", "'false'");
    let first = lab.fettle(&["apply", &book.path()]);
    assert_eq!(first.status.code(), Some(2), "{}", text(&first));
    let second = lab.fettle(&["apply", &book.path()]);
    assert_eq!(second.status.code(), Some(2), "it is tried again, and fails again: {}", text(&second));
    write(&book, "", WORKS);
    runs_it_once(&lab, &book);

    // A later task fails.
    write(&book, FAILS, WORKS);
    let first = lab.fettle(&["apply", &book.path()]);
    assert_eq!(first.status.code(), Some(2), "{}", text(&first));
    assert!(text(&first).contains("the next run of their play runs them): Restart"), "{}", text(&first));
    write(&book, "", WORKS);
    runs_it_once(&lab, &book);

    // The run is stopped.
    let first = lab.fettle(&["apply", &book.path(), "--stop-after", "1"]);
    assert_eq!(first.status.code(), Some(2), "{}", text(&first));
    runs_it_once(&lab, &book);
}

#[test]
fn what_a_run_that_was_undone_or_another_play_notified_does_not_run() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let book = playbook(FAILS, WORKS);
    assert_eq!(lab.fettle(&["apply", &book.path()]).status.code(), Some(2));
    let undo = lab.fettle(&["undo", "--yes"]);
    assert_eq!(undo.status.code(), Some(0), "{}", text(&undo));
    lab.sh("node01", "printf x >/etc/service.conf");
    write(&book, "", WORKS);
    let after = lab.fettle(&["apply", &book.path(), "--json"]);
    assert_eq!((after.status.code(), changes(&after)), (Some(0), vec![]), "{}", text(&after));

    // A command of which `changed_when` says that it changed nothing notifies nobody, now or later.
    let command = "- name: Service\n  hosts: ais\n  gather_facts: false\n  tasks:\n    - name: Look\n      command: 'true'\n      changed_when: false\n      notify: Restart\n    - command: 'false'\n  handlers:\n    - name: Restart\n      shell: 'true'\n";
    book.file("play.yml", command);
    assert_eq!(lab.fettle(&["apply", &book.path()]).status.code(), Some(2));
    write(&book, "", WORKS);
    let after = lab.fettle(&["apply", &book.path(), "--json"]);
    assert_eq!((after.status.code(), changes(&after)), (Some(0), vec![]), "{}", text(&after));

    // A play of another name owes nothing to this one.
    write(&book, FAILS, WORKS);
    lab.sh("node01", "rm /etc/service.conf");
    assert_eq!(lab.fettle(&["apply", &book.path()]).status.code(), Some(2));
    let other = std::fs::read_to_string(book.path()).unwrap().replace("name: Service", "name: Other").replace(FAILS, "");
    book.file("play.yml", &other);
    let after = lab.fettle(&["apply", &book.path(), "--json"]);
    assert_eq!((after.status.code(), changes(&after)), (Some(0), vec![]), "{}", text(&after));
    write(&book, "", WORKS);
    runs_it_once(&lab, &book);
}

#[test]
fn an_agent_that_is_killed_in_a_change_has_noted_whom_it_notifies() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let book = playbook("", WORKS);
    let slow = "- name: Service\n  hosts: ais\n  gather_facts: false\n  tasks:\n    - name: Slow\n      shell: touch /begun && sleep 60\n      notify: Restart\n  handlers:\n    - name: Restart\n      shell: 'true'\n";
    book.file("play.yml", slow);
    let child = lab.start_fettle(&["apply", &book.path()]);
    lab.wait_until("node01", "test -e /begun");
    lab.sh("node01", "kill -9 $(grep -o '\"pid\":[0-9]*' /run/fettle.lock | cut -d: -f2); printf x >/etc/service.conf");
    assert_ne!(child.wait_with_output().unwrap().status.code(), Some(0));
    write(&book, "", WORKS);
    runs_it_once(&lab, &book);
}
