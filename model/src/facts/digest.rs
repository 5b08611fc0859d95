//! A number for a text, the same in every process and on every machine (FNV-1a). It is no defence: whoever
//! chooses texts can make two that have one number.

pub(super) fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
