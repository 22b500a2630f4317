// SPDX-License-Identifier: MIT OR Apache-2.0

//! The parameters of kernel modules: given when a module is loaded, then read and written through the
//! files in `/sys/module/MODULE/parameters`.
//!
//! Modules that are built into the kernel have such files as well, and the kernel's own parameters are
//! those of a module called `kernel`.
//!
//! ```no_run
//! use callgate::module;
//! use callgate::parameter::{Arguments, Flag, List, Parameters};
//!
//! let arguments = Arguments::new().set("value", 3)?.set("charp", "two words")?;
//! module::load("/tmp/callgate/callgate_parameter.ko", arguments.as_str())?;
//!
//! let parameters = Parameters::of("callgate_parameter")?;
//! let value: i32 = parameters.get("value")?;
//! parameters.set("value", value + 1)?;
//! parameters.set("flag", Flag(true))?;
//! let List(numbers) = parameters.get::<List<i32>>("list")?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Not supported
//!
//! Parameters that have no file; and the types and descriptions of parameters, which the kernel does not
//! know: modinfo(8) reads them from the module's file.

use std::fmt::{self, Display, Write as _};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::io::Errno;

use crate::attribute::{self, Attribute};
use crate::mounts::{self, FileSystem};

/// Why a parameter could not be found, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// sysfs could not be found.
    #[error(transparent)]
    Mount(#[from] mounts::Error),
    /// There is no such module.
    #[error("there is no module {0} in the kernel: load it, or correct the name")]
    NoModule(String),
    /// The module has no such parameter, or it has no file.
    #[error("{module} has no file for a parameter {name:?}: {}", hint(.known))]
    NoParameter {
        /// The module.
        module: String,
        /// What was asked for.
        name: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// The kernel refused, or the value is not of the type asked for.
    #[error(transparent)]
    Attribute(#[from] attribute::Error),
    /// No name that a parameter can have, or a value that cannot be given when a module is loaded.
    #[error("a module cannot be loaded with {name:?} set to {value:?}: {why}")]
    Argument {
        /// The name.
        name: String,
        /// The value.
        value: String,
        /// What is wrong with the one or the other.
        why: &'static str,
    },
}

impl Error {
    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Mount(error) => error.errno(),
            Self::NoModule(_) | Self::NoParameter { .. } => Some(Errno::NOENT),
            Self::Attribute(error) => error.errno(),
            Self::Argument { .. } => None,
        }
    }
}

fn hint(known: &[String]) -> String {
    match known {
        [] => "it has none at all".to_owned(),
        names => format!("it has {}", names.join(", ")),
    }
}

/// The parameters of one module that have files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    module: String,
    directory: PathBuf,
}

impl Parameters {
    /// Those of the module `module`. `-` and `_` are the same in a module's name.
    ///
    /// # Errors
    ///
    /// [`Error::NoModule`]; [`Error::Mount`] if sysfs is not mounted. A module that is built in is there
    /// only if it has a parameter with a file, or a version.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man5/sysfs.5.html)
    pub fn of(module: &str) -> Result<Self, Error> {
        let module = module.replace('-', "_");
        let directory = FileSystem::Sysfs.find()?.join("module").join(&module);
        if !is_name(&module) || !directory.is_dir() {
            return Err(Error::NoModule(module));
        }
        Ok(Self {
            module,
            directory: directory.join("parameters"),
        })
    }

