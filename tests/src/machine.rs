//! A machine that is written down, so that what depends on one is the same everywhere.

use moat_optimizer::nest::target::Target;

/// Two cores with vectors of 64 bytes and masks.
pub fn target() -> Target {
    Target {
        triple: "x86_64-unknown-linux-gnu".to_string(),
        cpu: "znver4".to_string(),
        features: String::new(),
        model: "test".to_string(),
        cores: 2,
        vector_bytes: 64,
        vector_registers: 32,
        masks: true,
        cache_bytes: vec![32 << 10, 1 << 20, 16 << 20],
        line_bytes: 64,
        peak_gflops_f32: Some(250.0),
        peak_gflops_f64: Some(125.0),
        bandwidth_gb_s: Some(40.0),
        crossing_store: None,
    }
}
