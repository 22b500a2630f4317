// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a new project takes of a gate's file.
//!
//! That is what stands between the lines `// new: begin` and `// new: end`, which may be several times in a
//! file and anywhere in it. Names are changed to the project's. What a `use` brings in for the rest of the
//! file alone is left out by itself.

use anyhow::{Context, Result, bail};
use proc_macro2::{Ident, LineColumn, TokenStream, TokenTree};
use quote::ToTokens as _;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use syn::spanned::Spanned as _;
use syn::{Item, ItemUse, UseTree};

const BEGIN: &str = "// new: begin";
const END: &str = "// new: end";

/// What something is called in the gate, and in the new project.
pub struct Names(Vec<(String, String)>);

impl Names {
    /// Those of a gate, for a project of this name, and what is called after both. What is called after the
    /// gate's module is now after the project's. `others` are from the gate's `new.toml`.
    pub fn new(gate: &str, others: &BTreeMap<String, String>, name: &str, own: &str) -> Self {
        let module = format!("callgate_{gate}");
        let mut names = vec![
            (
                format!("MODULE: &str = \"{module}\""),
                format!("MODULE: &str = \"{name}\""),
            ),
            (
                format!("/modules/{module}.ko"),
                format!("/modules/{name}.ko"),
            ),
            (format!("{module}: "), format!("{name}: ")),
            (module, own.to_owned()),
        ];
        let fill = |text: &String| text.replace("{own}", own).replace("{name}", name);
        names.extend(others.iter().map(|(old, new)| (old.clone(), fill(new))));
        // The longer of two names that begin alike comes first.
        names.sort_by_key(|(old, _)| std::cmp::Reverse(old.len()));
        Self(names)
    }

    /// `text` with the new names. A name ends where a word does, or at a `_`: what is called after
    /// something keeps that.
    pub fn apply(&self, text: &str) -> String {
        let mut changed = String::with_capacity(text.len());
        let mut rest = text;
        let mut inside = false;
        while let Some(next) = rest.chars().next() {
            let matching = self.0.iter().find(|(old, _)| {
                let Some(after) = rest.strip_prefix(old.as_str()) else {
                    return false;
                };
                let goes_on = after.starts_with(char::is_alphanumeric)
                    && old.ends_with(char::is_alphanumeric);
                !inside && !goes_on
            });
            let len = if let Some((old, new)) = matching {
                changed.push_str(new);
                old.len()
            } else {
                changed.push(next);
                next.len_utf8()
            };
            inside = rest[..len].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            rest = &rest[len..];
        }
        changed
    }
}

/// What the project takes of a file with this text.
pub fn of(text: &str, names: &Names) -> Result<String> {
    let marked = marked(text)?;
    if marked.trim().is_empty() {
        bail!("there is nothing between `{BEGIN}` and `{END}`");
    }
    Ok(names.apply(&without_unused_imports(&marked)?))
}

/// The lines between the marks.
fn marked(text: &str) -> Result<String> {
    let mut marked = String::new();
    let mut taking = false;
    for (number, line) in (1..).zip(text.lines()) {
        match (line.trim(), taking) {
            (BEGIN, false) => taking = true,
            (END, true) => taking = false,
            (BEGIN | END, _) => bail!(
                "line {number}: `{}` does not go with the last mark",
                line.trim()
            ),
            (_, true) => writeln!(marked, "{line}")?,
            (_, false) => {}
        }
    }
    if taking {
        bail!("the last `{BEGIN}` has no end");
    }
    Ok(marked)
}

/// The same module, with the type that stands for its kernel side public in its crate, and the name of that
/// type.
pub fn with_public_state(module: &str) -> Result<(String, String)> {
    let parsed = syn::parse_file(module)?;
    let name = parsed.items.iter().find_map(|item| match item {
        Item::Impl(implementation) => {
            let (of, _) = implementation.trait_.as_ref()?;
            let of = of.segments.last()?;
            let is_module = of.ident == "Module" || of.ident == "InPlaceModule";
            is_module.then(|| implementation.self_ty.to_token_stream().to_string())
        }
        _ => None,
    });
    let name = name.context("nothing in it is a module")?;
    let private = format!("\nstruct {name}");
    if !module.contains(&private) {
        bail!("`struct {name}` is not to be found");
    }
    let public = format!("\npub(crate) struct {name}");
    Ok((module.replacen(&private, &public, 1), name))
}

