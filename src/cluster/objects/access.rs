//! Services: pods' names, the clients' address, load balancers.

use super::base::{manifest, name, put};
use crate::cluster::Object;
use crate::cluster::resolve::{Resolved, Role};
use crate::cluster::spec::{Access, Ports, Reach};
use crate::diag::Diagnostics;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

/// The labels by which services, budgets and anti-affinity find a role's pods.
pub fn selector(r: &Resolved, role: Role) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), r.cluster.name.to_string()),
        ("app.kubernetes.io/component".to_owned(), role.word().to_owned()),
    ])
}

fn set_ports(service: &mut Service, ports: &Ports) {
    for port in service.spec.iter_mut().flat_map(|s| s.ports.iter_mut().flatten()) {
        let number = match port.name.as_deref() {
            Some("control") => ports.control.int(),
            Some("data") => ports.data.int(),
            _ => ports.public.int(),
        };
        *port = ServicePort { port: number, target_port: Some(IntOrString::Int(number)), ..port.clone() };
    }
    // Kubernetes refuses two entries of one port: control and data may be the same.
    if ports.control.value == ports.data.value
        && let Some(spec) = &mut service.spec
    {
        spec.ports.iter_mut().for_each(|all| all.retain(|p| p.name.as_deref() != Some("data")));
    }
}

fn fill(service: &mut Service, r: &Resolved, service_name: &str, role: Role, ports: &Ports) {
    name(&mut service.metadata, r, service_name, role.word());
    if let Some(spec) = &mut service.spec {
        spec.selector = Some(selector(r, role));
    }
    set_ports(service, ports);
}

fn fill_balancer(service: &mut Service, access: &Access<'_>) {
    if !access.annotations.is_empty() {
        let given = access.annotations.iter().map(|(k, v)| (k.clone(), v.to_string()));
        service.metadata.annotations.get_or_insert_default().extend(given);
    }
    if let Some(spec) = &mut service.spec {
        spec.load_balancer_class = access.load_balancer_class.map(|c| c.to_string());
        if !access.source_ranges.is_empty() {
            spec.load_balancer_source_ranges = Some(access.source_ranges.iter().map(|n| n.to_string()).collect());
        }
    }
}

/// All services.
pub fn push(r: &Resolved, all: &mut Vec<Object>) -> Result<(), Diagnostics> {
    let c = &r.cluster;
    let (proxy, target) = (c.proxies.ports(), c.targets.ports());
    let mut headless: Service = manifest!("services.yaml", 0)?;
    fill(&mut headless, r, &r.role_name(Role::Proxy), Role::Proxy, &proxy);
    put(all, &headless)?;
    let mut headless: Service = manifest!("services.yaml", 1)?;
    fill(&mut headless, r, &r.role_name(Role::Target), Role::Target, &target);
    put(all, &headless)?;
    let mut client: Service = manifest!("services.yaml", 2)?;
    fill(&mut client, r, &r.client_service(), Role::Proxy, &proxy);
    put(all, &client)?;

    if c.proxies.access.by.value == Reach::LoadBalancer {
        let mut balancer: Service = manifest!("load-balancers.yaml", 0)?;
        fill(&mut balancer, r, &format!("{}-lb", r.role_name(Role::Proxy)), Role::Proxy, &proxy);
        fill_balancer(&mut balancer, &c.proxies.access());
        put(all, &balancer)?;
    }
    if c.targets.access.by.value == Reach::LoadBalancer {
        for pod in r.target_sets().iter().flat_map(|s| (0..s.count).map(|i| format!("{}-{i}", s.name))) {
            let mut balancer: Service = manifest!("load-balancers.yaml", 1)?;
            fill(&mut balancer, r, &pod, Role::Target, &target);
            fill_balancer(&mut balancer, &c.targets.access());
            if let Some(spec) = &mut balancer.spec {
                spec.selector.get_or_insert_default().insert("statefulset.kubernetes.io/pod-name".into(), pod.clone());
            }
            put(all, &balancer)?;
        }
    }
    Ok(())
}
