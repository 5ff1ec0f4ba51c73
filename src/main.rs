//! The `lumisift` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    lumisift::cli::main()
}
