//! The real program against a gateway that is not there: what it prints in each form, and how it ends.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails here has failed"
)]

#[path = "commands/ask.rs"]
mod ask;
#[path = "commands/change.rs"]
mod change;
#[path = "commands/cluster.rs"]
mod cluster;
#[path = "commands/doctor.rs"]
mod doctor;
#[path = "commands/fake.rs"]
mod fake;
#[path = "commands/kubeconfig.rs"]
mod kubeconfig;
#[path = "commands/look.rs"]
mod look;
#[path = "commands/operator.rs"]
mod operator;
#[path = "commands/pair.rs"]
mod pair;
#[path = "commands/samples.rs"]
mod samples;
#[path = "commands/trouble.rs"]
mod trouble;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use expect_test::Expect;

use fake::Gateway;

fn causeway(socket: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_causeway"))
        .env_clear()
        .arg("--socket")
        .arg(socket)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn told(output: &Output, path: &Path) -> String {
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replace(&path.display().to_string(), "DIR")
    };
    let mut out = text(&output.stdout);
    let complaint = text(&output.stderr);
    if !complaint.is_empty() {
        out.push_str(&format!("--- stderr\n{complaint}"));
    }
    let code = output.status.code().unwrap();
    if code != 0 {
        out.push_str(&format!("--- exit {code}\n"));
    }
    out
}

/// Runs it against the fake gateway.
fn check(args: &[&str], expected: Expect) {
    let gateway = Gateway::start();
    let output = causeway(&gateway.socket(), args);
    expected.assert_eq(&told(&output, gateway.dir()));
}
