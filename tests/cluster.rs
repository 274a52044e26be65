//! The cluster spec from outside: the schema is what the reader reads, no field is ignored, manifests are Kubernetes' own.

use fettle::cluster::{Resolved, open, read, reference, schema, to_yaml};
use fettle::inventory::Inventory;
use fettle::yaml;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Specs that together use every field.
const FULL: &[&str] = &["hosts", "claims", "csi", "secret"];

fn inventory() -> Inventory {
    Inventory::load(&["tests/cluster/hosts.ini".to_owned()], None).unwrap()
}

fn text(name: &str) -> String {
    std::fs::read_to_string(format!("tests/cluster/{name}.yml")).unwrap()
}

fn json(text: &str) -> Json {
    yaml::parse_one("spec.yml", text).unwrap().to_json()
}

/// What comes out of a spec: manifests, labels, the endpoint and the configuration after the start. Nothing if it is refused.
fn outcome(spec: &Json, inventory: &Inventory) -> Option<String> {
    let resolved: Resolved = read("spec.yml", &spec.to_string()).ok()?.resolve(Some(inventory), None).ok()?;
    if resolved.check().has_errors() {
        return None;
    }
    let rest = json!([resolved.labels(), resolved.endpoint(), resolved.config()]);
    Some(format!("{}{rest}", to_yaml(&resolved.objects().unwrap())))
}

/// Paths of everything in `value`, mappings and lists included.
fn paths(value: &Json, at: &str, all: &mut Vec<String>) {
    let mut go = |key: &str, inner: &Json| {
        let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        all.push(path.clone());
        paths(inner, &path, all);
    };
    match value {
        Json::Object(map) => map.iter().for_each(|(k, v)| go(k, v)),
        Json::Array(items) => items.iter().enumerate().for_each(|(i, v)| go(&i.to_string(), v)),
        _ => {}
    }
}

fn without(spec: &Json, path: &str) -> Json {
    let mut spec = spec.clone();
    let (parent, last) = path.rsplit_once('/').unwrap();
    let last = last.replace("~1", "/").replace("~0", "~");
    match spec.pointer_mut(parent).unwrap() {
        Json::Object(map) => {
            map.shift_remove(&last);
        }
        Json::Array(items) => {
            items.remove(last.parse().unwrap());
        }
        _ => unreachable!("only mappings and lists hold something"),
    }
    spec
}

#[test]
fn no_field_is_read_and_ignored() {
    // Written out with their defaults: without them nothing changes, and that is right.
    const DEFAULTS: &[&str] = &[
        "/proxies/access/by",
        "/targets/access/by",
        "/proxies/count",
        // Can only be the public port.
        "/targets/access/host_port",
        "/tls/certificate/mode",
        "/proxies/pods/tolerations/0/operator",
        "/targets/pods/tolerations/0/operator",
        "/admin_client/tolerations/0/operator",
        "/load_generator/tolerations/0/operator",
        // That of `local_volumes` anyway.
        "/targets/exceptions/0/mountpaths/0/claim/storage_class",
    ];
    let inventory = inventory();
    let mut ignored = vec![];
    let mut tried = 0;
    for name in FULL {
        let spec = json(&text(name));
        let whole = outcome(&spec, &inventory).unwrap_or_else(|| panic!("{name}.yml is refused"));
        let mut all = vec![];
        paths(&spec, "", &mut all);
        for path in all {
            tried += 1;
            let less = outcome(&without(&spec, &path), &inventory);
            // The way in that is the default, with the one port that it can have.
            let default = DEFAULTS.iter().any(|d| path.starts_with(d)) || (*name, &*path) == ("hosts", "/targets/access");
            if less.as_deref() == Some(&whole) && !default {
                ignored.push(format!("{name}: {path}"));
            }
        }
    }
    assert!(tried > 200, "only {tried} fields were tried");
    assert!(ignored.is_empty(), "without these nothing changes:\n{}", ignored.join("\n"));
}

/// Names of all fields in the schema, as `targets.mountpaths[].claim.size`.
fn fields(schema: &Json, at: &str, all: &mut BTreeSet<String>) {
    if let Some(items) = schema.get("items") {
        fields(items, &format!("{at}[]"), all);
    }
    for (name, inner) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        all.insert(path.clone());
        // AIStore's own configuration is AIStore's.
        if path != "config" {
            fields(inner, &path, all);
        }
    }
}

