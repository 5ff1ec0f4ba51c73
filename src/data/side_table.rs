//! Small tables beside the data (CSV or Parquet), read as text by column name.

use super::{
    read::{
        budget::budget,
        columnar, entries,
        format::format_of,
        names,
        text::{Source, unclosed},
    },
    table::place_in,
};
use crate::{
    config::data::Format,
    error::{Error, Result, listed, suggestion},
};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder},
};
use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// A table that is open.
pub struct SideTable {
    path: PathBuf,
    /// Lower case.
    header: Vec<String>,
    rows: Rows,
}

enum Rows {
    Csv(Box<csv::Reader<std::io::Cursor<Vec<u8>>>>),
    Parquet(Box<ParquetRecordBatchReaderBuilder<File>>, ArrowReaderMetadata),
}

/// Where a row stands, for messages.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    path: &'a Path,
    line: u32,
    index: u32,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&place_in(self.path, self.line, self.index))
    }
}

impl Place<'_> {
    /// An error that names the place.
    pub fn wrong(&self, reason: impl std::fmt::Display) -> Error {
        Error::input(format!("{self}: {reason}"))
    }
}

impl SideTable {
    /// Opens a CSV (also compressed) or Parquet file and reads its header.
    pub fn open(path: &Path) -> Result<Self> {
        match format_of(path, Format::Auto)? {
            Format::Parquet => crate::guard::decode(path, || {
                let metadata = columnar::metadata(path)?;
                let file = File::open(path).map_err(|error| Error::reading(path, error))?;
                let reader =
                    ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
                let header = reader
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| field.name().to_lowercase())
                    .collect();
                Ok(Self {
                    path: path.into(),
                    header,
                    rows: Rows::Parquet(Box::new(reader), metadata),
                })
            }),
            Format::Csv => {
                let mut source = Source::open(path)?;
                source.skip_mark(path)?;
                let text = source.rest(path)?;
                let first = text
                    .split(|byte| *byte == b'\n')
                    .find(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"))
                    .unwrap_or_default();
                let delimiter = [b',', b';', b'\t']
                    .into_iter()
                    .find(|delimiter| first.contains(delimiter))
                    .unwrap_or(b',');
                if let Some(line) = unclosed(&text, delimiter) {
                    return Err(Error::input(format!(
                        "{}:{line}: a quote is opened and not closed in its field",
                        path.display()
                    )));
                }
                let mut reader = csv::ReaderBuilder::new()
                    .delimiter(delimiter)
                    .comment(Some(b'#'))
                    .trim(csv::Trim::All)
                    .flexible(true)
                    .from_reader(std::io::Cursor::new(text));
                let header = reader
                    .headers()
                    .map_err(|error| not_csv(path, &error))?
                    .iter()
                    .map(str::to_lowercase)
                    .collect();
                Ok(Self { path: path.into(), header, rows: Rows::Csv(Box::new(reader)) })
            }
            other => Err(Error::input(format!(
                "{}: looks like {other}; expected a table as CSV or Parquet",
                path.display()
            ))),
        }
    }

    /// The names of the columns, in lower case.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The position of a column.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|other| other == name)
    }

    /// The position of a column that must be there; `expected` are all columns that such a table
    /// has.
    pub fn require(&self, name: &str, expected: &str) -> Result<usize> {
        self.find(name).ok_or_else(|| {
            let near = suggestion(name, self.header.iter().map(String::as_str));
            let header = listed(self.header.iter().map(String::as_str));
            Error::input(format!(
                "{}: no column \"{name}\"{near}; its columns are {header}; expected {expected}",
                self.path.display()
            ))
        })
    }

    /// Calls `each` with every row: the entries of these columns, as text, blank where unknown or
    /// where there is no such column. Blank lines are passed over.
    pub fn rows(
        self,
        columns: &[Option<usize>],
        each: impl FnMut(Place, &[&str]) -> Result<()>,
    ) -> Result<()> {
        names::refuse_repeated(&self.path, &self.header, columns.iter().flatten().copied())?;
        self.each(columns, each)
    }

    /// Calls `each` with every row: the entries of all columns.
    pub fn all(self, each: impl FnMut(Place, &[&str]) -> Result<()>) -> Result<()> {
        let columns: Vec<Option<usize>> = (0..self.header.len()).map(Some).collect();
        self.each(&columns, each)
    }

    fn each(
        self,
        columns: &[Option<usize>],
        mut each: impl FnMut(Place, &[&str]) -> Result<()>,
    ) -> Result<()> {
        let Self { path, header, rows } = self;
        let mut index = 0;
        let mut row = |line: u32, fields: &[&str]| {
            index += 1;
            each(Place { path: &path, line, index: index - 1 }, fields)
        };
        match rows {
            Rows::Csv(mut reader) => {
                let mut record = csv::StringRecord::new();
                while reader.read_record(&mut record).map_err(|error| not_csv(&path, &error))? {
                    let line = line(reader.get_ref().get_ref(), &record);
                    let surplus = record.iter().skip(header.len()).any(|field| !field.is_empty());
                    if record.len() < header.len() || surplus {
                        let place = Place { path: &path, line, index: 0 };
                        return Err(place.wrong(format!(
                            "{} fields where the header has {}",
                            record.len(),
                            header.len()
                        )));
                    }
                    row(
                        line,
                        &columns
                            .iter()
                            .map(|at| at.map_or("", |at| &record[at]))
                            .collect::<Vec<_>>(),
                    )?;
                }
                Ok(())
            }
            Rows::Parquet(reader, metadata) => crate::guard::decode(&path, || {
                let damaged = |error: &dyn std::fmt::Display| {
                    Error::input(format!("{}: not a whole Parquet file: {error}", path.display()))
                };
                let most = budget(&path);
                let mut order: Vec<usize> = columns.iter().flatten().copied().collect();
                order.sort_unstable();
                order.dedup();
                let mask = ProjectionMask::roots(reader.parquet_schema(), order.iter().copied());
                let mut longest = 1;
                for group in 0..metadata.metadata().num_row_groups() {
                    longest = columnar::check_pages(&path, &metadata, group, &order)?.max(longest);
                }
                let reader =
                    reader.with_batch_size((columnar::LARGEST_TEXTS / longest).clamp(1, 1024));
                for batch in
                    reader.with_projection(mask).build().map_err(|error| damaged(&error))?
                {
                    let batch = batch.map_err(|error| damaged(&error))?;
                    let entries = |at: &Option<usize>| {
                        let Some(at) = at else { return Ok(vec![String::new(); batch.num_rows()]) };
                        let array = batch.column(order.binary_search(at).unwrap_or_default());
                        entries::entries(array, most).ok_or_else(|| {
                            let kind = array.data_type().to_string().to_lowercase();
                            Error::input(format!(
                                "{}: column \"{}\" holds {kind}, neither numbers, texts nor times",
                                path.display(),
                                header[*at]
                            ))
                        })
                    };
                    let entries =
                        columns.iter().map(entries).collect::<Result<Vec<Vec<String>>>>()?;
                    for i in 0..batch.num_rows() {
                        row(0, &entries.iter().map(|column| column[i].trim()).collect::<Vec<_>>())?;
                    }
                }
                Ok(())
            }),
        }
    }
}

