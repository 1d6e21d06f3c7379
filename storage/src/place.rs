//! Where a row stands among all rows of a query, and what becomes of the rows that are returned.
//!
//! A row's place is one string of bytes: the encodings of its sort fields, those of descending ones inverted, then its
//! key. So any two rows compare by bytes, ties included, and a position of a query is such a string too.

use crate::cursor::Direction;
use crate::document::{Document, DocumentRef, Encoded, encode_map};
use crate::error::Result;
use crate::filter::value_of;
use crate::key::{decode_key, encode_key, write_ordered};
use crate::query::{Query, Row};

/// A row and its place.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Placed {
    pub place: Vec<u8>,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

pub(crate) fn into_rows(
    query: &Query,
    rows: Vec<Placed>,
    limit: usize,
    cursor: &mut Option<Document>,
) -> Result<Vec<Row>> {
    if let Some(last) = rows.last().filter(|_| rows.len() == limit) {
        let mut parts = Vec::with_capacity(query.sort.len() + 1);
        for sort in &query.sort {
            parts.push(value_of(&last.key, DocumentRef::new(&last.value), &sort.field)?);
        }
        parts.push(decode_key(&last.key)?);
        *cursor = Some(Document::Array(parts));
    }
    rows.into_iter()
        .map(|row| Ok(Row { key: decode_key(&row.key)?, value: projected(query, Encoded::trusted(row.value))? }))
        .collect()
}

pub(crate) fn sorted_groups(query: &Query, groups: Vec<Row>) -> Result<Vec<Row>> {
    let mut placed = Vec::with_capacity(groups.len());
    for (position, row) in groups.into_iter().enumerate() {
        // Groups come in order, which decides between those that agree.
        let mut place = sort_place(query, &[], row.value.as_bytes())?;
        place.extend_from_slice(&(position as u64).to_be_bytes());
        placed.push((place, row));
    }
    cu_sort::sort_by(&mut placed, |left, right| left.0.cmp(&right.0));
    Ok(placed.into_iter().map(|(_, row)| row).collect())
}

/// The row's place among all rows.
pub(crate) fn place_of(query: &Query, key: &[u8], value: &[u8]) -> Result<Vec<u8>> {
    let mut place = sort_place(query, key, value)?;
    place.extend_from_slice(key);
    Ok(place)
}

fn sort_place(query: &Query, key: &[u8], value: &[u8]) -> Result<Vec<u8>> {
    let mut place = Vec::with_capacity(32 + key.len());
    for sort in &query.sort {
        let field = value_of(key, DocumentRef::new(value), &sort.field)?;
        write_place(&field, sort.direction, &mut place)?;
    }
    Ok(place)
}

fn write_place(value: &Document, direction: Direction, place: &mut Vec<u8>) -> Result<()> {
    let start = place.len();
    write_ordered(value, place)?;
    if direction == Direction::Backward {
        place[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
    Ok(())
}

/// The place that a position means.
pub(crate) fn place_of_position(query: &Query, after: &Document) -> Result<Vec<u8>> {
    let mut place = Vec::new();
    if let Document::Array(parts) = after {
        for (sort, part) in query.sort.iter().zip(parts) {
            write_place(part, sort.direction, &mut place)?;
        }
        if let Some(key) = parts.last() {
            place.extend_from_slice(&encode_key(key)?);
        }
    }
    Ok(place)
}

pub(crate) fn projected(query: &Query, value: Encoded) -> Result<Encoded> {
    match &query.fields {
        Some(fields) => Ok(Encoded::trusted(project(value.as_ref(), fields)?)),
        None => Ok(value),
    }
}

/// A map of the fields asked for that are there, each under its path. Other documents stay whole.
fn project(document: DocumentRef<'_>, fields: &[String]) -> Result<Vec<u8>> {
    if !document.is_map()? {
        return Ok(document.as_bytes().to_vec());
    }
    let mut kept: Vec<(&[u8], &[u8])> = Vec::new();
    for field in fields {
        let name = field.as_bytes();
        if let Some(value) = document.field(field)?
            && !kept.iter().any(|(kept, _)| *kept == name)
        {
            kept.push((name, value.as_bytes()));
        }
    }
    Ok(encode_map(&kept))
}
