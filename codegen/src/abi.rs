//! A kernel's interface to other languages: the checked entry and the small functions beside it.
//!
//! Input: a module with the raw entry, and the kernel's [`Interface`]. Output: the same module with
//! four more external functions (`<f>` is the workload's function):
//!
//! ```c
//! int32_t     <f>_checked(const DLTensor *const *inputs, const DLTensor *const *outputs,
//!                         void *workspace, size_t workspace_bytes);
//! size_t      <f>_workspace_bytes(void);
//! int32_t     <f>_cpu_supported(void);            // 1 or 0
//! const char *<f>_status_message(int32_t status);
//! ```
//!
//! beside the raw `int32_t <f>_raw(const void *const *inputs, void *const *outputs, void
//! *workspace)`. The suffixes keep a workload named `exp` or `double` from taking a name of C's.
//!
//! The checked entry answers a [`Status`]: its code in the low 8 bits and, where one argument is to
//! blame, that argument's position plus one above them (inputs first, then outputs). It reads every
//! descriptor before the kernel runs, holds no state, and may run in several threads at once. A
//! null workspace is allocated and freed inside. These functions are compiled for the baseline of
//! the architecture, so that they can answer [`Status::CpuUnsupported`] on a machine that could not
//! execute the kernel. Nothing here looks at a loop nest.

use inkwell::context::Context;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::module::Module;
use moat_optimizer::form::normal_form::NormalForm;
use moat_optimizer::program::expr::{Program, Requirement, Signature};
use moat_optimizer::value::dtype::DType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the checked entry returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// The outputs were computed.
    Ok = 0,
    /// A table, a tensor, its shape or its data is a null pointer.
    NullPointer = 1,
    /// The tensor is not in the CPU's memory.
    WrongDevice = 2,
    /// Another number of axes.
    WrongRank = 3,
    /// Another extent.
    WrongShape = 4,
    /// Another element type.
    WrongDtype = 5,
    /// Not row-major without gaps.
    NotContiguous = 6,
    /// The data is not aligned to its element.
    Misaligned = 7,
    /// An output shares memory with an input or another output.
    Aliased = 8,
    /// The workspace has fewer bytes than the kernel needs.
    WorkspaceTooSmall = 9,
    /// The workspace is not aligned to [`WORKSPACE_ALIGN`] bytes.
    WorkspaceMisaligned = 10,
    /// The workspace could not be allocated.
    OutOfMemory = 11,
    /// The CPU lacks an instruction set that the kernel uses.
    CpuUnsupported = 12,
    /// An index read from an input is out of range.
    IndexOutOfRange = 13,
    /// An integer is raised to a negative power.
    NegativePower = 14,
    /// A Python number is divided by zero.
    DivisionByZero = 15,
    /// An integer is shifted by a negative number.
    NegativeShift = 16,
    /// A Python number is outside of the domain of a power or function.
    OutsideDomain = 17,
}

impl Status {
    /// Every status, by code.
    pub const ALL: [Status; 18] = [
        Status::Ok,
        Status::NullPointer,
        Status::WrongDevice,
        Status::WrongRank,
        Status::WrongShape,
        Status::WrongDtype,
        Status::NotContiguous,
        Status::Misaligned,
        Status::Aliased,
        Status::WorkspaceTooSmall,
        Status::WorkspaceMisaligned,
        Status::OutOfMemory,
        Status::CpuUnsupported,
        Status::IndexOutOfRange,
        Status::NegativePower,
        Status::DivisionByZero,
        Status::NegativeShift,
        Status::OutsideDomain,
    ];

    /// What a kernel says of a check that fails.
    pub const fn unmet(requirement: Requirement) -> Status {
        match requirement {
            Requirement::Index => Status::IndexOutOfRange,
            Requirement::Exponent => Status::NegativePower,
            Requirement::Divisor => Status::DivisionByZero,
            Requirement::Shift => Status::NegativeShift,
            Requirement::Domain => Status::OutsideDomain,
        }
    }

    /// The number in the low 8 bits of a kernel's return value.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The status in a kernel's return value; `None` for a code that no kernel returns.
    pub fn of(returned: i32) -> Option<Status> {
        Status::ALL.into_iter().find(|status| i32::from(status.code()) == returned & 0xff)
    }

    /// The argument that a kernel's return value blames: inputs first, then outputs.
    pub fn argument_of(returned: i32) -> Option<usize> {
        usize::try_from((returned >> 8) - 1).ok()
    }

