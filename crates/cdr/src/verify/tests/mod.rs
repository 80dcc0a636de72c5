//! Records that are right, and every way in which they can be wrong, in topics that stand in memory.

mod files;
mod records;
mod runs;
mod topics;
