//! Where hosts and Kubernetes meet: the hook after Kubespray, and modules that work on the cluster. Lab hosts are the nodes of
//! a real API server; each runs a stand-in kubelet, which reads its configuration when it starts and answers over TLS.

mod support;

use base64::Engine as _;
use fettle::kube::{Patch, kind};
use serde_json::Value as Json;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::Lab;
use support::control_plane::ControlPlane;

/// What Kubespray leaves on a node, and a `systemctl` that knows one unit. A kubelet of a host with the file `breaks` does not
/// survive the setting.
const KUBELET: &str = include_str!("support/kubelet.sh");

/// The way to the API server of somebody who is not on this machine.
#[derive(Default)]
struct Line {
    cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Line {
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

struct World {
    lab: Lab,
    plane: ControlPlane,
}

impl World {
    fn new(hosts: usize) -> Option<Self> {
        let lab = Lab::new(hosts, 0)?;
        let names: Vec<String> =
            (1..=hosts).map(|n| format!("node0{n}={}", lab.state.host(&format!("node0{n}")).unwrap().address)).collect();
        let plane = ControlPlane::start(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        Some(Self { lab, plane })
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.plane.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn with_inventory(&self, mut fettle: Command) -> Command {
        let groups = self.file("kubespray.ini", "[kube_control_plane]\nnode01\n[kube_node]\nnode[01:02]\n");
        fettle.arg("-i").arg(self.lab.inventory()).arg("-i").arg(groups).env("KUBECONFIG", &self.plane.admin);
        fettle
    }

    fn hook(&self, more: &[&str]) -> Output {
        let mut fettle = self.with_inventory(support::fettle_command(["hook", "post-kubespray"]));
        fettle.args(more).output().unwrap()
    }

    fn play(&self, verb: &str, text: &str) -> Output {
        let path = self.file("play.yml", text);
        let mut fettle = self.with_inventory(support::fettle_command([verb]));
        fettle.arg(path).output().unwrap()
    }

    /// Where hosts reach this machine: the address on the lab's network, that packets to a host leave from.
    fn listen(&self) -> TcpListener {
        let toward = UdpSocket::bind("0.0.0.0:0").unwrap();
        toward.connect((self.lab.state.host("node01").unwrap().address, 9)).unwrap();
        TcpListener::bind((toward.local_addr().unwrap().ip(), 0)).unwrap()
    }

    /// A kubeconfig as kubeadm writes them, with keys inside, whose server hosts reach.
    fn kubeconfig_for_hosts(&self, line: &Arc<Line>) -> String {
        let text = std::fs::read_to_string(&self.plane.admin).unwrap();
        let config = fettle::yaml::parse_one("kubeconfig", &text).unwrap().to_json();
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let inside = |path: &Json| base64::engine::general_purpose::STANDARD.encode(std::fs::read(path.as_str().unwrap()).unwrap());
        let server = cluster["server"].as_str().unwrap().trim_start_matches("https://").to_owned();
        // The API server listens on this machine's loopback address, for which its certificate is.
        let listener = self.listen();
        let address = listener.local_addr().unwrap();
        let line = line.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let mut open = line.open.lock().unwrap();
                if line.cut.load(Ordering::SeqCst) {
                    continue;
                }
                open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                    thread::spawn(move || std::io::copy(&mut from, &mut to).is_ok() && to.shutdown(Shutdown::Write).is_ok());
                }
            }
        });
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: admin\nclusters:\n- name: lab\n  cluster:\n    server: https://{address}\n    \
             tls-server-name: 127.0.0.1\n    certificate-authority-data: {}\nusers:\n- name: admin\n  user:\n    client-certificate-data: {}\n    \
             client-key-data: {}\ncontexts:\n- name: admin\n  context: {{cluster: lab, user: admin}}\n",
            inside(&cluster["certificate-authority"]),
            inside(&user["client-certificate"]),
            inside(&user["client-key"])
        )
    }

    fn config(&self, host: &str) -> String {
        self.lab.sh(host, "cat /etc/kubernetes/kubelet-config.yaml /etc/kubernetes/kubelet.env; stat -c %a /etc/kubernetes/*")
    }

    fn restarts(&self, host: &str) -> String {
        self.lab.sh(host, "wc -l </var/kubelet/log")
    }

    fn node(&self, name: &'static str) -> Json {
        self.plane.with(|server| async move { server.get(kind("Node").unwrap(), None, name).await.unwrap().unwrap() })
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_hook_allows_sysctls_one_kubelet_after_another_and_puts_back_what_breaks() {
    let Some(world) = World::new(2) else { return };
    for host in ["node01", "node02"] {
        world.lab.sh(host, KUBELET);
    }
    let before = world.config("node01");

    let text = said(&world.hook(&["--check"]));
    assert!(text.contains("2 of 2 kubelets would be changed and restarted, 1 at once. This was a dry run."), "{text}");
    assert_eq!((world.config("node01"), world.restarts("node01").as_str()), (before.clone(), "1"));

    // One that does not come back: stopped there, and put back byte for byte.
    world.lab.sh("node02", "touch /var/kubelet/breaks");
    let output = world.hook(&["--timeout", "4s"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("node01: kubelet restarted, node01 Ready, net.* allowed"), "{text}");
    assert!(text.contains("the files of node02 are as they were, and the kubelets run again"), "{text}");
    assert!(text.contains("done: node01; stopped at: node02; not begun: none"), "{text}");
    assert_eq!(world.config("node02"), before);
    let after = world.config("node01");
    assert_ne!(after, before);
    let kept: Vec<&str> = after.lines().filter(|l| before.lines().any(|b| b == *l)).collect();
    assert_eq!(kept, before.lines().collect::<Vec<_>>(), "lines of the original changed:\n{after}");

    assert!(text.contains("go on with: fettle hook post-kubespray -i ") && text.ends_with(" --timeout 4s\n"), "{text}");
    what_the_hook_does_not_take_for_a_kubelet_that_is_back(&world, &before);

    let output = world.hook(&[]);
    let text = said(&output);
    assert!(output.status.success() && text.contains("1 of 2 kubelets were changed and restarted; all nodes are Ready."), "{text}");
    assert!(text.contains("kubelet_config_extra_args:\n  allowedUnsafeSysctls: [\"net.*\"]"), "{text}");

    // Again: nothing to do, nothing restarted.
    let restarts = [world.restarts("node01"), world.restarts("node02")];
    let text = said(&world.hook(&[]));
    assert!(text.contains("Nothing to change: all 2 kubelets allow net.* already."), "{text}");
    assert_eq!([world.restarts("node01"), world.restarts("node02")], restarts);

    // Where the inventory has it, it needs no advice.
    let vars = world
        .file("vars.ini", "[kube_node]\nnode[01:02]\n[kube_node:vars]\nkubelet_config_extra_args={'allowedUnsafeSysctls': ['net.*']}\n");
    let text = said(&world.hook(&["-i", vars.to_str().unwrap()]));
    assert!(text.contains("The inventory's own variables have it too") && !text.contains("To keep this"), "{text}");

    // A kubelet that runs with an older file is restarted, and its file left alone.
    world.lab.sh("node01", "sed -i 's/\"net\\.\\*\"//' /var/kubelet/configz");
    let (file, text) = (world.config("node01"), said(&world.hook(&["-l", "node01"])));
    assert!(text.contains("node01: its kubelet does not run with its file yet; restart its kubelet"), "{text}");
    assert_eq!((world.config("node01"), world.restarts("node01") != restarts[0]), (file, true));

    // What is not well before anything was changed stays as it is, and is named.
    let file = world.config("node02");
    world.lab.sh("node02", "sed -i '/allowedUnsafe/,+1d' /etc/kubernetes/kubelet-config.yaml; kill $(cat /var/kubelet/pid)");
    let text = said(&world.hook(&[]));
    assert!(text.contains("1 of 2 kubelets are not well, and nothing was changed; node02: the kubelet does not answer"), "{text}");
    world.lab.sh("node02", "systemctl restart kubelet");
    let text = said(&world.hook(&[]));
    assert!(text.contains("1 of 2 kubelets were changed and restarted"), "{text}");
    assert_eq!(world.config("node02"), file);

    let text = said(&world.hook(&["--context", "other"]));
    assert!(text.contains("has no context `other`"), "{text}");

    what_the_hook_says_of_the_rest(&world);
}

#[test]
fn an_api_server_that_is_away_is_no_reason_to_put_kubelets_back() {
    let Some(world) = World::new(2) else { return };
    let line: Arc<Line> = Arc::default();
    let config = world.file("far.conf", &world.kubeconfig_for_hosts(&line));
    let listener = world.listen();
    let place = listener.local_addr().unwrap();
    for host in ["node01", "node02"] {
        world.lab.sh(host, KUBELET);
    }
    // The last thing asked of node02 before it counts as done: then the API server goes away.
    world.lab.sh("node02", &format!("echo {}/{} >/var/kubelet/tell", place.ip(), place.port()));
    thread::spawn(move || {
        let (mut host, _) = listener.accept().unwrap();
        line.cut();
        host.write_all(b"\n").unwrap();
    });
    let mut fettle = world.with_inventory(support::fettle_command(["hook", "post-kubespray"]));
    let output = fettle.env("KUBECONFIG", config).args(["--timeout", "15s"]).output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("node02: kubelet restarted, node02 Ready, net.* allowed"), "{text}");
    assert!(text.contains("it can't be told whether the kubelets that are done still are well, so nothing was put back: "), "{text}");
    assert!(text.contains("done: node01, node02; stopped at: none; not begun: none"), "{text}");
    for host in ["node01", "node02"] {
        assert!(world.config(host).contains("net.*"), "{text}");
        assert_eq!(world.restarts(host), "2");
    }
}

/// Another cluster's node, a kubelet that ends again and again, one that does not report; and Ctrl-C while one is waited for.
fn what_the_hook_does_not_take_for_a_kubelet_that_is_back(world: &World, before: &str) {
    let restarts = world.restarts("node02");
    let names = world.file("names.ini", "[kube_node]\nnode01 node_name=node02\nnode02 node_name=node01\n");
    let output = world.hook(&["-i", names.to_str().unwrap()]);
    let text = said(&output);
    assert!(text.contains("node02 is not the node node01: the node has the address"), "{text}");
    assert_eq!((output.status.code(), world.config("node02").as_str(), world.restarts("node02")), (Some(1), before, restarts));

    // Ctrl-C: what was begun is put back first.
    world.lab.sh("node02", "rm /var/kubelet/breaks; touch /var/kubelet/sick");
    let mut fettle = world.with_inventory(support::fettle_command(["hook", "post-kubespray"]));
    let child = fettle.args(["--timeout", "60s"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while world.config("node02") == before && begun.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(100));
    }
    thread::sleep(Duration::from_secs(2));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = said(&output);
    assert!(text.contains("the files of node02 are as they were, and the kubelets run again"), "{text}");
    assert!(text.contains("done: none; stopped at: node02; not begun: none"), "{text}");
    assert_eq!((output.status.code(), world.config("node02").as_str()), (Some(99), before), "{text}");

    world.lab.sh("node02", "rm /var/kubelet/sick; touch /var/kubelet/flaps");
    let output = world.hook(&["--timeout", "6s"]);
    let text = said(&output);
    assert!(text.contains("node02: not back after 6 s: ") && text.contains("the files of node02 are as they were"), "{text}");
    assert_eq!((output.status.code(), world.config("node02").as_str()), (Some(2), before), "{text}");
    world.lab.sh("node02", "rm /var/kubelet/flaps");

    // Somebody else writes one file meanwhile: that one is left as it is, and the other kubelets are waited for all the same.
    world.lab.sh("node01", "sed -i '/allowedUnsafe/,+1d' /etc/kubernetes/kubelet-config.yaml; systemctl restart kubelet");
    world.lab.sh("node02", "touch /var/kubelet/sick");
    let restarts = world.restarts("node01");
    let mut fettle = world.with_inventory(support::fettle_command(["hook", "post-kubespray"]));
    let child = fettle.args(["--serial", "2", "--timeout", "15s"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while world.restarts("node01") == restarts && begun.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(100));
    }
    world.lab.sh("node01", "echo '# mine' >>/etc/kubernetes/kubelet-config.yaml");
    let text = said(&child.wait_with_output().unwrap());
    assert!(text.contains("node01: somebody else wrote /etc/kubernetes/kubelet-config.yaml meanwhile, so it is left as it is"), "{text}");
    assert!(text.contains("the files of node02 are as they were, and the kubelets run again"), "{text}");
    assert!(world.config("node01").contains("\n# mine\n"), "{}", world.config("node01"));
    world.lab.sh("node02", "rm /var/kubelet/sick");

    // A Node that stays Ready as it was, and whose kubelet tells nothing.
    let address = world.lab.state.host("node02").unwrap().address.to_string();
    world.plane.with(|server| async move {
        let named = serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "silent"}});
        server.patch(kind("Node").unwrap(), None, "silent", Patch::Apply { force: true }, &named, false).await.unwrap();
        let status = serde_json::json!({"status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}});
        server.merge_at("/api/v1/nodes/silent/status", &status).await.unwrap();
    });
    let names = world.file("silent.ini", "[kube_node]\nnode02 node_name=silent\n");
    let text = said(&world.hook(&["-i", names.to_str().unwrap(), "-l", "node02", "--timeout", "4s"]));
    assert!(text.contains("node02: not back after 4 s: its kubelet has not reported to the API server since its restart"), "{text}");
    assert_eq!(world.config("node02"), before, "{text}");
}

