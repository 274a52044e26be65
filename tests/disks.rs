//! What disks hold, on real disks with what the real tools write: nothing that is there goes unasked, and what is named goes
//! whole.

mod support;

use serde_json::{Value as Json, json};
use std::process::{Command, Stdio};
use support::Lab;
use support::runs::{events, text};

/// The report of the task that makes the data filesystems on node01.
fn run(lab: &Lab, verb: &str, devices: &[&str], wipe: &[&str]) -> Json {
    let extra = json!({"ais_devices": devices, "ais_wipe": wipe}).to_string();
    let output = lab.fettle(&[verb, "playbooks/data_filesystems.yml", "--json", "-e", &extra]);
    let told = events(&output).into_iter().find(|e| e["event"] == "result" && e["report"]["name"] == "Data filesystems");
    told.unwrap_or_else(|| panic!("{}", text(&output)))["report"].take()
}

fn message(report: &Json) -> &str {
    report["message"].as_str().unwrap_or_default()
}

/// The lines of what is destroyed.
fn destroyed(report: &Json) -> Vec<&str> {
    report["changes"].as_array().map(|all| all.iter().filter_map(|c| c["destroys"].as_str()).collect()).unwrap_or_default()
}

/// Applies, and looks that a second time nothing is left to do.
fn converges(lab: &Lab, devices: &[&str], wipe: &[&str]) -> Json {
    let first = run(lab, "apply", devices, wipe);
    assert_eq!(first["status"], "changed", "{first:#}");
    let again = run(lab, "apply", devices, wipe);
    assert_eq!((&again["status"], &again["changes"]), (&json!("ok"), &json!([])), "{again:#}");
    first
}

#[test]
fn data_without_a_signature_is_not_formatted_unasked() {
    let Some(lab) = Lab::new(1, 5) else { return };
    lab.sh("node01", "head -c 64M /dev/urandom >/dev/sda");
    lab.sh("node01", "mkfs.ext4 -q /dev/sdb && head -c 4096 /dev/zero | dd of=/dev/sdb conv=notrunc status=none");
    lab.sh("node01", "mkfs.xfs -q /dev/sdc && head -c 64M /dev/zero | dd of=/dev/sdc conv=notrunc status=none");
    lab.sh("node01", "printf x | dd of=/dev/sdd bs=1 seek=$(($(blockdev --getsize64 /dev/sdd) - 1)) conv=notrunc status=none");
    // None of them is anything to others.
    assert_eq!(lab.sh("node01", "for d in a b c d; do blkid -p -o value -s TYPE /dev/sd$d || true; done"), "");
    let disks = ["sda", "sdb", "sdc", "sdd"];
    for verb in ["plan", "apply"] {
        let refused = run(&lab, verb, &["sda", "sdb", "sdc", "sdd", "sde"], &[]);
        let lines: Vec<_> = message(&refused).lines().skip(1).collect();
        let wanted = disks
            .map(|d| format!("/dev/{d} (320 MiB): it is not blank, it holds unknown data. To destroy that, name it: wipe: [\"/dev/{d}\"]"));
        assert_eq!(lines, wanted);
    }
    assert_eq!(lab.sh("node01", "blkid -p /dev/sde || true; cat /etc/fstab"), "");
    let made = converges(&lab, &["sda", "sdb", "sdc", "sdd", "sde"], &disks);
    assert_eq!(destroyed(&made), disks.map(|d| format!("unknown data on /dev/{d} (320 MiB)")));
}

#[test]
fn what_is_named_goes_whole_whatever_it_is() {
    let Some(lab) = Lab::new(1, 9) else { return };
    // Without discard mkfs leaves whatever it does not write itself.
    let disks = ["sda", "sdb", "sdc", "sdd", "sde", "sdf", "sdg", "sdh", "sdi"];
    let write = |disk: &str, at: &str, bytes: &str| {
        lab.sh("node01", &format!("printf '{bytes}' | dd of=/dev/{disk} bs=1 seek=$(({at})) conv=notrunc status=none"));
    };
    lab.sh("node01", "for d in a b c d e f g h i; do echo 0 >/sys/block/sd$d/queue/discard_max_bytes; done");
    lab.sh("node01", "mkswap -q -p 65536 /dev/sda; mkfs.minix /dev/sdb >/dev/null; printf 'label: sun\\n,50M\\n' | sfdisk -q --no-reread --no-tell-kernel /dev/sdc");
    let size: u64 = lab.sh("node01", "blockdev --getsize64 /dev/sdd").parse().unwrap();
    write("sdd", &format!("{size} - 1024"), "Intel Raid ISM Cfg Sig. 1.1.00");
    write("sde", "0", r"\376\355\272\276\0\0\0\1\0\0\0\2");
    write("sdf", "0", r"integrt\0\1");
    // ZFS: an uberblock in each of four labels, two at the beginning, two at the end. VMFS; a DOS table and the spare GPT.
    for label in ["0", "0x40000", &format!("({size} & ~0x3ffff) - 0x80000"), &format!("({size} & ~0x3ffff) - 0x40000")] {
        write("sdg", &format!("{label} + 0x20000"), r"\014\261\272\0\0\0\0\0");
    }
    write("sdh", "0x200000", r"\136\361\253\057");
    lab.sh("node01", "printf 'label: gpt\\n,50M\\n' | sfdisk -q --no-reread --no-tell-kernel /dev/sdi");
    let refused = run(&lab, "plan", &disks, &[]);
    for (disk, what) in disks.iter().zip(["swap", "", "", "", "", "", "zfs_member", "vmfs", "a partition table (gpt)"]) {
        let what = if what.is_empty() { "unknown data" } else { what };
        assert!(
            message(&refused).contains(&format!("/dev/{disk} (320 MiB): it is not blank, it holds {what}")),
            "{disk}: {}",
            message(&refused)
        );
    }
    let made = converges(&lab, &disks, &disks);
    assert_eq!(destroyed(&made).len(), disks.len(), "{made:#}");
    for disk in disks {
        assert_eq!(lab.sh("node01", &format!("wipefs -n --output TYPE --noheadings /dev/{disk}")), "xfs", "{disk}");
    }
}