    /// The name in the C header, after `MOAT_`.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::NullPointer => "NULL_POINTER",
            Status::WrongDevice => "WRONG_DEVICE",
            Status::WrongRank => "WRONG_RANK",
            Status::WrongShape => "WRONG_SHAPE",
            Status::WrongDtype => "WRONG_DTYPE",
            Status::NotContiguous => "NOT_CONTIGUOUS",
            Status::Misaligned => "MISALIGNED",
            Status::Aliased => "ALIASED",
            Status::WorkspaceTooSmall => "WORKSPACE_TOO_SMALL",
            Status::WorkspaceMisaligned => "WORKSPACE_MISALIGNED",
            Status::OutOfMemory => "OUT_OF_MEMORY",
            Status::CpuUnsupported => "CPU_UNSUPPORTED",
            Status::IndexOutOfRange => "INDEX_OUT_OF_RANGE",
            Status::NegativePower => "NEGATIVE_POWER",
            Status::DivisionByZero => "DIVISION_BY_ZERO",
            Status::NegativeShift => "NEGATIVE_SHIFT",
            Status::OutsideDomain => "OUTSIDE_DOMAIN",
        }
    }

    /// One sentence for people.
    pub const fn message(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::NullPointer => "a tensor, its shape or its data is a null pointer",
            Status::WrongDevice => "a tensor is not in the CPU's memory",
            Status::WrongRank => "a tensor has another number of axes than the kernel was compiled for",
            Status::WrongShape => "a tensor has another shape than the kernel was compiled for",
            Status::WrongDtype => "a tensor has another element type than the kernel was compiled for",
            Status::NotContiguous => "a tensor is not contiguous in row-major order",
            Status::Misaligned => "a tensor's data is not aligned to its element type",
            Status::Aliased => "an output shares memory with an input or with another output",
            Status::WorkspaceTooSmall => "the workspace is smaller than the kernel needs",
            Status::WorkspaceMisaligned => "the workspace is not aligned to 64 bytes",
            Status::OutOfMemory => "the workspace could not be allocated",
            Status::CpuUnsupported => "this CPU lacks an instruction set that the kernel was compiled for",
            Status::IndexOutOfRange => "an index read from an input is out of range",
            Status::NegativePower => "integers to negative integer powers are not allowed",
            Status::DivisionByZero => "division by zero of a Python number",
            Status::NegativeShift => "negative shift count",
            Status::OutsideDomain => "a Python number is outside of the domain of a power or function",
        }
    }
}

/// Alignment of a workspace in bytes.
pub const WORKSPACE_ALIGN: usize = 64;

/// An array that a kernel takes or gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// The parameter's name, also of what it holds after the call; `result0`, … for a result.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents; none for a scalar.
    pub shape: Vec<usize>,
}

impl Argument {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size of the data.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.bytes()
    }
}

/// What a caller of a kernel must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The workload's function; the C names begin with it.
    pub function: String,
    /// The parameters in order.
    pub inputs: Vec<Argument>,
    /// How the Python function takes them.
    #[serde(default, skip_serializing_if = "Signature::is_plain")]
    pub signature: Signature,
    /// The results in order: what the function returns, then what each argument that it writes to holds afterwards.
    pub outputs: Vec<Argument>,
    /// Positions of the parameters that the function writes to; the last outputs are theirs, in this order.
    #[serde(default)]
    pub mutated: Vec<usize>,
    /// Whether the Python function returns a tuple, also one of a single array.
    pub returns_tuple: bool,
    /// Scratch that the kernel needs; the code generator's answer, 0 before it was asked.
    pub workspace_bytes: usize,
}

impl Interface {
    /// The interface of a program whose normal form is compiled to a kernel.
    pub fn new(program: &Program, form: &NormalForm) -> Interface {
        let inputs = form.params.iter().map(|param| Argument {
            name: param.name.clone(),
            dtype: param.dtype,
            shape: param.shape.clone(),
        });
        let results = form.outputs.len() - form.checks.len().min(form.outputs.len());
        let returned = results - program.mutated.len().min(results);
        let outputs = form.outputs.iter().take(results).enumerate().filter_map(|(at, &def)| {
            let def = form.defs.get(def)?;
            let mutated = at.checked_sub(returned).and_then(|at| form.params.get(*program.mutated.get(at)?));
            let name = mutated.map_or_else(|| format!("result{at}"), |param| param.name.clone());
            Some(Argument { name, dtype: def.dtype, shape: def.shape.clone() })
        });
        Interface {
            function: program.name.clone(),
            inputs: inputs.collect(),
            signature: program.signature.clone(),
            outputs: outputs.collect(),
            mutated: program.mutated.clone(),
            returns_tuple: program.returns_tuple,
            workspace_bytes: 0,
        }
    }

