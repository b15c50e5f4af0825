//! Pure: CoreDNS' configuration with and without our block. What was not ours comes back byte by byte.
//!
//! The block stands first, between two lines of our own, so that taking it out needs no memory of how
//! the text ended. Deliberately absent: a parser of all that a Corefile may hold; heads of server blocks are
//! enough, since only they can clash with ours.

use std::net::IpAddr;

/// The zone that all clustersets share.
pub const ZONE: &str = "clusterset.local";
const BEGIN: &str = "# BEGIN causeway (kept by the chart: edits between these lines are lost)\n";
const END: &str = "# END causeway\n";
/// What a marker line starts with, whatever an older version wrote behind it.
const BEGINS: &str = "# BEGIN causeway";
const ENDS: &str = "# END causeway";
/// Where a server block without a port listens.
const PORT: u16 = 53;

/// A Corefile that we leave alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorefileError {
    /// One of our two lines is there without the other.
    #[error(
        "line {line} is one of Causeway's two marker lines and the other is missing or out of place; \
         remove what is left of the block by hand"
    )]
    Marker {
        /// Counted from one.
        line: usize,
    },
    /// Somebody else serves the zone; CoreDNS refuses to start with two blocks for one.
    #[error(
        "line {line} already serves {ZONE} and is not Causeway's; remove that block, \
         or install with `dns.coredns.forward=false` and forward {ZONE} to Causeway there"
    )]
    Taken {
        /// Counted from one.
        line: usize,
    },
}

/// The text with a block that forwards the zone to `server`, in place of an earlier one.
///
/// # Errors
/// When half a block is there, or somebody else's for the same zone.
pub fn with_forward(corefile: &str, server: IpAddr) -> Result<String, CorefileError> {
    let rest = without_forward(corefile)?;
    if let Some((line, _)) = heads(&rest).find(|(_, head)| zones(head).any(|z| zone(z) == ZONE)) {
        return Err(CorefileError::Taken { line });
    }
    let port = root_port(&rest);
    Ok(format!(
        "{BEGIN}{ZONE}:{port} {{\n    errors\n    forward . {server}\n}}\n{END}{rest}"
    ))
}

/// The text without our block.
///
/// # Errors
/// When half a block is there.
pub fn without_forward(corefile: &str) -> Result<String, CorefileError> {
    let mut rest = String::with_capacity(corefile.len());
    let mut open = None;
    for (index, line) in corefile.split_inclusive('\n').enumerate() {
        let at = index.saturating_add(1);
        match (line.starts_with(BEGINS), line.starts_with(ENDS), open) {
            (true, _, None) => open = Some(at),
            (false, true, Some(_)) => open = None,
            (true, _, Some(_)) | (_, true, None) => return Err(CorefileError::Marker { line: at }),
            (false, false, None) => rest.push_str(line),
            (false, false, Some(_)) => {}
        }
    }
    match open {
        Some(line) => Err(CorefileError::Marker { line }),
        None => Ok(rest),
    }
}

/// Heads of server blocks with their lines' numbers: what stands before a brace that no other brace encloses.
fn heads(corefile: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let mut depth = 0usize;
    let mut head = String::new();
    let lines = corefile.lines().enumerate();
    lines.filter_map(move |(index, line)| {
        let line = line.split_once('#').map_or(line, |(text, _)| text).trim();
        let mut found = None;
        // A brace with a name in it (`{$VARIABLE}`) is a value, and balanced on its line.
        for word in line.split_whitespace() {
            match word {
                "{" => {
                    if depth == 0 {
                        found = Some(std::mem::take(&mut head));
                    }
                    depth = depth.saturating_add(1);
                }
                "}" => {
                    depth = depth.saturating_sub(1);
                    head.clear();
                }
                _ if depth == 0 => {
                    head.push_str(word);
                    head.push(' ');
                }
                _ => {}
            }
        }
        found.map(|head| (index.saturating_add(1), head))
    })
}

/// The addresses of a head: `.:53, example.org` are two; `(snippet)` is none that matters.
fn zones(head: &str) -> impl Iterator<Item = &str> {
    head.split([' ', ',']).filter(|word| !word.is_empty())
}

/// The zone in `dns://example.org.:53`.
fn zone(address: &str) -> &str {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let zone = match address.rsplit_once(':') {
        Some((zone, port)) if port.bytes().all(|c| c.is_ascii_digit()) => zone,
        _ => address,
    };
    match zone.strip_suffix('.') {
        Some(stripped) if !stripped.is_empty() => stripped,
        _ => zone,
    }
}

/// The port that the block of all other names listens on: ours must listen on the same.
fn root_port(corefile: &str) -> u16 {
    let mut all = heads(corefile).flat_map(|(_, head)| {
        let plain = zones(&head).map(|address| address.strip_prefix("dns://").unwrap_or(address));
        let root = plain.filter(|address| !address.contains("://") && zone(address) == ".");
        let ports = root.map(|address| match address.rsplit_once(':') {
            Some((_, port)) => port.parse().unwrap_or(PORT),
            None => PORT,
        });
        ports.collect::<Vec<u16>>()
    });
    all.next().unwrap_or(PORT)
}

#[cfg(test)]
mod tests;
