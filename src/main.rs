//! The `lumisift` program.

use std::process::ExitCode;

// Large buffers come and go while files are read; glibc would hand each back to the system and fault it in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lumisift::cli::main()
}
