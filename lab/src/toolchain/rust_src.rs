// SPDX-License-Identifier: MIT OR Apache-2.0

//! The sources of Rust's `core`, which the kernel compiles for itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cache::Cache;
use crate::command::{Cmd, Interrupted, note, step};
use crate::fetch::AptArea;

use super::{Rustc, Version, rustc_version};

/// The directory for `RUST_LIB_SRC`, of exactly the rustc in use.
///
/// From the toolchain itself, else from Debian's package of the same version, else from rustup.
pub fn ensure_rust_src(cache: &Cache) -> Result<PathBuf> {
    let rustc = rustc_version()?;
    if let Some(dir) = in_sysroot()? {
        return Ok(dir);
    }
    let kept = cache.path("rust-src").join(rustc.version.to_string());
    if is_library(&kept) {
        return Ok(kept);
    }
    let _lock = cache.lock("rust-src")?;
    if is_library(&kept) {
        return Ok(kept);
    }
    // Debian's goes into the cache; rustup's changes the user's toolchain, so it comes last.
    let from_debian = match from_debian(cache, &rustc, &kept) {
        Err(error) if !error.is::<Interrupted>() => error,
        result => return result,
    };
    match from_rustup() {
        Ok(Some(dir)) => Ok(dir),
        Err(error) if error.is::<Interrupted>() => Err(error),
        _ => Err(from_debian).with_context(|| {
            format!(
                "the sources of Rust's core library for `{}` could not be had; \
                 `rustup component add rust-src` installs them",
                rustc.text
            )
        }),
    }
}

fn is_library(dir: &Path) -> bool {
    dir.join("core/src/lib.rs").is_file()
}

fn in_sysroot() -> Result<Option<PathBuf>> {
    let sysroot = Cmd::new("rustc").args(["--print", "sysroot"]).output()?;
    let dir = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    Ok(is_library(&dir).then_some(dir))
}

fn from_rustup() -> Result<Option<PathBuf>> {
    let add = Cmd::new("rustup").args(["component", "add", "rust-src"]);
    let _step = step("asking rustup for rust-src");
    add.limit(Duration::from_mins(3)).run()?;
    let added = in_sysroot()?;
    if added.is_some() {
        note("callgate: rustup added rust-src to the toolchain");
    }
    Ok(added)
}

fn from_debian(cache: &Cache, rustc: &Rustc, kept: &Path) -> Result<PathBuf> {
    if rustc.text.contains("-nightly") || rustc.text.contains("-beta") {
        bail!("Debian packages only stable releases of Rust");
    }
    let area = AptArea::open(cache)?;
    let offered = area.versions("rust-src")?;
    let same = offered
        .iter()
        .find(|offer| Version::find(offer) == Some(rustc.version));
    let Some(package_version) = same else {
        bail!(
            "Debian offers rust-src {}, not {}",
            offered.join(", "),
            rustc.version
        );
    };
    note(&format!(
        "callgate: taking rust-src {package_version} from Debian, into the cache"
    ));
    let scratch = cache.scratch("rust-src")?;
    let package = area.download("rust-src", package_version, scratch.path())?;
    let wanted = format!("usr/src/rustc-{}/library", rustc.version);
    let step = step("unpacking rust-src");
    // The rest of the package is ten times as much.
    Cmd::new("sh")
        .args([
            "-c",
            r#"dpkg-deb --fsys-tarfile "$1" | tar -C "$2" -x "./$3""#,
            "sh",
        ])
        .arg(&package)
        .arg(scratch.path())
        .arg(&wanted)
        .run()?;
    drop(step);
    let library = scratch.path().join(wanted);
    if !is_library(&library) {
        bail!("rust-src {package_version} holds no {}", library.display());
    }
    let result = cache.scratch("rust-src-library")?;
    std::fs::rename(&library, result.path()).context("moving the sources into place")?;
    cache.publish(result, kept)
}
