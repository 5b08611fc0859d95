//! What a text needs of an answer. Fields that are not shown are not read, so an agent or an API of a
//! later version can say more.

pub mod choices;
pub mod explanation;
pub mod policy;
pub mod report;
pub mod split;
pub mod status;
