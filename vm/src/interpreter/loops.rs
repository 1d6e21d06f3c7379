//! Preparing numeric loops (manual §3.3.5).

use super::Machine;
use crate::arithmetic::float_to_integer;
use crate::error::Error;
use crate::heap::value::Value;

impl<'gc> Machine<'gc> {
    /// Prepares the loop whose start, limit and step are in the slots from `first` on; false if it does not run.
    ///
    /// An integer loop keeps the number of rounds left in place of the limit, so that it cannot overflow.
    #[inline(never)]
    pub(crate) fn prepare_loop(&mut self, first: usize) -> Result<bool, Error<'gc>> {
        let (start, limit, step) = (self.slot(first), self.slot(first + 1), self.slot(first + 2));
        if let (Value::Integer(start), Value::Integer(step)) = (start, step) {
            if step == 0 {
                return Err(self.runtime_error(b"'for' step is zero"));
            }
            let Some(limit) = self.integer_limit(start, limit, step)? else {
                return Ok(false);
            };
            let rounds = if step > 0 {
                (limit as u64).wrapping_sub(start as u64) / step as u64
            } else {
                (start as u64).wrapping_sub(limit as u64) / step.unsigned_abs()
            };
            self.set_slot(first + 1, Value::Integer(rounds as i64));
            self.set_slot(first + 3, Value::Integer(start));
            return Ok(true);
        }
        let limit = self.loop_number(limit, "limit")?;
        let step = self.loop_number(step, "step")?;
        let start = self.loop_number(start, "initial value")?;
        if step == 0.0 {
            return Err(self.runtime_error(b"'for' step is zero"));
        }
        // With a NaN both comparisons are false: the body runs once, as in PUC Lua.
        if if step > 0.0 { limit < start } else { start < limit } {
            return Ok(false);
        }
        self.set_slot(first, Value::Float(start));
        self.set_slot(first + 1, Value::Float(limit));
        self.set_slot(first + 2, Value::Float(step));
        self.set_slot(first + 3, Value::Float(start));
        Ok(true)
    }

    /// The last integer the loop may reach, or `None` if it does not run.
    fn integer_limit(&self, start: i64, limit: Value<'gc>, step: i64) -> Result<Option<i64>, Error<'gc>> {
        let limit = match limit {
            Value::Integer(limit) => limit,
            _ => {
                let float = self.loop_number(limit, "limit")?;
                let rounded = if step > 0 { float.floor() } else { float.ceil() };
                match float_to_integer(rounded) {
                    Some(limit) => limit,
                    None if float > 0.0 && step < 0 => return Ok(None),
                    None if float > 0.0 => i64::MAX,
                    None if step > 0 => return Ok(None),
                    None => i64::MIN,
                }
            }
        };
        Ok(if step > 0 { start <= limit } else { start >= limit }.then_some(limit))
    }

    /// A numeric string will do for a number.
    fn loop_number(&self, value: Value<'gc>, what: &str) -> Result<f64, Error<'gc>> {
        value.to_float().ok_or_else(|| {
            let actual = self.type_name_of(value);
            let mut message = format!("bad 'for' {what} (number expected, got ").into_bytes();
            message.extend_from_slice(&actual);
            message.push(b')');
            self.runtime_error(&message)
        })
    }
}
