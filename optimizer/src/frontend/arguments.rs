//! Reading compile-time arguments: integers, axes, shapes, dtypes.

use super::call::Call;
use super::dtype_name::dtype_name;
use super::evaluate::Evaluator;
use super::number::Number;
use super::value::{Arg, Builtin, Eval, Poisoned, Value};
use crate::program::expr::{NodeId, Span};
use crate::value::dtype::DType;

impl Evaluator<'_> {
    /// A compile-time integer.
    pub(super) fn integer(&mut self, arg: &Arg, what: &str) -> Eval<i64> {
        if arg.value.is_poisoned() {
            return Err(Poisoned);
        }
        match self.known_int(&arg.value) {
            Some(value) => i64::try_from(value)
                .map_err(|_| self.error(arg.span, format!("{what} is {value}, which does not fit into 64 bits"), None)),
            None => {
                let message = format!("{what} must be a compile-time integer, not {}", self.describe(&arg.value));
                let help = "extents, axes and offsets come from literals, module constants and A.shape";
                Err(self.error(arg.span, message, Some(help)))
            }
        }
    }

    /// An optional compile-time integer.
    pub(super) fn integer_or(&mut self, call: &Call, parameter: &str, default: i64) -> Eval<i64> {
        match call.optional(parameter) {
            Some(arg) => self.integer(arg, parameter),
            None => Ok(default),
        }
    }

    /// A compile-time extent.
    pub(super) fn extent(&mut self, arg: &Arg, what: &str) -> Eval<usize> {
        let value = self.integer(arg, what)?;
        usize::try_from(value).map_err(|_| self.error(arg.span, format!("{what} is negative: {value}"), None))
    }

    /// The elements of a tuple or list, or the value alone.
    pub(super) fn items(&self, arg: &Arg) -> Vec<Arg> {
        match &arg.value {
            Value::Tuple(items) | Value::List(items) => {
                items.iter().map(|value| Arg { value: value.clone(), span: arg.span }).collect()
            }
            _ => vec![arg.clone()],
        }
    }

    /// An axis of an array of rank `rank`, counted from the end if negative.
    pub(super) fn axis(&mut self, arg: &Arg, rank: usize) -> Eval<usize> {
        if let Value::Number(Number::Bool(_)) = arg.value {
            return Err(self.error(arg.span, "the axis must be an integer, not a bool", None));
        }
        let axis = self.integer(arg, "the axis")?;
        self.normal_axis(axis, rank, arg.span)
    }

    pub(super) fn normal_axis(&mut self, axis: i64, rank: usize, span: Span) -> Eval<usize> {
        let bound = i64::try_from(rank).map_err(|_| Poisoned)?;
        if axis < -bound || axis >= bound {
            let message = format!("axis {axis} is out of bounds for an array of rank {rank}");
            return Err(self.error(span, message, None));
        }
        usize::try_from(if axis < 0 { axis + bound } else { axis }).map_err(|_| Poisoned)
    }

    /// One axis or a tuple of them, distinct, in the order written.
    pub(super) fn axes(&mut self, arg: &Arg, rank: usize) -> Eval<Vec<usize>> {
        let mut axes = Vec::new();
        for item in self.items(arg) {
            let axis = self.axis(&item, rank)?;
            if axes.contains(&axis) {
                return Err(self.error(arg.span, format!("axis {axis} occurs twice"), None));
            }
            axes.push(axis);
        }
        Ok(axes)
    }

    /// A shape: an extent or a tuple of them.
    pub(super) fn shape_argument(&mut self, arg: &Arg) -> Eval<Vec<usize>> {
        let mut shape = Vec::new();
        for item in self.items(arg) {
            shape.push(self.extent(&item, "an extent")?);
        }
        self.check_size(&shape, arg.span)?;
        Ok(shape)
    }

    /// The dtype that a value names.
    pub(super) fn dtype_of(&mut self, arg: &Arg) -> Eval<DType> {
        let found = match &arg.value {
            Value::Poison => return Err(Poisoned),
            Value::DType(dtype) | Value::ScalarType(dtype) => Some(Ok(*dtype)),
            Value::Builtin(Builtin::Float) => Some(Ok(DType::F64)),
            Value::Builtin(Builtin::Int) => Some(Ok(DType::I64)),
            Value::Builtin(Builtin::Bool) => Some(Ok(DType::Bool)),
            Value::Str(name) => dtype_name(name),
            _ => None,
        };
        match found {
            Some(Ok(dtype)) => Ok(dtype),
            Some(Err(help)) => Err(self.error(arg.span, "this dtype is not supported", Some(help))),
            None => {
                let message = format!("a dtype is needed, not {}", self.describe(&arg.value));
                let help = "supported: np.float32, np.float64, np.int32, np.int64, np.bool_, A.dtype";
                Err(self.error(arg.span, message, Some(help)))
            }
        }
    }

    /// The argument `dtype`, if given.
    pub(super) fn dtype_argument(&mut self, call: &Call) -> Eval<Option<DType>> {
        match call.optional("dtype") {
            Some(arg) => self.dtype_of(arg).map(Some),
            None => Ok(None),
        }
    }

    /// The arguments `offset`, `axis1` and `axis2` of `diagonal` and `trace`.
    pub(super) fn diagonal_arguments(&mut self, node: NodeId, call: &Call) -> Eval<(i64, usize, usize)> {
        let rank = self.shape(node).len();
        if rank < 2 {
            let message = format!("{} needs an array of rank 2 or more, not {rank}", call.function.name);
            return Err(self.error(call.span, message, None));
        }
        let offset = self.integer_or(call, "offset", 0)?;
        let axis1 = self.integer_or(call, "axis1", 0)?;
        let axis2 = self.integer_or(call, "axis2", 1)?;
        let axis1 = self.normal_axis(axis1, rank, call.span)?;
        let axis2 = self.normal_axis(axis2, rank, call.span)?;
        if axis1 == axis2 {
            return Err(self.error(call.span, "axis1 and axis2 are the same axis", None));
        }
        Ok((offset, axis1, axis2))
    }

    /// Refuses an `order` other than C.
    pub(super) fn row_major(&mut self, call: &Call) -> Eval<()> {
        match call.optional("order") {
            Some(arg) if !matches!(&arg.value, Value::Str(order) if order == "C") => {
                let message = format!("an order other than 'C' in {}()", call.function.name);
                Err(self.unsupported(arg.span, &message, "supported: order='C'; transpose first for 'F'"))
            }
            Some(_) | None => Ok(()),
        }
    }
}
