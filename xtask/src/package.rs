//! Making the npm package in `web/dist` and the playground in `target/web/playground`.
//!
//! ```text
//! cu-web (Rust) ─cargo→ wasm ─wasm-bindgen→ wasm + glue ─`panics`, wasm-opt→ dist/cu*.wasm
//!                                            glue as a factory  → dist/*-bindings.js
//! web/ts/*.ts ─tsc→ dist/*.js, dist/*.d.ts
//! dist/cu-home.wasm, dist/cu-storage.wasm ─esbuild→ dist/inline-modules.js, as base64
//! web/playground ─esbuild→ playground/{index.html, icon.svg, main.js, style.css}, beside a copy of dist
//! ```
//!
//! The VM and the storage engine are modules of their own: the one crate, built with one feature each. The VM is built three times: with
//! the compiler of functions, with `_home`, and small with neither. What the oldest browsers need, the VM with `_home` and the storage
//! engine, is there once more with nothing newer than they have; wasm-opt makes it of the same code, so that it has the same glue.
//!
//! wasm-bindgen's glue keeps one wasm instance per module. The package needs one per `Cu` (a trap must
//! cost one instance, not the page), so the glue is wrapped into a function that makes it anew.

mod panics;

use std::fs;
use std::path::{Path, PathBuf};

use wasm_bindgen_cli_support::Bindgen;

use crate::error::{Error, Result, at};
use crate::process;
use crate::setup::{self, WASM_TARGET};

const CRATE: &str = "cu-web";
const CRATE_FILE: &str = "cu_web.wasm";

/// A wasm module of the package.
struct Module {
    /// The feature of the crate that it is built with; the glue is named by it.
    feature: &'static str,
    file: &'static str,
    /// How the VM is compiled: an `opt-level`.
    vm_level: &'static str,
    /// The file for the oldest browsers, if there is one. In both, references to JavaScript objects are then kept in a list, not in a wasm
    /// table, and calls give one value.
    oldest: Option<&'static str>,
    /// Likewise what saves and restores: images of large heaps take half the time, for 10 KiB gzipped.
    persist_level: &'static str,
    /// Likewise the storage engine.
    storage_level: &'static str,
}

const MODULES: [Module; 4] = [
    Module {
        feature: "vm",
        file: "cu.wasm",
        oldest: None,
        vm_level: "'s'",
        persist_level: "'z'",
        storage_level: "'z'",
    },
    Module {
        feature: "compile",
        file: "cu-compile.wasm",
        oldest: None,
        vm_level: "3",
        persist_level: "2",
        storage_level: "'z'",
    },
    Module {
        feature: "home",
        file: "cu-home.wasm",
        oldest: Some("cu-home-oldest.wasm"),
        vm_level: "'s'",
        persist_level: "'z'",
        storage_level: "'z'",
    },
    Module {
        feature: "storage",
        file: "cu-storage.wasm",
        oldest: Some("cu-storage-oldest.wasm"),
        vm_level: "3",
        persist_level: "'z'",
        storage_level: "3",
    },
];

/// The built playground: a folder that any static file server can serve.
pub fn playground(root: &Path) -> PathBuf {
    artefacts(root).join("playground")
}

pub fn build(root: &Path) -> Result<()> {
    build_modules(root, &[])
}

