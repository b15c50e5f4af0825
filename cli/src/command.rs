//! Shell: one file per command: parse, call, print.

mod ca;
mod doctor;
mod drops;
mod enroll;
mod join;
mod leave;
mod login;
mod peers;
mod resolve;
mod revoke;
mod services;
mod status;
mod token;
mod whois;

use std::time::Duration;

use crate::args::{CaCommand, Cli, Command, PeerCommand};
use crate::client::Client;
use crate::failure::Failure;
use crate::kubernetes::Need;
use crate::progress::Progress;

/// A diagnosis waits for what does not answer, at both ends.
const DOCTOR: Duration = Duration::from_secs(30);

/// Runs what the command line says.
///
/// # Errors
/// When it was not done.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let mut global = cli.global;
    if matches!(cli.command, Command::Doctor { .. }) {
        global.timeout = global.timeout.max(DOCTOR);
    }
    if let Command::Login(args) = &cli.command {
        return login::run(args, &global).await;
    }
    if let Command::Join(args) = &cli.command
        && args.manifests
    {
        return join::manifests(args, &global);
    }
    let progress = Progress::start(global.verbose);
    let client = Client::connect(&global, need(&cli.command), progress).await?;
    let output = global.output;
    match cli.command {
        Command::Token { command } => token::run(command, &client, &global).await,
        Command::Join(args) => join::run(args, client, &global, progress).await,
        Command::Enroll(args) => enroll::run(args, &client, output).await,
        Command::Login(_) => Ok(()),
        Command::Leave => leave::run(&client, output).await,
        Command::Revoke { peer }
        | Command::Peer {
            command: PeerCommand::Revoke { peer },
        } => revoke::run(&peer, &client, output).await,
        Command::Ca {
            command: CaCommand::Rotate,
        } => ca::rotate(&client, output).await,
        Command::Status => status::run(&client, output).await,
        Command::Peers
        | Command::Peer {
            command: PeerCommand::List,
        } => peers::run(&client, output).await,
        Command::Services { service } => services::run(service, &client, output).await,
        Command::Resolve(args) => resolve::run(args, &client, output).await,
        Command::Whois { address } => whois::run(address, &client, output).await,
        Command::Doctor { peer } => doctor::run(peer, &client, output).await,
        Command::Drops => drops::run(&client, output).await,
    }
}

fn need(command: &Command) -> Need {
    let reads = matches!(
        command,
        Command::Status
            | Command::Peers
            | Command::Peer {
                command: PeerCommand::List
            }
            | Command::Services { .. }
            | Command::Resolve(_)
            | Command::Whois { .. }
            | Command::Drops
            | Command::Doctor { .. }
    );
    if reads { Need::Any } else { Need::Leader }
}