    /// The outputs that the function returns; the others are the new values of arguments.
    pub fn returned(&self) -> &[Argument] {
        &self.outputs[..self.outputs.len() - self.mutated.len().min(self.outputs.len())]
    }

    /// The entry that takes pointers.
    pub fn raw_symbol(&self) -> String {
        format!("{}_raw", self.function)
    }

    /// The entry that takes tensors.
    pub fn checked_symbol(&self) -> String {
        format!("{}_checked", self.function)
    }

    /// The function that gives the workspace's size.
    pub fn workspace_bytes_symbol(&self) -> String {
        format!("{}_workspace_bytes", self.function)
    }

    /// The function that explains a status.
    pub fn status_message_symbol(&self) -> String {
        format!("{}_status_message", self.function)
    }

    /// The function that asks whether this CPU can run the kernel.
    pub fn cpu_supported_symbol(&self) -> String {
        format!("{}_cpu_supported", self.function)
    }
}

/// Why the checked entry could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AbiError {
    /// The function's name cannot begin a C name.
    #[error("`{function}` is not an identifier")]
    InvalidName {
        /// The name.
        function: String,
    },
    /// The module has no raw entry.
    #[error("the module has no function `{symbol}`")]
    NoRawEntry {
        /// The symbol looked for.
        symbol: String,
    },
    /// The module has the name already.
    #[error("the module has a function `{symbol}` already")]
    SymbolTaken {
        /// The symbol.
        symbol: String,
    },
    /// LLVM refused the text or the link: a defect of this module.
    #[error("the checked entry does not {stage}: {message}")]
    Llvm {
        /// `parse` or `link`.
        stage: &'static str,
        /// LLVM's words.
        message: String,
    },
}

/// The instruction sets that are looked for, with `cpuid`'s leaf, subleaf, register (eax, ebx, ecx,
/// edx) and bit, and the bits of XCR0 by which the operating system says that it saves the
/// registers. Everything that LLVM's code for loops of arithmetic may use beyond x86-64's baseline.
const X86_FEATURES: [(&str, u32, u32, usize, u32, u32); 34] = [
    ("sse3", 1, 0, 2, 0, 0),
    ("ssse3", 1, 0, 2, 9, 0),
    ("fma", 1, 0, 2, 12, 6),
    ("sse4.1", 1, 0, 2, 19, 0),
    ("sse4.2", 1, 0, 2, 20, 0),
    ("movbe", 1, 0, 2, 22, 0),
    ("popcnt", 1, 0, 2, 23, 0),
    ("avx", 1, 0, 2, 28, 6),
    ("f16c", 1, 0, 2, 29, 6),
    ("bmi", 7, 0, 1, 3, 0),
    ("avx2", 7, 0, 1, 5, 6),
    ("bmi2", 7, 0, 1, 8, 0),
    ("avx512f", 7, 0, 1, 16, 0xe6),
    ("avx512dq", 7, 0, 1, 17, 0xe6),
    ("adx", 7, 0, 1, 19, 0),
    ("avx512ifma", 7, 0, 1, 21, 0xe6),
    ("avx512cd", 7, 0, 1, 28, 0xe6),
    ("avx512bw", 7, 0, 1, 30, 0xe6),
    ("avx512vl", 7, 0, 1, 31, 0xe6),
    ("avx512vbmi", 7, 0, 2, 1, 0xe6),
    ("avx512vbmi2", 7, 0, 2, 6, 0xe6),
    ("gfni", 7, 0, 2, 8, 0),
    ("avx512vnni", 7, 0, 2, 11, 0xe6),
    ("avx512bitalg", 7, 0, 2, 12, 0xe6),
    ("avx512vpopcntdq", 7, 0, 2, 14, 0xe6),
    ("avx512vp2intersect", 7, 0, 3, 8, 0xe6),
    ("avx512fp16", 7, 0, 3, 23, 0xe6),
    ("avxvnni", 7, 1, 0, 4, 6),
    ("avx512bf16", 7, 1, 0, 5, 0xe6),
    ("avxifma", 7, 1, 0, 23, 6),
    ("avxvnniint8", 7, 1, 3, 4, 6),
    ("avxneconvert", 7, 1, 3, 5, 6),
    ("lzcnt", 0x8000_0001, 0, 2, 5, 0),
    ("fma4", 0x8000_0001, 0, 2, 16, 6),
];

