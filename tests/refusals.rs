//! Disks that must not be formatted, on real hosts: each is refused with its reason, and not a byte of any is changed.
//! Disks held by LVM, RAID and device mapper, and root's own, are tested on the virtual machine (machine.rs): this
//! machine's kernel may have none of them.

mod support;

use support::Lab;
use support::runs::{events, text};

/// As after a boot that gave two disks each other's names.
const SWAP_NAMES: &str = "mv /dev/$1 /dev/other && mv /dev/$2 /dev/$1 && mv /dev/other /dev/$2
    cd /sys/devices/virtual/block && mkdir other && mount --move $1 other && mount --move $2 $1 && mount --move other $2 && rmdir other";

/// The swap device: so far down the alphabet that no other test has a disk of that name. The kernel has one list of
/// swap devices for all hosts of the lab, by name.
const SWAP: &str = "sdk";

/// Ends the swapping, also when the test fails: the lab could not go away otherwise.
struct SwapOn<'a>(&'a Lab);

impl Drop for SwapOn<'_> {
    fn drop(&mut self) {
        self.0.exec("node01", &format!("swapoff /dev/{SWAP}"));
    }
}

#[test]
fn disks_in_use_or_not_blank_are_refused_with_their_reason() {
    let Some(lab) = Lab::new(1, 11) else { return };
    let swap = SwapOn(&lab);
    lab.sh("node01", &format!("mkswap -q /dev/{SWAP} && swapon /dev/{SWAP}"));
    lab.sh("node01", "pvcreate -qq /dev/sda");
    // A superblock of Linux RAID, version 1.2, at its place: 4 KiB from the start (md.4; `mdp_superblock_1` in the kernel's md_p.h).
    lab.sh(
        "node01",
        r"{ printf '\374\116\053\251\001\0\0\0'; head -c 8 /dev/zero; head -c 16 /dev/urandom; printf 'node01:0'; } | dd of=/dev/sdb bs=4096 seek=1 conv=notrunc status=none
        printf '\010' | dd of=/dev/sdb bs=1 seek=$((4096 + 144)) conv=notrunc status=none",
    );
    lab.sh("node01", "printf 'label: dos\\n,50M\\n' | sfdisk -q --no-reread --no-tell-kernel /dev/sdc");
    lab.sh("node01", "blockdev --setro /dev/sdd");
    lab.sh("node01", "mkfs.ext4 -q -L backup /dev/sde");
    lab.sh("node01", "mkfs.xfs -q /dev/sdf && mkdir /ais /ais/sdg && touch /ais/sdg/forgotten");
    // What other programs take them for.
    assert_eq!(lab.sh("node01", "blkid -p -o value -s TYPE -s PTTYPE /dev/sda /dev/sdb /dev/sdc"), "LVM2_member\nlinux_raid_member\ndos");
    let disks = "sda sdb sdc sdd sde sdf sdg sdh";
    let sums = || lab.sh("node01", &format!("for d in {disks}; do head -c 8M /dev/$d | sha256sum; tail -c 1M /dev/$d | sha256sum; done"));
    let before = sums();
    let run = |verb: &str, devices: &str, wipe: &str| {
        let list = |names: &str| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let extra = serde_json::json!({"ais_devices": list(devices), "ais_wipe": list(wipe)}).to_string();
        let output = lab.fettle(&[verb, "playbooks/data_filesystems.yml", "--json", "-e", &extra]);
        let failed = events(&output).into_iter().find(|e| e["event"] == "result" && e["report"]["status"] == "failed");
        let failed = failed.unwrap_or_else(|| panic!("{}", text(&output)));
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        failed["report"]["message"].as_str().unwrap().to_owned()
    };
    let uuid = lab.sh("node01", "blkid -p -o value -s UUID /dev/sdf");
    let all = format!("{disks} {SWAP}");
    for verb in ["plan", "apply"] {
        let expected = [
            "nothing is done on this host:",
            "/dev/sda (320 MiB): it is not blank, it holds LVM2_member. To destroy that, name it: wipe: [\"/dev/sda\"]",
            "/dev/sdb (320 MiB): it is not blank, it holds linux_raid_member. To destroy that, name it: wipe: [\"/dev/sdb\"]",
            "/dev/sdc (320 MiB): it is not blank, it holds a partition table (dos). To destroy that, name it: wipe: [\"/dev/sdc\"]",
            "/dev/sdd (320 MiB): it is read-only",
            "/dev/sde (320 MiB): it is not blank, it holds ext4 \"backup\". To destroy that, name it: wipe: [\"/dev/sde\"]",
            &format!(
                "/dev/sdf (320 MiB): it is not blank, it holds xfs {uuid}. To destroy that, name it: wipe: [\"/dev/sdf\"], or mount it as it is: adopt: true"
            ),
            "/dev/sdg (320 MiB): /ais/sdg is not empty (it holds forgotten): mounting would hide that; move it away",
            &format!("/dev/{SWAP} (320 MiB): it is in use as swap"),
        ];
        assert_eq!(run(verb, &all, "").lines().collect::<Vec<_>>(), expected);
        // What is in use stays refused though it is named.
        assert_eq!(
            run(verb, &format!("sda sdd {SWAP}"), &format!("sda sdd {SWAP}")).lines().collect::<Vec<_>>(),
            ["nothing is done on this host:", expected[4], expected[8]]
        );
    }
    drop(swap);
    assert_eq!(run("apply", SWAP, "").lines().count(), 2, "out of use, but not blank");
    assert_eq!(sums(), before, "not a byte is changed, the blank one's neither");
    assert_eq!(lab.sh("node01", "cat /etc/fstab; findmnt -rn -t xfs,ext4 -o TARGET || true"), "");
}