/// Kernel parameters, labels, and a kubeconfig that only a control plane host has.
fn what_the_hook_says_of_the_rest(world: &World) {
    world.lab.sh("node01", "sysctl -qw net.core.somaxconn=65535; echo net.core.somaxconn=65535 >/etc/sysctl.d/50-own.conf");
    world.lab.sh("node02", "sysctl -qw net.core.somaxconn=128");
    let text = said(&world.hook(&[]));
    assert!(text.contains("notice node02: net.core.somaxconn is 128, and should be 65535\n"), "{text}");
    assert!(!text.contains("node01: net.core.somaxconn"), "{text}");
    assert!(text.contains("are set by: fettle apply playbooks/host_tuning.yml"), "{text}");
    world.lab.sh("node01", "echo net.core.somaxconn=4096 >/etc/sysctl.d/99-sysctl.conf");
    let text = said(&world.hook(&["-l", "node01"]));
    assert!(text.contains("is 65535, and the next boot makes it 4096 (/etc/sysctl.d/99-sysctl.conf:1)"), "{text}");

    let spec = world.file("cluster.yml", SPEC);
    let with_spec = |more: &[&str]| said(&world.hook(&[&["--cluster", spec.to_str().unwrap()], more].concat()));
    // --limit is about labels, too; and what another cluster put is found before any kubelet is changed.
    with_spec(&["-l", "node02"]);
    assert_eq!(world.node("node02")["metadata"]["labels"]["nvidia.com/ais-target"], "ais");
    assert!(world.node("node01")["metadata"]["labels"].get("nvidia.com/ais-target").is_none());
    let put = |value: Json| {
        let labels = serde_json::json!({"metadata": {"labels": {"nvidia.com/ais-proxy": value}}});
        world.plane.with(|server| async move { server.merge_at("/api/v1/nodes/node01", &labels).await.unwrap() });
    };
    put("other".into());
    let right = world.config("node02");
    world.lab.sh("node02", "sed -i '/allowedUnsafe/,+1d' /etc/kubernetes/kubelet-config.yaml");
    let file = world.config("node02");
    let text = with_spec(&[]);
    assert!(text.contains("is other, would be ais: the node may belong to another cluster"), "{text}");
    assert_eq!(world.config("node02"), file, "{text}");
    put(Json::Null);
    world.hook(&[]);
    assert_eq!(world.config("node02"), right);

    let text = with_spec(&["--check"]);
    assert!(text.contains("node node01: label nvidia.com/ais-proxy=ais") && text.contains("labels would change"), "{text}");
    assert!(world.node("node01")["metadata"]["labels"].get("nvidia.com/ais-proxy").is_none());
    with_spec(&[]);
    assert_eq!(world.node("node01")["metadata"]["labels"]["nvidia.com/ais-proxy"], "ais");

    let fetch = || {
        let mut fettle = world.with_inventory(support::fettle_command(["hook", "post-kubespray"]));
        said(&fettle.env("KUBECONFIG", world.plane.folder().join("none")).output().unwrap())
    };
    let text = fetch();
    assert!(text.contains("no such file is there") && text.contains("no host of kube_control_plane gave its"), "{text}");
    let config = world.kubeconfig_for_hosts(&Arc::default());

    // What is beside the inventory wins over what is at home. Its server is one that only hosts reach, if it were one.
    let place = config.split("https://").nth(1).and_then(|rest| rest.lines().next()).unwrap().to_owned();
    let address = place.split(':').next().unwrap();
    let folder = world.plane.folder().join("mine");
    std::fs::create_dir_all(folder.join("artifacts")).unwrap();
    std::fs::create_dir_all(folder.join(".kube")).unwrap();
    std::fs::write(folder.join(".kube/config"), "not: one").unwrap();
    std::fs::write(folder.join("artifacts/admin.conf"), config.replace(&place, &place.replace(address, "127.0.0.2"))).unwrap();
    std::fs::write(folder.join("hosts.ini"), format!("[kube_control_plane]\nreached ansible_host={address}\n")).unwrap();
    let mut fettle = world.with_inventory(support::fettle_command(["hook", "post-kubespray", "-l", "kube_node"]));
    let text = said(&fettle.arg("-i").arg(folder.join("hosts.ini")).env_remove("KUBECONFIG").env("HOME", &folder).output().unwrap());
    assert!(
        text.contains("mine/artifacts/admin.conf") && text.contains(&format!("Its server does not answer here; https://{place} does")),
        "{text}"
    );
    assert!(text.contains("Nothing to change: all 2 kubelets allow net.* already."), "{text}");

    let put = |text: &str| world.lab.sh("node01", &format!("umask 077; cat >/etc/kubernetes/admin.conf <<'END'\n{text}\nEND"));
    put(&config);
    let text = fetch();
    assert!(text.contains("Kubeconfig: /etc/kubernetes/admin.conf of node01, for https://"), "{text}");
    assert!(text.contains("Nothing to change: all 2 kubelets allow net.* already."), "{text}");
    // A host must not make this machine start programs, or send its own files somewhere.
    let marker = world.plane.folder().join("started");
    put(&config.replace(
        "client-key-data",
        &format!("exec: {{apiVersion: client.authentication.k8s.io/v1, command: touch, args: [{marker:?}]}}\n    x"),
    ));
    let text = fetch();
    assert!(text.contains("user admin logs in neither with client-key-data nor with a token"), "{text}");
    assert!(!marker.exists());
}

