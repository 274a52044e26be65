//! Other AIStore clusters, whoever made them: ports and filesystems of shared nodes, and node labels, that are theirs already.

use super::{Info, KubeError, Server, kind};
use crate::cluster::{Resolved, Role};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// What a cluster takes of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    ports: BTreeSet<u16>,
    mountpaths: BTreeSet<String>,
    labels: BTreeSet<Label>,
}

/// A label: its key and value.
pub type Label = (String, String);

/// Whose pods choose nodes by a label: `NAMESPACE/NAME`.
pub type Users = BTreeMap<Label, BTreeSet<String>>;

/// What a spec takes, by node. Nodes that only labels choose are not known; there the scheduler finds out.
pub fn claims(resolved: &Resolved) -> BTreeMap<String, Claim> {
    let mut all: BTreeMap<String, Claim> = BTreeMap::new();
    for role in [Role::Proxy, Role::Target] {
        for node in resolved.of(role) {
            all.entry(node.name.clone()).or_default().ports.extend(resolved.host_ports(role));
        }
    }
    for (node, key, value) in resolved.labels() {
        all.entry(node).or_default().labels.insert((key, value));
    }
    for set in resolved.target_sets() {
        for node in &set.nodes {
            let paths = set.mountpaths.iter().filter(|m| m.claim.is_none()).map(|m| m.path.to_string());
            all.entry((*node).to_owned()).or_default().mountpaths.extend(paths);
        }
    }
    all
}

/// Asks the server for other clusters; what they hold of `claims` is an error each.
pub async fn clashes(server: &Server, info: &Info, claims: &BTreeMap<String, Claim>) -> Result<Vec<KubeError>, KubeError> {
    let Some(pods) = kind("Pod").filter(|_| !claims.is_empty()) else { return Ok(vec![]) };
    let list = match server.list(pods, None, "app.kubernetes.io/component in (proxy,target)").await {
        Ok(list) => list,
        // Who may see one namespace only can't know; the scheduler still keeps ports apart.
        Err(KubeError::Denied(_)) => return Ok(vec![]),
        Err(e) => return Err(e),
    };
    let labels = claims.values().flat_map(|c| c.labels.iter().cloned()).collect();
    let users = match label_users(server, info, &labels).await {
        Err(KubeError::Denied(_)) => Users::new(),
        users => users?,
    };
    Ok(found(info, claims, &list).into_iter().chain(users.iter().map(shared)).map(KubeError::Other).collect())
}

/// Why a label can't be this cluster's.
pub fn shared((label, users): (&Label, &BTreeSet<String>)) -> String {
    let (key, value) = label;
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    format!(
        "nodes with the label {key}={value} are chosen by the cluster {} too, and pods of one would come to nodes of the other: \
         give this cluster `node_labels: {{scheme: per_cluster}}`, or another name",
        users.join(", ")
    )
}

/// Which of these labels StatefulSets of other clusters choose nodes by.
pub async fn label_users(server: &Server, info: &Info, labels: &BTreeSet<Label>) -> Result<Users, KubeError> {
    let Some(sets) = kind("StatefulSet").filter(|_| !labels.is_empty()) else { return Ok(Users::new()) };
    Ok(users(info, labels, &server.list(sets, None, "").await?))
}

fn users(info: &Info, labels: &BTreeSet<Label>, sets: &[Json]) -> Users {
    let mut all = Users::new();
    for set in sets {
        let namespace = set["metadata"]["namespace"].as_str().unwrap_or_default();
        let name = set["metadata"]["labels"]["app.kubernetes.io/name"].as_str().or_else(|| set["metadata"]["name"].as_str());
        let name = name.unwrap_or_default();
        if (namespace, name) == (info.namespace.as_str(), info.name.as_str()) {
            continue;
        }
        let chosen = chosen(&set["spec"]["template"]["spec"]);
        for label in labels.intersection(&chosen) {
            all.entry(label.clone()).or_default().insert(format!("{namespace}/{name}"));
        }
    }
    all
}

