//! Peers that are trusted no more.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use causeway_integration::demo::mesh::Mesh;
use causeway_integration::demo::report::Checks;
use causeway_integration::lab::hold::Holding;
use causeway_integration::lab::topology::CLIENT;
use causeway_integration::lab::{self, fetch, wait};

use crate::{EFFECT, all_answered, alone, goes_on, pair, paired, unbroken};

/// What is cut off is cut off at once, packets of open connections too, and stays so over a restart.
#[test]
fn a_peer_that_is_revoked_is_cut_off_within_a_second() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let (mut mesh, cart) = paired("t-revoke");
    let client = mesh.lab.pod(&CLIENT);
    let holding = Holding::open(&client, cart, 10).unwrap();
    mesh.operator("e1")
        .run(&["peer", "revoke", "west"])
        .unwrap();
    let dial = || client.enter(|| fetch::dial(cart, Duration::from_millis(100)));
    wait::until(Duration::from_secs(1), "west to be cut off", || {
        Ok(dial()?? != fetch::Dial::Answered)
    })
    .unwrap();
    let cut = holding.echoed();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(holding.echoed(), cut, "nothing of open connections passes");
    let held = holding.close();
    assert!(held.iter().all(|held| held.broken.is_some()));
    mesh.lab.processes.kill("gateway-e1").unwrap();
    mesh.run_gateway("e1").unwrap();
    std::thread::sleep(EFFECT);
    assert_ne!(dial().unwrap().unwrap(), fetch::Dial::Answered);
    let west = mesh.operator("w1").json(&["peers"]).unwrap();
    assert_eq!(west["peers"][0]["sessions"].as_array().unwrap().len(), 0);
}

/// What in a file of ours must stay secret, as it would be written elsewhere: long words of private keys, and of what is named
/// a secret. Certificates and pins are for everybody.
fn secrets_of(text: &str, to: &mut BTreeSet<String>) {
    let text = text.replace("\\n", "\n");
    let mut private = !text.contains("-----BEGIN");
    for line in text.lines() {
        match line.trim() {
            begin if begin.starts_with("-----BEGIN") => private = begin.contains("PRIVATE"),
            end if end.starts_with("-----END") => private = false,
            line => {
                let named = line.contains("\"secret\"");
                let words =
                    line.split(|c: char| !c.is_ascii_alphanumeric() && !"+/_-=".contains(c));
                let long = words.filter(|word| (private || named) && word.len() >= 32);
                to.extend(long.map(str::to_owned));
            }
        }
    }
}

fn secrets_below(directory: &Path, to: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("log") {
                secrets_below(&path, to);
            }
            continue;
        }
        let kinds = ["pem", "key", "enroll", "json"];
        let kind = path.extension().and_then(|kind| kind.to_str());
        if kind.is_some_and(|kind| kinds.contains(&kind)) {
            secrets_of(&std::fs::read_to_string(&path).unwrap(), to);
        }
    }
}

