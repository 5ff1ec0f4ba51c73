//! The order of the modules: each imports only those that come before it, and no files import each
//! other in a circle.

use crate::common::root;
use regex::Regex;
use std::{
    collections::{BTreeMap, BTreeSet},
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

/// The paths of a use tree such as `a::{b, c::{d, e}}`.
fn paths(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().into()];
    };
    let (mut depth, mut start) = (0, open + 1);
    let mut paths_within = vec![];
    for (at, character) in tree.char_indices().skip(open) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (character == ',' && depth == 1) || (character == '}' && depth == 0) {
            let inner = paths(tree[start..at].trim());
            let whole = inner.into_iter().map(|path| format!("{}{path}", &tree[..open]));
            paths_within.extend(whole.map(|path| path.trim_end_matches("::self").to_owned()));
            start = at + 1;
        }
    }
    paths_within.retain(|path| !path.ends_with("::"));
    paths_within
}

/// The files of `modules` that a module's code names, in imports and in paths.
fn named(text: &str, module: &[String], modules: &BTreeSet<Vec<String>>) -> BTreeSet<Vec<String>> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = Regex::new("(?m)//.*$").unwrap().replace_all(code, "").into_owned();
    let imports = Regex::new(r"\buse\s+([^;]+);").unwrap();
    let within = Regex::new(r"\b(?:crate|super)(?:::\w+)+").unwrap();
    let body = imports.replace_all(&code, "");
    let all = imports
        .captures_iter(&code)
        .flat_map(|captures| paths(&captures[1]))
        .chain(within.find_iter(&body).map(|path| path.as_str().to_owned()));
    let mut files = BTreeSet::new();
    for path in all {
        let mut parts: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let mut from = module.to_vec();
        match parts[0].as_str() {
            "crate" => from.clear(),
            "super" => {}
            _ if modules.contains(&[module, &parts[..1]].concat()) => {}
            _ => continue,
        }
        while parts.first().is_some_and(|part| part == "super") {
            from.pop();
            parts.remove(0);
        }
        parts.retain(|part| part != "crate" && part != "self");
        let mut whole = [from, parts].concat();
        while !whole.is_empty() && !modules.contains(&whole) {
            whole.pop();
        }
        if !whole.is_empty() && whole != module {
            files.insert(whole);
        }
    }
    files
}

/// The files that each file of the library names. A file is known by the path of its module.
fn imports() -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let folder = root().join("src");
    let module = |path: &Path| -> Vec<String> {
        let inner = path.strip_prefix(&folder).unwrap().with_extension("");
        let names = inner.iter().map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name != "mod").collect()
    };
    let files: BTreeMap<Vec<String>, PathBuf> = sources(&folder)
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .map(|path| (module(&path), path))
        .collect();
    let modules: BTreeSet<Vec<String>> = files.keys().cloned().collect();
    files
        .into_iter()
        .map(|(module, path)| {
            let named = named(&fs::read_to_string(path).unwrap(), &module, &modules);
            (module, named)
        })
        .collect()
}

#[test]
fn modules_import_only_those_before_them() {
    let place = |name: &str| ORDER.iter().position(|module| *module == name);
    let mut upwards = vec![];
    for (file, named) in imports() {
        if ["lib", "main"].contains(&file[0].as_str()) {
            continue;
        }
        let own =
            place(&file[0]).unwrap_or_else(|| panic!("{} has no place in the order", file[0]));
        for other in named {
            if place(&other[0]).is_some_and(|other| other > own) {
                upwards.push(format!("{}: {}", file.join("/"), other.join("/")));
            }
        }
    }
    assert!(upwards.is_empty(), "imports upwards:\n{}", upwards.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut left = imports();
    assert!(left.values().map(BTreeSet::len).sum::<usize>() > left.len());
    // Files that import nothing that is left, and then those that nothing left imports, are in no
    // circle.
    loop {
        let before = left.len();
        let free = |module: &Vec<String>| {
            left[module].iter().all(|other| !left.contains_key(other))
                || left.values().all(|others| !others.contains(module))
        };
        let gone: Vec<Vec<String>> = left.keys().filter(|module| free(module)).cloned().collect();
        gone.iter().for_each(|module| drop(left.remove(module)));
        if left.len() == before {
            break;
        }
    }
    let names: Vec<String> = left.keys().map(|module| module.join("/")).collect();
    assert!(names.is_empty(), "files in circles of imports:\n{}", names.join("\n"));
}

#[test]
fn names_of_modules_are_found_in_every_form() {
    let module = |path: &str| -> Vec<String> { path.split('/').map(str::to_owned).collect() };
    let modules = |paths: &[&str]| paths.iter().map(|path| module(path)).collect::<BTreeSet<_>>();
    let all = modules(&["a", "a/b", "e", "f", "i", "x", "y"]);
    let text = "use crate::{\n    a::{b, c::d},\n    e,\n};\nuse crate::f::g; // crate::x\n\
        fn h() { crate::i::j() }\n#[cfg(test)]\nmod tests {\n    use crate::y;\n}";
    assert_eq!(named(text, &module("z"), &all), modules(&["a", "a/b", "e", "f", "i"]));
    let text = "use super::{X, b::Y};\nfn f() { crate::e::g() }";
    assert_eq!(named(text, &module("a/d"), &all), modules(&["a", "a/b", "e"]));
    let tree = paths("crate::{a::{self, b as c}, d}");
    assert_eq!(tree, ["crate::a", "crate::a::b", "crate::d"]);
}
