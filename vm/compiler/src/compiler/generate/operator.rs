//! Operators: operand forms, comparisons, short circuits.

use super::descriptor::{Descriptor, Kind};
use super::{Generated, Generator};
use crate::arithmetic::float_to_integer;
use crate::bytecode::opcode::Opcode;
use crate::compiler::ast::{BinaryOperator, Operations, Unary, UnaryOperator};

impl Generator<'_> {
    #[inline(never)]
    pub(super) fn unary(&mut self, unary: &Unary) -> Generated<Descriptor> {
        self.line = unary.line;
        let mut operand = self.expression(&unary.operand)?;
        self.discharge(&mut operand);
        let opcode = match unary.operator {
            UnaryOperator::Not => {
                self.negate(&mut operand)?;
                return Ok(operand);
            }
            UnaryOperator::Negate => Opcode::Neg,
            UnaryOperator::BitwiseNot => Opcode::BNot,
            UnaryOperator::Length => Opcode::Len,
        };
        let register = self.put_in_any_register(&mut operand)?;
        self.free_descriptor(&operand);
        let pc = self.emit(Self::abc(opcode, 0, register, 0));
        self.fix_line(unary.line);
        Ok(Descriptor::new(Kind::Relocatable(pc)))
    }

    /// `not`: swaps the ways out instead of computing a value, where there are any.
    fn negate(&mut self, operand: &mut Descriptor) -> Generated<()> {
        match operand.kind {
            Kind::Nil | Kind::False => operand.kind = Kind::True,
            Kind::True | Kind::Integer(_) | Kind::Float(_) | Kind::Constant(_) => operand.kind = Kind::False,
            Kind::Jump(pc) => self.negate_condition(pc),
            _ => {
                let register = self.discharge_to_any_register(operand)?;
                self.free_descriptor(operand);
                operand.kind = Kind::Relocatable(self.emit(Self::abc(Opcode::Not, 0, register, 0)));
            }
        }
        std::mem::swap(&mut operand.true_list, &mut operand.false_list);
        self.drop_values(operand.true_list);
        self.drop_values(operand.false_list);
        Ok(())
    }

    #[inline(never)]
    pub(super) fn operations(&mut self, operations: &Operations) -> Generated<Descriptor> {
        let mut left = self.expression(&operations.first)?;
        for operation in &operations.rest {
            self.line = operation.line;
            self.before_right_operand(operation.operator, &mut left)?;
            let right = self.expression(&operation.right)?;
            self.apply(operation.operator, &mut left, right, operation.line)?;
        }
        Ok(left)
    }

    /// Brings the left operand into the form that `operator` wants, before the right one is generated.
    fn before_right_operand(&mut self, operator: BinaryOperator, left: &mut Descriptor) -> Generated<()> {
        use BinaryOperator as B;
        self.discharge(left);
        match operator {
            B::And => self.go_if_true(left),
            B::Or => self.go_if_false(left),
            B::Concat => self.put_in_next_register(left).map(drop),
            B::Equal | B::NotEqual => {
                if left.is_numeral() || self.take_as_constant(left).is_some() {
                    return Ok(());
                }
                self.put_in_any_register(left).map(drop)
            }
            B::Less | B::LessEqual | B::Greater | B::GreaterEqual if left.as_signed_immediate().is_some() => Ok(()),
            _ => self.put_in_any_register(left).map(drop),
        }
    }

    /// Makes `left` the result of the operation.
    #[inline(never)]
    fn apply(
        &mut self,
        operator: BinaryOperator,
        left: &mut Descriptor,
        mut right: Descriptor,
        line: u32,
    ) -> Generated<()> {
        use BinaryOperator as B;
        self.discharge(&mut right);
        match operator {
            B::And => {
                self.append_jumps(&mut right.false_list, left.false_list);
                *left = right;
            }
            B::Or => {
                self.append_jumps(&mut right.true_list, left.true_list);
                *left = right;
            }
            B::Concat => self.concatenate(left, &mut right, line)?,
            B::Equal => self.equality(left, right, true)?,
            B::NotEqual => self.equality(left, right, false)?,
            B::Less => self.order(Opcode::Lt, left, right)?,
            B::LessEqual => self.order(Opcode::Le, left, right)?,
            B::Greater | B::GreaterEqual => {
                std::mem::swap(left, &mut right);
                self.order(if operator == B::Greater { Opcode::Lt } else { Opcode::Le }, left, right)?;
            }
            _ => self.arithmetic(operator, left, right, line)?,
        }
        Ok(())
    }

    /// Joins `left` to the concatenation that `right` may already be.
    #[inline(never)]
    fn concatenate(&mut self, left: &mut Descriptor, right: &mut Descriptor, line: u32) -> Generated<()> {
        self.put_in_next_register(right)?;
        let Kind::Register(first) = left.kind else { unreachable!("operands of a concatenation are in registers") };
        if let Some(pc) = self.mergeable_instruction()
            && self.opcode_at(pc) == Opcode::Concat
            && self.instruction(pc).a() == first + 1
        {
            let count = self.instruction(pc).b();
            self.free_descriptor(right);
            self.set_a(pc, first);
            self.set_b(pc, count + 1);
            return Ok(());
        }
        self.emit(Self::abc(Opcode::Concat, first, 2, 0));
        self.free_descriptor(right);
        self.fix_line(line);
        Ok(())
    }

    #[inline(never)]
    fn arithmetic(
        &mut self,
        operator: BinaryOperator,
        left: &mut Descriptor,
        mut right: Descriptor,
        line: u32,
    ) -> Generated<()> {
        let form = ArithmeticForm::of(operator);
        let (opcode, operand) = if let (Some(opcode), Some(value)) = (form.immediate, right.as_unsigned_immediate()) {
            (opcode, value)
        } else if let (Some(opcode), Some(number)) = (form.constant, self.constant_operand(form, &mut right)) {
            (opcode, number)
        } else {
            (form.register, self.put_in_any_register(&mut right)?)
        };
        let register = self.put_in_any_register(left)?;
        self.free_descriptors(left, &right);
        let pc = self.emit(Self::abc(opcode, 0, register, operand));
        self.fix_line(line);
        *left = Descriptor::new(Kind::Relocatable(pc));
        Ok(())
    }

    fn constant_operand(&mut self, form: ArithmeticForm, right: &mut Descriptor) -> Option<usize> {
        let fits = if form.integers_only { matches!(right.kind, Kind::Integer(_)) } else { right.is_numeral() };
        if fits { self.take_as_constant(right) } else { None }
    }

    #[inline(never)]
    fn equality(&mut self, left: &mut Descriptor, right: Descriptor, condition: bool) -> Generated<()> {
        let mut right = right;
        if !matches!(left.kind, Kind::Register(_)) {
            std::mem::swap(left, &mut right); // A constant goes to the right.
        }
        let register = self.put_in_any_register(left)?;
        let (opcode, operand) = if let Some(value) = equality_immediate(&right) {
            (Opcode::EqI, usize::from(value as u8))
        } else if let Some(number) = self.take_as_constant(&mut right) {
            (Opcode::EqK, number)
        } else {
            (Opcode::Eq, self.put_in_any_register(&mut right)?)
        };
        self.free_descriptors(left, &right);
        *left = Descriptor::new(Kind::Jump(self.emit_conditional_jump(opcode, register, operand, condition)));
        Ok(())
    }

    /// `left < right` or `left <= right`; a small constant on either side becomes an immediate operand.
    #[inline(never)]
    fn order(&mut self, opcode: Opcode, left: &mut Descriptor, right: Descriptor) -> Generated<()> {
        let mut right = right;
        let is_less = opcode == Opcode::Lt;
        let (opcode, register, operand) = if let Some(value) = right.as_signed_immediate() {
            let opcode = if is_less { Opcode::LtI } else { Opcode::LeI };
            (opcode, self.put_in_any_register(left)?, usize::from(value as u8))
        } else if let Some(value) = left.as_signed_immediate() {
            let opcode = if is_less { Opcode::GtI } else { Opcode::GeI };
            (opcode, self.put_in_any_register(&mut right)?, usize::from(value as u8))
        } else {
            let register = self.put_in_any_register(left)?;
            (opcode, register, self.put_in_any_register(&mut right)?)
        };
        self.free_descriptors(left, &right);
        *left = Descriptor::new(Kind::Jump(self.emit_conditional_jump(opcode, register, operand, true)));
        Ok(())
    }
}

