//! The shape of a function: basic blocks in the order of the code, loops around them, and where it can be entered.
//!
//! A loop is a range of blocks: from the target of a jump back to the last block that jumps there. Ranges that overlap are
//! widened until they nest. Jumps into the middle of a loop (from its head to its condition, in generic loops) go to the start of
//! the loop with the number of an entry, as does whoever enters the function there.

use std::collections::BTreeSet;

use cu_compiler::bytecode::instruction::Instruction;
use cu_compiler::bytecode::opcode::{Opcode, Trailing};

use crate::kinds::{Kind, Registers};
use crate::{Entry, Source};

pub(crate) struct Blocks {
    /// The first word of each block, and the end of the code.
    starts: Vec<usize>,
    /// Ranges of blocks, both ends included, outer loops before inner ones.
    loops: Vec<(usize, usize)>,
    /// The number of a block as an entry; 0 if it is none.
    entries: Vec<u32>,
    /// Which blocks can be entered from outside.
    public: Vec<bool>,
    /// Which blocks are reached by a jump.
    targeted: Vec<bool>,
}

/// An instruction and where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub pc: usize,
    pub instruction: Instruction,
    pub opcode: Opcode,
    /// The word after it, if one belongs to it.
    pub word: u32,
}

impl Located {
    pub(crate) fn at(code: &[u32], pc: usize) -> Located {
        let instruction = Instruction(code[pc]);
        let opcode = instruction.opcode().unwrap_or(Opcode::Return0);
        let word = if opcode.words() == 2 { code.get(pc + 1).copied().unwrap_or(0) } else { 0 };
        Located { pc, instruction, opcode, word }
    }

    pub(crate) fn next(self) -> usize {
        self.pc + self.opcode.words()
    }

    /// Where it may jump to.
    pub(crate) fn target(self) -> Option<usize> {
        if self.opcode == Opcode::LoadFalseSkip {
            return Some(self.pc + 2);
        }
        let jumps = self.opcode.layout().trailing == Trailing::Jump;
        jumps.then(|| (self.next() as i64 + i64::from(self.word as i32)) as usize)
    }

    /// Whether the next instruction may follow.
    pub(crate) fn falls_through(self) -> bool {
        !matches!(
            self.opcode,
            Opcode::Jump
                | Opcode::TForPrep
                | Opcode::LoadFalseSkip
                | Opcode::Return
                | Opcode::Return0
                | Opcode::Return1
                | Opcode::TailCall
        )
    }

    /// Whether the function is entered again after it: what it calls may be run by the driver.
    fn is_call(self) -> bool {
        matches!(self.opcode, Opcode::Call | Opcode::TForCall | Opcode::VarArgPrep)
    }
}

/// The instructions of `code` in order.
pub(crate) fn instructions(code: &[u32]) -> impl Iterator<Item = Located> {
    let mut pc = 0;
    std::iter::from_fn(move || {
        let located = (pc < code.len()).then(|| Located::at(code, pc))?;
        pc = located.next();
        Some(located)
    })
}

/// The most loops that a translated function has: what is done for each of them grows with their number.
const LOOPS_MAX: usize = 100;

impl Blocks {
    /// The shape of a function; `None` if it has too many loops.
    pub(crate) fn of(source: &Source<'_>) -> Option<Blocks> {
        let code = source.code;
        let (mut starts, mut heads, mut entered) = (BTreeSet::from([0]), BTreeSet::new(), BTreeSet::new());
        for located in instructions(code) {
            if let Some(target) = located.target() {
                starts.insert(target);
                starts.insert(located.next());
                if target <= located.pc {
                    heads.insert(target);
                }
            }
            if !located.falls_through() {
                starts.insert(located.next());
            }
            if located.is_call() {
                starts.insert(located.next());
                entered.insert(located.next());
            }
        }
        if heads.len() > LOOPS_MAX {
            return None;
        }
        starts.insert(code.len());
        let starts: Vec<usize> = starts.into_iter().filter(|start| *start <= code.len()).collect();
        let none = vec![false; starts.len()];
        let entries = vec![0; starts.len()];
        let mut blocks = Blocks { entries, public: none.clone(), targeted: none, starts, loops: Vec::new() };
        blocks.loops = blocks.find_loops(code, &heads);
        for pc in heads.into_iter().chain(entered) {
            if pc < code.len() {
                let block = blocks.at(pc);
                blocks.public[block] = true;
            }
        }
        blocks.public[0] = !source.is_vararg;
        for target in instructions(code).filter_map(Located::target) {
            let block = blocks.at(target);
            blocks.targeted[block] = true;
        }
        blocks.number_entries(code);
        Some(blocks)
    }

