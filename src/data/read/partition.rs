//! Folders of partitioned files, such as `run=297050`.

use super::usual_names::is_run;
use std::path::Path;

/// The run in the names of the folders of a partitioned file, and notes on other columns there.
pub fn of_partition(path: &Path) -> (Option<u32>, Vec<String>) {
    let names = path
        .ancestors()
        .skip(1)
        .filter_map(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned());
    let (mut run, mut notes) = (None, vec![]);
    for name in names {
        let Some((column, value)) = partition(&name) else { continue };
        match (is_run(column) && run.is_none(), value.parse()) {
            (true, Ok(number)) => run = Some(number),
            _ => notes.push(format!(
                "the value in the folder name {name} is not read; write it as a column to use it"
            )),
        }
    }
    (run, notes)
}

/// The column and the value in the name of a partition's folder: `run=297050`.
pub fn partition(name: &str) -> Option<(&str, &str)> {
    name.split_once('=').filter(|(column, value)| !column.is_empty() && !value.is_empty())
}
