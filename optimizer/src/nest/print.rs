//! A loop nest as text, for people and for snapshots.

use crate::form::scalar_tree::ScalarOp;
use crate::integer::range::Range;
use crate::nest::{BufferRole, LoopNest, Node, Tile, TileScalar};

/// The nest's own view of itself, for `moat explain`: one line per loop and tile, indented.
pub fn display(nest: &LoopNest) -> String {
    let mut text = String::new();
    for buffer in &nest.buffers {
        let role = match buffer.role {
            BufferRole::Param(_) => "parameter",
            BufferRole::Output(_) => "result",
            BufferRole::Check(..) => "check",
            BufferRole::Shared => "scratch",
            BufferRole::Private => "scratch, one per thread",
        };
        text.push_str(&format!("{}: {}[{}]  {role}\n", buffer.name, buffer.dtype, buffer.len));
    }
    for node in &nest.body {
        display_node(nest, node, 0, &mut text);
    }
    text
}

fn display_node(nest: &LoopNest, node: &Node, depth: usize, text: &mut String) {
    let name = |v: usize| nest.vars[v].clone();
    let interval = |range: &Range| {
        let side = |forms: &[crate::integer::affine::Affine], word: &str| match forms {
            [one] => one.display(name),
            many => format!("{word}({})", many.iter().map(|form| form.display(name)).collect::<Vec<_>>().join(", ")),
        };
        (side(&range.lo, "max"), side(&range.hi, "min"))
    };
    let indent = "  ".repeat(depth);
    match node {
        Node::Loop(inner) => {
            let (lo, hi) = interval(&inner.range);
            let kind = match inner.kind {
                crate::nest::LoopKind::Serial => "for",
                crate::nest::LoopKind::Parallel => "parallel for",
            };
            text.push_str(&format!("{indent}{kind} {} in {lo} .. {hi} step {}\n", name(inner.var), inner.step));
            for node in &inner.body {
                display_node(nest, node, depth + 1, text);
            }
        }
        Node::Tile(tile) => {
            let mut deeper = depth;
            for (axis, fold) in tile.points.iter().map(|a| (a, false)).chain(tile.folds.iter().map(|a| (a, true))) {
                let (lo, hi) = interval(&axis.range);
                let word = if fold { "fold" } else { "tile" };
                let mut how = String::new();
                if axis.unroll > 1 {
                    how.push_str(&format!(" unroll {}", axis.unroll));
                }
                if axis.lanes > 1 {
                    how.push_str(&format!(" vectorize {}", axis.lanes));
                }
                text.push_str(&format!("{}{word} {} in {lo} .. {hi}{how}\n", "  ".repeat(deeper), name(axis.var)));
                deeper += 1;
            }
            let moved = tile.shift.map_or_else(String::new, |shift| format!(" + {}", nest.buffers[shift.by].name));
            let target = format!("{}[{}{moved}]", nest.buffers[tile.target].name, tile.offset.display(name));
            let assign = tile.fold.as_ref().map_or_else(|| "=".to_owned(), |fold| format!("{}=", fold.op.name()));
            let (shared, value) = display_value(nest, tile);
            for line in shared {
                text.push_str(&format!("{}{line}\n", "  ".repeat(deeper)));
            }
            text.push_str(&format!("{}{target} {assign} {value}\n", "  ".repeat(deeper)));
        }
    }
}

/// What a tile computes; what it computes once and reads more than once, or what is nested too deep to be read, has a
/// line of its own before it.
fn display_value(nest: &LoopNest, tile: &Tile) -> (Vec<String>, String) {
    const NAMED_DEPTH: usize = 16;
    let name = |v: usize| nest.vars[v].clone();
    let operands = |node: &TileScalar| match node {
        TileScalar::Load { .. } => Vec::new(),
        TileScalar::Gather { at, .. } => vec![*at],
        TileScalar::Compute(node) => node.op.operands(),
    };
    let mut uses = vec![0usize; tile.value.len()];
    for operand in tile.value.iter().flat_map(operands) {
        uses[operand] += 1;
    }
    let mut lines = Vec::new();
    let mut texts: Vec<String> = Vec::with_capacity(tile.value.len());
    let mut depths: Vec<usize> = Vec::with_capacity(tile.value.len());
    for (at, node) in tile.value.iter().enumerate() {
        let text = match node {
            TileScalar::Gather { buffer, offset, stride, at } => {
                format!("{}[{} + {stride}*{}]", nest.buffers[*buffer].name, offset.display(name), texts[*at])
            }
            TileScalar::Load { buffer, offset } => format!("{}[{}]", nest.buffers[*buffer].name, offset.display(name)),
            TileScalar::Compute(node) => match &node.op {
                ScalarOp::Load(..) => "load".to_owned(),
                ScalarOp::Const(value) => value.to_string(),
                ScalarOp::Index(form) => format!("({})", form.display(name)),
                ScalarOp::Unary(op, x) => format!("{}({})", op.name(), texts[*x]),
                ScalarOp::Binary(op, x, y) => format!("{}({}, {})", op.name(), texts[*x], texts[*y]),
                ScalarOp::Where(c, x, y) => format!("where({}, {}, {})", texts[*c], texts[*x], texts[*y]),
                ScalarOp::Cast(x) => format!("{}({})", node.dtype, texts[*x]),
            },
        };
        let depth = operands(node).iter().map(|&operand| depths[operand] + 1).max().unwrap_or(0);
        if at + 1 < tile.value.len() && ((uses[at] > 1 && depth > 0) || depth >= NAMED_DEPTH) {
            lines.push(format!("t{at} = {text}"));
            texts.push(format!("t{at}"));
            depths.push(0);
        } else {
            texts.push(text);
            depths.push(depth);
        }
    }
    (lines, texts.pop().unwrap_or_default())
}
