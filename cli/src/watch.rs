// SPDX-License-Identifier: MIT OR Apache-2.0

//! `callgate watch`: the tests, again and again, as files change.

use crate::{prepared, test};
use anyhow::{Context, Result};
use lab::Lab;
use lab::command::{Interrupted, check_interrupted, note, watch_signals};
use lab::doctor::Needs;
use lab::kernel::Flavour;
use lab::project::Project;
use lab::verdict::Outcome;
use notify::{Event, EventKind, RecursiveMode, Watcher as _};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Editors save a file in several steps, and several files at once.
const QUIET: Duration = Duration::from_millis(200);

/// How often to look whether somebody wants us to stop.
const TICK: Duration = Duration::from_millis(100);

/// Runs the tests of these gates now and after each change, until interrupted.
pub fn run(
    lab: &Lab,
    project: &Project,
    flavour: Flavour,
    gates: &[String],
    filter: Option<&str>,
) -> Result<Outcome> {
    watch_signals()?;
    let (sender, changes) = mpsc::channel();
    let root = project.root.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| is_change(&event, &root)) {
            // Nobody listens any more when we stop.
            let _ = sender.send(());
        }
    })?;
    watcher
        .watch(&project.root, RecursiveMode::Recursive)
        .with_context(|| format!("watching {}", project.root.display()))?;
    loop {
        let start = Instant::now();
        let result = prepared(lab, project, Needs::ALL, &[flavour]).and_then(|prepared| {
            test::run(
                &prepared,
                &[flavour],
                gates,
                // For a few gates at most, of which one boot is soonest done.
                1,
                filter.map(str::to_owned),
                None,
                false,
            )
        });
        match result {
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => anstream::eprintln!("{error:#}"),
            Ok(_) => {}
        }
        let seconds = start.elapsed().as_secs_f32();
        note(&format!("callgate: {seconds:.1} s; waiting for a change"));
        next(&changes)?;
    }
}

/// Waits for a change, and until there are no more.
fn next(changes: &Receiver<()>) -> Result<()> {
    let mut any = false;
    loop {
        check_interrupted()?;
        match changes.recv_timeout(if any { QUIET } else { TICK }) {
            Ok(()) => any = true,
            Err(RecvTimeoutError::Timeout) if any => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                anyhow::bail!("nobody tells of changes any more")
            }
        }
    }
}

/// Whether something changed that is built, and not by us.
fn is_change(event: &Event, root: &Path) -> bool {
    let is_source = |path: &&PathBuf| {
        let inside = path.strip_prefix(root).unwrap_or(path);
        let first = inside.components().next().map(Component::as_os_str);
        let made = ["target", ".git", "Cargo.lock", "rust-project.json"];
        first.is_some_and(|first| made.iter().all(|name| first != *name))
    };
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| is_source(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, ModifyKind};

    #[test]
    fn what_we_make_ourselves_is_no_change() {
        let modify = EventKind::Modify(ModifyKind::Any);
        for (path, kind, expected) in [
            ("/p/ioctl/module.rs", modify, true),
            ("/p/Makefile", modify, true),
            (
                "/p/ioctl/module.rs",
                EventKind::Access(AccessKind::Any),
                false,
            ),
            ("/p/target/callgate/x.o", modify, false),
            ("/p/rust-project.json", modify, false),
            ("/p/.git/index", modify, false),
            ("/p", modify, false),
        ] {
            let event = Event::new(kind).add_path(path.into());
            assert_eq!(is_change(&event, Path::new("/p")), expected, "{path}");
        }
    }
}
