//! Time to read a file: `cargo bench --bench read -- FILE [--json]`.

use lumisift::data::read::{ReadOptions, read_file};
use std::{path::Path, time::Instant};

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(file) = arguments.iter().find(|argument| !argument.starts_with("--")) else {
        println!("read: name a file to read: cargo bench --bench read -- FILE [--json]");
        return;
    };
    let mut best = f64::INFINITY;
    let mut rows = 0;
    for _ in 0..5 {
        let clock = Instant::now();
        let table = read_file(Path::new(file), &ReadOptions::default()).expect("a readable file");
        best = best.min(clock.elapsed().as_secs_f64());
        rows = table.rows.len();
    }
    println!("{{\"rows\": {rows}, \"seconds\": {best:.6}}}");
}