/// The instructions of an arithmetic or bitwise operator.
#[derive(Clone, Copy)]
struct ArithmeticForm {
    register: Opcode,
    immediate: Option<Opcode>,
    constant: Option<Opcode>,
    /// The constant form takes no floats.
    integers_only: bool,
}

impl ArithmeticForm {
    fn of(operator: BinaryOperator) -> Self {
        use BinaryOperator as B;
        use Opcode as O;
        let form =
            |register, immediate, constant| ArithmeticForm { register, immediate, constant, integers_only: false };
        let bitwise =
            |register, constant| ArithmeticForm { integers_only: true, ..form(register, None, Some(constant)) };
        match operator {
            B::Add => form(O::Add, Some(O::AddI), Some(O::AddK)),
            B::Subtract => form(O::Sub, Some(O::SubI), Some(O::SubK)),
            B::Multiply => form(O::Mul, None, Some(O::MulK)),
            B::Modulo => form(O::Mod, None, Some(O::ModK)),
            B::Power => form(O::Pow, None, Some(O::PowK)),
            B::Divide => form(O::Div, None, Some(O::DivK)),
            B::FloorDivide => form(O::IDiv, None, Some(O::IDivK)),
            B::BitwiseAnd => bitwise(O::BAnd, O::BAndK),
            B::BitwiseOr => bitwise(O::BOr, O::BOrK),
            B::BitwiseXor => bitwise(O::BXor, O::BXorK),
            B::ShiftLeft => form(O::Shl, Some(O::ShlI), None),
            B::ShiftRight => form(O::Shr, Some(O::ShrI), None),
            _ => unreachable!("not an arithmetic operator"),
        }
    }
}

/// A small number to compare with; an integral float equals the integer.
fn equality_immediate(descriptor: &Descriptor) -> Option<i8> {
    match descriptor.kind {
        Kind::Float(value) if !descriptor.has_jumps() => i8::try_from(float_to_integer(value)?).ok(),
        _ => descriptor.as_signed_immediate(),
    }
}
