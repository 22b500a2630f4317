// SPDX-License-Identifier: MIT OR Apache-2.0

//! A folder of the user's own, made of the gates of this checkout: what `callgate new` does.
//!
//! There is one source: the files of the gates themselves. What a new project takes of them is marked there,
//! see `excerpt`; what it takes of the kernel library is found by who names whom, see `library`. Only
//! what holds the parts together, and is no part of any gate, is in `frame`.

mod excerpt;
mod library;
mod name;

pub use library::update;

use crate::command::{Cmd, Interrupted, watch_signals};
use crate::gates::{self, Gate, KernelSide};
use crate::project::{Listed, MANIFEST, Manifest};
use anyhow::{Context, Result};
use excerpt::Names;
use minijinja::context;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is wrong with what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// What is to be made.
#[derive(Debug)]
pub struct Order<'a> {
    /// The folder; its last part is the name of the project.
    pub folder: &'a Path,
    /// The names of the gates.
    pub gates: &'a [String],
    /// Without tests, and with a README.md of a few lines.
    pub minimal: bool,
}

/// What a gate's folder says in `new.toml` of a project made of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manual {
    /// What to change first.
    first: String,
    /// What is named after the project, and how: `{own}` is the project's name, followed by the gate's if
    /// there are several; `{name}` is the project's alone.
    #[serde(default)]
    names: BTreeMap<String, String>,
    /// What the module consists of beside `module.rs`, and is marked in the same way.
    #[serde(default)]
    files: Vec<String>,
    /// Where the kernel shows what the module makes, with `{own}` in its name: no two can be of one name.
    #[serde(default)]
    makes: Vec<String>,
    /// The longest that `{own}` may be, in bytes, where something of the kernel's has a limit of its own.
    longest: Option<usize>,
    /// The higher, the later the gate's part of the module is made, after all others: for what users can hold on
    /// to before all of the module is there.
    #[serde(default)]
    last: u8,
    /// What the gate is for. That is for whoever has not chosen yet.
    #[serde(rename = "choose")]
    _choose: IgnoredAny,
}

/// One gate of the new project, with its files.
struct Part {
    gate: Gate,
    manual: Manual,
    names: Names,
    abi: String,
    module: String,
    /// What else the module consists of: the names of the files, and what is in them.
    files: Vec<(String, String)>,
    program: String,
    tests: Option<String>,
    /// The type that stands for the kernel side.
    state: String,
}

/// Makes the project, of the checkout of callgate at `source`, or nothing at all.
///
/// # Errors
///
/// [`Refused`], if it is not to be had like that.
pub fn create(source: &Path, order: &Order<'_>) -> Result<PathBuf> {
    let parts = chosen(source, order.gates)?;
    let folder = std::path::absolute(order.folder)?;
    let name = name::of(&folder)?;
    let parts = parts
        .into_iter()
        .map(|gate| Part::of(source, gate, &name, order))
        .collect::<Result<Vec<_>>>()?;
    if folder.symlink_metadata().is_ok() {
        let folder = folder.display();
        return Err(Refused(format!("{folder} is there already: choose another name")).into());
    }
    // From here on, whoever ends it has it clean up.
    watch_signals()?;
    let parent = folder.parent().unwrap_or(Path::new("/"));
    let scratch = tempfile::Builder::new()
        .prefix(".callgate-new-")
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(|error| {
            let parent = parent.display();
            Refused(format!("cannot make a folder in {parent}: {error}"))
        })?;
    write(source, scratch.path(), &name, &parts)?;
    tidy(scratch.path(), &parts)?;
    fs::rename(scratch.path(), &folder).with_context(|| format!("making {}", folder.display()))?;
    let _ = scratch.keep();
    Ok(folder)
}

