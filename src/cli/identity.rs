//! Whether the Node of a name is the host of that name: two clusters may call their nodes the same.

use serde_json::Value as Json;
use std::net::IpAddr;

/// Why `node` (a Node object) is not the host with these facts; `None`: it is.
pub fn stranger(node: &Json, facts: &Json) -> Option<String> {
    let fact = |name: &str| facts.get(name).or_else(|| facts.get(format!("ansible_{name}"))).unwrap_or(&Json::Null);
    let ids = (node["status"]["nodeInfo"]["machineID"].as_str().unwrap_or_default(), fact("machine_id").as_str().unwrap_or_default());
    let both = !ids.0.is_empty() && !ids.1.is_empty();
    if both && ids.0 != ids.1 {
        return Some(format!("the node has machine-id {}, and the host {}", ids.0, ids.1));
    }
    let listed = node["status"]["addresses"].as_array().into_iter().flatten();
    let theirs: Vec<&str> =
        listed.filter(|a| a["type"] == "InternalIP" || a["type"] == "ExternalIP").filter_map(|a| a["address"].as_str()).collect();
    let own: Vec<&str> = ["all_ipv4_addresses", "all_ipv6_addresses"]
        .iter()
        .flat_map(|name| fact(name).as_array().into_iter().flatten())
        .filter_map(Json::as_str)
        .collect();
    if theirs.is_empty() {
        // Clones of one machine share its id, so alone it counts only where there is nothing else.
        return (!both).then(|| "the node tells neither an address nor a machine-id to know it by".into());
    }
    // IPv6 addresses have many spellings.
    let same = |a: &str, b: &str| a == b || matches!((a.parse::<IpAddr>(), b.parse::<IpAddr>()), (Ok(a), Ok(b)) if a == b);
    if theirs.iter().any(|a| own.iter().any(|b| same(a, b))) {
        return None;
    }
    // More addresses than fit a line help nobody: those of pods' interfaces come last.
    let own = if own.is_empty() { "none".into() } else { own.iter().take(4).copied().collect::<Vec<_>>().join(", ") };
    Some(format!("the node has the address {}, and the host has {own}", theirs.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(node: Json, facts: Json) -> Option<String> {
        stranger(&json!({"status": node}), &facts)
    }

    #[test]
    fn a_node_is_known_by_its_address_and_its_machine_id() {
        let at = |address: &str| json!([{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": address}]);
        let facts = json!({"ansible_all_ipv4_addresses": ["10.0.0.1", "10.1.0.1"], "ansible_all_ipv6_addresses": ["fd00::1"], "ansible_machine_id": "a"});
        assert_eq!(told(json!({"addresses": at("10.1.0.1")}), facts.clone()), None);
        assert_eq!(told(json!({"addresses": at("fd00:0::0001")}), facts.clone()), None);
        let why = told(json!({"addresses": at("10.0.0.2")}), facts.clone()).unwrap();
        assert_eq!(why, "the node has the address 10.0.0.2, and the host has 10.0.0.1, 10.1.0.1, fd00::1");
        // The same private address in two networks.
        let why = told(json!({"addresses": at("10.0.0.1"), "nodeInfo": {"machineID": "b"}}), facts.clone()).unwrap();
        assert_eq!(why, "the node has machine-id b, and the host a");
        assert_eq!(told(json!({"nodeInfo": {"machineID": "a"}}), facts.clone()), None);
        assert!(told(json!({"nodeInfo": {"machineID": ""}}), facts.clone()).is_some());
        // Clones share their id.
        assert!(told(json!({"addresses": at("10.0.0.2"), "nodeInfo": {"machineID": "a"}}), facts).is_some());
    }
}
