//! What a person sees while a run goes on, on stderr: one line that is redrawn in a terminal, or a line now and then
//! where stderr is no terminal.

use super::text::{percent, seconds, time};
use crate::tune::{Observer, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Without a terminal, a line for every so many trials.
const EVERY: usize = 8;

/// An [`Observer`] on stderr.
pub(super) struct Stderr {
    bar: ProgressBar,
    terminal: bool,
}

impl Stderr {
    pub(super) fn new() -> Stderr {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        // `wide_msg` cuts the text at the terminal's width, however narrow.
        if let Ok(style) = ProgressStyle::with_template("{wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_secs(1));
        Stderr { bar, terminal }
    }

    fn line(&self, text: &str) {
        if !self.terminal {
            // Progress that cannot be shown is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

/// Says in a terminal, and only there, what is being done, until it is dropped.
pub(super) struct Busy(Stderr);

impl Busy {
    pub(super) fn with(what: &str) -> Busy {
        let shown = Stderr::new();
        shown.bar.set_message(what.to_owned());
        Busy(shown)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.bar.finish_and_clear();
    }
}

impl Observer for Stderr {
    fn phase(&mut self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.line(what);
    }

    fn note(&mut self, what: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(std::io::stderr(), "note: {what}");
        });
    }

    fn trial(&mut self, progress: &Progress) {
        let text = line(progress);
        self.bar.set_message(text.clone());
        if progress.done == 1 || progress.done.is_multiple_of(EVERY) || progress.done == progress.trials {
            self.line(&text);
        }
    }

    fn finished(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// `12/64 9.21 ms 118 GFLOP/s 78% 42 s left`: the most important first, forty columns wide.
fn line(progress: &Progress) -> String {
    let mut text = format!("{}/{}", progress.done, progress.trials);
    match &progress.best {
        Some((ns, work, roof)) => {
            let rate = roof.rate(*work, *ns);
            text += &format!(" {} {:.3} {}", time(*ns), Significant(rate.value), rate.unit);
            if let Some(fraction) = roof.fraction(*work, *ns) {
                text += &format!(" {}", percent(fraction));
            }
        }
        None => text += &format!(" none yet ({})", progress.outcome),
    }
    if progress.done < progress.trials {
        let by_trials = progress.elapsed.as_secs_f64() / progress.done.max(1) as f64;
        let left = by_trials * (progress.trials - progress.done) as f64;
        let left = progress.left.map_or(left, |limit| left.min(limit.as_secs_f64()));
        text += &format!(" {} left", seconds(left));
    }
    text
}

/// A number with three significant digits.
struct Significant(f64);

impl std::fmt::Display for Significant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&super::text::significant(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::outcome::Outcome;
    use crate::tune::Progress;
    use std::time::Duration;

    #[test]
    fn a_line_fits_a_narrow_terminal() {
        let progress = Progress {
            done: 0,
            trials: 64,
            elapsed: Duration::from_secs(1),
            left: None,
            outcome: Outcome::CompileFailed,
            best: None,
        };
        assert_eq!(line(&Progress { done: 64, ..progress.clone() }), "64/64 none yet (compile_failed)");
        assert!(line(&progress).starts_with("0/64 none yet"));
    }
}
