//! Shell: the `causeway` command as an operator on a node uses it.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::lab::netns::Netns;

/// Somebody with a shell on a gateway's node.
pub struct Operator {
    /// The node
    pub netns: Netns,
    /// The `causeway` program
    pub program: PathBuf,
    /// The gateway's local service
    pub socket: PathBuf,
}

impl Operator {
    /// Runs a command; what it prints, or its complaint as the error.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = self.netns.command(&self.program);
        command
            .arg("--socket")
            .arg(&self.socket)
            .args(args)
            .stdin(Stdio::null());
        let output = command
            .output()
            .with_context(|| format!("running {}", self.program.display()))?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`causeway {}` ended with {}: {}",
                args.join(" "),
                output.status,
                complaint.trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command with `-o json`.
    pub fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        let mut all = args.to_vec();
        all.extend(["-o", "json"]);
        let text = self.run(&all)?;
        serde_json::from_str(&text)
            .with_context(|| format!("`causeway {}` printed no JSON: {text}", all.join(" ")))
    }

    /// Runs `causeway doctor`; what it found, and its exit code.
    pub fn doctor(&self) -> anyhow::Result<(Value, Option<i32>)> {
        let mut command = self.netns.command(&self.program);
        command.arg("--socket").arg(&self.socket);
        command.args(["doctor", "-o", "json"]).stdin(Stdio::null());
        let output = command.output().context("running `causeway doctor`")?;
        let found = serde_json::from_slice(&output.stdout).with_context(|| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            format!("`causeway doctor`: {complaint}")
        })?;
        Ok((found, output.status.code()))
    }

    /// Packets that were dropped for a reason, on all nodes of the cluster.
    pub fn drops(&self, reason: &str) -> anyhow::Result<u64> {
        let value = self.json(&["drops"])?;
        let rows = value
            .get("drops")
            .and_then(Value::as_array)
            .or_else(|| value.as_array());
        let rows = rows.into_iter().flatten();
        let ours = rows.filter(|row| row.get("reason").and_then(Value::as_str) == Some(reason));
        Ok(ours
            .filter_map(|row| row.get("packets").and_then(Value::as_u64))
            .sum())
    }
}
