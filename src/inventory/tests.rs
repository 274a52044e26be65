use super::*;
use serde_json::json;
use std::fs;
use tempfile::TempDir;

/// A folder with these files, and an inventory read from `source` in it.
fn inventory(files: &[(&str, &str)], source: &str) -> (TempDir, Inventory) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let found = Inventory::load(&[dir.path().join(source).display().to_string()], None).unwrap_or_else(|e| panic!("{e}"));
    (dir, found)
}

fn ini(text: &str) -> Inventory {
    inventory(&[("hosts.ini", text)], "hosts.ini").1
}

fn value(inventory: &Inventory, host: &str, name: &str) -> serde_json::Value {
    inventory.vars(host).get(name).map_or(json!("-"), Node::to_json)
}

const RACK: &str = "\
lonely ansible_host=10.0.0.9
[web]
web[1:3] port=80  # three of them
[db]
db1:2222 role='main db' mode=0644
[site:children]
web
db
[site:vars]
where=here
list=['a', 2]
[web:vars]
where=front
";

#[test]
fn ini_hosts_groups_and_variables() {
    let found = ini(RACK);
    assert_eq!(found.hosts(), ["lonely", "web1", "web2", "web3", "db1"]);
    assert_eq!(found.groups()["site"], ["web1", "web2", "web3", "db1"]);
    assert_eq!(found.group_names("web2"), ["site", "web"]);
    assert_eq!(value(&found, "web1", "port"), json!(80));
    assert_eq!(value(&found, "web1", "where"), json!("front"));
    assert_eq!(value(&found, "db1", "where"), json!("here"));
    assert_eq!(value(&found, "db1", "list"), json!(["a", 2]));
    assert_eq!(value(&found, "db1", "role"), json!("main db"));
    assert_eq!(value(&found, "db1", "mode"), json!("0644"));
    assert_eq!(value(&found, "db1", "ansible_port"), json!(2222));
    let place = &found.vars("db1").get("role").unwrap().loc.clone();
    assert!(place.to_string().ends_with("hosts.ini:5:10"), "{place}");
    assert_eq!(place.len, 14);
}

#[test]
fn yaml_says_the_same_as_ini() {
    let text = "\
all:
  hosts:
    lonely: {ansible_host: 10.0.0.9}
  children:
    site:
      vars: {where: here}
      children:
        web:
          vars: {where: front}
          hosts:
            web[1:3]: {port: 80}
        db:
          hosts: db1
";
    let (_dir, found) = inventory(&[("hosts.yml", text)], "hosts.yml");
    assert_eq!(found.groups()["site"], ["web1", "web2", "web3", "db1"]);
    assert_eq!(value(&found, "web3", "where"), json!("front"));
    assert_eq!(value(&found, "db1", "where"), json!("here"));
    assert_eq!(found.groups()["ungrouped"], ["lonely"]);
}

#[test]
fn patterns() {
    let found = ini(RACK);
    for (pattern, wanted) in [
        ("all", "lonely web1 web2 web3 db1"),
        ("*", "lonely web1 web2 web3 db1"),
        ("web", "web1 web2 web3"),
        ("db,web1", "db1 web1"),
        ("web:db", "web1 web2 web3 db1"),
        ("site:!web2", "web1 web3 db1"),
        ("all:&web:!web1", "web2 web3"),
        ("!site", "lonely"),
        ("web[0]", "web1"),
        ("web[-1]", "web3"),
        ("web[0:1]", "web1 web2"),
        ("web[1:]", "web2 web3"),
        ("~(web|db)1", "web1 db1"),
        (r"~web\d$", "web1 web2 web3"),
        (r"~\w+2", "web2"),
        ("*1", "web1 db1"),
        ("nothing*", ""),
        ("localhost", "localhost"),
    ] {
        assert_eq!(found.select(pattern).unwrap().join(" "), wanted, "{pattern}");
    }
    assert_eq!(found.select("wbe").unwrap_err().to_string(), "no host and no group is named `wbe` (did you mean `web`?)");
    assert!(found.select("all:!wbe").is_err());
    assert!(found.select("web[3]").unwrap_err().to_string().contains("`web` has 3 hosts"));
    assert!(found.select("web[2:1]").is_err());
    assert!(found.select("~(").unwrap_err().to_string().contains("not a regular expression"));
}

