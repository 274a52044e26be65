//! The whole way over real sshd, on throw-away hosts: the dry run tells the truth, the apply does it, the second one does
//! nothing, an interruption does no harm, wrong disks are refused, one bad host holds nobody up.

mod support;

use support::runs::{Playbook, changes, outcomes, said, text};
use support::{Lab, fettle, succeeded};

const SITE: &str = "playbooks/site.yml";

#[test]
fn the_dry_run_tells_what_the_apply_does_and_a_second_apply_does_nothing() {
    let Some(lab) = Lab::new(3, 2) else { return support::skipped("needs root") };
    let plan = lab.fettle(&["plan", SITE, "--json"]);
    assert_eq!(plan.status.code(), Some(0), "{}", text(&plan));
    assert_eq!(lab.sh("node01", "ls /etc/sysctl.d/99-zz-ais-required.conf 2>/dev/null || echo none"), "none", "a dry run writes nothing");
    let apply = lab.fettle(&["apply", SITE, "--json"]);
    assert_eq!(apply.status.code(), Some(0), "{}", text(&apply));
    assert!(changes(&plan).len() >= 3 * 15, "{:?}", changes(&plan));
    assert_eq!(changes(&plan), changes(&apply));
    assert_eq!(outcomes(&plan), outcomes(&apply), "what is fine, changed or skipped");
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
    let again = lab.fettle(&["apply", SITE, "--json"]);
    assert_eq!((again.status.code(), changes(&again)), (Some(0), vec![]), "{}", text(&again));
    assert_eq!(outcomes(&again).iter().filter(|o| !o.ends_with("| ok") && !o.ends_with("| skipped")).count(), 0, "{}", text(&again));
    let plan = lab.fettle(&["plan", SITE, "--json"]);
    assert_eq!((plan.status.code(), changes(&plan)), (Some(0), vec![]), "{}", text(&plan));
    let journal = lab.fettle(&["journal", "-l", "node02"]);
    assert!(text(&journal).contains("format /dev/sdb"), "{}", text(&journal));
}