/// The gates of these names.
fn chosen(source: &Path, named: &[String]) -> Result<Vec<Gate>> {
    let all = gates::find(source)?;
    let mut chosen = Vec::new();
    for name in named {
        let gate = all.iter().find(|gate| gate.name == *name).ok_or_else(|| {
            let modules = all.iter().filter(|gate| gate.module.is_some());
            let known: Vec<_> = modules.map(|gate| gate.name.as_str()).collect();
            Refused(format!(
                "there is no gate `{name}`; there are {}",
                known.join(", ")
            ))
        })?;
        if gate.kernel_side() == KernelSide::BuiltIn {
            let why = "no module can have it; gates/{name}/README.md says what it takes";
            let why = why.replace("{name}", name);
            return Err(Refused(format!("{name} is a part of the kernel itself: {why}")).into());
        }
        if chosen.contains(gate) {
            return Err(Refused(format!("{name} is named twice")).into());
        }
        chosen.push(gate.clone());
    }
    if chosen.is_empty() {
        return Err(Refused("name one gate at least; `--list` explains them".into()).into());
    }
    Ok(chosen)
}

impl Part {
    fn of(source: &Path, gate: Gate, project: &str, order: &Order<'_>) -> Result<Self> {
        let folder = source.join(&gate.folder);
        let read = |file: &str| read(&folder.join(file));
        let manual: Manual = toml::from_str(&read("new.toml")?)
            .with_context(|| format!("understanding {}/new.toml", gate.folder))?;
        let own = match order.gates.len() {
            1 => project.to_owned(),
            _ => format!("{project}_{}", gate.name),
        };
        if let Some(longest) = manual.longest.filter(|longest| own.len() > *longest) {
            let name = &gate.name;
            return Err(Refused(format!(
                "`{own}` is too long for {name}, which has room for {longest} bytes: choose a shorter name"
            ))
            .into());
        }
        let made = manual.makes.iter().map(|path| path.replace("{own}", &own));
        if let Some(path) = made.into_iter().find(|path| Path::new(path).exists()) {
            let name = &gate.name;
            return Err(Refused(format!(
                "{name} would make {path}, which the kernel that runs here has already: choose another name"
            ))
            .into());
        }
        let names = Names::new(&gate.name, &manual.names, project, &own);
        let excerpt = |file: &str| {
            let text = excerpt::of(&read(file)?, &names);
            text.with_context(|| format!("{}/{file}", gate.folder))
        };
        let module = excerpt("module.rs")?;
        let (module, state) = excerpt::with_public_state(&module)
            .with_context(|| format!("{}/module.rs", gate.folder))?;
        let file = |file: &String| {
            let text = read(file)?;
            let licence = licence(&text)?;
            Ok((file.clone(), format!("{licence}\n\n{}", excerpt(file)?)))
        };
        Ok(Self {
            abi: excerpt("abi.rs")?,
            files: manual.files.iter().map(file).collect::<Result<_>>()?,
            module,
            state,
            program: excerpt("program.rs")?,
            tests: (!order.minimal).then(|| excerpt("tests.rs")).transpose()?,
            gate,
            manual,
            names,
        })
    }
}

