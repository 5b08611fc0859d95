//! Memory that was freed goes back to the kernel when there is much of it.
//!
//! A first pass frees as much as it keeps: lists as they were read, and the plan. The allocator
//! holds on to pages between what is still in use, for a process that will want them again; an
//! agent does not.

/// Gives back every page that nothing is in.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