const SPEC: &str = "\
name: ais
namespace: ais
images: {aisnode: docker.io/aistorage/aisnode:v4.8, init: docker.io/aistorage/ais-init:v4.8}
proxies: {nodes: [node01]}
targets:
  nodes: [node01, node02]
  mountpaths: [{path: /ais/sda}]
";

#[test]
fn labels_and_taints_are_tasks_too() {
    let Some(world) = World::new(2) else { return };
    let play = "\
- hosts: kube_node
  tasks:
    - k8s_node_label:
        labels: {example.com/rack: \"{{ inventory_hostname }}-rack\"}
    - kubernetes.core.k8s_taint:
        taints:
          - {key: example.com/ais, value: only, effect: NoSchedule}
";
    let output = world.play("plan", play);
    let text = said(&output);
    assert!(output.status.success() && text.contains("~ node node01: label example.com/rack=node01-rack"), "{text}");
    assert!(world.node("node01")["metadata"]["labels"].get("example.com/rack").is_none());
    let text = support::succeeded("apply", &world.play("apply", play));
    assert!(text.contains("node node02: add taint example.com/ais=only:NoSchedule"), "{text}");
    assert_eq!(world.node("node02")["metadata"]["labels"]["example.com/rack"], "node02-rack");
    assert_eq!(world.node("node01")["spec"]["taints"][0]["key"], "example.com/ais");
    let text = support::succeeded("apply", &world.play("apply", play));
    assert!(text.contains("2 unchanged"), "{text}");

    // A host may touch its own node only, and nobody's value is overwritten unasked.
    let output = world.play("apply", &play.replace("    - k8s_node_label:\n", "    - k8s_node_label:\n        name: node01\n"));
    let text = said(&output);
    assert!(!output.status.success() && text.contains("this host is node node02, and may not change node node01"), "{text}");
    let other = play.replace("-rack\"}", "-other\"}");
    let output = world.play("apply", &other);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("`overwrite: true` changes it"), "{text}");
    let gone = play
        .replace("        labels:", "        state: absent\n        labels:")
        .replace("        taints:", "        state: absent\n        taints:");
    support::succeeded("apply", &world.play("apply", &gone));
    assert!(world.node("node01")["spec"]["taints"].is_null());
    assert!(world.node("node01")["metadata"]["labels"].get("example.com/rack").is_none());
}