    /// The names, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Attribute`] if the directory could not be read.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        match attribute::list(&self.directory) {
            // Without a parameter to show there is no directory either.
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(Vec::new()),
            names => Ok(names?),
        }
    }

    /// The parameter called `name`: to read it as bytes, or to open it.
    ///
    /// # Errors
    ///
    /// [`Error::NoParameter`], also if the module has gone.
    pub fn attribute(&self, name: &str) -> Result<Attribute, Error> {
        let path = self.directory.join(name);
        if !is_name(name) || !path.is_file() {
            return Err(Error::NoParameter {
                module: self.module.clone(),
                name: name.to_owned(),
                known: self.names()?,
            });
        }
        Ok(Attribute::at(path))
    }

    /// The value of `name`: any type that can be parsed, or a [`Flag`] or a [`List`].
    ///
    /// # Errors
    ///
    /// [`Error::NoParameter`]; [`Error::Attribute`], with [`Errno::ACCESS`] if it is not to be read.
    pub fn get<T: FromStr>(&self, name: &str) -> Result<T, Error> {
        Ok(self.attribute(name)?.get()?)
    }

    /// Sets `name` to `value`.
    ///
    /// There is no newline at the end of what is written, as a parameter of C's type `charp` would keep
    /// it. Only nothing is written as a newline, because sysfs does not pass on a write of no bytes.
    ///
    /// # Errors
    ///
    /// [`Error::NoParameter`]; [`Error::Attribute`], with [`Errno::INVAL`] or [`Errno::RANGE`] as a rule
    /// if the module refuses the value, and [`Errno::ACCESS`] if it is not to be written.
    pub fn set(&self, name: &str, value: impl Display) -> Result<(), Error> {
        let mut value = value.to_string();
        if value.is_empty() {
            value.push('\n');
        }
        Ok(self.attribute(name)?.write(value.as_bytes())?)
    }

    /// Whether anybody may read `name`. Not even root reads what nobody may.
    ///
    /// # Errors
    ///
    /// [`Error::NoParameter`].
    pub fn is_readable(&self, name: &str) -> Result<bool, Error> {
        Ok(self.mode(name)? & 0o444 != 0)
    }

    /// Whether anybody may write `name`. Not even root writes what nobody may.
    ///
    /// # Errors
    ///
    /// [`Error::NoParameter`].
    pub fn is_writable(&self, name: &str) -> Result<bool, Error> {
        Ok(self.mode(name)? & 0o222 != 0)
    }

    /// The permissions of `name`.
    ///
    /// # Errors
    ///
    /// [`Error::NoParameter`].
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man7/inode.7.html)
    pub fn mode(&self, name: &str) -> Result<u32, Error> {
        let attribute = self.attribute(name)?;
        let metadata = fs::metadata(attribute.path()).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            attribute::Error::refused("look up", attribute.path())(errno)
        })?;
        Ok(metadata.permissions().mode() & 0o7777)
    }
}

/// A parameter that says yes or no: `Y` or `N`, as the kernel shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(pub bool);

impl Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char(if self.0 { 'Y' } else { 'N' })
    }
}

/// The text is neither `Y` nor `N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither Y nor N")]
pub struct NoFlag;

impl FromStr for Flag {
    type Err = NoFlag;

    fn from_str(text: &str) -> Result<Self, NoFlag> {
        match text {
            "Y" => Ok(Self(true)),
            "N" => Ok(Self(false)),
            _ => Err(NoFlag),
        }
    }
}

/// A parameter that is an array: values with commas in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<T: Display> Display for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            value.fmt(f)?;
        }
        Ok(())
    }
}

impl<T: FromStr> FromStr for List<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// What a module is loaded with: the string that [`module::load`](crate::module::load) takes, put
/// together so that each value arrives as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(String);

impl Arguments {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// With the parameter `name` set to `value`. Given twice, the last one stays.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if `name` is no name, or if `value` has a NUL or a double quote in it. There
    /// is no way to tell the kernel of a quote that is part of a value.
    pub fn set(self, name: &str, value: impl Display) -> Result<Self, Error> {
        let value = value.to_string();
        let why = if !is_name(name) {
            Some("a name has letters, digits, -, _ and .")
        } else if value.contains('\0') {
            Some("there is a NUL in the value")
        } else if value.contains('"') {
            Some("there is a double quote in the value, which the kernel would take as its end")
        } else {
            None
        };
        if let Some(why) = why {
            let name = name.to_owned();
            return Err(Error::Argument { name, value, why });
        }
        // Not only spaces have to be quoted: to the kernel, the byte 0xa0 is a space too, and that may be
        // a part of any letter.
        let quote = if value.bytes().all(|byte| byte.is_ascii_graphic()) {
            ""
        } else {
            "\""
        };
        Ok(self.with(&format!("{name}={quote}{value}{quote}")))
    }

