//! The lab's bridge, its subnet, and the cables from it to the hosts.

use super::{failed, found, names::Lab, needs};
use crate::diag::Diagnostic;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

/// Labs live in 10.213.X.0/24: a corner of the private range (RFC 1918) that installers do not hand out.
const BASE: [u8; 2] = [10, 213];
/// The last byte of the first host's address; the bridge has 1.
const FIRST_HOST: usize = 11;
/// How many hosts fit: last bytes 11 to 250.
pub const MAX_HOSTS: usize = 240;
/// What the machine's ends of the cables carry, so that hosts can try jumbo frames.
const MTU: u32 = 9000;

/// A lab's network: `X` of 10.213.X.0/24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet(u8);

impl Subnet {
    /// The bridge's name.
    pub fn bridge(self) -> String {
        format!("fettle{}", self.0)
    }

    /// The machine's address on the bridge.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(BASE[0], BASE[1], self.0, 1)
    }

    /// The `n`th host's address, from 0.
    pub fn address(self, n: usize) -> Ipv4Addr {
        Ipv4Addr::new(BASE[0], BASE[1], self.0, u8::try_from(FIRST_HOST + n).unwrap_or(u8::MAX))
    }

    /// The machine's end of the `n`th host's cable, from 0. At most 15 characters, as the kernel demands.
    pub fn link(self, n: usize) -> String {
        format!("fettle{}n{}", self.0, n + 1)
    }
}

/// Runs `ip -batch` with these lines.
///
/// # Errors
/// `ip` can't be started, or what it says.
pub fn ip(lines: &str) -> Result<(), String> {
    let program = needs::program("ip").ok_or("`ip` not found (package iproute2)")?;
    let mut child = Command::new(program)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| format!("ip: {why}"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes()).map_err(|why| format!("ip: {why}"))?;
    }
    let output = child.wait_with_output().map_err(|why| format!("ip: {why}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip: {}", String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "))),
    }
}

/// Makes the bridge on a subnet that nothing on this machine routes to. Making it is what reserves the subnet:
/// of two that try at once, one finds the name taken and goes on to the next.
///
/// # Errors
/// No subnet is free, or the kernel makes no bridge.
pub fn make_bridge(lab: &Lab) -> Result<Subnet, Diagnostic> {
    let taken = networks()?;
    for x in 0..=u8::MAX {
        let subnet = Subnet(x);
        let (low, high) = (u32::from(subnet.gateway()) & !0xff, u32::from(subnet.gateway()) | 0xff);
        if taken.iter().any(|(from, to)| *from <= high && low <= *to) {
            continue;
        }
        let bridge = subnet.bridge();
        // One batch, so that a kill of this process cannot part the bridge from the alias by which `down` finds it.
        let lines = format!(
            "link add {bridge} type bridge stp_state 0 forward_delay 0\nlink set {bridge} alias {}\n\
             link set {bridge} mtu {MTU} up\naddress add {}/24 dev {bridge}\n",
            lab.alias(),
            subnet.gateway()
        );
        match ip(&lines) {
            Ok(()) => {}
            Err(why) if why.contains("File exists") => continue,
            // What there is of it carries the alias; whoever called cleans up.
            Err(why) => return Err(failed("cannot make the lab's bridge", why)),
        }
        return Ok(subnet);
    }
    Err(Diagnostic::bare("no free subnet in 10.213.0.0/16 for the lab").help("fettle lab list shows labs; fettle lab down removes one"))
}

/// Address ranges this machine has routes to (other than the default one), as first and last address.
fn networks() -> Result<Vec<(u32, u32)>, Diagnostic> {
    let program = needs::program("ip").ok_or_else(|| Diagnostic::bare("`ip` not found").help("apt-get install iproute2"))?;
    let output = Command::new(program)
        .args(["-4", "route", "show", "table", "all"])
        .stdin(Stdio::null())
        .output()
        .map_err(|why| failed("ip route", why))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(parse_route).collect())
}

