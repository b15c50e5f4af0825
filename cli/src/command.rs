//! Shell: one file per command: parse, call, print.

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

use crate::args::{Cli, Command};
use crate::client::Client;
use crate::failure::Failure;

/// Runs what the command line says.
///
/// # Errors
/// When it was not done.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    if let Command::Login(args) = &cli.command {
        return login::run(args, &global).await;
    }
    let client = Client::connect(&global).await?;
    let output = global.output;
    match cli.command {
        Command::Token { command } => token::run(command, &client, output).await,
        Command::Join(args) => join::run(args, &client, output).await,
        Command::Enroll(args) => enroll::run(args, &client, output).await,
        Command::Login(_) => Ok(()),
        Command::Leave => leave::run(&client, output).await,
        Command::Revoke { peer } => revoke::run(&peer, &client, output).await,
        Command::Status => status::run(&client, output).await,
        Command::Peers => peers::run(&client, output).await,
        Command::Services { service } => services::run(service, &client, output).await,
        Command::Resolve(args) => resolve::run(args, &client, output).await,
        Command::Whois { address } => whois::run(address, &client, output).await,
        Command::Drops => drops::run(&client, output).await,
    }
}
