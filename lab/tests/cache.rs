// SPDX-License-Identifier: MIT OR Apache-2.0

//! The cache between runs: locks, scratch directories, publishing.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use lab::cache::Cache;
use support::another_run;

fn empty(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("cache")
        .join(name);
    let _ = fs::remove_dir_all(&dir);
    dir
}

fn start_another_run(root: &Path) -> Child {
    let mut child = another_run(&["cache", root.to_str().unwrap()]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap() == "ready"),
        "the other run did not start"
    );
    child
}

#[test]
fn a_lock_excludes_until_it_is_dropped() {
    let cache = Cache::open_at(empty("lock")).unwrap();
    let held = cache.lock("kernel").unwrap();
    let _other_name = cache.lock("bindgen").unwrap();
    let (sender, locked) = channel();
    let same = cache.clone();
    thread::spawn(move || {
        let _lock = same.lock("kernel").unwrap();
        sender.send(()).unwrap();
    });
    assert!(
        locked.recv_timeout(Duration::from_millis(300)).is_err(),
        "two held it at once"
    );
    drop(held);
    locked.recv_timeout(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_killed_run_leaves_no_lock_and_no_scratch() {
    let root = empty("killed");
    let mut other = start_another_run(&root);

    // While it lives, its work stays and the cache cannot be cleared.
    let cache = Cache::open_at(&root).unwrap();
    assert_eq!(fs::read_dir(cache.path("scratch")).unwrap().count(), 1);
    let refusal = cache.clear().unwrap_err().to_string();
    assert!(
        refusal.contains(&format!("process {}", other.id())),
        "{refusal}"
    );

    other.kill().unwrap();
    other.wait().unwrap();
    let cache = Cache::open_at(&root).unwrap();
    assert_eq!(fs::read_dir(cache.path("scratch")).unwrap().count(), 0);
    drop(cache.lock("kernel").unwrap());
    cache.clear().unwrap();
}

#[test]
fn published_whole_or_not_at_all_and_the_first_stays() {
    let cache = Cache::open_at(empty("publish")).unwrap();
    let make = |text: &str| {
        let scratch = cache.scratch("thing").unwrap();
        fs::write(scratch.path().join("text"), text).unwrap();
        scratch
    };
    let (first, second) = (make("first"), make("second"));
    assert_ne!(first.path(), second.path());
    assert!(!cache.path("things/one").exists());
    let place = cache.publish(first, "things/one").unwrap();
    assert_eq!(place, cache.path("things/one"));
    cache.publish(second, "things/one").unwrap();
    assert_eq!(fs::read_to_string(place.join("text")).unwrap(), "first");
    cache.replace(make("third"), "things/one").unwrap();
    assert_eq!(fs::read_to_string(place.join("text")).unwrap(), "third");
    cache.replace(make("new"), "things/two").unwrap();
    assert_eq!(
        fs::read_to_string(cache.path("things/two/text")).unwrap(),
        "new"
    );
    assert_eq!(fs::read_dir(cache.path("scratch")).unwrap().count(), 0);
}

#[test]
fn cleared_cache_is_empty_and_usable() {
    let cache = Cache::open_at(empty("clear")).unwrap();
    fs::write(cache.path("file"), vec![1; 100_000]).unwrap();
    assert!(cache.size() >= 100_000);
    cache.clear().unwrap();
    assert!(!cache.path("file").exists());
    assert!(cache.size() < 100_000);
    drop(cache.scratch("again").unwrap());
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let error = Cache::open_at("/proc/callgate").unwrap_err().to_string();
    assert_eq!(error, "/proc/callgate cannot be written");
}
