//! Loops around tiles: statements in order, serial loops, and which loops are parallel ones.

use super::cx::{Cx, Emit};
use super::facts::Bounds;
use super::frame::Frame;
use inkwell::IntPredicate;
use inkwell::values::PointerValue;
use moat_optimizer::nest::{Loop, LoopKind, Node};

impl<'c> Cx<'c, '_> {
    /// Emits statements in order.
    pub(crate) fn nodes(&self, frame: &mut Frame<'c>, nodes: &[Node]) -> Emit<()> {
        for node in nodes {
            match node {
                Node::Loop(inner) => self.any_loop(frame, inner)?,
                Node::Tile(tile) => self.tile(frame, tile)?,
            }
        }
        Ok(())
    }

    /// A variable's name, for people.
    pub(super) fn var_name(&self, var: usize) -> String {
        self.nest.vars.get(var).cloned().unwrap_or_else(|| format!("x{var}"))
    }

    fn any_loop(&self, frame: &mut Frame<'c>, node: &Loop) -> Emit<()> {
        let name = self.var_name(node.var);
        let Some(step) = i64::try_from(node.step).ok().filter(|&step| step > 0) else {
            return Err(self.malformed(&name, format!("step {}", node.step)));
        };
        let Some(bounds) = Bounds::new(&node.range, &|v| frame.facts(v)) else {
            return Err(self.malformed(&name, "bounds are not in scope"));
        };
        let Some(facts) = bounds.variable(step, &|v| frame.facts(v)) else { return Ok(()) };
        if bounds.extent.1 <= 0 {
            return Ok(());
        }
        let (lo, hi) = self.interval(frame, &bounds)?;
        let parallel = match node.kind {
            LoopKind::Serial => false,
            LoopKind::Parallel => self.options.threads > 1 && !frame.parallel && bounds.extent.1 > step,
        };
        if parallel {
            return self.parallel(frame, node, facts, lo, hi);
        }
        if bounds.extent.1 <= step {
            // At most one iteration.
            frame.bind(node.var, lo, facts);
            if bounds.extent.0 > 0 {
                self.nodes(frame, &node.body)?;
            } else {
                let runs = self.icmp(IntPredicate::SLT, lo.into(), hi.into())?;
                self.when(runs, &name, &mut || self.nodes(frame, &node.body))?;
            }
        } else {
            let last = self.index_add(hi, self.i64(-1), "last")?;
            self.counted(lo, last, step, &name, &mut |x| {
                frame.bind(node.var, x, facts);
                self.nodes(frame, &node.body)
            })?;
        }
        frame.unbind(node.var);
        Ok(())
    }

    /// Where a buffer begins.
    pub(crate) fn buffer(&self, frame: &Frame<'c>, buffer: usize) -> Emit<PointerValue<'c>> {
        frame.buffers.get(&buffer).copied().ok_or_else(|| self.malformed("buffers", format!("no buffer {buffer}")))
    }
}
