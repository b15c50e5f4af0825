//! Pure: variables in a configuration file, so that one file serves every node: Kubernetes' downward API sets them.

/// The variables that a file may name. No others: what a process is told must be visible in its file.
pub const VARIABLES: [&str; 5] = [
    "NODE_NAME",
    "NODE_IP",
    "POD_NAME",
    "POD_NAMESPACE",
    "POD_IP",
];

/// A variable that cannot be put in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadVariable {
    /// Not one of ours.
    #[error("line {line}: ${{{name}}} is none of {}", VARIABLES.join(", "))]
    Unknown {
        /// Where.
        line: usize,
        /// As written.
        name: String,
    },
    /// Without an end.
    #[error("line {line}: ${{ without }}")]
    Open {
        /// Where.
        line: usize,
    },
    /// Not set.
    #[error(
        "line {line}: the environment variable {name} is not set; the pod's `env` should take it from the downward API"
    )]
    Absent {
        /// Where.
        line: usize,
        /// Which.
        name: String,
    },
    /// Neither a name nor an address.
    #[error(
        "line {line}: the environment variable {name} holds {value:?}, which is neither a name nor an address"
    )]
    Value {
        /// Where.
        line: usize,
        /// Which.
        name: String,
        /// What it holds.
        value: String,
    },
}

/// The text with each `${NAME}` replaced by its value, comment lines excepted. An IPv6 address before a port gets its
/// brackets.
///
/// # Errors
/// When a variable is not one of [`VARIABLES`], is not set, or holds what is no name or address.
pub fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, BadVariable> {
    let mut out = String::with_capacity(text.len());
    for (at, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with('#') {
            out.push_str(line);
            continue;
        }
        expand_line(line, at + 1, &value, &mut out)?;
    }
    Ok(out)
}

fn expand_line(
    text: &str,
    line: usize,
    value: impl Fn(&str) -> Option<String>,
    out: &mut String,
) -> Result<(), BadVariable> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let (name, after) = after.split_once('}').ok_or(BadVariable::Open { line })?;
        let name = name.to_owned();
        if !VARIABLES.contains(&name.as_str()) {
            return Err(BadVariable::Unknown { line, name });
        }
        let Some(value) = value(&name).filter(|value| !value.is_empty()) else {
            return Err(BadVariable::Absent { line, name });
        };
        if !value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-:".contains(&b))
        {
            return Err(BadVariable::Value { line, name, value });
        }
        if value.contains(':') && after.starts_with(':') {
            out.push_str(&format!("[{value}]"));
        } else {
            out.push_str(&value);
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> String {
        let value = |name: &str| match name {
            "NODE_NAME" => Some("w1.example".to_owned()),
            "NODE_IP" => Some("192.0.2.1".to_owned()),
            "POD_IP" => Some("2001:db8::1".to_owned()),
            "POD_NAME" => Some("x: y".to_owned()),
            _ => Some(String::new()),
        };
        expand(text, value).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn what_is_put_in_and_what_is_refused() {
        assert_eq!(check("a: 1\n"), "a: 1\n");
        assert_eq!(
            check("# ${HOME}\nname: ${NODE_NAME}\nat: ['${NODE_IP}:7443', ${NODE_IP}]"),
            "# ${HOME}\nname: w1.example\nat: ['192.0.2.1:7443', 192.0.2.1]"
        );
        assert_eq!(
            check("at: '${POD_IP}:1'\nis: ${POD_IP}\n"),
            "at: '[2001:db8::1]:1'\nis: 2001:db8::1\n"
        );
        assert_eq!(
            check("a: 1\nb: ${HOME}"),
            "line 2: ${HOME} is none of NODE_NAME, NODE_IP, POD_NAME, POD_NAMESPACE, POD_IP"
        );
        assert_eq!(check("b: ${NODE_IP\n}"), "line 1: ${ without }");
        assert_eq!(
            check("b: ${POD_NAMESPACE}"),
            "line 1: the environment variable POD_NAMESPACE is not set; the pod's `env` should take it from the downward API"
        );
        assert_eq!(
            check("b: ${POD_NAME}"),
            "line 1: the environment variable POD_NAME holds \"x: y\", which is neither a name nor an address"
        );
    }
}
