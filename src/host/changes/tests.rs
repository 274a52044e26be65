//! The heart: what a dry run predicts is what performing does. Random changes on a real folder: predicted on an overlay,
//! then performed; both hosts must look the same, failures must be the same, and undoing must bring the state before back.

use crate::host::act::Act;
use crate::host::change::*;
use crate::host::{Change, FileKind, Overlay, RealHost, View, ViewError, identity};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Everything a module may see of a tree, but times and inode numbers: (attributes, what it holds).
type Snapshot = BTreeMap<PathBuf, (String, String)>;

fn snapshot(view: &dyn View, path: &Path, links_too: bool, all: &mut Snapshot) {
    let stat = match view.stat(path, false) {
        Ok(Some(stat)) => stat,
        Ok(None) => return,
        // A folder the user may not look into.
        Err(e) => {
            all.insert(path.to_owned(), (e.to_string(), String::new()));
            return;
        }
    };
    let mut attributes = format!("{:?} {:04o} {}:{}", stat.kind, stat.mode, stat.uid, stat.gid);
    if stat.kind != FileKind::Directory {
        attributes += &format!(" {} bytes", stat.size);
        if links_too {
            attributes += &format!(" {} links", stat.nlink);
        }
    }
    if stat.kind != FileKind::Symlink {
        attributes += &format!(" {:?}", view.xattrs(path));
    }
    let holds = match stat.kind {
        FileKind::Directory => format!("{:?}", view.list(path)),
        FileKind::Symlink => {
            let kind = view.stat(path, true).map(|s| s.map(|s| (s.kind, s.mode)));
            // Errors may name the path given or the one it leads to.
            format!("{:?} → {kind:?} {:?} {:?}", view.read_link(path), view.read(path).ok(), view.list(path).ok())
        }
        _ => format!("{:?}", view.read(path)),
    };
    all.insert(path.to_owned(), (attributes, holds));
    if stat.kind == FileKind::Directory {
        for name in view.list(path).unwrap_or_default() {
            snapshot(view, &path.join(name), links_too, all);
        }
    }
}

fn look(view: &dyn View, root: &Path, links_too: bool) -> Snapshot {
    let mut all = Snapshot::new();
    snapshot(view, root, links_too, &mut all);
    all
}

/// Fails with what differs.
fn same(found: &Snapshot, expected: &Snapshot, what: &dyn Fn() -> String) {
    let differ: Vec<_> = found
        .keys()
        .chain(expected.keys())
        .filter(|p| found.get(*p) != expected.get(*p))
        .map(|p| format!("{}: found {:?}, expected {:?}", p.display(), found.get(p), expected.get(p)))
        .collect();
    assert!(differ.is_empty(), "{}:\n{}", what(), differ.join("\n"));
}

/// Numbers that look random and are the same each time (a linear congruential generator, constants from Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())].clone()
    }
}

const NAMES: [&str; 14] =
    ["a", "b", "d", "d/x", "d/y", "d/e", "d/e/z", "l", "l/x", "l/e/z", "m/../b", "m", "no/such/folder", "../escape-not/../a"];

fn any_change(dice: &mut Dice, root: &Path, ids: &[u32]) -> Change {
    let path = root.join(dice.pick(&NAMES));
    let mode = dice.pick(&[None, Some(0o644), Some(0o600), Some(0o4755), Some(0o2775), Some(0o1777), Some(0o400)]);
    let mut id = || dice.pick(&[None, None, Some(dice_id(ids, 0)), Some(dice_id(ids, 1)), Some(dice_id(ids, 2))]);
    let (uid, gid) = (id(), id());
    match dice.roll(12) {
        0..=2 => {
            let content = dice.pick(&["", "one\n", "two\nlines\n", "\0\u{1}binary"]);
            let (content, is_one) = (content.into(), content == "one\n");
            Change::WriteFile(WriteFile { path, content, mode, uid, gid, backup: false, validate: None, secret: false, follow: !is_one })
        }
        3 | 4 => Change::MakeDirectory(MakeDirectory { path, mode, uid, gid }),
        5 => Change::Touch(Touch { path, atime: None, mtime: dice.pick(&[None, Some(1_000_000.5)]) }),
        6 | 7 => {
            let target = dice.pick(&["a", "d", "../a", "d/e", "l", "nowhere", "/", "."]);
            let target = if target == "/" { root.join("d") } else { PathBuf::from(target) };
            Change::MakeLink(MakeLink { path, target, hard: false })
        }
        8 => Change::MakeLink(MakeLink { path, target: root.join(dice.pick(&NAMES)), hard: true }),
        9 => Change::Remove(Remove { path }),
        _ => Change::SetAttributes(SetAttributes { path, mode, uid, gid, follow: dice.roll(2) == 0 }),
    }
}

