//! Targets and proxies that leave nodes: on a real API server, with simulated nodes and pods, and a stand-in for AIStore that notes
//! when objects would have been lost.

mod support;

use fettle::kube::kind;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};
use support::world::{SPEC, World, said};

/// The spec with targets on these nodes.
fn targets(nodes: &str) -> String {
    SPEC.replace("targets:\n  nodes: [n1, n2, n3]", &format!("targets:\n  nodes: [{nodes}]"))
}

/// Which node each target runs on, by number.
fn places(world: &World, spec: &str) -> Vec<String> {
    let json: Json = serde_json::from_slice(&world.run("status", spec, &["--json"]).stdout).unwrap();
    let targets = json["nodes"].as_array().unwrap().iter().filter(|n| n["role"] == "target");
    targets.map(|n| n["node"].as_str().unwrap().to_owned()).collect()
}

fn harm(world: &World) -> Vec<String> {
    world.stand_in.cluster.lock().unwrap().harm.clone()
}

/// A world whose first three targets run on n1, n2, n3, in this order: they come one after the other.
fn in_order() -> Option<World> {
    let world = World::new()?;
    for nodes in ["n1", "n1, n2", "n1, n2, n3"] {
        world.good("deploy", &targets(nodes), &["--timeout", "60s"]);
    }
    assert_eq!(places(&world, SPEC), ["n1", "n2", "n3"]);
    Some(world)
}

#[test]
fn the_node_that_the_spec_no_longer_names_is_emptied_and_no_other() {
    let Some(world) = in_order() else { return };
    // The first target's node can't leave at once: a StatefulSet gives up its highest number. Nothing is changed, and the way is said.
    let output = world.run("deploy", &targets("n2, n3"), &["--timeout", "60s"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("ais-target-0 runs on n1") && text.contains("first: n1, n2 (n3 gives"), "{text}");
    assert!(text.contains("nothing was changed") && harm(&world).is_empty(), "{text}");
    assert!(!world.stand_in.heard().iter().any(|h| h.starts_with("start-maintenance")), "{:?}", world.stand_in.heard());
    // Until then all is not well.
    let status = world.run("status", &targets("n2, n3"), &[]);
    assert_eq!(status.status.code(), Some(2));
    assert!(said(&status).contains("ais-target-0 runs on n1, where the spec does not want it"), "{}", said(&status));

    // The two steps that were named.
    let text = world.good("deploy", &targets("n1, n2"), &["--timeout", "60s"]);
    assert!(text.contains("ais-target-2: leaving the cluster, its objects move from n3"), "{text}");
    assert_eq!(world.labels("n3").get("nvidia.com/ais-target"), None);
    assert_eq!(places(&world, &targets("n1, n2")), ["n1", "n2"]);
    let plan = world.good("deploy", &targets("n2, n3"), &["--check"]);
    let wanted = "empty    ais-target-0: taken out of the cluster, and n1 emptied; made anew on another node; the node loses the label nvidia.com/ais-target";
    assert!(plan.contains(wanted) && !plan.contains("restart"), "{plan}");
    let text = world.good("deploy", &targets("n2, n3"), &["--timeout", "60s"]);
    assert!(text.contains("ais-target-0: on n3 now, in the cluster") && text.contains("complete"), "{text}");
    assert_eq!(places(&world, &targets("n2, n3")), ["n3", "n2"]);
    assert_eq!(world.labels("n1").get("nvidia.com/ais-target"), None);
    assert_eq!(world.good("deploy", &targets("n2, n3"), &["--check"]), "Nothing to change.");
    world.good("status", &targets("n2, n3"), &[]);

    // A node in place of another, for proxies too.
    let other = targets("n2, n4").replace("nodes: [n1, n2, n3]", "nodes: [n1, n2, n4]");
    world.good("deploy", &other, &["--timeout", "60s"]);
    assert_eq!(places(&world, &other), ["n4", "n2"]);
    let json: Json = serde_json::from_slice(&world.run("status", &other, &["--json"]).stdout).unwrap();
    assert!(json["well"] == true && !json.to_string().contains("\"n3\""), "{json:#}");
    assert_eq!(harm(&world), Vec::<String>::new());
}

#[test]
fn nothing_is_lost_whatever_rebalance_was_and_nobody_comes_back() {
    let Some(world) = in_order() else { return };
    // An earlier run that stopped left rebalance off.
    world.stand_in.cluster.lock().unwrap().config["rebalance"]["enabled"] = json!(false);
    let text = world.good("deploy", &targets("n1"), &["--timeout", "90s"]);
    assert!(text.contains("rebalance: on"), "{text}");
    assert_eq!(places(&world, &targets("n1")), ["n1"]);
    assert_eq!(harm(&world), Vec::<String>::new());
    // What is in the spec is not overridden unsaid.
    world.good("deploy", &targets("n1, n2"), &["--timeout", "60s"]);
    let off = targets("n1").replace("config:\n", "config:\n  rebalance: {enabled: false}\n");
    let text = said(&world.run("deploy", &off, &["--timeout", "60s"]));
    assert!(text.contains("would be lost; set it to true for this change") && text.contains("nothing was changed"), "{text}");
}

#[test]
fn no_target_wanders_to_a_node_that_the_spec_dropped() {
    let Some(world) = in_order() else { return };
    // Left by a run that was broken off, or by hand; and one that is another cluster's.
    let label = |node: &'static str, labels: Json| {
        world.plane.with(|server| async move {
            let path = kind("Node").unwrap().path(None, node) + "?fieldManager=test";
            server.merge_at(&path, &json!({"metadata": {"labels": labels}})).await.unwrap();
        });
    };
    label("n4", json!({"nvidia.com/ais-target": "ais", "nvidia.com/ais-proxy": "other"}));
    let plan = world.good("deploy", SPEC, &["--check"]);
    assert!(plan.contains("unlabel  node n4: nvidia.com/ais-target (was ais)") && plan.contains("1 changes"), "{plan}");
    let text = world.good("deploy", SPEC, &["--timeout", "60s"]);
    assert!(text.contains("node n4: label nvidia.com/ais-target removed"), "{text}");
    assert_eq!(world.labels("n4").get("nvidia.com/ais-target"), None);
    assert_eq!(world.labels("n4")["nvidia.com/ais-proxy"], "other");
    assert_eq!(world.good("deploy", SPEC, &["--check"]), "Nothing to change.");
    assert_eq!(places(&world, SPEC), ["n1", "n2", "n3"]);

    // Deleting takes it off, too.
    label("n4", json!({"nvidia.com/ais-target": "ais"}));
    world.good("delete", SPEC, &["--yes"]);
    assert_eq!(world.labels("n4").get("nvidia.com/ais-target"), None);
    assert_eq!(world.labels("n4")["nvidia.com/ais-proxy"], "other");
}

