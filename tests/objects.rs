//! Objects on a real API server: what can't be changed in place, and what several clusters share.

mod support;

use serde_json::Value as Json;
use support::world::{SPEC, World, said};

/// Sizes that Kubernetes writes in another way, and parts that can't be changed once they are there.
const FIXED: &str = "\
name: ais
namespace: storage
images:
  aisnode: docker.io/aistorage/aisnode:v5.0
  init: docker.io/aistorage/ais-init:v5.0
proxies:
  nodes: [n1, n2, n3]
  access: {by: load_balancer, load_balancer_class: example.com/one}
targets:
  nodes: [n1, n2, n3]
  mountpaths:
    - path: /ais/sda
      claim: {size: 1024Gi, storage_class: fast}
state:
  claim: {size: 1000M}
load_generator:
  image: docker.io/aistorage/aisloader:v5.0
  bucket: ais://load
  node_labels: {load: here}
  resources: {requests: {cpu: 0.5, memory: 1024Mi}, limits: {cpu: 1000m}}
";

#[test]
fn what_cannot_be_changed_in_place_is_recognised_and_replaced_when_asked() {
    let Some(world) = World::new() else { return };
    world.good("deploy", FIXED, &["--timeout", "0"]);
    let templates = |world: &World, set: &str| {
        let set = world.get("StatefulSet", set).unwrap();
        let all = set["spec"]["volumeClaimTemplates"].as_array().cloned().unwrap_or_default();
        all.iter().map(|t| t["spec"]["resources"]["requests"]["storage"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(templates(&world, "ais-target"), ["1G", "1Ti"]);
    // Controllers write statuses meanwhile, which is no change of ours.
    let made = || {
        let all = [("Service", "ais-proxy-lb"), ("StatefulSet", "ais-proxy"), ("StatefulSet", "ais-target"), ("Job", "ais-load")];
        all.map(|(kind, name)| world.get(kind, name).unwrap()).map(|o| (o["metadata"]["uid"].clone(), o["metadata"]["generation"].clone()))
    };
    let before = made();
    assert_eq!(world.good("deploy", FIXED, &["--timeout", "0", "--check"]), "Nothing to change.");
    world.good("deploy", FIXED, &["--timeout", "0", "--recreate"]);
    assert_eq!(made(), before);

    // What the spec has no more: some of it only the API server knows to be fixed.
    let fewer = FIXED
        .replace(", load_balancer_class: example.com/one", "")
        .replace(", storage_class: fast", "")
        .replace("state:\n  claim: {size: 1000M}\n", "")
        .replace("  node_labels: {load: here}\n", "");
    let output = world.run("deploy", &fewer, &["--timeout", "0"]);
    let text = said(&output);
    assert!(!output.status.success(), "{text}");
    for (object, way) in [
        ("Service storage/ais-proxy-lb", "with --recreate the Service is replaced"),
        ("StatefulSet storage/ais-proxy", "with --recreate the StatefulSet is replaced"),
        ("StatefulSet storage/ais-target", "with --recreate the StatefulSet is replaced"),
        ("Job storage/ais-load", "with --recreate the Job is deleted and started anew"),
    ] {
        assert!(text.contains(&format!("{object}: what differs can't be changed in place; {way}")), "{text}");
    }
    assert!(text.contains("spec.template: field is immutable") && text.contains("may not change once set"), "{text}");
    assert_eq!(made(), before);
    let text = world.good("deploy", &fewer, &["--timeout", "0", "--recreate", "--check"]);
    assert_eq!(text.matches("replace ").count(), 4, "{text}");
    assert_eq!(made(), before);
    world.good("deploy", &fewer, &["--timeout", "0", "--recreate"]);
    assert_eq!((templates(&world, "ais-proxy").len(), templates(&world, "ais-target").len()), (0, 1));
    assert_eq!(world.get("Service", "ais-proxy-lb").unwrap()["spec"].get("loadBalancerClass"), None);
    assert_eq!(world.get("Job", "ais-load").unwrap()["spec"]["template"]["spec"].get("nodeSelector"), None);
    // Pods that were there before are another matter.
    let text = world.good("deploy", &fewer, &["--timeout", "0", "--check"]);
    assert!(text.lines().all(|l| l.starts_with("restart ") || l.contains("objects are as they should be")), "{text}");

    // A template's storage class alone is nothing that the spec speaks of any more.
    let output = world.run("deploy", &fewer.replace("size: 1024Gi", "size: 1Ti, storage_class: fast"), &["--check"]);
    assert!(said(&output).contains(".spec.volumeClaimTemplates"), "{}", said(&output));
}

#[test]
fn clusters_of_one_namespace_leave_each_other_its_labels() {
    let Some(world) = World::new() else { return };
    let labelled = |text: &str| SPEC.replace("images:\n", &format!("namespace_labels: {{{text}}}\nimages:\n"));
    let labels = || -> Json { world.get("Namespace", "storage").unwrap()["metadata"]["labels"].take() };
    let first = labelled("pod-security.kubernetes.io/enforce: privileged, team: one");
    world.good("deploy", &first, &["--timeout", "0"]);
    // Alone it may have it otherwise.
    let first = labelled("pod-security.kubernetes.io/enforce: privileged");
    world.good("deploy", &first, &["--timeout", "0"]);
    assert_eq!((labels().get("team"), &labels()["pod-security.kubernetes.io/enforce"]), (None, &Json::from("privileged")));

    let second = |text: &str| {
        labelled(text)
            .replace("name: ais\n", "name: second\n")
            .replace("proxies:\n", "node_labels: {scheme: per_cluster}\nproxies:\n  ports: {public: 41080}\n")
            .replace("targets:\n", "targets:\n  ports: {public: 41081}\n")
            .replace("/ais/sda", "/ais/sdb")
    };
    world.good("deploy", &second("team: two"), &["--timeout", "0"]);
    assert_eq!((&labels()["team"], &labels()["pod-security.kubernetes.io/enforce"]), (&Json::from("two"), &Json::from("privileged")));
    assert_eq!(world.good("deploy", &first, &["--timeout", "0", "--check"]), "Nothing to change.");

    // Another value would be the other's, too.
    let third = second("team: three");
    let output = world.run("deploy", &third, &["--timeout", "0"]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("--force-conflicts"), "{text}");
    assert!(text.contains(".metadata.labels.team: is `two`, would be `three`, and is the namespace of the cluster ais too"), "{text}");
    world.good("deploy", &third, &["--timeout", "0", "--force-conflicts"]);
    assert_eq!((&labels()["team"], &labels()["pod-security.kubernetes.io/enforce"]), (&Json::from("three"), &Json::from("privileged")));
}
