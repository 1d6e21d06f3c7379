//! The files in memory that Lua code may have.

use cu_storage::Document;
use cu_vm::MemoryFiles;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::options::Options;

#[wasm_bindgen]
impl Instance {
    /// The contents of a file, if there is one.
    #[wasm_bindgen(js_name = readFile)]
    pub fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.files()?.get(path.as_bytes()))
    }

    /// Puts a file there, and the directories it lies in.
    #[wasm_bindgen(js_name = writeFile)]
    pub fn write_file(&self, path: &str, contents: &[u8]) -> Result<()> {
        insert(self.files()?, path.as_bytes(), contents)
    }

    /// The paths of all files, an array of strings, sorted.
    #[wasm_bindgen(js_name = listFiles)]
    pub fn list_files(&self) -> Result<Vec<u8>> {
        let paths = self.files()?.paths().into_iter().map(Document::String);
        Ok(Document::Array(paths.collect()).encode()?)
    }
}

impl Instance {
    fn files(&self) -> Result<&MemoryFiles> {
        self.files.as_ref().ok_or_else(|| Error::invalid("files", "must be given when the instance is opened"))
    }
}

/// The files that options ask for.
pub fn files(options: &Options) -> Result<Option<MemoryFiles>> {
    let Some(contents) = options.strings("files")? else {
        return Ok(None);
    };
    let files = options.size("filesLimit")?.map_or_else(MemoryFiles::new, MemoryFiles::with_limit);
    for (path, bytes) in contents {
        insert(&files, path, bytes)?;
    }
    Ok(Some(files))
}

fn insert(files: &MemoryFiles, path: &[u8], contents: &[u8]) -> Result<()> {
    files.insert(path, contents).map_err(|error| {
        let path = String::from_utf8_lossy(path);
        Error::invalid("files", &format!("{path}: {}", error.reason))
    })
}
