//! Changes of a running cluster, on a real API server with simulated pods: what reaches it, what it keeps, what it can't become.

mod support;

use fettle::kube::Quiet;
use fettle::kube::deploy::{Deployment, Options, deploy, plan};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};
use support::world::{SPEC, START, World, restarted, said};

fn refused(world: &World, spec: &str, more: &[&str]) -> String {
    let heard = world.stand_in.heard();
    let output = world.run("deploy", spec, more);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("nothing was changed"), "{text}");
    assert_eq!(world.stand_in.heard(), heard);
    text
}

#[test]
fn another_public_port_is_rolled_out() {
    let Some(world) = World::new() else { return };
    world.good("deploy", SPEC, &["--timeout", "60s"]);
    let other = SPEC.replace("proxies:\n", "proxies:\n  ports: {public: 41080}\n");
    // The running proxies answer where they were started, not where the spec wants them.
    world.good("status", &other, &[]);
    let text = world.good("deploy", &other, &["--timeout", "120s"]);
    assert_eq!(restarted(&text).len(), 3, "{text}");
    let pod = world.get("Pod", "ais-proxy-0").unwrap();
    assert_eq!(pod.pointer("/spec/containers/0/ports/0/containerPort"), Some(&json!(41080)));
    world.good("status", &other, &[]);
}

#[test]
fn what_a_running_cluster_cannot_become_is_refused() {
    let Some(world) = World::new() else { return };
    world.good("deploy", SPEC, &["--timeout", "60s"]);
    let https = format!("{SPEC}tls: {{secret: certs}}\n");
    let text = refused(&world, &https, &["--check"]);
    assert!(text.contains("the cluster runs with HTTP, and the spec wants HTTPS") && text.contains("fettle delete --state"), "{text}");

    let older = SPEC.replace("v5.0", "v4.9");
    let text = refused(&world, &older, &["--timeout", "60s"]);
    assert!(text.contains("nodes of v5.0 run, and the spec has v4.9") && text.contains("--any-release"), "{text}");
    world.good("deploy", &older, &["--timeout", "120s", "--any-release"]);
    let text = refused(&world, &SPEC.replace("v5.0", "v5.1"), &["--timeout", "60s"]);
    assert!(text.contains("AIStore 4 must go through v5.0; deploy that first"), "{text}");

    // What this Kubernetes cluster does not know.
    let text = refused(&world, &format!("{older}monitoring: {{pod_monitor: {{}}}}\n"), &["--check"]);
    assert!(text.contains("does not know the kind PodMonitor") && text.contains("install the Prometheus operator"), "{text}");
}

#[test]
fn settings_that_the_spec_drops_are_told_and_rebalance_is_planned() {
    let Some(world) = World::new() else { return };
    world.good("deploy", SPEC, &["--timeout", "60s"]);
    let dropped = SPEC.replace("config:\n  mirror:\n    enabled: false\n", "config:\n  lru:\n    enabled: true\n");
    let kept = "mirror.enabled (false) stays in the running cluster";
    let plan = world.good("deploy", &dropped, &["--check"]);
    assert!(plan.contains(kept), "{plan}");
    let text = world.good("deploy", &dropped, &["--timeout", "60s"]);
    assert!(text.contains(kept), "{text}");
    assert_eq!(world.good("deploy", &dropped, &["--check"]), "Nothing to change.");

    // Left off by a run that stopped.
    world.stand_in.cluster.lock().unwrap().config["rebalance"]["enabled"] = json!(false);
    let plan = world.good("deploy", &dropped, &["--check"]);
    assert!(plan.contains("set      rebalance: on") && plan.contains("1 changes"), "{plan}");
    let text = world.good("deploy", &dropped, &["--timeout", "60s"]);
    assert!(text.contains("rebalance: on") && text.contains("complete"), "{text}");
}

