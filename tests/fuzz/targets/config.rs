#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (swarmbench_fuzz::entry("config"))(bytes));
