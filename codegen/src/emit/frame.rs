//! The function being written: its buffers, its loop variables, and the loop shapes shared by
//! loops and tiles.

use super::cx::{Cx, Emit, Value};
use super::facts::{Bounds, Facts};
use inkwell::IntPredicate;
use inkwell::basic_block::BasicBlock;
use inkwell::values::{BasicValue, IntValue, PointerValue};
use moat_optimizer::integer::affine::Affine;
use std::collections::BTreeMap;

/// A variable in scope.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'c> {
    pub(crate) value: IntValue<'c>,
    pub(crate) facts: Facts,
    /// How many variables were in scope before it: index arithmetic adds outer terms first, so
    /// that what is invariant in the inner loops is one value.
    depth: usize,
}

/// State of one function.
#[derive(Clone, Default)]
pub(crate) struct Frame<'c> {
    pub(crate) buffers: BTreeMap<usize, PointerValue<'c>>,
    vars: BTreeMap<usize, Bound<'c>>,
    /// Where the buffer that the tile being written stores to begins for it, if a value moves it.
    pub(crate) moved: Option<PointerValue<'c>>,
    /// Inside a parallel loop.
    pub(crate) parallel: bool,
}

impl<'c> Frame<'c> {
    pub(crate) fn bind(&mut self, var: usize, value: IntValue<'c>, facts: Facts) {
        let depth = self.vars.get(&var).map_or(self.vars.len(), |bound| bound.depth);
        self.vars.insert(var, Bound { value, facts, depth });
    }

    pub(crate) fn unbind(&mut self, var: usize) {
        self.vars.remove(&var);
    }

    pub(crate) fn facts(&self, var: usize) -> Option<Facts> {
        self.vars.get(&var).map(|bound| bound.facts)
    }

    pub(crate) fn bound(&self, var: usize) -> Option<Bound<'c>> {
        self.vars.get(&var).copied()
    }

    pub(crate) fn vars(&self) -> impl Iterator<Item = (usize, Bound<'c>)> {
        let mut vars: Vec<_> = self.vars.iter().map(|(&var, &bound)| (var, bound)).collect();
        vars.sort_by_key(|(_, bound)| bound.depth);
        vars.into_iter()
    }
}

