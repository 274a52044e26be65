//! Modules about the kernel, commands, variables and the run.

use super::{failure, host, plan, settle, text};
use crate::host::Change;
use crate::modules::Effect;
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
        assert!(p.changes.is_empty() && p.skipped.is_some() && p.result["rc"] == 0);
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