/// The features of an LLVM feature string that a machine is checked for, in the string's order.
pub fn checked_features(features: &str) -> Vec<&'static str> {
    let named = features.split(',').filter_map(|entry| entry.trim().strip_prefix('+'));
    named.filter_map(|name| X86_FEATURES.iter().find(|known| known.0 == name).map(|known| known.0)).collect()
}

/// Adds the checked entry and its companions to a module that has the raw entry. `triple` and
/// `features` are the target's, as in `Target`.
///
/// # Errors
/// A name that is no identifier, a missing raw entry, a symbol that is taken.
pub fn add_checked_entry<'c>(
    context: &'c Context,
    module: &Module<'c>,
    interface: &Interface,
    triple: &str,
    features: &str,
) -> Result<(), AbiError> {
    let function = &interface.function;
    let mut characters = function.chars();
    let first_fits = characters.next().is_some_and(|first| first == '_' || first.is_alphabetic());
    if !first_fits || !characters.all(|other| other == '_' || other.is_alphanumeric()) {
        return Err(AbiError::InvalidName { function: function.clone() });
    }
    if module.get_function(&interface.raw_symbol()).is_none() {
        return Err(AbiError::NoRawEntry { symbol: interface.raw_symbol() });
    }
    for symbol in [
        interface.checked_symbol(),
        interface.workspace_bytes_symbol(),
        interface.status_message_symbol(),
        interface.cpu_supported_symbol(),
    ] {
        if module.get_function(&symbol).is_some() {
            return Err(AbiError::SymbolTaken { symbol });
        }
    }
    let is_x86 = triple.starts_with("x86_64");
    let text = entry_text(interface, is_x86, features);
    let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "checked entry");
    let entry = context
        .create_module_from_ir(buffer)
        .map_err(|message| AbiError::Llvm { stage: "parse", message: message.to_string() })?;
    entry.set_triple(&module.get_triple());
    entry.set_data_layout(&module.get_data_layout());
    module.link_in_module(entry).map_err(|message| AbiError::Llvm { stage: "link", message: message.to_string() })
}

/// `DLDataType` as the little-endian 32 bits that it is in memory: code, bits, lanes.
fn dlpack_type(dtype: DType) -> u32 {
    let code: u32 = match dtype {
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => 0,
        DType::U8 => 1,
        DType::F16 | DType::F32 | DType::F64 => 2,
        DType::BF16 => 4,
        DType::Bool => 6,
    };
    let bits = u32::try_from(dtype.bytes() * 8).unwrap_or(u32::MAX);
    code | bits << 8 | 1 << 16
}

/// The whole module as LLVM IR.
fn entry_text(interface: &Interface, is_x86: bool, features: &str) -> String {
    let mut text = String::from(TENSOR_CHECK);
    let arguments: Vec<&Argument> = interface.inputs.iter().chain(&interface.outputs).collect();
    for (at, argument) in arguments.iter().enumerate() {
        let extents: Vec<String> = argument.shape.iter().map(|extent| format!("i64 {extent}")).collect();
        let _ = writeln!(
            text,
            "@moat.shape.{at} = private unnamed_addr constant [{} x i64] [{}]",
            extents.len(),
            extents.join(", ")
        );
    }
    messages(&mut text, interface);
    let _ = writeln!(
        text,
        "define i64 @\"{}\"() #0 {{\n  ret i64 {}\n}}\n",
        interface.workspace_bytes_symbol(),
        interface.workspace_bytes
    );
    cpu_check(&mut text, interface, is_x86, features);
    checked_entry(&mut text, interface, &arguments);
    // Baseline code whatever the target: it must run in order to say that the rest cannot.
    text.push_str(if is_x86 {
        "attributes #0 = { nounwind \"target-cpu\"=\"x86-64\" \"target-features\"=\"+cx8,+fxsr,+mmx,+sse,+sse2,+x87\" }\n"
    } else {
        "attributes #0 = { nounwind }\n"
    });
    text
}

