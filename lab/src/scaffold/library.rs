// SPDX-License-Identifier: MIT OR Apache-2.0

//! The part of the kernel library that a project needs, as a folder of its own.
//!
//! A file of the library is a subsystem. Which of them belong together is not written down anywhere: a file
//! needs those that it names.

use super::{Refused, read};
use crate::command::{check_interrupted, watch_signals};
use crate::kernel::hex;
use anyhow::{Context, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml_edit::DocumentMut;

/// The library's own name, and that of its first file.
const LIBRARY: &str = "callgate_kernel";

/// The file that says what the folder is a copy of, with a checksum of each file.
const ORIGIN: &str = "ORIGIN";

/// All of the library, in a checkout of callgate.
struct Library {
    folder: PathBuf,
    /// The text of its first file.
    root: String,
    /// The subsystems that this names, each with its file.
    all: BTreeMap<String, PathBuf>,
}

impl Library {
    fn at(source: &Path) -> Result<Self> {
        let folder = source.join("kernel");
        let root = read(&folder.join(format!("{LIBRARY}.rs")))?;
        let all = subsystems(&root, &folder)?;
        Ok(Self { folder, root, all })
    }

    /// The part with these subsystems, and those that they need in turn.
    fn part(&self, mut named: Vec<String>) -> Result<Part> {
        let mut needed = BTreeSet::new();
        while let Some(name) = named.pop() {
            if needed.insert(name.clone()) {
                for text in texts(&self.all[&name])? {
                    named.extend(named_in(&text, "crate", &self.all)?);
                }
            }
        }
        Part::of(self, &needed)
    }
}

/// Says what the program is built with.
const CARGO: &str = "Cargo.toml";

/// Some subsystems of the library.
pub struct Part {
    /// Every file, by its path in the folder.
    files: BTreeMap<String, String>,
}

impl Part {
    /// What modules with these texts need of the library in the checkout at `source`.
    pub fn needed_by(source: &Path, modules: &[&str]) -> Result<Self> {
        let library = Library::at(source)?;
        let mut named = Vec::new();
        for module in modules {
            named.extend(named_in(module, LIBRARY, &library.all)?);
        }
        library.part(named)
    }

    fn of(library: &Library, needed: &BTreeSet<String>) -> Result<Self> {
        let Library { folder, root, all } = library;
        let left_out = |name: &str| all.contains_key(name) && !needed.contains(name);
        let mut files = BTreeMap::new();
        files.insert(format!("{LIBRARY}.rs"), without(root, left_out));
        let mut helpers = Vec::new();
        for name in needed {
            files.insert(format!("{name}.rs"), read(&all[name])?);
            for path in parts(&all[name])? {
                let inside = path
                    .strip_prefix(folder)
                    .context("a part of the library is not in it")?;
                files.insert(inside.display().to_string(), read(&path)?);
            }
            if folder.join("helpers").join(format!("{name}.c")).exists() {
                helpers.push(name.clone());
                for end in ["c", "h"] {
                    let file = format!("helpers/{name}.{end}");
                    files.insert(file.clone(), read(&folder.join(&file))?);
                }
            }
        }
        let words: BTreeSet<String> = files.values().flat_map(|text| words(text)).collect();
        let is_named = |name: &str| words.contains(name);
        let between = |line: &str, start, end| {
            let (it, _) = line.split_once(start)?.1.split_once(end)?;
            Some(it.to_owned())
        };
        let bindings = lines(&read(&folder.join("bindings.h"))?, |line| {
            if let Some(helper) = between(line, "#include \"helpers/", ".h\"") {
                helpers.contains(&helper)
            } else {
                let constant = between(line, "RUST_CONST_HELPER_", " = ");
                constant.is_none_or(|name| is_named(&name))
            }
        });
        // A line names an item to bind, such as `--allowlist-function proc_mkdir`; or a pattern for many.
        let parameters = lines(&read(&folder.join("bindgen_parameters"))?, |line| {
            let item = line
                .strip_prefix("--allowlist-")
                .and_then(|rest| rest.split(' ').nth(1));
            item.is_none_or(|item| item.ends_with('*') || is_named(item))
        });
        files.insert("bindings.h".into(), bindings);
        files.insert("bindgen_parameters".into(), parameters);
        for file in ["bindings.rs", "library.mk"] {
            files.insert(file.into(), read(&folder.join(file))?);
        }
        Ok(Self { files })
    }

    /// Writes it into the folder at `to`.
    pub fn copy(&self, to: &Path) -> Result<()> {
        for (path, text) in &self.files {
            let path = to.join(path);
            let folder = path.parent().unwrap_or(to);
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        fs::write(to.join(ORIGIN), self.origin()).context("writing where the library comes from")
    }

    fn origin(&self) -> String {
        let mut origin = format!(
            "callgate_kernel {}\n\nThe part of the library that this project needs. `callgate update` brings it \
             up to date, unless one of\nthese files was changed here, by its SHA-256:\n\n",
            env!("CARGO_PKG_VERSION")
        );
        for (path, text) in &self.files {
            let _ = writeln!(origin, "{}  {path}", checksum(text.as_bytes()));
        }
        origin
    }
}

/// Brings the library in the project at `root` up to date with the checkout at `source`, and the user side that
/// the program is built with; gives the paths of the files that are other ones now.
///
/// What the project has of the library it keeps: that nothing names a subsystem in so many words does not
/// say that nothing uses it.
///
/// # Errors
///
/// [`Refused`], if there is something of the user's own where a file of the library goes.
pub fn update(source: &Path, root: &Path) -> Result<Vec<String>> {
    let folder = root.join("kernel");
    let origin = read(&folder.join(ORIGIN))?;
    // An update that was ended midway leaves two lines for a file: that it was, and that it was to be.
    let recorded: BTreeSet<(&str, &str)> = origin
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, path)| (path, sum))
        .collect();
    let recorded_paths: BTreeSet<&str> = recorded.iter().map(|(path, _)| *path).collect();

    let library = Library::at(source)?;
    let mut named = Vec::new();
    for file in sources(root)? {
        let inside = file.strip_prefix(root).unwrap_or(&file);
        let found = named_in(&read(&file)?, LIBRARY, &library.all);
        named.extend(found.with_context(|| format!("understanding {}", inside.display()))?);
    }
    let is_there = |name: &&String| recorded_paths.contains(&*format!("{name}.rs"));
    named.extend(library.all.keys().filter(is_there).cloned());
    let part = library.part(named)?;

    let mut changes = Vec::new();
    let mut lost = Vec::new();
    let paths = part.files.keys().map(String::as_str);
    for path in paths.chain(recorded_paths).collect::<BTreeSet<_>>() {
        let is = contents(&folder.join(path))?;
        let becomes = part.files.get(path);
        if is.as_deref() == becomes.map(String::as_bytes) {
            continue;
        }
        if is.is_some_and(|is| !recorded.contains(&(path, &*checksum(&is)))) {
            lost.push(format!("kernel/{path}"));
        }
        changes.push((path, becomes));
    }
    if !lost.is_empty() {
        return Err(Refused(format!(
            "{} was changed here, or is your own, and an update would lose that: keep it elsewhere, delete \
             the file, and update again",
            lost.join(", ")
        ))
        .into());
    }

    let manifest = with_user_side(source, root)?;

    watch_signals()?;
    check_interrupted()?;
    let mut updated = Vec::new();
    let becomes = part.origin();
    if !changes.is_empty() {
        let recorded = recorded
            .iter()
            .map(|(path, sum)| format!("{sum}  {path}\n"));
        let both = becomes.clone() + &recorded.collect::<String>();
        replace(&folder.join(ORIGIN), &both)?;
    }
    for (path, becomes) in changes {
        let file = folder.join(path);
        match becomes {
            Some(text) => replace(&file, text)?,
            None => {
                fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
            }
        }
        updated.push(format!("kernel/{path}"));
    }
    if !updated.is_empty() || origin != becomes {
        replace(&folder.join(ORIGIN), &becomes)?;
    }
    if let Some(manifest) = manifest {
        replace(&root.join(CARGO), &manifest)?;
        updated.push(CARGO.to_owned());
    }
    Ok(updated)
}

