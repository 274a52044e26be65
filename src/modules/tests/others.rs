//! Modules about the kernel, commands, variables and the run.

use super::{failure, host, plan, settle, text};
use crate::host::act::Act;
use crate::host::{Change, Overlay, UnitState, View, apply};
use crate::modules::{Effect, PlanError};
use serde_json::json;

const BACKLOG: &str = "/proc/sys/net/core/somaxconn";

#[test]
fn sysctl_sets_now_and_for_the_next_boot() {
    let mut host = host(&[(BACKLOG, "4096\n"), ("/etc/sysctl.conf", "# ours\nnet.core.somaxconn = 128\nvm.swappiness=1\n")]);
    let (said, result) = settle(&mut host, "ansible.posix.sysctl", json!({"name": "net.core.somaxconn", "value": 65535}));
    assert_eq!(said, ["set net.core.somaxconn: 4096 → 65535", "replace /etc/sysctl.conf (48 bytes)"]);
    assert_eq!(text(&host, "/etc/sysctl.conf"), "# ours\nnet.core.somaxconn=65535\nvm.swappiness=1\n");
    assert_eq!(text(&host, BACKLOG), "65535\n");
    assert_eq!(result["value"], "65535");
    let (said, _) = settle(&mut host, "sysctl", json!({"key": "net/core/somaxconn", "state": "absent"}));
    assert_eq!(said, ["replace /etc/sysctl.conf (23 bytes)"]);
    let file = json!({"name": "net.core.somaxconn", "value": "1", "reload": false, "sysctl_file": "/etc/new.conf"});
    assert_eq!(settle(&mut host, "sysctl", file).0, ["create /etc/new.conf (21 bytes, mode 0644)"]);
}

#[test]
fn sysctl_refuses_what_the_kernel_does_not_have() {
    let mut host = host(&[]);
    let args = json!({"name": "net.core.none", "value": "1"});
    assert!(failure(&host, "sysctl", args).contains("net.core.none does not exist on this host"));
    assert!(failure(&host, "sysctl", json!({"name": "net.core.none"})).contains("`value` is needed"));
    let lenient = json!({"name": "net.core.none", "value": "1", "ignoreerrors": true});
    assert_eq!(plan(&host, "sysctl", lenient.clone()).unwrap().warnings.len(), 1);
    assert_eq!(settle(&mut host, "sysctl", lenient).0.len(), 1);
    let nowhere = json!({"name": "a.b", "value": "1", "reload": false, "sysctl_file": "/nowhere/x.conf"});
    assert!(failure(&host, "sysctl", nowhere).contains("/nowhere does not exist"));
}

