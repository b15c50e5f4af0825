//! Pure: Rust source as the rules see it: without comments, without the content of strings, and
//! without test modules.

/// A line of code with its number, counted from one.
pub struct Line<'a> {
    /// Counted from one
    pub number: usize,
    /// The text, comments and strings taken out
    pub text: std::borrow::Cow<'a, str>,
}

/// The lines of `source` that are code and no test.
pub fn lines(source: &str) -> Vec<Line<'_>> {
    let mut found = Vec::new();
    let mut in_test = false;
    let mut pending = false;
    for (index, raw) in source.lines().enumerate() {
        let text = bare(raw);
        let trimmed = text.trim();
        if in_test {
            // Test modules stand at the top level, so a brace in the first column ends them.
            in_test = !raw.starts_with('}');
            continue;
        }
        if raw.starts_with("#[cfg(test)]") {
            pending = true;
            continue;
        }
        if pending && (trimmed.is_empty() || raw.starts_with("#[")) {
            continue;
        }
        if pending {
            pending = false;
            in_test = trimmed.ends_with('{');
            continue;
        }
        if !trimmed.is_empty() {
            found.push(Line {
                number: index.saturating_add(1),
                text: text.into(),
            });
        }
    }
    found
}

/// A line without its comment and without the content of its strings.
fn bare(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '"' => {
                quoted = !quoted;
                out.push('"');
            }
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if quoted => {}
            // A quote as a character would look like the start of a string.
            '\'' if chars.peek() == Some(&'"') => {
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

/// Does `text` hold `word` as a whole word?
pub fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|s| s.chars().next_back());
        let after = text
            .get(at.saturating_add(word.len())..)
            .and_then(|s| s.chars().next());
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Is this file a module of tests, or a test program?
pub fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.split('/').any(|part| part == "tests") || name == "tests.rs" || name.ends_with("_tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_tests_are_no_code() {
        let source = "use a; // tokio\nlet x = \"tokio \\\" //\";\n#[cfg(test)]\nmod tests {\n    tokio\n}\nlast\n";
        let seen: Vec<_> = lines(source)
            .into_iter()
            .map(|l| format!("{} {}", l.number, l.text.trim()))
            .collect();
        assert_eq!(seen, ["1 use a;", "2 let x = \"\";", "7 last"]);
    }

    #[test]
    fn a_test_module_in_its_own_file_ends_at_once() {
        let seen: Vec<_> = lines("#[cfg(test)]\nmod tests;\ncode\n")
            .into_iter()
            .map(|l| l.number)
            .collect();
        assert_eq!(seen, [3]);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use kube::Api;", "kube"));
        assert!(!has_word("use kubelet::Api;", "kube"));
        assert!(!has_word("my_kube", "kube"));
    }
}
