//! CSV files: `LS;[bins]`, the ML4DQM layout, tables with a column per bin or feature.
//!
//! Numbers are parsed as numbers (a minus sign and a decimal point mean what they say), and a row that cannot be read
//! keeps its line and the reason. Blocks of rows are parsed on all cores.

use super::{
    builder::{Builder, FILL_ADVICE, Incoming},
    layout::{Contents, Field, Kind, Layout},
    table::{Column, Shape, Table, Wanted},
    text::{self, Source},
};
use crate::{
    config::raw::Format,
    error::{Error, Result},
};
use rayon::prelude::*;
use regex::Regex;
use std::{path::Path, sync::LazyLock};

/// How a CSV file is laid out.
struct Dialect {
    format: Format,
    /// What stands between fields.
    delimiter: u8,
    /// Whether the first row names the columns.
    header: bool,
    fields: Vec<Field>,
    layout: Layout,
    /// The run in the file's name.
    file_run: Option<u32>,
    /// Whether rows with missing cells are taken.
    keeps_missing: bool,
}

/// Reads a CSV file. Rows that cannot be read are in `faults`; what is wrong with the file as a whole is the error.
pub fn read(path: &Path, source: &mut Source, wanted: &Wanted) -> Result<Table> {
    let Some(mut block) = source.block(path)? else { return Err(Error::input(format!("{}: is empty", path.display()))) };
    if block.starts_with(b"\xef\xbb\xbf") {
        block.drain(..3);
    }
    let dialect = sniff(path, &block, wanted)?;
    let new = || {
        let mut builder = Builder::of_layout(path, dialect.format, &dialect.fields, &dialect.layout, wanted);
        (0..dialect.layout.extra.len()).for_each(|i| *builder.extra(i) = Column::Texts(vec![]));
        builder
    };
    let mut whole = new();
    let (mut next, mut lines, mut header) = (Some(block), 0, dialect.header);
    while let Some(block) = next.take() {
        let pieces = text::pieces(&block, 2 * rayon::current_num_threads());
        let parse = |(i, (before, piece)): (usize, &(usize, &[u8]))| parse(path, piece, lines + before, header && i == 0, &dialect, new());
        let (parts, more) = rayon::join(|| pieces.par_iter().enumerate().map(parse).collect::<Result<Vec<_>>>(), || source.block(path));
        for part in parts? {
            whole.append(part);
            whole.make_room(0, 0)?;
        }
        lines += memchr::memchr_iter(b'\n', &block).count();
        header = false;
        next = more?;
    }
    let mut table = whole.finish()?;
    for column in table.columns.values_mut() {
        if let Column::Texts(texts) = column {
            *column = Column::from_texts(std::mem::take(texts));
        }
    }
    Ok(table)
}

/// Parses whole rows that stand behind `before` lines.
fn parse(path: &Path, rows: &[u8], before: usize, header: bool, dialect: &Dialect, mut builder: Builder) -> Result<Builder> {
    let mut reader =
        csv::ReaderBuilder::new().delimiter(dialect.delimiter).has_headers(header).flexible(true).buffer_capacity(1 << 16).from_reader(rows);
    let mut record = csv::ByteRecord::new();
    let layout = &dialect.layout;
    while reader.read_byte_record(&mut record).map_err(|error| Error::input(format!("{}: {error}", path.display())))? {
        if record.len() == 1 && record[0].trim_ascii().is_empty() {
            continue;
        }
        let line = (before as u64 + record.position().map_or(0, csv::Position::line)) as u32;
        let me = layout.me.and_then(|at| record.get(at)).map(String::from_utf8_lossy);
        if me.as_ref().is_some_and(|me| !builder.element(me)) {
            continue;
        }
        let mut incoming = Incoming { run: dialect.file_run, line, ..Incoming::default() };
        match read_row(&record, dialect, &mut incoming, builder.values()) {
            Ok(()) if builder.row(incoming) => {
                for (i, (_, at)) in layout.extra.iter().enumerate() {
                    let text = record.get(*at).map(|field| String::from_utf8_lossy(field.trim_ascii()).into_owned()).unwrap_or_default();
                    if let Column::Texts(texts) = builder.extra(i) {
                        texts.push(text);
                    }
                }
                let edge = |at: Option<usize>| std::str::from_utf8(record.get(at?)?.trim_ascii()).ok()?.parse().ok();
                builder.edges(layout.edges.map(edge));
            }
            Ok(()) => {}
            Err(reason) => builder.fault(incoming, reason),
        }
    }
    Ok(builder)
}