/// Offsets are those of `DLTensor` on 64-bit machines.
const TENSOR_CHECK: &str = r#"%DLTensor = type { ptr, i32, i32, i32, i32, ptr, ptr, i64 }

declare ptr @aligned_alloc(i64, i64)
declare void @free(ptr)

; Compares a tensor with what the kernel was compiled for; gives its data's address.
define internal i32 @moat.check_tensor(ptr %tensor, i32 %rank, ptr %extents, i32 %dtype, i64 %align, i64 %elements, ptr %address) #0 {
entry:
  %no_tensor = icmp eq ptr %tensor, null
  br i1 %no_tensor, label %null, label %device
null:
  ret i32 1
device:
  %device_at = getelementptr inbounds %DLTensor, ptr %tensor, i32 0, i32 1
  %device_type = load i32, ptr %device_at
  %on_cpu = icmp eq i32 %device_type, 1
  br i1 %on_cpu, label %rank_check, label %wrong_device
wrong_device:
  ret i32 2
rank_check:
  %rank_at = getelementptr inbounds %DLTensor, ptr %tensor, i32 0, i32 3
  %found_rank = load i32, ptr %rank_at
  %same_rank = icmp eq i32 %found_rank, %rank
  br i1 %same_rank, label %dtype_check, label %wrong_rank
wrong_rank:
  ret i32 3
dtype_check:
  %dtype_at = getelementptr inbounds %DLTensor, ptr %tensor, i32 0, i32 4
  %found_dtype = load i32, ptr %dtype_at
  %same_dtype = icmp eq i32 %found_dtype, %dtype
  br i1 %same_dtype, label %shape_pointer, label %wrong_dtype
wrong_dtype:
  ret i32 5
shape_pointer:
  %shape_at = getelementptr inbounds %DLTensor, ptr %tensor, i32 0, i32 5
  %shape = load ptr, ptr %shape_at
  %strides_at = getelementptr inbounds %DLTensor, ptr %tensor, i32 0, i32 6
  %strides = load ptr, ptr %strides_at
  %packed = icmp eq ptr %strides, null
  %empty = icmp eq i64 %elements, 0
  %any_stride = or i1 %packed, %empty
  %wide_rank = sext i32 %rank to i64
  %is_scalar = icmp eq i32 %rank, 0
  br i1 %is_scalar, label %data_check, label %shape_there
shape_there:
  %no_shape = icmp eq ptr %shape, null
  br i1 %no_shape, label %null, label %axes
axes:
  %left = phi i64 [ %wide_rank, %shape_there ], [ %axis, %next_axis ]
  %stride = phi i64 [ 1, %shape_there ], [ %next_stride, %next_axis ]
  %axis = add nsw i64 %left, -1
  %extent_at = getelementptr inbounds i64, ptr %extents, i64 %axis
  %extent = load i64, ptr %extent_at
  %found_at = getelementptr inbounds i64, ptr %shape, i64 %axis
  %found = load i64, ptr %found_at
  %same_extent = icmp eq i64 %found, %extent
  br i1 %same_extent, label %stride_check, label %wrong_shape
wrong_shape:
  ret i32 4
stride_check:
  %single = icmp eq i64 %extent, 1
  %free_stride = or i1 %any_stride, %single
  br i1 %free_stride, label %next_axis, label %stride_compare
stride_compare:
  %stride_at = getelementptr inbounds i64, ptr %strides, i64 %axis
  %found_stride = load i64, ptr %stride_at
  %same_stride = icmp eq i64 %found_stride, %stride
  br i1 %same_stride, label %next_axis, label %not_contiguous
not_contiguous:
  ret i32 6
next_axis:
  %next_stride = mul i64 %stride, %extent
  %done = icmp eq i64 %axis, 0
  br i1 %done, label %data_check, label %axes
data_check:
  %data = load ptr, ptr %tensor
  %no_data = icmp eq ptr %data, null
  %needs_data = xor i1 %empty, true
  %data_missing = and i1 %no_data, %needs_data
  br i1 %data_missing, label %null, label %align_check
align_check:
  %offset_at = getelementptr inbounds %DLTensor, ptr %tensor, i32 0, i32 7
  %offset = load i64, ptr %offset_at
  %first = getelementptr i8, ptr %data, i64 %offset
  %number = ptrtoint ptr %first to i64
  %mask = add i64 %align, -1
  %excess = and i64 %number, %mask
  %aligned = icmp eq i64 %excess, 0
  %aligned_or_empty = or i1 %aligned, %empty
  br i1 %aligned_or_empty, label %good, label %misaligned
