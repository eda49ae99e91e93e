//! What is known of an array as a whole, beside the errors of its elements: where its numbers come from.

/// What later operators have to know of an array as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traits {
    /// Roundings decide whether some element has a value.
    pub(super) hangs: bool,
    /// Zeros of a mask are among the elements.
    pub(super) masked: bool,
    /// It is a product one of whose factors is masked.
    pub(super) masked_product: bool,
    /// Of a product: the most that a product of some of its factors may be. 0 of anything else.
    pub(super) partial: f64,
}

impl Traits {
    /// Those of an array that holds elements of both.
    pub(super) fn joined(self, other: Traits) -> Traits {
        Traits {
            hangs: self.hangs | other.hangs,
            masked: self.masked | other.masked,
            masked_product: self.masked_product | other.masked_product,
            partial: self.partial.max(other.partial),
        }
    }
}
