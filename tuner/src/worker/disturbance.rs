//! Whether other work disturbed a measurement: what the system says of cores that were taken away.
//!
//! A [`Moment`] before a sample and one after it tell whether this thread ran all the while; a [`Watch`] over a longer
//! time tells how many cores other processes, and the hypervisor, used meanwhile. Where the system does not say, nothing
//! was disturbed. Nothing here knows of kernels.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Of a sample's time, what may pass without its thread running: interrupts.
const IDLE_FRACTION: f64 = 0.02;
/// And so much of it in any case.
const IDLE: Duration = Duration::from_micros(30);
/// With several threads, cores may be taken away once in this time: by the kernel's own threads.
const SWITCH: Duration = Duration::from_millis(10);
/// Other work below this many cores is what an idle machine has.
const IDLE_CORES: f64 = 0.15;
/// A share of disturbed samples that leaves the median of the others what it was.
const FEW: f64 = 0.1;
/// The system counts in hundredths of a second: shorter times say nothing.
const SHORTEST: Duration = Duration::from_millis(200);

/// What other work did while something was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disturbance {
    /// Samples taken.
    pub samples: usize,
    /// Samples that were disturbed and repeated.
    pub repeated: usize,
    /// Samples that were disturbed and stand, for repeating them had its limit.
    pub disturbed: usize,
    /// Cores that other processes and the hypervisor used on average; `None` if the time was too short to say.
    pub other_cores: Option<f64>,
}

impl Disturbance {
    /// Whether the figures are likely to be off.
    pub fn matters(&self) -> bool {
        let many = self.disturbed as f64 > FEW * self.samples as f64;
        many || self.other_cores.is_some_and(|cores| cores > IDLE_CORES)
    }

    /// Less of it than of another.
    pub fn is_less_than(&self, other: &Disturbance) -> bool {
        let weight = |of: &Disturbance| {
            of.disturbed as f64 / of.samples.max(1) as f64 + of.other_cores.map_or(0.0, |cores| cores)
        };
        weight(self) < weight(other)
    }
}

/// The state of this process before a sample.
pub(super) struct Moment {
    threads: usize,
    at: Instant,
    ran: Option<Duration>,
    switches: Option<i64>,
}

impl Moment {
    /// Now, before work on so many threads.
    pub(super) fn now(threads: usize) -> Moment {
        // Threads that wait for each other do not run either: of several, what counts is who was made to stop.
        let (ran, switches) = if threads > 1 { (None, switches()) } else { (thread_time(), None) };
        Moment { threads, ran, switches, at: Instant::now() }
    }

    /// Whether cores were taken away since.
    pub(super) fn is_disturbed(&self) -> bool {
        let elapsed = self.at.elapsed();
        if self.threads > 1 {
            let allowed = elapsed.as_secs_f64() / SWITCH.as_secs_f64();
            return match (self.switches, switches()) {
                (Some(before), Some(after)) => (after - before) as f64 > allowed,
                (None, _) | (_, None) => false,
            };
        }
        match (self.ran, thread_time()) {
            (Some(before), Some(after)) => {
                let stood = elapsed.saturating_sub(after.saturating_sub(before));
                stood > IDLE.max(elapsed.mul_f64(IDLE_FRACTION))
            }
            (None, _) | (_, None) => false,
        }
    }
}

/// Processor time of this thread.
fn thread_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from)
}

/// How often threads of this process were made to stop.
fn switches() -> Option<i64> {
    getrusage(UsageWho::RUSAGE_SELF).ok().map(|usage| usage.involuntary_context_switches())
}

/// Processor time of everybody and of this process, from some time on.
pub(super) struct Watch {
    at: Instant,
    busy: Option<Duration>,
    own: Option<Duration>,
}

impl Watch {
    /// From now on.
    pub(super) fn start() -> Watch {
        Watch { busy: busy_time(), own: own_time(), at: Instant::now() }
    }

    /// Cores that others have used since.
    pub(super) fn other_cores(&self) -> Option<f64> {
        let elapsed = self.at.elapsed();
        if elapsed < SHORTEST {
            return None;
        }
        let busy = busy_time()?.saturating_sub(self.busy?);
        let own = own_time()?.saturating_sub(self.own?);
        Some(busy.saturating_sub(own).as_secs_f64() / elapsed.as_secs_f64())
    }
}

/// Processor time of all processes on all cores, and of those that the hypervisor ran instead.
#[cfg(target_os = "linux")]
fn busy_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks = busy_ticks(&text)?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten()?;
    Some(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

#[cfg(not(target_os = "linux"))]
fn busy_time() -> Option<Duration> {
    None
}

/// Of the first line of `/proc/stat`: user, nice, system, irq, softirq and steal, without idle and iowait.
#[cfg(target_os = "linux")]
fn busy_ticks(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().map(|field| field.parse().ok()).collect::<Option<_>>()?;
    Some([0, 1, 2, 5, 6, 7].iter().filter_map(|&at| fields.get(at)).sum())
}

/// Processor time of this process.
fn own_time() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    u64::try_from(microseconds).ok().map(Duration::from_micros)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{Disturbance, Moment, busy_ticks, busy_time, own_time};
    use std::time::Duration;

    #[test]
    fn idle_time_and_waiting_for_disks_are_no_work() {
        let text = "cpu  10 20 30 1000 2000 1 2 3 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(busy_ticks(text), Some(10 + 20 + 30 + 1 + 2 + 3));
        assert_eq!(busy_ticks("intr 5\n"), None);
    }

    #[test]
    fn a_thread_that_stands_still_is_disturbed() {
        let before = Moment::now(1);
        std::thread::sleep(Duration::from_millis(5));
        assert!(before.is_disturbed());
    }

    #[test]
    fn what_this_process_does_is_among_what_all_do() {
        let (Some(own), busy) = (own_time(), busy_time()) else { return };
        let work = Duration::from_millis(300);
        while own_time().is_some_and(|now| now - own < work) {}
        // The system counts in ticks: one of 10 ms may be missing on each side.
        let all = busy.zip(busy_time()).map(|(before, after)| after - before);
        assert!(all.is_none_or(|all| all + Duration::from_millis(20) >= work), "{all:?}");
    }

    #[test]
    fn a_few_disturbed_samples_do_not_matter() {
        let few = Disturbance { samples: 21, repeated: 4, disturbed: 1, other_cores: Some(0.02) };
        assert!(!few.matters());
        for more in [Disturbance { disturbed: 5, ..few }, Disturbance { other_cores: Some(0.5), ..few }] {
            assert!(more.matters() && few.is_less_than(&more));
        }
    }
}
