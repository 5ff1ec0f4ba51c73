//! CSV files: `LS;[bins]`, the ML4DQM layout, tables with a column per bin or feature.
//!
//! Numbers are parsed as numbers (a minus sign and a decimal point mean what they say), and a row
//! that cannot be read keeps its line and the reason. Blocks of rows are parsed on all cores.

use super::{
    builder::{Builder, FILL_ADVICE, Incoming},
    dialect::{self, Dialect, decode},
    layout::{Contents, Kind},
    text::Source,
};
use crate::{
    data::table::{Column, Shape, Table, Wanted, is_missing},
    error::{Error, Result},
};
use rayon::prelude::*;
use std::path::Path;

/// What is wrong with rows that are longer or shorter than the header.
const FIELDS: &str = " fields where the header has ";
/// The names of columns begin within so many bytes.
const START: usize = 1 << 16;

/// Reads a CSV file. Rows that cannot be read are in `faults`; what is wrong with the file as a
/// whole is the error.
pub fn read(path: &Path, source: &mut Source, wanted: &Wanted) -> Result<Table> {
    source.skip_mark(path)?;
    let start: Vec<u8> = source
        .peek(path, START)?
        .into_iter()
        .map(|byte| if byte == b'\r' { b'\n' } else { byte })
        .collect();
    let delimiter = dialect::delimiter(&start, wanted.format);
    let Some(block) = source.block(path, delimiter)? else {
        return Err(Error::input(format!("{}: is empty", path.display())));
    };
    let dialect = Dialect::find(path, &block, source, delimiter, wanted)?;
    let new = || {
        let mut builder =
            Builder::of_layout(path, dialect.format, &dialect.fields, &dialect.layout, wanted);
        (0..dialect.layout.extra.len()).for_each(|i| *builder.extra(i) = Column::Texts(vec![]));
        builder
    };
    let mut whole = new();
    let mut next = Some(block.behind(dialect.rows_at));
    drop(block);
    while let Some(block) = next.take() {
        let pieces = block.pieces(2 * rayon::current_num_threads());
        let parse = |(before, piece): &(usize, &[u8])| parse(path, piece, *before, &dialect, new());
        let (parts, more) = rayon::join(
            || pieces.par_iter().map(parse).collect::<Result<Vec<_>>>(),
            || source.block(path, delimiter),
        );
        for part in parts? {
            whole.append(part);
            whole.make_room(0, 0)?;
        }
        next = more?;
    }
    let mut table = whole.finish()?;
    let misfits = || table.faults.iter().all(|fault| fault.reason.contains(FIELDS));
    if let Some(first) = table.faults.first().filter(|_| table.rows.is_empty() && misfits()) {
        let place = table.place(first.line, first.index);
        return Err(Error::input(format!(
            "{place}: {}, and no other row fits the header either; expected a table",
            first.reason
        )));
    }
    for column in table.columns.values_mut() {
        if let Column::Texts(texts) = column {
            *column = Column::from_texts(std::mem::take(texts));
        }
    }
    Ok(table)
}

/// Parses whole rows that stand behind `before` lines.
fn parse(
    path: &Path,
    rows: &[u8],
    before: usize,
    dialect: &Dialect,
    mut builder: Builder,
) -> Result<Builder> {
    let mut reader = dialect::rows(rows, dialect.delimiter);
    let mut record = csv::ByteRecord::new();
    let layout = &dialect.layout;
    while reader
        .read_byte_record(&mut record)
        .map_err(|error| Error::input(format!("{}: {error}", path.display())))?
    {
        if record.len() == 1 && record[0].trim_ascii().is_empty() {
            continue;
        }
        let (line, spans) = lines(rows, &record, reader.position());
        let line = (before as u64 + line) as u32;
        if spans && swallows_rows(&record, dialect) {
            return Err(Error::input(format!(
                "{}:{line}: a quote is opened and not closed in its row",
                path.display()
            )));
        }
        let me = layout.me.and_then(|at| record.get(at)).map(decode);
        if me.as_ref().is_some_and(|me| !builder.element(me)) {
            continue;
        }
        for (i, twin) in layout.twins.iter().enumerate() {
            if !is_same(record.get(twin.taken), record.get(twin.left)) {
                builder.differs(i, line);
            }
        }
        let edge = |at: Option<usize>| {
            std::str::from_utf8(record.get(at?)?.trim_ascii())
                .ok()?
                .parse()
                .ok()
                .filter(|edge: &f64| !edge.is_nan())
        };
        let mut incoming = Incoming {
            run: dialect.file_run,
            line,
            edges: layout.edges.map(edge),
            ..Incoming::default()
        };
        match read_row(&record, dialect, &mut incoming, builder.values()).map_or_else(
            |reason| Err(with_length(&record, dialect, reason)),
            |()| length(&record, dialect),
        ) {
            Ok(()) if builder.row(incoming) => {
                for (i, (_, at)) in layout.extra.iter().enumerate() {
                    let text = record
                        .get(*at)
                        .map(|field| decode(field.trim_ascii()).into_owned())
                        .unwrap_or_default();
                    if let Column::Texts(texts) = builder.extra(i) {
                        texts.push(text);
                    }
                }
            }
            Ok(()) => {}
            Err(reason) => builder.fault(incoming, reason),
        }
    }
    Ok(builder)
}

