//! The scaling in the graph.

use super::building::{Building, Gaps, port, sum};
use crate::{
    config::scale::ScaleKind,
    export::onnx::{Attribute, Graph, Kind, Port, Value},
    prepare::{finite, scale::Scaler, step::Step},
};

impl Building<'_> {
    /// The inputs of the networks, `[N, inputs]`: scaled bins and quantities beside them. With them
    /// come the conditions on which a row is evaluated, `[N]` each: all numbers are finite and not
    /// too large, before and after scaling, and nothing is divided by 0.
    pub(super) fn scaled(&mut self, read: &Value) -> (Value, Vec<Value>) {
        let Scaler { steps, added, layers, clip, .. } = &self.model.scaler;
        let mut inputs = 0;
        let mut further = |graph: &mut Graph, names: &[String], description: &str| {
            inputs += 1;
            let port = port(&format!("input_{inputs}"), Kind::Float, &[names.len()], description);
            graph.input(Port { columns: names.to_vec(), ..port })
        };
        let added = added.as_ref().map(|added| {
            (
                added,
                further(
                    &mut self.graph,
                    &added.names,
                    "quantities beside the bins (data.add_inputs), as they are",
                ),
            )
        });
        let (mut bins, mut evaluated) = (read.clone(), vec![]);
        if let Some(quantity) = self.model.experiment.scale.divide_by.as_ref() {
            let divisor = further(
                &mut self.graph,
                &[quantity.to_string()],
                "what every bin is divided by (scale.divide_by)",
            );
            bins = self.divided(&bins, &divisor);
            evaluated.push(self.divides(&divisor));
        }
        evaluated.push(self.within(&bins, finite::LARGEST_CONTENT));
        bins = self.fill(&bins, false);
        for step in steps {
            if step.kind.by_row() {
                bins = self.without_gaps(&bins);
            }
            bins = if step.kind.by_row() && !layers.is_empty() {
                self.by_layer(step, layers, &bins)
            } else {
                self.step(step, self.model.scaler.width, &bins)
            };
        }
        if let Some(clip) = clip {
            // NaN stays, as in what follows: operators such as Min differ in that between runtimes.
            let clip = self.graph.floats(&[*clip as f32], &[]);
            let above = self.graph.node("Greater", &[&bins, &clip], &[]);
            bins = self.graph.node("Where", &[&above, &clip, &bins], &[]);
        }
        bins = self.fill(&bins, true);
        if let Some((added, quantities)) = added {
            evaluated.push(self.within(&quantities, finite::LARGEST_CONTENT));
            let quantities = self.step(&added.step, added.names.len(), &quantities);
            bins = self.graph.node(
                "Concat",
                &[&bins, &quantities],
                &[("axis", Attribute::Integer(1))],
            );
        }
        evaluated.push(self.within(&bins, finite::LARGEST_INPUT));
        (bins, evaluated)
    }

    /// A step that goes by the row, for each layer by itself.
    pub(super) fn by_layer(&mut self, step: &Step, layers: &[usize], rows: &Value) -> Value {
        let parts = self.layers_of(layers, rows);
        let gaps = self.gaps.take();
        let missing = gaps.as_ref().map(|gaps| self.layers_of(layers, &gaps.missing));
        let mut scaled = vec![];
        for (at, (layer, bins)) in parts.iter().zip(layers).enumerate() {
            self.gaps = missing.as_ref().map(|missing| Gaps { missing: missing[at].clone() });
            scaled.push(self.step(step, *bins, layer));
        }
        self.gaps = gaps;
        self.graph.node(
            "Concat",
            &scaled.iter().collect::<Vec<_>>(),
            &[("axis", Attribute::Integer(1))],
        )
    }

    /// A step of scaling of so many inputs.
    pub(super) fn step(&mut self, step: &Step, inputs: usize, rows: &Value) -> Value {
        let count = (step.kind == ScaleKind::MeanOne).then(|| self.bins_present(inputs));
        let graph = &mut self.graph;
        // What is divided by infinity is 0.
        let divisor = || {
            step.divisor
                .iter()
                .map(|divisor| if *divisor == 0.0 { f64::INFINITY } else { *divisor })
        };
        let width = [step.divisor.len()];
        match step.kind {
            ScaleKind::None => rows.clone(),
            ScaleKind::Sqrt => {
                let zero = graph.floats(&[0.0], &[]);
                let negative = graph.node("Less", &[rows, &zero], &[]);
                let positive = graph.node("Where", &[&negative, &zero, rows], &[]);
                graph.node("Sqrt", &[&positive], &[])
            }
            ScaleKind::Log1p => {
                let (zero, one) = (graph.double(0.0), graph.double(1.0));
                let rows = graph.cast(rows, Kind::Double);
                let negative = graph.node("Less", &[&rows, &zero], &[]);
                let positive = graph.node("Where", &[&negative, &zero, &rows], &[]);
                let more = graph.node("Add", &[&positive, &one], &[]);
                let log = graph.node("Log", &[&more], &[]);
                graph.cast(&log, Kind::Float)
            }
            ScaleKind::UnitArea | ScaleKind::MeanOne => {
                let rows = graph.cast(rows, Kind::Double);
                let zero = graph.double(0.0);
                let area = sum(graph, &rows, true);
                let lacks = graph.node("LessOrEqual", &[&area, &zero], &[]);
                let whole = count
                    .map_or_else(|| area.clone(), |count| graph.node("Div", &[&area, &count], &[]));
                let share = graph.node("Div", &[&rows, &whole], &[]);
                let share = graph.node("Where", &[&lacks, &zero, &share], &[]);
                graph.cast(&share, Kind::Float)
            }
            ScaleKind::MinMax => {
                let shift = graph.floats(
                    &step.shift.iter().map(|shift| *shift as f32).collect::<Vec<_>>(),
                    &width,
                );
                let divisor = graph
                    .floats(&divisor().map(|divisor| divisor as f32).collect::<Vec<_>>(), &width);
                let shifted = graph.node("Sub", &[rows, &shift], &[]);
                graph.node("Div", &[&shifted, &divisor], &[])
            }
            ScaleKind::Range
            | ScaleKind::Standard
            | ScaleKind::Robust
            | ScaleKind::BinMean
            | ScaleKind::Reference => {
                let (shift, divisor) = (
                    graph.doubles(&step.shift, &width),
                    graph.doubles(&divisor().collect::<Vec<_>>(), &width),
                );
                let rows = graph.cast(rows, Kind::Double);
                let shifted = graph.node("Sub", &[&rows, &shift], &[]);
                let scaled = graph.node("Div", &[&shifted, &divisor], &[]);
                graph.cast(&scaled, Kind::Float)
            }
        }
    }

    /// Whether a row has a bin that is not 0, `[N]`.
    pub(super) fn filled(&mut self, read: &Value) -> Value {
        let graph = &mut self.graph;
        let size = graph.node("Abs", &[read], &[]);
        let sum = sum(graph, &size, false);
        let zero = graph.floats(&[0.0], &[]);
        graph.node("Greater", &[&sum, &zero], &[])
    }
}
