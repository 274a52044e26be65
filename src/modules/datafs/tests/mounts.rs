//! Mount points, mount options and fstab lines of others.

use super::*;

const SETTLED: [&str; 0] = [];

fn fstab(o: &Overlay<'_>) -> String {
    o.read_text(Path::new("/etc/fstab")).unwrap()
}

fn with_fstab<'a>(mut o: Overlay<'a>, line: &str) -> Overlay<'a> {
    o.set_file("/etc/fstab", format!("# fstab\n{line}\n"), 0o644, 0, 0);
    o
}

fn apply(o: &mut Overlay<'_>, args: Json) -> Vec<&'static str> {
    let plan = run(o, args).unwrap();
    assert_eq!(apply::predict_all(&plan.changes, o, apply::Options::default()).error(), None);
    kinds(&plan)
}

#[test]
fn two_disks_with_one_uuid_are_refused_unless_one_is_formatted() {
    let mut o = host();
    for disk in ["/dev/sda", "/dev/sdb"] {
        o.set_probe(disk, xfs("11111111-2222-3333-4444-555555555555"));
    }
    let message = refused(&o, json!({"devices": ["sdb"], "adopt": true}));
    assert!(message.contains("/dev/sdb (1 GiB, serial SER-sdb): /dev/sda and /dev/sdb hold filesystems with one UUID (1111"), "{message}");
    let both = json!({"devices": ["sda", "sdb"], "adopt": true, "wipe": ["sda"]});
    assert!(apply(&mut o, both.clone()).starts_with(&["format", "mkdir"]));
    assert!(o.mounts().unwrap().iter().any(|m| m.source == "/dev/sdb" && m.target == Path::new("/ais/sdb")));
    assert_eq!(kinds(&run(&o, both).unwrap()), SETTLED);
    // A disk below a multipath device or an array is no second one.
    let mut o = host();
    for disk in ["/dev/sda", "/dev/sdb"] {
        o.set_probe(disk, xfs("11111111-2222-3333-4444-555555555555"));
    }
    o.set_file("/sys/block/sda/holders/dm-0/dev", "253:0", 0o444, 0, 0);
    assert!(apply(&mut o, json!({"devices": ["sdb"], "adopt": true})).contains(&"mount"));
}

#[test]
fn a_copy_that_appears_later_is_warned_about() {
    let mut o = prepared(["S1", "S2", "S3"]);
    let copy = o.probe(Path::new("/dev/sda")).unwrap();
    o.set_probe("/dev/sdc", copy);
    let plan = run(&o, json!({"devices": ["sda"]})).unwrap();
    assert_eq!((kinds(&plan), plan.warnings.len()), (vec![], 1));
    assert!(plan.warnings[0].contains("/dev/sda and /dev/sdc hold filesystems with one UUID"), "{:?}", plan.warnings);
}

#[test]
fn a_read_only_mount_is_remounted_and_so_is_one_with_options_that_are_gone() {
    for options in ["ro,noatime", "rw,noexec,nosuid,noatime", "rw,relatime"] {
        let mut o = prepared(["S1", "S2", "S3"]);
        let own = "largeio,inode64,swalloc,allocsize=131072k,logbufs=8,logbsize=256k";
        o.set_mount_options("/ais/sda", format!("{options},{own}").split(',').map(str::to_owned).collect());
        assert_eq!(apply(&mut o, json!({"devices": ["sda"]})), ["remount"], "{options}");
        assert_eq!(kinds(&run(&o, json!({"devices": ["sda"]})).unwrap()), SETTLED);
    }
    let mut o = host();
    apply(&mut o, json!({"devices": ["sda"], "options": ["noexec", "nofail"]}));
    assert_eq!(apply(&mut o, json!({"devices": ["sda"], "options": ["noatime", "nofail"]})), ["remount", "write"]);
    assert!(!o.mounts().unwrap()[0].options.contains(&"noexec".to_owned()));
}

#[test]
fn a_folder_of_the_disk_is_not_its_filesystem() {
    let mut o = host();
    o.set_probe("/dev/sda", xfs("11111111-2222-3333-4444-555555555555"));
    let of = |root: &str| Mount {
        target: "/ais/sda".into(),
        source: "/dev/sda".into(),
        device: (8, 0),
        root: root.into(),
        fstype: "xfs".into(),
        options: vec!["rw".into(), "noatime".into()],
    };
    o.add_mount(of("/sub"));
    for state in ["mounted", "unmounted", "absent"] {
        let message = refused(&o, json!({"devices": ["sda"], "adopt": true, "state": state}));
        assert!(message.contains("the folder /sub of /dev/sda is mounted on /ais/sda already"), "{state}: {message}");
    }
}

#[test]
fn a_prefix_may_be_a_link_and_fstab_keeps_the_name_it_has() {
    for (line, listed) in [("", "/srv/real/sda"), ("UUID=11111111-2222-3333-4444-555555555555 /ais/sda xfs noatime 0 0", "/ais/sda")] {
        let mut o = with_fstab(host(), line);
        o.set_directory("/srv/real", 0o755, 0, 0);
        o.set_link("/ais", "/srv/real");
        o.set_probe("/dev/sda", xfs("11111111-2222-3333-4444-555555555555"));
        for prefix in ["/ais", "/srv/../ais/"] {
            let args = json!({"devices": ["sda"], "adopt": true, "path_prefix": prefix});
            let mut o = o.clone();
            apply(&mut o, args.clone());
            assert_eq!(o.mounts().unwrap()[0].target, Path::new("/srv/real/sda"));
            assert_eq!(fstab(&o).matches(&format!("\t{listed}\t")).count(), 1, "{}", fstab(&o));
            assert_eq!(fstab(&o).matches("UUID=").count(), 1, "{}", fstab(&o));
            let plan = run(&o, args).unwrap();
            assert_eq!((kinds(&plan), plan.warnings), (vec![], vec![]));
        }
    }
    assert!(refused(&host(), json!({"devices": ["sda"], "path_prefix": "/none/../ais"})).contains("write it without `..`"));
}

#[test]
fn options_xfs_does_not_know_are_refused_before_anything() {
    let message = refused(&host(), json!({"devices": ["sda"], "options": "noatime,nobarrier"}));
    assert!(message.starts_with("XFS has no mount option `nobarrier`"), "{message}");
    assert!(run(&host(), json!({"devices": ["sda"], "options": ["noatime,inode64", "nofail"]})).is_ok());
    // Taking away does not mount.
    assert!(run(&host(), json!({"devices": ["sda"], "options": "nobarrier", "state": "absent"})).is_ok());
}

#[test]
fn lines_of_others_in_fstab_stay() {
    for line in ["nas:/export /ais/sda nfs noauto 0 0", "/dev/sdz /ais/sda xfs noauto 0 0", "UUID=aa-bb /ais/sda ext4 noauto 0 0"] {
        let o = with_fstab(host(), line);
        for state in ["mounted", "absent"] {
            let message = refused(&o, json!({"devices": ["sda"], "state": state}));
            assert!(message.contains("(line 2) has ") && message.contains("take that line out if nobody needs it"), "{message}");
        }
    }
}

#[test]
fn mount_points_inside_one_another_are_refused() {
    for (one, two) in [("/ais/a", "/ais/a/b"), ("/ais/a/b", "/ais/a")] {
        let message = refused(&host(), json!({"filesystems": [{"device": "sda", "path": one}, {"device": "sdb", "path": two}]}));
        assert!(message.contains(&format!("{one} and {two} are inside one another")), "{message}");
    }
}

#[test]
fn what_is_left_of_a_dead_disk_can_be_taken_away_by_its_mount_point() {
    let before = prepared(["S1", "S2", "S3"]);
    let line = fstab(&before).lines().find(|l| l.contains("/ais/sda")).unwrap().to_owned();
    // The disk is gone from sysfs; a mount of it is left or not.
    for mounted in [true, false] {
        let mut o = with_fstab(host(), &format!("{line}\nnas:/x /ais/sde nfs noauto 0 0"));
        o.remove("/sys/block/sda");
        if mounted {
            o.add_mount(before.mounts().unwrap().into_iter().find(|m| m.source == "/dev/sda").unwrap());
        }
        for args in [
            json!({"devices": ["sda"], "state": "absent"}),
            json!({"devices": ["/dev/sda"], "state": "absent"}),
            json!({"filesystems": [{"device": "S1", "path": "/ais/sda"}], "state": "absent"}),
        ] {
            let mut o = o.clone();
            let expected: &[&str] = if mounted { &["unmount", "write"] } else { &["write"] };
            assert_eq!(apply(&mut o, args.clone()), expected);
            assert_eq!(fstab(&o), "# fstab\nnas:/x /ais/sde nfs noauto 0 0\n");
            let again = run(&o, args).unwrap();
            assert_eq!((kinds(&again), again.warnings.len()), (vec![], 1));
        }
        for (args, part) in [
            (json!({"devices": ["S1"], "state": "absent"}), "name it in `filesystems` with the `path` it was mounted on"),
            (json!({"devices": ["sde"], "state": "absent"}), "line 3, mounts nas:/x (nfs)"),
            (json!({"devices": ["sda"]}), "there is no disk `sda`"),
        ] {
            let message = refused(&o, args);
            assert!(message.contains(part), "{message}");
        }
    }
    // The line, or the mount, of a disk that is there is not a dead one's.
    let mut o = before.clone();
    let message = refused(&o, json!({"filesystems": [{"device": "S9", "path": "/ais/sda"}], "state": "absent"}));
    assert!(message.contains("which is on /dev/sda (1 GiB, serial S1)"), "{message}");
    o.set_file("/etc/fstab", "", 0o644, 0, 0);
    let message = refused(&o, json!({"filesystems": [{"device": "S9", "path": "/ais/sda"}], "state": "absent"}));
    assert!(message.contains("/dev/sda is mounted there"), "{message}");
}

#[test]
fn systemd_knows_of_a_line_before_it_can_act_by_it() {
    let mut before = prepared(["S1", "S2", "S3"]);
    before.set_directory("/run/systemd/system", 0o755, 0, 0);
    assert_eq!(kinds(&run(&before, json!({"devices": ["sda", "sdb"]})).unwrap()), SETTLED);
    // The disk behind /ais/sda was replaced: its line has the UUID of the old one.
    let mut o = rebooted(&before, ["S9", "S2", "S3"], ["sda", "sdb", "sdc"], true);
    o.set_directory("/run/systemd/system", 0o755, 0, 0);
    o.remove_mount(Path::new("/ais/sda"));
    o.set_probe("/dev/sda", Probe { signatures: vec![] });
    let args = json!({"devices": ["sda", "sdb"]});
    let plan = run(&o, args.clone()).unwrap();
    assert_eq!(kinds(&plan), ["format", "mkdir", "write", "reload", "write", "mount", "write", "reload", "attributes"]);
    let written: Vec<String> = plan
        .changes
        .iter()
        .filter_map(|c| if let Change::WriteFile(w) = c { Some(String::from_utf8(w.content.clone()).unwrap()) } else { None })
        .collect();
    let of = |text: &str| [" / ", "/ais/sda", "/ais/sdb"].map(|target| text.matches(target).count());
    assert_eq!((of(&written[0]), of(&written[2])), ([1, 0, 1], [1, 1, 1]), "only what is wrong goes before");
    assert_eq!(written[1], fstab(&o), "should the mount fail");
    for done in 0..=plan.changes.len() {
        let mut o = o.clone();
        assert_eq!(apply::predict_all(&plan.changes[..done], &mut o, apply::Options::default()).error(), None);
        apply(&mut o, args.clone());
        let sorted = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert_eq!((kinds(&run(&o, args.clone()).unwrap()), sorted(&fstab(&o))), (vec![], sorted(&written[2])), "after {done}");
    }
    apply(&mut o, args);
    // A line that is right stays where it is, but systemd may not have seen it.
    o.remove_mount(Path::new("/ais/sda"));
    assert_eq!(apply(&mut o, json!({"devices": ["sda"]})), ["reload", "mount", "attributes"]);
    assert_eq!(apply(&mut o, json!({"devices": ["sda"], "state": "absent"})), ["unmount", "write", "reload"]);
}