#[test]
fn limits_read_files() {
    let (dir, found) = inventory(&[("hosts.ini", RACK), ("retry", "web2\n\ndb1\n"), ("bad", "web2\nbd1\n")], "hosts.ini");
    assert_eq!(found.limit(found.hosts(), &format!("@{}", dir.path().join("retry").display())).unwrap(), ["web2", "db1"]);
    assert_eq!(found.limit(vec!["web1".into(), "db1".into()], "web").unwrap(), ["web1"]);
    let told = found.limit(found.hosts(), &format!("@{}", dir.path().join("bad").display())).unwrap_err().to_string();
    assert!(told.contains("bad:2:1: no host and no group is named `bd1` (did you mean `db1`?)"), "{told}");
    assert!(found.limit(found.hosts(), "wbe").unwrap_err().to_string().starts_with("--limit: "));
}

#[test]
fn precedence_is_ansibles() {
    let levels: &[(&str, &str)] = &[
        (
            "inv/hosts.ini",
            "[parent:children]\nchild\n[child]\nh v8=8 v9=8 v10=8\n[all:vars]\nv3=3\nv4=3\nv5=3\nv6=3\nv7=3\nv8=3\nv9=3\nv10=3\n[child:vars]\nv4=3c\nv5=3c\n",
        ),
        ("inv/group_vars/all.yml", "v4: 4\nv5: 4\nv6: 4\n"),
        ("play/group_vars/all/a.yml", "v5: 5\nv6: 5\n"),
        ("inv/group_vars/parent.yml", "v6: 6p\nv7: 6p\n"),
        ("inv/group_vars/child", "v6: 6\nv7: 6\nv8: 6\n"),
        ("play/group_vars/parent.yaml", "v7: 7\nv8: 7\n"),
        ("inv/host_vars/h.json", "{\"v9\": 9, \"v10\": 9}"),
        ("play/host_vars/h.yml", "v10: 10\n"),
    ];
    let (dir, _) = inventory(levels, "inv/hosts.ini");
    let source = dir.path().join("inv/hosts.ini").display().to_string();
    let found = Inventory::load(&[source], Some(&dir.path().join("play"))).unwrap();
    for level in [3, 4, 5, 6, 7, 8, 9, 10] {
        assert_eq!(value(&found, "h", &format!("v{level}")), json!(level), "v{level}");
    }
}

#[test]
fn group_priority_beats_the_name_but_not_the_depth() {
    let found = ini("[a]\nh\n[b]\nh\n[a:vars]\nv=a\nansible_group_priority=10\n[b:vars]\nv=b\n");
    assert_eq!(value(&found, "h", "v"), json!("a"));
    let found = ini("[a]\nh\n[b]\nh\n[a:vars]\nv=a\n[b:vars]\nv=b\n");
    assert_eq!(value(&found, "h", "v"), json!("b"));
    let found = ini("[a:children]\nb\n[b]\nh\n[a:vars]\nv=a\nansible_group_priority=10\n[b:vars]\nv=b\n");
    assert_eq!(value(&found, "h", "v"), json!("b"));
}