#[test]
fn disks_that_a_boot_gave_other_names_keep_their_mount_points() {
    let Some(lab) = Lab::new(1, 3) else { return };
    let swap_names = |a: &str, b: &str| lab.sh("node01", &format!("set -e -- {a} {b}; {SWAP_NAMES}"));
    let run = |verb: &str, extra: serde_json::Value| {
        let output = lab.fettle(&[verb, "playbooks/data_filesystems.yml", "--json", "-e", &extra.to_string()]);
        let told = events(&output).into_iter().find(|e| e["event"] == "result" && e["report"]["name"] == "Data filesystems");
        told.unwrap_or_else(|| panic!("{}", text(&output)))["report"].take()
    };
    let two = || serde_json::json!({"ais_devices": ["sda", "sdb"], "ais_wipe": ["sda", "sdb"]});
    assert_eq!(run("apply", two())["status"], "changed");
    lab.sh("node01", "echo first >/ais/sda/who; echo second >/ais/sdb/who");
    let fstab = lab.sh("node01", "cat /etc/fstab");
    // They are mounted at once, in any order.
    let all = "findmnt -rn -t xfs -o TARGET,SOURCE | sort; cat /ais/sda/who /ais/sdb/who";

    lab.sh("node01", "umount /ais/sda /ais/sdb");
    swap_names("sda", "sdb");
    // Not mounted yet: each goes where it was. Mounted, also under the names they had before: nothing to do.
    let first = run("apply", two());
    let changes: Vec<_> = first["changes"].as_array().unwrap().iter().map(|c| c["summary"].as_str().unwrap()).collect();
    assert_eq!(changes[..2], ["mount /dev/sda on /ais/sdb", "mount /dev/sdb on /ais/sda"], "{first:#}");
    assert!(!changes.iter().any(|c| c.contains("format") || c.contains("fstab")), "{changes:?}");
    assert_eq!(lab.sh("node01", all), "/ais/sda /dev/sdb\n/ais/sdb /dev/sda\nfirst\nsecond");
    for live in [false, true] {
        if live {
            swap_names("sda", "sdb");
        }
        for verb in ["plan", "apply"] {
            let again = run(verb, two());
            assert_eq!((&again["status"], &again["changes"]), (&serde_json::json!("ok"), &serde_json::json!([])), "{again:#}");
            assert_eq!(again["warnings"].as_array().map_or(0, Vec::len), if live { 0 } else { 2 }, "{again:#}");
        }
    }
    // A blank disk with the first one's name does not take its place.
    lab.sh("node01", "umount /ais/sda /ais/sdb");
    swap_names("sda", "sdc");
    // By name: `mount -a` looks for UUIDs in libblkid's cache, which knows nothing of names exchanged within its two seconds.
    lab.sh("node01", "mount /dev/sdc /ais/sda && mount /dev/sdb /ais/sdb");
    let refused = run("apply", two());
    assert_eq!(refused["status"], "failed");
    let why = refused["message"].as_str().unwrap();
    assert!(why.contains("/dev/sda (320 MiB): /ais/sda belongs to /dev/sdc (320 MiB) (/etc/fstab, line 1)."), "{why}");
    // Asked for another place, it gets it, and a UUID of its own.
    let other = serde_json::json!({"ais_devices": ["sda"], "ais_mount_prefix": "/more"});
    let made = run("apply", other);
    assert_eq!(made["status"], "changed", "{made:#}");
    assert_eq!(lab.sh("node01", "cat /etc/fstab | head -n2; cat /ais/sda/who /ais/sdb/who"), format!("{fstab}\nfirst\nsecond"));
    assert_eq!(lab.sh("node01", "cut -f1 /etc/fstab | sort -u | wc -l; ls -A /more/sda"), "3");
}
