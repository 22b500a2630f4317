// SPDX-License-Identifier: MIT OR Apache-2.0

//! A build tree, as far as it decides what can be built against it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The directories that the files are in which a build of a module in Rust needs.
const DIRECTORIES: [&str; 9] = [
    "",
    "include/generated",
    "rust",
    "rust/helpers",
    "scripts",
    "scripts/basic",
    "scripts/mod",
    "tools/bpf/resolve_btfids",
    "tools/objtool",
];

/// A build tree.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Where it is.
    pub directory: PathBuf,
    /// The kernel's release, as `uname -r` says it.
    pub release: String,
    /// The options that are set, as kbuild itself reads them.
    pub config: String,
    /// The files in [`DIRECTORIES`], there or in the sources.
    files: BTreeSet<String>,
}

impl Tree {
    /// Looks at what is there; `None` if that is no tree that a kernel was built in.
    pub fn look(directory: &Path) -> Option<Self> {
        let directory = directory.canonicalize().ok()?;
        let read =
            |file: &str| fs::read_to_string(directory.join("include/config").join(file)).ok();
        let (config, release) = (read("auto.conf")?, read("kernel.release")?);
        let makefile = fs::read_to_string(directory.join("Makefile")).ok()?;
        let names = |place: &Path, below: &str| {
            let entries = fs::read_dir(place.join(below)).into_iter().flatten();
            let paths = entries.flatten().map(|entry| {
                let path = Path::new(below).join(entry.file_name());
                path.to_string_lossy().into_owned()
            });
            paths.collect::<Vec<_>>()
        };
        let files = DIRECTORIES
            .iter()
            .flat_map(|below| names(&directory, below));
        // The scripts are in the sources. What was built in another folder has them there alone.
        let sources = sources(&makefile).map(|sources| names(&directory.join(sources), "scripts"));
        let files = files.chain(sources.into_iter().flatten());
        Some(Self::new(&directory, &config, release.trim(), files))
    }

    /// A tree with this `include/config/auto.conf` and these files.
    pub fn new(
        directory: &Path,
        config: &str,
        release: &str,
        files: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            directory: directory.to_owned(),
            release: release.to_owned(),
            config: config.to_owned(),
            files: files.into_iter().collect(),
        }
    }

    /// Whether the file is there.
    pub fn has(&self, file: &str) -> bool {
        self.files.contains(file)
    }

    /// Whether a bool option is set.
    pub fn is_set(&self, option: &str) -> bool {
        self.value(option) == Some("y")
    }

    /// The value of an option that is a text; empty where it is not set.
    pub fn text(&self, option: &str) -> &str {
        self.value(option).unwrap_or_default()
    }

    /// Whether pahole is run on each module. It is not where there is no vmlinux to compare with.
    pub fn makes_types(&self) -> bool {
        self.is_set("DEBUG_INFO_BTF_MODULES") && self.has("vmlinux")
    }

    fn value(&self, option: &str) -> Option<&str> {
        self.config.lines().find_map(|line| {
            let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
            (name == option).then_some(value)
        })
    }
}

/// Where the sources are, if this is the Makefile of a folder beside them.
fn sources(makefile: &str) -> Option<&Path> {
    let includes = makefile
        .lines()
        .filter_map(|line| line.strip_prefix("include "));
    let paths = includes.filter(|path| !path.contains('$'));
    let mut sources = paths.filter_map(|path| path.trim_end().strip_suffix("/Makefile"));
    sources.next().map(Path::new)
}
