//! A set of parts, one bit for each.

/// Parts from 0 on. Its memory is that of the largest part that was added.
#[derive(Clone, Debug, Default)]
pub struct PartSet(Vec<u64>);

impl PartSet {
    pub fn contains(&self, part: u64) -> bool {
        self.0.get((part / 64) as usize).is_some_and(|word| word & (1 << (part % 64)) != 0)
    }

    pub fn insert(&mut self, part: u64) {
        let word = (part / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (part % 64);
    }

    pub fn remove(&mut self, part: u64) {
        if let Some(word) = self.0.get_mut((part / 64) as usize) {
            *word &= !(1 << (part % 64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_there_until_it_is_removed() {
        let mut set = PartSet::default();
        [0, 63, 64, 1_000].into_iter().for_each(|part| set.insert(part));
        let there: Vec<u64> = (0..2_000).filter(|&part| set.contains(part)).collect();
        assert_eq!(there, [0, 63, 64, 1_000]);
        [63, 1_999, 1_000_000].into_iter().for_each(|part| set.remove(part));
        let there: Vec<u64> = (0..2_000).filter(|&part| set.contains(part)).collect();
        assert_eq!(there, [0, 64, 1_000]);
    }
}