/// Writes everything into the folder at `to`.
fn write(source: &Path, to: &Path, name: &str, parts: &[Part]) -> Result<()> {
    let put = |path: &str, text: &str| {
        let path = to.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    for part in parts {
        let gate = &part.gate.name;
        let title = &part.gate.title;
        let file = |licence: &str, what: &str, text: &str| {
            format!("// SPDX-License-Identifier: {licence}\n\n//! {what}\n\n{text}")
        };
        let agree = format!("{gate}: {title}. What the module and the program agree on.");
        put(
            &format!("{gate}/abi.rs"),
            &file("GPL-2.0 OR MIT", &agree, &part.abi),
        )?;
        let kernel = format!("{gate}: {title}. The kernel side.");
        put(
            &format!("{gate}/module.rs"),
            &file("GPL-2.0", &kernel, &part.module),
        )?;
        for (name, text) in &part.files {
            put(&format!("{gate}/{name}"), text)?;
        }
        let user = format!("{gate}: {title}. The user side.");
        put(
            &format!("{gate}/program.rs"),
            &file(USER, &user, &part.program),
        )?;
        if let Some(tests) = &part.tests {
            let what =
                format!("{gate}: {title}. What a user can rely on, tried in the VM, as root.");
            put(&format!("{gate}/tests.rs"), &file(USER, &what, tests))?;
        }
    }

    let modules: Vec<_> = parts
        .iter()
        .flat_map(|part| {
            let files = part.files.iter().map(|(_, text)| text);
            files.chain([&part.module]).map(String::as_str)
        })
        .collect();
    let library = library::Part::needed_by(source, &modules)?;
    library.copy(&to.join("kernel"))?;
    for licence in fs::read_dir(source.join("LICENSES")).context("reading LICENSES")? {
        let licence = licence?;
        let name = licence.file_name().to_string_lossy().into_owned();
        put(&format!("LICENSES/{name}"), &read(&licence.path())?)?;
    }

    // The versions that everything was tested with.
    put("Cargo.lock", &read(&source.join("Cargo.lock"))?)?;
    put(MANIFEST, &manifest(name, parts)?)?;
    let frame = frame(source, name, parts)?;
    for (path, text) in [
        ("README.md", include_str!("scaffold/frame/README.md")),
        ("Kbuild", include_str!("scaffold/frame/Kbuild")),
        ("Makefile", include_str!("scaffold/frame/Makefile")),
        ("Cargo.toml", include_str!("scaffold/frame/Cargo.toml")),
        ("dkms.conf", include_str!("scaffold/frame/dkms.conf")),
        (".gitignore", include_str!("scaffold/frame/gitignore")),
        ("module.rs", include_str!("scaffold/frame/module.rs")),
        ("lib.rs", include_str!("scaffold/frame/lib.rs")),
        ("main.rs", include_str!("scaffold/frame/main.rs")),
    ] {
        let mut templates = minijinja::Environment::new();
        templates.set_keep_trailing_newline(true);
        let text = templates.render_str(text, &frame);
        put(path, &text.with_context(|| format!("filling in {path}"))?)?;
    }
    Ok(())
}

/// The licence of what runs in user space.
const USER: &str = "MIT OR Apache-2.0";

fn manifest(name: &str, parts: &[Part]) -> Result<String> {
    let listed = |part: &Part| Listed {
        name: part.gate.name.clone(),
        title: part.gate.title.clone(),
    };
    let manifest = Manifest {
        name: name.to_owned(),
        gate: parts.iter().map(listed).collect(),
    };
    let manifest = toml::to_string(&manifest)?;
    Ok(format!(
        "# What `callgate` has to know of this folder.\n\n{manifest}"
    ))
}

/// What the files that hold the parts together are filled in with.
fn frame(source: &Path, name: &str, parts: &[Part]) -> Result<minijinja::Value> {
    let title = match parts {
        [only] => only.gate.title.clone(),
        several => format!("{} ways between the kernel and user space", several.len()),
    };
    let dependencies = dependencies(source, parts)?;
    let tests = parts.iter().any(|part| part.tests.is_some());
    let mut made: Vec<_> = parts.iter().collect();
    made.sort_by_key(|part| part.manual.last);
    let described = |part: &Part| {
        context! {
            gate => part.gate.name,
            title => part.gate.title,
            state => part.state,
            tests => part.tests.is_some(),
            files => part.manual.files,
            called => part.program.contains("pub fn called("),
            first => part.names.apply(part.manual.first.trim()).replace('\n', "\n  "),
            last => part.manual.last > 0,
        }
    };
    let made: Vec<_> = made.into_iter().map(described).collect();
    let parts: Vec<_> = parts.iter().map(described).collect();
    let author = author().unwrap_or_else(|| name.to_owned());
    Ok(context! { name, author, title, dependencies, tests, parts, made })
}

/// Who git(1) says that works here, as `MODULE_AUTHOR()` wants it.
fn author() -> Option<String> {
    let configured = |what: &str| {
        let mut git = std::process::Command::new("git");
        let said = git.args(["config", what]).output().ok()?.stdout;
        let said = String::from_utf8(said).ok()?;
        Some(said.trim().replace(['"', '\\'], "")).filter(|said| !said.is_empty())
    };
    let name = configured("user.name")?;
    Some(match configured("user.email") {
        Some(email) => format!("{name} <{email}>"),
        None => name,
    })
}

/// The lines of Cargo.toml for those of the gates' dependencies that the user side names.
fn dependencies(source: &Path, parts: &[Part]) -> Result<Vec<String>> {
    let table =
        |path: &str| -> Result<toml::Table> { Ok(toml::from_str(&read(&source.join(path))?)?) };
    let workspace = table("Cargo.toml")?;
    let versions = &workspace["workspace"]["dependencies"];
    let gates = table("gates/Cargo.toml")?;
    let gates = gates["dependencies"]
        .as_table()
        .context("the gates depend on nothing")?;
    let texts: Vec<_> = parts
        .iter()
        .flat_map(|part| [Some(&part.abi), Some(&part.program), part.tests.as_ref()])
        .flatten()
        .collect();
    let mut lines = Vec::new();
    for (name, wanted) in gates {
        let path = format!("{}::", name.replace('-', "_"));
        if !texts.iter().any(|text| has_path(text, &path)) {
            continue;
        }
        if name == "callgate" {
            let path = source.join("user").display().to_string();
            lines.push(format!(
                "callgate = {{ path = {} }}",
                toml::Value::String(path)
            ));
            continue;
        }
        let version = match &versions[name.as_str()] {
            toml::Value::Table(table) => &table["version"],
            version => version,
        };
        lines.push(match wanted.get("features") {
            Some(features) => format!("{name} = {{ version = {version}, features = {features} }}"),
            None => format!("{name} = {version}"),
        });
    }
    Ok(lines)
}

/// Whether a path in `text` begins so: not the end of a longer name.
fn has_path(text: &str, start: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(start)
        .any(|(at, _)| !text[..at].ends_with(in_name))
}

/// How long rustfmt may take for a file, which takes it a blink.
const RUSTFMT: Duration = Duration::from_secs(30);

/// Has rustfmt(1) put the imports in order that became fewer. Without it they are as good, if not as pretty.
fn tidy(folder: &Path, parts: &[Part]) -> Result<()> {
    let format = |edition: &str, file: PathBuf| {
        let formatted = Cmd::new("rustfmt")
            .args(["--edition", edition, "--config", "skip_children=true"])
            .arg(file)
            .limit(RUSTFMT)
            .run();
        match formatted {
            Err(error) if error.is::<Interrupted>() => Err(error),
            _ => Ok(()),
        }
    };
    for part in parts {
        let folder = folder.join(&part.gate.name);
        format("2021", folder.join("module.rs"))?;
        for (file, _) in &part.files {
            format("2021", folder.join(file))?;
        }
        for file in ["abi.rs", "program.rs", "tests.rs"] {
            format("2024", folder.join(file))?;
        }
    }
    format("2024", folder.join("lib.rs"))?;
    format("2024", folder.join("main.rs"))
}

/// The line at the top of a file that names its licence.
fn licence(text: &str) -> Result<&str> {
    let first = text.lines().next();
    let licence = first.filter(|line| line.starts_with("// SPDX-License-Identifier: "));
    licence.context("its first line does not name its licence")
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_can_hold_on_to_is_made_last() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let place = tempfile::tempdir().unwrap();
        let order = Order {
            folder: &place.path().join("door"),
            gates: &["netlink", "genl", "ioctl"].map(str::to_owned),
            minimal: true,
        };
        let root = create(source, &order).unwrap();
        let module = read(&root.join("module.rs")).unwrap();
        let made: Vec<_> = module
            .lines()
            .filter_map(|line| line.split_once(" <- "))
            .map(|(field, _)| field.trim())
            .collect();
        assert_eq!(made, ["ioctl", "genl", "netlink"]);
    }

    #[test]
    fn no_project_makes_what_the_kernel_has_already() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let place = tempfile::tempdir().unwrap();
        let make = |folder: &str, gates: &[&str]| {
            let gates: Vec<_> = gates.iter().map(|gate| (*gate).to_owned()).collect();
            let order = Order {
                folder: &place.path().join(folder),
                gates: &gates,
                minimal: true,
            };
            create(source, &order)
        };
        for (folder, gate, path) in [
            ("meminfo", "procfs", "/proc/meminfo"),
            ("null", "ioctl", "/dev/null"),
        ] {
            let refused = make(folder, &[gate]).unwrap_err();
            assert!(refused.is::<Refused>(), "{refused:#}");
            assert!(refused.to_string().contains(path), "{refused:#}");
        }
        make("meminfo", &["ioctl"]).unwrap();
        // With the name of the gate it is another one.
        make("null", &["ioctl", "mmap"]).unwrap();
    }
}
