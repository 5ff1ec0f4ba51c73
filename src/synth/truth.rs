//! Truth files: the anomalies of synthetic data.

use crate::{
    data::side_table::SideTable,
    error::{Error, Result},
};
use std::path::Path;

/// The rows of a truth file: (file or run, first LS, last LS, kind).
pub fn read_truth(path: &Path) -> Result<Vec<(String, u32, u32, String)>> {
    const EXPECTED: &str = "file (or run),first_ls,last_ls,anomaly";
    let table = SideTable::open(path)?;
    if table.header().iter().skip(1).take(2).any(|name| name.parse::<f64>().is_ok()) {
        return Err(Error::input(format!(
            "{}: found {} as the first row; expected a header: {EXPECTED}",
            path.display(),
            table.header().join(",")
        )));
    }
    let mut truth = vec![];
    table.all(|place, fields| {
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
        match (fields.first(), number(1), number(2), fields.get(3)) {
            (Some(file), Some(first), Some(last), Some(kind)) if first <= last => {
                truth.push((file.to_string(), first, last, kind.to_string()))
            }
            _ => {
                return Err(
                    place.wrong(format!("found \"{}\"; expected {EXPECTED}", fields.join(",")))
                );
            }
        }
        Ok(())
    })?;
    Ok(truth)
}
