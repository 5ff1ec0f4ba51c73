//! Builds a [`Table`] from the rows of any reader, one by one. Each row is checked.

mod append;
mod finish;

use super::{
    budget::budget,
    layout::{Contents, Layout},
    names::Twin,
    options::{Detail, ReadOptions},
    partition::of_partition,
    row::{FILL_ADVICE, Incoming, axis, is_sound, place},
};
use crate::{
    config::data::Format,
    data::{
        cells::Cells,
        field::Field,
        shape::Shape,
        table::{Column, Fault, Summary, Table, TableRow},
    },
    error::{Error, Result},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

/// Builds a [`Table`] row by row: values are appended, then [`Builder::row`] adds their identity.
pub struct Builder {
    table: Table,
    wanted_me: Option<String>,
    /// The runs to read; rows of other runs are skipped.
    runs: Option<Arc<BTreeSet<u32>>>,
    /// The run in the name of the file's folder: `run=297050`.
    run: Option<u32>,
    detail: Detail,
    /// Whether values are counts, which must not be negative.
    counts: bool,
    /// Numbers that mean a missing value, and whether rows with missing values are accepted.
    missing: Vec<f32>,
    keeps_missing: bool,
    /// Whether the next values are known to be valid.
    trusted: bool,
    /// Monitoring elements in the order of their first rows, with their number of rows.
    elements: Vec<(String, usize)>,
    element_at: HashMap<String, usize>,
    /// The element counted last, whose row comes next.
    element: usize,
    extra: Vec<(String, Column)>,
    /// Columns that must be equal, each with line and position of the first row in which they
    /// differ.
    twins: Vec<(Twin, Option<(u32, u32)>)>,
    /// Whether the axis of each histogram is wanted, and whether the file has it.
    summary: bool,
    has_axis: bool,
    /// Edges that differ from those of the first row.
    other_edges: Option<[Option<f64>; 4]>,
    /// The shapes so far, and the index of the shape of each row.
    kinds: Vec<(Shape, bool)>,
    kind_of: Vec<u16>,
    /// End of the values of accepted rows.
    filled: usize,
    /// Start of the values of the next row.
    cursor: usize,
    next: u32,
    /// Memory limit for the file's rows in bytes.
    budget: u64,
    /// Bytes of text in further columns.
    text: u64,
}

/// The kind of a file's contents.
pub enum Holds {
    /// Histograms of counts, which are not negative.
    Histograms,
    /// Features with these names.
    Features(Vec<String>),
}

impl Builder {
    /// An empty table for the contents of a layout.
    pub fn of_layout(
        path: &Path,
        format: Format,
        fields: &[Field],
        layout: &Layout,
        wanted: &ReadOptions,
    ) -> Self {
        let holds = match &layout.contents {
            Contents::Features(columns) => {
                Holds::Features(columns.iter().map(|&at| fields[at].name.clone()).collect())
            }
            Contents::List(_) | Contents::Bins(_) => Holds::Histograms,
        };
        let mut builder =
            Self::new(path, format, fields.to_vec(), holds, layout.extra_names(), wanted);
        builder.table.notes.extend(
            layout
                .notes
                .iter()
                .cloned()
                .chain(layout.hierarchy.iter().flat_map(|hierarchy| hierarchy.notes.clone())),
        );
        builder.table.hierarchy = layout.hierarchy.clone();
        builder.twins = layout.twins.iter().map(|twin| (twin.clone(), None)).collect();
        builder.has_axis(layout.edges[0].is_some() && layout.edges[1].is_some());
        builder
    }

    /// An empty table; `extra` are the names of further columns.
    pub fn new(
        path: &Path,
        format: Format,
        fields: Vec<Field>,
        holds: Holds,
        extra: Vec<String>,
        wanted: &ReadOptions,
    ) -> Self {
        let counts = matches!(holds, Holds::Histograms);
        let (run, notes) = of_partition(path);
        let features = if let Holds::Features(names) = holds { Some(names.into()) } else { None };
        let table = Table {
            path: path.to_path_buf(),
            format,
            fields,
            rows: vec![],
            events: false,
            shape: Shape::default(),
            values: vec![],
            flow_bins: false,
            y_fastest: false,
            edges: [None; 4],
            axes: vec![],
            features,
            hierarchy: None,
            columns: BTreeMap::new(),
            elements: BTreeMap::new(),
            faults: vec![],
            summaries: vec![],
            cells: vec![],
            notes,
        };
        Self {
            table,
            wanted_me: wanted.me.clone(),
            runs: wanted.runs.clone(),
            run,
            detail: wanted.detail,
            counts,
            missing: wanted.missing.clone(),
            keeps_missing: wanted.keeps_missing,
            trusted: false,
            elements: vec![],
            element_at: HashMap::new(),
            element: 0,
            extra: extra.into_iter().map(|name| (name, Column::Numbers(vec![]))).collect(),
            twins: vec![],
            summary: wanted.summary,
            has_axis: false,
            other_edges: None,
            kinds: vec![],
            kind_of: vec![],
            filled: 0,
            cursor: 0,
            next: 0,
            budget: budget(path),
            text: 0,
        }
    }

    /// Fails if the rows, with these additional rows and values, would exceed the memory limit of
    /// the file.
    pub fn make_room(&self, more_rows: usize, more_values: usize) -> Result<()> {
        let table = &self.table;
        let each = if self.detail == Detail::Values {
            size_of::<TableRow>()
        } else {
            size_of::<TableRow>() + size_of::<Summary>()
        };
        let rows = (table.rows.len().saturating_add(more_rows) as u64).saturating_mul(each as u64);
        let faults = table.faults.len() as u64 * (size_of::<Fault>() as u64 + 80);
        let values =
            (table.values.len() as u64).saturating_add(more_values as u64).saturating_mul(4);
        if rows.saturating_add(faults).saturating_add(values).saturating_add(self.text)
            > self.budget
        {
            let path = table.path.display();
            return Err(Error::input(format!(
                "{path}: unpacks to far more than a file of its size can hold; it is damaged or malicious"
            )));
        }
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.table.path
    }

    /// Memory limit for the file's rows in bytes.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Counts the text of further columns towards the memory limit of the file.
    pub fn count_texts(&mut self, extra: &[Column]) {
        let bytes = |column: &Column| match column {
            Column::Texts(texts) => texts.iter().map(|text| text.len() as u64).sum(),
            Column::Numbers(_) => 0_u64,
        };
        self.text = self.text.saturating_add(extra.iter().map(bytes).sum());
    }

    /// Counts a row's monitoring element and returns whether its rows are wanted. Other rows are
    /// skipped.
    pub fn element(&mut self, me: &str) -> bool {
        self.element = self.element_named(me);
        self.elements[self.element].1 += 1;
        let wanted = self.detail != Detail::Values
            || self.wanted_me.as_deref().is_none_or(|wanted| wanted == me);
        self.next += u32::from(!wanted);
        wanted
    }

    /// Whether rows of this run are wanted.
    pub fn takes(&self, run: Option<u32>) -> bool {
        self.runs.as_ref().zip(run.or(self.run)).is_none_or(|(runs, run)| runs.contains(&run))
    }

    /// Skips rows whose values were not read.
    pub fn skip(&mut self, rows: usize) {
        self.next += rows as u32;
    }

    /// The position of a monitoring element; adds it if new.
    fn element_named(&mut self, me: &str) -> usize {
        if let Some(at) = self.element_at.get(me) {
            return *at;
        }
        self.elements.push((me.to_owned(), 0));
        self.element_at.insert(me.to_owned(), self.elements.len() - 1);
        self.elements.len() - 1
    }

    /// Sets whether the next values were already checked with [`is_sound`].
    pub fn trust(&mut self, trusted: bool) {
        self.trusted = trusted && self.missing.is_empty();
    }

    /// Checks values; the error names the first invalid one.
    fn check_values(&self, values: &[f32]) -> std::result::Result<(), String> {
        if is_sound(values, self.counts) {
            return if values.is_empty() {
                Err("the histogram has no bins".into())
            } else {
                Ok(())
            };
        }
        let is_wrong = |value: &f32| {
            !(is_sound(&[*value], self.counts) || self.keeps_missing && value.is_nan())
        };
        let Some(bin) = values.iter().position(is_wrong) else { return Ok(()) };
        let features = self.table.features.as_ref();
        let place = features
            .and_then(|features| features.get(bin))
            .map_or_else(|| format!("bin {bin}"), |name| format!("\"{name}\""));
        let value = values[bin];
        Err(if value < 0.0 && value.is_finite() {
            format!("{place} is {value}; counts cannot be negative")
        } else if value.is_nan() {
            let found = if self.missing.is_empty() {
                "nan"
            } else {
                "missing (nan or a number of data.missing)"
            };
            format!("{place} is {found}; expected a finite number, or {FILL_ADVICE}")
        } else {
            format!("{place} is {}; expected a finite number", value.to_string().to_lowercase())
        })
    }

    /// The buffer for the values of the next row.
    pub fn values(&mut self) -> &mut Vec<f32> {
        &mut self.table.values
    }

    /// A further column by its position in `extra`; it has one entry per accepted row.
    pub fn extra(&mut self, i: usize) -> &mut Column {
        &mut self.extra[i].1
    }

    /// Sets whether each row has the edges of its axis in x.
    pub fn has_axis(&mut self, has: bool) {
        self.has_axis = has;
    }

    /// Records that the next row differs in the columns of twin `i`.
    pub fn differs(&mut self, i: usize, line: u32) {
        let next = self.next;
        self.twins[i].1.get_or_insert((line, next));
    }

    /// Adds a note about the file.
    pub fn note(&mut self, note: String) {
        self.table.notes.push(note);
    }

    /// Adds a row with the values appended to [`Builder::values`] since the last row; returns
    /// whether it is valid.
    pub fn row(&mut self, incoming: Incoming) -> bool {
        let taken = self.row_of(self.table.values.len() - self.cursor, incoming);
        self.settle();
        taken
    }

    /// Adds a row with the next `count` of the appended values; returns whether it is valid.
    pub fn row_of(&mut self, count: usize, incoming: Incoming) -> bool {
        if !self.takes(incoming.run) {
            self.pass(count);
            self.next += 1;
            return false;
        }
        if let (Some(run), Some(of_folder)) = (incoming.run, self.run)
            && run != of_folder
        {
            self.refuse(
                count,
                incoming,
                format!("the run is {run}, but the folder is run={of_folder}"),
            );
            return false;
        }
        let range = self.cursor..self.cursor + count;
        if !self.missing.is_empty() {
            let values = &mut self.table.values[range.clone()];
            values
                .iter_mut()
                .filter(|value| self.missing.contains(value))
                .for_each(|value| *value = f32::NAN);
        }
        let values = &self.table.values[range.clone()];
        let sound = if self.trusted { Ok(()) } else { self.check_values(values) };
        let axis =
            if self.summary && self.has_axis { axis(incoming.edges).map(Some) } else { Ok(None) };
        let checked = sound
            .and_then(|()| axis.as_ref().map(|_| ()).map_err(Clone::clone))
            .and_then(|()| place(values.len(), incoming));
        let (shape, flow_bins) = match checked {
            Ok(placed) => placed,
            Err(reason) => {
                self.refuse(count, incoming, reason);
                return false;
            }
        };
        let kind = self
            .kinds
            .iter()
            .position(|kind| *kind == (shape, flow_bins))
            .unwrap_or(self.kinds.len());
        if kind > usize::from(u16::MAX) {
            self.refuse(count, incoming, "the rows have too many different shapes".into());
            return false;
        }
        if kind == self.kinds.len() {
            self.kinds.push((shape, flow_bins));
        }
        if self.detail == Detail::Values {
            self.kind_of.push(kind as u16);
            if self.filled < range.start {
                self.table.values.copy_within(range, self.filled);
            }
            self.filled += count;
        } else {
            let present = || values.iter().filter(|value| !value.is_nan());
            let sum = present().map(|value| f64::from(*value)).sum();
            let empty = present().all(|value| *value == 0.0);
            let missing = (count - present().count()) as u32;
            self.table.summaries.push(Summary {
                element: self.element as u32,
                shape,
                flow_bins,
                sum,
                empty,
                missing,
            });
            if let Some(features) = &self.table.features {
                self.table.cells.resize(features.len(), Cells::default());
                self.table
                    .cells
                    .iter_mut()
                    .zip(&self.table.values[range])
                    .for_each(|(cells, value)| cells.add(*value));
            }
        }
        self.cursor += count;
        self.table.axes.extend(axis.ok().flatten());
        let edges = incoming.edges.map(|edge| edge.filter(|edge| edge.is_finite()));
        if self.table.rows.is_empty() {
            self.table.edges = edges;
        } else if edges != self.table.edges {
            self.other_edges.get_or_insert(edges);
        }
        self.take(incoming);
        true
    }

    /// Skips the next `count` values, because their row cannot be read.
    pub fn refuse(&mut self, count: usize, incoming: Incoming, reason: String) {
        self.cursor += count;
        if !self.takes(incoming.run) {
            self.next += 1;
            return;
        }
        self.table.faults.push(Fault {
            line: incoming.line,
            index: self.next,
            run: incoming.run.or(self.run),
            ls: incoming.ls,
            reason,
        });
        self.next += 1;
    }

    /// Skips the next `count` values, because their row is not wanted.
    pub fn pass(&mut self, count: usize) {
        self.cursor += count;
    }

    /// Removes values that belong to no row.
    pub fn settle(&mut self) {
        self.table.values.truncate(self.filled);
        self.cursor = self.filled;
    }

    /// Adds a row without values.
    pub fn identity(&mut self, incoming: Incoming) {
        let shape = incoming.shape.unwrap_or(Shape {
            y: incoming.y_bins.unwrap_or(1).max(1),
            x: incoming.x_bins.unwrap_or(0),
        });
        self.table.summaries.push(Summary {
            element: self.element as u32,
            shape,
            flow_bins: false,
            sum: f64::NAN,
            empty: false,
            missing: 0,
        });
        self.take(incoming);
    }

    fn take(&mut self, incoming: Incoming) {
        let Incoming { run, ls, line, .. } = incoming;
        self.table.events |= ls.is_none();
        self.table.rows.push(TableRow {
            run: run.or(self.run),
            ls: ls.unwrap_or(self.next),
            line,
            index: self.next,
        });
        self.next += 1;
    }

    /// Records a row that cannot be read and removes its values.
    pub fn fault(&mut self, incoming: Incoming, reason: String) {
        self.settle();
        self.refuse(0, incoming, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsound_rows_are_faults_and_leave_no_values_behind() {
        let wanted = ReadOptions::default();
        let mut builder =
            Builder::new(Path::new("x"), Format::Csv, vec![], Holds::Histograms, vec![], &wanted);
        builder.values().extend([1.0, 2.0, 3.0, f32::NAN, 5.0, -6.0, 7.0, 8.0]);
        let incoming = |ls| Incoming { ls: Some(ls), ..Incoming::default() };
        let taken: Vec<bool> = (1..=4).map(|ls| builder.row_of(2, incoming(ls))).collect();
        builder.settle();
        assert_eq!(taken, [true, false, false, true]);
        let table = builder.finish().unwrap();
        assert_eq!(
            (table.values.as_slice(), table.shape),
            ([1.0, 2.0, 7.0, 8.0].as_slice(), Shape::line(2))
        );
        assert_eq!(
            table.faults.iter().map(|fault| fault.reason.as_str()).collect::<Vec<_>>(),
            [
                "bin 1 is nan; expected a finite number, or a data.fill for missing ones",
                "bin 1 is -6; counts cannot be negative"
            ]
        );
    }

    #[test]
    fn missing_values_stay_where_they_are_filled() {
        let wanted =
            ReadOptions { missing: vec![-999.0], keeps_missing: true, ..ReadOptions::default() };
        let mut builder =
            Builder::new(Path::new("x"), Format::Csv, vec![], Holds::Histograms, vec![], &wanted);
        builder.values().extend([1.0, -999.0, f32::NAN, 4.0, f32::INFINITY, 6.0, -6.0, 8.0]);
        // Valid values may still mean missing ones.
        builder.trust(true);
        let incoming = |ls| Incoming { ls: Some(ls), ..Incoming::default() };
        let taken: Vec<bool> = (1..=4).map(|ls| builder.row_of(2, incoming(ls))).collect();
        builder.settle();
        assert_eq!(
            taken,
            [true, true, false, false],
            "neither infinities nor negative counts are missing"
        );
        let values = builder.finish().unwrap().values;
        assert!(
            values[0] == 1.0 && values[1].is_nan() && values[2].is_nan() && values[3] == 4.0,
            "{values:?}"
        );
    }
}
