//! The statements of the program being made, and the loops and conditions that they are in.
//!
//! Input: loops, conditions, statements and checks as a reading meets them. Output: the blocks that they fill, and what is
//! known of loop variables where the reading is.

use super::open::Open;
use crate::integer::affine::Affine;
use crate::integer::affine_domain::{Domain, LoopRange};
use crate::program::expr::{Check, NodeId, Statement};

/// What is open, and what was made.
#[derive(Debug)]
pub(super) struct Control {
    /// The statements of the program, of the open loop, of the open condition in it, …
    blocks: Vec<Vec<Statement>>,
    /// The open loops and conditions, as far as the program has them.
    domain: Domain,
    /// The name of each loop's variable.
    variables: Vec<String>,
    /// What must hold for there to be results: a bool scalar each, with the expression it belongs to.
    checks: Vec<(NodeId, Check)>,
    /// The open loops and conditions of all functions.
    open: Vec<Open>,
    /// How many loops and conditions were read.
    joins: usize,
    /// How many unrolled loops are open.
    unrolled: usize,
    /// How many copies of bodies of unrolled loops were read.
    copies: usize,
}

impl Default for Control {
    fn default() -> Control {
        Control {
            blocks: vec![Vec::new()],
            domain: Domain::default(),
            variables: Vec::new(),
            checks: Vec::new(),
            open: Vec::new(),
            joins: 0,
            unrolled: 0,
            copies: 0,
        }
    }
}

impl Control {
    /// What is known of the variables of the open loops.
    pub(super) fn domain(&self) -> &Domain {
        &self.domain
    }

    /// How many loops and conditions of the program are around.
    pub(super) fn depth(&self) -> usize {
        self.domain.loops.len() + self.domain.conditions.len()
    }

    /// The variable of the loop that comes next.
    pub(super) fn next_variable(&self) -> usize {
        self.variables.len()
    }

    /// The name of a loop's variable.
    pub(super) fn variable_name(&self, var: usize) -> String {
        self.variables.get(var).cloned().unwrap_or_default()
    }

    /// Begins a loop from `lo` to below `hi`; returns its variable.
    pub(super) fn enter_loop(&mut self, name: String, lo: Affine, hi: Affine) -> usize {
        let var = self.next_variable();
        self.variables.push(name);
        self.domain.loops.push(LoopRange { var, lo, hi });
        self.enter_block();
        var
    }

    /// Ends the innermost loop; returns its body.
    pub(super) fn leave_loop(&mut self) -> Vec<Statement> {
        self.domain.loops.pop();
        self.leave_block()
    }

    /// Begins a block of statements.
    pub(super) fn enter_block(&mut self) {
        self.blocks.push(Vec::new());
    }

    /// Ends the innermost block; returns its statements.
    pub(super) fn leave_block(&mut self) -> Vec<Statement> {
        self.blocks.pop().unwrap_or_default()
    }

    /// Takes conditions for true, as far as [`Control::forget`]; returns how many there were before.
    pub(super) fn assume(&mut self, conditions: impl IntoIterator<Item = Affine>) -> usize {
        let before = self.domain.conditions.len();
        self.domain.conditions.extend(conditions);
        before
    }

    /// Goes back to the first so many conditions.
    pub(super) fn forget(&mut self, before: usize) {
        self.domain.conditions.truncate(before);
    }

    /// Appends a statement to the innermost block.
    pub(super) fn append(&mut self, statement: Statement) {
        if let Some(block) = self.blocks.last_mut() {
            block.push(statement);
        }
    }

    /// Puts a statement before all others of the program.
    pub(super) fn prepend(&mut self, statement: Statement) {
        if let Some(first) = self.blocks.first_mut() {
            first.insert(0, statement);
        }
    }

    /// The innermost block.
    pub(super) fn innermost_block(&mut self) -> Option<&mut Vec<Statement>> {
        self.blocks.last_mut()
    }

    /// Whether a loop or condition of the program is open.
    pub(super) fn is_in_block(&self) -> bool {
        self.blocks.len() > 1
    }

    /// Notes that a bool scalar must hold.
    pub(super) fn check(&mut self, holds: NodeId, check: Check) {
        self.checks.push((holds, check));
    }

    /// Whether a bool scalar must hold already.
    pub(super) fn is_checked(&self, holds: NodeId) -> bool {
        self.checks.iter().any(|known| known.0 == holds)
    }

    /// Gives the checks away.
    pub(super) fn take_checks(&mut self) -> Vec<(NodeId, Check)> {
        std::mem::take(&mut self.checks)
    }

    /// How much was read that does more than compute a value: checks, statements, loops and conditions.
    pub(super) fn effects(&self) -> usize {
        self.checks.len() + self.blocks.iter().map(Vec::len).sum::<usize>() + self.joins
    }

    /// How many loops and conditions were read.
    pub(super) fn joins(&self) -> usize {
        self.joins
    }

    /// Counts one more loop or condition.
    pub(super) fn count_join(&mut self) {
        self.joins += 1;
    }

    /// The open loops and conditions, the innermost last.
    pub(super) fn open(&self) -> &[Open] {
        &self.open
    }

    /// The innermost open loop or condition.
    pub(super) fn innermost_mut(&mut self) -> Option<&mut Open> {
        self.open.last_mut()
    }

    /// Opens a loop or condition.
    pub(super) fn push_open(&mut self, open: Open) {
        self.open.push(open);
    }

    /// Closes the innermost loop or condition.
    pub(super) fn pop_open(&mut self) -> Option<Open> {
        self.open.pop()
    }

    /// Notes that an unrolled loop begins.
    pub(super) fn enter_unrolled(&mut self) {
        self.unrolled += 1;
    }

    /// Notes that an unrolled loop ends.
    pub(super) fn leave_unrolled(&mut self) {
        self.unrolled -= 1;
    }

    /// Whether an unrolled loop is open.
    pub(super) fn is_unrolled(&self) -> bool {
        self.unrolled > 0
    }

    /// How many copies of bodies of unrolled loops were read.
    pub(super) fn copies(&self) -> usize {
        self.copies
    }

    /// Counts one more copy of a body.
    pub(super) fn count_copy(&mut self) {
        self.copies += 1;
    }
}
