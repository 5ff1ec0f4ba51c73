//! The dialect of a CSV file: its delimiter, its header, and the type of each column.

use super::{
    layout::{Contents, Layout},
    text::{Block, Source},
};
use crate::{
    config::data::Format,
    data::{
        field::{Field, FieldKind},
        read::options::ReadOptions,
        table::is_missing,
    },
    error::{Error, Result, listed},
};
use rayon::prelude::*;
use regex::bytes::Regex;
use std::{borrow::Cow, path::Path, sync::LazyLock};

/// The layout of a CSV file.
pub struct Dialect {
    /// The kind of file.
    pub format: Format,
    /// The delimiter of fields.
    pub delimiter: u8,
    /// Number of bytes before the first row of data: comments and column names.
    pub rows_at: usize,
    /// The columns.
    pub fields: Vec<Field>,
    /// Minimum number of fields per row; trailing columns without a name may be missing.
    pub least: usize,
    /// The role of each column.
    pub layout: Layout,
    /// The run in the file's name.
    pub file_run: Option<u32>,
    /// Whether rows with missing cells are accepted.
    pub keeps_missing: bool,
}

/// Rows sampled to determine column types: this number at the start of the first block, and the
/// same number spread over it.
const SAMPLE: usize = 64;

/// The text before the column names.
#[derive(Debug, Default, PartialEq)]
struct Lead<'t> {
    /// Start of the first row that is not a comment.
    end: usize,
    /// The last comment, without its mark.
    comment: Option<&'t [u8]>,
    /// The delimiter in a line such as `sep=;`, as spreadsheets write it.
    delimiter: Option<u8>,
}

fn lead(text: &[u8]) -> Lead<'_> {
    let mut lead = Lead::default();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match line.trim_ascii() {
            [] => {}
            [b'#', comment @ ..] => lead.comment = Some(comment),
            [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] => {
                lead.delimiter = Some(*delimiter)
            }
            [b's' | b'S', b'e' | b'E', b'p' | b'P', b'='] if line.contains(&b'\t') => {
                lead.delimiter = Some(b'\t')
            }
            _ => return lead,
        }
        lead.end += line.len();
    }
    lead
}

/// The delimiter of a text that begins with `start`.
pub fn delimiter(start: &[u8], format: Format) -> u8 {
    let lead = lead(start);
    let first = start[lead.end..].split(|&byte| byte == b'\n').next().unwrap_or_default();
    let outside = |byte: u8| outside_brackets(first).any(|found| found == byte);
    match format {
        Format::LsBins => b';',
        Format::Ml4dqm => b',',
        _ if lead.delimiter.is_some_and(|delimiter| delimiter != b'"') => {
            lead.delimiter.unwrap_or(b',')
        }
        _ if outside(b';') => b';',
        _ if outside(b'\t') && !outside(b',') => b'\t',
        _ => b',',
    }
}

fn outside_brackets(line: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut depth = 0_i32;
    line.iter().copied().filter(move |byte| {
        depth += i32::from(*byte == b'[') - i32::from(*byte == b']');
        depth <= 0
    })
}

/// A reader of rows without column names.
pub fn rows(text: &[u8], delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(1 << 16)
        .from_reader(text)
}

/// Decodes UTF-8, or else Latin-1.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}

fn fields_of(line: &[u8], delimiter: u8) -> Vec<String> {
    let mut record = csv::ByteRecord::new();
    let _ = rows(line, delimiter).read_byte_record(&mut record);
    record.iter().map(|field| decode(field.trim_ascii()).into_owned()).collect()
}

