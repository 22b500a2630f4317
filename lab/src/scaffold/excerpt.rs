// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a new project takes of a gate's file.
//!
//! That is what stands between the lines `// new: begin` and `// new: end`, which may be several times in a
//! file and anywhere in it. Names are changed to the project's. What a `use` brings in for the rest of the
//! file alone is left out by itself.

use anyhow::{Context, Result, bail};
use proc_macro2::{Ident, LineColumn, Spacing, TokenStream, TokenTree};
use quote::ToTokens as _;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{
    Arm, Attribute, Block, ExprClosure, ExprForLoop, ExprIf, ExprLet, ExprPath, ExprWhile,
    ImplItemFn, Item, ItemFn, ItemUse, Local, Macro, PatIdent, Path, TraitItemFn, UseTree,
};

const BEGIN: &str = "// new: begin";
const END: &str = "// new: end";

/// What strings have in place of a character, and ends in what may begin a word.
const ESCAPES: [&str; 5] = ["\\\\", "\\n", "\\r", "\\t", "\\0"];

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
            // What stands for the end of a line is no letter of the word behind it.
            if let Some(escape) = ESCAPES.iter().find(|escape| rest.starts_with(**escape)) {
                changed.push_str(escape);
                rest = &rest[escape.len()..];
                inside = false;
                continue;
            }
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
    let is_import = |item: &&Item| matches!(item, Item::Use(_));
    let mut uses = Uses::default();
    for item in file.items.iter().filter(|item| !is_import(item)) {
        uses.visit_item(item);
    }
    let named = uses.named;
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

/// Finds the words that may name what is imported: those with which paths begin, unless there is a variable
/// of that name just there.
#[derive(Default)]
struct Uses {
    named: HashSet<String>,
    /// The variables in sight; those of an inner block are behind those of the outer one.
    variables: Vec<String>,
}

impl Uses {
    /// Visits what has variables of its own.
    fn block(&mut self, visit: impl FnOnce(&mut Self)) {
        let outside = self.variables.len();
        visit(self);
        self.variables.truncate(outside);
    }

    fn is_variable(&self, word: &str) -> bool {
        self.variables.iter().any(|variable| variable == word)
    }

