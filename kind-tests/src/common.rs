//! What the tests of a target have in common, such as a cluster; and the right to disturb it.

use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::Result;
use sluice_testbed::tier::Shared;

/// Made by the first test that asks, removed after the last.
pub struct Common<T: 'static> {
    shared: Shared<T>,
    /// Held by all tests: by those that disturb alone.
    peace: RwLock<()>,
}

/// For the time of one test.
pub struct Use<T, G> {
    thing: Arc<T>,
    _peace: G,
}

pub type Quiet<T> = Use<T, RwLockReadGuard<'static, ()>>;
pub type Alone<T> = Use<T, RwLockWriteGuard<'static, ()>>;

impl<T: Send + Sync> Common<T> {
    pub const fn new(make: fn() -> Result<T>) -> Self {
        Self {
            shared: Shared::new(make),
            peace: RwLock::new(()),
        }
    }

    /// For a test that leaves the others in peace.
    pub fn quiet(&'static self) -> Result<Quiet<T>> {
        // A test that failed while it was alone has left no half of a value here.
        let peace = self.peace.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Use {
            thing: self.shared.get()?,
            _peace: peace,
        })
    }

    /// For a test that disturbs others.
    pub fn alone(&'static self) -> Result<Alone<T>> {
        let peace = self.peace.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Use {
            thing: self.shared.get()?,
            _peace: peace,
        })
    }
}

impl<T, G> Deref for Use<T, G> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.thing
    }
}
