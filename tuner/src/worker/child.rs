//! The worker process: reads requests, answers them, and dies with its candidates or its parent.
//!
//! Its correctness gate: every input set in fresh memory, inputs read-only, outputs and workspace poisoned, each buffer
//! end-aligned to an inaccessible page. Only then is anything timed ([`super::timing`]).

use super::call::{Fault, run};
use super::guard::Align;
use super::protocol::{Reply, Request, Setup, TRIAL_OFFSET, Wrong, receive, send};
use super::session::Session;
use super::timing::Timing;
use moat_codegen::workspace;
use std::io::{self, Read, Write};

/// Serves requests until the stream ends.
///
/// # Errors
/// If a stream breaks or the first request is not `Prepare`.
pub fn serve(requests: &mut impl Read, replies: &mut impl Write) -> io::Result<()> {
    // A parent that dies must not leave a worker in an endless loop; where this cannot be had, the stream's end does
    // for every candidate that returns.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    let setup = match receive::<Request>(requests)? {
        Some(Request::Prepare(setup)) => *setup,
        None => return Ok(()),
        Some(Request::Compile { .. } | Request::Check { .. } | Request::Time { .. })
        | Some(Request::Compare { .. } | Request::Drop { .. }) => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the first request must be Prepare"));
        }
    };
    let mut worker = match Worker::prepare(setup) {
        Ok(worker) => worker,
        Err(error) => return send(replies, &Reply::Failed { message: error.to_string() }),
    };
    send(replies, &Reply::Ready)?;
    while let Some(request) = receive::<Request>(requests)? {
        let reply = worker.answer(request, replies);
        let reply = match reply {
            Ok(reply) => reply,
            Err(Fault::Wrong(wrong)) => Reply::Wrong(wrong),
            Err(Fault::Io(error)) => Reply::Failed { message: error.to_string() },
        };
        send(replies, &reply)?;
    }
    Ok(())
}

/// A worker: what it holds, and the memory that it times kernels in.
struct Worker {
    session: Session,
    /// With the first input set; made at the first use.
    timing: Option<Timing>,
}

impl Worker {
    fn prepare(setup: Setup) -> io::Result<Worker> {
        Ok(Worker { session: Session::prepare(setup)?, timing: None })
    }

    fn answer(&mut self, request: Request, replies: &mut impl Write) -> Result<Reply, Fault> {
        match request {
            Request::Prepare(_) => Ok(Reply::Failed { message: "prepared twice".to_owned() }),
            Request::Compile { id, source } => Ok(self.session.compile(id, &source)),
            Request::Check { id } => self.check(id, replies),
            Request::Time { id, sampling } => {
                let mut timing = self.timing_buffers()?;
                let reply = self.session.time(id, &sampling, &mut timing, replies);
                self.timing = Some(timing);
                reply
            }
            Request::Compare { ids, rounds, batch_ns } => {
                let mut timing = self.timing_buffers()?;
                let reply = self.session.compare(&ids, rounds, batch_ns, &mut timing, replies);
                self.timing = Some(timing);
                reply
            }
            Request::Drop { id } => {
                self.session.drop_kernel(id);
                Ok(Reply::Ready)
            }
        }
    }

    /// Calls a kernel once on every input set, each buffer in guarded memory.
    fn check(&self, id: u64, replies: &mut impl Write) -> Result<Reply, Fault> {
        let session = &self.session;
        let kernel = session.kernel(id)?;
        let mut worst = 0.0_f64;
        for set in 0..session.setup.sets.len() {
            let buffers = session.guarded_buffers(set)?;
            let call = session.call(id, kernel, &buffers, Align::End(workspace::ALIGN))?;
            send(replies, &Reply::Calling { expected_ns: 0.0 })?;
            run(&call, 1)?;
            send(replies, &Reply::Called)?;
            worst = worst.max(session.compare_outputs(id, set, &buffers)?);
            let named = session.setup.arguments.iter().map(|argument| argument.name.as_str()).chain(["workspace"]);
            for (name, buffer) in named.zip(buffers.iter().chain([&call.workspace])) {
                if !buffer.slack_is_intact() {
                    return Err(Wrong::Stray { id, buffer: name.to_owned(), set }.into());
                }
            }
        }
        Ok(Reply::Correct { error_fraction: worst })
    }

    fn timing_buffers(&mut self) -> io::Result<Timing> {
        if let Some(timing) = self.timing.take() {
            return Ok(timing);
        }
        self.session.placed(TRIAL_OFFSET)
    }
}
