//! The halves of Lua's standard library that need no heap: text in, text or numbers out.
//!
//! Everything here is a pure function of its arguments, bit for bit the same on every platform: no locale, no
//! clock, no address, no hashing. Where C Lua leans on the C library (`printf`, `strtod`, `strftime`, `mktime`,
//! `isalpha`), the "C" locale of glibc is what is reproduced, because that is what recorded outputs show.
//!
//! Error values know their message (`message`) without the position prefix that `luaL_error` adds and without the
//! "bad argument" frame; the caller, who knows the function and argument, adds both. Messages are bytes because
//! they may quote the program's own bytes.

mod byte_map;
pub mod bytes;
pub mod date;
pub mod float;
pub mod format;
pub mod number;
pub mod pack;
pub mod pattern;
pub mod search;
pub mod utf8;
