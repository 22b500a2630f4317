// SPDX-License-Identifier: MIT OR Apache-2.0

//! Command lines: the program meant by a name, and words as a shell wants them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The first executable of this name in a search path.
pub(crate) fn find_in(path: &OsStr, program: impl AsRef<Path>) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|dir| dir.join(program.as_ref()))
        .find(|file| {
            file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
        })
}

/// Quotes one word for a shell, only where it needs it.
pub fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quotes_only_what_a_shell_would_change() {
        for (word, quoted) in [
            ("LLVM=-19", "LLVM=-19"),
            ("", "''"),
            ("two words", "'two words'"),
            ("$(SITE)", "'$(SITE)'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quote(word.as_ref()), quoted);
        }
    }
}