misaligned:
  ret i32 7
good:
  store ptr %first, ptr %address
  ret i32 0
}

; Whether two byte ranges have a byte in common.
define internal i1 @moat.overlap(ptr %x, i64 %x_bytes, ptr %y, i64 %y_bytes) #0 {
  %x_from = ptrtoint ptr %x to i64
  %y_from = ptrtoint ptr %y to i64
  %x_to = add i64 %x_from, %x_bytes
  %y_to = add i64 %y_from, %y_bytes
  %starts_before = icmp ult i64 %x_from, %y_to
  %ends_after = icmp ult i64 %y_from, %x_to
  %meet = and i1 %starts_before, %ends_after
  %x_any = icmp ne i64 %x_bytes, 0
  %y_any = icmp ne i64 %y_bytes, 0
  %both = and i1 %x_any, %y_any
  %overlap = and i1 %meet, %both
  ret i1 %overlap
}

"#;

fn messages(text: &mut String, interface: &Interface) {
    let mut constant = |name: &str, message: &str| {
        let _ = writeln!(
            text,
            "@moat.message.{name} = private unnamed_addr constant [{} x i8] c\"{message}\\00\"",
            message.len() + 1
        );
    };
    for status in Status::ALL {
        constant(&status.code().to_string(), status.message());
    }
    constant("unknown", "no status of a moat kernel");
    let _ = writeln!(text, "define ptr @\"{}\"(i32 %status) #0 {{", interface.status_message_symbol());
    text.push_str("  %code = and i32 %status, 255\n  switch i32 %code, label %unknown [\n");
    for status in Status::ALL {
        let _ = writeln!(text, "    i32 {0}, label %status{0}", status.code());
    }
    text.push_str("  ]\nunknown:\n  ret ptr @moat.message.unknown\n");
    for status in Status::ALL {
        let _ = writeln!(text, "status{0}:\n  ret ptr @moat.message.{0}", status.code());
    }
    text.push_str("}\n\n");
}