/// Labels by which a pod chooses nodes, or prefers them.
fn chosen(pod: &Json) -> BTreeSet<Label> {
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let mut all: BTreeSet<Label> = pod["nodeSelector"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect();
    let affinity = &pod["affinity"]["nodeAffinity"];
    let required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].as_array().into_iter().flatten();
    let preferred = affinity["preferredDuringSchedulingIgnoredDuringExecution"].as_array().into_iter().flatten().map(|p| &p["preference"]);
    for rule in required.chain(preferred).flat_map(|term| term["matchExpressions"].as_array().into_iter().flatten()) {
        if rule["operator"] == "In" {
            all.extend(rule["values"].as_array().into_iter().flatten().map(|v| (text(&rule["key"]), text(v))));
        }
    }
    all
}

/// Ports of its node that a pod takes.
fn host_ports(pod: &Json) -> impl Iterator<Item = u16> {
    let key = if pod["spec"]["hostNetwork"] == true { "containerPort" } else { "hostPort" };
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers.flat_map(|c| c["ports"].as_array().into_iter().flatten());
    ports.filter_map(move |p| u16::try_from(p[key].as_u64()?).ok())
}

/// Ports that this cluster's own pods take, by node. `claims`: what its spec takes.
pub async fn own_ports(
    server: &Server,
    info: &Info,
    claims: &BTreeMap<String, Claim>,
) -> Result<BTreeMap<String, BTreeSet<u16>>, KubeError> {
    let Some(pods) = kind("Pod") else { return Ok(BTreeMap::new()) };
    Ok(ports_of(&server.list(pods, Some(&info.namespace), &info.selector()).await?, claims))
}

fn ports_of(pods: &[Json], claims: &BTreeMap<String, Claim>) -> BTreeMap<String, BTreeSet<u16>> {
    let mut all: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for pod in pods {
        let Some(node) = pod["spec"]["nodeName"].as_str() else { continue };
        let own = all.entry(node.to_owned()).or_default();
        own.extend(host_ports(pod));
        // Pods of an earlier fettle in their node's network name the public port only, and have all of them.
        if pod["spec"]["hostNetwork"] == true && host_ports(pod).count() == 1 {
            own.extend(claims.get(node).into_iter().flat_map(|c| &c.ports));
        }
    }
    all
}

