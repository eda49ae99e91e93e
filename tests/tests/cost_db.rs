//! The cost database: nothing that was recorded is lost, by a kill, a torn write, or company.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_tuner::cost_db::CostDb;
use moat_tuner::row::Row;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

fn row(run_id: &str, trial: u64) -> Row {
    Row {
        run_id: run_id.to_owned(),
        trial,
        stage: "trial".to_owned(),
        outcome: "measured".to_owned(),
        workload: "naïve \"quoted\"\n".to_owned(),
        derivation: vec!["psi/map2".to_owned(), "algebra/matmul-assoc".to_owned()],
        samples_ns: vec![1.5, f64::from(u32::try_from(trial).unwrap()), 1e300],
        cache_bytes: vec![32 << 10, 1 << 20],
        median_ns: Some(1.0 / 3.0),
        seed: u64::MAX,
        shipped: trial == 2,
        ..Row::default()
    }
}

fn files(directory: &Path, sub: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(directory.join(sub)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn a_row_survives_the_journal_and_the_part_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let db = CostDb::open(directory.path()).unwrap();
    let mut recording = db.record().unwrap();
    let mut rows: Vec<Row> = (0..3).map(|trial| row(recording.run_id(), trial)).collect();
    rows[1].samples_ns.clear();
    rows[1].derivation.clear();
    rows[1].median_ns = None;
    for row in &rows {
        recording.append(row).unwrap();
    }
    assert_eq!(db.read().unwrap().rows, rows, "while the run lives");
    recording.finish().unwrap();
    assert_eq!(files(directory.path(), "journal").len(), 0);
    assert_eq!(files(directory.path(), "parts").len(), 1);
    let contents = db.read().unwrap();
    assert_eq!(contents.rows, rows, "after it");
    assert!(contents.warnings.is_empty());
    assert_eq!(db.table().unwrap().shape(), (3, Row::COLUMNS.len()));
}

/// The database, opened again until it is as wanted, or for two seconds: a process that another test starts holds a dead
/// run's lock, too, until it has become a program of its own.
fn opened(directory: &Path, wanted: impl Fn(&CostDb) -> bool) -> CostDb {
    let mut db = CostDb::open(directory).unwrap();
    for _ in 0..100 {
        if wanted(&db) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        db = CostDb::open(directory).unwrap();
    }
    db
}

#[test]
fn a_living_runs_journal_is_left_alone_and_a_dead_ones_folded() {
    let directory = tempfile::tempdir().unwrap();
    let db = CostDb::open(directory.path()).unwrap();
    let mut living = db.record().unwrap();
    living.append(&row(living.run_id(), 0)).unwrap();
    let mut dead = db.record().unwrap();
    dead.append(&row(dead.run_id(), 0)).unwrap();
    drop(dead);
    let again = opened(directory.path(), |_| !files(directory.path(), "parts").is_empty());
    assert_eq!((files(directory.path(), "journal").len(), files(directory.path(), "parts").len()), (1, 1));
    living.append(&row(living.run_id(), 1)).unwrap();
    assert_eq!(again.read().unwrap().rows.len(), 3);
}

#[test]
fn a_torn_line_costs_itself_only() {
    let directory = tempfile::tempdir().unwrap();
    let db = CostDb::open(directory.path()).unwrap();
    let mut recording = db.record().unwrap();
    recording.append(&row("run", 0)).unwrap();
    let journal = files(directory.path(), "journal").remove(0);
    let whole = std::fs::read(&journal).unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(&journal).unwrap();
    file.write_all(&whole[..whole.len() / 2]).unwrap();
    let contents = db.read().unwrap();
    assert_eq!((contents.rows.len(), contents.warnings.len()), (1, 1), "{:?}", contents.warnings);
    drop(recording);
    let contents = opened(directory.path(), |db| db.read().unwrap().warnings.is_empty()).read().unwrap();
    assert_eq!((contents.rows.len(), contents.warnings.len()), (1, 0));
}

/// A full disk was called "Invalid thrift: transport error": what cannot be written is said in the system's words, and the
/// journal stays.
#[test]
fn a_part_that_cannot_be_written_leaves_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let db = CostDb::open(directory.path()).unwrap();
    let mut recording = db.record().unwrap();
    recording.append(&row(recording.run_id(), 0)).unwrap();
    let parts = directory.path().join("parts");
    std::fs::remove_dir(&parts).unwrap();
    std::fs::write(&parts, "").unwrap();
    let error = recording.finish().unwrap_err().to_string();
    assert!(error.contains("cannot write") && error.contains("Not a directory"), "{error}");
    assert!(db.probe().is_err());
    std::fs::remove_file(&parts).unwrap();
    let db = opened(directory.path(), |db| db.read().unwrap().rows.len() == 1);
    assert_eq!(db.read().unwrap().rows.len(), 1);
    assert_eq!(files(directory.path(), "journal").len(), 0, "folded");
}

