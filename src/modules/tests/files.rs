//! Modules about files.

use super::{failure, host, plan, settle, text};
use crate::host::change::Touch;
use crate::host::{Change, View};
use serde_json::json;
use std::path::Path;

#[test]
fn file_makes_directories_with_parents() {
    let mut host = host(&[]);
    let (said, result) = settle(&mut host, "file", json!({"path": "/srv/a/b/", "state": "directory", "mode": "0750", "owner": "ais"}));
    assert_eq!(said, ["make directory /srv (mode 0750)", "make directory /srv/a (mode 0750)", "make directory /srv/a/b (mode 0750)"]);
    assert_eq!((&result["path"], &result["state"], &result["mode"]), (&json!("/srv/a/b"), &json!("directory"), &json!("0750")));
    assert_eq!((&result["owner"], &result["uid"], &result["group"]), (&json!("ais"), &json!(1000), &json!("root")));
    let (said, _) = settle(&mut host, "file", json!({"path": "$PLACE/a", "mode": "g+w"}));
    assert_eq!(said, ["set attributes of /srv/a: mode 0750 → 0770"]);
    assert!(failure(&host, "file", json!({"path": "/etc/passwd", "state": "directory"})).contains("is a file"));
    assert!(failure(&host, "file", json!({"path": "srv", "state": "directory"})).contains("absolute"));
}

#[test]
fn file_sets_attributes_below() {
    let mut host = host(&[("/d/x", ""), ("/d/e/y", "")]);
    let (said, _) = settle(&mut host, "file", json!({"path": "/d", "recurse": true, "mode": "u=rwX,g=rX,o=", "group": "ais"}));
    assert_eq!(
        said,
        [
            "set attributes of /d: mode 0755 → 0750, group root → ais",
            "set attributes of /d/e: mode 0755 → 0750, group root → ais",
            "set attributes of /d/e/y: mode 0644 → 0640, group root → ais",
            "set attributes of /d/x: mode 0644 → 0640, group root → ais",
        ]
    );
}

#[test]
fn file_makes_links() {
    let mut host = host(&[("/a", "x"), ("/b", "y"), ("/f", "")]);
    let (said, result) = settle(&mut host, "file", json!({"path": "/l", "src": "/a", "state": "link"}));
    assert_eq!((said, &result["state"]), (vec!["make link /l → /a".to_owned()], &json!("link")));
    settle(&mut host, "file", json!({"path": "/l", "src": "b", "state": "link"}));
    assert_eq!(host.read_link(Path::new("/l")).unwrap(), Path::new("b"));
    assert!(failure(&host, "file", json!({"path": "/m", "src": "/none", "state": "link"})).contains("force"));
    assert!(failure(&host, "file", json!({"path": "/f", "src": "/a", "state": "link"})).contains("is a file"));
    settle(&mut host, "file", json!({"path": "/f", "src": "/none", "state": "link", "force": true}));
    let linked = plan(&host, "file", json!({"path": "/h", "src": "/a", "state": "hard"})).unwrap();
    assert!(matches!(&linked.changes[..], [Change::MakeLink(l)] if l.hard));
}

#[test]
fn file_touches_and_removes() {
    let mut host = host(&[("/d/x", "")]);
    let preserve = json!({"path": "/t", "state": "touch", "access_time": "preserve", "modification_time": "preserve", "mode": "0600"});
    let (said, _) = settle(&mut host, "file", preserve);
    assert_eq!(said, ["create /t (empty)", "set attributes of /t: mode 0644 → 0600"]);
    let (said, _) = settle(
        &mut host,
        "file",
        json!({"path": "/t", "state": "touch", "access_time": "preserve", "modification_time": "202001020304.05"}),
    );
    assert_eq!(said.len(), 1);
    let again = plan(&host, "file", json!({"path": "/t", "state": "touch"})).unwrap();
    assert!(matches!(&again.changes[..], [Change::Touch(Touch { atime: None, mtime: None, .. })]));
    let (said, result) = settle(&mut host, "file", json!({"path": "/d", "state": "absent"}));
    assert_eq!((said, &result["state"]), (vec!["remove directory /d and all below it".to_owned()], &json!("absent")));
    assert!(failure(&host, "file", json!({"path": "/d"})).contains("touch"));
    assert!(failure(&host, "file", json!({"path": "/", "state": "absent"})).contains("root directory"));
}

