//! Whose is a frontend? Attacks on what is not granted, and rivals, one by one and in any order.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

mod attacks;
mod rivals;
mod world;
