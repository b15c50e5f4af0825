//! Shell: prints the programs' costs: {name, unit, min, median, max}, as JSON lines or for people.
#![expect(clippy::print_stdout, reason = "figures are what this program is for")]

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use causeway_integration::bench;
use clap::{Parser, ValueEnum};

/// ns per packet of each program, by test runs in the kernel. Needs root and CAUSEWAY_EBPF_OBJECT.
#[derive(Parser)]
struct Arguments {
    /// How figures are printed.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    match figures(Arguments::parse().output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn figures(output: Output) -> Result<()> {
    let object = std::env::var_os("CAUSEWAY_EBPF_OBJECT")
        .context("CAUSEWAY_EBPF_OBJECT must name the built programs; root is needed")?;
    for point in bench::run(&PathBuf::from(object))? {
        match output {
            Output::Json => println!("{}", serde_json::to_string(&point)?),
            Output::Text => println!(
                "{:>6.0} {:>6.0} {:>6.0} {}  {}",
                point.min, point.median, point.max, point.unit, point.name
            ),
        }
    }
    Ok(())
}