/// What Cargo.toml becomes, if its program is not built with the user side of this checkout: some of that is
/// the other half of a file in the library.
fn with_user_side(source: &Path, root: &Path) -> Result<Option<String>> {
    let mut manifest: DocumentMut = read(&root.join(CARGO))?
        .parse()
        .with_context(|| format!("understanding {CARGO}"))?;
    let path = manifest.get_mut("dependencies").and_then(|dependencies| {
        dependencies
            .get_mut("callgate")?
            .get_mut("path")?
            .as_value_mut()
    });
    let Some(path) = path else {
        return Ok(None);
    };
    let ours = source.join("user");
    let is = path.as_str().map(|path| root.join(path));
    if is.is_some_and(|is| is.canonicalize().ok() == ours.canonicalize().ok()) {
        return Ok(None);
    }
    let around = path.decor().clone();
    *path = ours.display().to_string().into();
    *path.decor_mut() = around;
    Ok(Some(manifest.to_string()))
}

/// What is in a file, if it is there.
fn contents(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Writes a file that may be there already, in one step: whoever is killed leaves the old one or the new one.
fn replace(path: &Path, text: &str) -> Result<()> {
    let mut name = OsString::from(".new-");
    name.push(path.file_name().unwrap_or_default());
    let new = path.with_file_name(name);
    let put = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(&new, text)?;
        fs::rename(&new, path)
    };
    put().with_context(|| format!("writing {}", path.display()))
}

