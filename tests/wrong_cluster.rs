//! Wrong cluster specs, and the exact words an operator gets for each.
//!
//! A folder below `tests/wrong/cluster` is a case: one spec or several (`*.yml`, in order), maybe an inventory `hosts.ini`,
//! maybe the API server's nodes `nodes.json`, and the `expected.txt` that must come out. `FETTLE_BLESS=1` writes what is said now into
//! those files, to be read and judged.

use fettle::cluster::{LabelledNodes, open};
use fettle::inventory::Inventory;
use fettle::report::diagnostic::render;
use std::path::{Path, PathBuf};

const CASES: &str = "tests/wrong/cluster";

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

/// What is said about the case in `dir`, errors and warnings.
fn told(dir: &Path) -> String {
    let specs: Vec<PathBuf> = entries(dir).into_iter().filter(|p| p.extension().is_some_and(|e| e == "yml")).collect();
    assert!(!specs.is_empty(), "{} has no spec", dir.display());
    let hosts = dir.join("hosts.ini");
    let inventory = hosts.exists().then(|| Inventory::load(&[hosts.display().to_string()], None).unwrap());
    let nodes = std::fs::read_to_string(dir.join("nodes.json")).ok();
    let nodes = nodes.map(|text| LabelledNodes(serde_json::from_str(&text).unwrap()));
    let said = match open(&specs, inventory.as_ref(), nodes.as_ref()) {
        Ok(opened) => opened.warnings,
        Err(errors) => errors,
    };
    render(&said.0, false).replace(&format!("{}/", dir.display()), "")
}

#[test]
fn every_wrong_spec_is_told_as_expected() {
    let cases: Vec<PathBuf> = entries(Path::new(CASES)).into_iter().filter(|p| p.is_dir()).collect();
    assert!(cases.len() >= 25, "only {} cases were found in {CASES}", cases.len());
    let bless = std::env::var_os("FETTLE_BLESS").is_some();
    let mut wrong = vec![];
    for case in cases {
        let file = case.join("expected.txt");
        let said = told(&case);
        assert!(!said.is_empty(), "nothing is said about {}", case.display());
        if bless {
            std::fs::write(&file, &said).unwrap();
            continue;
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- said\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}
