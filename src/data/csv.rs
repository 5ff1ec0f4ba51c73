//! CSV files with one histogram a row: `LS;[bins]` and the ML4DQM layout.
//!
//! Numbers are parsed as numbers (a minus sign and a decimal point mean what they say), and a row that cannot be read
//! keeps its line and the reason.

use super::table::{Fault, Row, Table, Wanted};
use crate::{
    config::raw::{Columns, Format},
    error::{Error, Result, suggestion},
};
use regex::Regex;
use std::{path::Path, sync::LazyLock};

/// How a CSV file is laid out.
#[derive(Clone, Debug, PartialEq)]
pub struct Dialect {
    /// `ls-bins` or `ml4dqm`.
    pub format: Format,
    /// What stands between fields.
    pub delimiter: u8,
    /// Header names; empty where the file has no header row.
    pub header: Vec<String>,
    run: Option<usize>,
    ls: usize,
    histogram: usize,
    bins: Option<usize>,
    me: Option<usize>,
}

const RUN: &[&str] = &["fromrun", "run_number", "run"];
const LS: &[&str] = &["fromlumi", "ls_number", "lumisection_number", "lumi", "ls"];
const HISTOGRAM: &[&str] = &["histo", "data"];
const BINS: &[&str] = &["xbins", "x_bin"];
const ME: &[&str] = &["hname", "me"];

/// Reads the text of a CSV file. Rows that cannot be read are in `faults`; what is wrong with the file as a whole is the error.
pub fn read(path: &Path, text: &[u8], wanted: &Wanted) -> Result<Table> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let dialect = sniff(path, text, wanted.format, &wanted.columns)?;
    let mut extra = vec![];
    for name in &wanted.extra {
        match named(path, &dialect.header, name) {
            Ok(i) => extra.push((name.clone(), i)),
            Err(error) if wanted.extra_required => return Err(error),
            Err(_) => {}
        }
    }
    let mut table = Table::new(path, dialect.format);
    table.columns = extra.iter().map(|(name, _)| (name.clone(), vec![])).collect();
    let mut widths: Vec<usize> = vec![];
    let mut declared: Vec<Option<usize>> = vec![];
    let file_run = run_in_name(path);

    let mut reader = csv::ReaderBuilder::new().delimiter(dialect.delimiter).has_headers(!dialect.header.is_empty()).flexible(true).from_reader(text);
    let mut record = csv::ByteRecord::new();
    loop {
        let more = reader.read_byte_record(&mut record).map_err(|error| Error::input(format!("{}: {error}", path.display())))?;
        if !more {
            break;
        }
        let line = record.position().map_or(0, |position| position.line() as u32);
        if record.len() == 1 && record[0].trim_ascii().is_empty() {
            continue;
        }
        let me = dialect.me.and_then(|i| record.get(i)).map(|me| String::from_utf8_lossy(me).into_owned());
        if let Some(me) = &me {
            *table.elements.entry(me.clone()).or_insert(0) += 1;
            if wanted.me.as_ref().is_some_and(|wanted| wanted != me) {
                continue;
            }
        }
        let start = table.values.len();
        let mut id = (file_run, None);
        match (read_row(&record, &dialect, &mut id, &mut table.values), id) {
            (Ok(bins), (run, Some(ls))) => {
                widths.push(table.values.len() - start);
                declared.push(bins);
                table.rows.push(Row { run, ls, line });
                for (name, i) in &extra {
                    let text = record.get(*i).map(|field| String::from_utf8_lossy(field.trim_ascii()).into_owned()).unwrap_or_default();
                    table.columns.entry(name.clone()).or_default().push(text);
                }
            }
            (result, (run, ls)) => {
                table.values.truncate(start);
                table.faults.push(Fault { line, run, ls, reason: result.err().unwrap_or_default() });
            }
        }
    }
    choose_element(path, &table, wanted)?;
    table.keep_usual_width(&widths);
    table.flow_bins = declared.iter().flatten().any(|bins| bins + 2 == table.width);
    if let Some(bins) = declared.iter().flatten().find(|bins| **bins != table.width && **bins + 2 != table.width) {
        return Err(Error::input(format!("{}: {} bins in the histograms, but the column of bin numbers says {bins}", path.display(), table.width)));
    }
    table.header = dialect.header;
    Ok(table)
}

