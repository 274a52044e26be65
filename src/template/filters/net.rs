//! Filters over IP addresses: the part of `ansible.utils.ipaddr` that host preparation uses.

use super::{Call, DataFilter};
use serde_json::{Value as Json, json};
use std::net::IpAddr;

pub const FILTERS: &[(&str, DataFilter)] = &[
    ("ipaddr", |c| each(c, |_| true)),
    ("ipv4", |c| each(c, |ip| ip.is_ipv4())),
    ("ipv6", |c| each(c, |ip| ip.is_ipv6())),
    ("ipwrap", |c| {
        let text = c.value().as_str().unwrap_or_default();
        Ok(if text.parse::<std::net::Ipv6Addr>().is_ok() { json!(format!("[{text}]")) } else { c.value().clone() })
    }),
];

const QUERIES: &str = "there are address, prefix, network, broadcast, subnet, netmask, size and version";

/// Applies to one address, or keeps those of a list that are addresses; anything else gives false.
fn each(c: &Call, family: fn(&IpAddr) -> bool) -> Result<Json, String> {
    let query = match c.arg(0, "query") {
        None => "",
        Some(Json::String(query)) => query,
        Some(other) => return Err(format!("the query `{other}` is not supported; {QUERIES}")),
    };
    match c.value() {
        Json::Array(items) => {
            let mut out = vec![];
            for item in items {
                let result = one(item, query, family)?;
                if result != json!(false) {
                    out.push(result);
                }
            }
            Ok(Json::Array(out))
        }
        value => one(value, query, family),
    }
}

fn one(value: &Json, query: &str, family: fn(&IpAddr) -> bool) -> Result<Json, String> {
    let Some(text) = value.as_str() else { return Ok(json!(false)) };
    let (address, prefix) = match text.split_once('/') {
        Some((a, p)) => (a, Some(p)),
        None => (text, None),
    };
    let Ok(ip) = address.parse::<IpAddr>() else { return Ok(json!(false)) };
    let bits = if ip.is_ipv4() { 32u32 } else { 128 };
    let prefix = match prefix.map(str::parse::<u32>) {
        None => bits,
        Some(Ok(n)) if n <= bits => n,
        Some(_) => return Ok(json!(false)),
    };
    if !family(&ip) {
        return Ok(json!(false));
    }
    let masked = |ip: IpAddr, host_ones: bool| -> IpAddr {
        match ip {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                let net = u32::from(v4) & mask;
                IpAddr::from((if host_ones { net | !mask } else { net }).to_be_bytes())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                let net = u128::from(v6) & mask;
                IpAddr::from((if host_ones { net | !mask } else { net }).to_be_bytes())
            }
        }
    };
    Ok(match query {
        "" => value.clone(),
        "address" => json!(ip.to_string()),
        "prefix" => json!(prefix),
        "network" => json!(masked(ip, false).to_string()),
        "broadcast" => json!(masked(ip, true).to_string()),
        "subnet" | "net" => json!(format!("{}/{prefix}", masked(ip, false))),
        "netmask" => json!(
            match ip {
                IpAddr::V4(_) => IpAddr::from(u32::MAX.checked_shl(32 - prefix).unwrap_or(0).to_be_bytes()),
                IpAddr::V6(_) => IpAddr::from(u128::MAX.checked_shl(128 - prefix).unwrap_or(0).to_be_bytes()),
            }
            .to_string()
        ),
        "size" => json!(1u64.checked_shl(bits - prefix).ok_or("the network has more addresses than can be counted")?),
        "version" => json!(if bits == 32 { 4 } else { 6 }),
        other => {
            return Err(format!("the query `{other}` is not supported; {QUERIES}"));
        }
    })
}