/// Every `.rs` file of the project that may be part of its module.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let not_its_own = [root.join("kernel"), root.join("target")];
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let reading = || format!("reading {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let path = entry.path();
            // Such as .git, and what editors leave.
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type().with_context(reading)?.is_dir() {
                if !not_its_own.contains(&path) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// The subsystems that the library's first file names, each with its file.
fn subsystems(root: &str, folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let file = syn::parse_file(root).context("understanding the kernel library")?;
    let mut found = BTreeMap::new();
    for item in file.items {
        if let syn::Item::Mod(module) = item {
            let path = module
                .attrs
                .iter()
                .find_map(|attribute| match &attribute.meta {
                    syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                        syn::Expr::Lit(syn::ExprLit {
                            lit: syn::Lit::Str(path),
                            ..
                        }) => Some(path.value()),
                        _ => None,
                    },
                    _ => None,
                });
            let name = module.ident.to_string();
            let file = path.unwrap_or_else(|| format!("{name}.rs"));
            found.insert(name, folder.join(file));
        }
    }
    // It goes with every part.
    found.remove("bindings");
    Ok(found)
}

/// The files that a subsystem is divided into: those in a folder of its name.
fn parts(file: &Path) -> Result<Vec<PathBuf>> {
    let folder = file.with_extension("");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let files = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    files.map(|entry| Ok(entry?.path())).collect()
}

fn texts(file: &Path) -> Result<Vec<String>> {
    let mut files = parts(file)?;
    files.push(file.to_owned());
    files.iter().map(|file| read(file)).collect()
}

/// The lines of a text that are needed.
fn lines(text: &str, is_needed: impl Fn(&str) -> bool) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| is_needed(line.trim_end())).collect()
}

/// Every word in a text, also in its comments.
fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.map(str::to_owned)
}

/// Which subsystems a text names, as `krate::NAME` or in a group of those; or as a macro of theirs.
fn named_in(text: &str, krate: &str, all: &BTreeMap<String, PathBuf>) -> Result<Vec<String>> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut words = Vec::new();
    follow(&tokens, krate, &mut words);
    let mut named = Vec::new();
    for word in words {
        if all.contains_key(&word) {
            named.push(word);
        } else if let Some(name) = defining(&word, all)? {
            named.push(name);
        }
    }
    Ok(named)
}