impl<'c> Cx<'c, '_> {
    pub(crate) fn index_add(&self, a: IntValue<'c>, b: IntValue<'c>, name: &str) -> Emit<IntValue<'c>> {
        Ok(self.builder.build_int_nsw_add(a, b, name)?)
    }

    /// The variable part of a form: without its constant.
    pub(crate) fn affine_terms(&self, frame: &Frame<'c>, form: &Affine) -> Emit<Option<IntValue<'c>>> {
        let mut terms = Vec::with_capacity(form.terms.len());
        for &(var, coefficient) in &form.terms {
            let Some(bound) = frame.vars.get(&var) else {
                return Err(self.malformed(&form.to_string(), format!("variable {var} is not in scope")));
            };
            terms.push((bound.depth, bound.value, coefficient));
        }
        terms.sort_by_key(|&(depth, ..)| depth);
        let mut sum: Option<IntValue<'c>> = None;
        for (_, value, coefficient) in terms {
            let term = if coefficient == 1 {
                value
            } else {
                self.builder.build_int_nsw_mul(value, self.i64(coefficient), "scaled")?
            };
            sum = Some(match sum {
                Some(sum) => self.index_add(sum, term, "index")?,
                None => term,
            });
        }
        Ok(sum)
    }

    pub(crate) fn affine(&self, frame: &Frame<'c>, form: &Affine) -> Emit<IntValue<'c>> {
        match self.affine_terms(frame, form)? {
            Some(terms) if form.constant == 0 => Ok(terms),
            Some(terms) => self.index_add(terms, self.i64(form.constant), "index"),
            None => Ok(self.i64(form.constant)),
        }
    }

    /// The greatest (or least) of some forms.
    pub(crate) fn extreme(&self, frame: &Frame<'c>, forms: &[Affine], greatest: bool) -> Emit<IntValue<'c>> {
        let mut best: Option<IntValue<'c>> = None;
        for form in forms {
            let value = self.affine(frame, form)?;
            best = Some(match best {
                None => value,
                Some(best) => {
                    let name = if greatest { "llvm.smax" } else { "llvm.smin" };
                    let args: [Value<'c>; 2] = [best.into(), value.into()];
                    self.scalar_int(self.intrinsic(name, &[self.context.i64_type().into()], &args)?)?
                }
            });
        }
        best.ok_or_else(|| self.malformed("bounds", "no bound"))
    }

    /// Least and greatest bound of an interval as values.
    pub(crate) fn interval(&self, frame: &Frame<'c>, bounds: &Bounds) -> Emit<(IntValue<'c>, IntValue<'c>)> {
        Ok((self.extreme(frame, &bounds.los, true)?, self.extreme(frame, &bounds.his, false)?))
    }

    /// `while x ≤ last { body(x); x += step }`; returns x after the loop.
    pub(crate) fn counted(
        &self,
        from: IntValue<'c>,
        last: IntValue<'c>,
        step: i64,
        name: &str,
        body: &mut dyn FnMut(IntValue<'c>) -> Emit<()>,
    ) -> Emit<IntValue<'c>> {
        self.strided(from, last, self.i64(step), name, body)
    }

    /// As [`Cx::counted`], by a step above 0 that is only known when the kernel runs.
    pub(crate) fn strided(
        &self,
        from: IntValue<'c>,
        last: IntValue<'c>,
        step: IntValue<'c>,
        name: &str,
        body: &mut dyn FnMut(IntValue<'c>) -> Emit<()>,
    ) -> Emit<IntValue<'c>> {
        let before = self.here()?;
        let head = self.block(&format!("{name}.head"))?;
        let inside = self.block(&format!("{name}.body"))?;
        self.builder.build_unconditional_branch(head)?;
        self.builder.position_at_end(head);
        let phi = self.builder.build_phi(self.context.i64_type(), name)?;
        let x = self.scalar_int(phi.as_basic_value())?;
        let more = self.icmp(IntPredicate::SLE, x.into(), last.into())?;
        self.builder.position_at_end(inside);
        body(x)?;
        let next = self.index_add(x, step, &format!("{name}.next"))?;
        phi.add_incoming(&[(&from, before), (&next, self.here()?)]);
        self.builder.build_unconditional_branch(head)?;
        let after = self.block(&format!("{name}.end"))?;
        self.builder.position_at_end(head);
        self.builder.build_conditional_branch(self.scalar_int(more)?, inside, after)?;
        self.builder.position_at_end(after);
        Ok(x)
    }

    /// `if condition { body }`; returns the block that ends the body and the block that skips it.
    pub(crate) fn when(
        &self,
        condition: Value<'c>,
        name: &str,
        body: &mut dyn FnMut() -> Emit<()>,
    ) -> Emit<(BasicBlock<'c>, BasicBlock<'c>)> {
        let before = self.here()?;
        let inside = self.block(&format!("{name}.then"))?;
        let after = self.context.append_basic_block(self.function()?, &format!("{name}.end"));
        self.builder.build_conditional_branch(self.scalar_int(condition)?, inside, after)?;
        self.builder.position_at_end(inside);
        body()?;
        let end = self.here()?;
        self.builder.build_unconditional_branch(after)?;
        self.builder.position_at_end(after);
        Ok((end, before))
    }

    /// `condition ? then : otherwise` on indices.
    pub(crate) fn choose(&self, condition: Value<'c>, then: IntValue<'c>, other: IntValue<'c>) -> Emit<IntValue<'c>> {
        self.scalar_int(self.select(condition, then.as_basic_value_enum(), other.as_basic_value_enum())?)
    }
}
