//! The names of element types, as attributes of `numpy` and strings spell them.
//!
//! Input: a name. Output: the dtype, or that it is none that is supported.

use crate::value::dtype::DType;

/// The element type that an attribute of `numpy` or a string names: `None` if it is none that is known here.
pub(super) fn dtype_name(name: &str) -> Option<Result<DType, &'static str>> {
    Some(Ok(match name {
        "float32" | "single" | "f4" | "<f4" | "=f4" | "|f4" | "f" => DType::F32,
        "float64" | "double" | "f8" | "<f8" | "=f8" | "|f8" | "d" | "float" => DType::F64,
        "int32" | "intc" | "i4" | "<i4" | "=i4" | "|i4" | "i" => DType::I32,
        "int64" | "int_" | "intp" | "long" | "longlong" | "i8" | "<i8" | "=i8" | "|i8" | "int" | "l" | "n" | "p"
        | "q" => DType::I64,
        "bool_" | "bool" | "?" | "b1" | "<b1" | ">b1" | "=b1" | "|b1" => DType::Bool,
        "float16" | "half" | "f2" | "int8" | "i1" | "uint8" | "u1" | "int16" | "i2" | "uint16" | "u2" | "uint32"
        | "u4" | "uint64" | "u8" | "complex64" | "c8" | "complex128" | "complex" | "c16" | "longdouble"
        | "bfloat16" | ">f4" | ">f8" | ">i4" | ">i8" | "object" | "O" | "str" => {
            return Some(Err("supported dtypes: f32, f64, i32, i64, bool"));
        }
        _ => return None,
    }))
}
