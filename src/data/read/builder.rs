//! Where all readers meet: rows come in one by one, are checked, and make a [`Table`].

use super::{
    layout::{self, Contents, Field, Layout},
    names::Twin,
};
use crate::{
    config::data::Format,
    data::{
        cells::Cells,
        table::{Bring, Column, Fault, Row, Shape, Summary, Table, Wanted},
    },
    error::{Error, Result, listed},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

/// Builds a [`Table`] row by row: values are appended, then [`Builder::row`] says whose they are.
pub struct Builder {
    table: Table,
    wanted_me: Option<String>,
    /// Rows of other runs are passed over.
    runs: Option<Arc<BTreeSet<u32>>>,
    /// The run that the file's folder says: `run=297050`.
    run: Option<u32>,
    bring: Bring,
    /// Counts are not negative.
    counts: bool,
    /// Numbers that stand for a missing value, and whether rows with missing values are taken.
    missing: Vec<f32>,
    keeps_missing: bool,
    /// Whether the values that follow are known to be sound.
    trusted: bool,
    /// Monitoring elements in the order of their first rows, with their number of rows.
    elements: Vec<(String, usize)>,
    element_at: HashMap<String, usize>,
    /// The element that was counted last, whose row comes next.
    element: usize,
    extra: Vec<(String, Column)>,
    /// Columns that must hold the same, each with line and position of the first row where they do
    /// not.
    twins: Vec<(Twin, Option<(u32, u32)>)>,
    /// Whether the axis of each histogram is wanted, and whether the file says it.
    summary: bool,
    has_axis: bool,
    /// Edges that differ from those of the first row.
    other_edges: Option<[Option<f64>; 4]>,
    /// The shapes that rows have had so far, and which of them each row has.
    kinds: Vec<(Shape, bool)>,
    kind_of: Vec<u16>,
    /// Where the values of the rows that were taken end.
    filled: usize,
    /// Where the values of the next row begin.
    cursor: usize,
    next: u32,
    /// How much memory the file's rows may take.
    budget: u64,
    /// Bytes of text that further columns hold.
    text: u64,
}

/// The memory that the rows of a file may take: what the best packing makes of real data, and
/// something for small files.
pub fn budget(path: &Path) -> u64 {
    std::fs::metadata(path)
        .map_or(0, |metadata| metadata.len())
        .saturating_mul(1000)
        .saturating_add(128 << 20)
}

/// The run that the folders of a partitioned file say, and what they say beside.
fn of_partition(path: &Path) -> (Option<u32>, Vec<String>) {
    let names = path
        .ancestors()
        .skip(1)
        .filter_map(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned());
    let (mut run, mut notes) = (None, vec![]);
    for name in names {
        let Some((column, value)) = partition(&name) else { continue };
        match (layout::is_run(column) && run.is_none(), value.parse()) {
            (true, Ok(number)) => run = Some(number),
            _ => notes.push(format!(
                "what the folder {name} says is not read; write it as a column to use it"
            )),
        }
    }
    (run, notes)
}

/// The column and the value that the name of a partition's folder says: `run=297050`.
pub fn partition(name: &str) -> Option<(&str, &str)> {
    name.split_once('=').filter(|(column, value)| !column.is_empty() && !value.is_empty())
}

/// What to do about a missing value, in the error of a row that has one.
pub const FILL_ADVICE: &str = "a data.fill for missing ones";

/// What is known of a row beside its values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Incoming {
    /// Run, where known.
    pub run: Option<u32>,
    /// Lumisection; `None` makes the row an event.
    pub ls: Option<u32>,
    /// Line, from 1; 0 in files without lines.
    pub line: u32,
    /// Declared number of bins in x, without underflow and overflow.
    pub x_bins: Option<usize>,
    /// Declared number of bins in y.
    pub y_bins: Option<usize>,
    /// The shape, where the values come with one.
    pub shape: Option<Shape>,
    /// Edges of the axes, where the file says them: x from, x to, y from, y to.
    pub edges: [Option<f64>; 4],
}

/// What a [`Builder`] needs to know of the file's contents.
pub enum Holds {
    /// Histograms: counts, which are not negative.
    Histograms,
    /// Features of these names.
    Features(Vec<String>),
}

