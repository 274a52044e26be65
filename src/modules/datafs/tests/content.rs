//! What disks hold, and what may go of it.

use super::*;

/// `sda1` of the host, holding this, and seen by the kernel.
fn partition(o: &mut Overlay<'_>, signatures: Vec<Signature>) {
    o.set_file("/sys/block/sda/sda1/partition", "1", 0o444, 0, 0);
    o.set_file("/sys/block/sda/sda1/dev", "8:1", 0o444, 0, 0);
    let node = o.stat(Path::new("/dev/sda"), true).unwrap().unwrap();
    o.set_stat("/dev/sda1", Stat { rdev: (8, 1), ..node });
    o.set_probe("/dev/sda1", Probe { signatures });
}

fn signature(kind: &str, uuid: Option<&str>) -> Signature {
    Signature { kind: kind.into(), partition_table: kind == "gpt", uuid: uuid.map(str::to_owned), label: None }
}

fn holding(kind: &str, uuid: Option<&str>) -> Probe {
    Probe { signatures: vec![signature(kind, uuid)] }
}

fn format(plan: &Plan) -> &crate::host::change::MakeFilesystem {
    let made = plan.changes.iter().find_map(|c| if let Change::MakeFilesystem(m) = c { Some(m) } else { None });
    made.unwrap_or_else(|| panic!("nothing is formatted: {:?}", kinds(plan)))
}

#[test]
fn unknown_data_needs_to_be_named_and_is_what_mkfs_must_find_again() {
    let mut o = host();
    o.set_probe("/dev/sda", holding("unknown data", None));
    assert!(refused(&o, json!({"devices": ["sda"]})).contains("it is not blank, it holds unknown data. To destroy that, name it"));
    let plan = run(&o, json!({"devices": ["sda"], "wipe": ["sda"]})).unwrap();
    assert_eq!(format(&plan).destroys, [signature("unknown data", None)]);
    o.set_probe("/dev/sda", Probe { signatures: vec![] });
    let said = apply::predict_all(&plan.changes, &mut o, apply::Options::default()).error().unwrap().message.clone();
    assert!(said.contains("it holds nothing, the plan found unknown data: plan again"), "{said}");
}

#[test]
fn one_disk_under_two_names_is_refused() {
    let o = host_with(["S1", "S1", "S3"]);
    let message = refused(&o, json!({"devices": ["sda", "sdb"]}));
    assert_eq!(
        message,
        "nothing is done on this host:\n/dev/sda (1 GiB, serial S1): it is the same disk as /dev/sdb: WWN (or serial number) and size are the \
         same. Name one of them"
    );
    let one = run(&o, json!({"devices": ["sda"]})).unwrap();
    assert_eq!(format(&one).disk.path, Path::new("/dev/sda"));
    // What is made by the one name is seen by the other as well, which is no copy.
    let mut made = o.clone();
    assert_eq!(apply::predict_all(&one.changes, &mut made, apply::Options::default()).error(), None);
    made.set_probe("/dev/sdb", xfs(&format(&one).uuid));
    let again = run(&made, json!({"devices": ["sda"]})).unwrap();
    assert_eq!((kinds(&again), again.warnings), (vec![], vec![]));
    // LUNs of one array: one serial number, but other WWNs.
    let mut luns = o.clone();
    luns.set_file("/sys/block/sda/wwid", "naa.1", 0o444, 0, 0);
    luns.set_file("/sys/block/sdb/wwid", "naa.2", 0o444, 0, 0);
    assert_eq!(kinds(&run(&luns, json!({"devices": ["sda", "sdb"]})).unwrap())[..2], ["format", "format"]);
    // In use by its other name.
    let mut used = o.clone();
    used.set_file("/sys/block/sdb/holders/dm-0/dev", "253:0", 0o444, 0, 0);
    assert!(refused(&used, json!({"devices": ["sda"]})).contains("same, and that is held by dm-0"));
}

