//! Missing inputs in the graph: NaN, or a number of `data.missing`, in what goes in.

use super::building::{Building, Gaps, sum};
use crate::{
    config::{data::Fill, score::ScoreKind},
    export::onnx::{Attribute, Kind, Value},
    prepare::missing::Filling,
};

impl Building<'_> {
    fn filling(&self) -> Option<&Filling> {
        self.model.scaler.filling.as_ref()
    }

    /// Whether missing inputs are left out.
    fn masks(&self) -> bool {
        self.filling().is_some_and(|filling| filling.fill == Fill::Mask)
    }

    /// What missing inputs look like, in the description of those that go in; nothing where there
    /// may be none.
    pub(super) fn told_missing(&self) -> String {
        let numbers = &self.model.experiment.data.missing;
        let more: String = numbers.iter().map(|number| format!(", {number}")).collect();
        self.filling().map_or_else(String::new, |_| format!("; missing ones are NaN{more}"))
    }

    /// Finds where inputs are missing, where rows with such are taken, and gives the inputs with 0
    /// there.
    pub(super) fn find_gaps(&mut self, read: Value) -> Value {
        if self.filling().is_none() {
            return read;
        }
        let mut missing = self.graph.node("IsNaN", &[&read], &[]);
        for number in &self.model.experiment.data.missing {
            let number = self.graph.floats(&[*number as f32], &[]);
            let same = self.graph.node("Equal", &[&read, &number], &[]);
            missing = self.graph.node("Or", &[&missing, &same], &[]);
        }
        self.gaps = Some(Gaps { missing });
        self.zeros(&read)
    }

    fn zeros(&mut self, rows: &Value) -> Value {
        let Some(gaps) = &self.gaps else { return rows.clone() };
        let zero = self.graph.floats(&[0.0], &[]);
        self.graph.node("Where", &[&gaps.missing, &zero, rows], &[])
    }

    /// Rows in which bins that are left out add nothing to a sum.
    pub(super) fn without_gaps(&mut self, rows: &Value) -> Value {
        if self.masks() { self.zeros(rows) } else { rows.clone() }
    }

    /// What takes the place of missing bins: before they are scaled, or, where they are left out,
    /// when they are `scaled`.
    pub(super) fn fill(&mut self, rows: &Value, scaled: bool) -> Value {
        let width = self.model.scaler.width;
        let (Some(gaps), Some(filling)) = (&self.gaps, &self.model.scaler.filling) else {
            return rows.clone();
        };
        if (filling.fill == Fill::Mask) != scaled {
            return rows.clone();
        }
        let values = self.graph.floats(&filling.values[..width], &[width]);
        self.graph.node("Where", &[&gaps.missing, &values, rows], &[])
    }

    /// How many of the bins are present, `[N, 1]` or one number for all rows.
    pub(super) fn bins_present(&mut self, bins: usize) -> Value {
        match self.gaps.as_ref().filter(|_| self.masks()).map(|gaps| gaps.missing.clone()) {
            Some(missing) => self.present(&missing, true),
            None => self.graph.double(bins as f64),
        }
    }

    /// How many inputs are present, `[N]` or `[N, 1]`, in double precision.
    fn present(&mut self, missing: &Value, keep: bool) -> Value {
        let present = self.graph.node("Not", &[missing], &[]);
        let present = self.graph.cast(&present, Kind::Double);
        sum(&mut self.graph, &present, keep)
    }

    /// Whether enough inputs are present for a row to be evaluated, `[N]`.
    pub(super) fn enough(&mut self) -> Option<Value> {
        let missing = self.gaps.as_ref()?.missing.clone();
        let present = self.present(&missing, false);
        // A row without any input is not evaluated, whatever the least share.
        let least = self.model.experiment.data.min_present.unwrap_or_default()
            * self.model.scaler.width as f64;
        let least = self.graph.double(least.max(1.0));
        Some(self.graph.node("GreaterOrEqual", &[&present, &least], &[]))
    }

    /// Which inputs of a channel are missing and left out, `[N, inputs]`, by their places among
    /// all.
    pub(super) fn missing_of(&mut self, places: &[i64]) -> Option<Value> {
        let missing = self.gaps.as_ref().filter(|_| self.masks())?.missing.clone();
        let width = self.model.scaler.width;
        if places.iter().copied().eq(0..width as i64) {
            return Some(missing);
        }
        // Quantities beside the bins are never missing: they stand behind, in a column that is
        // false.
        let never = self.graph.node("Not", &[&missing], &[]);
        let never = self.graph.node("And", &[&missing, &never], &[]);
        let all =
            self.graph.node("Concat", &[&missing, &never], &[("axis", Attribute::Integer(1))]);
        let places: Vec<i64> = places.iter().map(|place| (*place).min(width as i64)).collect();
        let places = self.graph.integers(&places);
        Some(self.graph.node("Gather", &[&all, &places], &[("axis", Attribute::Integer(1))]))
    }

    /// Whether a row has any input of a channel, `[N]`.
    pub(super) fn any_present(&mut self, missing: &Value) -> Value {
        let present = self.present(missing, false);
        let zero = self.graph.double(0.0);
        self.graph.node("Greater", &[&present, &zero], &[])
    }

    /// The error of each row over the inputs that are present, as if they were all.
    pub(super) fn error_of_present(
        &mut self,
        kind: ScoreKind,
        features: usize,
        of_feature: &Value,
        missing: &Value,
    ) -> Value {
        let zero = self.graph.double(0.0);
        let known = self.graph.node("Where", &[missing, &zero, of_feature], &[]);
        let present = self.present(missing, false);
        let factor = self.graph.double(features as f64 / kind.divisor(features));
        let sum = sum(&mut self.graph, &known, false);
        let scaled = self.graph.node("Mul", &[&sum, &factor], &[]);
        self.graph.node("Div", &[&scaled, &present], &[])
    }
}
