//! `<f>_status_message`: a sentence for every status.

use super::interface::Interface;
use super::status::Status;
use std::fmt::Write;

/// Writes the function, with the sentences that it answers.
pub(super) fn write_messages(text: &mut String, interface: &Interface) {
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
