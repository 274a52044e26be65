//! The whole way over real sshd, on throw-away hosts: the dry run tells the truth, the apply does it, the second one does
//! nothing, an interruption does no harm, wrong disks are refused, one bad host holds nobody up.

mod support;

use serde_json::Value as Json;
use std::process::Output;
use support::{Lab, fettle, succeeded};

const SITE: &str = "playbooks/site.yml";

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn run(lab: &Lab, arguments: &[&str]) -> Output {
    let inventory = lab.inventory().display().to_string();
    let mut all: Vec<&str> = arguments.to_vec();
    all.extend(["-i", &inventory]);
    fettle(all)
}

/// What a run changed (or would change): host, task, change, in order.
fn changes(output: &Output) -> Vec<String> {
    let mut all = vec![];
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let event: Json = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if event["event"] == "result" {
            let report = &event["report"];
            for change in report["changes"].as_array().unwrap() {
                all.push(format!("{} | {} | {} | {}", event["host"], report["name"], change["summary"], change["done"]));
            }
        }
    }
    all
}

#[test]
fn the_dry_run_tells_what_the_apply_does_and_a_second_apply_does_nothing() {
    let Some(lab) = Lab::new(3, 2) else { return support::skipped("needs root") };
    let plan = run(&lab, &["plan", SITE, "--json"]);
    assert_eq!(plan.status.code(), Some(0), "{}", text(&plan));
    assert_eq!(lab.sh("node01", "ls /etc/sysctl.d/99-zz-ais-required.conf 2>/dev/null || echo none"), "none", "a dry run writes nothing");
    let apply = run(&lab, &["apply", SITE, "--json"]);
    assert_eq!(apply.status.code(), Some(0), "{}", text(&apply));
    assert!(changes(&plan).len() >= 3 * 15, "{:?}", changes(&plan));
    assert_eq!(changes(&plan), changes(&apply));
    for host in ["node01", "node02", "node03"] {
        assert_eq!(lab.sh(host, "sysctl -n net.core.somaxconn"), "65535");
        let mounted = lab.sh(host, "findmnt -rn -t xfs -o TARGET,OPTIONS");
        for disk in ["sda", "sdb"] {
            let line = mounted.lines().find(|l| l.starts_with(&format!("/ais/{disk} "))).unwrap_or_else(|| panic!("{host}: {mounted}"));
            for option in ["noatime", "largeio", "swalloc", "allocsize=131072k", "logbsize=256k"] {
                assert!(line.contains(option), "{line}");
            }
            assert!(lab.sh(host, "cat /etc/fstab").contains(&format!("/ais/{disk}\txfs\tnoatime")));
        }
        assert_eq!(lab.sh(host, "stat -c %a:%U /ais/sda"), "750:root");
    }
    let again = run(&lab, &["apply", SITE, "--json"]);
    assert_eq!((again.status.code(), changes(&again)), (Some(0), vec![]), "{}", text(&again));
    let plan = run(&lab, &["plan", SITE, "--json"]);
    assert_eq!((plan.status.code(), changes(&plan)), (Some(0), vec![]), "{}", text(&plan));
    let journal = run(&lab, &["journal", "-l", "node02"]);
    assert!(text(&journal).contains("format /dev/sdb"), "{}", text(&journal));
}

#[test]
fn a_run_stopped_after_any_change_converges_when_it_is_run_again() {
    let Some(lab) = Lab::new(1, 1) else { return support::skipped("needs root") };
    let whole = changes(&run(&lab, &["plan", SITE, "--json"]));
    let mut made = 0;
    // Every k: stop after one more change, again and again, until a run comes to its end.
    loop {
        let part = run(&lab, &["apply", SITE, "--json", "--stop-after", "1"]);
        let now = changes(&part).len();
        if now == 0 {
            assert_eq!(part.status.code(), Some(0), "{}", text(&part));
            break;
        }
        assert_eq!((now, part.status.code()), (1, Some(2)), "{}", text(&part));
        made += now;
        assert!(made <= whole.len(), "it goes on changing things: {}", text(&part));
    }
    assert_eq!(made, whole.len(), "a run that begins where another stopped does the rest and nothing twice");
    assert_eq!(lab.sh("node01", "findmnt -rn -t xfs -o TARGET"), "/ais/sda");
}

