//! What was computed of records that will be needed again. It saves time, and changes nothing.

use super::pair::Pair;
use crate::profile::daily::{Cell, Daily};
use crate::stream::Stream;

/// Entries, at most: 12 MiB.
const ENTRIES_MAX: usize = 1 << 19;

/// Records of a ward that are kept, where there is room: about those within reach of the longest call.
const TURNS: usize = 128;

/// Places for cells: where cells last as long as they can, those of a day.
const CELLS: usize = 1 << 10;

/// What one thread has looked at last.
#[derive(Debug)]
pub struct Memo {
    entries: Box<[Entry]>,
    /// By ward.
    known: Box<[Known]>,
    /// Entries of each ward: a power of two.
    turns: usize,
    cells: Box<[Cell]>,
    /// Seconds of a place for a cell, as a power of two.
    cell_shift: u32,
}

/// Who called whom in a record, and when.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub time: i64,
    pub pair: Pair,
}

/// What comes next.
pub enum Next {
    /// A record at a time.
    At(i64),
    /// None in time.
    None,
    /// A record that is not known yet.
    Unknown,
}

/// The turns of a ward whose entries are known: from the first one to that before the end.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    first: i64,
    end: i64,
}

impl Memo {
    pub fn new(wards: u32, daily: &Daily) -> Memo {
        let wards = wards as usize;
        let turns = (ENTRIES_MAX / wards.max(1)).clamp(1, TURNS).next_power_of_two().min(TURNS);
        Memo {
            entries: vec![Entry { time: 0, pair: Pair::NONE }; wards * turns].into(),
            known: vec![Known::default(); wards].into(),
            turns,
            cells: vec![Cell::NONE; CELLS].into(),
            // So short that few of them have the bound of two cells within.
            cell_shift: daily.cell_seconds().ilog2().saturating_sub(2),
        }
    }

    /// The cell in which a local second lies. A memo is for one stream.
    #[inline]
    pub fn cell(&mut self, daily: &Daily, stream: Stream, second: i64) -> &Cell {
        let cell = &mut self.cells[(second >> self.cell_shift) as usize & (CELLS - 1)];
        if !cell.covers(second) {
            *cell = daily.cell_at(stream, second);
        }
        cell
    }

    /// The record that a ward was dealt in a turn, if it is known.
    #[inline(always)]
    pub fn get(&self, ward: u32, turn: i64) -> Option<&Entry> {
        let known = self.known[ward as usize];
        (known.first <= turn && turn < known.end).then(|| &self.entries[self.place(ward, turn)])
    }

    /// Goes through the records of a ward from one turn on, as long as they are known and begin before
    /// `until`: to the first one that shares a party.
    #[inline]
    pub fn next_with(&self, ward: u32, turn: &mut i64, until: i64, parties: [u32; 2]) -> Next {
        let known = self.known[ward as usize];
        if *turn < known.first {
            return Next::Unknown;
        }
        let entries = &self.entries[ward as usize * self.turns..][..self.turns];
        while *turn < known.end {
            let entry = &entries[*turn as usize & (entries.len() - 1)];
            if entry.time >= until {
                return Next::None;
            }
            if entry.pair.shares(parties) {
                return Next::At(entry.time);
            }
            *turn += 1;
        }
        Next::Unknown
    }

    /// Keeps the record that follows the known ones of a ward, or begins anew with it.
    #[inline]
    pub fn put(&mut self, ward: u32, turn: i64, entry: Entry) {
        let known = &mut self.known[ward as usize];
        let first = if turn == known.end { known.first } else { turn };
        *known = Known { first: first.max(turn + 1 - self.turns as i64), end: turn + 1 };
        self.entries[self.place(ward, turn)] = entry;
    }

    #[inline(always)]
    fn place(&self, ward: u32, turn: i64) -> usize {
        ward as usize * self.turns + (turn as usize & (self.turns - 1))
    }
}
