//! The machine that this process runs on, as a target.
//!
//! Output: a [`Target`] without measured figures, from what LLVM, the operating system and the processor say of
//! themselves; and the cores that this process may use. Nothing is measured or decided here.

use inkwell::targets::TargetMachine;
use moat_optimizer::nest::target::Target;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::path::Path;

/// The machine as the operating system and LLVM describe it; nothing is measured.
pub fn host_target() -> Target {
    let features = TargetMachine::get_host_cpu_features().to_string();
    let has = |name: &str| features.split(',').any(|feature| feature.strip_prefix('+') == Some(name));
    let x86 = cfg!(target_arch = "x86_64");
    let avx512 = ["avx512f", "avx512vl", "avx512bw", "avx512dq"].into_iter().all(has);
    let sve = has("sve");
    let (vector_bytes, vector_registers) = match (x86, avx512, has("avx2") || has("avx")) {
        (true, true, _) => (64, 32),
        (true, false, true) => (32, 16),
        (true, false, false) => (16, 16),
        (false, _, _) => (16, 32),
    };
    let (cache_bytes, line_bytes) = caches();
    Target {
        triple: TargetMachine::get_default_triple().as_str().to_string_lossy().into_owned(),
        cpu: TargetMachine::get_host_cpu_name().to_string(),
        model: model(),
        cores: cores().len(),
        vector_bytes,
        vector_registers,
        masks: (x86 && avx512) || sve,
        cache_bytes,
        line_bytes,
        peak_gflops_f32: None,
        peak_gflops_f64: None,
        bandwidth_gb_s: None,
        crossing_store: None,
        features,
    }
}

/// The cores this process may run on.
pub fn cores() -> Vec<usize> {
    let found = sched_getaffinity(Pid::from_raw(0))
        .map(|set| (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect::<Vec<_>>());
    match found {
        Ok(cores) if !cores.is_empty() => cores,
        Ok(_) | Err(_) => vec![0],
    }
}

/// The CPU's name, with family, model and stepping: cloud machines call very different CPUs by one name.
fn model() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        let cpuid = raw_cpuid::CpuId::new();
        let name = cpuid.get_processor_brand_string().map(|brand| brand.as_str().trim().to_owned());
        let version = cpuid.get_feature_info().map(|info| {
            format!(" (family {} model {} stepping {})", info.family_id(), info.model_id(), info.stepping_id())
        });
        format!("{}{}", name.unwrap_or_else(|| "unknown CPU".to_owned()), version.unwrap_or_default())
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = info.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let parts: Vec<String> =
            ["CPU implementer", "CPU part", "CPU variant"].into_iter().filter_map(|name| field(name)).collect();
        if parts.is_empty() { "unknown CPU".to_owned() } else { format!("ARM {}", parts.join(" ")) }
    }
}

/// One data or unified cache.
struct Cache {
    level: u32,
    bytes: usize,
    line_bytes: usize,
    /// Cores that share it.
    sharers: usize,
}

/// Bytes per core of each level, and the line's size.
fn caches() -> (Vec<usize>, usize) {
    let mut found = caches_from_sysfs(Path::new("/sys/devices/system/cpu/cpu0/cache"));
    if found.is_empty() {
        found = caches_from_cpuid();
    }
    let line = found.iter().map(|cache| cache.line_bytes).find(|&bytes| bytes > 0).unwrap_or(64);
    let levels: BTreeMap<u32, usize> =
        found.iter().map(|cache| (cache.level, cache.bytes / cache.sharers.max(1))).collect();
    let bytes: Vec<usize> = levels.into_values().collect();
    (if bytes.is_empty() { vec![32 << 10, 512 << 10, 4 << 20] } else { bytes }, line)
}

fn caches_from_sysfs(directory: &Path) -> Vec<Cache> {
    let mut caches = Vec::new();
    for index in 0..16 {
        let read = |name: &str| {
            let text = std::fs::read_to_string(directory.join(format!("index{index}")).join(name)).ok()?;
            Some(text.trim().to_owned())
        };
        let (Some(kind), Some(level), Some(size)) = (read("type"), read("level"), read("size")) else { continue };
        if kind == "Instruction" {
            continue;
        }
        let (Ok(level), Some(bytes)) = (level.parse(), size_with_unit(&size)) else { continue };
        caches.push(Cache {
            level,
            bytes,
            line_bytes: read("coherency_line_size").and_then(|text| text.parse().ok()).unwrap_or(0),
            sharers: read("shared_cpu_list").map_or(1, |list| list_length(&list)),
        });
    }
    caches
}

/// `512K` or `32M` in bytes.
fn size_with_unit(text: &str) -> Option<usize> {
    let (digits, shift) = match text.strip_suffix('K') {
        Some(digits) => (digits, 10),
        None => match text.strip_suffix('M') {
            Some(digits) => (digits, 20),
            None => (text, 0),
        },
    };
    digits.parse::<usize>().ok().map(|count| count << shift)
}

/// Number of CPUs in a list such as `0-3,8`.
fn list_length(list: &str) -> usize {
    list.split(',')
        .filter_map(|part| match part.split_once('-') {
            Some((from, to)) => Some(to.parse::<usize>().ok()?.checked_sub(from.parse().ok()?)? + 1),
            None => part.parse::<usize>().ok().map(|_| 1),
        })
        .sum()
}

#[cfg(target_arch = "x86_64")]
fn caches_from_cpuid() -> Vec<Cache> {
    use raw_cpuid::CacheType;
    let Some(parameters) = raw_cpuid::CpuId::new().get_cache_parameters() else { return Vec::new() };
    parameters
        .filter(|cache| matches!(cache.cache_type(), CacheType::Data | CacheType::Unified))
        .map(|cache| Cache {
            level: u32::from(cache.level()),
            bytes: cache.associativity()
                * cache.physical_line_partitions()
                * cache.coherency_line_size()
                * cache.sets(),
            line_bytes: cache.coherency_line_size(),
            sharers: cache.max_cores_for_cache(),
        })
        .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn caches_from_cpuid() -> Vec<Cache> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::{host_target, list_length, size_with_unit};

    #[test]
    fn sysfs_lists_and_sizes() {
        assert_eq!(list_length("0-3,8"), 5);
        assert_eq!(list_length("0"), 1);
        assert_eq!(size_with_unit("512K"), Some(512 << 10));
        assert_eq!(size_with_unit("32M"), Some(32 << 20));
        assert_eq!(size_with_unit("?"), None);
    }

    #[test]
    fn this_machine_has_cores_and_caches() {
        let target = host_target();
        assert!(target.cores >= 1 && !target.cache_bytes.is_empty());
    }
}
