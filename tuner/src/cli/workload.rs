//! From `FILE[:FUNCTION]` to a workload.

use super::args::WorkloadArgs;
use super::error::CliError;
use super::error::SourceError;
use moat_optimizer::frontend::{ParseOptions, Workload, parse};
use std::path::{Path, PathBuf};

/// A workload with the name that its kernel gets.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) workload: Workload,
    /// Stem of the file's name.
    pub(super) stem: String,
}

/// Reads and parses.
///
/// # Errors
/// If the file cannot be read, or with everything that is wrong with its text.
pub(super) fn load(args: &WorkloadArgs) -> Result<Loaded, CliError> {
    let (path, function) = split(&args.workload);
    let source = std::fs::read_to_string(&path).map_err(|source| CliError::Workload { path: path.clone(), source })?;
    let options = ParseOptions { function, lets: args.lets.iter().cloned().collect() };
    let name = path.display().to_string();
    let workload = parse(&name, &source, &options).map_err(|errors| CliError::Source(SourceError::new(errors)))?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Loaded { workload, stem })
}

/// The function is what follows the last colon, if that can be a function's name and is no file's.
fn split(argument: &str) -> (PathBuf, Option<String>) {
    if let Some((file, function)) = argument.rsplit_once(':')
        && !file.is_empty()
        && function.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && function.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !Path::new(argument).exists()
    {
        return (PathBuf::from(file), Some(function.to_owned()));
    }
    (PathBuf::from(argument), None)
}

#[cfg(test)]
mod tests {
    use super::split;
    use std::path::PathBuf;

    #[test]
    fn file_and_function() {
        assert_eq!(split("a/b.py:gemm"), (PathBuf::from("a/b.py"), Some("gemm".to_owned())));
        assert_eq!(split("a/b.py"), (PathBuf::from("a/b.py"), None));
        assert_eq!(split("a:b/c.py"), (PathBuf::from("a:b/c.py"), None));
        assert_eq!(split(":f"), (PathBuf::from(":f"), None));
    }
}
