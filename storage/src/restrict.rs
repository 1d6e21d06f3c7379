//! From conditions to ranges: what a filter says about one field, as bytes of the order that indexes have.
//!
//! A restriction is exact: a document passes the condition if and only if its field's encoding is in the restriction. What
//! cannot be said so (`!=`, `endsWith`, `exists`) restricts nothing and is left to the filter.

use crate::document::Document;
use crate::entries::{StemRange, above, after_prefix};
use crate::filter::{Filter, Operator};
use crate::key::{kind_bytes, write_ordered, write_string_prefix};

/// The encodings that pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Restriction {
    /// These, ascending.
    Points(Vec<Vec<u8>>),
    /// Those from here to there.
    Range(StemRange),
}

impl Restriction {
    /// What a condition says about its field.
    pub fn of(operator: Operator, value: &Document) -> Option<Restriction> {
        let elements = match value {
            Document::Array(elements) => elements.as_slice(),
            _ => &[],
        };
        Some(match operator {
            Operator::Equal => points(std::slice::from_ref(value))?,
            Operator::In => points(elements)?,
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                Restriction::Range(range(operator, value)?)
            }
            Operator::Between => {
                let [low, high] = elements else { return None };
                let low = Restriction::Range(range(Operator::GreaterOrEqual, low)?);
                low.and(&Restriction::Range(range(Operator::LessOrEqual, high)?))
            }
            Operator::StartsWith => {
                let Document::String(prefix) = value else { return None };
                let mut low = Vec::with_capacity(prefix.len() + 1);
                write_string_prefix(prefix, &mut low);
                let high = after_prefix(&low);
                Restriction::Range(StemRange { low, high })
            }
            _ => return None,
        })
    }

    /// What passes both.
    pub fn and(&self, other: &Restriction) -> Restriction {
        match (self, other) {
            (Restriction::Points(points), other) | (other, Restriction::Points(points)) => {
                Restriction::Points(points.iter().filter(|point| other.contains(point)).cloned().collect())
            }
            (Restriction::Range(left), Restriction::Range(right)) => Restriction::Range(left.and(right)),
        }
    }

    pub fn contains(&self, encoded: &[u8]) -> bool {
        match self {
            Restriction::Points(points) => points.iter().any(|point| point == encoded),
            Restriction::Range(range) => range.contains(encoded),
        }
    }

    /// Whether a nil field passes.
    pub fn allows_nil(&self) -> bool {
        let (nil, _) = kind_bytes(&Document::Nil);
        self.contains(&[nil])
    }

    /// The one value that passes.
    pub fn single(&self) -> Option<&[u8]> {
        match self {
            Restriction::Points(points) if points.len() == 1 => Some(&points[0]),
            _ => None,
        }
    }

    /// As ranges, ascending.
    pub fn ranges(&self) -> Vec<StemRange> {
        match self {
            Restriction::Points(points) => points.iter().cloned().map(StemRange::equal).collect(),
            Restriction::Range(range) => vec![range.clone()],
        }
    }
}

fn encode(value: &Document) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write_ordered(value, &mut out).ok()?;
    Some(out)
}

fn is_nan(value: &Document) -> bool {
    matches!(value, Document::Float(value) if value.is_nan())
}

/// NaN equals nothing, itself included.
fn points(values: &[Document]) -> Option<Restriction> {
    let mut points = values.iter().filter(|value| !is_nan(value)).map(encode).collect::<Option<Vec<Vec<u8>>>>()?;
    cu_sort::sort(&mut points);
    points.dedup();
    Some(Restriction::Points(points))
}

/// Ordering operators hold between values of one kind, and never with NaN.
fn range(operator: Operator, value: &Document) -> Option<StemRange> {
    let encoded = encode(value)?;
    let (first, after) = kind_bytes(value);
    let mut low = vec![first];
    if matches!(value, Document::Integer(_) | Document::Float(_)) {
        low = above(&encode(&Document::Float(f64::NAN))?);
    }
    let mut high = vec![after];
    if is_nan(value) {
        high.clone_from(&low);
    }
    match operator {
        Operator::Less => high = high.min(encoded),
        Operator::LessOrEqual => high = high.min(above(&encoded)),
        Operator::Greater => low = low.max(above(&encoded)),
        _ => low = low.max(encoded),
    }
    Some(StemRange { low, high: Some(high) })
}

/// The same filter with "not" pushed down as far as it goes, and nested "and" and "or" taken apart.
pub(crate) fn normalize(filter: &Filter, negate: bool) -> Filter {
    match filter {
        Filter::Not(inner) => normalize(inner, !negate),
        Filter::And(filters) | Filter::Or(filters) => {
            let is_and = matches!(filter, Filter::And(_)) != negate;
            let mut flat = Vec::with_capacity(filters.len());
            for inner in filters {
                match normalize(inner, negate) {
                    Filter::And(mut inner) if is_and => flat.append(&mut inner),
                    Filter::Or(mut inner) if !is_and => flat.append(&mut inner),
                    other => flat.push(other),
                }
            }
            if flat.len() == 1 {
                return flat.remove(0);
            }
            if is_and { Filter::And(flat) } else { Filter::Or(flat) }
        }
        Filter::Field { field, operator, value } if negate => {
            let opposite = match operator {
                Operator::Equal => Operator::NotEqual,
                Operator::NotEqual => Operator::Equal,
                Operator::In => Operator::NotIn,
                Operator::NotIn => Operator::In,
                _ => return Filter::Not(Box::new(filter.clone())),
            };
            Filter::Field { field: field.clone(), operator: opposite, value: value.clone() }
        }
        Filter::Field { .. } => filter.clone(),
    }
}
