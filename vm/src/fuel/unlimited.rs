//! Fuel that is neither counted nor looked at, for the build (`--cfg cu_unlimited`) that `cargo xtask bench limits` compares with the ordinary one.

use std::cmp::Ordering;
use std::ops::{AddAssign, SubAssign};

/// More than any amount, whatever is taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fuel;

impl From<i64> for Fuel {
    fn from(_: i64) -> Self {
        Fuel
    }
}

impl AddAssign<i64> for Fuel {
    #[inline(always)]
    fn add_assign(&mut self, _: i64) {}
}

impl SubAssign<i64> for Fuel {
    #[inline(always)]
    fn sub_assign(&mut self, _: i64) {}
}

impl PartialEq<i64> for Fuel {
    #[inline(always)]
    fn eq(&self, _: &i64) -> bool {
        false
    }
}

impl PartialOrd<i64> for Fuel {
    #[inline(always)]
    fn partial_cmp(&self, _: &i64) -> Option<Ordering> {
        Some(Ordering::Greater)
    }
}

impl Fuel {
    #[inline(always)]
    pub(crate) fn saturating_sub_unsigned(self, _: u64) -> Self {
        Fuel
    }
}
