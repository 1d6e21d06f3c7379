//! os
use super::Functions;
pub(super) const FUNCTIONS: Functions = &[];