/// The subsystem that exports a macro of this name.
fn defining(name: &str, all: &BTreeMap<String, PathBuf>) -> Result<Option<String>> {
    for (subsystem, file) in all {
        if read(file)?.contains(&format!("#[macro_export]\nmacro_rules! {name} ")) {
            return Ok(Some(subsystem.clone()));
        }
    }
    Ok(None)
}

/// The words that follow `krate::`, wherever that is.
fn follow(tokens: &TokenStream, krate: &str, found: &mut Vec<String>) {
    let tokens: Vec<_> = tokens.clone().into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            follow(&group.stream(), krate, found);
        }
        let is = |at: usize, what: &str| tokens.get(at).is_some_and(|t| t.to_string() == what);
        if !(is(at, krate) && is(at + 1, ":") && is(at + 2, ":")) {
            continue;
        }
        match tokens.get(at + 3) {
            Some(TokenTree::Ident(word)) => found.push(word.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let mut first = true;
                for token in group.stream() {
                    if let (true, TokenTree::Ident(word)) = (first, &token) {
                        found.push(word.to_string());
                    }
                    first = token.to_string() == ",";
                }
            }
            _ => {}
        }
    }
}

/// The library's first file without the subsystems that are left out.
fn without(root: &str, left_out: impl Fn(&str) -> bool) -> String {
    let declared = |line: &str| {
        line.strip_prefix("pub mod ")?
            .strip_suffix(';')
            .map(str::to_owned)
    };
    let described = |line: &str| {
        let name = line.strip_prefix("//! - [`")?.split('`').next()?;
        Some(name.trim_start_matches("mod@").to_owned())
    };
    let is_kept = |line: &&str| {
        let name = declared(line).or_else(|| described(line));
        // In a project all files of the library are in one folder.
        !line.starts_with("#[path") && name.is_none_or(|name| !left_out(&name))
    };
    let kept: Vec<_> = root.lines().filter(is_kept).collect();
    // A heading with nothing below it goes, too.
    let is_empty = |lines: &[&str]| {
        matches!(lines, [heading, "//!", "//!", ..]
            if heading.starts_with("//! ") && heading.ends_with(':'))
    };
    let mut text = String::new();
    let mut rest = &kept[..];
    while let [line, after @ ..] = rest {
        if is_empty(rest) {
            rest = &rest[3..];
        } else {
            let _ = writeln!(text, "{line}");
            if line.starts_with("#![deny") {
                text += ALLOWED;
            }
            rest = after;
        }
    }
    text
}

/// What stands in the first file of a part of the library, and not in that of all of it.
const ALLOWED: &str = "
// What serves a subsystem that is not here is used by nobody.
#![allow(dead_code)]
";

fn checksum(contents: &[u8]) -> String {
    hex(&Sha256::digest(contents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_is_what_the_subsystems_name_by_its_whole_name() {
        let source = tempfile::tempdir().unwrap();
        let folder = source.path().join("kernel");
        fs::create_dir(&folder).unwrap();
        for (file, text) in [
            ("callgate_kernel.rs", "pub mod a;\npub mod b;\n"),
            ("a.rs", "use bindings::{make_all, X_MAX};\n"),
            ("b.rs", "use bindings::make;\n"),
            ("bindings.rs", ""),
            ("library.mk", ""),
            (
                "bindings.h",
                "const int RUST_CONST_HELPER_X = X;\nconst int RUST_CONST_HELPER_X_MAX = X_MAX;\n",
            ),
            (
                "bindgen_parameters",
                "--allowlist-function make\n--allowlist-function make_all\n--allowlist-var Y_.*\n",
            ),
        ] {
            fs::write(folder.join(file), text).unwrap();
        }
        let part = Part::needed_by(source.path(), &["use callgate_kernel::a;"]).unwrap();
        assert!(!part.files.contains_key("b.rs"));
        assert_eq!(
            part.files["bindings.h"],
            "const int RUST_CONST_HELPER_X_MAX = X_MAX;\n"
        );
        assert_eq!(
            part.files["bindgen_parameters"],
            "--allowlist-function make_all\n--allowlist-var Y_.*\n"
        );
    }
}
