//! One row of the cost database: every column's name, type and meaning, in one place.
//!
//! `datasets/README.md` documents the same columns for people; a test holds the two together. Units stand in the names.
//! Adding a column is adding a line here: older parts read as its default.

use polars::prelude::*;
use serde::{Deserialize, Serialize};

/// A type that a column can have.
trait Cell: Sized + Default + Clone {
    fn column(name: &str, values: Vec<Self>) -> Column;
    fn read(series: &Series) -> PolarsResult<Vec<Self>>;
}

impl Cell for String {
    fn column(name: &str, values: Vec<Self>) -> Column {
        Column::new(name.into(), values)
    }
    fn read(series: &Series) -> PolarsResult<Vec<Self>> {
        Ok(series.str()?.iter().map(|value| value.unwrap_or_default().to_owned()).collect())
    }
}

impl Cell for bool {
    fn column(name: &str, values: Vec<Self>) -> Column {
        Column::new(name.into(), values)
    }
    fn read(series: &Series) -> PolarsResult<Vec<Self>> {
        Ok(series.bool()?.iter().map(Option::unwrap_or_default).collect())
    }
}

impl Cell for u64 {
    fn column(name: &str, values: Vec<Self>) -> Column {
        Column::new(name.into(), values)
    }
    fn read(series: &Series) -> PolarsResult<Vec<Self>> {
        Ok(series.u64()?.iter().map(Option::unwrap_or_default).collect())
    }
}

impl Cell for Option<f64> {
    fn column(name: &str, values: Vec<Self>) -> Column {
        Column::new(name.into(), values)
    }
    fn read(series: &Series) -> PolarsResult<Vec<Self>> {
        Ok(series.f64()?.iter().collect())
    }
}

/// A list column of `dtype` from one series per row.
fn list_column(name: &str, dtype: &DataType, rows: Vec<Series>) -> Column {
    let mut list = Series::new(name.into(), rows);
    let wanted = DataType::List(Box::new(dtype.clone()));
    if list.dtype() != &wanted {
        list = list.cast(&wanted).unwrap_or(list);
    }
    list.into_column()
}

/// One value per row of a list column; a null is an empty list.
fn read_list<T: Default>(series: &Series, mut row: impl FnMut(&Series) -> PolarsResult<T>) -> PolarsResult<Vec<T>> {
    let list = series.list()?;
    (0..list.len()).map(|at| list.get_as_series(at).map_or_else(|| Ok(T::default()), |values| row(&values))).collect()
}

impl Cell for Vec<f64> {
    fn column(name: &str, values: Vec<Self>) -> Column {
        let rows = values.iter().map(|row| Series::new("".into(), row.as_slice())).collect();
        list_column(name, &DataType::Float64, rows)
    }
    fn read(series: &Series) -> PolarsResult<Vec<Self>> {
        read_list(series, |row| Ok(row.f64()?.iter().map(Option::unwrap_or_default).collect()))
    }
}

impl Cell for Vec<u64> {
    fn column(name: &str, values: Vec<Self>) -> Column {
        let rows = values.iter().map(|row| Series::new("".into(), row.as_slice())).collect();
        list_column(name, &DataType::UInt64, rows)
    }
    fn read(series: &Series) -> PolarsResult<Vec<Self>> {
        read_list(series, |row| Ok(row.u64()?.iter().map(Option::unwrap_or_default).collect()))
    }
}

impl Cell for Vec<String> {
    fn column(name: &str, values: Vec<Self>) -> Column {
        let rows = values.iter().map(|row| Series::new("".into(), row.as_slice())).collect();
        list_column(name, &DataType::String, rows)
    }
    fn read(series: &Series) -> PolarsResult<Vec<Self>> {
        read_list(series, |row| Ok(row.str()?.iter().map(|value| value.unwrap_or_default().to_owned()).collect()))
    }
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A candidate's trial.
    Trial,
    /// The interleaved re-measurement of the best.
    Final,
}

impl Stage {
    /// Its name in the column.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Trial => "trial",
            Stage::Final => "final",
        }
    }
}

macro_rules! row {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// One trial, with everything that a figure depends on.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Row {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Row {
            /// The columns' names, in order.
            pub const COLUMNS: &[&str] = &[$(stringify!($field)),*];

            /// A table of `rows`.
            ///
            /// # Errors
            /// Where polars refuses a column.
            pub fn table(rows: &[Row]) -> PolarsResult<DataFrame> {
                DataFrame::new(rows.len(), vec![$(
                    <$type as Cell>::column(stringify!($field), rows.iter().map(|row| row.$field.clone()).collect()),
                )*])
            }

            /// The rows of a table; a column that it lacks has its default.
            ///
            /// # Errors
            /// Where a column has another type than this version writes.
            pub fn from_table(table: &DataFrame) -> PolarsResult<Vec<Row>> {
                let mut rows = vec![Row::default(); table.height()];
                $(
                    if let Ok(column) = table.column(stringify!($field)) {
                        let values = <$type as Cell>::read(column.as_materialized_series())?;
                        for (row, value) in rows.iter_mut().zip(values) {
                            row.$field = value;
                        }
                    }
                )*
                Ok(rows)
            }
        }
    };
}

