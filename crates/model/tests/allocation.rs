//! Ten million subscribers cost no more memory than ten, and a record costs no allocation.
//!
//! A test program of its own, because its allocator counts what each thread allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cdr_model::{
    FileFormat, Generator, MessageFormat, PartIndex, Plan, Record, Records, Scenario, Shard, Stream,
};

/// The system's allocator, which also counts the bytes that the current thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bytes that `work` allocates, whether or not it frees them again.
fn allocated<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.get();
    let value = work();
    (value, ALLOCATED.get() - before)
}

struct Counted(usize);

impl Records for Counted {
    fn take<R: Record>(&mut self, _: &R) {
        self.0 += 1;
    }
}

fn generator(subscribers: u32) -> (Generator, usize) {
    let scenario = Scenario { subscribers, ..Scenario::default() };
    let (generator, bytes) = allocated(|| Generator::new(&scenario));
    (generator.expect("a generator"), bytes)
}

#[test]
fn ten_million_subscribers_cost_no_more_memory_than_ten() {
    let ((_, few), (_, many)) = (generator(10), generator(10_000_000));
    assert!(few > 0);
    assert_eq!(few, many);
}

#[test]
fn a_record_costs_no_allocation_in_any_format() {
    let (generator, _) = generator(50_000);
    let part = Plan::new(&Scenario::default(), Shard::WHOLE).expect("a plan").part(PartIndex(0));
    let mut file = Vec::with_capacity(1 << 20);
    for stream in [Stream::Data, Stream::Voice] {
        let mut length = 0;
        let messages = || {
            MessageFormat::Json.encode(&generator, stream, &part, 0..1_000, |message| {
                length += message.value.len();
            });
        };
        assert_eq!(allocated(messages).1, 0);
        assert!(length > 100_000);
        file.clear();
        let lines = || FileFormat::default().body(&generator, stream, &part, 0..1_000, &mut file);
        assert_eq!(allocated(lines).1, 0);
        let mut counted = Counted(0);
        assert_eq!(allocated(|| generator.each(stream, &part, 0..1_000, &mut counted)).1, 0);
        assert_eq!(counted.0, 1_000);
    }
}
