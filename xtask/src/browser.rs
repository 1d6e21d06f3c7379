//! Finding Chromium, or installing it.

use std::path::PathBuf;

use crate::debian;
use crate::error::{Error, Result};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The path of a Chromium or Chrome that tests can drive.
pub fn chromium() -> Result<PathBuf> {
    debian::program(&NAMES, "chromium").ok_or_else(|| {
        Error::Missing(
            "the browser tests need Chromium; install it (Debian: `apt-get install chromium`, elsewhere Chrome or \
             Chromium as `chromium` or `google-chrome` on the PATH) and run the command again"
                .into(),
        )
    })
}
