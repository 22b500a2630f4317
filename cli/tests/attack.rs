// SPDX-License-Identifier: MIT OR Apache-2.0

//! What `callgate attack` finds: each weakness of a module that is weak on purpose, and none where there is none.
//!
//! It needs the debug kernel, which `callgate test` builds.

use std::process::Command;

/// Attacks the module for a while. Gives the exit status, and all that was said.
fn attack(weakness: u32) -> (Option<i32>, String) {
    let mut callgate = Command::new(env!("CARGO_BIN_EXE_callgate"));
    callgate.args([
        "attack",
        "--minutes",
        "0.5",
        "--weakness",
        &weakness.to_string(),
    ]);
    let output = callgate.output().unwrap();
    let [said, told] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.code(), said + &told)
}

#[test]
fn where_there_is_no_weakness_none_is_found() {
    let (status, said) = attack(0);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn each_weakness_is_found() {
    let weaknesses = [
        "BUG: KASAN: slab-",
        "BUG: KASAN: slab-",
        "an address of the kernel's",
        "BUG: KASAN: slab-",
        "BUG: unable to handle page fault",
        "is root's",
    ];
    for (kind, found) in (1..).zip(weaknesses) {
        let (status, said) = attack(kind);
        assert_ne!(status, Some(0), "{kind}: {said}");
        assert!(said.contains(found), "{kind}: no `{found}` in\n{said}");
    }
}
