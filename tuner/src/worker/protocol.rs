//! The messages between the tuner and its worker: frames of a length (4 bytes, little-endian) and that much JSON.
//!
//! One request is answered by any number of [`Reply::Calling`] and one other reply. Nothing here touches a process.

use super::disturbance::Disturbance;
use moat_optimizer::nest::LoopNest;
use moat_optimizer::nest::target::Target;
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::numerics::Numerics;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// A frame longer than this is a broken peer.
pub const MAX_FRAME_BYTES: usize = 256 << 20;

/// An argument of the kernels: parameters first, then outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Argument {
    /// For messages.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Vec<usize>,
    /// Written by the kernel (and compared), not read.
    pub output: bool,
}

impl Argument {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype.bytes()
    }
}

/// Where one argument's data of one input set lies in the data file, in bytes from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Place {
    /// A parameter's elements.
    Input(u64),
    /// An output's reference, as `moat_optimizer::oracle::interpret::Reference` holds it.
    Reference {
        /// The elements at the output's dtype.
        value: u64,
        /// The elements as f64, if there are any.
        wide: Option<u64>,
        /// The bounds as f64, if there are any.
        bound: Option<u64>,
    },
}

/// Everything that stays the same for all candidates of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The kernels' arguments.
    pub arguments: Vec<Argument>,
    /// For each input set, one place per argument.
    pub sets: Vec<Vec<Place>>,
    /// The data file.
    pub data: PathBuf,
    /// Cores to be pinned to; empty: none.
    pub cores: Vec<usize>,
    /// Limit of the address space; `None`: none.
    pub memory_bytes: Option<u64>,
    /// The machine to compile for.
    pub target: Target,
}

/// What a worker is asked to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Source {
    /// A loop nest, compiled by the code generator.
    Nest {
        /// What.
        nest: Box<LoopNest>,
        /// How far floating-point results may differ.
        numerics: Numerics,
        /// Threads of its parallel loops.
        threads: usize,
    },
    /// A module in LLVM's textual IR with a function `entry` of type `i32 (ptr, ptr, ptr)`: an array of the parameters'
    /// addresses, one of the outputs', the workspace; it returns 0.
    Ir {
        /// The module.
        text: String,
        /// The function's name.
        entry: String,
        /// Size of the workspace.
        workspace_bytes: usize,
    },
}

/// A call that takes so long needs no warming up, and few samples.
pub const LONG_CALL_NS: f64 = 2e8;

/// Where arguments begin while a kernel is timed, in bytes past a cache line. NumPy's large arrays lie at the last one, at
/// which trials are timed, too; its smaller ones at any of them.
pub const OFFSETS: [usize; 4] = [0, 32, 48, 16];

/// Where arguments begin in a trial.
pub const TRIAL_OFFSET: usize = OFFSETS[OFFSETS.len() - 1];

/// Times of several kernels, side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Times for one call, by kernel and round.
    pub rounds: Vec<Vec<f64>>,
    /// For each round, where the arguments began: one of [`OFFSETS`].
    pub offsets: Vec<usize>,
    /// By kernel, times of calls after other work: nothing of the arguments is in a cache.
    pub cold_ns: Vec<Vec<f64>>,
    /// What other work did meanwhile.
    pub disturbance: Disturbance,
}

