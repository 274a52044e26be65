//! A real Kubernetes control plane for one test, with simulated nodes; and a stand-in for AIStore's nodes in its pods.

use super::is_root;
use fettle::kube::pods::{Pod, pods};
use fettle::kube::{Access, Info, Role, Server, connect};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A control plane; it goes away with this value, and with our process.
pub struct ControlPlane {
    child: Child,
    folder: tempfile::TempDir,
    /// Kubeconfig of an administrator.
    pub admin: PathBuf,
    /// Kubeconfig of somebody who may only look.
    pub viewer: PathBuf,
    /// Kubeconfig whose certificate has expired.
    pub expired: PathBuf,
    /// The address of all pods: on this machine's loopback, for the time of the test.
    pub pod_ip: String,
}

/// Where scripts/control-plane puts the programs, or says why not.
fn built() -> PathBuf {
    let beside = || Path::new(super::FETTLE).ancestors().nth(2).unwrap().join("control-plane");
    std::env::var_os("FETTLE_CONTROL_PLANE").map_or_else(beside, PathBuf::from)
}

/// Where the programs are, if they were built.
fn programs() -> Option<PathBuf> {
    let folder = built();
    folder.join("control-plane").is_file().then_some(folder)
}

impl ControlPlane {
    /// Starts one with these nodes, or says `SKIPPED: why`.
    pub fn start(nodes: &[&str]) -> Option<Self> {
        let test = thread::current().name().unwrap_or("test").to_owned();
        let Some(programs) = programs() else {
            let why = std::fs::read_to_string(built().join("why-not")).unwrap_or_default();
            let why = why.lines().next().unwrap_or("no control plane was built (scripts/control-plane)");
            eprintln!("SKIPPED: {test}: {why}");
            return None;
        };
        if !is_root() {
            return None;
        }
        // 198.18.0.0/15 is set aside for tests (RFC 2544); it must not be a loopback address, to which no API server goes.
        let number = COUNT.fetch_add(1, Ordering::Relaxed) + (std::process::id() << 3);
        let pod_ip = format!("198.18.{}.{}", (number >> 8) & 255, number & 255);
        ip(&["address", "add", &format!("{pod_ip}/32"), "dev", "lo"]);
        // Ports are found free and used a moment later; somebody else's test may have been quicker.
        for _ in 0..3 {
            if let Some((child, folder, ready)) = Self::attempt(&programs, &pod_ip, nodes) {
                let path = |key: &str| PathBuf::from(ready[key].as_str().unwrap());
                return Some(Self { admin: path("kubeconfig"), viewer: path("viewer"), expired: path("expired"), child, folder, pod_ip });
            }
        }
        panic!("the control plane did not start: see above")
    }

    fn attempt(programs: &Path, pod_ip: &str, nodes: &[&str]) -> Option<(Child, tempfile::TempDir, Json)> {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(programs.join("control-plane"))
            .args(["--data".as_ref(), folder.path().as_os_str()])
            .args(["--pod-ip", pod_ip, "--nodes", &nodes.join(",")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str(&line) else {
            let _ = child.kill();
            let _ = child.wait();
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            let why: Vec<&str> = log.lines().filter(|l| l.starts_with("control-plane:") || l.starts_with('F')).collect();
            eprintln!("a control plane did not start: {}", why.join("\n"));
            return None;
        };
        Some((child, folder, ready))
    }

    /// A folder of the test's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// It stops answering, and keeps its connections.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// It goes on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap().success());
    }

    /// Does something with the API server.
    pub fn with<T, F: Future<Output = T>>(&self, work: impl FnOnce(Server) -> F) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let access = Access { kubeconfig: Some(self.admin.clone()), context: None };
            work(connect(&access).await.unwrap()).await
        })
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.resume();
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
        ip(&["address", "del", &format!("{}/32", self.pod_ip), "dev", "lo"]);
    }
}

/// An address of this machine for as long as the value lives.
pub struct Address(pub String);

impl Address {
    pub fn new(address: String) -> Self {
        ip(&["address", "add", &format!("{address}/32"), "dev", "lo"]);
        Self(address)
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        ip(&["address", "del", &format!("{}/32", self.0), "dev", "lo"]);
    }
}

fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).status().unwrap();
    assert!(done.success() || thread::panicking(), "ip {arguments:?}");
}