impl Builder {
    /// An empty table for what a layout says the file holds.
    pub fn of_layout(
        path: &Path,
        format: Format,
        fields: &[Field],
        layout: &Layout,
        wanted: &Wanted,
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
        wanted: &Wanted,
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
            bring: wanted.bring,
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

    /// Refuses a file whose rows, with so many more rows and values, would take more memory than
    /// such a file can mean.
    pub fn make_room(&self, more_rows: usize, more_values: usize) -> Result<()> {
        let table = &self.table;
        let each = if self.bring == Bring::Values {
            size_of::<Row>()
        } else {
            size_of::<Row>() + size_of::<Summary>()
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
                "{path}: unpacks to far more than a file of its size can mean; it is damaged or a trap"
            )));
        }
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.table.path
    }

    /// How much memory the file's rows may take.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Counts what further columns hold of text towards the memory that the file may take.
    pub fn count_texts(&mut self, extra: &[Column]) {
        let bytes = |column: &Column| match column {
            Column::Texts(texts) => texts.iter().map(|text| text.len() as u64).sum(),
            Column::Numbers(_) => 0_u64,
        };
        self.text = self.text.saturating_add(extra.iter().map(bytes).sum());
    }

    /// Counts a row's monitoring element, and says whether its rows are wanted. A row that is not
    /// wanted is passed over.
    pub fn element(&mut self, me: &str) -> bool {
        self.element = self.element_named(me);
        self.elements[self.element].1 += 1;
        let wanted = self.bring != Bring::Values
            || self.wanted_me.as_deref().is_none_or(|wanted| wanted == me);
        self.next += u32::from(!wanted);
        wanted
    }

    /// Whether rows of this run are wanted.
    pub fn takes(&self, run: Option<u32>) -> bool {
        self.runs.as_ref().zip(run.or(self.run)).is_none_or(|(runs, run)| runs.contains(&run))
    }

    /// Passes over rows whose values were not even read.
    pub fn skip(&mut self, rows: usize) {
        self.next += rows as u32;
    }

    /// The position of a monitoring element, which is new or known.
    fn element_named(&mut self, me: &str) -> usize {
        if let Some(at) = self.element_at.get(me) {
            return *at;
        }
        self.elements.push((me.to_owned(), 0));
        self.element_at.insert(me.to_owned(), self.elements.len() - 1);
        self.elements.len() - 1
    }

    /// Says whether the values that follow were found [`is_sound`] already.
    pub fn trust(&mut self, trusted: bool) {
        self.trusted = trusted && self.missing.is_empty();
    }

    /// Says which value is not sound.
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

    /// Where to append the values of the next row.
    pub fn values(&mut self) -> &mut Vec<f32> {
        &mut self.table.values
    }

    /// A further column, by its position in `extra`; rows that were taken have one entry each.
    pub fn extra(&mut self, i: usize) -> &mut Column {
        &mut self.extra[i].1
    }

    /// Says whether each row comes with the edges of its axis in x.
    pub fn has_axis(&mut self, has: bool) {
        self.has_axis = has;
    }

    /// Says that the next row differs in the columns of twin `i`.
    pub fn differs(&mut self, i: usize, line: u32) {
        let next = self.next;
        self.twins[i].1.get_or_insert((line, next));
    }

    /// Notes something worth knowing about the file.
    pub fn note(&mut self, note: String) {
        self.table.notes.push(note);
    }

    /// Takes what was appended to [`Builder::values`] since the last row as the values of this row;
    /// says whether it is sound.
    pub fn row(&mut self, incoming: Incoming) -> bool {
        let taken = self.row_of(self.table.values.len() - self.cursor, incoming);
        self.settle();
        taken
    }

    /// Takes the next `count` of the values that were appended as those of this row; says whether
    /// it is sound.
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
        if self.bring == Bring::Values {
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

    /// Passes over the next `count` values: their row cannot be read.
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

    /// Passes over the next `count` values: their row is not wanted.
    pub fn pass(&mut self, count: usize) {
        self.cursor += count;
    }

    /// Forgets values that belong to no row.
    pub fn settle(&mut self) {
        self.table.values.truncate(self.filled);
        self.cursor = self.filled;
    }

    /// Takes a row whose values are not read.
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
        self.table.rows.push(Row {
            run: run.or(self.run),
            ls: ls.unwrap_or(self.next),
            line,
            index: self.next,
        });
        self.next += 1;
    }

    /// Notes a row that cannot be read and forgets the values appended for it.
    pub fn fault(&mut self, incoming: Incoming, reason: String) {
        self.settle();
        self.refuse(0, incoming, reason);
    }

    /// Appends the next part of the same file.
    pub fn append(&mut self, part: Self) {
        let offset = self.next;
        let events = part.table.events;
        self.text = self.text.saturating_add(part.text);
        self.table.events |= events;
        if self.table.values.capacity() == 0 {
            self.table.values = part.table.values;
        } else {
            self.table.values.extend(part.table.values);
        }
        self.filled = self.table.values.len();
        self.cursor = self.filled;
        let edges_differ = !self.table.rows.is_empty()
            && !part.table.rows.is_empty()
            && self.table.edges != part.table.edges;
        let other_edges = part.other_edges.or(edges_differ.then_some(part.table.edges));
        self.other_edges = self.other_edges.or(other_edges);
        if self.table.rows.is_empty() {
            self.table.edges = part.table.edges;
        }
        self.table.axes.extend(part.table.axes);
        for ((_, first), (_, found)) in self.twins.iter_mut().zip(part.twins) {
            *first = first.or(found.map(|(line, index)| (line, index + offset)));
        }
        let moved = |row: Row| Row {
            ls: if events { row.ls + offset } else { row.ls },
            index: row.index + offset,
            ..row
        };
        self.table.rows.extend(part.table.rows.into_iter().map(moved));
        self.table.faults.extend(
            part.table
                .faults
                .into_iter()
                .map(|fault| Fault { index: fault.index + offset, ..fault }),
        );
        let mut elements: Vec<u32> = vec![];
        for (name, count) in part.elements {
            let at = self.element_named(&name);
            self.elements[at].1 += count;
            elements.push(at as u32);
        }
        let element = |at: u32| elements.get(at as usize).copied().unwrap_or(at);
        self.table.summaries.extend(
            part.table
                .summaries
                .into_iter()
                .map(|one| Summary { element: element(one.element), ..one }),
        );
        let kinds: Vec<u16> = part
            .kinds
            .into_iter()
            .map(|kind| {
                let at =
                    self.kinds.iter().position(|known| *known == kind).unwrap_or(self.kinds.len());
                if at == self.kinds.len() {
                    self.kinds.push(kind);
                }
                at as u16
            })
            .collect();
        self.kind_of.extend(part.kind_of.into_iter().map(|kind| kinds[usize::from(kind)]));
        if self.table.cells.is_empty() {
            self.table.cells = part.table.cells;
        } else {
            self.table
                .cells
                .iter_mut()
                .zip(&part.table.cells)
                .for_each(|(cells, more)| cells.join(more));
        }
        for ((_, column), (_, more)) in self.extra.iter_mut().zip(part.extra) {
            *column = std::mem::replace(column, Column::Numbers(vec![])).append(more);
        }
        self.next += part.next;
    }

    /// The table, where the file holds the monitoring element that is wanted.
    pub fn finish(mut self) -> Result<Table> {
        self.choose_element()?;
        self.settle_twins()?;
        self.tell_edges();
        let mut order: Vec<usize> = (0..self.elements.len()).collect();
        order.sort_by(|&a, &b| self.elements[a].0.cmp(&self.elements[b].0));
        let mut rank = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &at)| rank[at] = place as u32);
        for summary in &mut self.table.summaries {
            summary.element = rank.get(summary.element as usize).copied().unwrap_or(0);
        }
        self.keep_usual_shape();
        let Self { mut table, elements, extra, .. } = self;
        table.values.shrink_to_fit();
        table.elements = elements.into_iter().collect();
        table.columns = extra.into_iter().collect();
        Ok(table)
    }

    /// Columns that must hold the same do, or the file is refused; where only its contents are
    /// looked at, it is noted.
    fn settle_twins(&mut self) -> Result<()> {
        for (twin, differs) in std::mem::take(&mut self.twins) {
            let place = differs.map(|(line, index)| {
                if line > 0 {
                    format!("first in line {line}")
                } else {
                    format!("first in row {index}")
                }
            });
            match twin.settle(&self.table.path, &self.table.fields, place.as_deref()) {
                Ok(note) => {
                    self.table.notes.extend(note.filter(|_| self.bring != Bring::Identities))
                }
                Err(error) if self.bring == Bring::Values => return Err(error),
                Err(error) => self.table.notes.push(error.to_string()),
            }
        }
        Ok(())
    }

    /// Bins of rows with different axes mean different things.
    fn tell_edges(&mut self) {
        let Some(other) = self.other_edges.filter(|_| self.bring == Bring::Values) else { return };
        let first = std::mem::take(&mut self.table.edges);
        if self.table.axes.is_empty() {
            self.table.notes.push(format!(
                "rows differ in the axis of their histograms ({} and {}), so that a bin is not the same quantity in all of them; keep the rows of one axis",
                show_edges(first),
                show_edges(other)
            ));
        }
    }

    /// Several monitoring elements need a choice.
    fn choose_element(&self) -> Result<()> {
        if self.wanted_me.is_some() || self.elements.len() < 2 || self.bring != Bring::Values {
            return Ok(());
        }
        let mut names: Vec<&str> = self.elements.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let path = self.table.path.display();
        Err(Error::input(format!(
            "{path}: holds several monitoring elements; choose one with data.me: {}",
            listed(names)
        )))
    }

    /// Turns rows whose shape is not the most common one into faults.
    fn keep_usual_shape(&mut self) {
        let mut counts = vec![0_usize; self.kinds.len()];
        self.kind_of.iter().for_each(|&kind| counts[usize::from(kind)] += 1);
        let Some(usual) = (0..counts.len()).rev().max_by_key(|&kind| counts[kind]) else { return };
        (self.table.shape, self.table.flow_bins) = self.kinds[usual];
        if counts.iter().filter(|count| **count > 0).count() <= 1 {
            return;
        }
        let said = |(shape, _): (Shape, bool)| {
            if shape.y == 1 { format!("{} bins", shape.x) } else { format!("{shape} bins") }
        };
        let (mut kept, mut from, mut to) = (vec![], 0, 0);
        for (i, &kind) in self.kind_of.iter().enumerate() {
            let found = self.kinds[usize::from(kind)];
            let width = found.0.width();
            if usize::from(kind) == usual {
                self.table.values.copy_within(from..from + width, to);
                to += width;
                kept.push(i);
            } else {
                let Row { run, ls, line, index } = self.table.rows[i];
                let reason =
                    format!("{} where most rows have {}", said(found), said(self.kinds[usual]));
                self.table.faults.push(Fault { line, index, run, ls: Some(ls), reason });
            }
            from += width;
        }
        self.table.values.truncate(to);
        self.table.rows = kept.iter().map(|&i| self.table.rows[i]).collect();
        if !self.table.axes.is_empty() {
            self.table.axes = kept.iter().map(|&i| self.table.axes[i]).collect();
        }
        for (_, column) in &mut self.extra {
            *column = column.take(&kept);
        }
        self.table.faults.sort_by_key(|fault| fault.index);
    }
}

