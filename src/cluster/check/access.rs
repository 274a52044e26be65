//! Ports, ways in, names, TLS, configuration that contradicts the spec.

use crate::cluster::resolve::{Resolved, Role};
use crate::cluster::spec::{Access, Ports, PublicName, Reach, host_port};
use crate::cluster::value::{At, Port};
use crate::diag::{Diagnostic, Diagnostics, Loc};
use serde_json::Value as Json;

pub fn check(r: &Resolved, out: &mut Diagnostics) {
    let c = &r.cluster;
    let proxies = (c.proxies.ports(), c.proxies.access());
    let targets = (c.targets.ports(), c.targets.access());
    for (role, (ports, access)) in [(Role::Proxy, &proxies), (Role::Target, &targets)] {
        own_ports(role, ports, out);
        way(role, access, out);
        other_port(role, ports, access, out);
    }
    host_ports(r, out);
    public_name(r, out);
    sysctls(r, out);
    tls(r, out);
    config(r, out);
    load(r, out);
    if let Some(privileged) = [("proxies", &c.proxies.pods), ("targets", &c.targets.pods)].iter().find_map(|(section, pods)| {
        pods.container_security_context.as_ref().filter(|s| s.0.privileged == Some(true)).map(|s| (section, &s.1))
    }) {
        let (section, loc) = privileged;
        out.push(
            Diagnostic::warning(loc, format!("the pods of `{section}` are privileged: they are root on their nodes"))
                .help("AIStore needs no privileges to read and write its mountpaths"),
        );
    }
}

fn own_ports(role: Role, ports: &Ports, out: &mut Diagnostics) {
    let section = role.section();
    for (name, port) in [("control", &ports.control), ("data", &ports.data)] {
        if port.value == ports.public.value {
            let loc = if port.loc.line > 0 { &port.loc } else { &ports.public.loc };
            out.push(
                Diagnostic::error(loc, format!("`{section}.ports.public` and `{section}.ports.{name}` are both {}", port.value))
                    .help("AIStore 5.0 refuses to start where the public port is also one between nodes"),
            );
        }
    }
}

/// What is given and would not be used.
fn way(role: Role, access: &Access<'_>, out: &mut Diagnostics) {
    let section = role.section();
    let by = access.by.value;
    if role == Role::Proxy && by == Reach::HostNetwork {
        out.push(
            Diagnostic::error(&access.by.loc, "`proxies.access.by` can't be `host_network`: only targets can use the node's network")
                .help("proxies carry no objects, so `host_port` costs them nothing"),
        );
    }
    if let Some(port) = access.host_port.filter(|_| by != Reach::HostPort) {
        out.push(Diagnostic::error(
            &port.loc,
            format!("`{section}.access.host_port` is given, and `{section}.access.by` is `{}`", by.word()),
        ));
    }
    if by != Reach::LoadBalancer {
        let unused = [
            ("load_balancer_class", access.load_balancer_class.map(|c| &c.loc)),
            ("source_ranges", access.source_ranges.first().map(|n| &n.loc)),
            ("annotations", (!access.annotations.is_empty()).then_some(access.loc)),
        ];
        for (name, loc) in unused {
            if let Some(loc) = loc {
                out.push(Diagnostic::error(
                    loc,
                    format!("`{section}.access.{name}` is for load balancers, and `{section}.access.by` is `{}`", by.word()),
                ));
            }
        }
    }
}

/// AIStore shows clients the port it listens on, whatever port of the node leads there (`initPhase1` in
/// ais/htrun.go makes the public address with HostNet.Port): redirects and cluster maps would name a port that nobody serves.
fn other_port(role: Role, ports: &Ports, access: &Access<'_>, out: &mut Diagnostics) {
    let Some(port) = access.host_port.filter(|p| access.by.value == Reach::HostPort && p.value != ports.public.value) else { return };
    let section = role.section();
    let differ = format!("`{section}.access.host_port` is {}, and `{section}.ports.public` {}", port.value, ports.public.value);
    out.push(match role {
        Role::Target => Diagnostic::error(&port.loc, differ)
            .help("proxies redirect clients to the public port, where nobody would answer: change `targets.ports.public` instead"),
        Role::Proxy => Diagnostic::warning(&port.loc, differ)
            .help("what proxies say of themselves names the public port: clients that follow a cluster map won't reach them by it"),
    });
}

/// The ports of a node that a role's pods take.
pub fn on_host(access: &Access<'_>, ports: &Ports) -> Vec<At<Port>> {
    match access.by.value {
        Reach::HostNetwork => vec![ports.public.clone(), ports.control.clone(), ports.data.clone()],
        _ => host_port(access, ports).into_iter().collect(),
    }
}

