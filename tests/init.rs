//! `fettle init` on real hosts: what it proposes, and that it leaves no trace. And `fettle render` as a program.

mod support;

use fettle::cluster::{open, to_yaml};
use fettle::lab::Trouble;
use std::path::Path;
use support::{Lab, fettle, succeeded};

fn text(output: &std::process::Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_spec_is_proposed_from_the_hosts_and_nothing_changes_there() {
    let Some(lab) = Lab::new(4, 3) else { return };
    // node02: one disk is a data filesystem already. node03: one disk holds something else. node04: no disk is free.
    lab.sh("node02", "mkfs.xfs -q /dev/sda && mkdir -p /ais/sda && mount /dev/sda /ais/sda");
    lab.sh("node03", "mkfs.ext4 -q /dev/sdc");
    lab.sh("node04", "for d in a b c; do mkswap -q /dev/sd$d 2>/dev/null || mkswap /dev/sd$d; done");
    let state = |host: &str| {
        lab.sh(host, "find /etc /ais /dev/sd* -xdev 2>/dev/null | sort | xargs ls -ld --time-style=full-iso; cat /proc/mounts; for d in a b c; do head -c 1048576 /dev/sd$d | sha256sum; done")
    };
    let hosts = ["node01", "node02", "node03", "node04"];
    let before: Vec<String> = hosts.iter().map(|h| state(h)).collect();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.yml");
    let inventory = lab.inventory().display().to_string();
    let path = file.display().to_string();
    let output = fettle(["init", "-i", &inventory, "-o", &path, "--name", "lab"]);
    let (_, refused) = text(&output);
    assert!(!output.status.success() && refused.contains("there is no terminal to ask at") && !file.exists(), "{refused}");
    let output = fettle(["init", "-i", &inventory, "-o", &path, "--name", "lab", "--yes"]);
    let shown = succeeded("fettle init", &output);
    assert!(shown.contains("3 × 320 MiB HDD") && shown.contains("1500") && shown.contains("none: sda holds swap"), "{shown}");
    assert!(shown.contains("Left alone: sdc holds ext4"), "{shown}");
    assert!(shown.contains("no host was changed"), "{shown}");

    let spec = std::fs::read_to_string(&file).unwrap();
    let cluster = open(std::slice::from_ref(&file), None, None).unwrap_or_else(|e| panic!("{e}\n{spec}")).clusters.remove(0);
    let names = |nodes: &[fettle::cluster::NodeInfo]| nodes.iter().map(|n| n.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&cluster.nodes.targets), ["node01", "node02", "node03"]);
    assert_eq!(names(&cluster.nodes.proxies), ["node01", "node02", "node03"]);
    let paths = |set: usize| cluster.target_sets()[set].mountpaths.iter().map(|m| m.path.to_string()).collect::<Vec<_>>();
    assert_eq!(paths(0), ["/ais/sda", "/ais/sdb", "/ais/sdc"]);
    assert_eq!(paths(1), ["/ais/sda", "/ais/sdb"]);
    assert!(spec.contains("#   node03 ais_devices=['sda','sdb']"), "{spec}");
    for (host, was) in hosts.iter().zip(&before) {
        assert_eq!(state(host), *was, "{host} is not as it was");
    }

    // It is not written over, and goes to standard output alone when asked to.
    let (_, refused) = text(&fettle(["init", "-i", &inventory, "-o", &path, "--yes"]));
    assert!(refused.contains("is there already"), "{refused}");
    lab.cause("node01", Trouble::Stop);
    let output = fettle(["init", "-i", &inventory, "-o", "-", "--name", "lab", "-T", "3"]);
    let (printed, told) = text(&output);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("node01: unreachable"), "{told}");
    let cluster = fettle::cluster::read("printed.yml", &printed).unwrap_or_else(|e| panic!("{e}\n{printed}"));
    assert_eq!(cluster.targets.nodes.len(), 2);
}

#[test]
fn render_prints_and_writes_what_the_library_makes() {
    let example = Path::new("examples/cluster.yml");
    let expected = open(&[example.to_owned()], None, None).unwrap().clusters[0].objects().unwrap();
    let output = fettle(["render", "examples/cluster.yml"]);
    let (printed, told) = text(&output);
    assert!(output.status.success(), "{told}");
    assert_eq!(printed, to_yaml(&expected));
    assert!(told.contains("Labels of 4 nodes are not in manifests: `fettle label examples/cluster.yml`"), "{told}");

    let (printed, _) = text(&fettle(["render", "--json", "examples/cluster.yml"]));
    let list: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((list["kind"].as_str(), list["items"].as_array().map(Vec::len)), (Some("List"), Some(expected.len())));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    std::fs::write(folder.path().join("kustomization.yaml"), "resources: []\n").unwrap();
    let first = succeeded("fettle render -o", &fettle(["render", "examples/cluster.yml", "-o", &path]));
    assert!(first.ends_with(&format!("{0} objects, {0} files written, 0 removed", expected.len())), "{first}");
    let again = succeeded("fettle render -o", &fettle(["render", "examples/cluster.yml", "-o", &path]));
    assert!(again.contains(" 0 files written, 0 removed"), "{again}");
    // A spec with fewer objects leaves none of the others behind, and nobody else's files are touched.
    succeeded("fettle render -o", &fettle(["render", "tests/cluster/secret.yml", "-o", &path]));
    let names: Vec<String> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(names.contains(&"kustomization.yaml".to_owned()) && !names.iter().any(|n| n.contains("dashboard")), "{names:?}");

    let (_, told) = text(&fettle(["render", "tests/wrong/cluster/unknown_field/cluster.yml"]));
    assert!(told.contains("did you mean `proxies`?") && told.contains("cluster.yml:3:1"), "{told}");
    let schema = succeeded("fettle schema", &fettle(["schema", "cluster"]));
    assert!(schema.contains("https://json-schema.org/draft/2020-12/schema"));
}
