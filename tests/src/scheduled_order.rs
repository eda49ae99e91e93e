//! Whether a scheduled nest executes every dependence's source before its sink.
//!
//! Input: the [`SourceOrder`] of a form and the nest that a schedule makes of its marked form. Output: nothing, or the
//! first dependence that the nest reverses, in words. Three checks, over all instances:
//!
//! - every term reads what the same instances wrote as in source order (flow, and what an overwriting could change);
//! - of every two instances that touch one element of a state, of which one writes, the first ends before the second
//!   begins (flow, anti and output dependences as they are);
//! - the results end up written by the same instances.
//!
//! Copies (packs, results that are copies of states) carry the writer of what they copy along; a definition that is
//! computed several times is the same instance each time. The nest runs in the order that is written, or, *together*,
//! in one that its schedule leaves open as well: parallel loops backwards, and the elements of a register tile all read
//! before any is stored.

use crate::source_order::{SourceOrder, Writer};
use moat_optimizer::form::scalar_tree::{DefId, Gather, ScalarOp};
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;
use moat_optimizer::nest::{BufferRole, Loop, LoopKind, LoopNest, Node, Tile, TileScalar};
use std::collections::{BTreeMap, BTreeSet};

/// How the freedom that a schedule leaves is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One element after the other, as written.
    Written,
    /// Parallel loops backwards, register tiles together.
    Together,
}

/// Runs `nest`, made of the marked form with the definitions `inlined`.
///
/// # Errors
/// The first dependence that is reversed, in words.
pub fn check(source: &SourceOrder, nest: &LoopNest, inlined: &BTreeSet<DefId>, order: Order) -> Result<(), String> {
    let memory = nest.buffers.iter().map(|buffer| match buffer.role {
        BufferRole::Param(param) => (0..buffer.len).map(|at| Writer::Param(param, at)).collect(),
        BufferRole::Output(_) | BufferRole::Check(..) | BufferRole::Shared | BufferRole::Private => {
            vec![Writer::Nobody; buffer.len]
        }
    });
    let mut run = Run {
        source,
        nest,
        inlined,
        order,
        memory: memory.collect(),
        vars: vec![0; nest.vars.len()],
        clock: 0,
        times: BTreeMap::new(),
    };
    run.nodes(&nest.body)?;
    for (first, second) in source.dependences() {
        let times = [first, second].map(|instance| run.times.get(&instance));
        let [Some(first_time), Some(second_time)] = times else {
            // A value that is part of its readers, or that nobody needs: what it is made of was compared with the terms.
            let missing = [first, second].into_iter().zip(times).filter(|(_, time)| time.is_none());
            if missing.map(|(instance, _)| instance).all(|instance| source.is_value(instance)) {
                continue;
            }
            let [first, second] = [first, second].map(|instance| source.describe(Writer::Instance(instance)));
            return Err(format!("{first} or {second} is not executed"));
        };
        if first_time.1 >= second_time.0 {
            let [first, second] = [first, second].map(|instance| source.describe(Writer::Instance(instance)));
            return Err(format!("{second} depends on {first} through a state, and begins before that ends"));
        }
    }
    let results = source.outputs.len() - source.marked.checks.len().min(source.outputs.len());
    for (buffer, memory) in nest.buffers.iter().zip(&run.memory) {
        let index = match buffer.role {
            BufferRole::Output(index) => index,
            BufferRole::Check(check, _) => results + check,
            BufferRole::Param(_) | BufferRole::Shared | BufferRole::Private => continue,
        };
        for (at, (found, expected)) in memory.iter().zip(&source.outputs[index]).enumerate() {
            if found != expected {
                let (found, expected) = (source.describe(*found), source.describe(*expected));
                return Err(format!("result {index} at {at} is written by {found} last, not by {expected}"));
            }
        }
    }
    Ok(())
}

struct Run<'a> {
    source: &'a SourceOrder,
    nest: &'a LoopNest,
    inlined: &'a BTreeSet<DefId>,
    order: Order,
    memory: Vec<Vec<Writer>>,
    vars: Vec<i64>,
    clock: u64,
    /// When each instance begins and ends.
    times: BTreeMap<i64, (u64, u64)>,
}