/// Whether the two roles can meet on a node: unknown nodes may be any.
fn meet(r: &Resolved) -> Option<String> {
    let (proxies, targets) = (r.of(Role::Proxy), r.of(Role::Target));
    if proxies.is_empty() || targets.is_empty() {
        return Some("a node that has both roles".to_owned());
    }
    proxies.iter().find(|p| targets.iter().any(|t| t.name == p.name)).map(|p| format!("the node `{}`", p.name))
}

fn host_ports(r: &Resolved, out: &mut Diagnostics) {
    let c = &r.cluster;
    let Some(node) = meet(r) else { return };
    let of_proxies = on_host(&c.proxies.access(), &c.proxies.ports());
    for port in on_host(&c.targets.access(), &c.targets.ports()) {
        if let Some(other) = of_proxies.iter().find(|p| p.value == port.value) {
            let loc = if port.loc.line > 0 { &port.loc } else { place(&other.loc, &c.targets.loc) };
            out.push(
                Diagnostic::error(loc, format!("port {} of {node} would be a proxy's and a target's", port.value))
                    .help("a port of the node leads to one pod only: give one of them another"),
            );
        }
    }
}

/// `first` if it stands in the file, else `second`.
fn place<'a>(first: &'a Loc, second: &'a Loc) -> &'a Loc {
    if first.line > 0 { first } else { second }
}

fn public_name(r: &Resolved, out: &mut Diagnostics) {
    let c = &r.cluster;
    let name = &c.public_name;
    let by = c.targets.access.by.value;
    match (name.value, by) {
        (PublicName::Node, Reach::LoadBalancer | Reach::Cluster) | (PublicName::Pod, Reach::LoadBalancer) => out.push(
            Diagnostic::error(
                &name.loc,
                format!("`public_name: {}` and `targets.access.by: {}` exclude each other", name.word(), by.word()),
            )
            .help("behind a load balancer targets are known by its address, and inside the cluster by their pods'"),
        ),
        (PublicName::Pod, Reach::HostPort) => out.push(
            Diagnostic::warning(
                &name.loc,
                "with `public_name: Pod` the targets' names resolve inside Kubernetes only, so the host ports serve nobody".to_owned(),
            )
            .help("use `targets.access.by: host_network`, with which pods' names resolve to their nodes"),
        ),
        _ => {}
    }
    if let Some(first) = c.hostname_map.values().next()
        && (by == Reach::Cluster || (by == Reach::HostNetwork && name.value == PublicName::Ip))
    {
        out.push(
            Diagnostic::error(
                &first.loc,
                format!("`hostname_map` has no effect with `targets.access.by: {}` and `public_name: {}`", by.word(), name.word()),
            )
            .help("AIStore chooses the address itself then; use `public_name: Node`"),
        );
    }
    if let Some(certificate) = c.tls.as_ref().and_then(|t| t.certificate.as_ref())
        && name.value == PublicName::Ip
        && matches!(by, Reach::HostPort | Reach::HostNetwork)
        && certificate.ip_addresses.is_empty()
        && c.hostname_map.is_empty()
    {
        out.push(
            Diagnostic::warning(&certificate.loc, "clients reach nodes by address, and the certificate names none".to_owned())
                .help("list the nodes' addresses in `tls.certificate.ip_addresses`, or use `public_name: Node`"),
        );
    }
}

fn sysctls(r: &Resolved, out: &mut Diagnostics) {
    let c = &r.cluster;
    for (section, pods, by) in
        [("proxies", &c.proxies.pods, c.proxies.access.by.value), ("targets", &c.targets.pods, c.targets.access.by.value)]
    {
        let given = pods.sysctls.loc.line > 0 && !pods.sysctls.is_empty();
        if given && by == Reach::HostNetwork {
            out.push(
                Diagnostic::error(
                    &pods.sysctls.loc,
                    format!("`{section}.pods.sysctls` can't be set with `{section}.access.by: host_network`"),
                )
                .help("the pod uses the node's own network, whose parameters are the node's: playbooks/host_tuning.yml"),
            );
        }
        if given && pods.pod_security_context.as_ref().is_some_and(|s| s.0.sysctls.is_some()) {
            out.push(Diagnostic::error(
                &pods.sysctls.loc,
                format!("sysctls are in `{section}.pods.sysctls` and in `{section}.pods.pod_security_context` as well"),
            ));
        }
        for key in pods.sysctls.keys() {
            let namespaced = key.starts_with("net.")
                || key.starts_with("kernel.shm")
                || key.starts_with("kernel.msg")
                || key.starts_with("fs.mqueue.")
                || key == "kernel.sem";
            if !namespaced {
                out.push(
                    Diagnostic::error(&pods.sysctls.loc, format!("`{key}` is a parameter of the whole node, and no pod can set it"))
                        .help("set it on the host: playbooks/host_tuning.yml"),
                );
            }
        }
    }
}

