// SPDX-License-Identifier: MIT OR Apache-2.0

//! What `callgate bench` finds, and what it says of an older run.
//!
//! It needs the release kernel, which `callgate test` builds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// What somebody's last run has left, put back when the test is over.
struct Left {
    path: PathBuf,
    kept: Option<Vec<u8>>,
}

impl Left {
    fn keep() -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let path = repository.join("target/callgate/bench/results.json");
        let kept = fs::read(&path).ok();
        Self { path, kept }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let _ = match &self.kept {
            Some(kept) => fs::write(&self.path, kept),
            None => fs::remove_file(&self.path),
        };
    }
}

/// The counts of the ioctl gate, compared with those in this file.
fn count(old: Option<&Path>) -> Output {
    let mut callgate = Command::new(env!("CARGO_BIN_EXE_callgate"));
    callgate.args(["bench", "--exact", "--json", "ioctl"]);
    if let Some(old) = old {
        callgate.arg("--compare").arg(old);
    }
    callgate.output().unwrap()
}

fn results(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_count_that_has_grown_fails_the_comparison_and_is_named() {
    let left = Left::keep();
    let first = count(None);
    let mut found = results(&first);
    assert_eq!(first.status.code(), Some(0));
    let in_file = fs::read(&left.path).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&in_file).unwrap(),
        found,
        "the file has something else than was printed"
    );

    assert_eq!(found["schema"], 1);
    for fact in ["date", "callgate", "kernel", "config"] {
        assert_ne!(found["about"][fact].as_str(), Some(""), "{fact}");
    }
    assert_eq!(found["times"], Value::Array(Vec::new()));
    let costs = found["costs"].as_array().unwrap();
    for cost in costs {
        assert_eq!(cost["gate"], "ioctl");
        for count in ["calls", "program", "kernel", "twin"] {
            assert!(cost[count].as_u64().is_some_and(|n| n > 0), "{cost}");
        }
    }
    let is_exchange = |cost: &Value| cost["operation"] == "exchange";
    let exchange = costs.iter().position(is_exchange).unwrap();
    let kernel = costs[exchange]["kernel"].as_u64().unwrap();
    let (bytes, before) = (costs[exchange]["bytes"].clone(), kernel / 2);
    found["costs"][exchange]["kernel"] = before.into();
    let old = std::env::temp_dir().join(format!("callgate-bench-{}.json", std::process::id()));
    fs::write(&old, found.to_string()).unwrap();

    let second = count(Some(&old));
    fs::remove_file(&old).unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    let line = format!("ioctl: exchange, {bytes} bytes: kernel {before} → {kernel}");
    assert!(said.contains(&line), "no `{line}` in:\n{said}");
    assert_eq!(said.matches(" → ").count(), 1, "{said}");
    assert_eq!(second.status.code(), Some(1), "{said}");
    found["costs"][exchange]["kernel"] = kernel.into();
    assert_eq!(
        results(&second)["costs"],
        found["costs"],
        "another boot counts otherwise"
    );
}