#[test]
fn a_line_that_wins_at_the_next_boot_or_login_is_named() {
    let mut host = host(&[
        (BACKLOG, "4096\n"),
        ("/etc/sysctl.d/99-zzz-site.conf", "# x\nnet/core/somaxconn = 128\n"),
        ("/usr/lib/sysctl.d/99-aa.conf", "net.core.somaxconn = 1\n"),
        ("/etc/security/limits.d/99-zz.conf", "ais - nofile 7\n* - nofile 1024 # site\n* - nproc unlimited\n"),
    ]);
    let args = json!({"name": "net.core.somaxconn", "value": 65535, "sysctl_file": "/etc/sysctl.d/99-zz-ais.conf"});
    let warning = "the next boot sets net.core.somaxconn to 128: /etc/sysctl.d/99-zzz-site.conf:2 wins over /etc/sysctl.d/99-zz-ais.conf";
    assert_eq!(plan(&host, "sysctl", args.clone()).unwrap().warnings, [warning]);
    settle(&mut host, "sysctl", args.clone());
    assert_eq!(plan(&host, "sysctl", args.clone()).unwrap().warnings, [warning], "also where nothing changes");
    // Without systemd /etc/sysctl.conf is read last, with it only as the link 99-sysctl.conf.
    host.set_file("/etc/sysctl.d/99-zzz-site.conf", "", 0o644, 0, 0);
    host.set_file("/etc/sysctl.conf", "net.core.somaxconn=5\n", 0o644, 0, 0);
    assert!(plan(&host, "sysctl", args.clone()).unwrap().warnings[0].contains("to 5: /etc/sysctl.conf:1 wins"));
    host.set_directory("/run/systemd/system", 0o755, 0, 0);
    assert_eq!(plan(&host, "sysctl", args.clone()).unwrap().warnings, Vec::<String>::new());

    let limits = |item: &str, file: &str| json!({"domain": "*", "limit_type": "-", "limit_item": item, "value": "-1", "dest": file});
    let warned = |host: &Overlay<'_>, args| plan(host, "pam_limits", args).unwrap().warnings;
    let ours = "/etc/security/limits.d/99-ais.conf";
    assert_eq!(
        warned(&host, limits("nofile", ours)),
        ["soft", "hard"].map(|kind| format!(
            "logins get another {kind} limit of nofile for *, by /etc/security/limits.d/99-zz.conf:2: * - nofile 1024"
        ))
    );
    assert_eq!(warned(&host, limits("nproc", ours)), Vec::<String>::new());
    assert_eq!(warned(&host, limits("nofile", "/etc/security/limits.d/99-zzz.conf")), Vec::<String>::new());
    assert_eq!(warned(&host, limits("nofile", "/etc/not-read.conf")), Vec::<String>::new());
    host.set_file(ours, "* - core 1\n* hard core 0\n", 0o644, 0, 0);
    assert_eq!(warned(&host, limits("core", ours)), [format!("logins get another hard limit of core for *, by {ours}:2: * hard core 0")]);
}

#[test]
fn commands_are_one_opaque_change() {
    let host = host(&[("/etc/done", "")]);
    let run = |module: &str, args| match plan(&host, module, args).unwrap().changes.remove(0) {
        Change::Run(run) => run,
        other => panic!("{other:?}"),
    };
    let r = run("command", json!({"_raw_params": "ls -l '$PLACE/a b' ~/x ~ais"}));
    assert_eq!(r.argv, ["ls", "-l", "/srv/a b", "/root/x", "/home/ais"]);
    assert_eq!(run("command", json!({"argv": ["echo", "$PLACE"], "expand_argument_vars": false})).argv[1], "$PLACE");
    let r = run("shell", json!({"cmd": "echo $PLACE | cat", "executable": "/bin/bash", "chdir": "/etc", "stdin": "x"}));
    assert_eq!(r.argv, ["/bin/bash", "-c", "echo $PLACE | cat"]);
    assert_eq!((r.chdir.as_deref(), r.stdin.as_deref()), (Some("/etc".as_ref()), Some("x\n")));
    assert_eq!(r.environment, [("PLACE".to_owned(), "/srv".to_owned())]);
    for args in [
        json!({"_raw_params": "x", "creates": "/etc/do*"}),
        json!({"_raw_params": "x", "creates": "done", "chdir": "/etc"}),
        json!({"_raw_params": "x", "removes": "/etc/none"}),
    ] {
        let p = plan(&host, "command", args).unwrap();
        assert!(p.changes.is_empty() && p.skipped.is_none() && p.result["rc"] == 0);
    }
    assert!(failure(&host, "command", json!({"_raw_params": "echo 'a"})).contains("quote"));
    assert!(failure(&host, "command", json!({"_raw_params": "a", "argv": ["b"]})).contains("exclude"));
    assert!(failure(&host, "shell", json!({})).contains("no command"));
    assert!(failure(&host, "shell", json!({"cmd": "x", "creates": "y"})).contains("relative"));
}