fn dice_id(ids: &[u32], i: usize) -> u32 {
    ids[i % ids.len()]
}

/// Plays `games` of random changes; returns how many changes were made and how many refused.
fn play(games: u64, ids: &[u32]) -> (usize, usize) {
    let (mut made, mut refused) = (0, 0);
    for seed in 0..games {
        // In memory where there is such a place: every change is synced to disk.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        // Links and `..` lead out of `root`, but not out of `top`.
        let (top, copy) = (folder.path().join("top"), folder.path().join("copy"));
        let root = top.join("root");
        std::fs::create_dir_all(root.join("d/e")).unwrap();
        std::fs::write(root.join("a"), "old\n").unwrap();
        std::fs::hard_link(root.join("a"), root.join("d/y")).unwrap();
        std::os::unix::fs::symlink("d", root.join("l")).unwrap();
        // One overlay for the whole game: later predictions stand on earlier ones.
        let mut over = Overlay::new(&RealHost);
        let started = look(&RealHost, &top, true);
        let mut dice = Dice(seed);
        let changes: Vec<Change> = (0..14).map(|_| any_change(&mut dice, &root, ids)).collect();
        let predicted: Vec<_> = changes
            .iter()
            .map(|change| {
                let result = change.predict(&mut over);
                if result.is_ok() {
                    change.verify(&over).unwrap_or_else(|e| assert!(hard(change), "seed {seed}: predicted but not so: {change:?}: {e}"));
                }
                (result, look(&over, &top, true))
            })
            .collect();
        same(&look(&RealHost, &top, true), &started, &|| format!("seed {seed}: a prediction touched the host"));
        for (i, (change, (expected, there))) in changes.iter().zip(predicted).enumerate() {
            let what = || format!("seed {seed}, change {i}: {change:?}");
            let before = look(&RealHost, &top, false);
            let undo = change.undo(&RealHost);
            let result = change.perform();
            assert_eq!(result, expected, "{}", what());
            if result.is_err() {
                refused += 1;
                continue;
            }
            made += 1;
            change.verify(&RealHost).unwrap_or_else(|e| panic!("{}: {e}\n{before:#?}\n{:#?}", what(), look(&RealHost, &top, true)));
            same(&look(&RealHost, &top, true), &there, &what);
            // On a copy, for undoing would part hard links.
            identity::as_started(|| copy_tree(&top, &copy));
            if let Ok(undo) = undo {
                for back in &undo {
                    back.perform().unwrap_or_else(|e| panic!("{}: undo {back:?}: {e}", what()));
                }
                same(&look(&RealHost, &top, false), &before, &|| format!("{} undone by {undo:?}", what()));
            }
            identity::as_started(|| std::fs::remove_dir_all(&top).and_then(|()| std::fs::rename(&copy, &top))).unwrap();
        }
    }
    (made, refused)
}

/// Hard links are checked by inode numbers, which a prediction has not got.
fn hard(change: &Change) -> bool {
    matches!(change, Change::MakeLink(link) if link.hard)
}

