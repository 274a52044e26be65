//! The planner on made-up hosts.

use super::*;
use crate::host::{Blank, FileKind, Mount, Overlay, Probe, Signature, Stat, apply};
use crate::modules::{Files, SourceFile};

struct NoFiles;

impl Files for NoFiles {
    fn get(&self, name: &str, _: &str) -> Result<SourceFile, PlanError> {
        Err(PlanError::failed(name))
    }

    fn list(&self, _: &str, _: &str) -> Result<Option<Vec<String>>, PlanError> {
        Ok(None)
    }
}

fn host() -> Overlay<'static> {
    let mut o = Overlay::new(&Blank);
    for (name, minor) in [("sda", 0u32), ("sdb", 16), ("sdc", 32)] {
        for (file, text) in
            [("size", "2097152".to_owned()), ("dev", format!("8:{minor}")), ("ro", "0".into()), ("serial", format!("SER-{name}"))]
        {
            o.set_file(format!("/sys/block/{name}/{file}"), text, 0o444, 0, 0);
        }
        let node = Stat {
            kind: FileKind::Block,
            mode: 0o660,
            uid: 0,
            gid: 6,
            size: 0,
            mtime: 0.0,
            atime: 0.0,
            ctime: 0.0,
            ino: 0,
            nlink: 1,
            dev: 5,
            rdev: (8, minor),
        };
        o.set_stat(format!("/dev/{name}"), node);
        o.set_probe(format!("/dev/{name}"), Probe { signatures: vec![], zeroed: true });
    }
    o.set_file("/etc/fstab", "# fstab\nUUID=root / ext4 defaults 0 1\n", 0o644, 0, 0);
    o.set_file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444, 0, 0);
    o.set_file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644, 0, 0);
    o.set_file("/etc/group", "root:x:0:\n", 0o644, 0, 0);
    o.set_file("/usr/sbin/mkfs.xfs", "", 0o755, 0, 0);
    o
}

fn run(view: &dyn View, args: Json) -> Result<Plan, PlanError> {
    let args = Args::check(&MODULE, args.as_object().unwrap().clone())?;
    let context = Context {
        view,
        check: true,
        files: &NoFiles,
        render: &|_, _| Err(PlanError::failed("")),
        evaluate: &|_| Err(PlanError::failed("")),
        lookup: &|_| Err(PlanError::failed("")),
        environment: &[],
        user: (0, 0, "root", "/root"),
        facts: &Map::new(),
        gather: &|_, _| Ok(Map::new()),
        secret: false,
    };
    (MODULE.plan)(&args, &context)
}

fn kinds(plan: &Plan) -> Vec<&'static str> {
    plan.changes
        .iter()
        .map(|c| match c {
            Change::MakeFilesystem(_) => "format",
            Change::MakeDirectory(_) => "mkdir",
            Change::WriteFile(_) => "write",
            Change::Mount(_) => "mount",
            Change::Remount(_) => "remount",
            Change::Unmount(_) => "unmount",
            Change::SetAttributes(_) => "attributes",
            _ => "other",
        })
        .collect()
}

fn refused(view: &dyn View, args: Json) -> String {
    run(view, args).unwrap_err().to_string()
}

fn xfs(uuid: &str) -> Probe {
    Probe {
        signatures: vec![Signature { kind: "xfs".into(), partition_table: false, uuid: Some(uuid.into()), label: None }],
        zeroed: false,
    }
}

#[test]
fn blank_disks_are_formatted_together_and_a_second_look_finds_nothing() {
    let mut o = host();
    let plan = run(&o, json!({"devices": ["sda", "/dev/sdb"]})).unwrap();
    assert_eq!(kinds(&plan), ["format", "format", "mkdir", "mkdir", "mkdir", "write", "mount", "mount", "attributes", "attributes"]);
    let applied = apply::predict_all(&plan.changes, &mut o, apply::Options::default());
    assert_eq!(applied.error(), None);
    let fstab = o.read_text(Path::new("/etc/fstab")).unwrap();
    assert!(fstab.starts_with("# fstab\nUUID=root / ext4 defaults 0 1\nUUID="));
    assert!(
        fstab.contains(
            "\t/ais/sda\txfs\tnoatime,nodiratime,logbufs=8,logbsize=256k,largeio,inode64,swalloc,allocsize=131072k,nofail\t0 0\n"
        )
    );
    let again = run(&o, json!({"devices": ["sda", "/dev/sdb"]})).unwrap();
    assert_eq!(kinds(&again), Vec::<&str>::new());
}

