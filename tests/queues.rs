//! Queue settings of a lab's disks: settings that the kernel ties together, and several tasks for one disk.

mod support;

use support::Lab;
use support::runs::{Playbook, changes, text};

const RULES: &str = "grep -c . /etc/udev/rules.d/99-fettle-block.rules; grep sda /etc/udev/rules.d/99-fettle-block.rules";

#[test]
fn no_setting_and_no_task_undoes_another() {
    let Some(lab) = Lab::new(1, 1) else { return support::skipped("needs root") };
    let now = |what: &str| lab.sh("node01", &format!("cd /sys/block/sda/queue && cat {what}"));
    lab.sh("node01", "mkdir -p /etc/udev/rules.d");
    let before = now("max_sectors_kb read_ahead_kb scheduler nr_requests");
    // Whoever is asked for less gets more read-ahead from some kernels: twice the largest request.
    let book = Playbook::tasks(
        "- fettle.block_queue: {devices: sda, read_ahead_kb: 128, max_sectors_kb: 640}\n\
         - fettle.block_queue: {devices: sda, scheduler: none}\n\
         - fettle.block_queue: {devices: sda, rq_affinity: 2}",
    );
    let plan = lab.fettle(&["plan", &book.path(), "--json"]);
    let apply = lab.fettle(&["apply", &book.path(), "--json"]);
    assert_eq!(apply.status.code(), Some(0), "{}", text(&apply));
    assert_eq!(changes(&plan), changes(&apply));
    assert_eq!(now("max_sectors_kb read_ahead_kb rq_affinity"), "640\n128\n2");
    let line = "ATTR{queue/scheduler}=\"none\", ATTR{queue/max_sectors_kb}=\"640\", ATTR{queue/read_ahead_kb}=\"128\", ATTR{queue/rq_affinity}=\"2\"";
    let rules = lab.sh("node01", RULES);
    assert!(rules.starts_with("2\n") && rules.ends_with(line), "one line for the disk, below the heading: {rules}");
    let again = lab.fettle(&["apply", &book.path(), "--json"]);
    assert_eq!((again.status.code(), changes(&again)), (Some(0), vec![]), "{}", text(&again));
    // Read-ahead is as asked already, but setting the other one resets it.
    let book = Playbook::tasks("- fettle.block_queue: {devices: sda, read_ahead_kb: 128, max_sectors_kb: 512}");
    let apply = lab.fettle(&["apply", &book.path(), "--json"]);
    assert_eq!((apply.status.code(), now("max_sectors_kb read_ahead_kb")), (Some(0), "512\n128".into()), "{}", text(&apply));
    for _ in 0..2 {
        let undo = lab.fettle(&["undo", "--yes"]);
        assert_eq!(undo.status.code(), Some(0), "{}", text(&undo));
    }
    assert_eq!(now("max_sectors_kb read_ahead_kb scheduler nr_requests"), before);
}