fn found(info: &Info, claims: &BTreeMap<String, Claim>, pods: &[Json]) -> Vec<String> {
    // What is taken, by whom, and on which nodes.
    let mut taken: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for pod in pods {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Json::as_str).unwrap_or_default();
        let (namespace, name) = (text("/metadata/namespace"), pod["metadata"]["labels"]["app.kubernetes.io/name"].as_str());
        let name = name.unwrap_or_else(|| text("/metadata/name"));
        let over = matches!(text("/status/phase"), "Succeeded" | "Failed");
        let Some((node, claim)) = claims.get_key_value(text("/spec/nodeName")).filter(|_| !over) else { continue };
        if (namespace, name) == (info.namespace.as_str(), info.name.as_str()) {
            continue;
        }
        let mut clash = |what: String| {
            taken.entry((what, format!("{namespace}/{name}"))).or_default().insert(node.as_str());
        };
        for port in host_ports(pod).filter(|p| claim.ports.contains(p)) {
            clash(format!("port {port}"));
        }
        for path in pod["spec"]["volumes"].as_array().into_iter().flatten().filter_map(|v| v["hostPath"]["path"].as_str()) {
            let within = |m: &&String| path == m.as_str() || path.strip_prefix(m.as_str()).is_some_and(|rest| rest.starts_with('/'));
            if let Some(mountpath) = claim.mountpaths.iter().find(within) {
                clash(format!("mountpath {mountpath}"));
            }
        }
    }
    let line = |((what, whose), nodes): ((String, String), BTreeSet<&str>)| {
        // More names than fit a line help nobody.
        let first: Vec<&str> = nodes.iter().take(3).copied().collect();
        let more = nodes.len().checked_sub(3).filter(|n| *n > 0).map(|n| format!(" and {n} more")).unwrap_or_default();
        format!(
            "{what} of {}{more} is taken by the cluster {whose}: clusters on one node need their own ports and mountpaths",
            first.join(", ")
        )
    };
    taken.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(namespace: &str, cluster: &str, node: &str, spec: &Json) -> Json {
        let mut spec = spec.clone();
        spec["nodeName"] = json!(node);
        json!({"metadata": {"name": "x-0", "namespace": namespace, "labels": {"app.kubernetes.io/name": cluster}}, "spec": spec, "status": {"phase": "Running"}})
    }

    #[test]
    fn others_that_choose_nodes_by_our_labels_are_named() {
        let set = |namespace: &str, cluster: &str, spec: Json| {
            json!({"metadata": {"name": "x", "namespace": namespace, "labels": {"app.kubernetes.io/name": cluster}},
                "spec": {"template": {"spec": spec}}})
        };
        let selects = json!({"nodeSelector": {"nvidia.com/ais-proxy": "ais"}});
        let prefers = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "first", "operator": "In", "values": ["ais"]}]}}]}}});
        let labels = [("nvidia.com/ais-proxy".to_owned(), "ais".to_owned()), ("first".to_owned(), "ais".to_owned())];
        let all = [set("two", "ais", selects.clone()), set("one", "ais", selects), set("two", "other", prefers)];
        let users = users(&info(), &labels.clone().into(), &all);
        let expected = [("one/ais", &labels[0]), ("two/other", &labels[1])];
        assert_eq!(users, expected.map(|(who, label)| (label.clone(), BTreeSet::from([who.to_owned()]))).into());
        assert!(users.iter().map(shared).all(|text| text.contains("per_cluster")));
    }

    fn info() -> Info {
        Info {
            name: "ais".into(),
            namespace: "two".into(),
            image: String::new(),
            https: false,
            sets: vec![],
            labels: vec![],
            endpoint: String::new(),
            initial_primary: None,
            rebalance: true,
            config: Json::Null,
        }
    }

    #[test]
    fn what_others_hold_on_the_same_nodes_is_named() {
        let info = info();
        let claim = Claim { ports: [51080, 51081].into(), mountpaths: ["/ais/sda".to_owned()].into(), ..Claim::default() };
        let claims: BTreeMap<String, Claim> = ["n1", "n2", "n3", "n4"].map(|n| (n.to_owned(), claim.clone())).into();
        let port = json!({"containers": [{"ports": [{"containerPort": 51080, "hostPort": 51080}]}]});
        let disk = json!({"containers": [{}], "volumes": [{"hostPath": {"path": "/ais/sda/one/ais/target"}}, {"hostPath": {"path": "/ais/sdab"}}]});
        let network = json!({"hostNetwork": true, "containers": [{"ports": [{"containerPort": 51081}]}]});
        let pods: Vec<Json> = ["n1", "n2", "n3", "n4"].map(|n| pod("one", "ais", n, &port)).into();
        assert_eq!(
            found(&info, &claims, &pods),
            [
                "port 51080 of n1, n2, n3 and 1 more is taken by the cluster one/ais: clusters on one node need their own ports and mountpaths"
            ]
        );
        let all = found(&info, &claims, &[pod("one", "b", "n1", &disk), pod("one", "b", "n2", &network)]);
        assert!(all[0].starts_with("mountpath /ais/sda of n1 is taken by the cluster one/b"), "{all:?}");
        assert!(all[1].starts_with("port 51081 of n2 is taken") && all.len() == 2, "{all:?}");
        // Our own, other nodes', and those that are over.
        let mut over = pod("one", "ais", "n1", &port);
        over["status"]["phase"] = json!("Failed");
        assert_eq!(found(&info, &claims, &[pod("two", "ais", "n1", &port), pod("one", "ais", "n9", &port), over]), Vec::<String>::new());
    }

    #[test]
    fn pods_in_their_nodes_network_have_all_ports() {
        let ports = |pods: &[Json]| {
            let claim = Claim { ports: [51080, 51081, 51082].into(), ..Claim::default() };
            ports_of(pods, &[("n1".to_owned(), claim)].into()).remove("n1").unwrap_or_default()
        };
        let network = |ports: &[u16]| {
            let ports: Vec<Json> = ports.iter().map(|p| json!({"containerPort": p, "hostPort": p})).collect();
            pod("two", "ais", "n1", &json!({"hostNetwork": true, "containers": [{"ports": ports}]}))
        };
        assert_eq!(ports(&[network(&[51081, 41082])]), [41082, 51081].into());
        // One that names one port is of a time when the others were not named.
        assert_eq!(ports(&[network(&[51081])]), [51080, 51081, 51082].into());
        let own = json!({"containers": [{"ports": [{"containerPort": 51081, "hostPort": 51081}]}]});
        assert_eq!(ports(&[pod("two", "ais", "n1", &own)]), [51081].into());
    }
}
