// SPDX-License-Identifier: MIT OR Apache-2.0

//! SHA-256 of files, and the refusal of files that have another one than they should.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::cache;

/// A file is not what was published under its name.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is truncated or altered (SHA-256 {found}, should be {expected}); it was removed, so running \
     again fetches it anew", .path.display()
)]
pub struct Altered {
    /// The file, which is gone now.
    pub path: PathBuf,
    /// The sum that was published.
    pub expected: String,
    /// The sum it has.
    pub found: String,
}

/// The SHA-256 of a file, in lower-case hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).with_context(reading)? {
            0 => break,
            n => hash.update(&block[..n]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")))
}

/// Removes a file that has not this sum, and fails with [`Altered`].
pub(super) fn require(path: &Path, expected: &str) -> Result<()> {
    let found = sha256(path)?;
    if found == expected {
        return Ok(());
    }
    cache::remove(path)?;
    Err(Altered {
        path: path.to_owned(),
        expected: expected.to_owned(),
        found,
    }
    .into())
}