/// The delimiter, header and columns of a CSV file, found from its first lines.
fn sniff(path: &Path, block: &[u8], wanted: &Wanted) -> Result<Dialect> {
    let mut lines = block.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.trim_ascii().is_empty());
    let Some(first) = lines.next() else { return Err(Error::input(format!("{}: is empty", path.display()))) };
    let outside = |byte: u8| outside_brackets(first).any(|found| found == byte);
    let delimiter = match wanted.format {
        Format::LsBins => b';',
        Format::Ml4dqm => b',',
        _ if outside(b';') => b';',
        _ if outside(b'\t') && !outside(b',') => b'\t',
        _ => b',',
    };
    let records = || csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(block).into_byte_records();
    let texts = |record: csv::ByteRecord| record.iter().map(|field| String::from_utf8_lossy(field.trim_ascii()).into_owned()).collect::<Vec<_>>();
    let mut rows = records().filter_map(std::result::Result::ok).map(texts);
    let start = rows.next().unwrap_or_default();
    let headless = start.first().is_some_and(|field| field.parse::<u32>().is_ok()) && start.iter().any(|field| field.starts_with('['));
    let samples: Vec<Vec<String>> = if headless { vec![start.clone()] } else { rows.take(50).collect() };
    // A column is what its first entry that is not blank is.
    let kind = |at: usize| {
        let entry = samples.iter().filter_map(|row| row.get(at)).find(|entry| !is_missing(entry.as_bytes()));
        match entry.map(String::as_str) {
            Some(entry) if entry.starts_with('[') => Kind::List,
            Some("True" | "False" | "true" | "false") => Kind::Flag,
            Some(entry) if entry.parse::<f64>().is_err() => Kind::Text,
            _ => Kind::Number,
        }
    };
    let names = if headless { vec![String::new(); start.len()] } else { start.clone() };
    let field = |(at, name): (usize, String)| Field { name, kind: kind(at), type_name: format!("{:?}", kind(at)).to_lowercase() };
    let fields: Vec<Field> = names.into_iter().enumerate().map(field).collect();

    // Two columns without usual names are LS and bins, as in the METSig notebook.
    let list_second = fields.get(1).is_some_and(|field| field.kind == Kind::List);
    let bare =
        headless || wanted.format == Format::LsBins || list_second && fields.len() == 2 && !matches!(wanted.format, Format::Ml4dqm | Format::Csv);
    let named = wanted.columns.ls.is_some() || wanted.columns.histogram.is_some();
    let found = Layout::find(path, &fields, wanted).and_then(|layout| layout.require_ls(path, &fields).map(|()| layout));
    let layout = match found {
        Err(_) if bare && !named && wanted.required.is_empty() && fields.len() > 1 => ls_and_bins(),
        found => found?,
    };
    let format = match (wanted.format, &layout.contents) {
        (Format::Auto, Contents::List(_)) if layout.run.is_some() => Format::Ml4dqm,
        (Format::Auto, Contents::List(_)) => Format::LsBins,
        (Format::Auto, _) => Format::Csv,
        (given, _) => given,
    };
    Ok(Dialect { format, delimiter, header: !headless, fields, layout, file_run: run_in_name(path), keeps_missing: wanted.keeps_missing })
}

fn ls_and_bins() -> Layout {
    let contents = Contents::List(1);
    Layout { run: None, ls: Some(0), me: None, contents, hierarchy: None, x_bins: None, y_bins: None, edges: [None; 4], extra: vec![] }
}

fn outside_brackets(line: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut depth = 0_i32;
    line.iter().copied().filter(move |byte| {
        depth += i32::from(*byte == b'[') - i32::from(*byte == b']');
        depth <= 0
    })
}

