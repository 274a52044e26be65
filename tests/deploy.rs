//! Clusters on a real API server, with simulated nodes and pods: deploying, changing, looking, deleting.

mod support;

use fettle::kube::{covers, kind};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};
use support::world::{SPEC, START, World, restarted, said};

#[test]
fn a_cluster_comes_up_and_a_second_deploy_changes_nothing() {
    let Some(world) = World::new() else { return };
    // A dry run first: nothing is there, and nothing is there afterwards.
    let text = world.good("deploy", SPEC, &["--check"]);
    assert!(
        text.contains("create   StatefulSet storage/ais-proxy") && text.contains("label    node n1: nvidia.com/ais-proxy=ais"),
        "{text}"
    );
    assert!(text.contains("Nothing was changed: this was a dry run."), "{text}");
    assert_eq!(world.get("Namespace", "storage"), None);
    assert_eq!(world.labels("n1").get("nvidia.com/ais-proxy"), None);

    let text = world.good("deploy", SPEC, &["--timeout", "60s"]);
    assert!(text.contains("Cluster ais: complete. Clients in the cluster use http://ais-ais-proxy.storage:51080"), "{text}");
    assert_eq!(world.labels("n1")["nvidia.com/ais-target"], "ais");
    assert_eq!(world.stand_in.heard(), ["set-config {\"rebalance\":{\"enabled\":true}}"]);

    // What was rendered is what is there.
    let spec = world.spec(SPEC);
    let rendered = support::succeeded("render", &support::fettle(["render".as_ref(), spec.as_os_str(), "--json".as_ref()]));
    let rendered: Json = serde_json::from_str(&rendered).unwrap();
    let objects = rendered["items"].as_array().unwrap();
    assert!(objects.len() > 8, "{rendered:#}");
    for object in objects {
        let live = world.get(object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap()).unwrap();
        assert!(covers(&live, object), "rendered {object:#}\nlive {live:#}");
    }

    let before = world.versions();
    assert!(before.len() >= objects.len() - 1, "{before:?}");
    let text = world.good("deploy", SPEC, &[]);
    assert!(text.contains("nothing was changed"), "{text}");
    assert_eq!(world.versions(), before);
    assert_eq!(world.stand_in.heard().len(), 1, "{:?}", world.stand_in.heard());
    assert_eq!(world.good("deploy", SPEC, &["--check"]), "Nothing to change.");

    let status = world.run("status", SPEC, &["--json"]);
    let json: Json = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status.status.success() && json["well"] == true, "{json:#}");
    assert_eq!(json["nodes"].as_array().unwrap().len(), 6);
    assert_eq!(json["nodes"].as_array().unwrap().iter().filter(|n| n["primary"] == true).count(), 1);
    let text = world.good("status", SPEC, &[]);
    assert!(text.contains("proxies 3 of 3 ready") && text.contains("primary") && text.contains("/ais/sda"), "{text}");
}

#[test]
fn a_playbook_brings_a_cluster_up_with_its_primary_where_it_was_asked_for() {
    let Some(world) = World::new() else { return };
    let play = world.plane.folder().join("play.yml");
    let wanted = format!("{SPEC}initial_primary: n3\n");
    let spec = world.spec(&wanted);
    let task =
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - fettle.aisnode: {cluster: CLUSTER, timeout: 60}\n";
    std::fs::write(&play, task.replace("CLUSTER", &spec.display().to_string())).unwrap();
    let run = |verb: &str| {
        let mut fettle = support::fettle_command([verb]);
        let output = fettle.arg(&play).args(["-i", "localhost,"]).env("KUBECONFIG", &world.plane.admin).output().unwrap();
        support::succeeded(verb, &output)
    };
    let text = run("plan");
    assert!(text.contains("StatefulSet storage/ais-proxy: created"), "{text}");
    assert_eq!(world.get("Namespace", "storage"), None);
    run("apply");
    let json: Json = serde_json::from_slice(&world.run("status", &wanted, &["--json"]).stdout).unwrap();
    let primary: Vec<&str> =
        json["nodes"].as_array().unwrap().iter().filter(|n| n["primary"] == true).filter_map(|n| n["node"].as_str()).collect();
    assert_eq!(primary, ["n3"], "{json:#}");
    let text = run("apply");
    assert!(text.contains("1 unchanged"), "{text}");

    // Away again: a dry run takes nothing, and the namespace stays.
    let absent = task.replace("timeout: 60", "state: absent").replace("CLUSTER", &spec.display().to_string());
    std::fs::write(&play, absent).unwrap();
    let text = run("plan");
    assert!(
        text.contains("StatefulSet storage/ais-proxy: deleted") && text.contains("node n1: remove label nvidia.com/ais-proxy"),
        "{text}"
    );
    assert!(world.get("StatefulSet", "ais-proxy").is_some());
    run("apply");
    assert_eq!(world.get("StatefulSet", "ais-proxy"), None);
    assert!(world.get("Namespace", "storage").is_some());
    let text = run("apply");
    assert!(text.contains("1 unchanged"), "{text}");
}

