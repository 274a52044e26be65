//! Disks that must not be formatted, on real hosts: each is refused with its reason, and not a byte of any is changed.
//! Disks held by LVM, RAID and device mapper, and root's own, are tested on the virtual machine (machine.rs): this
//! machine's kernel may have none of them.

mod support;

use support::Lab;
use support::runs::{events, text};

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
