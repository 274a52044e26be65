//! Wrong inventories, and the exact words an operator gets for each.
//!
//! A folder below `tests/wrong/inventory` is a case: an inventory (`hosts`, `hosts.ini`, …), what goes with it, maybe
//! a `pattern` or a `limit` to apply, and the `expected.txt` that must come out. `FETTLE_BLESS=1` writes what is said now
//! into those files, to be read and judged.

use fettle::diag::Diagnostics;
use fettle::inventory::Inventory;
use fettle::report::diagnostic::render;
use std::path::{Path, PathBuf};

const CASES: &str = "tests/wrong/inventory";

/// What is said about the case in `dir`: nothing if all is well.
fn told(dir: &Path) -> String {
    let mut sources = entries(dir).into_iter().filter(|p| p.file_stem().is_some_and(|s| s == "hosts"));
    let source = sources.next().unwrap_or_else(|| panic!("{} has no inventory", dir.display()));
    let word = |name: &str| std::fs::read_to_string(dir.join(name)).ok().map(|t| t.trim().to_owned());
    let outcome = Inventory::load(&[source.display().to_string()], None).and_then(|inventory| {
        if let Some(pattern) = word("pattern") {
            inventory.select(&pattern).map_err(Diagnostics::from)?;
        }
        if let Some(limit) = word("limit") {
            inventory.limit(inventory.hosts(), &limit).map_err(Diagnostics::from)?;
        }
        Ok(())
    });
    outcome.err().map(|e| render(&e.0, false)).unwrap_or_default()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn every_wrong_inventory_is_told_as_expected() {
    let cases: Vec<PathBuf> = entries(Path::new(CASES)).into_iter().filter(|p| p.is_dir()).collect();
    assert!(cases.len() >= 12, "only {} cases were found in {CASES}", cases.len());
    let bless = std::env::var_os("FETTLE_BLESS").is_some();
    let mut wrong = String::new();
    for dir in &cases {
        let said = told(dir);
        if bless {
            std::fs::write(dir.join("expected.txt"), &said).unwrap();
        }
        let expected = std::fs::read_to_string(dir.join("expected.txt")).unwrap_or_default();
        if said != expected || said.is_empty() {
            wrong.push_str(&format!("== {}\n-- expected\n{expected}-- said\n{said}", dir.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
