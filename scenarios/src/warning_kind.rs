//! Kinds of warnings, so that a sweep shows one of each.

/// Warnings of one kind differ only in their figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sessions,
    Cache,
    Devices,
    Context,
    /// That the event of this index can hardly happen.
    Event(usize),
}