#[test]
fn variables_and_messages() {
    let host = host(&[]);
    assert_eq!(plan(&host, "debug", json!({})).unwrap().result["msg"], "Hello world!");
    assert_eq!(plan(&host, "debug", json!({"var": "known"})).unwrap().result["known"], json!([1]));
    assert!(plan(&host, "debug", json!({"msg": "x", "verbosity": 2})).unwrap().skipped.is_some());
    let unknown = plan(&host, "debug", json!({"msg": crate::template::unknown("a command did not run")})).unwrap_err();
    assert_eq!(unknown, PlanError::Unknown("a command did not run".into()));
    assert_eq!(failure(&host, "fail", json!({"msg": "no"})), "no");
    assert_eq!(plan(&host, "assert", json!({"that": "a"})).unwrap().result["msg"], "All assertions passed");
    assert_eq!(failure(&host, "assert", json!({"that": ["a", "false"], "msg": "oops"})), "oops (false does not hold)");
    let p = plan(&host, "set_fact", json!({"a": null, "b": [1], "cacheable": "yes"})).unwrap();
    assert!(matches!(&p.effects[..], [Effect::SetFacts(facts, true)] if facts["a"].is_null() && facts["b"] == json!([1])));
    assert!(failure(&host, "set_fact", json!({"a-b": 1})).contains("a-b"));
    assert_eq!(plan(&host, "ping", json!({})).unwrap().result["ping"], "pong");
    assert!(matches!(&plan(&host, "meta", json!({"free_form": "end_play"})).unwrap().effects[..], [Effect::Meta(a)] if a == "end_play"));
    assert!(failure(&host, "meta", json!({"free_form": "end_role"})).contains("must be one of"));
    let p = plan(&host, "setup", json!({"filter": "ansible_ker*"})).unwrap();
    assert_eq!(p.result["ansible_facts"], json!({"ansible_kernel": "6.8"}));
}

#[test]
fn variables_are_included() {
    let host = host(&[]);
    let p = plan(&host, "include_vars", json!({"file": "main.yml"})).unwrap();
    assert!(matches!(&p.effects[..], [Effect::IncludeVars(v)] if v.len() == 2 && v[1].1.as_str() == Some("{{ x }}")));
    assert_eq!(p.result["ansible_included_var_files"], json!(["/play/main.yml"]));
    let p = plan(&host, "include_vars", json!({"dir": "more", "ignore_files": ["\\.txt"], "name": "all"})).unwrap();
    assert_eq!(p.result["ansible_facts"], json!({"all": {"a": 1, "b": 2, "d": 4}}));
    let p = plan(&host, "include_vars", json!({"dir": "more", "depth": 1, "files_matching": "^a"})).unwrap();
    assert_eq!(p.result["ansible_facts"], json!({"a": 1}));
    assert!(failure(&host, "include_vars", json!({"dir": "more"})).contains("more/c.txt"));
    assert!(failure(&host, "include_vars", json!({"file": "a.conf"})).contains("must hold a mapping"));
    assert!(failure(&host, "include_vars", json!({"file": "main.yml", "hash_behaviour": "merge"})).contains("hash_behaviour"));
}

fn unit(active: &str, file: &str) -> UnitState {
    let (load, sub) = (if file == "masked" { "masked" } else { "loaded" }, if active == "active" { "running" } else { "dead" });
    let properties = [("Type", "simple"), ("ActiveState", active), ("NeedDaemonReload", "no")];
    UnitState {
        load: load.into(),
        active: active.into(),
        sub: sub.into(),
        file: file.into(),
        properties: properties.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
    }
}

