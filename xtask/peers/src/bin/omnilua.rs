//! `omnilua FILE`: runs a Lua program with the crate omnilua, as Lua 5.4.

use std::error::Error;

use omnilua::Lua;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: omnilua FILE")?;
    let source = std::fs::read(&path)?;
    // `Display` of its errors may be long; they are not shown, only that there was one.
    Lua::new().load(&source[..]).exec().map_err(|error| error.to_string())?;
    Ok(())
}