fn copy_tree(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_dry_run_and_the_real_thing_agree() {
    let me = nix::unistd::geteuid();
    let ids = if me.is_root() { vec![0, 1, 1234] } else { vec![me.as_raw()] };
    let (made, refused) = play(40, &ids);
    assert!(made > 130 && refused > 60, "{made} made, {refused} refused: the dice are loaded");
}

/// Runs the test `name` of this file alone in a process of its own, for what concerns the whole process.
fn alone(name: &str) {
    let test = format!("host::changes::tests::{name}");
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--ignored", "--nocapture", "--test-threads=1"])
        .env("FETTLE_TEST_ALONE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn acting_as_another_user_has_their_rights_only() {
    if nix::unistd::geteuid().is_root() {
        alone("in_a_process_acting_as_another_user");
    }
}

#[test]
#[ignore = "changes the process's user: run by acting_as_another_user_has_their_rights_only"]
fn in_a_process_acting_as_another_user() {
    if std::env::var_os("FETTLE_TEST_ALONE").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_534)).unwrap();
    std::fs::write(folder.path().join("roots"), "x").unwrap();
    let user = identity::User {
        name: "nobody".into(),
        uid: 65_534,
        gid: 65_534,
        home: "/nonexistent".into(),
        shell: "/bin/sh".into(),
        groups: vec![65_534, 4242],
    };
    let write = |path: &Path, uid: Option<u32>| {
        Change::WriteFile(WriteFile {
            path: path.into(),
            content: b"y".into(),
            mode: None,
            uid,
            gid: None,
            backup: false,
            validate: None,
            secret: false,
            follow: true,
        })
    };
    let mount = MountChange {
        source: "/dev/null".into(),
        device: None,
        target: "/proc".into(),
        fstype: "xfs".into(),
        options: vec!["noatime".into()],
    };
    {
        let _guard = identity::assume(&user).unwrap();
        // Cannot become somebody else from there, but can stay.
        assert!(identity::assume(&identity::User { uid: 1, name: "daemon".into(), ..user.clone() }).unwrap_err().contains("only root"));
        drop(identity::assume(&user).unwrap());
        for change in [
            write(Path::new("/etc/fettle-test"), None),
            write(&folder.path().join("given"), Some(0)),
            write(&folder.path().join("roots"), None),
            Change::SetAttributes(SetAttributes { path: "/etc/passwd".into(), mode: Some(0o666), uid: None, gid: None, follow: true }),
            Change::Remove(Remove { path: "/etc/passwd".into() }),
            Change::SetSysctl(SetSysctl { key: "net.ipv4.ip_forward".into(), value: "0".into() }),
            Change::Mount(mount.clone()),
            Change::Remount(mount),
            Change::Unmount(Unmount { target: "/proc".into() }),
        ] {
            let mut over = Overlay::new(&RealHost);
            let predicted = change.predict(&mut over).unwrap_err();
            assert_eq!(change.perform().unwrap_err(), predicted);
            let words = ["permission", "only its owner", "only root may"];
            assert!(words.iter().any(|w| predicted.message.contains(w)), "{predicted}");
        }
        // What polkit allows whom nobody can ask beforehand.
        let reload = Change::Unit(UnitChange { unit: String::new(), action: UnitAction::DaemonReload });
        assert!(reload.predict(&mut Overlay::new(&RealHost)).unwrap_err().unknown.is_some());
        let run = |text: &str| {
            let argv = vec!["/bin/sh".into(), "-c".into(), text.into()];
            Run { argv, chdir: None, stdin: None, environment: vec![], secret: false }.perform().unwrap().fields["stdout"].clone()
        };
        assert_eq!(
            run("id -u; id -ru; id -g; id -rg; id -G; echo $HOME $USER $LOGNAME"),
            "65534\n65534\n65534\n65534\n65534 4242\n/nonexistent nobody nobody"
        );
        assert_eq!(identity::as_started(|| nix::unistd::geteuid().as_raw()), 0);
        assert_eq!(nix::unistd::geteuid().as_raw(), 65_534);
        write(&folder.path().join("mine"), None).perform().unwrap();
        // The dice again, as this user: it may give nothing away.
        std::env::set_current_dir("/").unwrap();
        let (made, refused) = play(20, &[65_534, 1, 4242]);
        assert!(made > 30 && refused > 30, "{made} made, {refused} refused");
    }
    assert!(nix::unistd::geteuid().is_root());
    assert!(!nix::unistd::getgroups().unwrap().iter().any(|g| g.as_raw() == 4242));
    assert_eq!(RealHost.stat(&folder.path().join("mine"), false).unwrap().unwrap().uid, 65_534);
}

