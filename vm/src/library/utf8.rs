//! utf8
use super::Functions;
use crate::context::Context;
use crate::heap::table::Table;
pub(super) const FUNCTIONS: Functions = &[];
pub(super) fn open<'gc>(_c: Context<'gc>, _t: Table<'gc>) {}
