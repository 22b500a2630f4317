// SPDX-License-Identifier: MIT OR Apache-2.0

//! `rust-project.json`: what rust-analyzer must know of the kernel side, which no Cargo.toml
//! describes.
//!
//! The kernel's own generator describes the crates of the kernel. It finds no crate of an
//! out-of-tree module that is made of several objects, so ours are added here.

use crate::Lab;
use crate::kernel::{Kernel, Tools};
use crate::modules;
use crate::project::Project;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a crate of ours may use of the kernel's.
const KERNEL_CRATES: [&str; 5] = ["core", "kernel", "pin_init", "zerocopy", "zerocopy_derive"];

/// Writes `rust-project.json` into the project's folder.
pub fn describe(lab: &Lab, tools: &Tools, kernel: &Kernel, project: &Project) -> Result<()> {
    let output = modules::directory(project, kernel);
    let _lock = modules::claim(lab, &output)?;
    modules::make(lab, tools, kernel, project, &output)?
        .arg("rust-analyzer")
        .run()
        .context("describing the kernel's crates for rust-analyzer")?;
    let made = output.join("rust-project.json");
    let mut description: Value = serde_json::from_slice(&std::fs::read(&made)?)?;
    let bindings = output.join("kernel/bindings_generated.rs");
    add_ours(&mut description, &project.root, &project.crates, &bindings)?;
    let description = serde_json::to_vec_pretty(&description)?;
    std::fs::write(project.root.join("rust-project.json"), description)
        .context("writing rust-project.json")
}

/// Adds the library in the folder at `root`, and the crates of the modules there.
fn add_ours(
    description: &mut Value,
    root: &Path,
    modules: &[(String, PathBuf)],
    bindings: &Path,
) -> Result<()> {
    let crates = description["crates"]
        .as_array_mut()
        .context("rust-project.json has no crates")?;
    let find = |name: &str| {
        crates
            .iter()
            .position(|found| found["display_name"] == name)
            .with_context(|| format!("the kernel has no crate `{name}`"))
    };
    let mut dependencies = Vec::new();
    for name in KERNEL_CRATES {
        dependencies.push(json!({ "crate": find(name)?, "name": name }));
    }
    let cfg = crates[find("kernel")?]["cfg"].clone();
    let library = crates.len();
    let describe =
        |name: &str, file: &Path, folders: &[&Path], dependencies: &[Value], env: Value| {
            json!({
                "display_name": name,
                "root_module": file,
                "source": { "include_dirs": folders, "exclude_dirs": [root.join("target")] },
                "edition": "2021",
                "is_workspace_member": true,
                "is_proc_macro": false,
                "deps": dependencies,
                "cfg": cfg,
                "env": env,
            })
        };
    // In callgate's own checkout, the library has a file in common with the package of the user side.
    let [kernel, user] = ["kernel", "user"].map(|folder| root.join(folder));
    let shared = user.join("Cargo.toml").exists().then_some(&*user);
    let folders: Vec<_> = [&*kernel].into_iter().chain(shared).collect();
    crates.push(describe(
        "callgate_kernel",
        &kernel.join("callgate_kernel.rs"),
        &folders,
        &dependencies,
        json!({ "RUST_MODFILE": "callgate_kernel", "CALLGATE_BINDINGS": bindings }),
    ));
    dependencies.push(json!({ "crate": library, "name": "callgate_kernel" }));
    for (name, file) in modules {
        crates.push(describe(
            name,
            file,
            &[package(file)],
            &dependencies,
            json!({ "RUST_MODFILE": name }),
        ));
    }
    Ok(())
}

/// The folder of the Cargo package that a module's file is in.
///
/// A file belongs to one folder that rust-analyzer is told of, that with the longest path, and what is in
/// another one is no part of its crate. So a folder with files of both sides must be known to both by the
/// same path.
fn package(file: &Path) -> &Path {
    let mut folders = file.ancestors().skip(1);
    let package = folders.find(|folder| folder.join("Cargo.toml").exists());
    package.or(file.parent()).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is added for one module in a checkout or a project at `root`, after the kernel's crates.
    fn ours(root: &Path, name: &str, file: &Path) -> [Value; 2] {
        let kernels: Vec<_> = KERNEL_CRATES
            .iter()
            .map(|name| json!({ "display_name": name, "cfg": ["CONFIG_X"] }))
            .collect();
        let mut project = json!({ "crates": kernels });
        let modules = [(name.into(), file.into())];
        add_ours(&mut project, root, &modules, Path::new("/b.rs")).unwrap();
        let [.., library, module] = &project["crates"].as_array().unwrap()[..] else {
            panic!()
        };
        [library.clone(), module.clone()]
    }

    #[test]
    fn a_gate_depends_on_the_library_and_the_library_on_the_kernel() {
        let file = Path::new("/r/gates/ioctl/module.rs");
        let [library, gate] = ours(Path::new("/r"), "callgate_ioctl", file);
        assert_eq!(library["env"]["CALLGATE_BINDINGS"], "/b.rs");
        assert_eq!(library["deps"][1], json!({ "crate": 1, "name": "kernel" }));
        assert_eq!(gate["root_module"], "/r/gates/ioctl/module.rs");
        assert_eq!(
            gate["deps"][5],
            json!({ "crate": 5, "name": "callgate_kernel" })
        );
        assert_eq!(gate["cfg"], json!(["CONFIG_X"]));
    }

    #[test]
    fn a_folder_with_files_of_both_sides_is_the_same_for_both() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let [library, gate] = ours(root, "callgate_ioctl", &root.join("gates/ioctl/module.rs"));
        let folders = |described: &Value| described["source"]["include_dirs"].clone();
        assert_eq!(
            folders(&library),
            json!([root.join("kernel"), root.join("user")])
        );
        assert_eq!(folders(&gate), json!([root.join("gates")]));

        let project = tempfile::tempdir().unwrap();
        let root = project.path();
        std::fs::write(root.join("Cargo.toml"), "").unwrap();
        let [library, module] = ours(root, "door", &root.join("module.rs"));
        assert_eq!(folders(&library), json!([root.join("kernel")]));
        assert_eq!(folders(&module), json!([root]));
    }
}