#[test]
fn what_can_not_be_honoured_is_refused_by_name() {
    let host = host(&[]);
    for (name, value) in [("setype", json!("etc_t")), ("attributes", json!("+i")), ("unsafe_writes", json!(true))] {
        let mut args = json!({"path": "/x", "state": "touch"});
        args[name] = value;
        assert!(failure(&host, "file", args).contains(name));
    }
    assert!(failure(&host, "file", json!({"path": "/x", "state": "touch", "owner": "nobody-here"})).contains("no user `nobody-here`"));
}

#[test]
fn stat_tells() {
    let mut host = host(&[("/a", "one\n")]);
    host.set_link("/l", "a");
    let stat = |args| plan(&host, "stat", args).unwrap().result["stat"].clone();
    let a = stat(json!({"path": "/a"}));
    assert_eq!(a["checksum"], SHA1_OF_ONE);
    assert_eq!(
        (&a["isreg"], &a["mode"], &a["pw_name"], &a["wusr"], &a["xoth"]),
        (&json!(true), &json!("0644"), &json!("root"), &json!(true), &json!(false))
    );
    let l = stat(json!({"path": "/l"}));
    assert_eq!((&l["islnk"], &l["lnk_target"], &l["lnk_source"]), (&json!(true), &json!("a"), &json!("/a")));
    assert_eq!(stat(json!({"path": "/l", "follow": true}))["isreg"], true);
    assert_eq!(stat(json!({"path": "/none"})), json!({"exists": false}));
    assert_eq!(text(&host, "/l"), "one\n");
}

/// From sha1sum(1).
const SHA1_OF_ONE: &str = "c7059bb19433cc3cabaa6236c83d56668a843dd2";

#[test]
fn slurp_and_find_read() {
    let mut host = host(&[("/d/a.log", "one\n"), ("/d/.b.log", "two\n"), ("/d/e/c.log", "three\n"), ("/d/e/x.txt", "")]);
    host.set_link("/d/l", "e");
    assert_eq!(plan(&host, "slurp", json!({"src": "/d/a.log"})).unwrap().result["content"], "b25lCg==");
    assert!(failure(&host, "slurp", json!({"src": "/d"})).contains("directory"));
    let find = |args| {
        let result = plan(&host, "find", args).unwrap().result;
        result["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(find(json!({"paths": "/d"})), ["/d/a.log"]);
    assert_eq!(find(json!({"paths": "/d", "recurse": true, "patterns": "*.log", "hidden": true})), ["/d/.b.log", "/d/a.log", "/d/e/c.log"]);
    assert_eq!(find(json!({"paths": "/d", "recurse": true, "use_regex": true, "patterns": ["^c"]})), ["/d/e/c.log"]);
    assert_eq!(find(json!({"paths": "/d", "file_type": "directory"})), ["/d/e"]);
    assert_eq!(find(json!({"paths": "/d", "recurse": true, "excludes": "*.log"})), ["/d/e/x.txt"]);
    assert_eq!(find(json!({"paths": "/d", "recurse": true, "contains": "th"})), ["/d/e/c.log"]);
    assert_eq!(find(json!({"paths": "/d", "recurse": true, "size": "5b"})), ["/d/e/c.log"]);
    assert_eq!(find(json!({"paths": "/d", "recurse": true, "age": "1d"})), Vec::<String>::new());
    assert_eq!(find(json!({"paths": "/d", "recurse": true, "depth": 1, "mode": "0644"})), ["/d/a.log"]);
    assert!(failure(&host, "find", json!({"paths": "/d", "age": "soon"})).contains("soon"));
}