/// The delimiter, header and columns of a CSV file, found from its first lines.
fn sniff(path: &Path, text: &[u8], format: Format, names: &Columns) -> Result<Dialect> {
    let mut lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let Some(first) = lines.next() else {
        return Err(Error::input(format!("{}: is empty", path.display())));
    };
    let delimiter = match format {
        Format::LsBins => b';',
        Format::Ml4dqm => b',',
        Format::Auto if outside_brackets(first).any(|byte| byte == b';') => b';',
        Format::Auto => b',',
    };
    let fields = |line: &[u8]| -> Vec<String> {
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).from_reader(line);
        let record = reader.byte_records().next().and_then(std::result::Result::ok).unwrap_or_default();
        record.iter().map(|field| String::from_utf8_lossy(field.trim_ascii()).into_owned()).collect()
    };
    let is_list = |field: Option<&String>| field.is_some_and(|field| field.starts_with('['));
    let start = fields(first);
    let headless = start.iter().any(|field| field.starts_with('[')) && start[0].parse::<u32>().is_ok();
    let (header, sample) = if headless { (vec![], start) } else { (start, lines.next().map(fields).unwrap_or_default()) };
    let column = |name: &Option<String>, usual: &[&str]| match name {
        Some(name) => named(path, &header, name).map(Some),
        None => Ok(header.iter().position(|field| usual.iter().any(|usual| field.eq_ignore_ascii_case(usual)))),
    };
    let (run, ls, histogram) = (column(&names.run, RUN)?, column(&names.ls, LS)?, column(&names.histogram, HISTOGRAM)?);
    let (bins, me) = (column(&names.bins, BINS)?, column(&names.me, ME)?);
    let found = match (ls, histogram) {
        _ if format == Format::LsBins && names.ls.is_none() && names.histogram.is_none() => Some((0, 1)),
        (Some(ls), Some(histogram)) => Some((ls, histogram)),
        _ if is_list(sample.get(1)) && format != Format::Ml4dqm && run.is_none() => Some((0, 1)),
        _ => None,
    };
    let Some((ls, histogram)) = found else {
        let missing = if ls.is_none() { ("lumisection numbers", "ls", LS) } else { ("histograms", "histogram", HISTOGRAM) };
        return Err(Error::input(format!(
            "{}: no column of {}: looked for {} in the header \"{}\"; name it with data.columns.{}, or see `lumisift inspect`",
            path.display(),
            missing.0,
            missing.2.join(", "),
            header.join(&(delimiter as char).to_string()),
            missing.1,
        )));
    };
    let format = match format {
        Format::Auto if run.is_some() => Format::Ml4dqm,
        Format::Auto => Format::LsBins,
        given => given,
    };
    Ok(Dialect { format, delimiter, header, run, ls, histogram, bins, me })
}

fn outside_brackets(line: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut depth = 0_i32;
    line.iter().copied().filter(move |byte| {
        depth += i32::from(*byte == b'[') - i32::from(*byte == b']');
        depth <= 0
    })
}

/// The first column of that name: ML4DQM headers repeat names.
fn named(path: &Path, header: &[String], name: &str) -> Result<usize> {
    header.iter().position(|field| field == name).ok_or_else(|| {
        let near = suggestion(name, header.iter().map(String::as_str));
        Error::input(format!("{}: no column \"{name}\"{near}; its columns are {}", path.display(), header.join(", ")))
    })
}

fn choose_element(path: &Path, table: &Table, wanted: &Wanted) -> Result<()> {
    let names: Vec<&str> = table.elements.keys().map(String::as_str).collect();
    match &wanted.me {
        Some(me) if !table.elements.contains_key(me) => {
            let near = suggestion(me, names.iter().copied());
            Err(Error::input(format!("{}: no monitoring element \"{me}\"{near}; it holds {}", path.display(), names.join(", "))))
        }
        None if names.len() > 1 && !wanted.any_element => {
            Err(Error::input(format!("{}: holds several monitoring elements; choose one with data.me: {}", path.display(), names.join(", "))))
        }
        _ => Ok(()),
    }
}

