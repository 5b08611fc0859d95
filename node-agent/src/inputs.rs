//! Where changes come from. Every input yields the same thing, so nothing behind it knows which.

use sluice_model::change::Change;

pub mod files;

/// What an input tells the agent.
#[derive(Clone, Debug)]
pub struct News {
    pub changes: Vec<Change>,
    pub view: View,
    pub problems: Vec<files::Problem>,
}

/// How much of the world an input has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Everything: what is not there does not exist.
    Whole,
    /// Some of it could never be read: nothing may be deleted for not being there.
    Partial,
}