row! {
    /// Identifier of the run: its start and process, unique in a database.
    run_id: String,
    /// Number of the trial in its run; 0 is the default.
    trial: u64,
    /// `trial`, with the arguments 16 bytes past a cache line, or `final` for the interleaved re-measurement at 0, 16, 32 and 48.
    stage: String,
    /// When the trial ended, in milliseconds since 1970 (UTC).
    recorded_unix_ms: u64,
    /// Version of moat.
    moat_version: String,
    /// Version of the code generator: a change in emitted code changes it.
    codegen_version: String,
    /// Version of LLVM.
    llvm_version: String,
    /// Stem of the workload's file.
    workload: String,
    /// Name of the function.
    function: String,
    /// Module constants that were overridden, as a JSON object.
    lets_json: String,
    /// SHA-256 of the array program with its shapes.
    workload_hash: String,
    /// SHA-256 of the normal form.
    normal_form_hash: String,
    /// SHA-256 of the rule base.
    rule_base_hash: String,
    /// Rank of the normal form among those offered; 0 is the source form.
    form_index: u64,
    /// Names of the rules that derive the form from the source, in order.
    derivation: Vec<String>,
    /// The schedule, as JSON.
    schedule_json: String,
    /// SHA-256 of the loop nest that was executed; empty where there is none.
    nest_hash: String,
    /// LLVM triple.
    triple: String,
    /// LLVM's name of the CPU.
    cpu: String,
    /// The maker's name of the CPU, with family, model and stepping where known.
    cpu_model: String,
    /// LLVM's feature string.
    cpu_features: String,
    /// Bytes of a vector register.
    vector_bytes: u64,
    /// Bytes of data cache that one core may count on, from L1 on.
    cache_bytes: Vec<u64>,
    /// Cores that moat might use.
    cores: u64,
    /// Threads that the kernel used.
    threads: u64,
    /// Measured FMA peak of one core, f32, in GFLOP/s.
    peak_gflops_f32: Option<f64>,
    /// Measured FMA peak of one core, f64, in GFLOP/s.
    peak_gflops_f64: Option<f64>,
    /// Measured triad bandwidth of one core, in GB/s.
    bandwidth_gb_s: Option<f64>,
    /// What a vector costs more that is stored 16 bytes past a cache line, in multiply-adds of a vector, measured.
    crossing_store: Option<f64>,
    /// `exact`, `reassociate` or `algebraic`.
    numerics: String,
    /// Seed of the run.
    seed: u64,
    /// `measured`, `illegal`, `compile_failed`, `crashed`, `timed_out`, `wrong_result` or `worker_lost`.
    outcome: String,
    /// What went wrong, for people; never parsed.
    detail: String,
    /// Median of the samples, in nanoseconds for one call.
    median_ns: Option<f64>,
    /// Interquartile range of the samples, in nanoseconds.
    iqr_ns: Option<f64>,
    /// Samples in the order taken, each the mean of a batch of calls, in nanoseconds for one call.
    samples_ns: Vec<f64>,
    /// In `final` rows, medians of the samples with the arguments 0, 16, 32 and 48 bytes past a cache line, in nanoseconds; otherwise empty.
    offset_ns: Vec<f64>,
    /// In `final` rows, median of calls after other work, which leaves nothing of the arguments in the caches, in nanoseconds.
    cold_ns: Option<f64>,
    /// Samples during which a core was taken away and which stand all the same, for repeating them has a limit.
    disturbed_samples: u64,
    /// Cores that other processes and the hypervisor used on average while the samples were taken; null if that took too little time to say.
    other_cores: Option<f64>,
    /// Time to compile, in nanoseconds.
    compile_ns: Option<f64>,
    /// Scalar operations of the executed nest.
    flops: Option<f64>,
    /// Bytes of the arrays that the executed nest reads and writes, each counted once.
    bytes: Option<f64>,
    /// Scalar operations of the program as written.
    source_flops: Option<f64>,
    /// Largest error of an element, as a fraction of its bound (integers: 0).
    error_fraction: Option<f64>,
    /// Bytes of scratch memory.
    workspace_bytes: u64,
    /// What was promoted at the end of the run: true in the `final` row that ships.
    shipped: bool,
}