/// The two ends of the axis in x, which a histogram must say for its seven numbers.
fn axis([low, high, ..]: [Option<f64>; 4]) -> std::result::Result<[f64; 2], String> {
    let (Some(low), Some(high)) = (low, high) else {
        return Err("an edge of the axis is missing; data.summary needs both".into());
    };
    match low < high && (high - low).is_finite() {
        true => Ok([low, high]),
        false => Err(format!(
            "the axis goes from {low} to {high}; data.summary needs two finite edges, the lower first"
        )),
    }
}

/// Edges as people write them: "0 to 2", of a map "0 to 2, 0 to 5".
pub fn show_edges(edges: [Option<f64>; 4]) -> String {
    let show = |edge: Option<f64>| edge.map_or_else(|| "?".into(), |edge| edge.to_string());
    let x = format!("{} to {}", show(edges[0]), show(edges[1]));
    if edges[2].or(edges[3]).is_none() {
        x
    } else {
        format!("{x}, {} to {}", show(edges[2]), show(edges[3]))
    }
}

/// The run or LS number of row `i`, where there is such a column.
pub fn identity(
    column: Option<&[f64]>,
    i: usize,
    what: &str,
) -> std::result::Result<Option<u32>, String> {
    let Some(number) = column.map(|column| column[i]) else { return Ok(None) };
    whole(number).map(Some).ok_or_else(|| {
        if number.is_nan() {
            format!("the {what} is missing")
        } else {
            format!("the {what} is {number}, not a whole number")
        }
    })
}