#[test]
fn folders_of_variables_are_merged_by_name() {
    let files = [
        ("hosts.ini", "[g]\nh\n"),
        ("group_vars/g/10.yml", "v: 10\nw: 10\n"),
        ("group_vars/g/20.yml", "v: 20\n"),
        ("group_vars/g/30.yml~", "v: 30\n"),
        ("group_vars/g/.40.yml", "v: 40\n"),
        ("group_vars/g/50.ini", "v: 50\n"),
        ("group_vars/g/sub/x", "x: 1\n"),
        ("group_vars/g.yml", "v: 60\n"),
        ("group_vars/gg.yml", "v: 70\n"),
    ];
    let (_dir, found) = inventory(&files, "hosts.ini");
    assert_eq!((value(&found, "h", "v"), value(&found, "h", "w"), value(&found, "h", "x")), (json!(20), json!(10), json!(1)));
    assert_eq!(found.warnings().len(), 1, "{:?}", found.warnings());
    assert!(found.warnings()[0].to_string().contains("group_vars/g.yml: this is not read"));
}

#[test]
fn kubesprays_cluster_group_is_there_before_its_variables() {
    let files = [
        (
            "inventory.ini",
            "[kube_control_plane]\nn1 ansible_host=10.0.0.1 ip=10.0.0.1 etcd_member_name=etcd1\n[etcd:children]\nkube_control_plane\n[kube_node]\nn2\n",
        ),
        ("group_vars/all/all.yml", "kind: all\n"),
        ("group_vars/k8s_cluster/k8s-cluster.yml", "kube_version: v1.31.4\nkind: cluster\n"),
    ];
    let (_dir, found) = inventory(&files, "inventory.ini");
    assert_eq!(found.groups()["k8s_cluster"], ["n2", "n1"]);
    assert_eq!(value(&found, "n1", "kube_version"), json!("v1.31.4"));
    assert_eq!(value(&found, "n2", "kind"), json!("cluster"));
    let old = ini("[kube-master]\na\n[kube-node]\nb\n[k8s-cluster:children]\nkube-master\nkube-node\n");
    assert_eq!(old.groups()["kube_control_plane"], ["a"]);
    assert_eq!(old.groups()["k8s_cluster"], ["a", "b"]);
    assert!(!ini("[web]\na\n").groups().contains_key("k8s_cluster"));
    // Its hosts are all of the groups', whatever is written.
    let part = ini("[kube_control_plane]\na\n[kube_node]\nb\n[k8s_cluster:children]\nkube_node\n");
    assert_eq!(part.groups()["k8s_cluster"], ["b", "a"]);
}

#[test]
fn several_sources_lists_and_the_local_host() {
    let (dir, _) =
        inventory(&[("a.ini", "[g]\nh v=1\n"), ("b.yml", "g: {hosts: {h: {v: 2}, i: }}"), ("group_vars/all.yml", "w: 3\n")], "a.ini");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let found = Inventory::load(&[at("a.ini"), at("b.yml"), "x,y:2200,".into()], None).unwrap();
    assert_eq!(found.hosts(), ["x", "y", "h", "i"]);
    assert_eq!(value(&found, "h", "v"), json!(2));
    assert_eq!(value(&found, "y", "ansible_port"), json!(2200));
    assert_eq!(value(&found, "localhost", "ansible_connection"), json!("local"));
    assert_eq!(value(&found, "localhost", "w"), json!(3));
    assert_eq!(value(&ini("localhost ansible_connection=ssh\n"), "localhost", "ansible_connection"), json!("ssh"));
}

#[test]
fn a_folder_is_read_in_order_of_names() {
    let files = [
        ("inv/10.yml", "g: {hosts: {h: {v: 1}}}"),
        ("inv/20", "[g]\nh v=2\n"),
        ("inv/30.cfg", "broken ["),
        ("inv/40.ini", "[g]\nj\n"),
        ("inv/group_vars/g.yml", "w: 1"),
    ];
    let (dir, found) = inventory(&files, "inv");
    assert_eq!((found.hosts(), value(&found, "h", "v"), value(&found, "h", "w")), (vec!["h".to_owned()], json!(2), json!(1)));
    assert!(found.warnings()[0].to_string().contains("40.ini"));
    assert_eq!(found.dir(), Some(dir.path().join("inv").display().to_string().as_str()));
    let (_dir, only) = inventory(&[("inv/hosts.ini", "h\n")], "inv");
    assert_eq!(only.hosts(), ["h"]);
}

