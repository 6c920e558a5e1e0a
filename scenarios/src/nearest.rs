//! The name a person probably meant.

/// The candidate most like `word`, if any is like it at all; among equals the first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE: f64 = 0.7;
    let word = word.to_lowercase();
    let scored = candidates.into_iter().map(|name| (likeness(&word, &name.to_lowercase()), name));
    let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (best.0 >= LIKE).then_some(best.1)
}

/// From 0 to 1. Jaro-Winkler weighs the beginning of a word, where people are surest; one slip of the fingers (a letter
/// too many, too few, wrong, or two swapped) is near even in a word of three letters.
fn likeness(word: &str, name: &str) -> f64 {
    let slip = word.len() > 2 && strsim::damerau_levenshtein(word, name) == 1;
    strsim::jaro_winkler(word, name).max(if slip { 0.9 } else { 0.0 })
}

/// "did you mean `x`?", or the whole choice where nothing is alike.
pub(crate) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(name) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let names: Vec<_> = candidates.into_iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| format!("there is {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::{hint, nearest};

    #[test]
    fn a_typo_finds_its_name_and_noise_finds_none() {
        assert_eq!(nearest("promt", ["batch", "prompt", "generate"]), Some("prompt"));
        assert_eq!(nearest("sdt", ["mean", "std"]), Some("std"));
        assert_eq!(nearest("push", ["Relay", "Push"]), Some("Push"));
        assert_eq!(nearest("zzz", ["Relay", "Push"]), None);
        assert_eq!(hint("zzz", ["a", "b"]).as_deref(), Some("there is `a`, `b`"));
        assert_eq!(hint("zzz", []), None);
    }
}
