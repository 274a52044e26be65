//! Whether packets as large as the hosts' MTU arrive at other hosts: between two interfaces of one MTU a switch may have a smaller one.

use super::CliError;
use super::onhosts::{HostArgs, Results, field, play_aside};
use crate::inventory::Inventory;
use crate::protocol::Status;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of the headers before what `ping` sends: IPv4 20 (RFC 791) or IPv6 40 (RFC 8200), and ICMP 8 (RFC 792, RFC 4443).
const HEADERS_V4: i64 = 20 + 8;
const HEADERS_V6: i64 = 40 + 8;

/// A host's end of the way to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its address on the interface of its default route.
    pub address: String,
    /// That interface's MTU in bytes.
    pub mtu: i64,
    headers: i64,
}

/// Where a host's default route leaves it, from its facts.
pub fn end(facts: &Json) -> Option<End> {
    [("default_ipv4", HEADERS_V4), ("default_ipv6", HEADERS_V6)].into_iter().find_map(|(name, headers)| {
        let route = facts.get(name).or_else(|| facts.get(format!("ansible_{name}")))?;
        Some(End { address: route["address"].as_str()?.to_owned(), mtu: route["mtu"].as_i64()?, headers })
    })
}

/// What was found between hosts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Host, and what is wrong: full packets do not arrive, small ones do.
    pub narrow: Vec<(String, String)>,
    /// Host, and why it is not known.
    pub unknown: BTreeMap<String, String>,
}

/// Sends packets between the hosts. Each tries its neighbour in the order of names and the one half way round, so that a thousand
/// hosts send two thousand packets and not a million, and still every host both sends and is sent to.
pub fn try_paths(ends: &BTreeMap<String, End>, inventory: &Inventory, hosts: &HostArgs) -> Result<Paths, CliError> {
    let names: Vec<&String> = ends.keys().collect();
    if names.len() < 2 {
        return Ok(Paths::default());
    }
    let steps = BTreeSet::from([1, names.len() / 2]);
    let tries: Map<String, Json> = ends
        .iter()
        .enumerate()
        .map(|(at, (name, own))| {
            let others = steps.iter().map(|step| names[(at + step) % names.len()]);
            // A packet of the larger MTU would tell only that the two differ, which their facts tell.
            let tries = others.map(|other| {
                let (to, size) = (&ends[other], own.mtu.min(ends[other].mtu) - own.headers);
                json!({"name": other, "address": to.address, "size": size, "mtu": size + own.headers})
            });
            (name.clone(), tries.collect())
        })
        .collect();
    let list = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(",");
    let extra = json!({"path_hosts": list, "paths": tries});
    let mut results = Results::default();
    play_aside("packets between hosts", include_str!("path_mtu.yml"), &extra, inventory, hosts, false, &mut results)?;
    Ok(judge(&tries, &results))
}

fn judge(tries: &Map<String, Json>, results: &Results) -> Paths {
    let mut found = Paths::default();
    for (host, tries) in tries {
        let tasks = results.hosts.get(host);
        // Whether each packet arrived; nothing where the host did not get so far.
        let arrived = |task: &str, at: usize| {
            let report = tasks?.get(task).filter(|t| t.status != Status::Failed)?;
            field(report, "results").get(at)?["rc"].as_i64().map(|rc| rc == 0)
        };
        for (at, to) in tries.as_array().into_iter().flatten().enumerate() {
            match (arrived("full", at), arrived("small", at)) {
                (Some(true), _) => {}
                (Some(false), Some(true)) => found.narrow.push((
                    host.clone(),
                    format!(
                        "packets of {} bytes, the MTU of both ends, do not arrive at {} ({}); small ones do: \
                         a switch or link between them has a smaller MTU",
                        to["mtu"],
                        to["name"].as_str().unwrap_or_default(),
                        to["address"].as_str().unwrap_or_default(),
                    ),
                )),
                _ => {
                    let silence = || "nobody answers ping, or there is no ping (Debian's iputils-ping)".to_owned();
                    let why = results.failed.get(host).cloned().unwrap_or_else(silence);
                    found.unknown.insert(host.clone(), format!("the way to other hosts was not tried: {why}"));
                }
            }
        }
    }
    found
}
