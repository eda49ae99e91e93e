//! The parent's side of measuring: keeps a worker alive, gives it candidates, and turns whatever happens to it into a
//! [`Trial`].
//!
//! Input: sources, and the data that outputs are compared with. Output: outcomes and raw samples. This is the only
//! module that runs the clock against a candidate; it never reads the text of an error.

use crate::outcome::Outcome;
use crate::worker::disturbance::Disturbance;
use crate::worker::protocol::{
    Argument, Comparison, LONG_CALL_NS, Place, Reply, Request, Sampling, Setup, Source, Wrong, frame_length, send,
};
use moat_optimizer::nest::target::Target;
use moat_optimizer::oracle::interpret::Reference;
use moat_optimizer::value::tensor::Tensor;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To compile one candidate.
    pub compile: Duration,
    /// A call may always take this long.
    pub call: Duration,
    /// A call may take this many times the incumbent's time,
    pub incumbent_factor: f64,
    /// and in warm memory only this many times where the incumbent's is [`LONG_CALL_NS`] or more: noise is small beside
    /// it, and every further second spent on a loser is one less for the next candidate.
    pub long_factor: f64,
    /// The first calls in fresh memory may take so much longer, per byte of it.
    pub touch_per_byte: Duration,
    /// A call may take this long as long as there is no incumbent.
    pub first_call: Duration,
    /// For the worker's own work between messages: reading data, comparing outputs.
    pub bookkeeping: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            compile: Duration::from_secs(20),
            call: Duration::from_millis(50),
            incumbent_factor: 5.0,
            long_factor: 2.0,
            touch_per_byte: Duration::from_nanos(2),
            first_call: Duration::from_secs(120),
            bookkeeping: Duration::from_secs(120),
        }
    }
}

/// How to start and treat workers.
#[derive(Clone, Debug)]
pub struct BenchConfig {
    /// The program and its arguments that make it a worker.
    pub command: Vec<PathBuf>,
    /// Cores to pin it to; empty: none.
    pub cores: Vec<usize>,
    /// Limit of its address space.
    pub memory_bytes: Option<u64>,
    /// The machine to compile for.
    pub target: Target,
    /// Time limits.
    pub limits: Limits,
}

/// One set of inputs with what comes of it.
#[derive(Clone, Debug)]
pub struct InputSet {
    /// One for each parameter.
    pub inputs: Vec<Tensor>,
    /// One for each output.
    pub references: Vec<Reference>,
}

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Its end.
    pub outcome: Outcome,
    /// What went wrong, for people.
    pub detail: String,
    /// Times for one call, in the order taken.
    pub samples_ns: Vec<f64>,
    /// What other work did while they were taken.
    pub disturbance: Disturbance,
    /// The largest error as a fraction of its bound.
    pub error_fraction: Option<f64>,
    /// Time to compile.
    pub compile_ns: Option<f64>,
    /// Scratch memory.
    pub workspace_bytes: usize,
}