/// What AIStore's nodes were asked and how they are, as a test sees it.
#[derive(Debug, Default)]
pub struct Cluster {
    /// Actions and changes of the primary, in order: `set-config {…}`, `primary p-…`.
    pub heard: Vec<String>,
    /// The configuration.
    pub config: Json,
    /// The primary's pod; empty: the first proxy.
    pub primary: String,
    /// Pods that left the cluster, by uid, and when.
    pub left: Vec<(String, Instant)>,
    /// Pods that don't join although they are ready.
    pub shy: Vec<String>,
    /// Targets in maintenance: since when, and whether a rebalance moves their objects.
    pub maintenance: BTreeMap<String, (Instant, bool)>,
    /// Until when a rebalance moves objects.
    pub rebalance: Option<Instant>,
    /// What went wrong for users: objects that were lost, targets that came back after they were emptied.
    pub harm: Vec<String>,
    /// A setting that is shown otherwise than it was given.
    pub hides: Option<String>,
    /// What AIStore says to new settings other than rebalancing; empty: it takes them.
    pub refusal: String,
    /// Whether clients must show this token.
    pub token: Option<String>,
    /// So many times it does not say whether a rebalance runs.
    pub busy: u32,
}

/// How long a target's objects take to move.
const MOVING: Duration = Duration::from_millis(1500);

/// After this long a target that left and whose pod is still there has been started again, and joins again.
const RESTARTED: Duration = Duration::from_secs(4);

impl Cluster {
    /// AIStore's flags of a member: bit 2 maintenance, bit 4 all its objects were moved.
    fn flags(&self, pod: &str) -> u64 {
        match self.maintenance.get(pod) {
            None => 0,
            Some((since, moves)) => 4 | if *moves && since.elapsed() > MOVING { 16 } else { 0 },
        }
    }

    fn rebalances(&self) -> bool {
        self.rebalance.is_some_and(|until| Instant::now() < until)
    }

    fn is_member(&mut self, pod: &Pod) -> bool {
        let Some(at) = self.left.iter().position(|(uid, _)| *uid == pod.uid) else { return !self.shy.contains(&pod.name) };
        if self.left[at].1.elapsed() > RESTARTED {
            self.left.remove(at);
            self.harm.push(format!("{} joined again", pod.name));
            return true;
        }
        false
    }
}

/// Public ports that pods of the tests have: those of proxies and targets unless a spec says otherwise, and another one.
const PORTS: [u16; 3] = [51080, 51081, 41080];

/// Answers for all of AIStore's nodes of a cluster: simulated pods run nothing. Its cluster map has the pods that are ready.
pub struct StandIn {
    /// What it heard and how it is.
    pub cluster: Arc<Mutex<Cluster>>,
    stop: Arc<AtomicBool>,
    addresses: Vec<String>,
}

impl StandIn {
    /// Listens on the pods' address for `info`'s cluster.
    pub fn start(plane: &ControlPlane, info: &Info) -> Self {
        // As they start for the first time: with the spec's settings.
        let mut config = info.config.clone();
        merge(&mut config, &json!({"rebalance": {"enabled": false}}));
        let cluster = Arc::new(Mutex::new(Cluster { config, ..Cluster::default() }));
        let stop = Arc::new(AtomicBool::new(false));
        let mut addresses = vec![];
        for port in PORTS {
            let address = format!("{}:{port}", plane.pod_ip);
            let listener = TcpListener::bind(&address).unwrap();
            addresses.push(address);
            let (cluster, stop, info, admin) = (cluster.clone(), stop.clone(), info.clone(), plane.admin.clone());
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let (cluster, info, admin) = (cluster.clone(), info.clone(), admin.clone());
                    thread::spawn(move || serve(stream, &cluster, &info, &admin));
                }
            });
        }
        Self { cluster, stop, addresses }
    }

    /// What was heard so far.
    pub fn heard(&self) -> Vec<String> {
        self.cluster.lock().unwrap().heard.clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for address in &self.addresses {
            let _ = TcpStream::connect(address);
        }
    }
}

fn serve(mut stream: TcpStream, cluster: &Mutex<Cluster>, info: &Info, admin: &Path) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    let (mut length, mut token) = (0, None);
    if reader.read_line(&mut first).is_err() {
        return;
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((_, value)) = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("x-amz-security-token")) {
            token = Some(value.trim().to_owned());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let known = cluster.lock().unwrap().token.clone().is_none_or(|t| token == Some(t));
    let (code, text) = match known.then(|| answer(&method, &path, &body, cluster, info, admin)) {
        Some(Some(json)) if json["tcode"].is_string() => {
            let code = match json["status"].as_u64() {
                Some(409) => "409 Conflict",
                Some(503) => "503 Service Unavailable",
                _ => "500 Internal Server Error",
            };
            (code, json.to_string())
        }
        Some(Some(json)) => ("200 OK", json.to_string()),
        Some(None) => ("404 Not Found", "{}".to_owned()),
        // As AIStore writes errors.
        None => ("401 Unauthorized", json!({"status": 401, "message": "no token", "method": method, "node": "p"}).to_string()),
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {code}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
}

/// As AIStore writes errors.
fn refused(status: u16, tcode: &str, message: &str) -> Json {
    json!({"status": status, "tcode": tcode, "message": message, "method": "PUT", "url_path": "/v1/cluster", "remote_addr": "", "caller": "", "node": "p"})
}

fn ready_pods(info: &Info, admin: &Path) -> Vec<Pod> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = connect(&Access { kubeconfig: Some(admin.to_owned()), context: None }).await.unwrap();
        pods(&server, info).await.unwrap_or_default().into_iter().filter(|p| p.ready && !p.leaving).collect()
    })
}

