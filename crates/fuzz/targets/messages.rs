#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdr_fuzz::messages::check(bytes));