impl Trial {
    /// A trial that ended before it was measured.
    pub fn failed(outcome: Outcome, detail: impl Into<String>) -> Trial {
        Trial {
            outcome,
            detail: detail.into(),
            samples_ns: Vec::new(),
            disturbance: Disturbance::default(),
            error_fraction: None,
            compile_ns: None,
            workspace_bytes: 0,
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Loss {
    Interrupted,
    Died { in_call: bool, how: String },
    Late { in_call: bool },
    Broken(io::Error),
}

/// A place to measure candidates of one workload.
#[derive(Debug)]
pub struct Bench {
    config: BenchConfig,
    setup: Setup,
    /// Kept open for the workers that come.
    _data: InputData,
    worker: Option<Worker>,
    next_id: u64,
}

impl Bench {
    /// A bench for kernels with `arguments` on this data; the first worker is started when it is needed.
    pub fn new(config: BenchConfig, arguments: Vec<Argument>, data: InputData) -> Bench {
        let setup = Setup {
            arguments,
            sets: data.places.clone(),
            data: data.path.clone(),
            cores: config.cores.clone(),
            memory_bytes: config.memory_bytes,
            target: config.target.clone(),
        };
        Bench { config, setup, _data: data, worker: None, next_id: 0 }
    }

    /// Compiles, checks and times one candidate; `None` if `interrupt` was raised meanwhile.
    pub fn trial(
        &mut self,
        source: Source,
        incumbent_ns: Option<f64>,
        sampling: &Sampling,
        interrupt: &AtomicBool,
    ) -> Option<Trial> {
        let mut trial = Trial::failed(Outcome::WorkerLost, String::new());
        let end = self.try_trial(source, incumbent_ns, sampling, interrupt, &mut trial);
        match end {
            Ok(()) => {}
            Err(Ending::Interrupted) => {
                self.stop();
                return None;
            }
            Err(Ending::Outcome { outcome, detail, restart }) => {
                if restart {
                    self.stop();
                }
                trial.outcome = outcome;
                trial.detail = detail;
            }
        }
        Some(trial)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`unexpected` names every reply")]
    fn try_trial(
        &mut self,
        source: Source,
        incumbent_ns: Option<f64>,
        sampling: &Sampling,
        interrupt: &AtomicBool,
        trial: &mut Trial,
    ) -> Result<(), Ending> {
        let limits = &self.config.limits;
        let long = incumbent_ns.is_some_and(|ns| ns >= LONG_CALL_NS);
        let warm = self.call_limit(incumbent_ns, if long { limits.long_factor } else { limits.incumbent_factor });
        let fresh = self.call_limit(incumbent_ns, limits.incumbent_factor);
        let id = self.compile(source, interrupt, trial)?;
        let touch = self.touch(trial.workspace_bytes);
        // Calls in fresh memory, between guard pages, say whether the result is right, and nothing about its time.
        match self.ask(&Request::Check { id }, fresh + touch, interrupt)? {
            Reply::Correct { error_fraction } => trial.error_fraction = Some(error_fraction),
            other => return Err(unexpected(other)),
        }
        match self.ask(&Request::Time { id, sampling: *sampling }, warm + touch, interrupt)? {
            Reply::Samples(samples, disturbance) if !samples.is_empty() => {
                (trial.samples_ns, trial.disturbance) = (samples, disturbance);
            }
            other => return Err(unexpected(other)),
        }
        let call = warm;
        trial.outcome = Outcome::Measured;
        // The measurement stands, whatever becomes of the worker now.
        if self.ask(&Request::Drop { id }, call, interrupt).is_err() {
            self.stop();
        }
        Ok(())
    }

    /// Times several candidates in interleaved rounds, in one process with all of them loaded, their arguments at several
    /// distances from a cache line; and after other work.
    ///
    /// # Errors
    /// With the failure of the one that could not be compiled, or answered wrongly; `Ok(None)` if interrupted.
    #[expect(clippy::wildcard_enum_match_arm, reason = "`unexpected` names every reply")]
    pub fn compare(
        &mut self,
        sources: &[Source],
        rounds: usize,
        batch_ns: f64,
        slowest_ns: f64,
        interrupt: &AtomicBool,
    ) -> Result<Option<Comparison>, Box<Trial>> {
        let call = self.call_limit(Some(slowest_ns), self.config.limits.incumbent_factor) + self.touch(0);
        let mut attempt = || -> Result<Comparison, Ending> {
            let mut ids = Vec::with_capacity(sources.len());
            for source in sources {
                let mut ignored = Trial::failed(Outcome::WorkerLost, String::new());
                ids.push(self.compile(source.clone(), interrupt, &mut ignored)?);
            }
            let request = Request::Compare { ids: ids.clone(), rounds, batch_ns };
            let comparison = match self.ask(&request, call, interrupt)? {
                Reply::Compared(comparison) if comparison.rounds.len() == ids.len() => comparison,
                other => return Err(unexpected(other)),
            };
            for id in ids {
                self.ask(&Request::Drop { id }, call, interrupt)?;
            }
            Ok(comparison)
        };
        match attempt() {
            Ok(comparison) => Ok(Some(comparison)),
            Err(Ending::Interrupted) => {
                self.stop();
                Ok(None)
            }
            Err(Ending::Outcome { outcome, detail, .. }) => {
                self.stop();
                Err(Box::new(Trial::failed(outcome, detail)))
            }
        }
    }

    /// Ends the worker, if there is one.
    pub fn stop(&mut self) {
        self.worker = None;
    }

    /// What the first touch of all that a kernel reads and writes may take.
    fn touch(&self, workspace_bytes: usize) -> Duration {
        let bytes = self.setup.arguments.iter().map(Argument::bytes).fold(workspace_bytes, usize::saturating_add);
        self.config.limits.touch_per_byte.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    fn call_limit(&self, incumbent_ns: Option<f64>, factor: f64) -> Duration {
        let limits = &self.config.limits;
        match incumbent_ns {
            Some(ns) => limits.call.max(Duration::from_secs_f64(ns * factor / 1e9)),
            None => limits.first_call,
        }
    }

    fn compile(&mut self, source: Source, interrupt: &AtomicBool, trial: &mut Trial) -> Result<u64, Ending> {
        let limit = self.config.limits.compile;
        let id = self.next_id;
        self.next_id += 1;
        let worker = self.worker(interrupt)?;
        let lost = |outcome, detail| Ending::Outcome { outcome, detail, restart: true };
        match worker.exchange(&Request::Compile { id, source }, limit, limit, interrupt) {
            Ok(Reply::Compiled { compile_ns, workspace_bytes }) => {
                trial.compile_ns = Some(compile_ns);
                trial.workspace_bytes = workspace_bytes;
                Ok(id)
            }
            Ok(Reply::Refused { message }) => {
                Err(Ending::Outcome { outcome: Outcome::CompileFailed, detail: message, restart: false })
            }
            Ok(other) => Err(unexpected(other)),
            Err(Loss::Interrupted) => Err(Ending::Interrupted),
            Err(Loss::Died { how, .. }) => Err(lost(Outcome::CompileFailed, format!("the compiler {how}"))),
            Err(Loss::Late { .. }) => {
                Err(lost(Outcome::TimedOut, format!("compiling took longer than {} s", limit.as_secs_f64())))
            }
            Err(Loss::Broken(error)) => Err(lost(Outcome::WorkerLost, error.to_string())),
        }
    }

    /// Sends a request about a kernel that is loaded.
    fn ask(&mut self, request: &Request, call: Duration, interrupt: &AtomicBool) -> Result<Reply, Ending> {
        let bookkeeping = self.config.limits.bookkeeping;
        let worker = self.worker(interrupt)?;
        let lost = |outcome, detail| Err(Ending::Outcome { outcome, detail, restart: true });
        match worker.exchange(request, bookkeeping, call, interrupt) {
            Ok(reply) => Ok(reply),
            Err(Loss::Interrupted) => Err(Ending::Interrupted),
            // Even between calls: the candidate has run in this process and may have left it damaged.
            Err(Loss::Died { how, in_call: true }) => lost(Outcome::Crashed, format!("the kernel {how}")),
            Err(Loss::Died { how, in_call: false }) => {
                lost(Outcome::Crashed, format!("after a call, the worker {how}"))
            }
            Err(Loss::Late { in_call: true }) => {
                lost(Outcome::TimedOut, format!("a call took longer than {:.0} ms", call.as_secs_f64() * 1e3))
            }
            Err(Loss::Late { in_call: false }) => lost(Outcome::WorkerLost, "the worker stopped answering".to_owned()),
            Err(Loss::Broken(error)) => lost(Outcome::WorkerLost, error.to_string()),
        }
    }

    fn worker(&mut self, interrupt: &AtomicBool) -> Result<&mut Worker, Ending> {
        let started = match self.worker.take() {
            Some(worker) => worker,
            None => {
                let lost = |detail| Ending::Outcome { outcome: Outcome::WorkerLost, detail, restart: true };
                let mut worker = Worker::spawn(&self.config.command)
                    .map_err(|error| lost(format!("cannot start a worker: {error}")))?;
                let limit = self.config.limits.bookkeeping;
                let request = Request::Prepare(Box::new(self.setup.clone()));
                match worker.exchange(&request, limit, limit, interrupt) {
                    Ok(Reply::Ready) => worker,
                    Ok(Reply::Failed { message }) => return Err(lost(format!("the worker: {message}"))),
                    Ok(other) => return Err(unexpected(other)),
                    Err(Loss::Interrupted) => return Err(Ending::Interrupted),
                    Err(Loss::Died { how, .. }) => return Err(lost(format!("the worker {how} at its start"))),
                    Err(Loss::Late { .. }) => return Err(lost("the worker does not start".to_owned())),
                    Err(Loss::Broken(error)) => return Err(lost(format!("the worker: {error}"))),
                }
            }
        };
        Ok(self.worker.insert(started))
    }
}

/// How a trial ends before it is measured.
enum Ending {
    Interrupted,
    Outcome { outcome: Outcome, detail: String, restart: bool },
}

fn unexpected(reply: Reply) -> Ending {
    let (outcome, detail) = match reply {
        Reply::Wrong(wrong) => (Outcome::WrongResult, describe(&wrong)),
        Reply::Failed { message } => (Outcome::WorkerLost, message),
        Reply::Refused { message } => (Outcome::CompileFailed, message),
        Reply::Ready
        | Reply::Calling { .. }
        | Reply::Called
        | Reply::Compiled { .. }
        | Reply::Correct { .. }
        | Reply::Samples(..)
        | Reply::Compared(_) => (Outcome::WorkerLost, "the worker answered out of turn".to_owned()),
    };
    // A kernel that wrote where it should not may have damaged the worker's own memory.
    Ending::Outcome { outcome, detail, restart: true }
}

fn describe(wrong: &Wrong) -> String {
    match wrong {
        Wrong::Element { output, set, mismatch, .. } => format!("`{output}`, input set {set}: {mismatch}"),
        Wrong::Status { status, .. } => format!("the kernel returned status {status}"),
        Wrong::Stray { buffer, set, .. } => format!("memory around `{buffer}` was written, input set {set}"),
    }
}

/// A living worker process.
#[derive(Debug)]
struct Worker {
    child: Child,
    inbox: Vec<u8>,
}

impl Worker {
    fn spawn(command: &[PathBuf]) -> io::Result<Worker> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no worker command"))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What LLVM prints before it aborts is of no use to the person who tunes.
            .stderr(Stdio::null())
            // A Ctrl-C is for the parent, which ends the worker itself.
            .process_group(0)
            .spawn()?;
        Ok(Worker { child, inbox: Vec::new() })
    }

    /// Sends a request and waits for its answer. `own` limits each piece of the worker's own work, `call` the
    /// candidate's.
    fn exchange(
        &mut self,
        request: &Request,
        own: Duration,
        call: Duration,
        interrupt: &AtomicBool,
    ) -> Result<Reply, Loss> {
        let stdin = self.child.stdin.as_mut().ok_or_else(|| Loss::Broken(io::ErrorKind::BrokenPipe.into()))?;
        if send(stdin, request).is_err() {
            return Err(Loss::Died { in_call: false, how: self.cause_of_death() });
        }
        let mut deadline = Instant::now() + own;
        let mut in_call = false;
        loop {
            let reply = match self.next_reply(deadline, interrupt) {
                Ok(reply) => reply,
                Err(Stop::Interrupted) => return Err(Loss::Interrupted),
                Err(Stop::Deadline) => return Err(Loss::Late { in_call }),
                Err(Stop::Closed) => return Err(Loss::Died { in_call, how: self.cause_of_death() }),
                Err(Stop::Broken(error)) => return Err(Loss::Broken(error)),
            };
            match reply {
                Reply::Calling { expected_ns } => {
                    in_call = true;
                    // A batch of calls: what it should take, generously, but never without limit.
                    let batch = Duration::from_secs_f64((5.0 * expected_ns / 1e9).clamp(0.0, 3600.0));
                    deadline = Instant::now() + call + batch;
                }
                Reply::Called => {
                    in_call = false;
                    deadline = Instant::now() + own;
                }
                Reply::Ready
                | Reply::Compiled { .. }
                | Reply::Refused { .. }
                | Reply::Correct { .. }
                | Reply::Wrong(_)
                | Reply::Samples(..)
                | Reply::Compared(_)
                | Reply::Failed { .. } => return Ok(reply),
            }
        }
    }

    fn next_reply(&mut self, deadline: Instant, interrupt: &AtomicBool) -> Result<Reply, Stop> {
        loop {
            if let Some((header, rest)) = self.inbox.split_first_chunk::<4>() {
                let length = frame_length(*header).map_err(Stop::Broken)?;
                if rest.len() >= length {
                    let reply = serde_json::from_slice(&rest[..length]);
                    self.inbox.drain(..4 + length);
                    return reply.map_err(|error| Stop::Broken(error.into()));
                }
            }
            if interrupt.load(Ordering::Relaxed) {
                return Err(Stop::Interrupted);
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return Err(Stop::Deadline) };
            let stdout = self.child.stdout.as_mut().ok_or_else(|| Stop::Broken(io::ErrorKind::BrokenPipe.into()))?;
            let slice = left.min(Duration::from_millis(50)) + Duration::from_millis(1);
            let timeout = PollTimeout::try_from(slice).unwrap_or(PollTimeout::ZERO);
            let ready = poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)], timeout);
            match ready {
                Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(Stop::Broken(error.into())),
            }
            let mut chunk = [0_u8; 1 << 16];
            match stdout.read(&mut chunk) {
                Ok(0) => return Err(Stop::Closed),
                Ok(count) => self.inbox.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Stop::Broken(error)),
            }
        }
    }

