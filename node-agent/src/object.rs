//! The compiled kernel programs that this binary carries.

use aya::include_bytes_aligned;

static BYTES: &[u8] = include_bytes_aligned!(env!("SLUICE_EBPF_OBJECT"));

/// This binary was built where nothing could compile for the kernel.
#[derive(Debug, thiserror::Error)]
#[error("this binary was built without kernel programs: {0}")]
pub struct Missing(&'static str);

/// The ELF object.
pub fn bytes() -> Result<&'static [u8], Missing> {
    if BYTES.is_empty() {
        Err(Missing(env!("SLUICE_EBPF_MISSING")))
    } else {
        Ok(BYTES)
    }
}
