// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's tarball from kernel.org, checked against the sums published beside it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cache::{self, Cache};
use crate::command::{Cmd, Failed, step};
use crate::toolchain::{Machine, Version};

use super::{Altered, SERIES, Source, checksum, keep};

/// The directory of the series' tarballs.
pub const KERNEL_ORG: &str = "https://cdn.kernel.org/pub/linux/kernel/v7.x";

/// How often a transfer that broke off is taken up again, as long as each attempt brings something.
const ATTEMPTS: u32 = 10;

/// curl: the server cannot continue where the last transfer ended.
const CANNOT_RESUME: [i32; 2] = [22, 33];

/// Fetches the newest tarball of the series. The caller holds the lock `kernel-source`.
pub(super) fn fetch_kernel(cache: &Cache, base: &str) -> Result<Source> {
    if Machine::here().find("curl").is_none() {
        bail!("curl, which would fetch it, is not on this machine");
    }
    let sums = curl()
        .arg(format!("{base}/sha256sums.asc"))
        .limit(Duration::from_mins(2))
        .output()?;
    let (version, name, sum) = newest(&sums).with_context(|| {
        format!(
            "{base}/sha256sums.asc lists no Linux {}.{}",
            SERIES.0, SERIES.1
        )
    })?;
    let partial = cache.path("partial");
    fs::create_dir_all(&partial).context("making room for a download")?;
    let part = partial.join(&name);
    let url = format!("{base}/{name}");

    let resumed = part.is_file();
    let mut fetched = download(&url, &part).and_then(|()| checksum::require(&part, sum));
    // What an earlier run left may be of no use: that is no verdict on what the server has.
    if resumed && fetched.as_ref().is_err_and(anyhow::Error::is::<Altered>) {
        fetched = download(&url, &part).and_then(|()| checksum::require(&part, sum));
    }
    fetched?;
    keep(cache, &part, version, url, &format!("linux-{version}"))
}

/// The newest version of the series in a file of sums: its file and its SHA-256.
fn newest(sums: &str) -> Option<(Version, String, &str)> {
    let listed = sums.lines().filter_map(|line| {
        let (sum, name) = line.split_once("  ")?;
        let number = name.strip_prefix("linux-")?.strip_suffix(".tar.xz")?;
        let version = Version::find(number)?;
        let wanted = (version.major, version.minor) == SERIES
            && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && sum.len() == 64
            && sum.bytes().all(|b| b.is_ascii_hexdigit());
        wanted.then(|| (version, name.to_owned(), sum))
    });
    listed.max_by_key(|(version, ..)| *version)
}

/// Downloads to a file, going on where an earlier attempt ended.
fn download(url: &str, part: &Path) -> Result<()> {
    let size = || fs::metadata(part).map_or(0, |meta| meta.len());
    let total = announced_size(url);
    let step = step(&format!("downloading {url}"));
    let mut attempt = 1;
    loop {
        let before = size();
        if total.is_some_and(|total| before == total && total > 0) {
            return Ok(());
        }
        let transfer = curl()
            .args(["--continue-at", "-", "--output"])
            .arg(part)
            .arg(url)
            .on_tick(|| step.at(size(), total.unwrap_or(0)))
            .run();
        let Err(error) = transfer else { return Ok(()) };
        let code = error
            .downcast_ref::<Failed>()
            .and_then(|failed| failed.code);
        let Some(code) = code.filter(|_| attempt < ATTEMPTS) else {
            return Err(error);
        };
        if before > 0 && CANNOT_RESUME.contains(&code) {
            cache::remove(part)?;
        } else if size() <= before {
            return Err(error);
        }
        attempt += 1;
    }
}

/// The size the server announces, if it does.
fn announced_size(url: &str) -> Option<u64> {
    let head = curl()
        .args(["--head", url])
        .limit(Duration::from_mins(1))
        .output()
        .ok()?;
    let mut length = head.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    length.next_back()
}

fn curl() -> Cmd<'static> {
    Cmd::new("curl")
        .args([
            "--fail",
            "--location",
            "--silent",
            "--show-error",
            "--retry",
            "3",
        ])
        .args([
            "--connect-timeout",
            "20",
            "--speed-limit",
            "1000",
            "--speed-time",
            "60",
        ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_of_the_series_is_chosen() {
        let sum = "a".repeat(64);
        let sums = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\n{sum}  linux-7.2.99.tar.xz\n\
             {sum}  linux-7.3.tar.xz\n{sum}  linux-7.3.9.tar.xz\n{sum}  linux-7.3.10.tar.xz\n\
             {sum}  linux-7.3.11.tar.gz\n{sum}  linux-7.3.12-rc1.tar.xz\nshort  linux-7.3.13.tar.xz\n"
        );
        let (version, name, _) = newest(&sums).expect("one is there");
        assert_eq!(
            (version, &*name),
            (Version::new(7, 3, 10), "linux-7.3.10.tar.xz")
        );
        assert_eq!(newest(""), None);
    }
}