#[test]
fn replacing_a_file_keeps_owner_mode_and_extended_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    std::fs::write(&path, "old").unwrap();
    let set = std::process::Command::new("python3")
        .args(["-c", "import os,sys; os.setxattr(sys.argv[1], 'user.note', b'kept'); os.chmod(sys.argv[1], 0o640)"])
        .arg(&path)
        .status();
    let has_xattrs = set.is_ok_and(|s| s.success());
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("f", &link).unwrap();
    let change = WriteFile {
        path: link.clone(),
        content: b"new".into(),
        mode: None,
        uid: None,
        gid: None,
        backup: true,
        validate: Some("grep -q new %s".into()),
        secret: false,
        follow: true,
    };
    let outcome = change.perform().unwrap();
    change.verify(&RealHost).unwrap();
    let backup = outcome.fields["backup_file"].as_str().unwrap();
    assert!(backup.starts_with(path.to_str().unwrap()) && backup.ends_with('~'));
    assert_eq!(std::fs::read(backup).unwrap(), b"old");
    assert_eq!(RealHost.stat(&link, false).unwrap().unwrap().kind, FileKind::Symlink, "the link stays a link");
    if has_xattrs {
        assert_eq!(RealHost.stat(&path, false).unwrap().unwrap().mode, 0o640);
        assert!(RealHost.xattrs(&path).unwrap().contains(&("user.note".into(), b"kept".into())));
        assert!(RealHost.xattrs(Path::new(backup)).unwrap().contains(&("user.note".into(), b"kept".into())));
    }
    let refused = WriteFile { content: b"bad".into(), backup: false, ..change }.perform().unwrap_err();
    assert_eq!(refused.fields["exit_status"], 1);
    assert_eq!(std::fs::read(&path).unwrap(), b"new", "what the check refuses takes no place");
    assert_eq!(RealHost.list(folder.path()).unwrap().len(), 3, "no temporary file stays");
}

#[test]
fn removing_stops_at_mount_points() {
    for path in ["/", "/proc", "/proc/..", "//"] {
        let change = Remove { path: path.into() };
        let said = change.perform().unwrap_err().message;
        assert!(said.contains("never removed") || said.contains("mount point"), "{said}");
        assert_eq!(change.predict(&mut Overlay::new(&RealHost)).unwrap_err().message, said);
    }
}

/// A thread with its own network namespace and its own `/sys`; `None` where that is not allowed.
fn in_own_network<R: Send>(f: impl FnOnce() -> R + Send) -> Option<R> {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).ok()?;
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).ok()?;
            mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>).ok()?;
            Some(f())
        });
        thread.join().unwrap()
    })
}

#[test]
fn kernel_values_are_set_read_back_and_undone() {
    let done = in_own_network(|| {
        let sysctl = |key: &str, value: &str| Change::SetSysctl(SetSysctl { key: key.into(), value: value.into() });
        for change in [
            sysctl("net.core.somaxconn", "1234"),
            sysctl("net.ipv4.ip_local_port_range", " 2048   65535 "),
            sysctl("net/ipv4/conf/lo/rp_filter", "2"),
            sysctl("net.ipv4.tcp_rmem", "4096 87380 16777216"),
            Change::SetMtu(SetMtu { link: "lo".into(), mtu: 9000 }),
        ] {
            let mut over = Overlay::new(&RealHost);
            assert!(change.verify(&over).is_err(), "{change:?} is so already");
            change.predict(&mut over).unwrap();
            change.verify(&over).unwrap();
            let undo = change.undo(&RealHost).unwrap();
            change.perform().unwrap();
            change.verify(&RealHost).unwrap_or_else(|e| panic!("{change:?}: {e}"));
            assert_eq!(change.diff(&over), change.diff(&RealHost), "predicted text is the kernel's: {change:?}");
            undo[0].perform().unwrap();
            undo[0].verify(&RealHost).unwrap();
            assert!(change.verify(&RealHost).is_err());
        }
        let refused = sysctl("net.ipv4.ip_local_port_range", "9 1").perform().unwrap_err();
        assert!(refused.message.contains("does not accept"), "{refused}");
        for (change, said) in [
            (sysctl("net.core.no_such_thing", "1"), "does not exist"),
            (Change::SetMtu(SetMtu { link: "nolink0".into(), mtu: 1500 }), "no interface nolink0"),
            (Change::SetMtu(SetMtu { link: "lo".into(), mtu: 12 }), "68 to 65536"),
            (Change::SetSysfs(SetSysfs { path: "/sys/class/net/lo/no_such".into(), value: "1".into(), reset: false }), "does not exist"),
            (Change::SetSysfs(SetSysfs { path: "/sys/class/net/lo/ifindex".into(), value: "1".into(), reset: false }), "read-only"),
        ] {
            let predicted = change.predict(&mut Overlay::new(&RealHost)).unwrap_err();
            assert!(predicted.message.contains(said), "{predicted}");
            assert_eq!(change.perform().unwrap_err(), predicted);
        }
        // What this namespace may not set is known beforehand.
        if let Ok(Some(stat)) = RealHost.stat(Path::new("/proc/sys/net/core/rmem_max"), true)
            && stat.mode & 0o222 == 0
        {
            assert!(sysctl("net.core.rmem_max", "1").predict(&mut Overlay::new(&RealHost)).unwrap_err().message.contains("read-only"));
        }
    });
    assert!(done.is_some() || !nix::unistd::geteuid().is_root(), "root may have a network of its own");
}