/// `<f>_cpu_supported`: `cpuid` once, for it traps to the host under a hypervisor, then a cached
/// answer. Two threads may both ask; they find the same.
fn cpu_check(text: &mut String, interface: &Interface, is_x86: bool, features: &str) {
    let symbol = interface.cpu_supported_symbol();
    let needed: Vec<_> = if is_x86 {
        let names = checked_features(features);
        X86_FEATURES.into_iter().filter(|known| names.contains(&known.0)).collect()
    } else {
        Vec::new()
    };
    if needed.is_empty() {
        let _ = writeln!(text, "define i32 @\"{symbol}\"() #0 {{\n  ret i32 1\n}}\n");
        return;
    }
    let mut leaves: BTreeMap<(u32, u32), [u32; 4]> = BTreeMap::new();
    let mut saved = 0;
    for (_, leaf, subleaf, register, bit, state) in needed {
        leaves.entry((leaf, subleaf)).or_default()[register] |= 1 << bit;
        saved |= state;
    }
    if saved != 0 {
        // OSXSAVE, without which `xgetbv` is an invalid instruction.
        leaves.entry((1, 0)).or_default()[2] |= 1 << 27;
    }
    let has_extended = leaves.keys().any(|&(leaf, _)| leaf >= 0x8000_0000);
    let basic = leaves.keys().map(|&(leaf, _)| leaf).filter(|&leaf| leaf < 0x8000_0000).max().unwrap_or(0);
    let cpuid = |leaf: u32, subleaf: u32| {
        format!(
            "call {{ i32, i32, i32, i32 }} asm sideeffect \"cpuid\", \
             \"={{ax}},={{bx}},={{cx}},={{dx}},{{ax}},{{cx}},~{{dirflag}},~{{fpsr}},~{{flags}}\"\
             (i32 {leaf}, i32 {subleaf})"
        )
    };
    let _ = writeln!(text, "@moat.cpu = internal global i32 0");
    let _ = writeln!(text, "define internal i1 @moat.detect_cpu() #0 {{\nentry:");
    let mut step = 0;
    let mut require = |text: &mut String, condition: &str| {
        let _ = writeln!(text, "  br i1 {condition}, label %step{step}, label %missing\nstep{step}:");
        step += 1;
    };
    let _ = writeln!(text, "  %limit = {}", cpuid(0, 0));
    text.push_str("  %highest = extractvalue { i32, i32, i32, i32 } %limit, 0\n");
    let _ = writeln!(text, "  %enough = icmp uge i32 %highest, {basic}");
    require(text, "%enough");
    if has_extended {
        let _ = writeln!(text, "  %limit_extended = {}", cpuid(0x8000_0000, 0));
        text.push_str("  %highest_extended = extractvalue { i32, i32, i32, i32 } %limit_extended, 0\n");
        let _ = writeln!(text, "  %enough_extended = icmp uge i32 %highest_extended, {}", 0x8000_0001u32);
        require(text, "%enough_extended");
    }
    if leaves.contains_key(&(7, 1)) {
        let _ = writeln!(text, "  %limit_seven = {}", cpuid(7, 0));
        text.push_str("  %highest_seven = extractvalue { i32, i32, i32, i32 } %limit_seven, 0\n");
        text.push_str("  %enough_seven = icmp uge i32 %highest_seven, 1\n");
        require(text, "%enough_seven");
    }
    for (&(leaf, subleaf), masks) in &leaves {
        let name = format!("leaf{leaf:x}.{subleaf}");
        let _ = writeln!(text, "  %{name} = {}", cpuid(leaf, subleaf));
        for (register, &mask) in masks.iter().enumerate().filter(|(_, mask)| **mask != 0) {
            let _ = writeln!(
                text,
                "  %{name}.r{register} = extractvalue {{ i32, i32, i32, i32 }} %{name}, {register}\n  \
                 %{name}.m{register} = and i32 %{name}.r{register}, {mask}\n  \
                 %{name}.c{register} = icmp eq i32 %{name}.m{register}, {mask}"
            );
            require(text, &format!("%{name}.c{register}"));
        }
    }
    if saved != 0 {
        let _ = writeln!(
            text,
            "  %xcr0 = call {{ i32, i32 }} asm sideeffect \"xgetbv\", \"={{ax}},={{dx}},{{cx}},~{{dirflag}},~{{fpsr}},~{{flags}}\"(i32 0)\n  \
             %xcr0.low = extractvalue {{ i32, i32 }} %xcr0, 0\n  \
             %saved = and i32 %xcr0.low, {saved}\n  \
             %all_saved = icmp eq i32 %saved, {saved}"
        );
        require(text, "%all_saved");
    }
    text.push_str("  ret i1 true\nmissing:\n  ret i1 false\n}\n\n");
    let _ = writeln!(
        text,
        r#"define i32 @"{symbol}"() #0 {{
entry:
  %known = load atomic i32, ptr @moat.cpu monotonic, align 4
  %asked = icmp ne i32 %known, 0
  br i1 %asked, label %answer, label %ask
ask:
  %supported = call i1 @moat.detect_cpu()
  %found = select i1 %supported, i32 1, i32 2
  store atomic i32 %found, ptr @moat.cpu monotonic, align 4
  br label %answer
answer:
  %state = phi i32 [ %known, %entry ], [ %found, %ask ]
  %good = icmp eq i32 %state, 1
  %result = zext i1 %good to i32
  ret i32 %result
}}
"#
    );
}