    pub(crate) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The block that starts at `pc`.
    pub(crate) fn at(&self, pc: usize) -> usize {
        self.starts.binary_search(&pc).expect("jumps and calls end blocks")
    }

    pub(crate) fn range(&self, block: usize) -> std::ops::Range<usize> {
        self.starts[block]..self.starts[block + 1]
    }

    /// The block's number as an entry; 0 if it is none, or the first.
    pub(crate) fn entry(&self, block: usize) -> u32 {
        self.entries[block]
    }

    /// Whether a block is reached by more than falling into it.
    pub(crate) fn is_joined(&self, block: usize) -> bool {
        self.targeted[block] || self.entries[block] != 0 || block == 0
    }

    /// The blocks that are entries, in the order of their numbers, which begin with 1.
    pub(crate) fn entry_blocks(&self) -> Vec<usize> {
        (0..self.count()).filter(|block| self.entries[*block] != 0).collect()
    }

    /// The last block of the outermost loop that begins at `block`, inside a region that itself begins at `inside` as a loop.
    pub(crate) fn loop_at(&self, block: usize, inside: Option<usize>) -> Option<usize> {
        if inside == Some(block) {
            return None;
        }
        self.loops.iter().find(|(first, _)| *first == block).map(|(_, last)| *last)
    }

    /// The entries from outside, with what registers must hold there.
    pub(crate) fn entries(&self, source: &Source<'_>, kinds: &[Registers]) -> Vec<Entry> {
        let blocks = (0..self.count()).filter(|block| self.public[*block]);
        blocks
            .map(|block| {
                let registers =
                    (0..source.register_count).map(|register| (register, kinds[block].kind(register.into())));
                let guards = registers.filter(|(_, kind)| matches!(kind, Kind::Integer | Kind::Float)).collect();
                Entry { pc: self.starts[block] as u32, number: self.entries[block], guards }
            })
            .collect()
    }

    fn find_loops(&self, code: &[u32], heads: &BTreeSet<usize>) -> Vec<(usize, usize)> {
        let mut loops: Vec<(usize, usize)> = heads.iter().map(|head| (self.at(*head), self.at(*head))).collect();
        for located in instructions(code) {
            if let Some(target) = located.target()
                && target <= located.pc
            {
                let (head, last) = (self.at(target), self.block_of(located.pc));
                let range = loops.iter_mut().find(|(first, _)| *first == head).expect("each head has a loop");
                range.1 = range.1.max(last);
            }
        }
        // Where two overlap, the outer one takes in the other.
        loop {
            let mut changed = false;
            for outer in 0..loops.len() {
                for inner in outer + 1..loops.len() {
                    if loops[inner].0 <= loops[outer].1 && loops[outer].1 < loops[inner].1 {
                        loops[outer].1 = loops[inner].1;
                        changed = true;
                    }
                }
            }
            if !changed {
                return loops;
            }
        }
    }

    fn block_of(&self, pc: usize) -> usize {
        self.starts.partition_point(|start| *start <= pc) - 1
    }

    /// Numbers the blocks that are entered from outside, or by jumps into the middle of a loop.
    fn number_entries(&mut self, code: &[u32]) {
        let mut needed = self.public.clone();
        for located in instructions(code) {
            let Some(target) = located.target() else { continue };
            let (from, to) = (self.block_of(located.pc), self.at(target));
            needed[to] |= self.loops.iter().any(|(first, last)| {
                let contains = |block: usize| (*first..=*last).contains(&block);
                contains(to) && to != *first && !contains(from)
            });
        }
        needed[0] = false;
        let mut number = 0;
        for (block, needed) in needed.iter().enumerate() {
            if *needed {
                number += 1;
                self.entries[block] = number;
            }
        }
    }
}