/// Appends a row's bins to `values` and returns its declared number of bins. `row` takes run and LS as far as they can be read.
fn read_row(
    record: &csv::ByteRecord,
    dialect: &Dialect,
    row: &mut (Option<u32>, Option<u32>),
    values: &mut Vec<f32>,
) -> std::result::Result<Option<usize>, String> {
    let field = |i: usize, what: &str| record.get(i).map(<[u8]>::trim_ascii).ok_or_else(|| format!("{} fields, so no {what}", record.len()));
    let number = |i: usize, what: &str| {
        let field = field(i, what)?;
        whole_number(field).ok_or_else(|| format!("{what} is \"{}\", not a whole number", show(field)))
    };
    row.1 = Some(number(dialect.ls, "LS number")?);
    if let Some(i) = dialect.run {
        row.0 = Some(number(i, "run number")?);
    }
    let bins = dialect.bins.map(|i| number(i, "number of bins")).transpose()?;
    parse_list(field(dialect.histogram, "histogram")?, values)?;
    Ok(bins.map(|bins| bins as usize))
}

/// Appends the numbers of `[1, 2.5, 3e4]` to `values`. Numbers must be finite and not negative.
pub(crate) fn parse_list(text: &[u8], values: &mut Vec<f32>) -> std::result::Result<(), String> {
    let inside = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).ok_or_else(|| {
        if text.starts_with(b"[") {
            "the histogram has no closing bracket".to_owned()
        } else {
            format!("the histogram is \"{}\", not a list [ … ]", show(text))
        }
    })?;
    if inside.trim_ascii().is_empty() {
        return Err("the histogram has no bins".into());
    }
    for (bin, token) in inside.split(|&byte| byte == b',').enumerate() {
        let token = token.trim_ascii();
        let value = match small_count(token) {
            Some(count) => count as f32,
            None => {
                let value = std::str::from_utf8(token).ok().and_then(|token| token.parse::<f32>().ok());
                match value {
                    Some(value) if value.is_finite() && value >= 0.0 => value,
                    Some(value) if value < 0.0 => return Err(format!("bin {bin} is {}; counts cannot be negative", show(token))),
                    Some(_) => return Err(format!("bin {bin} is {}; expected a finite number", show(token))),
                    None if token.is_empty() => return Err(format!("bin {bin} is blank")),
                    None => return Err(format!("bin {bin} is \"{}\", not a number", show(token))),
                }
            }
        };
        values.push(value);
    }
    Ok(())
}

