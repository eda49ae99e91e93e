//! `<f>_checked`: every descriptor is looked at, then the raw entry is called.
//!
//! Input: the kernel's [`Interface`]. Output: the function's text. Its blocks follow each other: CPU, tables, tensors,
//! overlaps, workspace, call. Where one of them finds a fault, it returns a status at once.

use super::interface::{Argument, Interface};
use super::status::Status;
use super::tensor::dlpack_type;
use crate::workspace::ALIGN;
use std::fmt::Write;

/// Writes the extents that the checked entry compares each argument with.
pub(super) fn write_shapes(text: &mut String, interface: &Interface) {
    for (at, argument) in interface.arguments().enumerate() {
        let extents: Vec<String> = argument.shape.iter().map(|extent| format!("i64 {extent}")).collect();
        let _ = writeln!(
            text,
            "@moat.shape.{at} = private unnamed_addr constant [{} x i64] [{}]",
            extents.len(),
            extents.join(", ")
        );
    }
}

/// Writes the checked entry.
pub(super) fn write_entry(text: &mut String, interface: &Interface) {
    let arguments: Vec<&Argument> = interface.arguments().collect();
    let inputs = interface.inputs.len();
    check_cpu(text, interface);
    check_tables(text, interface);
    for (at, argument) in arguments.iter().enumerate() {
        let (table, slot) = if at < inputs { ("input", at) } else { ("output", at - inputs) };
        check_tensor(text, at, argument, table, slot);
    }
    load_addresses(text, &arguments);
    check_overlaps(text, &arguments, inputs);
    if interface.workspace_bytes == 0 {
        call(text, interface);
    } else {
        call_with_workspace(text, interface);
    }
}

/// The beginning of the function: room for the arguments' addresses, and a CPU that can run the kernel.
fn check_cpu(text: &mut String, interface: &Interface) {
    let _ = writeln!(text, "declare i32 @\"{}\"(ptr, ptr, ptr)", interface.raw_symbol());
    let _ = writeln!(
        text,
        "define i32 @\"{}\"(ptr %inputs, ptr %outputs, ptr %workspace, i64 %workspace_bytes) #0 {{\nentry:\n  \
         %input_data = alloca [{} x ptr]\n  %output_data = alloca [{} x ptr]\n  \
         %cpu = call i32 @\"{}\"()\n  %cpu_good = icmp ne i32 %cpu, 0\n  \
         br i1 %cpu_good, label %tables, label %no_cpu\nno_cpu:\n  ret i32 {}",
        interface.checked_symbol(),
        interface.inputs.len(),
        interface.outputs.len(),
        interface.cpu_supported_symbol(),
        Status::CpuUnsupported.code()
    );
}

/// Tables of tensors, where there are any.
fn check_tables(text: &mut String, interface: &Interface) {
    let _ = writeln!(
        text,
        "tables:\n  \
         %no_inputs = icmp eq ptr %inputs, null\n  %need_inputs = and i1 %no_inputs, {}\n  \
         %no_outputs = icmp eq ptr %outputs, null\n  %need_outputs = and i1 %no_outputs, {}\n  \
         %no_table = or i1 %need_inputs, %need_outputs\n  \
         br i1 %no_table, label %null_table, label %tensor0\nnull_table:\n  ret i32 {}",
        !interface.inputs.is_empty(),
        !interface.outputs.is_empty(),
        Status::NullPointer.code()
    );
}

/// The tensor of argument `at`, in `slot` of a table.
fn check_tensor(text: &mut String, at: usize, argument: &Argument, table: &str, slot: usize) {
    let _ = writeln!(
        text,
        "tensor{at}:\n  %slot{at} = getelementptr inbounds ptr, ptr %{table}s, i64 {slot}\n  \
         %t{at} = load ptr, ptr %slot{at}\n  \
         %at{at} = getelementptr inbounds ptr, ptr %{table}_data, i64 {slot}\n  \
         %status{at} = call i32 @moat.check_tensor(ptr %t{at}, i32 {}, ptr @moat.shape.{at}, i32 {}, i64 {}, i64 {}, ptr %at{at})\n  \
         %good{at} = icmp eq i32 %status{at}, {}\n  \
         br i1 %good{at}, label %tensor{}, label %bad{at}\nbad{at}:\n  \
         %blamed{at} = or i32 %status{at}, {}\n  ret i32 %blamed{at}",
        argument.shape.len(),
        dlpack_type(argument.dtype),
        argument.dtype.bytes(),
        argument.elements(),
        Status::Ok.code(),
        at + 1,
        Status::Ok.blaming(at)
    );
}

/// Where the data of each argument begins, once all tensors are good.
fn load_addresses(text: &mut String, arguments: &[&Argument]) {
    let _ = writeln!(text, "tensor{}:", arguments.len());
    for (at, argument) in arguments.iter().enumerate() {
        let _ = writeln!(text, "  %p{at} = load ptr, ptr %at{at}\n  ; {}", argument.name.escape_default());
    }
}

/// No output shares memory with an input or with an output before it.
fn check_overlaps(text: &mut String, arguments: &[&Argument], inputs: usize) {
    for (output, of_output) in arguments.iter().enumerate().skip(inputs) {
        for (other, of_other) in arguments.iter().enumerate().take(output) {
            let pair = format!("{output}.{other}");
            let _ = writeln!(
                text,
                "  %meet{pair} = call i1 @moat.overlap(ptr %p{output}, i64 {}, ptr %p{other}, i64 {})\n  \
                 br i1 %meet{pair}, label %aliased{pair}, label %apart{pair}\naliased{pair}:\n  ret i32 {}\napart{pair}:",
                of_output.bytes(),
                of_other.bytes(),
                Status::Aliased.blaming(output)
            );
        }
    }
}

/// The end of the function where the kernel needs no workspace.
fn call(text: &mut String, interface: &Interface) {
    let raw = interface.raw_symbol();
    let _ = writeln!(
        text,
        "  %result = call i32 @\"{raw}\"(ptr %input_data, ptr %output_data, ptr %workspace)\n  ret i32 %result\n}}\n"
    );
}

/// The end of the function where the kernel needs a workspace: the caller's, or one that is allocated and freed here.
fn call_with_workspace(text: &mut String, interface: &Interface) {
    let raw = interface.raw_symbol();
    let allocated = interface.workspace_bytes.next_multiple_of(ALIGN);
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
  %block = call ptr @aligned_alloc(i64 {ALIGN}, i64 {allocated})
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
        ALIGN - 1,
        Status::WorkspaceMisaligned.code(),
        Status::OutOfMemory.code()
    );
}
