//! Time to read a CSV of histograms: `cargo bench --bench read_csv -- FILE [--json]`.

use lumisift::data::table::{Wanted, read};
use std::{path::Path, time::Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(file) = arguments.iter().find(|argument| !argument.starts_with("--")) else {
        println!("read_csv: name a file to read: cargo bench --bench read_csv -- FILE [--json]");
        return;
    };
    let mut best = f64::INFINITY;
    let mut rows = 0;
    for _ in 0..5 {
        let clock = Instant::now();
        rows = read(Path::new(file), &Wanted::default()).expect("a readable file").rows.len();
        best = best.min(clock.elapsed().as_secs_f64());
    }
    println!("{{\"rows\": {rows}, \"seconds\": {best:.6}}}");
}