fn checked_entry(text: &mut String, interface: &Interface, arguments: &[&Argument]) {
    let blame = |status: Status, argument: usize| (argument + 1) << 8 | usize::from(status.code());
    let (n_in, n_out) = (interface.inputs.len(), interface.outputs.len());
    let _ = writeln!(text, "declare i32 @\"{}\"(ptr, ptr, ptr)", interface.raw_symbol());
    let _ = writeln!(
        text,
        "define i32 @\"{}\"(ptr %inputs, ptr %outputs, ptr %workspace, i64 %workspace_bytes) #0 {{\nentry:\n  \
         %input_data = alloca [{n_in} x ptr]\n  %output_data = alloca [{n_out} x ptr]\n  \
         %cpu = call i32 @\"{}\"()\n  %cpu_good = icmp ne i32 %cpu, 0\n  \
         br i1 %cpu_good, label %tables, label %no_cpu\nno_cpu:\n  ret i32 {}\ntables:",
        interface.checked_symbol(),
        interface.cpu_supported_symbol(),
        Status::CpuUnsupported.code()
    );
    let _ = writeln!(
        text,
        "  %no_inputs = icmp eq ptr %inputs, null\n  %need_inputs = and i1 %no_inputs, {}\n  \
         %no_outputs = icmp eq ptr %outputs, null\n  %need_outputs = and i1 %no_outputs, {}\n  \
         %no_table = or i1 %need_inputs, %need_outputs\n  \
         br i1 %no_table, label %null_table, label %tensor0\nnull_table:\n  ret i32 {}",
        n_in > 0,
        n_out > 0,
        Status::NullPointer.code()
    );
    for (at, argument) in arguments.iter().enumerate() {
        let (table, data, slot) =
            if at < n_in { ("inputs", "input_data", at) } else { ("outputs", "output_data", at - n_in) };
        let elements = argument.elements();
        let _ = writeln!(
            text,
            "tensor{at}:\n  %slot{at} = getelementptr inbounds ptr, ptr %{table}, i64 {slot}\n  \
             %t{at} = load ptr, ptr %slot{at}\n  \
             %at{at} = getelementptr inbounds ptr, ptr %{data}, i64 {slot}\n  \
             %status{at} = call i32 @moat.check_tensor(ptr %t{at}, i32 {}, ptr @moat.shape.{at}, i32 {}, i64 {}, i64 {elements}, ptr %at{at})\n  \
             %good{at} = icmp eq i32 %status{at}, 0\n  \
             br i1 %good{at}, label %tensor{}, label %bad{at}\nbad{at}:\n  \
             %blamed{at} = or i32 %status{at}, {}\n  ret i32 %blamed{at}",
            argument.shape.len(),
            dlpack_type(argument.dtype),
            argument.dtype.bytes(),
            at + 1,
            (at + 1) << 8
        );
    }
    let _ = writeln!(text, "tensor{}:", arguments.len());
    for (at, argument) in arguments.iter().enumerate() {
        let _ = writeln!(text, "  %p{at} = load ptr, ptr %at{at}\n  ; {}", argument.name.escape_default());
    }
    for (output, of_output) in arguments.iter().enumerate().skip(n_in) {
        for (other, of_other) in arguments.iter().enumerate().take(output) {
            let pair = format!("{output}.{other}");
            let _ = writeln!(
                text,
                "  %meet{pair} = call i1 @moat.overlap(ptr %p{output}, i64 {}, ptr %p{other}, i64 {})\n  \
                 br i1 %meet{pair}, label %aliased{pair}, label %apart{pair}\naliased{pair}:\n  ret i32 {}\napart{pair}:",
                of_output.bytes(),
                of_other.bytes(),
                blame(Status::Aliased, output)
            );
        }
    }
    let raw = interface.raw_symbol();
    if interface.workspace_bytes == 0 {
        let _ = writeln!(
            text,
            "  %result = call i32 @\"{raw}\"(ptr %input_data, ptr %output_data, ptr %workspace)\n  ret i32 %result\n}}\n"
        );
        return;
    }
    let allocated = interface.workspace_bytes.next_multiple_of(WORKSPACE_ALIGN);
    let _ = writeln!(
        text,
        r#"  %allocate = icmp eq ptr %workspace, null
  br i1 %allocate, label %own, label %size
size:
  %fits = icmp uge i64 %workspace_bytes, {}
  br i1 %fits, label %alignment, label %too_small
too_small:
  ret i32 {}
alignment:
  %address = ptrtoint ptr %workspace to i64
  %excess = and i64 %address, {}
  %aligned = icmp eq i64 %excess, 0
  br i1 %aligned, label %given, label %misaligned
misaligned:
  ret i32 {}
given:
  %result = call i32 @"{raw}"(ptr %input_data, ptr %output_data, ptr %workspace)
  ret i32 %result
own:
  %block = call ptr @aligned_alloc(i64 {WORKSPACE_ALIGN}, i64 {allocated})
  %no_block = icmp eq ptr %block, null
  br i1 %no_block, label %no_memory, label %run
no_memory:
  ret i32 {}
run:
  %own_result = call i32 @"{raw}"(ptr %input_data, ptr %output_data, ptr %block)
  call void @free(ptr %block)
  ret i32 %own_result
}}
"#,
        interface.workspace_bytes,
        Status::WorkspaceTooSmall.code(),
        WORKSPACE_ALIGN - 1,
        Status::WorkspaceMisaligned.code(),
        Status::OutOfMemory.code()
    );
}
