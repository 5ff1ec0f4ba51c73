//! A graph in the making, and the operations that its parts share.

use crate::{
    experiment::trained::TrainedModel,
    export::onnx::{Attribute, Graph, Kind, Port, Value},
};

pub(super) struct Building<'a> {
    pub(super) graph: Graph,
    pub(super) model: &'a TrainedModel,
    /// Where inputs are missing, where rows with such are taken.
    pub(super) gaps: Option<Gaps>,
}

/// Where a row's bins or features are missing, `[N, width]`.
pub(super) struct Gaps {
    pub(super) missing: Value,
}

impl Building<'_> {
    /// Rows divided by a number each.
    pub(super) fn divided(&mut self, rows: &Value, divisor: &Value) -> Value {
        let (rows, divisor) =
            (self.graph.cast(rows, Kind::Double), self.graph.cast(divisor, Kind::Double));
        let quotient = self.graph.node("Div", &[&rows, &divisor], &[]);
        self.graph.cast(&quotient, Kind::Float)
    }

    /// Whether a row can be divided by its number, `[N]`: it is finite and not 0.
    pub(super) fn divides(&mut self, divisor: &Value) -> Value {
        let within = self.within(divisor, f32::MAX);
        let nonzero = self.filled(divisor);
        self.graph.node("And", &[&within, &nonzero], &[])
    }

    /// Whether no number of a row is NaN or beyond the largest, `[N]`.
    pub(super) fn within(&mut self, rows: &Value, largest: f32) -> Value {
        let graph = &mut self.graph;
        let (largest, zero) = (graph.floats(&[largest], &[]), graph.floats(&[0.0], &[]));
        let size = graph.node("Abs", &[rows], &[]);
        let fits = graph.node("LessOrEqual", &[&size, &largest], &[]);
        let beyond = graph.node("Not", &[&fits], &[]);
        let beyond = graph.cast(&beyond, Kind::Float);
        let beyond = sum(graph, &beyond, false);
        graph.node("Equal", &[&beyond, &zero], &[])
    }

    /// Whether a number in double precision is finite, row by row.
    pub(super) fn finite(&mut self, numbers: &Value) -> Value {
        let largest = self.graph.double(f64::MAX);
        let size = self.graph.node("Abs", &[numbers], &[]);
        self.graph.node("LessOrEqual", &[&size, &largest], &[])
    }

    /// The bins of each layer.
    pub(super) fn layers_of(&mut self, layers: &[usize], rows: &Value) -> Vec<Value> {
        let axis = self.graph.integers(&[1]);
        let mut start = 0;
        let mut part = |bins: &usize| {
            let (from, to) =
                (self.graph.integers(&[start]), self.graph.integers(&[start + *bins as i64]));
            start += *bins as i64;
            self.graph.node("Slice", &[rows, &from, &to, &axis], &[])
        };
        layers.iter().map(&mut part).collect()
    }

    /// The mean of some values of a kind.
    pub(super) fn mean(&mut self, values: &[Value], kind: Kind) -> Value {
        if let [only] = values {
            return only.clone();
        }
        let number = self.graph.double(values.len() as f64);
        let number = if kind == Kind::Double { number } else { self.graph.cast(&number, kind) };
        let sum = self.graph.node("Sum", &values.iter().collect::<Vec<_>>(), &[]);
        self.graph.node("Div", &[&sum, &number], &[])
    }

    /// The standard deviation (ddof 1) of the members' scores.
    pub(super) fn spread(&mut self, members: &[Value]) -> Value {
        let mean = self.mean(members, Kind::Double);
        let graph = &mut self.graph;
        let squares: Vec<Value> = members
            .iter()
            .map(|member| {
                let difference = graph.node("Sub", &[member, &mean], &[]);
                graph.node("Mul", &[&difference, &difference], &[])
            })
            .collect();
        let sum = graph.node("Sum", &squares.iter().collect::<Vec<_>>(), &[]);
        let divisor = graph.double(members.len() as f64 - 1.0);
        let variance = graph.node("Div", &[&sum, &divisor], &[]);
        graph.node("Sqrt", &[&variance], &[])
    }
}

/// The sum over the columns of each row: `[N, 1]` to be divided by, or `[N]`.
pub(super) fn sum(graph: &mut Graph, rows: &Value, keep: bool) -> Value {
    let columns = graph.integers(&[1]);
    graph.node("ReduceSum", &[rows, &columns], &[("keepdims", Attribute::Integer(i64::from(keep)))])
}

pub(super) fn port(name: &str, kind: Kind, lengths: &[usize], description: &str) -> Port {
    Port {
        name: name.into(),
        kind,
        lengths: lengths.to_vec(),
        description: description.into(),
        columns: vec![],
    }
}
