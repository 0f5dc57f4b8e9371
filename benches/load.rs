//! The program of `scripts/load`: see there, and `load/mod.rs`.

#[path = "load/mod.rs"]
mod load;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    load::main(&std::env::args().skip(1).collect::<Vec<String>>())
}
