// SPDX-License-Identifier: MIT OR Apache-2.0

//! Version numbers, as far as this project compares them.

use std::fmt;

/// A version of up to three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number, 0 when there is none.
    pub patch: u32,
}

impl Version {
    /// Puts three numbers together.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// The first thing in a text that looks like one: digits, a dot, digits.
    pub fn find(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.')
            .find_map(Self::parse)
    }

    fn parse(word: &str) -> Option<Self> {
        let mut numbers = word.trim_end_matches('.').split('.').map(str::parse);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next()?.ok()?;
        let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self {
            major,
            minor,
            patch,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn finds_the_version_in_what_tools_print() {
        for (text, version) in [
            (
                "Debian clang version 19.1.7 (3~deb12u1)",
                Version::new(19, 1, 7),
            ),
            (
                "rustc 1.95.0 (59807616e 2026-04-14)",
                Version::new(1, 95, 0),
            ),
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)",
                Version::new(7, 2, 22),
            ),
            ("GNU Make 4.3\nBuilt for x86_64", Version::new(4, 3, 0)),
            (
                "*** lz4 command line interface 64-bits v1.9.4, by Yann",
                Version::new(1, 9, 4),
            ),
            ("bison (GNU Bison) 3.8.2", Version::new(3, 8, 2)),
            ("7.3.4-1~bpo13+1", Version::new(7, 3, 4)),
        ] {
            assert_eq!(Version::find(text), Some(version), "{text}");
        }
        assert_eq!(Version::find("version 19"), None);
    }
}
