//! `normalisation.parquet`: what the bins of each layer are on average, one row a bin; a scaling of
//! another era can divide by it.

use crate::{
    config::data::Data,
    data::{
        Samples,
        channels::ALL_FEATURES,
        read::{ReadOptions, read_file},
        shape::Shape,
        table::{Column, Table},
    },
    error::{Error, Result, listed, suggestion},
    files::tables,
    prepare::scale::Scaler,
};
use arrow_array::{ArrayRef, Float64Array, StringArray, UInt32Array};
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// A layer's name, monitoring element, shape and first value.
type Map<'s> = (&'s str, Option<&'s str>, Shape, usize);

/// The layers of samples, or all their values as one.
fn maps(samples: &Samples) -> Vec<Map<'_>> {
    if samples.layers.is_empty() {
        return vec![(ALL_FEATURES, samples.element.as_deref(), samples.shape, 0)];
    }
    samples
        .layers
        .iter()
        .map(|layer| {
            (layer.name.as_str(), Some(layer.element.as_str()), layer.shape, layer.columns.start)
        })
        .collect()
}

/// Writes `layer, element, x, y, x_bins, y_bins, mean, rows`, where the scaling has a step
/// "bin-mean".
pub fn write(path: &Path, samples: &Samples, scaler: &Scaler) -> Result<()> {
    let Some(means) = scaler.bin_means() else { return Ok(()) };
    let maps = maps(samples);
    let bins: Vec<(&Map<'_>, usize)> =
        maps.iter().flat_map(|map| (0..map.2.width()).map(move |bin| (map, bin))).collect();
    let texts = |of: fn(&Map<'_>) -> Option<String>| -> ArrayRef {
        Arc::new(bins.iter().map(|(map, _)| of(map)).collect::<StringArray>())
    };
    let numbers = |of: fn(Shape, usize) -> usize| -> ArrayRef {
        Arc::new(
            bins.iter().map(|(map, bin)| Some(of(map.2, *bin) as u32)).collect::<UInt32Array>(),
        )
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("layer", texts(|map| Some(map.0.to_owned()))),
        ("element", texts(|map| map.1.map(str::to_owned))),
        ("x", numbers(|shape, bin| bin % shape.x)),
        ("y", numbers(|shape, bin| bin / shape.x)),
        ("x_bins", numbers(|shape, _| shape.x)),
        ("y_bins", numbers(|shape, _| shape.y)),
        (
            "mean",
            Arc::new(
                bins.iter().map(|(map, bin)| Some(means[map.3 + bin])).collect::<Float64Array>(),
            ),
        ),
        ("rows", Arc::new(bins.iter().map(|_| Some(scaler.rows as u32)).collect::<UInt32Array>())),
    ];
    tables::write(path, &tables::of_columns(columns)?)
}

/// Reads what each bin of samples is divided by. Layers are known by their monitoring element,
/// where the file names elements, else by their name.
pub fn read(path: &Path, samples: &Samples) -> Result<Vec<f64>> {
    const TEXTS: [&str; 2] = ["layer", "element"];
    const NUMBERS: [&str; 5] = ["x", "y", "x_bins", "y_bins", "mean"];
    let mut data = Data::default();
    data.columns.features = vec!["mean".into()];
    let required = TEXTS.iter().chain(&NUMBERS).map(|name| (*name).to_owned()).collect();
    let wrong = |message: String| Error::input(format!("scale.reference: {message}"));
    let table = read_file(path, &ReadOptions::new(&data).with_columns(required, vec![]))
        .map_err(|error| error.map(|message| wrong(message).to_string()))?;
    if let Some(fault) = table.faults.first() {
        return Err(wrong(format!("{}: {}", table.place(fault.line, fault.index), fault.reason)));
    }
    let place = |row: usize| table.place(table.rows[row].line, table.rows[row].index);
    let number = |name: &str, row: usize| match table.columns.get(name) {
        Some(Column::Numbers(numbers)) => numbers[row],
        _ => f64::NAN,
    };
    let mut divisors = vec![f64::NAN; samples.width()];
    for (name, element, shape, start) in maps(samples) {
        let own = rows_of(&table, name, element);
        if own.is_empty() {
            let known: BTreeSet<String> =
                (0..table.rows.len()).map(|row| said(&table, row)).collect();
            let names = || known.iter().map(String::as_str);
            let what =
                element.map_or_else(|| name.to_owned(), |element| format!("{name} ({element})"));
            return Err(wrong(format!(
                "{}: has no layer {what}{}; it has {}",
                path.display(),
                suggestion(&what, names()),
                listed(names())
            )));
        }
        for row in own {
            let (x_bins, y_bins) = (number("x_bins", row), number("y_bins", row));
            if (x_bins, y_bins) != (shape.x as f64, shape.y as f64) {
                return Err(wrong(format!(
                    "{}: {name} has {x_bins} × {y_bins} bins there, but {} × {} here",
                    place(row),
                    shape.x,
                    shape.y
                )));
            }
            let (x, y, mean) = (number("x", row), number("y", row), number("mean", row));
            let inside =
                |at: f64, bins: usize| at.fract() == 0.0 && (0.0..bins as f64).contains(&at);
            if !inside(x, shape.x) || !inside(y, shape.y) {
                return Err(wrong(format!(
                    "{}: {name} has no bin x {x}, y {y}; expected 0 to {}, 0 to {}",
                    place(row),
                    shape.x - 1,
                    shape.y - 1
                )));
            }
            if !(mean >= 0.0 && mean.is_finite()) {
                return Err(wrong(format!(
                    "{}: the mean is {mean}; expected a number that is not negative",
                    place(row)
                )));
            }
            let divisor = &mut divisors[start + y as usize * shape.x + x as usize];
            if !divisor.is_nan() {
                return Err(wrong(format!(
                    "{}: bin x {x}, y {y} of {name} is there twice",
                    place(row)
                )));
            }
            *divisor = mean;
        }
        if let Some(bin) =
            divisors[start..start + shape.width()].iter().position(|divisor| divisor.is_nan())
        {
            let (x, y) = (bin % shape.x, bin / shape.x);
            return Err(wrong(format!(
                "{}: bin x {x}, y {y} of {name} is missing",
                path.display()
            )));
        }
    }
    Ok(divisors)
}

/// The rows of a layer: by element where both sides know it, else by name.
fn rows_of(table: &Table, name: &str, element: Option<&str>) -> Vec<usize> {
    let text = |column: &str, row: usize| {
        table.columns.get(column).map(|column| column.text(row)).unwrap_or_default()
    };
    let is_own = |row: &usize| match (element, text("element", *row)) {
        (Some(element), known) if !known.is_empty() => known == element,
        _ => text("layer", *row) == name,
    };
    (0..table.rows.len()).filter(is_own).collect()
}

/// Name and element of a row's layer.
fn said(table: &Table, row: usize) -> String {
    let text =
        |column: &str| table.columns.get(column).map(|column| column.text(row)).unwrap_or_default();
    let (layer, element) = (text("layer"), text("element"));
    if element.is_empty() { layer } else { format!("{layer} ({element})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{
            data::Fill,
            scale::{Constant, FitOn, ScaleKind},
        },
        data::layers::Layer,
        prepare::{floors::Contents, scale::Plan},
    };

    fn samples() -> Samples {
        let layer = |name: &str, shape: Shape, start: usize| Layer {
            name: name.into(),
            element: format!("D/occupancy_{name}"),
            shape,
            edges: [None; 4],
            columns: start..start + shape.width(),
        };
        Samples {
            shape: Shape::line(8),
            layers: vec![
                layer("L_1", Shape { y: 2, x: 3 }, 0),
                layer("L_2", Shape { y: 1, x: 2 }, 6),
            ],
            ..Samples::default()
        }
    }

    /// What is written for two rows, and the folder it lies in.
    fn written() -> (tempfile::TempDir, std::path::PathBuf) {
        let rows: [&[f32]; 2] =
            [&[1., 2., 3., 4., 5., 6., 0., 8.], &[3., 4., 5., 6., 7., 8., 0., 10.]];
        let (kinds, layers) = (vec![ScaleKind::BinMean], vec![6, 2]);
        let scaler = Scaler::fit(
            Plan {
                kinds,
                fit_on: FitOn::Train,
                constant: Constant::Floor,
                contents: Contents::Counts(1.0),
                width: 8,
                layers,
                reference: vec![],
                clip: None,
                added: None,
                fill: Fill::Reject,
            },
            &rows,
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("normalisation.parquet");
        write(&path, &samples(), &scaler).unwrap();
        (folder, path)
    }

    #[test]
    fn what_is_written_is_read_by_element() {
        let (_folder, path) = written();
        assert_eq!(read(&path, &samples()).unwrap(), [2., 3., 4., 5., 6., 7., 0., 9.]);
        let mut second = samples();
        second.layers.remove(0);
        (second.layers[0].name, second.layers[0].columns, second.shape) =
            ("other".into(), 0..2, Shape::line(2));
        assert_eq!(read(&path, &second).unwrap(), [0., 9.]);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let (folder, path) = written();
        let told = |change: &dyn Fn(&mut Samples)| {
            let mut samples = samples();
            change(&mut samples);
            read(&path, &samples).unwrap_err().to_string()
        };
        let message = told(&|samples| samples.layers[1].element = "D/occupancy_L_3".into());
        assert!(
            message.contains("has no layer L_2 (D/occupancy_L_3) (did you mean")
                && message.contains("L_2 (D/occupancy_L_2)"),
            "{message}"
        );
        let message = told(&|samples| samples.layers[0].shape = Shape { y: 3, x: 2 });
        assert!(message.contains("L_1 has 3 × 2 bins there, but 2 × 3 here"), "{message}");
        for (text, part) in [
            ("a,b\n1,2\n", "no column \"layer\""),
            (
                "layer,element,x,y,x_bins,y_bins,mean\nL_1,,0,0,2,1,-1\nL_1,,1,0,2,1,1\n",
                ":2: the mean is -1; expected",
            ),
            ("layer,element,x,y,x_bins,y_bins,mean\nL_1,,0,0,2,1,nan\n", ":2: \"mean\" is nan"),
            (
                "layer,element,x,y,x_bins,y_bins,mean\nL_1,,0,0,2,1,1\n",
                "bin x 1, y 0 of L_1 is missing",
            ),
            (
                "layer,element,x,y,x_bins,y_bins,mean\nL_1,,0,0,2,1,1\nL_1,,0,0,2,1,1\n",
                "is there twice",
            ),
            ("layer,element,x,y,x_bins,y_bins,mean\nL_1,,2,0,2,1,1\n", "has no bin x 2, y 0"),
        ] {
            let path = folder.path().join("other.csv");
            std::fs::write(&path, text).unwrap();
            let mut samples = samples();
            samples.layers.truncate(1);
            (samples.layers[0].shape, samples.layers[0].columns, samples.shape) =
                (Shape::line(2), 0..2, Shape::line(2));
            let message = read(&path, &samples).unwrap_err().to_string();
            assert!(
                message.contains(part) && message.starts_with("scale.reference: "),
                "{message}"
            );
        }
    }
}