/// A count of up to nine digits, which is nearly every bin there is.
fn small_count(token: &[u8]) -> Option<u32> {
    if token.is_empty() || token.len() > 9 {
        return None;
    }
    token.iter().try_fold(0_u32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
}

/// 17, or 17.0 as pandas writes it after a join.
fn whole_number(field: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(field).ok()?;
    text.parse().ok().or_else(|| text.strip_suffix(".0")?.parse().ok())
}

fn show(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    match text.char_indices().nth(24) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// The run of `run_297219_METSig.csv`.
fn run_in_name(path: &Path) -> Option<u32> {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?i)run[_-]?(\d{6})(\D|$)").ok());
    PATTERN.as_ref()?.captures(path.file_name()?.to_str()?)?.get(1)?.as_str().parse().ok()
}

/// True or 1 is good, False or 0 is not; blank is unknown.
pub(crate) fn parse_flag(text: &str) -> std::result::Result<Option<bool>, String> {
    match text.to_lowercase().as_str() {
        "true" | "1" | "1.0" => Ok(Some(true)),
        "false" | "0" | "0.0" => Ok(Some(false)),
        "" | "nan" | "none" | "null" => Ok(None),
        _ => Err(format!("\"{text}\" is neither true/false nor 1/0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(text: &str) -> Result<Table> {
        read(Path::new("x.csv"), text.as_bytes(), &Wanted::default())
    }

    #[test]
    fn ls_and_bins() {
        let table = table("fromlumi;histo\n7;[1,2.5,3]\n5;[0, 0, 1e3]\n").unwrap();
        assert_eq!((table.format, table.width), (Format::LsBins, 3));
        assert_eq!(table.values, [1.0, 2.5, 3.0, 0.0, 0.0, 1000.0]);
        assert_eq!(table.rows.iter().map(|row| (row.run, row.ls, row.line)).collect::<Vec<_>>(), [(None, 7, 2), (None, 5, 3)]);
    }

    #[test]
    fn ml4dqm_with_repeated_names_and_flow_bins() {
        let text = "fromrun,fromlumi,fromrun,fromlumi,hname,histo,Xbins,Json\n297050,12,1,1,ME,\"[0, 1, 2, 0]\",2,True\n";
        let wanted = Wanted { extra: vec!["Json".into()], ..Wanted::default() };
        let table = read(Path::new("x.csv"), text.as_bytes(), &wanted).unwrap();
        assert_eq!((table.format, table.width, table.flow_bins), (Format::Ml4dqm, 4, true));
        assert_eq!((table.rows[0].run, table.rows[0].ls), (Some(297050), 12));
        assert_eq!(table.columns["Json"], ["True"]);
    }

    #[test]
    fn bad_rows_keep_line_and_reason() {
        let table = table("ls;histo\n1;[1,2]\n2;[1,2,3]\n3;[1,-2]\n4;[1,x]\n5;[1,nan]\nsix;[1,2]\n7;[1,2\n8\n9;[]\n10;[3,4]\n").unwrap();
        let faults: Vec<String> = table.faults.iter().map(|fault| format!("{}: {}", fault.line, fault.reason)).collect();
        assert_eq!(table.rows.len(), 2, "{faults:#?}");
        for (i, part) in [
            "3: 3 bins where most rows have 2",
            "4: bin 1 is -2",
            "5: bin 1 is \"x\"",
            "6: bin 1 is nan",
            "7: LS number is \"six\"",
            "8: the histogram has no closing",
            "9: 1 fields, so no histogram",
            "10: the histogram has no bins",
        ]
        .iter()
        .enumerate()
        {
            assert!(faults[i].starts_with(part), "{part} in {}", faults[i]);
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_is_still_known_by_run_and_ls() {
        let faults = table("fromrun,fromlumi,histo\n297050,12,\"[1, 2]\"\n297050,13,\"[1, ?]\"\n297051,14,\"[1]\"\n").unwrap().faults;
        assert_eq!(faults.iter().map(|fault| (fault.run, fault.ls)).collect::<Vec<_>>(), [(Some(297050), Some(13)), (Some(297051), Some(14))]);
    }

    #[test]
    fn a_first_row_of_data_is_not_taken_for_a_header() {
        assert_eq!(table("3;[1,2]\n4;[3,4]\n").unwrap().rows.len(), 2);
    }

    #[test]
    fn a_missing_column_names_what_was_looked_for() {
        let message = table("a,b\n1,2\n").unwrap_err().to_string();
        assert!(message.contains("no column of lumisection numbers") && message.contains("\"a,b\""), "{message}");
        let wanted = Wanted { extra: vec!["Jsn".into()], ..Wanted::default() };
        let message = read(Path::new("x.csv"), b"fromrun,fromlumi,histo,Json\n1,1,\"[1]\",True\n", &wanted).unwrap_err().to_string();
        assert!(message.contains("did you mean \"Json\"?"), "{message}");
    }

    #[test]
    fn several_elements_need_a_choice() {
        let text = "fromrun,fromlumi,hname,histo\n1,1,A,\"[1]\"\n1,1,B,\"[2]\"\n";
        assert!(table(text).unwrap_err().to_string().contains("data.me: A, B"));
        let wanted = Wanted { me: Some("B".into()), ..Wanted::default() };
        assert_eq!(read(Path::new("x.csv"), text.as_bytes(), &wanted).unwrap().values, [2.0]);
    }

    #[test]
    fn a_run_number_may_stand_in_the_file_name() {
        assert_eq!(run_in_name(Path::new("data/run_297219_METSig.csv")), Some(297219));
        assert_eq!(run_in_name(Path::new("run_gggggg_METSig.csv")), None);
        assert_eq!(run_in_name(Path::new("good.csv")), None);
    }

    proptest! {
        #[test]
        fn any_numbers_come_back_as_they_were_written(rows in prop::collection::vec(prop::collection::vec(0.0_f32..1e9, 4), 1..20)) {
            let mut text = String::from("ls;histo\n");
            for (i, row) in rows.iter().enumerate() {
                text += &format!("{};[{}]\n", i + 1, row.iter().map(f32::to_string).collect::<Vec<_>>().join(", "));
            }
            let read = table(&text).unwrap();
            prop_assert_eq!(read.values, rows.concat());
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(fromlumi;histo\n)?[0-9;\\[\\],.\n\"a-]{0,200}") {
            let _ = table(&text);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(Path::new("x.csv"), &bytes, &Wanted::default());
        }
    }
}
