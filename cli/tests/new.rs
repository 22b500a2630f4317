// SPDX-License-Identifier: MIT OR Apache-2.0

//! What `callgate new` makes, where it refuses to, and how `callgate update` keeps it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// An empty directory, for one test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("new-{name}"));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    fn callgate(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
        command
            .args(arguments)
            .current_dir(&self.0)
            .output()
            .unwrap()
    }

    /// The folder of a project that must be made.
    fn made(&self, folder: &str, arguments: &[&str]) -> PathBuf {
        let output = self.callgate(&[&["new", folder], arguments].concat());
        PathBuf::from(succeeded(&output).trim_end())
    }

    /// The names of everything in it, hidden or not.
    fn entries(&self) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        fs::read_dir(&self.0).unwrap().map(name).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a command printed, which must have succeeded.
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every file below a folder, hidden or not.
fn files(folder: &Path) -> Vec<PathBuf> {
    let below = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    };
    fs::read_dir(folder).unwrap().flat_map(below).collect()
}

/// Runs a line of shell in a folder, and gives what it printed.
fn shell(folder: &Path, line: &str) -> String {
    let mut shell = Command::new("sh");
    succeeded(
        &shell
            .args(["-ec", line])
            .current_dir(folder)
            .output()
            .unwrap(),
    )
}