    /// With the name of a parameter alone, which turns on a parameter that says yes or no.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if `name` is no name.
    pub fn flag(self, name: &str) -> Result<Self, Error> {
        // The same check.
        Self::new().set(name, "")?;
        Ok(self.with(name))
    }

    /// The string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn with(mut self, argument: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(argument);
        self
    }
}

/// Whether a module or a parameter can have this name: nothing that leads elsewhere in a path, that ends
/// a name in the kernel's eyes, or that ends the parameters, as `--` does.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['-', '.'])
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_parameters_are_found() {
        let parameters = Parameters::of("kernel").unwrap();
        let names = parameters.names().unwrap();
        assert!(!names.is_empty() && names.is_sorted());
        for name in names {
            let writable = parameters.is_writable(&name).unwrap();
            assert_eq!(writable, parameters.mode(&name).unwrap() & 0o222 != 0);
            assert!(parameters.attribute(&name).unwrap().path().exists());
        }
    }

    #[test]
    fn a_module_that_is_not_there_is_told() {
        for module in [
            "callgate_no_such",
            "",
            ".",
            "..",
            "kernel/parameters",
            "ker\0nel",
        ] {
            let error = Parameters::of(module).unwrap_err();
            assert!(matches!(error, Error::NoModule(_)), "{module:?}: {error:?}");
            assert_eq!(error.errno(), Some(Errno::NOENT));
        }
    }

    #[test]
    fn a_parameter_that_is_not_there_is_told_with_those_that_are() {
        let parameters = Parameters::of("kernel").unwrap();
        for name in ["no_such", "", ".", "../parameters/panic", "panic/"] {
            let error = parameters.get::<String>(name).unwrap_err();
            assert!(
                matches!(error, Error::NoParameter { .. }),
                "{name:?}: {error:?}"
            );
            assert!(error.to_string().contains("it has "), "{error}");
        }
        assert_eq!(hint(&[]), "it has none at all");
        assert_eq!(hint(&["a".into(), "b".into()]), "it has a, b");
    }

    #[test]
    fn flags_and_lists_are_read_as_they_are_shown() {
        for flag in [Flag(true), Flag(false)] {
            assert_eq!(flag.to_string().parse(), Ok(flag));
        }
        for no_flag in ["", "y", "YN", "1", "true"] {
            assert_eq!(no_flag.parse::<Flag>(), Err(NoFlag));
        }
        for list in [vec![], vec![1], vec![-1, 0, i32::MAX]] {
            assert_eq!(List(list.clone()).to_string().parse(), Ok(List(list)));
        }
        for no_list in [",", "1,", "1,,2", " 1", "1, 2", "x"] {
            assert!(no_list.parse::<List<i32>>().is_err(), "{no_list:?}");
        }
    }

    #[test]
    fn arguments_are_quoted_where_the_kernel_would_end_them() {
        let with = |value: &str| Arguments::new().set("charp", value).unwrap().0;
        for plain in ["", "x", "a=b", "-1..1", "1,2", "it's", "\\"] {
            assert_eq!(with(plain), format!("charp={plain}"));
        }
        for quoted in [
            " ",
            "two words",
            "a\tb",
            "a\n",
            "caf\u{e9}",
            "\u{e0}",
            "\u{a0}",
            "\u{7f}",
        ] {
            assert_eq!(with(quoted), format!("charp=\"{quoted}\""));
        }
        let all = Arguments::new()
            .set("value", -3)
            .unwrap()
            .flag("flag")
            .unwrap();
        let all = all.set("charp", "two words").unwrap();
        assert_eq!(all.as_str(), "value=-3 flag charp=\"two words\"");
    }

    #[test]
    fn what_cannot_be_an_argument_is_refused() {
        for name in [
            "", " ", "a b", "a=b", "\"a", "--", "-a", "a\0", "\u{e9}", ".", "..", "a/b",
        ] {
            assert!(Arguments::new().set(name, 1).is_err(), "{name:?}");
            assert!(Arguments::new().flag(name).is_err(), "{name:?}");
        }
        for value in ["\"", "a\"b", "\"quoted\"", "a\0"] {
            let error = Arguments::new().set("charp", value).unwrap_err();
            assert!(
                matches!(error, Error::Argument { .. }),
                "{value:?}: {error:?}"
            );
        }
    }
}
