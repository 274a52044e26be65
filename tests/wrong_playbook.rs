//! Wrong playbooks: `tests/wrong/playbook/CASE/site.yml` must be refused with exactly the words of
//! `expected.txt` beside it. `FETTLE_BLESS=1` writes what is said now into those files, to be read and judged.

#[path = "support/modules.rs"]
mod modules;

use fettle::modules as spec;
use fettle::playbook::{LoadOptions, load};
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("tests/wrong/playbook").expect("the cases");
    let mut cases: Vec<PathBuf> = entries.map(|e| e.expect("a case").path()).filter(|p| p.is_dir()).collect();
    cases.sort();
    cases
}

/// What is said about a case, one line a diagnostic, paths as seen from the case's folder.
fn said(case: &Path) -> Result<String, String> {
    let options = LoadOptions { roles_path: Some(vec![]), modules: Some(modules::MODULES), ..LoadOptions::default() };
    match load(&[case.join("site.yml")], &options) {
        Ok(_) => Err(format!("{} is not refused", case.display())),
        Err(errors) => Ok(format!("{errors}\n").replace(&format!("{}/", case.display()), "")),
    }
}

#[test]
fn every_wrong_playbook_is_refused_with_its_words() {
    let bless = std::env::var_os("FETTLE_BLESS").is_some();
    let mut wrong = vec![];
    for case in cases() {
        let file = case.join("expected.txt");
        match said(&case) {
            Ok(text) if bless => std::fs::write(&file, text).expect("to write the expected words"),
            Ok(text) => {
                let expected = std::fs::read_to_string(&file).unwrap_or_default();
                if text != expected {
                    wrong.push(format!("{}\n--- expected\n{expected}--- said\n{text}", case.display()));
                }
            }
            Err(why) => wrong.push(why),
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn there_are_enough_of_them() {
    assert!(cases().len() >= 30, "only {} cases", cases().len());
}
