//! Pure: times, spans and columns as a person reads them.

use causeway_proto::model::{PeerNumber, Prefix, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339 in UTC, whole seconds.
pub fn when(time: Timestamp) -> String {
    i64::try_from(time.0 / 1000)
        .ok()
        .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
        .and_then(|t| t.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{} ms after 1970", time.0))
}

/// A span in the largest unit that leaves at least two of it.
pub fn span(ms: u64) -> String {
    let secs = ms / 1000;
    match secs {
        0..10 => format!("{}.{} s", secs, ms % 1000 / 100),
        10..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs / 60),
        7200..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} d", secs / 86_400),
    }
}

/// How long ago, or that it never was.
pub fn ago(ms: Option<u64>) -> String {
    ms.map_or_else(|| "never".to_owned(), |ms| format!("{} ago", span(ms)))
}

/// When something ends, seen from `now`.
pub fn ends(end: Timestamp, now: Timestamp) -> String {
    if end > now {
        format!("in {}", span(end.since(now)))
    } else {
        format!("ended {} ago", span(now.since(end)))
    }
}

/// A difference of clocks.
pub fn skew(ms: i64) -> String {
    if ms.unsigned_abs() < 10_000 {
        format!("{ms:+} ms")
    } else {
        format!("{:+} s", ms / 1000)
    }
}

/// Texts with a separator, or a dash.
pub fn joined<T: ToString>(items: impl IntoIterator<Item = T>, separator: &str) -> String {
    let texts: Vec<_> = items.into_iter().map(|i| i.to_string()).collect();
    if texts.is_empty() {
        "-".to_owned()
    } else {
        texts.join(separator)
    }
}

/// The text, or a dash.
pub fn or_dash<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// A prefix under which another appears.
pub fn appears(theirs: Prefix, ours: Prefix) -> String {
    format!("{theirs} as {ours}")
}

/// A number that a peer may not have told yet.
pub fn number(number: Option<PeerNumber>) -> Option<u16> {
    number.map(PeerNumber::number)
}

/// Rows in columns, each as wide as its widest cell, two blanks between, no blanks at the end.
pub fn columns(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(i) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A heading over rows; nothing where there are none.
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut all = vec![head.iter().map(|h| (*h).to_owned()).collect()];
    all.extend(rows);
    columns(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let said: Vec<_> = [0, 1_540, 12_000, 119_999, 120_000, 7_200_000, 172_800_000]
            .into_iter()
            .map(span)
            .collect();
        assert_eq!(
            said,
            ["0.0 s", "1.5 s", "12 s", "119 s", "2 min", "2 h", "2 d"]
        );
        assert_eq!(ends(Timestamp(5_000), Timestamp(2_000)), "in 3.0 s");
        assert_eq!(ends(Timestamp(2_000), Timestamp(5_000)), "ended 3.0 s ago");
        assert_eq!(skew(-12), "-12 ms");
    }

    #[test]
    fn times() {
        assert_eq!(when(Timestamp(1_790_000_000_999)), "2026-09-21T14:13:20Z");
        assert_eq!(
            when(Timestamp(u64::MAX)),
            "18446744073709551615 ms after 1970"
        );
    }

    #[test]
    fn columns_align_and_leave_no_blanks() {
        let rows = [
            vec!["a".to_owned(), "bb".to_owned()],
            vec!["ccc".to_owned(), String::new()],
        ];
        assert_eq!(columns(&rows), "a    bb\nccc\n");
        assert_eq!(table(&["A"], Vec::new()), "");
    }
}
