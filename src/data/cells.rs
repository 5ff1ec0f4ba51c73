//! Statistics of the cells of a column: range, number of missing values, and numbers that may mean
//! a missing value.

/// Numbers that often mean a missing value.
pub const SENTINELS: [f32; 4] = [-99.0, -999.0, -9999.0, 9999.0];
/// Minimum number of repetitions, and minimum share of the cells, of a reported sentinel.
const LEAST: usize = 3;
const LEAST_SHARE: f64 = 0.001;
/// Minimum distance of a sentinel from all other values, as a share of their range.
const FAR: f32 = 0.1;

/// The cells of one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cells {
    /// Number of cells with a value.
    pub present: usize,
    /// Number of cells without a value.
    pub missing: usize,
    /// The lowest value.
    pub low: f32,
    /// The sum of the values.
    pub sum: f64,
    /// The highest value.
    pub high: f32,
    /// Number of occurrences of each of [`SENTINELS`].
    counts: [usize; SENTINELS.len()],
    /// Lowest and highest of the other values.
    others: (f32, f32),
}

impl Default for Cells {
    fn default() -> Self {
        let nothing = (f32::INFINITY, f32::NEG_INFINITY);
        Self {
            present: 0,
            missing: 0,
            low: nothing.0,
            sum: 0.0,
            high: nothing.1,
            counts: [0; SENTINELS.len()],
            others: nothing,
        }
    }
}

impl Cells {
    /// The cells of each column of a matrix.
    pub fn of_columns(values: &[f32], width: usize) -> Vec<Self> {
        let mut all = vec![Self::default(); width];
        for row in values.chunks_exact(width.max(1)) {
            all.iter_mut().zip(row).for_each(|(cells, value)| cells.add(*value));
        }
        all
    }

    /// Adds a value; NaN is a missing one.
    pub fn add(&mut self, value: f32) {
        if value.is_nan() {
            self.missing += 1;
            return;
        }
        self.present += 1;
        (self.low, self.sum, self.high) =
            (self.low.min(value), self.sum + f64::from(value), self.high.max(value));
        match SENTINELS.iter().position(|sentinel| *sentinel == value) {
            Some(at) => self.counts[at] += 1,
            None => self.others = (self.others.0.min(value), self.others.1.max(value)),
        }
    }

    /// Adds the statistics of another part of the column.
    pub fn join(&mut self, other: &Self) {
        (self.present, self.missing) = (self.present + other.present, self.missing + other.missing);
        (self.low, self.sum, self.high) =
            (self.low.min(other.low), self.sum + other.sum, self.high.max(other.high));
        self.counts.iter_mut().zip(other.counts).for_each(|(count, other)| *count += other);
        self.others = (self.others.0.min(other.others.0), self.others.1.max(other.others.1));
    }

    /// The mean of the values; NaN if there are none.
    pub fn mean(&self) -> f64 {
        self.sum / self.present as f64
    }

    /// The numbers that probably mean a missing value, with their number of occurrences. They are
    /// repeated, and far outside the range of the other values or the only ones below 0.
    pub fn sentinels(&self) -> impl Iterator<Item = (f32, usize)> {
        let Self { present, counts, others: (low, high), .. } = *self;
        let is_far = move |sentinel: f32| {
            let gap = (low - sentinel).max(sentinel - high);
            low <= high
                && gap > 0.0
                && (gap >= FAR * (high - low) || (sentinel < 0.0 && low >= 0.0))
        };
        let is_repeated =
            move |count: usize| count >= LEAST && count as f64 >= LEAST_SHARE * present as f64;
        SENTINELS
            .into_iter()
            .zip(counts)
            .filter(move |(sentinel, count)| is_repeated(*count) && is_far(*sentinel))
    }
}

/// A warning about numbers that probably mean a missing value, feature by feature.
pub fn suspicion<'a>(columns: impl Iterator<Item = (&'a str, &'a Cells)>) -> Option<String> {
    /// Number of features named.
    const MOST: usize = 5;
    let mut found: Vec<(&str, f32, usize)> = vec![];
    let mut numbers: Vec<f32> = vec![];
    for (name, cells) in columns {
        for (number, count) in cells.sentinels() {
            found.push((name, number, count));
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
    }
    numbers.sort_by(f32::total_cmp);
    let more = found.len().saturating_sub(MOST);
    let named: Vec<String> = found
        .iter()
        .take(MOST)
        .map(|(name, number, count)| format!("\"{name}\" is {number} in {count} rows"))
        .collect();
    let more = if more > 0 {
        format!(" and {more} more features have such a number")
    } else {
        String::new()
    };
    let list: Vec<String> = numbers.iter().map(f32::to_string).collect();
    (!found.is_empty()).then(|| {
        format!(
            "{}{more}, far from all other values: if that means a missing value, set data.missing = [{}] and choose a data.fill",
            named.join(", "),
            list.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: impl IntoIterator<Item = f32>) -> Cells {
        let mut cells = Cells::default();
        values.into_iter().for_each(|value| cells.add(value));
        cells
    }

    fn sentinels(values: impl IntoIterator<Item = f32>) -> Vec<(f32, usize)> {
        cells(values).sentinels().collect()
    }

    #[test]
    fn repeated_numbers_far_from_all_others_are_pointed_out() {
        let usual = || (0..200).map(|i| (i % 37) as f32 / 10.0);
        assert_eq!(sentinels(usual().chain([-999.0; 5])), [(-999.0, 5)]);
        assert_eq!(
            sentinels(usual().chain([9999.0; 3]).chain([-99.0; 4])),
            [(-99.0, 4), (9999.0, 3)]
        );
        assert_eq!(sentinels(usual().chain([-999.0; 2])), [], "twice is no habit");
        // Among counts up to 100,000 it is relatively near, but nothing else is negative.
        assert_eq!(sentinels((0..200).map(|i| (i * 500) as f32).chain([-999.0; 5])), [(-999.0, 5)]);
        assert_eq!(
            sentinels([5.0; 50].into_iter().chain([-999.0; 5])),
            [(-999.0, 5)],
            "beside a constant"
        );
    }

    #[test]
    fn the_end_of_a_range_is_no_sentinel() {
        assert_eq!(sentinels((0..300).map(|i| (i - 99) as f32).chain([-99.0; 9])), []);
        assert_eq!(sentinels((0..2000).map(|i| (5 * i) as f32).chain([9999.0; 9])), []);
        assert_eq!(
            sentinels((0..2000).map(|i| (i * 10) as f32).chain([9999.0; 9])),
            [],
            "inside the range"
        );
        assert_eq!(sentinels([-999.0; 9]), [], "a constant is not a sentinel");
        assert_eq!(
            sentinels((0..9000).map(|i| i as f32 / 9000.0).chain([-99.0; 4])),
            [],
            "too few of so many rows"
        );
    }

    #[test]
    fn parts_of_a_column_join_to_the_whole() {
        let values = [1.0, f32::NAN, -999.0, 4.0, -999.0, 2.0, -999.0, f32::NAN];
        let mut joined = cells(values[..3].iter().copied());
        joined.join(&cells(values[3..].iter().copied()));
        assert_eq!(joined, cells(values));
        assert_eq!((joined.present, joined.missing, joined.low, joined.high), (6, 2, -999.0, 4.0));
        let told = suspicion([("pt", &joined)].into_iter()).unwrap();
        assert!(
            told.starts_with("\"pt\" is -999 in 3 rows, far from")
                && told.contains("data.missing = [-999]"),
            "{told}"
        );
    }
}
