//! Modules that put files in place or edit them.

use super::{failure, host, plan, settle, text};
use crate::host::{Change, View};
use serde_json::{Value as Json, json};
use std::path::Path;

/// What becomes of the file `/f` that holds `before`.
fn edited(module: &str, before: &str, mut args: Json) -> String {
    let mut host = host(&[("/f", before)]);
    args["path"] = json!("/f");
    let said = settle(&mut host, module, args).0;
    let after = text(&host, "/f");
    assert_eq!(said.is_empty(), before == after, "{said:?}");
    after
}

#[test]
fn lines_are_put_in() {
    for (before, args, after) in [
        ("a\nb\n", json!({"line": "c"}), "a\nb\nc\n"),
        ("a\nb", json!({"line": "c"}), "a\nb\nc\n"),
        ("a\nb", json!({"line": "b"}), "a\nb\n"),
        ("a\nb\n", json!({"line": "a"}), "a\nb\n"),
        ("", json!({"line": "c"}), "c\n"),
        ("x=1\ny\nx=2\n", json!({"line": "x=3", "regexp": "^x="}), "x=1\ny\nx=3\n"),
        ("x=1\ny\nx=2\n", json!({"line": "x=3", "regexp": "^x=", "firstmatch": true}), "x=3\ny\nx=2\n"),
        ("x=1 # y\n", json!({"line": "x=3", "search_string": "# y"}), "x=3\n"),
        ("a\nb\na\nc\n", json!({"line": "n", "insertafter": "^a$"}), "a\nb\na\nn\nc\n"),
        ("a\nb\na\nc\n", json!({"line": "n", "insertafter": "^a$", "firstmatch": true}), "a\nn\nb\na\nc\n"),
        ("a\nb\n", json!({"line": "n", "insertbefore": "^b"}), "a\nn\nb\n"),
        ("a\nb\n", json!({"line": "n", "insertbefore": "BOF"}), "n\na\nb\n"),
        ("a\nb", json!({"line": "n", "insertafter": "b"}), "a\nb\nn\n"),
        ("a\n", json!({"line": "n", "insertafter": "nowhere"}), "a\nn\n"),
        (
            "GRUB=\"quiet\"\n",
            json!({"regexp": "^(GRUB=\".*?)( noxsave)?\"$", "line": "\\1 noxsave\"", "backrefs": true}),
            "GRUB=\"quiet noxsave\"\n",
        ),
        ("a\n", json!({"regexp": "^x(.)", "line": "\\1", "backrefs": true}), "a\n"),
        ("a\nxb\nxc\n", json!({"regexp": "^x", "state": "absent"}), "a\n"),
        ("a\nb\n", json!({"line": "a", "state": "absent"}), "b\n"),
        ("a 1\nb\n", json!({"search_string": "1", "state": "absent"}), "b\n"),
    ] {
        assert_eq!(edited("lineinfile", before, args.clone()), after, "{before:?} {args}");
    }
}

#[test]
fn lines_come_with_attributes_and_files_are_created() {
    let mut host = host(&[("/f", "a\n")]);
    let (said, result) = settle(&mut host, "lineinfile", json!({"path": "/f", "line": "a", "mode": "0600", "owner": "ais"}));
    assert_eq!(said, ["set attributes of /f: mode 0644 → 0600, owner root → ais"]);
    assert_eq!(result["mode"], "0600");
    let (said, _) = settle(&mut host, "lineinfile", json!({"dest": "/n/f", "line": "a", "create": true, "mode": "0600"}));
    assert_eq!(said, ["make directory /n", "create /n/f (2 bytes, mode 0600)"]);
    assert!(failure(&host, "lineinfile", json!({"path": "/none", "line": "a"})).contains("create: true"));
    assert!(failure(&host, "lineinfile", json!({"path": "/f", "line": "a", "regexp": "("})).contains("regular expression"));
    assert!(failure(&host, "lineinfile", json!({"path": "/f", "line": "a", "encoding": "latin-1"})).contains("encoding"));
    let p = plan(&host, "lineinfile", json!({"path": "/none", "regexp": "a", "state": "absent"})).unwrap();
    assert_eq!((p.changes.len(), &p.result["found"]), (0, &json!(0)));
    let p = plan(&host, "lineinfile", json!({"path": "/o", "regexp": "(a)", "line": "\\1", "backrefs": true, "create": true})).unwrap();
    assert!(p.changes.is_empty());
}

