use super::*;

const EAST: &str = "
cluster: east
clusterset: demo
name: e1
node: e1
advertise: {session: '192.0.2.1:7443', tunnel: 192.0.2.1}
state_dir: /tmp/state
";

const APPOINTED: &str = "
cluster: east.example
clusterset: demo
name: ${NODE_NAME}
node: ${NODE_NAME}
leadership: controller
advertise: {session: '${NODE_IP}:7443', local: '${NODE_IP}:7444', tunnel: '${NODE_IP}'}
enrolment: {controller: 'causeway-controller:7445', token_file: /t, ca_file: /c}
state_dir: /tmp/state
";

#[test]
fn the_example_can_be_used() {
    let example = include_str!("../../../examples/config/gateway.yaml");
    let config = Config::parse(Path::new("gateway.yaml"), example, |_| None).unwrap();
    assert_eq!(config.leadership, Leadership::Own);
}

fn parse(text: &str) -> Result<Config, String> {
    let variable = |name: &str| match name {
        "NODE_NAME" => Some("n1.example".to_owned()),
        "NODE_IP" => Some("2001:db8::1".to_owned()),
        _ => None,
    };
    Config::parse(Path::new("east.yaml"), text, variable).map_err(|e| e.to_string())
}

#[test]
fn defaults() {
    let c = parse(EAST).unwrap();
    assert_eq!(c.fixed_leader(), Some(&c.name));
    assert_eq!(c.shared, ClusterSettings::default());
    assert_eq!(c.listen.session.port(), SESSION_PORT);
}

#[test]
fn peers_and_seed() {
    let c = parse(&format!(
        "{EAST}peers: {{west: {{encryption: off, native: [10.9.0.0/16]}}}}\nseed: 000102030405060708090a0b0c0d0e0f\n"
    ))
    .unwrap();
    let west = "west".parse().unwrap();
    assert!(c.shared.plain_with(&west) && !c.shared.plain);
    assert_eq!(c.shared.peers[&west].native.len(), 1);
    assert_eq!(c.seed.unwrap().0[15], 15);
}

#[test]
fn unknown_keys_are_named_with_the_known_ones() {
    let e = parse(&format!("{EAST}clutser: west\n")).unwrap_err();
    assert!(
        e.contains("east.yaml") && e.contains("clutser") && e.contains("state_dir"),
        "{e}"
    );
    let e = parse(&format!("{EAST}listen: {{sesion: '0.0.0.0:1'}}\n")).unwrap_err();
    assert!(e.contains("sesion") && e.contains("session"), "{e}");
}

#[test]
fn contradictions_name_the_key() {
    let e = parse(&format!("{EAST}leader: e2\n")).unwrap_err();
    assert!(e.contains("leader_address"), "{e}");
    let e = parse(&format!(
        "{EAST}pools: {{vips: [241.0.0.0/16], mappings: [241.0.0.0/8]}}\n"
    ));
    assert!(e.unwrap_err().contains("pools.vips: 241.0.0.0/16 overlaps"));
    let e = parse(&format!("{EAST}encryption: maybe\n")).unwrap_err();
    assert!(e.contains("required") && e.contains("off"), "{e}");
}

#[test]
fn one_file_serves_every_node() {
    let c = parse(APPOINTED).unwrap();
    assert_eq!(
        (c.name.as_str(), c.node.as_str()),
        ("n1.example", "n1.example")
    );
    assert_eq!(c.leadership, Leadership::Controller);
    assert_eq!(c.fixed_leader(), None);
    let advertise = Advertise {
        session: "[2001:db8::1]:7443".to_owned(),
        tunnel: "2001:db8::1".parse().unwrap(),
        local: Some("[2001:db8::1]:7444".to_owned()),
    };
    assert_eq!(c.advertise, advertise);
    let e = parse(&APPOINTED.replace("NODE_IP", "POD_IP")).unwrap_err();
    assert!(
        e.starts_with("east.yaml: line 7: the environment variable POD_IP"),
        "{e}"
    );
}

#[test]
fn where_a_controller_appoints_it_says_the_rest_too() {
    let with = |more: &str| parse(&format!("{APPOINTED}{more}\n")).unwrap_err();
    for line in ["leader: n1", "pools: {}", "encryption: off", "peers: {}"] {
        let e = with(line);
        assert!(e.contains("is the controller's to say"), "{e}");
    }
    let e = parse(&APPOINTED.replace("leadership: controller", "leadership: fixed"));
    assert!(e.unwrap_err().contains("controller"));
    let file = APPOINTED.replace(
        "{controller: 'causeway-controller:7445', token_file: /t, ca_file: /c}",
        "/file",
    );
    let e = parse(&file).unwrap_err();
    assert!(
        e.contains("enrolment: a gateway whose leader is appointed"),
        "{e}"
    );
}