/// A whole number that fits.
pub fn whole(number: f64) -> Option<u32> {
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number))
        .then_some(number as u32)
}

/// Whether values are finite, and counts not negative.
pub fn is_sound(values: &[f32], counts: bool) -> bool {
    // Without an early end, so that many values are looked at in one instruction.
    if counts {
        values.iter().fold(true, |all, value| all & (*value >= 0.0) & (*value < f32::INFINITY))
    } else {
        values.iter().fold(true, |all, value| all & value.is_finite())
    }
}

/// The shape of so many values, and whether they have underflow and overflow bins, by the declared
/// numbers of bins.
fn place(count: usize, incoming: Incoming) -> std::result::Result<(Shape, bool), String> {
    let x = incoming.x_bins;
    let y = incoming.y_bins.filter(|y| *y > 1);
    match (incoming.shape, x, y) {
        (Some(shape), ..) if shape.y > 1 => {
            Ok((shape, x.is_some_and(|x| x.checked_add(2) == Some(shape.x))))
        }
        (_, Some(x), None) if count == x => Ok((Shape::line(x), false)),
        (_, Some(x), None) if x.checked_add(2) == Some(count) => Ok((Shape::line(count), true)),
        (_, Some(x), Some(y)) if x.checked_mul(y) == Some(count) => Ok((Shape { y, x }, false)),
        (_, Some(x), Some(y))
            if x.checked_add(2).zip(y.checked_add(2)).and_then(|(x, y)| x.checked_mul(y))
                == Some(count) =>
        {
            Ok((Shape { y: y + 2, x: x + 2 }, true))
        }
        (_, Some(x), None) => {
            Err(format!("{count} bins in the histogram, but the number of bins says {x}"))
        }
        (_, Some(x), Some(y)) => {
            Err(format!("{count} bins in the map, but the numbers of bins say {x} × {y}"))
        }
        (_, None, _) => Ok((Shape::line(count), false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_follow_the_declared_bins() {
        let place = |count, x_bins, y_bins| {
            place(count, Incoming { x_bins, y_bins, ..Incoming::default() })
        };
        assert_eq!(place(7, None, None), Ok((Shape::line(7), false)));
        assert_eq!(place(100, Some(100), Some(1)), Ok((Shape::line(100), false)));
        assert_eq!(place(102, Some(100), Some(0)), Ok((Shape::line(102), true)));
        assert_eq!(place(6, Some(3), Some(2)), Ok((Shape { y: 2, x: 3 }, false)));
        assert_eq!(place(20, Some(3), Some(2)), Ok((Shape { y: 4, x: 5 }, true)));
        assert!(place(7, Some(3), Some(2)).unwrap_err().contains("3 × 2"));
        assert!(place(7, Some(usize::MAX), Some(usize::MAX)).is_err());
    }

    #[test]
    fn unsound_rows_are_faults_and_leave_no_values_behind() {
        let wanted = Wanted::default();
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
        let wanted = Wanted { missing: vec![-999.0], keeps_missing: true, ..Wanted::default() };
        let mut builder =
            Builder::new(Path::new("x"), Format::Csv, vec![], Holds::Histograms, vec![], &wanted);
        builder.values().extend([1.0, -999.0, f32::NAN, 4.0, f32::INFINITY, 6.0, -6.0, 8.0]);
        // Values that were sound as they were read may still stand for missing ones.
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