#[test]
fn units_are_brought_to_a_state() {
    for (before, args, wanted) in [
        (unit("inactive", "disabled"), json!({"state": "started", "enabled": true}), &["enable x", "start x"][..]),
        (unit("active", "enabled"), json!({"state": "stopped", "enabled": false}), &["disable x", "stop x"]),
        (unit("active", "enabled"), json!({"state": "started", "enabled": true, "daemon_reload": true}), &[]),
        (unit("inactive", "masked"), json!({"masked": false, "state": "started"}), &["unmask x", "start x"]),
        (unit("inactive", "disabled"), json!({"masked": true}), &["mask x"]),
        (unit("inactive", "static"), json!({"enabled": true}), &[]),
    ] {
        let mut host = host(&[]);
        host.set_unit("x", before);
        let mut args = args;
        args["name"] = json!("x");
        assert_eq!(settle(&mut host, "systemd_service", args.clone()).0, wanted, "{args}");
    }
    let mut host = host(&[]);
    host.set_unit("x", unit("active", "enabled"));
    for (state, said) in [("restarted", "restart x"), ("reloaded", "reload x")] {
        let p = plan(&host, "service", json!({"name": "x", "state": state})).unwrap();
        assert_eq!(p.changes[0].describe(), said);
        assert_eq!((&p.result["state"], &p.result["status"]["Type"]), (&json!("started"), &json!("simple")));
    }
    assert!(failure(&host, "systemd", json!({"name": "y", "state": "started"})).contains("no unit y"));
    assert!(failure(&host, "systemd", json!({"name": "x", "scope": "user"})).contains("scope"));
    assert!(failure(&host, "systemd", json!({"daemon_reexec": true})).contains("daemon_reexec"));
    assert!(failure(&host, "service", json!({"name": "x", "state": "started", "sleep": 3})).contains("sleep"));
    assert_eq!(plan(&host, "systemd", json!({"daemon-reload": true})).unwrap().changes.len(), 1);
    // A drop-in that is only predicted: systemd can't know of it.
    host.set_file("/etc/systemd/system/x.service.d/limits.conf", "[Service]\n", 0o644, 0, 0);
    assert_eq!(plan(&host, "systemd", json!({"name": "x", "daemon_reload": true})).unwrap().changes.len(), 1);
}

#[test]
fn filesystems_are_mounted_before_fstab_says_so() {
    let mut host = host(&[("/dev/sdb", ""), ("/dev/sdc", ""), ("/etc/fstab", "# disks\n")]);
    let args = |state: &str| json!({"path": "/ais/sdb", "src": "/dev/sdb", "fstype": "xfs", "opts": "noatime,nofail", "state": state});
    assert_eq!(settle(&mut host, "ansible.posix.mount", args("present")).0.len(), 1);
    assert_eq!(text(&host, "/etc/fstab"), "# disks\n/dev/sdb\t/ais/sdb\txfs\tnoatime,nofail\t0 0\n");
    let (said, _) = settle(&mut host, "mount", args("mounted"));
    assert_eq!(said, ["make directory /ais", "make directory /ais/sdb", "mount /dev/sdb on /ais/sdb"]);
    let mut other = args("mounted");
    other["opts"] = json!("noatime,nosuid");
    assert_eq!(settle(&mut host, "mount", other).0.len(), 2, "a remount and a line");
    let remount = plan(&host, "mount", json!({"path": "/ais/sdb", "state": "remounted"})).unwrap().changes;
    assert!(matches!(&remount[..], [Change::Remount(m)] if m.options == ["noatime", "nosuid"]));
    let mut wrong = args("mounted");
    wrong["opts"] = json!("noatime,allocsize=1m");
    assert!(failure(&host, "mount", wrong).contains("allocsize=1m"));
    let (said, _) = settle(&mut host, "mount", json!({"path": "/ais/sdb", "state": "absent"}));
    assert_eq!((said.len(), text(&host, "/etc/fstab").as_str()), (2, "# disks\n"));
    for (name, value) in [("src", "tmpfs"), ("opts", "bind"), ("passno", "2"), ("boot", "no"), ("fstype", "")] {
        let mut args = args("mounted");
        args[name] = json!(value);
        assert!(failure(&host, "mount", args).contains(if name == "opts" { "bind" } else { name }), "{name}");
    }
}

