//! Shell: prints what the programs cost: {name, unit, min, median, max, promise}, as JSON lines or for people.
#![expect(clippy::print_stdout, reason = "figures are what this program is for")]

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use causeway_integration::bench::{self, Gate, Part, Point};
use causeway_integration::lab;
use clap::{Parser, ValueEnum};

/// What the programs cost: their own packets, all others, and a node's traffic as a whole. Needs root and
/// CAUSEWAY_EBPF_OBJECT; exit code 1 when a promise is not kept.
#[derive(Parser)]
struct Arguments {
    /// What to measure; all of it when nothing is named.
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Choice>,
    /// How figures are printed.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    /// The packets of the clusterset, by test runs.
    Walk,
    /// All other packets, by test runs; at most 40 ns.
    Passing,
    /// A node's own traffic without and with an agent, in pairs.
    Paired,
    /// Between two clusters, encrypted, against user-space WireGuard (`gotatun` and `boringtun-cli`), in turns.
    Tunnel,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match lab::clean_up_on_signals("bench").and_then(|()| figures(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all promises were kept.
fn figures(arguments: &Arguments) -> Result<bool> {
    let object = std::env::var_os("CAUSEWAY_EBPF_OBJECT")
        .context("CAUSEWAY_EBPF_OBJECT must name the built programs; root is needed")?;
    let mut parts: Vec<Part> = arguments.parts.iter().map(|choice| choice.part()).collect();
    if parts.is_empty() {
        parts = vec![Part::Walk, Part::Passing, Part::Paired, Part::Tunnel];
    }
    let mut kept = true;
    let mut tell = |point: Point| {
        kept &= point.promise.as_ref().is_none_or(|promise| promise.kept);
        kept &= point.held.unwrap_or(true);
        println!("{}", shown(&point, arguments.output));
    };
    bench::run(&PathBuf::from(object), &parts, &mut tell)?;
    Ok(kept)
}

impl Choice {
    const fn part(self) -> Part {
        match self {
            Self::Walk => Part::Walk,
            Self::Passing => Part::Passing,
            Self::Paired => Part::Paired,
            Self::Tunnel => Part::Tunnel,
        }
    }
}

fn shown(point: &Point, output: Output) -> String {
    if let Output::Json = output {
        return serde_json::to_string(point).unwrap_or_default();
    }
    let digits = if point.max < 100.0 && point.unit != "ns/packet" {
        2
    } else {
        0
    };
    let promise = point.promise.as_ref().map(|promise| {
        let mark = if promise.kept { "ok" } else { "NOT KEPT" };
        format!("  [{mark}: {}]", promise.text)
    });
    let gate = point.gate.zip(point.held).map(|(gate, held)| {
        let mark = if held { "ok" } else { "MISSED" };
        let bound = match gate {
            Gate::AtLeast(bound) => format!("at least {bound}"),
            Gate::AtMost(bound) => format!("at most {bound}"),
        };
        format!("  [{mark}: {bound}]")
    });
    format!(
        "{:>6.digits$} {:>6.digits$} {:>6.digits$} {}  {}{}{}",
        point.min,
        point.median,
        point.max,
        point.unit,
        point.name,
        promise.unwrap_or_default(),
        gate.unwrap_or_default()
    )
}