#[test]
fn emptying_waits_for_the_end_of_a_rebalance() {
    let Some(world) = in_order() else { return };
    world.stand_in.cluster.lock().unwrap().rebalance = Some(Instant::now() + Duration::from_secs(6));
    let text = world.good("deploy", &targets("n1, n2"), &["--timeout", "60s"]);
    assert!(
        text.contains("ais-target-2: not being emptied yet") && text.contains("is currently busy") && !text.contains("tcode"),
        "{text}"
    );
    assert_eq!(harm(&world), Vec::<String>::new());
}

#[test]
fn a_target_that_is_down_is_not_taken_for_an_empty_one() {
    let Some(world) = in_order() else { return };
    world.stand_in.cluster.lock().unwrap().shy.push("ais-target-2".into());
    let output = world.run("deploy", &targets("n1, n2"), &["--timeout", "20s"]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("its objects can't be moved to the others"), "{text}");
    assert!(world.get("Pod", "ais-target-2").is_some());
}

#[test]
fn a_target_that_runs_nowhere_is_not_taken_for_an_empty_one() {
    let Some(world) = in_order() else { return };
    nowhere(&world, json!({"spec": {"unschedulable": true}}));
    // It neither leaves with what is on n3, nor begins anew elsewhere.
    for (nodes, why) in [
        (
            "n1, n2",
            "the spec has no more ais-target-2, and no node runs it now: its objects, if it ran before, are on the node it ran on last",
        ),
        ("n1, n2, n4", "no node runs ais-target-2 now: with its label n4 would"),
    ] {
        let output = world.run("deploy", &targets(nodes), &["--timeout", "60s"]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(why) && text.contains("nothing was changed"), "{text}");
        assert!(text.contains("kubectl -n storage annotate pod ais-target-2 fettle/emptied=lost"), "{text}");
        assert_eq!(world.labels("n4").get("nvidia.com/ais-target"), None);
    }
    assert!(world.get("Pod", "ais-target-2").is_some());
    // Nothing else is refused meanwhile.
    world.good("deploy", SPEC, &["--check"]);
    // Somebody who says so lets it go.
    world.plane.with(|server| async move {
        let path = kind("Pod").unwrap().path(Some("storage"), "ais-target-2") + "?fieldManager=test";
        server.merge_at(&path, &json!({"metadata": {"annotations": {"fettle/emptied": "lost"}}})).await.unwrap();
        // Proxies may come there again.
        let path = kind("Node").unwrap().path(None, "n3") + "?fieldManager=test";
        let back = json!({"metadata": {"labels": {"nvidia.com/ais-target": null}}, "spec": {"unschedulable": null}});
        server.merge_at(&path, &back).await.unwrap();
    });
    world.good("deploy", &targets("n1, n2"), &["--timeout", "60s"]);
    assert_eq!(places(&world, &targets("n1, n2")), ["n1", "n2"]);
}

