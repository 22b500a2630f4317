// SPDX-License-Identifier: MIT OR Apache-2.0

//! Looking for tools and libraries on a machine. Tests look at a machine of their own making.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::{Cmd, find_in};

use super::Version;

/// Where programs are looked for, and below which directory the system's files are.
#[derive(Debug, Clone)]
pub struct Machine {
    path: OsString,
    root: PathBuf,
}

impl Machine {
    /// The machine this runs on.
    pub fn here() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // An ordinary user's PATH may lack what only root used to need.
        let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
        let path = std::env::join_paths(dirs.filter(|dir| dir.is_absolute())).unwrap_or(path);
        Self::with(path, "/")
    }

    /// A machine with this `PATH` and this root directory.
    pub fn with(path: impl AsRef<OsStr>, root: impl Into<PathBuf>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            root: root.into(),
        }
    }

    /// The search path for programs.
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    /// A file by its absolute path.
    pub fn file(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// Where a program is.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        find_in(&self.path, program)
    }

    /// What a program says about itself, or `None` when it is not there or does not work.
    pub fn ask(&self, program: &str, args: &[&str]) -> Option<String> {
        let found = self.find(program)?;
        let cmd = Cmd::new(found).args(args).env("PATH", &self.path);
        cmd.limit(Duration::from_secs(30)).output().ok()
    }

    /// The version that a program prints.
    pub fn version(&self, program: &str, args: &[&str]) -> Option<Version> {
        Version::find(&self.ask(program, args)?)
    }

    /// Whether an empty C source compiles and links with these flags.
    pub fn compiles(&self, flags: &[&str]) -> bool {
        let mut args = vec!["-nostartfiles", "-x", "c", "/dev/null", "-o", "/dev/null"];
        args.extend(flags);
        self.ask("cc", &args).is_some()
    }

    /// The directory with the libclang of one LLVM, under any of the names bindgen looks for.
    pub(super) fn libclang(&self, suffix: &str, major: u32) -> Option<PathBuf> {
        let told = self.ask(&format!("llvm-config{suffix}"), &["--libdir"]);
        let usual = [
            format!("/usr/lib/llvm-{major}/lib"),
            format!("/usr/lib/llvm/{major}/lib64"),
            format!("/usr/lib64/llvm{major}/lib"),
            "/usr/lib64".to_owned(),
            "/usr/lib".to_owned(),
        ];
        let usual = usual.iter().map(|dir| self.file(dir));
        told.map(|dir| PathBuf::from(dir.trim()))
            .into_iter()
            .chain(usual)
            .find(|d| has_libclang(d))
    }
}

fn has_libclang(dir: &Path) -> bool {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let library = name.starts_with("libclang.so") || name.starts_with("libclang-");
            // `libclang-cpp.so` is the C++ interface, which bindgen does not use.
            library
                && name.contains(".so")
                && !name.starts_with("libclang-cpp")
                && entry.path().exists()
        })
}
