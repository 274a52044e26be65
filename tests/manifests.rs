//! What manifests must be, whatever the spec: Kubernetes' own types to the last field, and whole in themselves.

use fettle::cluster::{Object, Resolved, Role, open};
use fettle::inventory::Inventory;
use fettle::yaml;
use k8s_openapi::api::{
    apps::v1 as apps, batch::v1 as batch, core::v1 as core, policy::v1 as policy, rbac::v1 as rbac, storage::v1 as storage,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use std::path::PathBuf;

/// All specs there are that are right.
const SPECS: &[&str] =
    &["examples/cluster.yml", "tests/cluster/hosts.yml", "tests/cluster/claims.yml", "tests/cluster/csi.yml", "tests/cluster/secret.yml"];

fn resolved(file: &str) -> Resolved {
    let inventory = Inventory::load(&["tests/cluster/hosts.ini".to_owned()], None).unwrap();
    let opened = open(&[PathBuf::from(file)], Some(&inventory), None).unwrap_or_else(|e| panic!("{e}"));
    opened.clusters.into_iter().next().unwrap()
}

/// A spec written into a folder of its own.
fn written(text: &str) -> Resolved {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.yml");
    std::fs::write(&file, text).unwrap();
    resolved(&file.display().to_string())
}

fn same<T: Serialize + DeserializeOwned>(object: &Object) {
    let typed: T = serde_json::from_value(object.json.clone()).unwrap_or_else(|e| panic!("{}: {e}", object.title()));
    let back = serde_json::to_value(&typed).unwrap();
    assert_eq!(back, object.json, "{} has fields that Kubernetes does not know", object.title());
}

fn strict(object: &Object) {
    match object.kind() {
        "Namespace" => same::<core::Namespace>(object),
        "ServiceAccount" => same::<core::ServiceAccount>(object),
        "Role" => same::<rbac::Role>(object),
        "RoleBinding" => same::<rbac::RoleBinding>(object),
        "ConfigMap" => same::<core::ConfigMap>(object),
        "Service" => same::<core::Service>(object),
        "StatefulSet" => same::<apps::StatefulSet>(object),
        "PodDisruptionBudget" => same::<policy::PodDisruptionBudget>(object),
        "StorageClass" => same::<storage::StorageClass>(object),
        "PersistentVolume" => same::<core::PersistentVolume>(object),
        "Deployment" => same::<apps::Deployment>(object),
        "Job" => same::<batch::Job>(object),
        // Not Kubernetes' own; their types are in src/cluster/objects/extras.rs and refuse what they don't know.
        "PodMonitor" | "Certificate" => assert!(object.api_version().contains('.')),
        other => panic!("an object of an unknown kind: {other}"),
    }
}

fn all() -> impl Iterator<Item = (&'static str, Resolved, Vec<Object>)> {
    SPECS.iter().map(|file| {
        let resolved = resolved(file);
        let objects = resolved.objects().unwrap();
        (*file, resolved, objects)
    })
}

fn find<'a>(objects: &'a [Object], kind: &str, name: &str) -> &'a Object {
    objects
        .iter()
        .find(|o| o.kind() == kind && o.name() == name)
        .unwrap_or_else(|| panic!("there is no {kind} {name} among {}", objects.iter().map(Object::title).collect::<Vec<_>>().join(", ")))
}

/// The JSON of `object` at a pointer.
fn at<'a>(object: &'a Object, pointer: &str) -> &'a Json {
    object.json.pointer(pointer).unwrap_or_else(|| panic!("{} has no {pointer}:\n{:#}", object.title(), object.json))
}

fn list<'a>(value: &'a Json, key: &str) -> &'a [Json] {
    value.get(key).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// StatefulSets, the Deployment, the Job.
fn workloads(objects: &[Object]) -> impl Iterator<Item = &Object> {
    objects.iter().filter(|o| matches!(o.kind(), "StatefulSet" | "Deployment" | "Job"))
}