/// The line on which a row begins, from 1. Blank lines and comments before it are not its own.
fn line(text: &[u8], record: &csv::StringRecord) -> u32 {
    let Some(start) = record.position() else { return 0 };
    let lines = text[start.byte() as usize..].split(|byte| *byte == b'\n');
    let before = lines
        .take_while(|line| line.iter().all(|byte| *byte == b'\r') || line.starts_with(b"#"))
        .count();
    start.line() as u32 + before as u32
}

fn not_csv(path: &Path, error: &csv::Error) -> Error {
    Error::input(format!("{}: not a CSV: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{
        ArrayRef, Float64Array, Int32Array, ListArray, RecordBatch, StringArray,
        TimestampMillisecondArray, types::Int32Type,
    };
    use std::sync::Arc;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    /// All rows of these columns, each entry with a bar behind it.
    fn rows(bytes: &[u8], columns: &[&str]) -> Result<Vec<String>> {
        let file = file(bytes);
        let sheet = SideTable::open(file.path())?;
        let columns: Vec<Option<usize>> = columns.iter().map(|name| sheet.find(name)).collect();
        let mut rows = vec![];
        sheet.rows(&columns, |_, fields| {
            rows.push(fields.iter().map(|field| format!("{field}|")).collect());
            Ok(())
        })?;
        Ok(rows)
    }

    #[test]
    fn columns_come_in_the_order_asked_for_whatever_stands_between_them() {
        for text in [
            "\u{feff}a,B,c\n1, x ,\n\n# no row\n2,\"y,z\",3\n",
            "# told by nobody\na;b;c\n1;x;\n2;y,z;3\n",
            "a\tb\tc\r\n1\tx\t\r\n2\ty,z\t3\r\n",
        ] {
            assert_eq!(
                rows(text.as_bytes(), &["b", "nope", "a", "c"]).unwrap(),
                ["x||1||", "y,z||2|3|"],
                "{text}"
            );
        }
    }

    #[test]
    fn parquet_says_the_same() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None]);
        let columns: [(&str, ArrayRef); 5] = [
            ("list", Arc::new(list)),
            ("A", Arc::new(Int32Array::from(vec![Some(297_050), None]))),
            ("b", Arc::new(StringArray::from(vec![None, Some(" x ")]))),
            ("c", Arc::new(Float64Array::from(vec![0.5, 17.0]))),
            (
                "time",
                Arc::new(TimestampMillisecondArray::from(vec![Some(1_684_312_200_250), None])),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = vec![];
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        assert_eq!(
            rows(&bytes, &["time", "a", "none", "b", "c"]).unwrap(),
            ["1684312200.25|297050|||0.5|", "|||x|17|"]
        );
        assert!(
            rows(&bytes, &["list"]).unwrap_err().to_string().contains("column \"list\" holds list")
        );
        bytes.truncate(bytes.len() / 2);
        assert!(rows(&bytes, &["a"]).unwrap_err().to_string().contains("not a whole Parquet file"));
    }

    #[test]
    fn faults_are_told_with_their_place() {
        for (text, part) in [
            ("a,b\n1,2\n1\n", ":3: 1 fields where the header has 2"),
            ("a,b\r\n# two\r\n\r\n1,2,\r\n1,2,x\r\n", ":5: 3 fields where the header has 2"),
            ("a,b\n1,\"x\n2,y\n", ":2: a quote is opened and not closed"),
            ("a,b,A\n1,2,3\n", "columns 1 and 3 are named \"a\""),
            ("", "is empty"),
            ("{\"a\": 1}", "expected a table as CSV or Parquet"),
        ] {
            let message = rows(text.as_bytes(), &["a"]).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let file = file(b"run,lss\n");
        let message =
            SideTable::open(file.path()).unwrap().require("ls", "run, ls").unwrap_err().to_string();
        assert!(message.contains("no column \"ls\" (did you mean \"lss\"?); its columns are run, lss; expected run, ls"), "{message}");
    }
}
