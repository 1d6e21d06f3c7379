//! Calls of compiled functions by compiled functions, and their returns, with the frames that the interpreter would make.
//!
//! What does not fit (other callees, missing arguments, a stack that has to grow, the end of the fuel) is left to the VM's functions.

use cu_compiler::bytecode::opcode::Opcode;
use wasm_encoder::BlockType;

use crate::blocks::Located;
use crate::emit::{
    ADDRESS, ADDRESS_2, BASE_BYTES, COUNT, Emitter, FRAME, Import, Label, MACHINE, NESTED, OUTCOME, RUN, SCRATCH, STATE,
};
use crate::module::RUN_TYPE;
use crate::outcome;
use crate::registers::at;

/// A call with a known number of arguments, which are behind the function.
#[derive(Debug, Clone, Copy)]
struct InlineCall {
    /// The register that holds the function.
    callee: usize,
    /// The register that the call is made in.
    function: usize,
    args: usize,
    want: i32,
}

impl Emitter<'_> {
    pub(crate) fn call_instruction(&mut self, located: Located) {
        let i = located.instruction;
        if i.b() == 0 {
            return self.call_out(located);
        }
        self.prepare(i.a());
        let call = InlineCall { callee: i.a(), function: i.a(), args: i.b() - 1, want: i.c() as i32 - 1 };
        self.inline_call(located, call);
    }

    /// The step of a generic loop: of the library's iterators, done at once, or a call of a Lua function with copies of the loop's
    /// state and control value.
    pub(crate) fn iterator_call(&mut self, located: Located) {
        let i = located.instruction;
        for register in i.a()..i.a() + 3 {
            self.prepare(register);
        }
        let native = self.layout.tags.native;
        let done = self.depth();
        self.block(Label::Other);
        let other = self.depth();
        self.block(Label::Other);
        self.paths += 1;
        self.tag(i.a());
        self.sink().i32_const(native).i32_ne();
        self.leave_to(other);
        self.push_place(located);
        self.push_address(i.a());
        self.sink().call(Import::Iterate as u32);
        self.leave_to(done);
        self.end();
        let call = InlineCall { callee: i.a(), function: i.a() + 4, args: 2, want: i.c() as i32 };
        self.inline_call(located, call);
        self.paths -= 1;
        self.end();
    }

    fn inline_call(&mut self, located: Located, call: InlineCall) {
        let InlineCall { callee, function, args, .. } = call;
        let done = self.depth();
        self.block(Label::Other);
        let slow = self.depth();
        self.block(Label::Other);
        self.paths += 1;
        self.find_callee(callee, args, slow);
        self.find_room(function + 1 + args, slow);
        if callee != function {
            for offset in 0..=args {
                self.copy_register(function + offset, callee + offset);
            }
        }
        self.push_frame(located, call);
        // The callee's registers begin with its arguments.
        let offset = (function + 1) as i32 * 16;
        self.sink().local_get(MACHINE).local_get(BASE_BYTES).i32_const(offset).i32_add();
        self.sink().local_get(ADDRESS).i32_const(0).local_get(RUN).call_indirect(0, RUN_TYPE).local_set(OUTCOME);
        let nested = at(self.layout.machine_nested.into());
        self.sink().local_get(MACHINE).local_get(NESTED).i32_store(nested);
        self.sink().local_get(OUTCOME).if_(BlockType::Empty).local_get(OUTCOME).return_().end();
        let depth = self.label(done);
        self.sink().br(depth);
        self.end();
        if callee == function {
            self.call_out(located);
        } else {
            self.step(located);
        }
        self.paths -= 1;
        self.end();
        self.load_base();
    }

    /// The call as the VM makes it.
    fn call_out(&mut self, located: Located) {
        self.call(Import::Call, located.pc);
        self.sink().local_tee(OUTCOME).if_(BlockType::Empty).local_get(OUTCOME).return_().end();
        self.load_base();
    }

    /// Leaves the closure in `ADDRESS`, its prototype in `ADDRESS_2` and its code in `RUN`.
    fn find_callee(&mut self, register: usize, args: usize, slow: usize) {
        let layout = *self.layout;
        self.tag(register);
        self.sink().i32_const(layout.tags.closure).i32_ne();
        self.leave_to(slow);
        self.raw(register);
        self.sink().i32_wrap_i64().i32_const(layout.closure as i32).i32_add().local_tee(ADDRESS);
        self.sink().i32_load(at(layout.closure_proto.into())).i32_const(layout.proto as i32).i32_add();
        self.sink().local_tee(ADDRESS_2).i32_load(at(layout.proto_run.into())).local_tee(RUN).i32_eqz();
        self.leave_to(slow);
        self.sink().local_get(ADDRESS_2).i32_load8_u(byte(layout.proto_parameter_count));
        self.sink().i32_const(args as i32).i32_gt_u();
        self.leave_to(slow);
    }

    /// Leaves the coroutine's state in `STATE` and the number of frames in `COUNT`, if there is room for the call, whose arguments
    /// end at register `end`, and fuel, which is paid.
    fn find_room(&mut self, end: usize, slow: usize) {
        let layout = *self.layout;
        self.sink().local_get(MACHINE).i32_load(at(layout.machine_state.into())).local_tee(STATE);
        self.sink().i32_load(at(layout.state_frames_length.into())).local_tee(COUNT);
        self.sink().local_get(STATE).i32_load(at(layout.state_frames_capacity.into())).i32_ge_u();
        self.leave_to(slow);
        self.sink()
            .local_get(BASE_BYTES)
            .i32_const(4)
            .i32_shr_u()
            .i32_const(end as i32 + layout.extra_slots as i32)
            .i32_add();
        self.sink().local_get(ADDRESS_2).i32_load8_u(byte(layout.proto_register_count)).i32_add();
        self.sink().local_get(STATE).i32_load(at(layout.state_stack_length.into())).i32_gt_u();
        self.leave_to(slow);
        let nested = at(layout.machine_nested.into());
        self.sink()
            .local_get(MACHINE)
            .i32_load(nested)
            .local_tee(NESTED)
            .i32_const(layout.nested_max as i32)
            .i32_ge_u();
        self.leave_to(slow);
        let fuel = at(layout.machine_fuel.into());
        self.sink().local_get(MACHINE).i64_load(fuel).local_get(ADDRESS_2);
        self.sink().i32_load(at(layout.proto_entry_fuel.into())).i64_extend_i32_u().i64_sub().local_tee(SCRATCH);
        self.sink().i64_const(0).i64_lt_s();
        self.leave_to(slow);
        self.sink().local_get(MACHINE).local_get(SCRATCH).i64_store(fuel);
        self.sink().local_get(MACHINE).local_get(NESTED).i32_const(1).i32_add().i32_store(nested);
    }

    /// Saves where the caller goes on, and pushes the callee's frame.
    fn push_frame(&mut self, located: Located, call: InlineCall) {
        let (layout, frame) = (*self.layout, self.layout.frame);
        let args = call.args;
        let bytes = frame.bytes as i32;
        self.sink().local_get(STATE).i32_load(at(layout.state_frames.into()));
        self.sink().local_get(COUNT).i32_const(bytes).i32_mul().i32_add().local_tee(FRAME);
        let next = self.source.code_address + located.next() as u32 * 4;
        self.sink().i32_const(bytes).i32_sub().i32_const(next as i32).i32_store(at(frame.pc.into()));
        // Two words: 0 for a Lua function, and the closure's address as values have it.
        self.sink().local_get(FRAME).i32_const(0).i32_store(at(frame.callee.into()));
        self.sink().local_get(FRAME).local_get(ADDRESS).i32_const(layout.closure as i32).i32_sub();
        self.sink().i32_store(at(u64::from(frame.callee) + 4));
        self.sink().local_get(FRAME).local_get(ADDRESS_2).i32_load(at(layout.proto_code.into()));
        self.sink().i32_store(at(frame.pc.into()));
        let function = call.function as i32;
        for (offset, plus) in
            [(frame.function, function), (frame.base, function + 1), (frame.top, function + 1 + args as i32)]
        {
            self.sink().local_get(FRAME).local_get(BASE_BYTES).i32_const(4).i32_shr_u().i32_const(plus).i32_add();
            self.sink().i32_store(at(offset.into()));
        }
        let constants = [
            (frame.want, call.want),
            (frame.state, 0),
            (frame.extra, args as i32),
            (frame.results, 0),
            (frame.flags, 0),
        ];
        for (offset, value) in constants {
            self.sink().local_get(FRAME).i32_const(value).i32_store(at(offset.into()));
        }
        self.sink().local_get(STATE).local_get(COUNT).i32_const(1).i32_add();
        self.sink().i32_store(at(layout.state_frames_length.into()));
    }

    pub(crate) fn return_instruction(&mut self, located: Located) {
        let value = match located.opcode {
            Opcode::Return1 => Some(located.instruction.a()),
            Opcode::Return0 => None,
            _ => return self.leave_out(located),
        };
        let (layout, frame) = (*self.layout, self.layout.frame);
        let bytes = frame.bytes as i32;
        if let Some(register) = value {
            self.prepare(register);
        }
        let slow = self.depth();
        self.block(Label::Other);
        self.paths += 1;
        self.sink().local_get(MACHINE).i32_load(at(layout.machine_state.into())).local_tee(STATE);
        self.sink().i32_load(at(layout.state_frames_length.into())).local_tee(COUNT).i32_const(2).i32_lt_u();
        self.leave_to(slow);
        self.sink().local_get(STATE).i32_load(at(layout.state_frames.into()));
        self.sink().local_get(COUNT).i32_const(2).i32_sub().i32_const(bytes).i32_mul().i32_add().local_tee(FRAME);
        self.sink().i32_load(at(frame.callee.into()));
        self.leave_to(slow);
        // One value is wanted, or none.
        self.sink().local_get(FRAME).i32_load(at(u64::from(frame.want + frame.bytes))).local_tee(NESTED);
        self.sink().i32_const(1).i32_gt_u();
        self.leave_to(slow);
        self.sink().local_get(NESTED);
        self.if_();
        self.base();
        if self.source.is_vararg {
            // Its registers are not right above its slot.
            self.sink().local_get(BASE_BYTES).i32_sub();
            self.sink().local_get(FRAME).i32_load(at(u64::from(frame.function + frame.bytes)));
            self.sink().i32_const(4).i32_shl().i32_add().local_set(ADDRESS);
        } else {
            self.sink().i32_const(16).i32_sub().local_set(ADDRESS);
        }
        match value {
            Some(register) => self.store_to(register, ADDRESS, 0),
            None => {
                self.sink().local_get(ADDRESS).i64_const(layout.tags.nil.into()).i64_store(at(0));
            }
        }
        self.end_if();
        self.sink().local_get(STATE).local_get(COUNT).i32_const(1).i32_sub();
        self.sink().i32_store(at(layout.state_frames_length.into())).i32_const(outcome::CONTINUE).return_();
        self.paths -= 1;
        self.end();
        self.leave_out(located);
    }

    /// Has the VM move the parameters above the variable arguments, and finds the registers again.
    pub(crate) fn prepare_varargs(&mut self, located: Located) {
        let (layout, frame) = (*self.layout, self.layout.frame);
        self.call(Import::Step, located.pc);
        self.sink().local_tee(OUTCOME).if_(BlockType::Empty).local_get(OUTCOME).return_().end();
        self.sink().local_get(MACHINE).i32_load(at(layout.machine_state.into())).local_tee(STATE);
        self.sink().i32_load(at(layout.state_frames.into())).local_get(STATE);
        self.sink().i32_load(at(layout.state_frames_length.into())).i32_const(1).i32_sub();
        self.sink().i32_const(frame.bytes as i32).i32_mul().i32_add().i32_load(at(frame.base.into()));
        self.sink().i32_const(4).i32_shl().local_set(BASE_BYTES);
        self.load_base();
    }

    fn leave_out(&mut self, located: Located) {
        self.call(Import::Leave, located.pc);
        self.sink().return_();
    }
}

fn byte(offset: u32) -> wasm_encoder::MemArg {
    wasm_encoder::MemArg { align: 0, ..at(offset.into()) }
}