/// The line on which a record begins, from 1, and whether it goes on to others. Blank lines before
/// it are not its own.
fn lines(rows: &[u8], record: &csv::ByteRecord, end: &csv::Position) -> (u64, bool) {
    let Some(start) = record.position() else { return (0, false) };
    let blank = rows[start.byte() as usize..]
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .filter(|byte| **byte == b'\n')
        .count();
    let first = start.line() + blank as u64;
    (first, end.line() > first + 1)
}

/// Whether a field that goes on over several lines holds lines that are rows themselves: so many
/// fields as the header has, or up to this field on the last line, with numbers where numbers
/// should be.
fn swallows_rows(record: &csv::ByteRecord, dialect: &Dialect) -> bool {
    let number = |at: usize| dialect.fields.get(at).is_some_and(|field| field.kind == Kind::Number);
    let is_row = |line: &[u8], last: Option<usize>| {
        let entries: Vec<&[u8]> =
            line.split(|byte| *byte == dialect.delimiter).map(<[u8]>::trim_ascii).collect();
        let mut numbers = entries
            .iter()
            .enumerate()
            .filter(|(at, _)| number(*at) && Some(*at) != last)
            .peekable();
        let whole =
            entries.len() == dialect.fields.len() || last.is_some_and(|at| entries.len() == at + 1);
        whole && numbers.peek().is_some() && numbers.all(|(_, entry)| number_of(entry).is_some())
    };
    let swallows = |(at, field): (usize, &[u8])| {
        let lines: Vec<&[u8]> = if field.starts_with(b"[") {
            vec![]
        } else {
            field.split(|byte| *byte == b'\n').collect()
        };
        (1..lines.len()).any(|line| is_row(lines[line], (line + 1 == lines.len()).then_some(at)))
    };
    record.iter().enumerate().any(swallows)
}

/// Whether two entries are the same, as texts or as numbers.
fn is_same(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let number =
        |field: Option<&[u8]>| std::str::from_utf8(field?.trim_ascii()).ok()?.parse::<f64>().ok();
    a.map(<[u8]>::trim_ascii) == b.map(<[u8]>::trim_ascii)
        || number(a).zip(number(b)).is_some_and(|(a, b)| a == b)
}

/// A row has a field for each column; blank ones may follow.
fn length(record: &csv::ByteRecord, dialect: &Dialect) -> std::result::Result<(), String> {
    let columns = dialect.fields.len();
    let surplus = || record.iter().skip(columns).any(|field| !field.trim_ascii().is_empty());
    match record.len() < dialect.least || record.len() > columns && surplus() {
        true => Err(format!("{}{FIELDS}{columns}", record.len())),
        false => Ok(()),
    }
}

/// The reason with the number of fields, where that may be the cause.
fn with_length(record: &csv::ByteRecord, dialect: &Dialect, reason: String) -> String {
    match length(record, dialect) {
        Err(length) if !reason.contains(" fields") => format!("{reason}; the row has {length}"),
        _ => reason,
    }
}

