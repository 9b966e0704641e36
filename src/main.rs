//! The binary: words in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    apim_proxy::run::main(std::env::args().skip(1))
}
