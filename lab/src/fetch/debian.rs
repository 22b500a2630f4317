// SPDX-License-Identifier: MIT OR Apache-2.0

//! Packages from Debian's archive, taken by an apt that shares nothing with the host's but its keys,
//! its site and its way to the network.
//!
//! apt reads one configuration file of ours instead of the host's, so no hook of the host runs and
//! nothing of the host's package state is read or written. It checks signatures and sums as ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cache::{Cache, Lock};
use crate::command::{Cmd, step};
use crate::toolchain::{Machine, Version};

use super::{SERIES, Source, checksum, keep};

/// The suite with current kernels and compilers for Debian's stable release.
const SUITE: &str = "trixie-backports";

/// How long the package lists serve before they are fetched again.
const FRESH: Duration = Duration::from_hours(1);

/// Debian's own keys, by the names they have had.
const KEYRINGS: &[&str] = &[
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// What apt is asked to tell of every package list the host has configured.
const TARGET: &str = "$(SITE)|$(RELEASE)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(IDENTIFIER)";

/// A private apt: own configuration, sources, lists and cache. One run at a time.
#[derive(Debug)]
pub struct AptArea {
    config: PathBuf,
    _lock: Lock,
}

impl AptArea {
    /// Sets the area up and fetches the suite's package list, unless that was done within the hour.
    pub fn open(cache: &Cache) -> Result<Self> {
        let machine = Machine::here();
        for tool in ["apt-get", "apt-cache", "apt-config", "dpkg-deb"] {
            if machine.find(tool).is_none() {
                bail!("this machine has no {tool}");
            }
        }
        let keyring = KEYRINGS
            .iter()
            .find(|keyring| machine.file(keyring).is_file())
            .context("Debian's keys are not on this machine (package debian-archive-keyring)")?;
        let targets = Cmd::new("apt-get")
            .args(["indextargets", "--format", TARGET])
            .output()?;
        let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let site = debian_site(&targets, debian_codename(&os))
            .context("apt on this machine has no site of Debian's main archive")?;

        let lock = cache.lock("apt")?;
        let root = cache.path("apt");
        for dir in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(root.join(dir)).context("making the private apt area")?;
        }
        let network = network_settings(&Cmd::new("apt-config").arg("dump").output()?);
        let config = root.join("apt.conf");
        let sources = format!("deb [signed-by={keyring}] {site} {SUITE} main\n");
        let unchanged = fs::read_to_string(root.join("sources.list")).is_ok_and(|s| s == sources);
        write_private(&root.join("sources.list"), &sources)?;
        write_private(&config, &configuration(&root, &network))?;

        let area = Self {
            config,
            _lock: lock,
        };
        let stamp = root.join("updated");
        let age = fs::metadata(&stamp).and_then(|meta| meta.modified()).ok();
        let fresh = age
            .and_then(|at| at.elapsed().ok())
            .is_some_and(|age| age < FRESH);
        if !(fresh && unchanged) {
            let _step = step("reading Debian's package list");
            let update = area.apt("apt-get").args(["update", "--error-on=any"]);
            update.log(cache.log_file("apt-update")).run()?;
            fs::write(&stamp, "").context("writing the private apt area")?;
        }
        Ok(area)
    }

    /// The versions of a package that the suite offers, newest first.
    pub fn versions(&self, package: &str) -> Result<Vec<String>> {
        let table = self.apt("apt-cache").args(["madison", package]).output()?;
        let column = |line: &str| {
            line.split('|')
                .nth(1)
                .map(|version| version.trim().to_owned())
        };
        Ok(table.lines().filter_map(column).collect())
    }

    /// Downloads one package into a directory and returns the file, its sum checked.
    pub fn download(&self, package: &str, version: &str, into: &Path) -> Result<PathBuf> {
        let wanted = format!("{package}={version}");
        let uri = self
            .apt("apt-get")
            .args(["download", "--print-uris", &wanted])
            .output()?;
        let (name, sum) = parse_uri(&uri)
            .with_context(|| format!("apt gives no SHA-256 for {wanted}: `{}`", uri.trim()))?;
        let step = step(&format!("downloading {package} {version}"));
        self.apt("apt-get")
            .args(["download", "--quiet", "-o", "APT::Status-Fd=1", &wanted])
            .dir(into)
            .on_line(|line| step.at(permyriad(line).unwrap_or(0), 10_000))
            .run()?;
        let file = into.join(name);
        checksum::require(&file, sum)?;
        Ok(file)
    }

    fn apt(&self, program: &str) -> Cmd<'static> {
        Cmd::new(program).env("APT_CONFIG", &self.config)
    }
}

/// The newest kernel source that Debian offers, as its tarball.
pub(super) fn fetch_kernel(cache: &Cache) -> Result<Source> {
    let area = AptArea::open(cache)?;
    let package = format!("linux-source-{}.{}", SERIES.0, SERIES.1);
    let offered = area.versions(&package)?;
    let package_version = offered
        .first()
        .with_context(|| format!("{SUITE} has no {package}"))?;
    let version = Version::find(package_version)
        .with_context(|| format!("no version in `{package_version}`"))?;

    let scratch = cache.scratch("linux-source")?;
    let deb = area.download(&package, package_version, scratch.path())?;
    drop(area);
    let unpacked = scratch.path().join("unpacked");
    let step = step("opening the package");
    Cmd::new("dpkg-deb")
        .arg("-x")
        .arg(&deb)
        .arg(&unpacked)
        .run()?;
    drop(step);
    let tarball = unpacked.join(format!("usr/src/{package}.tar.xz"));
    let name = format!("linux-{version}-debian");
    keep(
        cache,
        &tarball,
        version,
        format!("Debian's {package} {package_version}"),
        &name,
    )
}

