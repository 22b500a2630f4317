// SPDX-License-Identifier: MIT OR Apache-2.0

//! What distributions put into which package.

use std::fs;
use std::path::Path;

/// Who made a build tree, as far as it matters what they call their packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Arch Linux, and what is made from it.
    Arch,
    /// Debian.
    Debian,
    /// Fedora, and what is made from it.
    Fedora,
    /// openSUSE.
    Suse,
    /// Ubuntu, and what is made from it.
    Ubuntu,
    /// One that callgate knows nothing of.
    Unknown,
    /// Nobody but the user.
    User,
}

impl Distribution {
    /// Whose the tree in `directory` is: whatever is where packages put theirs is this machine's
    /// distribution's.
    pub fn of(directory: &Path) -> Self {
        let directory = directory.canonicalize().unwrap_or(directory.to_owned());
        if ["/usr", "/lib"]
            .iter()
            .any(|top| directory.starts_with(top))
        {
            Self::named(&fs::read_to_string("/etc/os-release").unwrap_or_default())
        } else {
            Self::User
        }
    }

    /// The one that this `os-release` file is of.
    pub fn named(os_release: &str) -> Self {
        let value = |key: &str| {
            let line = os_release.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim_matches('"')
        };
        // The nearest relative comes first.
        let names = [value("ID="), value("ID_LIKE=")];
        let mut names = names.iter().flat_map(|names| names.split(' '));
        let known = names.find_map(|name| match name {
            "arch" => Some(Self::Arch),
            "debian" => Some(Self::Debian),
            "fedora" => Some(Self::Fedora),
            "opensuse" | "opensuse-tumbleweed" => Some(Self::Suse),
            "ubuntu" => Some(Self::Ubuntu),
            _ => None,
        });
        known.unwrap_or(Self::Unknown)
    }

    /// Says that there is no build tree in `directory`, and what brings it.
    pub fn provides_tree(self, directory: &Path) -> String {
        let release = directory
            .iter()
            .skip_while(|part| *part != "modules")
            .nth(1)
            .map_or("$(uname -r)".into(), |part| part.to_string_lossy());
        match self {
            Self::User if !directory.exists() => "there is no such directory".into(),
            Self::User => "no kernel was built there, for there is no include/config/auto.conf: configure it, \
                           and `make` it"
                .into(),
            _ => format!(
                "that is no build tree of a kernel: {}",
                self.completes_tree(&release)
            ),
        }
    }

    /// What brings the tree of the kernel of this release as modules in C need it.
    pub fn completes_tree(self, release: &str) -> String {
        match self {
            Self::Debian | Self::Ubuntu => format!("`apt-get install linux-headers-{release}`"),
            Self::Fedora => format!("`dnf install kernel-devel-{release}`"),
            Self::Arch => {
                "`pacman -S linux-headers`, or the headers package of the kernel that you run, and \
                           boot that kernel if it was updated meanwhile"
                    .into()
            }
            Self::Suse => {
                "`zypper install kernel-default-devel`, of the version of the kernel that you run"
                    .into()
            }
            Self::Unknown => format!(
                "install the package with which this distribution builds modules for Linux {release}"
            ),
            Self::User => {
                "`make` that kernel to its end, and name the directory that it was built in".into()
            }
        }
    }

    /// What brings the part that modules in Rust need.
    pub fn provides_rust(self, release: &str) -> String {
        match self {
            Self::Ubuntu => format!("`apt-get install linux-lib-rust-{release}`"),
            Self::Arch => self.completes_tree(release),
            Self::Debian => {
                "Debian packages them nowhere, so nothing in Rust can be built for its kernels: \
                             build a kernel of your own from linux-source, and name its tree"
                    .into()
            }
            Self::Fedora | Self::Suse | Self::Unknown => {
                "if no package of this distribution has them, build a \
                             kernel of your own, and name its tree"
                    .into()
            }
            Self::User => {
                "`make` that kernel to its end, and name the directory that it was built in".into()
            }
        }
    }
}