#[test]
fn a_predicted_sysctl_shows_to_those_after_it() {
    let mut over = Overlay::new(&RealHost);
    let path = Path::new("/proc/sys/net/ipv4/tcp_rmem");
    if !nix::unistd::geteuid().is_root() || !matches!(over.stat(path, true), Ok(Some(s)) if s.mode & 0o200 != 0) {
        return;
    }
    Change::SetSysctl(SetSysctl { key: "net.ipv4.tcp_rmem".into(), value: "1 2 3".into() }).predict(&mut over).unwrap();
    assert_eq!(over.read_text(path).unwrap(), "1\t2\t3\n");
    assert_eq!(over.stat(path, true).unwrap().unwrap().size, 0, "the kernel gives such files no size");
    over.mark_unknown(path, "a command ran");
    assert!(matches!(over.read(path), Err(ViewError::Unknown(_))));
}

#[test]
fn a_link_that_was_planted_since_is_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, place) = (folder.path().join("secret"), folder.path().join("place"));
    std::fs::write(&secret, "kept").unwrap();
    std::os::unix::fs::symlink(&secret, &place).unwrap();
    let write = |follow| WriteFile {
        path: place.clone(),
        content: b"new".into(),
        mode: None,
        uid: None,
        gid: None,
        backup: true,
        validate: None,
        secret: false,
        follow,
    };
    let predicted = write(false).predict(&mut Overlay::new(&RealHost)).unwrap_err();
    assert!(predicted.message.contains("is a symbolic link"), "{predicted}");
    assert_eq!(write(false).perform().unwrap_err(), predicted);
    assert!(write(false).verify(&RealHost).is_err(), "what is behind a link is not what was asked for");
    assert_eq!(std::fs::read(&secret).unwrap(), b"kept");
    // Journals of before say nothing of links, and meant to follow them.
    let mut old = serde_json::to_value(write(true)).unwrap();
    old.as_object_mut().unwrap().remove("follow");
    assert_eq!(serde_json::from_value::<WriteFile>(old).unwrap(), write(true));
    write(true).perform().unwrap();
    assert_eq!(std::fs::read(&secret).unwrap(), b"new");
    // Attributes are set on what was looked at, links too.
    let attributes =
        SetAttributes { path: place.clone(), mode: None, uid: Some(nix::unistd::geteuid().as_raw()), gid: None, follow: false };
    attributes.perform().unwrap();
    assert_eq!(RealHost.stat(&place, false).unwrap().unwrap().kind, FileKind::Symlink);
}

#[test]
fn times_beyond_the_year_2262_are_set() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    // 9999, and before 1970.
    for mtime in [253_370_764_800.0, -1.5] {
        let change = Touch { path: folder.path().join("f"), atime: Some(mtime), mtime: Some(mtime) };
        change.perform().unwrap();
        change.verify(&RealHost).unwrap();
    }
}

#[test]
fn what_is_unmounted_comes_back_by_its_uuid() {
    use crate::host::{Blank, Mount, Probe, Signature};
    let mut host = Overlay::new(&Blank);
    let of = |kind: &str, uuid: Option<&str>| Signature {
        kind: kind.into(),
        partition_table: false,
        uuid: uuid.map(str::to_owned),
        label: None,
    };
    for (disk, held) in [("/dev/sdb", vec![of("xfs", Some("aa-bb"))]), ("/dev/sdc", vec![])] {
        host.set_probe(disk, Probe { signatures: held });
        let target = PathBuf::from(disk.replace("dev", "ais"));
        host.add_mount(Mount {
            target: target.clone(),
            source: disk.into(),
            device: (8, 16),
            root: "/".into(),
            fstype: "xfs".into(),
            options: vec![],
        });
        let undo = Unmount { target }.undo(&host).unwrap();
        let Change::Mount(back) = &undo[0] else { panic!("{undo:?}") };
        let expected = match disk {
            "/dev/sdb" => ("UUID=aa-bb", None),
            _ => (disk, Some(PathBuf::from(disk))),
        };
        assert_eq!((back.source.as_str(), back.device.clone()), expected);
    }
}
