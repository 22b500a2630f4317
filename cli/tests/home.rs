// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command outside its checkout: with a copy of its source, which it brings along.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The home directory of somebody who never ran callgate.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let place =
            std::env::temp_dir().join(format!("callgate-home-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    /// The command, in a place that is no checkout.
    fn callgate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
        command
            .args(arguments)
            .current_dir("/")
            .env("HOME", &self.0)
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::null());
        command
    }

    fn data(&self) -> PathBuf {
        self.0.join(".local/share/callgate")
    }

    /// The only copy of the source.
    fn copy(&self) -> PathBuf {
        let mut copies: Vec<_> = entries(&self.data())
            .into_iter()
            .filter(|path| !path.ends_with("locks") && !path.ends_with("scratch"))
            .collect();
        let copy = copies.pop().expect("there is no copy");
        assert_eq!(copies, [""; 0].map(PathBuf::from), "and {}", copy.display());
        copy
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The files below a directory with what is in them.
fn files(directory: &Path, below: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for path in entries(&directory.join(below)) {
        let below = below.join(path.file_name().unwrap());
        if path.is_dir() {
            files(directory, &below, found);
        } else {
            found.insert(below, fs::read(path).unwrap());
        }
    }
}

fn succeeded(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn outside_a_checkout_it_has_a_whole_copy_of_the_source() {
    let home = Home::new("copy");
    let there = succeeded(home.callgate(&["list"]).output().unwrap());
    let here = succeeded(
        home.callgate(&["list"])
            .current_dir(repository())
            .output()
            .unwrap(),
    );
    assert_eq!(there, here);

    // Nothing is in it that is not in the checkout, and nothing that anything is built from is missing.
    let copy = home.copy();
    let mut copied = BTreeMap::new();
    files(&copy, Path::new(""), &mut copied);
    for (file, content) in &copied {
        let original = fs::read(repository().join(file)).unwrap_or_default();
        assert!(original == *content, "{} is another one", file.display());
    }
    for part in ["gates", "guest", "kernel", "user", "book", "LICENSES"] {
        let mut originals = BTreeMap::new();
        files(repository(), Path::new(part), &mut originals);
        for file in originals.keys() {
            assert!(copied.contains_key(file), "{} is missing", file.display());
        }
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--offline",
            "--manifest-path",
        ])
        .arg(copy.join("Cargo.toml"));
    let tree = succeeded(cargo.output().unwrap());
    assert!(tree.contains("callgate-gates"), "{tree}");
}

#[test]
fn several_first_runs_at_once_make_one_copy() {
    let home = Home::new("several");
    let start = |_| {
        let mut command = home.callgate(&["list"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let runs: Vec<_> = (0..8).map(start).collect();
    let lists: Vec<_> = runs
        .into_iter()
        .map(|run| succeeded(run.wait_with_output().unwrap()))
        .collect();
    assert!(lists.iter().all(|list| *list == lists[0]), "{lists:?}");
    home.copy();
    assert_eq!(
        entries(&home.data().join("scratch")),
        [""; 0].map(PathBuf::from)
    );
}

#[test]
fn a_copy_that_is_there_needs_no_more_than_to_be_read() {
    let home = Home::new("read");
    succeeded(home.callgate(&["list"]).output().unwrap());
    let chapter = home.copy().join("gates/ioctl/README.md");
    let text = fs::read_to_string(&chapter).unwrap();
    fs::write(chapter, text.replace("typed commands", "a mark")).unwrap();
    fs::remove_dir(home.data().join("scratch")).unwrap();
    let list = succeeded(home.callgate(&["list"]).output().unwrap());
    assert!(list.contains("a mark"), "{list}");
    assert!(!home.data().join("scratch").exists());
}

#[test]
fn cleaning_the_cache_keeps_the_copy() {
    let home = Home::new("clean");
    succeeded(home.callgate(&["list"]).output().unwrap());
    succeeded(home.callgate(&["clean"]).output().unwrap());
    assert!(home.copy().join("Kbuild").exists());
}

#[test]
fn a_place_that_cannot_be_written_is_answered_with_how_to_name_another() {
    let home = Home::new("place");
    for variable in ["XDG_CACHE_HOME", "XDG_DATA_HOME"] {
        let mut list = home.callgate(&["list"]);
        let output = list.env(variable, "/proc").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        let advice = format!("{variable} names another");
        for part in [advice.as_str(), "/proc/callgate cannot be written"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