/// Appends a row's values. `incoming` takes run, LS and numbers of bins as far as they can be read.
fn read_row(
    record: &csv::ByteRecord,
    dialect: &Dialect,
    incoming: &mut Incoming,
    values: &mut Vec<f32>,
) -> std::result::Result<(), String> {
    let layout = &dialect.layout;
    let field = |at: usize, what: &str| {
        record
            .get(at)
            .map(<[u8]>::trim_ascii)
            .ok_or_else(|| format!("{} fields, so no {what}", record.len()))
    };
    let number = |at: usize, what: &str| {
        let field = field(at, what)?;
        whole_number(field)
            .ok_or_else(|| format!("{what} is \"{}\", not a whole number", show(field)))
    };
    if let Some(at) = layout.ls {
        incoming.ls = Some(number(at, "LS number")?);
    }
    if let Some(at) = layout.run {
        incoming.run = Some(number(at, "run number")?);
    }
    match &layout.contents {
        Contents::List(at) => {
            let bins = |at: Option<usize>, what| {
                at.map(|at| number(at, what).map(|bins| bins as usize)).transpose()
            };
            incoming.x_bins = bins(layout.x_bins, "number of bins")?;
            // Histograms in one dimension may leave the second blank.
            incoming.y_bins = layout
                .y_bins
                .and_then(|at| whole_number(record.get(at)?.trim_ascii()))
                .map(|bins| bins as usize);
            incoming.shape = parse_list(field(*at, "histogram")?, values)?;
            Ok(())
        }
        Contents::Bins(columns) | Contents::Features(columns) => {
            if let Contents::Bins(_) = layout.contents {
                let bins = |at: Option<usize>| {
                    at.and_then(|at| whole_number(record.get(at)?.trim_ascii()))
                        .map(|bins| bins as usize)
                };
                (incoming.x_bins, incoming.y_bins) = (bins(layout.x_bins), bins(layout.y_bins));
            }
            for &at in columns {
                let Some(token) = record.get(at).map(<[u8]>::trim_ascii) else {
                    return Err(format!("{}{FIELDS}{}", record.len(), dialect.fields.len()));
                };
                values.push(match number_of(token) {
                    Some(value) => value,
                    None => number_of_word(token, dialect.keeps_missing)
                        .map_err(|reason| format!("\"{}\" {reason}", dialect.fields[at].name))?,
                });
            }
            Ok(())
        }
    }
}

/// What an entry of a column of numbers means that is not written as one; a missing one is NaN
/// where such are taken.
fn number_of_word(token: &[u8], keeps_missing: bool) -> std::result::Result<f32, String> {
    match token {
        b"True" | b"true" | b"TRUE" => Ok(1.0),
        b"False" | b"false" | b"FALSE" => Ok(0.0),
        _ if is_missing(&decode(token)) => match token {
            _ if keeps_missing => Ok(f32::NAN),
            [] => Err(format!("is blank; expected a number, or {FILL_ADVICE}")),
            _ => Err(format!("is \"{}\"; expected a number, or {FILL_ADVICE}", show(token))),
        },
        _ if dialect::is_number_of_people(token) => Err(format!(
            "is \"{}\"; expected a number with a decimal point and nothing between thousands",
            show(token)
        )),
        _ => Err(format!("is \"{}\", not a number", show(token))),
    }
}

