//! `fettle undo` over real sshd: a run is played back from the hosts' journals, and nothing else is touched.

mod support;

use support::runs::{Playbook, changes, events, text};
use support::{Lab, succeeded};

/// All that `site.yml` touches and a journal can bring back.
const STATE: &str = "cat /etc/fstab; ls /etc/sysctl.d /etc/security/limits.d; ls -d /ais 2>&1; findmnt -rn -t xfs; \
     sysctl net.core.somaxconn net.ipv4.tcp_tw_reuse net.ipv4.ip_local_port_range net.ipv4.tcp_max_tw_buckets";

#[test]
fn a_run_is_undone_on_all_hosts_and_can_be_applied_again() {
    let Some(lab) = Lab::new(2, 1) else { return support::skipped("needs root") };
    let site = "playbooks/site.yml";
    let before = lab.sh("node01", STATE);
    let applied = lab.fettle(&["apply", site, "--json"]);
    assert_eq!(applied.status.code(), Some(0), "{}", text(&applied));
    let prepared = lab.sh("node01", STATE);

    // Only looked at, and asked where nobody is there to answer.
    let plan = lab.fettle(&["undo", "--check"]);
    assert_eq!(plan.status.code(), Some(0), "{}", text(&plan));
    let said = text(&plan);
    for part in [
        "\nnode[01-02]\n",
        "~ unmount /ais/sda   undoes: mount /dev/sda on /ais/sda\n",
        "? remove /ais/sda   undoes: make directory /ais/sda (mode 0755)\n      unknown until then: what is below the mount on /ais/sda shows once it is unmounted\n",
        "stays: what was on /dev/sda (320 MiB) before its filesystem was made can't be brought back\n",
        "~ set net.core.somaxconn: 65535 → 4096   undoes: set net.core.somaxconn: 4096 → 65535\n",
        "\n30 to undo, 4 unknown until then, 2 can't be undone. Nothing was changed.\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let diff = text(&lab.fettle(&["undo", "--check", "-D", "-l", "node01"]));
    assert!(diff.contains("\n      -net.ipv4.tcp_max_tw_buckets=1440000\n"), "{diff}");
    let unasked = lab.fettle(&["undo"]);
    assert_eq!(unasked.status.code(), Some(1));
    assert!(text(&unasked).contains("nothing was undone: there is no terminal to ask at; --yes answers"), "{}", text(&unasked));
    assert_eq!(lab.sh("node01", STATE), prepared);

    let uuid = lab.sh("node01", "blkid -p -o value -s UUID /dev/sda");
    let undone = lab.fettle(&["undo", "--yes"]);
    assert_eq!(undone.status.code(), Some(0), "{}", text(&undone));
    assert!(text(&undone).contains("\n34 undone, 2 can't be undone. This run is "), "{}", text(&undone));
    assert_eq!(lab.sh("node01", STATE), before);
    assert_eq!(lab.sh("node01", "blkid -p -o value -s UUID /dev/sda"), uuid, "data stays");
    let again = lab.fettle(&["undo", "--yes"]);
    assert!(text(&again).contains("its journal has no run to undo") && again.status.success(), "{}", text(&again));

    // What was undone can be done again: by a run, or by undoing the undoing.
    let redone = lab.fettle(&["apply", site, "--json", "-l", "node01"]);
    assert_eq!(redone.status.code(), Some(0), "{}", text(&redone));
    assert!(changes(&redone).iter().all(|c| !c.contains("format")), "the filesystem is there: {}", text(&redone));
    assert_eq!(lab.sh("node01", STATE), prepared);
    let run = text(&undone).split("--run ").nth(1).unwrap().trim().to_owned();
    let back = lab.fettle(&["undo", "--yes", "-l", "node02", "--run", &run]);
    assert_eq!(back.status.code(), Some(0), "{}", text(&back));
    let plan = lab.fettle(&["plan", site, "--json"]);
    assert_eq!(changes(&plan), Vec::<String>::new(), "{}", text(&plan));
    let journal = lab.fettle(&["journal", "-l", "node02"]);
    assert!(text(&journal).contains(&format!("undo {run} by ")), "{}", text(&journal));
}

#[test]
fn what_somebody_changed_since_stays_and_so_does_what_commands_did() {
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    lab.sh("node01", "echo old >/root/kept");
    lab.sh("node02", "echo old >/root/kept");
    let playbook = Playbook::tasks(
        "- copy: {content: \"new\\n\", dest: /root/kept}\n- copy: {content: \"x\\n\", dest: /root/made}\n- command: touch /root/opaque\n- copy: {content: \"secret\\n\", dest: /root/secret}\n  no_log: true\n",
    );
    assert!(lab.fettle(&["apply", &playbook.path()]).status.success());
    lab.sh("node01", "echo mine >/root/kept");
    let undone = lab.fettle(&["undo", "--yes", "--json"]);
    assert_eq!(undone.status.code(), Some(2), "{}", text(&undone));
    let ends = |host: &str| -> Vec<String> {
        let event = events(&undone).into_iter().find(|e| e["host"] == host && e["step"] == "undo").unwrap();
        event["report"]["steps"].as_array().unwrap().iter().map(|s| s["end"].to_string()).collect()
    };
    let secret = "{\"stays\":\"it is secret, and secrets are not kept\"}";
    let opaque = "{\"stays\":\"what a command did can't be undone\"}";
    assert_eq!(ends("node02"), [secret, opaque, "\"undone\"", "\"undone\""]);
    assert_eq!(
        ends("node01"),
        [
            secret,
            opaque,
            "\"undone\"",
            "{\"refused\":\"changed since: /root/kept does not hold what was written (4 bytes written, 5 read back): something else writes it too\"}"
        ]
    );
    assert_eq!(lab.sh("node01", "cat /root/kept /root/secret; ls /root/made /root/opaque 2>&1 || true").lines().next(), Some("mine"));
    assert_eq!(lab.sh("node02", "cat /root/kept; ls /root"), "old\nkept\nopaque\nsecret");
    // A run of which nothing can be undone names the one before it.
    for content in ["1", "2"] {
        let playbook = Playbook::tasks(&format!("- copy: {{content: \"{content}\", dest: /root/kept}}\n"));
        assert!(lab.fettle(&["apply", &playbook.path(), "-l", "node02"]).status.success());
    }
    lab.sh("node02", "cp /root/kept /root/second; echo mine >/root/kept");
    let stuck = lab.fettle(&["undo", "--yes", "-l", "node02"]);
    assert_eq!(stuck.status.code(), Some(2), "{}", text(&stuck));
    lab.sh("node02", "cp /root/second /root/kept");
    assert!(lab.fettle(&["undo", "--yes", "-l", "node02"]).status.success());
    let first = text(&stuck).split("): --run ").nth(1).unwrap_or_else(|| panic!("{}", text(&stuck))).split('\n').next().unwrap().to_owned();
    assert!(lab.fettle(&["undo", "--yes", "-l", "node02", "--run", &first]).status.success());
    assert_eq!(lab.sh("node02", "cat /root/kept"), "old");
    // Another run holds the host.
    let slow = Playbook::tasks("- command: sleep 3\n");
    let first = lab.start_fettle(&["apply", &slow.path()]);
    lab.wait_until("node01", "pgrep -x sleep");
    let held = lab.fettle(&["undo", "--check", "-l", "node01"]);
    assert_eq!(held.status.code(), Some(4), "{}", text(&held));
    assert!(text(&held).contains("node01: unreachable: ") && text(&held).contains(" is running `apply "), "{}", text(&held));
    succeeded("the first run", &first.wait_with_output().unwrap());
}