#[test]
fn a_new_image_rolls_proxies_then_targets_the_primary_last_of_the_proxies() {
    let Some(world) = World::new() else { return };
    world.good("deploy", SPEC, &["--timeout", "60s"]);
    "ais-proxy-1".clone_into(&mut world.stand_in.cluster.lock().unwrap().primary);

    let newer = SPEC.replace("v5.0", "v5.1");
    let order = ["ais-proxy-0", "ais-proxy-2", "ais-proxy-1", "ais-target-0", "ais-target-1", "ais-target-2"];
    let plan = world.good("deploy", &newer, &["--check"]);
    let planned: Vec<&str> = plan.lines().filter_map(|l| l.strip_prefix("restart  ")).collect();
    assert_eq!(planned, order, "{plan}");
    let text = world.good("deploy", &newer, &["--timeout", "120s"]);
    assert_eq!(restarted(&text), order, "{text}");
    let heard = world.stand_in.heard();
    let tail: Vec<&str> = heard.iter().skip(1).map(String::as_str).collect();
    assert_eq!(tail[0], "set-config {\"rebalance\":{\"enabled\":false}}", "{heard:?}");
    assert!(tail[1].starts_with("primary ais-proxy-"), "{heard:?}");
    // What was written meanwhile went to other targets.
    assert_eq!(tail[2..], ["set-config {\"rebalance\":{\"enabled\":true}}", START], "{heard:?}");
    assert!(plan.contains("start    rebalance: moves what was written while targets were restarted"), "{plan}");
    assert!(text.contains("rebalance: started; objects written meanwhile move to their place"), "{text}");
    assert_eq!(world.good("deploy", &newer, &["--check"]), "Nothing to change.");

    // An image that can't be pulled: the first pod does not come back, the others keep running.
    let broken = SPEC.replace("v5.0", "missing");
    let output = world.run("deploy", &broken, &["--timeout", "8s"]);
    let text = said(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("does not come back") && text.contains("ImagePullBackOff") && text.contains("The rollout stops here"), "{text}");
    let json: Json = serde_json::from_slice(&world.run("status", &newer, &["--json"]).stdout).unwrap();
    let waiting: Vec<&Json> = json["nodes"].as_array().unwrap().iter().filter(|n| n["ready"] == false).collect();
    assert_eq!(waiting.len(), 1, "{json:#}");
    assert!(waiting[0]["why"].as_str().unwrap().contains("ImagePullBackOff"), "{json:#}");
    // Back to what worked: only the broken one is made anew, and rebalancing is on again.
    let text = world.good("deploy", &newer, &["--timeout", "60s"]);
    assert_eq!(restarted(&text).len(), 1, "{text}");
    assert!(world.stand_in.heard().last().unwrap().contains("true"), "{:?}", world.stand_in.heard());
    // Proxies hold no objects.
    assert_eq!(world.stand_in.heard().iter().filter(|h| *h == START).count(), 1);
}

