//! The order of the modules: each imports only those that come before it.

use crate::common::root;
use regex::Regex;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// From the bottom to the top.
const ORDER: &[&str] = &[
    "error",
    "clock",
    "text",
    "statistics",
    "linear",
    "random",
    "protobuf",
    "palette",
    "guard",
    "files",
    "warnings",
    "config",
    "device",
    "data",
    "synth",
    "prepare",
    "model",
    "train",
    "score",
    "certify",
    "report",
    "experiment",
    "export",
    "sensitivity",
    "sweep",
    "cli",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The first names of a list in braces, such as `a` and `b` of `a::{c, d}, b}; …`.
fn first_names(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut names = vec![];
    let mut start = 0;
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    let first = names.into_iter().filter_map(|name| name.trim().split("::").next());
    first.filter(|name| !name.is_empty()).collect()
}

/// The modules that a source file names, tests and comments left out.
fn imported(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = Regex::new("(?m)//.*$").unwrap().replace_all(code, "").into_owned();
    let single = Regex::new(r"\bcrate::(\w+)").unwrap();
    let mut names: BTreeSet<String> =
        single.captures_iter(&code).map(|captures| captures[1].to_owned()).collect();
    for (at, start) in code.match_indices("crate::{") {
        names.extend(first_names(&code[at + start.len()..]).into_iter().map(str::to_owned));
    }
    names
}

#[test]
fn modules_import_only_those_before_them() {
    let folder = root().join("src");
    let place = |name: &str| ORDER.iter().position(|module| *module == name);
    let mut upwards = vec![];
    for path in sources(&folder) {
        let inner = path.strip_prefix(&folder).unwrap();
        let first = inner.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let module = first.strip_suffix(".rs").unwrap_or(&first);
        if ["lib", "main"].contains(&module) || path.ends_with("tests.rs") {
            continue;
        }
        let own = place(module).unwrap_or_else(|| panic!("{module} has no place in the order"));
        for name in imported(&fs::read_to_string(&path).unwrap()) {
            if place(&name).is_some_and(|other| other > own) {
                upwards.push(format!("{}: {name}", inner.display()));
            }
        }
    }
    assert!(upwards.is_empty(), "imports upwards:\n{}", upwards.join("\n"));
}

#[test]
fn names_of_modules_are_found_in_every_form() {
    let text = "use crate::{\n    a::{b, c::d},\n    e,\n};\nuse crate::f::g; // crate::x\n\
        fn h() { crate::i::j() }\n#[cfg(test)]\nmod tests {\n    use crate::y;\n}";
    let names: Vec<String> = imported(text).into_iter().collect();
    assert_eq!(names, ["a", "e", "f", "i"]);
}