#[test]
fn every_object_is_kubernetes_to_the_last_field() {
    let mut kinds = std::collections::BTreeSet::new();
    for (_, _, objects) in all() {
        for object in &objects {
            strict(object);
            kinds.insert(object.kind().to_owned());
        }
    }
    assert_eq!(kinds.len(), 14, "not every kind is rendered: {kinds:?}");
}

#[test]
fn bundled_manifests_are_valid_as_they_are() {
    let mut seen = 0;
    for entry in std::fs::read_dir("aisnode").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("# "), "{} does not say what it is", path.display());
            for document in yaml::parse(&path.display().to_string(), &text).unwrap() {
                strict(&Object { json: document.to_json() });
                seen += 1;
            }
        }
        let readme = std::fs::read_to_string("aisnode/README.md").unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name == "README.md" || readme.contains(&format!("({name})")), "aisnode/README.md does not tell of {name}");
    }
    assert!(seen >= 18, "only {seen} documents");
}

#[test]
fn names_are_unique_and_what_is_referred_to_is_there() {
    for (file, r, objects) in all() {
        for (i, object) in objects.iter().enumerate() {
            let twin = objects.iter().take(i).find(|o| o.kind() == object.kind() && o.name() == object.name());
            assert!(twin.is_none(), "{file}: {} is there twice", object.title());
            let cluster_wide = matches!(object.kind(), "Namespace" | "PersistentVolume" | "StorageClass");
            assert_eq!(object.namespace(), (!cluster_wide).then_some(&**r.cluster.namespace), "{file}: {}", object.title());
        }
        for workload in workloads(&objects) {
            let pod = at(workload, "/spec/template/spec");
            let account = pod["serviceAccountName"].as_str().unwrap();
            if account != "default" {
                find(&objects, "ServiceAccount", account);
            }
            if workload.kind() == "StatefulSet" {
                let service = find(&objects, "Service", at(workload, "/spec/serviceName").as_str().unwrap());
                assert_eq!(at(service, "/spec/clusterIP"), "None");
                assert_eq!(at(service, "/spec/publishNotReadyAddresses"), true);
            }
            let claims = list(at(workload, "/spec"), "volumeClaimTemplates").iter().map(|c| c["metadata"]["name"].as_str().unwrap());
            let mut volumes: Vec<&str> = list(pod, "volumes").iter().map(|v| v["name"].as_str().unwrap()).chain(claims).collect();
            for volume in list(pod, "volumes") {
                if let Some(map) = volume.pointer("/configMap/name").and_then(Json::as_str)
                    && map.starts_with(&**r.cluster.name)
                {
                    find(&objects, "ConfigMap", map);
                }
            }
            let containers = || list(pod, "initContainers").iter().chain(list(pod, "containers"));
            for mount in containers().flat_map(|c| list(c, "volumeMounts")) {
                let name = mount["name"].as_str().unwrap();
                assert!(volumes.contains(&name), "{file}: {} mounts {name}, which is no volume", workload.title());
            }
            volumes.retain(|v| !containers().flat_map(|c| list(c, "volumeMounts")).any(|m| m["name"] == *v));
            assert!(volumes.is_empty(), "{file}: {} has volumes that nobody mounts: {volumes:?}", workload.title());
            // A selector must choose its own template's pods.
            if workload.kind() != "Job" {
                let labels = at(workload, "/spec/template/metadata/labels");
                for (key, value) in at(workload, "/spec/selector/matchLabels").as_object().unwrap() {
                    assert_eq!(labels.get(key), Some(value), "{file}: {}", workload.title());
                }
            }
        }
        for service in objects.iter().filter(|o| o.kind() == "Service") {
            let selector = at(service, "/spec/selector").as_object().unwrap();
            let chosen = workloads(&objects).any(|w| {
                let labels = at(w, "/spec/template/metadata/labels");
                selector.iter().all(|(k, v)| k == "statefulset.kubernetes.io/pod-name" || labels.get(k) == Some(v))
            });
            assert!(chosen, "{file}: {} chooses no pods", service.title());
        }
    }
}