/// The destination of one line of `ip route show table all`.
fn parse_route(line: &str) -> Option<(u32, u32)> {
    const KINDS: [&str; 6] = ["local", "broadcast", "unreachable", "blackhole", "prohibit", "throw"];
    let destination = line.split_whitespace().find(|word| !KINDS.contains(word))?;
    let (address, bits) = destination.split_once('/').unwrap_or((destination, "32"));
    let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
    let bits: u32 = bits.parse().ok().filter(|bits| (1..=32).contains(bits))?;
    let mask = u32::MAX << (32 - bits);
    // Networks far wider than ours are somebody's default route in disguise (a VPN's 0.0.0.0/1); ours is more specific.
    (bits > 8).then_some((address & mask, address | !mask))
}

/// Lays the cables: one end on the bridge, the other as `eth0` in the network of the process `pid`.
///
/// # Errors
/// What `ip` says.
pub fn cables(lab: &Lab, subnet: Subnet, hosts: &[(usize, i32)]) -> Result<(), Diagnostic> {
    let mut lines = String::new();
    for (n, pid) in hosts {
        let (link, bridge, alias) = (subnet.link(*n), subnet.bridge(), lab.alias());
        lines.push_str(&format!("link add {link} mtu {MTU} type veth peer name eth0 mtu 1500 netns {pid}\n"));
        lines.push_str(&format!("link set {link} alias {alias} master {bridge} up\n"));
    }
    ip(&lines).map_err(|why| failed("cannot lay the cables to the hosts", why))
}

/// Pulls a host's cable out (`false`) or plugs it in again (`true`): packets vanish, nobody says why.
///
/// # Errors
/// What `ip` says.
pub fn plug(link: &str, connected: bool) -> Result<(), Diagnostic> {
    let to = if connected { "up" } else { "down" };
    ip(&format!("link set {link} {to}\n")).map_err(|why| failed("cannot switch the cable", why))
}

/// Removes every link of a lab.
///
/// # Errors
/// Names the links that stay.
pub fn remove(lab: &Lab) -> Result<usize, Diagnostic> {
    let ours = |link: &found::Link| link.lab == lab.name();
    let links: Vec<_> = found::links().into_iter().filter(ours).collect();
    for link in &links {
        // A cable goes by itself when the host's network does; being too late is no failure.
        let _ = ip(&format!("link del {}\n", link.name));
    }
    let left: Vec<_> = found::links().into_iter().filter(ours).map(|link| link.name).collect();
    match left.is_empty() {
        true => Ok(links.len()),
        false => Err(Diagnostic::bare(format!("cannot remove the links {}", left.join(", "))).help("ip link del NAME")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read() {
        let range = |text: &str| parse_route(text).map(|(a, b)| (Ipv4Addr::from(a).to_string(), Ipv4Addr::from(b).to_string()));
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(range("10.213.4.0/24 dev x proto kernel"), pair("10.213.4.0", "10.213.4.255"));
        assert_eq!(range("local 10.0.0.7 dev eth0 table local"), pair("10.0.0.7", "10.0.0.7"));
        assert_eq!(range("10.208.0.0/12 via 10.0.0.1"), pair("10.208.0.0", "10.223.255.255"));
        assert_eq!(range("default via 192.0.2.1 dev eth0"), None);
        assert_eq!(range("0.0.0.0/1 via 10.8.0.1 dev tun0"), None);
        assert_eq!(range("10.0.0.0/8 via 10.8.0.1 dev tun0"), None);
        assert_eq!(range(""), None);
    }

    #[test]
    fn link_names_fit() {
        assert!(Subnet(255).link(MAX_HOSTS - 1).len() <= 15);
        assert_eq!(Subnet(3).address(MAX_HOSTS - 1), Ipv4Addr::new(10, 213, 3, 250));
    }
}
