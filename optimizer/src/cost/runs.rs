//! The term of far runs: what it takes to begin runs of lines that no prefetcher foresees.
//!
//! Takes an [`Execution`]; gives nanoseconds.

use super::constants::{FREE_RUNS, NEW_RUN, PAGE};
use super::execution::Execution;
use crate::form::scalar_tree::Source;
use std::collections::BTreeMap;

/// Nanoseconds spent because what one execution reads lies in many runs of lines far from each other.
pub(super) fn time(execution: &Execution<'_>) -> f64 {
    let rates = execution.rates;
    let mut of_source: BTreeMap<Source, f64> = BTreeMap::new();
    for load in &execution.model.loads {
        let footprint = load.footprint(execution.extents, rates.line);
        // What stays in the first cache is there again in the next iteration.
        let stays = rates.caches.first().is_some_and(|&cache| footprint.bytes <= cache);
        if footprint.row_stride >= PAGE && !stays {
            let count = of_source.entry(load.source).or_default();
            *count = count.max(footprint.rows);
        }
    }
    let all: f64 = of_source.values().sum();
    if all > FREE_RUNS { all * NEW_RUN } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::time;
    use crate::cost::constants::NEW_RUN;
    use crate::cost::samples::{execution, map, rates, vectors};

    #[test]
    fn each_of_many_rows_on_pages_of_their_own_costs() {
        let rates = rates();
        let of = |rows, columns| {
            let model = map(rows, columns);
            time(&execution(&rates, &model, &vectors(&model, 1)))
        };
        assert_eq!(of(128, 1024), 128.0 * NEW_RUN);
        assert_eq!(of(256, 1024), 256.0 * NEW_RUN);
        // Few rows, and rows that lie together on a page.
        assert_eq!(of(64, 1024), 0.0);
        assert_eq!(of(256, 512), 0.0);
    }
}
