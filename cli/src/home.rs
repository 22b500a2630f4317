// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where callgate's own source is: the checkout that one stands in, else a copy of what this command was
//! built from, which `build.rs` packed into it.
//!
//! The copy is data and not cache: projects of the user's refer to it by its path.

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;
use lab::cache::{Cache, user_directory};
use std::path::{Path, PathBuf};

/// The source, packed, and its name: the version, and a hash of all files.
const ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/source.tar.gz"));
const NAME: &str = env!("CALLGATE_SOURCE");

/// callgate's own source, and where what is built from it goes.
#[derive(Debug)]
pub struct Home {
    /// Its directory.
    pub source: PathBuf,
    /// What is built from it.
    pub output: PathBuf,
}

/// Finds the source, unpacking it when it is needed for the first time.
pub fn find(cache: &Cache) -> Result<Home> {
    let here = std::env::current_dir().context("where are we?")?;
    let is_checkout = |directory: &&Path| {
        directory.join("gates").is_dir() && directory.join("kernel/config").is_dir()
    };
    if let Some(checkout) = here.ancestors().find(is_checkout) {
        return Ok(Home {
            source: checkout.to_owned(),
            output: checkout.join("target/callgate"),
        });
    }
    let Some(data) = user_directory("XDG_DATA_HOME", ".local/share") else {
        bail!(
            "no place for callgate's own source: set XDG_DATA_HOME (or HOME) to the absolute path of a \
             directory, or change into a checkout of callgate"
        );
    };
    Ok(Home {
        source: unpacked(&data)?,
        output: cache.path("built").join(NAME),
    })
}

/// The copy below `data`. It appears there whole, and once.
fn unpacked(data: &Path) -> Result<PathBuf> {
    let place = data.join(NAME);
    if place.is_dir() {
        return Ok(place);
    }
    let data = Cache::open_at(data)
        .context("no place for callgate's own source; XDG_DATA_HOME names another")?;
    let scratch = data.scratch("source")?;
    tar::Archive::new(GzDecoder::new(ARCHIVE))
        .unpack(scratch.path())
        .context("unpacking callgate's source")?;
    data.publish(scratch, NAME)
}
