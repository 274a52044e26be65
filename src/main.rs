//! `fettle`, the operator's program.

fn main() -> std::process::ExitCode {
    fettle::cli::main()
}
