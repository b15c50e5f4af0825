//! Pure: each source file says first whether it is pure or a shell, and a pure one touches no
//! clock, socket, file, environment or runtime.

use super::code::{has_word, is_test, lines};
use super::{File, Problem};

/// What a pure file may not name, each as a whole word.
const IMPURE: &[&str] = &[
    "tokio",
    "tonic",
    "quinn",
    "kube",
    "aya",
    "rtnetlink",
    "hyper_util",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "OsRng",
    "SystemRandom",
];
/// What a pure file may not name, each as a path.
const IMPURE_PATHS: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "Instant::now",
    "SystemTime::now",
    "rand::",
    "nix::",
    "libc::",
];

/// The kernel's keys and values carry aya's marker trait for plain data, and nothing else of it.
fn is_marker(path: &str, word: &str) -> bool {
    word == "aya" && path.starts_with("dataplane-ebpf/abi/")
}

/// Sources of our crates; not tests, not build scripts, not benches.
fn has_head(path: &str) -> bool {
    path.contains("/src/") && !is_test(path)
}

/// The first line says `//! Pure: ...` or `//! Shell: ...`. A `lib.rs` that only lists its modules may
/// say what the crate is instead.
pub fn head(file: &File) -> Vec<Problem> {
    if !has_head(&file.path) || said_head(&file.text).is_some() {
        return Vec::new();
    }
    if file.path.ends_with("/lib.rs") && file.text.starts_with("//! ") && lists_modules(&file.text)
    {
        return Vec::new();
    }
    vec![Problem {
        rule: "head",
        path: file.path.clone(),
        line: 1,
        what: "the first line must say `//! Pure: ...` or `//! Shell: ...`".to_owned(),
    }]
}

/// `Some(true)` for pure.
fn said_head(text: &str) -> Option<bool> {
    match text {
        _ if text.starts_with("//! Pure: ") => Some(true),
        _ if text.starts_with("//! Shell: ") => Some(false),
        _ => None,
    }
}

fn lists_modules(text: &str) -> bool {
    let mut depth = 0usize;
    lines(text).iter().all(|line| {
        let text = line.text.trim();
        let starts = [
            "pub mod ",
            "mod ",
            "pub use ",
            "use ",
            "#![",
            "#[",
            "extern crate ",
        ];
        let fine = depth > 0 || starts.iter().any(|start| text.starts_with(start));
        // The lines between the braces of a long `use` belong to it; a module in place does not.
        depth = depth
            .saturating_add(text.matches('{').count())
            .saturating_sub(text.matches('}').count());
        fine && !(text.contains("mod ") && text.ends_with('{'))
    })
}

/// A pure file names nothing that could make two calls differ.
pub fn purity(file: &File) -> Vec<Problem> {
    if !has_head(&file.path) || said_head(&file.text) != Some(true) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for line in lines(&file.text) {
        let word = IMPURE
            .iter()
            .find(|word| has_word(&line.text, word) && !is_marker(&file.path, word));
        let path = IMPURE_PATHS.iter().find(|path| {
            let at_name = format!("_{path}");
            line.text.contains(*path) && !line.text.contains(&at_name)
        });
        if let Some(named) = word.or(path) {
            problems.push(Problem {
                rule: "pure",
                path: file.path.clone(),
                line: line.number,
                what: format!(
                    "a pure file may not name {named}; take it as an argument or move it to a shell"
                ),
            });
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn heads_are_wanted() {
        assert_eq!(head(&file("dns/src/zone.rs", "//! Pure: x\n")).len(), 0);
        assert_eq!(head(&file("dns/src/zone.rs", "//! The zone.\n")).len(), 1);
        assert_eq!(head(&file("dns/src/zone.rs", "use x;\n")).len(), 1);
        assert_eq!(head(&file("dns/src/zone/tests.rs", "use x;\n")).len(), 0);
        assert_eq!(
            head(&file(
                "dns/src/lib.rs",
                "//! DNS.\npub mod zone;\npub use a::{\n    B,\n};\n"
            ))
            .len(),
            0
        );
        assert_eq!(
            head(&file("dns/src/lib.rs", "//! DNS.\npub fn f() {}\n")).len(),
            1
        );
        assert_eq!(
            head(&file(
                "dns/src/lib.rs",
                "//! DNS.\npub mod a {\n    fn f() {}\n}\n"
            ))
            .len(),
            1
        );
    }

    #[test]
    fn pure_files_touch_nothing() {
        let found =
            |code: &str| purity(&file("dns/src/zone.rs", &format!("//! Pure: x\n{code}\n"))).len();
        assert_eq!(found("use std::collections::BTreeMap;"), 0);
        assert_eq!(found("use std::net::IpAddr;"), 0);
        assert_eq!(found("let now = Instant::now();"), 1);
        assert_eq!(found("use std::fs;"), 1);
        assert_eq!(found("let x = std::env::var(\"X\");"), 1);
        assert_eq!(found("use tokio::sync::watch;"), 1);
        assert_eq!(found("let s = std::net::UdpSocket::bind(a);"), 1);
        assert_eq!(found("let x = rand::random();"), 1);
        assert_eq!(found("#[cfg(test)]\nmod tests {\n    use std::fs;\n}"), 0);
        assert_eq!(
            purity(&file(
                "dns/src/server.rs",
                "//! Shell: x\nuse tokio::net::UdpSocket;\n"
            ))
            .len(),
            0
        );
    }
}
