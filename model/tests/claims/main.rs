//! Whose is a frontend? Attacks on what is not granted, and rivals, one by one and in any order.

mod attacks;
mod rivals;
mod world;
