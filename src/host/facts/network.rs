//! Interfaces, addresses, default routes.

use super::line;
use crate::host::View;
use nix::ifaddrs::getifaddrs;
use serde_json::{Map, Value as Json, json};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Gathers them.
pub fn gather(view: &dyn View, facts: &mut Map<String, Json>) {
    let names = view.list(Path::new("/sys/class/net")).unwrap_or_default();
    // Plain files such as bonding_masters stand between the interfaces.
    let names: Vec<String> = names.into_iter().filter(|n| line(view, &format!("/sys/class/net/{n}/mtu")).is_some()).collect();
    let mut v4: Vec<(String, Json)> = vec![];
    let mut v6: Vec<(String, Json)> = vec![];
    for address in getifaddrs().into_iter().flatten() {
        let Some(storage) = address.address else { continue };
        if let Some(sin) = storage.as_sockaddr_in() {
            let mask =
                address.netmask.and_then(|m| m.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::ip)).unwrap_or(Ipv4Addr::BROADCAST);
            let (ip, bits) = (u32::from(sin.ip()), u32::from(mask));
            let network = Ipv4Addr::from(ip & bits);
            let entry = json!({
                "address": sin.ip().to_string(), "netmask": mask.to_string(), "network": network.to_string(), "prefix": bits.count_ones().to_string(),
                "broadcast": Ipv4Addr::from(ip | !bits).to_string(),
            });
            v4.push((address.interface_name, entry));
        } else if let Some(sin6) = storage.as_sockaddr_in6() {
            let bits = address.netmask.and_then(|m| m.as_sockaddr_in6().map(|s| u128::from(s.ip()).count_ones())).unwrap_or(128);
            let ip = sin6.ip();
            let scope = if ip.is_loopback() {
                "host"
            } else if ip.segments()[0] & 0xffc0 == 0xfe80 {
                "link"
            } else {
                "global"
            };
            v6.push((address.interface_name, json!({"address": ip.to_string(), "prefix": bits.to_string(), "scope": scope})));
        }
    }
    for name in &names {
        facts.insert(name.replace(['-', '.', ':'], "_"), interface(view, name, &v4, &v6));
    }
    let loopback = |a: &Json| a["address"].as_str().is_some_and(|t| t.starts_with("127.") || t == "::1");
    let texts =
        |all: &[(String, Json)]| -> Vec<Json> { all.iter().filter(|(_, a)| !loopback(a)).map(|(_, a)| a["address"].clone()).collect() };
    facts.insert("all_ipv4_addresses".into(), texts(&v4).into());
    facts.insert("all_ipv6_addresses".into(), texts(&v6).into());
    facts.insert("default_ipv4".into(), default_v4(view, &v4));
    facts.insert("default_ipv6".into(), default_v6(view, &v6));
    facts.insert("interfaces".into(), json!(names));
}

fn interface(view: &dyn View, name: &str, v4: &[(String, Json)], v6: &[(String, Json)]) -> Json {
    let get = |file: &str| line(view, &format!("/sys/class/net/{name}/{file}"));
    let base = format!("/sys/class/net/{name}");
    let has = |file: &str| view.stat(Path::new(&format!("{base}/{file}")), true).is_ok_and(|s| s.is_some());
    let kind = match get("type").as_deref() {
        Some("772") => "loopback",
        Some("1") if has("bonding") => "bonding",
        Some("1") if has("bridge") => "bridge",
        Some("1") => "ether",
        Some("32") => "infiniband",
        Some("65534" | "768" | "776") => "tunnel",
        _ => "unknown",
    };
    let own4: Vec<&Json> = v4.iter().filter(|(n, _)| n == name).map(|(_, a)| a).collect();
    let own6: Vec<&Json> = v6.iter().filter(|(n, _)| n == name).map(|(_, a)| a).collect();
    let mut out = json!({
        "device": name, "mtu": get("mtu").and_then(|m| m.parse::<u32>().ok()), "active": get("operstate").is_some_and(|s| s == "up" || (s == "unknown" && kind == "loopback")),
        "macaddress": get("address").filter(|_| kind != "loopback"), "type": kind, "promisc": get("flags").and_then(|f| u32::from_str_radix(f.trim_start_matches("0x"), 16).ok()).is_some_and(|f| f & 0x100 != 0),
        "ipv6": own6,
    });
    if let Some(first) = own4.first() {
        out["ipv4"] = (*first).clone();
        if own4.len() > 1 {
            out["ipv4_secondaries"] = json!(own4[1..]);
        }
    }
    if let Some(speed) = get("speed").and_then(|s| s.parse::<i64>().ok()).filter(|s| *s > 0) {
        out["speed"] = json!(speed);
    }
    if let Ok(module) = view.read_link(Path::new(&format!("{base}/device/driver/module"))) {
        out["module"] = json!(module.file_name().map(|n| n.to_string_lossy().into_owned()));
    }
    if has("bonding") {
        out["slaves"] = json!(get("bonding/slaves").map(|s| s.split_whitespace().map(str::to_owned).collect::<Vec<_>>()));
    }
    out
}

fn default_v4(view: &dyn View, v4: &[(String, Json)]) -> Json {
    let table = line(view, "/proc/net/route").unwrap_or_default();
    let route = table
        .lines()
        .skip(1)
        .map(|l| l.split_whitespace().collect::<Vec<_>>())
        .find(|f| f.get(1) == Some(&"00000000") && f.get(7) == Some(&"00000000"));
    let Some(fields) = route else { return json!({}) };
    let (name, gateway) =
        (fields[0], fields.get(2).and_then(|g| u32::from_str_radix(g, 16).ok()).map(|g| Ipv4Addr::from(g.swap_bytes()).to_string()));
    describe(view, name, gateway, v4)
}

fn default_v6(view: &dyn View, v6: &[(String, Json)]) -> Json {
    let table = line(view, "/proc/net/ipv6_route").unwrap_or_default();
    let zero = "0".repeat(32);
    let route = table
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>())
        .find(|f| f.first() == Some(&zero.as_str()) && f.get(1) == Some(&"00") && f.last() != Some(&"lo"));
    let Some(fields) = route else { return json!({}) };
    let gateway = fields.get(4).and_then(|g| u128::from_str_radix(g, 16).ok()).map(|g| Ipv6Addr::from(g).to_string());
    describe(view, fields.last().unwrap_or(&""), gateway, v6)
}

fn describe(view: &dyn View, name: &str, gateway: Option<String>, addresses: &[(String, Json)]) -> Json {
    let mut out = addresses.iter().find(|(n, a)| n == name && a["scope"] != "link").map_or_else(|| json!({}), |(_, a)| a.clone());
    out["interface"] = json!(name);
    out["gateway"] = json!(gateway);
    out["mtu"] = json!(line(view, &format!("/sys/class/net/{name}/mtu")).and_then(|m| m.parse::<u32>().ok()));
    out["macaddress"] = json!(line(view, &format!("/sys/class/net/{name}/address")));
    out["type"] = json!("ether");
    out
}
