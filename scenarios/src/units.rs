//! Quantities as people write them: a number and its unit.
