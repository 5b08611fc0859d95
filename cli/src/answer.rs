//! What a text needs of an agent's answers. Fields that are not shown are not read, so an agent of a
//! later version can say more.

pub mod explanation;
pub mod status;
