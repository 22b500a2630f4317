// SPDX-License-Identifier: MIT OR Apache-2.0

//! The handbook: the chapters of the checkout as one book, made by mdBook.
//!
//! A page of the book has the path that its file has in the checkout, so that links lead where they lead
//! there; but `README.md` becomes `index.md`. A link to a source file leads to a page that shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::Lab;
use crate::command::{Cmd, step};
use crate::gates;
use crate::project::Project;
use crate::toolchain::ensure_mdbook;

/// The pages before and after the chapters, with their titles.
const BEFORE: [(&str, &str); 3] = [
    ("README.md", "callgate"),
    ("book/choose.md", "Which one should I use?"),
    ("book/cost.md", "What it costs"),
];
const AFTER: [(&str, &str); 4] = [
    ("book/one-interface.md", "One interface, many gates"),
    ("CONTRIBUTING.md", "Adding a gate"),
    ("book/glossary.md", "Glossary"),
    ("CHANGELOG.md", "Changes"),
];

/// The files of a gate, in the order in which they are best read.
const SOURCES: [&str; 7] = [
    "abi.rs",
    "module.rs",
    "builtin.rs",
    "echo.rs",
    "program.rs",
    "elsewhere.rs",
    "tests.rs",
];

/// Where the libraries are that both sides use.
const LIBRARIES: [&str; 2] = ["kernel", "user/src"];

