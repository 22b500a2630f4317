// SPDX-License-Identifier: MIT OR Apache-2.0

//! README.md's section on a project of one's own, word for word.
//!
//! It needs the release kernel, which `callgate test` builds, and compiles the command for installation.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The blocks of a section that are written in one language.
fn blocks(section: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let block = |rest: &str| rest.split("```").next().unwrap().to_owned();
    section.split(&begin).skip(1).map(block).collect()
}

#[test]
fn a_project_of_ones_own_is_made_as_the_readme_says() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = fs::read_to_string(repository.join("README.md")).unwrap();
    let (_, section) = readme
        .split_once("\n## Write your own in five minutes\n")
        .unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let [make, change] = &blocks(section, "sh")[..] else {
        panic!("there are not two blocks of commands");
    };
    let [patch] = &blocks(section, "diff")[..] else {
        panic!("there is not one patch");
    };
    let (_, expected) = section.split_once("The program now ends with `").unwrap();
    let (expected, _) = expected.split_once('`').unwrap();

    // As if the checkout were here, and nothing else.
    let place = std::env::temp_dir().join(format!("callgate-readme-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    std::os::unix::fs::symlink(repository, place.join("callgate")).unwrap();
    fs::write(place.join("length.patch"), patch).unwrap();
    let others = std::env::var("PATH").unwrap();
    let mut shell = Command::new("sh");
    shell
        .args([
            "-euxc",
            &format!("cd callgate\n{make}cp ../length.patch .\n{change}"),
        ])
        .current_dir(&place)
        .env(
            "PATH",
            format!("{}:{others}", place.join("installed/bin").display()),
        )
        .env("CARGO_INSTALL_ROOT", place.join("installed"))
        .env("CARGO_TARGET_DIR", repository.join("target"))
        .env("XDG_DATA_HOME", place.join("data"))
        .stdin(Stdio::null());
    let output = shell.output().unwrap();
    let (printed, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{printed}\n{said}");
    assert!(printed.contains(expected), "{printed}");
    fs::remove_dir_all(&place).unwrap();
}