#[test]
fn limits_are_replaced_in_place() {
    let limit = |more: Json| {
        let mut args = json!({"domain": "*", "limit_type": "soft", "limit_item": "nofile", "value": "1024", "dest": "/f"});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        args
    };
    for (before, more, after) in [
        ("# c\n", json!({}), "# c\n*\tsoft\tnofile\t1024\n"),
        ("* soft nofile 10 # x\n* hard nofile 10\n", json!({}), "*\tsoft\tnofile\t1024\n* hard nofile 10\n"),
        ("* soft nofile 1024\n", json!({"comment": "y"}), "* soft nofile 1024\n"),
        ("#* soft nofile 1\n", json!({"comment": "y"}), "#* soft nofile 1\n*\tsoft\tnofile\t1024\t#y\n"),
        ("* soft nofile 4096\n", json!({"use_max": true}), "* soft nofile 4096\n"),
        ("* soft nofile 4096\n", json!({"use_min": true}), "*\tsoft\tnofile\t1024\n"),
        ("* soft nofile -1\n", json!({"value": "unlimited"}), "* soft nofile -1\n"),
        ("* soft nofile infinity\n", json!({"use_max": true}), "* soft nofile infinity\n"),
    ] {
        let mut host = host(&[("/f", before)]);
        settle(&mut host, "pam_limits", limit(more));
        assert_eq!(text(&host, "/f"), after);
    }
    let mut host = host(&[("/etc/security/x", "")]);
    let (said, _) = settle(&mut host, "community.general.pam_limits", limit(json!({"dest": "/etc/security/limits.conf"})));
    assert_eq!(said, ["create /etc/security/limits.conf (19 bytes, mode 0644)"]);
    assert!(failure(&host, "pam_limits", limit(json!({"value": "many"}))).contains("many"));
    assert!(failure(&host, "pam_limits", limit(json!({"value": "-5"}))).contains("-5"));
}

#[test]
fn files_are_copied() {
    let mut host = host(&[("/etc/old", "old\n")]);
    let (said, result) = settle(&mut host, "copy", json!({"src": "a.conf", "dest": "/etc/", "mode": "u=rw,go=r"}));
    assert_eq!(said, ["create /etc/a.conf (4 bytes, mode 0644)"]);
    // From sha1sum(1).
    assert_eq!(result["checksum"], "c7059bb19433cc3cabaa6236c83d56668a843dd2");
    assert_eq!((&result["dest"], &result["src"], &result["state"]), (&json!("/etc/a.conf"), &json!("/play/a.conf"), &json!("file")));
    let (said, _) = settle(&mut host, "copy", json!({"src": "run.sh", "dest": "/opt/bin/", "mode": "preserve", "directory_mode": "0700"}));
    assert_eq!(
        said,
        ["make directory /opt (mode 0700)", "make directory /opt/bin (mode 0700)", "create /opt/bin/run.sh (10 bytes, mode 0755)"]
    );
    let (said, _) = settle(&mut host, "copy", json!({"content": {"a": [1, true]}, "dest": "/etc/old", "backup": true}));
    assert_eq!((said.len(), text(&host, "/etc/old").as_str()), (1, "{\"a\": [1, true]}"));
    let (said, _) = settle(&mut host, "copy", json!({"content": "other", "dest": "/etc/old", "force": false}));
    assert!(said.is_empty());
    assert!(failure(&host, "copy", json!({"content": "x", "dest": "/no/where"})).contains("/no does not exist"));
    assert!(failure(&host, "copy", json!({"content": "x", "dest": "/etc"})).contains("is a folder"));
    assert!(failure(&host, "copy", json!({"content": "x", "dest": "/x", "mode": "preserve"})).contains("preserve"));
    assert!(failure(&host, "copy", json!({"src": "a.conf", "dest": "/x", "checksum": "0"})).contains("SHA-1"));
    assert!(failure(&host, "copy", json!({"src": "none", "dest": "/x"})).contains("no file none"));
}

#[test]
fn folders_are_copied() {
    let mut whole = host(&[]);
    settle(&mut whole, "copy", json!({"src": "tree", "dest": "/srv", "mode": "0600"}));
    assert_eq!((text(&whole, "/srv/tree/top").as_str(), text(&whole, "/srv/tree/sub/leaf").as_str()), ("top\n", "leaf\n"));
    let mut inside = host(&[]);
    settle(&mut inside, "copy", json!({"src": "tree/", "dest": "/srv"}));
    assert_eq!(text(&inside, "/srv/sub/leaf"), "leaf\n");
    let (said, _) = settle(&mut inside, "copy", json!({"src": "/srv", "dest": "/copy/", "remote_src": true}));
    assert_eq!((said.len(), text(&inside, "/copy/srv/sub/leaf").as_str()), (5, "leaf\n"));
    assert!(failure(&inside, "copy", json!({"src": "/srv", "dest": "/srv/sub", "remote_src": true})).contains("into itself"));
}

