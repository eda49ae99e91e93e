//! What ends a run early, a person or the time that it was given, heard in every stage.
//!
//! [`Interrupts`] is shared by the run and by who watches it. The run says in which stage it is, and when there is a
//! kernel. A stage that can end looks at the flags; one that cannot (a rule on a large graph, a library's call) comes
//! before the first kernel, when nothing but what is on the disk is worth keeping: there [`watch`] ends the process. After
//! the first kernel every wait is a short one, and the run ends by itself, with the best that it has.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a stage may take to end by itself.
const GRACE: Duration = Duration::from_millis(250);
/// Of the time that a run was given, what deriving may take.
const DERIVING: f64 = 0.25;
/// The same for everything up to the last trial; the rest is for the final comparison.
const TRIALS: f64 = 0.9;

/// What ends a run early.
#[derive(Debug)]
pub struct Interrupts {
    /// End early: no more trials.
    pub stop: AtomicBool,
    /// No comparison either: what ships is decided from the trials as they are.
    pub abandon: AtomicBool,
    begin: Instant,
    limit: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stage: String,
    /// There is a kernel: the run ends by itself.
    kernel: bool,
    finished: bool,
    /// Since when a person waits.
    person: Option<Duration>,
}

impl Default for Interrupts {
    fn default() -> Interrupts {
        Interrupts::new(None)
    }
}