#[test]
fn hosts_are_looked_at_before_a_deploy_and_cleared_after_a_delete() {
    let Some(lab) = Lab::new(2, 1) else { return };
    let names: Vec<String> = ["node01", "node02"].map(|n| format!("{n}={}", lab.state.host(n).unwrap().address)).into();
    let Some(plane) = ControlPlane::start(&names.iter().map(String::as_str).collect::<Vec<_>>()) else { return };
    let spec = plane.folder().join("cluster.yml");
    let text = "\
name: ais
namespace: ais
images: {aisnode: docker.io/aistorage/aisnode:v5.0, init: docker.io/aistorage/ais-init:v5.0}
proxies: {nodes: [node01]}
targets:
  nodes: [node01, node02]
  mountpaths: [{path: /ais/sda}]
";
    std::fs::write(&spec, text).unwrap();
    let run = |command: &str, more: &[&str]| {
        let mut fettle = support::fettle_command([command]);
        fettle.arg(&spec).arg("-i").arg(lab.inventory()).env("KUBECONFIG", &plane.admin);
        fettle.args(more).output().unwrap()
    };
    let output = run("deploy", &["--timeout", "0"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("no filesystem of a disk is mounted on /ais/sda")
            && text.contains("the hosts are not ready for this cluster; nothing was changed"),
        "{text}"
    );

    for host in ["node01", "node02"] {
        lab.sh(host, "mkfs.xfs -q /dev/sda && mkdir -p /ais/sda && mount /dev/sda /ais/sda");
    }
    lab.sh("node02", "touch /ais/sda/.ais.vmd");
    let text = said(&run("deploy", &["--timeout", "0"]));
    assert!(text.contains("/ais/sda/.ais.vmd belongs to another cluster"), "{text}");
    lab.sh("node02", "rm /ais/sda/.ais.vmd");
    let output = run("deploy", &["--timeout", "0"]);
    assert!(output.status.success(), "{}", said(&output));

    // What kubelets would have made: state and data go only when named, and only this cluster's.
    for host in ["node01", "node02"] {
        lab.sh(host, "mkdir -p /ais/sda/ais/ais/target /ais/sda/ais/other /etc/ais/ais/ais/target; touch /ais/sda/ais/ais/target/object");
    }
    // Hosts that are not this cluster's nodes: nothing is taken away, neither there nor of the cluster.
    let names = plane.folder().join("names.ini");
    std::fs::write(&names, "[all]\nnode01 node_name=node02\nnode02 node_name=node01\n").unwrap();
    let all = ["--yes", "--state", "--data", "--data-of", "ais"];
    let output = run("delete", &[&["-i", names.to_str().unwrap()], all.as_slice()].concat());
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("node02 is not the node node01: the node has the address") && text.contains("Nothing was deleted"), "{text}");
    assert!(!text.contains("StatefulSet ais/ais-target: deleted"), "{text}");
    assert_eq!(lab.sh("node01", "ls /ais/sda/ais/ais/target"), "object");

    // Nor where one that can't be reached can't say who it is.
    let away = plane.folder().join("away.ini");
    std::fs::write(&away, "[all]\nnode01 ansible_port=1\n").unwrap();
    let away = ["-i", away.to_str().unwrap()];
    let output = run("delete", &[away.as_slice(), all.as_slice()].concat());
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("1 hosts could not be asked who they are, so nothing was deleted; node01: "), "{text}");
    assert!(text.contains("to leave out those that can't be reached: --any-host"), "{text}");

    let output = run("delete", &["--yes"]);
    assert!(output.status.success(), "{}", said(&output));
    // Which cluster it is about.
    assert!(said(&output).contains("Cluster ais in namespace ais at https://"), "{}", said(&output));
    assert_eq!(lab.sh("node01", "ls /ais/sda/ais/ais/target"), "object");
    // A node that is gone can be another cluster's, too; or it was taken away on purpose.
    plane.with(|server| async move { server.delete(kind("Node").unwrap(), None, "node02", None, false, false).await.unwrap() });
    let output = run("delete", &all);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("Kubernetes has no node node02; if it had, and the hosts are to be cleared all the same: --any-host"), "{text}");
    assert_eq!(lab.sh("node01", "ls /ais/sda/ais/ais/target"), "object");
    // Who can't be reached is left out, and told.
    let text = said(&run("delete", &[away.as_slice(), all.as_slice(), &["--any-host"]].concat()));
    assert!(text.contains("folders of 1 hosts could not be removed; node01: "), "{text}");
    assert_eq!(lab.sh("node02", "ls /ais/sda/ais/ais"), "");
    let output = run("delete", &[all.as_slice(), &["--any-host"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(lab.sh("node02", "ls /ais/sda/ais/ais /etc/ais/ais/ais"), "/ais/sda/ais/ais:\n\n/etc/ais/ais/ais:");
    assert_eq!(
        lab.sh("node01", "ls /ais/sda/ais/ais /etc/ais/ais/ais; ls /ais/sda/ais"),
        "/ais/sda/ais/ais:\n\n/etc/ais/ais/ais:\nais\nother"
    );
}

#[test]
fn a_lab_has_a_control_plane_whose_nodes_are_its_hosts() {
    let Some(_) = ControlPlane::start(&[]) else { return };
    let name = support::unique_name();
    let lab = |arguments: &[&str]| support::fettle([&["lab"], arguments, &["--name", &name]].concat());
    let made = lab(&["up", "--hosts", "2", "--disks", "0", "--kubernetes"]);
    let path = support::succeeded("lab kubeconfig", &lab(&["kubeconfig"]));
    assert!(made.status.success() && said(&made).contains(&format!("Kubeconfig: {path}")), "{}", said(&made));
    let nodes = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let access = fettle::kube::Access { kubeconfig: Some(path.clone().into()), context: None };
            fettle::kube::connect(&access).await.unwrap().list(kind("Node").unwrap(), None, "").await.unwrap()
        })
    };
    let names: Vec<&str> = nodes.iter().filter_map(|n| n["metadata"]["name"].as_str()).collect();
    assert_eq!(names, ["node01", "node02"]);
    // A second `up` finds it; `down` leaves no process.
    support::succeeded("lab up", &lab(&["up", "--hosts", "2", "--disks", "0", "--kubernetes"]));
    support::succeeded("lab down", &lab(&["down"]));
    let left = Command::new("pgrep").args(["-f", &path.replace("/admin.conf", "")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
}
