//! People whose rights end somewhere: what they may do works, and what they may not do is told before anything changes.

mod support;

use fettle::kube::{Kind, Patch, kind};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use support::world::{SPEC, World, said};

/// Rights of the user `team` on things that belong to no namespace: rules of a ClusterRole.
fn allow(world: &World, rules: &Json) {
    let group = "rbac.authorization.k8s.io";
    let objects = [
        (
            Kind { api_version: "rbac.authorization.k8s.io/v1", name: "ClusterRole", plural: "clusterroles", namespaced: false },
            json!({"rules": rules}),
        ),
        (
            Kind {
                api_version: "rbac.authorization.k8s.io/v1",
                name: "ClusterRoleBinding",
                plural: "clusterrolebindings",
                namespaced: false,
            },
            json!({"roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "team"},
                "subjects": [{"apiGroup": group, "kind": "User", "name": "team"}]}),
        ),
    ];
    world.plane.with(|server| async move {
        for (kind, mut object) in objects {
            object["apiVersion"] = json!(kind.api_version);
            object["kind"] = json!(kind.name);
            object["metadata"] = json!({"name": "team"});
            server.patch(&kind, None, "team", Patch::Apply { force: false }, &object, false).await.unwrap();
        }
    });
}

/// A kubeconfig of the user `team`, who is an administrator of the namespace `storage`.
fn team(world: &World) -> PathBuf {
    world.plane.with(|server| async move {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "storage"}});
        let apply = Patch::Apply { force: false };
        server.patch(kind("Namespace").unwrap(), None, "storage", apply, &namespace, false).await.unwrap();
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "team", "namespace": "storage"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "team"}]});
        server.patch(kind("RoleBinding").unwrap(), Some("storage"), "team", apply, &binding, false).await.unwrap();
    });
    let admin = std::fs::read_to_string(&world.plane.admin).unwrap();
    let mut config = fettle::yaml::parse_one("kubeconfig", &admin).unwrap().to_json();
    config["users"][0]["user"]["as"] = json!("team");
    let path = world.plane.folder().join("team.conf");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

#[test]
fn a_deploy_needs_no_rights_to_what_it_does_not_use_and_asks_for_those_it_needs() {
    let Some(world) = World::new() else { return };
    let team = team(&world);
    let spec = SPEC.replace("images:\n", "create_namespace: false\nimages:\n");
    let nodes = |verbs: &[&str]| json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": verbs}]);

    // Who may not label nodes hears it from the dry run, once.
    allow(&world, &nodes(&["get", "list"]));
    for more in [&["--check"][..], &[]] {
        let output = world.run_as(&team, "deploy", &spec, more);
        let text = said(&output);
        assert!(!output.status.success() && text.matches("may not do this").count() == 1, "{text}");
        assert!(text.contains("check Node n") && text.contains("cannot patch resource \"nodes\""), "{text}");
    }
    assert_eq!(world.get("ConfigMap", "ais-global-cm"), None);

    // Monitoring and certificates are others' kinds, which nobody here asks for.
    allow(&world, &nodes(&["get", "list", "patch"]));
    let text = support::succeeded("deploy --check", &world.run_as(&team, "deploy", &spec, &["--check"]));
    assert!(text.contains("label    node n3: nvidia.com/ais-target=ais"), "{text}");
    assert_eq!(world.labels("n3").get("nvidia.com/ais-target"), None);
    let output = world.run_as(&team, "deploy", &spec, &["--timeout", "60s"]);
    assert!(support::succeeded("deploy", &output).contains("Cluster ais: complete"), "{}", said(&output));
    assert_eq!(world.labels("n3")["nvidia.com/ais-target"], "ais");

    // Nor is a target emptied by somebody who can't take its node's label off afterwards.
    allow(&world, &nodes(&["get", "list"]));
    let fewer = spec.replace("targets:\n  nodes: [n1, n2, n3]", "targets:\n  nodes: [n1, n2]");
    let text = said(&world.run_as(&team, "deploy", &fewer, &["--timeout", "60s"]));
    assert!(text.contains("check Node n3") && text.contains("cannot patch resource \"nodes\""), "{text}");
    assert!(text.contains("nothing was changed"), "{text}");
    assert!(!world.stand_in.heard().iter().any(|h| h.starts_with("start-maintenance")), "{:?}", world.stand_in.heard());

    // A playbook takes a cluster away whose node is gone, and whoever may see no nodes at all.
    world.plane.with(|server| async move { server.delete(kind("Node").unwrap(), None, "n3", None, false, false).await.unwrap() });
    let play = world.plane.folder().join("play.yml");
    let text = format!(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - fettle.aisnode: {{cluster: {}, state: absent}}\n",
        world.spec(&spec).display()
    );
    std::fs::write(&play, text).unwrap();
    let plan = |kubeconfig: &PathBuf| {
        let mut fettle = support::fettle_command(["plan"]);
        let output = fettle.arg(&play).args(["-i", "localhost,"]).env("KUBECONFIG", kubeconfig).output().unwrap();
        support::succeeded("plan", &output)
    };
    let text = plan(&world.plane.admin);
    assert!(text.contains("StatefulSet storage/ais-proxy: deleted") && text.contains("node n1: remove label"), "{text}");
    allow(&world, &json!([]));
    let text = plan(&team);
    assert!(text.contains("StatefulSet storage/ais-proxy: deleted") && !text.contains("remove label"), "{text}");
    assert!(text.contains("kept: labels of nodes"), "{text}");
}
