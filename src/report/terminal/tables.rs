//! Tables and bars of text.

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle,
};

const STYLE: TableStyle = TableStyle::new()
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// An empty table in our style.
pub fn table(header: &[&str], width: u16) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width).set_header(header);
    table
}

/// What a file says may stand in a message, but must not move the terminal's cursor.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Names are not broken.
pub(super) fn keep_whole(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// Numbers stand under each other.
pub(super) fn align_right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A number with so many digits behind the point, or by its power of ten where those would not show
/// it.
pub(super) fn number(value: f64, digits: usize) -> String {
    let small = value != 0.0 && value.abs() < 10.0_f64.powi(2 - digits as i32);
    if small || value.abs() >= 1e7 { format!("{value:.3e}") } else { format!("{value:.digits$}") }
}

pub(super) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Values as bars of eight heights, on a log scale or a linear one.
pub fn bars(values: &[f64], log: bool) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let logs: Vec<f64> =
        values.iter().map(|value| if log { value.max(1e-300).ln() } else { *value }).collect();
    let (low, high) = logs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| {
        (low.min(*log), high.max(*log))
    });
    let step = if high > low { 7.999 / (high - low) } else { 0.0 };
    logs.iter().map(|log| BARS[((log - low) * step) as usize]).collect()
}
