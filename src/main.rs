//! Parse, run, exit code.

use muster::exit::Exit;

fn main() -> Exit {
    muster::cli::main(std::env::args_os())
}
