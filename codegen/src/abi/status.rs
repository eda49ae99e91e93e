//! What a kernel's entries answer, by number, by name and in a sentence.
//!
//! The numbers are those of [`Status`] alone: the checked entry, the C header and the Python module are written from it.

use moat_optimizer::program::expr::Requirement;

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
    /// The workspace is not aligned to [`crate::workspace::ALIGN`] bytes.
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

    /// What a kernel returns that blames an argument, by its position: inputs first, then outputs.
    pub(super) const fn blaming(self, argument: usize) -> usize {
        (argument + 1) << 8 | self as usize
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

#[cfg(test)]
mod tests {
    use super::Status;
    use crate::workspace::ALIGN;

    #[test]
    fn what_is_returned_is_read_back() {
        for (code, status) in (0u8..).zip(Status::ALL) {
            assert_eq!(status.code(), code);
            let returned = i32::try_from(status.blaming(2)).unwrap();
            assert_eq!((Status::of(returned), Status::argument_of(returned)), (Some(status), Some(2)));
        }
        assert_eq!(Status::argument_of(i32::from(Status::OutOfMemory.code())), None);
    }

    #[test]
    fn the_alignment_in_words_is_the_one_that_is_asked_for() {
        assert!(Status::WorkspaceMisaligned.message().contains(&format!("{ALIGN} bytes")));
    }
}