fn configuration(root: &Path, network: &str) -> String {
    let root = root.display();
    format!(
        "Dir::Etc::main \"/dev/null\";\n\
         Dir::Etc::parts \"/dev/null\";\n\
         Dir::Etc::sourcelist \"{root}/sources.list\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\n\
         Dir::State::lists \"{root}/lists/\";\n\
         Dir::State::status \"/dev/null\";\n\
         Dir::Cache \"{root}/cache/\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::AllowInsecureRepositories \"false\";\n\
         APT::Get::AllowUnauthenticated \"false\";\n\
         APT::Sandbox::User \"{}\";\n\
         {network}",
        // The cache is the user's own and need not be readable by apt's unprivileged user.
        if rustix::process::geteuid().is_root() {
            "root"
        } else {
            "_apt"
        },
    )
}

/// From `apt-config dump`, how the host reaches the network and what it thinks of its clock.
fn network_settings(dump: &str) -> String {
    const KEPT: &[&str] = &[
        "Acquire::http",
        "Acquire::ForceIPv",
        "Acquire::Retries",
        "Acquire::Check-",
    ];
    let kept = dump
        .lines()
        .filter(|line| KEPT.iter().any(|kept| line.starts_with(kept)));
    kept.fold(String::new(), |all, line| all + line + "\n")
}

/// Writes a file only the user can read: a proxy's password may be in it.
fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

/// The host's site of Debian's main archive: not security's, not another party's.
///
/// Before the host's first `apt-get update` the origins are unknown; then the release tells.
fn debian_site<'a>(targets: &'a str, codename: Option<&str>) -> Option<&'a str> {
    let main = || {
        targets
            .lines()
            .map(|line| line.split('|').collect::<Vec<_>>())
            .filter_map(|fields| {
                let [site, release, origin, label, "main", "Packages"] = fields[..] else {
                    return None;
                };
                Some((site, release, origin, label))
            })
    };
    let known =
        |(_, _, origin, label): &(_, _, &str, &str)| *origin == "Debian" && *label == "Debian";
    let unknown = |value: &str| value.is_empty() || value.starts_with("$(");
    let likely = |(_, release, origin, _): &(_, &str, &str, _)| {
        unknown(origin) && codename.is_some_and(|codename| *release == codename)
    };
    main()
        .find(known)
        .or_else(|| main().find(likely))
        .map(|(site, ..)| site)
}

/// The release's name in `/etc/os-release`, if that is Debian's.
fn debian_codename(os_release: &str) -> Option<&str> {
    let value = |key: &str| {
        let line = os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"'))
    };
    value("ID")
        .filter(|id| *id == "debian")
        .and_then(|_| value("VERSION_CODENAME"))
}

/// The file name and the SHA-256 in a line of `--print-uris`.
fn parse_uri(line: &str) -> Option<(&str, &str)> {
    let mut words = line.lines().last()?.split_whitespace().skip(1);
    let name = words.next()?;
    let sum = words.nth(1)?.strip_prefix("SHA256:")?;
    Some((name, sum))
}

/// The progress in a line of apt's status, in hundredths of a percent.
fn permyriad(line: &str) -> Option<u64> {
    let percent = line.strip_prefix("dlstatus:")?.split(':').nth(1)?;
    let (whole, part) = percent.split_once('.')?;
    Some(whole.parse::<u64>().ok()? * 100 + part.get(..2)?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn site_is_that_of_debians_main_archive() {
        let targets = "\
https://third.example/apt|bookworm|Debian|Third|main|Packages
http://security.example/debian-security|bookworm-security|Debian|Debian-Security|main|Packages
http://mirror.example/debian|bookworm|Debian|Debian|main|DEP-11
http://mirror.example/debian|bookworm|Debian|Debian|main|Packages
";
        assert_eq!(
            debian_site(targets, None),
            Some("http://mirror.example/debian")
        );
        assert_eq!(
            debian_site("http://u.example|noble|Ubuntu|Ubuntu|main|Packages", None),
            None
        );
    }

    #[test]
    fn before_the_first_update_the_release_tells() {
        let targets = "\
http://security.example/debian-security|bookworm-security|||main|Packages
http://mirror.example/debian|bookworm|$(ORIGIN)|$(LABEL)|main|Packages
";
        assert_eq!(
            debian_site(targets, Some("bookworm")),
            Some("http://mirror.example/debian")
        );
        assert_eq!(debian_site(targets, None), None);
    }

    #[test]
    fn codename_is_debians_only() {
        assert_eq!(
            debian_codename("ID=debian\nVERSION_CODENAME=bookworm\n"),
            Some("bookworm")
        );
        assert_eq!(debian_codename("ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
    }

    #[test]
    fn only_the_way_to_the_network_is_taken_over() {
        let dump = "APT::Update::Post-Invoke:: \"rm -f something\";\n\
                    Acquire::http::Proxy \"http://proxy.example:3128\";\n\
                    Acquire::AllowInsecureRepositories \"1\";\n";
        let kept = network_settings(dump);
        assert_eq!(
            kept,
            "Acquire::http::Proxy \"http://proxy.example:3128\";\n"
        );
    }

    #[test]
    fn apts_lines_are_read() {
        let uri = "'http://m.example/r_1%2b2.deb' r_1+2_all.deb 45097356 SHA256:7b76db\n";
        assert_eq!(parse_uri(uri), Some(("r_1+2_all.deb", "7b76db")));
        assert_eq!(
            permyriad("dlstatus:1:12.3456:Retrieving file 1 of 1"),
            Some(1234)
        );
        assert_eq!(permyriad("Get:1 http://m.example/debian"), None);
    }
}
