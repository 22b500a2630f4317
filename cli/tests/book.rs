// SPDX-License-Identifier: MIT OR Apache-2.0

//! The handbook, made by the command and opened in a browser.

use std::path::Path;
use std::process::{Command, Output};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What a page has come to when its scripts have run.
fn browse(page: &str) -> String {
    let profile = std::env::temp_dir().join(format!("callgate-browser-{}", std::process::id()));
    let browser = Command::new("timeout")
        .args([
            "60",
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
        ])
        // Simulated time, so that a slow machine is not too slow.
        .args(["--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(page)
        .output();
    let _ = std::fs::remove_dir_all(profile);
    let Output {
        status,
        stdout,
        stderr,
    } = browser.expect("timeout(1) is part of coreutils");
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "is chromium installed? {status}: {said}");
    String::from_utf8(stdout).unwrap()
}

#[test]
fn the_handbook_opens_in_a_browser_and_finds_what_it_is_asked_for() {
    let made = Command::new(env!("CARGO_BIN_EXE_callgate"))
        .arg("book")
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let index = String::from_utf8(made.stdout).unwrap();
    let index = format!("file://{}", index.trim());

    // The list of chapters is put in by a script.
    let page = browse(&index);
    for gate in lab::gates::find(repository()).unwrap() {
        let link = format!("href=\"gates/{}/index.html\"", gate.name);
        assert!(page.contains(&link), "there is no chapter on {}", gate.name);
    }

    for (sought, chapter) in [("mknod", "gates/chardev/"), ("mkdir", "gates/configfs/")] {
        let page = browse(&format!("{index}?search={sought}"));
        let (_, results) = page.split_once("id=\"mdbook-searchresults\"").unwrap();
        let (results, _) = results.split_once("</ul>").unwrap();
        assert!(results.contains(chapter), "{sought}: {results}");
    }
    let page = browse(&format!("{index}?search=xyzzyplugh"));
    assert!(
        page.contains("No search results for"),
        "found what is not there"
    );
}
