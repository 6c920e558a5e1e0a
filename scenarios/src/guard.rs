//! Calls to third-party parsers in which a panic becomes an error.
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// The number of calls of [`guard`] that are active on this thread.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Calls `parse`. If `parse` panics, returns the message of the panic as the error.
///
/// The panic is not printed, because the caller reports the file that caused it. Stack overflows and failed allocations
/// still end the process, so the caller must limit the input's size and counts before it calls `guard`.
///
/// # Errors
/// If `parse` panics.
pub fn guard<T>(parse: impl FnOnce() -> T) -> Result<T, String> {
    silence();
    DEPTH.with(|depth| depth.set(depth.get() + 1));
    let result = catch_unwind(AssertUnwindSafe(parse));
    DEPTH.with(|depth| depth.set(depth.get() - 1));
    result.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        format!("the parser of the file panicked: {}", text.as_deref().unwrap_or("a panic without a message"))
    })
}

/// Makes the process's panic hook ignore panics within [`guard`].
fn silence() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            // `try_with` fails only while the thread ends, and then no guarded call is active.
            if DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
                before(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::guard;

    #[test]
    fn a_panic_becomes_its_message_and_a_value_passes() {
        assert_eq!(guard(|| 3), Ok(3));
        let number = std::hint::black_box(7);
        let error = guard(|| assert_eq!(number, 8, "eight is wanted")).expect_err("it panics");
        assert!(error.contains("eight is wanted"), "{error}");
        let nested = guard(|| guard(|| panic!("inner")).map(|()| 1).unwrap_or(2));
        assert_eq!(nested, Ok(2));
    }
}
