//! What was computed of records that will be needed again. It saves time, and changes nothing.

use super::pair::Pair;
use crate::profile::daily::{Cell, Daily};
use crate::stream::Stream;

/// Entries, at most: 16 MiB.
const ENTRIES_MAX: usize = 1 << 19;

/// Records of a ward that are kept, where there is room: about those within reach of the longest call.
const TURNS: usize = 64;

/// Cells that are kept: where they last as long as they can, those of a day.
const CELLS: usize = 1 << 10;

/// What one thread has looked at last.
#[derive(Debug)]
pub struct Memo {
    pairs: Box<[Entry]>,
    /// Entries of each ward.
    turns: usize,
    cells: Box<[Cell]>,
    /// Seconds of a place for a cell, as a power of two.
    cell_shift: u32,
}

/// Who called whom in a record, and when.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub turn: i64,
    pub time: i64,
    pub ward: u32,
    pub pair: Pair,
}

impl Memo {
    pub fn new(wards: u32, daily: &Daily) -> Memo {
        let wards = wards as usize;
        let turns = (ENTRIES_MAX / wards.max(1)).clamp(1, TURNS).next_power_of_two().min(TURNS);
        let pairs = (wards * turns).clamp(1, ENTRIES_MAX);
        let none = Entry { turn: i64::MIN, time: 0, ward: 0, pair: Pair::NONE };
        Memo {
            pairs: vec![none; pairs].into(),
            turns,
            cells: vec![Cell::NONE; CELLS].into(),
            cell_shift: daily.cell_seconds().ilog2(),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.pairs.iter_mut().for_each(|entry| entry.turn = i64::MIN);
    }

    /// The cell in which a local second lies. A memo is for one stream.
    #[inline]
    pub fn cell(&mut self, daily: &Daily, stream: Stream, second: i64) -> Cell {
        let cell = &mut self.cells[(second >> self.cell_shift) as usize & (CELLS - 1)];
        if !cell.covers(second) {
            *cell = daily.cell_at(stream, second);
        }
        *cell
    }

    /// Where the entries of a ward begin.
    #[inline]
    pub fn base(&self, ward: u32) -> usize {
        let base = ward as usize * self.turns;
        if base < self.pairs.len() { base } else { base % self.pairs.len() }
    }

    /// The record that a ward was dealt in a turn, if it is known.
    #[inline(always)]
    pub fn get(&self, base: usize, ward: u32, turn: i64) -> Option<&Entry> {
        let entry = &self.pairs[base + (turn as usize & (self.turns - 1))];
        (entry.turn == turn && entry.ward == ward).then_some(entry)
    }

    #[inline]
    pub fn put(&mut self, entry: Entry) {
        let place = self.base(entry.ward) + (entry.turn as usize & (self.turns - 1));
        self.pairs[place] = entry;
    }
}