/// Appends a row's values. `incoming` takes run, LS and numbers of bins as far as they can be read.
fn read_row(record: &csv::ByteRecord, dialect: &Dialect, incoming: &mut Incoming, values: &mut Vec<f32>) -> std::result::Result<(), String> {
    let layout = &dialect.layout;
    let field = |at: usize, what: &str| record.get(at).map(<[u8]>::trim_ascii).ok_or_else(|| format!("{} fields, so no {what}", record.len()));
    let number = |at: usize, what: &str| {
        let field = field(at, what)?;
        whole_number(field).ok_or_else(|| format!("{what} is \"{}\", not a whole number", show(field)))
    };
    if let Some(at) = layout.ls {
        incoming.ls = Some(number(at, "LS number")?);
    }
    if let Some(at) = layout.run {
        incoming.run = Some(number(at, "run number")?);
    }
    match &layout.contents {
        Contents::List(at) => {
            let bins = |at: Option<usize>, what| at.map(|at| number(at, what).map(|bins| bins as usize)).transpose();
            incoming.x_bins = bins(layout.x_bins, "number of bins")?;
            // Histograms in one dimension may leave the second blank.
            incoming.y_bins = layout.y_bins.and_then(|at| whole_number(record.get(at)?.trim_ascii())).map(|bins| bins as usize);
            incoming.shape = parse_list(field(*at, "histogram")?, values)?;
            Ok(())
        }
        Contents::Bins(columns) | Contents::Features(columns) => {
            if let Contents::Bins(_) = layout.contents {
                let bins = |at: Option<usize>| at.and_then(|at| whole_number(record.get(at)?.trim_ascii())).map(|bins| bins as usize);
                (incoming.x_bins, incoming.y_bins) = (bins(layout.x_bins), bins(layout.y_bins));
            }
            for &at in columns {
                let Some(token) = record.get(at).map(<[u8]>::trim_ascii) else {
                    return Err(format!("{} fields where the header has {}", record.len(), dialect.fields.len()));
                };
                let name = || dialect.fields[at].name.as_str();
                values.push(match number_of(token) {
                    Some(value) => value,
                    None if is_missing(token) && dialect.keeps_missing => f32::NAN,
                    None if token.is_empty() => return Err(format!("\"{}\" is blank; expected a number, or {FILL_ADVICE}", name())),
                    None if is_missing(token) => {
                        return Err(format!("\"{}\" is \"{}\"; expected a number, or {FILL_ADVICE}", name(), show(token)));
                    }
                    None if matches!(token, b"True" | b"true") => 1.0,
                    None if matches!(token, b"False" | b"false") => 0.0,
                    None => return Err(format!("\"{}\" is \"{}\", not a number", name(), show(token))),
                });
            }
            Ok(())
        }
    }
}

/// Appends the numbers of `[1, 2.5, 3e4]` to `values`; of a map `[[1, 2], [3, 4]]`, y rows of x, the shape is given.
pub(crate) fn parse_list(text: &[u8], values: &mut Vec<f32>) -> std::result::Result<Option<Shape>, String> {
    let inside = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).ok_or_else(|| {
        if text.starts_with(b"[") {
            "the histogram has no closing bracket".to_owned()
        } else {
            format!("the histogram is \"{}\", not a list [ … ]", show(text))
        }
    })?;
    if !inside.trim_ascii_start().starts_with(b"[") {
        return parse_numbers(inside, values).map(|()| None);
    }
    let (mut shape, start) = (Shape { y: 0, x: 0 }, values.len());
    for row in inside.split(|&byte| byte == b'[').skip(1) {
        let before = values.len();
        let row = row.trim_ascii_end();
        let row = row.strip_suffix(b",").unwrap_or(row).trim_ascii_end();
        parse_numbers(row.strip_suffix(b"]").ok_or_else(|| format!("row {} of the map has no closing bracket", shape.y))?, values)?;
        let x = values.len() - before;
        if before > start && x != shape.x {
            return Err(format!("row {} of the map has {x} bins where row 0 has {}", shape.y, shape.x));
        }
        shape = Shape { y: shape.y + 1, x };
    }
    Ok(Some(shape))
}

fn parse_numbers(inside: &[u8], values: &mut Vec<f32>) -> std::result::Result<(), String> {
    if inside.trim_ascii().is_empty() {
        return Err("the histogram has no bins".into());
    }
    for (bin, token) in inside.split(|&byte| byte == b',').enumerate() {
        let token = token.trim_ascii();
        match number_of(token) {
            Some(value) => values.push(value),
            None if token.is_empty() => return Err(format!("bin {bin} is blank")),
            None => return Err(format!("bin {bin} is \"{}\", not a number", show(token))),
        }
    }
    Ok(())
}