/// Makes the book and checks its links. Returns the page to open.
pub fn build(lab: &Lab, handbook: &Project) -> Result<PathBuf> {
    let mdbook = ensure_mdbook(&lab.cache)?;
    let place = handbook.output.join("book");
    let progress = step("making the book");
    if place.exists() {
        fs::remove_dir_all(&place).context("removing the old book")?;
    }
    let pages = Pages::of(&handbook.root)?;
    for (path, text) in &pages.texts {
        let path = place.join("src").join(path);
        fs::create_dir_all(path.parent().unwrap_or(&place))?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    fs::copy(handbook.root.join("book/wide.css"), place.join("wide.css"))?;
    let settings = fs::read_to_string(handbook.root.join("book/book.toml"))?;
    fs::write(place.join("book.toml"), settings + &pages.not_searched())?;
    Cmd::new(mdbook)
        .arg("build")
        .arg(&place)
        .log(handbook.log_file("book"))
        .run()
        .context("making the book with mdBook")?;
    let html = place.join("book");
    check_links(&html)?;
    drop(progress);
    Ok(html.join("index.html"))
}

/// The Markdown of all pages, by their paths.
struct Pages {
    texts: BTreeMap<PathBuf, String>,
    /// The files that are shown as they are, below no gate.
    others: BTreeSet<PathBuf>,
}

impl Pages {
    fn of(repository: &Path) -> Result<Self> {
        let gates = gates::find(repository)?;
        let mut chapters = Vec::new();
        let mut sources = BTreeSet::new();
        for gate in &gates {
            let folder = Path::new("gates").join(&gate.name);
            chapters.push(folder.join("README.md"));
            let files = SOURCES.map(|file| folder.join(file));
            sources.extend(
                files
                    .into_iter()
                    .filter(|file| repository.join(file).exists()),
            );
        }
        let around = BEFORE
            .iter()
            .chain(&AFTER)
            .map(|(path, _)| PathBuf::from(path));
        let texts: BTreeSet<PathBuf> = around.chain(chapters.iter().cloned()).collect();

        let mut pages = Self {
            texts: BTreeMap::new(),
            others: BTreeSet::new(),
        };
        for path in &texts {
            let text = read(repository, path)?;
            let (text, links) = rewrite(repository, path, &text, &texts)?;
            pages
                .others
                .extend(links.into_iter().filter(|link| !sources.contains(link)));
            pages.texts.insert(shown(path), text);
        }
        for folder in LIBRARIES {
            for entry in fs::read_dir(repository.join(folder)).context("reading a library")? {
                let path = Path::new(folder).join(entry?.file_name());
                if path.extension().is_some_and(|end| end == "rs") {
                    pages.others.insert(path);
                }
            }
        }
        for path in sources.iter().chain(&pages.others) {
            pages
                .texts
                .insert(shown(path), source(path, &read(repository, path)?));
        }

        let mut summary = String::from("# Summary\n\n");
        for (path, title) in BEFORE {
            writeln!(summary, "[{title}]({})", shown(Path::new(path)).display())?;
        }
        summary.push_str("\n# The gates\n\n");
        for (gate, chapter) in gates.iter().zip(&chapters) {
            writeln!(summary, "- [{}]({})", gate.name, shown(chapter).display())?;
            for name in SOURCES {
                let path = chapter.with_file_name(name);
                if sources.contains(&path) {
                    writeln!(summary, "  - [{name}]({})", shown(&path).display())?;
                }
            }
        }
        summary.push_str("\n# The whole\n\n");
        for (path, title) in AFTER {
            writeln!(summary, "- [{title}]({})", shown(Path::new(path)).display())?;
        }
        summary.push_str("\n# The libraries\n\n");
        for path in &pages.others {
            writeln!(summary, "- [{}]({})", path.display(), shown(path).display())?;
        }
        pages.texts.insert("SUMMARY.md".into(), summary);
        Ok(pages)
    }

    /// The settings that keep the tests out of the index: they mention everything.
    fn not_searched(&self) -> String {
        let tests = self
            .texts
            .keys()
            .filter(|path| path.ends_with("tests.rs.md"));
        tests.fold(String::new(), |text, path| {
            text + &format!(
                "\n[output.html.search.chapter.\"{}\"]\nenable = false\n",
                path.display()
            )
        })
    }
}

fn read(repository: &Path, path: &Path) -> Result<String> {
    fs::read_to_string(repository.join(path)).with_context(|| format!("reading {}", path.display()))
}

/// The path of the page that shows a file.
fn shown(path: &Path) -> PathBuf {
    if path.ends_with("README.md") {
        return path.with_file_name("index.md");
    }
    let mut path = path.as_os_str().to_owned();
    if Path::new(&path).extension().is_none_or(|end| end != "md") {
        path.push(".md");
    }
    path.into()
}

/// The page that shows a source file.
fn source(path: &Path, text: &str) -> String {
    let language = match path.extension().and_then(|end| end.to_str()) {
        Some("rs") => "rust,ignore",
        Some("patch") => "diff",
        Some(end) => end,
        None => "",
    };
    // A longer fence than any in a file of ours.
    format!("# {}\n\n``````{language}\n{text}``````\n", path.display())
}

/// The text of a page with its links made those of the book; and the source files that it links to.
///
/// What is in the checkout and is no page, such as a folder, is not linked any more. What is not there is
/// an error.
fn rewrite(
    repository: &Path,
    page: &Path,
    text: &str,
    texts: &BTreeSet<PathBuf>,
) -> Result<(String, Vec<PathBuf>)> {
    let mut sources = Vec::new();
    let mut out = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            if let Some((_, file)) = info.split_once(" from ") {
                writeln!(out, "*{file}:*\n")?;
            }
            // What mdBook makes of a quotation's info string is not what it says.
            let info = if info.starts_with("rust") {
                "rust,ignore"
            } else {
                info
            };
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            writeln!(out, "```{info}\n{}```", without_indentation(&block))?;
            continue;
        }
        let mut rest = line;
        while let Some(start) = rest.find("](") {
            let (before, after) = rest.split_at(start);
            let (target, behind) = after[2..]
                .split_once(')')
                .with_context(|| format!("{}: a link without an end: {line}", page.display()))?;
            rest = behind;
            if target.starts_with('#') || target.contains("://") {
                write!(out, "{before}]({target})")?;
                continue;
            }
            let path = resolve(page.parent().unwrap_or(Path::new("")), target);
            if !repository.join(&path).exists() {
                bail!("{}: there is no {}", page.display(), path.display());
            }
            let target = Path::new(target);
            let chapter = path.join("README.md");
            if texts.contains(&chapter) {
                write!(out, "{before}]({})", target.join("index.md").display())?;
            } else if repository.join(&path).is_file() && path.extension().is_some() {
                write!(out, "{before}]({})", shown(target).display())?;
                if !texts.contains(&path) {
                    sources.push(path);
                }
            } else {
                let text = before.rfind('[').context("a link without a beginning")?;
                write!(out, "{}{}", &before[..text], &before[text + 1..])?;
            }
        }
        writeln!(out, "{rest}")?;
    }
    Ok((out, sources))
}