fn answer(method: &str, path: &str, body: &[u8], cluster: &Mutex<Cluster>, info: &Info, admin: &Path) -> Option<Json> {
    let all = ready_pods(info, admin);
    let mut state = cluster.lock().unwrap();
    let members: Vec<&Pod> = all.iter().filter(|p| state.is_member(p)).collect();
    if !members.iter().any(|p| p.name == state.primary) {
        state.primary = members.iter().find(|p| p.role == Role::Proxy).map(|p| p.name.clone()).unwrap_or_default();
    }
    match (method, path) {
        ("GET", "/v1/daemon?what=smap") => {
            let entry = |p: &&Pod| {
                let host = format!("{}.{}.{}.svc.cluster.local", p.name, p.set, info.namespace);
                (
                    p.name.clone(),
                    json!({"daemon_id": p.name, "intra_control_net": {"node_ip_addr": host}, "flags": state.flags(&p.name).to_string(),
                    "public_net": {"direct_url": format!("http://{}", p.node)}}),
                )
            };
            let map = |role| members.iter().filter(|p| p.role == role).map(entry).collect::<serde_json::Map<_, _>>();
            Some(
                json!({"uuid": "stand-in", "version": "1", "proxy_si": {"daemon_id": state.primary}, "pmap": map(Role::Proxy), "tmap": map(Role::Target)}),
            )
        }
        ("GET", "/v1/daemon?what=mountpaths") => Some(json!({"available": ["/ais/sda"]})),
        ("GET", "/v1/cluster?what=status_all") if state.busy > 0 => {
            state.busy -= 1;
            Some(refused(503, "", "the node is starting up"))
        }
        ("GET", "/v1/cluster?what=status_all") => {
            let asked: Json = serde_json::from_slice(body).ok()?;
            let running = asked["kind"] == "rebalance" && asked["show_active"] == true && state.rebalances();
            Some(if running { json!([{"uuid": "g1"}]) } else { json!(null) })
        }
        ("GET", "/v1/cluster?what=cluster_config") => {
            let mut config = state.config.clone();
            if let Some(hidden) = state.hides.as_deref().and_then(|path| config.pointer_mut(path)) {
                *hidden = json!("****");
            }
            Some(config)
        }
        ("PUT", "/v1/cluster") => {
            let message: Json = serde_json::from_slice(body).ok()?;
            let action = message["action"].as_str()?.to_owned();
            let busy = ["start", "start-maintenance"].contains(&action.as_str()) && state.rebalances();
            if busy {
                let message =
                    format!("ErrBusy: cluster membership \"{action}\" is currently busy (rebalance[g1] is running), please try again");
                return Some(refused(409, "ErrBusy", &message));
            }
            state.heard.push(format!("{action} {}", message["value"]));
            match action.as_str() {
                "start" if message["value"]["kind"] == "rebalance" => {
                    if state.config["rebalance"]["enabled"] != true {
                        return Some(refused(500, "", "rebalance is disabled"));
                    }
                    state.rebalance = Some(Instant::now() + MOVING);
                }
                "set-config" if !state.refusal.is_empty() && message["value"]["rebalance"].is_null() => {
                    return Some(refused(500, "", &state.refusal));
                }
                "set-config" => {
                    if message["value"]["rebalance"]["enabled"] == false && state.rebalances() {
                        state.harm.push("rebalance was broken off".into());
                    }
                    merge(&mut state.config, &message["value"]);
                }
                "start-maintenance" => {
                    let moves = state.config["rebalance"]["enabled"] == true;
                    state.maintenance.insert(message["value"]["sid"].as_str()?.to_owned(), (Instant::now(), moves));
                }
                "decommission-node" => {
                    let pod = members.iter().find(|p| message["value"]["sid"] == *p.name)?;
                    if pod.name == state.primary {
                        let message = format!("node p[{}] is the current primary, cannot perform action \"{action}\"", pod.name);
                        return Some(refused(500, "", &message));
                    }
                    if pod.role == Role::Target && state.flags(&pod.name) & 16 == 0 {
                        state.harm.push(format!("{} left with its objects", pod.name));
                    }
                    state.maintenance.remove(&pod.name);
                    state.left.push((pod.uid.clone(), Instant::now()));
                }
                _ => return None,
            }
            Some(json!({}))
        }
        ("PUT", path) => {
            let id = path.strip_prefix("/v1/cluster/proxy/")?;
            state.heard.push(format!("primary {id}"));
            id.clone_into(&mut state.primary);
            Some(json!({}))
        }
        _ => None,
    }
}

fn merge(base: &mut Json, over: &Json) {
    match (base, over) {
        (Json::Object(base), Json::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Json::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}