impl Dialect {
    /// The dialect of a file that begins with `block`; `source` provides the rest of the file.
    pub fn find(
        path: &Path,
        block: &Block,
        source: &Source,
        delimiter: u8,
        wanted: &ReadOptions,
    ) -> Result<Self> {
        let Lead { end: start, comment, .. } = lead(&block.text);
        let text = &block.text[start..];
        let mut reader = rows(text, delimiter);
        let mut first = csv::ByteRecord::new();
        if !reader
            .read_byte_record(&mut first)
            .map_err(|error| Error::input(format!("{}: {error}", path.display())))?
        {
            return Err(Error::input(format!("{}: is empty", path.display())));
        }
        let mut notes = vec![];
        if first.iter().any(|name| std::str::from_utf8(name).is_err()) {
            notes.push("the names of the columns are not UTF-8 and are read as Latin-1; save the file as UTF-8".to_owned());
        }
        let mut names: Vec<String> =
            first.iter().map(|field| decode(field.trim_ascii()).into_owned()).collect();
        let headless = names.first().is_some_and(|field| field.parse::<u32>().is_ok())
            && names.iter().any(|field| field.starts_with('['));
        let mut rows_at = start + if headless { 0 } else { reader.position().byte() as usize };
        let kinds = kinds(path, &block.behind(rows_at), source, delimiter, names.len())?;
        if headless {
            names.iter_mut().for_each(String::clear);
        } else if is_data(&names, &kinds) {
            let said = comment
                .map(|comment| fields_of(comment, delimiter))
                .filter(|said| said.len() == names.len() && !is_data(said, &kinds));
            let Some(said) = said else {
                let line = 1 + block.text[..start].iter().filter(|byte| **byte == b'\n').count();
                let found = listed(names.iter().map(String::as_str));
                return Err(Error::input(format!(
                    "{}:{line}: found the numbers {found}; expected a header with the names of the columns",
                    path.display()
                )));
            };
            (names, rows_at) = (said, start);
        }
        let least = if headless {
            names.len()
        } else {
            names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1)
        };
        let field = |(name, kind): (String, FieldKind)| Field {
            name,
            kind,
            type_name: format!("{kind:?}").to_lowercase(),
        };
        let fields: Vec<Field> = names.into_iter().zip(kinds).map(field).collect();

        // Two columns without known names are LS and bins, as in the METSig notebook.
        let list_second = fields.get(1).is_some_and(|field| field.kind == FieldKind::List);
        let bare = headless
            || wanted.format == Format::LsBins
            || list_second
                && fields.len() == 2
                && !matches!(wanted.format, Format::Ml4dqm | Format::Csv);
        let named = wanted.columns.ls.is_some() || wanted.columns.histogram.is_some();
        let found = Layout::find(path, &fields, wanted)
            .and_then(|layout| layout.require_ls(path, &fields).map(|()| layout));
        let mut layout = match found {
            Err(_) if bare && !named && wanted.required.is_empty() && fields.len() > 1 => {
                ls_and_bins()
            }
            found => found?,
        };
        layout.notes.extend(notes);
        let format = match (wanted.format, &layout.contents) {
            (Format::Auto, Contents::List(_)) if layout.run.is_some() => Format::Ml4dqm,
            (Format::Auto, Contents::List(_)) => Format::LsBins,
            (Format::Auto, _) => Format::Csv,
            (given, _) => given,
        };
        Ok(Self {
            format,
            delimiter,
            rows_at,
            fields,
            least,
            layout,
            file_run: run_in_name(path),
            keeps_missing: wanted.keeps_missing,
        })
    }
}

fn ls_and_bins() -> Layout {
    Layout {
        run: None,
        ls: Some(0),
        me: None,
        contents: Contents::List(1),
        hierarchy: None,
        x_bins: None,
        y_bins: None,
        edges: [None; 4],
        extra: vec![],
        twins: vec![],
        notes: vec![],
    }
}

/// Whether the header is a row of data: every column of numbers is "named" by a number. Names that
/// are evenly spaced (0, 1, 2, …) are names.
fn is_data(names: &[String], kinds: &[FieldKind]) -> bool {
    let number = |name: &String| name.parse::<f64>().ok();
    let of_numbers = || {
        names
            .iter()
            .zip(kinds)
            .filter(|(name, kind)| **kind == FieldKind::Number && !name.is_empty())
            .map(|(name, _)| name)
    };
    let numbers: Vec<f64> = of_numbers().map_while(number).collect();
    let counts = names.len() > 1
        && numbers
            .windows(2)
            .all(|pair| pair[1] > pair[0] && pair[1] - pair[0] == numbers[1] - numbers[0]);
    let from_start =
        numbers.first().is_some_and(|first| *first == 0.0 || *first == 1.0) && numbers.len() > 1;
    !numbers.is_empty()
        && numbers.len() == of_numbers().count()
        && !(counts && (from_start || numbers.len() > 3))
}

