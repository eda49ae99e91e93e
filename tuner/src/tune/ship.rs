//! What ships, as files.
//!
//! Input: what was measured and is the best. Output: a kernel's folder. Compiling and linking happen on a thread of their
//! own, which nobody waits for after an interrupt: what takes long is made as soon as it is the best, so that at the end
//! nothing is left but to write files.

use super::config::TuneConfig;
use crate::interrupt::Interrupts;
use moat_codegen::abi::Interface;
use moat_codegen::artifact::{self, ArtifactError, Linked};
use moat_codegen::emit::CompileOptions;
use moat_optimizer::form::normal_form::NormalForm;
use moat_optimizer::nest::LoopNest;
use moat_optimizer::program::expr::Program;
use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What takes longer than this is made before the end.
const LONG_NS: f64 = 3e8;
/// Object, assembly and text take so many times what a trial's code took,
const TIMES: f64 = 2.0;
/// and the linker this.
const LINK_NS: f64 = 1e8;
/// How long the end of an interrupted run waits for files that nobody expected to take long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Kernels that are ready to be written, by trial: the default, and the best so far.
#[derive(Debug, Default)]
pub(super) struct Ready {
    kernels: BTreeMap<usize, Linked>,
}

impl Ready {
    /// Makes the files of trial `trial`, which is the best so far, if that will take long. An interrupt ends the wait.
    ///
    /// # Errors
    /// If it cannot be compiled or linked.
    pub(super) fn prepare(
        &mut self,
        trial: usize,
        compile_ns: Option<f64>,
        kernel: &Shipment<'_>,
        interrupts: &Interrupts,
    ) -> Result<(), ArtifactError> {
        if !takes_long(compile_ns) {
            return Ok(());
        }
        if let Some(linked) = kernel.linked(interrupts, Duration::ZERO)? {
            self.kernels.retain(|&known, _| known == 0);
            self.kernels.insert(trial, linked);
        }
        Ok(())
    }

    /// Whether the files of a trial are there at once, or nearly.
    pub(super) fn is_soon(&self, trial: usize, compile_ns: Option<f64>) -> bool {
        self.kernels.contains_key(&trial) || !takes_long(compile_ns)
    }

    /// The files of a trial: those that are ready, or made now; `None` if an interrupt has ended the wait for them.
    ///
    /// # Errors
    /// If it cannot be compiled or linked.
    pub(super) fn take(
        &mut self,
        trial: usize,
        kernel: &Shipment<'_>,
        interrupts: &Interrupts,
    ) -> Result<Option<Linked>, ArtifactError> {
        match self.kernels.remove(&trial) {
            Some(linked) => Ok(Some(linked)),
            None => kernel.linked(interrupts, PATIENCE),
        }
    }
}

fn takes_long(compile_ns: Option<f64>) -> bool {
    compile_ns.is_some_and(|ns| TIMES * ns + LINK_NS > LONG_NS)
}

/// A kernel to be compiled with its interface.
pub(super) struct Shipment<'a> {
    pub(super) program: &'a Program,
    pub(super) form: &'a NormalForm,
    pub(super) nest: &'a LoopNest,
    pub(super) config: &'a TuneConfig,
}

impl Shipment<'_> {
    /// Compiled and linked; `None` if the run was stopped and it then took longer than `patience`.
    fn linked(&self, interrupts: &Interrupts, patience: Duration) -> Result<Option<Linked>, ArtifactError> {
        let options = CompileOptions {
            target: self.config.target.clone(),
            numerics: self.config.numerics,
            threads: self.config.threads,
            function: self.program.name.clone(),
        };
        let interface = Interface::new(self.program, self.form);
        let (nest, stem) = (self.nest.clone(), self.config.stem.clone());
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let made = artifact::compile(&nest, &interface, &options).and_then(|made| artifact::link(&stem, made));
            // Nobody listens any more after an interrupt.
            let _ = sender.send(made);
        });
        let mut stopped: Option<Instant> = None;
        loop {
            match receiver.recv_timeout(Duration::from_millis(20)) {
                Ok(made) => return made.map(Some),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if interrupts.stopped() && stopped.get_or_insert_with(Instant::now).elapsed() >= patience {
                return Ok(None);
            }
        }
    }
}