/// However much is logged, no key, token or one-time secret is among it, nor in what a refused command says.
#[test]
fn secrets_are_in_no_log() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let mut mesh = Mesh::new("t-secrets", None).unwrap();
    mesh.talkative = true;
    let mut checks = Checks::default();
    mesh.start(&mut checks).unwrap();
    let token = mesh.operator("w1").run(&["token", "create"]).unwrap();
    let token = token.split_whitespace().last().unwrap().to_owned();
    mesh.operator("e1").run(&["join", &token]).unwrap();
    mesh.settle(&mut checks).unwrap();
    let again = mesh.operator("e1").run(&["join", &token]).unwrap_err();
    let damaged = format!("{}A", &token[..token.len() - 1]);
    let wrong = mesh.operator("e1").run(&["join", &damaged]).unwrap_err();
    // The arguments are the caller's own; the rest is ours.
    let said = [again, wrong].map(|error| format!("{error:#}"));
    let said = said.map(|text| text.split_once("ended with").unwrap().1.to_owned());
    for gateway in ["w2", "w1", "e1"] {
        mesh.lab
            .processes
            .kill(&format!("gateway-{gateway}"))
            .unwrap();
        mesh.run_gateway(gateway).unwrap();
    }
    std::thread::sleep(EFFECT);
    let mut secrets = BTreeSet::from([token.clone(), damaged]);
    secrets_below(&mesh.lab.path(""), &mut secrets);
    // Two CAs, two catalog keys, a leaf of each other process, reset keys, one-time files, the token.
    assert!(secrets.len() >= 20, "{}", secrets.len());
    // The middle of the token has the secret; its ends may be the same in others.
    let quarter = token.len() / 4;
    secrets.insert(token[quarter..3 * quarter].to_owned());
    let mut logs = 0;
    for entry in std::fs::read_dir(mesh.lab.path("log")).unwrap() {
        let path = entry.unwrap().path();
        let log = std::fs::read_to_string(&path).unwrap();
        logs += log.len();
        let found: Vec<_> = secrets.iter().filter(|s| log.contains(*s)).collect();
        assert!(found.is_empty(), "{}: {found:?}", path.display());
    }
    assert!(logs > 1 << 20, "all that can be is logged: {logs} bytes");
    for text in said {
        let found: Vec<_> = secrets.iter().filter(|s| text.contains(*s)).collect();
        assert!(found.is_empty(), "{text}");
    }
}

/// Nineteen hours on, all leaves are renewed, and six later no session of the first ones is left; connections stay.
#[test]
fn leaves_are_renewed_under_traffic() {
    if !lab::test_may_run() {
        return;
    }
    let _alone = alone();
    let mut mesh = Mesh::new("t-renew", None).unwrap();
    mesh.clocks = true;
    let cart = pair(&mut mesh);
    let holding = Holding::open(&mesh.lab.pod(&CLIENT), cart, 30).unwrap();
    let told = |node: &str, what: [&str; 2]| -> BTreeSet<String> {
        let status = mesh.operator(node).json(&["status"]).unwrap();
        let peers = status["peers"].as_array().unwrap().clone();
        let sessions = peers
            .iter()
            .flat_map(|peer| peer["sessions"].as_array().unwrap());
        let each = sessions.map(|session| session[what[1]].as_str().unwrap());
        let own = status[what[0]].as_str().unwrap();
        each.chain([own]).map(str::to_owned).collect()
    };
    let gateways = ["e1", "w1", "w2"];
    let ends = |node: &str| told(node, ["certificate_expires", "certificate_expires"]);
    // Agents and the follower have theirs in a file.
    let leaf = |node: &str, process: &str| {
        let state = mesh.lab.path(node).join(format!("{process}-state"));
        std::fs::read_to_string(state.join("leaf.pem")).unwrap()
    };
    let files = [
        ("e1", "agent"),
        ("w1", "agent"),
        ("w2", "agent"),
        ("w2", "gateway"),
    ];
    let first: Vec<_> = gateways.iter().map(|node| ends(node)).collect();
    let leaves: Vec<_> = files.iter().map(|(node, of)| leaf(node, of)).collect();
    let all_are = |hours: i64| {
        for cluster in ["east", "west"] {
            mesh.set_clock(cluster, hours * 3_600).unwrap();
        }
    };
    // Two thirds of their life, and what is added so that not all are at once. Each looks once in a minute whether it is time.
    all_are(19);
    wait::until(Duration::from_secs(90), "all leaves to be renewed", || {
        let renewed = files.iter().zip(&leaves);
        Ok(renewed
            .clone()
            .all(|((node, of), before)| leaf(node, of) != *before)
            && gateways.iter().zip(&first).all(|(node, before)| {
                let own = mesh.operator(node).json(&["status"]).unwrap();
                !before.contains(own["certificate_expires"].as_str().unwrap())
            }))
    })
    .unwrap();
    goes_on(&holding, EFFECT);
    all_are(25);
    wait::until(
        Duration::from_secs(90),
        "no session of the first leaves",
        || {
            let ended = gateways.iter().zip(&first);
            Ok(ended
                .clone()
                .all(|(node, before)| ends(node).is_disjoint(before)))
        },
    )
    .unwrap();
    goes_on(&holding, EFFECT);
    unbroken(holding);
    all_answered(&mesh, cart, 20);
}
