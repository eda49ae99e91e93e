//! How the worker times kernels: on memory that was used before, with arguments where NumPy's lie.
//!
//! Arguments begin past a cache line ([`OFFSETS`]); what a vector loses that crosses lines is part of a kernel's time. A
//! sample is a batch of calls, and one during which a core was taken away is repeated, a bounded number of times. What is
//! timed was checked before, and its outputs are looked at once more.

use super::call::{Call, Fault, run};
use super::disturbance::{Disturbance, Moment, Watch};
use super::guard::{Align, Guarded};
use super::protocol::{Comparison, LONG_CALL_NS, OFFSETS, Reply, Sampling, send};
use super::session::{POISON, Session};
use std::io::{self, Write};

/// Calls of each kernel after other work, at most.
const COLD_CALLS: usize = 5;
/// They take no longer than this for one kernel, one call excepted.
const COLD_NS: f64 = 2e8;
/// Other work is memory of so many times the caches,
const CACHES: usize = 2;
/// and no more than this.
const LARGEST_WORK_BYTES: usize = 256 << 20;

/// Memory in which kernels are timed.
pub(super) struct Timing {
    pub(super) buffers: Vec<Guarded>,
    /// Where they begin, in bytes past a cache line.
    pub(super) offset: usize,
    /// No kernel has run in it.
    pub(super) fresh: bool,
}

/// Samples that may be repeated, and those that were.
struct Repeats {
    left: usize,
    seen: Disturbance,
}

impl Repeats {
    fn new(left: usize) -> Repeats {
        Repeats { left, seen: Disturbance::default() }
    }

    /// The time of one call in a batch; a disturbed batch is repeated while that is allowed.
    fn sample(&mut self, call: &Call<'_>, calls: u32) -> Result<f64, Fault> {
        self.seen.samples += 1;
        loop {
            let before = Moment::now(call.kernel.threads);
            let sample = run(call, calls)?;
            if !before.is_disturbed() {
                return Ok(sample);
            }
            if self.left == 0 {
                self.seen.disturbed += 1;
                return Ok(sample);
            }
            self.left -= 1;
            self.seen.repeated += 1;
        }
    }
}

impl Session {
    /// Samples of one kernel.
    pub(super) fn time(
        &self,
        id: u64,
        sampling: &Sampling,
        timing: &mut Timing,
        replies: &mut impl Write,
    ) -> Result<Reply, Fault> {
        let watch = Watch::start();
        let fresh = timing.fresh;
        let call = self.call(id, self.kernel(id)?, &timing.buffers, Align::Past(0))?;
        let before = Moment::now(call.kernel.threads);
        let estimate = self.warm_up(&call, timing, sampling.batch_ns, replies)?;
        let calls = batch(estimate, sampling.batch_ns);
        let long = estimate >= LONG_CALL_NS;
        // What warmed up is a sample itself where one call is so long, but not the first call in this memory.
        let mut samples = if long && !fresh && !before.is_disturbed() { vec![estimate] } else { Vec::new() };
        let mut spent = samples.iter().sum::<f64>();
        let (least, doubtful) = if long { (sampling.long_samples, 1) } else { (sampling.min_samples, 3) };
        let mut repeats = Repeats::new(if long { 1 } else { sampling.min_samples });
        while samples.len() < sampling.max_samples && (samples.len() < least || spent < sampling.budget_ns) {
            let hopeless = sampling.hopeless_ns.is_some_and(|limit| samples.iter().all(|&sample| sample > limit));
            if hopeless && samples.len() >= doubtful {
                break;
            }
            // One that is repeated is as long again.
            send(replies, &Reply::Calling { expected_ns: estimate * f64::from(calls) * (repeats.left + 1) as f64 })?;
            let sample = repeats.sample(&call, calls)?;
            samples.push(sample);
            spent += sample * f64::from(calls);
        }
        send(replies, &Reply::Called)?;
        Ok(Reply::Samples(samples, Disturbance { other_cores: watch.other_cores(), ..repeats.seen }))
    }

    /// Calls until caches and predictors have settled, or once where that is long, checks what was computed into
    /// poisoned outputs, and estimates one call's time.
    fn warm_up(
        &self,
        call: &Call<'_>,
        timing: &mut Timing,
        batch_ns: f64,
        replies: &mut impl Write,
    ) -> Result<f64, Fault> {
        for (argument, buffer) in self.setup.arguments.iter().zip(timing.buffers.iter_mut()) {
            if argument.output {
                buffer.bytes_mut().fill(POISON[0]);
            }
        }
        timing.fresh = false;
        let mut estimate = f64::INFINITY;
        let mut spent = 0.0;
        let mut calls = 0;
        while calls < 1 || (calls < 2 && estimate < LONG_CALL_NS) || (spent < batch_ns && calls < 1000) {
            let expected_ns = if estimate.is_finite() { estimate } else { 0.0 };
            send(replies, &Reply::Calling { expected_ns })?;
            let sample = run(call, 1)?;
            estimate = estimate.min(sample);
            spent += sample;
            calls += 1;
        }
        send(replies, &Reply::Called)?;
        self.compare_outputs(call.id, 0, &timing.buffers)?;
        Ok(estimate)
    }

