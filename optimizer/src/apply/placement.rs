//! What is computed inside of a consumer's loops, and which region of it is needed there.

use super::error::ApplyError;
use super::stage::Stage;
use super::state::Apply;
use crate::form::scalar_tree::{Access, DefId, ScalarOp, Source};
use crate::integer::intervals::{Interval, hull, image};
use crate::schedule::Place;
use std::collections::BTreeMap;

impl Apply<'_> {
    /// Definitions placed inside at least `depth` loops of `consumer`, in order, each with its
    /// depth if it is placed there directly.
    pub(super) fn inside(&self, consumer: DefId, depth: usize) -> Vec<(DefId, Option<usize>)> {
        let mut inside: Vec<(DefId, Option<usize>)> = Vec::new();
        for id in (0..consumer).rev() {
            let direct = match self.schedule.stages[id].place {
                Place::At { consumer: c, depth: d } if c == consumer && d >= depth => Some(Some(d)),
                Place::At { consumer: c, .. } if inside.iter().any(|&(other, _)| other == c) => Some(None),
                Place::At { .. } | Place::Inline | Place::Root => None,
            };
            if let Some(direct) = direct {
                inside.push((id, direct));
            }
        }
        inside.reverse();
        inside
    }

    /// What is needed of each definition in `inside` for the current intervals of `stage`.
    pub(super) fn regions(
        &self,
        stage: &Stage<'_>,
        own: &[Interval],
        inside: &[(DefId, Option<usize>)],
    ) -> Result<BTreeMap<DefId, Vec<Interval>>, ApplyError> {
        let mut regions: BTreeMap<DefId, Vec<Interval>> = BTreeMap::new();
        self.demand(stage.id, stage.piece, own, inside, &mut regions)?;
        for &(id, _) in inside.iter().rev() {
            let Some(region) = regions.get(&id).cloned() else { continue };
            for piece in 0..self.pieces[id].len() {
                let axes = self.axis_states(id, piece, &region);
                let boxes: Vec<Interval> = axes.into_iter().map(|axis| axis.hull).collect();
                self.demand(id, piece, &boxes, inside, &mut regions)?;
            }
        }
        Ok(regions)
    }

    /// Adds what one reader needs.
    fn demand(
        &self,
        reader: DefId,
        piece: usize,
        boxes: &[Interval],
        inside: &[(DefId, Option<usize>)],
        regions: &mut BTreeMap<DefId, Vec<Interval>>,
    ) -> Result<(), ApplyError> {
        for node in &self.pieces[reader][piece].piece.value.nodes {
            let ScalarOp::Load(Source::Def(source), access) = &node.op else { continue };
            if !inside.iter().any(|&(id, _)| id == *source) {
                continue;
            }
            let extents = &self.form.defs[*source].axes;
            let Access::Axes(indices) = access else {
                return self.malformed(
                    *source,
                    format!("`{}` reads it through a reshape, so it must be stored whole", self.form.defs[reader].name),
                );
            };
            let touched: Vec<Interval> = indices
                .iter()
                .zip(extents)
                .map(|(index, &extent)| {
                    let (index, outer) = self.parted(index);
                    let Interval { base, extent: length } = image(&index, boxes);
                    clip(Interval { base: base.plus(&outer), extent: length }, extent)
                })
                .collect();
            match regions.get_mut(source) {
                None => {
                    regions.insert(*source, touched);
                }
                Some(region) => {
                    for ((known, new), &extent) in region.iter_mut().zip(&touched).zip(extents) {
                        *known = hull(known, new).map_or(Interval::whole(extent), |both| clip(both, extent));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The interval, or the whole axis where it is no longer than that.
fn clip(interval: Interval, extent: usize) -> Interval {
    let whole = Interval::whole(extent);
    if interval.extent >= whole.extent { whole } else { interval }
}
