//! Pure: pieces taken out on purpose, to show that a test or the demo would notice. A test aid: the
//! variable `CAUSEWAY_BREAK` names them, separated by commas, and is read once, at the start.

use causeway_abi::faults;

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaks {
    /// Bits of [`faults`], for the programs.
    pub faults: u32,
    /// Segment sizes are not limited.
    pub mss: bool,
    /// The pools get no `unreachable` routes.
    pub routes: bool,
    /// Clusters are taken alike, wherever the client is.
    pub locality: bool,
}

/// A name of no piece.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("CAUSEWAY_BREAK names {0:?}, which is no piece that can be taken out")]
pub struct UnknownBreak(String);

/// From the variable's text.
///
/// # Errors
/// At a name that is not known.
pub fn parse(text: &str) -> Result<Breaks, UnknownBreak> {
    let mut breaks = Breaks::default();
    for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        match name {
            "dsr" => breaks.faults |= faults::REPLY_REWRITE,
            "mapping" => breaks.faults |= faults::MAPPING,
            "tunnel-source-check" => breaks.faults |= faults::SOURCE_CHECK,
            "source-check" => breaks.faults |= faults::POD_CHECK,
            "pod-tunnel-check" => breaks.faults |= faults::TUNNEL_PORT,
            "passing-on" => breaks.faults |= faults::PASS_ON,
            "rejection" => breaks.faults |= faults::REJECT,
            "direct-reply" => breaks.faults |= faults::DIRECT_REPLY,
            "pin" => breaks.faults |= faults::PIN,
            "mss-clamp" => breaks.mss = true,
            "unreachable-routes" => breaks.routes = true,
            "local-first" => breaks.locality = true,
            _ => return Err(UnknownBreak(name.to_owned())),
        }
    }
    Ok(breaks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_comma() {
        assert_eq!(parse(""), Ok(Breaks::default()));
        let both = parse("dsr, mss-clamp").unwrap();
        assert_eq!((both.faults, both.mss), (faults::REPLY_REWRITE, true));
        assert!(parse("gravity").is_err());
    }
}
