//! Hosts behind another host: `ProxyJump` and `ProxyCommand`, over real sshd.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use support::{Lab, fettle_command, succeeded};

const PLAY: &str = "\
- hosts: node02
  gather_facts: false
  tasks:
    - copy: {content: \"{{ 'x' * 300000 }}\", dest: /root/large}
    - shell: echo $SSH_CONNECTION
      register: from
    - debug: {msg: \"from {{ from.stdout }}\"}
";

struct World {
    lab: Lab,
    folder: tempfile::TempDir,
    /// Options for OpenSSH to get to a lab host.
    options: String,
}

impl World {
    fn new() -> Option<Self> {
        let lab = Lab::new(2, 0)?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("play.yml"), PLAY).unwrap();
        let of_lab = lab.folder();
        let options = format!("-i {0}/key -o UserKnownHostsFile={0}/known_hosts -o IdentitiesOnly=yes", of_lab.display());
        Some(Self { lab, folder, options })
    }

    fn address(&self, host: &str) -> String {
        self.lab.state.host(host).unwrap().address.to_string()
    }

    /// Applies the play with these options for the connection, beside those of the lab.
    fn apply(&self, more: &str) -> Output {
        let known = self.lab.folder().join("known_hosts");
        let args = format!("-o UserKnownHostsFile={} {more}", known.display());
        let mut fettle = fettle_command(["apply", "-T", "8", "-e"]);
        fettle.arg(serde_json::json!({"ansible_ssh_common_args": args}).to_string());
        fettle.arg("-i").arg(self.lab.inventory()).arg(self.folder.path().join("play.yml"));
        // An `ssh` that has what an operator's own configuration would say.
        let wrapper = self.folder.path().join("ssh");
        std::fs::write(&wrapper, format!("#!/bin/sh\nexec /usr/bin/ssh {} \"$@\"\n", self.options)).unwrap();
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        fettle.env("PATH", path).output().unwrap()
    }
}

#[test]
fn hosts_are_reached_through_others() {
    let Some(world) = World::new() else { return };
    let (jump, behind) = (world.address("node01"), world.address("node02"));
    let from_jump = format!("from {jump} ");
    let command = format!("-o 'ProxyCommand=ssh -W %h:%p -q root@{jump}'");
    for way in [format!("-o ProxyJump=root@{jump}"), format!("-J root@{jump}:22"), command] {
        let text = succeeded(&way, &world.apply(&way));
        assert!(text.contains(&from_jump), "{way}: {text}");
        assert_eq!(world.lab.sh("node02", "stat -c %s /root/large; rm /root/large"), "300000");
    }
    let text = succeeded("straight", &world.apply("-o ProxyJump=none"));
    assert!(!text.contains(&from_jump), "{text}");
    // The jump host itself goes straight, though it is said for all.
    let text = succeeded("itself", &world.apply(&format!("-J root@{behind}")));
    assert!(!text.contains(&from_jump) && !text.contains(&format!("from {behind} ")), "{text}");
    // No process of the way is left.
    let left = std::process::Command::new("pgrep").args(["-f", &format!("W.{behind}:22")]).output().unwrap();
    assert!(left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
}

#[test]
fn why_there_is_no_way_is_told() {
    let Some(world) = World::new() else { return };
    let jump = world.address("node01");
    for (way, words) in [
        // The jump host's own words.
        (
            format!("-J nobody-here@{jump}"),
            format!("can't be reached through `ssh -o BatchMode=yes -l nobody-here -W '{}:22' -- {jump}`: ", world.address("node02")),
        ),
        (format!("-J nobody-here@{jump}"), "Permission denied".to_owned()),
        ("-o 'ProxyCommand=sleep 60'".to_owned(), "through `sleep 60`: nothing came within 8 s".to_owned()),
        ("-o 'ProxyCommand=no-such-program %h'".to_owned(), "not found".to_owned()),
        ("-o 'ProxyCommand=x %Z'".to_owned(), "`%Z` in `x %Z` is not known".to_owned()),
    ] {
        let output = world.apply(&way);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(4), "{way}: {text}");
        assert!(text.contains(&words), "{way}: {text}");
    }
}

#[test]
fn a_jump_host_that_lets_few_in_at_once_serves_many() {
    let Some(lab) = Lab::new(17, 0) else { return };
    // As Debian's own, but sure to refuse where that refuses at random.
    lab.sh("node01", "sed -i 's/^MaxStartups.*/MaxStartups 10:100:10/' /etc/ssh/sshd_config && pkill -HUP -o -x sshd");
    let jump = lab.state.host("node01").unwrap().address;
    let of_lab = lab.folder();
    let ssh = format!("ssh -F none -i {0}/key -o UserKnownHostsFile={0}/known_hosts -o IdentitiesOnly=yes", of_lab.display());
    let args = format!("-o UserKnownHostsFile={}/known_hosts -o 'ProxyCommand={ssh} -W %h:%p root@{jump}'", of_lab.display());
    let mut ping = fettle_command(["ping", "--json", "-f", "64", "-l", "!node01", "-e"]);
    ping.arg(serde_json::json!({"ansible_ssh_common_args": args}).to_string()).arg("-i").arg(lab.inventory());
    let output = ping.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.matches("\"ping\":\"pong\"").count(), 16, "{text}");
}