    /// Every word in these tokens, of which nobody but a macro knows what they are. None behind `::` or a dot,
    /// nor before a colon or an arrow, where fields have their names; and what strings have behind a `{`, as
    /// those of formatting do. The text of a string names nothing.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mark = |at: usize| match tokens.get(at) {
            Some(TokenTree::Punct(punct)) => punct.as_char(),
            _ => ' ',
        };
        let arrow = |at: usize| match tokens.get(at) {
            Some(TokenTree::Punct(less)) => {
                less.as_char() == '<' && less.spacing() == Spacing::Joint && mark(at + 1) == '-'
            }
            _ => false,
        };
        for (at, token) in tokens.iter().enumerate() {
            let before = |back: usize| at.checked_sub(back).map_or(' ', mark);
            let after = (mark(at + 1), mark(at + 2));
            match token {
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    let goes_on = (before(2), before(1)) == (':', ':')
                        || before(1) == '.' && before(2) != '.';
                    let field = after.0 == ':' && after.1 != ':' || arrow(at + 1);
                    let path = after == (':', ':') || after.0 == '!' && after.1 != '=';
                    if !goes_on && !field && (path || !self.is_variable(&word)) {
                        self.named.insert(word);
                    }
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    for place in text.split('{').skip(1) {
                        let end = place.find(|c: char| !c.is_alphanumeric() && c != '_');
                        let word = &place[..end.unwrap_or(place.len())];
                        if !self.is_variable(word) {
                            self.named.insert(word.to_owned());
                        }
                    }
                }
                TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_path(&mut self, path: &'ast Path) {
        let first = path
            .segments
            .first()
            .filter(|_| path.leading_colon.is_none());
        self.named
            .extend(first.map(|first| first.ident.to_string()));
        visit::visit_path(self, path);
    }

    fn visit_expr_path(&mut self, expression: &'ast ExprPath) {
        let word = expression.path.get_ident();
        if word.is_none_or(|word| !self.is_variable(&word.to_string())) {
            visit::visit_expr_path(self, expression);
        }
    }

    /// A variable from here on; or a constant, which only the case of its letters tells.
    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        let word = pattern.ident.to_string();
        if word.starts_with(char::is_uppercase) {
            self.named.insert(word);
        } else {
            self.variables.push(word);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        self.tokens(import.tree.to_token_stream());
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        // The text of a comment names nothing.
        if !attribute.path().is_ident("doc") {
            self.tokens(attribute.meta.to_token_stream());
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.block(|uses| visit::visit_item_fn(uses, function));
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.block(|uses| visit::visit_impl_item_fn(uses, function));
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        self.block(|uses| visit::visit_trait_item_fn(uses, function));
    }

    fn visit_expr_closure(&mut self, closure: &'ast ExprClosure) {
        self.block(|uses| visit::visit_expr_closure(uses, closure));
    }

    fn visit_block(&mut self, block: &'ast Block) {
        self.block(|uses| visit::visit_block(uses, block));
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        self.block(|uses| visit::visit_arm(uses, arm));
    }

    /// What a `let` begins with is not yet in sight in what it is made of.
    fn visit_local(&mut self, local: &'ast Local) {
        if let Some(init) = &local.init {
            self.visit_local_init(init);
        }
        local
            .attrs
            .iter()
            .for_each(|attribute| self.visit_attribute(attribute));
        self.visit_pat(&local.pat);
    }

    fn visit_expr_let(&mut self, condition: &'ast ExprLet) {
        self.visit_expr(&condition.expr);
        self.visit_pat(&condition.pat);
    }

    fn visit_expr_for_loop(&mut self, each: &'ast ExprForLoop) {
        self.visit_expr(&each.expr);
        self.block(|uses| {
            uses.visit_pat(&each.pat);
            uses.visit_block(&each.body);
        });
    }

    fn visit_expr_if(&mut self, choice: &'ast ExprIf) {
        self.block(|uses| {
            uses.visit_expr(&choice.cond);
            uses.visit_block(&choice.then_branch);
        });
        if let Some((_, otherwise)) = &choice.else_branch {
            self.visit_expr(otherwise);
        }
    }

    fn visit_expr_while(&mut self, repeated: &'ast ExprWhile) {
        self.block(|uses| visit::visit_expr_while(uses, repeated));
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
            (r"one\nmy_bus\tmy_bus\\my_bus", r"one\ndoor\tdoor\\door"),
            (r"a\\nmy_bus", r"a\\nmy_bus"),
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

    /// Those of the words that are kept as imports of a file with this text.
    fn kept(words: &[&str], text: &str) -> Vec<String> {
        let imports = words.iter().map(|word| format!("use a::{word};\n"));
        let imports = imports.collect::<Vec<_>>().concat();
        let left = without_unused_imports(&format!("{imports}{text}")).unwrap();
        let names = left.lines().filter_map(|line| line.strip_prefix("use a::"));
        names
            .map(|name| name.trim_end_matches(';').to_owned())
            .collect()
    }

    #[test]
    fn a_variable_or_a_field_of_its_name_does_not_use_an_import() {
        for text in [
            "fn x(b: u8) -> u8 { b + 1 }",
            "fn x() { let b = 1; print(b); println!(\"{b} {}\", b); }",
            "struct B { b: u8 }\nfn x() -> B { B { b: 1 } }",
            "fn x() { if let Some(b) = y() { z(b) } }",
            "fn x() { for b in 0..3 { z(b) } }",
            "fn x() { match y() { b => z(b) } }",
            "fn x() { y(|b| b + 1) }",
            "fn x() { pin!(B { b: 1, b <- y() }) }",
            "/// `{b}`\nfn x(B { b }: B) { while let Some(c) = b {} }",
        ] {
            assert_eq!(kept(&["b"], text), [""; 0], "{text}");
        }
    }

    #[test]
    fn an_import_is_used_where_no_variable_of_its_name_is_in_sight() {
        for text in [
            "fn x() { let b = b(); }",
            "fn x() { { let b = 1; } b(); }",
            "fn x() { let b = b::c(); b::c(b); }",
            "fn x() { let b = 1; println!(\"{}\", b::c(b)); }",
            "fn x() { if let Some(b) = y() {} else { b() } }",
            "fn x() { for b in b() {} }",
            "fn x() { y(|b| b); b() }",
            "fn x(b: b::C) {}",
            "fn x(b: u8) { b!(b) }",
            "fn x() { println!(\"{b}\") }",
            "fn x() { y!(c <- b()) }",
            "fn x() { B { b } }",
            "fn x() { assert!(b < -1) }",
            "#[b]\nfn x() {}",
            "#[derive(b)]\nstruct X;",
            "fn x() { use b::C; }",
        ] {
            assert_eq!(kept(&["b"], text), ["b"], "{text}");
        }
        let constant = "fn x() { match y() { B => {} } }";
        assert_eq!(kept(&["B"], constant), ["B"]);
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