#[test]
fn a_run_stopped_after_any_change_converges_when_it_is_run_again() {
    let Some(lab) = Lab::new(1, 1) else { return support::skipped("needs root") };
    let whole = changes(&lab.fettle(&["plan", SITE, "--json"]));
    let mut made = 0;
    // Every k: stop after one more change, again and again, until a run comes to its end.
    loop {
        let part = lab.fettle(&["apply", SITE, "--json", "--stop-after", "1"]);
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
    let whole = changes(&lab.fettle(&["plan", SITE, "--json"])).len();
    for stop in [2usize, 5, 9, 11, 13, 16] {
        assert!(stop < whole, "a run of {whole} changes can't be stopped after {stop}");
        let Some(lab) = Lab::new(1, 2) else { return };
        let first = lab.fettle(&["apply", SITE, "--json", "--stop-after", &stop.to_string()]);
        assert_eq!(first.status.code(), Some(2), "{}", text(&first));
        let second = lab.fettle(&["apply", SITE]);
        assert_eq!(second.status.code(), Some(0), "after {stop}: {}", text(&second));
        assert!(text(&second).contains("did not come to its end"), "{}", text(&second));
        assert_eq!(changes(&lab.fettle(&["plan", SITE, "--json"])), Vec::<String>::new(), "after {stop}");
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
    let output = lab.fettle(&["apply", SITE, "-T", "3"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("node02  unreachable") && said.contains("2 changed"), "{said}");
    assert!(started.elapsed().as_secs() < 25, "the others waited for it");
    assert_eq!(lab.sh("node03", "findmnt -rn -t xfs -o TARGET"), "/ais/sda");
    lab.cause("node02", fettle::lab::Trouble::Start);
    lab.cause("node02", fettle::lab::Trouble::Freeze);
    let output = lab.fettle(&["plan", SITE, "-T", "2"]);
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
    let changed = lab.fettle(&["ping"]);
    assert_eq!(changed.status.code(), Some(4));
    assert!(text(&changed).contains("has CHANGED") && text(&changed).contains(&format!("{}:1", known.display())), "{}", text(&changed));
    assert!(text(&changed).contains("node02  pong"), "{}", text(&changed));
    std::fs::write(&known, "").unwrap();
    let unknown = lab.fettle(&["ping"]);
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
    lab.wait_until("node01", "pgrep -x sleep");
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
fn a_machine_without_an_agent_is_told_how_to_get_one() {
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    let pretend = |machine: &str| {
        lab.sh("node02", &format!("printf '#!/bin/sh\\necho {machine}\\n' >/usr/local/bin/uname && chmod 755 /usr/local/bin/uname"))
    };
    let folder = tempfile::tempdir().unwrap();
    let here = std::env::consts::ARCH;
    let triple = format!("{here}-unknown-linux-gnu");
    std::fs::create_dir(folder.path().join(&triple)).unwrap();
    let agent = support::agents().into_iter().find(|a| a.to_string_lossy().contains(&triple)).unwrap();
    std::fs::copy(agent, folder.path().join(&triple).join("fettle-agent")).unwrap();
    let other = if here == "aarch64" { "x86_64" } else { "aarch64" };
    pretend(other);
    let run = || {
        let arguments = ["apply", "playbooks/host_tuning.yml", "--json", "-i", &lab.inventory().display().to_string()];
        let output = support::fettle_command(arguments).env("FETTLE_AGENT_DIR", folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        let events = support::runs::events(&output);
        let gone: Vec<_> =
            events.iter().filter(|e| e["event"] == "unreachable").map(|e| (e["host"].clone(), e["reason"].clone())).collect();
        assert_eq!(gone.len(), 1, "{}", text(&output));
        assert_eq!(gone[0].0, "node02");
        gone[0].1.as_str().unwrap().to_owned()
    };
    let place = folder.path().display();
    assert_eq!(
        run(),
        format!(
            "no agent for {other}-unknown-linux-gnu in {place}; build it so: `scripts/build --target {other}-unknown-linux-gnu`, or put one at agents/{other}-unknown-linux-gnu/fettle-agent beside fettle"
        )
    );
    assert_eq!(lab.sh("node01", "sysctl -n net.core.somaxconn"), "65535", "the other host is served");
    pretend("riscv64");
    assert_eq!(run(), "fettle has no agent for riscv64 machines; there are agents for x86_64 and aarch64");
    assert_eq!(lab.sh("node02", "ls -a /root | grep -c cache || true"), "0", "nothing is left on a host that can't be served");
}

#[test]
fn one_agent_serves_several_users() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::tasks(
        "- {command: id -un, register: plain}\n- {command: id -un, become: true, register: root}\n- {command: id -un, become: true, become_user: operator, register: other}\n- {name: who, debug: {msg: \"{{ plain.stdout }} {{ root.stdout }} {{ other.stdout }}\"}}\n- {copy: {content: x, dest: /home/admin/mine}}\n",
    );
    let output = lab.fettle(&["apply", &playbook.path(), "-e", "ansible_user=admin", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(said(&output, "who"), ["node01: admin root operator"]);
    assert_eq!(lab.sh("node01", "stat -c %U /home/admin/mine"), "admin");
}

#[test]
fn passwords_stand_in_the_inventory_or_are_missed_by_name() {
    let Some(lab) = Lab::new(1, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::new(
        "- hosts: all\n  become: true\n  gather_facts: false\n  tasks:\n    - {command: id -un, register: who}\n    - {name: who, debug: {msg: \"{{ who.stdout }}\"}}\n",
    );
    // No key: only the password opens the door.
    let address = lab.state.host("node01").unwrap().address;
    let known = lab.folder().join("known_hosts");
    let run = |passwords: &str| {
        let host = format!("target ansible_host={address} ansible_user=operator {passwords}\n");
        let options = format!("ansible_ssh_common_args='-o UserKnownHostsFile={} -o StrictHostKeyChecking=yes'", known.display());
        playbook.file("hosts.ini", &format!("[all:vars]\n{options}\n[ais]\n{host}"));
        let inventory = playbook.folder().join("hosts.ini").display().to_string();
        let mut command = support::fettle_command(["apply", &playbook.path(), "-i", &inventory, "--json"]);
        command.env("HOME", playbook.folder()).output().unwrap()
    };
    let right = run("ansible_password=fettle-lab ansible_become_password=fettle-lab");
    assert_eq!((right.status.code(), said(&right, "who")), (Some(0), vec!["target: root".to_owned()]), "{}", text(&right));
    let reason = |output: &std::process::Output| {
        assert_eq!(output.status.code(), Some(4), "{}", text(output));
        let gone = support::runs::events(output).into_iter().find(|e| e["event"] == "unreachable");
        gone.unwrap_or_else(|| panic!("{}", text(output)))["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        reason(&run("ansible_password=fettle-lab")),
        "sudo wants a password for operator: give it with -K, or in ansible_become_password"
    );
    assert_eq!(reason(&run("ansible_password=fettle-lab ansible_become_password=wrong")), "sudo does not take the password of operator");
    assert_eq!(
        reason(&run("ansible_password=wrong")),
        "logging in as operator failed; tried the password; the server takes publickey,password"
    );
    assert_eq!(
        reason(&run("")),
        "nothing to log in with as operator; the server takes publickey,password: name a key (--private-key, ansible_ssh_private_key_file), start an SSH agent, or use -k"
    );
}

#[test]
fn when_the_line_is_cut_the_agent_ends_its_change_and_stops() {
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::tasks(
        "- copy: {content: one, dest: /root/one}\n- {command: sh -c 'sleep 12 && touch /root/two', args: {creates: /root/two}}\n- copy: {content: three, dest: /root/three}\n",
    );
    let known = lab.folder().join("known_hosts").display().to_string();
    // Silent for three seconds: gone.
    let options = format!("ansible_ssh_common_args=-o UserKnownHostsFile={known} -o ServerAliveInterval=1 -o ServerAliveCountMax=3");
    let extra = serde_json::json!({"ansible_ssh_common_args": options.split_once('=').unwrap().1}).to_string();
    let path = playbook.path();
    let arguments = ["apply", &path, "--json", "-e", &extra, "-T", "3"];
    let child = lab.start_fettle(&arguments);
    lab.wait_until("node01", "pgrep -x sleep");
    let cut = std::time::Instant::now();
    lab.cause("node01", fettle::lab::Trouble::Cut);
    let output = child.wait_with_output().unwrap();
    // The other host, which is not cut off, takes its 12 seconds.
    assert!(cut.elapsed().as_secs() < 20, "{:?}", cut.elapsed());
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    let gone: Vec<_> = support::runs::events(&output).into_iter().filter(|e| e["event"] == "unreachable").collect();
    assert_eq!(gone.len(), 1, "{}", text(&output));
    assert_eq!(
        (gone[0]["host"].as_str().unwrap(), gone[0]["reason"].as_str().unwrap()),
        ("node01", "no sign of life for 3 s; what it did until then is in its journal")
    );
    lab.wait_until("node01", "! pgrep -x sleep");
    lab.wait_until("node01", "grep -q run_end /var/lib/fettle/journal/*");
    assert_eq!(lab.sh("node01", "ls /root"), "one\ntwo", "the change it was in is done, the next one is not begun");
    assert_eq!(lab.sh("node02", "ls /root"), "one\nthree\ntwo");
    assert!(lab.sh("node01", "tail -n1 /var/lib/fettle/journal/*").contains("the connection to the controller was lost"));
    lab.cause("node01", fettle::lab::Trouble::Plug);
    let again = lab.fettle(&arguments);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert_eq!(changes(&again), ["node01 | copy | create /root/three (5 bytes) | true"]);
    let warned: Vec<_> = support::runs::events(&again).into_iter().filter(|e| e["event"] == "warning").collect();
    assert!(
        warned.len() == 1 && text(&again).contains("did not come to its end: the connection to the controller was lost; 2 changes made"),
        "{}",
        text(&again)
    );
}

#[test]
fn ctrl_c_lets_changes_under_way_finish_and_says_what_was_not_done() {
    use nix::sys::termios::{LocalFlags, tcgetattr};
    use std::io::{Read, Write};
    let Some(lab) = Lab::new(2, 0) else { return support::skipped("needs root") };
    let playbook = Playbook::tasks(
        "- copy: {content: one, dest: /root/one}\n- {name: slow, command: sh -c 'sleep 5 && touch /root/two', args: {creates: /root/two}}\n- copy: {content: three, dest: /root/three}\n",
    );
    for (presses, file) in [(1, "two\n"), (2, "")] {
        lab.sh("node01", "rm -f /root/*");
        let ends = nix::pty::openpty(None, None).unwrap();
        let side = || std::process::Stdio::from(ends.slave.try_clone().unwrap());
        // With a terminal of its own, at which keys are pressed.
        let mut command = std::process::Command::new("setsid");
        command.args(["--ctty", "--wait", support::FETTLE, "apply", &playbook.path(), "-l", "node01", "-i"]).arg(lab.inventory());
        let mut child = command.env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        drop(command);
        let mut keys = std::fs::File::from(ends.master);
        let mut screen = keys.try_clone().unwrap();
        let reader = std::thread::spawn(move || {
            let (mut all, mut part) = (vec![], [0; 4096]);
            // The last one to close the terminal makes this fail.
            while let Ok(n @ 1..) = screen.read(&mut part) {
                all.extend_from_slice(&part[..n]);
            }
            String::from_utf8_lossy(&all).into_owned()
        });
        lab.wait_until("node01", "pgrep -x sleep");
        // Live lines are drawn from 0.4 s on.
        std::thread::sleep(std::time::Duration::from_secs(1));
        for _ in 0..presses {
            keys.write_all(b"\x03").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        let status = child.wait().unwrap();
        let there = lab.sh("node01", "ls /root");
        assert!(tcgetattr(&ends.slave).unwrap().local_flags.contains(LocalFlags::ECHOCTL), "the terminal is left as it was");
        drop(ends.slave);
        let said = reader.join().unwrap();
        assert_eq!(status.code(), Some(99), "{said}");
        assert_eq!(there, format!("one\n{file}").trim_end(), "{said}");
        assert!(said.contains("slow  ") && said.contains("Ctrl-C again to leave at once"), "{said}");
        assert!(said.contains("Stopped by you: after that no change was begun."), "{said}");
        assert!(
            said.contains(if presses == 1 { "1 task not done" } else { "left behind: its agent finishes the change it is in" }),
            "{said}"
        );
        // It would push the live lines down, and one of them would stay.
        assert!(!said.contains("^C"), "{said}");
        let cursor = |code: &str| said.rfind(code);
        assert!(cursor("\x1b[?25l") <= cursor("\x1b[?25h"), "the cursor is shown at the end: {said:?}");
        lab.wait_until("node01", "! pgrep -x sleep");
        assert_eq!(lab.sh("node01", "sleep 1; ls /root"), "one\ntwo", "no change is broken off, none is begun");
    }
    assert_eq!(lab.sh("node02", "ls /root"), "");
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
    lab.wait_until("node01", "pgrep -x sleep");
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
    let output = lab.fettle(&["apply", &path]);
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
    let again = lab.fettle(&["apply", &path, "--json"]);
    assert_eq!(changes(&again), Vec::<String>::new());
    // Outside the project, a name that a host made up is not answered.
    std::fs::write(&playbook, "- hosts: ais\n  gather_facts: false\n  tasks:\n    - set_fact: {where: /etc/shadow}\n    - copy: {src: \"{{ where }}\", dest: /root/shadow}\n").unwrap();
    let outside = lab.fettle(&["apply", &path]);
    assert_eq!(outside.status.code(), Some(2), "{}", text(&outside));
    assert!(text(&outside).contains("is outside the project"), "{}", text(&outside));
    assert_eq!(lab.sh("node01", "ls /root/shadow 2>/dev/null || echo none"), "none");
}