    /// Waits for a process whose stream has ended.
    fn cause_of_death(&mut self) -> String {
        let patience = Instant::now() + Duration::from_secs(2);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return describe_exit(status),
                Ok(None) if Instant::now() < patience => std::thread::sleep(Duration::from_millis(1)),
                Ok(None) => return "closed its stream".to_owned(),
                Err(error) => return format!("cannot be waited for: {error}"),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails only if it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

enum Stop {
    Interrupted,
    Deadline,
    Closed,
    Broken(io::Error),
}

fn describe_exit(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(number), _) => {
            let name = nix::sys::signal::Signal::try_from(number).map(|signal| signal.as_str());
            format!("was killed by {}", name.unwrap_or("an unknown signal"))
        }
        (None, Some(code)) => format!("exited with status {code}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Inputs and references, one set after the other in a file that workers read under a path; it is gone with this
/// process.
#[derive(Debug)]
pub struct InputData {
    path: PathBuf,
    file: File,
    _temporary: Option<tempfile::TempPath>,
    end: u64,
    places: Vec<Vec<Place>>,
}

impl InputData {
    /// No sets yet.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn new() -> io::Result<InputData> {
        let (path, file, temporary) = create()?;
        Ok(InputData { path, file, _temporary: temporary, end: 0, places: Vec::new() })
    }

    /// Adds a set.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn push(&mut self, set: InputSet) -> io::Result<()> {
        let mut places = Vec::new();
        // Each array goes when it is written: the file is in memory, too.
        for tensor in set.inputs {
            places.push(Place::Input(self.append(&tensor.to_bytes())?));
        }
        for Reference { value, wide, bound } in set.references {
            let value = self.append(&value.to_bytes())?;
            let wide = self.append_floats(wide)?;
            places.push(Place::Reference { value, wide, bound: self.append_floats(bound)? });
        }
        self.places.push(places);
        Ok(())
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.end
    }

    fn append_floats(&mut self, values: Vec<f64>) -> io::Result<Option<u64>> {
        if values.is_empty() {
            return Ok(None);
        }
        let begin = self.end;
        for piece in values.chunks(1 << 16) {
            let bytes: Vec<u8> = piece.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.append(&bytes)?;
        }
        Ok(Some(begin))
    }

    /// Answers where.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let begin = self.end;
        self.file.write_all(bytes)?;
        self.end += bytes.len() as u64;
        Ok(begin)
    }
}

/// A file in memory: it vanishes even if this process is killed.
#[cfg(target_os = "linux")]
fn create() -> io::Result<(PathBuf, File, Option<tempfile::TempPath>)> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::os::fd::AsRawFd;
    let file = File::from(memfd_create(c"moat-data", MFdFlags::MFD_CLOEXEC)?);
    Ok((PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())), file, None))
}

#[cfg(not(target_os = "linux"))]
fn create() -> io::Result<(PathBuf, File, Option<tempfile::TempPath>)> {
    let (file, path) = tempfile::NamedTempFile::new()?.into_parts();
    Ok((path.to_path_buf(), file, Some(path)))
}
