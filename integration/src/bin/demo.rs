//! Shell: `causeway-demo`: arguments and exit status of the demo. 1 when a step differs, 2 when this machine cannot run it.
#![expect(
    clippy::print_stdout,
    reason = "the output of a program for a person at a terminal"
)]

use std::process::ExitCode;

use causeway_integration::demo::{self, Options, breaks::BREAKS};
use causeway_integration::lab;
use clap::{Parser, Subcommand};

const EXIT_UNSUPPORTED: u8 = 2;

#[derive(Parser)]
#[command(about = "Two clusters, one service, real packets")]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Take one piece out; the demo must then fail (`help` lists the pieces)
    #[arg(long = "break", value_name = "NAME")]
    without: Option<String>,
    /// Leave the lab up at the end and say how to enter it
    #[arg(long)]
    keep: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Remove every namespace, pin and process of every lab
    Down,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.without.as_deref() == Some("help") {
        for (name, what) in BREAKS {
            println!("{name:20} {what}");
        }
        return ExitCode::SUCCESS;
    }
    if let Some(reason) = lab::cannot_run() {
        eprintln!("causeway-demo: {reason}");
        return ExitCode::from(EXIT_UNSUPPORTED);
    }
    let outcome = match args.command {
        Some(Command::Down) => lab::remove_all().map(|(count, in_use)| {
            println!("removed {count} things");
            for tag in &in_use {
                println!("a live process is at work in the lab {tag:?}: end that one first");
            }
            in_use.is_empty()
        }),
        None => lab::clean_up_on_signals(lab::DEMO).and_then(|()| {
            demo::run(&Options {
                without: args.without,
                keep: args.keep,
            })
        }),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("causeway-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
