//! What a blob may take before it is refused.

/// Upper bounds for saving and loading; the defaults suit a desktop program and a browser tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the payload after decompression.
    pub payload_bytes: usize,
    /// Strings, tables, closures, upvalues, prototypes and natives together.
    pub objects: usize,
    /// Bytes of code, constants and debug information of all functions, each counted as often as a closure needs it.
    pub function_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { payload_bytes: 64 << 20, objects: 8_000_000, function_bytes: 32 << 20 }
    }
}
