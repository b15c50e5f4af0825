//! Shell: kubectl as a process; the way to the API servers for what is done once. What asks often has better ways.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

/// kubectl for one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
    context: String,
}

impl Kubectl {
    /// For a context of a kubeconfig; without one, of what kubectl takes by itself.
    #[must_use]
    pub fn new(program: &Path, kubeconfig: Option<&Path>, context: &str) -> Kubectl {
        Kubectl {
            program: program.to_owned(),
            kubeconfig: kubeconfig.map(Path::to_owned),
            context: context.to_owned(),
        }
    }

    /// The context.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.context
    }

    /// A command with everything in place but its own arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(file) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(file);
        }
        command.args(["--context", &self.context]);
        command
    }

    /// Runs it to its end; its complaint is the error.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        self.feed(args, "")
    }

    /// Runs it with that text as its input.
    pub fn feed(&self, args: &[&str], text: &str) -> anyhow::Result<String> {
        let mut command = self.command();
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run kubectl")?;
        if let Some(mut input) = child.stdin.take() {
            // One that ended before it read all says why on its standard error.
            let _ = input.write_all(text.as_bytes());
        }
        let output = child.wait_with_output()?;
        self.text(args, &output)
    }

    fn text(&self, args: &[&str], output: &Output) -> anyhow::Result<String> {
        ensure!(
            output.status.success(),
            "kubectl {} in {}: {}",
            args.join(" "),
            self.context,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Objects as JSON: `get` with these arguments.
    pub fn objects(&self, args: &[&str]) -> anyhow::Result<Value> {
        let mut all = vec!["get", "-o", "json"];
        all.extend(args);
        serde_json::from_str(&self.run(&all)?).context("kubectl printed no JSON")
    }

    /// Applies manifests, by a field manager of the test bed.
    pub fn apply(&self, manifests: &str) -> anyhow::Result<()> {
        let args = [
            "apply",
            "--server-side",
            "--field-manager=causeway-e2e",
            "--force-conflicts",
            "-f",
            "-",
        ];
        self.feed(&args, manifests).map(drop)
    }
}