fn tls(r: &Resolved, out: &mut Diagnostics) {
    let c = &r.cluster;
    let https = c.config.get("net.http.use_https");
    let at = |path: &str| c.config.loc(path).unwrap_or_else(|| c.loc.clone());
    match &c.tls {
        None => {
            if https == Some(&Json::Bool(true)) {
                out.push(
                    Diagnostic::error(&at("net.http.use_https"), "`config.net.http.use_https` is true, and there is no `tls`")
                        .help("say where the certificate comes from: `tls: {secret: NAME}` or `tls: {certificate: {issuer: NAME}}`"),
                );
            }
        }
        Some(tls) => {
            if tls.secret.is_some() == tls.certificate.is_some() {
                out.push(Diagnostic::error(&tls.loc, "`tls` takes its certificate from one place: `secret` or `certificate`"));
            }
            if https.is_some_and(|h| *h != Json::Bool(true)) {
                out.push(
                    Diagnostic::error(&at("net.http.use_https"), "`tls` is given, and `config.net.http.use_https` is not true")
                        .help("leave it out: `tls` sets it"),
                );
            }
            client_certificates(r, out);
            for name in ["server_crt", "server_key", "client_ca_tls", "skip_verify"] {
                let path = format!("net.http.{name}");
                if c.config.get(&path).is_some() {
                    out.push(Diagnostic::error(&at(&path), format!("`config.{path}` is set by `tls`")).help("leave it out"));
                }
            }
        }
    }
}

/// Probes and the API server's proxy, by which fettle asks nodes, show no certificate: 2 and 4 (Go's tls.ClientAuthType) want one.
fn client_certificates(r: &Resolved, out: &mut Diagnostics) {
    let config = &r.cluster.config;
    // `pub`, if it holds anything, is what the public port goes by; that is where they ask.
    let of_public = config.get("net.http.pub").and_then(Json::as_object).is_some_and(|m| !m.is_empty());
    let path = if of_public { "net.http.pub.client_auth_tls" } else { "net.http.client_auth_tls" };
    if let Some(2 | 4) = config.get(path).and_then(Json::as_i64) {
        out.push(
            Diagnostic::error(
                &config.loc(path).unwrap_or_else(|| r.cluster.loc.clone()),
                format!("with this `config.{path}` nodes answer only clients that show a certificate"),
            )
            .help("the kubelet's probes show none, so no pod would become ready; 3 checks the certificates of clients that have one"),
        );
    }
}

/// What of AIStore's configuration other fields of the spec say.
fn config(r: &Resolved, out: &mut Diagnostics) {
    let c = &r.cluster;
    let at = |path: &str| c.config.loc(path).unwrap_or_else(|| c.loc.clone());
    for name in ["primary_url", "original_url", "discovery_url"] {
        let path = format!("proxy.{name}");
        if c.config.get(&path).is_some() {
            out.push(
                Diagnostic::error(&at(&path), format!("`config.{path}` is made from the cluster's name and ports")).help("leave it out"),
            );
        }
    }
    if c.config.get("auth.oidc.issuer_ca_bundle").is_some() && c.auth.as_ref().is_some_and(|a| a.issuer_ca_config_map.is_some()) {
        out.push(Diagnostic::error(
            &at("auth.oidc.issuer_ca_bundle"),
            "`config.auth.oidc.issuer_ca_bundle` is set by `auth.issuer_ca_config_map`",
        ));
    }
    if let Some(value) = c.config.get("log.max_total").filter(|v| crate::cluster::objects::log_bytes(v).is_none()) {
        out.push(Diagnostic::error(
            &at("log.max_total"),
            format!("`config.log.max_total` must be a size such as `512mb`, not `{}`", value.to_string().trim_matches('"')),
        ));
    }
}

fn load(r: &Resolved, out: &mut Diagnostics) {
    let Some(load) = &r.cluster.load_generator else { return };
    let amount = crate::cluster::forms::amount;
    if amount(&load.min_size) > amount(&load.max_size) {
        out.push(Diagnostic::error(
            &load.min_size.loc,
            format!("the smallest object, {}, is larger than the largest, {}", load.min_size.value, load.max_size.value),
        ));
    }
    if *load.remove_bucket && load.pods.0 > 1 {
        out.push(
            Diagnostic::error(
                &load.remove_bucket.loc,
                format!("`load_generator.remove_bucket` with {} pods: the first to end would remove the others' bucket", load.pods),
            )
            .help("remove it afterwards: `ais bucket rm`"),
        );
    }
}
