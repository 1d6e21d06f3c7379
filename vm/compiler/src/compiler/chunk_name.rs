//! How a chunk's name is shown in messages: `script.lua`, `stdin`, `[string "print(1)..."]`.

/// The longest name shown, with the terminator that C Lua counts (`LUA_IDSIZE`).
const DISPLAY_SIZE: usize = 60;

/// The name as it appears in messages and tracebacks: `@file` as the file (its end, if long), `=name` as the name,
/// anything else as `[string "first line..."]`. Ends at a zero byte, as C Lua's text does.
pub fn display_chunk_name(chunk_name: &[u8]) -> Vec<u8> {
    let mut shown = match chunk_name.split_first() {
        Some((b'=', name)) => name[..name.len().min(DISPLAY_SIZE - 1)].to_vec(),
        Some((b'@', file)) => display_file(file),
        _ => display_source(chunk_name),
    };
    if let Some(end) = shown.iter().position(|&byte| byte == 0) {
        shown.truncate(end);
    }
    shown
}

fn display_file(file: &[u8]) -> Vec<u8> {
    if file.len() < DISPLAY_SIZE {
        return file.to_vec();
    }
    let kept = DISPLAY_SIZE - 1 - b"...".len();
    [b"...", &file[file.len() - kept..]].concat()
}

fn display_source(source: &[u8]) -> Vec<u8> {
    const ROOM: usize = DISPLAY_SIZE - "[string \"...\"]".len() - 1;
    // C Lua looks for the line's end in a C string.
    let searched = source.split(|&byte| byte == 0).next().unwrap_or_default();
    let line_end = searched.iter().position(|&byte| byte == b'\n');
    if source.len() < ROOM && line_end.is_none() {
        return [b"[string \"", source, b"\"]"].concat();
    }
    let length = line_end.unwrap_or(source.len()).min(ROOM);
    [b"[string \"", &source[..length], b"...\"]"].concat()
}