#[test]
fn an_interrupted_run_converges_from_after_every_change() {
    let whole = run(&host(), json!({"devices": ["sda", "sdb"]})).unwrap();
    for done in 0..=whole.changes.len() {
        let mut o = host();
        let first = run(&o, json!({"devices": ["sda", "sdb"]})).unwrap();
        assert_eq!(apply::predict_all(&first.changes[..done], &mut o, apply::Options::default()).error(), None);
        let rest = run(&o, json!({"devices": ["sda", "sdb"]})).unwrap();
        let formats = |p: &Plan| kinds(p).iter().filter(|k| **k == "format").count();
        assert_eq!(formats(&rest), formats(&whole).saturating_sub(done), "after {done} changes nothing may be formatted twice");
        assert_eq!(apply::predict_all(&rest.changes, &mut o, apply::Options::default()).error(), None, "after {done}");
        assert_eq!(kinds(&run(&o, json!({"devices": ["sda", "sdb"]})).unwrap()), Vec::<&str>::new(), "after {done}");
    }
}

#[test]
fn what_is_not_blank_is_refused_and_says_how_to_insist() {
    let mut o = host();
    let ext4 = Signature { kind: "ext4".into(), partition_table: false, uuid: None, label: Some("backup".into()) };
    o.set_probe("/dev/sdb", Probe { signatures: vec![ext4.clone()], zeroed: false });
    let message = refused(&o, json!({"devices": ["sda", "sdb"]}));
    assert!(message.contains("nothing is done on this host"), "{message}");
    assert!(
        message.contains(
            "/dev/sdb (1 GiB, serial SER-sdb): it is not blank, it holds ext4 \"backup\". To destroy that, name it: wipe: [\"SER-sdb\"]"
        ),
        "{message}"
    );
    let plan = run(&o, json!({"devices": ["sdb"], "wipe": ["SER-sdb"]})).unwrap();
    match &plan.changes[0] {
        Change::MakeFilesystem(m) => assert_eq!(m.destroys, [ext4]),
        other => panic!("{other:?}"),
    }
    assert!(refused(&o, json!({"devices": ["sdb"], "wipe": ["SER-sda"]})).contains("is not blank"));
    assert!(refused(&o, json!({"devices": ["sdb"], "wipe": ["SER-none"]})).contains("there is no disk `SER-none`"));
}

#[test]
fn a_foreign_xfs_is_neither_formatted_nor_mounted_unasked() {
    let mut o = host();
    o.set_probe("/dev/sda", xfs("11111111-2222-3333-4444-555555555555"));
    assert!(refused(&o, json!({"devices": ["sda"]})).contains("adopt: true"));
    let plan = run(&o, json!({"devices": ["sda"], "adopt": true})).unwrap();
    assert_eq!(kinds(&plan), ["mkdir", "mkdir", "write", "mount", "attributes"]);
}

#[test]
fn disks_in_use_are_refused_each_with_its_reason() {
    let mut o = host();
    let mount = |target: &str, minor| Mount {
        target: target.into(),
        source: "/dev/x".into(),
        device: (8, minor),
        root: "/".into(),
        fstype: "ext4".into(),
        options: vec![],
    };
    o.add_mount(mount("/data", 0));
    o.set_file("/sys/block/sdb/holders/dm-0/dev", "253:0", 0o444, 0, 0);
    o.set_file("/sys/block/sdc/ro", "1", 0o444, 0, 0);
    let message = refused(&o, json!({"devices": ["sda", "sdb", "sdc", "sdx"], "wipe": ["sda", "sdb", "sdc"]}));
    for part in ["it is mounted on /data", "it is held by dm-0", "it is read-only", "there is no disk `sdx`"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(refused(&host(), json!({"devices": ["sda", "SER-sda"]})).contains("is named twice"));
}

#[test]
fn mounting_over_files_is_refused() {
    let mut o = host();
    o.set_file("/ais/sda/precious", "x", 0o644, 0, 0);
    assert!(refused(&o, json!({"devices": ["sda"]})).contains("/ais/sda is not empty (it holds precious)"));
}

#[test]
fn taking_away_leaves_the_data() {
    let mut o = host();
    let plan = run(&o, json!({"devices": ["sda"]})).unwrap();
    apply::predict_all(&plan.changes, &mut o, apply::Options::default());
    let away = run(&o, json!({"devices": ["sda"], "state": "absent"})).unwrap();
    assert_eq!(kinds(&away), ["unmount", "write"]);
    apply::predict_all(&away.changes, &mut o, apply::Options::default());
    assert_eq!(o.read_text(Path::new("/etc/fstab")).unwrap(), "# fstab\nUUID=root / ext4 defaults 0 1\n");
    assert_eq!(kinds(&run(&o, json!({"devices": ["sda"], "state": "absent"})).unwrap()), Vec::<&str>::new());
    let back = run(&o, json!({"devices": ["sda"]})).unwrap();
    assert!(!kinds(&back).contains(&"format"));
}
