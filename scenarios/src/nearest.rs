//! The name a person probably meant.

/// The candidate most like `word`, if any is like it at all; among equals the first.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Jaro-Winkler weighs the beginning of a word, where people are surest; 0.7 keeps `promt` -> `prompt` and drops noise.
    const LIKE: f64 = 0.7;
    let word = word.to_lowercase();
    let scored = candidates.into_iter().map(|name| (strsim::jaro_winkler(&word, &name.to_lowercase()), name));
    let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (best.0 >= LIKE).then_some(best.1)
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
        assert_eq!(nearest("push", ["Relay", "Push"]), Some("Push"));
        assert_eq!(nearest("zzz", ["Relay", "Push"]), None);
        assert_eq!(hint("zzz", ["a", "b"]).as_deref(), Some("there is `a`, `b`"));
        assert_eq!(hint("zzz", []), None);
    }
}
