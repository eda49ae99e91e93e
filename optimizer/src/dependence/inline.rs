//! Inlining: a definition's scalar expression substituted into its readers.
//!
//! Input: a normal form and which definitions are inlined. Output: the pieces of every definition
//! that stays, reading only parameters, states and definitions that stay. Legality (no fold, one
//! piece, no flat access; by [`check_inlined`], nothing that must stay where it is) is checked here
//! again, because a wrong substitution is a wrong program.

use crate::dependence::movable::stays;
use crate::form::normal_form::{NormalForm, Piece};
use crate::form::scalar_tree::{Access, DefId, Scalar, ScalarNode, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::loop_of;
use std::collections::BTreeMap;

/// A piece after inlining, with the places that its own loads ended up at.
#[derive(Clone, Debug, PartialEq)]
pub struct InlinedPiece {
    /// The piece; its loads read no inlined definition.
    pub piece: Piece,
    /// For each load of the original expression, in order: its node in the new one; `None` where
    /// the load read an inlined definition.
    pub loads: Vec<Option<usize>>,
}

/// Why a definition cannot be inlined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InlineError {
    /// The definition folds, has several pieces, is a result, or must be stored where it stands.
    #[error("definition `{name}` cannot be inlined: {why}")]
    NotInlinable {
        /// The definition.
        name: String,
        /// The reason.
        why: &'static str,
    },
    /// A reader addresses the definition by an offset into its ravel.
    #[error("`{reader}` reads `{name}` through a reshape between unrelated radices, so `{name}` must be stored")]
    FlatAccess {
        /// The definition.
        name: String,
        /// The definition that reads it.
        reader: String,
    },
}

/// Checks that every definition for which `inlined` holds may be substituted where it is read.
///
/// # Errors
/// When one of them may not.
pub fn check_inlined(form: &NormalForm, inlined: impl Fn(DefId) -> bool) -> Result<(), InlineError> {
    let stays = if (0..form.defs.len()).any(&inlined) { stays(form) } else { Vec::new() };
    match stays.into_iter().find(|&id| inlined(id)) {
        Some(id) if form.outputs.contains(&id) => not_inlinable(form, id, "it is a result"),
        Some(id) => not_inlinable(form, id, "it is an update, or it must be stored where it stands"),
        None => Ok(()),
    }
}

fn not_inlinable<T>(form: &NormalForm, id: DefId, why: &'static str) -> Result<T, InlineError> {
    Err(InlineError::NotInlinable { name: form.defs[id].name.clone(), why })
}

/// Substitutes every definition for which `inlined` holds, and which [`check_inlined`] allows; returns, for each
/// definition, its pieces (for an inlined one they are not used further).
///
/// # Errors
/// When a definition cannot be substituted.
pub fn inline(form: &NormalForm, inlined: impl Fn(DefId) -> bool) -> Result<Vec<Vec<InlinedPiece>>, InlineError> {
    let mut result: Vec<Vec<InlinedPiece>> = Vec::with_capacity(form.defs.len());
    for (id, def) in form.defs.iter().enumerate() {
        if inlined(id) {
            match def.pieces.as_slice() {
                [piece] if piece.fold.is_none() => {}
                [_] => return not_inlinable(form, id, "it folds"),
                _ => return not_inlinable(form, id, "it has several pieces"),
            }
        }
        let mut pieces = Vec::with_capacity(def.pieces.len());
        for piece in &def.pieces {
            let mut builder = Builder::default();
            let mut loads = Vec::new();
            let mut map = Vec::with_capacity(piece.value.nodes.len());
            for node in &piece.value.nodes {
                let at = match &node.op {
                    ScalarOp::Load(Source::Def(source), access) if inlined(*source) => {
                        loads.push(None);
                        let Access::Axes(indices) = access else {
                            return Err(InlineError::FlatAccess {
                                name: form.defs[*source].name.clone(),
                                reader: def.name.clone(),
                            });
                        };
                        builder.splice(&result[*source][0].piece.value, indices)
                    }
                    ScalarOp::Load(..) => {
                        // A gather has an operand.
                        let at = builder.add(ScalarNode { op: node.op.renumbered(|x| map[x]), dtype: node.dtype });
                        loads.push(Some(at));
                        at
                    }
                    op @ (ScalarOp::Const(_)
                    | ScalarOp::Index(_)
                    | ScalarOp::Unary(..)
                    | ScalarOp::Binary(..)
                    | ScalarOp::Where(..)
                    | ScalarOp::Cast(_)) => {
                        builder.add(ScalarNode { op: op.renumbered(|x| map[x]), dtype: node.dtype })
                    }
                };
                map.push(at);
            }
            let value = builder.finish(map.last().copied().unwrap_or(0), &mut loads);
            pieces.push(InlinedPiece { piece: Piece { value, ..piece.clone() }, loads });
        }
        result.push(pieces);
    }
    Ok(result)
}

/// A hash-consing scalar builder.
#[derive(Default)]
struct Builder {
    nodes: Vec<ScalarNode>,
    known: BTreeMap<String, usize>,
}

impl Builder {
    fn add(&mut self, node: ScalarNode) -> usize {
        let key = format!("{node:?}");
        if let Some(&at) = self.known.get(&key) {
            return at;
        }
        self.nodes.push(node);
        self.known.insert(key, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Adds `value` with its axes replaced by `indices`; returns its node.
    fn splice(&mut self, value: &Scalar, indices: &[Affine]) -> usize {
        let substitute = |form: &Affine| {
            form.substitute(|v| if loop_of(v).is_some() { Affine::variable(v) } else { indices[v].clone() })
        };
        let mut map = Vec::with_capacity(value.nodes.len());
        for node in &value.nodes {
            let op = node.op.with_forms(substitute).renumbered(|x| map[x]);
            map.push(self.add(ScalarNode { op, dtype: node.dtype }));
        }
        map.last().copied().unwrap_or(0)
    }

    /// The expression whose value is node `root`: nodes that it does not reach are dropped.
    fn finish(self, root: usize, loads: &mut [Option<usize>]) -> Scalar {
        let mut live = vec![false; self.nodes.len()];
        let mut work = vec![root];
        while let Some(at) = work.pop() {
            if !std::mem::replace(&mut live[at], true) {
                work.extend(self.nodes[at].op.operands());
            }
        }
        let mut map = vec![0; self.nodes.len()];
        let mut nodes = Vec::new();
        for (at, node) in self.nodes.into_iter().enumerate() {
            if live[at] {
                map[at] = nodes.len();
                nodes.push(ScalarNode { op: node.op.renumbered(|x| map[x]), dtype: node.dtype });
            }
        }
        for load in loads {
            *load = load.filter(|&at| live[at]).map(|at| map[at]);
        }
        // The root is last: everything after it was created for nothing and is dead.
        Scalar { nodes }
    }
}