/// A number, rounded to single precision once: whole numbers from the integer, others by way of double precision, as NumPy does.
fn number_of(token: &[u8]) -> Option<f32> {
    if let Some(count) = small_count(token) {
        return Some(count as f32);
    }
    let text = std::str::from_utf8(token).ok()?;
    text.parse::<i64>().map(|value| value as f32).ok().or_else(|| text.parse::<f64>().map(|value| value as f32).ok())
}

/// Whether a field says that its value is missing, as pandas and R write it.
fn is_missing(token: &[u8]) -> bool {
    const WORDS: [&str; 8] = ["", "na", "n/a", "<na>", "#n/a", "null", "none", "-nan"];
    WORDS.iter().any(|word| token.eq_ignore_ascii_case(word.as_bytes()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_bytes(bytes: &[u8], wanted: &Wanted) -> Result<Table> {
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        read(file.path(), &mut Source::open(file.path())?, wanted)
    }

    fn table(text: &str) -> Result<Table> {
        read_bytes(text.as_bytes(), &Wanted::default())
    }

    #[test]
    fn ls_and_bins() {
        let table = table("fromlumi;histo\n7;[1,2.5,3]\n5;[0, 0, 1e3]\n").unwrap();
        assert_eq!((table.format, table.width()), (Format::LsBins, 3));
        assert_eq!(table.values, [1.0, 2.5, 3.0, 0.0, 0.0, 1000.0]);
        assert_eq!(table.rows.iter().map(|row| (row.run, row.ls, row.line)).collect::<Vec<_>>(), [(None, 7, 2), (None, 5, 3)]);
    }

    #[test]
    fn ml4dqm_with_repeated_names_and_flow_bins() {
        let text = "fromrun,fromlumi,fromrun,fromlumi,hname,histo,Xbins,Json\n297050,12,1,1,ME,\"[0, 1, 2, 0]\",2,True\n";
        let wanted = Wanted { required: vec!["Json".into()], ..Wanted::default() };
        let table = read_bytes(text.as_bytes(), &wanted).unwrap();
        assert_eq!((table.format, table.width(), table.flow_bins), (Format::Ml4dqm, 4, true));
        assert_eq!((table.rows[0].run, table.rows[0].ls), (Some(297050), 12));
        assert_eq!(table.columns["Json"], Column::Numbers(vec![1.0]));
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
    fn a_map_is_a_list_of_lists() {
        let parse = |text: &str| {
            let mut values = vec![];
            parse_list(text.as_bytes(), &mut values).map(|shape| (shape, values))
        };
        assert_eq!(parse("[[1, 2, 3],\n [4, 5, 6]]"), Ok((Some(Shape { y: 2, x: 3 }), vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])));
        assert!(parse("[[1, 2], [3]]").unwrap_err().contains("row 1 of the map has 1 bins where row 0 has 2"));
        assert!(parse("[[1, 2], [3, 4]").is_err());
        assert!(parse("[[]]").is_err());
    }

    #[test]
    fn a_first_row_of_data_is_not_taken_for_a_header() {
        assert_eq!(table("3;[1,2]\n4;[3,4]\n").unwrap().rows.len(), 2);
    }

    #[test]
    fn a_missing_column_names_what_was_looked_for() {
        let message = table("a,b\nx,y\n").unwrap_err().to_string();
        assert!(message.contains("no column of histograms") && message.contains("\"a, b\""), "{message}");
        let wanted = Wanted { required: vec!["Jsn".into()], ..Wanted::default() };
        let message = read_bytes(b"fromrun,fromlumi,histo,Json\n1,1,\"[1]\",True\n", &wanted).unwrap_err().to_string();
        assert!(message.contains("did you mean \"Json\"?"), "{message}");
    }

    #[test]
    fn several_elements_need_a_choice() {
        let text = "fromrun,fromlumi,hname,histo\n1,1,A,\"[1]\"\n1,1,B,\"[2]\"\n";
        assert!(table(text).unwrap_err().to_string().contains("data.me: A, B"));
        let wanted = Wanted { me: Some("B".into()), ..Wanted::default() };
        assert_eq!(read_bytes(text.as_bytes(), &wanted).unwrap().values, [2.0]);
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
            let _ = read_bytes(&bytes, &Wanted::default());
        }
    }
}