#[test]
fn links_are_replaced_or_followed() {
    for (follow, target) in [(false, "old\n"), (true, "new")] {
        let mut host = host(&[("/etc/old", "old\n")]);
        host.set_link("/l", "/etc/old");
        settle(&mut host, "copy", json!({"content": "new", "dest": "/l", "follow": follow}));
        assert_eq!((text(&host, "/l").as_str(), text(&host, "/etc/old").as_str()), ("new", target));
    }
}

#[test]
fn templates_are_rendered() {
    let mut host = host(&[("/etc/x", "")]);
    let (_, result) =
        settle(&mut host, "template", json!({"src": "page.j2", "dest": "/etc/page", "newline_sequence": "\\r\\n", "mode": "0640"}));
    assert_eq!((text(&host, "/etc/page").as_str(), &result["mode"]), ("x=5\r\n", &json!("0640")));
    assert!(host.stat(Path::new("/etc/page.j2"), true).unwrap().is_none());
    for (name, value) in [("variable_start_string", json!("[[")), ("output_encoding", json!("latin-1"))] {
        let mut args = json!({"src": "page.j2", "dest": "/etc/page"});
        args[name] = value;
        assert!(failure(&host, "template", args).contains(name));
    }
    let p = plan(&host, "template", json!({"src": "page.j2", "dest": "/etc/page", "validate": "check %s", "backup": true})).unwrap();
    assert!(matches!(&p.changes[..], [Change::WriteFile(w)] if w.backup && w.validate.as_deref() == Some("check %s")));
}

#[test]
fn blocks_are_kept_between_markers() {
    const OLD: &str = "a\n# BEGIN ANSIBLE MANAGED BLOCK\nx\n# END ANSIBLE MANAGED BLOCK\nb\n";
    for (before, args, after) in [
        (OLD, json!({"block": "x\n"}), OLD),
        ("a\nb", json!({"block": "x"}), "a\nb\n# BEGIN ANSIBLE MANAGED BLOCK\nx\n# END ANSIBLE MANAGED BLOCK\n"),
        ("a\nb\n", json!({"block": "x", "insertafter": "^a"}), OLD),
        ("a\nb\n", json!({"block": "x", "insertbefore": "^b"}), OLD),
        (
            "b\n",
            json!({"block": "y", "insertbefore": "BOF", "marker": "; {mark}", "marker_begin": "<", "marker_end": ">"}),
            "; <\ny\n; >\nb\n",
        ),
        (OLD, json!({"block": "y\nz"}), "a\n# BEGIN ANSIBLE MANAGED BLOCK\ny\nz\n# END ANSIBLE MANAGED BLOCK\nb\n"),
        (OLD, json!({"state": "absent"}), "a\nb\n"),
        (OLD, json!({"block": ""}), "a\nb\n"),
        (
            "a\nb\n",
            json!({"block": "x", "insertafter": "^a", "prepend_newline": true, "append_newline": true}),
            "a\n\n# BEGIN ANSIBLE MANAGED BLOCK\nx\n# END ANSIBLE MANAGED BLOCK\n\nb\n",
        ),
    ] {
        assert_eq!(edited("blockinfile", before, args.clone()), after, "{before:?} {args}");
    }
    let host = host(&[("/f", "")]);
    assert!(failure(&host, "blockinfile", json!({"path": "/f", "block": "x", "marker": "same"})).contains("{mark}"));
    assert!(failure(&host, "blockinfile", json!({"path": "/g", "block": "x"})).contains("create: true"));
}

#[test]
fn matches_are_replaced() {
    for (before, args, after) in [
        ("a1\na2\nb\n", json!({"regexp": "^a(\\d)$", "replace": "c\\1"}), "c1\nc2\nb\n"),
        ("x # y\n", json!({"regexp": " *#.*$"}), "x\n"),
        (
            "p=1\n[s]\np=1\n[t]\np=1\n",
            json!({"regexp": "p=1", "replace": "q=2", "after": "\\[s\\]", "before": "\\[t\\]"}),
            "p=1\n[s]\nq=2\n[t]\np=1\n",
        ),
        ("p\n", json!({"regexp": "p", "replace": "q", "after": "nowhere"}), "p\n"),
    ] {
        assert_eq!(edited("replace", before, args.clone()), after, "{before:?} {args}");
    }
    assert!(failure(&host(&[]), "replace", json!({"path": "/g", "regexp": "x"})).contains("does not exist"));
}
