//! Libraries that are loaded into the real binary with LD_PRELOAD: compiled from the folder `shim` for a test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a library of the folder `shim`. `None` if there is no C compiler, or no LD_PRELOAD.
pub fn shim(folder: &Path, name: &str) -> Option<PathBuf> {
    let shim = folder.join(format!("{name}.so"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/process/shim/{name}.c"));
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&shim)
        .arg(source)
        .args(["-ldl", "-lpthread"])
        .output();
    let output = compiled.ok().filter(|_| cfg!(target_os = "linux"))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(shim)
}