#[test]
fn selectors_of_stateful_sets_do_not_overlap() {
    let r = resolved("examples/cluster.yml");
    let objects = r.objects().unwrap();
    let sets: Vec<&Object> = objects.iter().filter(|o| o.kind() == "StatefulSet").collect();
    assert_eq!(sets.iter().map(|s| s.name()).collect::<Vec<_>>(), ["ais-proxy", "ais-target", "ais-target-dense"]);
    for one in &sets {
        for other in sets.iter().filter(|o| o.name() != one.name()) {
            let labels = at(other, "/spec/template/metadata/labels");
            let all = at(one, "/spec/selector/matchLabels").as_object().unwrap().iter().all(|(k, v)| labels.get(k) == Some(v));
            assert!(!all, "{} chooses pods of {}", one.title(), other.title());
        }
    }
    // The dense node runs the dense set's pod and no other.
    let rule =
        "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0";
    assert_eq!(at(sets[1], rule), &json!({"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node4"]}));
    assert_eq!(at(sets[2], rule), &json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["node4"]}));
    assert_eq!((at(sets[1], "/spec/replicas"), at(sets[2], "/spec/replicas")), (&json!(3), &json!(1)));
}

#[test]
fn containers_are_restricted_unless_asked_otherwise() {
    for (file, _, objects) in all() {
        for workload in workloads(&objects) {
            let pod = at(workload, "/spec/template/spec");
            assert_eq!(pod.pointer("/securityContext/seccompProfile/type"), Some(&json!("RuntimeDefault")), "{file}: {}", workload.title());
            assert!(pod.get("hostPID").is_none() && pod.get("hostIPC").is_none());
            for container in list(pod, "initContainers").iter().chain(list(pod, "containers")) {
                let security = &container["securityContext"];
                assert_ne!(security["privileged"], true, "{file}: {}", workload.title());
                assert_eq!(security["allowPrivilegeEscalation"], false, "{file}: {}", workload.title());
                if file != "tests/cluster/hosts.yml" {
                    assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{file}: {}", workload.title());
                }
                assert!(container.get("lifecycle").is_none(), "images have no shell");
            }
        }
    }
}

#[test]
fn two_pods_of_a_role_never_share_a_node() {
    for (file, r, objects) in all() {
        for set in objects.iter().filter(|o| o.kind() == "StatefulSet") {
            let target = set.name().contains("-target");
            let pointer = "/spec/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0";
            let given = if target { &r.cluster.targets.pods.affinity } else { &r.cluster.proxies.pods.affinity };
            if target && (*r.cluster.targets.share_nodes || given.is_some()) {
                continue;
            }
            let rule = at(set, pointer);
            assert_eq!(rule["topologyKey"], "kubernetes.io/hostname", "{file}");
            let role = if target { "target" } else { "proxy" };
            let chosen = json!({"app.kubernetes.io/component": role, "app.kubernetes.io/name": r.cluster.name.to_string()});
            assert_eq!(rule["labelSelector"]["matchLabels"], chosen, "{file}: {}", set.title());
        }
    }
}

/// A file inside a ConfigMap, as data.
fn inside(object: &Object, file: &str) -> Json {
    serde_json::from_str(object.json["data"][file].as_str().unwrap()).unwrap()
}