#[test]
fn a_filesystem_that_has_a_copy_is_refused() {
    let mut o = host();
    let id = "11111111-2222-4333-8444-555555555555";
    o.set_probe("/dev/sda", xfs(id));
    o.set_probe("/dev/sdc", xfs(id));
    for devices in [json!(["sda"]), json!(["sda", "sdc"])] {
        let message = refused(&o, json!({"devices": devices, "adopt": true}));
        let wanted = format!("/dev/sda (1 GiB, serial SER-sda): /dev/sda and /dev/sdc hold filesystems with one UUID ({id})");
        assert!(message.contains(&wanted), "{message}");
    }
    // Not a copy, but what makes up a multipath device.
    o.set_file("/sys/block/sdc/holders/dm-0/dev", "253:0", 0o444, 0, 0);
    assert!(run(&o, json!({"devices": ["sda"], "adopt": true})).is_ok());
}

#[test]
fn wipe_left_in_the_inventory_spares_what_fettle_made_before_the_host_was_installed_anew() {
    let mut o = host();
    let first = run(&o, json!({"devices": ["sda"], "wipe": ["sda"]})).unwrap();
    let id = format(&first).uuid.clone();
    assert_eq!(id.as_bytes()[14], b'8', "RFC 9562: version 8");
    assert_eq!(apply::predict_all(&first.changes, &mut o, apply::Options::default()).error(), None);
    assert_eq!(kinds(&run(&o, json!({"devices": ["sda"], "wipe": ["sda"]})).unwrap()), Vec::<&str>::new());
    let mut anew = host();
    anew.set_file("/etc/machine-id", "ffffffffffffffffffffffffffffffff\n", 0o444, 0, 0);
    anew.set_probe("/dev/sda", xfs(&id));
    for wipe in [json!([]), json!(["sda"]), json!(["SER-sda"]), json!(["/dev/sda"])] {
        let message = refused(&anew, json!({"devices": ["sda"], "wipe": wipe}));
        let wanted = format!("name the filesystem, not the disk: wipe: [\"{id}\"], or mount it as it is: adopt: true");
        assert!(message.contains("holds xfs ") && message.contains(&wanted), "{message}");
    }
    let adopted = run(&anew, json!({"devices": ["sda"], "wipe": ["sda"], "adopt": true})).unwrap();
    assert!(!kinds(&adopted).contains(&"format"));
    let args = json!({"devices": ["sda"], "wipe": [id.to_uppercase()]});
    let insisted = run(&anew, args.clone()).unwrap();
    assert_eq!(format(&insisted).destroys, xfs(&id).signatures);
    // Left there too it does no harm, and says nothing.
    assert_eq!(apply::predict_all(&insisted.changes, &mut anew, apply::Options::default()).error(), None);
    let again = run(&anew, args).unwrap();
    assert_eq!((kinds(&again), again.warnings), (vec![], vec![]));
    // What mkfs.xfs makes has UUIDs of version 4, and goes by the disk's name.
    anew.set_probe("/dev/sdb", xfs("11111111-2222-4333-8444-555555555555"));
    assert_eq!(kinds(&run(&anew, json!({"devices": ["sdb"], "wipe": ["sdb"]})).unwrap())[0], "format");
}

