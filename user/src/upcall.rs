// SPDX-License-Identifier: MIT OR Apache-2.0

//! Being a user mode helper: a program that the kernel starts.
//!
//! Such a program finds itself where no shell has prepared anything: without open files, without a
//! terminal, in whatever directory and with whatever environment the kernel gives it. [`Circumstances`]
//! is what it finds, as text that it can leave behind for somebody to read.
//!
//! # Not supported
//!
//! Limits, namespaces and control groups, and capabilities by their names.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// What a program finds when it is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Its arguments, `argv[0]` first.
    pub arguments: Vec<String>,
    /// Its environment, `NAME=value`.
    pub environment: Vec<String>,
    /// The directory it is in.
    pub directory: PathBuf,
    /// Its real, effective, saved and file system user, as `/proc/self/status` has them.
    pub users: String,
    /// Its groups likewise.
    pub groups: String,
    /// The other groups that it is in.
    pub other_groups: String,
    /// Its effective capabilities, in hexadecimal.
    pub capabilities: String,
    /// Those that it can ever have, likewise.
    pub bounds: String,
    /// The mask of the files that it makes, in octal.
    pub umask: String,
    /// Its parent.
    pub parent: u32,
}

impl Circumstances {
    /// Those of this process.
    ///
    /// # Errors
    ///
    /// Without `/proc`, or in a directory that is gone.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man5/proc_pid_status.5.html)
    pub fn own() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let values = status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let words: Vec<_> = values.unwrap_or_default().split_whitespace().collect();
            words.join(" ")
        };
        Ok(Self {
            arguments: lossy(std::env::args_os()),
            environment: std::env::vars_os()
                .map(|(name, value)| {
                    format!("{}={}", name.to_string_lossy(), value.to_string_lossy())
                })
                .collect(),
            directory: std::env::current_dir()?,
            users: field("Uid"),
            groups: field("Gid"),
            other_groups: field("Groups"),
            capabilities: field("CapEff"),
            bounds: field("CapBnd"),
            umask: field("Umask"),
            parent: std::os::unix::process::parent_id(),
        })
    }

    /// Leaves them in a file of its own in `directory`, named by the number of the process; makes the
    /// directory if need be. The file appears as a whole.
    ///
    /// # Errors
    ///
    /// What making the directory or the file fails with.
    pub fn leave_in(&self, directory: impl AsRef<Path>) -> io::Result<()> {
        let directory = directory.as_ref();
        fs::create_dir_all(directory)?;
        let number = std::process::id();
        let unfinished = directory.join(format!(".{number}"));
        let mut file = File::create_new(&unfinished)?;
        write!(file, "{self}")?;
        fs::rename(unfinished, directory.join(number.to_string()))
    }

    /// From text as [`Display`](fmt::Display) makes it; `None` if it is not of this form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut found = Self::default();
        for line in text.lines() {
            let (name, value) = line
                .split_once(": ")
                .or(line.strip_suffix(':').map(|name| (name, "")))?;
            let value = value.to_owned();
            match name {
                "argument" => found.arguments.push(value),
                "environment" => found.environment.push(value),
                "directory" => found.directory = value.into(),
                "users" => found.users = value,
                "groups" => found.groups = value,
                "other groups" => found.other_groups = value,
                "capabilities" => found.capabilities = value,
                "bounds" => found.bounds = value,
                "umask" => found.umask = value,
                "parent" => found.parent = value.parse().ok()?,
                _ => return None,
            }
        }
        Some(found)
    }
}

fn lossy(words: impl Iterator<Item = std::ffi::OsString>) -> Vec<String> {
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// A line for each; what has a newline in it is cut there.
impl fmt::Display for Circumstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.directory.display().to_string();
        let parent = self.parent.to_string();
        let lists = [
            ("argument", &self.arguments),
            ("environment", &self.environment),
        ];
        let many = lists
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (*name, value)));
        let one = [
            ("directory", &directory),
            ("users", &self.users),
            ("groups", &self.groups),
            ("other groups", &self.other_groups),
            ("capabilities", &self.capabilities),
            ("bounds", &self.bounds),
            ("umask", &self.umask),
            ("parent", &parent),
        ];
        for (name, value) in many.chain(one) {
            writeln!(f, "{name}: {}", value.lines().next().unwrap_or_default())?;
        }
        Ok(())
    }
}

/// The virtual terminal in front of the user, whose bell is the machine's speaker.
const TERMINAL: &str = "/dev/tty0";

/// Rings the terminal's bell so many times; does nothing where there is none.
///
/// # Errors
///
/// What writing to the terminal fails with.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man4/console_codes.4.html)
pub fn ring(times: u8) -> io::Result<()> {
    let Ok(mut terminal) = OpenOptions::new().append(true).open(TERMINAL) else {
        return Ok(());
    };
    for _ in 0..times {
        terminal.write_all(b"\x07")?;
        // A bell that is rung while it rings is heard once.
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_behind_can_be_read() {
        let own = Circumstances::own().unwrap();
        assert_eq!(Circumstances::parse(&own.to_string()), Some(own.clone()));
        assert_eq!(own.arguments.len(), std::env::args().count());
        assert!(own.parent > 0 && own.users.split(' ').count() == 4, "{own}");

        let directory = std::env::temp_dir().join(format!("upcall-{}", std::process::id()));
        own.leave_in(&directory).unwrap();
        let file = directory.join(std::process::id().to_string());
        let left = fs::read_to_string(file).unwrap();
        assert_eq!(left, own.to_string());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["nonsense", "color: red", "parent: x"] {
            assert_eq!(Circumstances::parse(text), None, "{text}");
        }
        let empty = Circumstances::parse("argument:\nother groups: \n").unwrap();
        assert_eq!(empty.arguments, [""]);
    }
}