#[test]
fn settings_reach_a_running_cluster_and_targets_are_emptied_before_they_go() {
    let Some(world) = World::new() else { return };
    world.good("deploy", SPEC, &["--timeout", "60s"]);
    let other = SPEC.replace("enabled: false", "enabled: true");
    world.good("deploy", &other, &["--timeout", "60s"]);
    let heard = world.stand_in.heard();
    assert!(heard.iter().any(|h| h.starts_with("set-config") && h.contains("\"mirror\":{\"enabled\":true}")), "{heard:?}");

    // The node that goes is the one on which the highest number runs.
    let last = world.get("Pod", "ais-target-2").unwrap()["spec"]["nodeName"].as_str().unwrap().to_owned();
    let stay: Vec<&str> = ["n1", "n2", "n3"].into_iter().filter(|n| *n != last).collect();
    let fewer = other.replace("targets:\n  nodes: [n1, n2, n3]", &format!("targets:\n  nodes: [{}]", stay.join(", ")));
    let plan = world.good("deploy", &fewer, &["--check"]);
    assert!(
        plan.contains(&format!(
            "empty    ais-target-2: taken out of the cluster, and {last} emptied; the node loses the label nvidia.com/ais-target"
        )),
        "{plan}"
    );
    let text = world.good("deploy", &fewer, &["--timeout", "60s"]);
    assert!(text.contains(&format!("ais-target-2: leaving the cluster, its objects move from {last} to the others")), "{text}");
    assert!(world.stand_in.heard().iter().any(|h| h.starts_with("decommission-node") && h.contains("ais-target-2")));
    let end = Instant::now() + Duration::from_secs(20);
    while world.get("Pod", "ais-target-2").is_some() {
        assert!(Instant::now() < end, "the pod stays");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn what_stands_in_the_way_is_said_before_anything_changes() {
    let Some(world) = World::new() else { return };
    world.good("deploy", SPEC, &["--timeout", "60s"]);

    // Another manager owns a field.
    world.plane.with(|server| async move {
        let patch = json!({"data": {"ais.json": "{}"}});
        let kind = kind("ConfigMap").unwrap();
        let path = kind.path(Some("storage"), "ais-global-cm") + "?fieldManager=somebody";
        server.merge_at(&path, &patch).await.unwrap();
    });
    let before = world.versions();
    let output = world.run("deploy", SPEC, &["--timeout", "30s"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(".data.ais.json") && text.contains("somebody") && text.contains("--force-conflicts"), "{text}");
    assert_eq!(world.versions(), before);
    world.good("deploy", SPEC, &["--timeout", "60s", "--force-conflicts"]);

    // What can't be changed in place.
    let output =
        world.run("deploy", &SPEC.replace("- path: /ais/sda", "- path: /ais/sda\n      claim: {size: 1Ti, storage_class: fast}"), &[]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains(".spec.volumeClaimTemplates") && text.contains("--recreate"), "{text}");

    // What another cluster holds on the same nodes.
    let other = SPEC
        .replace("namespace: storage", "namespace: other")
        .replace("proxies:\n", "node_labels: {scheme: per_cluster}\nproxies:\n  ports: {public: 41080}\n")
        .replace("  mountpaths:\n", "  ports: {public: 41081}\n  mountpaths:\n");
    let output = world.run("deploy", &other, &["--check"]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("mountpath /ais/sda of n1, n2, n3 is taken by the cluster storage/ais"), "{text}");
    world.good("deploy", &other.replace("/ais/sda", "/ais/sdb"), &["--check"]);
    let text = said(&world.run("deploy", &other.replace("/ais/sda", "/ais/sdb").replace("41081", "51081"), &["--check"]));
    assert!(text.contains("port 51081 of n1, n2, n3 is taken by the cluster storage/ais"), "{text}");

    // What the API server lets pass, but not without a word.
    world.plane.with(|server| async move {
        let body = json!({"metadata": {"labels": {"pod-security.kubernetes.io/warn": "restricted"}}});
        server.merge_at(&(kind("Namespace").unwrap().path(None, "storage") + "?fieldManager=somebody"), &body).await.unwrap();
    });
    let output = world.run("deploy", &SPEC.replace("v5.0", "v5.1"), &["--check"]);
    let text = said(&output);
    let warned = "warning: the API server warns: would violate PodSecurity \"restricted:latest\": ";
    assert!(output.status.success() && text.matches(warned).count() == 2, "{text}");
    let told = said(&world.run("deploy", &SPEC.replace("v5.0", "v5.1"), &["--check", "--json"]));
    assert!(told.contains("\"warnings\":[\"the API server warns: would violate PodSecurity"), "{told}");

    // Nodes that aren't there, and credentials that don't work.
    let output = world.run("deploy", &SPEC.replace("[n1, n2, n3]", "[n1, n2, nn3]"), &["--check"]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("nn3"), "{text}");
    let text = said(&world.run_as(&world.plane.expired, "status", SPEC, &[]));
    assert!(text.contains("expired"), "{text}");
    let output = world.run("status", SPEC, &["--context", "admni"]);
    let text = said(&output);
    assert!(text.contains("has no context `admni` (did you mean `admin`?)"), "{text}");
    let mut fettle = support::fettle_command(["status"]);
    let text = said(&fettle.arg(world.spec(SPEC)).env("KUBECONFIG", "/nope").output().unwrap());
    assert!(text.contains("$KUBECONFIG names /nope, and no such file is there"), "{text}");
    let output = world.run_as(&world.plane.viewer, "deploy", &SPEC.replace("v5.0", "v5.1"), &[]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("may not do this"), "{text}");
}

#[test]
fn a_stuck_pod_and_an_api_server_that_is_away_are_told() {
    let Some(world) = World::new() else { return };
    // No node is left for the third proxy.
    world.good("label", SPEC, &[]);
    world.plane.with(|server| async move {
        let body = json!({"spec": {"unschedulable": true}});
        server.merge_at(&(kind("Node").unwrap().path(None, "n3") + "?fieldManager=test"), &body).await.unwrap();
    });
    let output = world.run("deploy", SPEC, &["--timeout", "6s"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    // While it waits, too, and not again and again.
    let waits: Vec<&str> = text.lines().filter(|l| l.starts_with('…') && l.contains("no node takes it")).collect();
    assert!(waits.first().is_some_and(|l| l.contains("2 of 3 targets ready; ais-proxy-")) && waits.len() < 4, "{text}");
    assert!(
        text.contains("2 of 3 proxies and 2 of 3 targets ready") && text.contains("no node takes it: 0/4 nodes are available"),
        "{text}"
    );

    // The API server is away for a while in the middle of waiting.
    let mut child = {
        let mut command = support::fettle_command(["deploy"]);
        command.arg(world.spec(SPEC)).arg("--kubeconfig").arg(&world.plane.admin).args(["--timeout", "90s"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    std::thread::sleep(Duration::from_secs(3));
    world.plane.pause();
    std::thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().unwrap().is_none(), "it gave up");
    world.plane.resume();
    world.plane.with(|server| async move {
        let body = json!({"spec": {"unschedulable": null}});
        server.merge_at(&(kind("Node").unwrap().path(None, "n3") + "?fieldManager=test"), &body).await.unwrap();
    });
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn labels_follow_the_spec_and_other_peoples_labels_stay() {
    let Some(world) = World::new() else { return };
    let text = world.good("label", SPEC, &["--check"]);
    assert!(text.contains("6 labels would change"), "{text}");
    assert_eq!(world.labels("n1").get("nvidia.com/ais-target"), None);
    world.good("label", SPEC, &[]);
    assert_eq!(world.good("label", SPEC, &[]), "Nothing to change: 6 labels are as they should be.");

    // A second cluster on the same nodes needs other values: refused, and nothing is changed.
    let other = SPEC.replace("name: ais\n", "name: second\n");
    let output = world.run("label", &other, &[]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("label nvidia.com/ais-proxy is ais, would be second"), "{text}");
    assert_eq!(world.labels("n1")["nvidia.com/ais-proxy"], "ais");

    // A node that the spec names no more.
    let fewer = SPEC.replace("[n1, n2, n3]", "[n1, n2, n4]");
    let text = world.good("label", &fewer, &[]);
    assert!(text.contains("node n3 has this cluster's label nvidia.com/ais-proxy, and the spec does not name it"), "{text}");
    world.good("label", &fewer, &["--prune"]);
    assert_eq!(world.labels("n3").get("nvidia.com/ais-proxy"), None);
    assert_eq!(world.labels("n3")["kubernetes.io/hostname"], "n3");
}

/// A cluster whose state and data are in claims, data on volumes made for it.
const VOLUMES: &str = "\
name: pv
namespace: one
images:
  aisnode: docker.io/aistorage/aisnode:v5.0
  init: docker.io/aistorage/ais-init:v5.0
proxies:
  nodes: [n1]
targets:
  nodes: [n1]
  mountpaths:
    - path: /ais/sda
      claim: {size: 1Gi}
    - path: /pv/state-1
      claim: {size: 1Gi}
  local_volumes: {storage_class: one-local}
state:
  claim: {storage_class: fast}
";

#[test]
fn deleting_touches_no_namesake_in_another_namespace() {
    let Some(world) = World::new() else { return };
    // The data claims of this one are named like claims of state, but for their end.
    let one = VOLUMES.replace("namespace: one", "namespace: pv").replace("one-local", "pv-local");
    let other = VOLUMES.replace("namespace: one", "namespace: other").replace("one-local", "other-local").replace("n1", "n2");
    world.good("deploy", &one, &["--timeout", "0"]);

    // Nodes are chosen by the cluster's name: the second would get the first's nodes.
    for (command, more) in [("deploy", "--check"), ("label", "--check")] {
        let output = world.run(command, &other, &[more]);
        let text = said(&output);
        assert!(!output.status.success() && text.contains("nvidia.com/ais-proxy=pv are chosen by the cluster pv/pv too"), "{text}");
    }
    world.good("label", &other, &["--force-conflicts"]);
    let apart = other.replace("images:", "node_labels: {scheme: per_cluster}\nimages:");
    world.good("deploy", &apart, &["--timeout", "0"]);

    let volumes = || {
        let list = world.plane.with(|server| async move { server.list(kind("PersistentVolume").unwrap(), None, "").await.unwrap() });
        list.iter().map(|v| v["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(volumes(), ["other-pv-n2-ais-sda", "other-pv-n2-pv-state-1", "pv-pv-n1-ais-sda", "pv-pv-n1-pv-state-1"]);
    let claims = |namespace: &'static str| {
        let kind = kind("PersistentVolumeClaim").unwrap();
        world.plane.with(|server| async move { server.list(kind, Some(namespace), "").await.unwrap() }).len()
    };
    let end = Instant::now() + Duration::from_secs(30);
    while claims("pv") < 4 {
        assert!(Instant::now() < end, "{} claims", claims("pv"));
        std::thread::sleep(Duration::from_millis(200));
    }
    let text = world.good("delete", &one, &["--state", "--check"]);
    for (verb, claim, what) in [
        ("delete", "pv-pv-state-pv-proxy-0", "state"),
        ("delete", "pv-pv-state-pv-target-0", "state"),
        ("keep  ", "pv-pv-state-1-pv-target-0", "users' data"),
        ("keep  ", "pv-ais-sda-pv-target-0", "users' data"),
    ] {
        assert!(text.contains(&format!("{verb} PersistentVolumeClaim pv/{claim} ({what})")), "{text}");
    }

    // The labels that the first put on its node choose the second's nodes, as long as it goes by them.
    world.plane.with(|server| async move {
        let kind = kind("StatefulSet").unwrap();
        let body = json!({"spec": {"template": {"spec": {"nodeSelector": {"nvidia.com/ais-target": "pv"}}}}});
        server.merge_at(&(kind.path(Some("other"), "pv-target") + "?fieldManager=test"), &body).await.unwrap();
    });
    let text = world.good("delete", &one, &["--state", "--data", "--data-of", "pv", "--yes"]);
    assert!(text.contains("The StorageClass pv-local stays"), "{text}");
    assert!(text.contains("keep   label nvidia.com/ais-target of n1, n2: the cluster other/pv chooses nodes by it too"), "{text}");
    assert_eq!(world.labels("n1")["nvidia.com/ais-target"], "pv");
    assert_eq!(world.labels("n1").get("nvidia.com/ais-proxy"), None);
    let end = Instant::now() + Duration::from_secs(30);
    while volumes() != ["other-pv-n2-ais-sda", "other-pv-n2-pv-state-1"] {
        assert!(Instant::now() < end, "{:?}", volumes());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn nodes_that_are_gone_or_hidden_stop_neither_status_nor_delete() {
    let Some(world) = World::new() else { return };
    world.good("deploy", SPEC, &["--timeout", "60s"]);

    // Somebody whose rights end with the namespace.
    world.plane.with(|server| async move {
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "team", "namespace": "storage"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "team"}]});
        let kind = kind("RoleBinding").unwrap();
        server.patch(kind, Some("storage"), "team", fettle::kube::Patch::Apply { force: false }, &binding, false).await.unwrap();
    });
    let mut config: Json = yaml(&std::fs::read_to_string(&world.plane.admin).unwrap());
    config["users"][0]["user"]["as"] = json!("team");
    let team = world.plane.folder().join("team.conf");
    std::fs::write(&team, config.to_string()).unwrap();
    let output = world.run_as(&team, "status", SPEC, &[]);
    assert!(said(&output).contains("proxies 3 of 3 ready"), "{}", said(&output));
    let output = world.run_as(&team, "deploy", SPEC, &["--check"]);
    assert!(!output.status.success() && said(&output).contains("may not do this"), "{}", said(&output));

    // A node that Kubernetes has no more.
    world.plane.with(|server| async move { server.delete(kind("Node").unwrap(), None, "n3", None, false, false).await.unwrap() });
    let text = said(&world.run("status", SPEC, &[]));
    assert!(text.contains("Cluster ais in namespace storage"), "{text}");
    let output = world.run("deploy", SPEC, &["--check"]);
    assert!(!output.status.success() && said(&output).contains("Kubernetes has no node `n3`"), "{}", said(&output));

    let output = world.run_as(&team, "delete", SPEC, &["--yes"]);
    let text = said(&output);
    assert!(output.status.success() && text.contains("keep   labels of nodes: it can't be told"), "{text}");
    assert_eq!(world.get("StatefulSet", "ais-target"), None);
    assert_eq!(world.labels("n1")["nvidia.com/ais-target"], "ais");
    world.good("delete", SPEC, &["--yes"]);
    assert_eq!(world.labels("n1").get("nvidia.com/ais-target"), None);
}

fn yaml(text: &str) -> Json {
    fettle::yaml::parse_one("kubeconfig", text).unwrap().to_json()
}

#[test]
fn deleting_leaves_what_users_stored() {
    let Some(world) = World::new() else { return };
    let claims = SPEC.replace("- path: /ais/sda", "- path: /ais/sda\n      claim: {size: 1Gi, storage_class: fast}");
    world.good("deploy", &claims, &["--timeout", "0"]);
    let end = Instant::now() + Duration::from_secs(30);
    let count = || {
        world
            .plane
            .with(|server| async move { server.list(kind("PersistentVolumeClaim").unwrap(), Some("storage"), "").await.unwrap().len() })
    };
    while count() < 3 {
        assert!(Instant::now() < end, "{} claims", count());
        std::thread::sleep(Duration::from_millis(200));
    }
    let output = world.run("delete", &claims, &[]);
    assert!(!output.status.success() && said(&output).contains("no terminal to ask at; --yes answers"), "{}", said(&output));
    let text = world.good("delete", &claims, &["--check"]);
    assert!(text.contains("delete StatefulSet storage/ais-target") && text.contains("keep   PersistentVolumeClaim"), "{text}");
    assert!(world.get("StatefulSet", "ais-target").is_some());

    let text = world.good("delete", &claims, &["--yes"]);
    assert!(text.contains("what users stored is still there"), "{text}");
    assert_eq!(world.get("StatefulSet", "ais-target"), None);
    assert_eq!(world.get("ConfigMap", "ais-global-cm"), None);
    assert_eq!(world.labels("n1").get("nvidia.com/ais-target"), None);
    assert_eq!(count(), 3);

    // Data goes only by name. (State is on hosts here, which needs an inventory: claims alone would stay behind.)
    let output = world.run("delete", &claims, &["--yes", "--state", "--data", "--data-of", "other"]);
    let text = said(&output);
    assert!(!output.status.success() && count() == 3, "{text}");
}
