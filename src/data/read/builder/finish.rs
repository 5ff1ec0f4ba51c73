//! Finishes a table: checks monitoring elements and columns that must be equal, and keeps the most
//! common shape.

use super::Builder;
use crate::{
    data::{
        read::options::Detail,
        shape::Shape,
        table::{Fault, Table, TableRow, show_edges},
    },
    error::{Error, Result, listed},
};

impl Builder {
    /// The table. Fails if the choice of the monitoring element is ambiguous.
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

    /// Fails if columns that must be equal differ; only notes it if the file is just inspected.
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
                    self.table.notes.extend(note.filter(|_| self.detail != Detail::Identities))
                }
                Err(error) if self.detail == Detail::Values => return Err(error),
                Err(error) => self.table.notes.push(error.to_string()),
            }
        }
        Ok(())
    }

    /// Notes rows with different axes, whose bins have different meanings.
    fn tell_edges(&mut self) {
        let Some(other) = self.other_edges.filter(|_| self.detail == Detail::Values) else {
            return;
        };
        let first = std::mem::take(&mut self.table.edges);
        if self.table.axes.is_empty() {
            self.table.notes.push(format!(
                "rows differ in the axis of their histograms ({} and {}), so that a bin is not the same quantity in all of them; keep the rows of one axis",
                show_edges(first),
                show_edges(other)
            ));
        }
    }

    /// Fails if there are several monitoring elements and none is chosen.
    fn choose_element(&self) -> Result<()> {
        if self.wanted_me.is_some() || self.elements.len() < 2 || self.detail != Detail::Values {
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

    /// Converts rows whose shape is not the most common one to faults.
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
                let TableRow { run, ls, line, index } = self.table.rows[i];
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