#[test]
fn programs_print_inventories() {
    use std::os::unix::fs::PermissionsExt;
    let script = "#!/bin/sh\nif [ \"$1\" = --list ]; then echo '{\"g\": {\"hosts\": [\"a\", \"b\"], \"vars\": {\"v\": 1}}, \"p\": {\"children\": [\"g\"]}, \"_meta\": {\"hostvars\": {\"a\": {\"w\": 2}}}}'; fi\n";
    let plain = "#!/bin/sh\nif [ \"$1\" = --list ]; then echo '{\"g\": [\"a\"]}'; else echo \"{\\\"me\\\": \\\"$2\\\"}\"; fi\n";
    let (dir, _) = inventory(&[("s", script), ("t", plain), ("f", "#!/bin/sh\necho no luck >&2\nexit 3\n"), ("h.ini", "h\n")], "h.ini");
    for name in ["s", "t", "f"] {
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let load = |name: &str| Inventory::load(&[dir.path().join(name).display().to_string()], None);
    let found = load("s").unwrap();
    assert_eq!((found.groups()["p"].join(" "), value(&found, "a", "w"), value(&found, "b", "v")), ("a b".into(), json!(2), json!(1)));
    assert_eq!(value(&load("t").unwrap(), "a", "me"), json!("a"));
    let told = load("f").unwrap_err().to_string();
    assert!(told.contains("exit status: 3") && told.contains("it said: no luck"), "{told}");
}

#[test]
fn shown_as_ansible_inventory_shows() {
    let found = ini("[g]\na v=1\nb\n[p:children]\ng\n");
    assert_eq!(
        list_json(&found, None),
        json!({
            "_meta": {"hostvars": {"a": {"v": 1}}},
            "all": {"children": ["ungrouped", "p"]},
            "g": {"hosts": ["a", "b"]},
            "p": {"children": ["g"]},
        })
    );
    assert_eq!(graph_text(&found, false), "@all:\n  |--@ungrouped:\n  |--@p:\n  |  |--@g:\n  |  |  |--a\n  |  |  |--b\n");
    assert_eq!(host_json(&found, "a").unwrap(), json!({"v": 1}));
    assert!(host_json(&found, "c").is_err());
}

#[test]
fn what_kubespray_leaves_beside_an_inventory_is_none() {
    let (dir, found) = inventory(
        &[
            ("hosts.yaml", "kube_node: {hosts: {n1: }}\n"),
            ("credentials/kubeadm_certificate_key", "secret\n"),
            ("patches/etcd.yaml", "- a\n"),
            ("artifacts/kubectl.sh", "#!/bin/sh\ntouch $(dirname $0)/ran\n"),
        ],
        "",
    );
    use std::os::unix::fs::PermissionsExt;
    let program = dir.path().join("artifacts/kubectl.sh");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let again = Inventory::load(&[dir.path().display().to_string()], None).unwrap();
    assert_eq!((found.hosts(), again.hosts()), (vec!["n1".to_owned()], vec!["n1".to_owned()]));
    assert!(!dir.path().join("artifacts/ran").exists());
}

#[test]
fn what_a_play_leaves_out_is_not_let_pass_misspelt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts.ini");
    std::fs::write(&path, "[storage]\nnode1\nnode2\n").unwrap();
    let inventory = Inventory::load(&[path.display().to_string()], None).unwrap();
    let mut missed = vec![];
    assert_eq!(inventory.select_known("all:!gateways:&storage", &mut missed).unwrap(), ["node1", "node2"]);
    assert_eq!(missed.len(), 1);
    let error = inventory.select_known("all:!ndoe2", &mut missed).unwrap_err();
    assert_eq!(error.label.as_deref(), Some("did you mean `node2`?"));
    assert_eq!(inventory.select_known("ndoe2", &mut missed).unwrap(), Vec::<String>::new());
}
