//! AIStore's own view: the cluster map, and the few things we ask of the cluster, all through the API server, so that
//! a workstation needs no route to pods.

use super::pods::Pod;
use super::{Info, KubeError, Role, Server};
use serde_json::{Value as Json, json};

/// A node in the cluster map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// AIStore's name for it.
    pub id: String,
    /// Its role.
    pub role: Role,
    /// The pod it runs in, as far as its addresses say; empty: not told.
    pub pod: String,
    /// Where clients reach it.
    pub public_url: String,
    /// It is the primary proxy.
    pub primary: bool,
    /// In maintenance, or leaving.
    pub away: bool,
    /// In maintenance, and all its objects were moved to the others without an error.
    pub emptied: bool,
}

/// The cluster map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// The cluster's own id.
    pub uuid: String,
    /// The map's version.
    pub version: String,
    /// Proxies, then targets, each by id.
    pub members: Vec<Member>,
}

/// Flags in a node's map entry (AIStore's `meta.SnodeMaint`, `meta.SnodeDecomm`): bit 2 maintenance, bit 3 leaving.
const AWAY: u64 = 0b1100;

/// `meta.SnodeMaintPostReb`, bit 4: set when the rebalance that maintenance began has ended well, and not if it failed.
const EMPTIED: u64 = 0b1_0000;

impl Map {
    /// The primary proxy.
    pub fn primary(&self) -> Option<&Member> {
        self.members.iter().find(|m| m.primary)
    }

    /// Members of a role that serve.
    pub fn serving(&self, role: Role) -> usize {
        self.members.iter().filter(|m| m.role == role && !m.away).count()
    }

    /// The member in this pod.
    pub fn of_pod(&self, pod: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.pod == pod)
    }

    /// Whether all that the spec wants are in the map and serve.
    pub fn is_complete(&self, info: &Info) -> bool {
        [Role::Proxy, Role::Target].into_iter().all(|r| self.serving(r) >= info.wanted(r) as usize)
    }

    fn read(json: &Json, pods: &[Pod]) -> Option<Self> {
        let primary = json["proxy_si"]["daemon_id"].as_str()?;
        let mut members = vec![];
        for (list, role) in [("pmap", Role::Proxy), ("tmap", Role::Target)] {
            for (id, node) in json[list].as_object()? {
                let flags = node["flags"].as_u64().or_else(|| node["flags"].as_str()?.parse().ok()).unwrap_or(0);
                members.push(Member {
                    id: id.clone(),
                    role,
                    pod: pod_of(node, pods, role),
                    public_url: node["public_net"]["direct_url"].as_str().unwrap_or_default().to_owned(),
                    primary: id == primary,
                    away: flags & AWAY != 0,
                    emptied: flags & EMPTIED != 0,
                });
            }
        }
        members.sort_by(|a, b| (a.role, &a.id).cmp(&(b.role, &b.id)));
        let text = |key: &str| match &json[key] {
            Json::String(s) => s.clone(),
            Json::Null => String::new(),
            other => other.to_string(),
        };
        Some(Self { uuid: text("uuid"), version: text("version"), members })
    }
}

/// Which pod a map entry is: its names within the cluster begin with the pod's.
fn pod_of(node: &Json, pods: &[Pod], role: Role) -> String {
    let hosts = ["intra_control_net", "intra_data_net", "public_net"].map(|net| node[net]["node_ip_addr"].as_str().unwrap_or_default());
    let named = hosts.iter().find_map(|h| pods.iter().find(|p| p.role == role && h.split('.').next() == Some(p.name.as_str())));
    named.map(|p| p.name.clone()).unwrap_or_default()
}

/// A path on a node's public port, through the API server. Port and scheme are those that this pod was started with.
fn through(info: &Info, pod: &Pod, rest: &str) -> String {
    let scheme = if pod.https { "https" } else { "http" };
    format!("/api/v1/namespaces/{}/pods/{scheme}:{}:{}/proxy/v1/{rest}", info.namespace, pod.name, pod.port)
}