/// Leaves out what `use` items at the top level bring in and nothing names.
fn without_unused_imports(text: &str) -> Result<String> {
    let file = syn::parse_file(text).context("what is marked is no Rust by itself")?;
    let mut named = HashSet::new();
    let is_import = |item: &&Item| matches!(item, Item::Use(_));
    for item in file.items.iter().filter(|item| !is_import(item)) {
        collect(item.to_token_stream(), &mut named);
    }
    let mut result = String::new();
    let mut taken = 0;
    for item in file.items.iter().filter(is_import) {
        let Item::Use(import) = item else { continue };
        let span = import.span();
        let (start, end) = (offset(text, span.start()), offset(text, span.end()));
        result.push_str(&text[taken..start]);
        taken = end;
        match used(&import.tree, &named) {
            Some(tree) if shown(&tree) == shown(&import.tree) => result.push_str(&text[start..end]),
            Some(tree) => write!(result, "{}", printed(import, &tree))?,
            // The line goes as well.
            None => taken += usize::from(text[end..].starts_with('\n')),
        }
    }
    result.push_str(&text[taken..]);
    Ok(result)
}

/// Every word in these tokens that may name what is imported, so none behind `::` or a dot; and what strings
/// have behind a `{`, as those of formatting do. The text of a string names nothing, nor that of a comment.
fn collect(tokens: TokenStream, named: &mut HashSet<String>) {
    // The last two tokens, where they are punctuation.
    let mut before = (' ', ' ');
    for token in tokens {
        let goes_on = matches!(before, (':', ':')) || before.1 == '.' && before.0 != '.';
        before = match &token {
            TokenTree::Punct(punct) => (before.1, punct.as_char()),
            _ => (' ', ' '),
        };
        match token {
            TokenTree::Ident(word) if !goes_on => drop(named.insert(word.to_string())),
            TokenTree::Group(group) => collect(group.stream(), named),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                let in_braces = text.split('{').skip(1);
                let word = |place: &str| {
                    let end = place.find(|c: char| !c.is_alphanumeric() && c != '_');
                    place[..end.unwrap_or(place.len())].to_owned()
                };
                named.extend(in_braces.map(word));
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// The part of an import that is named somewhere.
fn used(tree: &UseTree, named: &HashSet<String>) -> Option<UseTree> {
    let is_named = |name: &Ident| named.contains(&name.to_string());
    match tree {
        UseTree::Path(path) => {
            let mut path = path.clone();
            // `self` is what comes before it.
            *path.tree = match &*path.tree {
                UseTree::Group(group) => {
                    let mut group = group.clone();
                    group.items = group
                        .items
                        .into_iter()
                        .filter_map(|item| match &item {
                            UseTree::Name(name) if name.ident == "self" => {
                                is_named(&path.ident).then_some(item)
                            }
                            _ => used(&item, named),
                        })
                        .collect();
                    match group.items.len() {
                        0 => return None,
                        _ => UseTree::Group(group),
                    }
                }
                tree => used(tree, named)?,
            };
            Some(UseTree::Path(path))
        }
        UseTree::Name(name) => is_named(&name.ident).then(|| tree.clone()),
        // Methods of a trait that has no name here.
        UseTree::Rename(rename) if rename.rename == "_" => Some(tree.clone()),
        UseTree::Rename(rename) => is_named(&rename.rename).then(|| tree.clone()),
        UseTree::Glob(_) | UseTree::Group(_) => Some(tree.clone()),
    }
}

fn shown(tree: &UseTree) -> String {
    match tree {
        UseTree::Path(path) => match shown(&path.tree) {
            itself if itself == "{self}" => path.ident.to_string(),
            tree => format!("{}::{tree}", path.ident),
        },
        UseTree::Name(name) => name.ident.to_string(),
        UseTree::Rename(rename) => format!("{} as {}", rename.ident, rename.rename),
        UseTree::Glob(_) => "*".into(),
        UseTree::Group(group) => {
            let items: Vec<_> = group.items.iter().map(shown).collect();
            match &items[..] {
                [one] if one != "self" => one.clone(),
                _ => format!("{{{}}}", items.join(", ")),
            }
        }
    }
}

fn printed(import: &ItemUse, tree: &UseTree) -> String {
    let visibility = import.vis.to_token_stream().to_string();
    let space = if visibility.is_empty() { "" } else { " " };
    format!("{visibility}{space}use {};", shown(tree))
}

/// Where a place in the text is, in bytes.
fn offset(text: &str, place: LineColumn) -> usize {
    let before: usize = text
        .split_inclusive('\n')
        .take(place.line - 1)
        .map(str::len)
        .sum();
    let line = &text[before..];
    let column = line
        .char_indices()
        .nth(place.column)
        .map_or(line.len(), |(at, _)| at);
    before + column
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(others: &[(&str, &str)]) -> Names {
        let others = others
            .iter()
            .map(|(old, new)| ((*old).into(), (*new).into()))
            .collect();
        Names::new("ioctl", &others, "door", "door_ioctl")
    }

    #[test]
    fn only_what_is_marked_is_taken() {
        let text =
            "1\n// new: begin\n2\n// new: end\n3\n    // new: begin\n    4\n    // new: end\n";
        assert_eq!(marked(text).unwrap(), "2\n    4\n");
        for wrong in [
            "// new: begin\n",
            "// new: end\n",
            "// new: begin\n// new: begin\n// new: end\n",
        ] {
            assert!(marked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_changed_where_they_are_whole() {
        let names = names(&[("my_bus", "{name}"), ("callgate_ioctl_x", "y")]);
        for (old, new) in [
            ("/dev/callgate_ioctl", "/dev/door_ioctl"),
            ("callgate_ioctl_status", "door_ioctl_status"),
            ("callgate_ioctl_x", "y"),
            ("callgate_ioctl: hello", "door: hello"),
            (
                "const MODULE: &str = \"callgate_ioctl\";",
                "const MODULE: &str = \"door\";",
            ),
            ("/modules/callgate_ioctl.ko", "/modules/door.ko"),
            ("callgate_ioctls", "callgate_ioctls"),
            ("not_my_bus my_bus", "not_my_bus door"),
            ("é my_bus", "é door"),
        ] {
            assert_eq!(names.apply(old), new);
        }
    }

    #[test]
    fn an_import_that_nothing_names_is_left_out() {
        let text = "use a::{self, b, c::{D, E}, f as g};\nuse h::I;\n\nuse j::Trait as _;\nuse k::*;\n\n\
                    /// Knows of E.\nfn x() { D; a::y(); println!(\"{b}\"); z::c(); v.g() }\n";
        assert_eq!(
            without_unused_imports(text).unwrap(),
            "use a::{self, b, c::D};\n\nuse j::Trait as _;\nuse k::*;\n\n\
             /// Knows of E.\nfn x() { D; a::y(); println!(\"{b}\"); z::c(); v.g() }\n"
        );
        let used = "use a::{\n    b, // c\n};\nfn x() { b }\n";
        assert_eq!(without_unused_imports(used).unwrap(), used);
    }

    #[test]
    fn the_type_of_the_module_becomes_public_in_its_crate() {
        let module = "//! x\n\nstruct IoctlModule;\n\nimpl kernel::Module for IoctlModule {}\n";
        let (module, name) = with_public_state(module).unwrap();
        assert_eq!(name, "IoctlModule");
        assert!(module.contains("\npub(crate) struct IoctlModule;"));
        assert!(with_public_state("struct X;\n").is_err());
    }
}
