//! What the checked entry asks of one tensor, and of two: DLPack's descriptors, and memory that is shared.
//!
//! Output: the text of `moat.check_tensor`, which answers a [`Status`], and of `moat.overlap`.

use super::status::Status;
use moat_optimizer::value::dtype::DType;

/// Writes both functions, with what they are declared by.
pub(super) fn write_checks(text: &mut String) {
    let mut checks = String::from(TENSOR_CHECK);
    for status in Status::ALL {
        checks = checks.replace(&format!("{{{}}}", status.name()), &status.code().to_string());
    }
    text.push_str(&checks);
}

/// `DLDataType` as the little-endian 32 bits that it is in memory: code, bits, lanes.
pub(super) fn dlpack_type(dtype: DType) -> u32 {
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

/// Offsets are those of `DLTensor` on 64-bit machines. What stands in braces is the code of a status.
const TENSOR_CHECK: &str = r#"%DLTensor = type { ptr, i32, i32, i32, i32, ptr, ptr, i64 }

declare ptr @aligned_alloc(i64, i64)
declare void @free(ptr)

; Compares a tensor with what the kernel was compiled for; gives its data's address.
define internal i32 @moat.check_tensor(ptr %tensor, i32 %rank, ptr %extents, i32 %dtype, i64 %align, i64 %elements, ptr %address) #0 {
entry:
  %no_tensor = icmp eq ptr %tensor, null
  br i1 %no_tensor, label %null, label %device
null:
  ret i32 {NULL_POINTER}
device:
  %device_at = getelementptr inbounds %DLTensor, ptr %tensor, i32 0, i32 1
  %device_type = load i32, ptr %device_at
  %on_cpu = icmp eq i32 %device_type, 1
  br i1 %on_cpu, label %rank_check, label %wrong_device
wrong_device:
  ret i32 {WRONG_DEVICE}
rank_check:
  %rank_at = getelementptr inbounds %DLTensor, ptr %tensor, i32 0, i32 3
  %found_rank = load i32, ptr %rank_at
  %same_rank = icmp eq i32 %found_rank, %rank
  br i1 %same_rank, label %dtype_check, label %wrong_rank
wrong_rank:
  ret i32 {WRONG_RANK}
dtype_check:
  %dtype_at = getelementptr inbounds %DLTensor, ptr %tensor, i32 0, i32 4
  %found_dtype = load i32, ptr %dtype_at
  %same_dtype = icmp eq i32 %found_dtype, %dtype
  br i1 %same_dtype, label %shape_pointer, label %wrong_dtype
wrong_dtype:
  ret i32 {WRONG_DTYPE}
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
  ret i32 {WRONG_SHAPE}
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
  ret i32 {NOT_CONTIGUOUS}
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
  ret i32 {MISALIGNED}
good:
  store ptr %first, ptr %address
  ret i32 {OK}
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
