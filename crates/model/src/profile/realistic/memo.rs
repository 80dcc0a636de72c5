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

/// Records of a ward that are compared at once.
const CHUNK: usize = 8;

/// What one thread has looked at last.
#[derive(Debug)]
pub struct Memo {
    times: Box<[i64]>,
    /// Beside each other: so that several are compared by one instruction.
    parties: Box<[[u32; 2]]>,
    destinations: Box<[u32]>,
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
            times: vec![0; wards * turns].into(),
            parties: vec![[0; 2]; wards * turns].into(),
            destinations: vec![0; wards * turns].into(),
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
    pub fn get(&self, ward: u32, turn: i64) -> Option<Entry> {
        let known = self.known[ward as usize];
        (known.first <= turn && turn < known.end).then(|| {
            let at = self.place(ward, turn);
            let [caller, person] = self.parties[at];
            let pair = Pair { caller, person, destination: self.destinations[at] };
            Entry { time: self.times[at], pair }
        })
    }

    /// Goes through the records of a ward from one turn on, as long as they are known and begin before
    /// `until`: to the first one that shares a party.
    #[inline]
    pub fn next_with(&self, ward: u32, turn: &mut i64, until: i64, parties: [u32; 2]) -> Next {
        let known = self.known[ward as usize];
        if *turn < known.first {
            return Next::Unknown;
        }
        let range = ward as usize * self.turns..(ward as usize + 1) * self.turns;
        let (all, times) = (&self.parties[range.clone()], &self.times[range]);
        while *turn < known.end {
            let at = *turn as usize & (times.len() - 1);
            let chunk = all[at..].first_chunk::<CHUNK>().filter(|_| *turn + CHUNK as i64 <= known.end);
            let (first, count) = match chunk {
                Some(chunk) => (first_shared(chunk, parties), CHUNK),
                None => (first_shared(&[all[at]], parties), 1),
            };
            if let Some(first) = first {
                return if times[at + first] >= until {
                    Next::None
                } else {
                    Next::At(times[at + first])
                };
            }
            if times[at + count - 1] >= until {
                return Next::None;
            }
            *turn += count as i64;
        }
        Next::Unknown
    }

    /// How many records of a ward are worth looking at once: where many are known, all will be needed.
    pub fn ahead(&self, ward: u32) -> usize {
        let known = self.known[ward as usize];
        if known.end - known.first > 2 * CHUNK as i64 { CHUNK } else { 1 }
    }

    /// Keeps the record that follows the known ones of a ward, or begins anew with it.
    #[inline]
    pub fn put(&mut self, ward: u32, turn: i64, entry: Entry) {
        let known = &mut self.known[ward as usize];
        let first = if turn == known.end { known.first } else { turn };
        *known = Known { first: first.max(turn + 1 - self.turns as i64), end: turn + 1 };
        let (at, Pair { caller, person, destination }) = (self.place(ward, turn), entry.pair);
        self.times[at] = entry.time;
        self.parties[at] = [caller, person];
        self.destinations[at] = destination;
    }

    #[inline(always)]
    fn place(&self, ward: u32, turn: i64) -> usize {
        ward as usize * self.turns + (turn as usize & (self.turns - 1))
    }
}

/// The first of the records that shares a party.
#[inline(always)]
fn first_shared<const N: usize>(records: &[[u32; 2]; N], [one, other]: [u32; 2]) -> Option<usize> {
    let shares = |[caller, person]: &[u32; 2]| {
        (*caller == one) | (*person == one) | (*caller == other) | (*person == other)
    };
    // Without a branch for each: mostly there is none.
    let any = records.iter().fold(0, |any, record| any | u32::from(shares(record)));
    if any == 0 { None } else { records.iter().position(shares) }
}
