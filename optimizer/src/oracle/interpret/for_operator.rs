//! Loops over elements, compiled for each binary operator alone.

/// The expression with the operator as the constant of the given name: a loop in it does not ask for the operator in
/// every step.
macro_rules! for_operator {
    ($op:expr, $name:ident => $body:expr) => {
        match $op {
            BinaryOp::Add => {
                const $name: BinaryOp = BinaryOp::Add;
                $body
            }
            BinaryOp::Sub => {
                const $name: BinaryOp = BinaryOp::Sub;
                $body
            }
            BinaryOp::Mul => {
                const $name: BinaryOp = BinaryOp::Mul;
                $body
            }
            BinaryOp::Div => {
                const $name: BinaryOp = BinaryOp::Div;
                $body
            }
            BinaryOp::FloorDiv => {
                const $name: BinaryOp = BinaryOp::FloorDiv;
                $body
            }
            BinaryOp::Mod => {
                const $name: BinaryOp = BinaryOp::Mod;
                $body
            }
            BinaryOp::Pow => {
                const $name: BinaryOp = BinaryOp::Pow;
                $body
            }
            BinaryOp::Minimum => {
                const $name: BinaryOp = BinaryOp::Minimum;
                $body
            }
            BinaryOp::Maximum => {
                const $name: BinaryOp = BinaryOp::Maximum;
                $body
            }
            BinaryOp::And => {
                const $name: BinaryOp = BinaryOp::And;
                $body
            }
            BinaryOp::Or => {
                const $name: BinaryOp = BinaryOp::Or;
                $body
            }
            BinaryOp::Xor => {
                const $name: BinaryOp = BinaryOp::Xor;
                $body
            }
            BinaryOp::Shl => {
                const $name: BinaryOp = BinaryOp::Shl;
                $body
            }
            BinaryOp::Shr => {
                const $name: BinaryOp = BinaryOp::Shr;
                $body
            }
            BinaryOp::Eq => {
                const $name: BinaryOp = BinaryOp::Eq;
                $body
            }
            BinaryOp::Ne => {
                const $name: BinaryOp = BinaryOp::Ne;
                $body
            }
            BinaryOp::Lt => {
                const $name: BinaryOp = BinaryOp::Lt;
                $body
            }
            BinaryOp::Le => {
                const $name: BinaryOp = BinaryOp::Le;
                $body
            }
            BinaryOp::Gt => {
                const $name: BinaryOp = BinaryOp::Gt;
                $body
            }
            BinaryOp::Ge => {
                const $name: BinaryOp = BinaryOp::Ge;
                $body
            }
        }
    };
}

pub(super) use for_operator;
