//! Gives records the version of the code generator: a hash of its sources, so that a figure is never taken for one of
//! code that is emitted differently.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let sources = Path::new("../codegen/src");
    println!("cargo::rerun-if-changed={}", sources.display());
    let mut files = Vec::new();
    collect(sources, &mut files)?;
    files.sort();
    // FNV-1a (G. Fowler, L. Noll, K. Vo): no dependency, and no adversary.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        for byte in file.to_string_lossy().bytes().chain(fs::read(&file)?) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    println!("cargo::rustc-env=MOAT_CODEGEN_VERSION={}-{hash:016x}", env!("CARGO_PKG_VERSION"));
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
