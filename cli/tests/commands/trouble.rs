//! No gateway, or the wrong command line.

use std::path::Path;
use std::process::Command;

use expect_test::expect;

use crate::{causeway, told};

#[test]
fn no_socket() {
    let dir = tempfile::tempdir().unwrap();
    let output = causeway(&dir.path().join("gateway.sock"), &["status"]);
    expect![[r#"
        --- stderr
        causeway: DIR/gateway.sock: there is no socket (No such file or directory (os error 2))
          check: is causeway-gateway running on this node? `listen.socket` in its configuration says where it listens; give that with --socket
        --- exit 3
    "#]].assert_eq(&told(&output, dir.path()));
}

#[test]
fn a_socket_that_nobody_listens_on() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("gateway.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let output = causeway(&socket, &["status"]);
    expect![[r#"
        --- stderr
        causeway: DIR/gateway.sock: nobody listens on the socket (Connection refused (os error 111))
          check: causeway-gateway has stopped: look at its log, start it again
        --- exit 3
    "#]]
    .assert_eq(&told(&output, dir.path()));
}

#[test]
fn a_gateway_that_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("gateway.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let output = causeway(&socket, &["status", "--timeout", "1s"]);
    expect![[r#"
        --- stderr
        causeway: the gateway did not answer in time
          check: look at its log, or wait longer with --timeout
        --- exit 3
    "#]]
    .assert_eq(&told(&output, dir.path()));
}

#[test]
fn a_server_needs_an_identity() {
    let output = Command::new(env!("CARGO_BIN_EXE_causeway"))
        .env_clear()
        .args(["--server", "127.0.0.1:1", "status"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--identity"));
}

#[test]
fn an_identity_without_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_causeway"))
        .env_clear()
        .args(["--server", "127.0.0.1:1", "status", "--identity"])
        .arg(dir.path())
        .output()
        .unwrap();
    expect![[r#"
        --- stderr
        causeway: DIR holds no operator's certificate
          check: make a file with `causeway enroll operator/NAME` on the leader, then `causeway login FILE`
        --- exit 1
    "#]]
    .assert_eq(&told(&output, dir.path()));
}

#[test]
fn help_names_the_exit_codes() {
    let output = causeway(Path::new("none"), &["--help"]);
    let text = told(&output, Path::new("none"));
    let codes = [
        "0  done",
        "1  refused",
        "2  the command",
        "3  no gateway",
        "4  what was asked for",
        "5  done, but",
    ];
    assert!(codes.iter().all(|code| text.contains(code)), "{text}");
}
