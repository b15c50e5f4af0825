//! Shell: the only place of this program that prints; on the standard error, so that the output
//! of what it runs (`bench -o json`) stays clean.

/// A line for the person who waits.
pub fn line(text: &str) {
    eprintln!("{text}");
}

/// What went wrong.
pub fn problem(text: &str) {
    eprintln!("xtask: {text}");
}