    /// Interleaved rounds of several kernels, a share of them at each offset, and calls after other work.
    pub(super) fn compare(
        &self,
        ids: &[u64],
        rounds: usize,
        batch_ns: f64,
        timing: &mut Timing,
        replies: &mut impl Write,
    ) -> Result<Reply, Fault> {
        let watch = Watch::start();
        let mut found = Comparison { rounds: vec![Vec::with_capacity(rounds); ids.len()], ..Comparison::default() };
        let mut repeats = Repeats::new(rounds * ids.len() / 2);
        for (part, &offset) in OFFSETS.iter().enumerate() {
            // Where they cannot be shared evenly, the last offset has more.
            let share = rounds * (part + 1) / OFFSETS.len() - rounds * part / OFFSETS.len();
            if share == 0 && part + 1 < OFFSETS.len() {
                continue;
            }
            self.place(timing, offset)?;
            let mut entries = Vec::with_capacity(ids.len());
            let mut had_turns = Vec::with_capacity(ids.len());
            for (at, &id) in ids.iter().enumerate() {
                let call = self.call(id, self.kernel(id)?, &timing.buffers, Align::Past(0))?;
                let fresh = timing.fresh;
                let estimate = self.warm_up(&call, timing, batch_ns, replies)?;
                // Warming up was this one's turn in the first round, if nothing but its length speaks for that.
                let had_its_turn = estimate >= LONG_CALL_NS && share > 0 && !fresh;
                if had_its_turn {
                    found.rounds[at].push(estimate);
                    repeats.seen.samples += 1;
                }
                had_turns.push(had_its_turn);
                entries.push((call, estimate));
            }
            for round in 0..share {
                found.offsets.push(offset);
                for turn in 0..entries.len() {
                    let at = (round + turn) % entries.len();
                    let (call, estimate) = &entries[at];
                    if round == 0 && had_turns[at] {
                        continue;
                    }
                    let calls = batch(*estimate, batch_ns);
                    let times = f64::from(calls) * (repeats.left.min(3) + 1) as f64 + 1.0;
                    send(replies, &Reply::Calling { expected_ns: estimate * times })?;
                    // The predecessor left its own data in the caches: one call is not counted, unless a call is so
                    // long that this is in the noise.
                    if *estimate < 10.0 * batch_ns {
                        run(call, 1)?;
                    }
                    found.rounds[at].push(repeats.sample(call, calls)?);
                }
            }
            send(replies, &Reply::Called)?;
            if part + 1 == OFFSETS.len() {
                found.cold_ns = self.cold(&entries, replies)?;
            }
        }
        found.disturbance = Disturbance { other_cores: watch.other_cores(), ..repeats.seen };
        Ok(Reply::Compared(found))
    }

    /// Times of single calls, each after work on so much other memory that nothing of the arguments is in a cache.
    fn cold(&self, entries: &[(Call<'_>, f64)], replies: &mut impl Write) -> Result<Vec<Vec<f64>>, Fault> {
        let caches = self.setup.target.cache_bytes.iter().copied().max().unwrap_or(0);
        let mut other = vec![0_u8; (CACHES * caches).clamp(1, LARGEST_WORK_BYTES)];
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); entries.len()];
        for round in 0..COLD_CALLS {
            for ((call, estimate), times) in entries.iter().zip(&mut times) {
                if round as f64 * estimate > COLD_NS {
                    continue;
                }
                for byte in other.iter_mut().step_by(64) {
                    *byte = byte.wrapping_add(1);
                }
                // Keeps the work from being taken for nothing.
                std::hint::black_box(&other);
                send(replies, &Reply::Calling { expected_ns: *estimate })?;
                let before = Moment::now(call.kernel.threads);
                let sample = run(call, 1)?;
                if times.is_empty() || !before.is_disturbed() {
                    times.push(sample);
                }
                send(replies, &Reply::Called)?;
            }
        }
        Ok(times)
    }

    /// Memory for the arguments at a distance from a cache line, with the inputs in it.
    pub(super) fn placed(&self, offset: usize) -> io::Result<Timing> {
        let arguments = self.setup.arguments.iter();
        let buffers = arguments.map(|argument| Guarded::new(argument.bytes(), Align::Past(offset)));
        let mut timing = Timing { buffers: buffers.collect::<io::Result<_>>()?, offset, fresh: true };
        self.fill(0, &mut timing.buffers)?;
        Ok(timing)
    }

    /// Other memory, at another distance from a cache line. Which pages an array has changes its time by some hundredths:
    /// so a comparison sees several.
    fn place(&self, timing: &mut Timing, offset: usize) -> io::Result<()> {
        if timing.offset != offset {
            timing.buffers.clear();
            *timing = self.placed(offset)?;
        }
        Ok(())
    }
}

/// Calls so often that a sample takes `batch_ns`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1 ..= 1e6")]
fn batch(estimate_ns: f64, batch_ns: f64) -> u32 {
    (batch_ns / estimate_ns.max(1.0)).ceil().clamp(1.0, 1e6) as u32
}
