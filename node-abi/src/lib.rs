//! Bytes shared by the kernel programs and user space: map keys and values, verdicts, events.

#![no_std]