/// Makes everything anew; with names of modules, only those, and what is not wasm.
pub fn build_modules(root: &Path, names: &[String]) -> Result<()> {
    let modules = chosen(names)?;
    let web = root.join("web");
    setup::npm_packages(&web)?;
    setup::wasm_target(root)?;

    let dist = web.join("dist");
    if names.is_empty() {
        empty(&dist)?;
    }
    for module in &modules {
        let compiled = compile(root, module)?;
        bind(module, &compiled, &artefacts(root), &dist)?;
        let bound = artefacts(root).join(module.file);
        optimize(&web, module, &bound, &dist.join(module.file), &[])?;
        if let Some(oldest) = module.oldest {
            let lowered = artefacts(root).join(oldest);
            optimize(&web, module, &bound, &lowered, &LOWERING)?;
            restrict(&web, &lowered, &dist.join(oldest))?;
        }
    }
    process::run(process::npm(&web).args(["run", "--silent", "build"]))?;
    process::run(process::npm(&web).args(["run", "--silent", "typecheck"]))?;
    build_playground(root)?;

    for module in &modules {
        let wasm = dist.join(module.file);
        let bytes = fs::metadata(&wasm).map_err(at(&wasm))?.len();
        eprintln!("built web/dist/{} ({} KiB)", module.file, bytes.div_ceil(1024));
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Module>> {
    if let Some(name) = names.iter().find(|name| MODULES.iter().all(|module| module.feature != **name)) {
        return Err(Error::Usage(format!("no wasm module '{name}'; there are vm, compile, home, storage")));
    }
    Ok(MODULES.iter().filter(|module| names.is_empty() || names.iter().any(|name| name == module.feature)).collect())
}

/// What is made on the way and does not belong into the package.
fn artefacts(root: &Path) -> PathBuf {
    root.join("target/web")
}

/// Compiles the crate for a module and gives the path of its wasm file.
fn compile(root: &Path, module: &Module) -> Result<PathBuf> {
    let mut flags: Vec<String> =
        source_folders(root).iter().map(|folder| format!("'--remap-path-prefix={folder}='")).collect();
    if module.oldest.is_some() {
        flags.push("'-Ctarget-feature=-reference-types'".to_owned());
    }
    let flags = format!("target.{WASM_TARGET}.rustflags=[{}]", flags.join(","));
    let arguments = ["build", "--profile=wasm", "-p", CRATE, "--target", WASM_TARGET, "--config", &flags];
    let features = ["--no-default-features", "--features", module.feature];
    let levels = [
        ("cu-vm", module.vm_level),
        ("cu-persist", module.persist_level),
        ("miniz_oxide", module.persist_level),
        ("cu-storage", module.storage_level),
        ("xxhash-rust", module.storage_level),
    ];
    let levels = levels.map(|(package, level)| format!("profile.wasm.package.{package}.opt-level={level}"));
    let levels = levels.iter().flat_map(|level| ["--config", level]);
    process::run(process::cargo(root).args(arguments).args(levels).args(features))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
    Ok(target.join(WASM_TARGET).join("wasm").join(CRATE_FILE))
}

/// Where sources lie on this machine. Panic messages hold their paths, and a package must not depend on the machine.
fn source_folders(root: &Path) -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let registries = registries.into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = registries.chain([root.to_path_buf()]);
    folders
        .filter_map(|folder| Some(format!("{}/", folder.to_str()?)))
        .filter(|folder| !folder.contains('\''))
        .collect()
}

/// Writes the module and its declarations to `artefacts`, and the glue to `dist`.
fn bind(module: &Module, compiled: &Path, artefacts: &Path, dist: &Path) -> Result<()> {
    fs::create_dir_all(artefacts).map_err(at(artefacts))?;
    let global = format!("{}Bindings", module.feature);
    let mut code = fs::read(compiled).map_err(at(compiled))?;
    if module.oldest.is_some() {
        withhold(&mut code, "reference-types")?;
        withhold(&mut code, "multivalue")?;
    }
    let mut bindgen = Bindgen::new();
    bindgen
        .input_bytes("cu_web", code)
        .typescript(true)
        .omit_default_module_path(true)
        .remove_name_section(true)
        .remove_producers_section(true);
    let mut output = bindgen
        .no_modules(true)
        .and_then(|bindgen| bindgen.no_modules_global(&global))
        .and_then(Bindgen::generate_output)
        .map_err(|error| Error::Bindgen(format!("{error:#}")))?;
    let snippets = output.snippets().values().any(|inline| !inline.is_empty());
    if snippets || !output.local_modules().is_empty() {
        let reason = format!("{CRATE} uses JavaScript snippets, which the glue's factory does not carry");
        return Err(Error::Bindgen(reason));
    }
    let glue = format!(
        "// Generated by wasm-bindgen. `WebAssembly` is a parameter so that the caller sees every trap. What is loaded is compiled already,\n\
         // so nobody need ask whether it is a request; asking would make Node load its `fetch`, which takes longer than all else.\n\
         export function createBindings(WebAssembly) {{\nlet Request, Response;\n{}\nreturn {global};\n}}\n",
        output.js()
    );
    write(&dist.join(format!("{}-bindings.js", module.feature)), glue.as_bytes())?;
    // Types outside the namespace would be declared by several modules.
    let declarations = ["InitInput", "InitOutput"]
        .iter()
        .fold(output.ts().unwrap_or_default().to_owned(), |text, name| text.replace(name, &format!("{global}{name}")));
    write(&artefacts.join(format!("{}-bindings.d.ts", module.feature)), declarations.as_bytes())?;
    if panics::silence(output.wasm_mut()) == 0 {
        return Err(Error::Bindgen("no panic handler was found by its name".to_owned()));
    }
    let wasm = output.wasm_mut().emit_wasm();
    write(&artefacts.join(module.file), &wasm)
}

/// Takes a feature out of the list of those that a module says it was built with, which wasm-bindgen goes by: the standard library is
/// built with all of them.
fn withhold(code: &mut [u8], feature: &str) -> Result<()> {
    let length = u8::try_from(feature.len()).unwrap_or(u8::MAX);
    let entry = [&[b'+', length], feature.as_bytes()].concat();
    let found = code.windows(entry.len()).rposition(|window| window == entry);
    let sign = found.and_then(|position| code.get_mut(position));
    let sign = sign.ok_or_else(|| Error::Bindgen(format!("the module does not list the feature {feature}")))?;
    *sign = b'-';
    Ok(())
}

/// Instructions of newer features in terms of older ones. Without the list of features that a module has of itself, wasm-opt goes by
/// what it is told.
const LOWERING: [&str; 4] = [
    "--llvm-memory-copy-fill-lowering",
    "--signext-lowering",
    "--llvm-nontrapping-fptoint-lowering",
    "--strip-target-features",
];

/// Optimizes once more with what the oldest browsers have (Safari 13.1 the least), and fails where a module needs more.
fn restrict(web: &Path, lowered: &Path, restricted: &Path) -> Result<()> {
    let mut command = process::npm(web);
    command.args(["exec", "--no", "--", "wasm-opt", "--mvp-features", "--enable-mutable-globals", "-O1"]);
    process::run(command.arg(lowered).arg("-o").arg(restricted))
}

fn optimize(web: &Path, module: &Module, bound: &Path, optimized: &Path, passes: &[&str]) -> Result<()> {
    // The features that Rust's baseline and .cargo/config.toml allow; wasm-opt may use no others.
    const FEATURES: [&str; 4] =
        ["--enable-bulk-memory", "--enable-mutable-globals", "--enable-nontrapping-float-to-int", "--enable-sign-ext"];
    let mut command = process::npm(web);
    // In the first KiB is only the end of the stack, and whoever comes there is about to trap.
    command.args(["exec", "--no", "--", "wasm-opt", "-O3", "--low-memory-unused"]);
    if module.oldest.is_none() {
        command.args(["--enable-multivalue", "--enable-reference-types"]);
    }
    command.args(FEATURES).args(passes).arg(bound).arg("-o").arg(optimized);
    process::run(&mut command)
}

fn build_playground(root: &Path) -> Result<()> {
    let web = root.join("web");
    let playground = playground(root);
    empty(&playground)?;
    let mut bundle = process::npm(&web);
    bundle.args(["run", "--silent", "build:playground", "--"]);
    bundle.arg(format!("--outdir={}", playground.display()));
    process::run(&mut bundle)?;
    let page = web.join("playground/index.html");
    let html = fs::read(&page).map_err(at(&page))?;
    write(&playground.join("index.html"), &html)?;
    copy_files(&web.join("dist"), &playground.join("cu-wasm"))
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let target = to.join(entry.file_name());
        fs::copy(entry.path(), &target).map_err(at(&target))?;
    }
    Ok(())
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(at(folder))?;
    }
    fs::create_dir_all(folder).map_err(at(folder))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(at(path))
}
