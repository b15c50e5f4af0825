//! Shell: the one place that writes to standard output.
#![expect(clippy::print_stdout, reason = "printing is what this file is for")]

use crate::args::Format;
use crate::failure::Failure;
use crate::show::Show;

/// Prints what a command found.
///
/// # Errors
/// When it cannot be written in that format.
pub fn print(value: &impl Show, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => print!("{}", value.text()),
        Format::Json => println!(
            "{}",
            serde_json::to_string_pretty(value).map_err(Failure::refused)?
        ),
        Format::Yaml => print!(
            "{}",
            serde_saphyr::to_string(value).map_err(Failure::refused)?
        ),
    }
    Ok(())
}

/// Tells a person what is no part of the output.
pub fn note(text: &str) {
    eprintln!("causeway: {text}");
}
