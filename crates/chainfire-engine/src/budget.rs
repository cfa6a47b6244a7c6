//! How much of the store one answer may hold, counted while it is collected.

/// What an answer may still hold. Each row is charged before it is taken in; the very first one always is, so that
/// whoever reads on where an answer ended gets on.
#[derive(Debug)]
pub struct Budget {
    left: usize,
    cost: Cost,
    begun: bool,
    spent: bool,
}

/// What a row of this key and this value costs.
pub type Cost = fn(&[u8], &[u8]) -> usize;

impl Budget {
    /// At most this much in all.
    #[must_use]
    pub fn new(left: usize, cost: Cost) -> Self {
        Self {
            left,
            cost,
            begun: false,
            spent: false,
        }
    }

    /// No bound: what etcd's doors and the log do.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX, |_, _| 0)
    }

    /// Charges a row; false when it does not fit, and from then on.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> bool {
        let cost = (self.cost)(key, value);
        if self.begun && cost > self.left {
            self.spent = true;
        }
        self.begun = true;
        self.left = self.left.saturating_sub(cost);
        !self.spent
    }

    /// Whether a row did not fit.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_row_may_be_larger_than_the_budget() {
        let mut budget = Budget::new(10, |key, value| key.len() + value.len());
        assert!(budget.take(b"key", b"more than ten bytes"));
        assert!(!budget.take(b"k", b""));
        assert!(budget.is_spent());
        let mut budget = Budget::new(10, |key, value| key.len() + value.len());
        assert!(budget.take(b"k", b"v"));
        assert!(budget.take(b"k", b"seven b"));
        assert!(!budget.is_spent());
        assert!(!budget.take(b"k", b""));
        // What comes later is not taken instead: an answer has no holes.
        assert!(!budget.take(b"", b""));
    }
}