/// The lines of a block, moved to the left as far as all of them can be.
fn without_indentation(block: &[&str]) -> String {
    let written = block.iter().filter(|line| !line.trim().is_empty());
    let indentation = written
        .map(|line| line.len() - line.trim_start().len())
        .min()
        .unwrap_or(0);
    let lines = block
        .iter()
        .map(|line| line.get(indentation..).unwrap_or(""));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// `target` as seen from `directory`, without dots.
fn resolve(directory: &Path, target: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for component in directory.join(target).components() {
        match component {
            Component::ParentDir => _ = path.pop(),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

/// Every link of a page leads to a page, and to a place on it that exists.
fn check_links(html: &Path) -> Result<()> {
    let mut pages = Vec::new();
    find_pages(html, &mut pages)?;
    for page in &pages {
        let text = fs::read_to_string(page)?;
        for link in values(&text, "href=\"") {
            if link.contains(':') {
                continue;
            }
            let (target, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match target {
                "" => page.clone(),
                target => page.parent().unwrap_or(html).join(target),
            };
            let there = fs::read_to_string(&target);
            let missing = target.extension().is_some_and(|end| end == "html")
                && !place.is_empty()
                && there.is_ok_and(|text| !values(&text, "id=\"").any(|id| id == place));
            if missing || !target.exists() {
                bail!("{}: the link `{link}` leads nowhere", page.display());
            }
        }
    }
    Ok(())
}

fn find_pages(directory: &Path, pages: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            find_pages(&path, pages)?;
        } else if path.extension().is_some_and(|end| end == "html") {
            pages.push(path);
        }
    }
    Ok(())
}

/// What stands between `begin` and the next quotation mark, wherever it does.
fn values<'a>(text: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(begin)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str) -> Result<String> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let page = Path::new("gates/ioctl/README.md");
        let texts = [
            "gates/ioctl/README.md",
            "gates/chardev/README.md",
            "README.md",
        ];
        let texts = texts.into_iter().map(PathBuf::from).collect();
        Ok(rewrite(repository, page, line, &texts)?
            .0
            .trim_end()
            .to_owned())
    }

    #[test]
    fn links_are_those_of_the_book() {
        for (line, expected) in [
            (
                "[a](../chardev) [b](../../README.md).",
                "[a](../chardev/index.md) [b](../../index.md).",
            ),
            ("[`module.rs`](module.rs)", "[`module.rs`](module.rs.md)"),
            ("see [them](../../LICENSES), or not", "see them, or not"),
            (
                "[out](https://docs.kernel.org/x) [here](#there)",
                "[out](https://docs.kernel.org/x) [here](#there)",
            ),
            (
                "```rust from module.rs\n    if a {\n        b[1](x);\n\n    }\n```",
                "*module.rs:*\n\n```rust,ignore\nif a {\n    b[1](x);\n\n}\n```",
            ),
        ] {
            assert_eq!(rewritten(line).unwrap(), expected);
        }
    }

    #[test]
    fn a_link_to_what_is_not_there_is_an_error() {
        let error = rewritten("[x](../nosuch/README.md)").unwrap_err();
        assert_eq!(
            error.to_string(),
            "gates/ioctl/README.md: there is no gates/nosuch/README.md"
        );
        assert!(rewritten("[x](abi.rs").is_err());
    }

    #[test]
    fn a_link_on_a_finished_page_that_leads_nowhere_is_an_error() {
        let place = std::env::temp_dir().join(format!("callgate-links-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let check = |text: &str| {
            fs::write(place.join("a.html"), text).unwrap();
            check_links(&place)
        };
        let good =
            check("<a id=\"here\" href=\"#here\"><a href=\"a.html#here\"><a href=\"http://x\">");
        let bad =
            ["b.html", "a.html#there", "#there"].map(|to| check(&format!("<a href=\"{to}\">")));
        fs::remove_dir_all(&place).unwrap();
        assert!(good.is_ok(), "{good:?}");
        assert!(bad.iter().all(Result::is_err), "{bad:?}");
    }
}