#[test]
fn a_part_and_its_journal_are_not_counted_twice() {
    // A run that died between writing its part and deleting its journal.
    let directory = tempfile::tempdir().unwrap();
    let db = CostDb::open(directory.path()).unwrap();
    let mut recording = db.record().unwrap();
    recording.append(&row(recording.run_id(), 0)).unwrap();
    let journal = files(directory.path(), "journal").remove(0);
    let copy = directory.path().join("copy");
    std::fs::copy(&journal, &copy).unwrap();
    recording.finish().unwrap();
    std::fs::rename(&copy, &journal).unwrap();
    assert_eq!(db.read().unwrap().rows.len(), 1);
    assert_eq!(CostDb::open(directory.path()).unwrap().read().unwrap().rows.len(), 1);
    assert_eq!(files(directory.path(), "journal").len(), 0);
}

#[test]
fn older_parts_read_with_defaults_for_newer_columns() {
    use polars::prelude::{Column, DataFrame};
    let table = DataFrame::new(1, vec![Column::new("run_id".into(), ["old"])]).unwrap();
    let rows = Row::from_table(&table).unwrap();
    assert_eq!(rows, [Row { run_id: "old".to_owned(), ..Row::default() }]);
}

#[test]
fn runs_at_the_same_time_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let db = CostDb::open(directory.path()).unwrap();
                    let mut recording = db.record().unwrap();
                    for trial in 0..20 {
                        recording.append(&row(recording.run_id(), trial)).unwrap();
                        assert!(db.read().unwrap().rows.len() > usize::try_from(trial).unwrap());
                    }
                    recording.finish().unwrap();
                    20
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let contents = CostDb::open(directory.path()).unwrap().read().unwrap();
    assert_eq!(contents.rows.len(), counts.iter().sum::<usize>());
    assert!(contents.warnings.is_empty(), "{:?}", contents.warnings);
}

/// Not a test by itself: what the next one kills.
#[test]
fn victim() {
    let Some(directory) = std::env::args().skip_while(|arg| arg != "--victim").nth(1) else { return };
    let db = CostDb::open(Path::new(&directory)).unwrap();
    let mut recording = db.record().unwrap();
    for trial in 0.. {
        recording.append(&row(recording.run_id(), trial)).unwrap();
        // Renamed, so that whoever reads it while this process is killed sees a whole number.
        let written = Path::new(&directory).join("written");
        std::fs::write(&written, (trial + 1).to_string()).unwrap();
        std::fs::rename(&written, Path::new(&directory).join("acknowledged")).unwrap();
    }
}

#[test]
fn every_row_acknowledged_before_a_kill_is_there_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let acknowledged = directory.path().join("acknowledged");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["victim", "--exact", "--nocapture", "--", "--victim"])
        .arg(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let count = || std::fs::read_to_string(&acknowledged).ok().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    for _ in 0..2000 {
        if count() >= 5 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let promised = count();
    assert!(promised >= 5, "the victim never ran");
    let contents = CostDb::open(directory.path()).unwrap().read().unwrap();
    assert!(contents.rows.len() >= promised, "{} of {promised}", contents.rows.len());
    assert!(contents.rows.iter().enumerate().all(|(at, row)| row.trial == at as u64));
    assert_eq!(files(directory.path(), "journal").len(), 0, "folded at the next open");
}

#[test]
fn the_readme_documents_every_column() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/README.md")).unwrap();
    let documented: Vec<&str> = readme
        .lines()
        .skip_while(|line| !line.starts_with("| column |"))
        .skip(2)
        .map_while(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(documented, Row::COLUMNS);
}
