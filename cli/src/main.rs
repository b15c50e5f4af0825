//! Shell: `causeway`: the command line of the status and admin API.

mod args;
mod channel;
mod client;
mod command;
mod failure;
mod identity;
mod kubernetes;
mod manifest;
mod print;
mod progress;
mod show;
mod text;
mod wait;

use std::process::ExitCode;

use clap::Parser as _;

use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(command::run(cli)),
        Err(e) => Err(Failure::refused(e)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print::note(&failure.to_string());
            ExitCode::from(failure.kind as u8)
        }
    }
}