#[test]
fn a_cluster_with_authentication_is_shown_a_token() {
    let Some(world) = World::new() else { return };
    let secret = "eyJhbGciOi.c2VjcmV0.x";
    world.stand_in.cluster.lock().unwrap().token = Some(secret.into());
    let file = |name: &str, text: &str| {
        let path = world.plane.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file("auth.token", &json!({"token": secret}).to_string());
    let text = world.good("deploy", SPEC, &["--timeout", "60s", "--token-file", &good]);
    assert!(!text.contains(secret), "{text}");
    // Without one it is said who asks for it, and how to give it; a wrong one is called so.
    let text = refused(&world, &SPEC.replace("enabled: false", "enabled: true"), &["--timeout", "60s"]);
    assert!(text.contains(" asks for a token of AIStore's authentication") && text.contains("--token-file FILE"), "{text}");
    let wrong = file("wrong", "other");
    let text = refused(&world, &SPEC.replace("enabled: false", "enabled: true"), &["--timeout", "60s", "--token-file", &wrong]);
    assert!(text.contains(&format!("does not accept the token of {wrong}")), "{text}");
    let status = said(&world.run("status", SPEC, &[]));
    assert!(status.contains("asks for a token") && !status.contains("credentials"), "{status}");

    // Restarts wait for the end of a rebalance that runs, also where AIStore can't say just now whether one does.
    {
        let mut cluster = world.stand_in.cluster.lock().unwrap();
        cluster.rebalance = Some(Instant::now() + Duration::from_secs(5));
        cluster.busy = 2;
    }
    let newer = SPEC.replace("v5.0", "v5.1").replace("enabled: false", "enabled: true");
    let text = world.good("deploy", &newer, &["--timeout", "120s", "--token-file", &good]);
    assert_eq!(restarted(&text).len(), 6, "{text}");
    assert_eq!(world.stand_in.cluster.lock().unwrap().harm, Vec::<String>::new());
    world.good("status", &newer, &["--token-file", &good]);
}

#[test]
fn objects_written_during_a_rollout_that_stopped_are_moved_by_the_next() {
    let Some(world) = World::new() else { return };
    world.good("deploy", SPEC, &["--timeout", "60s"]);
    let other = SPEC.replace("targets:\n", "targets:\n  ports: {public: 41080}\n");
    let owed = || {
        let map = world.get("ConfigMap", "ais-global-cm").unwrap();
        map["metadata"]["annotations"]["fettle/rebalance-owed"].is_string()
    };
    let child = {
        let mut command = support::fettle_command(["deploy"]);
        command.arg(world.spec(&other)).arg("--kubeconfig").arg(&world.plane.admin).args(["--timeout", "30s"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let end = Instant::now() + Duration::from_secs(25);
    while !owed() {
        assert!(Instant::now() < end, "no target is restarted");
        std::thread::sleep(Duration::from_millis(100));
    }
    // Another rebalance runs until the time is up.
    world.stand_in.cluster.lock().unwrap().rebalance = Some(Instant::now() + Duration::from_secs(3600));
    let text = said(&child.wait_with_output().unwrap());
    assert!(text.contains("rebalance: not started yet") && text.contains("is currently busy") && !text.contains("tcode"), "{text}");
    assert_eq!(restarted(&text).len(), 3, "{text}");
    world.stand_in.cluster.lock().unwrap().rebalance = None;
    let plan = world.good("deploy", &other, &["--check"]);
    assert!(plan.contains("start    rebalance") && plan.contains("1 changes"), "{plan}");
    let text = world.good("deploy", &other, &["--timeout", "60s"]);
    assert!(text.contains("rebalance: started") && restarted(&text).is_empty(), "{text}");
    assert_eq!(world.stand_in.heard().iter().filter(|h| *h == START).count(), 1, "{:?}", world.stand_in.heard());
    assert_eq!(world.good("deploy", &other, &["--check"]), "Nothing to change.");
}

#[test]
fn a_cluster_deployed_anew_gets_the_settings_its_spec_has_now() {
    let Some(world) = World::new() else { return };
    world.good("deploy", SPEC, &["--timeout", "60s"]);
    world.good("delete", SPEC, &["--yes"]);
    // AIStore kept its own configuration, which the spec's ConfigMap does not reach.
    let other = SPEC.replace("enabled: false", "enabled: true") + "  timeout: {max_keepalive: 60s}\n";
    world.stand_in.cluster.lock().unwrap().config["timeout"]["max_keepalive"] = json!("1m");
    let text = world.good("deploy", &other, &["--timeout", "60s"]);
    assert!(text.contains("configuration: mirror.enabled: false → true") && !text.contains("max_keepalive"), "{text}");
    assert!(world.stand_in.heard().iter().any(|h| h == "set-config {\"mirror\":{\"enabled\":true}}"), "{:?}", world.stand_in.heard());
    assert_eq!(world.good("deploy", &other, &["--check"]), "Nothing to change.");

    // Somebody else changed it; what AIStore shows in a way of its own is told once.
    world.stand_in.cluster.lock().unwrap().config["mirror"]["enabled"] = json!(false);
    let plan = world.good("deploy", &other, &["--check"]);
    assert!(plan.contains("set      configuration: mirror.enabled: false → true") && plan.contains("1 changes"), "{plan}");
    world.stand_in.cluster.lock().unwrap().hides = Some("/mirror/enabled".into());
    world.good("deploy", &other, &["--timeout", "60s"]);
    assert_eq!(world.good("deploy", &other, &["--check"]), "Nothing to change.");

    // What AIStore refuses is said in its own words, and nobody is sent to try the same again.
    let refusal = "copies (9) must be less than 4";
    world.stand_in.cluster.lock().unwrap().refusal = refusal.into();
    let text = refused_at_once(&world, &other.replace("enabled: true", "enabled: true\n    copies: 9"));
    assert!(text.contains(refusal) && !text.contains("url_path") && !text.contains("again"), "{text}");
}

fn refused_at_once(world: &World, spec: &str) -> String {
    let output = world.run("deploy", spec, &["--timeout", "60s"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    said(&output)
}

#[test]
fn the_first_primary_is_kept_after_a_run_that_was_broken_off() {
    let Some(world) = World::new() else { return };
    let spec = format!("{SPEC}initial_primary: n3\n");
    let nodes = || {
        let json: Json = serde_json::from_slice(&world.run("status", &spec, &["--json"]).stdout).unwrap();
        json["nodes"].as_array().unwrap().clone()
    };
    let primary = || nodes().iter().find(|n| n["primary"] == true).and_then(|n| n["node"].as_str().map(str::to_owned));
    let elsewhere = || {
        let other = nodes().iter().find(|n| n["role"] == "proxy" && n["ready"] == true && n["node"] != "n3").cloned();
        other.and_then(|n| n["pod"].as_str().map(str::to_owned)).unwrap()
    };
    // A run that waits for nothing makes the pods; the primary is wherever the first came up.
    world.good("deploy", &spec, &["--timeout", "0"]);
    let end = Instant::now() + Duration::from_secs(60);
    while !world.run("status", &spec, &[]).status.success() {
        assert!(Instant::now() < end, "the pods don't come up");
        std::thread::sleep(Duration::from_millis(200));
    }
    world.stand_in.cluster.lock().unwrap().primary = elsewhere();
    assert_ne!(primary().as_deref(), Some("n3"));
    world.good("deploy", &spec, &["--timeout", "60s"]);
    assert_eq!(primary().as_deref(), Some("n3"));
    // Later it is where an election put it.
    world.stand_in.cluster.lock().unwrap().primary = elsewhere();
    world.good("deploy", &spec, &["--timeout", "60s"]);
    assert_ne!(primary().as_deref(), Some("n3"));
}

#[test]
fn no_pod_is_stopped_when_the_time_is_up() {
    let Some(world) = World::new() else { return };
    world.good("deploy", SPEC, &["--timeout", "60s"]);
    let newer = SPEC.replace("v5.0", "v5.1");
    world.good("deploy", &newer, &["--timeout", "0"]);
    let heard = world.stand_in.heard();
    let end = Instant::now() + Duration::from_secs(60);
    for set in ["ais-proxy", "ais-target"] {
        // Until its controller has seen what is new.
        let late = || {
            let set = world.get("StatefulSet", set).unwrap();
            set["status"]["observedGeneration"] != set["metadata"]["generation"]
        };
        while late() {
            assert!(Instant::now() < end, "{set} is not looked at");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    let pods = || ["ais-proxy-0", "ais-target-0"].map(|name| world.get("Pod", name).unwrap()["metadata"]["uid"].take());
    let before = pods();
    let resolved = fettle::cluster::read("cluster.yml", &newer).unwrap().resolve(None, None).unwrap();
    let deployment = Deployment::new(&resolved).unwrap();
    let options = Options { force: false, recreate: false, any_release: false, timeout: Duration::from_nanos(1) };
    let error = world.plane.with(|server| async move {
        let plan = plan(&server, &deployment, options).await.unwrap();
        assert_eq!((plan.restarts.len(), plan.problems.len()), (6, 0));
        deploy(&server, &deployment, &plan, options, &mut Quiet).await.unwrap_err().to_string()
    });
    assert_eq!(
        error,
        "the time is up (--timeout), and 6 pods are still to be restarted, ais-proxy-0 first; they keep running as they were. Run the same again to go on"
    );
    assert_eq!((pods(), world.stand_in.heard()), (before, heard));
}