/// The number of a tile's instance and what a term adds to it; `None` for a copy.
fn marks(tile: &Tile) -> Option<(&Affine, &Affine)> {
    let op = |at: usize| Some(&tile.value.get(at)?.computed()?.op);
    let ScalarOp::Where(_, _, cast) = op(tile.value.len().checked_sub(1)?)? else { return None };
    let ScalarOp::Cast(sum) = op(*cast)? else { return None };
    let ScalarOp::Binary(_, instance, term) = op(*sum)? else { return None };
    match (op(*instance)?, op(*term)?) {
        (ScalarOp::Index(instance), ScalarOp::Index(term)) => Some((instance, term)),
        _ => None,
    }
}

impl Run<'_> {
    fn at(&self, form: &Affine) -> i64 {
        form.evaluate(|v| self.vars[v])
    }

    fn range(&self, range: &Range) -> std::ops::Range<i64> {
        let low = range.lo.iter().map(|form| self.at(form)).max().unwrap_or(0);
        let high = range.hi.iter().map(|form| self.at(form)).min().unwrap_or(0);
        low..high
    }

    fn nodes(&mut self, nodes: &[Node]) -> Result<(), String> {
        nodes.iter().try_for_each(|node| match node {
            Node::Loop(inner) => self.run_loop(inner),
            Node::Tile(tile) => self.tile(tile, 0, &mut Vec::new()),
        })
    }

    fn run_loop(&mut self, inner: &Loop) -> Result<(), String> {
        let mut values: Vec<i64> = self.range(&inner.range).step_by(inner.step).collect();
        if inner.kind == LoopKind::Parallel && self.order == Order::Together {
            values.reverse();
        }
        values.into_iter().try_for_each(|x| {
            self.vars[inner.var] = x;
            self.nodes(&inner.body)
        })
    }

    /// The register tiles of a tile, from axis `axis` on; `blocks` holds the intervals of the axes before.
    fn tile(&mut self, tile: &Tile, axis: usize, blocks: &mut Vec<std::ops::Range<i64>>) -> Result<(), String> {
        let Some(next) = tile.points.get(axis) else { return self.register_tile(tile, blocks) };
        let size = match self.order {
            Order::Written => 1,
            Order::Together => i64::try_from(next.unroll * next.lanes).unwrap_or(i64::MAX),
        };
        // The axis's whole range over the blocks of the axes before.
        let mut whole: Option<std::ops::Range<i64>> = None;
        self.each(tile, 0, blocks, &mut |run| {
            let range = run.range(&next.range);
            if !range.is_empty() {
                whole = Some(match &whole {
                    None => range,
                    Some(known) => known.start.min(range.start)..known.end.max(range.end),
                });
            }
            Ok(())
        })?;
        let Some(whole) = whole else { return Ok(()) };
        let mut start = whole.start;
        while start < whole.end {
            blocks.push(start..whole.end.min(start + size));
            self.tile(tile, axis + 1, blocks)?;
            blocks.pop();
            start += size;
        }
        Ok(())
    }

    /// Calls `visit` at every point of the blocks that is within the ranges.
    fn each(
        &mut self,
        tile: &Tile,
        axis: usize,
        blocks: &[std::ops::Range<i64>],
        visit: &mut dyn FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let Some(block) = blocks.get(axis) else { return visit(self) };
        let range = self.range(&tile.points[axis].range);
        for x in range.start.max(block.start)..range.end.min(block.end) {
            self.vars[tile.points[axis].var] = x;
            self.each(tile, axis + 1, blocks, visit)?;
        }
        Ok(())
    }

    /// All elements are read for before any is stored.
    fn register_tile(&mut self, tile: &Tile, blocks: &[std::ops::Range<i64>]) -> Result<(), String> {
        let mut stores = Vec::new();
        self.each(tile, 0, blocks, &mut |run| {
            let store = run.element(tile)?;
            stores.push(store);
            Ok(())
        })?;
        let copies = marks(tile).is_none();
        for (at, writer) in stores {
            let writer = match (writer, tile.shift) {
                (Writer::Instance(own), Some(_)) => Writer::Instance(self.source.execution(own)),
                (writer, _) => writer,
            };
            if !copies {
                self.touch(writer);
            }
            // A value moves it: every element that it can name.
            let last = tile.shift.map_or(0, |shift| usize::try_from(shift.last).unwrap_or(0));
            let slots = self.memory[tile.target].get_mut(at..=at + last).ok_or("a store is out of bounds")?;
            slots.fill(writer);
        }
        Ok(())
    }

    fn touch(&mut self, writer: Writer) {
        if let Writer::Instance(instance) = writer {
            self.clock += 1;
            let time = self.times.entry(instance).or_insert((self.clock, self.clock));
            time.1 = self.clock;
        }
    }

    /// Reads for one element; where it is stored, and by whom.
    fn element(&mut self, tile: &Tile) -> Result<(usize, Writer), String> {
        let at = usize::try_from(self.at(&tile.offset)).map_err(|_| "a store is out of bounds")?;
        let Some((instance, term)) = marks(tile) else {
            return match self.loads(tile)?.as_slice() {
                [copied] => Ok((at, *copied)),
                others => Err(format!("`{}` copies {} values", tile.origin, others.len())),
            };
        };
        let own = self.at(instance);
        self.touch(Writer::Instance(own));
        if let Some(fold) = &tile.fold
            && fold.first.iter().any(|form| self.at(form) != 0)
            && self.memory[tile.target].get(at) != Some(&Writer::Instance(own))
        {
            let (own, found) = (Writer::Instance(own), self.memory[tile.target].get(at).copied());
            let found = self.source.describe(found.unwrap_or(Writer::Nobody));
            return Err(format!("{} continues its fold on a value of {found}", self.source.describe(own)));
        }
        self.terms(tile, 0, own, term)?;
        Ok((at, Writer::Instance(own)))
    }

    fn terms(&mut self, tile: &Tile, axis: usize, own: i64, term: &Affine) -> Result<(), String> {
        if let Some(next) = tile.folds.get(axis) {
            for x in self.range(&next.range) {
                self.vars[next.var] = x;
                self.terms(tile, axis + 1, own, term)?;
            }
            return Ok(());
        }
        let number = own + self.at(term);
        let found = self.loads(tile)?;
        let describe = |writers: &[Writer]| {
            writers.iter().map(|&writer| self.source.describe(writer)).collect::<Vec<_>>().join(", ")
        };
        match self.source.reads(number, self.inlined) {
            Some(expected) if expected == found => Ok(()),
            Some(expected) => Err(format!(
                "{} reads the values of {} instead of those of {}",
                self.source.describe(Writer::Instance(number)),
                describe(&found),
                describe(&expected)
            )),
            None => {
                Err(format!("{} is executed, but not in source order", self.source.describe(Writer::Instance(number))))
            }
        }
    }

    /// The writers of what a tile's value reads now, sorted, without repetition.
    fn loads(&self, tile: &Tile) -> Result<Vec<Writer>, String> {
        let mut all = Vec::new();
        if let Some(shift) = &tile.shift {
            let found = self.memory.get(shift.by).and_then(|by| by.first());
            all.push(*found.ok_or_else(|| format!("`{}` is moved by nothing", tile.origin))?);
        }
        for scalar in &tile.value {
            let (buffer, elements) = match scalar {
                TileScalar::Load { buffer, offset } => (*buffer, vec![self.at(offset)]),
                // Every element that the index can name.
                TileScalar::Gather { buffer, offset, stride, at } => {
                    let gather = Gather { offset: offset.clone(), stride: *stride, at: *at };
                    let node = |at: usize| tile.value.get(at)?.computed();
                    let (low, high) =
                        gather.bounds(node).ok_or_else(|| format!("`{}` gathers without bounds", tile.origin))?;
                    let known = self.at(offset);
                    (*buffer, (low..=high).map(|index| known + stride * index).collect())
                }
                TileScalar::Compute(_) => continue,
            };
            for at in elements {
                let found = usize::try_from(at).ok().and_then(|at| self.memory.get(buffer)?.get(at));
                all.push(*found.ok_or_else(|| {
                    format!("`{}` reads `{}` out of bounds", tile.origin, self.nest.buffers[buffer].name)
                })?);
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }
}