/// How long and how often to time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Calls are batched until a sample takes this long.
    pub batch_ns: f64,
    /// Stop when the samples took this long, and
    pub budget_ns: f64,
    /// there are so many of them,
    pub min_samples: usize,
    /// or, where a call takes [`LONG_CALL_NS`] or more, so many.
    pub long_samples: usize,
    /// Stop when there are so many in any case.
    pub max_samples: usize,
    /// Stop after three samples, or one of a long call, if all of them are slower than this for one call.
    pub hopeless_ns: Option<f64>,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            batch_ns: 1e6,
            budget_ns: 200e6,
            min_samples: 5,
            long_samples: 3,
            max_samples: 60,
            hopeless_ns: None,
        }
    }
}

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// The first message.
    Prepare(Box<Setup>),
    /// Compile and keep under `id`; answered by `Compiled` or `Refused`.
    Compile {
        /// Any number not in use.
        id: u64,
        /// What.
        source: Source,
    },
    /// Run on every input set, in guarded memory; answered by `Correct` or `Wrong`.
    Check {
        /// Which.
        id: u64,
    },
    /// Time on the first input set, the arguments at [`TRIAL_OFFSET`]; answered by `Samples` or `Wrong`.
    Time {
        /// Which.
        id: u64,
        /// How.
        sampling: Sampling,
    },
    /// Time several in interleaved rounds, with their arguments at each of [`OFFSETS`], and after other work; answered by
    /// `Compared` or `Wrong`.
    Compare {
        /// Which; the order rotates from round to round.
        ids: Vec<u64>,
        /// How many rounds in all.
        rounds: usize,
        /// Calls are batched until a sample takes this long.
        batch_ns: f64,
    },
    /// Forget a kernel; answered by `Ready`.
    Drop {
        /// Which.
        id: u64,
    },
}

/// Why an output is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Wrong {
    /// An element is off.
    Element {
        /// Which kernel.
        id: u64,
        /// The output's name.
        output: String,
        /// Which input set.
        set: usize,
        /// What differs, for people.
        mismatch: String,
    },
    /// The kernel returned another status than 0.
    Status {
        /// Which kernel.
        id: u64,
        /// The status.
        status: i32,
    },
    /// Memory before an argument or a workspace was written.
    Stray {
        /// Which kernel.
        id: u64,
        /// The argument's name, or `workspace`.
        buffer: String,
        /// Which input set.
        set: usize,
    },
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Prepared, or forgotten.
    Ready,
    /// The candidate's code runs from now to the next message, and should take about this long (0: unknown).
    Calling {
        /// From earlier calls.
        expected_ns: f64,
    },
    /// The candidate's code has returned; what follows is the worker's own work.
    Called,
    /// Compiled.
    Compiled {
        /// How long it took.
        compile_ns: f64,
        /// Scratch memory that each call gets.
        workspace_bytes: usize,
    },
    /// Not compiled: an error of the code generator or of LLVM.
    Refused {
        /// For people.
        message: String,
    },
    /// All outputs are within their bounds.
    Correct {
        /// The largest error as a fraction of its bound.
        error_fraction: f64,
    },
    /// An output is not.
    Wrong(Wrong),
    /// Times for one call, in the order taken, and what other work did meanwhile.
    Samples(Vec<f64>, Disturbance),
    /// What a comparison saw.
    Compared(Comparison),
    /// The request could not be carried out, through no fault of a candidate.
    Failed {
        /// For people.
        message: String,
    },
}

/// Writes one frame.
///
/// # Errors
/// If the message is too long or the peer is gone.
pub fn send<T: Serialize>(stream: &mut impl Write, message: &T) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len())
        .ok()
        .filter(|_| json.len() <= MAX_FRAME_BYTES)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "message too long"))?;
    let mut frame = Vec::with_capacity(json.len() + 4);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&json);
    stream.write_all(&frame)?;
    stream.flush()
}

/// Reads one frame; `None` at the end of the stream.
///
/// # Errors
/// If the stream ends within a frame or holds no message.
pub fn receive<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0_u8; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut json = vec![0_u8; frame_length(length)?];
    stream.read_exact(&mut json)?;
    Ok(Some(serde_json::from_slice(&json)?))
}

/// The length in a frame's header.
///
/// # Errors
/// If it is beyond [`MAX_FRAME_BYTES`].
pub fn frame_length(header: [u8; 4]) -> io::Result<usize> {
    usize::try_from(u32::from_le_bytes(header))
        .ok()
        .filter(|&length| length <= MAX_FRAME_BYTES)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "frame too long"))
}