#[test]
fn the_first_start_knows_its_primary_and_does_not_rebalance() {
    let r = resolved("examples/cluster.yml");
    let objects = r.objects().unwrap();
    let config = inside(find(&objects, "ConfigMap", "ais-global-cm"), "ais.json");
    let first = "http://ais-proxy-0.ais-proxy.ais.svc.cluster.local:51082";
    assert_eq!(config["proxy"]["primary_url"], first);
    assert_eq!(config["proxy"]["original_url"], first);
    assert_eq!(config["proxy"]["discovery_url"], "http://ais-proxy.ais.svc.cluster.local:51082");
    assert_eq!(config["rebalance"]["enabled"], false);
    assert_eq!(config["timeout"]["max_host_busy"], "30s");
    // Afterwards it does, and the addresses are not touched.
    assert_eq!(r.config()["rebalance"]["enabled"], true);
    assert_eq!(r.config().get("proxy"), None);
    assert_eq!(resolved("tests/cluster/hosts.yml").config()["rebalance"]["enabled"], false);
    let local = inside(find(&objects, "ConfigMap", "ais-target-dense"), "ais_local.json");
    assert_eq!(local["fspaths"], json!({"/ais/nvme0n1": "", "/ais/nvme1n1": "", "/ais/nvme2n1": ""}));
    // AIStore takes ports as text.
    assert_eq!(local["host_net"]["port"], "51081");
    assert_eq!(inside(find(&objects, "ConfigMap", "ais-proxy"), "ais_local.json")["fspaths"], Json::Null);
    let args = at(find(&objects, "StatefulSet", "ais-proxy"), "/spec/template/spec/containers/0/args");
    assert!(args.as_array().unwrap().contains(&json!("-ntargets=4")));
    let strategy = at(find(&objects, "StatefulSet", "ais-target"), "/spec/updateStrategy/type");
    assert_eq!(strategy, "OnDelete");
}

#[test]
fn the_guides_names_keep_working() {
    let r = resolved("tests/cluster/hosts.yml");
    assert_eq!(r.endpoint(), "http://demo-ais-proxy.data:52080");
    let labels = r.labels();
    assert!(labels.contains(&("n1".into(), "nvidia.com/ais-proxy".into(), "demo-ais-electable".into())));
    assert!(labels.contains(&("n4".into(), "nvidia.com/ais-target".into(), "demo-ais".into())), "{labels:?}");
    assert!(labels.contains(&("n2".into(), "nvidia.com/ais-initial-primary-proxy".into(), "demo-ais".into())));
    let today = resolved("examples/cluster.yml");
    assert_eq!(today.endpoint(), "http://ais-ais-proxy.ais:51080");
    assert!(today.labels().contains(&("node4".into(), "nvidia.com/ais-target".into(), "ais".into())));
    let objects = today.objects().unwrap();
    let client = find(&objects, "Service", "ais-ais-proxy");
    assert_eq!(at(client, "/spec/type"), "ClusterIP");
    assert_eq!(at(client, "/spec/ports/0/port"), 51080);
    let env = at(find(&objects, "Deployment", "ais-client"), "/spec/template/spec/containers/0/env/0");
    assert_eq!(env, &json!({"name": "AIS_ENDPOINT", "value": "http://ais-ais-proxy.ais:51080"}));
    // Nodes chosen by their labels are not labelled.
    assert_eq!(resolved("tests/cluster/claims.yml").labels(), []);
    assert_eq!(today.of(Role::Target).len(), 4);
}

#[test]
fn state_and_data_stand_below_namespace_and_name() {
    let r = resolved("tests/cluster/hosts.yml");
    let objects = r.objects().unwrap();
    let set = find(&objects, "StatefulSet", "store-target");
    let pod = at(set, "/spec/template/spec");
    let path = |name: &str| list(pod, "volumes").iter().find(|v| v["name"] == name).and_then(|v| v["hostPath"]["path"].as_str());
    assert_eq!(path("state-mount"), Some("/var/state/data/store/target"));
    assert_eq!(path("logs-dir"), Some("/data/log/data/store/target"));
    assert_eq!(path("host-data-mount-0"), Some("/ais/sda/data/store/target"));
    let mounts = list(&pod["containers"][0], "volumeMounts");
    let state = mounts.iter().find(|m| m["name"] == "state-mount").unwrap();
    assert_eq!(state, &json!({"mountPath": "/etc/ais", "name": "state-mount", "subPathExpr": "$(MY_POD)"}));
    assert!(mounts.contains(&json!({"mountPath": "/ais/sda", "name": "host-data-mount-0"})));
    // In claims mode the volume is the mountpath itself, under today's operator's name for the claim.
    let objects = resolved("tests/cluster/claims.yml").objects().unwrap();
    let claims = list(at(find(&objects, "StatefulSet", "store-target"), "/spec"), "volumeClaimTemplates");
    let names: Vec<&str> = claims.iter().map(|c| c["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ais-store-state", "store-ais-sda", "store-ais-sdb"]);
}