#[test]
fn systemd_reads_fstab_again_before_and_after_a_mount() {
    let old = "UUID=aa\t/ais/sdb\txfs\tnoatime\t0 0\n";
    let mut host = host(&[("/dev/sdb", ""), ("/etc/fstab", old), ("/other", old)]);
    host.set_directory("/run/systemd/system", 0o755, 0, 0);
    host.set_directory("/ais/sdb", 0o755, 0, 0);
    let args =
        |state: &str| json!({"path": "/ais/sdb", "src": "/dev/sdb", "fstype": "xfs", "opts": "noatime", "state": state, "backup": true});
    let reload = "make systemd read its unit files again";
    let new = plan(&host, "mount", args("mounted")).unwrap().changes;
    let kept: Vec<bool> = new.iter().filter_map(|c| if let Change::WriteFile(w) = c { Some(w.backup) } else { None }).collect();
    assert_eq!(kept, [true, false, false], "one copy, of what was there");
    let mut failed = host.clone();
    let mount = new.iter().position(|c| matches!(c, Change::Mount(_))).unwrap();
    assert_eq!(apply::predict_all(&new[..mount], &mut failed, apply::Options::default()).error(), None);
    assert_eq!(text(&failed, "/etc/fstab"), old, "should the mount fail");
    let (said, _) = settle(&mut host, "mount", args("mounted"));
    let (taken, back) = ("replace /etc/fstab (0 bytes)", "replace /etc/fstab (33 bytes)");
    let expected = [taken, reload, back, "mount /dev/sdb on /ais/sdb", "replace /etc/fstab (34 bytes)", reload].map(str::to_owned);
    assert_eq!(said, expected);
    assert_eq!(settle(&mut host, "mount", args("unmounted")).0, ["unmount /ais/sdb"]);
    assert_eq!(settle(&mut host, "mount", args("mounted")).0, [reload, "mount /dev/sdb on /ais/sdb"]);
    assert_eq!(settle(&mut host, "mount", args("absent")).0, ["unmount /ais/sdb", "replace /etc/fstab (0 bytes)", reload]);
    let mut other = args("absent");
    other["fstab"] = json!("/other");
    assert_eq!(settle(&mut host, "mount", other).0, ["replace /other (0 bytes)"], "systemd does not read that");
}

#[test]
fn a_mount_gets_back_what_was_taken_off_and_options_that_do_not_show_are_no_failure() {
    let mut host = host(&[("/dev/sdb", ""), ("/etc/fstab", "")]);
    let args = |fstype: &str, opts: &str| json!({"path": "/m", "src": "/dev/sdb", "fstype": fstype, "opts": opts, "state": "mounted"});
    settle(&mut host, "mount", args("ext4", "ro"));
    assert_eq!(settle(&mut host, "mount", args("ext4", "rw")).0, ["remount /m  options: + rw", "replace /etc/fstab (24 bytes)"]);
    host.set_mount_options("/m", vec!["rw".into(), "noexec".into(), "relatime".into()]);
    assert_eq!(settle(&mut host, "mount", args("ext4", "rw")).0, ["remount /m  options: + exec"]);
    // The kernel takes these, and shows none of them.
    assert_eq!(settle(&mut host, "mount", args("ext4", "defaults,acl,barrier=1")).0.len(), 2);
    host.set_mount_options("/m", vec!["rw".into(), "relatime".into()]);
    assert!(plan(&host, "mount", args("ext4", "defaults,acl,barrier=1")).unwrap().changes.is_empty());
    assert!(failure(&host, "mount", args("xfs", "nobarrier")).contains("XFS has no mount option `nobarrier`"));
}

#[test]
fn a_bind_mount_is_not_the_filesystem() {
    let mut host = host(&[("/dev/sdb", ""), ("/etc/fstab", "")]);
    let args = json!({"path": "/m", "src": "/dev/sdb", "fstype": "ext4", "state": "mounted"});
    let disk = host.stat("/dev/sdb".as_ref(), true).unwrap().unwrap();
    host.set_stat("/dev/sdb", crate::host::Stat { rdev: (8, 16), ..disk });
    let options = vec!["rw".into(), "relatime".into()];
    let (target, source, fstype) = ("/m".into(), "/dev/sdb".into(), "ext4".into());
    host.add_mount(crate::host::Mount { target, source, device: (8, 16), root: "/sub".into(), fstype, options });
    assert!(failure(&host, "mount", args).contains("/m holds /dev/sdb:/sub, not /dev/sdb: unmount it first"));
}

#[test]
fn the_folder_of_udev_rules_is_made() {
    let mut host = host(&[("/sys/class/net/eth1/mtu", "9000\n")]);
    let (said, _) = settle(&mut host, "link", json!({"name": "eth1", "mtu": 9000}));
    assert_eq!(said.len(), 3);
    assert_eq!(said[..2], ["make directory /etc/udev (mode 0755)", "make directory /etc/udev/rules.d (mode 0755)"]);
}