#[test]
fn what_cannot_be_made_is_wrong_usage_and_leaves_nothing_behind() {
    let place = Place::new("refused");
    // What is in the kernel itself counts as well; every kernel has a printk.
    let loaded = "printk";
    let long = "a".repeat(56);
    for (folder, gates, why) in [
        ("my projects/door", "ioctl", "without spaces"),
        ("a:b/door", "ioctl", "one of its characters"),
        ("My-Door", "ioctl", "lower-case letters"),
        ("porte_d_entrée", "ioctl", "lower-case letters"),
        ("struct", "ioctl", "already"),
        ("kernel", "ioctl", "already"),
        ("incremental", "ioctl", "already"),
        ("obj", "ioctl", "already"),
        ("..", "ioctl", "no name"),
        (&long, "ioctl", "55 bytes"),
        ("sixteen_letters_", "genl", "15 bytes"),
        (loaded, "ioctl", "a module of that name"),
        ("nowhere/door", "ioctl", "cannot make a folder"),
        ("/proc/door", "ioctl", "cannot make a folder"),
        ("door", "ioctl,nothing", "there is no gate `nothing`"),
        ("door", "", "there is no gate ``"),
        ("door", "ioctl,ioctl", "named twice"),
        ("door", "syscall", "no module can have it"),
    ] {
        let output = place.callgate(&["new", folder, "--gate", gates]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{folder}, {gates}: {said}");
        assert!(said.contains(why), "{folder}, {gates}: {said}");
        assert!(output.stdout.is_empty(), "{folder}, {gates}");
        assert_eq!(place.entries(), [""; 0], "{folder}, {gates}");
    }
    for arguments in [
        &["new"][..],
        &["new", "door"],
        &["new", "--gate", "ioctl"],
        &["new", "door", "--list"],
        &["update"],
    ] {
        let output = place.callgate(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(place.entries(), [""; 0]);
}

#[test]
fn whoever_ends_it_finds_nothing_left_behind() {
    let place = Place::new("ended");
    let bin = place.0.join("bin");
    fs::create_dir(&bin).unwrap();
    // What runs in the middle of it ends it, and is slow to go.
    shell(
        &bin,
        "printf '#!/bin/sh\nkill -TERM \"$(cat pid)\"; sleep 60\n' > rustfmt; chmod +x rustfmt",
    );
    let output = Command::new("sh")
        .args([
            "-c",
            "echo $$ > pid; PATH=$PWD/bin:$PATH; exec \"$0\" new door --gate ioctl",
        ])
        .arg(env!("CARGO_BIN_EXE_callgate"))
        .current_dir(&place.0)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let mut left = place.entries();
    left.sort();
    assert_eq!(left, ["bin", "pid"]);
}

#[test]
fn what_is_there_already_is_not_touched() {
    let place = Place::new("existing");
    fs::write(place.0.join("file"), "mine").unwrap();
    fs::create_dir(place.0.join("folder")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.0.join("link")).unwrap();
    for folder in ["file", "folder", "link"] {
        let output = place.callgate(&["new", folder, "--gate", "ioctl"]);
        assert_eq!(output.status.code(), Some(2), "{folder}");
        let said = stderr(&output);
        assert!(said.contains("is there already"), "{folder}: {said}");
    }
    assert_eq!(fs::read(place.0.join("file")).unwrap(), b"mine");
    assert_eq!(files(&place.0.join("folder")), [""; 0].map(PathBuf::from));
    let link = fs::read_link(place.0.join("link")).unwrap();
    assert_eq!(link, Path::new("nowhere"));
    assert_eq!(place.entries().len(), 3);
}

#[test]
fn nothing_of_callgates_own_examples_is_left_in_it() {
    let place = Place::new("names");
    let gates = lab::gates::find(repository()).unwrap();
    for gate in gates.iter().filter(|gate| gate.module.is_some()) {
        let manual = repository().join(&gate.folder).join("new.toml");
        let manual = fs::read_to_string(manual).unwrap();
        let (_, renamed) = manual.split_once("[names]\n").unwrap_or_default();
        let renamed = renamed.lines().map_while(|line| line.split_once(" = "));
        let module = format!("callgate_{}", gate.name);
        let theirs: Vec<_> = renamed
            .map(|(name, _)| name.trim_matches('"'))
            // Others are ordinary words.
            .filter(|name| name.contains('_'))
            .chain([&*module, "HOWTO", "// new: "])
            .collect();
        for minimal in [None, Some("--minimal")] {
            let arguments: Vec<_> = ["--gate", &gate.name].into_iter().chain(minimal).collect();
            let root = place.made("my_own", &arguments);
            for file in files(&root) {
                let inside = file.strip_prefix(&root).unwrap();
                let callgates = ["kernel", "LICENSES", "Cargo.lock"];
                if callgates.iter().any(|whole| inside.starts_with(whole)) {
                    continue;
                }
                let text = fs::read_to_string(&file).unwrap();
                for theirs in &theirs {
                    assert!(
                        !text.contains(theirs),
                        "{}, {}: {theirs}",
                        gate.name,
                        inside.display()
                    );
                }
            }
            let tests = root.join(&gate.name).join("tests.rs");
            assert_eq!(tests.exists(), minimal.is_none(), "{}", gate.name);
            fs::remove_dir_all(root).unwrap();
        }
    }
}

#[test]
fn each_gate_is_explained_in_a_line() {
    let place = Place::new("list");
    let list = succeeded(&place.callgate(&["new", "--list"]));
    for gate in lab::gates::find(repository()).unwrap() {
        let explained = list
            .lines()
            .any(|line| line.starts_with(&format!("{} ", gate.name)));
        assert_eq!(explained, gate.module.is_some(), "{}: {list}", gate.name);
    }
}

#[test]
fn an_update_brings_the_library_and_loses_nothing() {
    let place = Place::new("update");
    let root = place.made("door", &["--gate", "ioctl"]);
    let update = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
        command
            .arg("update")
            .current_dir(root.join("ioctl"))
            .output()
            .unwrap()
    };
    let library = || {
        let file = |path: PathBuf| (fs::read(&path).unwrap(), path);
        let mut files: Vec<_> = files(&root.join("kernel")).into_iter().map(file).collect();
        files.sort();
        files
    };
    let current = library();
    assert_eq!(succeeded(&update()), "");
    assert!(library() == current);

    // An older library: one file was another one, one was not there, and one is not needed any more.
    shell(
        &root.join("kernel"),
        "echo '// older' >> ioctl.rs
        sum=$(sha256sum ioctl.rs); sed -i \"s/.*  ioctl.rs/$sum/\" ORIGIN
        rm misc.rs; sed -i '/  misc.rs/d' ORIGIN
        echo '// gone since' > gone.rs; sha256sum gone.rs >> ORIGIN",
    );
    let mut updated: Vec<_> = succeeded(&update()).lines().map(str::to_owned).collect();
    updated.sort();
    assert_eq!(
        updated,
        ["kernel/gone.rs", "kernel/ioctl.rs", "kernel/misc.rs"]
    );
    assert!(library() == current);
    shell(
        &root.join("kernel"),
        "grep '^[0-9a-f]*  ' ORIGIN | sha256sum --check --quiet",
    );

    // What a module newly names comes as well.
    assert!(!root.join("kernel/proc_fs.rs").exists());
    shell(
        &root,
        "echo 'use callgate_kernel::proc_fs as _;' >> ioctl/module.rs",
    );
    assert!(succeeded(&update()).contains("kernel/proc_fs.rs"));

    // A change of the user's own stays.
    shell(&root, "echo '// mine' >> kernel/file.rs");
    let before = library();
    let output = update();
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("kernel/file.rs was changed here"), "{said}");
    assert!(library() == before);
}