#[test]
fn ways_in_reach_the_init_container() {
    let init = |file: &str, set: &str| -> Vec<Json> {
        let objects = resolved(file).objects().unwrap();
        list(at(find(&objects, "StatefulSet", set), "/spec/template/spec/initContainers/0"), "env").to_vec()
    };
    let value = |env: &[Json], name: &str| env.iter().find(|e| e["name"] == name).cloned().unwrap_or_default();
    let field = |env: &[Json], name: &str| value(env, name).pointer("/valueFrom/fieldRef/fieldPath").cloned().unwrap_or_default();
    let ports = init("examples/cluster.yml", "ais-target");
    assert_eq!(field(&ports, "AIS_PUBLIC_HOSTNAME"), "status.hostIP");
    assert_eq!(value(&ports, "ENABLE_EXTERNAL_ACCESS")["value"], "false");
    assert_eq!(value(&ports, "MY_SERVICE")["value"], "ais-target");
    assert_eq!(field(&init("tests/cluster/hosts.yml", "store-proxy"), "AIS_PUBLIC_HOSTNAME"), "spec.nodeName");
    let balanced = init("tests/cluster/claims.yml", "store-target");
    assert_eq!(value(&balanced, "ENABLE_EXTERNAL_ACCESS")["value"], "true");
    assert_eq!(value(&balanced, "AIS_PUBLIC_HOSTNAME"), Json::Null);
    // A load balancer for each pod, named like it, and the right to look it up.
    let objects = resolved("tests/cluster/claims.yml").objects().unwrap();
    let balancer = find(&objects, "Service", "store-target-3");
    assert_eq!(at(balancer, "/spec/selector/statefulset.kubernetes.io~1pod-name"), "store-target-3");
    let rules = at(find(&objects, "Role", "store-role"), "/rules");
    assert_eq!(rules[1], json!({"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}));
    let objects = resolved("tests/cluster/csi.yml").objects().unwrap();
    let pod = at(find(&objects, "StatefulSet", "store-target"), "/spec/template/spec");
    assert_eq!((&pod["hostNetwork"], &pod["dnsPolicy"]), (&json!(true), &json!("ClusterFirstWithHostNet")));
    assert_eq!(pod["securityContext"].get("sysctls"), None, "the host's network has the host's parameters");
    assert_eq!(value(&init("tests/cluster/csi.yml", "store-target"), "HOST_NETWORK")["value"], "true");
    // All its ports are the host's, and named; control and data may be one.
    let ports = |text: &str| -> Vec<(Json, Json, Json)> {
        let objects = written(text).objects().unwrap();
        let container = at(find(&objects, "StatefulSet", "store-target"), "/spec/template/spec/containers/0");
        list(container, "ports").iter().map(|p| (p["name"].clone(), p["containerPort"].clone(), p["hostPort"].clone())).collect()
    };
    let port = |name: &str, number: u16| (json!(name), json!(number), json!(number));
    let spec = "name: store\nimages: {aisnode: 'x/aisnode:v5.0', init: 'x/ais-init:v5.0'}\nproxies: {nodes: [n1]}\n\
        targets: {nodes: [n1], access: {by: host_network}, mountpaths: [{path: /ais/sda}], ports: {data: 51083}}\n";
    assert_eq!(ports(spec), [port("http", 51081), port("control", 51082), port("data", 51083)]);
    assert_eq!(ports(&spec.replace("51083", "51082")), [port("http", 51081), port("control", 51082)]);
    assert_eq!(ports(&spec.replace("host_network", "host_port")), [port("http", 51081)]);
}

#[test]
fn https_is_https_everywhere() {
    let r = resolved("tests/cluster/claims.yml");
    let objects = r.objects().unwrap();
    let config = inside(find(&objects, "ConfigMap", "store-global-cm"), "ais.json");
    assert!(config["proxy"]["primary_url"].as_str().unwrap().starts_with("https://"));
    let http = json!({"use_https": true, "server_crt": "/var/certs/tls.crt", "server_key": "/var/certs/tls.key", "client_ca_tls": "/var/certs/ca.crt", "skip_verify": true});
    assert_eq!(config["net"]["http"], http);
    let container = at(find(&objects, "StatefulSet", "store-proxy"), "/spec/template/spec/containers/0");
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(container[probe]["httpGet"]["scheme"], "HTTPS");
    }
    assert!(r.endpoint().starts_with("https://"));
    let certificate = find(&objects, "Certificate", "store-tls-cert");
    let names = at(certificate, "/spec/dnsNames").as_array().unwrap();
    for name in ["store-ais-proxy.ais", "*.store-target.ais.svc.cluster.local", "objects.example", "store.example"] {
        assert!(names.contains(&json!(name)), "{name} is not in {names:?}");
    }
    assert_eq!(at(certificate, "/spec/ipAddresses"), &json!(["192.0.2.1", "192.0.2.7"]));
    assert!(!objects.iter().any(|o| o.json.to_string().contains("http://")), "something still speaks http");
}

#[test]
fn a_restart_is_asked_for_when_and_only_when_one_is_needed() {
    let spec = |config: &str, ports: &str| {
        let r = written(&format!(
            "name: a\nimages: {{aisnode: 'x/aisnode:v5.0', init: 'x/ais-init:v5.0'}}\nproxies: {{nodes: [n1, n2, n3]}}\n\
             targets: {{nodes: [n1], mountpaths: [{{path: /ais/sda}}], ports: {{{ports}}}}}\nconfig: {{{config}}}\n"
        ));
        let objects = r.objects().unwrap();
        let annotation = |set: &str| {
            at(find(&objects, "StatefulSet", set), "/spec/template/metadata/annotations")[fettle::cluster::RESTART]
                .as_str()
                .unwrap()
                .to_owned()
        };
        (annotation("a-proxy"), annotation("a-target"))
    };
    let before = spec("", "");
    assert_eq!(spec("lru: {enabled: true}", ""), before, "AIStore takes this in while it runs");
    let net = spec("net: {l4: {sndrcv_buf_size: 0}}", "");
    assert!(net.0 != before.0 && net.1 != before.1);
    let ports = spec("", "public: 9999");
    assert!(ports.0 == before.0 && ports.1 != before.1, "only targets have new ports");
}

#[test]
fn clusters_stand_side_by_side_on_the_same_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let spec = |name: &str, disk: &str, port: u32| {
        let file = folder.path().join(format!("{name}.yml"));
        let text = format!(
            "name: {name}\nnamespace: {name}\nnode_labels: {{scheme: per_cluster}}\n\
             images: {{aisnode: 'x/aisnode:v5.0', init: 'x/ais-init:v5.0'}}\n\
             proxies: {{nodes: [n1, n2, n3], ports: {{public: {port}}}}}\n\
             targets: {{nodes: [n1, n2], mountpaths: [{{path: /ais/{disk}}}], ports: {{public: {}}}}}\n",
            port + 1
        );
        std::fs::write(&file, text).unwrap();
        file
    };
    let opened = open(&[spec("one", "sda", 51080), spec("two", "sdb", 52080)], None, None).unwrap_or_else(|e| panic!("{e}"));
    let labels: Vec<_> = opened.clusters.iter().flat_map(Resolved::labels).filter(|(node, _, _)| node == "n1").collect();
    assert_eq!(labels.len(), 4, "{labels:?}");
    assert!(open(&[spec("one", "sda", 51080), spec("two", "sda", 52080)], None, None).is_err());
    assert!(open(&[spec("one", "sda", 51080), spec("two", "sdb", 51080)], None, None).is_err());
}