/// Changes n3 (as `kubectl drain` does it, for example), and its target finds no node any more.
fn nowhere(world: &World, n3: Json) {
    world.plane.with(|server| async move {
        let path = kind("Node").unwrap().path(None, "n3") + "?fieldManager=test";
        server.merge_at(&path, &n3).await.unwrap();
        server.delete(kind("Pod").unwrap(), Some("storage"), "ais-target-2", None, false, false).await.unwrap();
    });
    let end = Instant::now() + Duration::from_secs(60);
    while world.get("Pod", "ais-target-2").is_none_or(|p| p["spec"]["nodeName"].is_string()) {
        assert!(Instant::now() < end, "the pod stays");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_node_that_comes_back_without_its_label_gets_it_and_its_target() {
    let Some(world) = in_order() else { return };
    // As a node has it that was deleted and joined anew.
    nowhere(&world, json!({"metadata": {"labels": {"nvidia.com/ais-target": null}}}));
    let text = said(&world.run("deploy", &targets("n1, n2, n3, n4"), &["--check"]));
    assert!(text.contains("no node runs ais-target-2 now: with its label n4 would"), "{text}");
    assert!(text.contains("`kubectl label node NODE nvidia.com/ais-target=ais`"), "{text}");
    // Somebody was rash; what is stored from now on counts again.
    world.plane.with(|server| async move {
        let path = kind("Pod").unwrap().path(Some("storage"), "ais-target-2") + "?fieldManager=test";
        server.merge_at(&path, &json!({"metadata": {"annotations": {"fettle/emptied": "lost"}}})).await.unwrap();
    });
    let text = world.good("deploy", SPEC, &["--timeout", "60s"]);
    assert!(text.contains("node n3: label nvidia.com/ais-target=ais"), "{text}");
    assert_eq!(places(&world, SPEC), ["n1", "n2", "n3"]);
    assert_eq!(world.get("Pod", "ais-target-2").unwrap()["metadata"]["annotations"].get("fettle/emptied"), None);
    // The same without anybody's word.
    nowhere(&world, json!({"metadata": {"labels": {"nvidia.com/ais-target": null}}}));
    world.good("deploy", SPEC, &["--timeout", "60s"]);
    assert_eq!(places(&world, SPEC), ["n1", "n2", "n3"]);
}

#[test]
fn a_cluster_that_was_never_waited_for_has_objects_too() {
    let Some(world) = World::new() else { return };
    for nodes in ["n1", "n1, n2", "n1, n2, n3"] {
        world.good("deploy", &targets(nodes), &["--timeout", "0"]);
        let end = Instant::now() + Duration::from_secs(60);
        while !world.run("status", &targets(nodes), &[]).status.success() {
            assert!(Instant::now() < end, "the pods don't come up");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    assert_eq!(places(&world, SPEC), ["n1", "n2", "n3"]);
    nowhere(&world, json!({"spec": {"unschedulable": true}}));
    let output = world.run("deploy", &targets("n1, n2"), &["--timeout", "60s"]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("the spec has no more ais-target-2, and no node runs it now"), "{text}");
    assert!(world.get("Pod", "ais-target-2").is_some());
}

#[test]
fn all_proxies_move_though_one_of_them_is_primary() {
    let Some(world) = World::new() else { return };
    let proxies = |nodes: &str| SPEC.replace("proxies:\n  nodes: [n1, n2, n3]", &format!("proxies:\n  nodes: [{nodes}]"));
    world.good("deploy", &proxies("n1, n2"), &["--timeout", "60s"]);
    "ais-proxy-0".clone_into(&mut world.stand_in.cluster.lock().unwrap().primary);
    // Waiting is what it takes.
    let output = world.run("deploy", &proxies("n1"), &["--timeout", "0"]);
    assert!(said(&output).contains("ais-proxy-1 is to leave the cluster, which takes time"), "{}", said(&output));
    let spec = proxies("n3, n4");
    let text = world.good("deploy", &spec, &["--timeout", "120s"]);
    assert!(text.contains("ais-proxy-1: primary now") && text.contains("complete"), "{text}");
    let json: Json = serde_json::from_slice(&world.run("status", &spec, &["--json"]).stdout).unwrap();
    let mut nodes: Vec<&str> =
        json["nodes"].as_array().unwrap().iter().filter(|n| n["role"] == "proxy").map(|n| n["node"].as_str().unwrap()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["n3", "n4"]);
    assert_eq!(harm(&world), Vec::<String>::new());
}

#[test]
fn an_exception_on_a_node_in_use_comes_by_the_same_rules() {
    let Some(world) = in_order() else { return };
    let exception =
        |node: &str| format!("  exceptions:\n    - name: dense\n      nodes: [{node}]\n      mountpaths: [{{path: /ais/nvme0}}]\nconfig:");
    // n1's target is not the last one: in two steps.
    let text = said(&world.run("deploy", &SPEC.replace("config:", &exception("n1")), &["--timeout", "60s"]));
    assert!(text.contains("in two steps") && text.contains("nothing was changed"), "{text}");
    // n3's is.
    let spec = SPEC.replace("config:", &exception("n3"));
    let plan = world.good("deploy", &spec, &["--check"]);
    assert!(
        plan.contains("empty    ais-target-2: taken out of the cluster, and n3 emptied") && !plan.contains("restart  ais-target-2"),
        "{plan}"
    );
    let text = world.good("deploy", &spec, &["--timeout", "90s"]);
    assert!(text.contains("complete"), "{text}");
    assert_eq!(places(&world, &spec), ["n1", "n2", "n3"]);
    assert_eq!(harm(&world), Vec::<String>::new());
}
