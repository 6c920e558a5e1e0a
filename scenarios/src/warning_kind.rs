//! The kinds of warnings. A sweep shows at most one warning of each kind.

/// The kind of a warning. Warnings of one kind differ only in their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sessions,
    Cache,
    Devices,
    Context,
    /// The event with this index is unlikely to happen.
    Event(usize),
}