#[test]
fn the_full_specs_use_every_field_of_the_schema() {
    let mut all = BTreeSet::new();
    fields(&schema(), "", &mut all);
    assert!(all.len() > 150, "the schema has only {} fields", all.len());
    for name in FULL {
        let mut used = vec![];
        paths(&json(&text(name)), "", &mut used);
        for path in used {
            let parts: Vec<&str> = path.split('/').skip(1).collect();
            let mut name = String::new();
            for part in parts {
                if part.parse::<usize>().is_ok() {
                    name.push_str("[]");
                } else {
                    name.push_str(if name.is_empty() { "" } else { "." });
                    name.push_str(part);
                }
            }
            all.remove(&name);
        }
    }
    assert!(all.is_empty(), "no spec in tests/cluster uses {all:?}");
}

#[test]
fn the_schema_accepts_what_the_reader_accepts_and_refuses_what_it_refuses() {
    let schema = schema();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let example = std::fs::read_to_string("examples/cluster.yml").unwrap();
    let mut all: Vec<(String, String)> = FULL.iter().map(|n| ((*n).to_owned(), text(n))).collect();
    all.push(("example".into(), example));
    for (name, text) in &all {
        let found: Vec<String> = validator.iter_errors(&json(text)).map(|e| format!("{} {e}", e.instance_path())).collect();
        assert!(found.is_empty(), "{name}: {}", found.join("\n"));
        // With all defaults written out as well.
        let full = fettle::cluster::with_defaults(&read("spec.yml", text).unwrap());
        let found: Vec<String> = validator.iter_errors(&full).map(|e| format!("{} {e}", e.instance_path())).collect();
        assert!(found.is_empty(), "{name} with its defaults: {}", found.join("\n"));
    }
    let good = json(&text("secret"));
    for (path, wrong) in [
        ("/name", json!("Store")),
        ("/name", json!(5)),
        ("/nmae", json!("x")),
        ("/images/pull_policy", json!("Sometimes")),
        ("/images/init", json!("ais-init")),
        ("/targets/mountpaths/0/path", json!("ais")),
        ("/targets/mountpaths/0/claim", json!({"size": "5.8Ti"})),
        ("/targets/ports", json!({"public": 0})),
        ("/targets/share_nodes", json!("yes")),
        ("/proxies/count", json!("all")),
        ("/config", json!({"nets": {}})),
        ("/load_generator", json!({"duration": "5"})),
    ] {
        let mut spec = good.clone();
        let (parent, last) = path.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[last] = wrong.clone();
        assert!(!validator.is_valid(&spec), "the schema accepts {path} = {wrong}");
        assert!(read("spec.yml", &spec.to_string()).is_err(), "the reader accepts {path} = {wrong}");
    }
}

#[test]
fn the_same_spec_gives_the_same_bytes_and_they_read_back() {
    let inventory = inventory();
    let files: Vec<PathBuf> = vec!["examples/cluster.yml".into()];
    let render = || to_yaml(&open(&files, Some(&inventory), None).unwrap().clusters[0].objects().unwrap());
    let once = render();
    assert_eq!(once, render());
    let objects = open(&files, None, None).unwrap().clusters[0].objects().unwrap();
    let back: Vec<Json> = yaml::parse("out.yml", &once).unwrap().iter().map(|n| n.to_json()).collect();
    assert_eq!(back, objects.into_iter().map(|o| o.json).collect::<Vec<_>>());
}

#[test]
fn the_reference_in_docs_is_the_table() {
    let docs = std::fs::read_to_string("docs/cluster.md").unwrap();
    assert!(
        docs.contains(&reference()),
        "docs/cluster.md differs from `fettle schema cluster --markdown`: put its output in place of what stands there from `The file` to `What is left out`"
    );
}

#[test]
fn no_value_anywhere_makes_the_reader_panic() {
    let inventory = inventory();
    let mut refused = 0;
    for name in FULL {
        let spec = json(&text(name));
        let mut all = vec![];
        paths(&spec, "", &mut all);
        for (i, path) in all.iter().enumerate() {
            let wrong = match i % 5 {
                0 => Json::Null,
                1 => json!(-1),
                2 => json!("é: {"),
                3 => json!([{}]),
                _ => json!({"a": 1.5}),
            };
            let mut spec = spec.clone();
            *spec.pointer_mut(path).unwrap() = wrong;
            let read = read("spec.yml", &spec.to_string()).and_then(|c| c.resolve(Some(&inventory), None)).map(|r| r.check());
            refused += usize::from(read.map_or(true, |d| d.has_errors()));
        }
    }
    assert!(refused > 150, "only {refused} were refused");
}
