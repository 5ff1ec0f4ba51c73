//! Reads CSV files: `LS;[bins]`, the ML4DQM layout, tables with a column per bin or feature.
//!
//! A row that cannot be read keeps its line and the reason. Blocks of rows are parsed on all cores.

use super::{
    builder::Builder,
    dialect::{self, Dialect, decode},
    layout::Contents,
    options::ReadOptions,
    row::Incoming,
    text::Source,
    values::{number_of, number_of_word, parse_list, show, whole_number},
};
use crate::{
    data::{
        field::FieldKind,
        table::{Column, Table},
    },
    error::{Error, Result},
};
use rayon::prelude::*;
use std::path::Path;

/// Part of the reason for rows that are longer or shorter than the header.
const FIELDS: &str = " fields where the header has ";

/// The column names must begin within this number of bytes.
const START: usize = 1 << 16;

/// Reads a CSV file. Rows that cannot be read are in `faults`; faults of the whole file are errors.
pub fn read(path: &Path, source: &mut Source, wanted: &ReadOptions) -> Result<Table> {
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

/// Parses complete rows after `before` lines.
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

/// The line on which a record begins, from 1, without blank lines before it, and whether it spans
/// several lines.
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

/// Whether a field over several lines contains lines that look like rows: as many fields as the
/// header (or up to this field on the last line), with numbers in the columns of numbers.
fn swallows_rows(record: &csv::ByteRecord, dialect: &Dialect) -> bool {
    let number =
        |at: usize| dialect.fields.get(at).is_some_and(|field| field.kind == FieldKind::Number);
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

/// Whether two entries are equal as texts or as numbers.
fn is_same(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let number =
        |field: Option<&[u8]>| std::str::from_utf8(field?.trim_ascii()).ok()?.parse::<f64>().ok();
    a.map(<[u8]>::trim_ascii) == b.map(<[u8]>::trim_ascii)
        || number(a).zip(number(b)).is_some_and(|(a, b)| a == b)
}

/// Checks that a row has a field for each column; blank ones may follow.
fn length(record: &csv::ByteRecord, dialect: &Dialect) -> std::result::Result<(), String> {
    let columns = dialect.fields.len();
    let surplus = || record.iter().skip(columns).any(|field| !field.trim_ascii().is_empty());
    match record.len() < dialect.least || record.len() > columns && surplus() {
        true => Err(format!("{}{FIELDS}{columns}", record.len())),
        false => Ok(()),
    }
}

/// Adds the number of fields to the reason if it may be the cause.
fn with_length(record: &csv::ByteRecord, dialect: &Dialect, reason: String) -> String {
    match length(record, dialect) {
        Err(length) if !reason.contains(" fields") => format!("{reason}; the row has {length}"),
        _ => reason,
    }
}

/// Appends a row's values. `incoming` receives run, LS and numbers of bins if they can be read.
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

#[cfg(test)]
mod tests;
