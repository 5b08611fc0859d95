//! Policies in the index: which Services a change of one touches.

use super::{Index, replace};
use crate::{facts::split, key::SplitKey};

impl Index {
    pub(super) fn put_split(&mut self, key: &SplitKey, fact: Option<split::Fact>) {
        let Some(old) = replace(&mut self.splits, key, fact) else {
            return;
        };
        let old_callers = old.as_ref().map_or(&[][..], |old| &old.callers);
        let callers = self.splits.get(key).map_or(&[][..], |new| &new.callers);
        self.dirty_places.callers |= old_callers != callers;
        if let Some(old) = old {
            self.splits_on.remove(&old.service, key);
            for lender in old.lenders() {
                self.borrowers.remove(lender, key);
            }
            self.dirty.insert(old.service);
        }
        if let Some(new) = self.splits.get(key) {
            self.splits_on.add(new.service.clone(), key.clone());
            for lender in new.lenders() {
                self.borrowers.add(lender.clone(), key.clone());
            }
            self.dirty.insert(new.service.clone());
        }
    }
}
