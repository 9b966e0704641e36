//! The binary: words in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    apim_proxy::run::main(std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()))
}