/// The apparent type of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Number,
    Flag,
    List,
    Text,
}

/// The apparent type of an entry; `None` if it is missing.
fn entry(field: &[u8]) -> Option<Entry> {
    let field = field.trim_ascii();
    let text = decode(field);
    match text.parse::<f64>() {
        Ok(number) if !number.is_nan() => return Some(Entry::Number),
        _ if is_missing(&text) => return None,
        _ => {}
    }
    Some(match &*text {
        text if text.starts_with('[') => Entry::List,
        "True" | "False" | "true" | "false" | "TRUE" | "FALSE" => Entry::Flag,
        _ if is_number_of_people(field) => Entry::Number,
        _ => Entry::Text,
    })
}

/// Whether a field is a number in an unsupported form: with a decimal comma, thousands separators,
/// a Fortran exponent or a percent sign.
pub fn is_number_of_people(field: &[u8]) -> bool {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"^[+-]?(\d+[.,]?\d*|[.,]\d+|\d{1,3}([,.' ]\d{3})+([.,]\d+)?)([eEdD][+-]?\d+)? ?%?$",
        )
        .ok()
    });
    PATTERN.as_ref().is_some_and(|pattern| pattern.is_match(field))
}

/// Number of entries of each type, in the order of [`Entry`].
type Tally = [usize; 4];

/// The type of each column: that of most of its present entries. A sample determines most columns;
/// if it has no entries or several types, all rows of the block are read, and for columns that are
/// blank there, the rest of the file.
fn kinds(
    path: &Path,
    block: &Block,
    source: &Source,
    delimiter: u8,
    columns: usize,
) -> Result<Vec<FieldKind>> {
    let all: Vec<usize> = (0..columns).collect();
    let mut tallies = vec![[0; 4]; columns];
    let first = rows(&block.text, delimiter)
        .into_byte_records()
        .take(SAMPLE)
        .filter_map(std::result::Result::ok)
        .collect::<Vec<_>>();
    if first.is_empty() {
        // Without rows, numbers are assumed.
        return Ok(vec![FieldKind::Number; columns]);
    }
    first.iter().for_each(|record| count(record, &all, &mut tallies));
    for (_, piece) in block.pieces(SAMPLE) {
        let mut record = csv::ByteRecord::new();
        if rows(piece, delimiter).read_byte_record(&mut record).is_ok() {
            count(&record, &all, &mut tallies);
        }
    }
    let unsure: Vec<usize> = all
        .into_iter()
        .filter(|&at| tallies[at].iter().filter(|count| **count > 0).count() != 1)
        .collect();
    if !unsure.is_empty() {
        unsure.iter().for_each(|&at| tallies[at] = [0; 4]);
        count_all(block, delimiter, &unsure, &mut tallies);
    }
    let blank = |tallies: &[Tally]| {
        unsure.iter().copied().filter(|&at| tallies[at] == [0; 4]).collect::<Vec<_>>()
    };
    let mut left = blank(&tallies);
    // A file can be read again, a pipe cannot.
    if !left.is_empty() && !source.is_at_end() && path.is_file() {
        let mut again = Source::open(path)?;
        again.skip_mark(path)?;
        while let Some(block) = again.block(path, delimiter)?.filter(|_| !left.is_empty()) {
            if block.before > 0 {
                count_all(&block, delimiter, &left, &mut tallies);
                left = blank(&tallies);
            }
        }
    }
    let kind =
        |[numbers, flags, lists, texts]: Tally| match numbers.max(flags).max(lists).max(texts) {
            0 => FieldKind::Blank,
            most if most == numbers => FieldKind::Number,
            most if most == flags => FieldKind::Flag,
            most if most == lists => FieldKind::List,
            _ => FieldKind::Text,
        };
    Ok(tallies.into_iter().map(kind).collect())
}

