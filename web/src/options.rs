//! Options as they come from TypeScript: a map document, read field by field. A missing field is nil.

use cu_storage::Document;

use crate::error::{Error, Result};

/// A name and what belongs to it.
#[cfg(feature = "vm")]
pub type Entry<'a> = (&'a [u8], &'a [u8]);

#[cfg(feature = "vm")]
const NOT_STRINGS: &str = "must map names to text or bytes";

/// A decoded options map.
pub struct Options(Document);

impl Options {
    pub fn decode(bytes: &[u8]) -> Result<Options> {
        Ok(Options(Document::decode(bytes)?))
    }
}

impl Options {
    pub fn integer(&self, name: &str) -> Result<Option<i64>> {
        match self.0.get(name) {
            None | Some(Document::Nil) => Ok(None),
            Some(Document::Integer(integer)) => Ok(Some(*integer)),
            Some(_) => Err(Error::invalid(name, "must be a whole number")),
        }
    }

    /// A number of bytes.
    pub fn size(&self, name: &str) -> Result<Option<usize>> {
        match self.integer(name)? {
            None => Ok(None),
            Some(bytes) if bytes < 0 => Err(Error::invalid(name, "must not be negative")),
            Some(bytes) => Ok(Some(usize::try_from(bytes).unwrap_or(usize::MAX))),
        }
    }
}

#[cfg(feature = "vm")]
impl Options {
    pub fn number(&self, name: &str) -> Result<Option<f64>> {
        match self.0.get(name) {
            None | Some(Document::Nil) => Ok(None),
            Some(Document::Integer(integer)) => Ok(Some(*integer as f64)),
            Some(Document::Float(float)) => Ok(Some(*float)),
            Some(_) => Err(Error::invalid(name, "must be a number")),
        }
    }

    /// A map of strings, such as paths with contents; `None` without the option.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<Entry<'_>>>> {
        let entries = match self.0.get(name) {
            None | Some(Document::Nil) => return Ok(None),
            Some(Document::Map(entries)) => entries,
            Some(_) => return Err(Error::invalid(name, NOT_STRINGS)),
        };
        let texts = entries.iter().map(|entry| match entry {
            (Document::String(path), Document::String(contents)) => Ok((path.as_slice(), contents.as_slice())),
            _ => Err(Error::invalid(name, NOT_STRINGS)),
        });
        texts.collect::<Result<Vec<_>>>().map(Some)
    }
}

impl Options {
    /// The one of `choices` that the option names; the first one without it.
    pub fn choice(&self, name: &str, choices: &[&'static str]) -> Result<&'static str> {
        let given = match self.0.get(name) {
            None | Some(Document::Nil) => return Ok(choices.first().copied().unwrap_or_default()),
            Some(given) => given.as_text(),
        };
        choices
            .iter()
            .copied()
            .find(|choice| Some(*choice) == given)
            .ok_or_else(|| Error::invalid(name, &format!("must be one of {}", choices.join(", "))))
    }
}
