//! Suggestions for misspelt names.
use crate::input::excerpt;

/// The largest length in bytes of a word for which a name is suggested. Longer words are not compared with names.
const LONGEST: usize = 200;

/// The largest number of candidates that a hint lists.
const LISTED: usize = 40;

/// Returns the candidate that is most similar to `word`, or `None` if no candidate is similar enough. If several are
/// equally similar, the first is returned.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE: f64 = 0.7;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let scored = candidates.into_iter().map(|name| (likeness(&word, &name.to_lowercase()), name));
    let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (best.0 >= LIKE).then_some(best.1)
}

/// The similarity of two words, from 0 to 1. Jaro-Winkler gives more weight to the beginning of a word, which people
/// rarely misspell. A single typing error (one letter too many, one missing, one wrong, or two swapped) gives at least
/// 0.9 in a word of three or more letters.
fn likeness(word: &str, name: &str) -> f64 {
    let slip = word.len() > 2 && strsim::damerau_levenshtein(word, name) == 1;
    // A word of one or two letters is similar to every name that begins with it, so it is compared only with short
    // names.
    let alike = if word.len() > 2 || 2 * word.len() >= name.len() { strsim::jaro_winkler(word, name) } else { 0.0 };
    alike.max(if slip { 0.9 } else { 0.0 })
}

/// Whether `word` and `name` differ by at most one typing error, regardless of case.
pub(crate) fn is_slip(word: &str, name: &str) -> bool {
    strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase()) <= 1
}

/// Returns "did you mean `x`?", or a list of all candidates if none is similar.
pub(crate) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(name) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let mut names: Vec<_> = candidates.into_iter().map(|name| format!("`{}`", excerpt(name))).collect();
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!("the known names are {}{more}", names.join(", ")))
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
        assert_eq!(nearest("x", ["helix-a100", "nano"]), None);
        assert_eq!(hint("zzz", ["a", "b"]).as_deref(), Some("the known names are `a`, `b`"));
        assert_eq!(hint("zzz", []), None);
        let names: Vec<String> = (0..100).map(|at| format!("{at}-{}", "x".repeat(1000))).collect();
        let long = hint(&"x".repeat(1_000_000), names.iter().map(String::as_str)).expect("a choice");
        assert!(long.len() < 5000 && long.ends_with(" and 60 more"), "{long}");
    }
}
