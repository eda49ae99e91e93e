//! Runs the functions that a workload calls: the code of each routine.
//!
//! Input: a bound call. Output: its value. This is the one place that knows the code of all functions.

use super::call::Call;
use super::evaluate::Evaluator;
use super::function::{Kind, Routine};
use super::value::Eval;
use super::{creation, elementwise, gather, joining, product, reduction, scan, structural};

/// The code of a function.
type Handler = fn(&mut Evaluator<'_>, &Call) -> Eval;

impl Evaluator<'_> {
    /// Runs a bound call.
    pub(super) fn run_call(&mut self, call: &Call) -> Eval {
        match call.function.kind {
            Kind::Unary(kind) => elementwise::unary_call(self, kind, call),
            Kind::Binary(kind) => elementwise::binary_call(self, kind, call),
            Kind::Fold(op) => reduction::fold_call(self, op, call),
            Kind::Other(routine) => code_of(routine)(self, call),
        }
    }
}

/// The code of a routine.
fn code_of(routine: Routine) -> Handler {
    match routine {
        Routine::Arange => creation::arange,
        Routine::Argmax => scan::argmax,
        Routine::Argmin => scan::argmin,
        Routine::Array => creation::array,
        Routine::Asarray => creation::asarray,
        Routine::Ascontiguousarray => creation::ascontiguousarray,
        Routine::Astype => structural::astype,
        Routine::BroadcastTo => structural::broadcast_to,
        Routine::Clip => elementwise::clip,
        Routine::Concatenate => joining::concatenate,
        Routine::Copy => structural::copy,
        Routine::CopyMethod => structural::copy_method,
        Routine::Cumprod => scan::cumprod,
        Routine::Cumsum => scan::cumsum,
        Routine::Diag => structural::diag,
        Routine::Diagonal => structural::diagonal,
        Routine::Dot => product::dot,
        Routine::Einsum => product::einsum,
        Routine::Empty => creation::empty,
        Routine::EmptyLike => creation::empty_like,
        Routine::ExpandDims => structural::expand_dims,
        Routine::Eye => creation::eye,
        Routine::Flatten => structural::flatten,
        Routine::Flip => structural::flip,
        Routine::Fliplr => structural::fliplr,
        Routine::Flipud => structural::flipud,
        Routine::Full => creation::full,
        Routine::FullLike => creation::full_like,
        Routine::Hstack => joining::hstack,
        Routine::Inner => product::inner,
        Routine::Matmul => product::matmul,
        Routine::MatrixTranspose => structural::matrix_transpose,
        Routine::Mean => reduction::mean,
        Routine::Moveaxis => structural::moveaxis,
        Routine::Ndim => structural::ndim,
        Routine::Ones => creation::ones,
        Routine::OnesLike => creation::ones_like,
        Routine::Outer => product::outer,
        Routine::Pad => joining::pad,
        Routine::Ravel => structural::ravel,
        Routine::Reshape => structural::reshape,
        Routine::Roll => structural::roll,
        Routine::Select => elementwise::select,
        Routine::ShapeOf => structural::shape_of,
        Routine::Size => structural::size,
        Routine::SlidingWindowView => structural::sliding_window_view,
        Routine::Squeeze => structural::squeeze,
        Routine::Stack => joining::stack,
        Routine::Std => reduction::std,
        Routine::Swapaxes => structural::swapaxes,
        Routine::Take => gather::take,
        Routine::Tensordot => product::tensordot,
        Routine::Trace => reduction::trace,
        Routine::Transpose => structural::transpose,
        Routine::Tri => creation::tri,
        Routine::Tril => structural::tril,
        Routine::Triu => structural::triu,
        Routine::Var => reduction::var,
        Routine::Vdot => product::vdot,
        Routine::Vstack => joining::vstack,
        Routine::Zeros => creation::zeros,
        Routine::ZerosLike => creation::zeros_like,
        Routine::OfUfunc => method_of_ufunc,
    }
}

/// A ufunc's methods are called with the ufunc, not by their table entry.
fn method_of_ufunc(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    Err(evaluator.unsupported(call.span, call.function.name, "call it as np.add.reduce(a)"))
}
