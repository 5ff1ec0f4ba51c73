//! Appends parts of the same file to each other.

use super::Builder;
use crate::data::table::{Column, Fault, Summary, TableRow};

impl Builder {
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
        let moved = |row: TableRow| TableRow {
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
}
