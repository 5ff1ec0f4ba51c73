//! Warnings in the order of their severity.

/// The severity of a warning; warnings are listed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Scores or flags are meaningless.
    Worthless,
    /// Figures are wrong, too good or not comparable.
    Misleading,
    /// Something should be checked.
    Note,
}

/// Warnings with their severities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Warnings(Vec<(Severity, String)>);

impl Warnings {
    /// Warnings of severity [`Severity::Note`].
    pub fn notes(texts: &[String]) -> Self {
        Self(texts.iter().map(|text| (Severity::Note, text.clone())).collect())
    }

    /// Adds a warning.
    pub fn add(&mut self, severity: Severity, text: impl Into<String>) {
        self.0.push((severity, text.into()));
    }

    /// Adds several of one severity.
    pub fn extend(&mut self, severity: Severity, texts: impl IntoIterator<Item = String>) {
        self.0.extend(texts.into_iter().map(|text| (severity, text)));
    }

    /// The texts: the most severe first, then in the order in which they were added; each once.
    pub fn texts(mut self) -> Vec<String> {
        self.0.sort_by_key(|(severity, _)| *severity);
        let mut texts: Vec<String> = vec![];
        for (_, text) in self.0 {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_severe_come_first_and_each_comes_once() {
        let mut warnings = Warnings::default();
        warnings.extend(Severity::Note, ["a".into(), "b".into(), "a".into()]);
        warnings.add(Severity::Worthless, "c");
        warnings.add(Severity::Misleading, "b");
        assert_eq!(warnings.texts(), ["c", "b", "a"]);
    }
}