#[test]
fn stopped_in_the_middle_of_several_changes_the_next_run_says_so_and_goes_on() {
    let Some(lab) = Lab::new(1, 2) else { return support::skipped("needs root") };
    let whole = changes(&run(&lab, &["plan", SITE, "--json"])).len();
    for stop in [2usize, 5, 9, 11, 13, 16] {
        assert!(stop < whole, "a run of {whole} changes can't be stopped after {stop}");
        let Some(lab) = Lab::new(1, 2) else { return };
        let first = run(&lab, &["apply", SITE, "--json", "--stop-after", &stop.to_string()]);
        assert_eq!(first.status.code(), Some(2), "{}", text(&first));
        let second = run(&lab, &["apply", SITE]);
        assert_eq!(second.status.code(), Some(0), "after {stop}: {}", text(&second));
        assert!(text(&second).contains("did not come to its end"), "{}", text(&second));
        assert_eq!(changes(&run(&lab, &["plan", SITE, "--json"])), Vec::<String>::new(), "after {stop}");
    }
}

#[test]
fn wrong_disks_are_refused_all_together_and_none_is_touched() {
    let Some(lab) = Lab::new(1, 4) else { return support::skipped("needs root") };
    lab.sh("node01", "printf 'label: gpt\\n,50M\\n' | sfdisk -q --no-reread /dev/sda");
    lab.sh("node01", "mkswap -q /dev/sdb");
    lab.sh("node01", "mkfs.ext4 -q -L backup /dev/sdc && mkdir /data && mount /dev/sdc /data");
    // Not the mounted one: its filesystem goes on writing to it.
    let before = lab.sh("node01", "for d in sda sdb sdd; do head -c 4M /dev/$d | sha256sum; done");
    let inventory = lab.inventory().display().to_string();
    let refused = fettle(["apply", "playbooks/data_filesystems.yml", "-i", &inventory]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    let said = text(&refused);
    for part in [
        "/dev/sda",
        "a partition table (gpt)",
        "swap",
        "is mounted on /data",
        "To destroy that, name it: wipe:",
        "nothing is done on this host",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(
        lab.sh("node01", "for d in sda sdb sdd; do head -c 4M /dev/$d | sha256sum; done"),
        before,
        "the blank one is left alone too"
    );
    assert_eq!(lab.sh("node01", "cat /etc/fstab"), "");
    // Named for wiping, what is not in use goes; what is mounted stays refused.
    let wiped = fettle([
        "apply",
        "playbooks/data_filesystems.yml",
        "-i",
        &inventory,
        "-e",
        "{\"ais_devices\": [\"sda\", \"sdb\"], \"ais_wipe\": [\"/dev/sda\", \"/dev/sdb\"]}",
    ]);
    assert_eq!(wiped.status.code(), Some(0), "{}", text(&wiped));
    assert!(text(&wiped).contains("DESTROYS: "), "{}", text(&wiped));
    let mounted = fettle([
        "apply",
        "playbooks/data_filesystems.yml",
        "-i",
        &inventory,
        "-e",
        "{\"ais_devices\": [\"sdc\"], \"ais_wipe\": [\"/dev/sdc\"]}",
    ]);
    assert_eq!(mounted.status.code(), Some(2));
    assert!(text(&mounted).contains("it is mounted on /data"), "{}", text(&mounted));
    let missing = fettle(["apply", "playbooks/data_filesystems.yml", "-i", &inventory, "-e", "{\"ais_devices\": [\"sd\"]}"]);
    assert!(text(&missing).contains("there is no disk `sd`; there are: /dev/sda"), "{}", text(&missing));
}

#[test]
fn one_dead_host_and_one_silent_host_hold_nobody_up() {
    let Some(lab) = Lab::new(3, 1) else { return support::skipped("needs root") };
    lab.cause("node02", fettle::lab::Trouble::Stop);
    let started = std::time::Instant::now();
    let output = run(&lab, &["apply", SITE, "-T", "3"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("node02  unreachable") && said.contains("2 changed"), "{said}");
    assert!(started.elapsed().as_secs() < 25, "the others waited for it");
    assert_eq!(lab.sh("node03", "findmnt -rn -t xfs -o TARGET"), "/ais/sda");
    lab.cause("node02", fettle::lab::Trouble::Start);
    lab.cause("node02", fettle::lab::Trouble::Freeze);
    let output = run(&lab, &["plan", SITE, "-T", "2"]);
    lab.cause("node02", fettle::lab::Trouble::Thaw);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("2 unchanged"), "{}", text(&output));
}

#[test]
fn host_keys_are_checked() {
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    let known = lab.folder().join("known_hosts");
    let before = std::fs::read_to_string(&known).unwrap();
    let lines: Vec<&str> = before.lines().filter(|l| !l.trim().is_empty()).collect();
    // The second host's key under the first one's name: what somebody in between would look like.
    let key = |line: &str| line.split_once(' ').unwrap().1.to_owned();
    let name = |line: &str| line.split_once(' ').unwrap().0.to_owned();
    std::fs::write(&known, format!("{} {}\n{}\n", name(lines[0]), key(lines[1]), lines[1])).unwrap();
    let changed = run(&lab, &["ping"]);
    assert_eq!(changed.status.code(), Some(4));
    assert!(text(&changed).contains("has CHANGED") && text(&changed).contains(&format!("{}:1", known.display())), "{}", text(&changed));
    assert!(text(&changed).contains("node02  pong"), "{}", text(&changed));
    std::fs::write(&known, "").unwrap();
    let unknown = run(&lab, &["ping"]);
    assert_eq!(unknown.status.code(), Some(4));
    assert!(text(&unknown).contains("is not known (ssh-ed25519 SHA256:"), "{}", text(&unknown));
    assert_eq!(std::fs::read_to_string(&known).unwrap(), "", "without a terminal nothing is trusted");
}

#[test]
fn an_agent_killed_in_the_middle_is_told_and_the_next_run_finishes() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let folder = tempfile::tempdir().unwrap();
    let playbook = folder.path().join("slow.yml");
    std::fs::write(
        &playbook,
        "- hosts: ais\n  gather_facts: false\n  tasks:\n    - copy: {content: one, dest: /root/one}\n    - command: sleep 30\n      args: {creates: /root/two}\n    - copy: {content: two, dest: /root/two}\n",
    )
    .unwrap();
    let inventory = lab.inventory().display().to_string();
    let path = playbook.display().to_string();
    let mut child = support::fettle_command(["apply", &path, "-i", &inventory]);
    let child = child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..200 {
        if lab.exec("node01", "pgrep -x sleep").status.success() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    lab.sh("node01", "pkill -9 -f '[a]gent-.* serve'; pkill -x sleep; true");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("agent ended"), "{}", text(&output));
    assert_eq!(lab.sh("node01", "cat /root/one; ls /root/two 2>/dev/null || echo; "), "one");
    lab.sh("node01", "printf two > /root/two");
    let again = fettle(["apply", &path, "-i", &inventory]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert!(text(&again).contains("did not come to its end"), "{}", text(&again));
}

#[test]
fn one_agent_serves_several_users() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let folder = tempfile::tempdir().unwrap();
    let playbook = folder.path().join("users.yml");
    std::fs::write(
        &playbook,
        "- hosts: ais\n  gather_facts: false\n  tasks:\n    - command: id -un\n      register: plain\n    - command: id -un\n      become: true\n      register: root\n    - command: id -un\n      become: true\n      become_user: operator\n      register: other\n    - debug: msg=\"{{ plain.stdout }} {{ root.stdout }} {{ other.stdout }}\"\n    - copy: {content: x, dest: /home/admin/mine}\n",
    )
    .unwrap();
    let path = playbook.display().to_string();
    let output = run(&lab, &["apply", &path, "-e", "ansible_user=admin"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("admin root operator"), "{}", text(&output));
    assert_eq!(lab.sh("node01", "stat -c %U /home/admin/mine"), "admin");
    let no_password = run(&lab, &["apply", &path, "-e", "ansible_user=operator"]);
    assert!(text(&no_password).contains("sudo wants a password for operator"), "{}", text(&no_password));
    let wrong = run(&lab, &["apply", &path, "-e", "ansible_user=operator", "-e", "ansible_become_password=wrong"]);
    assert!(text(&wrong).contains("sudo does not take the password of operator"), "{}", text(&wrong));
    std::fs::write(&playbook, "- hosts: ais\n  become: true\n  gather_facts: false\n  tasks:\n    - command: id -un\n      register: who\n    - debug: var=who.stdout\n").unwrap();
    let right = run(&lab, &["apply", &path, "-e", "ansible_user=operator", "-e", "ansible_become_password=fettle-lab"]);
    assert_eq!(right.status.code(), Some(0), "{}", text(&right));
    assert!(text(&right).contains("root"), "{}", text(&right));
}

#[test]
fn two_runs_never_work_on_one_host_at_once() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let folder = tempfile::tempdir().unwrap();
    let playbook = folder.path().join("long.yml");
    std::fs::write(&playbook, "- hosts: ais\n  gather_facts: false\n  tasks:\n    - command: sleep 3\n").unwrap();
    let inventory = lab.inventory().display().to_string();
    let path = playbook.display().to_string();
    let mut first = support::fettle_command(["apply", &path, "-i", &inventory]);
    let first = first.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..100 {
        if lab.exec("node01", "pgrep -x sleep").status.success() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let second = fettle(["apply", &path, "-i", &inventory]);
    assert_eq!(second.status.code(), Some(4), "{}", text(&second));
    assert!(text(&second).contains("is running `apply ") && text(&second).contains("here since 20"), "{}", text(&second));
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn large_files_templates_and_loops_arrive_whole() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let folder = tempfile::tempdir().unwrap();
    let big: Vec<u8> = (0..3_000_000u32).flat_map(|i| i.to_le_bytes()).take(2_500_000).collect();
    std::fs::create_dir(folder.path().join("files")).unwrap();
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    std::fs::write(folder.path().join("files/big"), &big).unwrap();
    std::fs::write(folder.path().join("templates/t.j2"), "{% for d in disks %}\n{{ d }}\n{% endfor %}\n").unwrap();
    let playbook = folder.path().join("files.yml");
    std::fs::write(
        &playbook,
        "- hosts: ais\n  gather_facts: false\n  vars: {disks: [a, b]}\n  tasks:\n    - copy: {src: \"{{ item }}\", dest: /root/big}\n      loop: [big]\n    - template: {src: t.j2, dest: /root/t}\n",
    )
    .unwrap();
    let path = playbook.display().to_string();
    let output = run(&lab, &["apply", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(
        lab.sh("node01", "sha256sum </root/big"),
        succeeded(
            "sha256sum",
            &std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("sha256sum <{}", folder.path().join("files/big").display()))
                .output()
                .unwrap()
        )
    );
    assert_eq!(lab.sh("node01", "cat /root/t"), "a\nb");
    let again = run(&lab, &["apply", &path, "--json"]);
    assert_eq!(changes(&again), Vec::<String>::new());
    // Outside the project, a name that a host made up is not answered.
    std::fs::write(&playbook, "- hosts: ais\n  gather_facts: false\n  tasks:\n    - set_fact: {where: /etc/shadow}\n    - copy: {src: \"{{ where }}\", dest: /root/shadow}\n").unwrap();
    let outside = run(&lab, &["apply", &path]);
    assert_eq!(outside.status.code(), Some(2), "{}", text(&outside));
    assert!(text(&outside).contains("is outside the project"), "{}", text(&outside));
    assert_eq!(lab.sh("node01", "ls /root/shadow 2>/dev/null || echo none"), "none");
}
