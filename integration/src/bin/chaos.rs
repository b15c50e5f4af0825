//! Shell: `causeway-chaos`: arguments and exit status of the chaos run. 1 when something was wrong, 2 when this machine cannot
//! run it.
#![expect(
    clippy::print_stdout,
    reason = "the output of a program for a person at a terminal"
)]

use std::process::ExitCode;
use std::time::Duration;

use causeway_integration::chaos::{self, Options, TAG};
use causeway_integration::lab;
use clap::Parser;

const EXIT_UNSUPPORTED: u8 = 2;

#[derive(Parser)]
#[command(about = "Three clusters under load while things go wrong")]
struct Args {
    /// No trouble begins after so many minutes
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Draws the troubles; drawn itself when absent, and printed
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(reason) = lab::cannot_run() {
        eprintln!("causeway-chaos: {reason}");
        return ExitCode::from(EXIT_UNSUPPORTED);
    }
    let Ok(time) = Duration::try_from_secs_f64(args.minutes * 60.0) else {
        eprintln!("causeway-chaos: --minutes: must be a number of minutes");
        return ExitCode::from(EXIT_UNSUPPORTED);
    };
    let seed = args.seed.unwrap_or_else(drawn);
    println!("chaos: seed {seed}");
    let options = Options { time, seed };
    let run = || chaos::run(&options, &mut |line| println!("{line}"));
    match lab::clean_up_on_signals(TAG).and_then(|()| run()) {
        Ok(count) => {
            println!("chaos: {count} troubles, nothing broken by any of them");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("chaos: FAILED: {error:#}");
            println!(
                "chaos: again: cargo xtask chaos --minutes {} --seed {seed}",
                args.minutes
            );
            ExitCode::FAILURE
        }
    }
}

/// Short enough to be typed again.
fn drawn() -> u64 {
    let mut bytes = [0; 4];
    // Without randomness it is the same every time, which is as good as another.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u32::from_le_bytes(bytes).into()
}
