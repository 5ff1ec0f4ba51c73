//! Reads column names from pickles written by pandas.

/// The texts in a pickle of protocol 0, each on a line that begins with V: the column names.
/// Nothing is executed.
pub fn pickled_names(pickle: &str) -> Vec<String> {
    pickle
        .lines()
        .filter_map(|line| line.strip_prefix("aV").or_else(|| line.strip_prefix('V')))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_columns_are_read_from_a_pickle_without_running_it() {
        assert_eq!(
            pickled_names("(lp0\nVrun\np1\naVVp2\np2\naVf 7\np3\na."),
            ["run", "Vp2", "f 7"]
        );
        assert_eq!(pickled_names("integer"), [""; 0]);
    }
}
