//! The layers of the shared crate: a module names only modules of its own layer
//! or below. Whoever adds a module gives it a place here.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read the sources has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom. Modules of one layer do not know each other.
const LAYERS: [&[&str]; 9] = [
    &["error", "tls"],
    &["domain"],
    &["ambient"],
    &["wechat"],
    &["config"],
    &["aws", "telemetry"],
    &["batch", "callback"],
    &["flows"],
    &["http"],
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// Every module that a file names by `crate::`, tests left out.
fn named(text: &str) -> BTreeSet<String> {
    let product = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    product
        .split("crate::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|&c| is_name(c)).collect())
        .collect()
}

#[test]
fn no_module_names_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let level: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(level, modules)| modules.iter().map(move |module| (*module, level)))
        .collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut edges = 0;
    for file in files {
        let path = file.strip_prefix(&root).unwrap().with_extension("");
        let module = path.iter().next().unwrap().to_str().unwrap();
        if module == "lib" {
            continue;
        }
        let own = level.get(module);
        let own = own.unwrap_or_else(|| panic!("{module} has no place in LAYERS"));
        for other in named(&fs::read_to_string(&file).unwrap()) {
            if other == module {
                continue;
            }
            edges += 1;
            let below = level.get(other.as_str()).is_some_and(|level| level < own);
            assert!(below, "{} names crate::{other}", file.display());
        }
    }
    assert!(edges > 50, "{edges}: the sources were not read");
}
