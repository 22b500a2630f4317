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

/// What an update, from somewhere in the project, came to.
fn update(root: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    command
        .arg("update")
        .current_dir(root.join("ioctl"))
        .output()
        .unwrap()
}

/// The library in a project: what is in each file.
fn library(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let file = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    let mut files: Vec<_> = files(&root.join("kernel")).into_iter().map(file).collect();
    files.sort();
    files
}

/// An update must refuse to touch anything, and say why.
fn refuses(root: &Path, why: &str) {
    let before = library(root);
    let output = update(root);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(why), "{said}");
    assert!(output.stdout.is_empty());
    assert!(library(root) == before);
}

#[test]
fn an_update_brings_the_library() {
    let place = Place::new("update");
    let root = place.made("door", &["--gate", "ioctl"]);
    let update = || succeeded(&update(&root));
    let library = || library(&root);
    let current = library();

    // Nothing is written that is as it should be: what is built of it is not built again.
    let written = || {
        let when = |path: PathBuf| (path.metadata().unwrap().modified().unwrap(), path);
        let mut files: Vec<_> = files(&root).into_iter().map(when).collect();
        files.sort();
        files
    };
    let before = written();
    assert_eq!(update(), "");
    assert!(library() == current);
    assert!(written() == before);

    // An older library: one file was another one, one was not there, and one is not part of it any more.
    shell(
        &root.join("kernel"),
        "echo '// older' >> ioctl.rs
        sum=$(sha256sum ioctl.rs); sed -i \"s/.*  ioctl.rs/$sum/\" ORIGIN
        rm misc.rs; sed -i '/  misc.rs/d' ORIGIN
        echo '// gone since' > gone.rs; sha256sum gone.rs >> ORIGIN
        echo '// mine' > mine.rs",
    );
    assert_eq!(
        update(),
        "kernel/gone.rs\nkernel/ioctl.rs\nkernel/misc.rs\n"
    );
    fs::remove_file(root.join("kernel/mine.rs")).unwrap();
    assert!(library() == current);
    let now = written();
    let rewritten = now.iter().filter(|file| !before.contains(file));
    let mut rewritten: Vec<_> = rewritten
        .map(|(_, path)| path.file_name().unwrap())
        .collect();
    rewritten.sort();
    assert_eq!(rewritten, ["ORIGIN", "ioctl.rs", "misc.rs"]);
    shell(
        &root.join("kernel"),
        "grep '^[0-9a-f]*  ' ORIGIN | sha256sum --check --quiet",
    );

    // What a module newly names comes as well, whatever the folder is called, and with the C that it takes.
    let linked = || {
        shell(
            &root,
            "printf 'src := .\\nobj := .\\ninclude Kbuild\\n$(info $(door-y))\\nFORCE:\\n' | make -sf - FORCE",
        )
    };
    assert!(!linked().contains("kernel/helpers/udp.o"));
    shell(
        &root,
        "mkdir ioctl/target; echo 'use callgate_kernel::udp as _;' > ioctl/target/more.rs",
    );
    assert!(update().contains("kernel/udp.rs"));
    assert!(linked().contains("kernel/helpers/udp.o"), "{}", linked());

    // It stays, also if nothing names it by the library's own name.
    shell(
        &root,
        "echo 'use callgate_kernel as lib; use lib::udp as _;' > ioctl/target/more.rs",
    );
    assert_eq!(update(), "");
}

#[test]
fn an_update_that_was_killed_is_done_by_the_next() {
    let place = Place::new("killed");
    let root = place.made("door", &["--gate", "ioctl"]);
    let current = library(&root);
    shell(
        &root.join("kernel"),
        "for file in *.rs helpers/*; do
            echo '// older' >> $file
            sed -i \"s,.*  $file\\$,$(sha256sum $file),\" ORIGIN
        done",
    );
    let older = library(&root);
    // A file that is longer than it may write ends it.
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 20; exec \"$0\" update"])
        .arg(env!("CARGO_BIN_EXE_callgate"))
        .current_dir(&root)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), None, "{}", stderr(&output));
    assert!(library(&root) != older);
    assert!(library(&root) != current);
    // Each file is one that ORIGIN knows, so that also a later library takes its place.
    shell(
        &root.join("kernel"),
        "for file in *.rs helpers/*; do grep -qx \"$(sha256sum $file)\" ORIGIN; done",
    );
    assert!(succeeded(&update(&root)).contains("kernel/file.rs"));
    assert!(library(&root) == current);
}

#[test]
fn an_update_loses_nothing_of_the_users_own() {
    let place = Place::new("lost");
    let root = place.made("door", &["--gate", "ioctl"]);
    let saved = fs::read(root.join("kernel/file.rs")).unwrap();
    for change in ["echo '// mine'", "printf '\\377\\376 mine'"] {
        shell(&root, &format!("{change} >> kernel/file.rs"));
        refuses(&root, "kernel/file.rs was changed here");
        fs::write(root.join("kernel/file.rs"), &saved).unwrap();
    }

    // A file of the user's own that is called as one of the library's.
    shell(
        &root,
        "echo '// mine' > kernel/netlink.rs
        echo 'use callgate_kernel::netlink as _;' >> ioctl/module.rs",
    );
    refuses(&root, "kernel/netlink.rs was changed here, or is your own");

    // What is not understood is named.
    shell(&root, "echo '}' >> ioctl/module.rs");
    let output = update(&root);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("understanding ioctl/module.rs"), "{said}");
}

#[test]
fn an_update_moves_both_sides() {
    let place = Place::new("sides");
    let root = place.made("door", &["--gate", "ioctl"]);
    let manifest = root.join("Cargo.toml");
    let made = fs::read_to_string(&manifest).unwrap();
    let line = made.lines().find(|line| line.starts_with("callgate = "));
    let ours = line.unwrap().split('"').nth(1).unwrap();

    // Another path to the same folder is as good.
    std::os::unix::fs::symlink(ours, root.join("near")).unwrap();
    let near = made.replace(ours, "near");
    fs::write(&manifest, &near).unwrap();
    assert_eq!(succeeded(&update(&root)), "");
    assert_eq!(fs::read_to_string(&manifest).unwrap(), near);

    // What else the user has made of the file stays as it is.
    let mine = made.replace(line.unwrap(), "")
        + &format!("\n[dependencies.callgate] # mine\npath   = '{ours}' # mine\n");
    for elsewhere in ["/nowhere/user", "."] {
        fs::write(&manifest, mine.replace(ours, elsewhere)).unwrap();
        assert_eq!(succeeded(&update(&root)), "Cargo.toml\n");
        let updated = fs::read_to_string(&manifest).unwrap();
        assert_eq!(updated.replace('"', "'"), mine.replace('"', "'"));
    }
}