/// Asks the proxies one after the other for the cluster map.
pub async fn map(server: &Server, info: &Info, pods: &[Pod]) -> Result<Map, KubeError> {
    let mut last = KubeError::Unreachable("the cluster has no proxy that runs".into());
    // Ready ones first: the others may be starting, and would keep us waiting.
    let mut proxies: Vec<&Pod> = pods.iter().filter(|p| p.role == Role::Proxy && p.phase == "Running" && !p.leaving).collect();
    proxies.sort_by_key(|p| !p.ready);
    for pod in proxies {
        let doing = format!("ask {} for the cluster map", pod.name);
        match server.get_through(&through(info, pod, "daemon?what=smap"), &doing).await {
            Ok(text) => match serde_json::from_str::<Json>(&text).ok().and_then(|json| Map::read(&json, pods)) {
                Some(map) => return Ok(map),
                None => last = KubeError::Other(format!("{doing}: the answer is no cluster map")),
            },
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// The primary's pod: it carries out what changes the cluster.
fn primary_pod<'a>(map: &Map, pods: &'a [Pod]) -> Result<&'a Pod, KubeError> {
    let primary = map.primary().map(|m| m.pod.as_str()).unwrap_or_default();
    let pod = pods.iter().find(|p| p.name == primary).or_else(|| pods.iter().find(|p| p.role == Role::Proxy && p.ready));
    pod.ok_or_else(|| KubeError::Other("no pod of the cluster is its primary proxy".into()))
}

/// Has the primary do something: `set-config`, `decommission-node`, ….
pub async fn act(server: &Server, info: &Info, map: &Map, pods: &[Pod], action: &str, value: &Json) -> Result<(), KubeError> {
    let pod = primary_pod(map, pods)?;
    let body = json!({"action": action, "value": value});
    server.put_through(&through(info, pod, "cluster"), Some(&body), &format!("{action} at {}", pod.name)).await?;
    Ok(())
}

/// Changes AIStore's settings while it runs.
pub async fn set_config(server: &Server, info: &Info, map: &Map, pods: &[Pod], config: &Json) -> Result<(), KubeError> {
    act(server, info, map, pods, "set-config", config).await
}

/// The settings AIStore runs with.
pub async fn config(server: &Server, info: &Info, map: &Map, pods: &[Pod]) -> Result<Json, KubeError> {
    let pod = primary_pod(map, pods)?;
    let doing = format!("ask {} for the cluster's configuration", pod.name);
    let text = server.get_through(&through(info, pod, "cluster?what=cluster_config"), &doing).await?;
    serde_json::from_str(&text).map_err(|e| KubeError::Other(format!("{doing}: the answer is no JSON: {e}")))
}

/// Whether objects are being moved between targets just now.
pub async fn rebalancing(server: &Server, info: &Info, map: &Map, pods: &[Pod]) -> Result<bool, KubeError> {
    let pod = primary_pod(map, pods)?;
    let doing = format!("ask {} whether a rebalance runs", pod.name);
    let question = json!({"kind": "rebalance", "show_active": true});
    let text = server.ask_through(&through(info, pod, "cluster?what=status_all"), &question, &doing).await?;
    let json: Json = serde_json::from_str(&text).map_err(|e| KubeError::Other(format!("{doing}: the answer is no JSON: {e}")))?;
    Ok(json.as_array().is_some_and(|running| !running.is_empty()))
}

/// The mountpaths a target uses.
pub async fn mountpaths(server: &Server, info: &Info, pod: &Pod) -> Result<Vec<String>, KubeError> {
    let doing = format!("ask {} for its mountpaths", pod.name);
    let text = server.get_through(&through(info, pod, "daemon?what=mountpaths"), &doing).await?;
    let json: Json = serde_json::from_str(&text).map_err(|e| KubeError::Other(format!("{doing}: the answer is no JSON: {e}")))?;
    Ok(json["available"].as_array().into_iter().flatten().filter_map(|p| p.as_str().map(str::to_owned)).collect())
}

/// Hands the primary's part over to another proxy.
pub async fn set_primary(server: &Server, info: &Info, map: &Map, pods: &[Pod], id: &str) -> Result<(), KubeError> {
    let pod = primary_pod(map, pods)?;
    server.put_through(&through(info, pod, &format!("cluster/proxy/{id}")), None, &format!("make {id} primary")).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_map() {
        let node = |host: &str, flags: u64| json!({"intra_control_net": {"node_ip_addr": host}, "public_net": {"direct_url": "http://10.0.0.1:51080"}, "flags": flags.to_string()});
        let json = json!({"uuid": "u", "version": "7", "proxy_si": {"daemon_id": "p2"},
            "pmap": {"p2": node("ais-proxy-1.ais-proxy.ais.svc.cluster.local", 2), "p1": node("10.0.0.9", 0)},
            "tmap": {"t1": node("ais-target-0.ais-target.ais.svc.cluster.local", 4)}});
        let map = Map::read(&json, &[]).unwrap();
        assert_eq!((map.version.as_str(), map.members.len()), ("7", 3));
        assert_eq!(map.primary().unwrap().id, "p2");
        assert_eq!((map.serving(Role::Proxy), map.serving(Role::Target)), (2, 0));
        assert_eq!(Map::read(&json!({}), &[]), None);
    }
}