/// Appends the numbers of `[1, 2.5, 3e4]` to `values`; of a map `[[1, 2], [3, 4]]`, y rows of x,
/// the shape is given.
pub(crate) fn parse_list(
    text: &[u8],
    values: &mut Vec<f32>,
) -> std::result::Result<Option<Shape>, String> {
    let inside =
        text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).ok_or_else(|| {
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
        parse_numbers(
            row.strip_suffix(b"]")
                .ok_or_else(|| format!("row {} of the map has no closing bracket", shape.y))?,
            values,
        )?;
        let x = values.len() - before;
        if before > start && x != shape.x {
            return Err(format!(
                "row {} of the map has {x} bins where row 0 has {}",
                shape.y, shape.x
            ));
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

/// A number, rounded to single precision once: whole numbers from the integer, others by way of
/// double precision, as NumPy does.
fn number_of(token: &[u8]) -> Option<f32> {
    if let Some(count) = small_count(token) {
        return Some(count as f32);
    }
    let text = std::str::from_utf8(token).ok()?;
    text.parse::<i64>()
        .map(|value| value as f32)
        .ok()
        .or_else(|| text.parse::<f64>().map(|value| value as f32).ok())
}

/// A count of up to nine digits, which is nearly every bin there is.
fn small_count(token: &[u8]) -> Option<u32> {
    if token.is_empty() || token.len() > 9 {
        return None;
    }
    token.iter().try_fold(0_u32, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0'))
    })
}

/// 17, or 17.0 as pandas writes it after a join.
fn whole_number(field: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(field).ok()?;
    text.parse().ok().or_else(|| text.strip_suffix(".0")?.parse().ok())
}

fn show(field: &[u8]) -> String {
    let text = decode(field);
    match text.char_indices().nth(24) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::data::Format;
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
        assert_eq!(
            table.rows.iter().map(|row| (row.run, row.ls, row.line)).collect::<Vec<_>>(),
            [(None, 7, 2), (None, 5, 3)]
        );
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
        let faults: Vec<String> =
            table.faults.iter().map(|fault| format!("{}: {}", fault.line, fault.reason)).collect();
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
        assert_eq!(
            faults.iter().map(|fault| (fault.run, fault.ls)).collect::<Vec<_>>(),
            [(Some(297050), Some(13)), (Some(297051), Some(14))]
        );
    }

    #[test]
    fn a_map_is_a_list_of_lists() {
        let parse = |text: &str| {
            let mut values = vec![];
            parse_list(text.as_bytes(), &mut values).map(|shape| (shape, values))
        };
        assert_eq!(
            parse("[[1, 2, 3],\n [4, 5, 6]]"),
            Ok((Some(Shape { y: 2, x: 3 }), vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
        );
        assert!(
            parse("[[1, 2], [3]]")
                .unwrap_err()
                .contains("row 1 of the map has 1 bins where row 0 has 2")
        );
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
        assert!(
            message.contains("no column of histograms") && message.contains("\"a, b\""),
            "{message}"
        );
        let wanted = Wanted { required: vec!["Jsn".into()], ..Wanted::default() };
        let message = read_bytes(b"fromrun,fromlumi,histo,Json\n1,1,\"[1]\",True\n", &wanted)
            .unwrap_err()
            .to_string();
        assert!(message.contains("did you mean \"Json\"?"), "{message}");
    }

    #[test]
    fn several_elements_need_a_choice() {
        let text = "fromrun,fromlumi,hname,histo\n1,1,A,\"[1]\"\n1,1,B,\"[2]\"\n";
        assert!(table(text).unwrap_err().to_string().contains("data.me: A, B"));
        let wanted = Wanted { me: Some("B".into()), ..Wanted::default() };
        assert_eq!(read_bytes(text.as_bytes(), &wanted).unwrap().values, [2.0]);
    }

    fn faults(text: &str) -> Vec<String> {
        table(text)
            .unwrap()
            .faults
            .iter()
            .map(|fault| format!("{}: {}", fault.line, fault.reason))
            .collect()
    }

    fn refused(text: &str) -> String {
        table(text).unwrap_err().to_string()
    }

    #[test]
    fn rows_have_a_field_for_each_column() {
        assert_eq!(
            faults("run,ls,a,note\n1,1,5,x\n1,2,5,x,7\n1,3,5,x,,\n1,4,5\n"),
            ["3: 5 fields where the header has 4", "5: 3 fields where the header has 4"]
        );
        // One field too many in front of the inputs is told beside what came of it.
        assert_eq!(
            faults("run,ls,note,a\n1,1,x,5\n1,2,1,5 m,5\n1,3,y,5\n"),
            ["3: \"a\" is \"5 m\", not a number; the row has 5 fields where the header has 4"]
        );
        assert_eq!(
            faults("ls;histo\n1;[1,2]\n2;[1,2];3\n"),
            ["3: 3 fields where the header has 2"]
        );
        // A delimiter behind the last column of the header.
        assert_eq!(table("run,ls,a,\n1,1,5\n1,2,6,\n").unwrap().values, [5.0, 6.0]);
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let faults = |text: &str| faults(text)[0].clone();
        for end in ["\n", "\r\n", "\r"] {
            let text = ["# made by hand", "", "run,ls,a", "1,1,5", "", "", "1,2,x", ""].join(end);
            assert_eq!(faults(&text), "7: \"a\" is \"x\", not a number", "{end:?}");
        }
        assert_eq!(
            faults("run,ls,a\r\n1,1,5\n1,2,6\r1,3,x\r\n"),
            "4: \"a\" is \"x\", not a number"
        );
    }

    #[test]
    fn a_quote_that_swallows_rows_is_an_error_with_its_line() {
        let place = |text: &str| refused(text).split_once(".csv:").unwrap().1.to_owned();
        let rows = |notes: &[&str]| {
            notes
                .iter()
                .enumerate()
                .map(|(i, note)| format!("1,{i},{note},0.5\n"))
                .collect::<String>()
        };
        for notes in [
            &["ok", "\"open", "ok", "ok"][..],
            &["ok", "\"open", "ok", "\"open"],
            &["ok", "\"open", "closed\""],
            &["\"ok\"", "\"open", "x", "\"ok\""],
        ] {
            let said = place(&format!("run,ls,note,a\n{}", rows(notes)));
            assert!(said.starts_with("3: a quote is opened and not closed"), "{notes:?}: {said}");
        }
        let fine = ["ok", "\"two\nlines, with 1, 2\"", "5\" pipe", "\"say \"\"so\"\"\""];
        assert_eq!(
            table(&format!("run,ls,note,a\n{}", rows(&fine)))
                .unwrap()
                .rows
                .iter()
                .map(|row| row.line)
                .collect::<Vec<_>>(),
            [2, 3, 5, 6]
        );
    }

    #[test]
    fn a_column_is_what_most_of_its_entries_are() {
        let rows = |entry: &dyn Fn(usize) -> String| {
            (0..300).map(|i| format!("1,{i},{},0.5\n", entry(i))).collect::<String>()
        };
        let read = |entry: &dyn Fn(usize) -> String| {
            table(&format!("run;ls;x;a\n{}", rows(entry).replace(',', ";").replace('|', ",")))
                .unwrap()
        };
        let features = |table: &Table| table.features.as_ref().unwrap().to_vec();
        // Numbers, whatever the first entry is; those that are none are rows that cannot be read.
        let table = read(&|i| if i == 0 { "NA".into() } else { i.to_string() });
        assert_eq!((features(&table), table.faults.len()), (vec!["x".to_owned(), "a".into()], 1));
        assert_eq!(
            table.faults[0].reason,
            "\"x\" is \"NA\"; expected a number, or a data.fill for missing ones"
        );
        let table = read(&|i| format!("{i}|5"));
        assert_eq!(table.faults.len(), 300);
        assert!(
            table.faults[0]
                .reason
                .starts_with("\"x\" is \"0,5\"; expected a number with a decimal point"),
            "{}",
            table.faults[0].reason
        );
        let table = read(&|i| if i % 3 == 0 { String::new() } else { "1".into() });
        assert!(
            table.faults.len() == 100 && table.faults[0].reason.starts_with("\"x\" is blank"),
            "{:?}",
            table.faults[0]
        );
        // Texts and nothing, of which it is told.
        for (blank, what) in
            [(1, "text"), (60, "text"), (200, "text"), (299, "text"), (300, "blank")]
        {
            let table = read(&|i| if i < blank { String::new() } else { "noisy".into() });
            assert_eq!((features(&table), table.faults.len()), (vec!["a".to_owned()], 0));
            let expected = format!(
                "left out of the inputs: column 3 \"x\" ({what}); name them in data.columns.ignore if they are not meant to be"
            );
            assert_eq!(table.notes, [expected]);
        }
    }

    #[test]
    fn a_column_that_is_blank_for_long_is_looked_at_to_its_end() {
        let mut text = "run,ls,a,note\n".to_owned();
        let rows = 300_000;
        (0..rows).for_each(|i| text += &format!("1,{i},0.12345678901234567890123,\n"));
        text += &format!("1,{rows},0.5,noisy\n");
        let table = table(&text).unwrap();
        assert_eq!(
            (table.rows.len(), table.faults.len(), table.features.as_deref()),
            (rows + 1, 0, Some(&["a".to_owned()][..]))
        );
        assert!(table.notes[0].contains("\"note\" (text)"), "{:?}", table.notes);
    }

    #[test]
    fn a_file_needs_a_header() {
        let message = refused("297050,17,0.5\n297050,18,0.7\n");
        assert!(
            message.contains(":1: found the numbers 297050, 17, 0.5; expected a header"),
            "{message}"
        );
        // NumPy writes the names into a comment.
        let told = table("# made by hand\n# run,ls,a\n297050,17,0.5\n297050,18,0.7\n").unwrap();
        assert_eq!((told.rows[0].ls, told.rows[0].line, told.values), (17, 3, vec![0.5, 0.7]));
        let counted = table(",0,1,2\n0,5.5,6,7\n1,8,9,10\n").unwrap();
        assert_eq!((counted.width(), counted.events), (3, true));
    }

    #[test]
    fn what_stands_before_the_header_is_passed_over() {
        for start in ["# one\n#two;\n", "sep=,\r\n", "\u{feff}", "\u{feff}\n\n# one\n"] {
            let table = table(&format!("{start}run,ls,a\n1,2,3\n")).unwrap();
            assert_eq!(
                (table.rows[0].run, table.values.as_slice()),
                (Some(1), [3.0].as_slice()),
                "{start:?}"
            );
        }
        let table = read_bytes(b"run,ls,\xe9ta,\xe8ta\n1,2,3,4\n", &Wanted::default()).unwrap();
        assert_eq!(
            table.features.as_deref(),
            Some(&["\u{e9}ta".to_owned(), "\u{e8}ta".into()][..])
        );
        assert!(table.notes[0].contains("not UTF-8"), "{:?}", table.notes);
    }

    #[test]
    fn a_repeated_column_is_no_input() {
        let labelled = |text: &str| {
            read_bytes(
                text.as_bytes(),
                &Wanted { required: vec!["label".into()], ..Wanted::default() },
            )
        };
        let features = |table: &Table| table.features.as_ref().unwrap().to_vec();
        let same = labelled("run,ls,a,label,label\n1,1,5,1,1.0\n1,2,6,0,0\n").unwrap();
        assert_eq!((features(&same), same.notes.len()), (vec!["a".to_owned()], 1));
        assert!(
            same.notes[0].starts_with(
                "column 4 \"label\" and column 5 \"label\" have one name and hold the same"
            ),
            "{:?}",
            same.notes
        );
        for (header, parts) in [
            (
                "run,ls,a,label,label",
                ["column 4 \"label\" and column 5 \"label\"", "first in line 3"],
            ),
            (
                "run,ls,a,label.1,label",
                ["column 5 \"label\" and column 4 \"label.1\"", "data.columns.ignore"],
            ),
            ("run,ls,a,label,Label", ["column 4 \"label\" and column 5 \"Label\"", "only in case"]),
            (
                "label,ls,a,fromrun,run_number",
                [
                    "column 4 \"fromrun\" and column 5 \"run_number\"",
                    "data.columns.run = \"fromrun\"",
                ],
            ),
            ("run,label,a,ls,lumi", ["column 4 \"ls\" and column 5 \"lumi\"", "data.columns.ls"]),
            ("run,ls,label,a,a", ["column 4 \"a\" and column 5 \"a\"", "rename or remove"]),
            (
                "run,ls,label,a,a_duplicated_0",
                ["column 4 \"a\" and column 5 \"a_duplicated_0\"", "data.columns.features"],
            ),
        ] {
            let message =
                labelled(&format!("{header}\n1,1,1,1,1\n1,1,1,1,0\n")).unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{header}: {message}");
        }
        // What differs only in case may be two inputs, of which it is told.
        let two = table("run,ls,pT,PT\n1,1,5,6\n").unwrap();
        assert_eq!(two.width(), 2);
        assert!(two.notes[0].contains("differ in case or blanks only"), "{:?}", two.notes);
    }

    #[test]
    fn the_config_says_which_of_two_columns_is_meant() {
        let read = |columns: &str, text: &str| {
            let data: crate::config::data::Data =
                toml::from_str(&format!("columns = {columns}")).unwrap();
            let table = read_bytes(text.as_bytes(), &Wanted::new(&data)).unwrap();
            (table.rows[0].run, table.features.unwrap().to_vec())
        };
        let text = "fromrun,run_number,ls,a,a.1\n1,2,3,4,5\n";
        assert_eq!(
            read("{ run = \"run_number\", ignore = [\"a.1\"] }", text),
            (Some(2), vec!["a".to_owned()])
        );
        assert_eq!(
            read("{ run = \"fromrun\", features = [\"a\", \"a.1\"] }", text),
            (Some(1), vec!["a".to_owned(), "a.1".into()])
        );
    }

    #[test]
    fn usual_names_may_be_written_with_blanks() {
        let table = table("Run Number, LS ,a\n297050,7,5\n").unwrap();
        assert_eq!((table.rows[0].run, table.rows[0].ls, table.width()), (Some(297050), 7, 1));
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