fn count(record: &csv::ByteRecord, columns: &[usize], tallies: &mut [Tally]) {
    for &at in columns {
        if let Some(entry) = record.get(at).and_then(entry) {
            tallies[at][entry as usize] += 1;
        }
    }
}

/// Counts the entries of some columns in all rows.
fn count_all(block: &Block, delimiter: u8, columns: &[usize], tallies: &mut [Tally]) {
    let of_piece = |(_, piece): &(usize, &[u8])| {
        let (mut reader, mut record, mut own) =
            (rows(piece, delimiter), csv::ByteRecord::new(), vec![[0; 4]; tallies.len()]);
        while reader.read_byte_record(&mut record).unwrap_or(false) {
            count(&record, columns, &mut own);
        }
        own
    };
    for own in
        block.pieces(2 * rayon::current_num_threads()).par_iter().map(of_piece).collect::<Vec<_>>()
    {
        for &at in columns {
            (0..4).for_each(|what| tallies[at][what] += own[at][what]);
        }
    }
}

/// The run in a name such as `run_297219_METSig.csv`.
fn run_in_name(path: &Path) -> Option<u32> {
    static PATTERN: LazyLock<Option<regex::Regex>> =
        LazyLock::new(|| regex::Regex::new(r"(?i)run[_-]?(\d{6})(\D|$)").ok());
    PATTERN.as_ref()?.captures(path.file_name()?.to_str()?)?.get(1)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_number_may_stand_in_the_file_name() {
        assert_eq!(run_in_name(Path::new("data/run_297219_METSig.csv")), Some(297219));
        assert_eq!(run_in_name(Path::new("run_gggggg_METSig.csv")), None);
        assert_eq!(run_in_name(Path::new("good.csv")), None);
    }

    #[test]
    fn comments_and_the_separator_of_spreadsheets_come_before_the_names() {
        assert_eq!(
            lead(b"\n# one\n#two\na,b\n# three\n"),
            Lead { end: 12, comment: Some(b"two"), delimiter: None }
        );
        assert_eq!(
            lead(b"sep=;\r\na;b\r\n"),
            Lead { end: 7, comment: None, delimiter: Some(b';') }
        );
        assert_eq!(delimiter(b"# x;y\na,b\n", Format::Auto), b',');
    }

    #[test]
    fn a_row_of_numbers_is_no_header_and_a_count_is() {
        let is_data = |names: &[&str], kinds: &[FieldKind]| {
            is_data(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), kinds)
        };
        assert!(is_data(&["1", "17", "0.5"], &[FieldKind::Number; 3]));
        assert!(is_data(
            &["1", "17", "0.5", "good"],
            &[FieldKind::Number, FieldKind::Number, FieldKind::Number, FieldKind::Text]
        ));
        assert!(is_data(&["1", "2", "0.5", ""], &[FieldKind::Number; 4]));
        assert!(!is_data(&["run", "17", "0.5"], &[FieldKind::Number; 3]));
        assert!(!is_data(&["", "0", "1", "2"], &[FieldKind::Number; 4]));
        assert!(!is_data(&["400", "405", "410", "415"], &[FieldKind::Number; 4]));
        assert!(!is_data(&["a", "b"], &[FieldKind::Text; 2]));
    }

    #[test]
    fn numbers_as_people_write_them_are_no_texts() {
        for text in ["1,5", "1,234.5", "1.234,5", "1 234 567", "-1'000", "12 %", "1.5D+03", ",5"] {
            assert!(is_number_of_people(text.as_bytes()), "{text}");
        }
        for text in ["1.2.3", "2024-01-05", "12:30", "1,23,4", "v1,5", "1,5 GeV", ""] {
            assert!(!is_number_of_people(text.as_bytes()), "{text}");
        }
    }
}