#[test]
fn what_partitions_hold_is_shown_and_compared_again() {
    let mut o = host();
    o.set_probe("/dev/sda", holding("gpt", None));
    let backup = Signature { label: Some("backup".into()), ..signature("ext4", Some("ab-cd")) };
    partition(&mut o, vec![backup.clone()]);
    let message = refused(&o, json!({"devices": ["sda"]}));
    assert!(message.contains("it holds a partition table (gpt), ext4 \"backup\" (sda1). To destroy that"), "{message}");
    let plan = run(&o, json!({"devices": ["sda"], "wipe": ["sda"]})).unwrap();
    assert_eq!(format(&plan).partitions, ["ext4 \"backup\" (sda1)"]);
    use crate::host::act::Act;
    let destroys = plan.changes[0].destroys();
    assert_eq!(destroys.as_deref(), Some("a partition table (gpt), ext4 \"backup\" (sda1) on /dev/sda (1 GiB, serial SER-sda)"));
    // Another one since: not what the plan showed.
    let mut later = o.clone();
    partition(&mut later, vec![signature("swap", None)]);
    let said = apply::predict_all(&plan.changes, &mut later, apply::Options::default()).error().unwrap().message.clone();
    assert!(said.contains("it holds a partition table (gpt), swap (sda1), the plan found a partition table (gpt), ext4"), "{said}");
    // Used by fstab, by whatever name.
    o.set_link("/dev/disk/by-partuuid/77", "/dev/sda1");
    for source in ["UUID=AB-CD", "LABEL=backup", "/dev/sda1", "PARTUUID=77"] {
        o.set_file("/etc/fstab", format!("{source} /backup ext4 noauto 0 0\n"), 0o644, 0, 0);
        let message = refused(&o, json!({"devices": ["sda"], "wipe": ["sda"]}));
        assert!(
            message.contains("/etc/fstab (line 1) uses its partition sda1 on /backup: if that may go, take line 1 out first"),
            "{source}: {message}"
        );
    }
    // Partitions that no table describes any more: under our own filesystem they are in nobody's way.
    let mut o = host();
    let made = run(&o, json!({"devices": ["sda"]})).unwrap();
    o.set_probe("/dev/sda", xfs(&format(&made).uuid));
    partition(&mut o, vec![]);
    let plan = run(&o, json!({"devices": ["sda"]})).unwrap();
    assert_eq!(kinds(&plan), ["mkdir", "mkdir", "mount", "write", "attributes"]);
    assert!(plan.warnings[0].contains("the kernel still lists sda1"), "{:?}", plan.warnings);
}

#[test]
fn an_interrupted_mkfs_is_done_again_but_only_our_own() {
    let mut o = host();
    let ours = format(&run(&o, json!({"devices": ["sda"]})).unwrap()).uuid.clone();
    o.set_probe("/dev/sda", holding("unfinished xfs", Some(&ours)));
    let plan = run(&o, json!({"devices": ["sda"]})).unwrap();
    assert_eq!(format(&plan).destroys, [signature("unfinished xfs", Some(&ours))]);
    assert_eq!(apply::predict_all(&plan.changes, &mut o, apply::Options::default()).error(), None);
    o.set_probe("/dev/sdb", holding("unfinished xfs", Some("11111111-2222-4333-8444-555555555555")));
    assert!(refused(&o, json!({"devices": ["sdb"]})).contains("it holds unfinished xfs 11111111"));
}

#[test]
fn labels_are_texts_and_stay() {
    let item = |label: Json| json!({"filesystems": [{"device": "sda", "path": "/ais/a", "label": label}]});
    let mut o = host();
    assert_eq!(refused(&o, item(json!(7))), "`label` in `filesystems` must be a text, not 7: put it in quotes");
    let plan = run(&o, item(json!("7"))).unwrap();
    assert_eq!(apply::predict_all(&plan.changes, &mut o, apply::Options::default()).error(), None);
    for label in [json!("7"), Json::Null] {
        assert_eq!(run(&o, item(label)).unwrap().warnings, Vec::<String>::new());
    }
    let other = run(&o, item(json!("data"))).unwrap();
    assert_eq!(kinds(&other), Vec::<&str>::new());
    assert!(other.warnings[0].starts_with("/dev/sda keeps its label (7), though data is asked for"), "{:?}", other.warnings);
}

#[test]
fn wipe_names_disks_of_the_task_or_disks_that_are_gone() {
    let o = host();
    for stray in ["sdb", "/dev/sdb", "SER-sdb"] {
        let message = refused(&o, json!({"devices": ["sda"], "wipe": ["sda", stray]}));
        let wanted = format!("wipe: /dev/sdb (1 GiB, serial SER-sdb) (`{stray}`) is not among the disks this task is about");
        assert!(message.ends_with(&wanted), "{message}");
    }
    for chosen in ["sda", "/dev/sda", "SER-sda"] {
        assert_eq!(run(&o, json!({"devices": ["sda"], "wipe": [chosen]})).unwrap().warnings, Vec::<String>::new());
    }
    let gone = run(&o, json!({"devices": ["sda"], "wipe": ["SER-gone"]})).unwrap();
    assert!(gone.warnings[0].starts_with("wipe: there is no disk `SER-gone`; there are: "), "{:?}", gone.warnings);
}