#[test]
fn an_interrupted_mkfs_is_done_again() {
    let Some(lab) = Lab::new(1, 2) else { return };
    converges(&lab, &["sda"], &[]);
    // One wrong byte of a filesystem with files makes it none that mkfs has not done.
    let byte = |value: &str| format!("printf '\\{value}' | dd of=/dev/sda bs=1 seek=126 conv=notrunc status=none");
    lab.sh("node01", &format!("echo precious >/ais/sda/object; umount /dev/sda; {}", byte("001")));
    let failed = run(&lab, "apply", &["sda"], &[]);
    assert!(failed["status"] == "failed" && destroyed(&failed).is_empty(), "{failed:#}");
    assert_eq!(lab.sh("node01", &format!("{}; mount /dev/sda /mnt && cat /mnt/object && umount /mnt", byte("000"))), "precious");
    // As a power loss leaves it: the superblock written, mkfs not done, no inode there yet.
    let none = "head -c 8 /dev/zero | dd of=/dev/sda bs=1 seek=128 conv=notrunc status=none; ! mount -t xfs /dev/sda /mnt 2>/dev/null";
    lab.sh("node01", &format!("{}; {none}", byte("001")));
    let planned = run(&lab, "plan", &["sda"], &[]);
    let applied = converges(&lab, &["sda"], &[]);
    let lines = |report: &Json| report["changes"].as_array().unwrap().iter().map(|c| c["summary"].clone()).collect::<Vec<_>>();
    assert_eq!(lines(&planned), lines(&applied));
    assert!(destroyed(&applied)[0].starts_with("unfinished xfs "), "{applied:#}");
    // Somebody else's is theirs.
    lab.sh("node01", "mkfs.xfs -q /dev/sdb && xfs_db -x -c 'sb 0' -c 'write inprogress 1' -c 'write icount 0' /dev/sdb >/dev/null");
    let refused = run(&lab, "apply", &["sda", "sdb"], &[]);
    assert!(message(&refused).contains("/dev/sdb (320 MiB): it is not blank, it holds unfinished xfs "), "{refused:#}");
}

#[test]
fn who_holds_a_disk_is_seen_by_the_plan() {
    let Some(lab) = Lab::new(1, 2) else { return };
    // Mounted in another mount namespace: neither this one's mount table nor sysfs tells.
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", "mkfs.ext4 -q /dev/sda && mount /dev/sda /mnt && echo ready && read end"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = fettle::lab::enter::spawn(lab.name(), "node01", command).unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut line).unwrap();
    let said: Vec<String> = ["plan", "apply"].iter().map(|verb| message(&run(&lab, verb, &["sda", "sdb"], &["sda"])).to_owned()).collect();
    drop(holder.stdin.take());
    holder.wait().unwrap();
    for said in said {
        assert!(
            said.contains("/dev/sda (320 MiB): somebody holds it: it (or a partition of it) is mounted in another mount namespace"),
            "{said}"
        );
    }
    assert_eq!(lab.sh("node01", "blkid -p -o value -s TYPE /dev/sda; blkid -p /dev/sdb || true"), "ext4");
    converges(&lab, &["sda", "sdb"], &["sda"]);
}

#[test]
fn a_host_installed_anew_and_a_copied_disk_lose_nothing() {
    let Some(lab) = Lab::new(1, 2) else { return };
    converges(&lab, &["sda"], &["sda"]);
    lab.sh(
        "node01",
        "echo precious >/ais/sda/object; umount /ais/sda; echo ffffffffffffffffffffffffffffffff >/etc/machine-id; : >/etc/fstab",
    );
    let uuid = lab.sh("node01", "blkid -p -o value -s UUID /dev/sda");
    let refused = run(&lab, "apply", &["sda"], &["sda"]);
    let wanted = format!("name the filesystem, not the disk: wipe: [\"{uuid}\"], or mount it as it is: adopt: true");
    assert!(message(&refused).contains(&wanted), "{refused:#}");
    assert_eq!(lab.sh("node01", "mount /dev/sda /mnt && cat /mnt/object && umount /mnt"), "precious");
    lab.sh("node01", &format!("echo 'UUID={uuid} /ais/sda xfs defaults 0 0' >/etc/fstab; dd if=/dev/sda of=/dev/sdb bs=1M status=none"));
    let refused = run(&lab, "apply", &["sda"], &["sda"]);
    assert!(message(&refused).contains(&format!("/dev/sda and /dev/sdb hold filesystems with one UUID ({uuid})")), "{refused:#}");
    lab.sh("node01", "wipefs -qa /dev/sdb");
    run(&lab, "apply", &["sda"], &["sda"]);
    assert_eq!(lab.sh("node01", "cat /ais/sda/object"), "precious");
    assert_eq!(converges(&lab, &["sda", "sdb"], &["sda", "/dev/sdb"])["status"], "changed");
}