impl Interrupts {
    /// For a run that begins now and may take so long.
    pub fn new(limit: Option<Duration>) -> Interrupts {
        Interrupts {
            stop: AtomicBool::new(false),
            abandon: AtomicBool::new(false),
            begin: Instant::now(),
            limit,
            state: Mutex::new(State { stage: "reading the program".to_owned(), ..State::default() }),
        }
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// What is left of the time for all; `None` if there is no limit.
    pub fn left(&self) -> Option<Duration> {
        Some(self.limit?.saturating_sub(self.elapsed()))
    }

    /// The time for everything up to the last trial.
    pub fn trials_limit(&self) -> Option<Duration> {
        Some(self.limit?.mul_f64(TRIALS))
    }

    /// Whether to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether deriving has to do with what it has.
    pub fn deriving_is_over(&self) -> bool {
        self.stopped() || self.limit.is_some_and(|limit| self.elapsed() >= limit.mul_f64(DERIVING))
    }

    /// Whether a person asked for the end.
    pub fn by_a_person(&self) -> bool {
        self.state().person.is_some()
    }

    /// Why the run ends without a kernel, as [`watch`] would say it.
    pub fn reason(&self) -> Word {
        let state = self.state();
        match self.limit {
            Some(limit) if state.person.is_none() => Word::TimeOver(state.stage.clone(), limit),
            Some(_) | None => Word::Nothing(state.stage.clone()),
        }
    }

    /// A stage begins; said in messages.
    pub fn enter(&self, stage: &str) {
        stage.clone_into(&mut self.state().stage);
    }

    /// There is a kernel now, and something to write at the end.
    pub fn has_kernel(&self) {
        self.state().kernel = true;
    }

    /// Everything is written: whoever interrupts comes too late.
    pub fn finish(&self) {
        self.state().finished = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked left a state that says where.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a watcher says to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The run ends by itself: it is in this stage, and writes the best kernel.
    Ending(String),
    /// The process has to end now, in this stage, before there is a kernel: a person asked for it.
    Nothing(String),
    /// The same: its time is over.
    TimeOver(String, Duration),
    /// A person asked twice.
    Twice(String),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nothing = "before the first kernel was measured; nothing was tuned";
        match self {
            Word::Ending(stage) => write!(f, "interrupted while {stage}; again to leave at once"),
            Word::Nothing(stage) => write!(f, "interrupted while {stage}, {nothing}"),
            Word::TimeOver(stage, limit) => write!(
                f,
                "--time {} was over while {stage}, {nothing}\nhelp: give more time, or smaller extents with --let",
                limit.as_secs_f64()
            ),
            Word::Twice(stage) => write!(f, "left while {stage}"),
        }
    }
}

/// Watches a run. Each of `requests` is a person's wish that it ends; it lasts as long as there may be more. `say` gets
/// every [`Word`], and must end the process on all but the first kind; the run waits meanwhile.
pub fn watch(interrupts: &Interrupts, requests: Receiver<()>, mut say: impl FnMut(Word)) {
    loop {
        let watched = interrupts.limit.is_some() || interrupts.by_a_person();
        let wait = if watched { Duration::from_millis(50) } else { Duration::from_secs(3600) };
        let asked = match requests.recv_timeout(wait) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut state = interrupts.state();
        if state.finished {
            continue;
        }
        let now = interrupts.elapsed();
        if asked {
            interrupts.stop.store(true, Ordering::Relaxed);
            interrupts.abandon.store(true, Ordering::Relaxed);
            if state.person.replace(now).is_some() {
                say(Word::Twice(state.stage.clone()));
            } else if state.kernel {
                say(Word::Ending(state.stage.clone()));
            }
        }
        if let (Some(since), false) = (state.person, state.kernel)
            && now.saturating_sub(since) >= GRACE
        {
            say(Word::Nothing(state.stage.clone()));
        }
        let Some(limit) = interrupts.limit else { continue };
        if state.kernel && now >= limit.mul_f64(TRIALS) {
            interrupts.stop.store(true, Ordering::Relaxed);
        }
        if now >= limit {
            interrupts.stop.store(true, Ordering::Relaxed);
            interrupts.abandon.store(true, Ordering::Relaxed);
        }
        if !state.kernel && now >= limit + GRACE {
            say(Word::TimeOver(state.stage.clone(), limit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Interrupts, Word, watch};
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;
    use std::time::Duration;

    /// What is said in a run that is in a stage, when it is asked so often; the watcher's first farewell ends it.
    fn said(interrupts: &Interrupts, asked: usize) -> Vec<Word> {
        let (sender, receiver) = mpsc::channel();
        let (words, heard) = mpsc::channel();
        for _ in 0..asked {
            sender.send(()).unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(move || watch(interrupts, receiver, move |word| words.send(word).unwrap()));
            let mut all = Vec::new();
            while let Ok(word) = heard.recv_timeout(Duration::from_secs(2)) {
                let last = !matches!(word, Word::Ending(_));
                all.push(word);
                if last {
                    break;
                }
            }
            drop(sender);
            all
        })
    }

    #[test]
    fn a_stage_without_a_kernel_is_ended_and_one_with_a_kernel_ends_itself() {
        let nothing = Interrupts::new(None);
        nothing.enter("deriving");
        assert_eq!(said(&nothing, 1), [Word::Nothing("deriving".to_owned())]);
        assert!(nothing.stopped() && nothing.by_a_person());

        let kernel = Interrupts::new(None);
        kernel.has_kernel();
        kernel.enter("measuring");
        assert_eq!(said(&kernel, 1), [Word::Ending("measuring".to_owned())]);
        assert!(kernel.abandon.load(Ordering::Relaxed));
        assert_eq!(said(&kernel, 1), [Word::Twice("measuring".to_owned())]);
    }

    #[test]
    fn the_time_ends_deriving_then_trials_then_all() {
        let limit = Duration::from_millis(300);
        let run = Interrupts::new(Some(limit));
        run.enter("deriving");
        assert!(!run.deriving_is_over());
        assert_eq!(said(&run, 0), [Word::TimeOver("deriving".to_owned(), limit)]);
        assert!(run.deriving_is_over() && run.stopped() && !run.by_a_person());

        let run = Interrupts::new(Some(limit));
        run.has_kernel();
        assert_eq!(said(&run, 0), []);
        assert!(run.stopped() && run.abandon.load(Ordering::Relaxed), "it ends by itself");
        run.finish();
        assert_eq!(said(&run, 2), [], "too late");
    }
}
