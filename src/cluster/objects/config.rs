//! AIStore's own configuration: `ais.json`, `ais_local.json`, and the ConfigMaps around them.

use super::base::{manifest, name, put};
use crate::cluster::Object;
use crate::cluster::resolve::{Resolved, Role};
use crate::cluster::spec::{Mountpath, Ports};
use crate::diag::{Diagnostic, Diagnostics};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// Where certificates are mounted.
pub const CERTS: &str = "/var/certs";
/// Where the OIDC issuers' certificates are mounted.
pub const ISSUER_CA: &str = "/etc/ais/oidc-ca";

/// Lays `over` on `base`: mappings are merged, everything else is replaced.
pub fn merge(base: &mut Json, over: &Json) {
    match (base, over) {
        (Json::Object(base), Json::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Json::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

fn bundled_json(file: &str, text: &str) -> Result<Json, Diagnostics> {
    serde_json::from_str(text).map_err(|e| Diagnostic::bare(format!("the bundled {file} is broken: {e}")).into())
}

/// JSON as a file holds it: two spaces a level, and a line break at its end.
fn text(json: &Json) -> String {
    format!("{json:#}\n")
}

impl Resolved {
    /// What differs from AIStore's defaults once the cluster runs: the spec's `config`, and what its other fields mean there.
    /// Deploy brings it in through AIStore's API after the first start; rebalance is on unless the spec says otherwise.
    pub fn config(&self) -> Json {
        let c = &self.cluster;
        let mut config = json!({});
        if let Some(tls) = &c.tls {
            let http = json!({
                "use_https": true,
                "server_crt": format!("{CERTS}/tls.crt"),
                "server_key": format!("{CERTS}/tls.key"),
                "client_ca_tls": format!("{CERTS}/ca.crt"),
                "skip_verify": tls.skip_verify,
            });
            merge(&mut config, &json!({"net": {"http": http}}));
        }
        let mut backend = Map::new();
        for (provider, given) in [
            ("aws", c.cloud.aws.is_some()),
            ("azure", c.cloud.azure.is_some()),
            ("gcp", c.cloud.gcp.is_some()),
            ("oci", c.cloud.oci.is_some()),
        ] {
            if given {
                backend.insert(provider.to_owned(), json!({}));
            }
        }
        if !backend.is_empty() {
            merge(&mut config, &json!({"backend": backend}));
        }
        if c.auth.as_ref().is_some_and(|a| a.issuer_ca_config_map.is_some()) {
            merge(&mut config, &json!({"auth": {"oidc": {"issuer_ca_bundle": format!("{ISSUER_CA}/ca.crt")}}}));
        }
        merge(&mut config, &json!({"rebalance": {"enabled": true}}));
        merge(&mut config, &Json::Object(c.config.json.clone()));
        config
    }

    /// `ais.json`: [`Resolved::config`] for the first start, with the primary's address, and rebalance off until all nodes are there.
    pub fn initial_config(&self) -> Result<Json, Diagnostics> {
        let c = &self.cluster;
        let service = self.role_name(Role::Proxy);
        let domain = format!("{service}.{}.svc.{}:{}", *c.namespace, c.cluster_domain, c.proxies.ports.control.value);
        let primary = format!("{}://{service}-0.{domain}", self.scheme());
        let mut config = bundled_json("ais.json", include_str!("../../../aisnode/ais.json"))?;
        merge(&mut config, &self.config());
        let proxy = json!({"primary_url": primary, "original_url": primary, "discovery_url": format!("{}://{domain}", self.scheme())});
        merge(&mut config, &json!({"proxy": proxy, "rebalance": {"enabled": false}}));
        Ok(config)
    }

    /// `ais_local.json` of a role: the init container fills in the pod's names and addresses.
    pub fn local_config(&self, ports: &Ports, mountpaths: Option<&[Mountpath]>) -> Result<Json, Diagnostics> {
        let mut local = bundled_json("ais_local.json", include_str!("../../../aisnode/ais_local.json"))?;
        if let Json::Object(map) = &mut local {
            let paths = mountpaths.map(|all| all.iter().map(|m| (m.path.to_string(), json!(&*m.label))).collect::<Map<_, _>>());
            map.insert("fspaths".into(), paths.map_or(Json::Null, Json::Object));
        }
        let port = |p: i64| json!(p.to_string());
        let net = json!({
            "port": port(ports.public.0),
            "port_intra_control": port(ports.control.0),
            "port_intra_data": port(ports.data.0),
        });
        merge(&mut local, &json!({"host_net": net}));
        Ok(local)
    }
}

/// The ConfigMaps.
pub fn push(r: &Resolved, all: &mut Vec<Object>) -> Result<(), Diagnostics> {
    let c = &r.cluster;
    let mut global: ConfigMap = manifest!("config.yaml", 0)?;
    name(&mut global.metadata, r, &global_name(r), "config");
    let mut data = BTreeMap::from([("ais.json".to_owned(), text(&r.initial_config()?))]);
    if !c.hostname_map.is_empty() {
        let map: Map<String, Json> = c.hostname_map.iter().map(|(k, v)| (k.clone(), json!(v.to_string()))).collect();
        data.insert("hostname_map.json".into(), text(&Json::Object(map)));
    }
    global.data = Some(data);
    put(all, &global)?;

    let mut proxy: ConfigMap = manifest!("config.yaml", 1)?;
    name(&mut proxy.metadata, r, &r.role_name(Role::Proxy), "proxy");
    proxy.data = Some(local_data(&r.local_config(&c.proxies.ports(), None)?));
    put(all, &proxy)?;

    for set in r.target_sets() {
        let mut target: ConfigMap = manifest!("config.yaml", 2)?;
        name(&mut target.metadata, r, &set.name, "target");
        target.data = Some(local_data(&r.local_config(&c.targets.ports(), Some(set.mountpaths))?));
        put(all, &target)?;
    }
    Ok(())
}

fn local_data(local: &Json) -> BTreeMap<String, String> {
    BTreeMap::from([("ais_local.json".to_owned(), text(local))])
}

/// The ConfigMap with the cluster's configuration.
pub fn global_name(r: &Resolved) -> String {
    format!("{}-global-cm", *r.cluster.name)
}
