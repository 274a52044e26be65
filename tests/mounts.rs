//! Mounting on real hosts: the disk that is named, the options that are asked for, and what the kernel shows of both.

mod support;

use serde_json::{Value, json};
use support::Lab;
use support::runs::{events, text};

/// Runs one task on the lab's host; gives its report.
fn task(lab: &Lab, verb: &str, module: &str, args: &Value) -> Value {
    let play = lab.folder().join("play.yml");
    let tasks = json!([{"hosts": "all", "become": true, "gather_facts": false, "tasks": [{"name": "t", module: args}]}]);
    std::fs::write(&play, tasks.to_string()).unwrap();
    let output = lab.fettle(&[verb, play.to_str().unwrap(), "--json"]);
    let result = events(&output).into_iter().find(|e| e["event"] == "result" && e["report"]["name"] == "t");
    result.unwrap_or_else(|| panic!("{}", text(&output)))["report"].clone()
}

/// A plan, an apply that does the same, and a second apply that does nothing.
fn settle(lab: &Lab, module: &str, args: &Value) -> Vec<String> {
    let said = |report: &Value| {
        let all = report["changes"].as_array().cloned().unwrap_or_default();
        all.iter().map(|c| c["summary"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let planned = task(lab, "plan", module, args);
    let applied = task(lab, "apply", module, args);
    assert!(["ok", "changed"].contains(&applied["status"].as_str().unwrap()), "{args}: {applied}");
    // How a filesystem's root differs shows once it is mounted.
    let words = |said: &[String]| said.iter().map(|s| s.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>();
    assert_eq!(words(&said(&planned)), words(&said(&applied)), "{args}");
    assert_eq!(task(lab, "apply", module, args)["status"], "ok", "{args}: again");
    said(&applied)
}

fn refused(lab: &Lab, module: &str, args: &Value, why: &str) {
    for verb in ["plan", "apply"] {
        let report = task(lab, verb, module, args);
        assert_eq!(report["status"], "failed", "{args}: {report}");
        let message = report["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn the_named_disk_is_mounted_with_the_options_asked_for() {
    let Some(lab) = Lab::new(1, 5) else { return };
    let sh = |script: &str| lab.sh("node01", script);
    let options = |target: &str| sh(&format!("findmnt -no VFS-OPTIONS {target}"));
    sh("cp /etc/fstab /etc/fstab.kept 2>/dev/null || touch /etc/fstab.kept");

    // A copy of a disk: which of them is meant can't be told at a boot.
    sh("mkfs.xfs -q /dev/sdb && dd if=/dev/sdb of=/dev/sda bs=1M conv=sparse status=none");
    let adopt = json!({"devices": ["sdb"], "adopt": true});
    refused(&lab, "fettle.datafs", &adopt, "/dev/sda and /dev/sdb hold filesystems with one UUID");
    assert_eq!(sh("cat /etc/fstab 2>/dev/null; ls -d /ais 2>/dev/null || true"), sh("cat /etc/fstab.kept"));
    sh("xfs_admin -U generate /dev/sda >/dev/null");
    settle(&lab, "fettle.datafs", &adopt);
    assert_eq!(sh("findmnt -no SOURCE /ais/sdb"), "/dev/sdb");

    // What has become read-only, or has options that nobody asks for any more.
    sh("mount -o remount,ro,noexec /ais/sdb");
    assert_eq!(settle(&lab, "fettle.datafs", &adopt), ["remount /ais/sdb  options: + rw,exec"]);
    sh("touch /ais/sdb/works");
    let with = |options: &str| json!({"devices": ["sdb"], "adopt": true, "options": options});
    settle(&lab, "fettle.datafs", &with("noatime,noexec,nosuid,nodev,nofail,swalloc,largeio,allocsize=128m,logbufs=8,logbsize=256k"));
    assert!(options("/ais/sdb").contains("nosuid,nodev,noexec,noatime"), "{}", options("/ais/sdb"));
    settle(&lab, "fettle.datafs", &with("nofail,swalloc,largeio,allocsize=128m,logbufs=8,logbsize=256k"));
    assert_eq!(options("/ais/sdb"), "rw,relatime");

    // A folder of it is not the filesystem.
    sh("umount /ais/sdb && mkdir /mnt/x && mount /dev/sdb /mnt/x && mkdir /mnt/x/sub && mount --bind /mnt/x/sub /ais/sdb");
    refused(&lab, "fettle.datafs", &adopt, "the folder /sub of /dev/sdb is mounted on /ais/sdb already");
    sh("umount /ais/sdb /mnt/x");
    settle(&lab, "fettle.datafs", &adopt);

    // Options XFS does not know are refused before the disk is formatted.
    refused(&lab, "fettle.datafs", &json!({"devices": ["sdc"], "options": "noatime,nobarrier"}), "XFS has no mount option `nobarrier`");
    refused(&lab, "fettle.datafs", &json!({"devices": ["sdc"], "options": "logbsize=300k"}), "is not one XFS takes");
    assert_eq!(lab.exec("node01", "blkid -p /dev/sdc").status.code(), Some(2), "still blank");

    // What XFS is given is what it shows.
    for option in ["swalloc", "noalign", "inode32", "wsync", "nouuid", "discard", "filestreams", "grpid", "noikeep", "noquota"] {
        let args = json!({"path": "/mnt/o", "src": "/dev/sda", "fstype": "xfs", "opts": option, "state": "mounted"});
        settle(&lab, "ansible.posix.mount", &args);
        settle(&lab, "ansible.posix.mount", &json!({"path": "/mnt/o", "state": "absent"}));
    }

    // A mount point behind a link.
    sh("mkdir -p /srv/real && ln -s /srv/real /data");
    settle(&lab, "fettle.datafs", &json!({"devices": ["sdc"], "path_prefix": "/data"}));
    assert_eq!(sh("findmnt -no TARGET /dev/sdc"), "/srv/real/sdc");
    settle(&lab, "fettle.datafs", &json!({"devices": ["sdc"], "path_prefix": "/srv/../data", "state": "absent"}));
    assert!(!sh("cat /etc/fstab").contains("sdc"));

    // Others' lines in fstab, comments and ends of lines stay.
    sh(r"printf 'nas:/export /ais/sdd nfs noauto 0 0\r\n/dev/sde /ais/sde xfs noauto 0 0 # bay 7\r\n' >> /etc/fstab");
    refused(&lab, "fettle.datafs", &json!({"devices": ["sdd"]}), "has nas:/export (nfs) for /ais/sdd, which is not this disk's");
    settle(&lab, "fettle.datafs", &json!({"devices": ["sde"]}));
    let end = sh("tail -n 2 /etc/fstab");
    assert!(end.starts_with("nas:/export /ais/sdd nfs noauto 0 0\r\nUUID=") && end.ends_with("\t0 0 # bay 7"), "{end:?}");
}

#[test]
fn options_of_other_filesystems_that_do_not_show_are_no_failure() {
    let Some(lab) = Lab::new(1, 2) else { return };
    lab.sh("node01", "mkfs.ext4 -q /dev/sda");
    let args = |opts: &str| json!({"path": "/mnt/e", "src": "/dev/sda", "fstype": "ext4", "opts": opts, "state": "mounted"});
    for opts in ["defaults,acl,user_xattr", "barrier=1", "ro", "rw", "noexec,commit=30", "defaults"] {
        settle(&lab, "ansible.posix.mount", &args(opts));
        assert_eq!(lab.sh("node01", "awk '$2 == \"/mnt/e\" { print $4 }' /etc/fstab"), opts);
    }
    assert_eq!(lab.sh("node01", "findmnt -no VFS-OPTIONS /mnt/e"), "rw,relatime");
}

#[test]
fn hard_links_are_made_across_the_layers_of_an_overlay() {
    let Some(lab) = Lab::new(1, 1) else { return };
    lab.sh(
        "node01",
        "mkdir /mnt/low /mnt/up /mnt/both && mount -t tmpfs low /mnt/low && mount -t tmpfs up /mnt/up && echo x > /mnt/low/a && mkdir /mnt/up/u /mnt/up/w
        mount -t overlay both -o lowerdir=/mnt/low,upperdir=/mnt/up/u,workdir=/mnt/up/w /mnt/both",
    );
    assert_eq!(lab.sh("node01", "stat -c %d /mnt/both /mnt/both/a | sort -u | wc -l"), "2", "a file with another number than its folder");
    settle(&lab, "file", &json!({"path": "/mnt/both/b", "src": "/mnt/both/a", "state": "hard"}));
    refused(&lab, "file", &json!({"path": "/mnt/up/b", "src": "/mnt/both/a", "state": "hard"}), "are on different filesystems");
}
